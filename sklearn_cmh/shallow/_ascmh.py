"""Asymmetric scalable cross-modal hashing (ASCMH).

W. Li, C.-M. Pun, "Asymmetric Scalable Cross-modal Hashing", 2022. Codes of the training rows
first, equation (7) with the conventions repaired (rows are samples, k the number of bits, G
the label indicator L with rows of norm one, F_m the mapped features of modality m):

    ||V R (L M)' - k G G'||^2 + omega ||B - L M||^2 + sum_m lambda_m ||F_m - V P_m||^2
    subject to V'V = n I, 1'V = 0, R'R = I, B in {-1, +1}

then, from these codes, hash functions of any kind, equation (23). The n x n term is never
formed: with the constraints it is ``n ||L M||^2 - 2 k tr(R'V'G G'L M) + k^2 ||G'G||^2``. Other
targets than those of labels take the place of G, and, times the 2-norms of its rows, of L.

Errata. The paper's (12) and (14) to (20) mix row and column conventions (R is k x k, not
n x k) and switch to V'V = I on the way. Every update here is the exact minimiser of its
subproblem under V'V = n I, so the objective never rises.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.utils import get_tags

from ..base import KernelHasher, Solution, modality_weights, parametrised, warn_ignored
from ..solvers import (
    Targets,
    add_dot,
    constant_bits,
    cross,
    gram,
    inner,
    label_targets,
    orthonormal_basis,
    polar_factor,
    quiet_passes,
    ridge_projection,
    squared_norm,
    standard_normal,
    targets_beside,
)
from ..utils._callbacks import report
from ..utils._sklearn import HasMethods, Interval
from ..utils._transformers import inner_clone, named_errors
from ._targets import TargetsMixin, no_labels

__all__ = ["ASCMH"]


@dataclass
class Problem:
    """What the sweeps need of the data, computed once.

    `features` holds F_m, `labels` L and `targets` G; `GL`, `GG` and `LL` are the products G'L,
    G'G and L'L, `LL_inverse` is the pseudo-inverse of the last, and `energies` are ||F_m||^2.
    """

    features: list
    labels: Targets
    targets: Targets
    GL: np.ndarray
    GG: np.ndarray
    LL: np.ndarray
    LL_inverse: np.ndarray
    energies: list

    @classmethod
    def from_data(cls, features, L, targets=None, grams=None):
        """Prepare features [(n, q_m) arrays], the indicator L (n, c), and targets.

        None stands for the targets of L. Others take the place of G, and with the 2-norms of the
        rows of L that of L: the rows of L are those of G times their norms. `grams` are the
        F_m'F_m, where they are known.
        """
        if targets is None:
            G, A = label_targets(L), Targets(L.astype(np.float64), np.zeros((L.shape[0], 0)))
        else:
            norms = np.sqrt(np.maximum(np.diff(L.indptr), 1))
            G, A = targets, targets.scaled(norms.astype(targets.dtype))
        LL = A.cross(A)
        if grams is None:
            energies = [squared_norm(F) for F in features]
        else:
            energies = [np.trace(G) for G in grams]
        return cls(
            features=features,
            labels=targets_beside(features[0], A),
            targets=targets_beside(features[0], G),
            GL=G.cross(A),
            GG=G.cross(G),
            LL=LL,
            LL_inverse=np.linalg.pinv(LL, hermitian=True),
            energies=energies,
        )


@dataclass
class State:
    """All variables, and the products G'V and L'B."""

    V: np.ndarray
    R: np.ndarray
    M: np.ndarray | None
    B: np.ndarray
    P: list
    GV: np.ndarray
    LB: np.ndarray


def update_loading(V, F):
    """P_m, eq. (10): ``V'F_m / n``, of shape (k, q)."""
    return cross(F, V, F.dtype).T / len(V)


