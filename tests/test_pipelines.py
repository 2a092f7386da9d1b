"""scikit-learn's tools around real hashers: everything that a user would try."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from scipy.stats import loguniform
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingRandomSearchCV,
    KFold,
    RandomizedSearchCV,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    train_test_split,
    validation_curve,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils import estimator_html_repr

from sklearn_cmh import AAH, DSAH, AnchorRBF, HammingRanker, MultimodalData, RefinedHasher
from sklearn_cmh.datasets import make_multimodal_classification
from sklearn_cmh.metrics import make_retrieval_scorer

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:n_anchors"
)

N = 160
WORDS = np.array(["cat purring", "dog barking", "bus waiting", "sea rolling"])
FOLDS = KFold(2, shuffle=True, random_state=0)


@pytest.fixture(scope="module")
def data():
    return make_multimodal_classification(N, {"image": 8, "text": 6}, noise=0.5, random_state=0)


@pytest.fixture(scope="module")
def X(data):
    return data[0]


@pytest.fixture(scope="module")
def y(data):
    return data[1]


@pytest.fixture(scope="module")
def frame(X, y):
    """A table as it comes: numbers with gaps, a category, raw text."""
    rng = np.random.RandomState(0)
    table = pd.DataFrame(X["image"]).add_prefix("pixel")
    table.loc[::9, "pixel1"] = np.nan
    table["colour"] = rng.choice(["red", "blue"], size=N)
    table["caption"] = [f"{WORDS[c]} {rng.choice(['here', 'there'])}" for c in y]
    return table


@pytest.fixture
def hasher():
    return DSAH(12, n_anchors=30, max_iter=2, n_perturbations=0, random_state=0)


@pytest.fixture
def columns():
    """Numbers and category as one modality, text as the other."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return ColumnTransformer(
        [
            ("image", numbers, [f"pixel{i}" for i in range(8)]),
            ("extra", OneHotEncoder(sparse_output=False), ["colour"]),
            ("text", make_pipeline(TfidfVectorizer(), TruncatedSVD(4, random_state=0)), "caption"),
        ]
    )


@pytest.fixture
def triples():
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return [
        ("image", numbers, make_column_selector(dtype_include="number")),
        ("colour", "drop", ["colour"]),
        ("text", TfidfVectorizer(), "caption"),
    ]


# From a raw table.


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_column_transformer_names_the_modalities(hasher, columns, frame, y, library):
    if library == "polars":
        frame = pl.from_pandas(frame.fillna(0.0))
    pipe = Pipeline([("columns", columns), ("hash", hasher.set_params(modalities="prefix"))])
    # A global setting: ColumnTransformer.set_output fails on a Pipeline with a TfidfVectorizer.
    with config_context(transform_output=library):
        codes = pipe.fit(frame, y).transform(frame)
        assert pipe.score(frame, y) > 0.7
        ranker = make_pipeline(pipe, HammingRanker()).fit(frame, y)
        assert ranker.score(frame, y) > 0.8
    assert isinstance(codes, pd.DataFrame if library == "pandas" else pl.DataFrame)
    assert next(iter(codes.columns)) == "dsah0" == pipe.get_feature_names_out()[0]
    assert pipe[-1].modality_names_ == ["image", "extra", "text"]
    assert "DSAH" in estimator_html_repr(pipe)


def test_column_transformer_of_sparse_text(hasher, frame, y):
    columns = ColumnTransformer(
        [("image", SimpleImputer(), slice(0, 8)), ("text", CountVectorizer(), "caption")],
        sparse_threshold=1.0,
    )
    pipe = make_pipeline(columns, hasher)
    pipe.set_params(dsah__modalities={"image": slice(0, 8), "text": lambda X: slice(8, None)})
    pipe.fit(frame, y)
    assert sparse.issparse(pipe[0].transform(frame))
    assert cross_val_score(pipe, frame, y, cv=FOLDS).min() > 0.6


def test_raw_text_and_numbers_inside_the_hasher(hasher, triples, frame, y):
    model = hasher.set_params(modalities=triples).fit(frame, y)
    assert model.modality_names_ == ["image", "text"]
    ranker = HammingRanker().fit(model.codes_)
    found = ranker.kneighbors(model.encode(["a dog barking"], modality="text"), 10)[1][0]
    assert np.mean(y[found] == 1) > 0.9
    pixels = frame[[c for c in frame.columns if c.startswith("pixel")]]
    np.testing.assert_array_equal(
        model.encode(pixels, modality="image"), model.encode(frame, modality="image")
    )


