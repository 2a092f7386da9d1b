"""SCRATCH: scalable discrete matrix factorisation hashing.

C.-X. Li, Z.-D. Chen, P.-F. Zhang, X. Luo, L. Nie, W. Zhang, X.-S. Xu, "SCRATCH: A Scalable
Discrete Matrix Factorization Hashing for Cross-Modal Retrieval", ACM Multimedia 2018; extended in
IEEE Transactions on Circuits and Systems for Video Technology 30(7), 2020. Written from the
authors' code for the former. With L the label indicator, k bits, and F_m the mapped features of
modality m:

    sum_m lambda_m ||F_m - V U_m||^2        latent space of the features
    + alpha ||L - V G||^2                   from which labels can be told
    + mu sum_m ||V - F_m W_m||^2            and which features can tell
    + ||B - V R||^2                         rotated towards the codes
    + gamma (||V||^2 + ||G||^2 + sum_m ||U_m||^2 + ||W_m||^2)
    subject to R'R = I, B in {-1, +1}

over the latent space V (n, k), loadings U_m (k, q_m) and G (k, c), projections W_m (q_m, k), a
rotation R and codes B; hash functions are ``W_m R``. Every update is the exact minimiser of its
subproblem, so that the objective never rises.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

import numpy as np

from ..base import KernelHasher, Solution, modality_weights, parametrised
from ..solvers import (
    RidgeRegression,
    Targets,
    cross,
    dot,
    inner,
    label_rows,
    polar_factor,
    quiet_passes,
    ridge_solve,
    ridge_solve_rows,
    sign,
    squared_norm,
    standard_normal,
)
from ..utils._sklearn import Interval

__all__ = ["SCRATCH"]


@dataclass(frozen=True)
class Weights:
    """Weights of the terms; one of `lambdas` per modality."""

    lambdas: list
    alpha: float
    mu: float
    gamma: float


@dataclass
class Problem:
    """What the sweeps need of the data: F_m, regressions on F_m, L, and ||L||^2."""

    features: list
    regressions: list
    labels: Targets
    label_energy: float

    @classmethod
    def from_data(cls, features, L, weights):
        """Prepare features [(n, q_m) arrays] and the label indicator L (n, c)."""
        regressions = [RidgeRegression(F, weights.gamma / weights.mu) for F in features]
        return cls(features, regressions, label_rows(L, features[0]), squared_norm(L))


@dataclass
class State:
    """All variables, and the products ``F_m'V`` and ``L'V``."""

    V: np.ndarray
    R: np.ndarray
    B: np.ndarray
    FV: list
    LV: np.ndarray
    U: list
    G: np.ndarray
    W: list


def loading(VV, AV, weight, gamma):
    """The minimiser X of ``weight ||A - V X||^2 + gamma ||X||^2``, for features or labels A."""
    return ridge_solve(weight * VV, gamma, weight * AV.T)


def update_loadings(VV, FV, weights):
    """U_m."""
    pairs = zip(FV, weights.lambdas, strict=True)
    return [loading(VV, fv, weight, weights.gamma) for fv, weight in pairs]


def update_label_loading(VV, LV, weights):
    """G."""
    return loading(VV, LV, weights.alpha, weights.gamma)


def update_projections(problem, FV):
    """W_m: ridge regression of the latent space on the features."""
    return [regression.solve(fv) for regression, fv in zip(problem.regressions, FV, strict=True)]


def update_latent(problem, state, weights):
    """V: ``N M^-1`` of the normal equations, row by row the same k x k matrix M."""
    M = weights.alpha * (state.G @ state.G.T)
    N = state.B @ state.R.T + weights.alpha * problem.labels.expand(state.G.T)
    for weight, F, U, W in zip(weights.lambdas, problem.features, state.U, state.W, strict=True):
        M += weight * (U @ U.T)
        N += dot(F, weight * U.T + weights.mu * W)
    ridge = 1 + weights.mu * len(problem.features) + weights.gamma
    return ridge_solve_rows(N, M, ridge)


def update_rotation(V, B, R):
    """R: the polar factor of ``V'B``, the nearest to the last R if there are several."""
    return polar_factor(V.T @ B, R)


def update_codes(V, R):
    """B: the sign of ``V R``."""
    return sign(V @ R).astype(np.float64)


def objective(problem, state, weights):
    """The objective, from small products where there are such."""
    V, VV = state.V, state.V.T @ state.V
    value = squared_norm(state.B - V @ state.R) + weights.gamma * np.trace(VV)
    energies = [np.trace(regression.gram) for regression in problem.regressions]
    parts = [(weights.alpha, problem.label_energy, state.LV, state.G)]
    parts += zip(weights.lambdas, energies, state.FV, state.U, strict=True)
    for weight, energy, AV, X in parts:
        value += weight * (energy - 2 * inner(AV.T, X) + inner(X, VV @ X))
        value += weights.gamma * squared_norm(X)
    for regression, FV, W in zip(problem.regressions, state.FV, state.W, strict=True):
        value += weights.mu * (np.trace(VV) - 2 * inner(FV, W) + inner(W, regression.gram @ W))
        value += weights.gamma * squared_norm(W)
    return value


