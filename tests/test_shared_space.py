"""A space that modalities share, learned from pairs alone."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

from sklearn_cmh import DSAH, AnchorRBF, MultimodalData, RefinedHasher, SharedSpace
from sklearn_cmh.features import _shared_space

pytestmark = pytest.mark.filterwarnings("ignore:n_anchors")

# One map and ridge each, where the search is not what is tested.
FIXED = {"feature_map": "passthrough", "regularisation": 0.1, "random_state": 0}


def pairs(n=300, widths=(8, 6), n_shared=4, noise=0.5, seed=0):
    """Modalities that see the same signal through different mixtures, each with its own noise."""
    rng = np.random.RandomState(seed)
    signal = rng.randn(n, n_shared)
    return MultimodalData(
        **{
            f"m{i}": signal @ rng.randn(n_shared, q) + noise * rng.randn(n, q) + 2.0
            for i, q in enumerate(widths)
        }
    )


@pytest.fixture
def X():
    return pairs()


# --- Rows ------------------------------------------------------------------------------------


def test_partners_are_found(X):
    space = SharedSpace(n_components=4, **FIXED).fit(X[:200])
    assert space.score(X[200:]) > 0.5
    shuffled = MultimodalData(m0=X["m0"], m1=X["m1"][np.random.RandomState(1).permutation(300)])
    assert SharedSpace(n_components=4, **FIXED).fit(shuffled[:200]).score(X[200:]) < 0.1


def test_rows_of_the_fit_are_told_apart_by_all_components_new_ones_by_those_that_hold():
    X = pairs(400, widths=(40, 30), noise=2.0)
    space = SharedSpace(n_components=30, **FIXED).fit(X[:200])
    own, new = [], []
    for power in (0.0, 1.0):
        space.set_params(power=power)
        table, text = space.transform(X[:200]), space.transform(X["m1"][:200], modality="m1")
        own.append(np.mean(1 / _shared_space.own_pair_ranks(text, table)))
        new.append(space.score(X[200:]))
    assert own[0] > own[1]
    assert new[0] < new[1]


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_rows_equal_their_definition(X, power):
    space = SharedSpace(n_components=3, power=power, **FIXED).fit(X)
    weights = space.correlations_.clip(0.001, 0.99) ** power
    E = [
        (X[name] - X[name].mean(axis=0)) @ W * weights
        for name, W in zip(X.names, space._shared.bases, strict=True)
    ]
    for name, rows in zip(X.names, E, strict=True):
        expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        np.testing.assert_allclose(space.transform(X[name], modality=name), expected, atol=1e-8)
    both = E[0] + E[1]
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    np.testing.assert_allclose(space.transform(X), both, atol=1e-8)


def test_out_of_fold_rows_equal_refitting(X):
    """Inner products do not depend on how the bases of a fold are turned."""
    space = SharedSpace(n_components=3, power=0.0, **FIXED).fit(X)
    rows = space.out_of_fold_rows(X)
    for fold in range(3):
        out = space.folds_ == fold
        refitted = SharedSpace(n_components=3, power=0.0, **FIXED).fit(X[~out])
        image, text = (refitted.transform(X[out], modality=name) for name in X.names)
        np.testing.assert_allclose(rows["m0"][out] @ rows["m1"][out].T, image @ text.T, atol=1e-8)
    with pytest.raises(ValueError, match="300 training rows"):
        space.out_of_fold_rows(X[:100])


def test_noise_gets_no_weight(X):
    """Two components are shared; the others correlate in sample only."""
    rng = np.random.RandomState(0)
    signal = rng.randn(200, 2)
    data = MultimodalData(
        a=np.hstack([signal, rng.randn(200, 60)]), b=np.hstack([signal, rng.randn(200, 60)])
    )
    space = SharedSpace(n_components=10, **FIXED).fit(data)
    assert space.correlations_[:2].min() > 0.9
    assert np.abs(space.correlations_[2:]).max() < 0.35


def test_three_modalities():
    X = pairs(widths=(8, 6, 5))
    space = SharedSpace(n_components=4, **FIXED).fit(X[:200])
    assert space.score(X[200:]) > 0.5
    two = MultimodalData(m0=X["m0"], m2=X["m2"])
    assert space.transform(two[200:]).shape == (100, 4)
    rows = [space.transform(X[200:], modality=name) for name in X.names]
    whole = space.transform(X[200:])
    # All together are nearer to each than each is to the others.
    assert (
        min((whole * r).sum(axis=1).mean() for r in rows) > (rows[0] * rows[1]).sum(axis=1).mean()
    )


# --- Forms of input --------------------------------------------------------------------------


def test_sparse_equals_dense(X):
    mixed = MultimodalData(m0=sparse.csr_array(X["m0"]), m1=X["m1"])
    dense, by_sparse = SharedSpace(**FIXED).fit(X), SharedSpace(**FIXED).fit(mixed)
    np.testing.assert_allclose(dense.correlations_, by_sparse.correlations_, atol=1e-8)
    np.testing.assert_allclose(dense.transform(X), by_sparse.transform(mixed), atol=1e-6)


def test_float32_stays_and_follows_float64(X):
    X32 = MultimodalData(**{name: X[name].astype(np.float32) for name in X.names})
    before = X32["m0"].copy()
    space = SharedSpace(**FIXED).fit(X32)
    rows = space.transform(X32, modality="m1")
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, SharedSpace(**FIXED).fit(X).transform(X, "m1"), atol=1e-3)
    np.testing.assert_array_equal(X32["m0"], before)


def test_frames_in_and_out(X):
    pd = pytest.importorskip("pandas")
    table = pd.concat([pd.DataFrame(X[name]).add_prefix(f"{name}__") for name in X.names], axis=1)
    space = SharedSpace(modalities="prefix", **FIXED).fit(table).set_output(transform="pandas")
    rows = space.transform(table)
    np.testing.assert_allclose(rows, SharedSpace(**FIXED).fit(X).transform(X), atol=1e-8)
    text = [column for column in table if column.startswith("m1")]
    assert list(space.transform(table[text], modality="m1")) == list(rows)
    assert 0 < space.score(table) <= 1


def test_a_row_does_not_depend_on_its_batch(X):
    space = SharedSpace(n_anchors=50, regularisation=0.1, feature_map=None, random_state=0).fit(X)
    one = np.vstack([space.transform(X[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(one, space.transform(X)[:20], rtol=1e-12, atol=1e-12)


def test_pickle_and_clone(X):
    space = SharedSpace(**FIXED).fit(X)
    copy = pickle.loads(pickle.dumps(space))
    np.testing.assert_array_equal(copy.transform(X), space.transform(X))
    np.testing.assert_array_equal(clone(space).fit(X).transform(X), space.transform(X))
    assert space.get_feature_names_out()[0] == "sharedspace0"


def test_grid_search_by_score(X):
    grid = {"regularisation": [1e-3, 1e5], "n_components": [4]}
    search = GridSearchCV(SharedSpace(**FIXED), grid, cv=3).fit(X)
    assert search.best_params_["regularisation"] == 1e-3


def test_features_that_do_not_fit_in_working_memory(X):
    """They are made anew when they are needed, and nothing else changes."""
    space = SharedSpace(n_anchors=60, feature_map=None, regularisation=0.1, random_state=0)
    kept = clone(space).fit(X)
    with config_context(working_memory=0.01):
        made_anew = clone(space).fit(X)
        rows = made_anew.transform(X)
        out_of_fold = made_anew.out_of_fold_rows(X)
    np.testing.assert_allclose(rows, kept.transform(X), atol=1e-8)
    np.testing.assert_allclose(out_of_fold["m0"], kept.out_of_fold_rows(X)["m0"], atol=1e-8)


# --- Search ----------------------------------------------------------------------------------


def test_search_chooses_what_finds_partners():
    """The text holds squares of the signal: a linear map sees nothing of them."""
    rng = np.random.RandomState(0)
    signal = rng.randn(400, 2)
    X = MultimodalData(
        image=signal + 0.05 * rng.randn(400, 2), text=signal**2 + 0.05 * rng.randn(400, 2)
    )
    space = SharedSpace(n_components=10, n_anchors=100, random_state=0).fit(X[:300])
    assert "AnchorRBF" in repr(space.feature_maps_["image"])
    linear = clone(space).set_params(feature_map=StandardScaler()).fit(X[:300])
    assert space.score(X[300:]) > linear.score(X[300:]) + 0.05


def test_search_is_the_best_of_all_combinations():
    """With two modalities of one map each, coordinate search is compared with all ridges."""
    X = pairs(n=120, widths=(30, 20), noise=2.0)
    folds = np.random.RandomState(0).permutation(np.arange(120) % 3)
    candidates = [[_shared_space.folded_features(X[name], folds)] for name in X.names]
    ridges = [0.1, 0.01, 1.0, 10.0]
    choice = _shared_space.search_pairs(candidates, [ridges, ridges], 5)
    pairs_of_ridges = [(a, b) for a in ridges for b in ridges]
    scores = _shared_space.pair_scores(candidates[0][0], candidates[1][0], pairs_of_ridges, 5)
    found = scores[pairs_of_ridges.index((choice[0][1], choice[1][1]))]
    # Nothing is better in either coordinate.
    for (a, b), score in zip(pairs_of_ridges, scores, strict=True):
        if a == choice[0][1] or b == choice[1][1]:
            assert score <= found


def test_the_choice_is_printed_for_every_modality(X, capsys):
    space = SharedSpace(4, n_anchors=30, random_state=0, verbose=1).fit(X)
    lines = [line for line in capsys.readouterr().out.splitlines() if "regularisation" in line]
    assert len(lines) == 2
    for name, line in zip(X.names, lines, strict=True):
        assert line.startswith(f"[SharedSpace] {name}: ")
        assert line.endswith(f"regularisation {space.regularisation_[name]:g}")


def test_search_does_not_depend_on_threads(X):
    one = SharedSpace(n_components=4, n_anchors=30, random_state=0).fit(X)
    two = clone(one).set_params(n_jobs=2).fit(X)
    np.testing.assert_array_equal(one.transform(X), two.transform(X))


def test_score_of_folded_features_is_that_of_refitting():
    """With full rank, whitening in eigenvectors is the definition's whitening."""
    X = pairs(n=90)
    folds = np.random.RandomState(0).permutation(np.arange(90) % 3)
    left, right = (_shared_space.folded_features(X[name], folds) for name in X.names)
    (score,) = _shared_space.pair_scores(left, right, [(0.1, 1.0)], 4)
    expected = 0.0
    for fold in range(3):
        out = folds == fold
        space = SharedSpace(
            n_components=4,
            feature_map="passthrough",
            regularisation={"m0": 0.1, "m1": 1.0},
            power=0.0,
            random_state=0,
        ).fit(X[~out])
        E = space._components({name: X[name][out] for name in X.names}).values()
        A, B = E
        weights = _shared_space.component_weights(_shared_space.column_correlations(A, B), 1)
        A, B = (M * weights for M in (A, B))
        A, B = (M / np.linalg.norm(M, axis=1, keepdims=True) for M in (A, B))
        for P, Q in ((A, B), (B, A)):
            S = P @ Q.T
            ranks = (S > np.diag(S)[:, None]).sum(axis=1) + 1
            expected -= np.log(ranks).mean() / 6
    assert score == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("ridge", [1e12, 1e30, 1e60])
