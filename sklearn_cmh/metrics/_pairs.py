"""Metrics of finding the thing itself: row i of the database is the partner of query i."""

from ..utils._sklearn import validate_params
from ..utils._typing import ArrayLike, Ties
from .core import CODES, TIES, pair_values, query_mean, query_weights, retrieval_of

__all__ = ["mean_reciprocal_rank", "pair_recall_at_k"]

_OPTIONS = {**CODES, **TIES, "sample_weight": ["array-like", None]}


@validate_params(_OPTIONS, prefer_skip_nested_validation=True)
def pair_recall_at_k(
    query_codes: ArrayLike,
    database_codes: ArrayLike,
    *,
    k: int | None = 10,
    ties: Ties = "expected",
    sample_weight: ArrayLike | None = None,
) -> float:
    """Share of the queries whose partner is among the first k rows.

    Row `i` of the database is the partner of query `i`: the same thing in another modality,
    as a rule. Further rows of the database are nobody's partner.

    Parameters
    ----------
    query_codes, database_codes : array-like of shape (n_queries, n_bits), (n, n_bits)
        Codes of two values: -1 and +1, 0 and 1, or booleans; n is at least n_queries.
    k : int, default=10
        Number of rows retrieved; the whole database if it is None or has fewer.
    ties : {"expected", "index"}, default="expected"
        Mean over all orders of rows at equal distance, or by database row.
    sample_weight : array-like of shape (n_queries,), default=None
        Weights of the queries.

    Returns
    -------
    score : float
        Between 0 and 1.

    See Also
    --------
    mean_reciprocal_rank : How far up the partner is.
    recall_at_k : The same of rows that share a label.

    Notes
    -----
    Let `N` rows be nearer than the partner, and `m` rows as near, the partner among
    them. In a random order of tied rows its rank is uniform on N + 1, ..., N + m, so that
    the chance of rank k or better is (k - N) / m, within 0 and 1. One pass over the pairs,
    in memory linear in the rows.

    Examples
    --------
    >>> from sklearn_cmh.metrics import pair_recall_at_k
    >>> text = [[1, 1, 1], [1, 1, -1], [-1, -1, -1]]
    >>> image = [[1, 1, 1], [1, 1, 1], [-1, -1, -1]]
    >>> round(pair_recall_at_k(text, image, k=1), 4)
    0.6667
    """
    retrieval = retrieval_of(query_codes, database_codes)
    weights = query_weights(sample_weight, retrieval)
    values, found = pair_values.recall_at_k(retrieval, k, ties)
    return query_mean(values, found, "skip", weights)


@validate_params(_OPTIONS, prefer_skip_nested_validation=True)
def mean_reciprocal_rank(
    query_codes: ArrayLike,
    database_codes: ArrayLike,
    *,
    k: int | None = None,
    ties: Ties = "expected",
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean over queries of one over the rank of the partner.

    Row `i` of the database is the partner of query `i`, and alone relevant to it, so that
    this is the mean average precision, too.

    Parameters
    ----------
    query_codes, database_codes : array-like of shape (n_queries, n_bits), (n, n_bits)
        Codes of two values: -1 and +1, 0 and 1, or booleans; n is at least n_queries.
    k : int, default=None
        A partner beyond rank `k` counts 0; None ranks the whole database.
    ties : {"expected", "index"}, default="expected"
        Mean over all orders of rows at equal distance, or by database row.
    sample_weight : array-like of shape (n_queries,), default=None
        Weights of the queries.

    Returns
    -------
    score : float
        Between 0 and 1.

    See Also
    --------
    pair_recall_at_k : Whether the partner is among the first k.

    Notes
    -----
    With `N` rows nearer than the partner and `m` rows as near, the partner among them, the
    mean over all orders of tied rows is (H_{N+m} - H_N) / m of harmonic numbers H.

    Examples
    --------
    >>> from sklearn_cmh.metrics import mean_reciprocal_rank
    >>> text = [[1, 1, 1], [1, 1, -1], [-1, -1, -1]]
    >>> image = [[1, 1, 1], [1, 1, 1], [-1, -1, -1]]
    >>> round(mean_reciprocal_rank(text, image), 4)
    0.8333
    """
    retrieval = retrieval_of(query_codes, database_codes)
    weights = query_weights(sample_weight, retrieval)
    values, found = pair_values.reciprocal_rank(retrieval, k, ties)
    return query_mean(values, found, "skip", weights)
