"""What methods share whose hash functions are regressions to codes learned before."""

from numbers import Real
from typing import Any

from ..base import Solution, parametrised
from ..solvers import gram, ridge_projection
from ..utils._sklearn import Interval

__all__ = ["RegressionMixin"]


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
