"""RefinedHasher on targets: classes, things, rows without labels, and no labels at all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.model_selection import GridSearchCV, KFold

from sklearn_cmh import AAH, ASCMH, AnchorRBF, MultimodalData, RefinedHasher
from sklearn_cmh.data import normalise_rows
from sklearn_cmh.features import mapped_rows
from sklearn_cmh.metrics import (
    make_retrieval_scorer,
    mean_average_precision,
    mean_reciprocal_rank,
    pair_recall_at_k,
)
from sklearn_cmh.refine._bits import choose_bits
from sklearn_cmh.refine._pair_weight import candidate_weights, least_good_weight, weight_scores
from sklearn_cmh.refine._pool import draw_hyperplanes, hyperplane_bits
from sklearn_cmh.shallow import DCH
from sklearn_cmh.solvers import mix_targets, ridge_leave_one_out, sign

QUICK = {"n_bits": 24, "n_anchors": 60, "widths": (0.5,), "ridges": (0.1, 1.0), "random_state": 0}


def pairs_in_classes(n=240, seed=0, apart=3.0, shared=1.0):
    """Pairs that share a class, and things within it; their labels."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 4)
    things = rng.standard_normal((n, 6))
    blocks = []
    for d in (20, 15):
        centres = apart * rng.standard_normal((4, d))
        within = shared * things @ rng.standard_normal((6, d))
        blocks.append(centres[y] + within + 0.3 * rng.standard_normal((n, d)))
    return MultimodalData(image=blocks[0], text=blocks[1]), y


@pytest.fixture(scope="module")
def data():
    return pairs_in_classes()


def unit_rows(Z):
    return Z / np.linalg.norm(Z, axis=1, keepdims=True)


def held_out(hasher, X, y=None):
    """Own-pair recall of held-out rows, and their class mAP."""
    image, text = (hasher.encode(X[name], modality=name) for name in X.names)
    score = None if y is None else mean_average_precision(image, text, y, y, exclude_self=True)
    return pair_recall_at_k(image, text, k=5), score


def test_labels_find_classes_and_pairs_find_things(data):
    X, y = data
    train, test = slice(0, 160), slice(160, None)
    labels, both, pairs = (
        RefinedHasher(**QUICK, pair_weight=p).fit(X[train], y[train]) for p in (0, 0.5, 1)
    )
    distinct = [len(np.unique(h.codes_, axis=0)) for h in (labels, both, pairs)]
    assert distinct[0] == 4 and distinct[1] > 20 and distinct[2] > 100
    found = [held_out(h, X[test], y[test]) for h in (labels, both, pairs)]
    assert found[0][0] < found[1][0] < found[2][0]
    assert found[1][1] > 0.9 and found[1][1] > found[2][1]


def test_without_labels(data):
    X, y = data
    hasher = RefinedHasher(**QUICK).fit(X[:160])
    assert hasher.pair_weight_ == 1 and hasher.labels_ is None
    assert_array_equal(
        hasher.codes_, RefinedHasher(**QUICK, pair_weight=1).fit(X[:160], y[:160]).codes_
    )
    assert held_out(hasher, X[160:])[0] > 0.5
    with pytest.raises(ValueError, match="fitted without y"):
        hasher.score(X, y)


def test_around_a_method_that_needs_no_labels(data):
    X, _ = data
    hasher = RefinedHasher(AAH(affinity="knn"), **QUICK, n_restarts=2).fit(X[:160])
    assert held_out(hasher, X[160:])[0] > 0.2


def test_rows_without_labels_in_either_form(data):
    X, y = data
    some = np.where(np.arange(240) % 4 == 0, y, -1)
    indicator = (some[:, None] == np.arange(4)).astype(int)
    first = RefinedHasher(**QUICK).fit(X[:160], some[:160])
    second = RefinedHasher(**QUICK).fit(X[:160], indicator[:160])
    assert_array_equal(first.codes_, second.codes_)
    assert first.classes_.tolist() == [0, 1, 2, 3]


