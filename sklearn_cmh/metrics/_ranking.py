"""Metrics of Hamming ranking. A database row is relevant if it shares a label with the query.

Hamming distances take ``n_bits + 1`` values, so that most of a ranking is ties.
``ties="expected"`` is the mean over all orders of tied rows, in closed form after
McSherry and Najork (2008); ``ties="index"`` breaks them by database row.
"""

from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_consistent_length

from ..data import align_labels, encode_labels, is_indicator
from ..hamming import check_codes, pack_codes
from ..utils._sklearn import Interval, StrOptions, validate_params
from . import _per_query
from ._engine import Retrieval
from ._per_query import query_mean

__all__ = [
    "average_precision_scores",
    "lookup_precision",
    "mean_average_precision",
    "ndcg_at_k",
    "precision_at_k",
    "precision_recall_by_radius",
    "recall_at_k",
]

_CODES_AND_LABELS = {
    "query_codes": ["array-like"],
    "database_codes": ["array-like"],
    "query_labels": ["array-like", "sparse matrix"],
    "database_labels": ["array-like", "sparse matrix"],
}
_NO_RELEVANT = {"no_relevant": [StrOptions({"skip", "zero"})]}
_TIES = {
    "k": [Interval(Integral, 1, None, closed="left"), None],
    "ties": [StrOptions({"expected", "index"})],
}


# --- Validation -----------------------------------------------------------------------------


def _retrieval(query_codes, database_codes, query_labels, database_labels, **options):
    """Validate what every metric takes."""
    query_codes = check_codes(query_codes, input_name="query_codes")
    database_codes = check_codes(database_codes, input_name="database_codes")
    n_bits = database_codes.shape[1]
    if query_codes.shape[1] != n_bits:
        raise ValueError(
            f"query_codes have {query_codes.shape[1]} bits, but database_codes have {n_bits}: "
            "both must come from the same hasher."
        )
    L_query, L_database = _relevance_labels(query_labels, database_labels)
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


def _relevance_labels(query_labels, database_labels):
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
    "map": _per_query.average_precision,
    "precision_at_k": _per_query.precision_at_k,
    "recall_at_k": _per_query.recall_at_k,
    "ndcg_at_k": _per_query.ndcg,
}


def per_query_values(metric, *data, k=None, ties="expected", exclude_self=False):
    """Values of a metric by name for every query, and which queries have a relevant row."""
    retrieval = _retrieval(*data, graded=metric == "ndcg_at_k", exclude_self=exclude_self)
    if metric == "lookup_precision":
        return _per_query.lookup_precision(retrieval, radius=2)
    if k is None and metric != "map":
        k = 10
    return _VALUES[metric](retrieval, k, ties)


def packed_mean_average_precision(query_packed, database_packed, n_bits, L_query, L_database):
    """Full-ranking mAP with expected ties of packed codes and label indicators."""
    retrieval = Retrieval(query_packed, database_packed, n_bits, L_query, L_database)
    return query_mean(*_per_query.average_precision(retrieval, None, "expected"), "skip")


# --- Public metrics -------------------------------------------------------------------------


@validate_params(
    {**_CODES_AND_LABELS, **_TIES, "exclude_self": ["boolean"]}, prefer_skip_nested_validation=True
)
def average_precision_scores(
    query_codes,
    database_codes,
    query_labels,
    database_labels,
    *,
    k=None,
    ties="expected",
    exclude_self=False,
):
    """Average precision of every query.

    Parameters
    ----------
    query_codes, database_codes : array-like of shape (n_queries, n_bits), (n, n_bits)
        Codes of two values: -1 and +1, 0 and 1, or booleans.
    query_labels, database_labels : array-like of shape (n_queries,), (n,) or \
            {array-like, sparse} of shape (n_queries, c), (n, c)
        Class labels, or label indicators over the same classes.
    k : int, default=None
        Rank only the first `k` rows; None is the full ranking.
    ties : {"expected", "index"}, default="expected"
        Mean over all orders of rows at equal distance, or by database row.
    exclude_self : bool, default=False
        Whether query `i` is database row `i` and left out of its own ranking.

    Returns
    -------
    values : ndarray of shape (n_queries,)
        Average precision, 0 where no row is relevant.
    has_relevant : ndarray of shape (n_queries,), bool
        Whether any row of the database is relevant to the query.

    See Also
    --------
    mean_average_precision : The mean of the values.

    Examples
    --------
    >>> from sklearn_cmh.metrics import average_precision_scores
    >>> codes = [[1, 1], [1, -1], [-1, -1]]
    >>> average_precision_scores(codes[:2], codes, ["a", "c"], ["a", "b", "a"])
    (array([0.83333333, 0.        ]), array([ True, False]))
    """
    retrieval = _retrieval(
        query_codes, database_codes, query_labels, database_labels, exclude_self=exclude_self
    )
    return _per_query.average_precision(retrieval, k, ties)


