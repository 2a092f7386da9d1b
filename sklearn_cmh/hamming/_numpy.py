"""The k nearest columns by NumPy: a threshold and counting, never a heap or a full sort."""

import numpy as np

from . import _distances
from ._codes import as_words
from ._distances import distance_dtype, distances_to

__all__ = ["layout", "look_up", "rows_at_once", "top_k", "within"]


# Queries that make up for laying out a database word by word.
MANY_QUERIES = 4


def rows_at_once(n_bytes, n_queries):
    """Rows searched at once."""
    return _distances.rows_at_once(n_bytes, n_queries, copied=n_queries >= MANY_QUERIES)


def layout(rows, n_queries):
    """Packed rows word by word, copied where enough queries make up for it."""
    return as_words(rows, copy=n_queries >= MANY_QUERIES)


def top_k(words, queries, k, limits, n_bits):
    """Find the k nearest columns, as `Backend` says; -1 where fewer are near enough."""
    queries = as_words(queries)
    n = words.shape[1]
    distances = np.full((len(limits), k), n_bits + 1, dtype=distance_dtype(n_bits + 1))
    indices = np.full((len(limits), k), -1, dtype=np.intp)
    d = np.empty(n, dtype=distances.dtype)
    radius = n_bits // 4
    for i, limit in enumerate(limits.tolist()):
        distances_to(words, queries[:, i], out=d)
        near = _k_or_more_near(d, k, min(radius, limit - 1), limit - 1)
        found = near[np.argsort(d[near], kind="stable")[:k]]
        indices[i, : len(found)] = found
        distances[i, : len(found)] = d[found]
        # Where the next query looks first.
        radius = int(distances[i, -1])
    return distances, indices


def within(words, queries, radius, n_bits):
    """Find the columns within a radius of every query, as `Backend` says."""
    d = np.empty(words.shape[1], dtype=distance_dtype(n_bits))
    for query in as_words(queries).T:
        near = np.flatnonzero(distances_to(words, query, out=d) <= radius)
        yield d[near].astype(np.int32), near


def look_up(packed, starts, table_rows, queries, keys, tables, masks, radius, most):
    """Find the candidates within a radius, as `Backend` says."""
    buckets = (keys[:, tables] ^ masks) + tables * starts.shape[1]
    begins = starts.ravel()[buckets]
    lengths = starts.ravel()[buckets + 1] - begins
    n_candidates = lengths.sum(axis=1)
    answered = n_candidates <= most
    lengths[~answered] = 0
    numbers = np.repeat(np.arange(len(queries)), n_candidates * answered)
    begins, lengths = begins.ravel(), lengths.ravel()
    shifts = begins - (np.cumsum(lengths) - lengths)
    rows = table_rows.ravel()[np.arange(len(numbers)) + np.repeat(shifts, lengths)]
    different = packed[rows]
    different ^= queries[numbers]
    distances = np.bitwise_count(as_words(different, copy=False)).sum(axis=0, dtype=np.int32)
    near = np.flatnonzero(distances <= radius)
    # One number for query and row; a row may have come out of several tables.
    _, first = np.unique(numbers[near] * len(packed) + rows[near], return_index=True)
    near = near[first]
    return numbers[near], rows[near].astype(np.intp), distances[near], answered


def _k_or_more_near(d, k, radius, most):
    """Columns within the smallest radius from a guess on that holds k, but not above `most`.

    A guess that holds far too many columns, which then had to be sorted, is reduced.
    """
    mask = d <= radius
    n_near = np.count_nonzero(mask)
    while n_near < k and radius < most:
        radius += 1
        np.less_equal(d, radius, out=mask)
        n_near = np.count_nonzero(mask)
    while n_near > 8 * k and radius > 0:
        n_near = np.count_nonzero(d < radius)
        if n_near < k:
            break
        radius -= 1
        np.less_equal(d, radius, out=mask)
    return np.flatnonzero(mask)
