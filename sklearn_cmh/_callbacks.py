"""scikit-learn's callbacks, from version 1.9 on; before, nothing.

A fit is one task to them: a progress bar counts it, a scoring monitor scores the fitted
hasher. What happens in the sweeps is in `objective_`, or printed by `verbose`.
"""

from contextlib import contextmanager

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """No callbacks."""


__all__ = ["CallbackSupportMixin", "fit_task"]


@contextmanager
def fit_task(estimator, X, y):
    """Tell the callbacks of `estimator`, if any, that its fit begins and has ended."""
    if not hasattr(estimator, "_init_callback_context"):
        yield
        return
    context = estimator._init_callback_context()
    context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
    yield
    context.call_on_fit_task_end(estimator=estimator, X=X, y=y, reconstruction_attributes={})
