"""SMFH: supervised matrix factorisation hashing.

J. Tang, K. Wang, L. Shao, "Supervised Matrix Factorization Hashing for Cross-Modal Retrieval",
IEEE Transactions on Image Processing 25(7), 2016. Written from the authors' code. With F_m the
mapped features of modality m, k bits, and K the sum of the Laplacians of one graph per modality,
of nearest neighbours, and of that of shared labels, ``L L'`` of the label indicator L:

    sum_m lambdas_m ||F_m - V U_m||^2               latent space of the features
    + beta sum_m ||V - F_m P_m||^2                  which hash functions follow
    + gamma tr(V'K V)                               smooth on the graphs
    + lambda_h (||V||^2 + sum_m ||U_m||^2 + ||P_m||^2)

over the latent space V (n, k), loadings U_m (k, q_m) and hash functions P_m (q_m, k). Codes are
the signs of V, less its mean.

U_m and P_m are ridge regressions. V solves the Sylvester equation ``V A + gamma K V = C``, by
conjugate gradients from the V before, with products by K from its factors: no n x n matrix is
formed but sparse graphs. As every step of conjugate gradients lowers the objective, it never
rises, wherever they stop.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg
from sklearn.preprocessing import StandardScaler

from ..base import LinearHasher, Solution, modality_weights, parametrised
from ..solvers import RidgeRegression, column_means, cross, inner, ridge_solve, sign, squared_norm
from ..utils._sklearn import Interval

__all__ = ["SMFH"]

# Of the residual of V's equation, relatively.
_TOLERANCE = 1e-8


@dataclass(frozen=True)
class Weights:
    """Weights of the terms; one of `lambdas` per modality."""

    lambdas: list
    beta: float
    gamma: float
    lambda_h: float


@dataclass
class Laplacian:
    """``diag(degrees) - graph - L L'``, of neighbours and of shared labels."""

    graph: sparse.csr_array
    labels: sparse.csr_array
    degrees: np.ndarray

    @classmethod
    def of(cls, graphs, L):
        """The sum of the Laplacians of sparse graphs (n, n) and of L L'."""
        graph, L = sparse.csr_array(sum(graphs)), L.astype(np.float64)
        return cls(graph, L, graph.sum(axis=1) + L @ L.sum(axis=0))

    def __matmul__(self, V):
        return self.degrees[:, None] * V - self.graph @ V - self.labels @ (self.labels.T @ V)

    def diagonal(self):
        """Of the n x n matrix."""
        return self.degrees - self.graph.diagonal() - self.labels.multiply(self.labels).sum(axis=1)


@dataclass
class Problem:
    """What the sweeps need of the data: F_m, regressions on F_m, and K."""

    features: list
    regressions: list
    laplacian: Laplacian

    @classmethod
    def from_data(cls, features, L, weights, n_neighbors):
        """Prepare features [(n, q_m) arrays] and the label indicator L (n, c)."""
        return cls(
            features,
            [RidgeRegression(F, weights.lambda_h / weights.beta) for F in features],
            Laplacian.of([neighbours(F, n_neighbors) for F in features], L),
        )


def neighbours(F, n_neighbors):
    """Graph of rows of which one is among the other's nearest: (n, n), zeros and ones."""
    # Imported on use: it loads half of scikit-learn.
    from sklearn.neighbors import kneighbors_graph

    k = min(n_neighbors, F.shape[0] - 1)
    nearest = sparse.csr_array(kneighbors_graph(F, k, include_self=False))
    return nearest.maximum(nearest.T).astype(np.float64)


@dataclass
class State:
    """All variables, and the products ``F_m'V``."""

    V: np.ndarray
    FV: list
    U: list
    P: list


def update_loadings(V, FV, weights):
    """U_m."""
    VV, pairs = V.T @ V, zip(weights.lambdas, FV, strict=True)
    return [ridge_solve(weight * VV, weights.lambda_h, weight * fv.T) for weight, fv in pairs]


def update_projections(problem, FV):
    """P_m: ridge regression of the latent space on the features."""
    return [regression.solve(fv) for regression, fv in zip(problem.regressions, FV, strict=True)]


def update_latent(problem, state, weights):
    """V, the solution of ``V A + gamma K V = C``; see the head of the module."""
    n, k = state.V.shape
    A = (weights.beta * len(state.U) + weights.lambda_h) * np.eye(k)
    C = np.zeros((n, k))
    for weight, F, U, P in zip(weights.lambdas, problem.features, state.U, state.P, strict=True):
        A += weight * (U @ U.T)
        C += F @ (weight * U.T + weights.beta * P).astype(F.dtype, copy=False)

    def left_side(v):
        V = v.reshape(n, k)
        return (V @ A + weights.gamma * (problem.laplacian @ V)).ravel()

    diagonal = weights.gamma * problem.laplacian.diagonal()[:, None] + np.diag(A)
    system = LinearOperator((n * k, n * k), matvec=left_side, dtype=np.float64)
    scaling = sparse.diags_array(1 / diagonal.ravel())
    v, _ = cg(system, C.ravel(), x0=state.V.ravel(), rtol=_TOLERANCE, M=scaling)
    return v.reshape(n, k)