def test_preprocessing_of_multimodal_data(hasher, X, frame, y):
    mixed = MultimodalData(
        image=pd.DataFrame(X["image"]).add_prefix("p"), text=frame["caption"].tolist()
    )
    triples = [("image", StandardScaler(), None), ("text", TfidfVectorizer(), None)]
    model = hasher.set_params(modalities=triples)
    scores = cross_validate(model, mixed, y, cv=FOLDS)["test_score"]
    assert scores.min() > 0.7
    model.fit(mixed, y)
    np.testing.assert_array_equal(
        model.encode(["sea rolling here"], modality="text"),
        model.encode(MultimodalData(text=["sea rolling here"])),
    )


# Searches.


def test_hasher_and_ranker_in_a_grid(hasher, X, y):
    pipe = Pipeline([("hash", hasher), ("rank", HammingRanker())])
    grid = {"hash__n_bits": [2, 16], "hash__feature_map": [None, AnchorRBF(10)]}
    search = GridSearchCV(pipe, grid, cv=FOLDS).fit(X, y)
    assert search.best_params_["hash__n_bits"] == 16
    assert search.score(X, y) > 0.9
    distances, rows = search.best_estimator_[-1].kneighbors(search.best_estimator_[0].encode(X), 1)
    assert distances.shape == rows.shape == (N, 1)


def test_the_retrieval_scorer_sees_through_the_ranker(hasher, X, y):
    pipe = make_pipeline(hasher, HammingRanker())
    scorer = make_retrieval_scorer("map", query="text")
    search = GridSearchCV(pipe, {"dsah__alpha": [0.1, 1.0]}, scoring=scorer, cv=FOLDS).fit(X, y)
    bare = GridSearchCV(hasher, {"alpha": [0.1, 1.0]}, scoring=scorer, cv=FOLDS).fit(X, y)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], bare.cv_results_["mean_test_score"]
    )


def test_randomised_search_over_everything_nested(hasher, triples, frame, y):
    space = {
        "alpha": loguniform(1e-3, 1.0),
        "feature_map__n_anchors": [10, 30],
        "text__max_features": [2, None],
        "image__simpleimputer__strategy": ["mean", "median"],
        "image__standardscaler": [StandardScaler(), "passthrough"],
    }
    model = hasher.set_params(modalities=triples, feature_map=AnchorRBF())
    search = RandomizedSearchCV(model, space, n_iter=4, cv=FOLDS, random_state=0).fit(frame, y)
    best = search.best_estimator_
    assert best.transformers_["text"].max_features == search.best_params_["text__max_features"]
    assert best.feature_maps_["image"].n_anchors == search.best_params_["feature_map__n_anchors"]


def test_halving_raises_the_number_of_anchors_or_rows(hasher, X, y):
    for resource, options in [("n_samples", {}), ("n_anchors", {"max_resources": 40})]:
        search = HalvingRandomSearchCV(
            hasher,
            {"alpha": loguniform(1e-3, 1.0)},
            n_candidates=4,
            factor=2,
            resource=resource,
            cv=FOLDS,
            min_resources=10 if resource == "n_anchors" else 40,
            random_state=0,
            **options,
        ).fit(X, y)
        assert search.n_resources_[-1] > search.n_resources_[0]


def test_several_metrics_with_refit(hasher, X, y):
    scoring = {
        "map": make_retrieval_scorer("map"),
        "precision": make_retrieval_scorer("precision_at_k", k=5, gallery="validation"),
        "lookup": make_retrieval_scorer("lookup_precision"),
    }
    grid = {"n_bits": [2, 12]}
    search = GridSearchCV(hasher, grid, scoring=scoring, refit="precision", cv=FOLDS).fit(X, y)
    assert search.best_index_ == np.argmax(search.cv_results_["mean_test_precision"])
    assert search.score(X, y) == scoring["precision"](search.best_estimator_, X, y)


def test_steps_and_methods_are_parameters(X, y):
    pipe = Pipeline([("hash", DSAH()), ("rank", HammingRanker())])
    methods = [
        DSAH(8, n_anchors=20, max_iter=1, n_perturbations=0, random_state=0),
        AAH(8, max_iter=1, random_state=0),
    ]
    search = GridSearchCV(pipe, {"hash": methods}, cv=FOLDS).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# Validation.


