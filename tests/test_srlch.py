"""SRLCH: every update solves its subproblem, and the objective is the printed one."""

import numpy as np
import pytest
from subproblems import approx, assert_best_codes, assert_lowest_point, assert_never_rises, labels

from sklearn_cmh.shallow import _srlch as srlch

N, K, LAMBDA_W, MUS, ALPHAS = 10, 3, 0.7, [0.3, 2.0], [0.2, 0.5]


@pytest.fixture
def point():
    """A problem, a random state, and the objective as it is printed."""
    rng = np.random.RandomState(0)
    F, L = [rng.randn(N, 6), rng.randn(N, 5)], labels(N, 3, rng)
    problem = srlch.Problem.from_data(F, L, LAMBDA_W, ALPHAS)
    state = srlch.fitted_to(problem, srlch.sign(rng.randn(N, K)).astype(float))

    def value(**changed):
        at = {**vars(state), **changed}
        value = np.linalg.norm(at["B"] - L @ at["W"]) ** 2
        value += LAMBDA_W * np.linalg.norm(at["W"]) ** 2
        for mu, alpha, f, P in zip(MUS, ALPHAS, F, at["P"], strict=True):
            value += mu * np.linalg.norm(at["B"] - f @ P) ** 2
            value += mu * alpha * np.linalg.norm(P) ** 2
        return value

    return problem, state, value, rng


def test_objective_is_the_printed_one(point):
    _, state, value, _ = point
    assert srlch.objective(state, LAMBDA_W, MUS, ALPHAS) == approx(value())


def test_every_update_solves_its_subproblem(point):
    problem, state, value, rng = point
    assert_best_codes(lambda B: value(B=B), srlch.update_codes(state, MUS))
    W = srlch.update_label_map(problem, state.B)
    assert_lowest_point(lambda W: value(W=W), W, rng)
    first, second = srlch.update_projections(problem, state.B)
    assert_lowest_point(lambda P: value(P=[P, second]), first, rng)
    assert_lowest_point(lambda P: value(P=[first, P]), second, rng)


@pytest.mark.parametrize("mus", [[0.0, 0.0], MUS, [10.0, 1e-3]])
@pytest.mark.parametrize("k", [1, 9])
def test_objective_never_rises(k, mus):
    rng = np.random.RandomState(k)
    F = [rng.randn(40, 6), rng.randn(40, 5)]
    problem = srlch.Problem.from_data(F, labels(40, 4, rng), LAMBDA_W, ALPHAS)
    state, values = srlch.fitted_to(problem, srlch.sign(rng.randn(40, k)).astype(float)), []
    for _ in range(6):
        values.append(srlch.objective(state, LAMBDA_W, mus, ALPHAS))
        state = srlch.fitted_to(problem, srlch.update_codes(state, mus))
    assert_never_rises(values)
