"""ALECH: adaptive label correlation based asymmetric discrete hashing.

H. Li, C. Zhang, X. Jia, Y. Gao, C. Chen, "Adaptive Label Correlation Based Asymmetric Discrete
Hashing for Cross-Modal Retrieval", IEEE Transactions on Knowledge and Data Engineering 35(2),
2023. Written from the authors' code. With L the label indicator, G the same with rows of norm
one, S = 2 G G' - 1 1' the similarity of labels, and k bits:

    ||L P - V W||^2 + ||L - L P||^2 + eta (||P||^2 + ||W||^2)       correlated labels
    + alpha ||k S - V B'||^2                                        asymmetric similarity
    + beta ||B - V||^2
    subject to V'V = n I, 1'V = 0, B in {-1, +1}

over the latent space V (n, k), its map W (k, c) to the labels, correlations P (c, c) between
labels and codes B (n, k). Every update is the exact minimiser of its subproblem, so that the
objective never rises. Then, from the codes, hash functions H_m (q_m, k) of mapped features F_m:

    ||k S - F_m H_m B'||^2 + lamb ||B - F_m H_m||^2

S is never formed.

Errata. The code inverts ``F_m'F_m`` by its pseudo-inverse. That of anchors among the rows is
singular but for rounding; here it gets a ridge, `lambda_h`.
"""

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from ..base import KernelHasher, Solution, parametrised
from ..solvers import (
    CosineSimilarity,
    Targets,
    gram,
    inner,
    label_rows,
    label_targets,
    orthonormal_basis,
    quiet_passes,
    ridge_projection,
    ridge_solve,
    ridge_solve_rows,
    sign,
    squared_norm,
    standard_normal,
)
from ..utils._sklearn import Interval

__all__ = ["ALECH"]


@dataclass(frozen=True)
class Weights:
    """Weights of the terms."""

    alpha: float
    beta: float
    eta: float


@dataclass
class Problem:
    """What the sweeps need of the data: L, ``L'L``, S and ||S||^2; features, as far as rows go."""

    rows: Any
    labels: Targets
    LL: np.ndarray
    similarity: CosineSimilarity
    similarity_norm: float

    @classmethod
    def from_labels(cls, L, rows):
        """Prepare the label indicator L (n, c), in which every row has labels, beside features."""
        S = CosineSimilarity(label_targets(L), 2.0, 1.0, rows=rows)
        return cls(rows, label_rows(L, rows), gram(L), S, S.squared_norm())


@dataclass
class State:
    """All variables."""

    V: np.ndarray
    P: np.ndarray
    W: np.ndarray
    B: np.ndarray


def update_correlations(problem, V, W, eta):
    """P: the solution of ``(2 L'L + eta I) P = L'(L + V W)``."""
    return ridge_solve(2 * problem.LL, eta, problem.LL + problem.labels.pool(V) @ W)


def update_label_map(problem, V, P, eta):
    """W: ``V'L P / (n + eta)``, as V'V = n I."""
    return problem.labels.pool(V).T @ P / (len(V) + eta)


def update_latent(problem, state, weights, rng):
    """V: the maximiser of ``tr(V'Z)`` for ``L P W' + beta B + alpha k S B``."""
    k = state.B.shape[1]
    Z = problem.labels.expand(state.P @ state.W.T) + weights.beta * state.B
    Z += weights.alpha * k * (problem.similarity @ state.B)
    return orthonormal_basis(Z, rng, overwrite=True)


def update_codes(problem, V, weights):
    """B: the sign of ``alpha k S V + beta V``."""
    k = V.shape[1]
    pulled = weights.alpha * k * (problem.similarity @ V) + weights.beta * V
    return sign(pulled).astype(np.float64)


def objective(problem, state, weights):
    """The objective, without the n x n similarity."""
    V, P, W, B = state.V, state.P, state.W, state.B
    n, k = B.shape
    LL, LVW = problem.LL, problem.labels.pool(V) @ W
    value = inner(P, LL @ P) - 2 * inner(P, LVW) + n * squared_norm(W)
    value += np.trace(LL) - 2 * inner(P, LL) + inner(P, LL @ P)
    value += weights.eta * (squared_norm(P) + squared_norm(W))
    value += weights.beta * (2 * n * k - 2 * inner(B, V))
    similarity = k**2 * problem.similarity_norm - 2 * k * inner(V, problem.similarity @ B)
    return value + weights.alpha * (similarity + n * n * k)


