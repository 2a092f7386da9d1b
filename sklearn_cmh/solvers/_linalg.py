"""Linear algebra that several solvers share, for features of many rows, dense or sparse."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve

from ..data import ChunkedRows
from ..utils._products import strips
from ..utils._threads import add_blocks, for_blocks, map_blocks, row_slices
from ..utils._typing import NDArray

__all__ = [
    "RidgeRegression",
    "add_dot",
    "cross",
    "dense",
    "dot",
    "gram",
    "inner",
    "part_sums",
    "ridge_factor",
    "ridge_projection",
    "ridge_solve",
    "ridge_solve_rows",
    "squared_norm",
    "sum_rows",
    "weighted_sum",
]

_BLOCK_ROWS = 1024
_BLOCK_ENTRIES = 2**19
_TINY = 1e-12


def dense(A: Any) -> NDArray:
    """`A` as an ndarray, if it is not one."""
    return A.toarray() if sparse.issparse(A) else A


def cross(A: Any, B: Any, dtype: DTypeLike = np.float64) -> NDArray:
    """``A'B`` (q, k), added up over blocks of rows in float64, whatever the dtypes.

    Parameters
    ----------
    A : {ndarray, sparse, LazyRows} of shape (n, q)
        Features, or codes.
    B : {ndarray, sparse, LazyRows} of shape (n, k)
        The same rows of something else.
    dtype : dtype, default=float64
        Of dense products within a block; float32 takes half the time. Sparse ones, which add up
        one by one, are in float64.

    Returns
    -------
    product : ndarray of shape (q, k), float64
        The sum over rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.solvers import cross
    >>> cross(np.array([[3, 0], [4, 1]], dtype=np.float32), np.array([[1], [-1]]))
    array([[-1.],
           [-1.]])
    """
    if isinstance(A, ChunkedRows):
        return A.total(cross, B, args=(dtype,))
    if sparse.issparse(B) and not sparse.issparse(A):
        return cross(B, A).T
    total = np.zeros((A.shape[1], B.shape[1]))
    dtype = np.float64 if sparse.issparse(A) else dtype

    def product(rows):
        return dense(A[rows].T.astype(dtype, copy=False) @ B[rows].astype(dtype, copy=False))

    # Of wide products, blocks are so high that adding them up takes less time than they do.
    height = max(_BLOCK_ROWS, 2 * min(total.shape))
    return add_blocks(total, product, row_slices(A.shape[0], height))


def dot(F: Any, P: NDArray) -> Any:
    """``F P`` (n, k) in the dtype of `F`, a block of rows at a time.

    Parameters
    ----------
    F : {ndarray, sparse, LazyRows} of shape (n, q)
        Features.
    P : ndarray of shape (q, k)
        Right factor.

    Returns
    -------
    product : {ndarray, ChunkedRows} of shape (n, k)
        Of every row; with the workers of Dask where `F` is with them.
    """
    P = P.astype(F.dtype, copy=False)
    if isinstance(F, ChunkedRows):
        return F.made(P.shape[1], F.dtype, dot, args=(P,))
    product = np.empty((F.shape[0], P.shape[1]), dtype=F.dtype)

    def fill(rows):
        product[rows] = F[rows] @ P

    for_blocks(fill, row_slices(F.shape[0], _BLOCK_ROWS))
    return product


def add_dot(Z, weight, F, P):
    """``Z + weight F P``, in place of Z where that is here, a block of rows at a time.

    Parameters
    ----------
    Z : {ndarray, ChunkedRows} of shape (n, k)
        What is added to.
    weight : float
        Of the product.
    F : {ndarray, sparse, LazyRows} of shape (n, q)
        Features.
    P : ndarray of shape (q, k)
        Right factor.

    Returns
    -------
    total : {ndarray, ChunkedRows} of shape (n, k)
        The sum.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.solvers import add_dot
    >>> Z = np.ones((2, 1))
    >>> add_dot(Z, 0.5, np.eye(2), np.array([[2.0], [4.0]])) is Z
    True
    >>> Z.ravel()
    array([2., 3.])
    """
    if isinstance(F, ChunkedRows):
        return Z + weight * dot(F, P)
    P = P.astype(F.dtype, copy=False)

    def add(rows):
        Z[rows] += weight * (F[rows] @ P)

    for_blocks(add, row_slices(F.shape[0], _BLOCK_ROWS))
    return Z


def gram(X):
    """``X'X`` in float64, whatever the dtype of `X`; a dense `X` is never copied whole.

    Parameters
    ----------
    X : {ndarray, sparse, LazyRows} of shape (n, d)
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
    if isinstance(X, ChunkedRows):
        return X.total(gram)
    if sparse.issparse(X):
        X = X.astype(np.float64)
        return (X.T @ X).toarray()
    d = X.shape[1]

    def product(rows):
        block = np.ascontiguousarray(X[rows], dtype=np.float64)
        return block.T @ block

    # Blocks are so high that adding up takes less time than they do.
    return add_blocks(np.zeros((d, d)), product, row_slices(X.shape[0], max(_BLOCK_ROWS, d)))


