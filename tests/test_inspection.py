"""The bit report and the retrieval report."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_cmh import AAH, MultimodalData
from sklearn_cmh._version import __version__
from sklearn_cmh.datasets import make_multimodal_classification
from sklearn_cmh.inspection import RetrievalReport, bit_report
from sklearn_cmh.metrics import (
    make_retrieval_scorer,
    mean_average_precision,
    mean_reciprocal_rank,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# Bits.


def test_figures_of_bits_are_numpy_s():
    rng = np.random.RandomState(0)
    codes = np.where(rng.rand(20_000, 7) < np.linspace(0.1, 0.9, 7), 1, -1)
    codes[:, 3] = codes[:, 2] * np.where(rng.rand(20_000) < 0.9, 1, -1)
    report = bit_report(codes)
    np.testing.assert_allclose(report.correlation, np.corrcoef(codes.T), atol=1e-12)
    np.testing.assert_allclose(report.share_of_ones, (codes == 1).mean(axis=0))
    p = report.share_of_ones
    np.testing.assert_allclose(report.entropy, -p * np.log2(p) - (1 - p) * np.log2(1 - p))
    assert report.n_distinct == len(np.unique(codes, axis=0))
    assert report.max_correlation.argmax() in (2, 3)
    assert "(bits 2 and 3)" in repr(report)


@pytest.mark.parametrize("form", [lambda c: c, lambda c: c > 0, lambda c: (c > 0).astype(float)])
def test_collapsed_bits_in_any_form(form):
    codes = np.array([[1, 1, -1, 1], [1, -1, -1, -1], [1, 1, -1, 1], [1, -1, -1, -1]])
    report = bit_report(form(codes))
    assert report.collapsed.tolist() == [0, 2]
    np.testing.assert_allclose(report.entropy, [0, 1, 0, 1])
    assert report.correlation[1, 3] == 1 and report.correlation[0].tolist() == [0, 0, 0, 0]
    assert report.code_entropy == 1.0 and report.n_distinct == 2
    assert "2 bits: 0, 2" in repr(report)
    figures = report.to_dict()
    assert figures["n_collapsed"] == 2 and figures["max_abs_correlation"] == 1
    frame = report.to_frame()
    assert frame["collapsed"].tolist() == [True, False, True, False] and frame.index.name == "bit"


def test_bits_of_a_hasher_are_its_learned_codes(hasher):
    assert bit_report(hasher).to_dict() == bit_report(hasher.codes_).to_dict()
    with pytest.raises(NotFittedError):
        bit_report(AAH())
    with pytest.raises(ValueError, match="must hold binary codes"):
        bit_report([[0.3, 0.7]])


def test_codes_that_only_tell_classes_apart():
    y = np.repeat(np.arange(9), 20)
    codes = np.where(y[:, None] >> np.arange(4) & 1, 1, -1)
    remark = (
        "180 rows, 9 distinct codes: finds classes, not things. "
        "A row shares its code with 19 others on average."
    )
    report = bit_report(codes, labels=y)
    assert report.finds_classes_only and report.remark == remark and remark in repr(report)
    assert report.n_sharing == 20 and report.n_label_sets == 9
    assert bit_report(codes, labels=np.eye(9, dtype=int)[y]).remark == remark
    assert "9 distinct codes: finds groups of rows" in bit_report(codes).remark
    # Two labels a row make 3 sets of labels out of 2 classes.
    assert bit_report(codes[:3], labels=[[1, 0], [0, 1], [1, 1]]).n_label_sets == 3
    with pytest.raises(ValueError, match="labels have 3 rows for 180 codes"):
        bit_report(codes, labels=[0, 1, 2])


def test_codes_that_tell_rows_apart():
    codes = np.where(np.arange(64)[:, None] >> np.arange(6) & 1, 1, -1)
    for labels in (None, np.arange(64) // 2, np.arange(64) // 8):
        report = bit_report(codes, labels=labels)
        assert not report.finds_classes_only and report.remark == ""
        assert "remark" not in repr(report)
    # Of five rows each a code, all distinct: as many codes as classes, but no more rows.
    assert not bit_report(codes[:5], labels=np.arange(5)).finds_classes_only


def test_one_bit():
    assert bit_report([[1], [-1]]).to_dict()["mean_abs_correlation"] == 0


def test_bits_are_drawn(hasher):
    pytest.importorskip("matplotlib").use("Agg")
    report = bit_report(hasher)
    balance, correlations = report.plot(cmap="viridis")
    heights = [bar.get_height() for bar in balance.patches]
    np.testing.assert_allclose(heights, report.share_of_ones)
    assert correlations.images[0].get_cmap().name == "viridis"
    again = report.plot(ax=(balance, correlations))
    assert again[0] is balance


# Retrieval.


@pytest.fixture(scope="module")
def data():
    return make_multimodal_classification(80, noise=1.5, random_state=0)


@pytest.fixture(scope="module")
def hasher(data):
    return AAH(8, max_iter=3, random_state=0).fit(*data)


class Page(HTMLParser):
    """What a page holds; raises where tags are not closed."""

    void = {"meta", "img", "br", "path", "use", "rect"}

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.links, self.marks = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.links += [v for k, v in attrs.items() if k in ("src", "href", "xlink:href")]
        if "cmh-mark" in attrs.get("class", "") and "cmh-key" not in attrs["class"]:
            self.marks.append(attrs["aria-label"])
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag not in self.void:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("gallery", ["learned", "validation", "given"])
def test_figures_are_the_scorers(hasher, data, gallery):
    X, y = data
    if gallery == "given":
        gallery = (X[:50], y[:50])
    report = RetrievalReport.from_estimator(hasher, X, y, gallery=gallery, k=5)
    figures = report.to_frame()
    for metric, column in [
        ("map", "mAP"),
        ("ndcg_at_k", "NDCG@5"),
        ("lookup_precision", "P(r<=2)"),
    ]:
        k = 5 if metric == "ndcg_at_k" else None
        score = make_retrieval_scorer(metric, gallery=gallery, k=k)(hasher, X, y)
        assert figures[column].mean() == pytest.approx(score)
    assert all(direction in repr(report) for direction in report.metrics)


@pytest.mark.parametrize("gallery", ["learned", "validation"])
def test_figures_of_finding_the_own_row(hasher, data, gallery):
    X, y = data
    options = {"gallery": gallery, "relevance": "pair"}
    report = RetrievalReport.from_estimator(hasher, X, k=5, n_samples=[3], n_hits=80, **options)
    figures = report.to_frame()
    assert list(figures) == ["MRR", "R@1", "R@5"]
    for metric, k, column in [("mrr", None, "MRR"), ("recall_at_k", 1, "R@1")]:
        score = make_retrieval_scorer(metric, k=k, **options)(hasher, X)
        assert figures[column].mean() == pytest.approx(score)
    for samples in report.samples.values():
        (sample,) = samples
        np.testing.assert_array_equal(sample.relevant, sample.hits == 3)
        assert sample.relevant.sum() == 1
        assert 0 < sample.average_precision <= 1
    # Labels are shown where they are known.
    assert report.show.query_labels(3) == ""
    assert RetrievalReport.from_estimator(hasher, X, y, **options).show.hit_labels(3) == str(y[3])
    codes = [hasher.encode(X, modality=name) for name in X.names]
    again = RetrievalReport.from_predictions(*codes).metrics["retrieval"]
    assert again["MRR"] == pytest.approx(mean_reciprocal_rank(*codes))


def test_the_page_of_finding_the_own_row(hasher, data):
    pytest.importorskip("matplotlib")
    report = RetrievalReport.from_estimator(
        hasher, *data, relevance="pair", gallery="validation", n_hits=10
    )
    learned = RetrievalReport.from_estimator(hasher, *data, relevance="pair", n_samples=0)
    text = " ".join(Page(report._repr_html_()).text)
    assert "is the query's own row" in text and "reciprocal rank" in text
    assert any("finds classes, not things" in remark for remark in learned.remarks)
    assert "shares a label" not in text and "mean average precision" not in text.lower()


def test_figures_by_class(hasher, data):
    X, y = data
    report = RetrievalReport.from_estimator(hasher, X, y, target_names=["a", "b", "c", "d"])
    for direction in report.directions:
        assert list(direction.by_class) == ["a", "b", "c", "d"]
        codes = hasher.encode(X, modality=direction.query)
        for label, (n_queries, score) in enumerate(direction.by_class.values()):
            rows = y == label
            assert n_queries == rows.sum()
            alone = mean_average_precision(codes[rows], hasher.codes_, y[rows], y)
            assert score == pytest.approx(alone)


def test_rows_without_labels_keep_their_numbers(data):
    """They are left out of figures and hits, and said to be."""
    X, y = data
    L = np.eye(4, dtype=int)[y]
    L[::4] = 0
    hasher = AAH(8, max_iter=3, random_state=0).fit(X, L)
    options = {"n_samples": [1, 79], "n_hits": 60}
    for gallery in ("learned", "validation"):
        report = RetrievalReport.from_estimator(hasher, X, L, gallery=gallery, **options)
        for samples in report.samples.values():
            assert [sample.row for sample in samples] == [1, 79]
            for sample in samples:
                own = [sample.row] if gallery == "validation" else []
                assert sorted([*sample.hits, *own]) == np.flatnonzero(L.any(axis=1)).tolist()
                shared = (L[sample.hits] & L[sample.row]).any(axis=1)
                np.testing.assert_array_equal(sample.relevant, shared)
        assert "20 queries without labels are left out." in report.remarks
        assert "20 rows of the database without labels are left out." in report.remarks
    with pytest.raises(ValueError, match="rows from 0 to 79 that have labels"):
        RetrievalReport.from_estimator(hasher, X, L, n_samples=[4])


def test_texts_without_a_known_word_are_explained():
    pytest.importorskip("matplotlib")
    names = ["red cat", "blue cat", "red dog", "blue dog"] * 5
    X = MultimodalData(image=np.random.RandomState(0).rand(20, 3), text=names)
    y = np.array([0, 0, 1, 1] * 5)
    words = ("text", CountVectorizer(dtype=float), None)
    hasher = AAH(4, modalities=[("image", None, None), words], max_iter=2, random_state=0)
    hasher.fit(X, y)
    asked = MultimodalData(image=X["image"][:3], text=["red cat", "zebra", "unicorn"])
    report = RetrievalReport.from_estimator(hasher, asked, y[:3], n_samples=[0, 1])
    remark = next(remark for remark in report.remarks if remark.startswith("text: "))
    assert "2 of 3 rows have no feature but zero" in remark and remark in repr(report)
    assert not any(remark.startswith("image") for remark in report.remarks)
    page = " ".join(Page(report._repr_html_()).text)
    assert page.count("without a known word;") == 1
    # The texts that X holds are shown without being asked for.
    assert report.show.query(1, "text") == ["zebra"] and report.show.query(1, "image") == []


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_texts_of_a_table_are_shown(library):
    frames = pytest.importorskip(library)
    table = frames.DataFrame(
        {"a": np.arange(20.0), "b": np.arange(20.0) ** 2, "name": [f"cat {i}" for i in range(20)]}
    )
    modalities = [("image", None, ["a", "b"]), ("text", CountVectorizer(dtype=float), "name")]
    hasher = AAH(4, modalities=modalities, max_iter=2, random_state=0).fit(table, np.arange(20) % 2)
    report = RetrievalReport.from_estimator(
        *(hasher, table[:5], np.arange(5) % 2), gallery=(table[5:], np.arange(5, 20) % 2)
    )
    assert report.show.query(3, "text") == ["cat 3"] and report.show.hit(0) == ["cat 5"]
    columns = table[:5][["name", "a"]]
    report = RetrievalReport.from_estimator(
        *(hasher, table[:5]), relevance="pair", gallery=(table, None), show_queries=columns
    )
    assert report.show.query(3, "image") == ["cat 3", 3.0] and report.show.hit(7) == ["cat 7"]
    assert "ranking encoded rows, the first of them the queries' own: 5 queries" in report.summary


def test_a_page_says_with_what_it_was_made(report, fragment):
    assert report.details["Estimator"] == "AAH(max_iter=3, n_bits=8, random_state=0)"
    assert __version__ in report.details["Made"]
    page = " ".join(Page(fragment).text)
    assert "AAH(max_iter=3" in page and "share of the first 10 rows that share a label" in page
    assert any("finds classes, not things" in remark for remark in report.remarks)
    assert "finds classes, not things" in page


def test_a_full_disk_leaves_the_earlier_page(report, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("earlier")

    def full(self, text, **options):
        with open(self, "w") as file:
            file.write(text[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "write_text", full)
        with pytest.raises(OSError, match="No space left"):
            report.save(path)
        with pytest.raises(OSError, match="No space left"):
            report.save(tmp_path / "new.html")
    assert path.read_text() == "earlier" and list(tmp_path.iterdir()) == [path]
    report.save(path)
    assert "<svg" in path.read_text(encoding="utf-8") and list(tmp_path.iterdir()) == [path]


def test_half_a_character_is_saved(tmp_path):
    pytest.importorskip("matplotlib")
    report = RetrievalReport.from_predictions([[1]], [[1]], ["a"], ["a"], show_queries=["x\ud83d"])
    report.save(tmp_path / "report.html")
    assert r"x\ud83d" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_samples_are_the_nearest_rows(hasher, data):
    X, y = data
    report = RetrievalReport.from_estimator(hasher, X, y, n_samples=[3, 7], n_hits=6)
    assert list(report.samples) == ["image → learned codes", "text → learned codes"]
    for name, samples in zip(X.names, report.samples.values(), strict=True):
        queries = hasher.encode(X, modality=name)
        assert [sample.row for sample in samples] == [3, 7]
        for sample in samples:
            distances = (queries[sample.row] != hasher.codes_).sum(axis=1)
            expected = np.argsort(distances, kind="stable")[:6]
            np.testing.assert_array_equal(sample.hits, expected)
            np.testing.assert_array_equal(sample.distances, distances[expected])
            np.testing.assert_array_equal(sample.relevant, y[expected] == y[sample.row])
            alone = mean_average_precision(queries[[sample.row]], hasher.codes_, y[[sample.row]], y)
            assert sample.average_precision == pytest.approx(alone)


def test_a_row_is_no_hit_of_its_own(hasher, data):
    report = RetrievalReport.from_estimator(hasher, *data, gallery="validation", n_hits=79)
    for samples in report.samples.values():
        for sample in samples:
            assert sorted([*sample.hits, sample.row]) == list(range(80))


def test_samples_follow_the_seed(hasher, data):
    rows = [
        [
            s.row
            for s in RetrievalReport.from_estimator(hasher, *data, random_state=seed).samples[
                "image → learned codes"
            ]
        ]
        for seed in (0, 0, 1)
    ]
    assert rows[0] == rows[1] != rows[2] and len(rows[0]) == 5


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"k": None}, "'k' parameter"),
        ({"k": 0}, "'k' parameter"),
        ({"ties": "best"}, "'ties' parameter"),
        ({"n_samples": -1}, "'n_samples' parameter"),
        ({"n_samples": [True, False]}, "rows from 0 to"),
        ({"n_samples": [-1]}, "rows from 0 to"),
        ({"n_samples": [10**6]}, "rows from 0 to"),
    ],
)
def test_bad_options_are_refused(hasher, data, option, message):
    with pytest.raises(ValueError, match=message):
        RetrievalReport.from_estimator(hasher, *data, **option)


def test_names_of_modalities_in_the_figure(data):
    """Neither taken for formulas, nor hidden by matplotlib."""
    pytest.importorskip("matplotlib")
    X = MultimodalData(**{"_image": data[0]["image"], "a$\\frac$": data[0]["text"]})
    hasher = AAH(8, max_iter=2, random_state=0).fit(X, data[1])
    page = RetrievalReport.from_estimator(hasher, X, data[1])._repr_html_()
    svg = page[page.index("<svg") : page.index("</svg>")]
    assert svg.count("_image") == svg.count("a$\\frac$") == 2


def test_a_pipeline_is_looked_into(hasher, data):
    X, y = data
    pipe = make_pipeline(FunctionTransformer(), hasher).fit(X, y)
    assert repr(bit_report(pipe)) == repr(bit_report(pipe[-1].codes_, labels=y))
    report = RetrievalReport.from_estimator(pipe, X, y, show_queries=X)
    np.testing.assert_array_equal(report.show.query(3, "image"), [X["image"][3]])


def test_the_worst_queries(hasher, data):
    report = RetrievalReport.from_estimator(hasher, *data, which="worst", n_samples=80)
    for samples in report.samples.values():
        precisions = [sample.average_precision for sample in samples]
        assert len(precisions) == 80 and precisions == sorted(precisions)
    with pytest.raises(ValueError, match="'which' parameter"):
        RetrievalReport.from_estimator(hasher, *data, which="best")


@pytest.fixture(scope="module")
def shown(data):
    n = len(data[0])
    rng = np.random.RandomState(0)
    return {
        "image": rng.randint(0, 256, size=(n, 6, 6, 3), dtype=np.uint8),
        "text": pd.Series([f"<b>row</b> & {i}" for i in range(n)], index=np.arange(n)[::-1]),
    }


@pytest.fixture(scope="module")
def report(hasher, data, shown):
    pytest.importorskip("matplotlib")
    return RetrievalReport.from_estimator(
        *(hasher, *data),
        show_queries=shown,
        show_database=shown,
        target_names=["<ant>", "bee", "cat", "dog"],
        n_samples=[4],
        n_hits=3,
        title="A <title>",
    )


@pytest.fixture(scope="module")
def fragment(report):
    return report._repr_html_()


def test_the_page_stands_alone(report, tmp_path):
    report.save(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.links and all(link.startswith(("data:", "#")) for link in page.links)
    assert "<script" not in text and "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_the_page_shows_samples_and_marks(report, fragment):
    page = Page(fragment)
    samples = [sample for direction in report.samples.values() for sample in direction]
    marks = ["right" if right else "wrong" for sample in samples for right in sample.relevant]
    assert page.marks == marks
    # The image query without its caption, the text query without its picture; hits have both.
    assert fragment.count("<img") == 1 + 2 * 3
    text = " ".join(page.text)
    assert text.count("<b>row</b> & 4") >= 1
    assert "A <title>" in text and "d = " in text
    assert any("<ant>" in report.show.hit_labels(row) for row in range(80))


def test_nothing_of_the_user_s_is_markup(fragment):
    for markup in ["<b>row", "<title>", "<ant>"]:
        assert markup not in fragment


def test_the_figure_takes_the_colour_of_the_text(fragment):
    assert "currentColor" in fragment and "#010203" not in fragment
    assert re.search(r"<svg role=.img.", fragment)


def test_rows_without_pictures_have_numbers(hasher, data):
    pytest.importorskip("matplotlib")
    report = RetrievalReport.from_estimator(hasher, *data, query="text", n_samples=[9])
    assert "row 9" in report._repr_html_()


PICTURES = {
    "grey": np.full((3, 3), 0.5),
    "one channel": np.full((3, 3, 1), 128, np.uint8),
    "black and white": np.eye(3, dtype=bool),
    "colour": np.full((3, 3, 3), [255, 0, 153]),
    "transparent": np.ones((3, 3, 4)),
    "float colour": np.full((3, 3, 3), [255.0, 0.0, 153.0]),
}


def decoded(fragment):
    """The first picture of a page."""
    image = pytest.importorskip("matplotlib.image")
    data = re.search('src="data:image/png;base64,([^"]+)"', fragment).group(1)
    return image.imread(io.BytesIO(base64.b64decode(data)), format="png")


@pytest.mark.parametrize("kind", [*PICTURES, "palette"])
def test_pictures_in_any_form(kind):
    pytest.importorskip("matplotlib")
    if kind == "palette":
        picture = pytest.importorskip("PIL.Image").new("RGB", (3, 3), (255, 0, 153)).convert("P")
    else:
        picture = PICTURES[kind]
    report = RetrievalReport.from_predictions(
        [[1, -1]], [[1, 1], [-1, -1]], ["a"], ["b", "a"], show_queries=[picture]
    )
    pixels = decoded(report._repr_html_())
    assert pixels.shape[:2] == (3, 3)
    expected = {"grey": [0.5] * 3, "one channel": [0.5] * 3, "black and white": [1.0] * 3}
    expected |= {"transparent": [1.0] * 3}
    np.testing.assert_allclose(pixels[0, 0, :3], expected.get(kind, [1, 0, 0.6]), atol=0.01)


def test_long_texts_are_cut():
    pytest.importorskip("matplotlib")
    report = RetrievalReport.from_predictions(
        [[1, -1]], [[1, 1], [-1, -1]], [[0, 1]], [[1, 1], [0, 0]], show_queries=["x" * 1000]
    )
    fragment = report._repr_html_()
    assert "x" * 199 + "…" in fragment and "x" * 200 not in fragment
    assert "no label" in fragment


def test_rows_of_which_none_has_labels(hasher, data):
    nothing = np.zeros((2, 4), dtype=int)
    with pytest.warns(UserWarning, match="No query has a relevant row"):
        report = RetrievalReport.from_predictions([[1], [-1]], [[1], [-1]], nothing, nothing)
    assert np.isnan(report.metrics["retrieval"]["mAP"])


def test_a_query_without_a_relevant_row():
    pytest.importorskip("matplotlib")
    report = RetrievalReport.from_predictions(
        [[1, -1], [1, 1]], [[1, 1], [-1, -1]], ["z", "a"], ["b", "a"]
    )
    assert np.isnan(report.samples["retrieval"][0].average_precision)
    assert "nothing is relevant" in report._repr_html_()


def test_a_pipeline_is_reported_on(data):
    X, y = data
    pipe = make_pipeline(FunctionTransformer(), AAH(8, max_iter=2, random_state=0)).fit(X, y)
    assert RetrievalReport.from_estimator(pipe, X, y).metrics["text → learned codes"]["mAP"] > 0.3


def test_wrong_items(hasher, data):
    with pytest.raises(ValueError, match="show_queries has 3 items for 80 rows"):
        RetrievalReport.from_estimator(hasher, *data, show_queries=["a", "b", "c"])
    with pytest.raises(ValueError, match="target_names has 2 names for 4 classes"):
        RetrievalReport.from_estimator(hasher, *data, target_names=["a", "b"])
