"""Retrieval scorers for GridSearchCV, cross_validate and the like."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_consistent_length
from sklearn.utils.metadata_routing import MetadataRequest
from sklearn.utils.validation import check_is_fitted

from ..data import MultimodalData, align_labels, is_indicator, labelled_rows
from ..utils._dask import in_memory
from ..utils._sklearn import HasMethods, Interval, StrOptions, check_sample_weight, validate_params
from ..utils._typing import ArrayLike, Gallery, Labels, MatrixLike, NoRelevant, Relevance, Ties
from .core import (
    NO_RELEVANT,
    TIES,
    RankedSearch,
    Search,
    find_hasher,
    has_form_of_fit,
    labels_beside_training,
    labels_of,
    query_mean,
    shared_vectors,
)

__all__ = ["RetrievalScorer", "make_retrieval_scorer"]

_METRICS = ("map", "mrr", "precision_at_k", "recall_at_k", "lookup_precision", "ndcg_at_k")
_GALLERIES = ("learned", "validation")


@validate_params(
    {
        "metric": [StrOptions(set(_METRICS))],
        "relevance": [StrOptions({"labels", "pair"})],
        "radius": [Interval(Integral, 0, None, closed="left"), None],
        "ranker": [HasMethods(["fit", "rank"]), None],
        **TIES,
        **NO_RELEVANT,
    },
    prefer_skip_nested_validation=True,
)
def make_retrieval_scorer(
    metric: str = "map",
    *,
    query: str | None = None,
    database: str | None = None,
    gallery: Gallery = "learned",
    relevance: Relevance = "labels",
    k: int | None = None,
    radius: int | None = None,
    ties: Ties = "expected",
    no_relevant: NoRelevant = "skip",
    ranker: Any = None,
) -> RetrievalScorer:
    """Make a scorer of cross-modal retrieval: a callable ``(estimator, X, y) -> float``.

    The rows of `X` are the queries, encoded by one modality each. The estimator is a
    fitted hasher, or a Pipeline that ends in a hasher or in a hasher and a
    :class:`~sklearn_cmh.HammingRanker`; a ``FrozenEstimator`` or a fitted search stands
    for what it holds.

    Parameters
    ----------
    metric : {"map", "mrr", "precision_at_k", "recall_at_k", "lookup_precision", \
            "ndcg_at_k"}, default="map"
        Name of the metric; see :mod:`sklearn_cmh.metrics`. "mrr" is the mean reciprocal
        rank of the first relevant row.
    query : str, default=None
        Modality of the queries; None is the mean over all modalities.
    database : str, default=None
        Modality that encodes the database where `gallery` is not "learned". None is each
        modality but that of the queries, on average; the same one if there is no other.
    gallery : {"learned", "validation"} or tuple (X_database, y_database), default="learned"
        What is ranked: the codes that the hasher learned for its training rows; or the
        scored rows themselves, encoded (what a user with unlabelled data will see); or
        other rows, encoded.
    relevance : {"labels", "pair"}, default="labels"
        What is to be found: rows that share a label with the query, or the thing itself.
        With "labels", rows without labels are left out on both sides, as nothing is known
        to be relevant to them, and so is every query's own row in the gallery
        "validation". With "pair", the query's own row is the one relevant row and `y` may
        be None; in the gallery "learned" the scored rows must be the training rows in
        their order, and row `i` of a given `X_database` is the partner of query `i`.
    k : int, default=None
        Rows retrieved. None is the full ranking for "map" and "mrr", and 10 for the metrics
        "at k".
    radius : int, default=None
        Hamming distance within which "map" and "lookup_precision" retrieve; None is the
        full ranking for "map", and 2 for "lookup_precision".
    ties : {"expected", "index"}, default="expected"
        Mean over all orders of rows at equal distance, or by database row.
    no_relevant : {"skip", "zero"}, default="skip"
        Whether a query without relevant rows is left out, or counts 0.
    ranker : object, default=None
        What orders the gallery by more than codes: a :class:`~sklearn_cmh.TwoStageRanker`.
        A clone is fitted on the codes of the gallery, and asked for the projections of the
        queries; or, where its metric is one of vectors, fitted on codes and vectors and asked
        for both, vectors being those in the space that the hasher has fitted
        (`shared_space_`), which the learned codes of rows other than the scored ones do not
        have. It makes ``n_neighbors * oversampling`` rows candidates for its finer order;
        with ``oversampling=None`` it is a full ranking. None ranks by Hamming distance.

    Returns
    -------
    scorer : callable
        To be passed as ``scoring=``. It can be pickled, copied and cloned. It takes
        `sample_weight`, the weights of the queries; with scikit-learn's metadata routing,
        ``scorer.set_score_request(sample_weight=True)`` asks for them.

    Warns
    -----
    UserWarning
        If less than half of the queries share a label with any training row: folds of
        rows that are sorted by class, as a rule.

    Examples
    --------
    >>> from sklearn_cmh.metrics import make_retrieval_scorer
    >>> make_retrieval_scorer("map", query="image", k=50)
    make_retrieval_scorer('map', query='image', k=50)
    >>> make_retrieval_scorer("recall_at_k", gallery="validation", relevance="pair")
    make_retrieval_scorer('recall_at_k', gallery='validation', relevance='pair')
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
            f"metric='lookup_precision' takes no k, as it retrieves all rows within a radius; got "
            f"k={k!r}."
        )
    if radius is not None and metric not in ("map", "lookup_precision"):
        raise ValueError(
            f"metric={metric!r} takes no radius, as it ranks rows; got radius={radius!r}."
        )
    if radius is not None and k is not None:
        raise ValueError(f"k={k!r} and radius={radius!r} both say where to stop: pass one of them.")
    if ranker is not None and (radius is not None or metric == "lookup_precision"):
        raise ValueError(
            "A ranker orders rows by another distance than Hamming's, so there is no radius: pass "
            "ranker=None, or a metric of the ranking."
        )
    learned = isinstance(gallery, str) and gallery == "learned"
    if _by_vectors(ranker) and learned and relevance != "pair":
        raise ValueError(
            f"ranker orders rows by vectors ({ranker.metric}), but of the rows whose codes were "
            "learned there are only codes here: pass gallery='validation' or a pair "
            "(X_database, y_database), or a ranker with metric='asymmetric'."
        )
    return RetrievalScorer(
        metric, query, database, gallery, relevance, k, radius, ties, no_relevant, ranker
    )