@validate_params({**_CODES_AND_LABELS, **_TIES, **_NO_RELEVANT}, prefer_skip_nested_validation=True)
def mean_average_precision(
    query_codes,
    database_codes,
    query_labels,
    database_labels,
    *,
    k=None,
    ties="expected",
    no_relevant="skip",
):
    """Mean average precision of Hamming ranking.

    A database row is relevant to a query if they share at least one label; a row
    without labels is relevant to nothing. The average precision of a query is the mean,
    over the relevant rows retrieved, of the precision at their positions.

    Parameters
    ----------
    query_codes, database_codes : array-like of shape (n_queries, n_bits), (n, n_bits)
        Codes of two values: -1 and +1, 0 and 1, or booleans.
    query_labels, database_labels : array-like of shape (n_queries,), (n,) or \
            {array-like, sparse} of shape (n_queries, c), (n, c)
        Class labels, or label indicators over the same classes.
    k : int, default=None
        Retrieve only the first `k` rows ("mAP@k"); None ranks the whole database.
    ties : {"expected", "index"}, default="expected"
        "expected" is the mean over all orders of rows at equal distance, a property of
        the codes alone; "index" ranks them by database row.
    no_relevant : {"skip", "zero"}, default="skip"
        Whether a query to which no row of the database is relevant is left out of the
        mean, or counts 0.

    Returns
    -------
    score : float
        Between 0 and 1; NaN, with a warning, if no query has a relevant row and
        `no_relevant` is "skip".

    Notes
    -----
    As in the hashing literature, average precision at `k` is divided by the number of
    relevant rows among the first `k`, not by ``min(k, number of relevant rows)``; it is 0
    if there are none. The expectation over tie orders is exact for this ratio, too.

    References
    ----------
    .. [1] McSherry, F. and Najork, M. (2008). Computing information retrieval performance measures
       efficiently in the presence of tied scores. European Conference on Information Retrieval.
       :doi:`10.1007/978-3-540-78646-7_38`

    Examples
    --------
    >>> from sklearn_cmh.metrics import mean_average_precision
    >>> database = [[1, 1, 1], [1, 1, -1], [-1, -1, -1]]
    >>> mean_average_precision([[1, 1, 1]], database, ["cat"], ["cat", "dog", "cat"])
    0.8333333333333333
    """
    retrieval = _retrieval(query_codes, database_codes, query_labels, database_labels)
    return query_mean(*_per_query.average_precision(retrieval, k, ties), no_relevant)


