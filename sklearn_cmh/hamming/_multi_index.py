"""Exact neighbours within a small radius in less than linear time, by tables of substrings.

After M. Norouzi, A. Punjani, D. J. Fleet, "Fast exact search in Hamming space with multi-index
hashing", IEEE TPAMI 36(6), 2014. Codes within radius r = f m + a of a query, 0 <= a < m, agree
with it up to f bits in one of the first a + 1 out of m disjoint substrings, or up to f - 1 bits
in one of the others: if all of them differed by more, the codes would differ by more than r.
Part of a substring may stand for it, since it never differs by more bits.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from math import comb
from typing import Any, NamedTuple

import numpy as np

from ..utils._typing import NDArray
from ._backends import load_backend
from ._codes import as_words
from ._distances import distance_dtype, distances_to, slices

__all__ = ["Hits", "MultiIndex", "index_chunks", "look_up", "nearest_by_index"]

# Bits of the part of a substring that is looked up, and substrings at most.
KEY_BITS = 16
N_KEYS = 2**KEY_BITS
MAX_TABLES = 32
# Rows that are worth an index. Candidates of a query at most, as a share of the rows: more of
# them take longer than to compare all rows one after the other.
MIN_ROWS = 2**14
MAX_SHARE = 1 / 128
# Candidates compared at most, and buckets looked up, at once.
AT_ONCE = 2**19


class Hits(NamedTuple):
    """Rows within a radius, by query and then by row.

    Attributes
    ----------
    queries, rows : ndarray of shape (n_hits,), intp
        Which query found which row.
    distances : ndarray of shape (n_hits,), int32
        At what distance.
    """

    queries: NDArray[np.intp]
    rows: NDArray[np.intp]
    distances: NDArray[np.int32]

    @classmethod
    def together(cls, parts: "Sequence[Hits]") -> "Hits":
        """Hits of any number of parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(*map(np.concatenate, zip(*parts, strict=True))) if parts else NO_HITS


NO_HITS = Hits(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.int32))


