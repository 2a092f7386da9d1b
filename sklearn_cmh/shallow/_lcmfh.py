"""LCMFH: label consistent matrix factorisation hashing.

D. Wang, X. Gao, X. Wang, L. He, "Label Consistent Matrix Factorization Hashing for Large-Scale
Cross-Modal Similarity Search", IEEE Transactions on Pattern Analysis and Machine Intelligence
41(10), 2019. Written from the authors' code. Rows of the same labels get the same latent row,
``V = L Z`` with L the label indicator, rows of norm one. With F_m the mapped features of modality
m, k bits:

    sum_m lambda_m ||F_m - L Z U_m||^2              latent space of the features
    + mu sum_m ||L Z - F_m P_m||^2                  which hash functions follow
    + gamma (||L Z||^2 + sum_m ||U_m||^2 + ||P_m||^2)

over latent rows Z (c, k) of the classes, loadings U_m (k, q_m) and hash functions P_m (q_m, k).
Codes are the signs of ``L Z``, less its mean. Every update is the exact minimiser of its
subproblem, so that the objective never rises. All of it is in terms of ``L'L``, ``L'F_m`` and
``F_m'F_m``: a sweep takes no pass over the rows.

Errata. The code adds up norms, not squared norms, to see when it has converged, so that its trace
may rise. It centres the projections of queries by the mean of the queries; here that of the
training rows is used, as the code of a row must not depend on other rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

import numpy as np

from ..base import LinearHasher, Solution, modality_weights, parametrised
from ..solvers import (
    Targets,
    column_means,
    gram,
    inner,
    label_targets,
    ridge_solve,
    sign,
    squared_norm,
)
from ..utils._sklearn import Interval

__all__ = ["LCMFH"]


@dataclass(frozen=True)
class Weights:
    """Weights of the terms; one of `lambdas` per modality."""

    lambdas: list
    mu: float
    gamma: float


@dataclass
class Problem:
    """What the sweeps need of the data: L, ``L'L``, ``L'F_m``, ``F_m'F_m`` and ||F_m||^2."""

    labels: Targets
    LL: np.ndarray
    LL_inverse: np.ndarray
    LF: list
    grams: list

    @classmethod
    def from_data(cls, features, L):
        """Prepare features [(n, q_m) arrays] and the label indicator L (n, c)."""
        labels = label_targets(L)
        LL = labels.cross(labels)
        # Of least norm where a class never occurs, or classes are collinear.
        inverse = np.linalg.pinv(LL, hermitian=True)
        return cls(labels, LL, inverse, [labels.pool(F) for F in features], [*map(gram, features)])


@dataclass
class State:
    """All variables."""

    Z: np.ndarray
    U: list
    P: list


def update_loadings(problem, Z, weights):
    """U_m."""
    VV = Z.T @ problem.LL @ Z
    pairs = zip(weights.lambdas, problem.LF, strict=True)
    return [ridge_solve(weight * VV, weights.gamma, weight * Z.T @ LF) for weight, LF in pairs]


def update_projections(problem, Z, weights):
    """P_m: ridge regression of ``L Z`` on the features."""
    pairs = zip(problem.grams, problem.LF, strict=True)
    return [ridge_solve(FF, weights.gamma / weights.mu, LF.T @ Z) for FF, LF in pairs]


def update_classes(problem, U, P, weights):
    """Z."""
    n_modalities = len(U)
    N = sum(
        LF @ (weight * u.T + weights.mu * p)
        for weight, LF, u, p in zip(weights.lambdas, problem.LF, U, P, strict=True)
    )
    M = sum(weight * u @ u.T for weight, u in zip(weights.lambdas, U, strict=True))
    ridge = n_modalities * weights.mu + weights.gamma
    return ridge_solve(M, ridge, (problem.LL_inverse @ N).T).T


def objective(problem, state, weights):
    """The objective, from small products only."""
    Z, VV = state.Z, state.Z.T @ problem.LL @ state.Z
    value = weights.gamma * np.trace(VV)
    for weight, LF, FF, U, P in zip(
        weights.lambdas, problem.LF, problem.grams, state.U, state.P, strict=True
    ):
        value += weight * (np.trace(FF) - 2 * inner(LF, Z @ U) + inner(U, VV @ U))
        value += weights.mu * (np.trace(VV) - 2 * inner(Z, LF @ P) + inner(P, FF @ P))
        value += weights.gamma * (squared_norm(U) + squared_norm(P))
    return value


