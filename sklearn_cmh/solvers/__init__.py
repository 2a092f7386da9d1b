"""Numerics that methods share: similarities, small linear algebra, sweeps, codes."""

from ._codes import (
    clear_columns,
    constant_bits,
    fuse,
    project,
    rounding_noise,
    sign,
    warn_constant_bits,
)
from ._linalg import gram, inner, polar_factor, ridge_factor, squared_norm
from ._similarities import CosineSimilarity, GraphSimilarity, SharedLabelSimilarity
from ._sweeps import Sweeps

__all__ = [
    "CosineSimilarity",
    "GraphSimilarity",
    "SharedLabelSimilarity",
    "Sweeps",
    "clear_columns",
    "constant_bits",
    "fuse",
    "gram",
    "inner",
    "polar_factor",
    "project",
    "ridge_factor",
    "rounding_noise",
    "sign",
    "squared_norm",
    "warn_constant_bits",
]
