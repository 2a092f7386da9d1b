"""What every metric takes, validated, and metrics by name."""

from numbers import Integral

import numpy as np

from ...data import align_labels, encode_labels, is_indicator
from ...hamming import check_codes, pack_codes
from ...utils._sklearn import Interval, StrOptions, check_sample_weight
from . import _pair_values as pair_values
from . import _per_query as per_query
from ._counts import PairRetrieval, Retrieval

__all__ = [
    "CODES",
    "CODES_AND_LABELS",
    "CODES_AND_MAYBE_LABELS",
    "NO_RELEVANT",
    "TIES",
    "is_graded",
    "per_query_values",
    "query_weights",
    "relevance_labels",
    "retrieval_of",
    "values_by_name",
]

CODES = {"query_codes": ["array-like"], "database_codes": ["array-like"]}
_LABELS = ["array-like", "sparse matrix"]
CODES_AND_LABELS = {**CODES, "query_labels": _LABELS, "database_labels": _LABELS}
# Where the labels are None, rows are relevant to their partners.
CODES_AND_MAYBE_LABELS = {
    **CODES,
    "query_labels": [*_LABELS, None],
    "database_labels": [*_LABELS, None],
}
NO_RELEVANT = {"no_relevant": [StrOptions({"skip", "zero"})]}
TIES = {
    "k": [Interval(Integral, 1, None, closed="left"), None],
    "ties": [StrOptions({"expected", "index"})],
}


# --- Validation -----------------------------------------------------------------------------


def retrieval_of(
    query_codes,
    database_codes,
    query_labels=None,
    database_labels=None,
    *,
    graded=False,
    exclude_self=False,
):
    """Validate what every metric takes; without labels, rows are relevant to their partners."""
    query_codes = check_codes(query_codes, input_name="query_codes")
    database_codes = check_codes(database_codes, input_name="database_codes")
    n_bits = database_codes.shape[1]
    if query_codes.shape[1] != n_bits:
        raise ValueError(
            f"query_codes have {query_codes.shape[1]} bits, but database_codes have {n_bits}: "
            "both must come from the same hasher."
        )
    if query_labels is None and database_labels is None:
        _check_partners(query_codes, database_codes)
        return PairRetrieval(pack_codes(query_codes), pack_codes(database_codes), n_bits)
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
    if exclude_self:
        _check_partners(query_codes, database_codes)
    packed = pack_codes(query_codes), pack_codes(database_codes)
    return Retrieval(*packed, n_bits, L_query, L_database, graded=graded, exclude_self=exclude_self)


def _check_partners(query_codes, database_codes):
    """Refuse queries of which no row of the database is the partner, or the query itself."""
    if len(query_codes) > len(database_codes):
        raise ValueError(
            f"query_codes have {len(query_codes)} rows, but database_codes have "
            f"{len(database_codes)}: row i of the database must be the partner of query i."
        )


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


def query_weights(sample_weight, retrieval):
    """Validate the weights of queries: None, or finite and not negative, one per query."""
    if sample_weight is None:
        return None
    rows = np.empty((retrieval.n_queries, 1))
    return check_sample_weight(sample_weight, rows, ensure_non_negative=True)


# --- By name, and of packed codes -------------------------------------------------------------


_VALUES = {
    "map": per_query.average_precision,
    "mrr": per_query.reciprocal_rank,
    "precision_at_k": per_query.precision_at_k,
    "recall_at_k": per_query.recall_at_k,
    "ndcg_at_k": per_query.ndcg,
}
# What is known in closed form where the partner is all that is relevant.
_PAIR_VALUES = {
    "map": pair_values.reciprocal_rank,
    "mrr": pair_values.reciprocal_rank,
    "recall_at_k": pair_values.recall_at_k,
}


def values_by_name(metric, retrieval, *, k=None, radius=None, ties="expected"):
    """Values of a metric by name for every query, and which queries have a relevant row."""
    if metric == "lookup_precision":
        return per_query.lookup_precision(retrieval, 2 if radius is None else radius)
    if radius is not None:
        return per_query.average_precision(retrieval, k, ties, radius)
    if k is None and metric not in ("map", "mrr"):
        k = 10
    values = _VALUES | _PAIR_VALUES if isinstance(retrieval, PairRetrieval) else _VALUES
    return values[metric](retrieval, k, ties)


def is_graded(metric):
    """Whether a metric by name asks how many labels rows share, and not only whether any."""
    return metric == "ndcg_at_k"


def per_query_values(metric, *data, exclude_self=False, **options):
    """The same of codes and labels, as `retrieval_of` takes them."""
    retrieval = retrieval_of(*data, graded=is_graded(metric), exclude_self=exclude_self)
    return values_by_name(metric, retrieval, **options)
