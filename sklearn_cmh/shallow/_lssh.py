"""LSSH: latent semantic sparse hashing.

J. Zhou, G. Ding and Y. Guo, "Latent Semantic Sparse Hashing for Cross-Modal Similarity Search",
SIGIR 2014. Written from the description and from what the authors' code does. Rows X of one
modality (images) have sparse codes S, rows T of the other (texts) a latent space A, linked by R:

    ||X - S D||^2 + rho ||S||_1       sparse coding of the one
    + mu ||T - A U||^2                matrix factorisation of the other
    + gamma ||A - S R||^2             what links them
    over S (n, b), A (n, k), and D (b, q), R (b, k), U (k, t) whose rows have a norm of at most one

Codes are the signs of A. A row x alone has the code of ``s R`` with its sparse code s, a row t
alone that of ``t U'(U U' + gamma / mu I)^-1``, which is A at ``s = 0``. A is at its exact
minimiser, S at that of coordinate descent, and the rows of D, R and U one after another at theirs,
so that the objective never rises. The authors' code reduces images by PCA first; here a
`feature_map` does, if any.
"""

import warnings
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from scipy.linalg import cho_solve
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler, normalize

from ..base import Learning, LinearHasher, Solution, parametrised
from ..solvers import dense, project, ridge_factor, sign, squared_norm
from ..utils._sklearn import Interval
from ._pairs import check_paired

__all__ = ["LSSH"]

# Of coordinate descent: with many more atoms than columns, the last digits settle slowly.
_PASSES = 100


@dataclass
class Problem:
    """X (n, q), T (n, t), and the weights."""

    X: np.ndarray
    T: np.ndarray
    rho: float
    mu: float
    gamma: float


@dataclass
class State:
    """All variables."""

    S: np.ndarray
    A: np.ndarray
    D: np.ndarray
    R: np.ndarray
    U: np.ndarray


def sparse_codes(X, D, rho, start=None):
    """The minimiser S of ``||X - S D||^2 + rho ||S||_1``, as far as 100 passes reach it.

    It is what `sklearn.decomposition.sparse_encode` computes, which draws from NumPy's global
    generator for nothing.
    """
    from sklearn.linear_model import Lasso  # on use: it loads much of scikit-learn

    lasso = Lasso(
        alpha=rho / 2 / X.shape[1],
        fit_intercept=False,
        precompute=(D @ D.T).astype(X.dtype, copy=False),
        max_iter=_PASSES,
        tol=1e-8,
        warm_start=True,
        random_state=0,
    )
    if start is not None:
        lasso.coef_ = start.copy()  # scikit-learn writes to it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        lasso.fit(D.T, X.T, check_input=False)
    return lasso.coef_.reshape(len(X), len(D))


def update_sparse_codes(problem, state):
    """S: sparse codes of ``[X, sqrt(gamma) A]`` with atoms ``[D, sqrt(gamma) R]``."""
    weight = np.sqrt(problem.gamma)
    rows = np.hstack([problem.X, weight * state.A])
    return sparse_codes(rows, np.hstack([state.D, weight * state.R]), problem.rho, state.S)


def update_latent(problem, state):
    """A: ``(mu T U' + gamma S R) (mu U U' + gamma I)^-1``."""
    Z = problem.mu * (problem.T @ state.U.T) + problem.gamma * (state.S @ state.R)
    factor = ridge_factor(problem.mu * (state.U @ state.U.T), problem.gamma)
    return cho_solve(factor, Z.T).T


def update_atoms(D, S, X):
    """Rows of D, one after another, at the minimiser of ``||X - S D||^2`` in the unit ball."""
    D, G, C = D.copy(), S.T @ S, S.T @ X
    for j in np.flatnonzero(np.diag(G)):
        d = D[j] + (C[j] - G[j] @ D) / G[j, j]
        D[j] = d / max(1.0, np.linalg.norm(d))
    return D


def objective(problem, state):
    """The sum of all terms."""
    value = squared_norm(problem.X - state.S @ state.D) + problem.rho * np.abs(state.S).sum()
    value += problem.mu * squared_norm(problem.T - state.A @ state.U)
    return value + problem.gamma * squared_norm(state.A - state.S @ state.R)


def start(problem, n_bits, n_bases, rng):
    """Random atoms of norm one, and the codes that they give."""
    widths = ((n_bases, problem.X.shape[1]), (n_bases, n_bits), (n_bits, problem.T.shape[1]))
    D, R, U = (normalize(rng.standard_normal(shape)) for shape in widths)
    S = sparse_codes(problem.X, D, problem.rho)
    state = State(S, S @ R, D, R, U)
    state.A = update_latent(problem, state)
    return state