def test_scores_do_not_vanish_with_a_large_ridge(X, ridge):
    """Beside a ridge far above all variances these no longer count, however large it is."""
    folds = np.random.RandomState(0).permutation(np.arange(300) % 3)
    left, right = (_shared_space.folded_features(X[name], folds) for name in X.names)
    large, larger = _shared_space.pair_scores(left, right, [(1e8, 1e8), (ridge, ridge)], 4)
    assert larger == pytest.approx(large, abs=1e-3)
    assert large > 1 - np.log(100), "better than by chance in a fold of 100"


def test_own_pair_ranks_share_ties():
    A = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    np.testing.assert_array_equal(_shared_space.own_pair_ranks(A, A), [1.0, 1.5, 1.5])


# --- Parameters and errors -------------------------------------------------------------------


def test_maps_and_ridges_by_modality(X):
    space = SharedSpace(
        feature_map={"m0": AnchorRBF(20), "m1": "auto"},
        regularisation={"m0": 0.5, "m1": 2.0},
        n_anchors=30,
        random_state=0,
    )
    space.set_params(feature_map__m0__n_anchors=25).fit(X)
    assert space.regularisation_ == {"m0": 0.5, "m1": 2.0}
    assert space.feature_maps_["m0"].anchors_.shape == (25, 8)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"regularisation": {"m0": 1.0}}, "regularisation must be"),
        ({"regularisation": {"m0": 1.0, "m1": -1.0}}, "not negative"),
        ({"feature_map": {"other": None}}, "no modality 'other'"),
        ({"feature_map": {"m0": "linear"}}, "must be a transformer, 'auto', 'passthrough' or None"),
        ({"n_components": 0}, "n_components"),
    ],
)
def test_malformed_parameters(X, params, message):
    with pytest.raises(ValueError, match=message):
        SharedSpace(**params).fit(X)


