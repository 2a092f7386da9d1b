"""The pool of bits: sides of hyperplanes through the mean of the targets."""

from typing import Any

import numpy as np

from ..solvers import Targets, principal_directions, quantising_rotation
from ..utils._typing import Floats

__all__ = ["draw_hyperplanes", "hyperplane_bits"]

# Directions that are rotated at least, and rows that these are learned from at most.
_DIRECTIONS = 64
_MOST_ROWS = 2000


def draw_hyperplanes(
    T: Targets, n_restarts: int, n_bits: int, rng: np.random.RandomState
) -> Floats:
    """Normals of hyperplanes through the mean of the targets, learned and at random.

    Learned ones are a rotation of the principal directions of the targets after which signs lose
    least, by iterative quantisation from a random start. They run between classes, and agree best
    with the targets, most of all where rows have several labels. Where there are classes, only one
    restart in four is of that kind. The others are Gaussian: such hyperplanes cross classes, and
    tell the rows of one apart.

    Parameters
    ----------
    T : Targets of shape (n, t)
        Targets.
    n_restarts : int
        Rotations, or draws.
    n_bits : int
        Bits of each.
    rng : RandomState
        Draws them.

    Returns
    -------
    A : ndarray of shape (t, n_restarts * n_bits), float64
        Normals; those of a restart stand side by side.
    """
    T = T[rng.permutation(len(T))[:_MOST_ROWS]]
    centred = T.toarray() - T.sum() / len(T)
    # Once for all rotations: there may be thousands of labels.
    width = max(n_bits, _DIRECTIONS)
    P = principal_directions(centred, width)
    V = centred @ P
    has_classes = T.labels.shape[1] > 0
    return np.hstack(
        [
            rng.standard_normal((T.shape[1], n_bits))
            if has_classes and restart % 4 < 3
            else P @ quantising_rotation(V, width, rng)[:, :n_bits]
            for restart in range(n_restarts)
        ]
    )


def hyperplane_bits(T: Targets, A: Floats) -> Any:
    """Sides of hyperplanes through the mean of the targets, ``sgn((T - mean) A)``.

    Through the mean, they divide the rows evenly, whatever the sizes of the classes.

    Parameters
    ----------
    T : Targets of shape (n, t)
        Targets.
    A : ndarray of shape (t, k)
        Normals of the hyperplanes.

    Returns
    -------
    bits : {ndarray, ChunkedRows} of shape (n, k), int8
        -1 and +1; with the workers of Dask where the targets are.
    """
    A = A.astype(T.dtype)
    mean = (T.sum() / len(T)).astype(T.dtype)
    return T.signs(A, mean @ A)
