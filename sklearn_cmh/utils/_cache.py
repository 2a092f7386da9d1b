"""Results that are kept across fits, as scikit-learn's Pipeline keeps them: by joblib."""

from collections.abc import Callable
from typing import Any

from sklearn.utils.validation import check_memory

from .._version import __version__
from ._sklearn import HasMethods

__all__ = ["MEMORY_CONSTRAINTS", "cached"]

MEMORY_CONSTRAINTS = [str, HasMethods(["cache"]), None]


def cached(memory: Any, function: Callable, *args: Any) -> Any:
    """``function(*args)``, or what it gave when it was last called with equal arguments.

    Parameters
    ----------
    memory : str, object like joblib.Memory, or None
        Where results are kept; with None they are not.
    function : callable
        A function of a module, without side effects.
    *args : object
        What the result depends on, beside the version of the package: they are compared by
        all that they hold.

    Returns
    -------
    result : object
        Of the function.
    """
    if memory is None:
        return function(*args)
    try:
        keep = check_memory(memory).cache(_call)
    except OSError as error:
        raise type(error)(
            f"memory={memory!r} is no folder that can be written to: {error}. Name one that is, or "
            "set memory=None."
        ) from error
    return keep(function, __version__, *args)


def _call(function, version, *args):
    return function(*args)
