"""What every ranking metric needs: counts of rows by distance and relevance.

Under random tie orders a metric depends on a ranking only through its histogram:
how many rows lie at every distance, and how many labels they share with the query
(`Retrieval.histograms`). With ties broken by database row it depends on the shared
labels in the order of the ranking (`Retrieval.rankings`).
"""

import numpy as np
from sklearn.utils import gen_batches

from ..hamming import as_words, block_rows, distance_dtype, distances_to
from ..labels import label_patterns

__all__ = ["Retrieval", "SharedLabels"]


class SharedLabels:
    """Number of labels that a query shares with every row of a database.

    Up to 64 classes, the labels of a row are the bits of one word; above, rows are
    known by their distinct label patterns.

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
        self.masked = L_query.shape[1] <= 64
        if self.masked:
            self.query_keys = _label_masks(L_query)
            self.keys = _label_masks(L_database)
        else:
            self.query_keys = L_query.astype(np.int32)
            patterns, self.keys = label_patterns(L_database)
            self.patterns = patterns.astype(np.int32).T.tocsr()

    def with_query(self, i):
        """Shared labels of query `i` with every row: (n,), a small unsigned integer."""
        if not self.masked:
            return self.table(slice(i, i + 1))[0, self.keys]
        shared = self.keys & self.query_keys[i]
        return np.bitwise_count(shared) if self.graded else (shared != 0).view(np.uint8)

    def table(self, queries):
        """Shared labels of a slice of queries with every distinct label pattern."""
        shared = (self.query_keys[queries] @ self.patterns).toarray()
        return np.minimum(shared, self.n_levels - 1).astype(distance_dtype(self.n_levels))


def _label_masks(L):
    """Labels of every row as the bits of one word, the smallest that holds all classes."""
    c = L.shape[1]
    masks = L.astype(np.uint64) @ (np.uint64(1) << np.arange(c, dtype=np.uint64))
    return masks.astype(next(f"u{size}" for size in (1, 2, 4, 8) if c <= 8 * size))


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
    ):
        self.n_bits = n_bits
        self.exclude_self = exclude_self
        self.query_words = as_words(query_packed)
        self.words = as_words(database_packed)
        self.shared = SharedLabels(L_query, L_database, graded)
        self.n_queries = len(query_packed)
        self.n_database = len(database_packed) - bool(exclude_self)
        if exclude_self:
            difference = np.bitwise_count(query_packed ^ database_packed)
            self.own_distance = difference.sum(axis=1, dtype=np.intp)

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
        # A block's counts, and as much again for what is computed from them.
        step = block_rows(8 * 8 * shape[0] * shape[1])
        for queries in gen_batches(self.n_queries, step):
            counts = self._count_numpy(queries, shape)
            if self.exclude_self:
                block = np.arange(queries.stop - queries.start)
                counts[block, self.own_distance[queries], self.shared.own[queries]] -= 1
            yield queries, counts

    def _count_numpy(self, queries, shape):
        size = shape[0] * shape[1]
        counts = np.empty((queries.stop - queries.start, size), dtype=np.int64)
        d = np.empty(self.words.shape[1], dtype=distance_dtype(self.n_bits))
        for row, i in zip(counts, range(queries.start, queries.stop), strict=True):
            distances_to(self.words, self.query_words[:, i], out=d)
            cells = d.astype(np.intp)
            cells *= shape[1]
            cells += self.shared.with_query(i)
            row[:] = np.bincount(cells, minlength=size)
        return counts.reshape(-1, *shape)

    def rankings(self):
        """Rank the database for every query, equal distances by database row.

        Yields
        ------
        i : int
            Query.
        shared : ndarray of shape (n_database,)
            Number of labels that the query shares with the rows, in ranking order.
        """
        d = np.empty(self.words.shape[1], dtype=distance_dtype(self.n_bits))
        for i in range(self.n_queries):
            distances_to(self.words, self.query_words[:, i], out=d)
            order = np.argsort(d, kind="stable")
            if self.exclude_self:
                order = order[order != i]
            yield i, self.shared.with_query(i)[order]
