"""The annotations of the public names, as a user's type checker sees them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy is not installed")

# The package is found beside the tests, installed or not.
ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = os.environ | {"MYPYPATH": str(ROOT)}

PROGRAM = """\
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sklearn_cmh import DSAH, AnchorRBF, HammingRanker, MultimodalData, RefinedHasher
from sklearn_cmh.datasets import make_multimodal_classification
from sklearn_cmh.metrics import make_retrieval_scorer, mean_average_precision
from sklearn_cmh.shallow import AAH, ASCMH


def search(
    X: MultimodalData, y: NDArray[np.int_], words: NDArray[np.float64]
) -> tuple[NDArray[np.int8], list[int]]:
    hasher = DSAH(n_bits=32, feature_map=AnchorRBF(n_anchors=50), random_state=0).fit(X, y)
    ranker = HammingRanker(n_neighbors=5).fit(hasher.codes_)
    codes = hasher.encode(words, modality="text")
    distances, rows = ranker.kneighbors(codes)
    return codes, [int(row) for row in rows[0]]


X, y = make_multimodal_classification(n_samples=100, random_state=0)
train, test = X[:80], X[80:]
codes, hits = search(train, y[:80], test["text"])
refined = RefinedHasher(DSAH(16), n_restarts=2).fit(train, y[:80])
score: float = refined.score(test, y[80:])
methods: list[AAH | ASCMH] = [AAH(16), ASCMH(16)]
fused = [method.fit(train, y[:80]).transform(test) for method in methods]
value: float = mean_average_precision(codes, codes, y[80:], y[80:], k=10)
scorer = make_retrieval_scorer("map", gallery="validation")
print(score, value, float(scorer(methods[0], test, y[80:])), hits, len(fused))
Path("hits.txt").write_text(str(hits))
"""
FAULTS = {
    'DSAH(n_bits="many")': "arg-type",
    "HammingRanker(n_neighbours=5)": "call-arg",
    "AAH(16).fit(X, y).encode(X, 'text')": "call-arg",
    "MultimodalData(image=X['image']).colour": "attr-defined",
    "mean_average_precision(codes, codes, y)": "call-arg",
}


def check(program, folder):
    """(exit status, report) of mypy --strict on a program."""
    path = folder / "program.py"
    path.write_text(program, encoding="utf-8")
    # Of scikit-learn and SciPy, which ship no types, a program's author sees as little.
    command = [sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports", "--no-pretty"]
    # A user has the package installed, and so no reports on its inside.
    inside = ["--follow-imports", "silent", "--cache-dir", str(folder / "cache")]
    done = subprocess.run(
        [*command, *inside, "--config-file", "", str(path)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=ENVIRONMENT,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_typed_program_passes_and_its_faults_are_found(tmp_path):
    status, report = check(PROGRAM, tmp_path)
    assert status == 0, report
    lines = {
        PROGRAM.count("\n") + i: (fault, code)
        for i, (fault, code) in enumerate(FAULTS.items(), start=1)
    }
    status, report = check(PROGRAM + "\n".join(FAULTS) + "\n", tmp_path)
    assert status == 1
    for line, (fault, code) in lines.items():
        found = [r for r in report.splitlines() if r.startswith(f"program.py:{line}:")]
        assert any(f"[{code}]" in r for r in found), f"{fault}: {report}"
