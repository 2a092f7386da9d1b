"""Maps of rows in chunks: fitted by passes over them, and applied where Dask computes."""

from __future__ import annotations

import tempfile
from copy import deepcopy
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from ..data import FLOATS, ChunkedRows, LazyRows, stacked
from ..utils._dask import computed, delayed_call, in_flight, shared
from ..utils._transformers import fit, transform
from ..utils._typing import Features, Floats
from ._anchor_rbf import AnchorRBF, begin_fit
from ._mapped_rows import StoredRows, fits_in_memory

__all__ = [
    "fit_to_chunks",
    "gathered",
    "gathered_features",
    "kept",
    "kept_features",
    "mapped_features",
    "measured",
]


def fit_to_chunks(feature_map: Any, X: ChunkedRows) -> Any:
    """Fit a map to rows in chunks, but for the mean of the features of `AnchorRBF`.

    `AnchorRBF` takes its anchors from the chunks, those that it would draw from the rows in
    memory, and its width from sums over them. What has a `partial_fit` sees one chunk after
    another; what needs no fit, as it is frozen or learns nothing, is told the columns. The steps
    of a Pipeline are fitted one after another.

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
    if type(feature_map) is Pipeline:
        steps = _steps(feature_map)
        for step in steps[:-1]:
            is_plain = _centred_map(step) is None
            X = mapped_chunks(fit_to_chunks(step, X), X) if is_plain else mapped_features(step, X)
        for step in steps[-1:]:
            fit_to_chunks(step, X)
        return feature_map
    if clone(feature_map) is feature_map or not get_tags(feature_map).requires_fit:
        return fit(feature_map, X[:2])
    if not hasattr(feature_map, "partial_fit"):
        raise TypeError(
            f"X holds Dask arrays, and {type(feature_map).__name__} cannot be fitted to them chunk "
            "by chunk, as it has no partial_fit: fit it to a sample of the rows, and pass "
            "sklearn.frozen.FrozenEstimator of it as the feature_map."
        )
    fitted, step = feature_map, in_flight()
    for start in range(0, len(X.chunks), step):  # lest chunks are read far ahead
        task = shared(fitted)
        for chunk in X.chunks[start : start + step]:
            task = delayed_call(_partially_fitted, [task], chunk)[0]
        fitted = computed([task])[0]
    vars(feature_map).update(vars(fitted))
    return feature_map


def _partially_fitted(feature_map, chunk):
    return deepcopy(feature_map).partial_fit(chunk)


def _steps(feature_map):
    """Steps of a Pipeline that do something, of which the last makes the features."""
    return [step for _, step in feature_map.steps if step not in (None, "passthrough")]


def mapped_features(feature_map: Any, X: ChunkedRows) -> ChunkedRows:
    """Fit a map to rows in chunks, and compute the features whenever they are asked for.

    Parameters
    ----------
    feature_map : transformer
        Map to be fitted.
    X : ChunkedRows of shape (n, d)
        Rows.

    Returns
    -------
    features : ChunkedRows of shape (n, q)
        Computed in one pass, to be `measured`, and not kept.
    """
    feature_map = fit_to_chunks(feature_map, X)
    features = mapped_chunks(feature_map, X)
    if _mean(feature_map, measured(features), features) is None:
        return features
    centred = mapped_chunks(feature_map, X)
    centred.largest, centred.is_sparse = features.largest, features.is_sparse
    return centred


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
    total = np.zeros(features.shape[1])
    F = gathered(features, total)
    shift = _mean(feature_map, total, F)
    if isinstance(F, StoredRows):
        F.shift = shift
    elif shift is not None:
        F -= shift
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
    F.shift = _mean(feature_map, total, F)
    return F


def _mean(feature_map, total, F):
    """The mean that `AnchorRBF` subtracts, which ends its fit, in the dtype of F; else None."""
    centred = _centred_map(feature_map)
    if centred is None:
        return None
    centred.mean_ = total / F.shape[0]
    return centred.mean_.astype(F.dtype)


def _centred_map(feature_map):
    """The `AnchorRBF` that ends a map, the mean of which ends its fit; None where there is none."""
    if type(feature_map) is Pipeline:
        return next(map(_centred_map, _steps(feature_map)[-1:]), None)
    centred = type(feature_map) is AnchorRBF and feature_map.centre
    return feature_map if centred else None


def kept(rows: ChunkedRows) -> tuple[ChunkedRows, Floats]:
    """Rows in chunks, computed and kept where Dask computes; and their sum."""
    rows = rows.persist()
    return rows, measured(rows)


def measured(rows: ChunkedRows) -> Floats:
    """The sum of rows in chunks, in one pass that also sets `largest` and `is_sparse`."""
    totals, largest, are_sparse = zip(*rows.each(_measures), strict=True)
    rows.largest, rows.is_sparse = float(np.max(largest)), any(are_sparse)
    return sum(totals)


def _measures(chunk):
    total = np.asarray(chunk.sum(axis=0, dtype=np.float64)).ravel()
    return total, max(chunk.max(), -chunk.min()), sparse.issparse(chunk)


def mapped_chunks(feature_map: Any, X: ChunkedRows) -> ChunkedRows:
    """Features of rows in chunks under a fitted map, computed when they are asked for."""
    return X.map(_transformed(X[:1], feature_map), _transformed, feature_map)


def _transformed(chunk, feature_map):
    F = transform(feature_map, chunk)
    if not sparse.issparse(F):
        F = np.asarray(F)  # a step may have an output of its own, by set_output
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
        return stacked(list(rows.each()))
    make = np.empty if fits_in_memory(*rows.shape, rows.dtype) else StoredRows
    F = make(rows.shape, rows.dtype)
    for some, part in zip(rows.slices(), rows.each(), strict=True):
        if sparse.issparse(part):  # where Dask was not told so
            part = part.toarray()
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
