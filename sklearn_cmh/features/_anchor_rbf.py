"""Gaussian kernel with anchors, the feature map of the shallow methods."""

import warnings
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.extmath import row_norms
from sklearn.utils.sparsefuncs import mean_variance_axis
from sklearn.utils.validation import FLOAT_DTYPES, check_is_fitted, validate_data

from ..utils._documentation import DocumentedMixin
from ..utils._products import HEIGHT, filled_blocks
from ..utils._sklearn import Interval, StrOptions, fit_context

__all__ = ["AnchorRBF"]


class AnchorRBF(DocumentedMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Gaussian kernel with a random sample of the training rows, the anchors.

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
    random_state : int, RandomState instance or None, default=None
        Draws the anchors.

    Attributes
    ----------
    anchors_ : {ndarray, csr} of shape (n_anchors, n_features)
        The anchors, dense or sparse as the training rows were.
    anchor_indices_ : ndarray of shape (n_anchors,)
        Their rows in the training data.
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
    Time is O(n d q) for q anchors. Beside the input and the (n, q) output, memory holds
    a few blocks of 64 rows and one more copy of the anchors; `fit` alone holds no (n, q)
    array either. Sparse rows stay sparse. float32 rows give float32 features.

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
        "width": [StrOptions({"mean"}), Interval(Real, 0, None, closed="neither")],
        "width_factor": [Interval(Real, 0, None, closed="neither")],
        "centre": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self, n_anchors=1000, *, width="mean", width_factor=1.0, centre=True, random_state=None
    ):
        self.n_anchors = n_anchors
        self.width = width
        self.width_factor = width_factor
        self.centre = centre
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
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
            The fitted map.
        """
        self._fit(X, keep=False)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X, y=None):
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
        return self._centred(self._fit(X, keep=True))

    def transform(self, X):
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
        X = validate_data(self, X, accept_sparse="csr", dtype=FLOAT_DTYPES, reset=False)
        F = np.empty((X.shape[0], self._n_features_out), dtype=X.dtype)
        for rows, values in self._kernel_blocks(X):
            F[rows] = values
        return self._centred(F)

    def _fit(self, X, keep):
        X = validate_data(self, X, accept_sparse="csr", dtype=FLOAT_DTYPES)
        n = X.shape[0]
        if self.n_anchors > n:
            warnings.warn(
                f"n_anchors={self.n_anchors} is more than the {n} training rows; every row is an "
                "anchor."
            )
        rng = check_random_state(self.random_state)
        indices = rng.permutation(n)[: self.n_anchors]
        anchors = X[indices]
        width = _mean_rule(X, anchors) if self.width == "mean" else self.width
        width = float(width * np.sqrt(self.width_factor))
        _check_width(width, X)
        self.anchor_indices_, self.anchors_, self.width_ = indices, anchors, width
        self._n_features_out = len(indices)
        self.mean_ = None
        if not (self.centre or keep):
            return None
        F = np.empty((n, self._n_features_out), dtype=X.dtype) if keep else None
        total = np.zeros(self._n_features_out)
        for rows, values in self._kernel_blocks(X):
            total += values.sum(axis=0, dtype=np.float64)
            if keep:
                F[rows] = values
        if self.centre:
            self.mean_ = total / n
        return F

    def _kernel_blocks(self, X):
        """Row slices of `X` with their kernel values, not centred.

        With rows and anchors in units of the width, the exponent is
        ``u'v - (||u||^2 + ||v||^2) / 2``. Dense ones are shifted by the mean anchor first,
        which changes no distance and spares digits. Rows take the form of the anchors, so
        that it makes no difference whether they come dense or sparse.
        """
        anchors_sparse = sparse.issparse(self.anchors_)
        # Sparse rows cannot be shifted, so float64 has to spare the digits.
        dtype = np.dtype(np.float64) if anchors_sparse else X.dtype
        anchors = self.anchors_.astype(dtype)
        if not anchors_sparse:
            shift = _mean_row(self.anchors_).astype(dtype)
            anchors -= shift
        anchors *= dtype.type(1 / self.width_)
        anchor_term = 0.5 * row_norms(anchors, squared=True)
        right = anchors.T
        for rows, block in filled_blocks(X):
            if anchors_sparse:
                block = sparse.csr_array(block, dtype=dtype) / self.width_
                values = (block @ right).toarray()
            else:
                block = _dense_block(block, shift)
                block *= dtype.type(1 / self.width_)
                values = block @ right
            values -= 0.5 * row_norms(block, squared=True)[:, None]
            values -= anchor_term
            values = values[: rows.stop - rows.start]
            np.minimum(values, 0, out=values)
            yield rows, np.exp(values, out=values)

    def _centred(self, F):
        if self.mean_ is not None:
            F -= self.mean_.astype(F.dtype)
        return F

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _mean_row(A):
    return A.mean(axis=0, dtype=np.float64)


def _dense_block(block, shift):
    """A new array ``block - shift`` of full height; rows filled up stay finite."""
    if not sparse.issparse(block):
        return block - shift
    dense = np.zeros((HEIGHT, block.shape[1]), dtype=shift.dtype)
    dense[: block.shape[0]] = block.toarray()
    dense -= shift
    return dense


def _mean_rule(X, anchors):
    """Root of the mean squared distance of rows to anchors; 1.0 where that is zero.

    With m the mean anchor, it is ``mean ||x - m||^2 + mean ||a - m||^2``: no pair is formed.
    """
    if sparse.issparse(X):
        mean, variance = mean_variance_axis(X, axis=0)
        mean_anchor, anchor_variance = mean_variance_axis(anchors, axis=0)
        to_mean_anchor = np.square(mean - mean_anchor, dtype=np.float64).sum()
        square = variance.sum(dtype=np.float64) + anchor_variance.sum(dtype=np.float64)
        square += to_mean_anchor
    else:
        mean_anchor = _mean_row(anchors)
        square = _mean_square(X, mean_anchor) + _mean_square(anchors, mean_anchor)
    rounding = 10 * np.finfo(X.dtype).eps * np.abs(mean_anchor).max()
    return np.sqrt(square) if square > X.shape[1] * rounding**2 else 1.0


def _check_width(width, X):
    """Refuse a width in units of which squared distances overflow, and features are NaN."""
    # As in `_kernel_blocks`: sparse rows in float64, dense ones shifted.
    if sparse.issparse(X):
        dtype, largest = np.dtype(np.float64), max(X.max(), -X.min())
    else:
        dtype, largest = X.dtype, np.max(X.max(axis=0).astype(np.float64) - X.min(axis=0))
    top = float(np.finfo(dtype).max)
    if width * top <= 1 or width * np.sqrt(top / X.shape[1]) <= largest:
        raise ValueError(
            f"A width of {width:g} is too small for features that differ by up to {largest:g}: "
            f"squared distances in units of it overflow in {dtype}. Raise width or width_factor."
        )


def _mean_square(X, m):
    """Mean over rows of ``||x - m||^2``, in float64."""
    total = 0.0
    for rows in gen_batches(len(X), HEIGHT):
        total += np.square(X[rows] - m).sum()
    return total / len(X)
