"""A long run: fits, saves, loads, ranks, appends and scores at random, and what is left behind.

    python benchmarks/soak.py --minutes 20

Memory, threads and open files are counted after every hundred steps. The run fails if, from its
first quarter to its end, memory grows by more than `--limit` MiB, if threads or open files become
more, or if what the first steps gave is not what they give at the end.
"""

import argparse
import gc
import hashlib
import pickle
import platform
import sys
import tempfile
import time
import warnings
from pathlib import Path

import joblib
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sklearn_cmh import HammingRanker, MultimodalData, TwoStageRanker, __version__
from sklearn_cmh.metrics import make_retrieval_scorer, mean_average_precision
from sklearn_cmh.utils.discovery import all_estimators

SMALL = {"n_anchors": 30, "max_iter": 3, "n_restarts": 1, "pool_bits": 16, "n_perturbations": 1}
SMALL |= {"widths": (1.0,), "ridges": (0.1, 1.0), "preprocessing": ("raw",)}
REPEATED = 25  # steps that are done again at the end


def rows(rng, n):
    """Paired rows with labels."""
    y = rng.integers(0, 5, n)
    blocks = [rng.standard_normal((5, 12))[y] + rng.standard_normal((n, 12)) for _ in range(2)]
    return MultimodalData(image=blocks[0], text=blocks[1]), y


def fitted(rng, X, y):
    """A hasher of any shallow kind."""
    kinds = [kind for kind in ("shallow", "refined", "baseline")]
    found = [cls for kind in kinds for _, cls in all_estimators(kind=kind)]
    cls = found[rng.integers(len(found))]
    known = cls().get_params(deep=False)
    params = {name: value for name, value in SMALL.items() if name in known}
    bits = int(rng.choice([4, 8, 12]))
    return cls(n_bits=bits, random_state=int(rng.integers(100)), **params).fit(X, y)


def saved_and_loaded(rng, model, folder):
    """The model, by way of a file or not."""
    path = Path(folder, "model")
    way = rng.integers(3)
    if way == 0:
        return pickle.loads(pickle.dumps(model))
    joblib.dump(model, path, compress=int(way) - 1)
    return joblib.load(path)


def step(seed, folder):
    """One user's short day, and a digest of all that came of it."""
    rng = np.random.default_rng(seed)
    X, y = rows(rng, int(rng.integers(40, 200)))
    model = saved_and_loaded(rng, fitted(rng, X, y), folder)
    queries = model.encode(X["image"], modality="image")
    ranker = HammingRanker(n_neighbors=5, multi_index=bool(rng.integers(2)))
    for part in np.array_split(np.arange(len(X)), int(rng.integers(1, 4))):
        ranker.partial_fit(model.codes_[part], y[part])
    two_stage = TwoStageRanker(n_neighbors=5).fit(model.codes_, y)
    said = [
        *ranker.kneighbors(queries),
        *two_stage.kneighbors(model.project(X)),
        model.score(X, y),
        ranker.score(queries, y),
        mean_average_precision(queries, model.codes_, y, y, k=10),
        make_retrieval_scorer("map", gallery="validation")(model, X, y),
    ]
    digest = hashlib.sha256()
    for value in [model.codes_, queries, *said]:
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def held():
    """MiB of memory, threads and open files of this process."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    memory = int(fields["VmRSS"].split()[0]) / 2**10
    return memory, int(fields["Threads"]), len(list(Path("/proc/self/fd").iterdir()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--limit", type=float, default=10.0, help="MiB of growth")
    parser.add_argument("--every", type=int, default=100, help="steps between two counts")
    arguments = parser.parse_args()
    if not Path("/proc/self/status").exists():
        sys.exit("needs /proc, as Linux has it")
    warnings.simplefilter("ignore")
    print(f"sklearn-cmh {__version__}, Python {platform.python_version()}, {platform.machine()}")
    print(f"{'minutes':>8}{'steps':>8}{'MiB':>8}{'threads':>9}{'files':>7}", flush=True)
    start, n, counts = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory() as folder:
        first = [step(seed, folder) for seed in range(REPEATED)]
        while (minutes := (time.monotonic() - start) / 60) < arguments.minutes or n == 0:
            for seed in range(n, n + arguments.every):
                step(REPEATED + seed, folder)
            n += arguments.every
            minutes = (time.monotonic() - start) / 60
            counts.append((minutes, *held()))
            print("{:8.1f}{:8d}{:8.1f}{:9d}{:7d}".format(minutes, n, *counts[-1][1:]), flush=True)
        last = [step(seed, folder) for seed in range(REPEATED)]
    quarter = next(c for c in counts if c[0] >= counts[-1][0] / 4)
    growth, threads, files = (b - a for a, b in zip(quarter[1:], counts[-1][1:], strict=True))
    print(f"from the first quarter on: {growth:+.1f} MiB, {threads:+d} threads, {files:+d} files")
    print(f"the first {REPEATED} steps again: {'the same' if first == last else 'others'}")
    if growth > arguments.limit or threads > 0 or files > 0 or first != last:
        sys.exit("failed")


if __name__ == "__main__":
    main()
