"""Rows in SQLite, which is the truth, and their codes in an index of faiss, which follows it."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
from sklearn.utils import gen_batches

from ...hamming import block_rows, nearest
from ...utils._typing import NDArray
from ._conditions import Condition
from ._engine import Engine
from ._rows import TIME, Layout
from ._sql import TYPES, as_table, layout_of, quoted, where_clause

__all__ = ["FaissEngine"]

# Rows read at once into the index; ids looked up at once, fewer than SQLite's parameters.
BLOCK = 2**16
IDS = 2**14
# Bits of the substrings that a multi-hash index looks up, and how many of them it flips at most.
HASH_BITS = 16
FLIPS = 2


class FaissEngine(Engine):
    """A directory with an index of faiss and a file of SQLite."""

    def __init__(self, path: str | PathLike[str], kind: str) -> None:
        self._folder = Path(path)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._kind = kind
        # Transactions are begun by hand; a web server's threads may share the connection.
        self._rows = sqlite3.connect(
            self._folder / "rows.sqlite", isolation_level=None, check_same_thread=False
        )
        self._index: Any = None
        self._n_written = 0
        self.layout = self._read_layout()

    def _read_layout(self) -> Layout | None:
        columns = self._rows.execute("SELECT name, type FROM pragma_table_info('codes')").fetchall()
        if not columns:
            return None
        ((n_bits,),) = self._rows.execute("SELECT n_bits FROM layout")
        return layout_of("codes", columns, n_bits, "BLOB")

    # --- Rows ---------------------------------------------------------------------------------

    def append(self, rows: pa.Table, layout: Layout) -> None:
        marks = ", ".join(["?"] * (rows.num_columns + 1))
        values = [_plain(rows[name]) for name in ("id", "code", *layout.payload.names)]
        self._rows.execute("BEGIN IMMEDIATE")
        try:
            if self.layout is None:
                self._create(layout)
            first = self.next_position()
            positions = range(first, first + len(rows))
            self._rows.executemany(
                f"INSERT INTO codes VALUES ({marks})", zip(positions, *values, strict=True)
            )
            self._rows.execute("COMMIT")
        except BaseException:
            self._rows.execute("ROLLBACK")
            raise
        self.layout = layout

    def _create(self, layout):
        payload = "".join(f", {quoted(field.name)} {TYPES[field.type]}" for field in layout.payload)
        self._rows.execute(
            f"CREATE TABLE codes (position INTEGER PRIMARY KEY, id {TYPES[layout.id_type]} "
            f"NOT NULL UNIQUE, code BLOB NOT NULL{payload})"
        )
        self._rows.execute("CREATE TABLE layout (n_bits INTEGER NOT NULL)")
        self._rows.execute("INSERT INTO layout VALUES (?)", [layout.n_bits])

    def next_position(self) -> int:
        if not self._rows.execute("SELECT 1 FROM pragma_table_info('codes')").fetchone():
            return 0
        return self._rows.execute("SELECT coalesce(max(position) + 1, 0) FROM codes").fetchone()[0]

    def select(self, ids: pa.Array, columns: Sequence[str]) -> pa.Table:
        if self.layout is None:
            return pa.table({"id": ids[:0], **{name: pa.array([]) for name in columns}})
        found = self._look_up("id", ids.to_pylist(), ["id", *columns])
        types = self.layout.types() | {"code": pa.binary(self.layout.n_bytes)}
        kinds = {name: _kept_as(kind) for name, kind in types.items()}
        table = as_table(found, kinds, ["id", *columns])
        return table.cast(pa.schema([(name, types[name]) for name in table.column_names]))

    def _look_up(self, key: str, values: Sequence[Any], columns: Sequence[str]) -> list[Any]:
        names = ", ".join(map(quoted, columns))
        found = []
        for part in gen_batches(len(values), IDS):
            marks = ", ".join(["?"] * (part.stop - part.start))
            command = f"SELECT {names} FROM codes WHERE {quoted(key)} IN ({marks})"
            found += self._rows.execute(command, values[part]).fetchall()
        return found

    def count(self, conditions: Sequence[Condition]) -> int:
        clause, values = self._clause(conditions)
        return self._rows.execute(f"SELECT count(*) FROM codes {clause}", values).fetchone()[0]

    def _clause(self, conditions):
        clause, values = where_clause(conditions)
        return clause, [
            as_text(value) if hasattr(value, "isoformat") else value for value in values
        ]

    # --- The index ----------------------------------------------------------------------------

    def index(self) -> Any:
        """Return the index with all rows, those added since it was written too."""
        n = self.next_position()
        if self._index is None:
            self._index = self._read_index()
        if self._index.ntotal > n:
            self._index = None
            raise RuntimeError(
                f"{self._folder / 'codes.faiss'} has more rows than the {n} of rows.sqlite beside "
                "it: they do not belong together. Remove codes.faiss; it is made anew."
            )
        for codes in self._codes_from(self._index.ntotal):
            self._index.add(codes)
        return self._index

    def _read_index(self):
        path = self._folder / "codes.faiss"
        if path.exists():
            index = faiss.read_index_binary(os.fspath(path))
            if type(index) is type(self._new_index()):
                self._n_written = index.ntotal
                return index
        return self._new_index()

    def _new_index(self):
        assert self.layout is not None
        n_bits = 8 * self.layout.n_bytes
        if self._kind == "flat":
            return faiss.IndexBinaryFlat(n_bits)
        width = min(HASH_BITS, n_bits)
        return faiss.IndexBinaryMultiHash(n_bits, n_bits // width, width)

    def _codes_from(self, first: int) -> Iterator[NDArray[np.uint8]]:
        command = "SELECT code FROM codes WHERE position >= ? ORDER BY position"
        cursor = self._rows.execute(command, [first])
        while records := cursor.fetchmany(BLOCK):
            together = b"".join(code for (code,) in records)
            yield np.frombuffer(together, dtype=np.uint8).reshape(len(records), -1)

    # --- Search -------------------------------------------------------------------------------

    def search(
        self, queries: NDArray[np.uint8], k: int, conditions: Sequence[Condition]
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        index = self.index()
        if conditions:
            distances, positions = self._filtered(index, queries, k, conditions)
        elif self._kind == "flat":
            distances, positions = index.search(queries, k)
        else:
            distances, positions = search_by_hash(index, queries, k)
        return distances, self._ids(positions, self.layout)

    def _filtered(self, index, queries, k, conditions):
        clause, values = self._clause(conditions)
        command = f"SELECT position FROM codes {clause} ORDER BY position"
        cursor = self._rows.execute(command, values)
        allowed = np.fromiter((position for (position,) in cursor), dtype=np.int64)
        flat = _all_rows(index)
        codes = faiss.rev_swig_ptr(flat.xb.data(), flat.ntotal * flat.code_size)
        codes = codes.reshape(flat.ntotal, flat.code_size)[allowed]
        distances, rows = nearest([codes], queries, k, n_bits=flat.d, backend="faiss")
        return distances, allowed[rows]

    def _ids(self, positions, layout):
        different, places = np.unique(positions, return_inverse=True)
        records = self._look_up("position", different.tolist(), ["position", "id"])
        ids = np.array([each for _, each in sorted(records)], layout.id_dtype)
        return ids[places].reshape(positions.shape)

    def close(self) -> None:
        if self.layout is not None and self.index().ntotal > self._n_written:
            path = self._folder / "codes.faiss"
            unfinished = path.with_suffix(".unfinished")
            faiss.write_index_binary(self._index, os.fspath(unfinished))
            unfinished.replace(path)
        self._index = None
        self._rows.close()


def search_by_hash(
    index: Any, queries: NDArray[np.uint8], k: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Exact k nearest rows by an IndexBinaryMultiHash, or by its rows where that cannot do.

    With f bits flipped in each of h substrings, it finds all rows of distance less than h (f + 1):
    a row that is missed differs in more than f bits of every substring. A query with k rows as
    near as that is answered.
    """
    distances = np.empty((len(queries), k), dtype=np.int32)
    positions = np.empty((len(queries), k), dtype=np.int64)
    waiting = np.arange(len(queries))
    for n_flips in range(min(FLIPS, index.b) + 1):
        index.nflip = n_flips
        radius = index.nhash * (n_flips + 1)
        answered = np.zeros(len(waiting), dtype=bool)
        for part in (
            gen_batches(len(waiting), block_rows(12 * index.ntotal)) if len(waiting) else ()
        ):
            rows = waiting[part]
            limits, near, places = index.range_search(queries[rows], radius)
            limits = limits.astype(np.intp)
            for i, query in enumerate(rows):
                found = slice(limits[i], limits[i + 1])
                if found.stop - found.start < k:
                    continue
                order = np.lexsort((places[found], near[found]))[:k]
                distances[query], positions[query] = near[found][order], places[found][order]
                answered[part.start + i] = True
        waiting = waiting[~answered]
    if len(waiting):
        distances[waiting], positions[waiting] = _all_rows(index).search(queries[waiting], k)
    return distances, positions


def _all_rows(index):
    """Flat index of all rows of an index."""
    return getattr(index, "storage", index)


# --- Values of SQLite -------------------------------------------------------------------------


def _kept_as(kind):
    """Arrow type of what SQLite keeps: truth values are numbers, times are text."""
    if kind == pa.bool_():
        return pa.int64()
    return pa.string() if kind == TIME else kind


def _plain(column):
    values = column.to_pylist()
    if column.type != TIME:
        return values
    return [None if value is None else as_text(value) for value in values]


def as_text(time: Any) -> str:
    """Text of a time, that sorts as times do."""
    return time.isoformat(sep=" ", timespec="microseconds")
