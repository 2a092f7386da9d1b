"""What is ranked for what."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...utils._typing import NDArray
from ._validation import is_graded, retrieval_of, values_by_name

__all__ = ["Search"]


@dataclass(frozen=True)
class Search:
    """Queries of one modality, and the gallery that is ranked for them.

    Parameters
    ----------
    query : str or None
        Modality of the queries, if known.
    database : str or None
        Modality of the gallery; None for learned codes.
    data : tuple (query_codes, database_codes, query_labels, database_labels)
        As the metrics take them; the labels are None where the own row is what is sought.
    exclude_self : bool
        Whether query `i` is database row `i` and left out of its own ranking.
    query_rows, database_rows : ndarray of shape (n_queries,), (n,)
        Which of the scored rows, and of the rows of the gallery, these are.
    """

    query: str | None
    database: str | None
    data: tuple[Any, Any, Any, Any]
    exclude_self: bool
    query_rows: NDArray[np.intp]
    database_rows: NDArray[np.intp]

    def retrieval(self, graded: bool = False) -> Any:
        """Counts and rankings, from which every metric, curve and report is computed.

        What ranks by another distance than Hamming's overrides this alone.
        """
        return retrieval_of(*self.data, graded=graded, exclude_self=self.exclude_self)

    def values(self, metric: str, **options: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Values of a metric by name for every query, and which have a relevant row."""
        return values_by_name(metric, self.retrieval(is_graded(metric)), **options)
