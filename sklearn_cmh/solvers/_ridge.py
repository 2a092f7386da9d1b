"""Ridge regression with leave-one-out predictions in closed form."""

import numpy as np

from ..utils._threads import add_blocks, for_blocks, row_slices
from ._codes import sign

__all__ = ["centred_spectrum", "ridge_leave_one_out"]

_BLOCK_ROWS = 4096


def centred_spectrum(F):
    """Column means of features F (n, q), and eigenvalues and eigenvectors of their scatter.

    Parameters
    ----------
    F : {ndarray, LazyRows} of shape (n, q)
        Features.

    Returns
    -------
    mean : ndarray of shape (q,)
        Column means.
    eigenvalues : ndarray of shape (q,)
        Of ``(F - mean)'(F - mean)``, ascending; negative where they are rounding.
    vectors : ndarray of shape (q, q)
        Eigenvectors, in columns.
    """
    mean = F.mean(axis=0, dtype=np.float64)

    def product(rows):
        centred = F[rows] - mean
        return centred.T @ centred

    scatter = np.zeros((F.shape[1], F.shape[1]))
    scatter = add_blocks(scatter, product, row_slices(F.shape[0], _BLOCK_ROWS))
    return mean, *np.linalg.eigh(scatter)


def ridge_leave_one_out(F, B, alphas, rows=None, *, signs=False, spectrum=None):
    """Ridge regression of bits on features, and what it predicts for a row left out.

    The fit centres `F` and `B` and has no intercept: the decision for a row f is
    ``(f - mean(F)) @ coef``. All penalties share one eigendecomposition of F'F. With
    leverage h (1/n for the centring included), residual r and centred bits b, the
    decision for row i of the fit without row i, its means included, is

        b_i - r_i / (1 - h_i) + b_i / (n - 1).

    Parameters
    ----------
    F : {ndarray, LazyRows} of shape (n, q)
        Features.
    B : ndarray of shape (n, k)
        Bits in {-1, +1}, or any targets.
    alphas : sequence of a positive floats
        Penalties.
    rows : ndarray of int, default=None
        The rows whose decisions are wanted; all by default.
    signs : bool, default=False
        Return the codes that the decisions stand for instead, int8: an eighth of the memory.
    spectrum : tuple, default=None
        The `centred_spectrum` of F, where it is known.

    Returns
    -------
    coef : ndarray of shape (a, q, k)
        Coefficients of the fit to all rows, per penalty.
    decisions : ndarray of shape (a, len(rows), k)
        Leave-one-out decisions, per penalty.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.solvers import ridge_leave_one_out
    >>> F, B = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[-1], [-1], [1], [1]])
    >>> coef, decisions = ridge_leave_one_out(F, B, [0.1])
    >>> np.sign(decisions[0].ravel())
    array([-1., -1.,  1.,  1.])
    """
    n, q = F.shape
    alphas = np.asarray(alphas, dtype=np.float64)
    centre, eigenvalues, U = centred_spectrum(F) if spectrum is None else spectrum
    mean = B.mean(axis=0, dtype=np.float64)

    def product(rows):
        return (F[rows] - centre).T @ (B[rows] - mean)

    moment = add_blocks(np.zeros((q, B.shape[1])), product, row_slices(n, _BLOCK_ROWS))
    # Directions in which features differ by rounding alone are no reason for large coefficients.
    noise = q * np.finfo(np.float64).eps * eigenvalues.max(initial=0.0)
    shrinkage = 1.0 / np.maximum(np.maximum(eigenvalues, 0.0) + alphas[:, None], noise)
    spectra = shrinkage[:, :, None] * (U.T @ moment)

    n_rows = n if rows is None else len(rows)
    decisions = np.empty((len(alphas), n_rows, B.shape[1]), dtype=np.int8 if signs else np.float64)

    def decide(block):
        wanted = block if rows is None else rows[block]
        A = (F[wanted] - centre) @ U
        b = B[wanted] - mean
        leverage = (A**2) @ shrinkage.T + 1.0 / n
        # A leverage of one means that the row fits itself exactly, whatever its bits.
        slack = np.maximum(1.0 - leverage, np.finfo(float).eps)
        for a in range(len(alphas)):
            residual = b - A @ spectra[a]
            decision = b * (n / (n - 1)) - residual / slack[:, a, None]
            if n == 2:  # The other row is its own mean: all else is rounding.
                decision[:] = 0.0
            decisions[a, block] = sign(decision) if signs else decision

    for_blocks(decide, row_slices(n_rows, _BLOCK_ROWS))
    return U @ spectra, decisions
