"""Codes under a quadratic that couples the bits of a row: one bit after another."""

import numpy as np
from sklearn.utils import gen_batches

from ._codes import sign

__all__ = ["cyclic_bits"]

_BLOCK_ROWS = 1024


def cyclic_bits(B, Q, N, n_passes=3):
    """Lower ``tr(B Q B') - 2 tr(B'N)`` over codes B, bit by bit: each the best given the others.

    The diagonal of Q is constant over codes, so that the best bit j of all rows is
    ``b_j = sgn(n_j - B q_j + q_jj b_j)``. Given Q and N rows do not depend on each other: a
    block of them stays in the cache for all bits and passes.

    Parameters
    ----------
    B : ndarray of shape (n, k)
        Codes to start from, of any dtype.
    Q : ndarray of shape (k, k)
        Symmetric.
    N : ndarray of shape (n, k)
        What draws the codes, floating: products are in its dtype.
    n_passes : int, default=3
        Passes over the bits; fewer where no bit of a block changes any more.

    Returns
    -------
    B : ndarray of shape (n, k)
        Codes in the dtype of those given, whose value is no larger.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.solvers import cyclic_bits
    >>> Q, N = np.array([[1.0, 3.0], [3.0, 1.0]]), np.array([[2.0, 1.0]])
    >>> cyclic_bits(np.array([[1.0, 1.0]]), Q, N)
    array([[-1.,  1.]])
    """
    B = B.copy()
    others = Q.astype(N.dtype)
    np.fill_diagonal(others, 0)
    for rows in gen_batches(len(B), _BLOCK_ROWS):
        bits, target = B[rows].T.astype(N.dtype), N[rows].T
        for _ in range(n_passes):
            before = bits.copy()
            for j in range(len(bits)):
                bits[j] = sign(target[j] - others[j] @ bits)
            if np.array_equal(bits, before):
                break
        B[rows] = bits.T
    return B
