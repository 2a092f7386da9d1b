"""Protocols of seen and unseen classes: every figure against its definition."""

from collections import Counter
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cmh import DSAH, MultimodalData
from sklearn_cmh.datasets import make_multimodal_classification
from sklearn_cmh.metrics import (
    average_precision_scores,
    make_retrieval_scorer,
    pair_recall_at_k,
    retrieval_protocols,
)
from sklearn_cmh.metrics._protocols import neighbour_accuracy
from sklearn_cmh.model_selection import UnseenClassSplit

HASHER = DSAH(8, n_anchors=20, random_state=0)
MAP = make_retrieval_scorer(gallery="validation")
pytestmark = pytest.mark.filterwarnings("ignore:Only .* queries share a label")


@pytest.fixture(scope="module")
def data():
    return make_multimodal_classification(160, n_classes=8, noise=2.0, random_state=0)


def test_figures_of_one_label_equal_their_definitions(data):
    X, y = data
    cv = UnseenClassSplit(2, test_classes=3, seen_test_size=0.4, random_state=1)
    table = retrieval_protocols(HASHER, X, y, cv=cv, k=7)
    for i, (train, test) in enumerate(cv.split(X, y)):
        hasher = clone(HASHER).fit(X[train], y[train])
        seen = np.isin(y[test], y[train])
        assert table["n_seen"][i] == seen.sum() and table["n_unseen"][i] == (~seen).sum()
        codes = {name: hasher.encode(X[test], modality=name) for name in X.names}
        expected = {"seen@all": [], "unseen@all": [], "pair_recall@7": []}
        for query, database in permutations(codes.values(), 2):
            values, _ = average_precision_scores(
                query, database, y[test], y[test], exclude_self=True
            )
            expected["seen@all"].append(values[seen].mean())
            expected["unseen@all"].append(values[~seen].mean())
            expected["pair_recall@7"].append(pair_recall_at_k(query, database, k=7))
        for name, values in expected.items():
            assert_allclose(table[name][i], np.mean(values))
        for kind, rows in [("seen", test[seen]), ("unseen", test[~seen])]:
            assert_allclose(table[f"{kind}@{kind}"][i], MAP(hasher, X[rows], y[rows]))
            found = make_retrieval_scorer(
                "recall_at_k", relevance="pair", gallery="validation", k=7
            )(hasher, X[rows])
            assert_allclose(table[f"{kind}_pair_recall@7"][i], found)


def test_only_unseen_labels_count_for_unseen_rows(data):
    X, _ = data
    L = (np.random.RandomState(0).rand(160, 6) < 0.25).astype(int)
    cv = UnseenClassSplit(1, test_classes=2, seen_test_size=0.3, random_state=0)
    ((train, test),) = cv.split(X, L)
    seen_classes = L[train].any(axis=0)
    seen_part, unseen_part = L[test][:, seen_classes], L[test][:, ~seen_classes]
    unseen = unseen_part.any(axis=1)
    seen = seen_part.any(axis=1) & ~unseen
    hasher = clone(HASHER).fit(X[train], L[train])
    codes = [hasher.encode(X[test], modality=name) for name in X.names]
    expected = {"unseen@unseen": [], "unseen@all": [], "seen@all": []}
    for query, database in permutations(codes):
        distances = (query[:, None] != database).sum(axis=2)
        for name, part, asked, ranked in [
            ("unseen@unseen", unseen_part, unseen, unseen),
            ("unseen@all", unseen_part, unseen, seen | unseen),
            ("seen@all", seen_part, seen, seen | unseen),
        ]:
            relevant = part @ part.T > 0
            values = [
                expected_precision(distances[i][keep], relevant[i][keep])
                for i in np.flatnonzero(asked)
                if (keep := ranked & (np.arange(len(test)) != i)).any() and relevant[i][keep].any()
            ]
            expected[name].append(np.mean(values))
    for form in (L, sparse.csr_array(L)):
        table = retrieval_protocols(HASHER, X, form, cv=cv)
        for name, values in expected.items():
            assert_allclose(table[name], np.mean(values))
    assert_array_equal(table["n_seen"] + table["n_unseen"], (seen | unseen).sum())


