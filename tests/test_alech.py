"""ALECH: every update solves its subproblem, and the objective is the n x n one."""

import numpy as np
import pytest
from subproblems import approx, assert_best_codes, assert_lowest_point, assert_never_rises, labels

from sklearn_cmh.shallow import _alech as alech
from sklearn_cmh.solvers import orthonormal_basis, ridge_projection

N, K = 10, 3
WEIGHTS = alech.Weights(alpha=0.3, beta=2.0, eta=0.7)


@pytest.fixture
def point():
    """A problem, a random feasible state, the objective as it is printed, and S."""
    rng = np.random.RandomState(0)
    L = labels(N, 4, rng)
    problem = alech.Problem.from_labels(L, L)
    state = alech.start(problem, K, WEIGHTS, rng)
    state.P, state.W = rng.randn(5, 5), rng.randn(K, 5)
    G = L.toarray() / np.linalg.norm(L.toarray(), axis=1, keepdims=True)
    S = 2 * G @ G.T - 1

    def value(**changed):
        at = {**vars(state), **changed}
        V, P, W, B = at["V"], at["P"], at["W"], at["B"]
        value = np.linalg.norm(L @ P - V @ W) ** 2 + np.linalg.norm(L - L @ P) ** 2
        value += WEIGHTS.eta * (np.linalg.norm(P) ** 2 + np.linalg.norm(W) ** 2)
        value += WEIGHTS.alpha * np.linalg.norm(K * S - V @ B.T) ** 2
        return value + WEIGHTS.beta * np.linalg.norm(B - V) ** 2

    return problem, state, value, S, rng


def test_objective_is_the_one_with_the_dense_similarity(point):
    problem, state, value, *_ = point
    assert alech.objective(problem, state, WEIGHTS) == approx(value())


def test_every_update_solves_its_subproblem(point):
    problem, state, value, _, rng = point
    P = alech.update_correlations(problem, state.V, state.W, WEIGHTS.eta)
    assert_lowest_point(lambda P: value(P=P), P, rng)
    W = alech.update_label_map(problem, state.V, state.P, WEIGHTS.eta)
    assert_lowest_point(lambda W: value(W=W), W, rng)
    assert_best_codes(lambda B: value(B=B), alech.update_codes(problem, state.V, WEIGHTS))
    V = alech.update_latent(problem, state, WEIGHTS, rng)
    for scale in (1e-3, 1e-1, 1.0):
        for _ in range(10):
            other = orthonormal_basis(V + scale * rng.randn(N, K), rng)
            assert value(V=other) > value(V=V)


def test_hash_functions_solve_theirs(point):
    problem, state, _, S, rng = point
    F, lamb, B = rng.randn(N, 4), 1.5, state.B
    H = ridge_projection(F, alech.projection_targets(problem, B, lamb), 0.0)

    def value(H):
        Z = F @ H
        return np.linalg.norm(K * S - Z @ B.T) ** 2 + lamb * np.linalg.norm(B - Z) ** 2

    assert_lowest_point(value, H, rng)


@pytest.mark.parametrize("alpha", [0.0, 1e-4, 1.0])
@pytest.mark.parametrize("beta", [1e-3, 10.0])
@pytest.mark.parametrize("k", [1, 9])
def test_objective_never_rises(k, alpha, beta):
    rng = np.random.RandomState(k)
    L = labels(40, 4, rng)
    problem, weights = alech.Problem.from_labels(L, L), alech.Weights(alpha, beta, 0.1)
    state = alech.start(problem, k, weights, rng)
    values = [alech.objective(problem, state, weights)]
    for _ in range(8):
        alech.sweep(problem, state, weights, rng)
        values.append(alech.objective(problem, state, weights))
    assert_never_rises(values)
