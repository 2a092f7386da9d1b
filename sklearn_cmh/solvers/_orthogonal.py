"""Nearest matrices with orthonormal columns, of few rows or of many."""

from typing import Any

import numpy as np

from ..data import ChunkedRows
from ..utils._threads import for_blocks, row_slices
from ._linalg import add_dot

__all__ = ["orthonormal_basis", "polar_factor", "settling_turn", "standard_normal"]

_BLOCK_ROWS = 1024
_MANY_ROWS = 4096
# Relative to the largest singular value: what is zero but for rounding, and completed at random,
# and the smallest that a Gram matrix tells.
_NOISE = 1e-13
_DISTINCT = 1e-4
# What two processors do not agree on, as they round rows differently.
_OPEN = 1e-8


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
    few = np.asarray(Z)
    filled *= _NOISE * np.linalg.norm(few) / np.sqrt(n)
    filled += few
    Q, T = np.linalg.qr(np.column_stack([np.ones(n), filled]))
    V = np.sqrt(n) * Q[:, 1:] @ polar_factor(T[1:, 1:])
    return Z.beside(np.arange(n)).take(V) if isinstance(Z, ChunkedRows) else V


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
            # Rounding has chosen the directions that are zero.
            turn = turn @ settling_turn(turn)
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

    def turn(rows):
        A[rows] = A[rows] @ M

    for_blocks(turn, row_slices(len(A), _BLOCK_ROWS))
    return A


def _joined(bases, turns, memory):
    """Sum of ``U T``, in an array of its shape where rows are here."""
    if isinstance(memory, ChunkedRows):
        return sum(U @ T for U, T in zip(bases, turns, strict=True))

    def join(rows):
        memory[rows] = sum(U[rows] @ T for U, T in zip(bases, turns, strict=True))

    for_blocks(join, row_slices(len(memory), _BLOCK_ROWS))
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


def settling_turn(W):
    """Turn Q (r, r) after which ``W Q`` is nearest to numbers that are drawn once and for all.

    Where any basis W (d, r) of a space would do, as of directions of equal eigenvalues, it makes
    all of them one.
    """
    return polar_factor(W.T @ np.random.RandomState(0).standard_normal(W.shape))
