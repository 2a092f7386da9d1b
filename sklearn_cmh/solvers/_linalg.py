"""Linear algebra that several solvers share, for features of many rows, dense or sparse."""

from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve
from sklearn.utils import gen_batches

from ..utils._typing import NDArray

__all__ = [
    "RidgeRegression",
    "cross",
    "dense",
    "gram",
    "inner",
    "orthonormal_basis",
    "polar_factor",
    "ridge_factor",
    "ridge_projection",
    "ridge_solve",
    "squared_norm",
]

_BLOCK_ENTRIES = 2**22
_TINY = 1e-12


def dense(A: Any) -> NDArray:
    """`A` as an ndarray, if it is not one."""
    return A.toarray() if sparse.issparse(A) else A


def gram(X):
    """``X'X`` in float64, whatever the dtype of `X`; a dense `X` is never copied whole.

    Parameters
    ----------
    X : {ndarray, sparse} of shape (n, d)
        Features.

    Returns
    -------
    G : ndarray of shape (d, d), float64
        Symmetric.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.solvers import gram
    >>> gram(np.array([[3, 0], [4, 1]], dtype=np.float32))
    array([[25.,  4.],
           [ 4.,  1.]])
    """
    if sparse.issparse(X):
        X = X.astype(np.float64)
        return (X.T @ X).toarray()
    d = X.shape[1]
    G = np.zeros((d, d))
    for rows in gen_batches(len(X), max(d, _BLOCK_ENTRIES // d)):
        block = X[rows].astype(np.float64, copy=False)
        G += block.T @ block
    return G


def cross(F, A):
    """``F'A`` in float64, whatever the dtypes; a dense `F` is never copied whole.

    Parameters
    ----------
    F : {ndarray, sparse} of shape (n, d)
        Features.
    A : ndarray of shape (n, k)
        Codes, or any array.

    Returns
    -------
    FA : ndarray of shape (d, k), float64
        The products.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.solvers import cross
    >>> cross(np.array([[3, 0], [4, 1]], dtype=np.float32), np.array([[1], [-1]]))
    array([[-1.],
           [-1.]])
    """
    if sparse.issparse(F):
        return F.T.astype(np.float64) @ A
    d = F.shape[1]
    total = np.zeros((d, A.shape[1]))
    for rows in gen_batches(len(F), max(d, _BLOCK_ENTRIES // d)):
        total += F[rows].T.astype(np.float64, copy=False) @ A[rows]
    return total


def ridge_factor(G, ridge):
    """Cholesky factor of ``G + ridge I``, as `scipy.linalg.cho_solve` takes it.

    A last trace of ridge, 1e-12 of the trace of `G`, stays even at ``ridge=0``: columns
    may be constant or collinear.
    """
    G = G.copy()
    G[np.diag_indices_from(G)] += ridge + _TINY * (np.trace(G) or 1.0)
    return cho_factor(G, overwrite_a=True)


def ridge_projection(F, B, ridge):
    """Ridge regression of the codes B (n, k) on the features F (n, q), no intercept: (q, k)."""
    return RidgeRegression(F, ridge).projection(B)


class RidgeRegression:
    """Ridge regressions on the same features, whose Gram matrix is factorised once.

    Parameters
    ----------
    F : {ndarray, sparse} of shape (n, q)
        Features.
    ridge : float
        Penalty of the squared coefficients.

    Attributes
    ----------
    gram : ndarray of shape (q, q), float64
        ``F'F``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.solvers import RidgeRegression
    >>> regression = RidgeRegression(np.array([[1.0], [2.0]]), ridge=5.0)
    >>> regression.projection(np.array([[4.0], [3.0]])).round(6)
    array([[1.]])
    """

    def __init__(self, F, ridge):
        self.F, self.gram = F, gram(F)
        self._factor = ridge_factor(self.gram, ridge)

    def solve(self, FA):
        """``(F'F + ridge I)^-1 FA`` for products (q, k) by `cross`, in float64."""
        return cho_solve(self._factor, FA)

    def projection(self, B):
        """``(F'F + ridge I)^-1 F'B``, of shape (q, k), in the dtype of the features."""
        return self.solve(cross(self.F, B)).astype(self.F.dtype, copy=False)


def ridge_solve(G, ridge, A):
    """``(G + ridge I)^-1 A`` for a symmetric G that is not negative; see `ridge_factor`."""
    return cho_solve(ridge_factor(G, ridge), A)


def inner(A, B):
    """``tr(A'B)``, accumulated in float64."""
    return np.einsum("ij,ij->", A, B, dtype=np.float64)


def orthonormal_basis(Z, rng):
    """Return the maximiser V of ``tr(V'Z)`` subject to ``V'V = n I`` and ``1'V = 0``.

    Centre Z, take its singular vectors, and complete those of singular value zero at random:
    so the papers have it. The same from one QR decomposition: with a leading column of ones,
    all others come out orthogonal to it, those in null directions included.

    Parameters
    ----------
    Z : ndarray of shape (n, k)
        Any matrix.
    rng : RandomState
        Of the completion.

    Returns
    -------
    V : ndarray of shape (n, k), float64
        Centred columns, orthogonal where k < n.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.solvers import orthonormal_basis
    >>> V = orthonormal_basis(np.array([[5.0], [1.0], [1.0], [5.0]]), np.random.RandomState(0))
    >>> V.ravel().round(6)
    array([ 1., -1., -1.,  1.])
    """
    n, k = Z.shape
    fill = rng.standard_normal((n, k)) * (1e-13 * np.linalg.norm(Z) / np.sqrt(n))
    Q, T = np.linalg.qr(np.column_stack([np.ones(n), Z + fill]))
    return np.sqrt(n) * Q[:, 1:] @ polar_factor(T[1:, 1:])


def polar_factor(A):
    """Return the orthogonal polar factor of `A`: the maximiser of ``tr(Q'A)``.

    Parameters
    ----------
    A : ndarray of shape (d, k)
        Any matrix.

    Returns
    -------
    Q : ndarray of shape (d, k), float64
        ``U V'`` of the thin singular value decomposition ``A = U S V'``: orthonormal
        columns where d >= k, else orthonormal rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.solvers import polar_factor
    >>> polar_factor(np.diag([3.0, -2.0]))
    array([[ 1.,  0.],
           [ 0., -1.]])
    """
    U, _, Vt = np.linalg.svd(A.astype(np.float64, copy=False), full_matrices=False)
    return U @ Vt


def squared_norm(X):
    """Squared Frobenius norm of `X`, dense or sparse, accumulated in float64."""
    data = X.data if sparse.issparse(X) else X.ravel()
    return float(np.einsum("i,i->", data, data, dtype=np.float64))
