"""Splits by class: who trains, who tests, and that scikit-learn's tools take them."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.model_selection import GridSearchCV, cross_validate

from sklearn_cmh import DSAH, MultimodalData
from sklearn_cmh.metrics import make_retrieval_scorer
from sklearn_cmh.model_selection import UnseenClassSplit


@pytest.mark.parametrize("form", ["labels", "names", "indicator", "sparse"])
def test_test_rows_are_of_unseen_classes(form):
    y = np.random.RandomState(0).randint(0, 10, size=200)
    forms = {
        "labels": y,
        "names": np.array([f"class {label}" for label in y]),
        "indicator": np.eye(10, dtype=int)[y],
        "sparse": sparse.csr_array(np.eye(10, dtype=int)[y]),
    }
    splits = list(UnseenClassSplit(random_state=0).split(y, forms[form]))
    assert len(splits) == UnseenClassSplit().get_n_splits() == 3
    for train, test in splits:
        assert len(set(y[test])) == 3  # 28 % of 10
        assert not set(y[train]) & set(y[test])
        assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(200))
    again = list(UnseenClassSplit(random_state=0).split(y, y))
    for split, other in zip(splits, again, strict=True):
        assert_array_equal(split[1], other[1])


@pytest.mark.parametrize("test_classes", [1, 2, 3, 5])
def test_classes_are_held_out_in_turn(test_classes):
    y = np.arange(35) % 7
    splits = UnseenClassSplit(7, test_classes=test_classes, random_state=1).split(y, y)
    times = sum((np.isin(np.arange(7), y[test]).astype(int) for _, test in splits), np.zeros(7))
    assert_array_equal(times, test_classes)


def test_several_labels_per_row():
    L = np.random.RandomState(0).rand(300, 6) < 0.2
    L = L.astype(int)
    assert (L.sum(axis=1) == 0).any() and (L.sum(axis=1) > 1).any()
    for train, test in UnseenClassSplit(3, test_classes=2, random_state=0).split(L, L):
        seen, unseen = L[train].any(axis=0), ~L[train].any(axis=0)
        assert unseen.sum() == 2
        # A row with any unseen label is a test row, whatever else it has.
        assert_array_equal(test, np.flatnonzero(L[:, unseen].any(axis=1)))
        assert L[test][:, seen].any()


def test_rows_of_seen_classes_are_held_out_too():
    y = np.arange(400) % 8
    for train, test in UnseenClassSplit(2, seen_test_size=0.25, random_state=0).split(y, y):
        seen = np.isin(y, y[train])
        assert len(np.intersect1d(test, np.flatnonzero(seen))) == round(0.25 * seen.sum())
        assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(400))


def test_classes_that_no_row_has_are_not_held_out():
    L = np.eye(20, dtype=int)[np.arange(60) % 4]
    for train, test in UnseenClassSplit(4, test_classes=1, random_state=0).split(L, L):
        assert len(train) == 45 and len(test) == 15


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_splits": 0}, "n_splits must be an int"),
        ({"test_classes": 1.5}, r"test_classes must be a share.*1\.5"),
        ({"test_classes": 0}, "holds 0 out"),
        ({"test_classes": True}, "test_classes must be a share.*True"),
        ({"test_classes": 3}, "of 4 classes holds 3 out"),
        ({"test_classes": 0.9}, "of 4 classes holds 4 out"),
        ({"seen_test_size": 1.0}, r"seen_test_size must be a share.*1\.0"),
    ],
)
def test_bad_parameters_are_refused(options, message):
    y = np.arange(40) % 4
    with pytest.raises(ValueError, match=message):
        next(UnseenClassSplit(**options).split(y, y))


def test_bad_labels_are_refused():
    y = np.arange(40) % 4
    with pytest.raises(ValueError, match="y is None"):
        next(UnseenClassSplit().split(y))
    with pytest.raises(ValueError, match="inconsistent numbers"):
        next(UnseenClassSplit().split(y[:3], y))
    everywhere = np.ones((10, 4), dtype=int)
    with pytest.raises(ValueError, match="leaves no row to train on"):
        next(UnseenClassSplit().split(everywhere, everywhere))


@pytest.mark.filterwarnings("ignore:Only 0 of")
@pytest.mark.parametrize("form", ["labels", "indicator"])
def test_searches_and_cross_validation_take_it(paired, form):
    X = MultimodalData(image=paired.image, text=paired.text)
    y = paired.y if form == "labels" else paired.indicator
    cv = UnseenClassSplit(2, random_state=0)
    scorer = make_retrieval_scorer(gallery="validation")
    hasher = DSAH(8, n_anchors=20, random_state=0)
    found = cross_validate(hasher, X, y, cv=cv, scoring=scorer)
    assert np.isfinite(found["test_score"]).all()
    search = GridSearchCV(hasher, {"alpha": [0.1, 1.0]}, cv=cv, scoring=scorer).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    with config_context(enable_metadata_routing=True):
        again = cross_validate(hasher, X, y, cv=cv, scoring=scorer, params={})
    assert_array_equal(again["test_score"], found["test_score"])
    assert "test_classes=0.28" in repr(cv)


def test_a_share_of_seen_rows_that_takes_them_all_is_named():
    y = np.repeat(np.arange(4), 5)
    with pytest.raises(ValueError, match=r"seen_test_size=0\.99 of 15 rows"):
        list(UnseenClassSplit(seen_test_size=0.99, random_state=0).split(y, y))
