"""Iterative quantisation: the rotation of real-valued rows that loses least by taking signs."""

import numpy as np
from scipy import linalg

from ..utils._typing import Floats
from ._canonical import component_signs
from ._codes import sign
from ._orthogonal import polar_factor, settling_turn
from ._sweeps import Sweeps

__all__ = ["itq_rotation", "principal_directions", "quantising_rotation"]

# More rows than that change the rotation of a few hundred columns no longer.
_MOST_ROWS = 20_000


def itq_rotation(
    V: Floats, n_bits: int, rng: np.random.RandomState, sweeps: Sweeps | None = None
) -> Floats:
    """Projection of centred rows to ``n_bits`` values of which the signs are a code.

    The rows are turned into their min(n_bits, rank) principal directions P; then a rotation R and
    codes B minimise ``||B - V P R||^2`` by turns: ``B = sgn(V P R)``, and R is the polar factor of
    ``(V P)'B`` [1]_. With more bits than directions, R has orthonormal rows instead: every
    direction is spread over all the bits, which are then no longer independent of each other.

    Parameters
    ----------
    V : ndarray of shape (n, c)
        Rows, in no need of being centred exactly. Of more than 20,000, a sample is used.
    n_bits : int
        Bits k.
    rng : RandomState
        Draws the start, and the sample.
    sweeps : Sweeps, default=None
        The loop, which records the loss per row; 50 sweeps by default.

    Returns
    -------
    R : ndarray of shape (c, n_bits), float64
        The product P R: the code of a row v is ``sgn(v @ R)``.

    References
    ----------
    .. [1] Gong, Y., Lazebnik, S., Gordo, A. and Perronnin, F. (2013). Iterative quantization: a
       Procrustean approach to learning binary codes for large-scale image retrieval. IEEE TPAMI,
       35(12), 2916-2929. :doi:`10.1109/TPAMI.2012.193`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.solvers import itq_rotation
    >>> rng = np.random.RandomState(0)
    >>> corners = np.array([[2.0, 0.0], [0.0, 2.0], [-2.0, 0.0], [0.0, -2.0]])
    >>> V = np.repeat(corners, 50, axis=0) + 0.1 * rng.randn(200, 2)
    >>> R = itq_rotation(V, 2, rng)
    >>> len(np.unique(np.sign(corners @ R), axis=0)), np.allclose(R.T @ R, np.eye(2))
    (4, True)
    """
    if len(V) > _MOST_ROWS:
        V = V[rng.choice(len(V), _MOST_ROWS, replace=False)]
    V = V.astype(np.float64, copy=False)
    P = principal_directions(V, n_bits)
    return P @ quantising_rotation(V @ P, n_bits, rng, sweeps)


def quantising_rotation(
    V: Floats, n_bits: int, rng: np.random.RandomState, sweeps: Sweeps | None = None
) -> Floats:
    """The rotation R of `itq_rotation` alone, of rows in principal directions already.

    Parameters
    ----------
    V : ndarray of shape (n, r), float64
        Rows, r no more than `n_bits`.
    n_bits, rng, sweeps
        As in `itq_rotation`.

    Returns
    -------
    R : ndarray of shape (r, n_bits), float64
        With orthonormal rows.
    """
    R = polar_factor(rng.standard_normal((V.shape[1], n_bits)))
    for _ in range(50) if sweeps is None else sweeps:
        B = sign(V @ R)
        R = polar_factor(V.T @ B, R)
        if sweeps is not None:
            sweeps.record(quantisation_loss(V @ R))
    return R


def principal_directions(V: Floats, n_directions: int) -> Floats:
    """The directions of centred rows in which they vary most, in columns, the first the widest.

    Parameters
    ----------
    V : ndarray of shape (n, c)
        Centred rows.
    n_directions : int
        How many, if the rows have as many: fewer where their rank is lower, but one at least.

    Returns
    -------
    P : ndarray of shape (c, n_directions or rank), float64
        Orthonormal columns. Where directions vary alike, as those of classes of one size do, any
        basis of their space would do, and processors find different ones: theirs is that nearest to
        numbers drawn once and for all.
    """
    values, P = linalg.eigh(V.T @ V)
    values, P = values[::-1], P[:, ::-1]
    rank = max(1, int((values > 1e-12 * len(values) * values[0]).sum()))
    apart = np.diff(values[:rank]) < -1e-10 * values[0]
    for alike in np.split(np.arange(rank), np.flatnonzero(apart) + 1):
        if alike[0] < n_directions:
            P[:, alike] = P[:, alike] @ settling_turn(P[:, alike])
    P = P[:, : min(n_directions, rank)]
    return P * component_signs(P)


def quantisation_loss(Z: Floats) -> float:
    """Mean over rows of ``||sgn(z) - z||^2``."""
    return float(np.square(1 - np.abs(Z)).sum(axis=1).mean())
