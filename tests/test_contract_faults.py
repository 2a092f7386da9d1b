"""What users ran into, each with the right value."""

import re
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, StandardScaler

from sklearn_cmh import AAH, ASCMH, DSAH, AnchorRBF, MultimodalData, RefinedHasher, SharedSpace
from sklearn_cmh.metrics import mean_average_precision
from sklearn_cmh.utils.discovery import all_estimators

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = DSAH(8, n_anchors=30, max_iter=2, n_perturbations=0, random_state=0)


@pytest.fixture
def X(paired):
    return MultimodalData(**paired.blocks)


@pytest.fixture
def captioned(paired):
    words = np.array(["cat dog", "tree bird", "sky sea", "car bus"])
    return MultimodalData(
        image=paired.image, text=[f"{words[c]} {i % 7}" for i, c in enumerate(paired.y)]
    )


TEXTS = {
    "pipeline": make_pipeline(TfidfVectorizer(), TruncatedSVD(3, random_state=0)),
    "union": FeatureUnion([("words", CountVectorizer()), ("tfidf", TfidfVectorizer())]),
    "nested": make_pipeline(
        FunctionTransformer(lambda texts: np.array([[text] for text in texts], dtype=object)),
        ColumnTransformer([("words", CountVectorizer(), 0)]),
    ),
}


@pytest.mark.parametrize("output", ["default", "pandas", "polars"])
@pytest.mark.parametrize("name", TEXTS)
def test_transformers_without_set_output(captioned, paired, name, output):
    modalities = [("image", None, None), ("text", TEXTS[name], None)]
    model = clone(SMALL).set_params(modalities=modalities)
    expected = clone(model).fit(captioned, paired.y)
    with config_context(transform_output="default" if name == "union" else output):
        model.fit(captioned, paired.y)
        codes = model.encode(captioned)
    np.testing.assert_array_equal(model.codes_, expected.codes_)
    np.testing.assert_array_equal(codes, expected.encode(captioned))


@pytest.mark.parametrize("output", ["pandas", "polars"])
@pytest.mark.parametrize("refit", [False, True])
def test_a_global_output_changes_nothing(X, paired, output, refit):
    refined = RefinedHasher(
        SMALL, 8, widths=[1.0], ridges=[0.1], n_anchors=30, n_restarts=2, pool_bits=8,
        refit_hash_functions=refit, random_state=0,
    )  # fmt: skip
    expected = clone(refined).fit(X, paired.y)
    with config_context(transform_output=output):
        refined.fit(X, paired.y)
        codes, score = refined.encode(X), refined.score(X, paired.y)
        frame = refined.transform(X)
    assert type(frame).__module__.startswith(output)
    np.testing.assert_array_equal(refined.codes_, expected.codes_)
    np.testing.assert_array_equal(codes, expected.encode(X))
    assert score == expected.score(X, paired.y)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"feature_map": AnchorRBF(n_anchors=-5)}, "feature_map of 'image'.*n_anchors.*-5"),
        ({"feature_map": AnchorRBF(centre="no")}, "feature_map of 'image'.*centre.*'no'"),
        ({"feature_map": {"text": AnchorRBF(width=-1.0)}}, "feature_map of 'text'.*width.*-1.0"),
        ({"feature_map": StandardScaler(with_mean="no")}, "feature_map of 'image'.*with_mean"),
        (
            {"feature_map": make_pipeline(StandardScaler(), PCA(svd_solver="no"))},
            "feature_map of 'image'.*svd_solver",
        ),
        (
            {"modalities": [("image", StandardScaler(with_std=3), None), ("text", None, None)]},
            "modalities: the transformer of 'image'.*with_std",
        ),
        ({"hash_estimator": Ridge(alpha=-1)}, "hash_estimator.*alpha.*-1"),
    ],
)
def test_parameters_of_nested_estimators_are_validated(X, paired, params, message):
    model = ASCMH(8, n_anchors=30, max_iter=2, random_state=0).set_params(**params)
    with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
        model.fit(X, paired.y)
    with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
        RefinedHasher(model, 8, n_restarts=1, pool_bits=8, refit_hash_functions=False).fit(
            X, paired.y
        )


@pytest.mark.parametrize("parameter", ["modalities", "feature_map"])
def test_parameters_inside_a_shared_space_are_validated(X, parameter):
    wrong = StandardScaler(with_mean="no")
    value = wrong
    if parameter == "modalities":
        value = [("image", wrong, None), ("text", None, None)]
    model = SharedSpace(4).set_params(**{parameter: value})
    for estimator in (model, RefinedHasher(n_bits=4, shared_space=model)):
        with pytest.raises(ValueError, match=f"{parameter}.*'image'.*with_mean"):
            estimator.fit(X)


# Labels and scores.


@pytest.mark.parametrize("cls", [DSAH, ASCMH])
def test_minus_one_as_a_class_warns(X, paired, cls):
    y = np.where(np.arange(120) % 5 == 0, -1, paired.y)
    model = cls(8, n_anchors=30, random_state=0)
    with pytest.warns(UserWarning, match=f"y holds -1.*{cls.__name__} takes it as a class"):
        model.fit(X, y)
    for fine in [np.where(paired.y > 1, 1, -1), paired.y - 4, np.eye(4, dtype=int)[paired.y]]:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, fine)


