"""GSPH: bits are best one by one, and the objective is that with the n x n similarity."""

import numpy as np
import pytest
from subproblems import approx, assert_never_rises, assert_no_bit_is_better_turned, labels

from sklearn_cmh import MultimodalData
from sklearn_cmh.shallow import GSPH
from sklearn_cmh.shallow import _gsph as gsph

N, K = 12, 4


@pytest.fixture
def point():
    """A problem, random codes of three modalities, and the objective as it is printed."""
    rng = np.random.RandomState(0)
    L = labels(N, 4, rng)
    problem = gsph.Problem.from_labels(L)
    G = L.toarray() / np.linalg.norm(L.toarray(), axis=1, keepdims=True)

    def value(codes):
        pairs = [(0, 1), (0, 2), (1, 2)]
        return sum(np.linalg.norm(G @ G.T - codes[l] @ codes[m].T / K) ** 2 for l, m in pairs)

    codes = [np.where(rng.randn(N, K) > 0, 1.0, -1.0) for _ in range(3)]
    return problem, codes, value


def test_objective_is_the_one_with_the_dense_similarity(point):
    problem, codes, value = point
    assert gsph.objective(problem, codes) == approx(value(codes))


@pytest.mark.parametrize("m", [0, 1, 2])
def test_no_bit_is_better_turned(point, m):
    problem, codes, value = point
    for _ in range(5):
        codes[m] = gsph.update_codes(problem, codes, m)
    assert_no_bit_is_better_turned(lambda A: value([*codes[:m], A, *codes[m + 1 :]]), codes[m])


@pytest.mark.parametrize("modalities", [1, 2, 3])
@pytest.mark.parametrize("k", [1, 9])
def test_objective_never_rises(k, modalities):
    rng = np.random.RandomState(k)
    problem = gsph.Problem.from_labels(labels(40, 4, rng))
    codes = gsph.start(problem, modalities, k, rng)
    values = [gsph.objective(problem, codes)]
    for _ in range(6):
        gsph.sweep(problem, codes)
        values.append(gsph.objective(problem, codes))
    assert_never_rises(values)


def test_unified_codes_weigh_a_rare_value_up():
    rare = np.array([[1.0], [-1.0], [-1.0], [-1.0]])
    log_odds = np.log([[0.9], [0.3], [0.2], [0.1]]) - np.log([[0.1], [0.7], [0.8], [0.9]])
    # +1 from a probability above its share, a quarter; both modalities count the same.
    np.testing.assert_array_equal(gsph.unified_codes([rare], [log_odds]).ravel(), [1, 1, -1, -1])
    even, opposite = np.array([[1.0], [1.0], [-1.0], [-1.0]]), np.log([[3], [0.1], [0.1], [9]])
    both = gsph.unified_codes([rare, even], [log_odds, opposite])
    z, w = 1 / (1 + np.exp(-log_odds)), 1 / (1 + np.exp(-opposite))
    expected = z / 0.25 - (1 - z) / 0.75 + w / 0.5 - (1 - w) / 0.5
    np.testing.assert_array_equal(both, np.where(expected >= 0, 1, -1))


def test_a_constant_bit_is_decided_by_the_probability():
    ones, log_odds = np.ones((3, 1)), np.array([[2.0], [-1.0], [0.0]])
    np.testing.assert_array_equal(gsph.unified_codes([ones], [log_odds]).ravel(), [1, -1, 1])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("hash_functions", ["logistic", "ridge"])
def test_hash_functions_predict_rows_not_seen(hash_functions, paired):
    X, half = MultimodalData(**paired.blocks), np.arange(120) < 80
    hasher = GSPH(8, hash_functions=hash_functions, n_anchors=30, random_state=0)
    assert hasher.fit(X[half], paired.y[half]).score(X[~half], paired.y[~half]) > 0.6
    assert hasattr(hasher, "offsets_") == (hash_functions == "logistic")