def update_label_map(problem, state, omega):
    """M, eq. (12): of shape (c, k).

    The pseudo-inverse of ``L'L`` makes it the minimiser of least norm where a class never
    occurs or classes are collinear.
    """
    n, k = state.V.shape
    right = k * problem.GL.T @ (state.GV @ state.R) + omega * state.LB
    return problem.LL_inverse @ right / (n + omega)


def update_rotation(problem, state):
    """R, eq. (16): the polar factor of ``V'G G'L M``."""
    return polar_factor(state.GV.T @ (problem.GL @ state.M), state.R)


def update_basis(problem, state, lambdas, rng):
    """V, eq. (20): the maximiser of ``tr(V'Z)`` subject to V'V = n I and 1'V = 0.

    ``Z = k G G'L M R' + sum_m lambda_m F_m P_m'``.
    """
    k = len(state.R)
    Z = problem.targets.expand(k * (problem.GL @ state.M) @ state.R.T)
    for weight, F, P in zip(lambdas, problem.features, state.P, strict=True):
        Z = add_dot(Z, weight, F, P.T)
    return orthonormal_basis(Z, rng, overwrite=True)


def update_codes(problem, M):
    """B, eq. (22)."""
    return problem.labels.signs(M)


def objective(problem, state, omega, lambdas):
    """Equation (7), from small products only; P_m is at its best for V, so ``V'F_m = n P_m``."""
    n, k = state.V.shape
    LM = inner(state.M, problem.LL @ state.M)
    value = n * LM - 2 * k * inner(state.GV @ state.R, problem.GL @ state.M)
    value += k**2 * inner(problem.GG, problem.GG)
    value += omega * (n * k - 2 * inner(state.M, state.LB) + LM)
    for weight, P, energy in zip(lambdas, state.P, problem.energies, strict=True):
        value += weight * (energy - n * inner(P, P))
    return value


def start(problem, k, rng):
    """Random V, R and B, and the P_m of that V."""
    V = orthonormal_basis(standard_normal(rng, problem.features[0], k), rng, overwrite=True)
    R = polar_factor(rng.standard_normal((k, k)))
    B = update_codes(problem, rng.standard_normal((problem.labels.shape[1], k)))
    GV, LB = problem.targets.pool(V), problem.labels.pool(B)
    return State(V, R, None, B, _loadings(problem, V), GV, LB)


def sweep(problem, state, omega, lambdas, rng):
    """One sweep, in place: M, R, V, B, every P_m. The objective does not rise."""
    state.M = update_label_map(problem, state, omega)
    state.R = update_rotation(problem, state)
    state.V = update_basis(problem, state, lambdas, rng)
    state.B = update_codes(problem, state.M)
    state.GV, state.LB = problem.targets.pool(state.V), problem.labels.pool(state.B)
    state.P = _loadings(problem, state.V)


def _loadings(problem, V):
    return [update_loading(V, F) for F in problem.features]


def solve(problem, n_bits, *, omega, lambdas, sweeps, rng):
    """Algorithm 1: the codes B of the rows."""
    with quiet_passes(problem.features):
        state = start(problem, n_bits, rng)
        for _ in sweeps:
            sweep(problem, state, omega, lambdas, rng)
            sweeps.record(objective(problem, state, omega, lambdas))
    return state.B


def fit_bits(estimator, F, B):
    """Fit any regressor or classifier from features to bits, none of which is constant.

    A classifier sees zeros and ones, a regressor -1 and +1. An estimator that takes one
    target only is fitted bit by bit.
    """
    # Imported on use: it loads half of scikit-learn.
    from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor

    tags = get_tags(estimator)
    multi_label = tags.classifier_tags is not None and tags.classifier_tags.multi_label
    several = tags.target_tags.multi_output or multi_label
    if is_classifier(estimator):
        targets, wrapper = (B > 0).astype(np.int64), MultiOutputClassifier
    else:
        targets, wrapper = B.astype(F.dtype), MultiOutputRegressor
    if B.shape[1] == 1:
        return estimator.fit(F, targets.ravel())
    return (estimator if several else wrapper(estimator)).fit(F, targets)


