"""SRLCH: subspace relation learning for cross-modal hashing.

H. T. Shen, L. Liu, Y. Yang, X. Xu, Z. Huang, F. Shen, R. Hong, "Exploiting Subspace Relation in
Semantic Labels for Cross-modal Hashing", IEEE Transactions on Knowledge and Data Engineering
33(10), 2021. Written from the authors' code. Labels are mapped into the Hamming space, where rows
of one label are then close, and hash functions P_m meet them there. With L the label indicator,
k bits, and F_m the mapped features of modality m:

    ||B - L W||^2 + lambda_w ||W||^2                                labels
    + sum_m mu_m (||B - F_m P_m||^2 + alpha_m ||P_m||^2)            hash functions
    subject to B in {-1, +1}

over codes B (n, k), the map W (c, k) of labels and hash functions P_m (q_m, k). All updates are
closed, and exact minimisers; so the objective never rises.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

import numpy as np

from ..base import KernelHasher, Solution, modality_weights, parametrised
from ..solvers import (
    RidgeRegression,
    Targets,
    dot,
    label_rows,
    quiet_passes,
    sign,
    squared_norm,
    standard_normal,
    weighted_sum,
)
from ..utils._sklearn import Interval

__all__ = ["SRLCH"]


@dataclass
class Problem:
    """What the sweeps need of the data: L, F_m, and regressions on them."""

    labels: Targets
    label_regression: RidgeRegression
    features: list
    regressions: list

    @classmethod
    def from_data(cls, features, L, lambda_w, alphas):
        """Prepare features [(n, q_m) arrays] and the label indicator L (n, c)."""
        regressions = [RidgeRegression(F, alpha) for F, alpha in zip(features, alphas, strict=True)]
        return cls(label_rows(L, features[0]), RidgeRegression(L, lambda_w), features, regressions)


@dataclass
class State:
    """All variables, and the projections ``L W`` and ``F_m P_m``."""

    B: np.ndarray
    W: np.ndarray
    P: list
    mapped: np.ndarray
    projected: list


def update_label_map(problem, B):
    """W: ridge regression of the codes on the labels."""
    return problem.label_regression.solve(problem.labels.pool(B))


def update_projections(problem, B):
    """P_m: ridge regression of the codes on the features."""
    return [regression.projection(B) for regression in problem.regressions]


def update_codes(state, mus):
    """B: the sign of ``L W + sum_m mu_m F_m P_m``."""
    terms = zip((1.0, *mus), (state.mapped, *state.projected), strict=True)
    return sign(weighted_sum(*terms)).astype(np.float64)


def objective(state, lambda_w, mus, alphas):
    """The objective."""
    value = squared_norm(state.B - state.mapped) + lambda_w * squared_norm(state.W)
    for mu, alpha, P, Z in zip(mus, alphas, state.P, state.projected, strict=True):
        value += mu * (squared_norm(state.B - Z) + alpha * squared_norm(P))
    return value


def fitted_to(problem, B):
    """The state of some codes: the best W and P_m for them."""
    W, P = update_label_map(problem, B), update_projections(problem, B)
    projected = [dot(F, p) for F, p in zip(problem.features, P, strict=True)]
    return State(B, W, P, problem.labels.expand(W), projected)


def solve(problem, n_bits, *, lambda_w, mus, alphas, sweeps, rng):
    """The state at the end, from random codes."""
    with quiet_passes(problem.features):
        random = standard_normal(rng, problem.features[0], n_bits)
        state = fitted_to(problem, sign(random).astype(np.float64))
        for _ in sweeps:
            state = fitted_to(problem, update_codes(state, mus))
            sweeps.record(objective(state, lambda_w, mus, alphas))
    return state


@parametrised
class SRLCH(KernelHasher):
    """SRLCH: codes that labels and features are both regressed on.

    Maps labels into the Hamming space, so that rows of one label are close there, and lets hash
    functions draw the codes [1]_.

    Parameters
    ----------
    mu : float or dict, default=0.1
        Weight of what hash functions miss of the codes; a number, or {name: weight}. The
        authors' Wikipedia script has 0.1 for images and 1e-5 for texts.
    lambda_w : float, default=0.1
        Penalty of the map from labels to codes.
    alpha : float or dict, default=0.01
        Penalty of every modality's hash functions; a number, or {name: penalty}. The authors'
        Wikipedia script has 0.01 for images and 0.1 for texts.

    Attributes
    ----------
    objective_ : ndarray of shape (n_iter_,)
        The objective after every sweep; it never rises.

    See Also
    --------
    DCH : Regresses labels on codes, instead of codes on labels.

    Notes
    -----
    Time and memory grow linearly with the rows; no n x n matrix is formed.

    References
    ----------
    .. [1] Shen, H. T., Liu, L., Yang, Y., Xu, X., Huang, Z., Shen, F. and Hong, R. (2021).
       Exploiting subspace relation in semantic labels for cross-modal hashing. IEEE Transactions
       on Knowledge and Data Engineering, 33(10), 3351-3365. :doi:`10.1109/TKDE.2020.2970050`

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import SRLCH
    >>> X, y = make_multimodal_classification(n_samples=200, random_state=0)
    >>> hasher = SRLCH(n_bits=16, n_anchors=50, random_state=0).fit(X, y)
    >>> hasher.encode(X, modality="text").shape
    (200, 16)
    """

    mu: float | Mapping[str, float] = 0.1
    lambda_w: float = 0.1
    alpha: float | Mapping[str, float] = 0.01

    _parameter_constraints = {
        "mu": [Interval(Real, 0, None, closed="left"), dict],
        "lambda_w": [Interval(Real, 0, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left"), dict],
    }
    _paper_grid = {
        "mu": [1e-5, 1e-3, 1e-1],
        "lambda_w": [1e-2, 1e-1, 1.0],
        "alpha": [1e-2, 1e-1, 1.0],
    }
    _is_baseline = True
    _takes_lazy_rows = _solves_chunks = True  # type: ignore[assignment]

    def _solve(self, features, L, rng):
        F, sweeps = list(features.values()), self._sweeps()
        alphas = modality_weights(self.alpha, list(features), "alpha").tolist()
        state = solve(
            Problem.from_data(F, L, self.lambda_w, alphas),
            self.n_bits,
            lambda_w=self.lambda_w,
            mus=modality_weights(self.mu, list(features), "mu").tolist(),
            alphas=alphas,
            sweeps=sweeps,
            rng=rng,
        )
        return Solution(state.B, state.P, sweeps.objective, len(sweeps))
