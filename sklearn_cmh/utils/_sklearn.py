"""Names that scikit-learn keeps private and every library on top of it needs.

Nothing else in the package imports them, so that a release that moves one is one file's
work.
"""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.base import _fit_context as fit_context
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._param_validation import (
    HasMethods,
    InvalidParameterError,
    StrOptions,
    validate_params,
)
from sklearn.utils._param_validation import Interval as _Interval
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """No callbacks."""


class Interval(_Interval):
    """An interval without True and False, which are numbers to Python but a slip here."""

    def is_satisfied_by(self, val):
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
    "check_sample_weight",
    "fit_context",
    "safe_indexing",
    "validate_parameters",
    "validate_params",
]
