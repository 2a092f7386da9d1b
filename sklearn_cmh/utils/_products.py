"""Products whose rows do not depend on how many rows are multiplied at once."""

import numpy as np
from scipy import sparse
from sklearn.utils import gen_batches

__all__ = ["HEIGHT", "filled_blocks", "stable_dot"]

# Rows per product. Higher is no faster in bulk, and a single query pays for a whole block.
HEIGHT = 64


def filled_blocks(A, height=HEIGHT):
    """Row slices of `A` with their block: dense ones C-contiguous, all of one height.

    The last dense block is filled up with zero rows, so that every product sees the same
    shape and layout; sparse blocks need neither, as scipy multiplies them row by row.
    """
    for rows in gen_batches(A.shape[0], height):
        block = A[rows]
        if sparse.issparse(A):
            yield rows, block
        elif len(block) == height:
            yield rows, np.ascontiguousarray(block)
        else:
            filled = np.zeros((height, A.shape[1]), dtype=A.dtype)
            filled[: len(block)] = block
            yield rows, filled


def stable_dot(A, B):
    """``A @ B``, in which a row does not depend on how many rows there are.

    BLAS chooses another order of summation for another number of rows, so that a row
    multiplied alone and in a batch differs by rounding. Here every product has the same
    number of rows. What is left is that some float64 kernels sum differently at
    different places of a block; a sum that is zero but for rounding still needs a
    tolerance before its sign is taken.

    Parameters
    ----------
    A : {ndarray, sparse} of shape (n, d)
        Its rows are multiplied in blocks.
    B : ndarray of shape (d, k)
        Right factor.

    Returns
    -------
    product : ndarray of shape (n, k)
        Of the common dtype of `A` and `B`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.features import stable_dot
    >>> A, B = np.random.RandomState(0).rand(1000, 50), np.ones((50, 8))
    >>> np.allclose(stable_dot(A, B), A @ B)
    True
    """
    if sparse.issparse(A):
        return A @ B
    out = np.empty((A.shape[0], B.shape[1]), dtype=np.result_type(A, B))
    for rows, block in filled_blocks(A):
        out[rows] = (block @ B)[: rows.stop - rows.start]
    return out