class RetrievalScorer:
    """What `make_retrieval_scorer` returns; see there."""

    def __init__(
        self,
        metric: str,
        query: str | None,
        database: str | None,
        gallery: Gallery,
        relevance: Relevance,
        k: int | None,
        radius: int | None,
        ties: Ties,
        no_relevant: NoRelevant,
        ranker: Any,
    ) -> None:
        self.metric = metric
        self.query = query
        self.database = database
        self.gallery = gallery
        self.relevance = relevance
        self.k = k
        self.radius = radius
        self.ties = ties
        self.no_relevant = no_relevant
        self.ranker = ranker

    def __repr__(self):
        shown = {"query": None, "database": None, "gallery": "learned", "relevance": "labels"}
        shown |= {"k": None, "radius": None, "ties": "expected", "no_relevant": "skip"}
        shown |= {"ranker": None}
        words = [repr(self.metric)]
        for name, default in shown.items():
            value = getattr(self, name)
            if name == "gallery" and not isinstance(value, str):
                words.append("gallery=(X_database, y_database)")
            elif value != default:
                words.append(f"{name}={value!r}")
        return f"make_retrieval_scorer({', '.join(words)})"

    # Metadata routing, as scikit-learn's own scorers have it.

    def set_score_request(self, *, sample_weight: bool | str | None = None) -> RetrievalScorer:
        """Say whether scikit-learn's metadata routing hands weights to this scorer.

        Parameters
        ----------
        sample_weight : bool, str or None
            True asks for them, a name asks for them by that name, False refuses them, and
            None makes it an error to pass them.

        Returns
        -------
        self : object
            The same scorer.
        """
        self._metadata_request = self.get_metadata_routing()
        self._metadata_request.score.add_request(param="sample_weight", alias=sample_weight)
        return self

    def get_metadata_routing(self) -> MetadataRequest:
        """Requests, as scikit-learn's metadata routing reads them.

        Returns
        -------
        requests : MetadataRequest
            Of the method `score`.
        """
        requests = getattr(self, "_metadata_request", None)
        if requests is None:
            requests = MetadataRequest(owner=type(self).__name__)
            requests.score.add_request(param="sample_weight", alias=None)
        return requests

    # Scoring.

    def __call__(
        self,
        estimator: Any,
        X: MatrixLike,
        y: Labels | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Score a fitted estimator.

        Parameters
        ----------
        estimator : object
            Fitted hasher, or a Pipeline that ends in one.
        X : {array-like, sparse, DataFrame, MultimodalData} of shape (n, n_features)
            Queries.
        y : array-like of shape (n,) or {array-like, sparse} of shape (n, c), default=None
            Their labels; needed where these say what is relevant.
        sample_weight : array-like of shape (n,), default=None
            Weights of the queries.

        Returns
        -------
        score : float
            The larger, the better.
        """
        scores = []
        if sample_weight is not None:
            check_consistent_length(X, sample_weight)
        for search in self.searches(estimator, X, y):
            values, has_relevant = search.values(
                self.metric, k=self.k, radius=self.radius, ties=self.ties
            )
            weights = None
            if sample_weight is not None:
                rows = np.empty((len(search.query_rows), 1))
                weights = np.asarray(sample_weight)[search.query_rows]
                weights = check_sample_weight(weights, rows, ensure_non_negative=True)
            scores.append(query_mean(values, has_relevant, self.no_relevant, weights))
        return float(np.mean(scores))

    def searches(self, estimator: Any, X: MatrixLike, y: Labels | None = None) -> Iterator[Search]:
        """What is ranked for what: every query modality against every gallery.

        Parameters
        ----------
        estimator : object
            As in `__call__`.
        X : {array-like, sparse, DataFrame, MultimodalData} of shape (n, n_features)
            Queries.
        y : array-like of shape (n,) or {array-like, sparse} of shape (n, c), default=None
            Their labels.

        Yields
        ------
        search : Search
            Codes and what is relevant.
        """
        hasher, prepare = find_hasher(estimator)
        check_is_fitted(hasher)
        if self.relevance == "labels" and y is None:
            raise ValueError(
                "y is None, but retrieval is scored by labels: pass y to the search or to "
                "cross_validate, or score by relevance='pair'."
            )
        X = prepare(X)
        encode = cache(lambda modality: in_memory(hasher.encode(X, modality=modality)))
        ranked = self._ranked(hasher, prepare, encode)
        labels = (None, None) if self.relevance == "pair" else self._labels(hasher, y)
        for query in hasher.modality_names_ if self.query is None else [self.query]:
            for database in self._databases(hasher, query):
                codes, gallery = encode(query), ranked(database)
                if self.relevance == "pair":
                    self._check_partners(hasher, query, database, y, len(codes))
                search = self._search(query, database, (codes, gallery, *labels))
                if self.ranker is not None:
                    X_gallery = X if isinstance(self.gallery, str) else prepare(self.gallery[0])
                    search = self._ranked_search(search, hasher, X, X_gallery)
                yield search

    @property
    def _own_rows(self):
        """Whether the scored rows themselves are ranked."""
        return isinstance(self.gallery, str) and self.gallery == "validation"

    @property
    def _learned(self):
        """Whether the learned codes are ranked."""
        return isinstance(self.gallery, str) and self.gallery == "learned"

    def _ranked(self, hasher, prepare, encode):
        """Function of a modality that returns the codes which are ranked."""
        if self._learned:
            return lambda modality: hasher.codes_
        if self._own_rows:
            return encode
        X_database = prepare(self.gallery[0])
        return cache(lambda modality: in_memory(hasher.encode(X_database, modality=modality)))

    def _databases(self, hasher, query):
        """Modalities that encode what is ranked for the queries of one modality."""
        if self._learned:
            return [None]
        if self.database is not None:
            return [self.database]
        return [other for other in hasher.modality_names_ if other != query] or [query]

    def _labels(self, hasher, y):
        """Labels of the queries and of what is ranked, on the same classes."""
        if self._learned and hasher.labels_ is None:
            raise ValueError(
                "The hasher was fitted without y, so its learned codes have no labels to "
                "score by: fit it with y, or pass gallery='validation'."
            )
        _warn_unseen(hasher, y)
        if self._learned:
            return labels_beside_training(hasher, y)
        y_database: Any = y if self._own_rows else self.gallery[1]
        if y_database is None or is_indicator(y) != is_indicator(y_database):
            raise ValueError(
                "y and the labels of the gallery must both be class labels of shape (n,), or both "
                f"indicators; got shapes {np.shape(y)} and {np.shape(y_database)}."
            )
        return align_labels(*labels_of(hasher, y), *labels_of(hasher, y_database))[:2]

    def _check_partners(self, hasher, query, database, y, n_queries):
        """Refuse queries whose own row is not in the gallery, or is the query itself."""
        if self._own_rows and database == query:
            raise ValueError(
                f"relevance='pair' with queries and gallery both encoded by {query!r}: every row "
                "finds itself. Pairs need two modalities."
            )
        if not self._learned:
            return
        same = n_queries == len(hasher.codes_)
        if same and y is not None and has_form_of_fit(hasher, y):
            labels, training_labels = labels_beside_training(hasher, y)
            same = (labels != training_labels).nnz == 0
        if not same:
            raise ValueError(
                "relevance='pair' with gallery='learned' scores the training rows by their own "
                f"learned codes, but X is not these: it has {n_queries} rows, where "
                f"{len(hasher.codes_)} were fitted on, or other labels. Pass gallery='validation' "
                "for new rows."
            )

    def _search(self, query, database, data):
        """Leave rows without labels out; nothing is known to be relevant to them."""
        codes, gallery, L_query, L_gallery = data
        rows, gallery_rows = np.arange(len(codes)), np.arange(len(gallery))
        if L_query is not None:
            rows, gallery_rows = _labelled(L_query), _labelled(L_gallery)
            if len(rows) < len(codes):
                codes, L_query = codes[rows], L_query[rows]
            if len(gallery_rows) < len(gallery):
                gallery, L_gallery = gallery[gallery_rows], L_gallery[gallery_rows]
        data = codes, gallery, L_query, L_gallery
        own = self._own_rows and self.relevance == "labels"
        return Search(query, database, data, own, rows, gallery_rows)

    def _ranked_search(self, search, hasher, X, X_gallery):
        """The same search, its gallery in the order of the ranker."""
        codes, gallery = search.data[:2]
        if _by_vectors(self.ranker):
            vectors = shared_vectors(hasher, X, search.query)[search.query_rows]
            queries = MultimodalData(codes=codes, vectors=vectors)
            vectors = shared_vectors(hasher, X_gallery, search.database)[search.database_rows]
            gallery = MultimodalData(codes=gallery, vectors=vectors)
        else:
            queries = hasher.project(X, modality=search.query)[search.query_rows]
        ranker = clone(self.ranker).fit(gallery)
        return RankedSearch(**vars(search), ranker=ranker, queries=queries)


def _by_vectors(ranker):
    """Whether a ranker orders rows by vectors, which it takes beside their codes."""
    return getattr(ranker, "metric", "asymmetric") != "asymmetric"


def _labelled(L):
    """Rows with labels; all rows where none has."""
    rows = np.flatnonzero(labelled_rows(L))
    return rows if len(rows) else np.arange(L.shape[0])


def _warn_unseen(hasher, y):
    """Warn where most queries have no label of a training row, as in folds sorted by class."""
    if not has_form_of_fit(hasher, y):
        return
    L, classes = labels_of(hasher, y)
    known = np.isin(classes, hasher.classes_[hasher.labels_.sum(axis=0) > 0]).astype(np.intp)
    n_labelled, n_known = (np.count_nonzero(rows) for rows in (labelled_rows(L), L @ known))
    if n_known < n_labelled / 2:
        warnings.warn(
            f"Only {n_known} of {n_labelled} queries share a label with any training row, so the "
            "score says little of the classes that were learned. Rows sorted by class make such "
            "folds: shuffle them, for instance by cv=KFold(shuffle=True)."
        )
