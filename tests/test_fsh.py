"""FSH: the fused similarity by its definition, and updates that solve their subproblems."""

import numpy as np
import pytest
from scipy import sparse

from sklearn_cmh import MultimodalData
from sklearn_cmh.shallow import FSH
from sklearn_cmh.shallow import _fsh as fsh
from sklearn_cmh.solvers import sign

N, P, K, GAMMA = 30, 8, 3, 2.0


@pytest.fixture
def point():
    """A problem, codes, landmarks' codes and projections, and a source of others."""
    rng = np.random.RandomState(0)
    F = [rng.randn(N, 4), rng.randn(N, 3)]
    problem = fsh.Problem.from_data(F, np.arange(P), 3, GAMMA)
    B, Q = (sign(rng.randn(rows, K)).astype(float) for rows in (N, P))
    return problem, B, Q, [rng.randn(f.shape[1], K) for f in F], rng


@pytest.mark.parametrize("n_modalities", [2, 3])
def test_similarity_is_the_mean_over_neighbours(n_modalities):
    """Row by row and landmark by landmark, as it is defined."""
    rng = np.random.RandomState(0)
    F, s = [rng.randn(12, 4 + m) for m in range(n_modalities)], 2
    landmarks = rng.permutation(12)[:5]
    found = fsh.fused_similarity(F, landmarks, s)

    def closest(m, row):
        distances = np.linalg.norm(F[m][landmarks] - F[m][row], axis=1)
        return landmarks[np.argsort(distances)[:s]]

    for i in range(12):
        for j, landmark in enumerate(landmarks):
            values = [
                np.exp(-np.sum((F[m][a] - F[m][b]) ** 2) / 2)
                for m in range(n_modalities)
                for other in range(n_modalities)
                if other != m
                for a in closest(m, i)
                for b in closest(other, landmark)
            ]
            assert found[i, j] == pytest.approx(np.mean(values), rel=1e-8)


def test_every_update_solves_its_subproblem(point):
    """No flip of bits and no other projection does better."""
    problem, B, Q, W, rng = point
    best = {
        "B": fsh.update_codes(problem, Q, W),
        "Q": fsh.update_landmarks(problem, B),
        "W": fsh.update_projections(problem, B),
    }

    def value(**changed):
        return fsh.objective(problem, **{"B": B, "Q": Q, "W": W, **changed})

    for scale in (0.02, 0.1, 0.5):
        flips = {name: np.where(rng.rand(*best[name].shape) < scale, -1, 1) for name in "BQ"}
        for name in "BQ":
            assert value(**{name: best[name] * flips[name]}) >= value(**{name: best[name]})
        other = [w + scale * rng.randn(*w.shape) for w in best["W"]]
        assert value(W=other) > value(W=best["W"])


def test_objective_is_the_printed_one_and_never_rises(paired):
    X = MultimodalData(**paired.blocks)
    hasher = FSH(8, gamma=5.0, random_state=0).fit(X)
    assert (np.diff(hasher.objective_) <= 1e-9 * np.abs(hasher.objective_[0])).all()
    F = [hasher.feature_maps_[name].transform(X[name]) for name in X.names]
    W, B = list(hasher.projections_.values()), hasher.codes_.astype(float)
    landmarks = np.random.RandomState(1).permutation(120)[:9]
    problem = fsh.Problem.from_data(F, landmarks, 4, 5.0)
    Q = fsh.update_landmarks(problem, B)
    expected = 5.0 * sum(np.sum((B - f @ w) ** 2) for f, w in zip(F, W, strict=True))
    expected -= np.trace(B.T @ problem.A @ Q)
    assert fsh.objective(problem, B, Q, W) == pytest.approx(expected, rel=1e-10)


def test_rows_not_seen_are_found_without_labels(paired):
    X, half = MultimodalData(**paired.blocks), np.arange(120) < 80
    hasher = FSH(16, random_state=0).fit(X[half], paired.y[half])
    assert hasher.score(X[~half], paired.y[~half]) > 0.5
    np.testing.assert_array_equal(hasher.codes_, FSH(16, random_state=0).fit(X[half]).codes_)


def test_sparse_rows_and_fewer_rows_than_landmarks(paired):
    X = MultimodalData(**paired.blocks)[:20]
    mixed = MultimodalData(image=sparse.csr_array(X["image"]), text=X["text"])
    params = {"feature_map": "passthrough", "random_state": 0, "n_neighbors": 30}
    fitted = [FSH(8, **params).fit(data) for data in (X, mixed)]
    np.testing.assert_array_equal(fitted[0].codes_, fitted[1].codes_)


def test_wiki_reaches_the_published_figures(wiki):
    """16 bits, learned codes: 0.236 and 0.409 in the ASCMH paper, less 0.03."""
    X, y = MultimodalData(image=wiki.image, text=wiki.text), wiki.labels
    hasher = FSH(16, random_state=0).fit(X[wiki.train], y[wiki.train])
    test = X[wiki.test]
    for name, published in (("image", 0.2357), ("text", 0.4092)):
        alone = MultimodalData(**{name: test[name]})
        assert hasher.score(alone, y[wiki.test]) > published - 0.03
