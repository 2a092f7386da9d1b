"""Retrieval scorers: what they rank, and that scikit-learn's tools take them as they are."""

import pickle
import warnings
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cmh import AAH, HammingRanker, SharedSpace, TwoStageRanker, metrics
from sklearn_cmh.base import BaseHasher, Learning, sign
from sklearn_cmh.data import MultimodalData
from sklearn_cmh.metrics import make_retrieval_scorer, mean_average_precision


class LinearHasher(BaseHasher):
    """Signs of a random projection of the labels, predicted by least squares."""

    def __init__(self, n_bits=8, *, modalities=None, ridge=1.0, random_state=0):
        self.n_bits = n_bits
        self.modalities = modalities
        self.ridge = ridge
        self.random_state = random_state

    def _learning(self):
        return Learning(needs_labels=False)

    def _fit_blocks(self, blocks, L, random_state):
        n = len(next(iter(blocks.values())))
        targets = random_state.randn(n, 3) if L is None else L.toarray()
        self.codes_ = sign(targets @ random_state.randn(targets.shape[1], self.n_bits))
        self.weights_ = {
            name: np.linalg.solve(X.T @ X + self.ridge * np.eye(X.shape[1]), X.T @ self.codes_)
            for name, X in blocks.items()
        }

    def _project(self, name, block):
        return block @ self.weights_[name]


COLUMNS = {"image": slice(0, 6), "text": slice(6, 11)}


@pytest.fixture
def split(paired):
    """Training rows and query rows of the paired data, as one table."""
    return paired.X[:80], paired.y[:80], paired.X[80:], paired.y[80:]


@pytest.fixture
def hasher(split):
    return LinearHasher(modalities=COLUMNS).fit(split[0], split[1])


def test_learned_gallery_is_the_training_codes(hasher, split):
    _, y, X_query, y_query = split
    expected = {
        name: mean_average_precision(
            hasher.encode(X_query, modality=name), hasher.codes_, y_query, y
        )
        for name in COLUMNS
    }
    for name in COLUMNS:
        scorer = make_retrieval_scorer(query=name)
        assert_allclose(scorer(hasher, X_query, y_query), expected[name], rtol=1e-14)
    both = make_retrieval_scorer()(hasher, X_query, y_query)
    assert_allclose(both, np.mean(list(expected.values())), rtol=1e-14)
    assert_allclose(both, hasher.score(X_query, y_query), rtol=1e-14)


def test_given_gallery_is_encoded_by_the_other_modality(hasher, split):
    X, y, X_query, y_query = split

    def expected(query, database):
        codes = hasher.encode(X_query, modality=query), hasher.encode(X, modality=database)
        return mean_average_precision(*codes, y_query, y)

    def score(**options):
        return make_retrieval_scorer(gallery=(X, y), **options)(hasher, X_query, y_query)

    assert_allclose(score(query="image"), expected("image", "text"))
    assert_allclose(score(query="image", database="image"), expected("image", "image"))
    both = (expected("image", "text") + expected("text", "image")) / 2
    assert_allclose(score(), both)


@pytest.mark.parametrize("metric", ["map", "precision_at_k", "recall_at_k", "ndcg_at_k"])
@pytest.mark.parametrize("ties", ["expected", "index"])
def test_validation_gallery_leaves_the_own_row_out(hasher, split, metric, ties):
    *_, X_query, y_query = split
    name = "mean_average_precision" if metric == "map" else metric
    image, text = (hasher.encode(X_query, modality=m) for m in COLUMNS)
    rows = np.arange(len(y_query))
    expected = [
        getattr(metrics, name)(
            image[[i]], text[rows != i], y_query[[i]], y_query[rows != i], ties=ties
        )
        for i in rows
    ]
    scorer = make_retrieval_scorer(metric, query="image", gallery="validation", ties=ties)
    assert_allclose(scorer(hasher, X_query, y_query), np.mean(expected), rtol=1e-12)


