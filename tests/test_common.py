"""Checks that every estimator passes: scikit-learn's, and the package's own.

A new estimator joins by being in the ``__all__`` of its room: `all_estimators` finds it by
its kind. What all hashers must do is tried on all of them; what takes a solver in sweeps, or
features as they are, on the shallow ones. scikit-learn's checks of the deep ones are in
tests/deep, as they need settings of their own.
"""

import pickle
from inspect import signature

import numpy as np
import pytest
from common_columns import all_but_the_first
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

import sklearn_cmh
from sklearn_cmh import AnchorRBF, MultimodalData
from sklearn_cmh.base import ShallowHasher
from sklearn_cmh.utils.discovery import all_estimators


def names_of(kind):
    """Names of the estimators of one kind."""
    return [name for name, _ in all_estimators(kind=kind)]


ESTIMATORS = dict(all_estimators())
SHALLOW, DEEP, BASELINES = names_of("shallow"), names_of("deep"), names_of("baseline")
ALONE = names_of("other")
# What learns from pairs takes no table of one modality.
NEED_PAIRS = names_of("paired")
# Methods of the literature that are there to be measured against, but learn as the others do.
PEERS = [name for name in BASELINES if issubclass(ESTIMATORS[name], ShallowHasher)]
# Its modalities have columns that mean the same; those of the table below have none.
NEED_ONE_SPACE = ["CentredSign"]

# What takes long at its defaults: fewer bits and sweeps; of hash functions and maps those that are
# fast.
QUICK = {
    "DSAH": {"n_bits": 8},
    "SharedSpace": {"feature_map": AnchorRBF(20)},
    "LSSH": {"n_bits": 8, "n_bases": 12, "max_iter": 3},
    "CMSSH": {"n_bits": 8, "n_pairs": 500},
    "GSPH": {"n_bits": 4, "hash_functions": "ridge"},
    "SePH": {"n_bits": 4, "max_iter": 2, "hash_functions": "ridge"},
}

pytestmark = pytest.mark.filterwarnings(
    "ignore:n_anchors", "ignore::sklearn.exceptions.ConvergenceWarning"
)


def quick(name, **params):
    return ESTIMATORS[name](**QUICK.get(name, {}), **params)


def two_modalities(name):
    hasher = quick(name, modalities={"first": slice(0, 1), "second": all_but_the_first})
    # What these checks look at does not get better with every sweep.
    brief = {"n_bits": 4, "max_iter": 2, "n_perturbations": 1}
    return hasher.set_params(**{k: v for k, v in brief.items() if k in hasher.get_params()})


@parametrize_with_checks(
    [
        quick(name)
        for name in ALONE + SHALLOW + BASELINES
        if name not in NEED_PAIRS and name not in PEERS
    ]
    + [
        two_modalities(name)
        for name in sorted({*SHALLOW, *BASELINES, *NEED_PAIRS} - {*NEED_ONE_SPACE})
    ]
)
def test_scikit_learn(estimator, check):
    check(estimator)


def small(name):
    return quick(name, random_state=0).set_params(n_bits=12)


@pytest.fixture(params=SHALLOW + PEERS)
def hasher(request):
    return small(request.param)


# Of deep methods, whichever of these they have: networks that are trained in no time.
TINY = {
    "hidden": (16,),
    "learning_rate": 1e-2,
    "batch_size": 32,
    "max_iter": 5,
    "pretrain_iter": 3,
    "n_candidates": 50,
    "n_selected": 5,
}


@pytest.fixture(params=SHALLOW + PEERS + DEEP)
def any_hasher(request):
    cls = ESTIMATORS[request.param]
    if request.param not in DEEP:
        return small(request.param)
    pytest.importorskip("torch", reason="PyTorch is not installed")
    own = signature(cls).parameters
    return cls(n_bits=12, random_state=0, **{name: TINY[name] for name in own.keys() & TINY.keys()})


@pytest.fixture
def X(paired):
    return MultimodalData(**paired.blocks)


def test_fitted_attributes(any_hasher, X, paired):
    any_hasher.fit(X, paired.indicator)
    assert any_hasher.codes_.shape == (120, 12) and any_hasher.codes_.dtype == np.int8
    assert set(np.unique(any_hasher.codes_)) == {-1, 1}
    assert any_hasher.modality_names_ == ["image", "text"]
    assert any_hasher.n_features_in_ == 11
    assert 1 <= any_hasher.n_iter_ <= getattr(any_hasher, "max_iter", 1)
    assert any_hasher.objective_.shape == (any_hasher.n_iter_,)
    np.testing.assert_array_equal(any_hasher.labels_.toarray(), paired.indicator)
    np.testing.assert_array_equal(any_hasher.classes_, np.arange(4))
    assert any_hasher.get_feature_names_out().shape == (12,)


def test_learns_what_is_easy(hasher, X, paired):
    """Rows not seen, against chance (four classes: 0.25) and shuffled labels."""
    half = np.arange(120) < 60
    score = clone(hasher).fit(X[half], paired.y[half]).score(X[~half], paired.y[~half])
    shuffled = np.random.RandomState(1).permutation(paired.y[half])
    chance = hasher.fit(X[half], shuffled).score(X[~half], paired.y[~half])
    assert score > 0.6 and score > chance + 0.25


def test_same_seed_same_codes(any_hasher, X, paired):
    first, second = (clone(any_hasher).fit(X, paired.y) for _ in range(2))
    np.testing.assert_array_equal(first.codes_, second.codes_)
    np.testing.assert_array_equal(first.transform(X), second.transform(X))


