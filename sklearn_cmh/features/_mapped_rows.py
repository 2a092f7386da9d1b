"""Mapped features of many rows, computed when they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils import gen_batches

from ..utils._transformers import transform
from ..utils._typing import Features, Floats

__all__ = ["MappedRows", "mapped_rows"]

_BLOCK_ROWS = 4096


class MappedRows:
    """The features of a fitted map for some rows, as an array of which parts are made anew.

    It takes the place of an (n, q) array where that would be too large to keep: it has a
    shape, a mean, and can be indexed by rows.

    Parameters
    ----------
    feature_map : transformer
        Fitted map.
    block : {ndarray, sparse} of shape (n, d)
        Rows.
    """

    def __init__(self, feature_map: Any, block: Features):
        self.feature_map, self.block = feature_map, block
        first = self[:1]
        self.dtype = first.dtype
        self.shape = (block.shape[0], first.shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Floats:
        return transform(self.feature_map, self.block[rows])

    def mean(self, axis: int = 0, dtype: Any = np.float64) -> Floats:
        """Mean of every column."""
        total = np.zeros(self.shape[1], dtype=dtype)
        for rows in gen_batches(len(self), _BLOCK_ROWS):
            total += self[rows].sum(axis=axis, dtype=dtype)
        return total / len(self)


def mapped_rows(feature_map: Any, block: Features) -> Floats | MappedRows:
    """Features of the rows under a fitted map: an array where working memory allows it.

    Parameters
    ----------
    feature_map : transformer
        Fitted map.
    block : {ndarray, sparse} of shape (n, d)
        Rows.

    Returns
    -------
    features : {ndarray, MappedRows} of shape (n, q)
        The array, within half of scikit-learn's `working_memory`; else the same, made anew
        part by part.
    """
    rows = MappedRows(feature_map, block)
    size = rows.shape[0] * rows.shape[1] * rows.dtype.itemsize
    return rows[:] if size <= get_config()["working_memory"] * 2**19 else rows
