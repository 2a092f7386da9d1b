"""BATCH: scalable asymmetric discrete cross-modal hashing.

Y. Wang, X. Luo, L. Nie, J. Song, W. Zhang, X.-S. Xu, "BATCH: A Scalable Asymmetric Discrete
Cross-Modal Hashing", IEEE Transactions on Knowledge and Data Engineering, 2020. Written from the
published description. With G the label indicator L, rows of norm one, k bits, and F_m the mapped
features of modality m,

    ||k G G' - B (V R)'||^2                     asymmetric similarity
    + theta ||B - V R||^2                       rotated latent space
    + sum_m lambda_m ||F_m - V U_m||^2          latent space of the features
    subject to V'V = n I, 1'V = 0, R'R = I, B in {-1, +1}

over codes B (n, k), the latent space V (n, k), a rotation R and loadings U_m (k, q_m); then, from
the codes, hash functions by ridge regression. As ``(V R)'V R = n I``, the quadratic part of the
first term is constant, so that every update is the exact minimiser of its subproblem and the
objective never rises. Other targets than those of labels take the place of G.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

import numpy as np

from ..base import KernelHasher, modality_weights, parametrised
from ..solvers import (
    Targets,
    cross,
    dot,
    inner,
    orthonormal_basis,
    polar_factor,
    quiet_passes,
    sign,
    squared_norm,
    standard_normal,
    targets_beside,
)
from ..utils._sklearn import Interval
from ._regression import RegressionMixin
from ._targets import TargetsMixin

__all__ = ["BATCH"]


@dataclass
class Problem:
    """What the sweeps need of the data: F_m and ||F_m||^2, targets G and ||G'G||^2."""

    features: list
    targets: Targets
    energies: list
    similarity_norm: float

    @classmethod
    def from_data(cls, features, targets):
        """Prepare features [(n, q_m) arrays] and targets (n, t)."""
        GG, targets = targets.cross(targets), targets_beside(features[0], targets)
        return cls(features, targets, [squared_norm(F) for F in features], inner(GG, GG))


@dataclass
class State:
    """All variables."""

    B: np.ndarray
    V: np.ndarray
    R: np.ndarray
    U: list


def update_loading(V, F):
    """U_m: ``V'F_m / n``."""
    return cross(F, V, F.dtype).T / len(V)


def pulled(problem, A, theta):
    """``(k G G' + theta I) A``: what draws V R to the codes, and the codes to V R."""
    T = problem.targets
    return A.shape[1] * T.expand(T.pool(A)) + theta * A


def update_basis(problem, state, theta, lambdas, rng):
    """V: the maximiser of ``tr(V'Z)`` for ``(k G G' + theta I) B R' + sum_m lambda_m F_m U_m'``."""
    Z = pulled(problem, state.B, theta) @ state.R.T
    for weight, F, U in zip(lambdas, problem.features, state.U, strict=True):
        Z += weight * dot(F, U.T)
    return orthonormal_basis(Z, rng, overwrite=True)


def update_rotation(problem, state, theta):
    """R: the polar factor of ``V'(k G G' + theta I) B``."""
    return polar_factor(state.V.T @ pulled(problem, state.B, theta), state.R)


def update_codes(problem, state, theta):
    """B: the sign of ``(k G G' + theta I) V R``."""
    return sign(pulled(problem, state.V @ state.R, theta)).astype(np.float64)


def objective(problem, state, theta, lambdas):
    """The objective, without the n x n similarity; U_m is at its best for V."""
    n, k = state.B.shape
    latent, T = state.V @ state.R, problem.targets
    value = k**2 * problem.similarity_norm - 2 * k * inner(T.pool(state.B), T.pool(latent))
    value += n * n * k + theta * (2 * n * k - 2 * inner(state.B, latent))
    for weight, U, energy in zip(lambdas, state.U, problem.energies, strict=True):
        value += weight * (energy - n * inner(U, U))
    return value


