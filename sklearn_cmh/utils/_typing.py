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
    "Gallery",
    "Labels",
    "MatrixLike",
    "Modalities",
    "NDArray",
    "NoRelevant",
    "RandomState",
    "Relevance",
    "Ties",
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

Ties: TypeAlias = Literal["expected", "index"]
"""The parameter `ties`: in the mean over orders of tied rows, or by database row."""

NoRelevant: TypeAlias = Literal["skip", "zero"]
"""The parameter `no_relevant`: what a query without a relevant row counts."""

Relevance: TypeAlias = Literal["labels", "pair"]
"""The parameter `relevance`: rows that share a label are to be found, or the own row."""

Gallery: TypeAlias = str | tuple[MatrixLike, Labels | None]
"""The parameter `gallery`: "learned", "validation", or rows and their labels."""
