"""Who hears of a fit: the user who set `verbose`, and scikit-learn's callbacks.

Callbacks are there from scikit-learn 1.9 on; before, nothing. A fit is a task of as many
steps as it has phases before the solver, and sweeps or epochs: a progress bar counts them.
A scoring monitor scores the fitted hasher.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ._sklearn import CallbackSupportMixin

__all__ = ["CallbackSupportMixin", "end_step", "fit_task", "report"]


@contextmanager
def fit_task(estimator: Any, X: Any, y: Any, max_steps: int) -> Iterator[None]:
    """Tell the callbacks of `estimator`, if any, that its fit begins and has ended."""
    if not hasattr(estimator, "_init_callback_context"):
        yield
        return
    context = estimator._init_callback_context(max_subtasks=max_steps)
    context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
    estimator._fit_task = context
    try:
        yield
    finally:
        del estimator._fit_task
    context.call_on_fit_task_end(estimator=estimator, X=X, y=y, reconstruction_attributes={})


def end_step(estimator: Any, name: str) -> bool:
    """Tell the callbacks that a step of the fit has ended; True if one of them wants to stop."""
    context = getattr(estimator, "_fit_task", None)
    if context is None:
        return False
    step = context.subcontext(task_name=name)
    step.call_on_fit_task_begin(estimator=estimator)
    return bool(step.call_on_fit_task_end(estimator=estimator))


def report(estimator, message):
    """Print a line if the estimator is verbose: what begins, or what has ended."""
    if getattr(estimator, "verbose", 0):
        print(f"[{type(estimator).__name__}] {message}")