def test_rows_without_labels_take_part():
    X, y = pairs_in_classes(seed=1, apart=1.0)
    some = np.where(np.arange(240) % 4 == 0, y, -1)
    few = np.flatnonzero(some[:160] >= 0)
    every = RefinedHasher(**QUICK).fit(X[:160], some[:160])
    alone = RefinedHasher(**QUICK).fit(X[few], y[few])
    assert held_out(every, X[160:], y[160:])[1] > held_out(alone, X[160:], y[160:])[1] + 0.02


def test_rows_without_labels_take_part_around_a_method(data):
    X, y = data
    some = np.where(np.arange(160) % 4 == 0, y[:160], -1)
    options = {**QUICK, "n_restarts": 2}
    outside = RefinedHasher(ASCMH(n_anchors=40), **options, pair_weight=0.2)
    inside = RefinedHasher(ASCMH(n_anchors=40, pair_weight=0.2), **options)
    codes = [hasher.fit(X[:160], some).codes_ for hasher in (outside, inside)]
    assert_array_equal(*codes)
    labels_alone = RefinedHasher(ASCMH(n_anchors=40), **options)
    assert (labels_alone.fit(X[:160], some).codes_ != codes[0]).any()


def test_an_estimator_that_learns_from_labels_needs_them(data):
    X, _ = data
    with pytest.raises(ValueError, match="y is None, but DCH learns its codes from labels"):
        RefinedHasher(estimator=DCH(), **QUICK).fit(X)


def test_all_hyperplanes_are_bits_where_none_are_chosen(data):
    X, y = data
    hasher = RefinedHasher(n_bits=12, select_bits=False, n_anchors=30, random_state=0).fit(X, y)
    assert hasher.codes_.shape == (X.shape[0], 12)
    assert len(np.unique(hasher.codes_, axis=1).T) == 12


def test_auto_follows_what_is_there(data):
    X, y = data
    assert RefinedHasher(**QUICK).fit(X, y).pair_weight_ in candidate_weights(24)
    assert RefinedHasher(ASCMH(n_anchors=40), **QUICK).fit(X, y).pair_weight_ == 0
    alone = RefinedHasher(**QUICK).fit(X["image"], y)
    assert alone.pair_weight_ == 0 and alone.shared_space_ is None


def test_pairs_get_what_classes_do_not_need():
    one = {**QUICK, "widths": (0.5,), "ridges": (0.1,), "preprocessing": ("raw",)}
    chosen = []
    for apart in (0.5, 5.0):
        X, y = pairs_in_classes(apart=apart)
        auto = RefinedHasher(**one).fit(X, y)
        chosen.append(auto.pair_weight_)
        same = RefinedHasher(**one, pair_weight=auto.pair_weight_).fit(X, y)
        assert_array_equal(auto.codes_, same.codes_)
    assert chosen[0] < chosen[1]


def test_pairs_that_share_nothing_but_their_class_get_less_weight():
    one = {**QUICK, "widths": (0.5,), "ridges": (0.1,), "preprocessing": ("raw",)}
    chosen = [
        [
            RefinedHasher(**one).fit(*pairs_in_classes(160, seed, 5.0, shared)).pair_weight_
            for seed in range(3)
        ]
        for shared in (0.0, 1.0)
    ]
    assert max(chosen[0]) < min(chosen[1]), chosen


