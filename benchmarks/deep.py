"""What the deep methods cost: seconds an epoch, encoding, and peak memory, by device.

    python benchmarks/deep.py

Under five minutes on two cores; needs no network, and no package beyond torch, scikit-learn, SciPy
and joblib. Every method runs in a process of its own, on the CPU and on a GPU where torch sees one.
The rows are random features with labels, and random pictures: what they teach does not matter here.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

N_ROWS = 4000
N_PICTURES = 256
EPOCHS = 3
VARIANTS = ("DSPAH on pictures", "DSPAH with pairs")


def make_hasher(method, device, n_epochs):
    from sklearn_cmh import deep

    options = {"device": device, "max_iter": n_epochs, "random_state": 0}
    name, _, variant = method.partition(" ")
    if name == "SCHGAN":
        # Both phases: pre-training, and the game.
        options["pretrain_iter"] = n_epochs // 2
    if variant == "on pictures":
        options["width"] = 16
    if variant == "with pairs":
        options["pair_weight"] = 0.1
    return getattr(deep, name)(64, **options)


def make_rows(method):
    from sklearn_cmh import MultimodalData

    rng = np.random.default_rng(0)
    n = N_PICTURES if method.endswith("pictures") else N_ROWS
    y = rng.integers(20, size=n)
    centres = rng.standard_normal((20, 1500)).astype(np.float32)
    X = centres[y] + rng.standard_normal((n, 1500), dtype=np.float32)
    image = X[:, :500]
    if method.endswith("pictures"):
        image = rng.integers(256, size=(n, 64, 64, 3), dtype=np.uint8)
    return MultimodalData(image=image, text=X[:, 500:]), y


def measure(method, device):
    """Figures of one method on one device, as a dict."""
    import torch

    warnings.simplefilter("ignore")
    X, y = make_rows(method)
    on_gpu = device != "cpu"
    make_hasher(method, device, 1).fit(X[:64], y[:64])
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    seconds = {}
    for n_epochs in (1, EPOCHS + 1):
        start = time.perf_counter()
        hasher = make_hasher(method, device, n_epochs).fit(X, y)
        seconds[n_epochs] = time.perf_counter() - start
    start = time.perf_counter()
    hasher.encode(X["text"], modality="text")
    encoding = time.perf_counter() - start
    return {
        "epoch": (seconds[EPOCHS + 1] - seconds[1]) / EPOCHS,
        "encode": len(X) / encoding,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
        "gpu_memory": torch.cuda.max_memory_allocated() / 2**20 if on_gpu else None,
    }


def main():
    import torch

    import sklearn_cmh
    from sklearn_cmh.utils.discovery import all_estimators

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "DEVICE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*arguments.one)))
        return
    devices = ["cpu"] + ["cuda"] * torch.cuda.is_available()
    cards = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    print(
        f"sklearn-cmh {sklearn_cmh.__version__}, torch {torch.__version__}, {platform.machine()}, "
        f"{os.cpu_count()} cores, {torch.get_num_threads()} threads{cards}"
    )
    print(f"{N_ROWS} rows of 500 + 1,000 columns, or {N_PICTURES} pictures of 64 x 64; 64 bits\n")
    print(f"{'method':<20}{'device':<8}{'s/epoch':>9}{'encoded/s':>11}{'MiB':>7}{'GPU MiB':>9}")
    names = [name for name, _ in all_estimators(kind="deep")]
    for method in [*names, *VARIANTS]:
        for device in devices:
            command = [sys.executable, __file__, "--one", method, device]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                print(f"{method:<20}{device:<8}failed: {run.stderr.strip().splitlines()[-1]}")
                continue
            found = json.loads(run.stdout.splitlines()[-1])
            gpu = "" if found["gpu_memory"] is None else f"{found['gpu_memory']:.0f}"
            print(
                f"{method:<20}{device:<8}{found['epoch']:>9.2f}{found['encode']:>11,.0f}"
                f"{found['memory']:>7.0f}{gpu:>9}",
                flush=True,
            )


if __name__ == "__main__":
    main()
