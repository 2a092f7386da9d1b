"""SMFH: every update solves its subproblem, and the objective is that with the n x n graph."""

import numpy as np
import pytest
from subproblems import approx, assert_lowest_point, assert_never_rises, labels

from sklearn_cmh.shallow import _smfh as smfh

N, K = 20, 3
WEIGHTS = smfh.Weights([0.3, 2.0], beta=1.5, gamma=0.4, lambda_h=0.2)


@pytest.fixture
def point():
    """A problem, a state, the objective with the dense Laplacian, and that."""
    rng = np.random.RandomState(0)
    F, L = [rng.randn(N, 6), rng.randn(N, 5)], labels(N, 4, rng)
    problem = smfh.Problem.from_data(F, L, WEIGHTS, 4)
    state = smfh.fitted_to(problem, rng.uniform(size=(N, K)), WEIGHTS)

    dense = np.zeros((N, N))
    for graph in [*(nearest(f, 4) for f in F), (L @ L.T).toarray()]:
        dense += np.diag(graph.sum(axis=1)) - graph

    def value(**changed):
        at = {**vars(state), **changed}
        V = at["V"]
        value = WEIGHTS.gamma * np.trace(V.T @ dense @ V)
        value += WEIGHTS.lambda_h * np.linalg.norm(V) ** 2
        for weight, f, U, P in zip(WEIGHTS.lambdas, F, at["U"], at["P"], strict=True):
            value += weight * np.linalg.norm(f - V @ U) ** 2
            value += WEIGHTS.beta * np.linalg.norm(V - f @ P) ** 2
            value += WEIGHTS.lambda_h * (np.linalg.norm(U) ** 2 + np.linalg.norm(P) ** 2)
        return value

    return problem, state, value, dense, rng


def nearest(F, k):
    """One where a row is among the k nearest of the other, either way."""
    distances = np.linalg.norm(F[:, None] - F, axis=2)
    np.fill_diagonal(distances, np.inf)
    graph = np.zeros(distances.shape)
    np.put_along_axis(graph, np.argsort(distances, axis=1)[:, :k], 1, axis=1)
    return np.maximum(graph, graph.T)


def test_laplacian_is_that_of_the_dense_graphs(point):
    problem, _, _, dense, _ = point
    np.testing.assert_allclose(problem.laplacian @ np.eye(N), dense, atol=1e-12)
    np.testing.assert_allclose(problem.laplacian.diagonal(), np.diag(dense))


def test_objective_is_the_one_with_the_dense_graph(point):
    problem, state, value, *_ = point
    assert smfh.objective(problem, state, WEIGHTS) == approx(value())


def test_every_update_solves_its_subproblem(point):
    problem, state, value, _, rng = point
    V = smfh.update_latent(problem, state, WEIGHTS)
    # By conjugate gradients, which stop at a residual of 1e-8.
    assert_lowest_point(lambda V: value(V=V), V, rng, rtol=1e-6)
    U = smfh.update_loadings(state.V, state.FV, WEIGHTS)
    P = smfh.update_projections(problem, state.FV)
    for m in range(2):
        assert_lowest_point(lambda u, m=m: value(U=[*U[:m], u, *U[m + 1 :]]), U[m], rng)
        assert_lowest_point(lambda p, m=m: value(P=[*P[:m], p, *P[m + 1 :]]), P[m], rng)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 100.0])
@pytest.mark.parametrize("k", [1, 9])
def test_objective_never_rises(k, gamma):
    rng = np.random.RandomState(k)
    weights = smfh.Weights([0.5, 0.0], 100.0, gamma, 0.01)
    F = [rng.randn(40, 6), rng.randn(40, 5)]
    problem = smfh.Problem.from_data(F, labels(40, 4, rng), weights, 5)
    state, values = smfh.fitted_to(problem, rng.uniform(size=(40, k)), weights), []
    for _ in range(8):
        values.append(smfh.objective(problem, state, weights))
        V = smfh.update_latent(problem, state, weights)
        state = smfh.fitted_to(problem, V, weights)
    assert_never_rises(values)
