"""LCMFH: every update solves its subproblem, and the objective is the printed one."""

import numpy as np
import pytest
from subproblems import approx, assert_lowest_point, assert_never_rises, labels

from sklearn_cmh import MultimodalData
from sklearn_cmh.shallow import LCMFH
from sklearn_cmh.shallow import _lcmfh as lcmfh

N, K = 20, 3
WEIGHTS = lcmfh.Weights([0.3, 2.0], mu=1.5, gamma=0.2)


@pytest.fixture
def point():
    """A problem, a random state, and the objective as it is printed, row by row."""
    rng = np.random.RandomState(0)
    F, L = [rng.randn(N, 6), rng.randn(N, 5)], labels(N, 4, rng)
    problem = lcmfh.Problem.from_data(F, L)
    state = lcmfh.start(problem, K, WEIGHTS, rng)
    unit = L.toarray() / np.linalg.norm(L.toarray(), axis=1, keepdims=True)

    def value(**changed):
        at = {**vars(state), **changed}
        V = unit @ at["Z"]
        value = WEIGHTS.gamma * np.linalg.norm(V) ** 2
        for weight, f, U, P in zip(WEIGHTS.lambdas, F, at["U"], at["P"], strict=True):
            value += weight * np.linalg.norm(f - V @ U) ** 2
            value += WEIGHTS.mu * np.linalg.norm(V - f @ P) ** 2
            value += WEIGHTS.gamma * (np.linalg.norm(U) ** 2 + np.linalg.norm(P) ** 2)
        return value

    return problem, state, value, rng


def test_objective_is_the_one_of_all_rows(point):
    problem, state, value, _ = point
    assert lcmfh.objective(problem, state, WEIGHTS) == approx(value())


def test_every_update_solves_its_subproblem(point):
    problem, state, value, rng = point
    Z = lcmfh.update_classes(problem, state.U, state.P, WEIGHTS)
    assert_lowest_point(lambda Z: value(Z=Z), Z, rng)
    # Nothing is known of the class that never occurs.
    np.testing.assert_allclose(Z[-1], 0, atol=1e-12)
    U = lcmfh.update_loadings(problem, state.Z, WEIGHTS)
    P = lcmfh.update_projections(problem, state.Z, WEIGHTS)
    for m in range(2):
        assert_lowest_point(lambda u, m=m: value(U=[*U[:m], u, *U[m + 1 :]]), U[m], rng)
        assert_lowest_point(lambda p, m=m: value(P=[*P[:m], p, *P[m + 1 :]]), P[m], rng)


@pytest.mark.parametrize("gamma", [0.0, 1e-3, 10.0])
@pytest.mark.parametrize("k", [1, 9])
def test_objective_never_rises(k, gamma):
    rng = np.random.RandomState(k)
    weights = lcmfh.Weights([0.5, 0.0], 10.0, gamma)
    problem = lcmfh.Problem.from_data([rng.randn(40, 6), rng.randn(40, 5)], labels(40, 4, rng))
    state = lcmfh.start(problem, k, weights, rng)
    values = [lcmfh.objective(problem, state, weights)]
    for _ in range(8):
        lcmfh.sweep(problem, state, weights)
        values.append(lcmfh.objective(problem, state, weights))
    assert_never_rises(values)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_rows_of_the_same_labels_have_the_same_code(paired):
    hasher = LCMFH(16, random_state=0).fit(MultimodalData(**paired.blocks), paired.y)
    for label in range(4):
        codes = hasher.codes_[paired.y == label]
        assert (codes == codes[0]).all()
    assert len(np.unique(hasher.codes_, axis=0)) == 4
