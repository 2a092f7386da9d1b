"""What metrics, scorers, displays and reports share: the package's own use, from any room."""

from . import _pair_values as pair_values
from . import _per_query as per_query
from ._counts import PairRetrieval, Retrieval, SharedLabels
from ._hashers import (
    find_hasher,
    has_form_of_fit,
    labels_beside_training,
    labels_of,
    preprocessed_rows,
    raw_blocks,
    shared_vectors,
)
from ._per_query import precision_by_k, precision_recall, query_mean, recall_by_k
from ._ranked import RankedRetrieval, RankedSearch
from ._search import Search
from ._validation import (
    CODES,
    CODES_AND_LABELS,
    CODES_AND_MAYBE_LABELS,
    NO_RELEVANT,
    TIES,
    per_query_values,
    query_weights,
    relevance_labels,
    retrieval_of,
)

__all__ = [
    "CODES",
    "CODES_AND_LABELS",
    "CODES_AND_MAYBE_LABELS",
    "NO_RELEVANT",
    "TIES",
    "PairRetrieval",
    "RankedRetrieval",
    "RankedSearch",
    "Retrieval",
    "Search",
    "SharedLabels",
    "find_hasher",
    "has_form_of_fit",
    "labels_beside_training",
    "labels_of",
    "pair_values",
    "per_query",
    "per_query_values",
    "precision_by_k",
    "precision_recall",
    "preprocessed_rows",
    "query_mean",
    "query_weights",
    "raw_blocks",
    "recall_by_k",
    "relevance_labels",
    "retrieval_of",
    "shared_vectors",
]
