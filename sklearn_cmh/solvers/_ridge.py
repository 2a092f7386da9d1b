"""Ridge regression with leave-one-out predictions in closed form."""

from dataclasses import dataclass

import numpy as np

from ..data import ChunkedRows
from ..utils._threads import add_blocks, for_blocks, row_slices
from ..utils._typing import Floats
from ._codes import sign

__all__ = ["centred_spectrum", "ridge_leave_one_out"]

_BLOCK_ROWS = 4096


def centred_spectrum(F):
    """Column means of features F (n, q), and eigenvalues and eigenvectors of their scatter.

    Parameters
    ----------
    F : {ndarray, MappedRows} of shape (n, q)
        Features, dense.

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
    return mean, *np.linalg.eigh(_centred_products(F, None, mean, None))


def _centred_products(F, B, centre, mean):
    """``(F - centre)'[F - centre, B - mean]`` (q, q + k), in one pass over the rows."""
    if isinstance(F, ChunkedRows):
        return F.total(_centred_products, B, args=(centre, mean))
    q, k = F.shape[1], 0 if B is None else B.shape[1]

    def product(rows):
        centred, products = F[rows] - centre, np.empty((q, q + k))
        products[:, :q] = centred.T @ centred  # on its own: symmetric, in half the time
        if B is not None:
            products[:, q:] = centred.T @ (B[rows] - mean)
        return products

    return add_blocks(np.zeros((q, q + k)), product, row_slices(F.shape[0], _BLOCK_ROWS))


def _moment(F, B, centre, mean):
    """``(F - centre)'(B - mean)``."""
    total = np.zeros((F.shape[1], B.shape[1]))

    def product(rows):
        return (F[rows] - centre).T @ (B[rows] - mean)

    return add_blocks(total, product, row_slices(F.shape[0], _BLOCK_ROWS))


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
        Features, dense.
    B : {ndarray, ChunkedRows} of shape (n, k)
        Bits in {-1, +1}, or any targets; with the workers of Dask where F is with them.
    alphas : sequence of a positive floats
        Penalties.
    rows : ndarray of int, default=None
        The rows whose decisions are wanted; all by default.
    signs : bool, default=False
        Return the codes that the decisions stand for instead, int8: an eighth of the memory.
    spectrum : tuple, default=None
        The `centred_spectrum` of F, where it is known; of rows in memory.

    Returns
    -------
    coef : ndarray of shape (a, q, k)
        Coefficients of the fit to all rows, per penalty.
    decisions : ndarray of shape (a, len(rows), k), or list of ChunkedRows of shape (n, k)
        Leave-one-out decisions, per penalty; with the workers of Dask where F is with them.

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
    mean = B.mean(axis=0, dtype=np.float64)
    if spectrum is None:
        centre = F.mean(axis=0, dtype=np.float64)
        scatter, moment = np.split(_centred_products(F, B, centre, mean), [q], axis=1)
        eigenvalues, U = np.linalg.eigh(scatter)
    else:
        centre, eigenvalues, U = spectrum
        moment = _moment(F, B, centre, mean)
    # Directions in which features differ by rounding alone are no reason for large coefficients.
    noise = q * np.finfo(np.float64).eps * eigenvalues.max(initial=0.0)
    shrinkage = 1.0 / np.maximum(np.maximum(eigenvalues, 0.0) + alphas[:, None], noise)
    spectra = shrinkage[:, :, None] * (U.T @ moment)
    fit = LeaveOneOut(n, centre, mean, U, shrinkage, spectra, signs)
    if isinstance(F, ChunkedRows):
        each = F.made(B.shape[1], fit.dtype, fit.decisions, B)
        decisions = [each.picked(a) for a in range(len(alphas))]
    else:
        decisions = fit.decisions(F, B, rows)
    return U @ spectra, decisions


@dataclass(frozen=True)
class LeaveOneOut:
    """Ridge regressions of which every row is left out, for as many penalties as there are.

    Parameters
    ----------
    n : int
        Rows of the fit.
    centre, mean : ndarray of shape (q,), (k,)
        Means of the features and of the bits.
    U : ndarray of shape (q, q)
        Eigenvectors of the scatter of the features.
    shrinkage : ndarray of shape (a, q)
        Reciprocal eigenvalues with the penalties added.
    spectra : ndarray of shape (a, q, k)
        Coefficients in the eigenvectors.
    signs : bool
        Whether codes are wanted instead of decisions.
    """

    n: int
    centre: Floats
    mean: Floats
    U: Floats
    shrinkage: Floats
    spectra: Floats
    signs: bool

    @property
    def dtype(self) -> np.dtype:
        """Of what `decisions` returns."""
        return np.dtype(np.int8 if self.signs else np.float64)

    def decisions(self, F, B, rows=None):
        """Leave-one-out decisions (a, len(rows), k) of some rows of features F and bits B."""
        n_rows = F.shape[0] if rows is None else len(rows)
        decisions = np.empty((len(self.spectra), n_rows, B.shape[1]), dtype=self.dtype)

        def decide(block):
            wanted = block if rows is None else rows[block]
            A = (F[wanted] - self.centre) @ self.U
            b = B[wanted] - self.mean
            leverage = (A**2) @ self.shrinkage.T + 1.0 / self.n
            # A leverage of one means that the row fits itself exactly, whatever its bits.
            slack = np.maximum(1.0 - leverage, np.finfo(float).eps)
            for a, spectrum in enumerate(self.spectra):
                residual = b - A @ spectrum
                decision = b * (self.n / (self.n - 1)) - residual / slack[:, a, None]
                if self.n == 2:  # The other row is its own mean: all else is rounding.
                    decision[:] = 0.0
                decisions[a, block] = sign(decision) if self.signs else decision

        for_blocks(decide, row_slices(n_rows, _BLOCK_ROWS))
        return decisions
