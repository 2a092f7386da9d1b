"""Find the estimators of the package."""

import inspect
from importlib import import_module

from sklearn.base import BaseEstimator

__all__ = ["all_estimators"]

PUBLIC_MODULES = ("sklearn_cmh", "sklearn_cmh.shallow", "sklearn_cmh.deep", "sklearn_cmh.refine")


def all_estimators(kind: str | None = None) -> list[tuple[str, type]]:
    """Every public estimator of the package, sorted by name.

    A new estimator is found once its module's ``__all__`` names it; tests, persistence,
    messages, benchmarks and documentation take their lists from here.

    Parameters
    ----------
    kind : {"hasher", "shallow", "deep", "refined", "baseline", "other", "paired"}, default=None
        Hashers of every kind; those whose method is a shallow or a deep one; those that
        wrap another; those that are there to be measured against; estimators that are no
        hashers; or those of any kind that need two modalities. None is all of them.

    Returns
    -------
    estimators : list of (str, type)
        Name and class, as `sklearn.utils.discovery.all_estimators` returns them.

    Raises
    ------
    ValueError
        If `kind` is none of these.

    Examples
    --------
    >>> from sklearn_cmh.utils.discovery import all_estimators
    >>> [name for name, _ in all_estimators() if name.startswith("D")]
    ['DCH', 'DCMH', 'DSAH', 'DSPAH']
    >>> [name for name, _ in all_estimators(kind="deep")]
    ['DCMH', 'DSPAH', 'SCHGAN', 'SSAH']
    """
    found = {}
    for module_name in PUBLIC_MODULES:
        module = import_module(module_name)
        for name in module.__all__:
            member = getattr(module, name)
            if inspect.isclass(member) and issubclass(member, BaseEstimator):
                found[name] = member
    if kind is not None:
        found = {name: cls for name, cls in found.items() if kind in _kinds(cls)}
        if not found:
            raise ValueError(
                "kind must be 'hasher', 'shallow', 'deep', 'refined', 'baseline', 'other', "
                f"'paired' or None; got {kind!r}."
            )
    return sorted(found.items())


def _kinds(cls):
    kinds = {_sort(cls)}
    if "other" not in kinds:
        kinds.add("hasher")
    if getattr(cls, "_needs_pairs", False):
        kinds.add("paired")
    return kinds


def _sort(cls):
    # Said by the classes, so that nothing is imported to find out.
    return "baseline" if getattr(cls, "_is_baseline", False) else getattr(cls, "_sort", "other")