def test_one_modality_is_its_own_gallery(split):
    X, y, X_query, y_query = split
    hasher = LinearHasher().fit(X, y)
    (name,) = hasher.modality_names_
    codes = hasher.encode(X_query)
    values, _ = metrics.average_precision_scores(codes, codes, y_query, y_query, exclude_self=True)
    score = make_retrieval_scorer(gallery="validation")(hasher, X_query, y_query)
    assert_allclose(score, values.mean(), rtol=1e-14)
    assert name is not None


def test_every_metric_and_option(hasher, split):
    _, y, X_query, y_query = split
    codes = hasher.encode(X_query, modality="text"), hasher.codes_, y_query, y
    for metric, options in [
        ("map", {"k": 5}),
        ("precision_at_k", {"k": 5}),
        ("recall_at_k", {"k": 30}),
        ("ndcg_at_k", {}),
        ("lookup_precision", {}),
    ]:
        function = getattr(metrics, "mean_average_precision" if metric == "map" else metric)
        score = make_retrieval_scorer(metric, query="text", **options)(hasher, X_query, y_query)
        assert_allclose(score, function(*codes, **options), rtol=1e-14)


def test_queries_without_a_relevant_row(hasher, split):
    *_, X_query, y_query = split
    strange = np.where(np.arange(len(y_query)) < 20, y_query, 99)
    skip = make_retrieval_scorer()(hasher, X_query, strange)
    zero = make_retrieval_scorer(no_relevant="zero")(hasher, X_query, strange)
    assert_allclose(zero, skip / 2)


def test_indicator_and_labels_agree(split, paired):
    X, _, X_query, y_query = split
    L = paired.indicator
    hasher = LinearHasher(modalities=COLUMNS).fit(X, L[:80])
    for gallery, other in [
        ("learned", "learned"),
        ("validation", "validation"),
        ((X, L[:80]), (X, paired.y[:80])),
    ]:
        score = make_retrieval_scorer(gallery=gallery)(hasher, X_query, L[80:])
        by_label = LinearHasher(modalities=COLUMNS).fit(X, paired.y[:80])
        assert_allclose(make_retrieval_scorer(gallery=other)(by_label, X_query, y_query), score)


def test_pipelines_and_wrappers_are_unwrapped(hasher, split):
    X, y, X_query, y_query = split
    scorer = make_retrieval_scorer(gallery=(X, y))
    scaled = make_pipeline(StandardScaler(), LinearHasher(modalities=COLUMNS)).fit(X, y)
    scaler = scaled[0]
    expected = make_retrieval_scorer(gallery=(scaler.transform(X), y))(
        scaled[-1], scaler.transform(X_query), y_query
    )
    assert_allclose(scorer(scaled, X_query, y_query), expected)
    ranked = Pipeline(
        [
            ("scale", StandardScaler()),
            ("nothing", "passthrough"),
            ("hash", LinearHasher(modalities=COLUMNS)),
            ("rank", HammingRanker()),
        ]
    ).fit(X, y)
    search = GridSearchCV(
        LinearHasher(modalities=COLUMNS), {"ridge": [1.0]}, scoring=scorer, cv=2
    ).fit(X, y)
    assert_allclose(scorer(ranked, X_query, y_query), expected)
    assert_allclose(scorer(FrozenEstimator(ranked), X_query, y_query), expected)
    plain = scorer(hasher, X_query, y_query)
    assert_allclose(scorer(FrozenEstimator(hasher), X_query, y_query), plain)
    assert_allclose(scorer(search, X_query, y_query), plain)
    assert_allclose(scorer(make_pipeline(FrozenEstimator(hasher)), X_query, y_query), plain)


def test_scikit_learns_tools_take_a_scorer(paired):
    X = MultimodalData(image=paired.image, text=paired.text)
    cv = KFold(3, shuffle=True, random_state=0)
    scoring = {
        "image": make_retrieval_scorer(query="image"),
        "unseen": make_retrieval_scorer("ndcg_at_k", gallery="validation"),
    }
    found = cross_validate(LinearHasher(), X, paired.y, scoring=scoring, cv=cv, n_jobs=2)
    assert (found["test_image"] > 0.5).all() and (found["test_unseen"] > 0.5).all()
    search = GridSearchCV(
        LinearHasher(), {"n_bits": [2, 16]}, scoring=make_retrieval_scorer(), cv=cv, n_jobs=2
    ).fit(X, paired.y)
    assert search.best_params_ == {"n_bits": 16}
    assert_allclose(
        search.cv_results_["mean_test_score"],
        GridSearchCV(LinearHasher(), {"n_bits": [2, 16]}, cv=cv)
        .fit(X, paired.y)
        .cv_results_["mean_test_score"],
    )