def score_bits(model, F, n_outputs):
    """Real-valued scores (n, n_outputs) of a model from `fit_bits`; their signs are the bits."""
    from sklearn.multioutput import MultiOutputClassifier

    if isinstance(model, MultiOutputClassifier):
        Z = np.column_stack([score_bits(single, F, 1) for single in model.estimators_])
    elif is_regressor(model):
        Z = model.predict(F)
    elif hasattr(model, "decision_function"):
        Z = model.decision_function(F)
    elif hasattr(model, "predict_proba"):
        Z = model.predict_proba(F)
        if isinstance(Z, list):
            Z = np.column_stack([of_bit[:, 1] for of_bit in Z])
        elif n_outputs == 1:
            Z = Z[:, 1]
        Z = Z - 0.5
    else:
        Z = model.predict(F) - 0.5
    return np.reshape(Z, (F.shape[0], n_outputs))


@parametrised
class ASCMH(TargetsMixin, KernelHasher):
    """Asymmetric scalable cross-modal hashing.

    Learns the codes of the training rows first, from their labels and from what the
    mapped features of all modalities have in common, and then a hash function per
    modality that predicts them [1]_. Since the two steps are apart, any regressor or
    classifier of scikit-learn can be the hash function.

    Parameters
    ----------
    omega : float, default=0.01
        Weight of the regression of the codes on the labels. Within the paper's range
        it hardly matters, against the number of rows.
    lambdas : float or dict, default=0.5
        Weight of the factorisation of every modality's features; a number, or
        {name: weight}. Within the paper's range it hardly matters either.
    lambda_h : float, default=1e-3
        Penalty of the ridge regression from features to codes. Heavier penalties cost
        mAP wherever features say much about the labels.
    hash_estimator : regressor or classifier, default=None
        Hash function, cloned for every modality and fitted from mapped features to
        bits, bit by bit where it takes a single target. Regressors are fused by
        predictions, classifiers by decision values or, failing these, probabilities.
        None is ridge regression with `lambda_h` and no intercept, since mapped features
        are centred. ``Ridge(alpha)`` has one: it keeps the share of ones of every bit.
    feature_map : transformer, dict or "passthrough", default=None
        Map of the features, cloned for every modality, or {name: transformer}. None
        stands for ``AnchorRBF(n_anchors)``; the paper has 500 anchors for images and
        1,000 for text.

    Attributes
    ----------
    codes_ : ndarray of shape (n, n_bits), int8
        Learned codes of the training rows, -1 and +1. At ``pair_weight=0``, rows with the same
        labels have the same code.
    projections_ : dict
        Modality name to the (q, n_bits) matrix of its hash function; only where
        `hash_estimator` is None.
    hash_estimators_ : dict
        Modality name to the fitted estimator of the bits that vary among the training
        rows, or None if none does; only where `hash_estimator` is given.
    objective_ : ndarray of shape (n_iter_,)
        Equation (7) after every sweep; it never rises.

    See Also
    --------
    AAH : Codes and linear hash functions of the features themselves at once.
    RefinedHasher : Chooses hash functions, and bits among restarts, by retrieval.

    Notes
    -----
    With r bits, q mapped features a modality and targets of c columns, the fit takes
    :math:`O(n r (q + c + r))` a sweep, and :math:`O(n q^2 + q^3)` once per modality for its hash
    function. No n x n matrix is formed.

    The codes depend on a row's labels alone (``B = sgn(L M)``), and at the published
    weights the features all but do not enter; they matter for the hash functions. With
    ``pair_weight > 0``, targets T take the place of G, and those times the 2-norms of the rows
    of L that of L (1 where a row has no labels), as L is G times these norms: ``B = sgn(T M)``.

    References
    ----------
    .. [1] Li, W. and Pun, C.-M. (2022). Asymmetric scalable cross-modal hashing.
       :arxiv:`2207.12650`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_cmh import ASCMH, MultimodalData
    >>> rng = np.random.RandomState(0)
    >>> y = np.arange(90) % 3
    >>> X = MultimodalData(image=np.eye(3)[y] + rng.rand(90, 3), text=np.eye(3)[y, ::-1])
    >>> hasher = ASCMH(n_bits=16, n_anchors=30, random_state=0).fit(X, y)
    >>> hasher.encode(X["text"], modality="text").shape
    (90, 16)
    >>> hasher.set_params(hash_estimator=LogisticRegression()).fit(X, y).score(X, y) > 0.9
    True
    """

    omega: float = 0.01
    lambdas: float | Mapping[str, float] = 0.5
    lambda_h: float = 1e-3
    hash_estimator: Any = None

    _parameter_constraints = {
        "omega": [Interval(Real, 0, None, closed="left")],
        "lambdas": [Interval(Real, 0, None, closed="left"), dict],
        "lambda_h": [Interval(Real, 0, None, closed="left")],
        "hash_estimator": [HasMethods(["fit", "predict"]), None],
    }

    @property
    def _takes_lazy_rows(self):
        # Other estimators take arrays.
        return self.hash_estimator is None

    @property
    def _solves_chunks(self):
        return self.hash_estimator is None and self.pair_weight == 0

    def _warn_ignored(self, names):
        super()._warn_ignored(names)
        if self.hash_estimator is not None:
            warn_ignored(self, ["lambda_h"], "a hash_estimator")

    def _solve(self, features, supervision, rng):
        F, sweeps = list(features.values()), self._sweeps()
        T = self._targets(F, supervision) if self.pair_weight else None
        L = supervision.labels
        if L is None:
            L = no_labels(F[0].shape[0])
        by_ridge = self.hash_estimator is None
        grams = [self._cached(gram, f) for f in F] if by_ridge else []
        B = solve(
            Problem.from_data(F, L, T, grams or None),
            self.n_bits,
            omega=self.omega,
            lambdas=modality_weights(self.lambdas, list(features), "lambdas").tolist(),
            sweeps=sweeps,
            rng=rng,
        )
        if by_ridge:
            projections = [
                ridge_projection(f, B, self.lambda_h, G) for f, G in zip(F, grams, strict=True)
            ]
            return Solution(B, projections, sweeps.objective, len(sweeps))
        varied = ~constant_bits(B)
        return Solution(
            B,
            None,
            sweeps.objective,
            len(sweeps),
            extras={
                "hash_estimators_": self._fit_hash_estimators(features, B[:, varied], rng),
                "_varied_bits": varied,
            },
        )

    def _restart_params(self, codes_only):
        # Of all hash functions, ridge regressions take the least time.
        return {"hash_estimator": None} if codes_only else {}

    def _fit_hash_estimators(self, features, varied, rng):
        estimators = {}
        for name, F in features.items():
            report(self, f"hash functions of {name!r}")
            estimator = inner_clone(self.hash_estimator, rng)
            with named_errors("hash_estimator"):
                estimators[name] = fit_bits(estimator, F, varied) if varied.size else None
        return estimators

    @property
    def _bears_threads(self):
        return super()._bears_threads and hasattr(self, "projections_")

    def _project(self, name, block):
        if hasattr(self, "projections_"):
            return super()._project(name, block)
        F, model = self._map_features(name, block), self.hash_estimators_[name]
        # A bit that is constant in training is +1.
        Z = np.ones((F.shape[0], len(self._varied_bits)))
        if model is not None:
            Z[:, self._varied_bits] = score_bits(model, F, np.count_nonzero(self._varied_bits))
        return Z

    @staticmethod
    def paper_grid() -> dict[str, list[Any]]:
        """Parameter grid over the ranges that the paper studies, for GridSearchCV.

        Returns
        -------
        param_grid : dict
            Values of `omega` and `lambdas`.

        Examples
        --------
        >>> from sklearn_cmh import ASCMH
        >>> ASCMH.paper_grid()["omega"]
        [0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 1.0]
        """
        return {
            "omega": [0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 1.0],
            "lambdas": [0.1, 0.3, 0.5, 0.7, 0.9],
        }
