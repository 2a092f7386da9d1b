"""BATCH: every update solves its subproblem, and the objective is the printed one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import minimize

from sklearn_cmh import AnchorRBF, MultimodalData
from sklearn_cmh.metrics import make_retrieval_scorer
from sklearn_cmh.shallow import BATCH
from sklearn_cmh.shallow import _batch as batch
from sklearn_cmh.solvers import label_targets, orthonormal_basis, polar_factor

pytestmark = pytest.mark.filterwarnings(
    "ignore:n_anchors", "ignore::sklearn.exceptions.ConvergenceWarning"
)

N, K, THETA, LAMBDAS = 20, 3, 0.7, (0.5, 1.5)


@pytest.fixture
def point():
    """A problem, a random feasible state, and the objective with the n x n similarity."""
    rng = np.random.RandomState(0)
    L = rng.rand(N, 4) < 0.4
    L[L.sum(axis=1) == 0, 0] = True
    targets = label_targets(sparse.csr_array(L.astype(np.int8)))
    problem = batch.Problem.from_data([rng.randn(N, 6), rng.randn(N, 5)], targets)
    state = batch.start(problem, K, rng)
    G = targets.toarray()

    def value(**changed):
        at = {**vars(state), **changed}
        latent = at["V"] @ at["R"]
        value = np.linalg.norm(K * G @ G.T - at["B"] @ latent.T) ** 2
        value += THETA * np.linalg.norm(at["B"] - latent) ** 2
        for weight, F, U in zip(LAMBDAS, problem.features, at["U"], strict=True):
            value += weight * np.linalg.norm(F - at["V"] @ U) ** 2
        return value

    return problem, state, value, rng


def test_objective_is_the_one_with_the_dense_similarity(point):
    problem, state, value, _ = point
    assert batch.objective(problem, state, THETA, LAMBDAS) == pytest.approx(value(), rel=1e-12)


def test_every_update_solves_its_subproblem(point):
    """No numerical optimiser and no perturbation does better."""
    problem, state, value, rng = point
    U = batch.update_loading(state.V, problem.features[0])

    def loss(u):
        return value(U=[u.reshape(U.shape), state.U[1]])

    np.testing.assert_allclose(minimize(loss, np.zeros(U.size)).x.reshape(U.shape), U, atol=1e-3)
    V = batch.update_basis(problem, state, THETA, LAMBDAS, rng)
    R = batch.update_rotation(problem, state, THETA)
    B = batch.update_codes(problem, state, THETA)
    for scale in (1e-3, 1e-1, 1.0):
        for _ in range(10):
            other = orthonormal_basis(V + scale * rng.randn(N, K), rng)
            assert value(V=other) > value(V=V)
            assert value(R=polar_factor(R + scale * rng.randn(K, K))) > value(R=R)
            flips = np.where(rng.rand(N, K) < scale, -1, 1)
            assert value(B=B * flips) >= value(B=B)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 3),
    st.integers(1, 8),
    st.sampled_from([0.0, 1.0, 1e3]),
    st.sampled_from([0.0, 0.5, 1e4]),
    st.integers(0, 99),
)
def test_objective_never_rises(modalities, k, theta, weight, seed):
    rng = np.random.RandomState(seed)
    L = (rng.rand(30, 4) < 0.4).astype(np.int8)
    L[L.sum(axis=1) == 0, 0] = 1
    F = [rng.randn(30, 4 + m) for m in range(modalities)]
    problem = batch.Problem.from_data(F, label_targets(sparse.csr_array(L)))
    state, values = batch.start(problem, k, rng), []
    for _ in range(10):
        batch.sweep(problem, state, theta, [weight] * modalities, rng)
        values.append(batch.objective(problem, state, theta, [weight] * modalities))
    assert (np.diff(values) <= 1e-9 * np.abs(values[0])).all()


def test_pairs_tell_rows_of_a_class_apart(paired):
    X = MultimodalData(**paired.blocks)
    hasher = BATCH(32, n_anchors=50, random_state=0).fit(X, paired.y)
    assert hasher.score(X, paired.y) > 0.9
    labels_alone = len(np.unique(hasher.codes_, axis=0))
    hasher.set_params(pair_weight=0.3).fit(X, paired.y)
    assert len(np.unique(hasher.codes_, axis=0)) > labels_alone
    hasher.set_params(pair_weight=1).fit(X)
    assert hasher.labels_ is None


def test_wiki_reaches_the_reference(wiki):
    """16 bits, mean of three seeds: an independent implementation's figures less 0.01."""
    X, y = MultimodalData(image=wiki.image, text=wiki.text), wiki.labels
    scorers = [
        make_retrieval_scorer(query=query, gallery=gallery)
        for gallery in ("learned", "validation")
        for query in ("image", "text")
    ]
    anchors = {"image": AnchorRBF(500), "text": AnchorRBF(1000)}
    figures = []
    for seed in range(3):
        hasher = BATCH(16, feature_map=anchors, random_state=seed)
        hasher.fit(X[wiki.train], y[wiki.train])
        figures.append([scorer(hasher, X[wiki.test], y[wiki.test]) for scorer in scorers])
    assert (np.mean(figures, axis=0) > np.array([0.362, 0.728, 0.273, 0.212]) - 0.01).all()
