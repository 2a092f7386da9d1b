"""Metrics of Hamming ranking. A database row is relevant if it shares a label with the query.

Hamming distances take ``n_bits + 1`` values, so that most of a ranking is ties.
``ties="expected"`` is the mean over all orders of tied rows, in closed form after
McSherry and Najork (2008); ``ties="index"`` breaks them by database row.
"""

from numbers import Integral

import numpy as np

from ..utils._sklearn import Interval, validate_params
from ..utils._typing import ArrayLike, Labels, NDArray, NoRelevant, Ties
from .core import (
    CODES_AND_LABELS,
    NO_RELEVANT,
    TIES,
    per_query,
    query_mean,
    query_weights,
    retrieval_of,
)

__all__ = [
    "average_precision_scores",
    "lookup_precision",
    "mean_average_precision",
    "ndcg_at_k",
    "precision_at_k",
    "precision_recall_by_radius",
    "recall_at_k",
]

_RADIUS = {"radius": [Interval(Integral, 0, None, closed="left"), None]}
_MEAN = {
    **CODES_AND_LABELS,
    **NO_RELEVANT,
    "exclude_self": ["boolean"],
    "sample_weight": ["array-like", None],
}


def check_cut(k: int | None, radius: int | None) -> None:
    """Refuse two rules for where a ranking ends."""
    if k is not None and radius is not None:
        raise ValueError(f"k={k!r} and radius={radius!r} both say where to stop: pass one of them.")