def start(problem, n_bits, weights, rng):
    """Random latent rows of the classes, and the best U_m and P_m for them."""
    Z = rng.uniform(size=(len(problem.LL), n_bits))
    U, P = update_loadings(problem, Z, weights), update_projections(problem, Z, weights)
    return State(Z, U, P)


def sweep(problem, state, weights):
    """One sweep, in place: Z, every U_m, every P_m. The objective does not rise."""
    state.Z = update_classes(problem, state.U, state.P, weights)
    state.U = update_loadings(problem, state.Z, weights)
    state.P = update_projections(problem, state.Z, weights)


def solve(problem, n_bits, *, weights, sweeps, rng):
    """The latent rows ``L Z``, and hash functions P_m."""
    state = start(problem, n_bits, weights, rng)
    for _ in sweeps:
        sweep(problem, state, weights)
        sweeps.record(objective(problem, state, weights))
    return problem.labels.expand(state.Z), state.P


@parametrised
class LCMFH(LinearHasher):
    """LCMFH: matrix factorisation in which rows of the same labels have the same code.

    Factorises the features of all modalities through latent rows that labels alone determine,
    and which hash functions follow [1]_.

    Parameters
    ----------
    lambdas : float or dict, default=0.5
        Weight of the factorisation of every modality's features; a number, or
        {name: weight}.
    mu : float, default=10.0
        Weight of what hash functions miss of the latent rows; above 0.
    gamma : float, default=1e-3
        Penalty of all factors.

    Attributes
    ----------
    offsets_ : dict
        Modality name to the thresholds (n_bits,) of its hash function.
    objective_ : ndarray of shape (n_iter_,)
        The objective after every sweep; it never rises.

    See Also
    --------
    SMFH : Factorises features alone, and lets a graph of labels and neighbours smooth the codes.

    Notes
    -----
    Time and memory grow linearly with the rows; no n x n matrix is formed. There are no more
    codes among the training rows than combinations of labels.

    References
    ----------
    .. [1] Wang, D., Gao, X., Wang, X. and He, L. (2019). Label consistent matrix factorization
       hashing for large-scale cross-modal similarity search. IEEE Transactions on Pattern
       Analysis and Machine Intelligence, 41(10), 2466-2479.
       https://ieeexplore.ieee.org/document/8423193

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import LCMFH
    >>> X, y = make_multimodal_classification(n_samples=200, random_state=0)
    >>> hasher = LCMFH(n_bits=16, random_state=0).fit(X, y)
    >>> hasher.encode(X, modality="text").shape
    (200, 16)
    """

    lambdas: float | Mapping[str, float] = 0.5
    mu: float = 10.0
    gamma: float = 1e-3

    _parameter_constraints = {
        "lambdas": [Interval(Real, 0, None, closed="left"), dict],
        "mu": [Interval(Real, 0, None, closed="neither")],
        "gamma": [Interval(Real, 0, None, closed="left")],
    }
    _paper_grid = {
        "lambdas": [0.1, 0.3, 0.5, 0.7, 0.9],
        "mu": [0.1, 1.0, 10.0, 100.0],
        "gamma": [1e-4, 1e-3, 1e-2, 1e-1],
    }
    _is_baseline = True

    def _solve(self, features, L, rng):
        F, sweeps = list(features.values()), self._sweeps()
        lambdas = modality_weights(self.lambdas, list(features), "lambdas").tolist()
        weights = Weights(lambdas, self.mu, self.gamma)
        V, projections = solve(
            Problem.from_data(F, L), self.n_bits, weights=weights, sweeps=sweeps, rng=rng
        )
        return Solution(
            sign(V - V.mean(axis=0)),
            projections,
            sweeps.objective,
            len(sweeps),
            offsets=[column_means(f) @ P for f, P in zip(F, projections, strict=True)],
        )
