"""What every ranking metric needs: counts of rows by distance and relevance.

Under random tie orders a metric depends on a ranking only through its histogram:
how many rows lie at every distance, and how many labels they share with the query
(`Retrieval.histograms`). With ties broken by database row it depends on the shared
labels in the order of the ranking (`Retrieval.rankings`).

Where the one relevant row is the query's own partner (`PairRetrieval`), both follow from
how many rows are nearer than it, and how many are as near.
"""

from copy import copy
from functools import partial

import numpy as np
from scipy import sparse
from sklearn.utils import gen_batches

from ...data import label_patterns
from ...hamming import (
    as_words,
    block_rows,
    choose_backend,
    distance_dtype,
    distances_to,
    load_kernels,
    with_fallback,
)

__all__ = ["PairRetrieval", "Retrieval", "SharedLabels"]


# Equal rows are collapsed for at least so many queries, if a sample of rows has any number.
MANY_QUERIES = 256
SAMPLE = 4096
# Pairs of codes compared at once, so that their distances stay in the cache.
_BLOCK_PAIRS = 2**17


class SharedLabels:
    """Number of labels that a query shares with every row of a database.

    Up to 64 classes, the key of a row is a word whose bits are its labels; above, it is
    the number of its label pattern.

    Parameters
    ----------
    L_query, L_database : csr_array of shape (n_queries, c), (n, c)
        Label indicators over the same classes.
    graded : bool
        Whether to count the shared labels; otherwise any shared label counts 1.
    """

    def __init__(self, L_query, L_database, graded):
        self.graded = graded
        n_labels = np.diff(L_query.indptr)
        # Labels that a query shares with itself.
        self.own = n_labels if graded else np.minimum(n_labels, 1)
        self.n_levels = 1 + int(max(self.own.max(), 1))
        self.dtype = distance_dtype(self.n_levels)
        self.masked = L_query.shape[1] <= 64
        if self.masked:
            self.query_keys = _label_masks(L_query)
            self.keys = _label_masks(L_database)
        else:
            self.L_query = L_query.astype(np.int32)
            patterns, self.keys = label_patterns(L_database)
            self.patterns = patterns.astype(np.int32).T.tocsr()

    def with_queries(self, queries):
        """Yield the shared labels (n,) with every row, for every query of a slice."""
        if not self.masked:
            yield from (row[self.keys] for row in self.table(queries))
            return
        for key in self.query_keys[queries]:
            shared = self.keys & key
            yield np.bitwise_count(shared) if self.graded else (shared != 0).view(np.uint8)

    def of_rows(self, rows):
        """Return the same queries with some rows of the database."""
        part = copy(self)
        part.keys = self.keys[rows]
        return part

    def table(self, queries):
        """Shared labels of a slice of queries with every label pattern."""
        shared = (self.L_query[queries] @ self.patterns).toarray()
        return np.minimum(shared, self.n_levels - 1).astype(self.dtype)

    def kernel_arguments(self, queries):
        """Labels of a slice of queries and of the database, as the compiled kernels take them."""
        if self.masked:
            query_keys = self.query_keys[queries]
            table = np.empty((len(query_keys), 0), dtype=self.dtype)
        else:
            table = self.table(queries)
            query_keys = np.zeros(len(table), dtype=np.uint8)
        return self.keys, query_keys, table, self.masked, self.graded

    def bytes_per_query(self):
        """Memory that the labels of one query take while it is compared."""
        return 0 if self.masked else 8 * self.patterns.shape[1]


def _label_masks(L):
    """Labels of every row as the bits of one word, the smallest that holds all classes."""
    c = L.shape[1]
    masks = L.astype(np.uint64) @ (np.uint64(1) << np.arange(c, dtype=np.uint64))
    return masks.astype(next(f"u{size}" for size in (1, 2, 4, 8) if c <= 8 * size))


def _steps(words, keys):
    """Mask (n,) of the sorted columns that differ from the one before."""
    step = np.ones(len(keys), dtype=bool)
    step[1:] = (keys[1:] != keys[:-1]) | (words[:, 1:] != words[:, :-1]).any(axis=0)
    return step


