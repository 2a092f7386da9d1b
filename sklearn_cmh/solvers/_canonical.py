"""Ridge canonical correlation of two or more modalities, from Gram matrices alone.

With centred features ``F_m`` of n rows and ``G_lm = F_l'F_m / n``, every modality is whitened,
``D_m = (G_mm + r_m mean(eigenvalues of G_mm) I)^(-1/2)``, and the singular vectors of
``D_1 G_12 D_2 = U diag(rho) V'`` give the bases ``D_1 U`` and ``D_2 V``: the columns of
``F_1 D_1 U`` and ``F_2 D_2 V`` are the directions that the modalities share. With more
modalities, they are the leading eigenvectors of the matrix of all whitened cross-products,
with zeros in place of each modality's product with itself: for two, exactly the singular vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from operator import add
from typing import Any

import numpy as np
from scipy import linalg

from ..utils._typing import Features, Floats, NDArray
from ._moments import Grams, column_means, fold_moments
from ._orthogonal import polar_factor, settling_turn

__all__ = [
    "SharedBases",
    "canonical_bases",
    "component_signs",
    "out_of_fold_components",
    "shared_bases",
    "whitener",
]

# Eigenvalues below this, relative to the largest and to their number, are rounding.
_RANK_TOLERANCE = 1e-12
# Correlations that differ by less are the same but for rounding.
_ALIKE = 1e-10


def canonical_bases(
    grams: Grams, regularisation: Sequence[float], n_components: int
) -> tuple[list[Floats], Floats]:
    """Bases of the space that modalities share: ridge canonical correlation analysis.

    Parameters
    ----------
    grams : dict
        ``(l, m)``: Gram matrix of the centred features of modalities l and m divided by the number
        of rows, of shape (q_l, q_m), for ``l <= m``; see `centred_grams`.
    regularisation : sequence of float
        Ridge of every modality, >= 0, as a multiple of the mean eigenvalue of its Gram matrix.
    n_components : int
        Components wanted.

    Returns
    -------
    bases : list of ndarray of shape (q_m, c), float64
        ``W_m``: the columns of ``F_m W_m`` are the components. c is `n_components`, or fewer
        where the modalities have no more directions than that in common.
    correlations : ndarray of shape (c,), float64
        Correlation of every component between the modalities, descending, in [0, 1]: the singular
        value for two modalities; for M of them, the eigenvalue divided by M - 1. It is that of
        the rows at hand; on new rows it is lower.

    Notes
    -----
    Directions without variance get no weight, so that constant and collinear features do no harm
    even without a ridge. The sign of a component is that which makes the largest weight of the
    first modality that has a part in it positive. Where several correlate alike, as all do between
    equal modalities without a ridge, any basis of their space would do, and rounding would choose:
    theirs is that nearest to numbers drawn once and for all. Time is cubic in the number of
    features, and does not depend on the number of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.solvers import canonical_bases, centred_grams
    >>> rng = np.random.RandomState(0)
    >>> shared = rng.randn(500, 1)
    >>> image = np.hstack([shared + 0.1 * rng.randn(500, 1), rng.randn(500, 2)])
    >>> text = np.hstack([rng.randn(500, 1), shared + 0.1 * rng.randn(500, 1)])
    >>> bases, correlations = canonical_bases(centred_grams([image, text]), [1e-3, 1e-3], 1)
    >>> correlations.round(2)
    array([0.99])
    >>> [W.shape for W in bases]
    [(3, 1), (2, 1)]
    """
    whiteners = [whitener(grams[m, m], r) for m, r in enumerate(regularisation)]
    n_modalities = len(whiteners)
    crossed = {
        (i, j): whiteners[i].T @ grams[i, j] @ whiteners[j]
        for i in range(n_modalities)
        for j in range(i + 1, n_modalities)
    }
    if n_modalities == 2:
        directions, correlations = _shared_by_two(crossed[0, 1], n_components)
    else:
        ranks = [D.shape[1] for D in whiteners]
        directions, correlations = _shared_by_many(crossed, ranks, n_components)
    bases = [D @ U for D, U in zip(whiteners, directions, strict=True)]
    _settle(bases, directions, correlations)
    bases, directions = ([A[:, :n_components] for A in both] for both in (bases, directions))
    correlations = correlations[:n_components]
    # Of many modalities, the first may have next to nothing of a component.
    there = np.array([np.linalg.norm(U, axis=0) > 1e-6 for U in directions])
    signs_by_modality = np.array([component_signs(W) for W in bases])
    signs = np.take_along_axis(signs_by_modality, there.argmax(axis=0)[None], axis=0)[0]
    return [W * signs for W in bases], correlations.clip(0, 1)


def whitener(G, ridge):
    """Basis in which features are white: ``D'(G + ridge mean(eigenvalues) I) D = I``.

    Parameters
    ----------
    G : ndarray of shape (q, q)
        Gram matrix of centred features.
    ridge : float
        Ridge, as a multiple of the mean eigenvalue.

    Returns
    -------
    D : ndarray of shape (q, rank)
        On the range of G: directions without variance are left out.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.solvers import whitener
    >>> np.abs(whitener(np.diag([4.0, 0.0]), 0.0))
    array([[0.5],
           [0. ]])
    """
    eigenvalues, vectors = linalg.eigh(G)
    kept = eigenvalues > _RANK_TOLERANCE * len(G) * max(eigenvalues[-1], 0)
    scale = eigenvalues[kept] + ridge * max(eigenvalues.mean(), 0)
    return vectors[:, kept] / np.sqrt(scale)


def _settle(bases, directions, correlations):
    """Turn components that correlate alike, in place, to be nearest to numbers that are fixed."""
    apart = np.flatnonzero(-np.diff(correlations) > _ALIKE) + 1
    for alike in np.split(np.arange(len(correlations)), apart):
        if len(alike) > 1 and correlations[alike[-1]] > _ALIKE:
            Q = settling_turn(np.vstack([base[:, alike] for base in bases]))
            for A in [*bases, *directions]:
                A[:, alike] = A[:, alike] @ Q


def _n_settled(values, n):
    """How many of the descending values are as large as the first n, or alike the last of them."""
    return int(np.count_nonzero(values > values[min(n, len(values)) - 1] - _ALIKE))


def _shared_by_two(C, n_components):
    """Leading singular vectors of the whitened cross-product, and their singular values.

    More than wanted where others are as large as the last.
    """
    if 0 in C.shape:
        return [np.empty((width, 0)) for width in C.shape], np.empty(0)
    U, rho, Vt = linalg.svd(C, full_matrices=False)
    n = _n_settled(rho, n_components)
    return [U[:, :n], Vt[:n].T], rho[:n]


def _shared_by_many(crossed, ranks, n_components):
    """Leading eigenvectors of the stacked cross-products, and eigenvalues / (M - 1).

    More than wanted where others are as large as the last.
    """
    ends = np.cumsum(ranks)
    parts = [slice(end - rank, end) for rank, end in zip(ranks, ends, strict=True)]
    # More eigenvalues than that are never positive: the block of the widest modality is zero.
    most = int(ends[-1]) - max(ranks)
    if most == 0:
        return [np.empty((rank, 0)) for rank in ranks], np.empty(0)
    stacked = np.zeros((ends[-1], ends[-1]))
    for (i, j), C in crossed.items():
        stacked[parts[i], parts[j]] = C
        stacked[parts[j], parts[i]] = C.T
    for c in sorted({min(n_components + 1, most), most}):
        values, vectors = linalg.eigh(stacked, subset_by_index=[ends[-1] - c, ends[-1] - 1])
        values = values[::-1] / (len(ranks) - 1)
        n = _n_settled(values, n_components)
        if n < c:
            break
    # Of norm one per modality, on average, as singular vectors are.
    vectors = np.sqrt(len(ranks)) * vectors[:, ::-1]
    return [vectors[part, :n] for part in parts], values[:n]


def component_signs(W):
    """Signs (c,) that make the largest entry of every column of W (q, c) positive.

    Eigenvectors and singular vectors have either sign, as the processor's kernels have it.
    """
    if 0 in W.shape:
        return np.ones(W.shape[1])
    largest = np.abs(W).argmax(axis=0)
    return np.where(W[largest, np.arange(W.shape[1])] < 0, -1.0, 1.0)


@dataclass(frozen=True)
class SharedBases:
    """A shared space of modalities, and how much of it holds for rows that it was not learned from.

    Parameters
    ----------
    means : list of ndarray of shape (q_m,)
        Means of the features.
    bases : list of ndarray of shape (q_m, c)
        Bases: the columns of ``(F_m - mean_m) W_m`` are the components.
    correlations : ndarray of shape (c,)
        Out-of-fold correlation of every component, the mean over pairs of modalities.
    folds : list of (list of ndarray, list of ndarray)
        Means and bases of the rows outside every fold, turned onto the bases of all rows.
    """

    means: list[Floats]
    bases: list[Floats]
    correlations: Floats
    folds: list[tuple[list[Floats], list[Floats]]]


def shared_bases(
    features: Sequence[Features],
    regularisation: Sequence[float],
    n_components: int,
    folds: NDArray,
) -> SharedBases:
    """Canonical bases, and the correlations of their components in rows left out.

    In-sample correlations of thousands of features are close to one whatever the features.
    Those that count are measured fold by fold, with bases of the other rows, turned onto the
    bases of all rows by the orthogonal matrix that fits best. All of that follows from
    the moments of the folds, which one pass over the rows gives.

    Parameters
    ----------
    features : sequence of {ndarray, sparse, LazyRows} of shape (n, q_m)
        Features of the modalities.
    regularisation : sequence of float
        Ridge of every modality; see `canonical_bases`.
    n_components : int
        Components wanted.
    folds : ndarray of shape (n,), int
        Fold of every row, from 0; at least two.

    Returns
    -------
    shared : SharedBases
        The bases, of `n_components` or fewer components.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.solvers import shared_bases
    >>> rng = np.random.RandomState(0)
    >>> signal = rng.randn(300, 1)
    >>> image = np.hstack([signal, rng.randn(300, 1)])
    >>> text = np.hstack([signal + 0.1 * rng.randn(300, 1), rng.randn(300, 1)])
    >>> shared = shared_bases([image, text], [0.1, 0.1], 2, np.arange(300) % 3)
    >>> shared.correlations.shape, shared.correlations[0].round(2), shared.correlations[1] < 0.1
    ((2,), np.float64(1.0), np.True_)
    """
    means = [column_means(F) for F in features]
    parts = fold_moments(features, means, folds)
    whole = reduce(add, parts)
    grams = whole.centred_grams()
    bases, _ = canonical_bases(grams, regularisation, n_components)
    held_out = []
    fold_spaces: list[tuple[list[Floats], list[Floats]]] = []
    for part in parts:
        rest = whole - part
        rest_grams = rest.centred_grams()
        rest_bases, _ = canonical_bases(rest_grams, regularisation, n_components)
        turned = _turned(rest_bases, bases, rest_grams)
        held_out.append((part, rest.means, turned))
        fold_means: list[Floats] = [
            mean + shift for mean, shift in zip(means, rest.means, strict=True)
        ]
        fold_spaces.append((fold_means, turned))
    return SharedBases(means, bases, _held_out_correlations(held_out), fold_spaces)


def _turned(bases: list[Floats], onto: list[Floats], grams: Grams) -> list[Floats]:
    """Bases times the orthogonal matrix that brings their components closest to others'."""
    Q = polar_factor(
        sum(W.T @ grams[m, m] @ V for m, (W, V) in enumerate(zip(bases, onto, strict=True)))
    )
    return [W @ Q for W in bases]


