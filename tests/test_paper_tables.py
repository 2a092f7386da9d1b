"""The benchmark of the papers' tables: every cell once, whole rows only."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from sklearn_cmh import RefinedHasher
from sklearn_cmh.utils.discovery import all_estimators

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def paper_tables(monkeypatch):
    if not (BENCHMARKS / "paper_tables.py").is_file():
        pytest.skip("the benchmarks are not part of this installation")
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import paper_tables

    yield paper_tables
    sys.modules.pop("paper_tables", None)


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


def test_cells_are_run_once(paper_tables, npz, tmp_path, capsys):
    arguments = ["--data", str(npz), "--bits", "8", "--seeds", "1", "--output", str(tmp_path)]
    paper_tables.main([*arguments, "--methods", "AAH"])
    first = capsys.readouterr().out
    assert "1 cells, 0 of them done already" in first
    paper_tables.main([*arguments, "--methods", "AAH,BATCH"])
    second = capsys.readouterr().out
    assert "2 cells, 1 of them done already" in second and "[1/1]" in second
    with open(tmp_path / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["AAH", "BATCH"]
    for row in rows:
        scores = [float(row[column]) for column in paper_tables.SCORES]
        assert min(scores) > 0.5 and float(row["peak_mb"]) > 50
    assert (tmp_path / "map.png").is_file()
    assert "| 8 | BATCH |" in (tmp_path / "table.md").read_text()


def test_published_figures(paper_tables):
    assert paper_tables.published("wiki", "ASCMH", 64) == "0.391 / 0.759"
    assert paper_tables.published("mirflickr25k", "DSAH", 16) == "0.724 / 0.778"
    assert paper_tables.published("openmoji", "DSAH", 16) == ""
    assert paper_tables.published("wiki", "AAH", 24) == ""
    assert paper_tables.published("wiki", "AAH-na", 16) == "0.245 / 0.565"
    assert paper_tables.published("wiki", "AAH-na", 32) == ""
    assert paper_tables.published("nuswide", "DSAH-refined", 64) == "0.667 / 0.783"
    for figures in paper_tables.PUBLISHED.values():
        assert set(figures) <= set(paper_tables.METHODS)


def test_every_method_is_in_the_table(paper_tables):
    for kind in ("shallow", "deep"):
        for name, cls in all_estimators(kind=kind):
            made = paper_tables.make(name, "wiki", 24, 1)
            assert type(made) is cls and made.n_bits == 24 and made.random_state == 1
            assert (f"{name}-refined" in paper_tables.METHODS) == (kind == "shallow")
    refined = paper_tables.make("AAH-refined", "openmoji", 24, 1)
    assert isinstance(refined, RefinedHasher) and refined.estimator.theta == 10
    assert not paper_tables.make("AAH-na", "wiki", 24, 1).averaging
    assert paper_tables.make("DSAH-alm", "wiki", 24, 1).feature_map["text"].n_anchors == 1000
    assert set(paper_tables.parse([]).methods) <= set(paper_tables.METHODS)


def test_unknown_method(paper_tables, capsys):
    with pytest.raises(SystemExit):
        paper_tables.main(["--methods", "XYZ"])
    assert "unknown methods ['XYZ']" in capsys.readouterr().err
