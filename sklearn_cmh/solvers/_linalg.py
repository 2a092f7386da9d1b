"""Linear algebra that several solvers share, for features of many rows, dense or sparse."""

import numpy as np
from scipy import sparse
from scipy.linalg import cho_factor
from sklearn.utils import gen_batches

__all__ = ["gram", "inner", "polar_factor", "ridge_factor", "squared_norm"]

_BLOCK_ENTRIES = 2**22
_TINY = 1e-12


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


def ridge_factor(G, ridge):
    """Cholesky factor of ``G + ridge I``, as `scipy.linalg.cho_solve` takes it.

    A last trace of ridge, 1e-12 of the trace of `G`, stays even at ``ridge=0``: columns
    may be constant or collinear.
    """
    G = G.copy()
    G[np.diag_indices_from(G)] += ridge + _TINY * (np.trace(G) or 1.0)
    return cho_factor(G, overwrite_a=True)


def inner(A, B):
    """``tr(A'B)``, accumulated in float64."""
    return np.einsum("ij,ij->", A, B, dtype=np.float64)


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
