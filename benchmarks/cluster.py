"""Fits on Dask arrays by the workers of a cluster, beside fits of the same rows in memory.

    python benchmarks/cluster.py                                   # 184,577 rows, two workers
    python benchmarks/cluster.py --methods RefinedHasher --rows 1000000 --alone 0

Data as of `fit.py`, of 500 and 1,000 columns, lie in files, of which workers read chunks of
16,384 rows. Every fit runs in a process of its own, and so does every worker, with one thread each.
"0 workers" is the fit in memory, by as many threads as there are workers else. Seconds are by
the clock. Memory is the most that the process that calls `fit` held ("here"), and the most of a
worker, all libraries included; what is read of a file counts twice for a moment, as pages of the
file. "equal" is the share of bits that are those of the fit in memory.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from fit import THREADS, make_data, make_method, peak_gigabytes, split

CHUNK = 16384


def write_data(folder, rows):
    """Files of the blocks and the labels."""
    blocks, Y = make_data(rows, 2, "float32")
    for name, block in {**blocks, "labels": Y}.items():
        np.save(Path(folder) / f"{name}.npy", block)


def read(path, start, stop):
    """Some rows of a file."""
    return np.array(np.load(path, mmap_mode="r")[start:stop])


def in_chunks(path):
    """A file as an array of Dask."""
    import dask
    import dask.array as da

    n, columns = np.load(path, mmap_mode="r").shape
    starts = range(0, n, CHUNK)
    return da.concatenate(
        [
            da.from_delayed(
                dask.delayed(read)(path, start, min(start + CHUNK, n)),
                (min(CHUNK, n - start), columns),
                np.float32,
            )
            for start in starts
        ]
    )


def fit(folder, method, bits, anchors, workers):
    """Fit in memory, or by a cluster; figures, and a file of codes."""
    from sklearn_cmh import MultimodalData

    warnings.simplefilter("ignore")
    folder = Path(folder)
    Y = np.load(folder / "labels.npy")
    whole = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("m0", "m1")}
    hasher = make_method(method, bits, anchors, whole)
    memory = None
    if workers == 0:
        X = MultimodalData(**{name: np.load(folder / f"{name}.npy") for name in whole})
        start = time.perf_counter()
        hasher.fit(X, Y)
        seconds = time.perf_counter() - start
    else:
        from distributed import Client, LocalCluster

        options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
        options["silence_logs"] = logging.CRITICAL  # of connections that end with the cluster
        with LocalCluster(**options, local_directory=str(folder)) as cluster:
            with Client(cluster) as client:
                X = MultimodalData(**{name: in_chunks(folder / f"{name}.npy") for name in whole})
                start = time.perf_counter()
                hasher.fit(X, Y)
                seconds = time.perf_counter() - start
                memory = max(client.run(peak_gigabytes).values())
    np.save(folder / f"codes-{workers}.npy", hasher.codes_)
    return {"seconds": seconds, "here": peak_gigabytes(), "worker": memory}


def run(function, threads, **settings):
    """Call a function of this file in a process of its own, which shares no memory with others."""
    command = [sys.executable, __file__, "--call", json.dumps([function.__name__, settings])]
    environment = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", type=split(str), default="AAH,ASCMH,DSAH,RefinedHasher")
    parser.add_argument("--rows", type=int, default=184577)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--anchors", type=int, default=0, help="0: as many as columns")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--alone", type=int, default=1, help="0: no fit in memory")
    parser.add_argument("--call", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.call:
        function, settings = arguments.call
        print(json.dumps({"write_data": write_data, "fit": fit}[function](**settings)))
        return
    with tempfile.TemporaryDirectory() as folder:
        run(write_data, 1, folder=folder, rows=arguments.rows)
        common = {"folder": folder, "bits": arguments.bits, "anchors": arguments.anchors}
        for method in arguments.methods:
            for workers in [0, arguments.workers][1 - arguments.alone :]:
                threads = 1 if workers else arguments.workers
                found = run(fit, threads, **common, method=method, workers=workers)
                line = f"{method:14} {arguments.rows:8} rows, {workers} workers: "
                line += f"{found['seconds']:6.1f} s, {found['here']:.2f} GB here"
                if workers:
                    line += f", {found['worker']:.2f} GB a worker"
                    if arguments.alone:
                        codes = [np.load(Path(folder) / f"codes-{w}.npy") for w in (0, workers)]
                        line += f", {np.mean(codes[0] == codes[1]):.5f} equal"
                print(line, flush=True)


if __name__ == "__main__":
    main()
