"""Rows in chunks, which are read, mapped and summed up where Dask computes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.utils import get_tags

from ..data import FLOATS, checked
from ..utils._dask import culled_chunks, delayed_call, in_flight, shared
from ..utils._transformers import fit, transform
from ..utils._typing import Features, Floats
from ._anchor_rbf import AnchorRBF, begin_fit
from ._mapped_rows import LazyRows, StoredRows, fits_in_memory

__all__ = [
    "ChunkedRows",
    "fit_to_chunks",
    "gathered",
    "gathered_features",
    "kept",
    "kept_features",
    "shifted",
]


class ChunkedRows(LazyRows):
    """Rows whose chunks are computed by Dask whenever they are asked for.

    Parameters
    ----------
    chunks : list of dask.delayed.Delayed
        Arrays or sparse matrices of consecutive rows.
    heights : sequence of int
        Their numbers of rows.
    width : int
        Columns.
    dtype : dtype
        Of the values.
    is_sparse : bool
        Whether chunks are sparse matrices.

    Attributes
    ----------
    shift : ndarray of shape (d,) or None
        To be subtracted from the chunks, by whoever computes with them where they are.
    largest : float or None
        Largest magnitude of the chunks, where it is known.
    """

    shift: Floats | None = None
    largest: float | None = None

    def __init__(self, chunks: list[Any], heights: Any, width: int, dtype: Any, is_sparse: bool):
        self.chunks, self.heights = chunks, np.asarray(heights, dtype=np.intp)
        self.is_sparse = is_sparse
        self.shape, self.dtype = (int(self.heights.sum()), width), np.dtype(dtype)
        self._ends = np.cumsum(self.heights)

    @classmethod
    def from_dask(cls, array: Any, first: Features, complaint: str) -> Self:
        """Chunks of an array of Dask, validated where they are computed.

        Parameters
        ----------
        array : dask.array.Array of shape (n, d)
            From `checked_rows`.
        first : {ndarray, sparse}
            A row of its kind, validated.
        complaint : str
            Begins the error of a chunk that holds what no hasher takes.
        """
        heights = [height for height in array.chunks[0] if height]
        rows = cls(culled_chunks(array), heights, first.shape[1], first.dtype, False)
        return rows.map(first, _checked, complaint)

    def map(self, first: Features, function: Callable, *args: Any) -> Self:
        """Rows ``function(chunk, *args)``, of which `first` is one; nothing is computed yet."""
        chunks = delayed_call(function, self.chunks, *map(shared, args))
        dtype, is_sparse = first.dtype, sparse.issparse(first)
        return type(self)(chunks, self.heights, first.shape[1], dtype, is_sparse)

    def persist(self) -> Self:
        """The same, computed, and kept where it was."""
        import dask

        kept = list(dask.persist(*self.chunks))
        return type(self)(kept, self.heights, self.shape[1], self.dtype, self.is_sparse)

    def each(self, function: Callable | None = None, *args: Any) -> Iterator[Any]:
        """Yield ``function(chunk, *args)``, or the chunks, from the first to the last.

        No more are in memory here at a time than are computed at the same time.
        """
        import dask

        tasks = self.chunks
        if function is not None:
            tasks = delayed_call(function, tasks, *map(shared, args))
        step = in_flight()
        for start in range(0, len(tasks), step):
            yield from dask.compute(*tasks[start : start + step])

    def slices(self) -> list[slice]:
        """Rows of every chunk."""
        return [slice(end - h, end) for h, end in zip(self.heights, self._ends, strict=True)]

    def __getitem__(self, rows: Any) -> Any:
        """Compute some rows, a slice of them or positions, and return them as a matrix."""
        import dask

        positions = np.arange(len(self))[rows]
        owners = np.searchsorted(self._ends, positions, side="right")
        order = np.argsort(owners, kind="stable")
        wanted, counts = np.unique(owners, return_counts=True)
        groups = np.split(positions[order], np.cumsum(counts)[:-1])
        parts = dask.compute(
            *(
                delayed_call(_taken, [self.chunks[c]], group - self.slices()[c].start)[0]
                for c, group in zip(wanted, groups, strict=True)
            )
        )
        inverse = np.empty(len(order), dtype=np.intp)
        inverse[order] = np.arange(len(order))
        return _stacked(parts)[inverse]


def _checked(chunk, complaint):
    return checked(chunk, complaint, dtype=FLOATS)


def _taken(chunk, rows):
    return chunk[rows]


def _stacked(parts):
    if sparse.issparse(parts[0]):
        return sparse.csr_array(sparse.vstack(parts, format="csr"))
    return np.concatenate(parts)


def fit_to_chunks(feature_map: Any, X: ChunkedRows) -> Any:
    """Fit a map to rows in chunks, but for the mean of the features of `AnchorRBF`.

    `AnchorRBF` takes its anchors from the chunks, those that it would draw from the rows in
    memory, and its width from sums over them. What has a `partial_fit` sees one chunk after
    another; what needs no fit, as it is frozen or learns nothing, is told the columns.

    Parameters
    ----------
    feature_map : transformer
        Map to be fitted.
    X : ChunkedRows of shape (n, d)
        Rows.

    Returns
    -------
    feature_map : transformer
        The fitted map.

    Raises
    ------
    TypeError
        If the map can only be fitted to all rows at once.
    """
    if type(feature_map) is AnchorRBF:
        begin_fit(feature_map, X)
        return feature_map
    if clone(feature_map) is feature_map or not get_tags(feature_map).requires_fit:
        return fit(feature_map, X[:2])
    if not hasattr(feature_map, "partial_fit"):
        raise TypeError(
            f"X holds Dask arrays, and {type(feature_map).__name__} cannot be fitted to them chunk "
            "by chunk, as it has no partial_fit: fit it to a sample of the rows, and pass "
            "sklearn.frozen.FrozenEstimator of it as the feature_map."
        )
    import dask

    fitted = shared(feature_map)
    for chunk in X.chunks:
        fitted = delayed_call(_partially_fitted, [fitted], chunk)[0]
    vars(feature_map).update(vars(dask.compute(fitted)[0]))
    return feature_map


def _partially_fitted(feature_map, chunk):
    return deepcopy(feature_map).partial_fit(chunk)


def gathered_features(feature_map: Any, X: ChunkedRows) -> Features | LazyRows:
    """Fit a map to rows in chunks, and bring the features here, part by part.

    Parameters
    ----------
    feature_map : transformer
        Map to be fitted.
    X : ChunkedRows of shape (n, d)
        Rows.

    Returns
    -------
    features : {ndarray, sparse, StoredRows} of shape (n, q)
        As `stored_features` keeps them: in memory, or in a temporary file.
    """
    feature_map = fit_to_chunks(feature_map, X)
    features = mapped_chunks(feature_map, X)
    if type(feature_map) is not AnchorRBF or not feature_map.centre:
        return gathered(features)
    total = np.zeros(features.shape[1])
    F = gathered(features, total)
    feature_map.mean_ = total / len(features)
    mean = feature_map.mean_.astype(F.dtype)
    if isinstance(F, StoredRows):
        F.shift = mean
    else:
        F -= mean
    return F


def kept_features(feature_map: Any, X: ChunkedRows) -> ChunkedRows:
    """Fit a map to rows in chunks, and keep the features where Dask computes them.

    Parameters
    ----------
    feature_map : transformer
        Map to be fitted.
    X : ChunkedRows of shape (n, d)
        Rows.

    Returns
    -------
    features : ChunkedRows of shape (n, q)
        Computed; their `shift` is to be subtracted.
    """
    feature_map = fit_to_chunks(feature_map, X)
    F, total = kept(mapped_chunks(feature_map, X))
    if type(feature_map) is AnchorRBF and feature_map.centre:
        feature_map.mean_ = total / len(F)
        F.shift = feature_map.mean_.astype(F.dtype)
    return F


def kept(rows: ChunkedRows) -> tuple[ChunkedRows, Floats]:
    """Rows in chunks, computed and kept where Dask computes; and their sum."""
    rows = rows.persist()
    totals, largest = zip(*rows.each(_sum_and_largest), strict=True)
    rows.largest = float(np.max(largest))
    return rows, sum(totals)


def _sum_and_largest(chunk):
    total = np.asarray(chunk.sum(axis=0, dtype=np.float64)).ravel()
    return total, max(chunk.max(), -chunk.min())


class ShiftedRows(LazyRows):
    """Rows of an array, of which a row is subtracted when they are read.

    Parameters
    ----------
    values : ndarray of shape (n, q)
        Rows.
    shift : ndarray of shape (q,)
        In their dtype.
    """

    def __init__(self, values: Floats, shift: Floats):
        self.values, self.shift = values, shift
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, rows: Any) -> Floats:
        return self.values[rows] - self.shift


def shifted(values: Features, shift: Floats | None) -> Features | ShiftedRows:
    """Rows of `ChunkedRows` as they are meant: a `shift`, if any, is subtracted."""
    return values if shift is None else ShiftedRows(values, shift)


def mapped_chunks(feature_map: Any, X: ChunkedRows) -> ChunkedRows:
    """Features of rows in chunks under a fitted map, computed when they are asked for."""
    return X.map(_transformed(X[:1], feature_map), _transformed, feature_map)


def _transformed(chunk, feature_map):
    F = transform(feature_map, chunk)
    return F if F.dtype in FLOATS else F.astype(np.float64)


def gathered(rows: ChunkedRows, total: Floats | None = None) -> Features | StoredRows:
    """Rows in chunks, brought here part by part; their sum is added to `total`.

    Parameters
    ----------
    rows : ChunkedRows of shape (n, q)
        Rows.
    total : ndarray of shape (q,), default=None
        What the sum of dense rows is added to.

    Returns
    -------
    rows : {ndarray, sparse, StoredRows} of shape (n, q)
        Within half of scikit-learn's `working_memory` or sparse, in memory; else in a temporary
        file.
    """
    if rows.is_sparse:
        return _stacked(list(rows.each()))
    make = np.empty if fits_in_memory(*rows.shape, rows.dtype) else StoredRows
    F = make(rows.shape, rows.dtype)
    for some, part in zip(rows.slices(), rows.each(), strict=True):
        try:
            F[some] = part
        except OSError as error:
            raise OSError(
                f"The features of {len(rows)} rows are too many for half of the working_memory, "
                f"and for the temporary folder {tempfile.gettempdir()}: {error}. Raise sklearn's "
                "working_memory, or let the environment variable TMPDIR name a larger folder."
            ) from error
        if total is not None:
            total += part.sum(axis=0, dtype=np.float64)
    return F
