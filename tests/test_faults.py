"""Faults around the code: interruptions, full disks, damaged files, crowds of threads.

What takes minutes is in the long form only, `nox -s faults`.
"""

import multiprocessing
import os
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pytest
import strategies as own
from interrupted_fits import rows, small
from joblib.externals.loky.process_executor import TerminatedWorkerError
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import GridSearchCV

from sklearn_cmh import AAH, DSAH, HammingRanker, RefinedHasher
from sklearn_cmh.datasets._files import keep_file
from sklearn_cmh.persistence import TRUSTED_TYPES

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
HERE = Path(__file__).parent
long_form = pytest.mark.skipif(not own.LONG, reason="in the long form: nox -s faults")


@pytest.fixture(scope="module")
def fitted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return small(DSAH).fit(*rows(0))


# --- Interruptions -------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="no timers that raise signals")
def test_fits_interrupted_at_random_moments():
    arguments = ["40"] if own.LONG else ["5", "DSAH", "SharedSpace"]
    done = subprocess.run(
        [sys.executable, str(HERE / "interrupted_fits.py"), *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


class Killer(TransformerMixin, BaseEstimator):
    """A transformer that ends its process, as the system does where memory is short."""

    def __init__(self, kills=True):
        self.kills = kills

    def fit(self, X, y=None):
        if self.kills:
            os._exit(1)
        return self

    def transform(self, X):
        return X


@long_form
def test_killed_workers_are_an_error_and_not_a_wait():
    X, y = rows(0)
    modalities = [("image", Killer(), None), ("text", None, None)]
    search = GridSearchCV(AAH(4, modalities=modalities), {"theta": [1, 10]}, cv=2, n_jobs=2)
    with pytest.raises(TerminatedWorkerError):
        search.fit(X, y)
    search.set_params(estimator__image__kills=False).fit(X, y)
    assert search.best_score_ > 0


# --- Files ---------------------------------------------------------------------------------------


def save(model, path):
    """By joblib, or by pickle."""
    if path.suffix == ".joblib":
        joblib.dump(model, path)
    else:
        path.write_bytes(pickle.dumps(model))


def load(path):
    return joblib.load(path) if path.suffix == ".joblib" else pickle.loads(path.read_bytes())


@pytest.mark.parametrize("name", ["model.joblib", "model.pickle"])
def test_a_file_that_is_cut_short_does_not_load(fitted, tmp_path, name):
    whole = tmp_path / name
    save(fitted, whole)
    content = whole.read_bytes()
    np.testing.assert_array_equal(load(whole).codes_, fitted.codes_)
    rng = np.random.default_rng(0)
    for n_bytes in [0, len(content) - 1, *rng.integers(len(content), size=own.examples(20))]:
        cut = tmp_path / f"cut_{name}"
        cut.write_bytes(content[:n_bytes])
        with pytest.raises((EOFError, ValueError, KeyError, pickle.UnpicklingError)):
            load(cut)


def test_skops_notices_every_flipped_bit(fitted, tmp_path):
    """It says so, or what was hit is nothing that is read."""
    skops = pytest.importorskip("skops.io")
    X, _ = rows(0)
    content = skops.dumps(fitted)
    expected = fitted.transform(X)
    rng = np.random.default_rng(0)
    noticed = 0
    for place in rng.integers(8 * len(content), size=own.examples(10)):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        try:
            model = skops.loads(bytes(damaged), trusted=TRUSTED_TYPES)
        except Exception:  # of zipfile, json, skops: any of them is a notice
            noticed += 1
        else:
            np.testing.assert_array_equal(model.transform(X), expected)
    assert noticed > 0


def test_a_model_survives_a_full_disk(tmp_path):
    """It cannot be saved, says so, answers as before, and can be saved once there is room."""
    pytest.importorskip("resource")
    code = """
import resource, signal, sys, warnings
import joblib, numpy as np
from interrupted_fits import rows, small
from sklearn_cmh import DSAH
warnings.simplefilter("ignore")
X, y = rows(0)
model = small(DSAH).fit(X, y)
expected = model.transform(X)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, unlimited[1]))
try:
    joblib.dump(model, sys.argv[1])
except OSError:
    pass
else:
    raise AssertionError("nothing was said")
assert np.array_equal(model.transform(X), expected)
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
joblib.dump(model, sys.argv[1])
assert np.array_equal(joblib.load(sys.argv[1]).transform(X), expected)
"""
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.joblib")],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
    )


def test_many_write_one_file_and_readers_see_it_whole(tmp_path):
    path = tmp_path / "data"
    keep_file(path, lambda file: file.write(bytes([0]) * 10_000))

    def write_and_read(i):
        keep_file(path, lambda file: [file.write(bytes([i])) for _ in range(10_000)])
        return path.read_bytes()

    with ThreadPoolExecutor(8) as pool:
        for content in pool.map(write_and_read, range(40)):
            assert len(content) == 10_000 and len(set(content)) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["data"]


KERNELS = """
import sys, warnings
import numpy as np
from sklearn_cmh import HammingRanker
warnings.simplefilter("error")
rng = np.random.default_rng(0)
codes = np.where(rng.random((500, 64)) < 0.5, -1, 1)
found = [
    HammingRanker(5, backend=backend).fit(codes).kneighbors(codes, return_distance=False)
    for backend in ("numba", "numpy")
]
assert np.array_equal(*found)
"""


@long_form
def test_first_use_of_the_kernels_by_several_processes_and_from_a_damaged_cache(tmp_path):
    pytest.importorskip("numba")
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    crowd = [subprocess.Popen([sys.executable, "-c", KERNELS], env=env) for _ in range(3)]
    assert [process.wait() for process in crowd] == [0, 0, 0]
    files = [path for path in tmp_path.rglob("*.nb?") if path.is_file()]
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = subprocess.run(
        [sys.executable, "-c", KERNELS.replace('simplefilter("error")', 'simplefilter("ignore")')],
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


# --- Crowds --------------------------------------------------------------------------------------


def answers(model, X):
    """Everything that a fitted hasher says."""
    y = rows(0)[1]
    ranker = HammingRanker(3).fit(model.codes_)
    return [
        model.transform(X),
        model.project(X),
        *[model.encode(X[name], modality=name) for name in X.names],
        np.array(model.score(X, y)),
        ranker.kneighbors(model.transform(X), return_distance=False),
    ]


def assert_equal(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("cls", [AAH, DSAH, RefinedHasher], ids=lambda cls: cls.__name__)
def test_one_model_answers_many_threads(cls):
    X, y = rows(0)
    model = small(cls).fit(X, y)
    expected = answers(model, X)
    before = set(vars(model))
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: answers(model, X), range(10)):
            assert_equal(found, expected)
    assert set(vars(model)) == before


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_one_model_answers_in_other_processes(fitted, method):
    if method == "forkserver":
        pytest.skip("to a model it is spawn")
    X, _ = rows(0)
    expected = answers(fitted, X)  # BLAS and its threads are at work before the fork
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert_equal(pool.submit(answers, fitted, X).result(), expected)
