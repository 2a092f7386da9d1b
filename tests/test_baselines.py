"""Hashers that other hashers are measured against."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier

from sklearn_cmh import AnchorRBF, MultimodalData
from sklearn_cmh.shallow import CCAITQ, CVH, CentredSign, ClassifierHasher
from sklearn_cmh.solvers import canonical_bases, centred_grams
from sklearn_cmh.utils.discovery import all_estimators

pytestmark = pytest.mark.filterwarnings(
    "ignore:n_anchors", "ignore::sklearn.exceptions.ConvergenceWarning"
)

# The codes of their training rows are those of their hash functions.
ENCODED = {"CCAITQ", "CMSSH", "CVH", "CentredSign", "ClassifierHasher", "SCM"}
BASELINES = [cls for _, cls in all_estimators(kind="baseline")]


@pytest.fixture
def X(paired):
    """Modalities of equal width, as CentredSign needs them."""
    return MultimodalData(image=paired.image[:, :5], text=paired.text)


@pytest.fixture(params=BASELINES, ids=lambda cls: cls.__name__)
def hasher(request):
    hasher = request.param(n_bits=16, random_state=0)
    return hasher.set_params(n_bases=20) if hasattr(hasher, "n_bases") else hasher


def test_the_baselines_are_found():
    assert {"CCAITQ", "CentredSign", "ClassifierHasher"} <= {cls.__name__ for cls in BASELINES}


def test_codes_and_queries(hasher, X, paired):
    hasher.fit(X, paired.y)
    assert hasher.codes_.shape == (120, 16) and hasher.codes_.dtype == np.int8
    assert set(np.unique(hasher.codes_)) == {-1, 1}
    if type(hasher).__name__ in ENCODED:
        assert (hasher.transform(X) == hasher.codes_).mean() > 0.999
    for name in X.names:
        codes = hasher.encode(X[name], modality=name)
        np.testing.assert_array_equal(codes, hasher.encode(X, modality=name))
        one = np.vstack([hasher.encode(X[name][i : i + 1], modality=name) for i in range(9)])
        np.testing.assert_array_equal(one, codes[:9])
    assert 0 <= hasher.score(X, paired.y) <= 1


def test_seeds_pickles_and_names(hasher, X, paired):
    first = clone(hasher).fit(X, paired.y)
    copy = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(copy.transform(X), first.transform(X))
    np.testing.assert_array_equal(clone(hasher).fit(X, paired.y).codes_, first.codes_)
    renamed = MultimodalData(left=X["image"], right=X["text"])
    np.testing.assert_array_equal(clone(hasher).fit(renamed, paired.y).codes_, first.codes_)


def test_float32_stays(hasher, X, paired):
    X32 = MultimodalData(**{name: X[name].astype(np.float32) for name in X.names})
    agree = clone(hasher).fit(X32, paired.y).codes_ == clone(hasher).fit(X, paired.y).codes_
    assert agree.mean() > 0.95


# --- CCAITQ ----------------------------------------------------------------------------------


def test_signs_of_canonical_components(X):
    """Without rotation, the codes are the definition's; bits beyond the rank are constant."""
    F = [(X[name] - X[name].mean(axis=0)) / X[name].std(axis=0) for name in X.names]
    bases, rho = canonical_bases(centred_grams(F), [0.1, 0.1], 5)
    hasher = CCAITQ(n_bits=5, rotation=None, regularisation=0.1).fit(X)
    np.testing.assert_allclose(hasher.correlations_, rho)
    for name, f, W in zip(X.names, F, bases, strict=True):
        np.testing.assert_array_equal(
            hasher.encode(X[name], modality=name), np.where(f @ W >= 0, 1, -1)
        )
    with pytest.warns(UserWarning, match="3 of 8 bits"):
        hasher.set_params(n_bits=8).fit(X)


