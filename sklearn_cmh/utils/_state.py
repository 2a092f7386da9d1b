"""The state of estimators: kept through errors, and saved by version."""

from contextlib import contextmanager
from inspect import signature
from typing import Any

from .._version import __version__

__all__ = ["FORMAT", "VersionedStateMixin", "unchanged_on_error"]

# Raised whenever fitted attributes change so that older models no longer work; a version
# that can convert them does so in `__setstate__`.
FORMAT = 1


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
        state: Any = super().__getstate__()
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
        super().__setstate__(state)  # type: ignore[misc]
