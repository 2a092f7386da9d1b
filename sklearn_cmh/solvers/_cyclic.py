"""Codes under a quadratic that couples the bits of a row: one bit after another."""

import numpy as np
from sklearn.utils import gen_batches

from ..data import ChunkedRows
from ..utils._threads import for_blocks, row_slices

__all__ = ["cyclic_bits"]

_BLOCK_ROWS = 4096
# Bits whose changes are followed one by one.
_BITS = 16


def cyclic_bits(B, Q, N, n_passes=3):
    """Lower ``tr(B Q B') - 2 tr(B'N)`` over codes B, bit by bit: each the best given the others.

    The diagonal of Q is constant over codes, so that the best bit j of all rows is
    ``b_j = sgn(n_j - B q_j + q_jj b_j)``. Given Q and N rows do not depend on each other: a
    block of them is taken through all passes at once.

    Parameters
    ----------
    B : {ndarray, ChunkedRows} of shape (n, k)
        Codes to start from, of any dtype.
    Q : ndarray of shape (k, k)
        Symmetric.
    N : {ndarray, ChunkedRows} of shape (n, k)
        What draws the codes, floating: products are in its dtype.
    n_passes : int, default=3
        Passes over the bits; fewer where no bit of a block changes any more.

    Returns
    -------
    B : {ndarray, ChunkedRows} of shape (n, k)
        Codes in the dtype of those given, whose value is no larger.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.solvers import cyclic_bits
    >>> Q, N = np.array([[1.0, 3.0], [3.0, 1.0]]), np.array([[2.0, 1.0]])
    >>> cyclic_bits(np.array([[1.0, 1.0]]), Q, N)
    array([[-1.,  1.]])
    """
    if isinstance(B, ChunkedRows):
        return B.made(B.shape[1], B.dtype, _improved, N, args=(Q, n_passes))
    B = B.copy()
    others = Q.astype(N.dtype)
    np.fill_diagonal(others, 0)

    def improve(rows):
        # A bit of all rows lies together. Without -0.0, differences that are zero are +0.0.
        bits = np.ascontiguousarray(B[rows].T, dtype=N.dtype)
        target = np.add(N[rows].T, 0, order="C")
        for _ in range(n_passes):
            if not _pass(bits, others, target):
                break
        B[rows] = bits.astype(B.dtype).T

    for_blocks(improve, row_slices(len(B), _BLOCK_ROWS))
    return B


def _improved(B, N, Q, n_passes):
    return cyclic_bits(B, Q, N, n_passes)


def _pass(bits, others, target):
    """One pass over the bits (k, n), in place; whether any has changed.

    What the others say is one product for a few bits, to which the changes of those among them
    that have been looked at already are added.
    """
    changed = False
    for few in gen_batches(len(bits), _BITS):
        before, drawn = bits[few].copy(), target[few] - others[few] @ bits
        change, among = np.zeros_like(before), others[few, few]
        for j in range(len(before)):
            draw = drawn[j] - among[j, :j] @ change[:j] if j else drawn[j]
            np.copysign(1, draw, out=bits[few][j])
            np.subtract(bits[few][j], before[j], out=change[j])
        changed = changed or change.any()
    return changed
