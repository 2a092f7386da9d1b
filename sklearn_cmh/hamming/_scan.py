"""Rows within a radius, and rankings of all rows."""

from collections.abc import Sequence

import numpy as np

from ..utils._typing import NDArray
from ._codes import as_words, row_blocks
from ._distances import BLOCK, distance_dtype, distances_to

__all__ = ["rank_rows", "within_radius"]


def within_radius(
    chunks: Sequence[NDArray[np.uint8]],
    queries: NDArray[np.uint8],
    radius: float,
    *,
    n_bits: int,
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
    query_words = as_words(queries)
    found: list[list[tuple[NDArray[np.int32], NDArray[np.intp]]]] = [[] for _ in queries]
    for first, rows in row_blocks(chunks, BLOCK):
        words = as_words(rows)
        d = np.empty(words.shape[1], dtype=distance_dtype(n_bits))
        for i, parts in enumerate(found):
            near = np.flatnonzero(distances_to(words, query_words[:, i], out=d) <= radius)
            parts.append((d[near].astype(np.int32), near + first))
    merged = [[np.concatenate(part) for part in zip(*parts, strict=True)] for parts in found]
    return [d for d, _ in merged], [rows for _, rows in merged]


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