class MultiIndex:
    """Tables of which rows have which 16 bits in which substring of their codes.

    There are as many substrings as fit, 32 at most, and a table takes 4 bytes a row: as much
    memory again as two packed codes of up to 512 bits.

    Parameters
    ----------
    packed : ndarray of shape (n, n_bytes), uint8
        Packed codes, n below 2^32.
    n_bits : int
        Length of the codes, at least 16.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.hamming import MultiIndex
    >>> packed = np.array([[0, 0, 0, 0], [0, 1, 0, 0], [9, 9, 9, 9]], dtype=np.uint8)
    >>> index = MultiIndex(packed, 32)
    >>> hits, answered = index.within(packed[:1], 1, max_candidates=10)
    >>> hits.rows, answered
    (array([0, 1]), array([ True]))
    """

    def __init__(self, packed: NDArray[np.uint8], n_bits: int) -> None:
        self.packed = packed
        self.n_tables = min(MAX_TABLES, n_bits // KEY_BITS)
        # Substrings are of equal length; the first two bytes of each are its key.
        firsts = n_bits // 8 // self.n_tables * np.arange(self.n_tables)
        self.key_bytes = np.column_stack([firsts, firsts + 1]).ravel()
        self.starts = np.zeros((self.n_tables, N_KEYS + 1), dtype=np.intp)
        self.rows = np.empty((self.n_tables, len(packed)), dtype=np.uint32)
        for i, (starts, rows) in enumerate(zip(self.starts, self.rows, strict=True)):
            _fill_table(_as_keys(packed[:, self.key_bytes[2 * i : 2 * i + 2]]), starts, rows)
            # Among the rows of all tables.
            starts += i * len(packed)

    @property
    def nbytes(self) -> int:
        """Memory of the tables."""
        return self.starts.nbytes + self.rows.nbytes

    def within(
        self,
        queries: NDArray[np.uint8],
        radius: int,
        max_candidates: float,
        backend: str = "numpy",
    ) -> tuple[Hits, NDArray[np.bool_]]:
        """Find the rows within a radius of every query that has few candidates.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_bytes), uint8
            Packed queries.
        radius : int
            Largest distance.
        max_candidates : float
            Candidates of a query at most; a query with more of them is not answered.
        backend : {"numpy", "numba", "faiss"}, default="numpy"
            What compares candidates; the result is the same.

        Returns
        -------
        hits : Hits
            What was found.
        answered : ndarray of shape (n_queries,), bool
            Whether a query has been answered.
        """
        n_buckets = count_buckets(self.n_tables, radius)
        if n_buckets > max_candidates:
            return NO_HITS, np.zeros(len(queries), dtype=bool)
        # No row is more than once in a table.
        most = int(min(max_candidates, self.rows.size))
        n_at_once = max(1, AT_ONCE // max(n_buckets, most))
        if len(queries) <= n_at_once:
            *found, answered = self.look_up(queries, radius, most, backend)
            return Hits(*found), answered
        answered = np.empty(len(queries), dtype=bool)
        parts = []
        for part in slices(len(queries), n_at_once):
            *found, answered[part] = self.look_up(queries[part], radius, most, backend)
            found[0] += part.start
            parts.append(Hits(*found))
        return Hits.together(parts), answered

    def look_up(
        self, queries: NDArray[np.uint8], radius: int, most: int, backend: str
    ) -> tuple[NDArray[Any], ...]:
        """Numbers of queries, rows and distances of what `within` finds, and who is answered."""
        keys = np.take(queries, self.key_bytes, axis=1).view(np.uint16)
        asked = queries, keys, *_buckets_within(self.n_tables, radius), radius, most
        return load_backend(backend).look_up(self.packed, self.starts, self.rows, *asked)


def _as_keys(pairs: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Keys from pairs of bytes (..., 2)."""
    return np.ascontiguousarray(pairs).view(np.uint16)[..., 0]


def _fill_table(
    keys: NDArray[np.uint16], starts: NDArray[np.intp], rows: NDArray[np.uint32]
) -> None:
    """Rows by key, equal keys in their order, and where the rows of every key start, in place."""
    np.cumsum(np.bincount(keys, minlength=N_KEYS), out=starts[1:])
    rows[:] = np.argsort(keys, kind="stable")


def _flips(n_tables: int, radius: int) -> list[int]:
    """Bits that may differ in the key of every table that is looked up."""
    flips, rest = divmod(radius, n_tables)
    return [flips] * (rest + 1) + [flips - 1] * (n_tables - rest - 1 if flips else 0)


@lru_cache(maxsize=8)
def count_buckets(n_tables: int, radius: int) -> int:
    """Count the keys that are looked up for a query."""
    return sum(comb(KEY_BITS, n) for flips in _flips(n_tables, radius) for n in range(flips + 1))


@lru_cache(maxsize=8)
def _buckets_within(n_tables: int, radius: int) -> tuple[NDArray[np.intp], NDArray[np.uint16]]:
    """Tables that are looked up, and the bits in which the key is not that of the query."""
    bits = [1 << i for i in range(KEY_BITS)]
    found = [
        (table, sum(chosen))
        for table, flips in enumerate(_flips(n_tables, radius))
        for n in range(flips + 1)
        for chosen in combinations(bits, n)
    ]
    tables, masks = zip(*found, strict=True)
    return np.array(tables, dtype=np.intp), np.array(masks, dtype=np.uint16)


# --- A database in pieces ---------------------------------------------------------------------


def index_chunks(
    chunks: Sequence[NDArray[np.uint8]], n_bits: int, old: Sequence[MultiIndex | None] = ()
) -> list[MultiIndex | None]:
    """Indexes of the pieces of a database, those there are already and new ones.

    Parameters
    ----------
    chunks : list of ndarray of shape (n_chunk, n_bytes), uint8
        The pieces.
    n_bits : int
        Length of the codes.
    old : list of MultiIndex or None
        Indexes of some pieces.

    Returns
    -------
    indexes : list of MultiIndex or None
        One for every piece; None for one with few rows, or for short codes.
    """
    known = {id(index.packed): index for index in old if index is not None}
    short = n_bits < 2 * KEY_BITS
    return [
        None
        if short or len(chunk) < MIN_ROWS
        else known.get(id(chunk)) or MultiIndex(chunk, n_bits)
        for chunk in chunks
    ]


def look_up(
    indexes: Sequence[MultiIndex | None],
    chunks: Sequence[NDArray[np.uint8]],
    queries: NDArray[np.uint8],
    radius: int,
    backend: str = "numpy",
) -> tuple[Hits, NDArray[np.bool_]]:
    """Find the rows within a radius, of the queries for which that is quick.

    Parameters
    ----------
    indexes : list of MultiIndex or None
        Indexes of the pieces of a database; a piece without one is compared as a whole.
    chunks : list of ndarray of shape (n_chunk, n_bytes), uint8
        The pieces.
    queries : ndarray of shape (n_queries, n_bytes), uint8
        Packed queries.
    radius : int
        Largest distance.
    backend : {"numpy", "numba", "faiss"}, default="numpy"
        What compares candidates; the result is the same.

    Returns
    -------
    hits : Hits
        What was found; of queries that are not answered, in part.
    answered : ndarray of shape (n_queries,), bool
        Whether a query has been answered.
    """
    if len(chunks) == 1 and indexes[0] is not None:
        return indexes[0].within(queries, radius, MAX_SHARE * len(chunks[0]), backend)
    answered = np.ones(len(queries), dtype=bool)
    parts, first = [], 0
    for index, chunk in zip(indexes, chunks, strict=True):
        if index is None:
            hits = _scan(chunk, queries, radius)
        else:
            hits, here = index.within(queries, radius, MAX_SHARE * len(chunk), backend)
            answered &= here
        parts.append(hits._replace(rows=hits.rows + first) if first else hits)
        first += len(chunk)
    hits = Hits.together(parts)
    order = np.argsort(hits.queries, kind="stable")
    return Hits(hits.queries[order], hits.rows[order], hits.distances[order]), answered


def _scan(chunk, queries, radius):
    """Hits among few rows."""
    words, query_words = as_words(chunk), as_words(queries)
    d = np.empty((len(queries), len(chunk)), dtype=distance_dtype(8 * chunk.shape[1]))
    for i, row in enumerate(d):
        distances_to(words, query_words[:, i], out=row)
    numbers, rows = np.nonzero(d <= radius)
    return Hits(numbers, rows, d[numbers, rows].astype(np.int32))


def nearest_by_index(
    indexes: Sequence[MultiIndex | None],
    chunks: Sequence[NDArray[np.uint8]],
    queries: NDArray[np.uint8],
    k: int,
    n_bits: int,
    backend: str = "numpy",
) -> tuple[NDArray[np.int32], NDArray[np.intp], NDArray[np.bool_]]:
    """Find the k nearest rows, of the queries that have as many within a small radius.

    Parameters
    ----------
    indexes, chunks, queries
        As in `look_up`.
    k : int
        Number of rows.
    n_bits : int
        Length of the codes.
    backend : {"numpy", "numba", "faiss"}, default="numpy"
        What compares candidates; the result is the same.

    Returns
    -------
    distances : ndarray of shape (n_queries, k), int32
        Distances, rising.
    indices : ndarray of shape (n_queries, k), intp
        Rows of the database, equal distances in their order.
    answered : ndarray of shape (n_queries,), bool
        Whether a query has been answered; the rows of the others are empty.
    """
    distances = np.empty((len(queries), k), dtype=np.int32)
    indices = np.empty((len(queries), k), dtype=np.intp)
    answered = np.zeros(len(queries), dtype=bool)
    n_tables = min(MAX_TABLES, n_bits // KEY_BITS)
    # The largest radius at which no bit of a key may differ, after a smaller one.
    for radius in sorted({n_tables // 4, n_tables - 1}):
        asked = np.flatnonzero(~answered)
        if len(asked) == 0:
            break
        hits, here = look_up(indexes, chunks, queries[asked], radius, backend)
        if len(queries) == 1:
            # What follows takes as long again as the search.
            if here[0] and len(hits.rows) >= k:
                best = np.argsort(hits.distances, kind="stable")[:k]
                return hits.distances[best][None], hits.rows[best][None], here
            continue
        here &= np.bincount(hits.queries, minlength=len(asked)) >= k
        order = np.lexsort((hits.distances, hits.queries))
        starts = np.searchsorted(hits.queries, np.flatnonzero(here))
        best = order[starts[:, None] + np.arange(k)]
        distances[asked[here]], indices[asked[here]] = hits.distances[best], hits.rows[best]
        answered[asked[here]] = True
    return distances, indices, answered
