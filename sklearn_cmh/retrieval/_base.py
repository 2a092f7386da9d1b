"""What every ranker has: neighbours and graphs as scikit-learn returns them, and a score."""

from abc import abstractmethod
from collections.abc import Iterator
from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from ..data import align_labels, encode_labels, is_indicator
from ..utils._documentation import DocumentedMixin
from ..utils._sklearn import Interval, check_sample_weight, fit_context
from ..utils._state import VersionedStateMixin, unchanged_on_error
from ..utils._typing import ArrayLike, Labels, MatrixLike, NDArray

__all__ = ["BaseRanker", "Neighbors", "append_chunk", "without_own_row", "ragged"]

Neighbors = tuple[NDArray[Any], NDArray[np.intp]]
"""Distances and database rows."""


class BaseRanker(
    VersionedStateMixin,
    DocumentedMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Base class of rankers.

    A ranker says in `_store` how rows are kept, and in `kneighbors`, `rank` and `score`
    how they are found. It sets `n_samples_fit_`, `labels_`, `classes_`, and `_indicator`,
    the form of the labels.
    """

    _parameter_constraints: dict = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    }

    n_neighbors: int
    n_samples_fit_: int
    classes_: Any
    _label_chunks: list[Any]
    _indicator: bool | None

    # --- The database -------------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: MatrixLike, y: Labels | None = None) -> Self:
        """Store the rows of the database.

        Parameters
        ----------
        X : array-like of shape (n, n_columns)
            Rows, as the class describes them.
        y : array-like of shape (n,) or {array-like, sparse} of shape (n, c), default=None
            Class labels or label indicator of the rows; needed for `score` only.

        Returns
        -------
        self : BaseRanker
            The fitted ranker.

        Raises
        ------
        ValueError
            If the rows are empty, not finite, or not what the parameters say.
        """
        with unchanged_on_error(self):
            return self._store(X, y, first=True)

    @fit_context(prefer_skip_nested_validation=False)
    def partial_fit(self, X: MatrixLike, y: Labels | None = None) -> Self:
        """Append rows to the database.

        Parameters
        ----------
        X : array-like of shape (n, n_columns)
            New rows, which are numbered after those already there.
        y : array-like of shape (n,) or {array-like, sparse} of shape (n, c), default=None
            Their labels, in the form of the first ones; None if those were None.

        Returns
        -------
        self : BaseRanker
            The ranker with more rows.
        """
        with unchanged_on_error(self):
            return self._store(X, y, first=not hasattr(self, "n_samples_fit_"))

    @abstractmethod
    def _store(self, X: Any, y: Any, first: bool) -> Self:
        """Keep the rows, the first ones or further ones."""

    # --- Neighbours ---------------------------------------------------------------------------

    @abstractmethod
    def kneighbors(
        self,
        X: MatrixLike | None = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
    ) -> Neighbors | NDArray[np.intp]:
        """Find the nearest rows of every query."""

    @abstractmethod
    def rank(self, X: MatrixLike | None = None) -> Iterator[Neighbors]:
        """Rank the whole database for every query, some queries at a time."""

    def _check_n_neighbors(self, n_neighbors: int | None, own: bool) -> int:
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        if not isinstance(k, Integral) or isinstance(k, bool) or k < 1:
            raise ValueError(f"n_neighbors must be an integer of at least 1; got {k!r}.")
        available = self.n_samples_fit_ - own
        if k > available:
            raise ValueError(
                f"Expected n_neighbors <= n_samples_fit, but n_neighbors = {k}, "
                f"n_samples_fit = {self.n_samples_fit_}"
                f"{' and rows are not their own neighbours' if own else ''}: ask for at most "
                f"{available}."
            )
        return int(k)

    def kneighbors_graph(
        self,
        X: MatrixLike | None = None,
        n_neighbors: int | None = None,
        mode: Literal["connectivity", "distance"] = "connectivity",
    ) -> sparse.csr_matrix:
        """Graph of the nearest rows.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_columns), default=None
            Queries, as `kneighbors` takes them; None is every row of the database without
            itself.
        n_neighbors : int, default=None
            Number of rows; None is the parameter `n_neighbors`.
        mode : {"connectivity", "distance"}, default="connectivity"
            Whether edges are ones or distances.

        Returns
        -------
        graph : csr_matrix of shape (n_queries, n_samples_fit_), float64
            Edges from queries to rows, distances of zero stored explicitly.
        """
        if mode not in ("connectivity", "distance"):
            raise ValueError(f'mode must be "connectivity" or "distance"; got {mode!r}.')
        distances, indices = self.kneighbors(X, n_neighbors)
        n_queries, k = indices.shape
        data = distances.astype(np.float64) if mode == "distance" else np.ones(indices.shape)
        return sparse.csr_matrix(
            (data.ravel(), indices.ravel(), np.arange(0, n_queries * k + 1, k)),
            shape=(n_queries, self.n_samples_fit_),
        )

    def transform(self, X: MatrixLike) -> sparse.csr_matrix:
        """Graph of distances to the nearest rows, as KNeighborsTransformer makes it.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_columns)
            Queries, as `kneighbors` takes them.

        Returns
        -------
        graph : csr_matrix of shape (n_queries, n_samples_fit_), float64
            Distances to the ``n_neighbors + 1`` nearest rows: one more than asked for,
            since a row of the database counts as its own neighbour here.
        """
        check_is_fitted(self)
        return self.kneighbors_graph(X, self.n_neighbors + 1, mode="distance")

    # --- Score --------------------------------------------------------------------------------

    def _store_labels(self, X: Any, y: Labels | None, first: bool) -> None:
        """Keep the labels of the rows, the first ones or further ones."""
        labels, classes, indicator = None, None, None
        if y is not None:
            check_consistent_length(X, y)
            (labels, classes), indicator = encode_labels(y), is_indicator(y)
        if first:
            self._label_chunks = [labels]
        else:
            labels, classes = self._check_further_labels(labels, classes, indicator)
            self._label_chunks = append_chunk(self._label_chunks, labels)
        self.classes_, self._indicator = classes, indicator

    def _check_further_labels(self, labels, classes, indicator):
        """Labels of further rows, over the classes of all, and these."""
        if indicator != self._indicator:
            forms = {None: "without labels", True: "with a label indicator", False: "with labels"}
            raise ValueError(
                f"The first rows came {forms[self._indicator]}, these come {forms[indicator]}: "
                "pass y in one form for all rows, or for none."
            )
        if labels is None:
            return None, None
        if indicator and len(classes) != len(self.classes_):
            raise ValueError(
                f"y has {len(classes)} columns, but the first rows had {len(self.classes_)}."
            )
        aligned = [
            align_labels(chunk, self.classes_, labels, classes) for chunk in self._label_chunks
        ]
        self._label_chunks = [chunk for chunk, _, _ in aligned]
        return aligned[0][1:]

    @property
    def labels_(self):
        """Label indicator of the database, or None."""
        first, *others = self._label_chunks
        return sparse.vstack([first, *others], format="csr") if others else first

    def _query_labels(
        self, n_queries: int, y: Labels, sample_weight: ArrayLike | None
    ) -> tuple[sparse.csr_array, sparse.csr_array, NDArray[Any] | None]:
        """Labels of queries and database over the same classes, and the queries' weights."""
        labels = self.labels_
        if labels is None:
            raise ValueError(
                "The database has no labels, so no row is known to be relevant: pass y to fit."
            )
        rows = np.empty((n_queries, 1))
        check_consistent_length(rows, y)
        query_labels, query_classes = encode_labels(y)
        if is_indicator(y) != self._indicator or (
            self._indicator and len(query_classes) != len(self.classes_)
        ):
            form = f"an indicator of {len(self.classes_)} columns" if self._indicator else "labels"
            raise ValueError(
                f"y at fit was {form}; pass y in the same form, not of shape {np.shape(y)}."
            )
        weights = None
        if sample_weight is not None:
            weights = check_sample_weight(sample_weight, rows, ensure_non_negative=True)
        L, L_database, _ = align_labels(query_labels, query_classes, labels, self.classes_)
        return L, L_database, weights

    @property
    def _n_features_out(self):
        return self.n_samples_fit_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


