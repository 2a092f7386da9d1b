"""Features of many rows, of which only a part is in memory: computed or read when asked for."""

from __future__ import annotations

import tempfile
import warnings
import weakref
from contextlib import nullcontext
from threading import Lock
from typing import Any

import numpy as np
from scipy import sparse
from sklearn import get_config
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from sklearn.utils import gen_batches

from ..data import LazyRows
from ..utils._products import strips
from ..utils._threads import map_blocks, row_slices
from ..utils._transformers import fit, fit_transform, transform
from ..utils._typing import Features, Floats
from ._anchor_rbf import AnchorRBF, fit_into
from ._preprocessing import signed_sqrt

__all__ = [
    "MappedRows",
    "ScaledRows",
    "StoredRows",
    "features_fit_in_memory",
    "is_own",
    "mapped_rows",
    "stored_features",
]

_BLOCK_ROWS = 4096
# Columns that a map may well make of any rows; it is not known before the fit.
_WIDE = 2000


class MappedRows(LazyRows):
    """The features of a fitted map for some rows, of which parts are made anew when asked for.

    Parameters
    ----------
    feature_map : transformer
        Fitted map.
    block : {ndarray, sparse} of shape (n, d)
        Rows.
    """

    def __init__(self, feature_map: Any, block: Features):
        self.feature_map, self.block = feature_map, block
        # What others wrote may not bear several threads at once.
        self._turns = nullcontext() if is_own(feature_map) else Lock()
        first = self[:1]
        self.dtype = first.dtype
        self.shape = (block.shape[0], first.shape[1])

    def __getitem__(self, rows: Any) -> Floats:
        with self._turns:
            return transform(self.feature_map, self.block[rows])


def is_own(feature_map: Any) -> bool:
    """Whether a map is a default one, maybe after `sqrt_norm`; they bear several threads."""
    if isinstance(feature_map, Pipeline):
        return all(is_own(step) for _, step in feature_map.steps)
    if type(feature_map) is FunctionTransformer:
        return feature_map.func is signed_sqrt
    return type(feature_map) in (AnchorRBF, Normalizer, StandardScaler)


class ScaledRows(LazyRows):
    """The features of a fitted StandardScaler for dense rows, scaled when they are read.

    That is faster than to read them from a file, and needs no room.

    Parameters
    ----------
    scaler : StandardScaler
        Fitted.
    block : ndarray of shape (n, d)
        Rows.

    Attributes
    ----------
    largest : float
        Largest magnitude of the features.
    """

    def __init__(self, scaler: StandardScaler, block: Floats):
        self.block, self.shape, self.dtype = block, block.shape, block.dtype
        one = self.dtype.type(1)
        self._shift = scaler.mean_.astype(self.dtype) if scaler.with_mean else one * 0
        self._scale = scaler.scale_.astype(self.dtype) if scaler.with_std else one
        blocks = row_slices(len(block), _BLOCK_ROWS)
        self.largest = np.max(list(map_blocks(self._largest, blocks)))

    def __getitem__(self, rows: Any) -> Floats:
        return self._scaled(self.block[rows])

    def _largest(self, rows):
        some = self.block[rows]
        return np.abs(self._scaled(np.stack([some.min(axis=0), some.max(axis=0)]))).max()

    def _scaled(self, block):
        """Rows are scaled a few at a time while they are in the caches."""
        values = np.empty(block.shape, self.dtype)
        for few in strips(*block.shape):
            np.subtract(block[few], self._shift, out=values[few])
            values[few] /= self._scale
        return values


class StoredRows(LazyRows):
    """Features in a temporary file, written once from the first row to the last.

    The file is that of `tempfile`, in the folder that the variable TMPDIR names, and is gone
    with the object.

    Parameters
    ----------
    shape : tuple (n, q)
        Rows and features.
    dtype : dtype
        Of the features.

    Attributes
    ----------
    largest : float
        Largest magnitude written; NaN where there was one.
    shift : ndarray of shape (q,) or None
        Subtracted from rows when they are read.
    """

    def __init__(self, shape: tuple[int, int], dtype: Any):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.largest = 0.0
        self.shift: Floats | None = None
        self._file, self._lock = tempfile.TemporaryFile(), Lock()
        # Python warns of files that nobody closes.
        weakref.finalize(self, self._file.close)

    def __setitem__(self, rows: slice, values: Floats) -> None:
        values = np.ascontiguousarray(values, dtype=self.dtype)
        largest = max(values.max(), -values.min())
        with self._lock:
            self.largest = np.maximum(self.largest, largest)
            self._file.seek(rows.start * self.shape[1] * self.dtype.itemsize)
            self._file.write(values.data.cast("B"))

    def __getitem__(self, rows: Any) -> Floats:
        # A view of its own, so that what is read counts as memory no longer than it is used.
        with self._lock:
            self._file.flush()
            view = np.memmap(self._file, self.dtype, "r", shape=self.shape)
        return np.array(view[rows]) if self.shift is None else np.subtract(view[rows], self.shift)


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
    return rows[:] if fits_in_memory(*rows.shape, rows.dtype) else rows


