"""LSSH: every update solves its subproblem, and the objective is the printed one."""

import numpy as np
import pytest
from sklearn.preprocessing import normalize

from sklearn_cmh import MultimodalData
from sklearn_cmh.shallow import LSSH
from sklearn_cmh.shallow import _lssh as lssh

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N, K, BASES, RHO, MU, GAMMA = 20, 3, 7, 0.2, 0.5, 1.5


@pytest.fixture
def point():
    """A problem, a state, and the objective as printed."""
    rng = np.random.RandomState(0)
    problem = lssh.Problem(normalize(rng.randn(N, 5)), normalize(rng.randn(N, 4)), RHO, MU, GAMMA)
    state = lssh.start(problem, K, BASES, rng)
    state.S = state.S + 0.1 * rng.randn(N, BASES)

    def value(**changed):
        at = {**vars(state), **changed}
        value = np.sum((problem.X - at["S"] @ at["D"]) ** 2) + RHO * np.sum(np.abs(at["S"]))
        value += MU * np.sum((problem.T - at["A"] @ at["U"]) ** 2)
        return value + GAMMA * np.sum((at["A"] - at["S"] @ at["R"]) ** 2)

    return problem, state, value, rng


def test_objective_is_the_printed_one(point):
    problem, state, value, _ = point
    assert lssh.objective(problem, state) == pytest.approx(value(), rel=1e-12)


def test_updates_of_rows_solve_their_subproblems(point):
    """No perturbation of sparse codes or of the latent space does better."""
    problem, state, value, rng = point
    best = {
        "S": lssh.update_sparse_codes(problem, state),
        "A": lssh.update_latent(problem, state),
    }
    for name, at in best.items():
        assert value(**{name: at}) < value()
        for scale in (1e-3, 1e-1, 1.0):
            other = at + scale * rng.randn(*at.shape)
            assert value(**{name: other}) > value(**{name: at})
            if name == "S":  # where it is not zero
                assert value(S=np.where(at == 0, 0, other)) > value(S=at)


def test_every_atom_is_the_best_in_the_unit_ball_given_the_others(point):
    """Of the last one updated; the loss does not rise, and norms are at most one."""
    problem, state, value, rng = point
    D = lssh.update_atoms(state.D, state.S, problem.X)
    assert value(D=D) < value() and (np.linalg.norm(D, axis=1) <= 1 + 1e-12).all()
    for scale in (1e-3, 1e-1, 1.0):
        for _ in range(20):
            other = D.copy()
            other[-1] += scale * rng.randn(5)
            other[-1] /= max(1.0, np.linalg.norm(other[-1]))
            assert value(D=other) >= value(D=D)
    unused = np.where(np.arange(BASES) == 2, 0, state.S)
    np.testing.assert_array_equal(lssh.update_atoms(D, unused, problem.X)[2], D[2])


def test_objective_never_rises(point):
    problem, state, _, _ = point
    values = [lssh.objective(problem, state)]
    for _ in range(6):
        lssh.sweep(problem, state)
        values.append(lssh.objective(problem, state))
    assert (np.diff(values) <= 1e-6 * values[0]).all()


def test_codes_of_either_modality_alone(paired):
    X = MultimodalData(**paired.blocks)
    hasher = LSSH(8, n_bases=12, max_iter=4, random_state=0).fit(X[:80])
    assert hasher.labels_ is None and not hasattr(hasher, "projections_")
    F = {name: hasher.feature_maps_[name].transform(X[name]) for name in X.names}
    S = lssh.sparse_codes(F["image"], hasher.dictionary_, 0.2)
    Z = {"image": S @ hasher.link_, "text": F["text"] @ hasher.latent_projection_}
    for name in X.names:
        np.testing.assert_allclose(hasher.project(X[name], modality=name), Z[name], atol=1e-8)
    one = np.vstack([hasher.encode(X["image"][i : i + 1], modality="image") for i in range(9)])
    np.testing.assert_array_equal(one, hasher.encode(X["image"], modality="image")[:9])


def test_rows_not_seen_are_found_without_labels(paired):
    X, half = MultimodalData(**paired.blocks), np.arange(120) < 80
    hasher = LSSH(16, n_bases=20, max_iter=5, random_state=0).fit(X[half], paired.y[half])
    assert hasher.score(X[~half], paired.y[~half]) > 0.45
    with pytest.raises(ValueError, match="LSSH takes 2 modalities"):
        LSSH(8).fit(MultimodalData(**paired.blocks, sound=paired.text))