@pytest.mark.parametrize("no_wrap", [False, True])
def test_a_plan_of_skrub_is_searched(paired, no_wrap):
    """With a step before the hasher, and a choice in the plan."""
    skrub = pytest.importorskip("skrub")
    frame = pd.DataFrame(paired.X, columns=[f"x{i}" for i in range(11)]).assign(kind=paired.y)
    data = skrub.var("data", frame)
    X, y = data.drop(columns="kind").skb.mark_as_X(), data["kind"].skb.mark_as_y()
    hasher = LinearHasher(skrub.choose_from([2, 16], name="bits"), modalities=COLUMNS)
    plan = X.skb.apply(StandardScaler()).skb.apply(hasher, y=y, no_wrap=no_wrap)
    cv = KFold(3, shuffle=True, random_state=0)
    search = plan.skb.make_grid_search(scoring=make_retrieval_scorer(), cv=cv, fitted=True)
    pipe = make_pipeline(StandardScaler(), LinearHasher(modalities=COLUMNS))
    expected = GridSearchCV(
        pipe, {"linearhasher__n_bits": [2, 16]}, scoring=make_retrieval_scorer(), cv=cv
    ).fit(frame.drop(columns="kind"), paired.y)
    found = dict(zip(search.results_["bits"], search.results_["mean_test_score"], strict=True))
    assert_allclose([found[2], found[16]], expected.cv_results_["mean_test_score"])
    with pytest.raises(TypeError, match="find_fitted_estimator"):
        make_retrieval_scorer()(plan.skb.make_learner(), paired.X, paired.y)


