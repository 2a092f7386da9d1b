"""Rows in a table of DuckDB, codes as BIT."""

import os
from collections.abc import Sequence
from os import PathLike
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from ...utils._typing import NDArray
from ._conditions import Condition
from ._engine import Engine
from ._rows import Layout, as_binary, as_bits, from_binary, from_bits
from ._sql import TYPES, as_table, layout_of, nearest_as_arrays, quoted, where_clause

__all__ = ["DuckDBEngine"]


class DuckDBEngine(Engine):
    """A table in a file of DuckDB."""

    def __init__(self, path: str | PathLike[str], table: str) -> None:
        self._connection = duckdb.connect(os.fspath(path))
        self._name, self._table = table, quoted(table)
        self.layout = self._read_layout()

    def _read_layout(self) -> Layout | None:
        columns = self._connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? AND "
            "schema_name = current_schema() AND database_name = current_database() "
            "ORDER BY column_index",
            [self._name],
        ).fetchall()
        if not columns:
            return None
        layout = layout_of(self._name, columns, 0, "BIT")
        command = f"SELECT bit_length(code) FROM {self._table} LIMIT 1"
        lengths = self._connection.execute(command).fetchall()
        if not lengths:
            raise ValueError(
                f"The table {self._name!r} has lost its rows, and with them the length of its "
                "codes: drop it."
            )
        return layout._replace(n_bits=lengths[0][0])

    def append(self, rows: pa.Table, layout: Layout) -> None:
        new = f"new rows of {self._name}"
        bits = as_bits(from_binary(rows["code"]), layout.n_bits)
        cursor = self._connection.cursor()
        cursor.execute("BEGIN")
        try:
            if self.layout is None:
                self._create(cursor, layout)
            first = self._next_position(cursor)
            positions = pa.array(np.arange(first, first + len(rows)))
            columns = [rows["id"], bits, *(rows[name] for name in layout.payload.names)]
            names = ["position", "id", "code", *layout.payload.names]
            cursor.register(new, pa.table([positions, *columns], names=names))
            cursor.execute(f"INSERT INTO {self._table} SELECT * FROM {quoted(new)}")
            cursor.unregister(new)
            cursor.execute("COMMIT")
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        self.layout = layout

    def _create(self, cursor, layout):
        payload = "".join(f", {quoted(field.name)} {TYPES[field.type]}" for field in layout.payload)
        cursor.execute(
            f"CREATE TABLE {self._table} (position BIGINT PRIMARY KEY, id {TYPES[layout.id_type]} "
            f"NOT NULL UNIQUE, code BIT NOT NULL{payload})"
        )

    def next_position(self) -> int:
        return 0 if self.layout is None else self._next_position(self._connection.cursor())

    def _next_position(self, cursor):
        cursor.execute(f"SELECT coalesce(max(position) + 1, 0) FROM {self._table}")
        return cursor.fetchall()[0][0]

    def select(self, ids: pa.Array, columns: Sequence[str]) -> pa.Table:
        if self.layout is None:
            return pa.table({"id": ids[:0], **{name: pa.array([]) for name in columns}})
        names = ["id", *columns]
        read = ", ".join(
            "code::VARCHAR" if name == "code" else f"t.{quoted(name)}" for name in names
        )
        cursor = self._connection.cursor()
        cursor.register("wanted ids", pa.table({"id": ids}))
        cursor.execute(f'SELECT {read} FROM {self._table} t JOIN "wanted ids" w ON t.id = w.id')
        table = as_table(cursor.fetchall(), self.layout.types() | {"code": pa.string()}, names)
        if "code" not in columns:
            return table
        packed = from_bits(table["code"].to_pylist(), self.layout.n_bits)
        return table.set_column(names.index("code"), "code", as_binary(packed))

    def count(self, conditions: Sequence[Condition]) -> int:
        clause, values = where_clause(conditions)
        cursor = self._connection.cursor()
        cursor.execute(f"SELECT count(*) FROM {self._table} {clause}", values)
        return cursor.fetchall()[0][0]

    def search(
        self, queries: NDArray[np.uint8], k: int, conditions: Sequence[Condition]
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        assert self.layout is not None
        clause, values = where_clause(conditions)
        command = (
            f"SELECT bit_count(xor(code, ?::BIT)), id FROM {self._table} {clause} "
            f"ORDER BY 1, position LIMIT {k}"
        )
        cursor = self._connection.cursor()
        found = [
            cursor.execute(command, [query, *values]).fetchall()
            for query in as_bits(queries, self.layout.n_bits).to_pylist()
        ]
        return nearest_as_arrays(found, self.layout)

    def close(self) -> None:
        self._connection.close()