def sweep(problem, state):
    """One sweep, in place: A, U, S, D, R. The objective does not rise."""
    state.A = update_latent(problem, state)
    state.U = update_atoms(state.U, state.A, problem.T)
    state.S = update_sparse_codes(problem, state)
    state.D = update_atoms(state.D, state.S, problem.X)
    state.R = update_atoms(state.R, state.S, state.A)


@parametrised
class LSSH(LinearHasher):
    """Latent semantic sparse hashing: sparse codes of images meet latent topics of texts.

    A baseline of two modalities, without labels [1]_: the first is coded sparsely, the second is
    factorised. Labels are used for nothing but `score`.

    Parameters
    ----------
    n_bases : int, default=512
        Atoms of the sparse codes.
    rho : float, default=0.2
        Penalty of the sparse codes.
    mu : float, default=0.5
        Weight of the factorisation of the second modality.
    gamma : float, default=1.0
        Weight of the link between the modalities.
    feature_map : transformer, dict or "passthrough", default=None
        Map of the features, cloned for every modality, or {name: transformer}. None centres
        columns, those of sparse features not, and takes rows of norm one, for which the default
        of `rho` is made.

    Attributes
    ----------
    dictionary_ : ndarray of shape (n_bases, q)
        Atoms of the first modality.
    link_ : ndarray of shape (n_bases, n_bits)
        From sparse codes of the first modality to bits.
    latent_projection_ : ndarray of shape (t, n_bits)
        Hash function of the second modality; there is no `projections_`.
    objective_ : ndarray of shape (n_iter_,)
        The objective after every sweep; it never rises, within the tolerance of coordinate descent.

    Notes
    -----
    Time and memory grow linearly with the rows; the sparse codes of the training rows and of rows
    of the first modality to encode take most of the time.

    References
    ----------
    .. [1] Zhou, J., Ding, G. and Guo, Y. (2014). Latent semantic sparse hashing for cross-modal
       similarity search. SIGIR. :doi:`10.1145/2600428.2609610`

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import LSSH
    >>> X, y = make_multimodal_classification(n_samples=100, random_state=0)
    >>> hasher = LSSH(n_bits=8, n_bases=20, tol=1e-2, random_state=0).fit(X)
    >>> hasher.encode(X, modality="text").shape
    (100, 8)
    """

    n_bases: int = 512
    rho: float = 0.2
    mu: float = 0.5
    gamma: float = 1.0
    max_iter: int = 20
    tol: float = 1e-3

    _parameter_constraints = {
        "n_bases": [Interval(Integral, 1, None, closed="left")],
        "rho": [Interval(Real, 0, None, closed="neither")],
        "mu": [Interval(Real, 0, None, closed="neither")],
        "gamma": [Interval(Real, 0, None, closed="neither")],
    }
    _paper_grid = {
        "rho": [0.05, 0.1, 0.2, 0.4],
        "mu": [0.1, 0.5, 1.0, 10.0],
        "gamma": [0.1, 1.0, 10.0],
    }
    _is_baseline = True
    _needs_pairs = True

    def _learning(self):
        return Learning(needs_labels=False, from_unlabelled=True)

    def _default_feature_map(self, block):
        centred = StandardScaler(with_mean=not sparse.issparse(block), with_std=False)
        return make_pipeline(centred, Normalizer())

    def _solve(self, features, L, rng):
        check_paired("LSSH", features, at_most=2)
        X, T = (dense(F).astype(np.float64, copy=False) for F in features.values())
        problem, sweeps = Problem(X, T, self.rho, self.mu, self.gamma), self._sweeps()
        state = start(problem, self.n_bits, self.n_bases, rng)
        for _ in sweeps:
            sweep(problem, state)
            sweeps.record(objective(problem, state))
        factor = ridge_factor(state.U @ state.U.T, self.gamma / self.mu)
        extras = {
            "dictionary_": state.D,
            "link_": state.R,
            "latent_projection_": cho_solve(factor, state.U).T,
        }
        return Solution(sign(state.A), None, sweeps.objective, len(sweeps), extras=extras)

    @property
    def _bears_threads(self):
        return False  # warnings are caught, which is for the whole process

    def _project(self, name, block):
        F = self._map_features(name, block)
        if name != next(iter(self.feature_maps_)):
            return project(F, self.latent_projection_)
        S = sparse_codes(dense(F).astype(np.float64, copy=False), self.dictionary_, self.rho)
        return project(S.astype(F.dtype), self.link_)
