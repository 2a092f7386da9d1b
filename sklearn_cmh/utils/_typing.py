"""Names of types in public signatures."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

__all__ = [
    "ArrayLike",
    "Codes",
    "Features",
    "Floats",
    "Labels",
    "MatrixLike",
    "Modalities",
    "NDArray",
    "RandomState",
]

Codes: TypeAlias = NDArray[np.int8]
"""Codes, (n, n_bits), -1 and +1."""

Floats: TypeAlias = NDArray[np.floating[Any]]
"""Real-valued arrays, float32 or float64."""

SparseMatrix: TypeAlias = sparse.sparray | sparse.spmatrix

Features: TypeAlias = Floats | SparseMatrix
"""Rows of mapped features, (n, q)."""

MatrixLike: TypeAlias = Any
"""X: an array-like, a sparse matrix or array, a DataFrame, or a MultimodalData."""

Labels: TypeAlias = ArrayLike | SparseMatrix
"""y: class labels (n,), or an indicator (n, c), dense or sparse."""

Modalities: TypeAlias = (
    Mapping[str, Any] | Sequence[tuple[str, Any, Any]] | Literal["prefix"] | None
)
"""The parameter `modalities` of every estimator that takes several."""

RandomState: TypeAlias = int | np.random.RandomState | None
"""The parameter `random_state`."""