def objective(problem, state, weights):
    """The objective, from small products where there are such."""
    V, VV = state.V, state.V.T @ state.V
    value = weights.gamma * inner(V, problem.laplacian @ V) + weights.lambda_h * np.trace(VV)
    for weight, regression, FV, U, P in zip(
        weights.lambdas, problem.regressions, state.FV, state.U, state.P, strict=True
    ):
        value += weight * (np.trace(regression.gram) - 2 * inner(FV.T, U) + inner(U, VV @ U))
        value += weights.beta * (np.trace(VV) - 2 * inner(FV, P) + inner(P, regression.gram @ P))
        value += weights.lambda_h * (squared_norm(U) + squared_norm(P))
    return value


def fitted_to(problem, V, weights):
    """The state of some V: the best U_m and P_m for it."""
    FV = [cross(F, V) for F in problem.features]
    return State(V, FV, update_loadings(V, FV, weights), update_projections(problem, FV))


def solve(problem, n_bits, *, weights, sweeps, rng):
    """The state at the end, from a random latent space."""
    n = len(problem.laplacian.degrees)
    state = fitted_to(problem, rng.uniform(size=(n, n_bits)), weights)
    for _ in sweeps:
        state = fitted_to(problem, update_latent(problem, state, weights), weights)
        sweeps.record(objective(problem, state, weights))
    return state


@parametrised
class SMFH(LinearHasher):
    """SMFH: matrix factorisation, smooth on graphs of labels and of neighbours.

    Factorises the features of all modalities through one latent space, in which rows that share
    labels, or are nearest neighbours in a modality, lie together, and which hash functions
    follow [1]_.

    Parameters
    ----------
    lambdas : float or dict, default=0.5
        Weight of the factorisation of every modality's features; a number, or
        {name: weight}. The paper's alpha.
    beta : float, default=100.0
        Weight of what hash functions miss of the latent space; above 0.
    gamma : float, default=1.0
        Weight of the graphs.
    lambda_h : float, default=0.01
        Penalty of all factors; above 0.
    n_neighbors : int, default=5
        Neighbours of a row in the graph of every modality.
    feature_map : transformer, dict or "passthrough", default=None
        Map of the features, cloned for every modality, or {name: transformer}. None centres
        columns, but those of sparse features, as the authors do: the weights are meant for
        features whose rows are about as long as one.

    Attributes
    ----------
    offsets_ : dict
        Modality name to the thresholds (n_bits,) of its hash function.
    objective_ : ndarray of shape (n_iter_,)
        The objective after every sweep; it never rises.

    See Also
    --------
    LCMFH : Rows of the same labels have the same code.

    Notes
    -----
    Memory grows linearly with the rows, and so does the time of a sweep; no n x n matrix is formed.
    The search for neighbours takes time quadratic in the rows.

    References
    ----------
    .. [1] Tang, J., Wang, K. and Shao, L. (2016). Supervised matrix factorization hashing for
       cross-modal retrieval. IEEE Transactions on Image Processing, 25(7), 3157-3166.
       :doi:`10.1109/TIP.2016.2564638`

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import SMFH
    >>> X, y = make_multimodal_classification(n_samples=200, random_state=0)
    >>> hasher = SMFH(n_bits=16, random_state=0).fit(X, y)
    >>> hasher.encode(X, modality="text").shape
    (200, 16)
    """

    lambdas: float | Mapping[str, float] = 0.5
    beta: float = 100.0
    gamma: float = 1.0
    lambda_h: float = 0.01
    n_neighbors: int = 5

    _parameter_constraints = {
        "lambdas": [Interval(Real, 0, None, closed="left"), dict],
        "beta": [Interval(Real, 0, None, closed="neither")],
        "gamma": [Interval(Real, 0, None, closed="left")],
        "lambda_h": [Interval(Real, 0, None, closed="neither")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    }
    _paper_grid = {
        "lambdas": [0.1, 0.3, 0.5, 0.7, 0.9],
        "beta": [1.0, 10.0, 100.0],
        "gamma": [0.1, 1.0, 10.0],
        "lambda_h": [1e-3, 1e-2, 1e-1],
    }
    _is_baseline = True

    def _default_feature_map(self, block):
        return StandardScaler(with_mean=not sparse.issparse(block), with_std=False)

    def _solve(self, features, L, rng):
        F, sweeps = list(features.values()), self._sweeps()
        lambdas = modality_weights(self.lambdas, list(features), "lambdas").tolist()
        weights = Weights(lambdas, self.beta, self.gamma, self.lambda_h)
        problem = Problem.from_data(F, L, weights, self.n_neighbors)
        state = solve(problem, self.n_bits, weights=weights, sweeps=sweeps, rng=rng)
        return Solution(
            sign(state.V - state.V.mean(axis=0)),
            state.P,
            sweeps.objective,
            len(sweeps),
            offsets=[column_means(f) @ P for f, P in zip(F, state.P, strict=True)],
        )
