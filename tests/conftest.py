"""Data that several test modules share."""

import os
from pathlib import Path
from types import SimpleNamespace

if "PYTEST_XDIST_WORKER" in os.environ:
    # Parallel workers take the cores; threads of each would only wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings

# The gate tries the same cases every time; everywhere else new ones are looked for.
# The long profile says of what it finds how to try it again.
settings.register_profile("ci", derandomize=True)
settings.register_profile("long", print_blob=True)
profile = os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default")
settings.load_profile(profile)


@pytest.fixture(scope="session")
def shared_data():
    """Folder of the real data: SKLEARN_CMH_TEST_DATA, or shared/data beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SKLEARN_CMH_TEST_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(
            f"no folder {folder}: set SKLEARN_CMH_TEST_DATA to the folder of wiki.npz and "
            "openmoji.npz to run the tests on real data"
        )
    return folder


def _load(folder, name):
    path = folder / name
    if not path.is_file():
        pytest.skip(f"{name} is not in the folder of the test data, {folder}")
    with np.load(path, allow_pickle=False) as arrays:
        data = SimpleNamespace(**arrays)
    data.classes = np.asarray(data.class_names)
    return data


@pytest.fixture(scope="session")
def wiki(shared_data):
    """Wikipedia pairs: image, text, labels (one-hot), train, test, classes."""
    return _load(shared_data, "wiki.npz")


@pytest.fixture(scope="session")
def openmoji_npz(shared_data):
    """Emoji pairs: image, text, labels (one-hot), train, test, classes, names, vocab, pixels."""
    return _load(shared_data, "openmoji.npz")


@pytest.fixture
def paired():
    """Two small dense blocks that share their classes: image, text, y, indicator, blocks."""
    rng = np.random.RandomState(0)
    n, n_classes = 120, 4
    y = rng.permutation(np.arange(n) % n_classes)
    image = 2.0 * rng.randn(n_classes, 6)[y] + rng.randn(n, 6)
    text = 2.0 * rng.randn(n_classes, 5)[y] + rng.randn(n, 5)
    indicator = np.eye(n_classes, dtype=int)[y]
    return SimpleNamespace(
        image=image,
        text=text,
        blocks={"image": image, "text": text},
        X=np.hstack([image, text]),
        columns={"image": slice(0, 6), "text": slice(6, 11)},
        y=y,
        indicator=indicator,
    )
