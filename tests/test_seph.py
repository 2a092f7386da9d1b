"""SePH: the objective over all pairs, its gradient, and logistic regressions of bits."""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import check_grad
from scipy.special import expit
from sklearn.base import clone

from sklearn_cmh import AnchorRBF, MultimodalData, RefinedHasher
from sklearn_cmh.shallow import SePH
from sklearn_cmh.shallow import _seph as seph

pytestmark = pytest.mark.filterwarnings(
    "ignore:n_anchors", "ignore::sklearn.exceptions.ConvergenceWarning"
)

N, K, ALPHA = 20, 3, 0.3


@pytest.fixture
def point():
    """A problem, relaxed codes, and the label affinities of all pairs."""
    rng = np.random.RandomState(0)
    L = rng.rand(N, 4) < 0.4
    L[L.sum(axis=1) == 0, 0] = True
    problem = seph.Problem.from_data(sparse.csr_array(L.astype(np.int8)), ALPHA)
    A = (L @ L.T.astype(float)) / np.sqrt(np.outer(L.sum(axis=1), L.sum(axis=1)))
    return problem, rng.randn(N, K), A, rng


def divergence(A, H):
    """Equation 6, pair by pair."""
    n, k = H.shape
    w = np.array([[1 / (1 + np.sum((a - b) ** 2) / 4) for b in H] for a in H])
    apart = ~np.eye(n, dtype=bool)
    p, q = A[apart] / A[apart].sum(), w[apart] / w[apart].sum()
    positive = p > 0
    loss = np.sum(p[positive] * np.log(p[positive] / q[positive]))
    return loss + ALPHA / (n * k) * np.sum((np.abs(H) - 1) ** 2)


@pytest.mark.parametrize("block_entries", [1, 50, 10**6])
def test_objective_is_the_one_of_all_pairs(point, block_entries, monkeypatch):
    """But for a constant and the factor n; in blocks of any number of rows."""
    monkeypatch.setattr(seph, "_BLOCK_ENTRIES", block_entries)
    problem, H, A, rng = point
    other = rng.randn(N, K)
    found = seph.objective(problem, H)[0] - seph.objective(problem, other)[0]
    assert found == pytest.approx(N * (divergence(A, H) - divergence(A, other)), rel=1e-10)


def test_gradient_is_that_of_the_objective(point):
    problem, H, _, _ = point

    def value(h):
        return seph.objective(problem, h.reshape(N, K))[0]

    def gradient(h):
        return seph.objective(problem, h.reshape(N, K))[1].ravel()

    assert check_grad(value, gradient, H.ravel()) < 1e-4


def test_objective_never_rises(point):
    problem, H, _, _ = point
    values = [seph.objective(problem, H)[0]]
    for _ in range(5):
        H, value = seph.sweep(problem, H)
        assert value == pytest.approx(seph.objective(problem, H)[0], rel=1e-12)
        values.append(value)
    assert (np.diff(values) <= 0).all() and values[-1] < values[0]


@pytest.fixture
def hasher():
    return SePH(8, n_anchors=30, max_iter=5, random_state=0)


def test_projections_are_log_odds_of_logistic_regressions(hasher, paired):
    X = MultimodalData(**paired.blocks)
    hasher.fit(X, paired.y)
    F = hasher.feature_maps_["text"].transform(X["text"])
    j = int(np.ptp(hasher.codes_, axis=0).argmax())
    Z = hasher.project(X["text"], modality="text")[:, j]
    # Zero gradient: of ||w||^2 / 2, and of the log-losses at C = 1 / lambda_h = 100.
    residuals = expit(Z) - (hasher.codes_[:, j] > 0)
    np.testing.assert_allclose(hasher.projections_["text"][:, j], -100 * F.T @ residuals, atol=1e-8)
    assert abs(residuals.sum()) < 1e-10
    fused = (
        hasher.project(X["text"], modality="text") + hasher.project(X["image"], modality="image")
    ) / 2
    np.testing.assert_allclose(hasher.project(X), fused, atol=1e-12)


def test_anchors_by_either_sampling_and_ridge_regressions(hasher, paired):
    X = MultimodalData(**paired.blocks)
    half = np.arange(120) < 80
    for params in ({}, {"sampling": "random"}, {"hash_functions": "ridge"}):
        fitted = clone(hasher).set_params(**params).fit(X[half], paired.y[half])
        assert fitted.score(X[~half], paired.y[~half]) > 0.6
        indices = fitted.feature_maps_["text"].anchor_indices_
        assert (indices is None) == (fitted.sampling == "kmeans")


def test_a_pool_of_restarts_takes_ridge_regressions(hasher, paired):
    assert hasher._restart_params(codes_only=True) == {"hash_functions": "ridge"}
    X = MultimodalData(**paired.blocks)
    refined = RefinedHasher(hasher, 8, n_restarts=1, pool_bits=16).fit(X, paired.y)
    assert refined.score(X, paired.y) > 0.6


def test_too_many_rows_are_refused_before_anything_is_done(hasher, paired, monkeypatch):
    monkeypatch.setattr(seph, "_MOST_ROWS", 100)
    monkeypatch.setattr(AnchorRBF, "fit", None)
    with pytest.raises(ValueError, match=r"all pairs of rows, and X has 120.*at most 100"):
        hasher.fit(MultimodalData(**paired.blocks), paired.y)


@pytest.mark.parametrize("y", [np.arange(12), np.eye(12, dtype=int)])
def test_rows_of_which_no_two_share_a_label_are_refused(hasher, paired, y):
    X = MultimodalData(**paired.blocks)[:12]
    with pytest.raises(ValueError, match="No two of 12 training rows share a label"):
        hasher.fit(X, y)


def test_wiki_is_learned(wiki):
    """Of a sample of its training rows."""
    X, y, rows = MultimodalData(image=wiki.image, text=wiki.text), wiki.labels, wiki.train[::6]
    hasher = SePH(16, max_iter=2, n_anchors=100, hash_functions="ridge", random_state=0)
    assert hasher.fit(X[rows], y[rows]).score(X[wiki.test], y[wiki.test]) > 0.35
