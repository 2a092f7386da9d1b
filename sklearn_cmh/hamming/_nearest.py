"""The exact k nearest rows: block by block of the database, in threads, by any backend."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeVar

import numpy as np
from joblib import effective_n_jobs

from ..utils._typing import NDArray
from ._backends import load_backend
from ._codes import row_blocks, row_parts
from ._distances import distance_dtype, interruptible_batches

__all__ = ["in_threads", "nearest"]

Part = TypeVar("Part")
Result = TypeVar("Result")

# What nobody sets: an event of its own costs a single query as much as to compare 10^4 codes.
NEVER = Event()


def nearest(
    chunks: Sequence[NDArray[np.uint8]],
    queries: NDArray[np.uint8],
    k: int,
    *,
    n_bits: int,
    backend: str = "numpy",
    n_jobs: int | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Find the k nearest rows of every query, equal distances by database row.

    Parameters
    ----------
    chunks : list of ndarray of shape (n_chunk, n_bytes), uint8
        Packed database, in consecutive pieces.
    queries : ndarray of shape (n_queries, n_bytes), uint8
        Packed queries.
    k : int
        Number of rows, at most as many as the database has.
    n_bits : int
        Length of the codes.
    backend : {"numpy", "numba", "faiss"}, default="numpy"
        What computes; the result is the same.
    n_jobs : int, default=None
        Number of threads.

    Returns
    -------
    distances : ndarray of shape (n_queries, k), int32
        Distances, rising.
    indices : ndarray of shape (n_queries, k), intp
        Rows of the database.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.hamming import nearest
    >>> database = np.array([[0], [3], [1], [3]], dtype=np.uint8)
    >>> nearest([database], np.array([[3]], dtype=np.uint8), 3, n_bits=8)
    (array([[0, 0, 1]], dtype=int32), array([[1, 3, 2]]))
    """
    engine = load_backend(backend)
    # One query is answered in fractions of a millisecond: nothing that it can do without.
    n_parts = 1 if len(queries) == 1 else effective_n_jobs(n_jobs)
    if n_parts == 1:
        distances, indices = _search(chunks, queries, k, n_bits, engine, NEVER)
        return distances.astype(np.int32), indices

    # Every part of the rows is laid out once, of the queries by all threads; but every part of the
    # rows finds k of them for every query.
    if n_parts * len(queries) * k <= sum(map(len, chunks)):

        def search_rows(part: tuple[int, list[NDArray[np.uint8]]], interrupted: Event):
            first, rows = part
            distances, indices = _search(rows, queries, k, n_bits, engine, interrupted)
            return distances, indices + first

        found = in_threads(search_rows, list(row_parts(chunks, n_parts)))
        distances, indices = (np.concatenate(part, axis=1) for part in zip(*found, strict=True))
        distances, indices = _first_k(distances, indices, k)
    else:

        def search(part: NDArray[np.uint8], interrupted: Event):
            return _search(chunks, part, k, n_bits, engine, interrupted)

        found = in_threads(search, np.array_split(queries, min(n_parts, len(queries))))
        distances, indices = map(np.concatenate, zip(*found, strict=True))
    return distances.astype(np.int32), indices


def in_threads(function: Callable[[Part, Event], Result], parts: Sequence[Part]) -> list[Result]:
    """Call a function on every part, in one thread each.

    The calling thread, which is awake already, takes a part too: in the few milliseconds of a
    search it shows when threads have to be woken up, and joblib takes longer still.

    Parameters
    ----------
    function : callable
        Takes a part, and an event that is set when its result is no longer wanted, because
        the user has interrupted or another part has failed.
    parts : list
        At least two parts.

    Returns
    -------
    results : list
        What the function returns, in the order of the parts.
    """
    first, *others = parts
    interrupted = Event()
    with ThreadPoolExecutor(len(others)) as pool:
        try:
            pending = [pool.submit(function, part, interrupted) for part in others]
            return [function(first, interrupted), *(future.result() for future in pending)]
        except BaseException:
            interrupted.set()
            raise


def _search(chunks, queries, k, n_bits, engine, interrupted):
    n_rows = engine.rows_at_once(queries.shape[1], len(queries))
    if len(queries) == 1 and len(chunks) == 1 and len(chunks[0]) <= n_rows:
        # Nothing to merge.
        limit = np.array([n_bits + 1])
        return engine.top_k(engine.layout(chunks[0], 1), queries, k, limit, n_bits)
    # A distance above all others: nothing found yet, so everything is nearer.
    distances = np.full((len(queries), k), n_bits + 1, dtype=distance_dtype(n_bits + 1))
    indices = np.full((len(queries), k), -1, dtype=np.intp)
    for first, rows in row_blocks(chunks, n_rows):
        m = min(k, len(rows))
        database = engine.layout(rows, len(queries))
        for part in interruptible_batches(rows, len(queries)):
            if interrupted.is_set():
                return distances, indices
            near, columns = engine.top_k(database, queries[part], m, distances[part, -1], n_bits)
            if first == 0:
                distances[part, :m], indices[part, :m] = near, columns
            else:
                _merge(distances[part], indices[part], near, columns + first)
    return distances, indices


def _merge(distances, indices, new_distances, new_indices):
    """Put rows of a later part of the database among those found before, in place."""
    # Most later blocks have nothing nearer for most queries.
    better = np.flatnonzero(new_distances[:, 0] < distances[:, -1])
    if not len(better):
        return
    distances[better], indices[better] = _first_k(
        np.concatenate([distances[better], new_distances[better]], axis=1),
        np.concatenate([indices[better], new_indices[better]], axis=1),
        distances.shape[1],
    )


def _first_k(distances, indices, k):
    """The k nearest of more; of equal distances, those that stand first."""
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1)