def start(problem, n_bits, rng):
    """Random B, V and R, and the U_m of that V."""
    rows = problem.features[0]
    B = sign(standard_normal(rng, rows, n_bits)).astype(np.float64)
    V = orthonormal_basis(standard_normal(rng, rows, n_bits), rng, overwrite=True)
    R = polar_factor(rng.standard_normal((n_bits, n_bits)))
    return State(B, V, R, [update_loading(V, F) for F in problem.features])


def sweep(problem, state, theta, lambdas, rng):
    """One sweep, in place: V, R, B, every U_m. The objective does not rise."""
    state.V = update_basis(problem, state, theta, lambdas, rng)
    state.R = update_rotation(problem, state, theta)
    state.B = update_codes(problem, state, theta)
    state.U = [update_loading(state.V, F) for F in problem.features]


def solve(problem, n_bits, *, theta, lambdas, sweeps, rng):
    """The codes B of the rows."""
    with quiet_passes(problem.features):
        state = start(problem, n_bits, rng)
        for _ in sweeps:
            sweep(problem, state, theta, lambdas, rng)
            sweeps.record(objective(problem, state, theta, lambdas))
    return state.B.astype(np.int8)


@parametrised
class BATCH(TargetsMixin, RegressionMixin, KernelHasher):
    """BATCH: asymmetric discrete codes from a rotated latent space.

    Learns the codes of the training rows from label similarity and a latent space that all
    modalities share, and then ridge regressions from mapped features to bits [1]_. It is the
    strongest shallow method among those that the papers of the others compare with.

    Parameters
    ----------
    theta : float, default=1.0
        Weight of the codes' distance to the rotated latent space.
    lambdas : float or dict, default=0.5
        Weight of the factorisation of every modality's features; a number, or
        {name: weight}.

    Attributes
    ----------
    objective_ : ndarray of shape (n_iter_,)
        The objective after every sweep; it never rises.

    See Also
    --------
    sklearn_cmh.ASCMH : Rotates the latent space towards the labels, and takes any hash function.
    sklearn_cmh.RefinedHasher : Chooses hash functions, and bits among restarts, by retrieval.

    Notes
    -----
    With r bits, q mapped features a modality and targets of c columns, a sweep takes
    :math:`O(n r (q + c + r))`. No n x n matrix is formed.

    References
    ----------
    .. [1] Wang, Y., Luo, X., Nie, L., Song, J., Zhang, W. and Xu, X.-S. (2020). BATCH: a scalable
       asymmetric discrete cross-modal hashing. IEEE Transactions on Knowledge and Data
       Engineering, 33(11), 3507-3519. :doi:`10.1109/TKDE.2020.2974825`

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import BATCH
    >>> X, y = make_multimodal_classification(n_samples=200, random_state=0)
    >>> hasher = BATCH(n_bits=16, n_anchors=50, random_state=0).fit(X, y)
    >>> hasher.encode(X, modality="text").shape
    (200, 16)
    """

    theta: float = 1.0
    lambdas: float | Mapping[str, float] = 0.5

    _parameter_constraints = {
        "theta": [Interval(Real, 0, None, closed="left")],
        "lambdas": [Interval(Real, 0, None, closed="left"), dict],
    }
    _paper_grid = {name: [1e-3, 1e-2, 1e-1, 1.0, 10.0] for name in ("theta", "lambdas", "lambda_h")}

    _takes_lazy_rows = True  # type: ignore[assignment]

    @property
    def _solves_chunks(self):
        return self.pair_weight == 0

    def _solve(self, features, supervision, rng):
        F, sweeps = list(features.values()), self._sweeps()
        B = solve(
            Problem.from_data(F, self._targets(F, supervision)),
            self.n_bits,
            theta=self.theta,
            lambdas=modality_weights(self.lambdas, list(features), "lambdas").tolist(),
            sweeps=sweeps,
            rng=rng,
        )
        return self._regressed(features, B, sweeps)