def expected_precision(distances, relevant):
    codes = np.where(np.arange(distances.max() + 1) < distances[:, None], 1, -1)
    query = -np.ones((1, codes.shape[1]))
    labels = np.where(relevant, 0, 1)
    return average_precision_scores(query, codes, [0], labels)[0][0]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_transfer_accuracy_equals_its_definition(draw):
    n, k = draw.draw(st.integers(2, 6)), draw.draw(st.integers(1, 6))
    bits = st.lists(st.sampled_from([-1, 1]), min_size=2, max_size=2)
    query, database = (
        np.array(draw.draw(st.lists(bits, min_size=n, max_size=n))) for _ in range(2)
    )
    y = np.array([0, 1, *draw.draw(st.lists(st.integers(0, 2), min_size=n - 2, max_size=n - 2))])
    L = sparse.csr_array(np.eye(3, dtype=np.int8)[y])
    credit = []
    for i in range(n):
        others = np.delete(np.arange(n), i)
        distances = (query[i] != database[others]).sum(axis=1)
        votes, orders = Counter(), 0
        for order in permutations(range(n - 1)):
            if (np.diff(distances[list(order)]) < 0).any():
                continue
            orders += 1
            votes.update(y[others][list(order)][:k].tolist())
        most = [label for label in votes if votes[label] == max(votes.values())]
        credit.append((y[i] in most) / len(most))
    found = neighbour_accuracy(query, database, L, np.arange(n), k)
    assert_allclose(found, np.mean(credit))


def test_splits_without_unseen_rows(data):
    X, y = data
    table = retrieval_protocols(HASHER, X, y, cv=KFold(2, shuffle=True, random_state=0))
    assert np.isnan(table["unseen@all"]).all() and np.isnan(table["transfer_accuracy"]).all()
    assert np.isfinite(table["seen@seen"]).all()
    assert_array_equal(table["seen@seen"], table["seen@all"])
    assert np.isnan(table.mean()["unseen@all"]) and "nan" in repr(table)
    # One unseen class leaves nothing to tell apart.
    one = retrieval_protocols(HASHER, X, y, cv=UnseenClassSplit(1, test_classes=1, random_state=0))
    assert np.isnan(one["transfer_accuracy"]).all()
    assert_allclose(one["unseen@unseen"], 1)


def test_one_modality_has_no_pairs(data):
    X, y = data
    table = retrieval_protocols(HASHER, MultimodalData(image=X["image"]), y)
    assert np.isnan(table["pair_recall@10"]).all() and np.isfinite(table["unseen@unseen"]).all()


def test_table_and_its_summaries(data):
    X, y = data
    table = retrieval_protocols(HASHER, X, y, n_jobs=2)
    frame = table.to_frame()
    assert frame.shape == (3, 12) and frame.equals(pd.DataFrame(table).rename_axis("split"))
    for name, value in table.mean().items():
        assert value == pytest.approx(frame[name].mean())
        assert table.std()[name] == pytest.approx(frame[name].std(ddof=0))
    assert "unseen@unseen" in repr(table) and "(3 splits)" in repr(table)
    again = retrieval_protocols(HASHER, X, y)
    for name in set(table) - {"fit_time"}:
        assert_array_equal(table[name], again[name])


def test_pipelines_and_fits_without_labels(data):
    X, y = data
    table = np.hstack([X["image"], X["text"]])
    hasher = clone(HASHER).set_params(modalities={"a": slice(0, 20), "b": slice(20, 30)})
    found = retrieval_protocols(make_pipeline(StandardScaler(), hasher), table, y)
    assert np.isfinite(found["seen@seen"]).all()
    with pytest.raises(ValueError, match="requires y"):
        retrieval_protocols(HASHER, X, y, use_labels=False)


def test_bad_use_is_refused(data):
    X, y = data
    with pytest.raises(ValueError, match="'k' parameter"):
        retrieval_protocols(HASHER, X, y, k=0)
    with pytest.raises(ValueError, match="y is None"):
        retrieval_protocols(HASHER, X, None)
    with pytest.raises(TypeError, match="Expected a fitted hasher"):
        retrieval_protocols(StandardScaler(), X["image"], y)
