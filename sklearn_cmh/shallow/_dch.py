"""DCH: discrete cross-modal hashing.

X. Xu, F. Shen, Y. Yang, H. T. Shen, X. Li, "Learning Discriminative Binary Codes for Large-scale
Cross-modal Retrieval", IEEE Transactions on Image Processing 26(5), 2017. Written from the
published description and the authors' scripts. With L the label indicator, k bits, and F_m the
mapped features of modality m, codes should be such that a linear classifier tells the labels, and
that hash functions P_m can follow them:

    ||L - B W||^2 + lambda_w ||W||^2                                classifier
    + sum_m mu_m (||B - F_m P_m||^2 + lambda_h ||P_m||^2)           hash functions
    subject to B in {-1, +1}

over codes B (n, k), the classifier W (k, c) and hash functions P_m (q_m, k). W and P_m are ridge
regressions; bits are set one after another, each to its best given the others (discrete cyclic
coordinate descent). So the objective never rises.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

import numpy as np

from ..base import KernelHasher, modality_weights, parametrised
from ..solvers import (
    RidgeRegression,
    Targets,
    cyclic_bits,
    dot,
    inner,
    label_rows,
    quiet_passes,
    ridge_solve,
    sign,
    squared_norm,
    standard_normal,
)
from ..utils._sklearn import Interval
from ._regression import RegressionMixin

__all__ = ["DCH"]

_PASSES = 10


@dataclass
class Problem:
    """What the sweeps need of the data: F_m, regressions on them, L, and ||L||^2."""

    features: list
    regressions: list
    labels: Targets
    label_energy: float

    @classmethod
    def from_data(cls, features, L, lambda_h):
        """Prepare features [(n, q_m) arrays] and the label indicator L (n, c)."""
        regressions = [RidgeRegression(F, lambda_h) for F in features]
        return cls(features, regressions, label_rows(L, features[0]), squared_norm(L))


@dataclass
class State:
    """All variables, and the projections ``F_m P_m``."""

    B: np.ndarray
    W: np.ndarray
    P: list
    projected: list


def update_classifier(problem, B, lambda_w):
    """W: ridge regression of the labels on the codes."""
    return ridge_solve(B.T @ B, lambda_w, problem.labels.pool(B).T)


def update_projections(problem, B):
    """P_m: ridge regression of the codes on the features; and ``F_m P_m``."""
    P = [regression.projection(B) for regression in problem.regressions]
    return P, [dot(F, p) for F, p in zip(problem.features, P, strict=True)]


def update_codes(problem, state, mus):
    """B: cyclic over bits, for ``W W'`` and ``L W' + sum_m mu_m F_m P_m``."""
    N = problem.labels.expand(state.W.T)
    for mu, Z in zip(mus, state.projected, strict=True):
        N += mu * Z
    return cyclic_bits(state.B, state.W @ state.W.T, N, _PASSES)


def objective(problem, state, lambda_w, mus, lambda_h):
    """The objective, from small products where there are such."""
    B, W = state.B, state.W
    value = problem.label_energy - 2 * inner(problem.labels.pool(B).T, W)
    value += inner(W, B.T @ B @ W) + lambda_w * squared_norm(W)
    for mu, P, Z in zip(mus, state.P, state.projected, strict=True):
        value += mu * (squared_norm(B - Z) + lambda_h * squared_norm(P))
    return value


def start(problem, n_bits, lambda_w, rng):
    """Random codes, and the best W and P_m for them."""
    B = sign(standard_normal(rng, problem.features[0], n_bits)).astype(np.float64)
    return State(B, update_classifier(problem, B, lambda_w), *update_projections(problem, B))


def sweep(problem, state, lambda_w, mus):
    """One sweep, in place: B, W, every P_m. The objective does not rise."""
    state.B = update_codes(problem, state, mus)
    state.W = update_classifier(problem, state.B, lambda_w)
    state.P, state.projected = update_projections(problem, state.B)


def solve(problem, n_bits, *, lambda_w, mus, lambda_h, sweeps, rng):
    """The codes B of the rows."""
    with quiet_passes(problem.features):
        state = start(problem, n_bits, lambda_w, rng)
        for _ in sweeps:
            sweep(problem, state, lambda_w, mus)
            sweeps.record(objective(problem, state, lambda_w, mus, lambda_h))
    return state.B


@parametrised
class DCH(RegressionMixin, KernelHasher):
    """DCH: discrete codes that a linear classifier tells labels from.

    Learns codes from which labels can be predicted linearly and which hash functions can follow,
    bit by bit and without relaxing them [1]_.

    Parameters
    ----------
    lambda_w : float, default=1.0
        Penalty of the classifier from codes to labels.
    mu : float or dict, default=1e-5
        Weight of what hash functions miss of the codes; a number, or {name: weight}. The
        default is that of the supervised discrete hashing on which the method builds; the
        authors' scripts have 0.

    Attributes
    ----------
    objective_ : ndarray of shape (n_iter_,)
        The objective after every sweep; it never rises.

    See Also
    --------
    SRLCH : Regresses codes on labels, instead of labels on codes.

    Notes
    -----
    Time and memory grow linearly with the rows; no n x n matrix is formed.

    References
    ----------
    .. [1] Xu, X., Shen, F., Yang, Y., Shen, H. T. and Li, X. (2017). Learning discriminative
       binary codes for large-scale cross-modal retrieval. IEEE Transactions on Image Processing,
       26(5), 2494-2507. https://ieeexplore.ieee.org/document/7867785

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import DCH
    >>> X, y = make_multimodal_classification(n_samples=200, random_state=0)
    >>> hasher = DCH(n_bits=16, n_anchors=50, random_state=0).fit(X, y)
    >>> hasher.encode(X, modality="text").shape
    (200, 16)
    """

    lambda_w: float = 1.0
    mu: float | Mapping[str, float] = 1e-5

    _parameter_constraints = {
        "lambda_w": [Interval(Real, 0, None, closed="left")],
        "mu": [Interval(Real, 0, None, closed="left"), dict],
    }
    _paper_grid = {"lambda_w": [1e-2, 1e-1, 1.0, 10.0], "mu": [1e-6, 1e-5, 1e-4, 1e-3, 1e-2]}
    _is_baseline = True
    _takes_lazy_rows = _solves_chunks = True  # type: ignore[assignment]

    def _solve(self, features, L, rng):
        sweeps = self._sweeps()
        B = solve(
            Problem.from_data(list(features.values()), L, self.lambda_h),
            self.n_bits,
            lambda_w=self.lambda_w,
            mus=modality_weights(self.mu, list(features), "mu").tolist(),
            lambda_h=self.lambda_h,
            sweeps=sweeps,
            rng=rng,
        )
        return self._regressed(features, B, sweeps)