def test_rotation_loses_less_and_less(X):
    hasher = CCAITQ(n_bits=4, tol=0.0, max_iter=20, random_state=0).fit(X)
    assert (np.diff(hasher.objective_) <= 1e-12).all()
    assert len(hasher.objective_) == hasher.n_iter_


def test_partners_get_like_codes():
    rng = np.random.RandomState(0)
    signal = rng.randn(300, 6)
    X = MultimodalData(
        image=signal @ rng.randn(6, 10) + 0.1 * rng.randn(300, 10),
        text=signal @ rng.randn(6, 8) + 0.1 * rng.randn(300, 8),
    )
    hasher = CCAITQ(n_bits=6, random_state=0).fit(X[:200])
    image, text = (hasher.encode(X[200:], modality=name) for name in X.names)
    assert (image == text).mean() > 0.9


def test_sparse_rows_are_centred_without_becoming_dense(X):
    mixed = MultimodalData(image=sparse.csr_array(X["image"]), text=X["text"])
    params = {"n_bits": 5, "feature_map": "passthrough", "random_state": 0}
    np.testing.assert_array_equal(
        CCAITQ(**params).fit(mixed).codes_, CCAITQ(**params).fit(X).codes_
    )


def test_kernel_features_and_ridges_by_modality(X):
    hasher = CCAITQ(n_bits=8, feature_map=AnchorRBF(30), regularisation={"image": 0.1, "text": 1.0})
    assert hasher.fit(X).projections_["text"].shape == (30, 8)
    with pytest.raises(ValueError, match="regularisation must be"):
        hasher.set_params(regularisation={"image": 0.1}).fit(X)


def test_pairs_need_two_modalities(X):
    with pytest.raises(ValueError, match=r"pairs need two modalities; X has \['text'\]"):
        CCAITQ().fit(MultimodalData(text=X["text"]))
    with pytest.raises(ValueError, match="nothing in common"):
        CCAITQ().fit(MultimodalData(text=X["text"], image=np.ones((120, 3))))


# --- ClassifierHasher ------------------------------------------------------------------------


def test_probabilities_through_hyperplanes(X, paired):
    hasher = ClassifierHasher(n_bits=16, feature_map="passthrough", random_state=0)
    hasher.fit(X, paired.y)
    P = {name: hasher.classifiers_[name].predict_proba(X[name]) for name in X.names}
    mean = (P["image"].mean(axis=0) + P["text"].mean(axis=0)) / 2
    for name in X.names:
        expected = np.where((P[name] - mean) @ hasher.hyperplanes_ >= 0, 1, -1)
        np.testing.assert_array_equal(hasher.encode(X[name], modality=name), expected)


def test_one_hot_codes_are_those_of_classes(X, paired):
    hasher = ClassifierHasher(n_bits=32, codes="one_hot", random_state=0).fit(X, paired.y)
    codes = hasher.encode(X, modality="image")
    guess = hasher.classifiers_["image"].predict(hasher._map_features("image", X["image"]))
    assert len(np.unique(codes, axis=0)) == len(np.unique(guess)) == 4
    for k in range(4):
        assert len(np.unique(codes[guess == k], axis=0)) == 1


@pytest.mark.parametrize("codes", ["probability_lsh", "one_hot"])
def test_several_labels_per_row_and_a_class_that_never_occurs(X, paired, codes):
    Y = np.hstack([paired.indicator, np.zeros((120, 1), dtype=int), np.ones((120, 1), dtype=int)])
    hasher = ClassifierHasher(n_bits=16, codes=codes, random_state=0).fit(X, Y)
    assert hasher.hyperplanes_.shape == (6, 16)
    single = clone(hasher).fit(X, paired.y)
    assert single.score(X, paired.y) > 0.5
    half = np.arange(120) < 60
    absent = np.where(half, paired.y, 0)
    assert clone(hasher).fit(X, absent).codes_.shape == (120, 16)
    # Several labels per row, classes told apart by the codes.
    Y[:, 5] = 0
    Y[paired.y == 1, 0] = 1
    score = clone(hasher).fit(X, Y).score(X, Y)
    assert score > 0.7