def test_every_splitter_splits_multimodal_data(hasher, X, y):
    for cv in [StratifiedKFold(2), ShuffleSplit(2, random_state=0), GroupKFold(2)]:
        groups = np.arange(N) // 4 if isinstance(cv, GroupKFold) else None
        assert cross_val_score(hasher, X, y, cv=cv, groups=groups).min() > 0.7


def test_sorted_classes_need_shuffled_folds(hasher, X, y):
    rows = np.concatenate([np.flatnonzero(y == c)[:30] for c in range(4)])
    X, y = X[rows], y[rows]
    # The class of the queries is missing from the training fold.
    with pytest.warns(UndefinedMetricWarning, match="NaN"):
        assert np.isnan(cross_val_score(hasher, X, y, cv=KFold(4))).all()
    assert cross_val_score(hasher, X, y, cv=KFold(4, shuffle=True, random_state=0)).min() > 0.8


def test_curves_and_permutations(hasher, X, y):
    sizes, _, scores = learning_curve(
        hasher, X, y, train_sizes=[0.3, 1.0], cv=FOLDS, shuffle=True, random_state=0
    )
    assert scores.shape == (len(sizes), 2)
    _, scores = validation_curve(hasher, X, y, param_name="n_bits", param_range=[1, 12], cv=FOLDS)
    assert scores[1].mean() > scores[0].mean()
    score, others, _ = permutation_test_score(hasher, X, y, cv=FOLDS, n_permutations=3)
    assert score > others.max()


# Parts of other estimators.


def test_codes_are_features(hasher, X, y):
    for classifier in [LogisticRegression(), KNeighborsClassifier(metric="hamming")]:
        assert cross_val_score(make_pipeline(hasher, classifier), X, y, cv=FOLDS).min() > 0.8


def test_union_of_hashers(hasher, X, y):
    union = FeatureUnion([("short", clone(hasher).set_params(n_bits=4)), ("long", hasher)])
    codes = union.fit_transform(X, y)
    assert codes.shape == (N, 16) and codes.dtype == np.int8
    ranker = make_pipeline(union, HammingRanker()).fit(X, y)
    assert ranker.score(X, y) > 0.9


def test_union_of_encoders(hasher, X, y):
    fitted = hasher.fit(X, y)
    union = FeatureUnion([(name, fitted.encoder(name)) for name in X.names])
    union.set_output(transform="pandas").fit(X)
    codes = union.transform(X)
    assert next(iter(codes.columns)) == "image__modalityencoder0"
    np.testing.assert_array_equal(
        codes, np.hstack([fitted.encode(X, modality=name) for name in X.names])
    )


def test_an_encoder_ends_another_pipeline(hasher, frame, y):
    words = TfidfVectorizer().fit(frame["caption"])
    pixels = frame.filter(like="pixel").fillna(0.0).to_numpy()
    X = MultimodalData(image=pixels, text=words.transform(frame["caption"]))
    fitted = hasher.fit(X, y)
    pipe = make_pipeline(words, fitted.encoder("text"))
    expected = fitted.encode(X, modality="text")
    np.testing.assert_array_equal(pipe.transform(frame["caption"]), expected)
    np.testing.assert_array_equal(clone(pipe)[-1].transform(X["text"]), expected)


def test_frozen(hasher, X, y):
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    fitted = hasher.fit(X_train, y_train)
    before = fitted.codes_.copy()
    pipe = make_pipeline(FrozenEstimator(fitted), HammingRanker()).fit(X_test, y_test)
    assert pipe.score(X_train, y_train) > 0.9
    np.testing.assert_array_equal(fitted.codes_, before)
    scorer = make_retrieval_scorer(gallery="validation")
    scores = cross_val_score(FrozenEstimator(fitted), X_test, y_test, scoring=scorer, cv=FOLDS)
    assert scores.min() > 0.7


def test_preprocessing_by_hand(hasher, X, y):
    def double(X):
        return MultimodalData(**{name: 2 * X[name] for name in X.names})

    pipe = make_pipeline(FunctionTransformer(double), hasher).fit(X, y)
    np.testing.assert_array_equal(
        pipe.transform(X), clone(hasher).fit(double(X), y).transform(double(X))
    )


def test_weights_are_routed_to_the_score(hasher, X, y):
    weight = (np.arange(N) % 2).astype(float)
    with config_context(enable_metadata_routing=True):
        model = clone(hasher).set_score_request(sample_weight=True)
        params = {"sample_weight": weight}
        weighted = cross_validate(model, X, y, cv=FOLDS, params=params)["test_score"]
    expected = [
        clone(hasher).fit(X[train], y[train]).score(X[test[odd]], y[test[odd]])
        for train, test in FOLDS.split(y)
        for odd in [weight[test] > 0]
    ]
    np.testing.assert_allclose(weighted, expected)


