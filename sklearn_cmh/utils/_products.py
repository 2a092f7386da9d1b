"""Products whose rows depend on nothing but themselves.

BLAS sums in another order for another number of rows, another place of a row in its
block, another number of threads and another processor, so that a row multiplied alone
and in a batch differs by rounding. Here the order cannot matter, because no sum is
rounded: factors are cut into slices of so few bits that products and sums of them are
whole numbers below 2^53, which float64 holds exactly.
"""

import numpy as np
from scipy import sparse
from sklearn.utils import gen_batches

from ._threads import for_blocks

__all__ = ["StableFactor", "relative_error", "stable_dot", "strips"]

# Bits of one slice that make a product as good as one in float32.
_SINGLE = 21

# Entries of a few rows that stay in the caches from one step to the next.
_STRIP_ENTRIES = 2**15


class StableFactor:
    """Right factor B of products ``A @ B`` in which a row depends on nothing but itself.

    Parameters
    ----------
    B : ndarray of shape (d, k)
        Finite.
    dtype : dtype, default=None
        Of the left factors, if not that of `B`.

    Notes
    -----
    With float64, entries are cut into two slices, relative to the largest of their row of
    A or column of B: about 42 bits for d = 1000, and three products in place of one. With
    float32, one slice is as good, but for d beyond 2048.
    """

    def __init__(self, B, dtype=None):
        self.dtype = np.result_type(B, dtype or B.dtype)
        self.bits, self.n_slices = _slicing(len(B), self.dtype)
        if self.n_slices == 1:
            self.high = _rounded(B, 0, self.bits)
        else:
            slices, self.unit = _slices(B, 0, self.bits)
            self.high = slices[0]
            # Products of high and low slices are exact together too.
            self.cross = np.vstack(slices[::-1])

    def multiply(self, A):
        """Return ``A @ B`` for an ndarray A of few rows: (n, k)."""
        return self.product(A).astype(self.dtype, copy=False)

    def product(self, A):
        """Return ``A @ B`` as `multiply` does, in float64."""
        if self.n_slices == 1:
            return _rounded(A, 1, self.bits) @ self.high
        slices, unit = _slices(A, 1, self.bits)
        product = slices[0] @ self.high
        product += np.hstack(slices) @ self.cross
        product *= unit
        product *= self.unit
        return product

    def batches(self, n):
        """Slices of n rows: enough for a fast product, few enough for the caches."""
        return gen_batches(n, int(np.clip(2**19 // max(self.high.shape), 16, 512)))


def strips(n, k, *, rows=slice(None)):
    """Slices of a few of n rows of k entries, on which one step follows another in the caches.

    Those of a slice of the rows, where one is given.
    """
    height = max(1, _STRIP_ENTRIES // max(k, 1))
    start, stop, _ = rows.indices(n)
    return (slice(first, min(first + height, stop)) for first in range(start, stop, height))


def _slicing(d, dtype):
    """Bits of a slice, and number of slices, of factors whose inner length is d."""
    bits = (53 - int(np.ceil(np.log2(d)))) // 2
    return bits, 1 if dtype == np.float32 and bits >= _SINGLE else 2


def relative_error(d, dtype):
    """Error of a product of inner length d, relative to the norms of the row and the column.

    A unit of the last slice of either factor. Every entry is off by half a unit at most, and
    such errors cancel, so that more than this is hardly ever seen.
    """
    bits, n_slices = _slicing(d, dtype)
    return 2.0 ** (1 - bits * n_slices)


def _exponents(A, axis):
    """The power of two above the largest entry along an axis."""
    top = np.abs(A).max(axis=axis, keepdims=True)
    # Below 2^-900, where the inverse of a unit would overflow, all is zero.
    return np.maximum(np.frexp(top.astype(np.float64))[1], -900)


def _rounded(A, axis, bits):
    """A of float32, rounded to `bits` bits along an axis, in float64.

    Whole numbers times powers of two that float64 holds products of: their sums are as exact.
    """
    exponents = _exponents(A, axis)
    # A sum with 1.5 times a power of two keeps as many digits of A as are wanted: in float32, where
    # that has as many, and holds the power.
    single = bits <= 22 and -100 < exponents.min(initial=0) and exponents.max(initial=0) < 100
    dtype, digits = (np.float32, 23) if single else (np.float64, 52)
    shift = np.ldexp(dtype(1.5), exponents + (digits - bits))
    whole = A + shift
    whole -= shift
    return whole.astype(np.float64, copy=False)


def _slices(A, axis, bits):
    """Two slices of whole numbers of at most `bits` bits that make up A, in units along an axis.

    Returns the slices, the second one in units of ``2^-bits`` of the first, and the unit.
    """
    exponents = _exponents(A, axis)
    whole = A * np.ldexp(1.0, bits - exponents)
    high = np.rint(whole)
    whole -= high
    whole *= 2.0**bits
    low = np.rint(whole, out=whole)
    low *= 2.0**-bits
    return [high, low], np.ldexp(1.0, exponents - bits)


def stable_dot(A, B):
    """``A @ B``, in which a row does not depend on how many rows there are.

    Nor on its place, the threads, the order in memory, or the processor.

    Parameters
    ----------
    A : {ndarray, sparse} of shape (n, d)
        Finite. Of sparse ones, scipy multiplies every row by itself.
    B : ndarray of shape (d, k)
        Right factor, finite.

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
    factor = StableFactor(B, A.dtype)
    out = np.empty((A.shape[0], B.shape[1]), dtype=factor.dtype)

    def fill(rows):
        out[rows] = factor.multiply(A[rows])

    for_blocks(fill, list(factor.batches(len(A))))
    return out
