"""One feature map per modality, as a parameter of an estimator."""

from collections.abc import Mapping
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn import config_context

from ..data import FLOATS, check_range, checked
from ..utils._callbacks import report
from ..utils._sklearn import HasMethods, Interval, StrOptions
from ..utils._transformers import (
    inner_clone,
    is_transformer,
    named_errors,
    transform,
)
from ._anchor_rbf import AnchorRBF
from ._mapped_rows import LazyRows, fit_transform_by_parts

__all__ = ["FeatureMapsMixin", "check_scale", "fitted_features"]

# What brings any finite rows into range; StandardScaler would square them first.
_RESCALE = "rescale the modality, by MaxAbsScaler for instance"


def fitted_features(feature_map, block):
    """A map fitted to a block, and the features."""
    F = fit_transform_by_parts(feature_map, block)
    return feature_map, F


def check_scale(name, F):
    """Return features, unless their squares and sums are too near the end of what F can hold."""
    what = f"The features of {name!r}"
    largest = getattr(F, "largest", None)
    if largest is not None:
        check_range(np.array([largest], dtype=F.dtype), what, _RESCALE)
    elif not isinstance(F, LazyRows):
        check_range(F, what, _RESCALE)
    return F


def _quiet_overflow():
    """Context in which a map may overflow without a warning: what it returns is checked."""
    return np.errstate(over="ignore", invalid="ignore")


def _is_finite(F):
    values = np.asarray(F.data if sparse.issparse(F) else F)
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


class FeatureMapsMixin:
    """The parameters `feature_map` and `n_anchors` of a `MultimodalEstimator`.

    Attributes
    ----------
    feature_maps_ : dict
        Modality name to fitted map; None where the rows are used as they are.
    """

    feature_map: Any
    n_anchors: int
    feature_maps_: dict[str, Any]

    _named_maps: ClassVar[tuple[str, ...]] = ("passthrough",)

    _parameter_constraints: dict = {
        "feature_map": [
            HasMethods(["fit", "transform"]),
            dict,
            StrOptions({"passthrough"}),
            None,
        ],
        "n_anchors": [Interval(Integral, 1, None, closed="left")],
    }

    def _default_feature_map(self, block):
        return AnchorRBF(n_anchors=self.n_anchors)

    def _given_map(self, name):
        """The parameter `feature_map` for one modality."""
        given = self.feature_map
        return given.get(name) if isinstance(given, Mapping) else given

    def _check_maps(self, names):
        """Refuse maps of unknown modalities, and what is no map."""
        if not isinstance(self.feature_map, Mapping):
            return
        for name, feature_map in self.feature_map.items():
            if name not in names:
                raise ValueError(
                    f"feature_map: there is no modality {name!r}; known are {list(names)}."
                )
            if not is_transformer(feature_map) and feature_map not in (None, *self._named_maps):
                raise ValueError(
                    f"feature_map: the map of {name!r} must be a transformer, "
                    f"{', '.join(map(repr, self._named_maps))} or None; got {feature_map!r}."
                )

    def _fit_features(self, blocks, rng, maps=None, make=None):
        """Fit one feature map per modality, `maps` {name: map} or those of the parameter.

        `make` fits a map to a block and returns the fitted map and the features. Sets
        `feature_maps_`.
        """
        make = fitted_features if make is None else make
        if maps is None:
            self._check_maps(blocks)
            maps = {name: self._given_map(name) for name in blocks}
        self.feature_maps_, features = {}, {}
        for name, block in blocks.items():
            feature_map = maps[name]
            if isinstance(feature_map, str):
                self.feature_maps_[name] = None
                features[name] = check_scale(name, self._unmapped_features(block))
                continue
            if feature_map is None:
                feature_map = self._default_feature_map(block)
            report(self, f"features of {name!r}")
            feature_map = inner_clone(feature_map, rng)
            with named_errors(f"feature_map of {name!r}"), _quiet_overflow():
                feature_map, F = make(feature_map, block)
                F = self._check_features(name, F)
            features[name] = check_scale(name, F)
            self.feature_maps_[name] = feature_map
        return features

    def _unmapped_features(self, block):
        """Rows that are their own features."""
        return block

    def _map_features(self, name, block):
        feature_map = self.feature_maps_[name]
        if feature_map is None:
            return block
        # Rows are checked, and no kernel value of such is no number: no pass to see that again.
        finite = True if type(feature_map) is AnchorRBF else None  # as it is configured
        with _quiet_overflow(), config_context(assume_finite=finite):
            return self._check_features(name, transform(feature_map, block))

    def _check_features(self, name, F):
        complaint = f"The feature map of {name!r} returned what no hasher takes"
        largest = getattr(F, "largest", None)
        if largest is not None and not np.isfinite(largest):
            raise ValueError(f"{complaint}: it contains NaN or infinity; {_RESCALE}.")
        if isinstance(F, LazyRows):
            return F
        try:
            return checked(F, complaint, dtype=FLOATS)
        except ValueError as error:
            if _is_finite(F):
                raise
            raise ValueError(
                f"{error} Its rows are finite, so numbers near the end of their dtype overflow in "
                f"the map: {_RESCALE}."
            ) from error

    def _nested(self):
        nested = super()._nested()  # type: ignore[misc]
        if isinstance(self.feature_map, Mapping):
            nested = nested + [(f"feature_map__{name}", t) for name, t in self.feature_map.items()]
        return nested

    def _replace_nested(self, name, transformer):
        modality = name.removeprefix("feature_map__")
        if modality == name:
            super()._replace_nested(name, transformer)  # type: ignore[misc]
        else:
            self.feature_map = {**self.feature_map, modality: transformer}