def test_scorer_is_copied_pickled_and_shown(hasher, split):
    X, y, X_query, y_query = split
    scorer = make_retrieval_scorer("map", query="image", k=7, gallery=(X, y))
    expected = scorer(hasher, X_query, y_query)
    for other in (deepcopy(scorer), clone(scorer, safe=False), pickle.loads(pickle.dumps(scorer))):
        assert other(hasher, X_query, y_query) == expected
        assert repr(other) == repr(scorer)
    assert (
        repr(scorer)
        == "make_retrieval_scorer('map', query='image', gallery=(X_database, y_database), k=7)"
    )
    search = GridSearchCV(LinearHasher(), {}, scoring=make_retrieval_scorer())
    assert "make_retrieval_scorer('map')" in repr(clone(search))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "accuracy"}, "'metric' parameter.*accuracy"),
        ({"ties": "random"}, "'ties' parameter.*random"),
        ({"no_relevant": "drop"}, "'no_relevant' parameter.*drop"),
        ({"gallery": "test"}, "gallery must be 'learned'"),
        ({"gallery": 3}, "gallery must be 'learned'.*int"),
        ({"database": "text"}, "gallery='validation'"),
        ({"ranker": StandardScaler()}, "'ranker' parameter"),
        ({"ranker": TwoStageRanker(), "radius": 2}, "no radius"),
        ({"ranker": TwoStageRanker(), "metric": "lookup_precision"}, "no radius"),
        ({"relevance": "same"}, "'relevance' parameter.*same"),
        ({"radius": -1}, "'radius' parameter"),
        ({"metric": "recall_at_k", "radius": 2}, "takes no radius"),
        ({"k": 3, "radius": 2}, "both say where to stop"),
        ({"k": 0}, "'k' parameter.*0 instead"),
        ({"k": 2.5}, "'k' parameter.*2.5 instead"),
        ({"metric": "lookup_precision", "k": 3}, "within a radius"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_retrieval_scorer(**options)


def test_radius_of_map_and_lookup(hasher, split):
    _, y, X_query, y_query = split
    codes = hasher.encode(X_query, modality="text"), hasher.codes_, y_query, y
    for metric, function in [
        ("map", mean_average_precision),
        ("lookup_precision", metrics.lookup_precision),
    ]:
        score = make_retrieval_scorer(metric, query="text", radius=1)(hasher, X_query, y_query)
        assert_allclose(score, function(*codes, radius=1), rtol=1e-14)


# --- The thing itself --------------------------------------------------------------------------


PAIR_METRICS = {
    "recall_at_k": metrics.pair_recall_at_k,
    "mrr": metrics.mean_reciprocal_rank,
    "map": metrics.mean_reciprocal_rank,
}


@pytest.mark.parametrize("ties", ["expected", "index"])
@pytest.mark.parametrize("metric", PAIR_METRICS)
def test_partners_among_the_scored_rows(hasher, split, metric, ties):
    """The own row is what is sought, so it is not left out."""
    *_, X_query, y_query = split
    image, text = (hasher.encode(X_query, modality=m) for m in COLUMNS)
    options = {"relevance": "pair", "gallery": "validation", "ties": ties, "k": 3}
    by_image = PAIR_METRICS[metric](image, text, k=3, ties=ties)
    by_text = PAIR_METRICS[metric](text, image, k=3, ties=ties)
    assert_allclose(
        make_retrieval_scorer(metric, query="image", **options)(hasher, X_query), by_image
    )
    both = make_retrieval_scorer(metric, **options)
    assert_allclose(both(hasher, X_query, y_query), (by_image + by_text) / 2)


def test_partners_among_the_learned_codes(hasher, split):
    X, y, X_query, y_query = split
    scorer = make_retrieval_scorer("recall_at_k", relevance="pair", query="text", k=5)
    expected = metrics.pair_recall_at_k(hasher.encode(X, modality="text"), hasher.codes_, k=5)
    assert_allclose(scorer(hasher, X), expected)
    assert_allclose(scorer(hasher, X, y), expected)
    # Labels in another form than at fit say nothing here.
    assert_allclose(scorer(hasher, X, np.eye(4, dtype=int)[y]), expected)
    for rows, labels in [(X_query, y_query), (X_query, None), (X, y[::-1])]:
        with pytest.raises(ValueError, match=r"X is not these.*gallery='validation'"):
            scorer(hasher, rows, labels)


def test_partners_in_another_gallery(hasher, split):
    """The first rows of a given gallery are the partners; those behind them distract."""
    X, _, X_query, _ = split
    X_database = np.vstack([X_query, X])
    scorer = make_retrieval_scorer(
        "mrr", relevance="pair", query="text", gallery=(X_database, None)
    )
    codes = hasher.encode(X_query, modality="text"), hasher.encode(X_database, modality="image")
    assert_allclose(scorer(hasher, X_query), metrics.mean_reciprocal_rank(*codes))


def test_pairs_need_two_modalities(split):
    X, y, X_query, _ = split
    hasher = LinearHasher(modalities=COLUMNS).fit(X, y)
    same = make_retrieval_scorer(
        "mrr", relevance="pair", gallery="validation", query="text", database="text"
    )
    with pytest.raises(ValueError, match="Pairs need two modalities"):
        same(hasher, X_query)
    one = make_retrieval_scorer("mrr", relevance="pair", gallery="validation")
    with pytest.raises(ValueError, match="Pairs need two modalities"):
        one(LinearHasher().fit(X, y), X_query)


def test_a_search_by_pairs_needs_no_labels(paired):
    X = MultimodalData(image=paired.image, text=paired.text)
    scorer = make_retrieval_scorer("recall_at_k", relevance="pair", gallery="validation")
    search = GridSearchCV(LinearHasher(), {"n_bits": [2, 16]}, scoring=scorer, cv=3).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_reciprocal_rank_of_the_first_row_of_the_class(hasher, split):
    _, y, X_query, y_query = split
    d = (hasher.encode(X_query, modality="text")[:, None] != hasher.codes_).sum(axis=2)
    order = np.argsort(d, axis=1, kind="stable")
    first = (y[order] == y_query[:, None]).argmax(axis=1)
    score = make_retrieval_scorer("mrr", query="text", ties="index")(hasher, X_query, y_query)
    assert_allclose(score, np.mean(1 / (first + 1)))


# --- Rankings by more than codes ---------------------------------------------------------------


class SignRanker(BaseEstimator):
    """Hamming distance of the signs of what is asked, a few queries at a time."""

    def fit(self, codes):
        self.codes_ = codes
        return self

    def rank(self, X):
        for part in np.array_split(X, 3):
            distances = (sign(part)[:, None] != self.codes_).sum(axis=2) / 2
            order = np.argsort(distances, axis=1, kind="stable")
            yield np.take_along_axis(distances, order, axis=1), order


@pytest.mark.parametrize("ties", ["expected", "index"])
@pytest.mark.parametrize("metric", ["map", "mrr", "precision_at_k", "recall_at_k", "ndcg_at_k"])
@pytest.mark.parametrize("relevance", ["labels", "pair"])
def test_a_ranker_by_hamming_distance_changes_nothing(paired, metric, ties, relevance):
    X, L = paired.X, paired.indicator.copy()
    L[::5] = 0
    L[1::5, 0] = 1
    hasher = LinearHasher(6, modalities=COLUMNS).fit(X[:80], L[:80])
    galleries = ["validation", (X[40:], L[40:])] + ["learned"] * (relevance == "labels")
    for gallery in galleries:
        options = {"relevance": relevance, "gallery": gallery, "ties": ties, "k": 7}
        expected = make_retrieval_scorer(metric, **options)(hasher, X[80:], L[80:])
        ranked = make_retrieval_scorer(metric, ranker=SignRanker(), **options)
        assert_allclose(ranked(hasher, X[80:], L[80:]), expected, rtol=1e-12)
        with config_context(working_memory=1e-3):
            assert_allclose(ranked(hasher, X[80:], L[80:]), expected, rtol=1e-12)


@pytest.mark.parametrize("oversampling", [None, 4])
def test_the_second_stage_is_scored(hasher, split, oversampling):
    _, y, X_query, y_query = split
    ranker = TwoStageRanker(n_neighbors=5, oversampling=oversampling)
    score = make_retrieval_scorer(query="text", ranker=ranker)(hasher, X_query, y_query)
    projections = hasher.project(X_query, modality="text")
    if oversampling is None:
        expected = clone(ranker).fit(hasher.codes_, y).score(projections, y_query)
        assert_allclose(score, expected)
    assert score != make_retrieval_scorer(query="text")(hasher, X_query, y_query)
    # The first rows of the ranking are what users see.
    rows = clone(ranker).fit(hasher.codes_).kneighbors(projections, return_distance=False)
    found = make_retrieval_scorer("precision_at_k", query="text", ranker=ranker, k=5, ties="index")
    expected = (y[rows] == y_query[:, None]).mean()
    assert_allclose(found(hasher, X_query, y_query), expected)
    assert not hasattr(ranker, "ranker_") and "TwoStageRanker" in repr(found)


@pytest.mark.parametrize("relevance", ["labels", "pair"])
@pytest.mark.parametrize("gallery", ["validation", "rows", "learned"])
def test_a_second_stage_by_vectors_is_scored(paired, gallery, relevance):
    """The first rows are those that the ranker finds among codes and vectors."""
    X, y = MultimodalData(**paired.blocks), paired.y
    hasher = LinearHasher(6).fit(X[:80], y[:80])
    ranker = TwoStageRanker(n_neighbors=5, metric="cosine")
    if gallery == "learned" and relevance == "labels":
        with pytest.raises(ValueError, match="there are only codes"):
            make_retrieval_scorer(ranker=ranker)
        return
    queries = slice(0, 80) if gallery == "learned" else slice(80, 120)
    rows, modality = (slice(40, 80) if gallery == "rows" else queries), "image"
    metric = "precision_at_k" if relevance == "labels" else "recall_at_k"
    options = {"query": "text", "relevance": relevance, "k": 3, "ties": "index", "ranker": ranker}
    options["gallery"] = (X[rows], y[rows]) if gallery == "rows" else gallery
    scorer = make_retrieval_scorer(metric, **options)
    with pytest.raises(ValueError, match="LinearHasher has fitted no space"):
        scorer(hasher, X[queries], y[queries])
    space = SharedSpace(4, feature_map="passthrough", regularisation=0.1, random_state=0)
    hasher.shared_space_ = space.fit(X[:80])
    codes = hasher.encode(X[rows], modality="image")
    if gallery == "learned":
        codes, modality = hasher.codes_, None
    vectors = space.transform(X[rows], modality=modality)
    text = hasher.encode(X[queries], modality="text"), space.transform(X[queries], modality="text")
    found = (
        clone(ranker)
        .fit(MultimodalData(codes=codes, vectors=vectors))
        .kneighbors(MultimodalData(codes=text[0], vectors=text[1]), return_distance=False)
    )
    own = np.arange(len(found))[:, None]
    if relevance == "pair":
        expected = (found[:, :3] == own).any(axis=1).mean()
    else:
        if gallery == "validation":
            found = np.stack([row[row != i][:3] for i, row in enumerate(found)])
        expected = (y[rows][found[:, :3]] == y[queries][:, None]).mean()
    assert_allclose(scorer(hasher, X[queries], y[queries]), expected)


# --- Rows without labels, weights, folds sorted by class ---------------------------------------


@pytest.mark.parametrize("no_relevant", ["skip", "zero"])
def test_rows_without_labels_are_left_out(paired, no_relevant):
    """On both sides, in every gallery: nothing is known to be relevant to them."""
    X, L = paired.X.copy(), paired.indicator.copy()
    L[::3] = 0
    kept, queries = np.arange(80) % 3 > 0, np.arange(80, 120) % 3 > 0
    hasher = LinearHasher(modalities=COLUMNS).fit(X[:80], L[:80])
    labelled = X[80:][queries], L[80:][queries]
    for gallery, expected_gallery in [
        ("learned", None),
        ("validation", "validation"),
        ((X[:80], L[:80]), (X[:80][kept], L[:80][kept])),
    ]:
        scorer = make_retrieval_scorer(gallery=gallery, query="text", no_relevant=no_relevant)
        if expected_gallery is None:
            codes = hasher.encode(labelled[0], modality="text"), hasher.codes_[kept]
            expected = mean_average_precision(*codes, labelled[1], L[:80][kept])
        else:
            expected = make_retrieval_scorer(
                gallery=expected_gallery, query="text", no_relevant=no_relevant
            )(hasher, *labelled)
        assert_allclose(scorer(hasher, X[80:], L[80:]), expected)
    with pytest.warns(UserWarning, match="No query has a relevant row"):
        assert np.isnan(make_retrieval_scorer()(hasher, X[80:], np.zeros((40, 4), dtype=int)))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_unlabelled_training_rows_are_no_wrong_hits(paired):
    """Three of four are -1, which is no label to this method; their codes are not ranked."""
    X = MultimodalData(image=paired.image, text=paired.text)
    y = np.where(np.arange(80) % 4 == 0, paired.y[:80], -1)
    hasher = AAH(8, affinity="knn", max_iter=3, random_state=0).fit(X[:80], y)
    labelled = y != -1
    expected = mean_average_precision(
        hasher.encode(X[80:], modality="text"),
        *(hasher.codes_[labelled], paired.y[80:], y[labelled]),
    )
    scorer = make_retrieval_scorer(query="text")
    assert_allclose(scorer(hasher, X[80:], paired.y[80:]), expected)


def test_weights_count_queries_several_times(hasher, split):
    *_, X_query, y_query = split
    weights = np.random.RandomState(0).randint(0, 3, size=len(y_query))
    often = np.repeat(np.arange(len(y_query)), weights)
    scorer = make_retrieval_scorer("recall_at_k")
    expected = scorer(hasher, X_query[often], y_query[often])
    assert_allclose(scorer(hasher, X_query, y_query, sample_weight=weights), expected)
    with pytest.raises(ValueError, match=r"(?i)negative"):
        scorer(hasher, X_query, y_query, sample_weight=-weights)
    with pytest.raises(ValueError, match="inconsistent numbers"):
        scorer(hasher, X_query, y_query, sample_weight=[*weights, 1.0])


def test_weights_stay_with_their_rows(paired):
    L = paired.indicator.copy()
    L[::3] = 0
    hasher = LinearHasher(modalities=COLUMNS).fit(paired.X[:80], L[:80])
    X, L = paired.X[80:], L[80:]
    weights, labelled = np.random.RandomState(0).rand(40), L.any(axis=1)
    scorer = make_retrieval_scorer(gallery="validation")
    expected = scorer(hasher, X[labelled], L[labelled], sample_weight=weights[labelled])
    assert_allclose(scorer(hasher, X, L, sample_weight=weights), expected)


def test_weights_are_routed(paired):
    weights = np.random.RandomState(0).rand(len(paired.y))
    cv = KFold(3, shuffle=True, random_state=0)
    hasher = LinearHasher(modalities=COLUMNS)
    with config_context(enable_metadata_routing=True):
        scorer = make_retrieval_scorer().set_score_request(sample_weight=True)
        options = {"cv": cv, "params": {"sample_weight": weights}}
        found = cross_validate(hasher, paired.X, paired.y, scoring=scorer, **options)
        several = cross_validate(
            hasher, paired.X, paired.y, scoring={"a": clone(scorer, safe=False)}, **options
        )
        renamed = make_retrieval_scorer().set_score_request(sample_weight="weight_of_query")
        options["params"] = {"weight_of_query": weights}
        again = cross_validate(hasher, paired.X, paired.y, scoring=renamed, **options)
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            options["params"] = {"sample_weight": weights}
            cross_validate(hasher, paired.X, paired.y, scoring=make_retrieval_scorer(), **options)
    expected = [
        make_retrieval_scorer()(
            clone(hasher).fit(paired.X[train], paired.y[train]),
            *(paired.X[test], paired.y[test], weights[test]),
        )
        for train, test in cv.split(paired.X)
    ]
    assert_allclose(found["test_score"], expected)
    assert_allclose(several["test_a"], expected)
    assert_allclose(again["test_score"], expected)


@pytest.mark.parametrize("gallery", ["learned", "validation"])
@pytest.mark.parametrize("form", ["labels", "indicator"])
def test_folds_sorted_by_class_are_told(paired, gallery, form):
    order = np.argsort(paired.y, kind="stable")
    y = paired.y if form == "labels" else paired.indicator
    # The last class and a few rows of the one before it.
    train, test = order[:85], order[85:]
    hasher = LinearHasher(modalities=COLUMNS).fit(paired.X[train], y[train])
    with pytest.warns(UserWarning, match=r"Only 5 of 35 queries share a label.*shuffle"):
        make_retrieval_scorer(gallery=gallery)(hasher, paired.X[test], y[test])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_retrieval_scorer(gallery=gallery)(hasher, paired.X[::2], y[::2])


def test_bad_use_is_refused(hasher, split):
    X, y, X_query, y_query = split
    scorer = make_retrieval_scorer()
    with pytest.raises(ValueError, match="y is None"):
        scorer(hasher, X_query)
    with pytest.raises(TypeError, match=r"Expected a fitted hasher.*StandardScaler"):
        scorer(StandardScaler().fit(X), X_query, y_query)
    with pytest.raises(TypeError, match="Expected a fitted hasher"):
        scorer(make_pipeline(hasher, BaseEstimator()), X_query, y_query)
    with pytest.raises(ValueError, match="sound"):
        make_retrieval_scorer(query="sound")(hasher, X_query, y_query)
    with pytest.raises(ValueError, match="must both be class labels"):
        make_retrieval_scorer(gallery=(X, np.eye(4, dtype=int)[y]))(hasher, X_query, y_query)
    unlabelled = LinearHasher(modalities=COLUMNS).fit(X)
    with pytest.raises(ValueError, match=r"fitted without y.*gallery='validation'"):
        scorer(unlabelled, X_query, y_query)
    assert 0 < make_retrieval_scorer(gallery="validation")(unlabelled, X_query, y_query) < 1