def _held_out_correlations(held_out):
    """Correlations of components from (moments, means, bases) of every fold, mean over pairs."""
    n = sum(part.n for part, _, _ in held_out)
    n_modalities = len(held_out[0][1])
    sums = [
        sum((part.sums[m] - part.n * means[m]) @ W[m] for part, means, W in held_out)
        for m in range(n_modalities)
    ]
    products: dict[tuple[int, int], Any] = {}
    for part, means, W in held_out:
        for (i, j), P in part.about(means).items():
            products[i, j] = products.get((i, j), 0.0) + np.einsum("qc,qc->c", W[i], P @ W[j])
    covariances = {(i, j): P / n - sums[i] * sums[j] / n**2 for (i, j), P in products.items()}
    values = []
    for i, j in combinations(range(n_modalities), 2):
        scale = np.sqrt(covariances[i, i].clip(0) * covariances[j, j].clip(0))
        zero = np.zeros_like(scale)
        values.append(np.divide(covariances[i, j], scale, out=zero, where=scale > 0))
    return np.mean(values, axis=0)


def out_of_fold_components(
    features: Sequence[Features], shared: SharedBases, folds: NDArray
) -> list[Floats]:
    """Components of every row by the bases of the rows outside its fold.

    Parameters
    ----------
    features : sequence of {ndarray, sparse} of shape (n, q_m)
        Features of the modalities, those of `shared_bases`.
    shared : SharedBases
        Their shared space.
    folds : ndarray of shape (n,), int
        Its folds.

    Returns
    -------
    components : list of ndarray of shape (n, c)
        Of the modalities, in the dtype of their features.
    """
    components = []
    for m, F in enumerate(features):
        E = np.empty((F.shape[0], len(shared.correlations)), dtype=F.dtype)
        for fold, (means, bases) in enumerate(shared.folds):
            rows = np.flatnonzero(folds == fold)
            E[rows] = F[rows] @ bases[m].astype(F.dtype) - (means[m] @ bases[m]).astype(F.dtype)
        components.append(E)
    return components
