"""Stores of codes: the interface that all of them share, and one class per database."""

from collections.abc import Iterable, Sequence
from importlib import import_module
from numbers import Integral
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np

from ...utils._typing import MatrixLike, NDArray

if TYPE_CHECKING:
    from ._engine import Engine

__all__ = ["BaseStore", "DuckDBStore", "FaissStore", "LanceStore", "PostgresStore"]

Where: TypeAlias = Sequence[tuple[str, str, Any]] | None
"""Conditions on ids and payload."""

Batch: TypeAlias = tuple[MatrixLike, Any, Any]
"""Codes, ids or None, payload or None."""


class BaseStore:
    """Base class of stores.

    Subclasses open an `Engine`, which says how rows are kept and compared.
    """

    def __init__(self, engine: "Engine", packed: bool, n_bits: int | None) -> None:
        if n_bits is not None and (not isinstance(n_bits, Integral) or n_bits < 1):
            raise ValueError(f"n_bits must be an integer of at least 1, or None; got {n_bits!r}.")
        self.packed = packed
        self.n_bits = n_bits
        self._open_engine: Any = engine

    @property
    def _engine(self) -> "Engine":
        if self._open_engine is None:
            raise ValueError(f"This {type(self).__name__} is closed: open it anew.")
        return self._open_engine

    # --- Rows come in -------------------------------------------------------------------------

    def add(self, codes: MatrixLike, ids: Any = None, payload: Any = None) -> Self:
        """Store rows, in one transaction: all of them, or after an error none.

        Parameters
        ----------
        codes : array-like of shape (n, n_bits), or (n, n_bytes) if packed
            Codes of two values; all rows of a store have codes of one length.
        ids : array-like of shape (n,), default=None
            Integers, or strings, none of them in the store yet. None counts rows from 0.
        payload : DataFrame, Arrow table or dict of columns, default=None
            What hits are filtered by, a row per code: booleans, numbers, strings and times
            without a zone, values perhaps missing (None or NaN). All rows of a store have
            the same columns.

        Returns
        -------
        self : BaseStore
            The store with more rows.

        Raises
        ------
        ValueError
            If codes, ids or payload are not as above; nothing is stored then.
        """
        from ._rows import number_rows

        rows, n_bits = self._read(codes, ids, payload)
        rows = number_rows(rows, self._engine.next_position())
        rows, layout = self._fitting(rows, n_bits)
        stored = self._engine.select(rows["id"].combine_chunks(), [])["id"]
        if len(stored):
            raise ValueError(
                f"ids must be new; {len(stored)} of them are in the store, such as "
                f"{stored[0].as_py()!r}. To go on with a load that was interrupted, use load, "
                "which leaves rows out that it finds in the store."
            )
        self._engine.append(rows, layout)
        return self

    def load(self, batches: Iterable[Batch], *, verbose: int = 0) -> Self:
        """Store rows batch by batch; called again after an interruption, the rest of them.

        Every batch is stored as `add` does it, all of its rows or none. A row whose id is in
        the store already is left out, so that after a crash the same call, with the same
        rows in batches of any size, stores what was missing, and nothing twice.

        Parameters
        ----------
        batches : iterable of (codes, ids, payload)
            What `add` takes; ids and payload may be None. Ids that are None number the rows
            of the whole stream from 0.
        verbose : int, default=0
            Whether to print a line per batch.

        Returns
        -------
        self : BaseStore
            The store with more rows.

        Raises
        ------
        ValueError
            If a batch is not what `add` takes, or an id is in the store with another code.
            Batches before it stay stored.
        """
        from ._rows import number_rows

        n_read = n_found = 0
        for batch in batches:
            codes, ids, payload = _parts(batch)
            if not len(codes):
                continue
            rows, n_bits = self._read(codes, ids, payload)
            rows, layout = self._fitting(number_rows(rows, n_read), n_bits)
            missing = self._missing(rows)
            if len(missing):
                self._engine.append(missing, layout)
            n_read += len(rows)
            n_found += len(rows) - len(missing)
            if verbose:
                found = f", {n_found} of them found in the store" if n_found else ""
                print(f"[{type(self).__name__}] {n_read} rows{found}", flush=True)
        self._engine.finish()
        return self

    def _read(self, codes, ids, payload):
        from ._rows import as_rows, packed_codes

        packed, n_bits = packed_codes(codes, self.packed, self.n_bits, "codes")
        rows = as_rows(packed, ids, payload)
        self._engine.check_names(rows.column_names)
        return rows, n_bits

    def _fitting(self, rows, n_bits):
        from ._rows import check_fits

        return check_fits(rows, n_bits, self._engine.layout)

    def _missing(self, rows):
        """Rows whose ids are not in the store; others must have the codes that are there."""
        import pyarrow.compute as pc

        from ._rows import from_binary

        stored = self._engine.select(rows["id"].combine_chunks(), ["code"])
        if not len(stored):
            return rows
        places = pc.index_in(rows["id"], value_set=stored["id"].combine_chunks())
        there = places.is_valid()
        given = rows.filter(there)
        expected = from_binary(stored["code"].take(places.drop_null()))
        other = (from_binary(given["code"]) != expected).any(axis=1)
        if other.any():
            raise ValueError(
                f"The id {given['id'][int(other.argmax())].as_py()!r} is in the store with another "
                f"code, as are {other.sum() - 1} more of this batch: these are other rows, or "
                "codes of another hasher. Pass ids of their own, or use another store."
            )
        return rows.filter(pc.invert(there))

    # --- Rows are found -----------------------------------------------------------------------

    def kneighbors(
        self,
        X: MatrixLike,
        n_neighbors: int = 5,
        *,
        where: Where = None,
        return_distance: bool = True,
    ) -> tuple[NDArray[np.int32], NDArray[Any]] | NDArray[Any]:
        """Find the nearest rows of every query: exactly those of `HammingRanker.kneighbors`.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_bits), or (n_queries, n_bytes) if packed
            Query codes.
        n_neighbors : int, default=5
            Number of rows.
        where : list of (column, operator, value), default=None
            Conditions that rows must fulfil, all of them, in the form of the filters of
            ``pandas.read_parquet``: a column of the payload, or "id"; "==", "!=", "<", "<=",
            ">", ">=", "in" or "not in"; and a value, or a list of them. A missing value
            fulfils none.
        return_distance : bool, default=True
            Whether to return the distances, too.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_found), int32
            Hamming distances, rising; only if `return_distance` is True. `n_found` is
            `n_neighbors`, or less where fewer rows fulfil the conditions.
        ids : ndarray of shape (n_queries, n_found), int64 or object
            Ids of the rows, equal distances in the order in which they were stored.

        Raises
        ------
        ValueError
            If the store is empty or has fewer rows than `n_neighbors`, queries are no codes
            of its length, or `where` is no list of conditions on its columns.
        """
        from ._conditions import as_conditions
        from ._rows import packed_codes

        layout = self._layout()
        queries, n_bits = packed_codes(X, self.packed, self.n_bits, "X")
        if n_bits != layout.n_bits:
            raise ValueError(f"X has codes of {n_bits} bits, but the store of {layout.n_bits}.")
        if not isinstance(n_neighbors, Integral) or isinstance(n_neighbors, bool):
            raise ValueError(f"n_neighbors must be an integer; got {n_neighbors!r}.")
        n = len(self)
        if not 1 <= n_neighbors <= n:
            raise ValueError(
                f"n_neighbors must lie between 1 and {n}, the rows in the store; got {n_neighbors}."
            )
        conditions = as_conditions(where, layout.types())
        k = min(int(n_neighbors), self._engine.count(conditions) if conditions else n)
        if k:
            distances, ids = self._engine.search(queries, k, conditions)
        else:
            distances = np.empty((len(queries), 0), dtype=np.int32)
            ids = np.empty((len(queries), 0), dtype=layout.id_dtype)
        return (distances, ids) if return_distance else ids

    def get(self, ids: Any) -> Any:
        """Ids and payload of rows.

        Parameters
        ----------
        ids : array-like of shape (n,)
            Ids of rows in the store, as `kneighbors` returns them for a query.

        Returns
        -------
        rows : pyarrow.Table of n rows
            The column "id" and the payload, in the order of `ids`.

        Raises
        ------
        KeyError
            If an id is not in the store.
        """
        import pyarrow.compute as pc

        from ._rows import as_ids, check_id_type

        layout = self._layout()
        wanted = as_ids(ids)
        check_id_type(wanted.type, layout.id_type)
        rows = self._engine.select(pc.unique(wanted), layout.payload.names)
        places = pc.index_in(wanted, value_set=rows["id"].combine_chunks())
        if places.null_count:
            absent = wanted.filter(places.is_null())
            raise KeyError(
                f"{len(absent)} ids are not in the store, such as {absent[0].as_py()!r}."
            )
        return rows.take(places)

    def _layout(self):
        if self._engine.layout is None:
            raise ValueError(f"This {type(self).__name__} is empty: store codes first, with add.")
        return self._engine.layout

    @property
    def n_bits_(self) -> int:
        """Length of the codes in the store."""
        return self._layout().n_bits

    def __len__(self) -> int:
        return 0 if self._engine.layout is None else self._engine.count([])

    # --- The store is closed ------------------------------------------------------------------

    def close(self) -> None:
        """Let go of files and connections; what was stored stays."""
        if self._open_engine is not None:
            self._open_engine.close()
            self._open_engine = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _parts(batch):
    if not isinstance(batch, tuple) or len(batch) != 3:
        kind = (
            f"{type(batch).__name__} of length {len(batch)}" if hasattr(batch, "__len__") else batch
        )
        raise ValueError(
            "Every batch must be a tuple (codes, ids, payload), of which ids and payload may be "
            f"None; got {kind!r}."
        )
    return batch


