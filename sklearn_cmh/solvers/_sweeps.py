"""The loop of a solver: when it ends, and who hears of it."""

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from ..data import ChunkedRows
from ..utils._threads import quiet_blas

__all__ = ["Sweeps", "quiet_passes"]


class Sweeps:
    """Sweeps of a solver, numbered from 1, until its objective settles.

    A solver iterates over it, and records its objective at the end of every sweep.

    Parameters
    ----------
    max_iter : int
        Largest number of sweeps.
    tol : float
        The objective has settled when it changes by no more than this, relatively.
    name : str, default="The solver"
        Who did not converge, in the warning.
    on_start : callable, default=None
        Called once, before the first sweep.
    on_sweep : callable, default=None
        Called with the number of every sweep and its objective; ends the loop by
        returning True.

    Attributes
    ----------
    objective : list of float
        Recorded values.

    Examples
    --------
    >>> from sklearn_cmh.solvers import Sweeps
    >>> sweeps = Sweeps(max_iter=10, tol=0.01)
    >>> for sweep in sweeps:
    ...     sweeps.record(1 + 0.1**sweep)
    >>> sweeps.objective
    [1.1, 1.01, 1.001]
    """

    def __init__(self, max_iter, tol, *, name="The solver", on_start=None, on_sweep=None):
        self.max_iter, self.tol, self.name = max_iter, tol, name
        self.on_start, self.on_sweep = on_start, on_sweep
        self.objective = []
        self._last, self._done = None, False

    def start(self, value):
        """Set the objective before the first sweep, for that one to be compared with."""
        self._last = value

    def record(self, value):
        """Take the objective at the end of a sweep."""
        self._done = self._last is not None and abs(self._last - value) <= self.tol * abs(value)
        self._last = value
        self.objective.append(value)
        if self.on_sweep is not None and self.on_sweep(len(self.objective), value):
            self._done = True

    def __iter__(self):
        if self.on_start is not None:
            self.on_start()
        while not self._done:
            if len(self.objective) == self.max_iter:
                warnings.warn(
                    f"{self.name} did not converge within max_iter={self.max_iter} sweeps; raise "
                    "max_iter or tol.",
                    ConvergenceWarning,
                )
                return
            yield len(self.objective) + 1

    def __len__(self):
        """Sweeps done."""
        return len(self.objective)


def quiet_passes(features: Sequence[Any], q: int = 0) -> AbstractContextManager:
    """Context of a solver's passes over features, and of the small products between them.

    Parameters
    ----------
    features : sequence of {ndarray, sparse, LazyRows} of shape (n, q_m)
        What is passed over. Workers of Dask take threads as they will.
    q : int, default=0
        Columns that are yet to be made of them, if more.

    Returns
    -------
    context : context manager
        `quiet_blas`, for the whole loop.
    """
    if any(isinstance(F, ChunkedRows) for F in features):
        return nullcontext()
    return quiet_blas(features[0].shape[0], max(q, *(F.shape[1] for F in features)))