def test_pairs_are_weighed_by_classes_and_own_rows():
    rng = np.random.RandomState(0)
    y = np.arange(80) % 4
    L, rows = sparse.csr_array(np.eye(4, dtype=np.int8)[y]), np.arange(80)
    things = unit_rows(rng.standard_normal((80, 6)))
    targets = [mix_targets(normalise_rows(L), things, p) for p in (0.05, 0.5)]
    pools = [hyperplane_bits(T, draw_hyperplanes(T, 4, 16, rng)) for T in targets]
    predicted = [[pool] * 2 for pool in pools]
    # A score is what public metrics say of the bits that would be chosen.
    pairs = np.arange(0, 80, 3)
    scores, distinct = weight_scores(predicted, pools, targets, L, 16, rows, pairs)
    for score, share, pool, T in zip(scores, distinct, pools, targets, strict=True):
        H = pool[:, choose_bits([pool] * 2, T, 16)[0]]
        classes = mean_average_precision(H, H, y, y, exclude_self=True)
        things = mean_reciprocal_rank(H[pairs], H[pairs])
        assert_allclose(score, classes**0.97 * things**0.03)
        assert share == len(set(map(tuple, H))) / 80
    # Bits of the pairs that cannot be predicted are not worth their place.
    noise = [np.where(rng.random_sample((80, 64)) < 0.4, -H, H) for H in predicted[1]]
    scores, _ = weight_scores([predicted[0], noise], pools, targets, L, 16, rows, pairs)
    assert scores.argmax() == 0


@given(
    st.lists(st.tuples(st.floats(0.1, 1), st.floats(0, 1)), min_size=6, max_size=6),
    st.integers(1, 512),
)
def test_no_weight_is_taken_that_less_would_do_for(told, n_bits):
    weights = candidate_weights(n_bits)
    scores, distinct = np.transpose(told)[:, -len(weights) :]
    # By eight bits, or 0.3, own pairs are near enough; less will do where rows are told apart.
    will_do = (distinct >= 2 / 3) | (np.array(weights) >= min(8 / n_bits, 0.3))
    chosen = weights.index(least_good_weight(weights, scores, distinct, n_bits))
    best = scores[will_do].max()
    assert will_do[chosen] and scores[chosen] >= 0.99 * best
    assert not (will_do & (scores >= 0.99 * best))[:chosen].any()


@given(st.integers(1, 4096))
def test_the_shorter_the_codes_the_more_weight_on_pairs(n_bits):
    weights = candidate_weights(n_bits)
    assert weights == sorted(set(weights)) and 0 < weights[0] and weights[-1] < 1
    assert weights[0] >= candidate_weights(2 * n_bits)[0]


def test_pairs_need_two_modalities_and_labels_need_y(data):
    X, y = data
    for params in ({}, {"pair_weight": 0.1}, {"pair_weight": 1}):
        with pytest.raises(ValueError, match=r"'data' alone, but pairs need two"):
            RefinedHasher(**QUICK, **params).fit(X["image"], y if params else None)
    with pytest.raises(ValueError, match="requires y"):
        RefinedHasher(**QUICK, pair_weight=0.1).fit(X)


def test_pair_weight_is_searched_by_what_it_finds(data):
    X, y = data
    for relevance, best in (("pair", 0.5), ("labels", 0)):
        search = GridSearchCV(
            RefinedHasher(**QUICK),
            {"pair_weight": [0, 0.5]},
            scoring=make_retrieval_scorer("map", gallery="validation", relevance=relevance),
            cv=KFold(2, shuffle=True, random_state=0),
        ).fit(X, y)
        assert search.best_params_["pair_weight"] == best


def test_the_space_can_be_given(data):
    X, y = data
    hasher = RefinedHasher(**QUICK).fit(X, y)
    space = hasher.shared_space_.set_params(n_components=3)
    other = RefinedHasher(**QUICK, shared_space=space).fit(X, y)
    assert other.shared_space_.transform(X).shape == (240, 3)
    assert other.shared_space_ is not space


def test_a_table_with_modalities_of_its_own(data):
    X, y = data
    table = np.hstack([X["image"], X["text"]])
    columns = {"image": slice(0, 20), "text": slice(20, 35)}
    hasher = RefinedHasher(**QUICK, modalities=columns).fit(table, y)
    assert_array_equal(hasher.codes_, RefinedHasher(**QUICK).fit(X, y).codes_)


