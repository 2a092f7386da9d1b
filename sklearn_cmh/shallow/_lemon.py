"""LEMON: label embedding hashing.

Y. Wang, X. Luo, X.-S. Xu, "Label Embedding Online Hashing for Cross-Modal Retrieval", ACM
Multimedia 2020. Written from the authors' code. The paper learns from a stream, round by round;
this is its first round, on all rows at once. With L the label indicator, G the same with rows of
norm one, S = 2 G G' - 1 1' the similarity of labels, and k bits:

    alpha ||k S - V B'||^2                          asymmetric similarity
    + beta (||L - V P||^2 + gamma ||P||^2)          embedding of the labels
    + ||B - V R||^2                                 rotated towards the codes
    subject to V'V = n I, 1'V = 0, R'R = I, B in {-1, +1}

over the label embedding V (n, k), a map P (k, c) back to labels, a rotation R and codes B (n, k);
then, from the codes, hash functions by ridge regression. As ``V'V = n I``, the quadratic part of
the first term is constant, so that every update is the exact minimiser of its subproblem and the
objective never rises. S is never formed.
"""

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from ..base import KernelHasher, parametrised
from ..solvers import (
    CosineSimilarity,
    Targets,
    inner,
    label_rows,
    label_targets,
    orthonormal_basis,
    polar_factor,
    quiet_passes,
    sign,
    squared_norm,
    standard_normal,
)
from ..utils._sklearn import Interval
from ._regression import RegressionMixin

__all__ = ["LEMON"]


@dataclass(frozen=True)
class Weights:
    """Weights of the terms."""

    alpha: float
    beta: float
    gamma: float


@dataclass
class Problem:
    """What the sweeps need of the data: L, ||L||^2, S and ||S||^2; features, as far as rows go."""

    rows: Any
    labels: Targets
    label_energy: float
    similarity: CosineSimilarity
    similarity_norm: float

    @classmethod
    def from_labels(cls, L, rows):
        """Prepare the label indicator L (n, c), in which every row has labels, beside features."""
        S = CosineSimilarity(label_targets(L), 2.0, 1.0, rows=rows)
        return cls(rows, label_rows(L, rows), squared_norm(L), S, S.squared_norm())


@dataclass
class State:
    """All variables."""

    V: np.ndarray
    P: np.ndarray
    R: np.ndarray
    B: np.ndarray


def update_label_map(problem, V, gamma):
    """P: ``V'L / (n + gamma)``, as V'V = n I."""
    return problem.labels.pool(V).T / (len(V) + gamma)


def update_embedding(problem, state, weights, rng):
    """V: the maximiser of ``tr(V'Z)`` for ``alpha k S B + beta L P' + B R'``."""
    k = state.B.shape[1]
    Z = weights.alpha * k * (problem.similarity @ state.B)
    Z += weights.beta * problem.labels.expand(state.P.T) + state.B @ state.R.T
    return orthonormal_basis(Z, rng, overwrite=True)


def update_rotation(V, B, R):
    """R: the polar factor of ``V'B``, the nearest to the last R if there are several."""
    return polar_factor(V.T @ B, R)


def update_codes(problem, V, R, alpha):
    """B: the sign of ``alpha k S V + V R``."""
    k = V.shape[1]
    return sign(alpha * k * (problem.similarity @ V) + V @ R).astype(np.float64)


def objective(problem, state, weights):
    """The objective, without the n x n similarity."""
    V, P, B = state.V, state.P, state.B
    n, k = B.shape
    value = k**2 * problem.similarity_norm - 2 * k * inner(V, problem.similarity @ B) + n * n * k
    value *= weights.alpha
    fit = problem.label_energy - 2 * inner(problem.labels.pool(V).T, P)
    value += weights.beta * (fit + (n + weights.gamma) * squared_norm(P))
    return value + 2 * n * k - 2 * inner(B, V @ state.R)


def start(problem, n_bits, gamma, rng):
    """Random codes, embedding and rotation, and the best P for them."""
    B = sign(standard_normal(rng, problem.rows, n_bits)).astype(np.float64)
    V = orthonormal_basis(standard_normal(rng, problem.rows, n_bits), rng, overwrite=True)
    R = polar_factor(rng.standard_normal((n_bits, n_bits)))
    return State(V, update_label_map(problem, V, gamma), R, B)


def sweep(problem, state, weights, rng):
    """One sweep, in place: V, R, B, P. The objective does not rise."""
    state.V = update_embedding(problem, state, weights, rng)
    state.R = update_rotation(state.V, state.B, state.R)
    state.B = update_codes(problem, state.V, state.R, weights.alpha)
    state.P = update_label_map(problem, state.V, weights.gamma)


def solve(problem, n_bits, *, weights, sweeps, rng):
    """The codes B of the rows."""
    with quiet_passes([problem.rows]):
        state = start(problem, n_bits, weights.gamma, rng)
        for _ in sweeps:
            sweep(problem, state, weights, rng)
            sweeps.record(objective(problem, state, weights))
    return state.B


@parametrised
class LEMON(RegressionMixin, KernelHasher):
    """LEMON: codes of an embedding of the labels.

    Learns codes from label similarity and from an embedding of the labels, and then ridge
    regressions from mapped features to bits [1]_. The first round of the paper's online method,
    on all rows at once.

    Parameters
    ----------
    alpha : float, default=1e4
        Weight of the label similarity.
    beta : float, default=1e4
        Weight of the embedding of the labels.
    gamma : float, default=0.1
        Penalty of the map from the embedding back to labels.

    Attributes
    ----------
    objective_ : ndarray of shape (n_iter_,)
        The objective after every sweep; it never rises.

    See Also
    --------
    BATCH : By the same group; features take part in what codes are learned from.

    Notes
    -----
    Time and memory grow linearly with the rows; no n x n matrix is formed. The authors regress
    on features as they are, which is ``feature_map="passthrough"``.

    References
    ----------
    .. [1] Wang, Y., Luo, X. and Xu, X.-S. (2020). Label embedding online hashing for cross-modal
       retrieval. ACM Multimedia, 871-879. :doi:`10.1145/3394171.3413971`

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import LEMON
    >>> X, y = make_multimodal_classification(n_samples=200, random_state=0)
    >>> hasher = LEMON(n_bits=16, n_anchors=50, random_state=0).fit(X, y)
    >>> hasher.encode(X, modality="text").shape
    (200, 16)
    """

    alpha: float = 1e4
    beta: float = 1e4
    gamma: float = 0.1
    lambda_h: float = 1.0

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "gamma": [Interval(Real, 0, None, closed="left")],
    }
    _paper_grid = {
        "alpha": [1.0, 1e2, 1e4],
        "beta": [1.0, 1e2, 1e4],
        "gamma": [1e-2, 1e-1, 1.0],
        "lambda_h": [1e-2, 1e-1, 1.0, 10.0],
    }
    _is_baseline = True
    _takes_lazy_rows = _solves_chunks = True  # type: ignore[assignment]

    def _solve(self, features, L, rng):
        sweeps = self._sweeps()
        B = solve(
            Problem.from_labels(L, next(iter(features.values()))),
            self.n_bits,
            weights=Weights(self.alpha, self.beta, self.gamma),
            sweeps=sweeps,
            rng=rng,
        )
        return self._regressed(features, B, sweeps)
