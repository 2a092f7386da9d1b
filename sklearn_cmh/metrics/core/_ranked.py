"""Rankings by another distance than Hamming's, with the interface of `Retrieval`.

Runs of rows at the same distance, in the order of the ranking, take the place of Hamming
distances: what holds for histograms by distance holds for histograms by run.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...hamming import block_rows
from ._counts import PairRetrieval
from ._search import Search

__all__ = ["RankedRetrieval", "RankedSearch"]


class RankedRetrieval:
    """What a ranker returns for queries, and which rows are relevant to which query.

    Parameters
    ----------
    ranker : object
        Fitted on the database; its ``rank(queries)`` yields distances and rows, as
        `TwoStageRanker.rank` does. Rows at an infinite distance are in known order.
    queries : ndarray of shape (n_queries, n_bits) or MultimodalData
        What the ranker takes.
    relevance : Retrieval
        Of the same queries and database; says what is relevant and left out.
    """

    def __init__(self, ranker, queries, relevance):
        self.ranker = ranker
        self.queries = queries
        self.shared = relevance.shared
        self.by_pair = isinstance(relevance, PairRetrieval)
        self.exclude_self = relevance.exclude_self
        self.n_queries = relevance.n_queries
        self.n_database = relevance.n_database

    def histograms(self):
        """Count rows by run and shared labels, in blocks of queries.

        Yields
        ------
        queries : slice
            A block of queries.
        counts : ndarray of shape (n_block, n_runs, n_levels), int64
            Number of rows of every run that share so many labels with the query.
        """
        shape = (self.n_database + self.exclude_self, self.shared.n_levels)
        height = block_rows(64 * shape[0] * shape[1])
        start, block = 0, []
        for i, shared, runs in self._ranked():
            cells = runs * shape[1] + shared
            block.append(np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape))
            if len(block) == height or i == self.n_queries - 1:
                yield slice(start, i + 1), np.stack(block)
                start, block = i + 1, []

    def rankings(self):
        """Shared labels in the order of the ranking, for every query.

        Yields
        ------
        i : int
            Query.
        shared : ndarray of shape (n_database,)
            Number of labels that the query shares with the rows.
        """
        for i, shared, _ in self._ranked():
            yield i, shared

    def _ranked(self):
        """Query, shared labels in the order of its ranking, and the run of every row."""
        start = 0
        for distances, indices in self.ranker.rank(self.queries):
            queries = slice(start, start + len(indices))
            shared = self.shared.with_queries(queries)
            for i, d, order in zip(range(start, queries.stop), distances, indices, strict=True):
                gains = (order == i).astype(np.intp) if self.by_pair else next(shared)[order]
                begins = (d[1:] != d[:-1]) | np.isinf(d[1:])
                runs = np.append(0, np.cumsum(begins))
                if self.exclude_self:
                    others = order != i
                    gains, runs = gains[others], runs[others]
                yield i, gains, runs
            start = queries.stop


@dataclass(frozen=True)
class RankedSearch(Search):
    """A search whose gallery is in the order that a ranker gives.

    Parameters
    ----------
    ranker : object
        Fitted on the gallery.
    queries : ndarray of shape (n_queries, n_bits) or MultimodalData
        Projections of the queries, or their codes and vectors.
    """

    ranker: Any
    queries: Any

    def retrieval(self, graded: bool = False) -> RankedRetrieval:
        """Counts and rankings, from which every metric by rank is computed."""
        return RankedRetrieval(self.ranker, self.queries, super().retrieval(graded))