def test_one_modality_is_refused(X):
    with pytest.raises(ValueError, match="pairs need two modalities; X has one, 'm0'"):
        SharedSpace().fit(MultimodalData(m0=X["m0"]))
    with pytest.raises(ValueError, match="pairs need two modalities"):
        SharedSpace().fit(X["m0"])


def test_error_leaves_the_space_as_it_was(X):
    space = SharedSpace(**FIXED).fit(X)
    rows = space.transform(X)
    with pytest.raises(ValueError, match=r"nothing in common.*\['m1'\]"):
        space.fit(MultimodalData(m0=X["m0"], m1=np.ones((300, 2))))
    np.testing.assert_array_equal(space.transform(X), rows)


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(2, 12),
    widths=st.lists(st.integers(1, 4), min_size=2, max_size=3),
    n_distinct=st.integers(2, 12),
    seed=st.integers(0, 100),
)
def test_few_and_duplicated_rows(n, widths, n_distinct, seed):
    rng = np.random.RandomState(seed)
    rows = np.arange(n) % n_distinct
    X = MultimodalData(**{f"m{i}": rng.randn(n, q)[rows] for i, q in enumerate(widths)})
    space = SharedSpace(n_components=3, feature_map="passthrough", random_state=0).fit(X)
    Z = space.transform(X)
    assert Z.shape == (n, space.n_components_)
    norms = np.linalg.norm(Z, axis=1)
    assert (np.isclose(norms, 1) | (norms == 0)).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("labels", [None, "y"])
@pytest.mark.parametrize("method", [RefinedHasher, DSAH])
def test_hashers_use_it_whatever_output_is_configured(X, method, labels):
    pytest.importorskip("pandas")
    hasher = method(n_bits=8, n_anchors=30, pair_weight=0.5, random_state=0)
    if method is RefinedHasher:
        hasher.set_params(n_restarts=2, pool_bits=8, widths=(1.0,), ridges=(0.1, 1.0))
    if labels is None:
        hasher.set_params(pair_weight=1)
    hasher.set_params(shared_space=SharedSpace(4, **FIXED))
    y = np.arange(300) % 3 if labels else None
    codes = clone(hasher).fit(X, y).codes_
    with config_context(transform_output="pandas"):
        np.testing.assert_array_equal(clone(hasher).fit(X, y).codes_, codes)
