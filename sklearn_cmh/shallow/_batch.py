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
from typing import Any

import numpy as np

from ..base import ShallowHasher, Solution, modality_weights
from ..solvers import (
    Targets,
    inner,
    orthonormal_basis,
    polar_factor,
    ridge_projection,
    sign,
    squared_norm,
)
from ..utils._sklearn import Interval
from ..utils._typing import Modalities, RandomState
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
        GG = targets.cross(targets)
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
    return V.astype(F.dtype, copy=False).T @ F / len(V)


def pulled(problem, A, theta):
    """``(k G G' + theta I) A``: what draws V R to the codes, and the codes to V R."""
    T = problem.targets
    return A.shape[1] * T.expand(T.pool(A)) + theta * A


def update_basis(problem, state, theta, lambdas, rng):
    """V: the maximiser of ``tr(V'Z)`` for ``(k G G' + theta I) B R' + sum_m lambda_m F_m U_m'``."""
    Z = pulled(problem, state.B, theta) @ state.R.T
    for weight, F, U in zip(lambdas, problem.features, state.U, strict=True):
        Z += weight * (F @ U.T)
    return orthonormal_basis(Z, rng)


def update_rotation(problem, state, theta):
    """R: the polar factor of ``V'(k G G' + theta I) B``."""
    return polar_factor(state.V.T @ pulled(problem, state.B, theta))


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
    n = len(problem.targets)
    B = sign(rng.standard_normal((n, n_bits))).astype(np.float64)
    V = orthonormal_basis(rng.standard_normal((n, n_bits)), rng)
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
    state = start(problem, n_bits, rng)
    for _ in sweeps:
        sweep(problem, state, theta, lambdas, rng)
        sweeps.record(objective(problem, state, theta, lambdas))
    return state.B.astype(np.int8)


class BATCH(TargetsMixin, ShallowHasher):
    """BATCH: asymmetric discrete codes from a rotated latent space.

    Learns the codes of the training rows from label similarity and a latent space that all
    modalities share, and then ridge regressions from mapped features to bits [1]_. It is the
    strongest shallow method among those that the papers of the others compare with.

    Parameters
    ----------
    n_bits : int, default=64
        Length of the codes.
    theta : float, default=1.0
        Weight of the codes' distance to the rotated latent space.
    lambdas : float or dict, default=0.5
        Weight of the factorisation of every modality's features; a number, or
        {name: weight}.
    lambda_h : float, default=1e-2
        Penalty of the ridge regression from features to codes.
    pair_weight : float, default=0.0
        Weight p of the pairing in what codes preserve, in [0, 1]. 0 is the paper: labels alone.
        1 is pairs alone: a space that the modalities share, learned without labels; y is
        optional then and serves `score` alone. In between, targets are
        ``[sqrt(1 - p) Lt, sqrt(p) Z]``, of labels and of the shared space. Above 0 rows without
        labels, -1 or an empty row of an indicator, take part. Needs two modalities.
    shared_space : SharedSpace, default=None
        The shared space for ``pair_weight > 0``, fitted to a clone. None takes a plain one from
        the mapped features: 64 components, weighted by their correlation.
    n_anchors : int, default=1000
        Anchors of the default feature map.
    feature_map : transformer, dict or "passthrough", default=None
        Map of the features, cloned for every modality, or {name: transformer}. None
        stands for ``AnchorRBF(n_anchors)``.
    modalities : list of tuple, dict or "prefix", default=None
        Which columns of X make up which modality: (name, transformer, columns) triples
        as in ColumnTransformer, {name: columns}, or "prefix" for a DataFrame with
        columns ``image__...``. None: those of a MultimodalData, or a single modality.
    max_iter : int, default=30
        Largest number of sweeps.
    tol : float, default=1e-6
        Stop when the objective falls by less than this, relatively.
    random_state : int, RandomState instance or None, default=None
        Seed of anchors and of the first codes and latent space.
    verbose : int, default=0
        Whether to print the objective of every sweep.

    Attributes
    ----------
    codes_ : ndarray of shape (n, n_bits), int8
        Learned codes of the training rows, -1 and +1.
    projections_ : dict
        Modality name to the (q, n_bits) matrix of its hash function.
    feature_maps_ : dict
        Modality name to the fitted feature map.
    shared_space_ : SharedSpace
        The fitted shared space, where `shared_space` is given and ``pair_weight > 0``.
    labels_ : csr_array of shape (n, c) or None
        Label indicator of the training rows; None without y.
    classes_ : ndarray of shape (c,) or None
        Classes of the columns of `labels_`.
    modality_names_ : list of str
        Names of the modalities.
    objective_ : ndarray of shape (n_iter_,)
        The objective after every sweep; it never rises.
    n_iter_ : int
        Sweeps done.
    n_features_in_ : int
        Columns seen during the fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names, where X had them.

    See Also
    --------
    sklearn_cmh.ASCMH : Rotates the latent space towards the labels, and takes any hash function.
    sklearn_cmh.RefinedHasher : Chooses hash functions, and bits among restarts, by retrieval.

    Notes
    -----
    Time and memory grow linearly with the rows; no n x n matrix is formed.

    References
    ----------
    .. [1] Wang, Y., Luo, X., Nie, L., Song, J., Zhang, W. and Xu, X.-S. (2020). BATCH: a scalable
       asymmetric discrete cross-modal hashing. IEEE Transactions on Knowledge and Data
       Engineering.

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import BATCH
    >>> X, y = make_multimodal_classification(n_samples=200, random_state=0)
    >>> hasher = BATCH(n_bits=16, n_anchors=50, random_state=0).fit(X, y)
    >>> hasher.encode(X, modality="text").shape
    (200, 16)
    """

    _parameter_constraints: dict = {
        **ShallowHasher._parameter_constraints,
        **TargetsMixin._parameter_constraints,
        "theta": [Interval(Real, 0, None, closed="left")],
        "lambdas": [Interval(Real, 0, None, closed="left"), dict],
        "lambda_h": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_bits: int = 64,
        *,
        theta: float = 1.0,
        lambdas: float | Mapping[str, float] = 0.5,
        lambda_h: float = 1e-2,
        pair_weight: float = 0.0,
        shared_space: Any = None,
        n_anchors: int = 1000,
        feature_map: Any = None,
        modalities: Modalities = None,
        max_iter: int = 30,
        tol: float = 1e-6,
        random_state: RandomState = None,
        verbose: bool | int = 0,
    ):
        self.n_bits = n_bits
        self.theta = theta
        self.lambdas = lambdas
        self.lambda_h = lambda_h
        self.pair_weight = pair_weight
        self.shared_space = shared_space
        self.n_anchors = n_anchors
        self.feature_map = feature_map
        self.modalities = modalities
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.verbose = verbose

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
        projections = [ridge_projection(f, B, self.lambda_h) for f in F]
        return Solution(B, projections, sweeps.objective, len(sweeps))

    @staticmethod
    def paper_grid() -> dict[str, list[float]]:
        """Parameter grid around the defaults, for GridSearchCV.

        Returns
        -------
        param_grid : dict
            Values of `theta`, `lambdas` and `lambda_h`.

        Examples
        --------
        >>> from sklearn_cmh.shallow import BATCH
        >>> sorted(BATCH.paper_grid())
        ['lambda_h', 'lambdas', 'theta']
        """
        powers = [1e-3, 1e-2, 1e-1, 1.0, 10.0]
        return {"theta": powers, "lambdas": powers, "lambda_h": powers}
