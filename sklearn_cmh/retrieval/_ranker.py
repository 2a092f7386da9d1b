"""HammingRanker: exact ranking of packed binary codes with scikit-learn's neighbours interface."""

import warnings
from functools import partial
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from ..data import align_labels, encode_labels, is_indicator
from ..hamming import (
    block_rows,
    choose_backend,
    first_non_code,
    nearest,
    pack_codes,
    rank_rows,
    with_fallback,
    within_radius,
)
from ..metrics.core import packed_mean_average_precision
from ..persistence import VersionedStateMixin, unchanged_on_error
from ..utils._documentation import DocumentedMixin
from ..utils._sklearn import Interval, StrOptions, fit_context

__all__ = ["HammingRanker"]


class HammingRanker(
    VersionedStateMixin,
    DocumentedMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Exact nearest rows of binary codes by Hamming distance.

    Parameters
    ----------
    n_neighbors : int, default=5
        Default number of rows for `kneighbors`.
    radius : int, default=2
        Default radius for `radius_neighbors`.
    binarize : float, default=0.0
        A bit is set where a value is larger, so that codes of -1 and +1, of 0 and 1,
        and booleans all work.
    packed : bool, default=False
        Whether codes come packed, as ``numpy.packbits`` makes them: uint8, eight bits
        each, the spare ones of the last byte zero. A packed database is used as it is:
        neither copied nor unpacked, and read block by block if it is memory-mapped.
    n_bits : int, default=None
        Length of packed codes if it is not a multiple of 8.
    backend : {"auto", "numpy", "numba", "faiss"}, default="auto"
        What computes `kneighbors`. All are exact and give identical results. "auto" is
        NumPy for few pairs, otherwise numba; a backend that is missing or fails is
        replaced by NumPy, with a warning.
    n_jobs : int, default=None
        Threads that share the queries of `kneighbors`; None is one, -1 all processors.

    Attributes
    ----------
    n_samples_fit_ : int
        Rows in the database.
    n_bits_ : int
        Length of the codes.
    labels_ : csr_array of shape (n_samples_fit_, c) or None
        Label indicator of the database, if it was given with labels.
    classes_ : ndarray of shape (c,) or None
        Their classes.
    n_features_in_ : int
        Columns of the codes as given: bits, or bytes if packed.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if all are strings.

    See Also
    --------
    sklearn.neighbors.NearestNeighbors : The same interface for any metric.
    sklearn_cmh.metrics.mean_average_precision : What `score` computes.

    Notes
    -----
    Rows at equal distance are ordered by database row. Distances are integers: the
    number of bits that differ.

    Examples
    --------
    >>> from sklearn_cmh import HammingRanker
    >>> codes = [[1, 1, 1, 1], [1, 1, 1, -1], [-1, -1, 1, 1], [-1, -1, -1, -1]]
    >>> ranker = HammingRanker(n_neighbors=2).fit(codes)
    >>> distances, indices = ranker.kneighbors([[1, 1, -1, -1]])
    >>> distances, indices
    (array([[1, 2]], dtype=int32), array([[1, 0]]))
    >>> ranker.kneighbors(return_distance=False)[:2]
    array([[1, 2],
           [0, 2]])
    """

    _parameter_constraints: dict = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "radius": [Interval(Real, 0, None, closed="left")],
        "binarize": [Interval(Real, None, None, closed="neither")],
        "packed": ["boolean"],
        "n_bits": [Interval(Integral, 1, None, closed="left"), None],
        "backend": [StrOptions({"auto", "numpy", "numba", "faiss"})],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        n_neighbors=5,
        radius=2,
        *,
        binarize=0.0,
        packed=False,
        n_bits=None,
        backend="auto",
        n_jobs=None,
    ):
        self.n_neighbors = n_neighbors
        self.radius = radius
        self.binarize = binarize
        self.packed = packed
        self.n_bits = n_bits
        self.backend = backend
        self.n_jobs = n_jobs

    # --- The database -------------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Store the codes of the database.

        Parameters
        ----------
        X : array-like of shape (n, n_bits), or (n, n_bytes) if packed
            Codes.
        y : array-like of shape (n,) or {array-like, sparse} of shape (n, c), default=None
            Class labels or label indicator of the rows; needed for `score` only.

        Returns
        -------
        self : HammingRanker
            The fitted ranker.

        Raises
        ------
        ValueError
            If the codes are empty, not finite, or not as `packed` and `n_bits` say.
        """
        with unchanged_on_error(self):
            return self._store(X, y, first=True)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Append rows to the database.

        Parameters
        ----------
        X : array-like of shape (n, n_bits), or (n, n_bytes) if packed
            Codes of the new rows, which are numbered after those already there.
        y : array-like of shape (n,) or {array-like, sparse} of shape (n, c), default=None
            Their labels, in the form of the first ones; None if those were None.

        Returns
        -------
        self : HammingRanker
            The ranker with more rows.
        """
        with unchanged_on_error(self):
            return self._store(X, y, first=not hasattr(self, "_chunks"))

    def _store(self, X, y, first):
        X = validate_data(self, X, reset=first, dtype=None if self.packed else "numeric")
        n_bits = self._count_bits(X)
        packed = self._pack(X, n_bits)
        labels, indicator = None, None
        if y is not None:
            check_consistent_length(X, y)
            labels, indicator = encode_labels(y), is_indicator(y)
        if not first:
            labels = self._append_labels(labels, indicator)
            self._chunks = _append_chunk(self._chunks, packed)
        else:
            self._chunks, self.n_bits_, self._indicator = [packed], n_bits, indicator
        self.labels_, self.classes_ = labels or (None, None)
        self.n_samples_fit_ = sum(len(chunk) for chunk in self._chunks)
        return self

    def _append_labels(self, labels, indicator):
        """Label matrix and classes of the rows there are and of those that come in."""
        if indicator != self._indicator:
            forms = {None: "without labels", True: "with a label indicator", False: "with labels"}
            raise ValueError(
                f"The first rows came {forms[self._indicator]}, these come {forms[indicator]}: "
                "pass y in one form for all rows, or for none."
            )
        if labels is None:
            return None
        if indicator and len(labels[1]) != len(self.classes_):
            raise ValueError(
                f"y has {len(labels[1])} columns, but the first rows had {len(self.classes_)}."
            )
        old, new, classes = align_labels(self.labels_, self.classes_, *labels)
        return sparse.vstack([old, new], format="csr"), classes

    def _count_bits(self, X):
        """Length of the codes in X; raises where it is not what `n_bits` says."""
        n_columns = X.shape[1]
        if self.packed:
            if X.dtype != np.uint8:
                raise ValueError(
                    f"packed=True expects bytes of dtype uint8, as numpy.packbits makes them; got "
                    f"{X.dtype}. Pass codes of -1 and +1 with packed=False."
                )
            if self.n_bits is None:
                return 8 * n_columns
            if -(-self.n_bits // 8) != n_columns:
                raise ValueError(
                    f"n_bits={self.n_bits} fills {-(-self.n_bits // 8)} bytes, but the packed "
                    f"codes have {n_columns}: n_bits must lie between {8 * n_columns - 7} and "
                    f"{8 * n_columns}."
                )
            return self.n_bits
        if self.n_bits not in (None, n_columns):
            raise ValueError(
                f"n_bits={self.n_bits}, but the codes have {n_columns} columns. If they are "
                "packed bytes, pass packed=True; otherwise leave n_bits out."
            )
        return n_columns

    def _pack(self, X, n_bits):
        """Packed codes of validated input."""
        if self.packed:
            spare = -n_bits % 8
            if spare and np.bitwise_or.reduce(X[:, -1]) & (2**spare - 1):
                raise ValueError(
                    f"Packed codes of n_bits={n_bits} must leave the {spare} spare bits of the "
                    "last byte, its lowest ones, zero, as numpy.packbits does; some are set."
                )
            return X
        strange = first_non_code(X)
        if strange is not None:
            hint = (
                " If these are packed bytes, pass packed=True."
                if X.dtype == np.uint8
                else " Check that these are codes and not features."
            )
            warnings.warn(
                f"X holds {strange}, which is no binary code (-1 and +1, 0 and 1, or booleans); "
                f"values above binarize={self.binarize} count as set bits.{hint}",
                UserWarning,
            )
        return pack_codes(X, binarize=self.binarize)

    # --- Queries ------------------------------------------------------------------------------

    def _queries(self, X):
        """Packed queries; the database itself if X is None."""
        check_is_fitted(self)
        if X is None:
            return np.concatenate(self._chunks) if len(self._chunks) > 1 else self._chunks[0]
        X = validate_data(self, X, reset=False, dtype=None if self.packed else "numeric")
        return self._pack(X, self._count_bits(X))

    def kneighbors(self, X=None, n_neighbors=None, return_distance=True):
        """Find the nearest rows of every query.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_bits), or (n_queries, n_bytes) if packed, \
                default=None
            Query codes. None: every row of the database, which then is not its own
            neighbour.
        n_neighbors : int, default=None
            Number of rows; None is the parameter `n_neighbors`.
        return_distance : bool, default=True
            Whether to return the distances, too.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors), int32
            Hamming distances, rising; only if `return_distance` is True.
        indices : ndarray of shape (n_queries, n_neighbors)
            Database rows, equal distances in their order.
        """
        queries = self._queries(X)
        k = self._check_n_neighbors(n_neighbors, own=X is None)
        own = X is None
        backend = choose_backend(self.backend, len(queries) * self.n_samples_fit_)
        search = partial(
            nearest, self._chunks, queries, k + own, n_bits=self.n_bits_, n_jobs=self.n_jobs
        )
        found = with_fallback(backend, search)
        if own:
            found = _without_own_row(*found)
        return found if return_distance else found[1]

    def _check_n_neighbors(self, n_neighbors, own):
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

    def kneighbors_graph(self, X=None, n_neighbors=None, mode="connectivity"):
        """Graph of the nearest rows.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_bits), or (n_queries, n_bytes) if packed, \
                default=None
            Query codes; None is every row of the database without itself.
        n_neighbors : int, default=None
            Number of rows; None is the parameter `n_neighbors`.
        mode : {"connectivity", "distance"}, default="connectivity"
            Whether edges are ones or Hamming distances.

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

    def radius_neighbors(self, X=None, radius=None, return_distance=True, sort_results=False):
        """Find all rows within a radius of every query.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_bits), or (n_queries, n_bytes) if packed, \
                default=None
            Query codes; None is every row of the database without itself.
        radius : int, default=None
            Largest distance; None is the parameter `radius`.
        return_distance : bool, default=True
            Whether to return the distances, too.
        sort_results : bool, default=False
            Whether to order rows by distance; otherwise they are in the order of the
            database.

        Returns
        -------
        distances : ndarray of shape (n_queries,) of int32 arrays
            Hamming distances; only if `return_distance` is True.
        indices : ndarray of shape (n_queries,) of integer arrays
            Database rows; an empty array if there is none.
        """
        queries = self._queries(X)
        radius = self.radius if radius is None else radius
        if not isinstance(radius, Real) or not radius >= 0:
            raise ValueError(f"radius must be a number of bits, at least 0; got {radius!r}.")
        distances, indices = within_radius(self._chunks, queries, radius, n_bits=self.n_bits_)
        for i in range(len(queries)):
            keep = indices[i] != i if X is None else slice(None)
            d, rows = distances[i][keep], indices[i][keep]
            order = np.argsort(d, kind="stable") if sort_results else slice(None)
            distances[i], indices[i] = d[order], rows[order]
        found = _ragged(distances), _ragged(indices)
        return found if return_distance else found[1]

    def rank(self, X=None):
        """Rank the whole database for every query, some queries at a time.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_bits), or (n_queries, n_bytes) if packed, \
                default=None
            Query codes; None is every row of the database without itself.

        Yields
        ------
        distances : ndarray of shape (n_block, n_ranked), int32
            Hamming distances, rising, of the next queries in order; as many as fit in
            scikit-learn's ``working_memory``.
        indices : ndarray of shape (n_block, n_ranked)
            Database rows, equal distances in their order.

        Examples
        --------
        >>> from sklearn_cmh import HammingRanker
        >>> ranker = HammingRanker().fit([[1, 1], [-1, -1], [1, -1]])
        >>> for distances, indices in ranker.rank([[1, 1], [-1, -1]]):
        ...     print(indices)
        [[0 2 1]
         [1 2 0]]
        """
        queries = self._queries(X)
        return self._rank(queries, own=X is None)

    def _rank(self, queries, own):
        # Distances, their order and the sorted copy of each: about 32 bytes a row.
        for rows in gen_batches(len(queries), block_rows(32 * self.n_samples_fit_)):
            found = rank_rows(self._chunks, queries[rows], n_bits=self.n_bits_)
            yield _without_own_row(*found, first=rows.start) if own else found

    def transform(self, X):
        """Graph of distances to the nearest rows, as KNeighborsTransformer makes it.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_bits), or (n_queries, n_bytes) if packed
            Query codes.

        Returns
        -------
        graph : csr_matrix of shape (n_queries, n_samples_fit_), float64
            Hamming distances to the ``n_neighbors + 1`` nearest rows: one more than
            asked for, since a row of the database counts as its own neighbour here.
        """
        check_is_fitted(self)
        return self.kneighbors_graph(X, self.n_neighbors + 1, mode="distance")

    def score(self, X, y):
        """Mean average precision of the queries against the labelled database.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_bits), or (n_queries, n_bytes) if packed
            Query codes.
        y : array-like of shape (n_queries,) or {array-like, sparse} of shape (n_queries, c)
            Their labels, in the form of the database's.

        Returns
        -------
        score : float
            Full-ranking mAP, ties averaged over; queries without a relevant row are
            left out.
        """
        queries = self._queries(X)
        if self.labels_ is None:
            raise ValueError(
                "The database has no labels, so no row is known to be relevant: pass y to fit."
            )
        check_consistent_length(X, y)
        labels = encode_labels(y)
        if is_indicator(y) != self._indicator or (
            self._indicator and len(labels[1]) != len(self.classes_)
        ):
            form = f"an indicator of {len(self.classes_)} columns" if self._indicator else "labels"
            raise ValueError(
                f"y at fit was {form}; pass y in the same form, not of shape {np.shape(y)}."
            )
        L, L_database, _ = align_labels(*labels, self.labels_, self.classes_)
        return packed_mean_average_precision(
            queries, self._queries(None), self.n_bits_, L, L_database
        )

    @property
    def _n_features_out(self):
        return self.n_samples_fit_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


def _append_chunk(chunks, packed):
    """Append rows; small chunks are merged, so that their number grows with the logarithm."""
    chunks = [*chunks, packed]
    while len(chunks[-2:]) == 2 and len(chunks[-2]) <= len(chunks[-1]):
        if any(isinstance(chunk.base, np.memmap) for chunk in chunks[-2:]):
            break
        chunks[-2:] = [np.concatenate(chunks[-2:])]
    return chunks


def _without_own_row(distances, indices, first=0):
    """Drop query i's own row, number ``first + i``, or the last one where it was not found."""
    own = indices == np.arange(first, first + len(indices))[:, None]
    own[~own.any(axis=1), -1] = True
    shape = len(indices), indices.shape[1] - 1
    return distances[~own].reshape(shape), indices[~own].reshape(shape)


def _ragged(arrays):
    """An object array of arrays, as scikit-learn's radius_neighbors returns."""
    ragged = np.empty(len(arrays), dtype=object)
    ragged[:] = arrays
    return ragged
