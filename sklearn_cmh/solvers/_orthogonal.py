"""Nearest matrices with orthonormal columns, of few rows or of many."""

import numpy as np

from ..data import ChunkedRows, beside, over_rows
from ..utils._threads import add_blocks, row_slices

__all__ = ["orthonormal_basis", "polar_factor", "settling_turn", "standard_normal"]

_BLOCK_ROWS = 1024
_MANY_ROWS = 4096
# What is zero but for rounding, relative to the norm, and completed at random; and the smallest
# singular value that a Gram matrix tells, relative to the largest.
_NOISE = 1e-13
_DISTINCT = 1e-4
# The least part of a Gram matrix that tells what is left, once that of other columns is subtracted.
_CLEAR = 0.1
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
    return beside(Z, V)


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
    goes on. Z is overwritten, in passes each of which leaves the Gram matrix H of ``[1 Z]``: it
    says what the next one does. The columns before `start` are orthogonal but for rounding.
    """
    n, k = Z.shape
    start, turn = 1, np.eye(k)
    Z, H = _pass(Z)
    if not np.isfinite(H).all():
        raise ValueError("The matrix holds NaN or infinity, or its squares overflow.")
    noise = _NOISE * np.sqrt(np.trace(H[1:, 1:]))
    while start <= k:
        apart, G = _remainder(H, start)
        if np.trace(G) < _CLEAR * np.trace(H[start:, start:]):
            # A large mean, for one, hides what is left.
            Z, H = _pass(Z, apart)
            apart, G = _remainder(H, start)
        w, W = (A[..., ::-1] for A in np.linalg.eigh(G))
        left = turn[:, start - 1 :]
        if w[0] <= noise**2:
            # Rounding has chosen the directions that are zero.
            left[:] = left @ settling_turn(left)
            Z, H = _pass(Z, drawn=standard_normal(rng, Z, len(w)))
            noise = 0.0
            continue
        left[:] = left @ W
        large = w > _DISTINCT**2 * w[0]
        Z, H = _pass(Z, apart @ (W / np.sqrt(np.where(large, w, 1.0))))
        start += int(np.count_nonzero(large))
    apart, G = _remainder(H, 1)
    w, W = np.linalg.eigh(G)
    nearest = (W / np.sqrt(w)) @ W.T
    return _pass(Z, apart @ nearest @ (np.sqrt(n) * turn.T), last=True)[0]


def _remainder(H, start):
    """What makes columns from `start` on orthogonal to those before, and their Gram matrix then."""
    shares = np.linalg.solve(H[:start, :start], H[:start, start:])
    factor = np.vstack([-shares, np.eye(len(H) - start)])
    return factor, H[start:, start:] - H[start:, :start] @ shares


def _pass(Z, factor=None, drawn=None, last=False):
    """Make the last columns of Z, in place, ``[1 Z] factor`` or what is drawn.

    Returns Z and, but for the last pass, the Gram matrix of ``[1 Z]``.
    """
    (Z,), H = over_rows(_changed, [Z], [] if drawn is None else [drawn], factor=factor, last=last)
    return Z, H


def _changed(Z, *drawn, factor, last):
    n, k = Z.shape

    def change(rows):
        beside = np.ones((len(Z[rows]), k + 1))
        beside[:, 1:] = Z[rows]
        for new in drawn:
            Z[rows, -new.shape[1] :] = beside[:, -new.shape[1] :] = new[rows]
        if factor is not None:
            new = np.matmul(beside, factor, out=Z[rows, -factor.shape[1] :])
            beside[:, -factor.shape[1] :] = new
        return 0.0 if last else beside.T @ beside

    return add_blocks(0.0, change, row_slices(n, _BLOCK_ROWS), small=True)


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
