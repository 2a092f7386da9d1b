"""CMFH: every update solves its subproblem, and the objective is the printed one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sklearn_cmh import MultimodalData
from sklearn_cmh.shallow import CMFH
from sklearn_cmh.shallow import _cmfh as cmfh

N, K, LAMBDAS, MU, GAMMA = 20, 3, [0.3, 0.7], 2.0, 0.1


@pytest.fixture
def point():
    """A problem, a state, and the objective as printed."""
    rng = np.random.RandomState(0)
    F = [rng.randn(N, 6), rng.randn(N, 5)]
    problem = cmfh.Problem.from_data(F, LAMBDAS, MU, GAMMA)
    state = cmfh.State(
        rng.randn(N, K),
        [rng.randn(K, f.shape[1]) for f in F],
        [rng.randn(f.shape[1], K) for f in F],
    )

    def value(**changed):
        at = {**vars(state), **changed}
        value = GAMMA * np.sum(at["V"] ** 2)
        for weight, f, U, P in zip(LAMBDAS, F, at["U"], at["P"], strict=True):
            value += weight * np.sum((f - at["V"] @ U) ** 2) + MU * np.sum((at["V"] - f @ P) ** 2)
            value += GAMMA * (np.sum(U**2) + np.sum(P**2))
        return value

    return problem, state, value, rng


def test_objective_is_the_printed_one(point):
    problem, state, value, _ = point
    assert cmfh.objective(problem, state) == pytest.approx(value(), rel=1e-12)


def test_every_update_solves_its_subproblem(point):
    """In any direction the objective rises as much as in the opposite one: the gradient is zero."""
    problem, state, value, rng = point
    best = {
        "V": cmfh.update_latent(problem, state.U, state.P),
        "U": cmfh.update_loadings(problem, state.V),
        "P": cmfh.update_projections(problem, state.V),
    }
    for name, at in best.items():
        for _ in range(5):
            step = [rng.randn(*part.shape) for part in at] if name != "V" else rng.randn(N, K)
            moved = [
                [a + t * s for a, s in zip(at, step, strict=True)] if name != "V" else at + t * step
                for t in (1e-2, -1e-2)
            ]
            up, down = (value(**{name: there}) for there in moved)
            assert up > value(**{name: at}) and up == pytest.approx(down, rel=1e-9)


@settings(deadline=None, max_examples=20)
@given(
    st.integers(2, 3), st.integers(1, 8), st.sampled_from([0.0, 0.5]), st.sampled_from([0.1, 100])
)
def test_objective_never_rises(modalities, k, weight, mu):
    rng = np.random.RandomState(k)
    F = [rng.randn(30, 4 + m) for m in range(modalities)]
    problem = cmfh.Problem.from_data(F, [weight] * modalities, mu, 1e-2)
    state, values = cmfh.start(problem, k, rng), []
    for _ in range(10):
        cmfh.sweep(problem, state)
        values.append(cmfh.objective(problem, state))
    assert (np.diff(values) <= 1e-9 * np.abs(values[0])).all()


def test_partners_get_like_codes_without_labels():
    rng = np.random.RandomState(0)
    signal = rng.randn(300, 6)
    X = MultimodalData(image=signal @ rng.randn(6, 10), text=signal @ rng.randn(6, 8))
    hasher = CMFH(8, tol=1e-3, random_state=0).fit(X[:200])
    assert hasher.labels_ is None
    image, text = (hasher.encode(X[200:], modality=name) for name in X.names)
    assert (image == text).mean() > 0.9
    assert (hasher.transform(X[:200]) == hasher.codes_).mean() > 0.95


def test_sparse_rows_stay_sparse(paired):
    X = MultimodalData(**paired.blocks)
    mixed = MultimodalData(image=sparse.csr_array(X["image"]), text=X["text"])
    params = {"feature_map": "passthrough", "random_state": 0, "tol": 1e-2}
    fitted = [CMFH(8, **params).fit(data) for data in (X, mixed)]
    np.testing.assert_array_equal(fitted[0].codes_, fitted[1].codes_)
