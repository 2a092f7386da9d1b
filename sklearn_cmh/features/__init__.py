"""Maps of a modality's features."""

from ._anchor_rbf import AnchorRBF, stable_dot
from ._preprocessing import signed_sqrt, sqrt_norm

__all__ = ["AnchorRBF", "signed_sqrt", "sqrt_norm", "stable_dot"]
