"""Saved models: bit for bit, compact, and clear about versions."""

import copy
import pickle
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sklearn_cmh import AAH, ASCMH, DSAH, HammingRanker, MultimodalData, RefinedHasher, __version__
from sklearn_cmh.datasets import make_multimodal_classification
from sklearn_cmh.persistence import TRUSTED_TYPES
from sklearn_cmh.utils._state import FORMAT

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
DATA = Path(__file__).parent / "data"

WORDS = np.array(["cat", "dog", "bus", "sea"])


@pytest.fixture(scope="module")
def data():
    return make_multimodal_classification(80, random_state=0, sparse_modalities=["text"])


@pytest.fixture(scope="module")
def table(data):
    X, y = data
    frame = pd.DataFrame(X["image"]).add_prefix("image__")
    frame["caption"] = [f"a {word} row {i}" for i, word in enumerate(WORDS[y])]
    return frame


@pytest.fixture(scope="module")
def models(data, table):
    """Fitted models and what to ask them: {name: (model, X)}."""
    X, y = data
    triples = [
        ("image", StandardScaler(), list(table.columns[:-1])),
        ("text", TfidfVectorizer(), "caption"),
    ]
    dsah = DSAH(12, n_anchors=20, max_iter=2, n_perturbations=1, random_state=0)
    refined = RefinedHasher(
        clone(dsah), 8, widths=[1.0], ridges=[0.1, 1.0], n_anchors=20, n_restarts=1, random_state=0
    )
    return {
        "refined": (refined.fit(X, y), X),
        "dsah": (clone(dsah).fit(X, WORDS[y]), X),
        "aah": (AAH(12, max_iter=2, random_state=np.random.RandomState(0)).fit(X, y), X),
        "ascmh": (ASCMH(12, n_anchors=20, max_iter=2, random_state=0).fit(X, y), X),
        "estimators": (
            ASCMH(4, n_anchors=20, hash_estimator=LogisticRegression(), random_state=0).fit(X, y),
            X,
        ),
        "preprocessed": (clone(dsah).set_params(modalities=triples).fit(table, y), table),
        "encoder": (clone(dsah).fit(X, y).encoder("text"), X),
    }


SCRIPT = """
import sys, joblib, numpy as np
folder = sys.argv[1]
queries = joblib.load(f"{folder}/queries.joblib")
codes = {}
for name, X in queries.items():
    for kind in ["joblib", "pickle"]:
        codes[f"{name}_{kind}"] = joblib.load(f"{folder}/{name}.{kind}").transform(X)
np.savez(f"{folder}/codes.npz", **codes)
"""


def test_another_process_encodes_bit_for_bit(models, tmp_path):
    joblib.dump({name: X for name, (_, X) in models.items()}, tmp_path / "queries.joblib")
    for name, (model, _) in models.items():
        joblib.dump(model, tmp_path / f"{name}.joblib")
        (tmp_path / f"{name}.pickle").write_bytes(pickle.dumps(model))
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], check=True)
    with np.load(tmp_path / "codes.npz") as codes:
        for name, (model, X) in models.items():
            for kind in ["joblib", "pickle"]:
                np.testing.assert_array_equal(codes[f"{name}_{kind}"], model.transform(X))


def test_memory_mapped(models, tmp_path):
    model, X = models["dsah"]
    joblib.dump(model, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert isinstance(mapped.codes_, np.memmap)
    np.testing.assert_array_equal(mapped.transform(X), model.transform(X))


def test_saving_changes_nothing(models):
    model, _ = models["dsah"]
    before = set(vars(model))
    copied = copy.deepcopy(model)
    assert set(vars(model)) == set(vars(copied)) == before


def test_a_model_is_small(tmp_path):
    rng = np.random.RandomState(0)
    y = rng.randint(5, size=5000)
    blocks = {name: rng.rand(5000, 500).astype(np.float32) for name in ["image", "text"]}
    model = DSAH(64, n_anchors=200, max_iter=1, n_perturbations=0, random_state=0)
    model.fit(MultimodalData(**blocks), y)
    joblib.dump(model, tmp_path / "model.joblib")
    # Anchors take 0.8 MB, projections 0.1, codes 0.32, labels 0.05; features would take 20.
    assert (tmp_path / "model.joblib").stat().st_size < 1.5e6


# skops.


def test_skops_trusts_the_documented_types_and_no_others(models):
    skops = pytest.importorskip("skops.io")
    ranker = HammingRanker().fit(models["dsah"][0].codes_)
    saved = [skops.dumps(model) for model, _ in models.values()] + [skops.dumps(ranker)]
    needed = set().union(*(skops.get_untrusted_types(data=file) for file in saved))
    assert needed <= set(TRUSTED_TYPES)
    for file, (model, queries) in zip(saved, models.values(), strict=False):
        loaded = skops.loads(file, trusted=TRUSTED_TYPES)
        np.testing.assert_array_equal(loaded.transform(queries), model.transform(queries))
    loaded = skops.loads(saved[-1], trusted=TRUSTED_TYPES)
    np.testing.assert_array_equal(
        loaded.kneighbors(return_distance=False), ranker.kneighbors(return_distance=False)
    )


@pytest.mark.parametrize("name", TRUSTED_TYPES)
def test_trusted_types_exist(name):
    module, _, member = name.rpartition(".")
    assert callable(getattr(import_module(module), member))


# Versions.


def restamped(model, **stamps):
    """The model as another version would have saved it."""
    state = {**model.__getstate__(), **stamps}
    return type(model).__new__(type(model)), state


@pytest.mark.parametrize("version", ["0.0.9", "0.9.0"])
def test_another_version_with_the_same_format_loads(models, version):
    model, X = models["dsah"]
    other, state = restamped(model, _sklearn_cmh_version=version)
    del state["gamma"]  # as if that parameter were new
    other.__setstate__(state)
    assert other.gamma == DSAH().gamma
    np.testing.assert_array_equal(other.transform(X), model.transform(X))


@pytest.mark.parametrize(
    ("version", "step", "cure"),
    [
        ("0.0.1", -1, "load it with the version that saved it, or fit it again"),
        ("9.1.0", 1, r'upgrade, pip install "sklearn-cmh>=9\.1\.0"'),
    ],
)
def test_another_format_says_why_not(models, version, step, cure):
    model, _ = models["dsah"]
    other, state = restamped(model, _sklearn_cmh_version=version, _sklearn_cmh_format=FORMAT + step)
    seen = f"DSAH was saved by sklearn-cmh {version}.*sklearn-cmh {__version__} reads.*{cure}"
    with pytest.raises(ValueError, match=seen):
        other.__setstate__(state)


@pytest.mark.parametrize("file", sorted(DATA.glob("*.joblib")), ids=lambda file: file.stem)
def test_models_of_released_versions_encode_as_they_did(file):
    """Written by tests/data/make_models.py; a new file is added when `FORMAT` rises."""
    model = joblib.load(file)
    assert clone(model).get_params() == model.get_params()
    with np.load(file.with_suffix(".npz")) as expected:
        np.testing.assert_array_equal(model.codes_, expected["codes"])
        for name in model.modality_names_:
            codes = model.encode(expected[name], modality=name)
            np.testing.assert_array_equal(codes, expected[f"{name}_codes"])
        fused = MultimodalData(**{name: expected[name] for name in model.modality_names_})
        np.testing.assert_array_equal(model.transform(fused), expected["fused"])
        assert model.score(fused, expected["y"]) == pytest.approx(float(expected["score"]))


def test_a_model_of_this_format_is_there():
    assert list(DATA.glob("*.joblib"))
