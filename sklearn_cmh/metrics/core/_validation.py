"""What every metric takes, validated, and metrics by name."""

from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_consistent_length

from ...data import align_labels, encode_labels, is_indicator
from ...hamming import check_codes, pack_codes
from ...utils._sklearn import Interval, StrOptions
from . import _per_query as per_query
from ._counts import Retrieval
from ._per_query import query_mean

__all__ = [
    "CODES_AND_LABELS",
    "NO_RELEVANT",
    "TIES",
    "packed_mean_average_precision",
    "per_query_values",
    "relevance_labels",
    "retrieval_of",
]

CODES_AND_LABELS = {
    "query_codes": ["array-like"],
    "database_codes": ["array-like"],
    "query_labels": ["array-like", "sparse matrix"],
    "database_labels": ["array-like", "sparse matrix"],
}
NO_RELEVANT = {"no_relevant": [StrOptions({"skip", "zero"})]}
TIES = {
    "k": [Interval(Integral, 1, None, closed="left"), None],
    "ties": [StrOptions({"expected", "index"})],
}


# --- Validation -----------------------------------------------------------------------------


def retrieval_of(query_codes, database_codes, query_labels, database_labels, **options):
    """Validate what every metric takes."""
    query_codes = check_codes(query_codes, input_name="query_codes")
    database_codes = check_codes(database_codes, input_name="database_codes")
    n_bits = database_codes.shape[1]
    if query_codes.shape[1] != n_bits:
        raise ValueError(
            f"query_codes have {query_codes.shape[1]} bits, but database_codes have {n_bits}: "
            "both must come from the same hasher."
        )
    L_query, L_database = relevance_labels(query_labels, database_labels)
    for name, codes, L in [
        ("query", query_codes, L_query),
        ("database", database_codes, L_database),
    ]:
        if len(codes) != L.shape[0]:
            raise ValueError(
                f"{name}_codes have {len(codes)} rows, but {name}_labels have {L.shape[0]}: "
                "pass one row of labels for every code."
            )
    if options.get("exclude_self"):
        check_consistent_length(query_codes, database_codes)
    packed = pack_codes(query_codes), pack_codes(database_codes)
    return Retrieval(*packed, n_bits, L_query, L_database, **options)


def relevance_labels(query_labels, database_labels):
    """Put the labels of queries and database on the same classes."""
    forms = [is_indicator(y) for y in (query_labels, database_labels)]
    if forms[0] != forms[1]:
        raise ValueError(
            "query_labels and database_labels must both be class labels of shape (n,), or both "
            f"indicators of shape (n, c); got shapes {np.shape(query_labels)} and "
            f"{np.shape(database_labels)}."
        )
    L_query, query_classes = encode_labels(query_labels, input_name="query_labels")
    L_database, classes = encode_labels(database_labels, input_name="database_labels")
    if forms[0]:
        if L_query.shape[1] != L_database.shape[1]:
            raise ValueError(
                f"query_labels has {L_query.shape[1]} columns, but database_labels has "
                f"{L_database.shape[1]}: both indicators must be over the same classes."
            )
        return L_query, L_database
    return align_labels(L_query, query_classes, L_database, classes)[:2]


# --- By name, and of packed codes -------------------------------------------------------------


_VALUES = {
    "map": per_query.average_precision,
    "precision_at_k": per_query.precision_at_k,
    "recall_at_k": per_query.recall_at_k,
    "ndcg_at_k": per_query.ndcg,
}


def per_query_values(metric, *data, k=None, ties="expected", exclude_self=False):
    """Values of a metric by name for every query, and which queries have a relevant row."""
    retrieval = retrieval_of(*data, graded=metric == "ndcg_at_k", exclude_self=exclude_self)
    if metric == "lookup_precision":
        return per_query.lookup_precision(retrieval, radius=2)
    if k is None and metric != "map":
        k = 10
    return _VALUES[metric](retrieval, k, ties)


def packed_mean_average_precision(query_packed, database_packed, n_bits, L_query, L_database):
    """Full-ranking mAP with expected ties of packed codes and label indicators."""
    retrieval = Retrieval(query_packed, database_packed, n_bits, L_query, L_database)
    return query_mean(*per_query.average_precision(retrieval, None, "expected"), "skip")
