"""SCRATCH: every update solves its subproblem, and the objective is the printed one."""

import numpy as np
import pytest
from subproblems import approx, assert_best_codes, assert_lowest_point, assert_never_rises, labels

from sklearn_cmh.shallow import _scratch as scratch
from sklearn_cmh.solvers import polar_factor

N, K = 10, 3
WEIGHTS = scratch.Weights([0.3, 2.0], alpha=0.6, mu=1.5, gamma=0.2)


@pytest.fixture
def point():
    """A problem, a state after a sweep, and the objective as it is printed."""
    rng = np.random.RandomState(0)
    F, L = [rng.randn(N, 6), rng.randn(N, 5)], labels(N, 3, rng)
    problem = scratch.Problem.from_data(F, L, WEIGHTS)
    state = scratch.start(problem, K, WEIGHTS, rng)
    state = scratch.sweep(problem, state, WEIGHTS)

    def value(**changed):
        at = {**vars(state), **changed}
        V, G = at["V"], at["G"]
        value = np.linalg.norm(at["B"] - V @ at["R"]) ** 2
        value += WEIGHTS.alpha * np.linalg.norm(L - V @ G) ** 2
        value += WEIGHTS.gamma * (np.linalg.norm(V) ** 2 + np.linalg.norm(G) ** 2)
        for weight, f, U, W in zip(WEIGHTS.lambdas, F, at["U"], at["W"], strict=True):
            value += weight * np.linalg.norm(f - V @ U) ** 2
            value += WEIGHTS.mu * np.linalg.norm(V - f @ W) ** 2
            value += WEIGHTS.gamma * (np.linalg.norm(U) ** 2 + np.linalg.norm(W) ** 2)
        return value

    return problem, state, value, rng


def test_objective_is_the_printed_one(point):
    problem, state, value, _ = point
    assert scratch.objective(problem, state, WEIGHTS) == approx(value())


def test_every_update_solves_its_subproblem(point):
    problem, state, value, rng = point
    V = scratch.update_latent(problem, state, WEIGHTS)
    assert_lowest_point(lambda V: value(V=V), V, rng)
    VV = state.V.T @ state.V
    U = scratch.update_loadings(VV, state.FV, WEIGHTS)
    W = scratch.update_projections(problem, state.FV)
    for m in range(2):
        assert_lowest_point(lambda u, m=m: value(U=[*U[:m], u, *U[m + 1 :]]), U[m], rng)
        assert_lowest_point(lambda w, m=m: value(W=[*W[:m], w, *W[m + 1 :]]), W[m], rng)
    G = scratch.update_label_loading(VV, state.LV, WEIGHTS)
    assert_lowest_point(lambda G: value(G=G), G, rng)
    assert_best_codes(lambda B: value(B=B), scratch.update_codes(state.V, state.R))
    R = scratch.update_rotation(state.V, state.B, state.R)
    for scale in (1e-3, 1e-1, 1.0):
        for _ in range(10):
            assert value(R=polar_factor(R + scale * rng.randn(K, K))) > value(R=R)


@pytest.mark.parametrize("alpha", [0.0, 500.0])
@pytest.mark.parametrize("gamma", [0.0, 5.0])
@pytest.mark.parametrize("k", [1, 9])
def test_objective_never_rises(k, alpha, gamma):
    rng = np.random.RandomState(k)
    weights = scratch.Weights([0.5, 0.0], alpha, 1000.0, gamma)
    F = [rng.randn(40, 6), rng.randn(40, 5)]
    problem = scratch.Problem.from_data(F, labels(40, 4, rng), weights)
    state = scratch.start(problem, k, weights, rng)
    values = [scratch.objective(problem, state, weights)]
    for _ in range(8):
        state = scratch.sweep(problem, state, weights)
        values.append(scratch.objective(problem, state, weights))
    assert_never_rises(values)
