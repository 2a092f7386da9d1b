"""Transformers that a user gives to an estimator: cloned, fitted, and reached by parameters."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Self

import numpy as np
from sklearn import config_context
from sklearn.base import clone

from ._sklearn import InvalidParameterError, VisualBlock

__all__ = [
    "NestedParamsMixin",
    "fit_transform",
    "inner_clone",
    "is_transformer",
    "named_errors",
    "transform",
]


class NestedParamsMixin:
    """Parameters of transformers inside a parameter, ``image__n_components`` for instance.

    A subclass lists the transformers in `_nested` and exchanges them in `_replace_nested`.
    """

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get parameters, nested ones of transformers inside `modalities` included.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return the parameters of nested estimators too.

        Returns
        -------
        params : dict
            Parameter name to value.
        """
        params: dict[str, Any] = super().get_params(deep=deep)  # type: ignore[misc]
        if deep:
            for name, transformer in self._nested():
                params[name] = transformer
                if hasattr(transformer, "get_params"):
                    nested = transformer.get_params(deep=True)
                    params.update({f"{name}__{key}": value for key, value in nested.items()})
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters; ``image__n_components`` reaches into `modalities`.

        Parameters
        ----------
        **params : dict
            Parameter name to value.

        Returns
        -------
        self : object
            This estimator.
        """
        own = self.get_params(deep=False)
        # First what holds the nested ones, then the nested ones.
        first = {key: params.pop(key) for key in list(params) if key in own}
        super().set_params(**first)  # type: ignore[misc]
        for key, value in params.items():
            self._set_nested(key, value)
        return self

    def _sk_visual_block_(self) -> VisualBlock:
        """Draw the transformers of modalities beside the estimators that are parameters."""
        own = self.get_params(deep=False).items()
        parts = [
            (f"{name}: {type(value).__name__}", value)
            for name, value in own
            if _is_estimator(value)
        ]
        parts += [(name, value) for name, value in self._nested() if value is not None]
        if not parts:
            return VisualBlock("single", self, names=type(self).__name__, name_details=str(self))
        names, estimators = zip(*parts, strict=True)
        details = [str(estimator) for estimator in estimators]
        return VisualBlock("parallel", estimators, names=names, name_details=details)

    def _set_nested(self, key: str, value: Any) -> None:
        for name, transformer in sorted(self._nested(), key=lambda item: -len(item[0])):
            if key == name:
                self._replace_nested(name, value)
                return
            if key.startswith(f"{name}__") and hasattr(transformer, "set_params"):
                transformer.set_params(**{key[len(name) + 2 :]: value})
                return
        super().set_params(**{key: value})  # type: ignore[misc]

    def _nested(self) -> Iterable[tuple[str, Any]]:
        """(name, transformer) pairs that are parameters, though not arguments, of the estimator."""
        raise NotImplementedError

    def _replace_nested(self, name: str, transformer: Any) -> None:
        """Exchange the transformer of a name."""
        raise NotImplementedError


def _is_estimator(value: Any) -> bool:
    return hasattr(value, "get_params") and hasattr(value, "fit") and not isinstance(value, type)


def is_transformer(value: Any) -> bool:
    """Whether `value` can be fitted and transforms."""
    return hasattr(value, "fit") and hasattr(value, "transform")


@contextmanager
def named_errors(where: str) -> Iterator[None]:
    """Say of a wrong parameter of a nested estimator `where` that estimator is."""
    try:
        yield
    except InvalidParameterError as error:
        raise InvalidParameterError(f"{where}: {error}") from error


def plain_output() -> AbstractContextManager[None]:
    """Context in which transformers return arrays or sparse matrices, whatever the user set.

    Steps of a Pipeline or ColumnTransformer need no `set_output` for it, and text vectorisers
    have none.
    """
    return config_context(transform_output="default")


def fit(estimator: Any, X: Any, y: Any = None) -> Any:
    """Fit; steps of a Pipeline hand on arrays or sparse matrices, whatever output is configured."""
    with plain_output():
        return estimator.fit(X, y)


def fit_transform(transformer: Any, X: Any, y: Any = None) -> Any:
    """Fit and transform, in two steps where the transformer has no `fit_transform`."""
    with plain_output():
        if hasattr(transformer, "fit_transform"):
            return transformer.fit_transform(X, y)
        return transformer.fit(X, y).transform(X)


def transform(transformer: Any, X: Any, **params: Any) -> Any:
    """Transform to an array or a sparse matrix, whatever output is configured."""
    with plain_output():
        return transformer.transform(X, **params)


def inner_clone(transformer: Any, rng: np.random.RandomState) -> Any:
    """Clone a transformer for use inside an estimator.

    Seeds that are None are drawn from `rng`. What clones to itself, as FrozenEstimator does,
    belongs to the user and stays as it is.
    """
    given, transformer = transformer, clone(transformer)
    if transformer is given:
        return transformer
    params = transformer.get_params(deep=True)
    seeds = {
        key: rng.randint(np.iinfo(np.int32).max)
        for key in sorted(params)
        if (key == "random_state" or key.endswith("__random_state")) and params[key] is None
    }
    if seeds:
        transformer.set_params(**seeds)
    return transformer
