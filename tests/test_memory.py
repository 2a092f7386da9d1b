"""The parameter `memory`: results that are kept, by all that they depend on, change nothing."""

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold

from sklearn_cmh import AAH, ASCMH, DSAH, AnchorRBF, MultimodalData, RefinedHasher
from sklearn_cmh.features import fitted_features
from sklearn_cmh.shallow import BATCH
from sklearn_cmh.utils import _cache

KNOWN = [
    DSAH(8, n_anchors=30, random_state=0),
    ASCMH(8, n_anchors=30, random_state=0),
    BATCH(8, n_anchors=30, random_state=0),
    AAH(8, random_state=0),
    RefinedHasher(
        n_bits=8, n_anchors=30, pair_weight=0, widths=[0.5], n_restarts=1, random_state=0
    ),
]


@pytest.fixture
def computed(monkeypatch):
    """Names of the functions that were computed, not read from memory."""
    names = []

    def call(function, version, *args):
        names.append(function.__name__)
        return function(*args)

    call.__module__, call.__qualname__ = __name__, "call"
    monkeypatch.setattr(_cache, "_call", call)
    return names


@pytest.fixture
def X(paired):
    return MultimodalData(**paired.blocks)


@pytest.mark.parametrize("hasher", KNOWN, ids=lambda hasher: type(hasher).__name__)
def test_memory_changes_nothing_but_what_is_computed(hasher, X, paired, computed, tmp_path):
    expected = clone(hasher).fit(X, paired.y)
    kept = clone(hasher).set_params(memory=str(tmp_path))
    kept.fit(X, paired.y)
    assert len(computed) > 0
    computed.clear()
    again = clone(kept).fit(X, paired.y)
    assert computed == []
    for fitted in (kept, again):
        np.testing.assert_array_equal(fitted.codes_, expected.codes_)
        np.testing.assert_array_equal(fitted.transform(X), expected.transform(X))
        for name, P in expected.projections_.items():
            np.testing.assert_array_equal(fitted.projections_[name], P)


def test_what_features_depend_on_is_in_the_key(X, paired, computed, tmp_path):
    memory = joblib.Memory(tmp_path, verbose=0)
    hasher = DSAH(8, n_anchors=30, random_state=0, memory=memory).fit(X, paired.y)
    wider = {"image": AnchorRBF(30, width_factor=2.0)}
    other = MultimodalData(image=paired.image + 1e-12, text=paired.text)
    for changed, rows in [
        (clone(hasher).set_params(random_state=1), X),
        (clone(hasher).set_params(n_anchors=29), X),
        (clone(hasher).set_params(feature_map=wider), X),
        (clone(hasher), other),
        (clone(hasher), X[:-1]),
    ]:
        computed.clear()
        codes = changed.fit(rows, paired.y[: len(rows)]).codes_
        assert "fitted_features" in computed and "gram_factors" in computed
        plain = clone(changed).set_params(memory=None).fit(rows, paired.y[: len(rows)])
        np.testing.assert_array_equal(codes, plain.codes_)
    computed.clear()
    clone(hasher).set_params(alpha=3.0, gamma=0.1, n_bits=4, tol=1e-3).fit(X, paired.y)
    clone(hasher).fit(X, paired.y[::-1])
    assert computed == []


def test_the_version_is_in_the_key(monkeypatch, computed, tmp_path, paired):
    for version in ("1", "1", "2"):
        monkeypatch.setattr(_cache, "__version__", version)
        _cache.cached(str(tmp_path), fitted_features, AnchorRBF(5, random_state=0), paired.image)
    assert computed == ["fitted_features"] * 2


@pytest.mark.parametrize("hasher", KNOWN, ids=lambda hasher: type(hasher).__name__)
def test_without_a_seed_nothing_is_kept(hasher, X, paired, computed, tmp_path):
    hasher = clone(hasher).set_params(random_state=None, memory=str(tmp_path))
    with pytest.warns(UserWarning, match="memory has no effect with random_state=None"):
        hasher.fit(X, paired.y)
    assert computed == [] and not list(tmp_path.rglob("*.pkl"))


def test_a_search_maps_every_fold_once(X, paired, computed, tmp_path):
    search = GridSearchCV(
        DSAH(8, n_anchors=30, random_state=0, memory=str(tmp_path)),
        {"alpha": [0.01, 0.1], "gamma": [1e-3, 1e-2]},
        cv=KFold(3, shuffle=True, random_state=0),
        refit=False,
    ).fit(X, paired.y)
    assert sorted(computed) == ["fitted_features"] * 6 + ["gram_factors"] * 3
    plain = clone(search).set_params(estimator__memory=None).fit(X, paired.y)
    scores = [s.cv_results_["mean_test_score"] for s in (search, plain)]
    np.testing.assert_array_equal(*scores)


def test_only_a_folder_or_a_memory_is_taken(X, paired, tmp_path):
    with pytest.raises(ValueError, match="memory"):
        DSAH(8, memory=3).fit(X, paired.y)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OSError, match=r"^memory='.*file' is no folder .*memory=None"):
        DSAH(8, n_anchors=30, memory=str(file), random_state=0).fit(X, paired.y)
