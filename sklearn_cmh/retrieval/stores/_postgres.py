"""Rows in a table of PostgreSQL, codes as bit(n)."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa

from ...utils._typing import NDArray
from ._conditions import Condition
from ._engine import Engine
from ._rows import Layout, as_binary, as_bits, from_binary, from_bits
from ._sql import TYPES, as_table, layout_of, nearest_as_arrays, where_clause
from ._sql import quoted as quoted_plainly

__all__ = ["PostgresEngine"]

FIRST_VERSION = 14
"""The first that counts the bits of a bit string."""

# Text is compared byte by byte, as everywhere else in this package, whatever the server's language.
TYPES = TYPES | {pa.string(): 'TEXT COLLATE "C"'}


class PostgresEngine(Engine):
    """A table on a server."""

    def __init__(self, connection: Any, table: str) -> None:
        self._is_own = isinstance(connection, str)
        if self._is_own:
            connection = psycopg.connect(connection, autocommit=True)
        elif not isinstance(connection, psycopg.Connection):
            raise TypeError(
                "connection must be a string for psycopg.connect, or a psycopg.Connection; got "
                f"{type(connection).__name__}."
            )
        elif not connection.autocommit:
            raise ValueError(
                "connection must be in autocommit mode, since every batch is a transaction of its "
                "own: psycopg.connect(..., autocommit=True)."
            )
        self._connection = connection
        try:
            self._check_version()
            self._name, self._table = table, quoted(table)
            self.layout = self._read_layout()
        except BaseException:
            self.close()
            raise

    def _check_version(self):
        version = self._connection.info.server_version // 10_000
        if version < FIRST_VERSION:
            raise ValueError(
                f"The server is PostgreSQL {version}, which cannot count the bits of a bit string; "
                f"PostgreSQL {FIRST_VERSION} or newer is needed."
            )

    def _read_layout(self) -> Layout | None:
        columns = self._connection.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = "
            "to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            [quoted_plainly(self._name)],
        ).fetchall()
        if not columns:
            return None
        layout = layout_of(self._name, columns, 0, "BIT(")
        (n_bits,) = re.findall(r"\d+", columns[2][1])
        return layout._replace(n_bits=int(n_bits))

    def append(self, rows: pa.Table, layout: Layout) -> None:
        bits = as_bits(from_binary(rows["code"]), layout.n_bits).to_pylist()
        payload = [rows[name].to_pylist() for name in layout.payload.names]
        with self._connection.transaction():
            if self.layout is None:
                self._create(layout)
            # Others may read meanwhile, but not count positions.
            self._connection.execute(f"LOCK TABLE {self._table} IN SHARE ROW EXCLUSIVE MODE", ())
            first = self._next_position()
            positions = range(first, first + len(rows))
            names = ", ".join(
                map(quoted_plainly, ("position", "id", "code", *layout.payload.names))
            )
            command = f"COPY {quoted_plainly(self._name)} ({names}) FROM STDIN"
            with self._connection.cursor() as cursor:
                with cursor.copy(command) as copy:
                    records = zip(positions, rows["id"].to_pylist(), bits, *payload, strict=True)
                    for record in records:
                        copy.write_row(record)
        self.layout = layout

    def _create(self, layout):
        payload = "".join(f", {quoted(field.name)} {TYPES[field.type]}" for field in layout.payload)
        self._connection.execute(
            f"CREATE TABLE {self._table} (position BIGINT PRIMARY KEY, id {TYPES[layout.id_type]} "
            f"NOT NULL UNIQUE, code BIT({layout.n_bits}) NOT NULL{payload})",
            (),
        )

    def next_position(self) -> int:
        return 0 if self.layout is None else self._next_position()

    def _next_position(self):
        return self._one(f"SELECT coalesce(max(position) + 1, 0) FROM {self._table}", ())

    def _one(self, command, values):
        return self._connection.execute(command, values).fetchone()[0]

    def select(self, ids: pa.Array, columns: Sequence[str]) -> pa.Table:
        if self.layout is None:
            return pa.table({"id": ids[:0], **{name: pa.array([]) for name in columns}})
        names = ["id", *columns]
        read = ", ".join("code::text" if name == "code" else quoted(name) for name in names)
        command = f"SELECT {read} FROM {self._table} WHERE id = ANY(%s)"
        found = self._connection.execute(command, [ids.to_pylist()]).fetchall()
        table = as_table(found, self.layout.types() | {"code": pa.string()}, names)
        if "code" not in columns:
            return table
        packed = from_bits(table["code"].to_pylist(), self.layout.n_bits)
        return table.set_column(names.index("code"), "code", as_binary(packed))

    def count(self, conditions: Sequence[Condition]) -> int:
        clause, values = where_clause(conditions, quoted, "%s")
        return self._one(f"SELECT count(*) FROM {self._table} {clause}", values)

    def search(
        self, queries: NDArray[np.uint8], k: int, conditions: Sequence[Condition]
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        assert self.layout is not None
        n_bits = self.layout.n_bits
        clause, values = where_clause(conditions, quoted, "%s")
        command = (
            f"SELECT bit_count(code # %s::bit({n_bits})), id FROM {self._table} {clause} "
            f"ORDER BY 1, position LIMIT {k}"
        )
        found = [
            self._connection.execute(command, [query, *values]).fetchall()
            for query in as_bits(queries, n_bits).to_pylist()
        ]
        return nearest_as_arrays(found, self.layout)

    def close(self) -> None:
        if self._is_own:
            self._connection.close()


def quoted(name: str) -> str:
    """Return an identifier, quoted, as part of a command that has parameters."""
    return quoted_plainly(name).replace("%", "%%")