class Retrieval:
    """Queries, a database, and which rows are relevant to which query.

    Parameters
    ----------
    query_packed, database_packed : ndarray of shape (n_queries, n_bytes), (n, n_bytes)
        Packed codes.
    n_bits : int
        Length of the codes.
    L_query, L_database : csr_array of shape (n_queries, c), (n, c)
        Label indicators over the same classes.
    graded : bool, default=False
        Whether the number of shared labels matters, or only whether there are any.
    exclude_self : bool, default=False
        Whether query `i` is database row `i` (in another modality, perhaps) and is
        left out of its own ranking.
    backend : {"auto", "numpy", "numba"}, default="auto"
        What counts; the results are the same.
    """

    def __init__(
        self,
        query_packed,
        database_packed,
        n_bits,
        L_query,
        L_database,
        *,
        graded=False,
        exclude_self=False,
        backend="auto",
    ):
        self.n_bits = n_bits
        self.exclude_self = exclude_self
        self.query_words = as_words(query_packed)
        self.words = as_words(database_packed)
        self.shared = SharedLabels(L_query, L_database, graded)
        self.n_queries = len(query_packed)
        self.n_database = len(database_packed) - bool(exclude_self)
        self.backend = choose_backend(backend, self.n_queries * len(database_packed))
        if exclude_self:
            self.own_distance = paired_distances(query_packed, database_packed)

    def histograms(self):
        """Count rows by distance and shared labels, in blocks of queries.

        Yields
        ------
        queries : slice
            A block of queries.
        counts : ndarray of shape (n_block, n_bits + 1, n_levels), int64
            Number of rows at every distance that share so many labels with the query.
        """
        shape = (self.n_bits + 1, self.shared.n_levels)
        count = partial(self._count, shape, self._distinct())
        # A block's counts, and several times as much for what is computed from them.
        n_bytes = 8 * 8 * shape[0] * shape[1] + self.shared.bytes_per_query()
        for queries in gen_batches(self.n_queries, block_rows(n_bytes)):
            counts = with_fallback(self.backend, partial(count, queries))
            self._settle_own(queries, counts)
            yield queries, counts

    def _settle_own(self, queries, counts):
        """Take the own rows of a block of queries out of its counts, if they are left out."""
        if self.exclude_self:
            block = np.arange(len(counts))
            counts[block, self.own_distance[queries], self.shared.own[queries]] -= 1

    def _distinct(self):
        """Database with equal codes and labels collapsed, and how often each occurs.

        Supervised codes take few distinct values. The weights are None where collapsing
        does not pay.
        """
        shared = self.shared
        if not self._repeats():
            return self.words, shared, None
        order = np.lexsort([shared.keys, *self.words])
        starts = np.flatnonzero(_steps(self.words[:, order], shared.keys[order]))
        if len(starts) > len(order) / 2:
            return self.words, shared, None
        weights = np.diff(starts, append=len(order))
        rows = order[starts]
        return np.ascontiguousarray(self.words[:, rows]), shared.of_rows(rows), weights

    def _repeats(self):
        """Whether it is worth a sort to look for equal rows."""
        if self.n_queries < MANY_QUERIES:
            return False
        n = self.words.shape[1]
        sample = np.arange(0, n, max(1, n // SAMPLE))
        words, keys = self.words[:, sample], self.shared.keys[sample]
        order = np.lexsort([keys, *words])
        n_distinct = np.count_nonzero(_steps(words[:, order], keys[order]))
        return n_distinct <= 0.95 * len(sample)

    def _count(self, shape, database, queries, backend):
        words, shared, weights = database
        counts = np.zeros((queries.stop - queries.start, *shape), dtype=np.int64)
        if backend == "numba":
            query_words, labels = self.query_words[:, queries], shared.kernel_arguments(queries)
            load_kernels().count_pairs(words, query_words, labels, weights, counts)
            return counts
        d = np.empty(words.shape[1], dtype=np.min_scalar_type(counts[0].size))
        gains = shared.with_queries(queries)
        for i, cells in enumerate(counts, start=queries.start):
            distances_to(words, self.query_words[:, i], out=d)
            d *= d.dtype.type(shape[1])
            d += next(gains)
            # With weights, bincount sums in float64, which is exact for counts.
            cells[:] = np.bincount(d, weights, cells.size).reshape(shape)
        return counts

    def rankings(self):
        """Rank the database for every query, equal distances by database row.

        Yields
        ------
        i : int
            Query.
        shared : ndarray of shape (n_database,)
            Number of labels that the query shares with the rows, in ranking order.
        """
        n = self.words.shape[1]
        for queries in gen_batches(self.n_queries, block_rows(8 * n)):
            ranked = with_fallback(self.backend, partial(self._rank, queries))
            yield from enumerate(ranked, start=queries.start)

    def _rank(self, queries, backend):
        n_queries = queries.stop - queries.start
        rows = np.arange(queries.start, queries.stop)
        ranked = np.empty((n_queries, self.n_database), dtype=self.shared.dtype)
        if backend == "numba":
            load_kernels().rank_shared(
                self.words,
                self.query_words[:, queries],
                self.shared.kernel_arguments(queries),
                rows if self.exclude_self else np.full(n_queries, -1),
                self.n_bits,
                ranked,
            )
            return ranked
        d = np.empty(self.words.shape[1], dtype=distance_dtype(self.n_bits))
        gains = self.shared.with_queries(queries)
        for i, row in zip(rows, ranked, strict=True):
            distances_to(self.words, self.query_words[:, i], out=d)
            order = np.argsort(d, kind="stable")
            row[:] = next(gains)[order[order != i] if self.exclude_self else order]
        return ranked


def paired_distances(query_packed, database_packed):
    """Hamming distance of query i to database row i: (n_queries,)."""
    different = np.bitwise_count(query_packed ^ database_packed[: len(query_packed)])
    return different.sum(axis=1, dtype=np.intp)


class PairRetrieval(Retrieval):
    """Queries and a database of which row `i` alone is relevant to query `i`.

    Rows beyond the number of queries are nobody's partner.

    Parameters
    ----------
    query_packed, database_packed : ndarray of shape (n_queries, n_bytes), (n, n_bytes)
        Packed codes, n at least n_queries.
    n_bits : int
        Length of the codes.
    backend : {"auto", "numpy", "numba"}, default="auto"
        What counts; the results are the same.
    """

    def __init__(self, query_packed, database_packed, n_bits, *, backend="auto"):
        packed = query_packed, database_packed
        no_labels = [sparse.csr_array((len(rows), 0), dtype=np.int8) for rows in packed]
        super().__init__(*packed, n_bits, *no_labels, backend=backend)
        self.own_distance = paired_distances(query_packed, database_packed)

    def _settle_own(self, queries, counts):
        block = np.arange(len(counts))
        counts[block, self.own_distance[queries], 0] -= 1
        counts[block, self.own_distance[queries], 1] += 1

    def own_places(self):
        """Where in its ranking every query finds its partner.

        Returns
        -------
        nearer : ndarray of shape (n_queries,), intp
            Rows that are nearer than the partner.
        tied : ndarray of shape (n_queries,), intp
            Rows that are as near, the partner among them.
        earlier : ndarray of shape (n_queries,), intp
            Those of them that come before the partner in the database.
        """
        nearer, tied, earlier = np.empty((3, self.n_queries), dtype=np.intp)
        rows = np.arange(self.n_database)
        dtype = distance_dtype(self.n_bits)
        for block in gen_batches(self.n_queries, max(1, _BLOCK_PAIRS // self.n_database)):
            d = np.zeros((block.stop - block.start, self.n_database), dtype=dtype)
            for word, query_word in zip(self.words, self.query_words[:, block], strict=True):
                d += np.bitwise_count(word ^ query_word[:, None])
            own = self.own_distance[block, None].astype(dtype)
            same = d == own
            nearer[block] = np.count_nonzero(d < own, axis=1)
            tied[block] = np.count_nonzero(same, axis=1)
            same &= rows < np.arange(block.start, block.stop)[:, None]
            earlier[block] = np.count_nonzero(same, axis=1)
        return nearer, tied, earlier

    def rankings(self):
        """Rank the database for every query, equal distances by database row.

        Yields
        ------
        i : int
            Query.
        shared : ndarray of shape (n,), bool
            Whether a place is that of the partner.
        """
        nearer, _, earlier = self.own_places()
        places = np.arange(self.n_database)
        for i, place in enumerate(nearer + earlier):
            yield i, places == place