@validate_params({**_CODES_AND_LABELS, **_TIES, **_NO_RELEVANT}, prefer_skip_nested_validation=True)
def precision_at_k(
    query_codes,
    database_codes,
    query_labels,
    database_labels,
    *,
    k=10,
    ties="expected",
    no_relevant="skip",
):
    """Share of relevant rows among the first k, mean over queries.

    Parameters
    ----------
    query_codes, database_codes : array-like of shape (n_queries, n_bits), (n, n_bits)
        Codes of two values: -1 and +1, 0 and 1, or booleans.
    query_labels, database_labels : array-like of shape (n_queries,), (n,) or \
            {array-like, sparse} of shape (n_queries, c), (n, c)
        Class labels, or label indicators over the same classes.
    k : int, default=10
        Number of rows retrieved; the whole database if it is None or has fewer.
    ties : {"expected", "index"}, default="expected"
        Mean over all orders of rows at equal distance, or by database row.
    no_relevant : {"skip", "zero"}, default="skip"
        Whether a query without relevant rows is left out of the mean, or counts 0.

    Returns
    -------
    score : float
        Between 0 and 1, or NaN with a warning if no query counts.

    Examples
    --------
    >>> from sklearn_cmh.metrics import precision_at_k
    >>> database = [[1, 1, 1], [1, 1, -1], [-1, -1, -1]]
    >>> precision_at_k([[1, 1, 1]], database, ["cat"], ["cat", "dog", "cat"], k=2)
    0.5
    """
    retrieval = _retrieval(query_codes, database_codes, query_labels, database_labels)
    return query_mean(*_per_query.precision_at_k(retrieval, k, ties), no_relevant)


@validate_params({**_CODES_AND_LABELS, **_TIES, **_NO_RELEVANT}, prefer_skip_nested_validation=True)
def recall_at_k(
    query_codes,
    database_codes,
    query_labels,
    database_labels,
    *,
    k=10,
    ties="expected",
    no_relevant="skip",
):
    """Share of the relevant rows that is among the first k, mean over queries.

    Parameters
    ----------
    query_codes, database_codes : array-like of shape (n_queries, n_bits), (n, n_bits)
        Codes of two values: -1 and +1, 0 and 1, or booleans.
    query_labels, database_labels : array-like of shape (n_queries,), (n,) or \
            {array-like, sparse} of shape (n_queries, c), (n, c)
        Class labels, or label indicators over the same classes.
    k : int, default=10
        Number of rows retrieved; the whole database if it is None or has fewer.
    ties : {"expected", "index"}, default="expected"
        Mean over all orders of rows at equal distance, or by database row.
    no_relevant : {"skip", "zero"}, default="skip"
        Whether a query without relevant rows is left out of the mean, or counts 0.

    Returns
    -------
    score : float
        Between 0 and 1, or NaN with a warning if no query counts.

    Examples
    --------
    >>> from sklearn_cmh.metrics import recall_at_k
    >>> database = [[1, 1, 1], [1, 1, -1], [-1, -1, -1]]
    >>> recall_at_k([[1, 1, 1]], database, ["cat"], ["cat", "dog", "cat"], k=1)
    0.5
    """
    retrieval = _retrieval(query_codes, database_codes, query_labels, database_labels)
    return query_mean(*_per_query.recall_at_k(retrieval, k, ties), no_relevant)


@validate_params({**_CODES_AND_LABELS, **_TIES, **_NO_RELEVANT}, prefer_skip_nested_validation=True)
def ndcg_at_k(
    query_codes,
    database_codes,
    query_labels,
    database_labels,
    *,
    k=10,
    ties="expected",
    no_relevant="skip",
):
    """Normalised discounted cumulative gain; the gain is the number of shared labels.

    The row at position `p` (from 1) contributes its gain divided by ``log2(p + 1)``; the sum
    over the first `k` rows is divided by that of the best possible ranking. The gain is
    linear in the shared labels, as in :func:`sklearn.metrics.ndcg_score`.

    Parameters
    ----------
    query_codes, database_codes : array-like of shape (n_queries, n_bits), (n, n_bits)
        Codes of two values: -1 and +1, 0 and 1, or booleans.
    query_labels, database_labels : array-like of shape (n_queries,), (n,) or \
            {array-like, sparse} of shape (n_queries, c), (n, c)
        Class labels, or label indicators over the same classes.
    k : int, default=10
        Number of rows retrieved; the whole database if it is None or has fewer.
    ties : {"expected", "index"}, default="expected"
        Mean over all orders of rows at equal distance, or by database row.
    no_relevant : {"skip", "zero"}, default="skip"
        Whether a query without relevant rows is left out of the mean, or counts 0.

    Returns
    -------
    score : float
        Between 0 and 1, or NaN with a warning if no query counts.

    Examples
    --------
    >>> from sklearn_cmh.metrics import ndcg_at_k
    >>> database = [[1, 1, 1], [1, 1, -1], [-1, -1, -1]]
    >>> labels = [[1, 1], [0, 1], [1, 1]]
    >>> round(ndcg_at_k([[1, 1, 1]], database, [[1, 1]], labels), 4)
    0.9652
    """
    retrieval = _retrieval(query_codes, database_codes, query_labels, database_labels, graded=True)
    return query_mean(*_per_query.ndcg(retrieval, k, ties), no_relevant)


