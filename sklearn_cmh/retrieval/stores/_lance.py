"""Rows in a table of LanceDB, codes as vectors of bytes."""

import os
import re
from collections.abc import Sequence
from datetime import timedelta
from os import PathLike
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lancedb.expr import Expr, col, lit
from lancedb.index import BTree

from ...utils._typing import NDArray
from ._conditions import Condition
from ._engine import Engine
from ._rows import RESERVED, Layout, as_binary, from_binary

__all__ = ["LanceEngine"]

# Ids that a condition may list; more are looked for by their range.
LISTED = 1_000
# Rows asked for beyond the k nearest, so that most runs of equal distances end among them.
SLACK = 1_000
NAME = r"[A-Za-z0-9_.-]+"
# Characters that names of columns cannot have.
REFUSED = ".`"

COMPARE = {
    "==": Expr.eq,
    "!=": Expr.ne,
    "<": Expr.lt,
    "<=": Expr.lte,
    ">": Expr.gt,
    ">=": Expr.gte,
}


class LanceEngine(Engine):
    """A table in a directory, or on object storage."""

    def __init__(
        self, uri: str | PathLike[str], table: str, storage_options: dict[str, str] | None
    ) -> None:
        if not re.fullmatch(NAME, table):
            raise ValueError(
                "LanceDB has tables whose names are made of letters, digits, underscores, hyphens "
                f"and periods only; got table={table!r}."
            )
        # What others write is seen at once.
        self._database = lancedb.connect(
            os.fspath(uri), storage_options=storage_options, read_consistency_interval=timedelta(0)
        )
        self._name = table
        self._table = self._open()
        self.layout = None if self._table is None else self._read_layout()
        self._next = 0 if self._table is None else self._count_positions()

    def _open(self) -> Any:
        page: str | None = None
        while True:
            listed = self._database.list_tables(page_token=page)
            if self._name in listed.tables:
                return self._database.open_table(self._name)
            page = listed.page_token
            if not page:
                return None

    def _read_layout(self) -> Layout:
        schema = self._table.schema
        n_bits = (schema.metadata or {}).get(b"n_bits")
        if tuple(schema.names[:3]) != RESERVED or n_bits is None:
            raise ValueError(
                f"There is a table {self._name!r} that is no store: it has the columns "
                f"{schema.names}, where a store's begin with {list(RESERVED)}. Choose another name."
            )
        payload = pa.schema([schema.field(i).remove_metadata() for i in range(3, len(schema))])
        return Layout(int(n_bits), schema.field("id").type, payload)

    def _count_positions(self):
        positions = self._table.search().select(["position"]).to_arrow()["position"]
        return pc.max(positions).as_py() + 1 if len(positions) else 0

    def check_names(self, names: Sequence[str]) -> None:
        refused = [name for name in names if set(name) & set(REFUSED)]
        if refused:
            raise ValueError(
                f"LanceDB has no columns with {' or '.join(REFUSED)} in their names: rename the "
                f"columns {refused} of payload."
            )

    # --- Rows ---------------------------------------------------------------------------------

    def append(self, rows: pa.Table, layout: Layout) -> None:
        values = pa.array(from_binary(rows["code"]).ravel())
        positions = pa.array(np.arange(self._next, self._next + len(rows)))
        columns = {
            "position": positions,
            "id": rows["id"],
            "code": pa.FixedSizeListArray.from_arrays(values, layout.n_bytes),
            **{name: rows[name] for name in layout.payload.names},
        }
        stored = pa.table(columns).replace_schema_metadata({"n_bits": str(layout.n_bits)})
        if self._table is None:
            self._table = self._database.create_table(self._name, stored)
            self._table.create_index("id", config=BTree())
        else:
            self._table.add(stored)
        self.layout = layout
        self._next += len(rows)

    def finish(self) -> None:
        if self._table is not None:
            self._table.optimize()

    def next_position(self) -> int:
        return self._next

    def select(self, ids: pa.Array, columns: Sequence[str]) -> pa.Table:
        if self.layout is None:
            return pa.table({"id": ids[:0], **{name: pa.array([]) for name in columns}})
        if not len(ids):
            return self._table.search().select(["id", *columns]).limit(0).to_arrow()
        if len(ids) <= LISTED:
            wanted = col("id").isin(ids.to_pylist())
        else:
            ends = pc.min_max(ids).as_py()
            wanted = (col("id") >= lit(ends["min"])) & (col("id") <= lit(ends["max"]))
        found = self._table.search().where(wanted).select(["id", *columns]).to_arrow()
        found = found.filter(pc.is_in(found["id"], value_set=ids))
        if "code" not in columns:
            return found
        packed = found["code"].combine_chunks().flatten().to_numpy()
        codes = as_binary(packed.reshape(-1, self.layout.n_bytes))
        return found.set_column(found.column_names.index("code"), "code", codes)

    def count(self, conditions: Sequence[Condition]) -> int:
        return self._table.count_rows(_all_of(conditions).to_sql() if conditions else None)

    # --- Search -------------------------------------------------------------------------------

    def search(
        self, queries: NDArray[np.uint8], k: int, conditions: Sequence[Condition]
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        wanted = _all_of(conditions) if conditions else None
        found = self._within(list(queries), wanted, k + SLACK)
        by_query = found["query_index"].to_numpy() if len(queries) > 1 else np.zeros(len(found))
        distances, positions = found["_distance"].to_numpy(), found["position"].to_numpy()
        order = np.lexsort((positions, distances, by_query)).reshape(len(queries), -1)
        distances, ids = distances[order], found["id"].to_numpy()[order]
        if order.shape[1] == k + SLACK:
            # Where the run of rows at the last distance goes on, all of them are needed.
            for query in np.flatnonzero(distances[:, -1] == distances[:, k - 1]):
                last = float(distances[query, k - 1])
                nearer = int(np.searchsorted(distances[query], last))
                ties = self._within(queries[query], wanted, self.count([]), last)
                first = np.argsort(ties["position"].to_numpy())[: k - nearer]
                ids[query, nearer:k] = ties["id"].to_numpy()[first]
        return distances[:, :k].astype(np.int32), ids[:, :k]

    def _within(self, queries, wanted, limit, distance=None):
        """Rows by distance; those at one distance only, if it is given."""
        search = self._table.search(queries, vector_column_name="code").distance_type("hamming")
        search = search.bypass_vector_index().limit(limit)
        if wanted is not None:
            search = search.where(wanted, prefilter=True)
        if distance is not None:
            search = search.distance_range(distance, distance + 1)
        return search.select(["position", "id", "_distance"]).to_arrow()

    def close(self) -> None:
        self._table = None


def _all_of(conditions):
    """Conditions as one expression."""
    expression = _term(conditions[0])
    for condition in conditions[1:]:
        expression = expression & _term(condition)
    return expression


def _term(condition):
    column, operator, value = condition
    if operator in COMPARE:
        return COMPARE[operator](col(column), lit(value))
    if value:
        listed = col(column).isin(value)
        return listed if operator == "in" else ~listed
    # A missing value is neither in nor not in a list.
    return lit(False) if operator == "in" else col(column).eq(col(column))
