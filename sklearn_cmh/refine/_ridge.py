"""Ridge regression for bits."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ..data import FLOATS, check_range
from ..solvers import ridge_leave_one_out, sign
from ..utils._documentation import DocumentedMixin
from ..utils._sklearn import Interval, fit_context, validate_parameters
from ..utils._state import unchanged_on_error
from ..utils._typing import ArrayLike, Floats
from ._bits import bit_alignment, selection_terms

__all__ = ["LeaveOneOutRidge", "check_positive"]


def check_positive(parameter: str, values: Sequence[Any]) -> None:
    """Refuse an empty sequence, and values that are no positive numbers."""
    positive = Interval(Real, 0, np.inf, closed="neither").is_satisfied_by
    if len(values) == 0 or not all(positive(value) for value in values):
        raise ValueError(f"{parameter} must hold positive numbers, at least one; got {values!r}.")


class LeaveOneOutRidge(DocumentedMixin, MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression for bits, its penalty chosen by leave-one-out codes.

    scikit-learn's RidgeCV chooses the penalty by squared error, which shrinks more
    than is good for codes: only signs matter. Here it is the penalty whose
    leave-one-out signs reproduce best which rows have similar bits, the criterion by
    which `RefinedHasher` chooses bits. All penalties share one eigendecomposition.

    Parameters
    ----------
    alphas : sequence of float, default=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
        Penalties to choose from.
    fit_intercept : bool, default=False
        Whether predictions include the mean of the targets. Without it, bits are
        split at zero between rows, as hash functions without intercept do.

    Attributes
    ----------
    alpha_ : float
        The chosen penalty.
    coef_ : ndarray of shape (n_targets, n_features) or (n_features,)
        Coefficients.
    intercept_ : ndarray of shape (n_targets,) or float
        Intercepts; they undo the centring of the features.
    alignments_ : ndarray of shape (n_alphas,)
        Criterion of every penalty.
    leave_one_out_ : ndarray of shape (n_samples, n_targets) or (n_samples,)
        Prediction for every training row by the fit without it.

    See Also
    --------
    sklearn.linear_model.RidgeCV : Chooses by squared error, or any scorer.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.refine import LeaveOneOutRidge
    >>> rng = np.random.default_rng(0)
    >>> F = rng.standard_normal((60, 5))
    >>> B = np.sign(F @ rng.standard_normal((5, 3)) + rng.standard_normal((60, 3)))
    >>> LeaveOneOutRidge([0.1, 1.0, 10.0]).fit(F, B).predict(F[:2]).shape
    (2, 3)
    """

    _parameter_constraints: dict = {
        "alphas": ["array-like"],
        "fit_intercept": ["boolean"],
    }

    def __init__(
        self,
        alphas: Sequence[float] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        *,
        fit_intercept: bool = False,
    ) -> None:
        self.alphas = alphas
        self.fit_intercept = fit_intercept

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike) -> "LeaveOneOutRidge":
        """Fit the coefficients at the penalty that its leave-one-out codes favour.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Bits in {-1, +1}; of other targets, the signs about their means count.

        Returns
        -------
        self : object
            The fitted regressor. After an error it is as it was before.
        """
        with unchanged_on_error(self):
            self._fit(X, y)
        return self

    def _fit(self, X, y):
        validate_parameters(self)
        X, y = validate_data(
            self, X, y, dtype=FLOATS, multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        check_positive("alphas", self.alphas)
        check_range(X, "The features", "rescale them, by MaxAbsScaler for instance")
        targets = y.reshape(len(y), -1).astype(np.float64)
        mean = targets.mean(axis=0)
        coef, decisions = ridge_leave_one_out(X, targets, self.alphas)
        everything = np.arange(targets.shape[1])
        terms = (selection_terms([sign(decision)], targets - mean) for decision in decisions)
        self.alignments_ = np.array([bit_alignment(q, G, everything) for q, G in terms])
        best = int(self.alignments_.argmax())
        self.alpha_ = float(self.alphas[best])
        offset = np.zeros_like(mean)
        if self.fit_intercept:
            offset = mean
            # The mean of the other rows.
            decisions = decisions + (len(y) * mean - targets) / (len(y) - 1)
        shape = y.shape[1:]
        self.coef_ = coef[best].T.reshape(*shape, -1).astype(X.dtype, copy=False)
        self.intercept_ = (offset - X.mean(axis=0, dtype=np.float64) @ coef[best]).reshape(shape)
        self.leave_one_out_ = decisions[best].reshape(y.shape)

    def predict(self, X: ArrayLike) -> Floats:
        """Real-valued predictions; their signs are bits.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        predictions : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Predictions.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOATS, reset=False)
        return X @ self.coef_.T + self.intercept_
