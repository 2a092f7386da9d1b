"""Displays draw the numbers that the metrics and scorers give."""

import inspect
import sys

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cmh import AAH
from sklearn_cmh.datasets import make_multimodal_classification
from sklearn_cmh.metrics import (
    MAPByBitsDisplay,
    PrecisionAtKDisplay,
    PrecisionRecallByRadiusDisplay,
    RecallAtKDisplay,
    make_retrieval_scorer,
    mean_average_precision,
    mean_reciprocal_rank,
    pair_recall_at_k,
    precision_at_k,
    precision_recall_by_radius,
    recall_at_k,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
CURVES = [PrecisionRecallByRadiusDisplay, PrecisionAtKDisplay, RecallAtKDisplay]


@pytest.fixture(scope="module")
def plt():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    return pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def close_figures(plt):
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def data():
    return make_multimodal_classification(90, noise=2.0, random_state=0)


@pytest.fixture(scope="module")
def hashers(data):
    return [AAH(k, max_iter=2, random_state=0).fit(*data) for k in (16, 4, 8)]


@pytest.fixture
def predictions(hashers, data):
    X, y = data
    return hashers[0].encode(X, modality="image")[:20], hashers[0].codes_, y[:20], y


def test_precision_recall_are_the_metric_s(predictions):
    display = PrecisionRecallByRadiusDisplay.from_predictions(*predictions, name="mine")
    precision, recall, radii = precision_recall_by_radius(*predictions)
    np.testing.assert_allclose(display.precision, precision)
    np.testing.assert_allclose(display.recall, recall)
    np.testing.assert_array_equal(display.radii, radii)
    np.testing.assert_array_equal(display.line_.get_xydata(), np.c_[recall, precision])
    assert display.ax_.get_legend().get_texts()[0].get_text() == "mine"
    assert display.figure_ is display.ax_.figure


@pytest.mark.parametrize("ties", ["expected", "index"])
def test_precision_at_k_is_the_metric_s(predictions, ties):
    display = PrecisionAtKDisplay.from_predictions(*predictions, ties=ties)
    np.testing.assert_array_equal(display.k, np.arange(1, 91))
    expected = [precision_at_k(*predictions, k=k, ties=ties) for k in display.k]
    np.testing.assert_allclose(display.precision, expected)
    assert display.ax_.get_legend() is None
    assert PrecisionAtKDisplay.from_predictions(*predictions, max_k=7).k[-1] == 7


@pytest.mark.parametrize("ties", ["expected", "index"])
def test_recall_at_k_is_the_metric_s(predictions, hashers, data, ties):
    display = RecallAtKDisplay.from_predictions(*predictions, ties=ties)
    expected = [recall_at_k(*predictions, k=k, ties=ties) for k in display.k]
    np.testing.assert_allclose(display.recall, expected)
    codes = [hashers[0].encode(data[0], modality=name) for name in ("image", "text")]
    display = RecallAtKDisplay.from_predictions(*codes, ties=ties)
    expected = [pair_recall_at_k(*codes, k=k, ties=ties) for k in display.k]
    np.testing.assert_allclose(display.recall, expected)
    np.testing.assert_array_equal(display.line_.get_xydata(), np.c_[display.k, display.recall])


def test_curves_of_finding_the_own_row(hashers, data):
    X, _ = data
    options = {"relevance": "pair", "gallery": "validation", "query": "image"}
    codes = [hashers[0].encode(X, modality=name) for name in ("image", "text")]
    for cls in CURVES:
        first = cls.from_estimator(hashers[0], X, **options)
        second = cls.from_predictions(*codes)
        np.testing.assert_allclose(first.line_.get_xydata(), second.line_.get_xydata())
    by_bits = MAPByBitsDisplay.from_estimators(hashers[:1], X, **options)
    assert by_bits.scores == pytest.approx([mean_reciprocal_rank(*codes)])
    again = MAPByBitsDisplay.from_predictions([codes[0]], [codes[1]])
    assert again.scores == pytest.approx(by_bits.scores)
    d = (codes[0][:, None] != codes[1]).sum(axis=2)
    within = [np.mean(np.diag(d) <= radius) for radius in range(17)]
    display = PrecisionRecallByRadiusDisplay.from_predictions(*codes)
    np.testing.assert_allclose(display.recall, within)


@pytest.mark.parametrize("gallery", ["learned", "validation"])
@pytest.mark.parametrize("query", [None, "image"])
def test_from_estimator_shows_what_the_scorer_scores(hashers, data, query, gallery):
    options = {"query": query, "gallery": gallery}
    display = PrecisionAtKDisplay.from_estimator(hashers[0], *data, max_k=10, **options)
    score = make_retrieval_scorer("precision_at_k", k=10, **options)(hashers[0], *data)
    assert display.precision[-1] == pytest.approx(score)
    assert display.name == ("AAH" if query is None else "AAH, image queries")


def test_from_estimator_of_one_modality_is_from_predictions(hashers, data, predictions):
    X, y = data
    for cls in CURVES:
        first = cls.from_estimator(hashers[0], X[:20], y[:20], query="image")
        second = cls.from_predictions(*predictions)
        np.testing.assert_allclose(first.line_.get_xydata(), second.line_.get_xydata())


@pytest.mark.parametrize("cls", CURVES)
def test_several_methods_on_one_axis(hashers, data, plt, cls):
    _, ax = plt.subplots()
    for i, hasher in enumerate(hashers):
        display = cls.from_estimator(hasher, *data, name=f"{i}", ax=ax, linestyle="--")
        assert display.ax_ is ax and display.line_.get_linestyle() == "--"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0", "1", "2"]


@pytest.mark.parametrize("cls", CURVES)
def test_plot_draws_again_under_another_name(predictions, cls):
    display = cls.from_predictions(*predictions, name="first")
    first = display.ax_
    assert display.plot(name="second") is display
    assert display.ax_ is not first and display.line_.get_label() == "second"


def test_map_by_bits_of_estimators(hashers, data):
    X, y = data
    display = MAPByBitsDisplay.from_estimators(hashers, X, y, query="text", k=20)
    scorer = make_retrieval_scorer(query="text", k=20)
    assert display.n_bits == [16, 4, 8] and display.name == "AAH"
    assert display.scores == [scorer(hasher, X, y) for hasher in hashers]
    # Drawn in the order of the bits, on an axis that names them.
    np.testing.assert_array_equal(display.line_.get_xdata(), [4, 8, 16])
    assert [tick.get_text() for tick in display.ax_.get_xticklabels()] == ["4", "8", "16"]
    with pytest.raises(ValueError, match="estimators is empty"):
        MAPByBitsDisplay.from_estimators([], X, y)


def test_map_by_bits_of_codes(hashers, data, plt):
    X, y = data
    _, ax = plt.subplots()
    MAPByBitsDisplay([2, 32], [0.1, 0.2]).plot(ax)
    queries = [hasher.encode(X, modality="text") for hasher in hashers]
    galleries = [hasher.codes_ for hasher in hashers]
    display = MAPByBitsDisplay.from_predictions(queries, galleries, y, y, ax=ax, name="mine")
    expected = [mean_average_precision(q, g, y, y) for q, g in zip(queries, galleries, strict=True)]
    np.testing.assert_allclose(display.scores, expected)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["2", "4", "8", "16", "32"]


def test_map_by_bits_of_a_search(data):
    X, y = data
    grid = {"aah__n_bits": [8, 4], "aah__alpha": [0.1, 10.0]}
    pipe = make_pipeline(
        StandardScaler(),
        AAH(max_iter=2, modalities={"image": slice(0, 20), "text": slice(20, 30)}, random_state=0),
    )
    table = np.hstack([X["image"], X["text"]])
    search = GridSearchCV(pipe, grid, cv=KFold(2, shuffle=True, random_state=0)).fit(table, y)
    display = MAPByBitsDisplay.from_cv_results(search.cv_results_, param="aah__n_bits")
    np.testing.assert_array_equal(display.n_bits, [4, 8])
    assert max(display.scores) == search.best_score_
    assert display.band_ is not None
    with pytest.raises(ValueError, match=r"no 'param_n_bits'.*'param_aah__n_bits'"):
        MAPByBitsDisplay.from_cv_results(search.cv_results_)


def test_map_by_bits_of_a_list_of_grids(data):
    """A grid that leaves the parameter out has no place on the axis."""
    grids = [{"n_bits": [4, 8]}, {"alpha": [0.5]}]
    search = GridSearchCV(AAH(max_iter=2, random_state=0), grids, cv=3).fit(*data)
    assert MAPByBitsDisplay.from_cv_results(search.cv_results_).n_bits.tolist() == [4, 8]


def test_map_by_bits_beside_a_reference_line(plt):
    _, ax = plt.subplots()
    ax.axhline(0.3)
    display = MAPByBitsDisplay([16, 32], [0.3, 0.4]).plot(ax)
    assert display.ax_.get_xticks().tolist() == [16, 32]


@pytest.mark.parametrize("cls", [*CURVES, MAPByBitsDisplay])
@pytest.mark.parametrize("option", [{"ties": "best"}, {"no_relevant": "drop"}, {"max_k": 0}])
def test_bad_options_are_refused(predictions, data, hashers, cls, option):
    (name,) = option
    if name not in inspect.signature(cls.from_predictions).parameters:
        pytest.skip(f"{cls.__name__} has no {name}")
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        cls.from_predictions(*predictions, **option)
    make = getattr(cls, "from_estimator", None) or cls.from_estimators
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        make(hashers[0], *data, **option)


def test_without_matplotlib_the_extra_is_named(predictions, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "sklearn-cmh\[plot\]"'):
        PrecisionAtKDisplay.from_predictions(*predictions)
