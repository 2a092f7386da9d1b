"""Gram matrices of the features of several modalities, of all rows and of all but a fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ..data import ChunkedRows, is_sparse
from ..utils._threads import row_slices
from ..utils._typing import Features, Floats, NDArray

__all__ = ["Grams", "Moments", "centred_grams", "column_means", "fold_moments"]

_BLOCK_ENTRIES = 2**22
# A variance that is this fraction of what was subtracted to get it is rounding.
_CANCELLED = 1e-12

Grams = dict[tuple[int, int], Floats]


def column_means(F: Features) -> Floats:
    """Mean of every column of `F`, dense or sparse, accumulated in float64.

    Parameters
    ----------
    F : {ndarray, sparse} of shape (n, q)
        Features.

    Returns
    -------
    means : ndarray of shape (q,), float64
        Their means.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.solvers import column_means
    >>> column_means(np.array([[1, 2], [3, 4]], dtype=np.float32))
    array([2., 3.])
    """
    return np.asarray(F.mean(axis=0, dtype=np.float64)).ravel()


def centred_grams(features: Sequence[Features], means: Sequence[Floats] | None = None) -> Grams:
    """Gram matrices of the centred features of all pairs of modalities, in float64.

    A dense block is centred and copied a few rows at a time, a sparse one not at all. Features
    that are constant but for rounding count as constant: their entries are zero.

    Parameters
    ----------
    features : sequence of {ndarray, sparse} of shape (n, q_m)
        Features of the modalities, of the same rows; they need not be centred.
    means : sequence of ndarray of shape (q_m,), default=None
        Their column means, where they are known; see `column_means`.

    Returns
    -------
    grams : dict
        ``(l, m): (F_l - mean_l)'(F_m - mean_m) / n`` of shape (q_l, q_m), for ``l <= m``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.solvers import centred_grams
    >>> grams = centred_grams([np.array([[1.0], [3.0]]), np.array([[0.0, 5.0], [4.0, 5.0]])])
    >>> grams[0, 1]
    array([[2., 0.]])
    """
    means = [column_means(F) for F in features] if means is None else means
    moments = _moments_about(features, means, np.arange(features[0].shape[0]))
    _clear_constant([moments], features, means)
    return moments.centred_grams()


def fold_moments(
    features: Sequence[Features], means: Sequence[Floats], folds: NDArray
) -> list[Moments]:
    """Moments of every fold, in one pass over the rows.

    Parameters
    ----------
    features : sequence of {ndarray, sparse, LazyRows} of shape (n, q_m)
        Features of the modalities, of the same rows.
    means : sequence of ndarray of shape (q_m,)
        Their column means, about which the moments are taken.
    folds : ndarray of shape (n,), int
        Fold of every row, from 0.

    Returns
    -------
    moments : list of Moments
        Of the folds. Their sum is that of all rows, and the sum minus one that of the others.
    """
    moments = _fold_moments(features, means, folds, int(folds.max()) + 1)
    _clear_constant(moments, features, means)
    return moments


def _fold_moments(features, means, folds, n_folds):
    first, *others = features
    if isinstance(first, ChunkedRows):
        there = [*others, first.beside(folds)]
        return list(first.total(_fold_moments_of_chunk, *there, args=(means, n_folds)))
    return [
        _moments_about(features, means, np.flatnonzero(folds == fold)) for fold in range(n_folds)
    ]


def _fold_moments_of_chunk(*features_and_more):
    """An array of `Moments`, which adds up."""
    *features, folds, means, n_folds = features_and_more
    moments = np.empty(n_folds, dtype=object)
    moments[:] = _fold_moments(features, means, folds, n_folds)
    return moments


@dataclass(frozen=True)
class Moments:
    """Sums of rows and of their products about a common origin, which add up over sets of rows.

    Parameters
    ----------
    n : int
        Rows.
    sums : list of ndarray of shape (q_m,)
        Sum over rows of ``F_m - origin_m``.
    products : dict
        ``(l, m): sum over rows of (F_l - origin_l)(F_m - origin_m)'``, for ``l <= m``.
    """

    n: int
    sums: list[Floats]
    products: Grams

    @property
    def means(self) -> list[Floats]:
        """Means of the rows, relative to the origin."""
        return [total / self.n for total in self.sums]

    def __add__(self, other: Moments) -> Moments:
        """Moments of both sets of rows."""
        return Moments(
            self.n + other.n,
            [a + b for a, b in zip(self.sums, other.sums, strict=True)],
            {pair: P + other.products[pair] for pair, P in self.products.items()},
        )

    def __sub__(self, other: Moments) -> Moments:
        """Moments of the rows that are not in `other`, a part of these."""
        rest = Moments(
            self.n - other.n,
            [a - b for a, b in zip(self.sums, other.sums, strict=True)],
            {pair: P - other.products[pair] for pair, P in self.products.items()},
        )
        _clear_cancelled(rest.products, self.products)
        return rest

    def about(self, means: Sequence[Floats]) -> Grams:
        """Products about other points, given relative to the origin."""
        return {
            (i, j): P
            - np.outer(self.sums[i], means[j])
            - np.outer(means[i], self.sums[j])
            + self.n * np.outer(means[i], means[j])
            for (i, j), P in self.products.items()
        }

    def centred_grams(self) -> Grams:
        """Gram matrices of the features about their own means, divided by the number of rows."""
        grams = {pair: G / self.n if self.n else G for pair, G in self.about(self.means).items()}
        _clear_cancelled(grams, {pair: P / self.n for pair, P in self.products.items()})
        return grams


def _moments_about(features, origins, rows):
    """Moments of some rows about given points, a few rows of all modalities at a time."""
    widths = [F.shape[1] for F in features]
    sums = [np.zeros(width) for width in widths]
    products = {
        (i, j): np.zeros((widths[i], widths[j]))
        for i in range(len(features))
        for j in range(i, len(features))
    }
    for batch in row_slices(len(rows), max(1, _BLOCK_ENTRIES // sum(widths))):
        blocks = [F[rows[batch]] for F in features]
        blocks = [
            block.astype(np.float64) if sparse.issparse(block) else block - origin
            for block, origin in zip(blocks, origins, strict=True)
        ]
        for total, block in zip(sums, blocks, strict=True):
            total += np.asarray(block.sum(axis=0)).ravel()
        for (i, j), total in products.items():
            total += _product(blocks[i], blocks[j])
    _centre_sparse(features, origins, sums, products, len(rows))
    return Moments(len(rows), sums, products)


def _product(A, B):
    """``A'B`` as an ndarray."""
    both = (B.T @ A).T if sparse.issparse(B) and not sparse.issparse(A) else A.T @ B
    return both.toarray() if sparse.issparse(both) else both


