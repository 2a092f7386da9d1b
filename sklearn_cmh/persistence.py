"""The state of estimators: kept through errors, saved by version, trusted by skops.

`TRUSTED_TYPES` lists the types of this package, and scipy's CSR matrices, in a model saved by
`skops.io`. A pickle can run any code when it is loaded; `skops.io` builds only types that it
is told to trust. These are safe to trust: ``skops.io.load(file, trusted=TRUSTED_TYPES)`` loads
the shallow methods and HammingRanker. What else `skops.io.get_untrusted_types` finds in a file
is not ours, a transformer of somebody else's, say. The deep methods hold torch modules, which
skops does not save.

>>> from sklearn_cmh.persistence import TRUSTED_TYPES
>>> [name for name in TRUSTED_TYPES if name.endswith(".DSAH")]
['sklearn_cmh.shallow._dsah.DSAH']
"""

from contextlib import contextmanager
from functools import cache
from inspect import signature

from ._version import __version__

__all__ = ["TRUSTED_TYPES"]  # noqa: F822 (made on demand: the list follows from the estimators)

# Raised whenever fitted attributes change so that older models no longer work; a version
# that can convert them does so in `__setstate__`.
FORMAT = 1


def _type_name(cls):
    return f"{cls.__module__}.{cls.__qualname__}"


@cache
def __getattr__(name):
    if name != "TRUSTED_TYPES":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .base import ModalityEncoder
    from .data import Modality
    from .features import signed_sqrt
    from .solvers import SharedBases
    from .utils.discovery import all_estimators

    deep = {cls for _, cls in all_estimators(kind="deep")}
    ours = [cls for _, cls in all_estimators() if cls not in deep]
    ours += [Modality, ModalityEncoder, SharedBases, signed_sqrt]
    matrices = ["scipy.sparse._csr.csr_array", "scipy.sparse._csr.csr_matrix"]
    return sorted([*matrices, *map(_type_name, ours)])


@contextmanager
def unchanged_on_error(estimator):
    """Put the attributes of `estimator` back to what they were if an error leaves the block."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


class VersionedStateMixin:
    """Saved models say which version wrote them, and refuse to load where that cannot work."""

    def __getstate__(self):
        state = super().__getstate__()
        return {**state, "_sklearn_cmh_version": __version__, "_sklearn_cmh_format": FORMAT}

    def __setstate__(self, state):
        state = dict(state)
        version = state.pop("_sklearn_cmh_version", __version__)
        saved = state.pop("_sklearn_cmh_format", FORMAT)
        if saved != FORMAT:
            cure = (
                f'upgrade, pip install "sklearn-cmh>={version}"'
                if saved > FORMAT
                else "load it with the version that saved it, or fit it again"
            )
            raise ValueError(
                f"This {type(self).__name__} was saved by sklearn-cmh {version}, in format "
                f"{saved} of models, but sklearn-cmh {__version__} reads format {FORMAT}: {cure}."
            )
        # Parameters that came later.
        for name, parameter in signature(type(self).__init__).parameters.items():
            if parameter.default is not parameter.empty:
                state.setdefault(name, parameter.default)
        super().__setstate__(state)