def start(problem, n_bits, weights, rng):
    """A random latent space, its signs, labels that are not correlated, and the best W."""
    V = orthonormal_basis(standard_normal(rng, problem.rows, n_bits), rng, overwrite=True)
    P = np.eye(len(problem.LL))
    W = update_label_map(problem, V, P, weights.eta)
    return State(V, P, W, sign(V).astype(np.float64))


def sweep(problem, state, weights, rng):
    """One sweep, in place: P, W, V, B. The objective does not rise."""
    state.P = update_correlations(problem, state.V, state.W, weights.eta)
    state.W = update_label_map(problem, state.V, state.P, weights.eta)
    state.V = update_latent(problem, state, weights, rng)
    state.B = update_codes(problem, state.V, weights)


def solve(problem, n_bits, *, weights, sweeps, rng):
    """The codes B of the rows."""
    with quiet_passes([problem.rows]):
        state = start(problem, n_bits, weights, rng)
        for _ in sweeps:
            sweep(problem, state, weights, rng)
            sweeps.record(objective(problem, state, weights))
    return state.B


def projection_targets(problem, B, lamb):
    """What hash functions regress on, (n, k): ``(k S B + lamb B) (B'B + lamb I)^-1``."""
    pulled = B.shape[1] * (problem.similarity @ B) + lamb * B
    return ridge_solve_rows(pulled, B.T @ B, lamb)


@parametrised
class ALECH(KernelHasher):
    """ALECH: asymmetric discrete codes from labels and their correlations.

    Learns codes from label similarity and from labels whose correlations are learned too, and
    then hash functions that preserve the similarity to the codes [1]_.

    Parameters
    ----------
    alpha : float, default=1e-4
        Weight of the label similarity.
    beta : float, default=1e-3
        Weight of the codes' distance to the latent space.
    eta : float, default=1e-4
        Penalty of the correlations of labels and of the map from the latent space to them.
    lamb : float, default=1e4
        Weight of what hash functions miss of the codes, beside what they miss of the similarity.
    lambda_h : float, default=1e-2
        Ridge of the regression from features to bits.

    Attributes
    ----------
    objective_ : ndarray of shape (n_iter_,)
        The objective after every sweep; it never rises.

    See Also
    --------
    LEMON : An embedding of the labels, rotated towards the codes.

    Notes
    -----
    Time and memory grow linearly with the rows; no n x n matrix is formed. The authors start from
    the principal components of the text features, of which there may be fewer than bits; here
    the start is random.

    References
    ----------
    .. [1] Li, H., Zhang, C., Jia, X., Gao, Y. and Chen, C. (2023). Adaptive label correlation
       based asymmetric discrete hashing for cross-modal retrieval. IEEE Transactions on
       Knowledge and Data Engineering, 35(2), 1185-1199. Code: https://github.com/czhangnju/ALECH

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import ALECH
    >>> X, y = make_multimodal_classification(n_samples=200, random_state=0)
    >>> hasher = ALECH(n_bits=16, n_anchors=50, random_state=0).fit(X, y)
    >>> hasher.encode(X, modality="text").shape
    (200, 16)
    """

    alpha: float = 1e-4
    beta: float = 1e-3
    eta: float = 1e-4
    lamb: float = 1e4
    lambda_h: float = 1e-2

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "eta": [Interval(Real, 0, None, closed="left")],
        "lamb": [Interval(Real, 0, None, closed="left")],
        "lambda_h": [Interval(Real, 0, None, closed="left")],
    }
    _paper_grid = {
        "alpha": [1e-5, 1e-4, 1e-3, 1e-2],
        "beta": [1e-4, 1e-3, 1e-2, 1e-1],
        "eta": [1e-5, 1e-4, 1e-3],
        "lamb": [1e2, 1e3, 1e4, 1e5],
    }
    _is_baseline = True
    _takes_lazy_rows = _solves_chunks = True  # type: ignore[assignment]

    def _solve(self, features, L, rng):
        problem, sweeps = Problem.from_labels(L, next(iter(features.values()))), self._sweeps()
        weights = Weights(self.alpha, self.beta, self.eta)
        B = solve(problem, self.n_bits, weights=weights, sweeps=sweeps, rng=rng)
        targets = projection_targets(problem, B, self.lamb)
        projections = [ridge_projection(F, targets, self.lambda_h) for F in features.values()]
        return Solution(B, projections, sweeps.objective, len(sweeps))