def _centre_sparse(features, origins, sums, products, n):
    """Change moments of sparse features, which were not centred, to what centring gives."""
    is_sparse = [sparse.issparse(F) for F in features]
    for m in np.flatnonzero(is_sparse):
        sums[m] -= n * origins[m]
    for (i, j), P in products.items():
        if is_sparse[i]:
            P -= np.outer(origins[i], sums[j])
        if is_sparse[j]:
            P -= np.outer(sums[i], origins[j])
        if is_sparse[i] and is_sparse[j]:
            P -= n * np.outer(origins[i], origins[j])


def _clear_constant(moments, features, means):
    """Set the products of features that are constant but for rounding to zero, in all parts."""
    n = sum(part.n for part in moments)
    for m, (F, mean) in enumerate(zip(features, means, strict=True)):
        eps = 10 * np.finfo(F.dtype).eps
        # The mean of a sparse column is subtracted from its second moment, not from its entries.
        rounding = eps * mean**2 if is_sparse(F) else (eps * mean) ** 2
        variance = sum(part.products[m, m].diagonal() for part in moments) / n
        for part in moments:
            _clear(part.products, m, variance <= rounding)


def _clear_cancelled(products, before):
    """Set what is left of a difference to zero where it is rounding, measured by the minuend."""
    for i, j in products:
        if i == j:
            cancelled = products[i, i].diagonal() <= _CANCELLED * before[i, i].diagonal()
            _clear(products, i, cancelled)


def _clear(products, m, constant):
    """Set the rows and columns of some features of modality m to zero, exactly."""
    for (i, j), P in products.items():
        if i == m:
            P[constant] = 0
        if j == m:
            P[:, constant] = 0