def _module(store: str, name: str, extra: str) -> Any:
    """Module of this package that talks to a database, or an error that says what is missing."""
    try:
        return import_module(f"{__package__}.{name}")
    except ImportError as error:
        if error.name is None or error.name.startswith("sklearn_cmh"):
            raise
        raise ImportError(
            f"{store} needs {error.name}, which is not installed: "
            f'pip install "sklearn-cmh[{extra}]".'
        ) from error


class FaissStore(BaseStore):
    """Codes in an index of faiss, with ids and payload beside it.

    Parameters
    ----------
    path : str or path
        Directory, made if it is not there. ``codes.faiss`` in it is the index, for
        ``faiss.read_index_binary`` too, ``rows.sqlite`` all rows.
    index : {"flat", "multi_hash"}, default="flat"
        ``IndexBinaryFlat`` compares all rows. ``IndexBinaryMultiHash`` looks up those that are
        near; queries that it cannot answer exactly, because their neighbours are further away,
        and those with conditions compare all rows.
    packed : bool, default=False
        Whether codes come packed, as :func:`numpy.packbits` makes them.
    n_bits : int, default=None
        Length of packed codes if it is not a multiple of 8.

    See Also
    --------
    sklearn_cmh.HammingRanker : The same answers from memory.

    Notes
    -----
    The index is in memory, and is written by `close`. Rows that an interruption kept out of the
    written one are added when the store is opened, from ``rows.sqlite``, which has them.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_cmh.retrieval.stores import FaissStore
    >>> codes = [[1, 1, 1, 1], [1, 1, 1, -1], [-1, -1, 1, 1]]
    >>> folder = tempfile.TemporaryDirectory()
    >>> with FaissStore(folder.name) as store:
    ...     _ = store.add(codes, ids=["a", "b", "c"], payload={"year": [2019, 2020, 2021]})
    ...     print(store.kneighbors([[1, 1, 1, 1]], 2, where=[("year", ">=", 2020)]))
    (array([[1, 2]], dtype=int32), array([['b', 'c']], dtype=object))
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        index: Literal["flat", "multi_hash"] = "flat",
        packed: bool = False,
        n_bits: int | None = None,
    ) -> None:
        if index not in ("flat", "multi_hash"):
            raise ValueError(f'index must be "flat" or "multi_hash"; got {index!r}.')
        engine = _module("FaissStore", "_faiss", "faiss").FaissEngine(path, index)
        super().__init__(engine, packed, n_bits)

    @property
    def index_(self) -> Any:
        """The index of faiss, with all rows of the store, at their positions."""
        self._layout()
        return self._engine.index()  # type: ignore[attr-defined]


class DuckDBStore(BaseStore):
    """Codes in a table of DuckDB, as bit strings.

    Parameters
    ----------
    path : str or path
        File of the database, made if it is not there; ":memory:" is none.
    table : str, default="codes"
        Name of the table, which is made when the first rows come.
    packed : bool, default=False
        Whether codes come packed, as :func:`numpy.packbits` makes them.
    n_bits : int, default=None
        Length of packed codes if it is not a multiple of 8.

    See Also
    --------
    PostgresStore : The same on a server.
    sklearn_cmh.HammingRanker : The same answers from memory.

    Examples
    --------
    >>> from sklearn_cmh.retrieval.stores import DuckDBStore
    >>> codes = [[1, 1, 1, 1], [1, 1, 1, -1], [-1, -1, 1, 1]]
    >>> with DuckDBStore(":memory:") as store:
    ...     _ = store.add(codes, ids=["a", "b", "c"], payload={"year": [2019, 2020, 2021]})
    ...     print(store.kneighbors([[1, 1, 1, 1]], 2, where=[("year", ">=", 2020)]))
    (array([[1, 2]], dtype=int32), array([['b', 'c']], dtype=object))
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        table: str = "codes",
        packed: bool = False,
        n_bits: int | None = None,
    ) -> None:
        engine = _module("DuckDBStore", "_duckdb", "duckdb").DuckDBEngine(path, _name(table))
        super().__init__(engine, packed, n_bits)