def test_many_rows_are_searched_by_a_sample(data):
    X, y = data
    options = {**QUICK, "pair_weight": 0.5}
    whole = RefinedHasher(**options).fit(X, y)
    sample = RefinedHasher(**options, max_search_rows=120, max_scoring_rows=60).fit(X, y)
    assert sample.codes_.shape == whole.codes_.shape
    assert held_out(sample, X)[0] > 0.7 * held_out(whole, X)[0]


@given(st.integers(0, 2**16), st.integers(1, 4), st.sampled_from([0.0, 0.2, 1.0]))
@settings(max_examples=25, deadline=None)
def test_hyperplanes_divide_rows_about_their_mean(seed, n_classes, p):
    rng = np.random.default_rng(seed)
    L = sparse.csr_array(np.eye(n_classes, dtype=np.int8)[rng.integers(0, n_classes, 40)])
    Z = rng.standard_normal((40, 3))
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    T = mix_targets(normalise_rows(L), Z, p)
    A = rng.standard_normal((T.shape[1], 10))
    bits = hyperplane_bits(T, A)
    dense = T.toarray()
    values = (dense - dense.mean(axis=0)) @ A
    clear = np.abs(values) > 1e-10
    assert_array_equal(bits[clear], sign(values)[clear])


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_hyperplanes_are_learned_and_beside_classes_most_of_them_drawn(p):
    rng = np.random.RandomState(0)
    L = sparse.csr_array(np.eye(5, dtype=np.int8)[rng.randint(0, 5, 60)])
    T = mix_targets(normalise_rows(L), unit_rows(rng.standard_normal((60, 8))), p)
    A = draw_hyperplanes(T, 4, 4, rng)
    assert A.shape == (T.shape[1], 16)
    # What is learned is part of a rotation of directions of the targets, and so no longer than one.
    learned = [np.linalg.norm(R, axis=0).max() < 1 + 1e-10 for R in np.split(A, 4, axis=1)]
    assert learned == ([True] * 4 if p == 1 else [False] * 3 + [True])


@pytest.mark.parametrize("options", [{"pool_bits": 1}, {"pool_bits": 3}, {"max_scoring_rows": 2}])
def test_small_settings_leave_bits_that_differ(data, options):
    X, _ = data
    codes = RefinedHasher(**{**QUICK, "n_bits": 16, "ridges": (0.1,)}, **options).fit(X).codes_
    # A bit and its opposite are one.
    assert len(np.unique(codes * codes[0], axis=1).T) > 12


def test_rows_mapped_anew_are_the_same(data):
    X, _ = data
    F_map = AnchorRBF(50, random_state=0).fit(X["image"])
    kept = mapped_rows(F_map, X["image"])
    with config_context(working_memory=0):
        anew = mapped_rows(F_map, X["image"])
    assert isinstance(kept, np.ndarray) and not isinstance(anew, np.ndarray)
    assert kept.shape == anew.shape and kept.dtype == anew.dtype
    B = np.where(np.random.default_rng(0).random((240, 4)) < 0.5, -1, 1)
    for first, second in zip(
        ridge_leave_one_out(kept, B, [0.1, 1.0]),
        ridge_leave_one_out(anew, B, [0.1, 1.0]),
        strict=True,
    ):
        assert_allclose(first, second, rtol=1e-6, atol=1e-9)
    decisions = ridge_leave_one_out(kept, B, [0.1])[1]
    assert_array_equal(ridge_leave_one_out(kept, B, [0.1], signs=True)[1], sign(decisions))


def test_callbacks_hear_of_every_phase(data, monkeypatch):
    X, y = data
    heard = []
    monkeypatch.setattr(
        "sklearn_cmh.refine._refined.end_step", lambda estimator, name: heard.append(name)
    )
    RefinedHasher(**QUICK).fit(X, y)
    assert heard == ["targets", "pool", "hash functions"]
    assert RefinedHasher._n_phases == len(heard)
