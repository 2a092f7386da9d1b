"""Rows within a radius, and rankings of all rows."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..utils._typing import NDArray
from ._backends import load_backend
from ._codes import as_words, row_blocks
from ._distances import BLOCK, distance_dtype, distances_to, interruptible_batches
from ._multi_index import MultiIndex, look_up

__all__ = ["rank_rows", "within_radius"]


def within_radius(
    chunks: Sequence[NDArray[np.uint8]],
    queries: NDArray[np.uint8],
    radius: float,
    *,
    n_bits: int,
    backend: str = "numpy",
    indexes: Sequence[MultiIndex | None] | None = None,
) -> tuple[list[NDArray[np.int32]], list[NDArray[np.intp]]]:
    """Find all rows within a radius of every query.

    Parameters
    ----------
    chunks : list of ndarray of shape (n_chunk, n_bytes), uint8
        Packed database, in consecutive pieces.
    queries : ndarray of shape (n_queries, n_bytes), uint8
        Packed queries.
    radius : float
        Largest distance.
    n_bits : int
        Length of the codes.
    backend : {"numpy", "numba", "faiss"}, default="numpy"
        What compares all rows; the result is the same. NumPy stands in for faiss.
    indexes : list of MultiIndex or None, default=None
        Indexes of the pieces, looked up where that is quicker.

    Returns
    -------
    distances, indices : list of ndarray of shape (n_found,)
        Distances (int32) and database rows (intp) per query, in the order of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.hamming import within_radius
    >>> database = np.array([[0], [3], [1], [3]], dtype=np.uint8)
    >>> within_radius([database], np.array([[3]], dtype=np.uint8), 1, n_bits=8)[1]
    [array([1, 2, 3])]
    """
    whole = int(min(radius, n_bits))
    if indexes is None:
        return _compare_all(chunks, queries, whole, n_bits, backend)
    hits, answered = look_up(indexes, chunks, queries, whole, backend)
    if len(queries) == 1 and answered[0]:
        return [hits.distances], [hits.rows]
    bounds = np.searchsorted(hits.queries, np.arange(len(queries) + 1)).tolist()
    distances = [hits.distances[start:stop] for start, stop in pairwise(bounds)]
    indices = [hits.rows[start:stop] for start, stop in pairwise(bounds)]
    rest = np.flatnonzero(~answered)
    if len(rest):
        found = _compare_all(chunks, queries[rest], whole, n_bits, backend)
        for i, *near in zip(rest, *found, strict=True):
            distances[i], indices[i] = near
    return distances, indices


def _compare_all(chunks, queries, radius, n_bits, backend):
    """Distances and rows within a radius, per query, of all rows."""
    engine = load_backend("numpy" if backend == "faiss" else backend)
    found: list[list[tuple[Any, Any]]] = [[] for _ in queries]
    for first, rows in row_blocks(chunks, engine.rows_at_once(queries.shape[1], len(queries))):
        database = engine.layout(rows, len(queries))
        for part in interruptible_batches(rows, len(queries)):
            near = engine.within(database, queries[part], radius, n_bits)  # type: ignore[misc]
            for parts, (distances, columns) in zip(found[part], near, strict=True):
                parts.append((distances, columns + first))
    together = [
        parts[0] if len(parts) == 1 else tuple(map(np.concatenate, zip(*parts, strict=True)))
        for parts in found
    ]
    return [distances for distances, _ in together], [rows for _, rows in together]


def rank_rows(
    chunks: Sequence[NDArray[np.uint8]], queries: NDArray[np.uint8], *, n_bits: int
) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Rank the whole database for every query, equal distances by database row.

    Parameters
    ----------
    chunks : list of ndarray of shape (n_chunk, n_bytes), uint8
        Packed database, in consecutive pieces.
    queries : ndarray of shape (n_queries, n_bytes), uint8
        Packed queries.
    n_bits : int
        Length of the codes.

    Returns
    -------
    distances : ndarray of shape (n_queries, n), int32
        Distances, rising.
    indices : ndarray of shape (n_queries, n), intp
        Rows of the database.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.hamming import rank_rows
    >>> database = np.array([[0], [3], [1], [3]], dtype=np.uint8)
    >>> rank_rows([database], np.array([[3]], dtype=np.uint8), n_bits=8)
    (array([[0, 0, 1, 2]], dtype=int32), array([[1, 3, 2, 0]]))
    """
    query_words = as_words(queries)
    n = sum(len(chunk) for chunk in chunks)
    d = np.empty((len(queries), n), dtype=distance_dtype(n_bits))
    for first, rows in row_blocks(chunks, BLOCK):
        words = as_words(rows)
        for i, row in enumerate(d[:, first : first + words.shape[1]]):
            distances_to(words, query_words[:, i], out=row)
    indices = np.argsort(d, axis=1, kind="stable")
    return np.take_along_axis(d, indices, axis=1).astype(np.int32), indices
