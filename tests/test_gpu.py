"""What only a GPU can show. Skipped without CUDA; run it where there is one:

pytest tests/test_gpu.py -v
"""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn.base import clone

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from sklearn_cmh import MultimodalData  # noqa: E402
from sklearn_cmh.deep import DCMH, DSPAH, SCHGAN, SSAH  # noqa: E402

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    # Operations without a deterministic implementation on CUDA are named by torch.
    pytest.mark.filterwarnings("ignore:.*deterministic"),
]

TINY = {"n_bits": 16, "hidden": (64,), "learning_rate": 5e-3, "random_state": 0}
HASHERS = [DSPAH(**TINY), SCHGAN(**TINY), DCMH(**TINY), SSAH(**TINY, n_semantic=32)]


@pytest.fixture(params=HASHERS, ids=lambda hasher: type(hasher).__name__)
def hasher(request):
    return clone(request.param)


@pytest.fixture
def X(paired):
    return MultimodalData(**paired.blocks)


@pytest.mark.parametrize("mixed_precision", [True, False])
def test_learns_on_the_gpu_what_the_cpu_learns(hasher, X, paired, mixed_precision):
    scores = {
        device: clone(hasher)
        .set_params(device=device, mixed_precision=mixed_precision)
        .fit(X[:80], paired.y[:80])
        .score(X[80:], paired.y[80:])
        for device in ("cuda", "cpu")
    }
    assert scores["cuda"] == pytest.approx(scores["cpu"], abs=0.15)


def test_auto_takes_the_gpu(hasher, X, paired):
    hasher.set_params(max_iter=2).fit(X, paired.y)
    assert all(next(network.parameters()).is_cuda for network in hasher._networks.values())


def test_same_seed_same_codes(hasher, X, paired):
    first, second = (clone(hasher).fit(X, paired.y) for _ in range(2))
    assert (first.codes_ == second.codes_).mean() > 0.95


def test_state_of_the_caller_is_left_alone(hasher, X, paired):
    torch.manual_seed(0)
    expected = torch.rand(2, device="cuda")
    torch.manual_seed(0)
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    hasher.set_params(max_iter=2).fit(X, paired.y)
    assert before == (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
    )
    torch.testing.assert_close(torch.rand(2, device="cuda"), expected)


def test_a_model_from_the_gpu_works_without_one(hasher, X, paired, tmp_path):
    hasher.fit(X, paired.y)
    np.savez(tmp_path / "rows.npz", codes=hasher.codes_, **paired.blocks)
    (tmp_path / "hasher.pickle").write_bytes(pickle.dumps(hasher))
    code = f"""
import os, pickle
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import numpy as np, torch
from sklearn_cmh import MultimodalData
assert not torch.cuda.is_available()
rows = np.load(r"{tmp_path / "rows.npz"}")
hasher = pickle.load(open(r"{tmp_path / "hasher.pickle"}", "rb"))
codes = hasher.transform(MultimodalData(image=rows["image"], text=rows["text"]))
assert (codes == rows["codes"]).mean() > 0.99
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_warm_start_and_partial_fit(hasher, X, paired):
    hasher.set_params(warm_start=True, max_iter=3).fit(X, paired.y).fit(X, paired.y)
    assert hasher.partial_fit(X, paired.y).n_iter_ == 7


def test_pictures():
    rng = np.random.RandomState(0)
    y = np.arange(64) % 2
    image = (rng.randint(0, 100, (64, 64, 64, 3)) + 120 * y[:, None, None, None]).astype(np.uint8)
    X = MultimodalData(image=image, text=np.eye(2)[y] + 0.1 * rng.rand(64, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hasher = DSPAH(16, width=16, augment=True, max_iter=10, random_state=0).fit(X, y)
    assert hasher.score(X, y) > 0.9