def fits_in_memory(n: int, q: int, dtype: np.dtype) -> bool:
    """Whether an (n, q) array is within half of scikit-learn's `working_memory`."""
    return n * q * dtype.itemsize <= get_config()["working_memory"] * 2**19


def features_fit_in_memory(feature_map: Any, block: Features) -> bool:
    """Whether features of a block, as wide as they may well become, fit in memory."""
    n, width = block.shape
    is_anchors = type(feature_map) is AnchorRBF
    q = min(feature_map.n_anchors, n) if is_anchors else max(width, _WIDE)
    return fits_in_memory(n, q, block.dtype)


def stored_features(
    feature_map: Any, block: Features, scale_when_read: bool = False
) -> Features | LazyRows:
    """Fit a map to a block, and keep the features where they are read fastest.

    Parameters
    ----------
    feature_map : transformer
        Map to be fitted.
    block : {ndarray, sparse} of shape (n, d)
        Rows.
    scale_when_read : bool, default=False
        Whether few passes over features are to come, so that rows of StandardScaler are scaled in
        every pass, and no array is made.

    Returns
    -------
    features : {ndarray, sparse, ScaledRows, StoredRows, MappedRows} of shape (n, q)
        An array, or a sparse matrix where the map gives such, within half of scikit-learn's
        `working_memory`; else, or if asked for, of StandardScaler, rows scaled when they are read;
        else, of other maps, a temporary file, or where there is no room for that, with a warning,
        what is made anew part by part.
    """
    fits = features_fit_in_memory(feature_map, block)
    if _scales_dense_rows(feature_map, block) and (scale_when_read or not fits):
        return ScaledRows(fit_by_parts(feature_map, block), block)
    if fits:
        return fit_transform_by_parts(feature_map, block)
    n = block.shape[0]
    try:
        if type(feature_map) is AnchorRBF:
            return fit_into(feature_map, block, StoredRows)
        rows = MappedRows(fit_by_parts(feature_map, block), block)
        if sparse.issparse(rows[:1]) or fits_in_memory(*rows.shape, rows.dtype):
            return rows[:]
        return _stored(rows)
    except OSError as error:
        warnings.warn(
            f"The features of {n} rows are too many for half of the working_memory, and for the "
            f"temporary folder {tempfile.gettempdir()}: {error}. They are computed anew in every "
            "sweep, which takes longer. Raise sklearn's working_memory, or let the environment "
            "variable TMPDIR name a larger folder."
        )
        return MappedRows(fit(feature_map, block), block)


def _scales_dense_rows(feature_map, block):
    return type(feature_map) is StandardScaler and not sparse.issparse(block)


def fit_by_parts(feature_map: Any, block: Features) -> Any:
    """Fit a map; StandardScaler without its copies of all rows in float64."""
    if not _scales_dense_rows(feature_map, block):
        return fit(feature_map, block)
    first, *others = gen_batches(len(block), _BLOCK_ROWS // 16)
    feature_map.partial_fit(block[first])
    if feature_map.with_mean and feature_map.with_std:
        for moments in map_blocks(lambda rows: _moments(block[rows]), others[:-1], small=True):
            _add_moments(feature_map, *moments)
        others = others[-1:]
    for rows in others:
        feature_map.partial_fit(block[rows])
    return feature_map


def _moments(rows):
    """How many rows there are, their mean, and the sums of squares about it."""
    x = rows.astype(np.float64)
    mean = np.ones(len(x)) @ x / len(x)
    x -= mean
    return len(x), mean, np.einsum("ij,ij->j", x, x)


def _add_moments(scaler, count, mean, squares):
    """What `partial_fit` does to the mean and the variance, in a third of the time."""
    n, apart = scaler.n_samples_seen_, mean - scaler.mean_
    total = n + count
    squares = n * scaler.var_ + squares + apart**2 * (n * count / total)
    scaler.n_samples_seen_, scaler.var_ = total, squares / total
    scaler.mean_ = scaler.mean_ + apart * (count / total)


def fit_transform_by_parts(feature_map: Any, block: Features) -> Features:
    """Fit a map as `fit_by_parts` does, and return the features in memory."""
    if not _scales_dense_rows(feature_map, block):
        return fit_transform(feature_map, block)
    return ScaledRows(fit_by_parts(feature_map, block), block)[:]


def _stored(rows):
    dtype = rows.dtype if rows.dtype in (np.float32, np.float64) else np.dtype(np.float64)
    F = StoredRows(rows.shape, dtype)
    for part in gen_batches(len(rows), _BLOCK_ROWS):
        F[part] = rows[part]
    return F
