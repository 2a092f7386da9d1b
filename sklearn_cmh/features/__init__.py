"""Maps of a modality's features."""

from ..utils._products import stable_dot
from ._anchor_rbf import AnchorRBF
from ._mapped_rows import MappedRows, mapped_rows
from ._maps import FeatureMapsMixin
from ._preprocessing import signed_sqrt, sqrt_norm
from ._shared_space import SharedSpace, linear_map

__all__ = [
    "AnchorRBF",
    "FeatureMapsMixin",
    "MappedRows",
    "SharedSpace",
    "linear_map",
    "mapped_rows",
    "signed_sqrt",
    "sqrt_norm",
    "stable_dot",
]