def test_preprocessing_that_changes_width_needs_triples(hasher, frame, y):
    triples = [
        ("image", make_pipeline(SimpleImputer(), PCA(2)), slice(0, 8)),
        ("colour", OneHotEncoder(sparse_output=False), ["colour"]),
        ("text", CountVectorizer(), "caption"),
    ]
    model = hasher.set_params(modalities=triples)
    grid = {"image__pca__n_components": [2, 4], "text__ngram_range": [(1, 1), (1, 2)]}
    search = GridSearchCV(model, grid, cv=FOLDS, error_score="raise").fit(frame, y)
    assert search.best_score_ > 0.6


# Callbacks of scikit-learn 1.9.


@pytest.fixture
def callback():
    return pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9 has no callbacks")


class Recorder:
    """A callback that notes what it is told."""

    max_propagation_depth = None

    def __init__(self, stop_after=None):
        self.told, self.stop_after = [], stop_after

    def setup(self, estimator, context):
        self.told.append("setup")

    def teardown(self, estimator, context):
        self.told.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.told.append(f"{context.estimator_name} {context.task_name} begins")

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.told.append(f"{context.estimator_name} {context.task_name} ends")
        return self.told.count("DSAH sweep ends") == self.stop_after


def test_callbacks_are_told_of_a_fit(callback, hasher, X, y):
    recorder = Recorder()
    hasher.set_callbacks(recorder).fit(X, y)
    steps = ["features", "start", *["sweep"] * hasher.n_iter_]
    told = [f"DSAH {step} {what}" for step in steps for what in ("begins", "ends")]
    assert recorder.told == ["setup", "DSAH fit begins", *told, "DSAH fit ends", "teardown"]
    assert not any(name in vars(hasher) for name in ("_fit_task", "_callback_fit_ctx"))


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
def test_callbacks_can_stop_a_fit(callback, hasher, X, y):
    hasher.set_params(tol=0, max_iter=100)
    hasher.set_callbacks(Recorder(stop_after=1)).fit(X, y)
    assert hasher.n_iter_ == 1
    assert hasher.score(X, y) > 0.5


def test_callbacks_are_torn_down_after_a_failed_fit(callback, hasher, X, y):
    recorder = Recorder()
    with pytest.raises(ValueError, match="one class"):
        hasher.set_callbacks(recorder).fit(X, np.zeros(N))
    assert recorder.told == ["setup", "DSAH fit begins", "teardown"]
    assert "_fit_task" not in vars(hasher)


def test_callbacks_of_a_search_reach_the_hasher(callback, hasher, X, y, recwarn):
    recorder = Recorder()
    pipe = make_pipeline(FunctionTransformer(), hasher)
    GridSearchCV(pipe, {"dsah__n_bits": [4, 8]}, cv=FOLDS).set_callbacks(recorder).fit(X, y)
    # Two candidates in two folds, and the refit.
    assert recorder.told.count("DSAH fit ends") == 5
    assert not [w for w in recwarn if "DSAH does not support callbacks" in str(w.message)]


def test_scores_are_monitored(callback, hasher, X, y):
    monitor = callback.ScoringMonitor(scoring={"map": make_retrieval_scorer()})
    hasher.set_callbacks(monitor).fit(X, y)
    (entry,) = monitor.get_logs().data
    assert entry["map"] == hasher.score(X, y)


def test_progress_bar_counts_sweeps(callback, hasher, X, y, capsys):
    pytest.importorskip("rich", reason="the progress bar needs rich")
    hasher.set_callbacks(callback.ProgressBar()).fit(X, y)
    printed = capsys.readouterr().out
    assert "DSAH - fit" in printed
    assert "100%" in printed


def test_diagram_draws_the_transformers_of_modalities_and_feature_maps():
    hasher = RefinedHasher(
        DSAH(
            modalities=[("image", StandardScaler(), slice(0, 6)), ("text", PCA(3), slice(6, 11))],
            feature_map={"text": Nystroem()},
        )
    )
    for estimator in (hasher, hasher.estimator):
        drawn = re.findall(r"<label[^>]*>.*?</label>", estimator_html_repr(estimator), re.DOTALL)
        for name in ("DSAH", "StandardScaler", "PCA", "Nystroem"):
            assert any(name in label for label in drawn), name
    assert "DSAH" in estimator_html_repr(DSAH())
