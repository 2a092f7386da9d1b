"""SCM: directions that maximise semantic correlation, and what bits leave of the similarity."""

import numpy as np
import pytest
from scipy import sparse

from sklearn_cmh import MultimodalData
from sklearn_cmh.shallow import SCM
from sklearn_cmh.shallow import _scm as scm
from sklearn_cmh.solvers import CosineSimilarity, label_targets, sign

N = 40


@pytest.fixture
def point():
    """White rows of two modalities, targets, and the n x n similarity."""
    rng = np.random.RandomState(0)
    L = rng.rand(N, 4) < 0.4
    L[L.sum(axis=1) == 0, 0] = True
    T = label_targets(sparse.csr_array(L.astype(np.int8)))
    E = [np.linalg.qr(A - A.mean(axis=0))[0] for A in (rng.randn(N, 6), rng.randn(N, 5))]
    return E, T, 2 * T.toarray() @ T.toarray().T - 1, rng


def test_objective_is_the_one_with_the_dense_similarity(point):
    _, T, S, rng = point
    H = [sign(rng.randn(N, 3)).astype(float) for _ in range(2)]
    value = scm.objective(CosineSimilarity(T, 2.0, 1.0), scm.squared_norm_of_similarity(T), H)
    assert value == pytest.approx(np.linalg.norm(H[0] @ H[1].T - 3 * S) ** 2, rel=1e-12)


@pytest.mark.parametrize("shape", [(6, 5), (80, 70)])
def test_no_direction_correlates_more_than_the_first(shape):
    rng = np.random.RandomState(0)
    C = rng.randn(*shape)
    u, v = scm.first_directions(C)
    assert np.linalg.norm(u) == pytest.approx(1) and np.linalg.norm(v) == pytest.approx(1)
    assert u @ C @ v == pytest.approx(np.linalg.norm(C, 2), rel=1e-8)
    first = scm.first_directions(-C)
    np.testing.assert_allclose(np.outer(*first), -np.outer(u, v), atol=1e-6)


def test_a_modality_without_differences_is_refused():
    X = MultimodalData(image=np.ones((N, 3)), text=np.random.RandomState(0).randn(N, 4))
    with pytest.raises(ValueError, match=r"features of \['image'\] are the same in all rows"):
        SCM(4).fit(X, np.arange(N) % 2)


def test_every_bit_is_the_best_direction_for_what_the_earlier_ones_leave(point):
    """The residual is that of the n x n definition."""
    E, T, S, _ = point
    k = 4
    C = 2 * k * T.pool(E[0]).T @ T.pool(E[1])
    np.testing.assert_allclose(C, k * E[0].T @ S @ E[1], atol=1e-10)
    U = scm.sequential_directions(C, E, k)
    R = k * S
    for j in range(k):
        u, v = scm.first_directions(E[0].T @ R @ E[1])
        np.testing.assert_allclose(np.outer(U[0][:, j], U[1][:, j]), np.outer(u, v), atol=1e-8)
        R = R - np.outer(sign(E[0] @ u), sign(E[1] @ v))


def test_orthogonal_directions_are_canonical_with_the_similarity_between(point):
    E, T, _, _ = point
    C = 2 * T.pool(E[0]).T @ T.pool(E[1])
    U = scm.orthogonal_directions(C, 8)
    assert [u.shape for u in U] == [(6, 8), (5, 8)]
    values = np.diag(U[0].T @ C @ U[1])
    assert (np.diff(values[:4]) <= 0).all() and not U[0][:, 5:].any()
    np.testing.assert_allclose(U[1][:, :5].T @ U[1][:, :5], np.eye(5), atol=1e-10)


def test_one_bit_after_another_says_more(paired):
    """More bits than columns: those of "orthogonal" are constant."""
    X = MultimodalData(**paired.blocks)
    sequential = SCM(16).fit(X, paired.y)
    with pytest.warns(UserWarning, match="11 of 16 bits"):
        orthogonal = SCM(16, solver="orthogonal").fit(X, paired.y)
    assert sequential.objective_[0] < orthogonal.objective_[0]
    assert sequential.score(X, paired.y) > orthogonal.score(X, paired.y) > 0.5


def test_sparse_rows_are_centred_without_becoming_dense(paired):
    X = MultimodalData(**paired.blocks)
    mixed = MultimodalData(image=sparse.csr_array(X["image"]), text=X["text"])
    fitted = [SCM(8, feature_map="passthrough").fit(data, paired.y) for data in (X, mixed)]
    np.testing.assert_array_equal(fitted[0].codes_, fitted[1].codes_)


@pytest.mark.parametrize("solver", ["sequential", "orthogonal"])
def test_signs_of_white_features_do_not_matter(paired, monkeypatch, solver):
    """They are those of eigenvectors, which differ between processors."""
    X, hasher = MultimodalData(**paired.blocks), SCM(8, solver=solver)
    codes = hasher.fit(X, paired.y).codes_
    whitener = scm.whitener
    monkeypatch.setattr(scm, "whitener", lambda *args: -whitener(*args))
    np.testing.assert_array_equal(hasher.fit(X, paired.y).codes_, codes)


def test_three_modalities_are_refused(paired):
    X = MultimodalData(**paired.blocks, sound=paired.text)
    with pytest.raises(ValueError, match="SCM takes 2 modalities; X has"):
        SCM(8).fit(X, paired.y)


def test_wiki_is_learned(wiki):
    """Above chance, 0.12, by far."""
    X, y = MultimodalData(image=wiki.image, text=wiki.text), wiki.labels
    hasher = SCM(32).fit(X[wiki.train], y[wiki.train])
    assert hasher.score(X[wiki.test], y[wiki.test]) > 0.3
