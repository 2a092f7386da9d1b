"""CMFH: collective matrix factorisation hashing.

G. Ding, Y. Guo and J. Zhou, "Collective Matrix Factorization Hashing for Multimodal Data", CVPR
2014. Written from the published description. With centred features F_m,

    sum_m lambda_m ||F_m - V U_m||^2                        eq. 3, a latent space of all modalities
    + mu sum_m ||V - F_m P_m||^2                            eq. 6, hash functions into it
    + gamma (||V||^2 + sum_m ||U_m||^2 + ||P_m||^2)         eq. 7

over V (n, k), U_m (k, q_m) and P_m (q_m, k); codes are the signs of V and of F_m P_m, less their
means. Every update is the exact minimiser, so that the objective (eq. 8) never rises. In
circulating code the penalty of U_m and P_m is gamma where eq. 8 has gamma / lambda_m and
gamma / mu.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

import numpy as np
from scipy.linalg import cho_solve

from ..base import Learning, LinearHasher, Solution, modality_weights, parametrised
from ..solvers import column_means, gram, inner, ridge_factor, sign, squared_norm
from ..utils._sklearn import Interval
from ._pairs import check_paired

__all__ = ["CMFH"]


@dataclass
class Problem:
    """F_m, ||F_m||^2, a factor of F_m'F_m + (gamma / mu) I, and the weights."""

    features: list
    energies: list
    factors: list
    lambdas: list
    mu: float
    gamma: float

    @classmethod
    def from_data(cls, features, lambdas, mu, gamma):
        """Prepare features [(n, q_m) arrays or CSR]."""
        energies = [squared_norm(F) for F in features]
        factors = [ridge_factor(gram(F), gamma / mu) for F in features]
        return cls(features, energies, factors, lambdas, mu, gamma)


@dataclass
class State:
    """All variables."""

    V: np.ndarray
    U: list
    P: list


def back(F, V):
    """``F'V`` in float64."""
    return (F.T @ V.astype(F.dtype, copy=False)).astype(np.float64, copy=False)


def update_loadings(problem, V):
    """U_m: ``(V'V + (gamma / lambda_m) I)^-1 V'F_m``; zero where lambda_m is."""
    G = V.T @ V
    return [
        cho_solve(ridge_factor(G, problem.gamma / weight), back(F, V).T)
        if weight
        else np.zeros((V.shape[1], F.shape[1]))
        for weight, F in zip(problem.lambdas, problem.features, strict=True)
    ]


def update_latent(problem, U, P):
    """V: what all modalities say of it, over ``sum_m lambda_m U_m U_m' + (M mu + gamma) I``."""
    n, k = problem.features[0].shape[0], len(U[0])
    A, Z = np.zeros((k, k)), np.zeros((n, k))
    for weight, F, u, p in zip(problem.lambdas, problem.features, U, P, strict=True):
        A += weight * (u @ u.T)
        Z += F @ (weight * u.T + problem.mu * p).astype(F.dtype)
    ridge = len(problem.features) * problem.mu + problem.gamma
    return cho_solve(ridge_factor(A, ridge), Z.T).T


def update_projections(problem, V):
    """P_m: ``(F_m'F_m + (gamma / mu) I)^-1 F_m'V``."""
    return [
        cho_solve(factor, back(F, V))
        for F, factor in zip(problem.features, problem.factors, strict=True)
    ]


def objective(problem, state):
    """Equation 8."""
    V, VV = state.V, state.V.T @ state.V
    value = problem.gamma * squared_norm(V)
    for m, (F, U, P) in enumerate(zip(problem.features, state.U, state.P, strict=True)):
        fit = problem.energies[m] - 2 * inner(back(F, V), U.T) + inner(VV, U @ U.T)
        value += problem.lambdas[m] * fit + problem.mu * squared_norm(V - F @ P.astype(F.dtype))
        value += problem.gamma * (squared_norm(U) + squared_norm(P))
    return value


def start(problem, n_bits, rng):
    """Random V, with the U_m and P_m that fit it."""
    V = rng.standard_normal((problem.features[0].shape[0], n_bits))
    return State(V, update_loadings(problem, V), update_projections(problem, V))


def sweep(problem, state):
    """One sweep, in place: V, every U_m and P_m. The objective does not rise."""
    state.V = update_latent(problem, state.U, state.P)
    state.U = update_loadings(problem, state.V)
    state.P = update_projections(problem, state.V)


@parametrised
class CMFH(LinearHasher):
    """Collective matrix factorisation: codes of a latent space of pairs, without labels.

    A baseline [1]_. Labels are used for nothing but `score`.

    Parameters
    ----------
    lambdas : float or dict, default=0.5
        Weight of the factorisation of every modality's features; a number, or {name: weight}.
    mu : float, default=100.0
        Weight of the hash functions' distance to the latent space.
    gamma : float, default=1e-2
        Penalty of all variables.

    Attributes
    ----------
    objective_ : ndarray of shape (n_iter_,)
        The objective after every sweep; it never rises.
    offsets_ : dict
        Modality name to the thresholds (n_bits,) of its hash function.

    See Also
    --------
    BATCH : Factorises features and label similarity.

    Notes
    -----
    Time and memory grow linearly with the rows; no n x n matrix is formed.

    References
    ----------
    .. [1] Ding, G., Guo, Y. and Zhou, J. (2014). Collective matrix factorization hashing for
       multimodal data. CVPR. :doi:`10.1109/CVPR.2014.267`

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import CMFH
    >>> X, y = make_multimodal_classification(n_samples=200, random_state=0)
    >>> CMFH(n_bits=16, tol=1e-3, random_state=0).fit(X).encode(X, modality="text").shape
    (200, 16)
    """

    lambdas: float | Mapping[str, float] = 0.5
    mu: float = 100.0
    gamma: float = 1e-2
    max_iter: int = 100
    tol: float = 1e-4

    _parameter_constraints = {
        "lambdas": [Interval(Real, 0, None, closed="left"), dict],
        "mu": [Interval(Real, 0, None, closed="neither")],
        "gamma": [Interval(Real, 0, None, closed="left")],
    }
    _paper_grid = {
        "lambdas": [0.1, 0.3, 0.5, 0.7, 0.9],
        "mu": [1.0, 10.0, 100.0, 1000.0],
        "gamma": [1e-4, 1e-2, 1.0],
    }
    _is_baseline = True
    _needs_pairs = True

    def _learning(self):
        return Learning(needs_labels=False, from_unlabelled=True)

    def _solve(self, features, L, rng):
        check_paired("CMFH", features)
        F, sweeps = list(features.values()), self._sweeps()
        lambdas = modality_weights(self.lambdas, list(features), "lambdas").tolist()
        problem = Problem.from_data(F, lambdas, self.mu, self.gamma)
        state = start(problem, self.n_bits, rng)
        for _ in sweeps:
            sweep(problem, state)
            sweeps.record(objective(problem, state))
        codes = sign(state.V - state.V.mean(axis=0))
        offsets = [column_means(f) @ P for f, P in zip(F, state.P, strict=True)]
        return Solution(codes, state.P, sweeps.objective, len(sweeps), offsets)