@validate_params({**_CODES_AND_LABELS, **_NO_RELEVANT}, prefer_skip_nested_validation=True)
def precision_recall_by_radius(
    query_codes, database_codes, query_labels, database_labels, *, no_relevant="skip"
):
    """Precision and recall of all rows within every Hamming radius, means over queries.

    Parameters
    ----------
    query_codes, database_codes : array-like of shape (n_queries, n_bits), (n, n_bits)
        Codes of two values: -1 and +1, 0 and 1, or booleans.
    query_labels, database_labels : array-like of shape (n_queries,), (n,) or \
            {array-like, sparse} of shape (n_queries, c), (n, c)
        Class labels, or label indicators over the same classes.
    no_relevant : {"skip", "zero"}, default="skip"
        Whether a query without relevant rows is left out of the means, or counts 0.

    Returns
    -------
    precision : ndarray of shape (n_bits + 1,)
        Share of relevant rows within each radius; a query with no row within the radius
        counts 0.
    recall : ndarray of shape (n_bits + 1,)
        Share of the relevant rows within each radius.
    radii : ndarray of shape (n_bits + 1,)
        The radii 0, 1, ..., n_bits.

    Examples
    --------
    >>> from sklearn_cmh.metrics import precision_recall_by_radius
    >>> database = [[1, 1, 1], [1, 1, -1], [-1, -1, -1]]
    >>> precision, recall, radii = precision_recall_by_radius(
    ...     [[1, 1, 1]], database, ["cat"], ["cat", "dog", "cat"]
    ... )
    >>> precision
    array([1.        , 0.5       , 0.5       , 0.66666667])
    >>> recall
    array([0.5, 0.5, 0.5, 1. ])
    """
    retrieval = _retrieval(query_codes, database_codes, query_labels, database_labels)
    precision, recall = _per_query.precision_recall(retrieval, no_relevant)
    return precision, recall, np.arange(retrieval.n_bits + 1)


@validate_params(
    {
        **_CODES_AND_LABELS,
        "radius": [Interval(Integral, 0, None, closed="left")],
        **_NO_RELEVANT,
    },
    prefer_skip_nested_validation=True,
)
def lookup_precision(
    query_codes, database_codes, query_labels, database_labels, *, radius=2, no_relevant="skip"
):
    """Precision of hash lookup: share of relevant rows within a Hamming radius.

    Parameters
    ----------
    query_codes, database_codes : array-like of shape (n_queries, n_bits), (n, n_bits)
        Codes of two values: -1 and +1, 0 and 1, or booleans.
    query_labels, database_labels : array-like of shape (n_queries,), (n,) or \
            {array-like, sparse} of shape (n_queries, c), (n, c)
        Class labels, or label indicators over the same classes.
    radius : int, default=2
        Rows at this distance or less are retrieved.
    no_relevant : {"skip", "zero"}, default="skip"
        Whether a query without relevant rows is left out of the mean, or counts 0.

    Returns
    -------
    score : float
        Mean over queries; a query with no row within the radius counts 0, as a failed
        lookup.

    Examples
    --------
    >>> from sklearn_cmh.metrics import lookup_precision
    >>> database = [[1, 1, 1], [1, 1, -1], [-1, -1, -1]]
    >>> lookup_precision([[1, 1, 1]], database, ["cat"], ["cat", "dog", "cat"])
    0.5
    """
    retrieval = _retrieval(query_codes, database_codes, query_labels, database_labels)
    return query_mean(*_per_query.lookup_precision(retrieval, radius), no_relevant)