_gram = gram


def ridge_factor(G, ridge):
    """Cholesky factor of ``G + ridge I``, as `scipy.linalg.cho_solve` takes it.

    A last trace of ridge, 1e-12 of the trace of `G`, stays even at ``ridge=0``: columns
    may be constant or collinear.
    """
    G = G.copy()
    G[np.diag_indices_from(G)] += ridge + _TINY * (np.trace(G) or 1.0)
    return cho_factor(G, overwrite_a=True)


def ridge_projection(F, B, ridge, G=None):
    """Ridge regression of the codes B (n, k) on the features F (n, q), no intercept: (q, k).

    G is ``F'F``, where it is known.
    """
    return RidgeRegression(F, ridge, G).projection(B)


class RidgeRegression:
    """Ridge regressions on the same features, whose Gram matrix is factorised once.

    Parameters
    ----------
    F : {ndarray, sparse, LazyRows} of shape (n, q)
        Features.
    ridge : float
        Penalty of the squared coefficients.
    gram : ndarray of shape (q, q), default=None
        ``F'F``, where it is known.

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

    def __init__(self, F, ridge, gram=None):
        self.F, self.gram = F, _gram(F) if gram is None else gram
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


def ridge_solve_rows(N, G, ridge):
    """``N (G + ridge I)^-1`` of rows N (n, k); with the workers of Dask where N is with them."""
    if isinstance(N, ChunkedRows):
        return N.made(N.shape[1], N.dtype, ridge_solve_rows, args=(G, ridge))
    return ridge_solve(G, ridge, N.T).T


def inner(A, B):
    """``tr(A'B)``, accumulated in float64."""
    if isinstance(A, ChunkedRows):
        return A.total(inner, B)
    return np.einsum("ij,ij->", A, B, dtype=np.float64)


def weighted_sum(*terms: tuple[float, Any]) -> Any:
    """Sum of weights times arrays of the same rows, few rows at a time, without other copies.

    Parameters
    ----------
    *terms : tuple (weight, {ndarray, ChunkedRows} of shape (n, k))
        What is added up.

    Returns
    -------
    total : {ndarray, ChunkedRows} of shape (n, k)
        In the dtype of the first array.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.solvers import weighted_sum
    >>> weighted_sum((1, np.array([[1.0, 2.0]])), (-0.5, np.array([[4.0, 4.0]])))
    array([[-1.,  0.]])
    """
    weights, (first, *others) = zip(*terms, strict=True)
    if isinstance(first, ChunkedRows):
        return first.made(first.shape[1], first.dtype, _weighted_sum, *others, args=(weights,))
    return _weighted_sum(first, *others, weights)


def _weighted_sum(*arrays_and_weights):
    first, *others, (weight, *weights) = arrays_and_weights
    total = np.empty_like(first)

    def add(rows):
        for few in strips(*first.shape, rows=rows):
            np.multiply(first[few], weight, out=total[few])
            for w, A in zip(weights, others, strict=True):
                total[few] += w * A[few]

    for_blocks(add, row_slices(len(first), _BLOCK_ROWS))
    return total


def sum_rows(E, A):
    """``E'A`` for an (n, g) `E`, dense or sparse, added up in float64 a block of rows at a time."""
    if sparse.issparse(A):
        return E.T @ A
    total = np.zeros((E.shape[1], A.shape[1]))
    blocks = row_slices(len(A), max(_BLOCK_ENTRIES // max(A.shape[1], 1), 2 * _BLOCK_ROWS))
    for columns, sums in map_blocks(lambda rows: part_sums(E[rows], A[rows]), blocks):
        total[columns] += sums
    return total


def part_sums(E, A):
    """``E'A`` of a few rows, in float64, without rows that are zero where E has more columns.

    Returns also which columns of E they belong to: adding up takes no longer than reading A does.
    """
    A = A.astype(np.float64, copy=False)
    if not sparse.issparse(E) or E.shape[1] <= E.shape[0]:
        return slice(None), E.T @ A
    columns, places = np.unique(E.indices, return_inverse=True)
    E = sparse.csr_array((E.data, places, E.indptr), shape=(E.shape[0], len(columns)))
    return columns, E.T @ A


def squared_norm(X):
    """Squared Frobenius norm of `X`, dense or sparse, accumulated in float64."""
    if isinstance(X, ChunkedRows):
        return X.total(squared_norm)
    if sparse.issparse(X):
        return inner(X.data[:, None], X.data[:, None])
    blocks = row_slices(X.shape[0], _BLOCK_ROWS)
    return float(add_blocks(0.0, lambda rows: inner(X[rows], X[rows]), blocks))
