"""What methods share whose hash functions are regressions to codes learned before."""

from numbers import Real
from typing import Any

import numpy as np

from ..base import Solution, parametrised
from ..solvers import constant_bits, gram, ridge_projection
from ..utils._sklearn import Interval
from ..utils._typing import Floats

__all__ = ["RegressionMixin", "logistic_regressions"]


def logistic_regressions(F: Floats, B: Any, penalty: float) -> tuple[Floats, Floats]:
    """Log-odds of the bits B (n, k) given features F (n, q): ``F P - offset``; P and offset.

    A constant bit has P = 0. Newton's method ends at the minimum; where lbfgs stops before it, the
    sooner the more rows there are, rounding decides some bits.
    """
    from sklearn.linear_model import LogisticRegression  # on use: it loads much of scikit-learn

    F = F.astype(np.float64, copy=False)
    P, offset = np.zeros((F.shape[1], B.shape[1])), np.zeros(B.shape[1])
    for j in np.flatnonzero(~constant_bits(B)):
        model = LogisticRegression(C=1 / penalty, solver="newton-cholesky", tol=1e-9)
        model.fit(F, B[:, j])
        P[:, j], offset[j] = model.coef_[0], -model.intercept_[0]
    return P, offset


@parametrised
class RegressionMixin:
    """Parameter `lambda_h` of a method, and the hash functions that follow from codes.

    It stands before `ShallowHasher` among the bases.

    Parameters
    ----------
    lambda_h : float, default=1e-2
        Penalty of the ridge regression from features to codes.
    """

    lambda_h: float = 1e-2

    _parameter_constraints = dict[str, list[Any]](lambda_h=[Interval(Real, 0, None, closed="left")])

    def _regressed(self, features, B, sweeps, **extras):
        """Solution of learned codes B: hash functions ``(F'F + lambda_h I)^-1 F'B``."""
        grams = [self._cached(gram, F) for F in features.values()]  # type: ignore[attr-defined]
        projections = [
            ridge_projection(F, B, self.lambda_h, G)
            for F, G in zip(features.values(), grams, strict=True)
        ]
        return Solution(B, projections, sweeps.objective, len(sweeps), extras=extras)