class PostgresStore(BaseStore):
    """Codes in a table of PostgreSQL (14 or newer), as bit strings.

    Parameters
    ----------
    connection : str or psycopg.Connection
        Where the server is, as ``"host=db.example.org dbname=search user=me"`` or a URL; or an
        open connection in autocommit mode, which `close` leaves open.
    table : str, default="codes"
        Name of the table, which is made when the first rows come.
    packed : bool, default=False
        Whether codes come packed, as :func:`numpy.packbits` makes them.
    n_bits : int, default=None
        Length of packed codes if it is not a multiple of 8.

    See Also
    --------
    DuckDBStore : The same in a file.
    sklearn_cmh.HammingRanker : The same answers from memory.

    Examples
    --------
    >>> from sklearn_cmh.retrieval.stores import PostgresStore
    >>> with PostgresStore("host=localhost dbname=search") as store:  # doctest: +SKIP
    ...     store.add(codes, ids=["a", "b", "c"], payload={"year": [2019, 2020, 2021]})
    ...     distances, ids = store.kneighbors(queries, where=[("year", ">=", 2020)])
    """

    def __init__(
        self,
        connection: Any,
        *,
        table: str = "codes",
        packed: bool = False,
        n_bits: int | None = None,
    ) -> None:
        module = _module("PostgresStore", "_postgres", "postgres")
        super().__init__(module.PostgresEngine(connection, _name(table)), packed, n_bits)