def fitted_to(problem, V, R, B, weights):
    """The state of some V, R and B: the best U_m, G and W_m for them."""
    VV, FV = V.T @ V, [cross(F, V) for F in problem.features]
    LV = problem.labels.pool(V)
    return State(
        V,
        R,
        B,
        FV,
        LV,
        U=update_loadings(VV, FV, weights),
        G=update_label_loading(VV, LV, weights),
        W=update_projections(problem, FV),
    )


def start(problem, n_bits, weights, rng):
    """Random V and R, and the best of the others for them."""
    V = standard_normal(rng, problem.features[0], n_bits)
    R = polar_factor(rng.standard_normal((n_bits, n_bits)))
    return fitted_to(problem, V, R, update_codes(V, R), weights)


def sweep(problem, state, weights):
    """The state after V, R, B, every U_m, G, every W_m. The objective does not rise."""
    V = update_latent(problem, state, weights)
    R = update_rotation(V, state.B, state.R)
    return fitted_to(problem, V, R, update_codes(V, R), weights)


def solve(problem, n_bits, *, weights, sweeps, rng):
    """Codes B of the rows, and hash functions ``W_m R``."""
    with quiet_passes(problem.features):
        state = start(problem, n_bits, weights, rng)
        for _ in sweeps:
            state = sweep(problem, state, weights)
            sweeps.record(objective(problem, state, weights))
    return state.B, [W @ state.R for W in state.W]


@parametrised
class SCRATCH(KernelHasher):
    """SCRATCH: codes of a latent space of features and labels.

    Factorises the features of all modalities and the labels through one latent space, which hash
    functions follow, and rotates it towards codes [1]_.

    Parameters
    ----------
    lambdas : float or dict, default=0.5
        Weight of the factorisation of every modality's features; a number, or
        {name: weight}.
    alpha : float, default=500.0
        Weight of the factorisation of the labels.
    mu : float, default=1000.0
        Weight of what hash functions miss of the latent space; above 0.
    gamma : float, default=5.0
        Penalty of all factors.

    Attributes
    ----------
    objective_ : ndarray of shape (n_iter_,)
        The objective after every sweep; it never rises.

    See Also
    --------
    BATCH : By the same group, with the similarity of labels.

    Notes
    -----
    Time and memory grow linearly with the rows; no n x n matrix is formed. Defaults are those of
    the authors' Wikipedia script, but for `max_iter`, which is 20 there: too few to converge.

    References
    ----------
    .. [1] Li, C.-X., Chen, Z.-D., Zhang, P.-F., Luo, X., Nie, L., Zhang, W. and Xu, X.-S. (2018).
       SCRATCH: a scalable discrete matrix factorization hashing for cross-modal retrieval. ACM
       Multimedia, 1-9. :doi:`10.1145/3240508.3240547`

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import SCRATCH
    >>> X, y = make_multimodal_classification(n_samples=200, random_state=0)
    >>> hasher = SCRATCH(n_bits=16, n_anchors=50, random_state=0).fit(X, y)
    >>> hasher.encode(X, modality="text").shape
    (200, 16)
    """

    lambdas: float | Mapping[str, float] = 0.5
    alpha: float = 500.0
    mu: float = 1000.0
    gamma: float = 5.0
    max_iter: int = 200
    tol: float = 1e-5

    _parameter_constraints = {
        "lambdas": [Interval(Real, 0, None, closed="left"), dict],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "mu": [Interval(Real, 0, None, closed="neither")],
        "gamma": [Interval(Real, 0, None, closed="left")],
    }
    _paper_grid = {
        "lambdas": [0.1, 0.3, 0.5, 0.7, 0.9],
        "alpha": [50.0, 500.0, 5000.0],
        "mu": [100.0, 1000.0, 10000.0],
        "gamma": [0.5, 5.0, 50.0],
    }
    _is_baseline = True
    _takes_lazy_rows = _solves_chunks = True  # type: ignore[assignment]

    def _solve(self, features, L, rng):
        F, sweeps = list(features.values()), self._sweeps()
        lambdas = modality_weights(self.lambdas, list(features), "lambdas").tolist()
        weights = Weights(lambdas, self.alpha, self.mu, self.gamma)
        problem = Problem.from_data(F, L, weights)
        B, projections = solve(problem, self.n_bits, weights=weights, sweeps=sweeps, rng=rng)
        return Solution(B, projections, sweeps.objective, len(sweeps))