def test_another_classifier(X, paired):
    forest = RandomForestClassifier(5, random_state=0)
    hasher = ClassifierHasher(classifier=forest, feature_map="passthrough", random_state=0)
    assert hasher.fit(X, paired.y).score(X, paired.y) > 0.9
    with pytest.raises(ValueError, match="classifier"):
        ClassifierHasher(classifier=AnchorRBF()).fit(X, paired.y)
    with pytest.raises(ValueError, match="requires y"):
        ClassifierHasher().fit(X)


# --- CentredSign -----------------------------------------------------------------------------


def test_gap_between_modalities_is_closed(X):
    """The same things, each modality moved elsewhere: the codes are the same."""
    rng = np.random.RandomState(0)
    thing = rng.randn(50, 8)
    data = MultimodalData(image=thing + rng.randn(8), text=thing + rng.randn(8))
    hasher = CentredSign(n_bits=20, random_state=0).fit(data)
    agree = hasher.encode(data, modality="image") == hasher.encode(data, modality="text")
    assert agree.mean() > 0.999


def test_signs_of_coordinates(X):
    hasher = CentredSign(n_bits=3, rotation=None).fit(X)
    expected = np.where(X["image"] >= X["image"].mean(axis=0), 1, -1)[:, :3]
    np.testing.assert_array_equal(hasher.encode(X, modality="image"), expected)
    with pytest.raises(ValueError, match="n_bits=6 is more than the 5 coordinates"):
        hasher.set_params(n_bits=6).fit(X)


@pytest.mark.parametrize("n_bits", [3, 5, 20])
def test_random_directions_are_orthogonal(X, n_bits):
    R = CentredSign(n_bits=n_bits, random_state=0).fit(X).projection_
    small = R.T @ R if n_bits <= 5 else R @ R.T
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-10)


def test_widths_must_agree(paired):
    with pytest.raises(ValueError, match=r"same number of columns; got \{'image': 6, 'text': 5\}"):
        CentredSign().fit(MultimodalData(**paired.blocks))


# --- CVH -------------------------------------------------------------------------------------


def test_cvh_minimises_the_distance_between_views(X):
    """At canonical directions; no others on which the constraint holds are closer."""
    hasher = CVH(n_bits=3, regularisation=0.0).fit(X)
    F = [(X[name] - X[name].mean(axis=0)) / X[name].std(axis=0) for name in X.names]

    def distance(A):
        Z = np.vstack([f @ a for f, a in zip(F, A, strict=True)])
        A = [a @ np.linalg.inv(np.linalg.cholesky(Z.T @ Z / 240)).T for a in A]
        return np.square(F[0] @ A[0] - F[1] @ A[1]).sum() / 120

    best = [hasher.projections_[name] for name in X.names]
    assert hasher.objective_[0] == pytest.approx(distance(best), rel=1e-8)
    rng = np.random.RandomState(0)
    for scale in (1e-2, 1e-1, 1.0):
        other = [a + scale * np.abs(a).max() * rng.randn(*a.shape) for a in best]
        assert distance(other) > distance(best)


def test_cvh_has_the_directions_of_cca_without_rotation(X):
    """Also of three modalities."""
    three = MultimodalData(**{name: X[name] for name in X.names}, sound=X["text"] ** 2)
    for data in (X, three):
        cca = CCAITQ(n_bits=4, rotation=None).fit(data)
        hasher = CVH(n_bits=4).fit(data)
        for name in data.names:
            codes = hasher.encode(data, modality=name)
            np.testing.assert_array_equal(codes, cca.encode(data, modality=name))
    with pytest.warns(UserWarning, match="3 of 8 bits"):
        CVH(n_bits=8).fit(X)