class LanceStore(BaseStore):
    """Codes in a table of LanceDB, as vectors of bytes.

    Parameters
    ----------
    uri : str or path
        Directory of the database, made if it is not there, or object storage
        (``"s3://bucket/folder"``).
    table : str, default="codes"
        Name of the table, which is made when the first rows come.
    packed : bool, default=False
        Whether codes come packed, as :func:`numpy.packbits` makes them.
    n_bits : int, default=None
        Length of packed codes if it is not a multiple of 8.
    storage_options : dict, default=None
        Credentials and the like of the object storage, as ``lancedb.connect`` takes them.

    See Also
    --------
    sklearn_cmh.HammingRanker : The same answers from memory.

    Notes
    -----
    LanceDB has no unique columns: let only one process write at a time.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_cmh.retrieval.stores import LanceStore
    >>> codes = [[1, 1, 1, 1], [1, 1, 1, -1], [-1, -1, 1, 1]]
    >>> folder = tempfile.TemporaryDirectory()
    >>> with LanceStore(folder.name) as store:
    ...     _ = store.add(codes, ids=["a", "b", "c"], payload={"year": [2019, 2020, 2021]})
    ...     print(store.kneighbors([[1, 1, 1, 1]], 2, where=[("year", ">=", 2020)]))
    (array([[1, 2]], dtype=int32), array([['b', 'c']], dtype=object))
    """

    def __init__(
        self,
        uri: str | PathLike[str],
        *,
        table: str = "codes",
        packed: bool = False,
        n_bits: int | None = None,
        storage_options: dict[str, str] | None = None,
    ) -> None:
        module = _module("LanceStore", "_lance", "lance")
        engine = module.LanceEngine(uri, _name(table), storage_options)
        super().__init__(engine, packed, n_bits)


def _name(table):
    """A table's name that databases keep as it is."""
    if not isinstance(table, str) or not table or "\0" in table or len(table.encode()) > 63:
        raise ValueError(f"table must be a name of 1 to 63 bytes; got {table!r}.")
    return table
