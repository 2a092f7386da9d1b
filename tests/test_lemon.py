"""LEMON: every update solves its subproblem, and the objective is the n x n one."""

import numpy as np
import pytest
from subproblems import approx, assert_best_codes, assert_lowest_point, assert_never_rises, labels

from sklearn_cmh.shallow import _lemon as lemon
from sklearn_cmh.solvers import orthonormal_basis, polar_factor

N, K = 10, 3
WEIGHTS = lemon.Weights(alpha=0.3, beta=2.0, gamma=0.7)


@pytest.fixture
def point():
    """A problem, a random feasible state, and the objective as it is printed."""
    rng = np.random.RandomState(0)
    L = labels(N, 4, rng)
    problem = lemon.Problem.from_labels(L, L)
    state = lemon.start(problem, K, WEIGHTS.gamma, rng)
    G = L.toarray() / np.linalg.norm(L.toarray(), axis=1, keepdims=True)
    S = 2 * G @ G.T - 1

    def value(**changed):
        at = {**vars(state), **changed}
        V, P, B = at["V"], at["P"], at["B"]
        value = WEIGHTS.alpha * np.linalg.norm(K * S - V @ B.T) ** 2
        value += WEIGHTS.beta * np.linalg.norm(L - V @ P) ** 2
        value += WEIGHTS.beta * WEIGHTS.gamma * np.linalg.norm(P) ** 2
        return value + np.linalg.norm(B - V @ at["R"]) ** 2

    return problem, state, value, rng


def test_objective_is_the_one_with_the_dense_similarity(point):
    problem, state, value, _ = point
    assert lemon.objective(problem, state, WEIGHTS) == approx(value())


def test_every_update_solves_its_subproblem(point):
    problem, state, value, rng = point
    P = lemon.update_label_map(problem, state.V, WEIGHTS.gamma)
    assert_lowest_point(lambda P: value(P=P), P, rng)
    B = lemon.update_codes(problem, state.V, state.R, WEIGHTS.alpha)
    assert_best_codes(lambda B: value(B=B), B)
    V = lemon.update_embedding(problem, state, WEIGHTS, rng)
    R = lemon.update_rotation(state.V, state.B, state.R)
    for scale in (1e-3, 1e-1, 1.0):
        for _ in range(10):
            other = orthonormal_basis(V + scale * rng.randn(N, K), rng)
            assert value(V=other) > value(V=V)
            assert value(R=polar_factor(R + scale * rng.randn(K, K))) > value(R=R)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("beta", [0.0, 1e4])
@pytest.mark.parametrize("k", [1, 9])
def test_objective_never_rises(k, alpha, beta):
    rng = np.random.RandomState(k)
    L = labels(40, 4, rng)
    problem, weights = lemon.Problem.from_labels(L, L), lemon.Weights(alpha, beta, 0.1)
    state = lemon.start(problem, k, weights.gamma, rng)
    values = [lemon.objective(problem, state, weights)]
    for _ in range(8):
        lemon.sweep(problem, state, weights, rng)
        values.append(lemon.objective(problem, state, weights))
    assert_never_rises(values)
