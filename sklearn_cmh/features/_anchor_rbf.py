"""Gaussian kernel with anchors, the feature map of the shallow methods.

The plain functions first: the kernel in blocks of rows, the rule for its width, and what
is told of a width that suits the rows badly.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from numbers import Integral, Real
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from scipy import sparse
from scipy.spatial.distance import pdist
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.extmath import row_norms
from sklearn.utils.sparsefuncs import mean_variance_axis
from sklearn.utils.validation import FLOAT_DTYPES, check_is_fitted, validate_data

from ..data import canonical
from ..utils._documentation import DocumentedMixin
from ..utils._products import StableFactor, strips
from ..utils._sklearn import Interval, StrOptions, fit_context, validate_parameters
from ..utils._state import unchanged_on_error
from ..utils._threads import map_blocks, row_slices
from ..utils._typing import Features, Floats, MatrixLike, RandomState

__all__ = ["AnchorRBF", "begin_fit", "fit_into"]

# How much rounding may change a kernel value, as a share of it.
_LOSS = 1e-4

# Rounding of an exponent of dense rows in float64, as a share of the squared norm of an
# anchor: it is that of the slices of `StableFactor`.
_ROUNDING = 2.0**-42

# Sparse rows at a time; of dense ones as many as suit the caches.
_HEIGHT = 256


class Kernel:
    """Kernel values of rows with anchors, ``exp(-||x - a||^2 / (2 width^2))``.

    With rows and anchors in units of the width, u and v, the exponent is
    ``u'v - (||u||^2 + ||v||^2) / 2``. Dense ones are shifted by the mean anchor first,
    which changes no distance and spares digits. Rows take the form of the anchors, so
    that it makes no difference whether they come dense or sparse.

    Rounding changes the exponent by about ``4 eps ||v||^2``. Where that is too much in
    float32, the exponents are computed in float64; `narrowest_width` keeps it small there.
    Rows further from the anchors need no more digits: their kernel values are zero.

    Parameters
    ----------
    anchors : {ndarray, sparse} of shape (q, d)
        Anchors.
    width : float
        Width.
    dtype : dtype
        Of the rows, and of the values.
    """

    def __init__(self, anchors: Features, width: float, dtype: np.dtype):
        self.anchors, self.width, self.dtype = anchors, width, dtype
        self._sparse = sparse.issparse(anchors)
        # Sparse rows cannot be shifted, so float64 has to spare the digits.
        self._shift = None if self._sparse else _mean_row(anchors)
        self._within = np.dtype(np.float64) if self._sparse else dtype
        scaled = _in_widths(anchors, self._shift, width, self._within)
        term = row_norms(scaled, squared=True)
        if not 4 * np.finfo(self._within).eps * term.max() <= _LOSS:
            self._within = np.dtype(np.float64)
            scaled = _in_widths(anchors, self._shift, width, self._within)
            term = row_norms(scaled, squared=True)
        self._right = scaled.T if self._sparse else StableFactor(scaled.T)
        self._term = 0.5 * term

    def is_of(self, anchors: Features, width: float, dtype: np.dtype) -> bool:
        """Whether it was made of these."""
        return self.anchors is anchors and (self.width, self.dtype) == (width, dtype)

    def blocks(self, X: Features, use: Callable, out: Floats | None = None) -> Iterator[Any]:
        """What `use` makes of slices of rows and kernel values.

        It is called as ``use(rows, values)``, in several threads. The values are rows of `out`,
        where that is given.
        """

        def used(rows):
            values = self._values(X[rows], None if out is None else out[rows])
            return use(rows, values)

        n = X.shape[0]
        batches = row_slices(n, _HEIGHT) if self._sparse else list(self._right.batches(n))
        return map_blocks(used, batches, small=True)

    def _values(self, block, out):
        if sparse.issparse(block) and not self._sparse:
            block = block.toarray()
        # What overflows is infinitely far from every anchor.
        with np.errstate(over="ignore", invalid="ignore"):
            u = _in_widths(block, self._shift, self.width, self._within)
            products = (u @ self._right).toarray() if self._sparse else self._right.product(u)
            norms = 0.5 * row_norms(u, squared=True)
            infinite = ~np.isfinite(norms)
            products[infinite], norms[infinite] = -np.inf, 0
        exponents = products.astype(self._within, copy=False)
        exponents -= norms[:, None]
        exponents -= self._term
        np.minimum(exponents, 0, out=exponents)
        return np.exp(exponents, out=np.empty(exponents.shape, self.dtype) if out is None else out)


# Of maps that are alive: to prepare a kernel takes longer than to map some ten rows.
_kernels: WeakKeyDictionary = WeakKeyDictionary()


def _in_widths(A, shift, width, dtype):
    """A new matrix ``(A - shift) / width``, sparse where `shift` is None."""
    if shift is None:
        return sparse.csr_array(A, dtype=dtype) * dtype.type(1 / width)
    A = np.ascontiguousarray(A, dtype=dtype) - shift.astype(dtype)
    A *= dtype.type(1 / width)
    return A


def mean_rule(X: Features, anchors: Features) -> float:
    """Root of the mean squared distance of rows to anchors; 1.0 where that is zero."""
    return mean_distance(X, anchors) or 1.0


def mean_distance(X: Features, anchors: Features) -> float:
    """Root of the mean squared distance of rows to anchors; 0.0 where that is rounding.

    With m the mean anchor, it is ``mean ||x - m||^2 + mean ||a - m||^2``: no pair is formed.
    Everything is in units of the largest entry, whose square may be no number.
    """
    unit = max(_largest(X), _largest(anchors))  # anchors may be rows of another chunk
    if unit == 0:
        return 0.0
    if sparse.issparse(X):
        mean, variance = mean_variance_axis(X * (1 / unit), axis=0)
        mean_anchor, anchor_variance = mean_variance_axis(anchors * (1 / unit), axis=0)
        to_mean_anchor = np.square(mean - mean_anchor, dtype=np.float64).sum()
        square = variance.sum(dtype=np.float64) + anchor_variance.sum(dtype=np.float64)
        square += to_mean_anchor
    else:
        mean_anchor = _mean_row(anchors, unit)
        square = _mean_square(X, mean_anchor, unit) + _mean_square(anchors, mean_anchor, unit)
    rounding = 10 * np.finfo(X.dtype).eps * np.abs(mean_anchor).max()
    return float(unit * np.sqrt(square)) if square > X.shape[1] * rounding**2 else 0.0


def narrowest_width(anchors: Features) -> float:
    """Width below which rounding, in float64, would spoil kernel values."""
    unit = _largest(anchors) or 1.0
    rounding = _ROUNDING
    if sparse.issparse(anchors):
        rounding = 4 * float(np.finfo(np.float64).eps)
        scaled = anchors.astype(np.float64) * (1 / unit)
    else:
        scaled = anchors / unit - _mean_row(anchors, unit)
    largest = np.sqrt(row_norms(scaled, squared=True).max())
    return float(unit * largest * np.sqrt(rounding / _LOSS))


def check_scale(X: Features) -> None:
    """Refuse rows whose numbers are at the end of what their dtype can hold."""
    largest, limits = _largest(X), np.finfo(X.dtype)
    low, high = float(limits.tiny / limits.eps), float(limits.max) / 4
    if largest and not low <= largest <= high:
        raise ValueError(
            f"The largest number in X is {largest:g}, too near the end of {X.dtype} to compute "
            "with: rescale the features, by MaxAbsScaler for instance."
        )


def check_varied(anchors: Features, width: float) -> None:
    """Refuse a width so wide that every feature is the same for nearly all rows.

    Anchors stand for rows, of which they are a sample. For each of most pairs, the kernel
    differs from one by less than rounding.
    """
    sample: Any = anchors[:50]
    if sparse.issparse(sample):
        sample = sample[:, np.unique(sample.indices)].toarray()
    # A bound from the largest difference in any column, of which no square can overflow.
    apart = pdist(sample.astype(np.float64), "chebyshev") if sample.size else np.zeros(0)
    apart = apart[apart > 0]
    if len(apart) == 0:
        return  # equal rows: no width tells them apart
    typical = np.quantile(apart, 0.9) * np.sqrt(sample.shape[1] / 2)
    if typical < width * np.sqrt(4 * float(np.finfo(anchors.dtype).eps)):
        raise ValueError(
            f"With a width of {width:g}, every feature is the same for nearly all rows, of which "
            f"most differ by less than {typical:.2g}. Lower width or width_factor; if outliers "
            "make the width, rescale the features, by RobustScaler for instance, or take the "
            "outliers out."
        )


def _largest(X):
    """Largest magnitude in `X`; it is not written to, as ``X.max()`` would do."""
    values = X.data if sparse.issparse(X) else X
    if not values.size:
        return 0.0

    def largest(rows):
        some = values[rows]
        return max(some.max(), -float(some.min()))

    blocks = list(strips(len(values), values[0].size))
    return float(np.max(list(map_blocks(largest, blocks, small=True))))


def _mean_row(A, unit=1.0):
    return A.mean(axis=0, dtype=np.float64) / unit if unit == 1.0 else (A / unit).mean(axis=0)


def _mean_square(X, m, unit):
    """Mean over rows of ``||x / unit - m||^2``, in float64."""

    def squares(rows):
        return np.square(X[rows] / unit - m).sum(dtype=np.float64)

    blocks = row_slices(len(X), _HEIGHT)
    return sum(map_blocks(squares, blocks, small=True)) / len(X)


def cluster_centres(X, n_clusters, rng):
    """Centres of clusters of rows, stored as the rows are."""
    from sklearn.cluster import KMeans  # on use: it loads much of scikit-learn

    rows = X
    if sparse.issparse(X):  # KMeans reads indices of 32 bits alone
        index = [part.astype(np.int32, copy=False) for part in (X.indices, X.indptr)]
        rows = sparse.csr_array((X.data, *index), shape=X.shape)
    centres = KMeans(n_clusters, n_init=1, random_state=rng).fit(rows).cluster_centers_
    centres = centres.astype(X.dtype, copy=False)
    return sparse.csr_array(centres) if sparse.issparse(X) else centres


class AnchorRBF(DocumentedMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Gaussian kernel with anchors: a random sample of the training rows, or cluster centres.

    Feature j of a row x is ``exp(-||x - a_j||^2 / (2 s^2))`` with anchor ``a_j`` and
    width s, minus its mean over the training rows. A linear hash function of these
    features is a nonlinear one of x.

    Parameters
    ----------
    n_anchors : int, default=1000
        Number of anchors; with fewer training rows than that, all of them, with a
        warning.
    width : {"mean"} or float, default="mean"
        The width s. "mean" takes for ``s^2`` the mean squared distance of training
        rows to anchors.
    width_factor : float, default=1.0
        Multiplies ``s^2``, so that the width can be tuned in units of the "mean" rule.
    centre : bool, default=True
        Whether to subtract the training mean from every feature. Without it the
        features are all positive, and the first bits that are learned from them are
        nearly constant.
    sampling : {"random", "kmeans"}, default="random"
        What the anchors are: training rows drawn at random, or the centres of as many clusters,
        by `sklearn.cluster.KMeans`, which takes longer.
    random_state : int, RandomState instance or None, default=None
        Draws the anchors.

    Attributes
    ----------
    anchors_ : {ndarray, csr} of shape (n_anchors, n_features)
        The anchors, dense or sparse as the training rows were.
    anchor_indices_ : ndarray of shape (n_anchors,) or None
        Their rows in the training data; None where they are centres of clusters.
    width_ : float
        The width s in use; 1.0 where the mean rule gives zero, as all rows are equal.
    mean_ : ndarray of shape (n_anchors,) or None
        Training mean of every feature, float64; None without centring.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where all are strings.

    See Also
    --------
    sklearn.kernel_approximation.Nystroem : The same kernel values, whitened.

    Notes
    -----
    Time is :math:`O(n d q)` for q anchors. Beside the input and the (n, q) output, memory holds
    a few blocks of 512 rows and a few more copies of the anchors; `fit` alone holds no (n, q)
    array either. Sparse rows stay sparse. float32 rows give float32 features. From the first
    `transform` on, one to three copies of the anchors in float64 are kept with the map, not saved
    with it: set `anchors_` to another array, as changes within it are not seen.

    Rounding changes a kernel value by at most about 1e-4 of it, at widths of the order of
    the mean rule far less. For narrow widths, float32 rows are compared with the anchors in
    float64, which takes longer; below about 5e-5 of the extent of the anchors
    the width is raised to that, with a warning.

    References
    ----------
    Liu, W., Wang, J., Ji, R., Jiang, Y.-G. and Chang, S.-F. (2012). Supervised hashing with
    kernels. CVPR. :doi:`10.1109/CVPR.2012.6247912`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh import AnchorRBF
    >>> X = np.random.RandomState(0).rand(100, 5)
    >>> F = AnchorRBF(n_anchors=20, random_state=0).fit_transform(X)
    >>> F.shape
    (100, 20)
    >>> np.allclose(F.mean(axis=0), 0)
    True
    """

    _parameter_constraints: dict = {
        "n_anchors": [Interval(Integral, 1, None, closed="left")],
        "width": [StrOptions({"mean"}), Interval(Real, 0, np.inf, closed="neither")],
        "width_factor": [Interval(Real, 0, np.inf, closed="neither")],
        "centre": ["boolean"],
        "sampling": [StrOptions({"random", "kmeans"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_anchors: int = 1000,
        *,
        width: float | Literal["mean"] = "mean",
        width_factor: float = 1.0,
        centre: bool = True,
        sampling: Literal["random", "kmeans"] = "random",
        random_state: RandomState = None,
    ) -> None:
        self.n_anchors = n_anchors
        self.width = width
        self.width_factor = width_factor
        self.centre = centre
        self.sampling = sampling
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: MatrixLike, y: Any = None) -> "AnchorRBF":
        """Draw the anchors, and learn the width and the mean of the features.

        Parameters
        ----------
        X : {array-like, sparse} of shape (n, n_features)
            Training rows.
        y : object, default=None
            Ignored.

        Returns
        -------
        self : object
            The fitted map. After an error it is as it was before.

        Raises
        ------
        ValueError
            If the width is so wide that the features are the same for nearly all rows,
            or the rows hold numbers at the end of their dtype.
        """
        with unchanged_on_error(self):
            self._fit(X)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: MatrixLike, y: Any = None) -> Floats:
        """Fit and transform in one pass: the same as ``fit(X).transform(X)``.

        Parameters
        ----------
        X : {array-like, sparse} of shape (n, n_features)
            Training rows.
        y : object, default=None
            Ignored.

        Returns
        -------
        F : ndarray of shape (n, n_anchors)
            Features.
        """
        with unchanged_on_error(self):
            return self._centred(self._fit(X, np.empty))

    def transform(self, X: MatrixLike) -> Floats:
        """Kernel values with the anchors, centred.

        Parameters
        ----------
        X : {array-like, sparse} of shape (n, n_features)
            Rows, dense or sparse.

        Returns
        -------
        F : ndarray of shape (n, n_anchors)
            Features.
        """
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        F = np.empty((X.shape[0], self._n_features_out), dtype=X.dtype)

        def centre(rows, values):
            self._centred(values)  # while it is in the caches

        for _ in self._kernel(X.dtype).blocks(X, centre, F):
            pass
        return F

    def _kernel(self, dtype):
        """The kernel of rows of a dtype, kept for those that follow."""
        kernel = _kernels.get(self)
        if kernel is None or not kernel.is_of(self.anchors_, self.width_, dtype):
            kernel = _kernels[self] = Kernel(self.anchors_, self.width_, dtype)
        return kernel

    def _validated(self, X, reset):
        X = validate_data(self, X, accept_sparse="csr", dtype=FLOAT_DTYPES, reset=reset)
        return canonical(X) if sparse.issparse(X) else X

    def _fit(self, X, make=None):
        """Fit; the kernel values, written to what `make` makes of a shape and a dtype."""
        validate_parameters(self)
        X = self._validated(X, reset=True)
        check_scale(X)
        indices, anchors = self._drawn(X)
        width = self._width(anchors, partial(mean_rule, X, anchors))
        F = None if make is None else make((X.shape[0], anchors.shape[0]), dtype=X.dtype)
        total = np.zeros(anchors.shape[0])
        needed = self.centre or F is not None
        out = F if isinstance(F, np.ndarray) else None

        def use(rows, values):
            if F is not None and out is None:
                F[rows] = values
            return values.sum(axis=0, dtype=np.float64)

        for of_block in Kernel(anchors, width, X.dtype).blocks(X, use, out) if needed else ():
            total += of_block
        self.anchor_indices_, self.anchors_, self.width_ = indices, anchors, width
        self.mean_ = total / X.shape[0] if self.centre else None
        self._n_features_out = anchors.shape[0]
        return F

    def _drawn(self, X):
        """Positions of the anchors, None where they are no rows, and the anchors."""
        n = X.shape[0]
        if self.n_anchors > n:
            warnings.warn(
                f"n_anchors={self.n_anchors} is more than the {n} training rows; every row is an "
                "anchor."
            )
        rng = check_random_state(self.random_state)
        if self.sampling == "random" or self.n_anchors >= n:
            indices = rng.permutation(n)[: self.n_anchors]
            anchors = X[indices]
        else:
            indices, anchors = None, cluster_centres(X, self.n_anchors, rng)
        return indices, anchors

    def _begin(self, X):
        """Fit to rows in chunks, but for the mean."""
        validate_parameters(self)
        if self.sampling != "random":
            raise ValueError(
                f"sampling={self.sampling!r} needs all rows in memory, and X holds Dask arrays: "
                "set sampling='random', or fit the map to a sample and pass "
                "sklearn.frozen.FrozenEstimator of it."
            )
        indices, anchors = self._drawn(X)
        anchors = self._validated(anchors, reset=True)
        rule = combined_rule(X.each(_seen, anchors))
        width = self._width(anchors, lambda: rule)
        self.anchor_indices_, self.anchors_, self.width_ = indices, anchors, width
        self.mean_, self._n_features_out = None, anchors.shape[0]

    def _width(self, anchors, rule):
        width = rule() if self.width == "mean" else self.width
        width = float(width * np.sqrt(self.width_factor))
        narrowest = narrowest_width(anchors)
        if width < narrowest:
            warnings.warn(
                f"A width of {width:g} is so narrow that rounding would spoil the features; "
                f"{narrowest:g} is used instead. Raise width or width_factor."
            )
            width = narrowest
        check_varied(anchors, width)
        return width

    def _centred(self, F):
        if self.mean_ is not None:
            F -= self.mean_.astype(F.dtype)
        return F

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def fit_into(feature_map: AnchorRBF, X: Features, make: Callable) -> Any:
    """Fit a map in one pass, its features written to rows that are centred when they are read.

    Parameters
    ----------
    feature_map : AnchorRBF
        Map to be fitted.
    X : {ndarray, sparse} of shape (n, d)
        Training rows.
    make : callable
        Makes what the features are written to of a shape and a dtype: it takes slices of rows,
        and subtracts its attribute `shift`.

    Returns
    -------
    features : object
        Of shape (n, n_anchors).
    """
    with unchanged_on_error(feature_map):
        F = feature_map._fit(X, make)
        if feature_map.mean_ is not None:
            F.shift = feature_map.mean_.astype(F.dtype)
    return F


def begin_fit(feature_map: AnchorRBF, X: Any) -> None:
    """Fit a map to rows in chunks, but for the mean of its features: its `mean_` is None.

    Parameters
    ----------
    feature_map : AnchorRBF
        Map to be fitted.
    X : ChunkedRows of shape (n, d)
        Training rows: of positions it gives rows, and yields what a function makes of each
        chunk.

    Raises
    ------
    ValueError
        If anchors are centres of clusters, for which all rows must be in memory; and as `fit`.
    """
    with unchanged_on_error(feature_map):
        feature_map._begin(X)


def _seen(X, anchors):
    """Rows of a chunk, and their `mean_distance` of the anchors."""
    check_scale(X)
    return X.shape[0], mean_distance(X, anchors)


def combined_rule(seen: Iterable[tuple[int, float]]) -> float:
    """`mean_rule` of all rows from what was seen of chunks of them."""
    heights, distances = (np.array(values, dtype=np.float64) for values in zip(*seen, strict=True))
    largest = distances.max()
    if largest == 0:
        return 1.0
    shares = heights / heights.sum()
    return float(largest * np.sqrt(shares @ np.square(distances / largest)))
