"""DCH: every update solves its subproblem, and the objective is the printed one."""

import numpy as np
import pytest
from subproblems import (
    approx,
    assert_lowest_point,
    assert_never_rises,
    assert_no_bit_is_better_turned,
    labels,
)

from sklearn_cmh.shallow import _dch as dch

N, K, LAMBDA_W, MUS, LAMBDA_H = 12, 4, 0.7, (0.3, 2.0), 0.2


@pytest.fixture
def point():
    """A problem, a random state, and the objective as it is printed."""
    rng = np.random.RandomState(0)
    F, L = [rng.randn(N, 6), rng.randn(N, 5)], labels(N, 3, rng)
    problem = dch.Problem.from_data(F, L, LAMBDA_H)
    state = dch.start(problem, K, LAMBDA_W, rng)
    state.W = rng.randn(*state.W.shape)

    def value(**changed):
        at = {**vars(state), **changed}
        value = np.linalg.norm(L - at["B"] @ at["W"]) ** 2
        value += LAMBDA_W * np.linalg.norm(at["W"]) ** 2
        for mu, f, P in zip(MUS, F, at["P"], strict=True):
            value += mu * np.linalg.norm(at["B"] - f @ P) ** 2
            value += mu * LAMBDA_H * np.linalg.norm(P) ** 2
        return value

    return problem, state, value, rng


def test_objective_is_the_printed_one(point):
    problem, state, value, _ = point
    assert dch.objective(problem, state, LAMBDA_W, MUS, LAMBDA_H) == approx(value())


def test_every_update_solves_its_subproblem(point):
    problem, state, value, rng = point
    W = dch.update_classifier(problem, state.B, LAMBDA_W)
    assert_lowest_point(lambda W: value(W=W), W, rng)
    (first, second), _ = dch.update_projections(problem, state.B)
    assert_lowest_point(lambda P: value(P=[P, second]), first, rng)
    assert_lowest_point(lambda P: value(P=[first, P]), second, rng)
    for _ in range(5):
        state.B = dch.update_codes(problem, state, MUS)
    assert_no_bit_is_better_turned(lambda B: value(B=B), state.B)


@pytest.mark.parametrize("mus", [(0.0, 0.0), MUS, (100.0, 1e-3)])
@pytest.mark.parametrize("k", [1, 9])
def test_objective_never_rises(k, mus):
    rng = np.random.RandomState(k)
    F = [rng.randn(40, 6), rng.randn(40, 5)]
    problem = dch.Problem.from_data(F, labels(40, 4, rng), LAMBDA_H)
    state = dch.start(problem, k, LAMBDA_W, rng)
    values = [dch.objective(problem, state, LAMBDA_W, mus, LAMBDA_H)]
    for _ in range(6):
        dch.sweep(problem, state, LAMBDA_W, mus)
        values.append(dch.objective(problem, state, LAMBDA_W, mus, LAMBDA_H))
    assert_never_rises(values)