def test_names_of_modalities_are_only_names(any_hasher, X, paired):
    renamed = MultimodalData(left=X["image"], right=X["text"])
    first, second = clone(any_hasher).fit(X, paired.y), clone(any_hasher).fit(renamed, paired.y)
    np.testing.assert_array_equal(first.codes_, second.codes_)
    np.testing.assert_array_equal(
        first.encode(X, modality="text"), second.encode(renamed, modality="right")
    )


def test_one_and_three_modalities(hasher, X, paired):
    one = MultimodalData(text=X["text"])
    three = MultimodalData(image=X["image"], text=X["text"], extra=X["image"][:, :3] ** 2)
    if type(hasher).__name__ in NEED_PAIRS:
        with pytest.raises(ValueError, match="pairs need two modalities"):
            hasher.fit(one, paired.y)
        return
    for data in [one, three]:
        fitted = clone(hasher).fit(data, paired.y)
        assert fitted.score(data, paired.y) > 0.5
        for name in data.names:
            assert fitted.encode(data[name], modality=name).shape == (120, 12)


def test_float32_gives_the_codes_of_float64(any_hasher, X, paired):
    """Every bit, learned or encoded. Of networks, 2 of 1,440 bits differed at most."""
    X32 = MultimodalData(**{name: X[name].astype(np.float32) for name in X.names})
    double = clone(any_hasher).fit(X, paired.y)
    single = clone(any_hasher).fit(X32, paired.y)
    share = 0.005 if type(any_hasher).__name__ in DEEP else 0.0
    assert (single.codes_ != double.codes_).mean() <= share
    for modality in [*X.names, None]:
        assert single.project(X32, modality=modality).dtype == np.float32
        codes = double.encode(X, modality=modality)
        assert (single.encode(X32, modality=modality) != codes).mean() <= share


def test_projections_are_what_codes_are_the_signs_of(any_hasher, X, paired):
    fitted = any_hasher.fit(X, paired.y)
    for modality in [None, *X.names]:
        Z = fitted.project(X, modality=modality)
        assert Z.shape == (120, 12) and np.isfinite(Z).all()
        np.testing.assert_array_equal(np.where(Z >= 0, 1, -1), fitted.encode(X, modality=modality))


@pytest.mark.parametrize("n_bits", [1, 40])
def test_fewer_bits_than_classes_and_more_than_columns(hasher, X, paired, n_bits):
    assert hasher.set_params(n_bits=n_bits).fit(X, paired.y).codes_.shape == (120, n_bits)


def test_a_constant_column_and_a_class_that_never_occurs(hasher, X, paired):
    """Neither says anything, so neither may cost anything."""
    plain = clone(hasher).fit(X, paired.indicator).score(X, paired.indicator)
    data = MultimodalData(image=np.hstack([X["image"], np.full((120, 1), 7.0)]), text=X["text"])
    indicator = np.hstack([paired.indicator, np.zeros((120, 1), dtype=int)])
    assert hasher.fit(data, indicator).score(data, indicator) > plain - 0.1


def test_rows_in_another_order(hasher, X, paired):
    if not hasher._learning().needs_labels:
        pytest.skip("without labels, another random start may end elsewhere")
    if type(hasher).__name__ == "CMSSH":
        pytest.skip("another few pairs of rows may say something else")
    # Anchors are drawn by position, so only the retrieval is the same: of ASCMH, which is
    # furthest off, within 0.0083 when this was written.
    order = np.random.RandomState(0).permutation(120)
    first = clone(hasher).fit(X, paired.y).score(X, paired.y)
    second = clone(hasher).fit(X[order], paired.y[order]).score(X, paired.y)
    assert first == pytest.approx(second, abs=0.02)


def test_pickle_keeps_every_bit(any_hasher, X, paired):
    fitted = any_hasher.fit(X, paired.y)
    copy = pickle.loads(pickle.dumps(fitted))
    for name in X.names:
        np.testing.assert_array_equal(
            copy.encode(X, modality=name), fitted.encode(X, modality=name)
        )


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_value_of_the_paper_grid_fits(any_hasher, X, paired):
    if hasattr(any_hasher, "max_iter"):
        any_hasher.set_params(max_iter=1)
    grids = any_hasher.paper_grid()
    for grid in grids if isinstance(grids, list) else [grids]:
        # Solvers are chosen by grids of one value.
        chosen = {name: values[0] for name, values in grid.items() if len(values) == 1}
        for name, values in grid.items():
            assert len(values) > 0
            for value in values:
                model = clone(any_hasher).set_params(**chosen | {name: value})
                assert np.isfinite(model.fit(X[:40], paired.y[:40]).objective_).all()


def test_the_public_names_are_there():
    for name in sklearn_cmh.__all__:
        assert hasattr(sklearn_cmh, name)
    assert {"DSAH", "AAH", "ASCMH"} <= set(SHALLOW)


@pytest.mark.parametrize("name", SHALLOW + PEERS)
def test_parameters_out_of_range_are_refused(name, X, paired):
    with pytest.raises(ValueError, match="n_bits"):
        ESTIMATORS[name](n_bits=0).fit(X, paired.y)
    if "max_iter" in signature(ESTIMATORS[name]).parameters:
        with pytest.raises(ValueError, match="max_iter"):
            ESTIMATORS[name](max_iter=0).fit(X, paired.y)


@pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning")
def test_no_convergence_is_said(hasher, X, paired):
    if not hasattr(hasher, "max_iter"):
        pytest.skip("it goes in no sweeps")
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        hasher.set_params(max_iter=1, tol=0.0).fit(X, paired.y)