def append_chunk(chunks: list[Any], rows: Any) -> list[Any]:
    """Append rows; small chunks are merged, so that their number grows with the logarithm.

    All of the work of appending n rows grows as n log n. Memory-mapped chunks stay as they are;
    None is no rows.
    """
    if rows is None:
        return chunks
    chunks = [*chunks, rows]
    while len(chunks[-2:]) == 2 and chunks[-2].shape[0] <= chunks[-1].shape[0]:
        if any(isinstance(getattr(chunk, "base", None), np.memmap) for chunk in chunks[-2:]):
            break
        stack = sparse.vstack if sparse.issparse(chunks[-1]) else np.concatenate
        chunks[-2:] = [stack(chunks[-2:])]
    return chunks


def without_own_row(
    distances: NDArray[Any], indices: NDArray[np.intp], first: int = 0
) -> Neighbors:
    """Drop query i's own row, number ``first + i``, or the last one where it was not found."""
    own = indices == np.arange(first, first + len(indices))[:, None]
    own[~own.any(axis=1), -1] = True
    shape = len(indices), indices.shape[1] - 1
    return distances[~own].reshape(shape), indices[~own].reshape(shape)


def ragged(arrays: list[NDArray[Any]]) -> NDArray[np.object_]:
    """An object array of arrays, as scikit-learn's radius_neighbors returns."""
    found = np.empty(len(arrays), dtype=object)
    found[:] = arrays
    return found
