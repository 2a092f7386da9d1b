"""From real-valued projections to codes, the same on every machine."""

import warnings

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.extmath import row_norms

from ..data import ChunkedRows
from ..utils._products import relative_error, stable_dot

__all__ = [
    "clear_columns",
    "constant_bits",
    "fuse",
    "project",
    "rounding_noise",
    "sign",
    "warn_constant_bits",
]


def sign(Z):
    """Codes of real-valued projections: int8 in {-1, +1}, with sign(0) = +1."""
    if isinstance(Z, ChunkedRows):
        return Z.made(Z.shape[1], np.int8, sign)
    codes = np.asarray(Z >= 0).view(np.int8)
    codes *= 2
    codes -= 1
    return codes


def clear_columns(P, constant):
    """P with zero columns for constant bits, and for columns that hold nothing but rounding.

    Zeros count as +1 for every row. The sign of rounding would be noise; so would be that
    of a bit that tells nothing apart among the learned codes.
    """
    norms = np.linalg.norm(P, axis=0)
    kept = ~constant & (norms > np.sqrt(np.finfo(P.dtype).eps) * norms.max())
    return np.where(kept, P, P.dtype.type(0))


def project(F, P, offset=None):
    """F P - offset, with entries within rounding of zero set to zero, which count as +1.

    This is where the promise is kept that the code of a row never depends on the rows
    encoded with it, on threads, on the order in memory, or on the processor: equal rows of
    features have equal projections to the last digit, by `stable_dot`. Rows of `AnchorRBF`,
    and of maps that work on one entry or row at a time such as StandardScaler, are equal so
    too. Where a map multiplies by BLAS, as PCA does, rows are equal but for rounding; its
    sign is not taken where a sum is zero but for that.

    Parameters
    ----------
    F : {ndarray, sparse} of shape (n, q)
        Mapped features.
    P : ndarray of shape (q, k)
        Hash functions.
    offset : ndarray of shape (k,), default=None
        Thresholds; None is zero.

    Returns
    -------
    Z : ndarray of shape (n, k)
        In the dtype of `F`.
    """
    P = np.ascontiguousarray(P, dtype=F.dtype)
    F = F if sparse.issparse(F) else np.ascontiguousarray(F)
    Z = stable_dot(F, P)
    noise = _norms(F)[:, None] * rounding_noise(P)
    if offset is not None:
        # Where the difference is near zero the offset is as large as the product, so that its
        # rounding is a part of the same noise.
        Z -= offset.astype(Z.dtype, copy=False)
    Z[np.abs(Z) <= noise] = 0
    return Z


def _norms(F):
    """2-norms of rows, as float64, of any scale."""
    if F.dtype == np.float32 and not sparse.issparse(F):
        norms = row_norms(F).astype(np.float64)
        extreme = ~((norms > 1e-15) & (norms < 1e15))
        # float64 holds squares of all that float32 holds.
        norms[extreme] = row_norms(F[extreme].astype(np.float64))
        return norms
    largest = abs(F).max(axis=1)
    largest = largest.toarray().ravel() if sparse.issparse(F) else largest
    unit = np.ldexp(1.0, np.maximum(np.frexp(largest.astype(np.float64))[1], -900))
    if sparse.issparse(F):
        data = F.data / np.repeat(unit, np.diff(F.indptr))
        scaled = sparse.csr_array((data, F.indices, F.indptr), shape=F.shape)
    else:
        scaled = F / unit[:, None]
    return row_norms(scaled) * unit


def rounding_noise(P):
    """Rounding error of a row of norm one times every column of P: (k,), in float64.

    That of the features themselves, and that of `stable_dot`.
    """
    error = max(8 * np.finfo(P.dtype).eps, relative_error(len(P), P.dtype))
    return error * np.linalg.norm(P.astype(np.float64), axis=0)


def fuse(projections):
    """Mean over modalities of projections {name: (n, k)}; its signs are the fused codes."""
    first, *others = projections.values()
    if any(len(Z) != len(first) for Z in others):
        raise ValueError(f"The modalities {list(projections)} differ in their number of rows.")
    return sum(others, start=first) / len(projections) if others else first


def constant_bits(B):
    """Which bits of the codes B (n, k) are the same for all rows: (k,) bool."""
    return (B == B[0]).all(axis=0)


def warn_constant_bits(codes, cure):
    """Warn of bits that are the same for all rows, and say what may cure it."""
    constant = np.flatnonzero(constant_bits(codes))
    if len(constant):
        shown = ", ".join(map(str, constant[:10])) + (", ..." if len(constant) > 10 else "")
        warnings.warn(
            f"{len(constant)} of {codes.shape[1]} bits ({shown}) are the same for all training "
            f"rows and carry nothing. {cure}",
            ConvergenceWarning,
        )
