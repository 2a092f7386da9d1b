"""Ridge canonical correlation of two or more modalities, from Gram matrices alone.

With centred features ``F_m`` of n rows and ``G_lm = F_l'F_m / n``, every modality is whitened,
``D_m = (G_mm + r_m mean(eigenvalues of G_mm) I)^(-1/2)``, and the singular vectors of
``D_1 G_12 D_2 = U diag(rho) V'`` give the bases ``D_1 U`` and ``D_2 V``: the columns of
``F_1 D_1 U`` and ``F_2 D_2 V`` are the directions that the modalities share. With more
modalities, they are the leading eigenvectors of the matrix of all whitened cross-products,
with zeros in place of each modality's product with itself: for two, exactly the singular vectors.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import linalg, sparse
from sklearn.utils import gen_batches

from ..utils._typing import Features, Floats

__all__ = ["canonical_bases", "centred_grams", "column_means"]

_BLOCK_ENTRIES = 2**22
# Eigenvalues below this, relative to the largest and to their number, are rounding.
_RANK_TOLERANCE = 1e-12

Grams = Mapping[tuple[int, int], Floats]


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
    return np.asarray(F.sum(axis=0, dtype=np.float64)).ravel() / F.shape[0]


def centred_grams(
    features: Sequence[Features], means: Sequence[Floats] | None = None
) -> dict[tuple[int, int], Floats]:
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
    if means is None:
        means = [column_means(F) for F in features]
    n_modalities, n = len(features), features[0].shape[0]
    grams = {
        (i, j): _centred_product(features[i], features[j], means[i], means[j]) / n
        for i in range(n_modalities)
        for j in range(i, n_modalities)
    }
    for m, F in enumerate(features):
        _clear_constant(grams, m, _rounding_variance(F, means[m]))
    return grams


def _rounding_variance(F, mean):
    """Variance that a constant column may seem to have, for every column."""
    eps = 10 * np.finfo(F.dtype).eps
    # The mean of a sparse column is subtracted from its second moment, not from its entries.
    return eps * mean**2 if sparse.issparse(F) else (eps * mean) ** 2


def _clear_constant(grams, m, rounding):
    """Set the rows and columns of constant features of modality m to zero, exactly."""
    constant = grams[m, m].diagonal() <= rounding
    for (i, j), G in grams.items():
        if i == m:
            G[constant] = 0
        if j == m:
            G[:, constant] = 0


def _centred_product(A, B, mean_a, mean_b):
    """``(A - mean_a)'(B - mean_b)``: it is enough that one of the factors is centred."""
    if sparse.issparse(B):
        if not sparse.issparse(A):
            return _centred_product(B, A, mean_b, mean_a).T
        product = (A.T.astype(np.float64) @ B.astype(np.float64)).toarray()
        return product - A.shape[0] * np.outer(mean_a, mean_b)
    product = np.zeros((A.shape[1], B.shape[1]))
    width = A.shape[1] + B.shape[1]
    for rows in gen_batches(B.shape[0], max(width, _BLOCK_ENTRIES // width)):
        right = B[rows] - mean_b
        if A is B:
            product += right.T @ right
        elif sparse.issparse(A):
            product += A[rows].T @ right
        else:
            product += (A[rows] - mean_a).T @ right
    return product


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
    first modality positive. Time is cubic in the number of features, and does not depend on the
    number of rows.

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
    whiteners = [_whitener(grams[m, m], r) for m, r in enumerate(regularisation)]
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
    signs = _component_signs(bases[0])
    return [W * signs for W in bases], correlations.clip(0, 1)


def _whitener(G, ridge):
    """D (q, rank) with ``D'(G + ridge mean(eigenvalues) I) D = I`` on the range of G."""
    eigenvalues, vectors = linalg.eigh(G)
    kept = eigenvalues > _RANK_TOLERANCE * len(G) * max(eigenvalues[-1], 0)
    scale = eigenvalues[kept] + ridge * max(eigenvalues.mean(), 0)
    return vectors[:, kept] / np.sqrt(scale)


def _shared_by_two(C, n_components):
    """Leading singular vectors of the whitened cross-product, and their singular values."""
    if 0 in C.shape:
        return [np.empty((width, 0)) for width in C.shape], np.empty(0)
    U, rho, Vt = linalg.svd(C, full_matrices=False)
    return [U[:, :n_components], Vt[:n_components].T], rho[:n_components]


def _shared_by_many(crossed, ranks, n_components):
    """Leading eigenvectors of the stacked cross-products, and eigenvalues / (M - 1)."""
    ends = np.cumsum(ranks)
    parts = [slice(end - rank, end) for rank, end in zip(ranks, ends, strict=True)]
    # More eigenvalues than that are never positive: the block of the widest modality is zero.
    c = min(n_components, int(ends[-1]) - max(ranks))
    if c == 0:
        return [np.empty((rank, 0)) for rank in ranks], np.empty(0)
    stacked = np.zeros((ends[-1], ends[-1]))
    for (i, j), C in crossed.items():
        stacked[parts[i], parts[j]] = C
        stacked[parts[j], parts[i]] = C.T
    values, vectors = linalg.eigh(stacked, subset_by_index=[ends[-1] - c, ends[-1] - 1])
    # Of norm one per modality, on average, as singular vectors are.
    vectors = np.sqrt(len(ranks)) * vectors[:, ::-1]
    return [vectors[part] for part in parts], values[::-1] / (len(ranks) - 1)


def _component_signs(W):
    if 0 in W.shape:
        return np.ones(W.shape[1])
    largest = np.abs(W).argmax(axis=0)
    return np.where(W[largest, np.arange(W.shape[1])] < 0, -1.0, 1.0)
