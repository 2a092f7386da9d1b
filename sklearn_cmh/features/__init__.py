"""Maps of a modality's features."""

from ..utils._products import stable_dot
from ._anchor_rbf import AnchorRBF
from ._chunked_rows import (
    gathered,
    gathered_features,
    kept,
    kept_features,
)
from ._mapped_rows import (
    MappedRows,
    ScaledRows,
    StoredRows,
    features_fit_in_memory,
    is_own,
    mapped_rows,
    stored_features,
)
from ._maps import FeatureMapsMixin, check_scale, fitted_features
from ._preprocessing import signed_sqrt, sqrt_norm
from ._shared_space import SharedSpace, fit_mapped_rows, linear_map, space_rows

__all__ = [
    "AnchorRBF",
    "FeatureMapsMixin",
    "MappedRows",
    "ScaledRows",
    "SharedSpace",
    "StoredRows",
    "check_scale",
    "features_fit_in_memory",
    "fit_mapped_rows",
    "fitted_features",
    "gathered",
    "gathered_features",
    "is_own",
    "kept",
    "kept_features",
    "linear_map",
    "mapped_rows",
    "signed_sqrt",
    "space_rows",
    "sqrt_norm",
    "stable_dot",
    "stored_features",
]