@validate_params(
    {**CODES_AND_LABELS, **TIES, **_RADIUS, "exclude_self": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def average_precision_scores(
    query_codes: ArrayLike,
    database_codes: ArrayLike,
    query_labels: Labels,
    database_labels: Labels,
    *,
    k: int | None = None,
    radius: int | None = None,
    ties: Ties = "expected",
    exclude_self: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
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
    radius : int, default=None
        Retrieve only the rows within this Hamming distance; at most one of `k` and
        `radius`.
    ties : {"expected", "index"}, default="expected"
        Mean over all orders of rows at equal distance, or by database row.
    exclude_self : bool, default=False
        Whether database row `i` is query `i` itself, and left out of its ranking.

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
    check_cut(k, radius)
    data = query_codes, database_codes, query_labels, database_labels
    retrieval = retrieval_of(*data, exclude_self=exclude_self)
    return per_query.average_precision(retrieval, k, ties, radius)


@validate_params({**TIES, **_RADIUS, **_MEAN}, prefer_skip_nested_validation=True)
def mean_average_precision(
    query_codes: ArrayLike,
    database_codes: ArrayLike,
    query_labels: Labels,
    database_labels: Labels,
    *,
    k: int | None = None,
    radius: int | None = None,
    ties: Ties = "expected",
    no_relevant: NoRelevant = "skip",
    exclude_self: bool = False,
    sample_weight: ArrayLike | None = None,
) -> float:
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
    radius : int, default=None
        Retrieve only the rows within this Hamming distance ("mAP within radius 2"); at
        most one of `k` and `radius`.
    ties : {"expected", "index"}, default="expected"
        "expected" is the mean over all orders of rows at equal distance, a property of
        the codes alone; "index" ranks them by database row.
    no_relevant : {"skip", "zero"}, default="skip"
        Whether a query to which no row of the database is relevant is left out of the
        mean, or counts 0.
    exclude_self : bool, default=False
        Whether database row `i` is query `i` itself, and left out of its ranking.
    sample_weight : array-like of shape (n_queries,), default=None
        Weights of the queries.

    Returns
    -------
    score : float
        Between 0 and 1; NaN, with a warning, if no query has a relevant row and
        `no_relevant` is "skip".

    Notes
    -----
    As in the hashing literature, average precision at `k` is divided by the number of
    relevant rows among the first `k`, not by ``min(k, number of relevant rows)``; it is 0
    if there are none. The expectation over tie orders is exact for this ratio, too. The same
    holds within a radius.

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
    check_cut(k, radius)
    data = query_codes, database_codes, query_labels, database_labels
    retrieval = retrieval_of(*data, exclude_self=exclude_self)
    values, has_relevant = per_query.average_precision(retrieval, k, ties, radius)
    return query_mean(values, has_relevant, no_relevant, query_weights(sample_weight, retrieval))


@validate_params({**TIES, **_MEAN}, prefer_skip_nested_validation=True)
def precision_at_k(
    query_codes: ArrayLike,
    database_codes: ArrayLike,
    query_labels: Labels,
    database_labels: Labels,
    *,
    k: int | None = 10,
    ties: Ties = "expected",
    no_relevant: NoRelevant = "skip",
    exclude_self: bool = False,
    sample_weight: ArrayLike | None = None,
) -> float:
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
    exclude_self : bool, default=False
        Whether database row `i` is query `i` itself, and left out of its ranking.
    sample_weight : array-like of shape (n_queries,), default=None
        Weights of the queries.

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
    data = query_codes, database_codes, query_labels, database_labels
    retrieval = retrieval_of(*data, exclude_self=exclude_self)
    values, has_relevant = per_query.precision_at_k(retrieval, k, ties)
    return query_mean(values, has_relevant, no_relevant, query_weights(sample_weight, retrieval))


@validate_params({**TIES, **_MEAN}, prefer_skip_nested_validation=True)
def recall_at_k(
    query_codes: ArrayLike,
    database_codes: ArrayLike,
    query_labels: Labels,
    database_labels: Labels,
    *,
    k: int | None = 10,
    ties: Ties = "expected",
    no_relevant: NoRelevant = "skip",
    exclude_self: bool = False,
    sample_weight: ArrayLike | None = None,
) -> float:
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
    exclude_self : bool, default=False
        Whether database row `i` is query `i` itself, and left out of its ranking.
    sample_weight : array-like of shape (n_queries,), default=None
        Weights of the queries.

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
    data = query_codes, database_codes, query_labels, database_labels
    retrieval = retrieval_of(*data, exclude_self=exclude_self)
    values, has_relevant = per_query.recall_at_k(retrieval, k, ties)
    return query_mean(values, has_relevant, no_relevant, query_weights(sample_weight, retrieval))


@validate_params({**TIES, **_MEAN}, prefer_skip_nested_validation=True)
def ndcg_at_k(
    query_codes: ArrayLike,
    database_codes: ArrayLike,
    query_labels: Labels,
    database_labels: Labels,
    *,
    k: int | None = 10,
    ties: Ties = "expected",
    no_relevant: NoRelevant = "skip",
    exclude_self: bool = False,
    sample_weight: ArrayLike | None = None,
) -> float:
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
    exclude_self : bool, default=False
        Whether database row `i` is query `i` itself, and left out of its ranking.
    sample_weight : array-like of shape (n_queries,), default=None
        Weights of the queries.

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
    data = query_codes, database_codes, query_labels, database_labels
    retrieval = retrieval_of(*data, graded=True, exclude_self=exclude_self)
    values, has_relevant = per_query.ndcg(retrieval, k, ties)
    return query_mean(values, has_relevant, no_relevant, query_weights(sample_weight, retrieval))


@validate_params(_MEAN, prefer_skip_nested_validation=True)
def precision_recall_by_radius(
    query_codes: ArrayLike,
    database_codes: ArrayLike,
    query_labels: Labels,
    database_labels: Labels,
    *,
    no_relevant: NoRelevant = "skip",
    exclude_self: bool = False,
    sample_weight: ArrayLike | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
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
    exclude_self : bool, default=False
        Whether database row `i` is query `i` itself, and left out of its ranking.
    sample_weight : array-like of shape (n_queries,), default=None
        Weights of the queries.

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
    data = query_codes, database_codes, query_labels, database_labels
    retrieval = retrieval_of(*data, exclude_self=exclude_self)
    weights = query_weights(sample_weight, retrieval)
    precision, recall = per_query.precision_recall(retrieval, no_relevant, weights)
    return precision, recall, np.arange(retrieval.n_bits + 1)


@validate_params(
    {"radius": [Interval(Integral, 0, None, closed="left")], **_MEAN},
    prefer_skip_nested_validation=True,
)
def lookup_precision(
    query_codes: ArrayLike,
    database_codes: ArrayLike,
    query_labels: Labels,
    database_labels: Labels,
    *,
    radius: int = 2,
    no_relevant: NoRelevant = "skip",
    exclude_self: bool = False,
    sample_weight: ArrayLike | None = None,
) -> float:
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
    exclude_self : bool, default=False
        Whether database row `i` is query `i` itself, and left out of its ranking.
    sample_weight : array-like of shape (n_queries,), default=None
        Weights of the queries.

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
    data = query_codes, database_codes, query_labels, database_labels
    retrieval = retrieval_of(*data, exclude_self=exclude_self)
    values, has_relevant = per_query.lookup_precision(retrieval, radius)
    return query_mean(values, has_relevant, no_relevant, query_weights(sample_weight, retrieval))
