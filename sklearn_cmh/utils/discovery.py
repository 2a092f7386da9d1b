"""Find the estimators of the package."""

import inspect
from importlib import import_module

from sklearn.base import BaseEstimator

__all__ = ["all_estimators"]

PUBLIC_MODULES = ("sklearn_cmh", "sklearn_cmh.deep")


def all_estimators():
    """Every public estimator of the package, sorted by name.

    Returns
    -------
    estimators : list of (str, type)
        Name and class, as `sklearn.utils.discovery.all_estimators` returns them.

    Examples
    --------
    >>> from sklearn_cmh.utils.discovery import all_estimators
    >>> [name for name, _ in all_estimators() if name.startswith("D")]
    ['DSAH', 'DSPAH']
    """
    found = {}
    for module_name in PUBLIC_MODULES:
        module = import_module(module_name)
        for name in module.__all__:
            member = getattr(module, name)
            if inspect.isclass(member) and issubclass(member, BaseEstimator):
                found[name] = member
    return sorted(found.items())
