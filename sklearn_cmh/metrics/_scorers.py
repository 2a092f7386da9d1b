"""Retrieval scorers for GridSearchCV, cross_validate and the like."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..data import align_labels, is_indicator
from ..utils._sklearn import StrOptions, validate_params
from .core import NO_RELEVANT, TIES, find_hasher, per_query_values, query_mean

__all__ = ["make_retrieval_scorer"]

_METRICS = ("map", "precision_at_k", "recall_at_k", "lookup_precision", "ndcg_at_k")
_GALLERIES = ("learned", "validation")


@validate_params(
    {"metric": [StrOptions(set(_METRICS))], **TIES, **NO_RELEVANT},
    prefer_skip_nested_validation=True,
)
def make_retrieval_scorer(
    metric="map",
    *,
    query=None,
    database=None,
    gallery="learned",
    k=None,
    ties="expected",
    no_relevant="skip",
):
    """Make a scorer of cross-modal retrieval: a callable ``(estimator, X, y) -> float``.

    The rows of `X` are the queries, encoded by one modality each. The estimator is a
    fitted hasher, or a Pipeline that ends in a hasher or in a hasher and a
    :class:`~sklearn_cmh.HammingRanker`; a ``FrozenEstimator`` or a fitted search stands
    for what it holds.

    Parameters
    ----------
    metric : {"map", "precision_at_k", "recall_at_k", "lookup_precision", "ndcg_at_k"}, \
            default="map"
        Name of the metric; see :mod:`sklearn_cmh.metrics`.
    query : str, default=None
        Modality of the queries; None is the mean over all modalities.
    database : str, default=None
        Modality that encodes the database where `gallery` is not "learned". None is each
        modality but that of the queries, on average; the same one if there is no other.
    gallery : {"learned", "validation"} or tuple (X_database, y_database), default="learned"
        What is ranked: the codes that the hasher learned for its training rows; or the
        scored rows themselves, encoded, every query's own row left out (what a user with
        unlabelled data will see); or other rows, encoded.
    k : int, default=None
        Rows retrieved. None is the full ranking for "map", and 10 for the metrics "at k".
    ties : {"expected", "index"}, default="expected"
        Mean over all orders of rows at equal distance, or by database row.
    no_relevant : {"skip", "zero"}, default="skip"
        Whether a query without relevant rows is left out, or counts 0.

    Returns
    -------
    scorer : callable
        To be passed as ``scoring=``. It can be pickled, copied and cloned.

    Examples
    --------
    >>> from sklearn_cmh.metrics import make_retrieval_scorer
    >>> make_retrieval_scorer("map", query="image", k=50)
    make_retrieval_scorer('map', query='image', k=50)
    """
    if isinstance(gallery, str):
        if gallery not in _GALLERIES:
            raise ValueError(
                "gallery must be 'learned', 'validation' or a pair (X_database, y_database); "
                f"got {gallery!r}."
            )
    elif not isinstance(gallery, tuple) or len(gallery) != 2:
        raise ValueError(
            "gallery must be 'learned', 'validation' or a pair (X_database, y_database); got "
            f"an object of type {type(gallery).__name__}."
        )
    if database is not None and isinstance(gallery, str) and gallery == "learned":
        raise ValueError(
            f"database={database!r} names the modality that encodes a gallery, but "
            "gallery='learned' ranks the codes learned from all modalities: pass "
            "gallery='validation' or a pair (X_database, y_database), or leave database out."
        )
    if k is not None and metric == "lookup_precision":
        raise ValueError(
            f"metric='lookup_precision' takes no k, as it retrieves all rows within radius 2; got "
            f"k={k!r}."
        )
    return RetrievalScorer(metric, query, database, gallery, k, ties, no_relevant)


class RetrievalScorer:
    """What `make_retrieval_scorer` returns; see there."""

    def __init__(self, metric, query, database, gallery, k, ties, no_relevant):
        self.metric = metric
        self.query = query
        self.database = database
        self.gallery = gallery
        self.k = k
        self.ties = ties
        self.no_relevant = no_relevant

    def __repr__(self):
        shown = {"query": None, "database": None, "gallery": "learned", "k": None}
        shown |= {"ties": "expected", "no_relevant": "skip"}
        words = [repr(self.metric)]
        for name, default in shown.items():
            value = getattr(self, name)
            if name == "gallery" and not isinstance(value, str):
                words.append("gallery=(X_database, y_database)")
            elif value != default:
                words.append(f"{name}={value!r}")
        return f"make_retrieval_scorer({', '.join(words)})"

    def __call__(self, estimator, X, y=None):
        """Score a fitted estimator on labelled rows.

        Parameters
        ----------
        estimator : object
            Fitted hasher, or a Pipeline that ends in one.
        X : {array-like, sparse, DataFrame, MultimodalData} of shape (n, n_features)
            Queries.
        y : array-like of shape (n,) or {array-like, sparse} of shape (n, c)
            Their labels.

        Returns
        -------
        score : float
            The larger, the better.
        """
        values = [
            self._metric(*data, exclude_self=exclude_self)
            for _, data, exclude_self in self.retrievals(estimator, X, y)
        ]
        return float(np.mean(values))

    def retrievals(self, estimator, X, y):
        """What is ranked for what: every query modality against every gallery.

        Parameters
        ----------
        estimator : object
            As in `__call__`.
        X : {array-like, sparse, DataFrame, MultimodalData} of shape (n, n_features)
            Queries.
        y : array-like of shape (n,) or {array-like, sparse} of shape (n, c)
            Their labels.

        Yields
        ------
        modalities : tuple (query, database)
            Modality of the queries, and of the gallery (None for learned codes).
        data : tuple (query_codes, database_codes, query_labels, database_labels)
            As the metrics take them.
        exclude_self : bool
            Whether query `i` is database row `i`.
        """
        hasher, prepare = find_hasher(estimator)
        check_is_fitted(hasher)
        if y is None:
            raise ValueError(
                "y is None, but retrieval is scored by labels: pass y to the search or to "
                "cross_validate."
            )
        X = prepare(X)
        for query in hasher.modality_names_ if self.query is None else [self.query]:
            codes = hasher.encode(X, modality=query)
            for database, gallery, labels in self._galleries(hasher, prepare, X, y, query):
                own = isinstance(self.gallery, str) and self.gallery == "validation"
                yield (query, database), (codes, gallery, *labels), own

    def _galleries(self, hasher, prepare, X, y, query):
        """Codes that are ranked for one query modality, and the labels of both sides."""
        if isinstance(self.gallery, str) and self.gallery == "learned":
            if hasher.labels_ is None:
                raise ValueError(
                    "The hasher was fitted without y, so its learned codes have no labels to "
                    "score by: fit it with y, or pass gallery='validation'."
                )
            yield None, hasher.codes_, hasher._query_labels(y)
            return
        own = isinstance(self.gallery, str)
        X_database, y_database = (X, y) if own else (prepare(self.gallery[0]), self.gallery[1])
        if is_indicator(y) != is_indicator(y_database):
            raise ValueError(
                "y and the labels of the gallery must both be class labels of shape (n,), or both "
                f"indicators; got shapes {np.shape(y)} and {np.shape(y_database)}."
            )
        labels = align_labels(*hasher._encode_labels(y), *hasher._encode_labels(y_database))[:2]
        others = [other for other in hasher.modality_names_ if other != query] or [query]
        for database in others if self.database is None else [self.database]:
            yield database, hasher.encode(X_database, modality=database), labels

    def _metric(self, *data, exclude_self=False):
        values, has_relevant = per_query_values(
            self.metric, *data, k=self.k, ties=self.ties, exclude_self=exclude_self
        )
        return query_mean(values, has_relevant, self.no_relevant)
