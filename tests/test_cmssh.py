"""CMSSH: pairs, directions, thresholds, and a loss that falls with every bit."""

import itertools

import numpy as np
import pytest
from scipy import sparse

from sklearn_cmh import MultimodalData
from sklearn_cmh.shallow import CMSSH
from sklearn_cmh.shallow import _cmssh as cmssh
from sklearn_cmh.solvers import sign


@pytest.fixture
def point():
    """Centred rows of two modalities, pairs of them, and weights of the pairs."""
    rng = np.random.RandomState(0)
    X = [rng.randn(30, 4), rng.randn(30, 3)]
    X = [x - x.mean(axis=0) for x in X]
    L = sparse.csr_array(np.eye(3, dtype=np.int8)[rng.randint(3, size=30)])
    weights = rng.rand(40)
    return X, cmssh.draw_pairs(L, 40, rng), weights / weights.sum(), rng


def test_pairs_are_alike_where_labels_are_shared():
    """Half of them, and all such pairs are as likely as each other."""
    rng = np.random.RandomState(0)
    L = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]])
    pairs = cmssh.draw_pairs(sparse.csr_array(L), 20_000, rng)
    i, j = pairs.rows
    np.testing.assert_array_equal(pairs.alike > 0, np.einsum("nc,nc->n", L[i], L[j]) > 0)
    assert (pairs.alike > 0).mean() == 0.5
    for related in (True, False):
        chosen = (pairs.alike > 0) == related
        counts = np.unique(5 * i[chosen] + j[chosen], return_counts=True)[1]
        assert len(counts) == ((L @ L.T > 0) == related).sum()
        assert counts.max() < 1.3 * counts.min()


def test_labels_that_all_share_leave_pairs_that_are_alike():
    L = sparse.csr_array(np.array([[1, 1], [1, 0], [1, 1]]))
    assert (cmssh.draw_pairs(L, 10, np.random.RandomState(0)).alike == 1).all()


def test_no_other_directions_correlate_more(point):
    X, pairs, weights, rng = point
    i, j = pairs.rows

    def correlation(u, v):
        return np.sum(weights * pairs.alike * (X[0][i] @ u) * (X[1][j] @ v))

    u, v = cmssh.directions(X, pairs, weights)
    for _ in range(200):
        a, b = rng.randn(4), rng.randn(3)
        assert correlation(a / np.linalg.norm(a), b / np.linalg.norm(b)) <= correlation(u, v)


def test_no_other_threshold_gains_more(point):
    rng = point[-1]
    for values in (rng.randn(25), rng.randint(4, size=25).astype(float)):
        gains = rng.randn(25)
        a = cmssh.best_threshold(values, gains)
        tried = np.linspace(values.min() - 1, values.max() + 1, 2001)
        best = max(np.sum(gains * sign(values - t)) for t in tried)
        assert np.sum(gains * sign(values - a)) >= best - 1e-12


def test_thresholds_are_best_one_given_the_other(point):
    _, pairs, weights, rng = point
    z = [rng.randn(40), rng.randn(40)]
    a, b = cmssh.thresholds(z, weights, pairs.alike)

    def correlation(a, b):
        return np.sum(weights * pairs.alike * sign(z[0] - a) * sign(z[1] - b))

    for t in np.linspace(-3, 3, 301):
        assert max(correlation(t, b), correlation(a, t)) <= correlation(a, b) + 1e-12


def test_by_the_published_rule_the_loss_rises():
    """Where no bit has nearly all pairs right; by AdaBoost's, it falls there too."""
    rng = np.random.RandomState(0)
    L = sparse.csr_array(np.eye(3, dtype=np.int8)[rng.randint(3, size=200)])
    X, pairs = [rng.randn(200, 4), rng.randn(200, 3)], cmssh.draw_pairs(L, 2000, rng)
    assert cmssh.boost(X, pairs, 8, "constant")[2][-1] > 0
    assert cmssh.boost(X, pairs, 8, "adaboost")[2][-1] < 0


def test_the_loss_falls_with_every_bit(point):
    X, pairs, _, _ = point
    U, cuts, losses = cmssh.boost(X, pairs, 8, "adaboost")
    assert (np.diff([0.0, *losses]) <= 1e-9).all() and losses[-1] < 0
    H = [sign(x @ u - cut)[rows] for x, u, cut, rows in zip(X, U, cuts, pairs.rows, strict=True)]
    right = pairs.alike[:, None] * H[0] * H[1]
    margins = np.zeros(40)
    for t, loss in itertools.islice(enumerate(losses), 8):
        weights = np.exp(-margins) / np.exp(-margins).sum()
        margins += np.arctanh(weights @ right[:, t]) * right[:, t]
        assert loss == pytest.approx(np.log(np.mean(np.exp(-margins))), abs=1e-10)


def test_rows_not_seen(paired):
    X, half = MultimodalData(**paired.blocks), np.arange(120) < 80
    hasher = CMSSH(16, n_pairs=2000, random_state=0).fit(X[half], paired.y[half])
    assert hasher.score(X[~half], paired.y[~half]) > 0.6
    with pytest.raises(ValueError, match="CMSSH takes 2 modalities"):
        CMSSH(8).fit(MultimodalData(**paired.blocks, sound=paired.text), paired.y)