def test_rows_without_labels_are_no_wrong_hits(X, paired):
    y = paired.indicator.copy()
    y[::2] = 0
    model = clone(SMALL).fit(X, y)
    known = np.arange(120) % 2 == 1
    expected = np.mean(
        [
            mean_average_precision(
                model.encode(X, modality=name), model.codes_[known], paired.indicator, y[known]
            )
            for name in X.names
        ]
    )
    assert model.score(X, paired.indicator) == pytest.approx(expected)
    everything = mean_average_precision(
        model.encode(X["text"], modality="text"), model.codes_, y, y
    )
    assert expected > everything + 0.1


def test_weights_on_queries_without_relevant_rows(X, paired):
    model = clone(SMALL).fit(X, paired.y)
    y = np.append(paired.y[:20], [9, 9])
    queries = X[np.append(np.arange(20), [0, 1])]
    with pytest.warns(UndefinedMetricWarning, match="No query of positive weight"):
        assert np.isnan(model.score(queries, y, sample_weight=[0.0] * 20 + [1.0] * 2))
    assert model.score(queries, y) == model.score(queries[:20], y[:20])
    weights = np.arange(22.0)
    assert model.score(queries, y, weights) == model.score(queries[:20], y[:20], weights[:20])


def test_some_modalities_are_scored_by_themselves(X, paired):
    model = clone(SMALL).fit(X, paired.y)
    scores = [model.score(MultimodalData(**{name: X[name]}), paired.y) for name in X.names]
    assert model.score(X, paired.y) == pytest.approx(np.mean(scores))
    with pytest.raises(ValueError, match="but not 'image'"):
        model.score(MultimodalData(audio=X["text"]), paired.y)


# Messages that say what to do.


def test_what_to_do_without_labels(X):
    with pytest.raises(ValueError, match="affinity='knn' learns without labels"):
        AAH(8).fit(X)


def test_a_block_alone_points_to_encode(captioned, X, paired):
    modalities = [("image", None, None), ("text", CountVectorizer(), None)]
    model = clone(SMALL).set_params(modalities=modalities).fit(captioned, paired.y)
    hint = r"encode\(X, modality='image' or modality='text'\)"
    for query in [captioned["text"], captioned["image"]]:
        with pytest.raises(ValueError, match=hint):
            model.transform(query)
    with pytest.raises(ValueError, match=f"{hint}.*11 features as input"):
        clone(SMALL).fit(X, paired.y).transform(paired.text)


def test_pictures_point_to_what_learns_from_them(paired):
    X = MultimodalData(image=np.zeros((120, 8, 8, 3)), text=paired.text)
    with pytest.raises(ValueError, match=r"'image'.*rows of shape \(8, 8, 3\).*DSPAH"):
        clone(SMALL).fit(X, paired.y)


# Progress.


def test_every_phase_is_printed(X, paired, capsys):
    scaled = [("image", StandardScaler(), None), ("text", None, None)]
    model = ASCMH(8, n_anchors=30, hash_estimator=Ridge(), verbose=1, modalities=scaled)
    model.fit(X, paired.y)
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("[ASCMH] ") for line in lines)
    said = [line.removeprefix("[ASCMH] ").split(",")[0] for line in lines]
    assert said == [
        "transformer of 'image'",
        "features of 'image'",
        "features of 'text'",
        "start of the solver",
        *[f"sweep {i + 1}" for i in range(model.n_iter_)],
        "hash functions of 'image'",
        "hash functions of 'text'",
    ]


# Scale.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_of_large_norm_keep_their_bits(paired, dtype):
    image = paired.image.astype(dtype)
    model = clone(SMALL).set_params(feature_map="passthrough").fit(image, paired.y)
    expected = model.encode(image)
    scale = dtype(2.0 ** (66 if dtype == np.float32 else 660))
    for rows in [image * scale, image / scale, sparse.csr_array(image * scale)]:
        np.testing.assert_array_equal(model.encode(rows), expected)
    assert 0.1 < (expected > 0).mean() < 0.9


@pytest.mark.parametrize("scale", [1e-200, 1e200])
@pytest.mark.parametrize("cls", [cls for _, cls in all_estimators("shallow")])
def test_features_of_extreme_scale_are_refused(X, paired, cls, scale):
    data = MultimodalData(image=X["image"] * scale, text=X["text"])
    with pytest.raises(ValueError, match=r"'image'.*rescale"):
        cls(8, feature_map="passthrough", random_state=0).fit(data, paired.y)


@pytest.mark.parametrize("model", [AAH(8), SharedSpace(4)], ids=["AAH", "SharedSpace"])
@pytest.mark.parametrize("scale", [1e200, 1e300])
def test_overflow_in_a_map_is_explained(X, paired, model, scale):
    data = MultimodalData(image=X["image"] * scale, text=X["text"])
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"'image'.*rescale"):
        clone(model).fit(data, paired.y)
    scaled = [("image", MaxAbsScaler(), None), ("text", None, None)]
    clone(model).set_params(modalities=scaled).fit(data, paired.y)


def test_hash_functions_of_zero_warn(X, paired):
    model = clone(SMALL).set_params(gamma=1e300, feature_map="passthrough")
    with pytest.warns(ConvergenceWarning, match="'image' is encoded alike.*Rescale"):
        model.fit(X, paired.y)
