"""Linear algebra that several solvers share, for features of many rows, dense or sparse."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.blas import dsyrk
from sklearn.utils import gen_batches

from ..data import ChunkedRows
from ..utils._products import strips
from ..utils._typing import NDArray

__all__ = [
    "GramSum",
    "RidgeRegression",
    "add_dot",
    "cross",
    "dense",
    "dot",
    "gram",
    "inner",
    "orthonormal_basis",
    "polar_factor",
    "ridge_factor",
    "ridge_projection",
    "ridge_solve",
    "squared_norm",
    "standard_normal",
    "weighted_sum",
]

_BLOCK_ROWS = 1024
_MANY_ROWS = 4096
_TINY = 1e-12
# Relative to the largest singular value: what is zero but for rounding, and completed at random,
# and the smallest that a Gram matrix tells.
_NOISE = 1e-13
_DISTINCT = 1e-4
# What two processors do not agree on, as they round rows differently.
_OPEN = 1e-8


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
    # Of wide products, blocks are so high that adding them up takes less time than they do.
    for rows in gen_batches(A.shape[0], max(_BLOCK_ROWS, 2 * min(total.shape))):
        total += dense(A[rows].T.astype(dtype, copy=False) @ B[rows].astype(dtype, copy=False))
    return total


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
    for rows in gen_batches(F.shape[0], _BLOCK_ROWS):
        product[rows] = F[rows] @ P
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
    for rows in gen_batches(F.shape[0], _BLOCK_ROWS):
        Z[rows] += weight * (F[rows] @ P)
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
    G = GramSum(X.shape[1])
    for rows in gen_batches(len(X), _BLOCK_ROWS):
        G.add(np.ascontiguousarray(X[rows], dtype=np.float64))
    return G.total()


_gram = gram


class GramSum:
    """``X'X``, added up over blocks of d columns.

    Parameters
    ----------
    d : int
        Columns.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.solvers import GramSum
    >>> G = GramSum(2)
    >>> G.add(np.array([[3.0, 0.0]]))
    >>> G.add(np.array([[4.0, 1.0]]))
    >>> G.total()
    array([[25.,  4.],
           [ 4.,  1.]])
    """

    def __init__(self, d):
        self._upper = np.zeros((d, d), order="F")

    def add(self, block):
        """Add the product of a block, C-contiguous, float64."""
        self._upper = dsyrk(1, block.T, beta=1, c=self._upper, overwrite_c=True)

    def total(self):
        """The sum, symmetric."""
        return self._upper + np.triu(self._upper, 1).T


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
    for few in strips(*first.shape):
        np.multiply(first[few], weight, out=total[few])
        for w, A in zip(weights, others, strict=True):
            total[few] += w * A[few]
    return total


def orthonormal_basis(Z, rng, overwrite=False):
    """Return the maximiser V of ``tr(V'Z)`` subject to ``V'V = n I`` and ``1'V = 0``.

    Centre Z, take its singular vectors, and complete those of singular value zero at random:
    so the papers have it. Of few rows, the same from one QR decomposition: with a leading column
    of ones, all others come out orthogonal to it, those in null directions included. Of many,
    from k x k Gram matrices, which are sums over rows.

    Parameters
    ----------
    Z : {ndarray, ChunkedRows} of shape (n, k)
        Any matrix.
    rng : RandomState
        Of the completion.
    overwrite : bool, default=False
        Whether Z, of float64, is no longer needed: of many rows, its memory is used.

    Returns
    -------
    V : {ndarray, ChunkedRows} of shape (n, k), float64
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
    if n > max(_MANY_ROWS, 8 * k):
        return _polar_from_grams(Z if overwrite else Z.astype(np.float64), rng)
    filled = rng.standard_normal((n, k))
    if isinstance(Z, ChunkedRows):
        return _polar_from_grams(Z, rng)
    filled *= _NOISE * np.linalg.norm(Z) / np.sqrt(n)
    filled += Z
    Q, T = np.linalg.qr(np.column_stack([np.ones(n), filled]))
    return np.sqrt(n) * Q[:, 1:] @ polar_factor(T[1:, 1:])


def standard_normal(rng, rows, k):
    """Draw ``rng.standard_normal((n, k))``, to be computed with beside n rows; with them, if far.

    Parameters
    ----------
    rng : RandomState
        Draws them.
    rows : {ndarray, ChunkedRows} of shape (n, d)
        Rows.
    k : int
        Columns.

    Returns
    -------
    random : {ndarray, ChunkedRows} of shape (n, k), float64
        Random numbers.
    """
    if isinstance(rows, ChunkedRows):
        return rows.standard_normal(rng, k)
    return rng.standard_normal((rows.shape[0], k))


def _polar_from_grams(Z, rng):
    """Polar factor of the centred Z (n, k) times sqrt(n), completed at random where it is zero.

    A Gram matrix knows singular values down to 1e-8 of the largest alone. So directions are
    taken by their size, those of the largest first; what is left is made orthogonal to them, and
    goes on. Z is overwritten.
    """
    n, k = Z.shape
    bases: list[Any] = []
    turns, turn, noise = [], np.eye(k), None
    memory = Z = _apart(Z, bases)
    while turn.shape[1]:
        G = Z.T @ Z
        noise = float(_NOISE * np.sqrt(np.trace(G))) if noise is None else noise
        w, W = np.linalg.eigh(G)
        if w[-1] <= noise**2:
            Z, noise = _apart(standard_normal(rng, Z, Z.shape[1]), bases), 0.0
            continue
        large = w > _DISTINCT**2 * w[-1]
        rest = None if large.all() else _turned(Z, W[:, ~large])
        bases.append(_orthonormal(_turned(Z, W[:, large] / np.sqrt(w[large])), bases))
        turns.append(turn @ W[:, large])
        if rest is not None:
            Z = _apart(rest, bases)
        turn = turn @ W[:, ~large]
    return _joined(bases, [np.sqrt(n) * turn.T for turn in turns], memory)


def _apart(A, bases):
    """Centre A in place, and make it orthogonal to the orthonormal columns of the bases."""
    A -= A.mean(axis=0)
    for U in bases:
        A = add_dot(A, -1, U, U.T @ A)
    return A


def _orthonormal(A, bases):
    """Orthonormal columns nearest to A, close to such, apart from the bases: ``A (A'A)^(-1/2)``."""
    A = _apart(A, bases)
    w, W = np.linalg.eigh(A.T @ A)
    return _turned(A, (W / np.sqrt(w)) @ W.T)


def _turned(A, M):
    """``A M``, in place of A where that is here and M is square."""
    if isinstance(A, ChunkedRows) or M.shape[0] != M.shape[1]:
        return A @ M
    for rows in gen_batches(len(A), _BLOCK_ROWS):
        A[rows] = A[rows] @ M
    return A


def _joined(bases, turns, memory):
    """Sum of ``U T``, in an array of its shape where rows are here."""
    if isinstance(memory, ChunkedRows):
        return sum(U @ T for U, T in zip(bases, turns, strict=True))
    for rows in gen_batches(len(memory), _BLOCK_ROWS):
        memory[rows] = sum(U[rows] @ T for U, T in zip(bases, turns, strict=True))
    return memory


def polar_factor(A, last=None):
    """Return the orthogonal polar factor of `A`: the maximiser of ``tr(Q'A)``.

    Parameters
    ----------
    A : ndarray of shape (d, k)
        Any matrix.
    last : ndarray of shape (d, k), default=None
        Another such factor. Where A has not full rank it leaves part of Q open, as bits that repeat
        each other do, and rounding would decide: of all maximisers, Q is the nearest to this one.

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
    >>> polar_factor(np.diag([3.0, 0.0]), last=np.diag([-1.0, -1.0]))
    array([[ 1.,  0.],
           [ 0., -1.]])
    """
    U, values, Vt = np.linalg.svd(A.astype(np.float64, copy=False), full_matrices=False)
    told = values > _OPEN * values.max(initial=0.0)
    if last is None or told.all():
        return U @ Vt
    # What is told has singular values of one. What `last` says of the open part is apart from it,
    # and so is, by the decomposition, what even `last` leaves open.
    U, Vt = U[:, told], Vt[told]
    rest = last - U @ (U.T @ last)
    rest -= (rest @ Vt.T) @ Vt
    return polar_factor(U @ Vt + rest)


def squared_norm(X):
    """Squared Frobenius norm of `X`, dense or sparse, accumulated in float64."""
    if isinstance(X, ChunkedRows):
        return X.total(squared_norm)
    if sparse.issparse(X):
        return inner(X.data[:, None], X.data[:, None])
    return float(sum(inner(X[rows], X[rows]) for rows in gen_batches(len(X), _BLOCK_ROWS)))
