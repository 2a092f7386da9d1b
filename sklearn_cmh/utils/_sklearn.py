"""Names that scikit-learn keeps private and every library on top of it needs.

Nothing else in the package imports them, so that a release that moves one is one file's
work.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._param_validation import (
    HasMethods,
    InvalidParameterError,
    StrOptions,
)
from sklearn.utils._param_validation import Interval as _Interval
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

try:
    from sklearn.utils._repr_html.estimator import _VisualBlock as VisualBlock
except ImportError:  # scikit-learn < 1.7
    from sklearn.utils._estimator_html_repr import _VisualBlock as VisualBlock

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """No callbacks."""


if TYPE_CHECKING:
    F = TypeVar("F", bound=Callable[..., Any])

    # scikit-learn has no types; what these decorate keeps its own.
    def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[F], F]:
        """Validate parameters before a fit."""

    def validate_params(
        constraints: dict[str, Any], *, prefer_skip_nested_validation: bool
    ) -> Callable[[F], F]:
        """Validate the arguments of a function."""
else:
    from sklearn.base import _fit_context as fit_context
    from sklearn.utils._param_validation import validate_params


class Interval(_Interval):
    """An interval without True and False, which are numbers to Python but a slip here."""

    def is_satisfied_by(self, val: Any) -> bool:
        """Whether `val` is in the interval."""
        return not isinstance(val, (bool, np.bool_)) and super().is_satisfied_by(val)


def validate_parameters(estimator: BaseEstimator) -> None:
    """Validate parameters by their constraints, also inside the fit of another estimator.

    There scikit-learn leaves validation out, as if whoever wrote the outer estimator had
    chosen the parameters of the inner one.
    """
    estimator._validate_params()


__all__ = [
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "InvalidParameterError",
    "StrOptions",
    "VisualBlock",
    "check_sample_weight",
    "fit_context",
    "safe_indexing",
    "validate_parameters",
    "validate_params",
]
