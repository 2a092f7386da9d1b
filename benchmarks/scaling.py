"""Time and memory of a fit against the number of rows.

    python benchmarks/scaling.py                       # AAH, ASCMH and DSAH, 10,000 rows and more
    python benchmarks/scaling.py --rows 184577 --methods AAH,ASCMH

Synthetic float32 data of the shape of NUS-WIDE: 500 and 1,000 columns, ten labels. Every fit runs
in a process of its own, so that its peak memory is its own, on one core; seconds are of processor
time. "products" is that of the bare matrix products that the method cannot do without, measured in
the same process: those with the anchors where it has any, the Gram matrix of every modality's
mapped features in float64, and in each sweep one with F_m and one with F_m'.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings

import numpy as np

COLUMNS = {"image": 500, "text": 1000}
LABELS, BITS = 10, 64
ONE_CORE = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def make_data(rows):
    """Float32 features around label prototypes, and an indicator of one to three labels."""
    rng = np.random.default_rng(0)
    Y = (rng.random((rows, LABELS)) < 0.15).astype(np.int8)
    Y[np.arange(rows), rng.integers(LABELS, size=rows)] = 1
    blocks = {}
    for name, columns in COLUMNS.items():
        prototypes = rng.standard_normal((LABELS, columns), dtype=np.float32)
        blocks[name] = rng.standard_normal((rows, columns), dtype=np.float32)
        for start in range(0, rows, 4096):
            blocks[name][start : start + 4096] += Y[start : start + 4096] @ prototypes
    return blocks, Y


def make_method(name):
    """The estimator to be measured, with the paper's numbers of anchors."""
    from sklearn_cmh import AAH, ASCMH, DSAH, AnchorRBF

    anchors = {name: AnchorRBF(columns) for name, columns in COLUMNS.items()}
    return {
        "AAH": lambda: AAH(BITS, random_state=0),
        "ASCMH": lambda: ASCMH(BITS, feature_map=anchors, random_state=0),
        "DSAH": lambda: DSAH(BITS, feature_map=anchors, n_perturbations=0, random_state=0),
    }[name]()


def time_products(F, sweeps, anchors):
    """Seconds of the products with anchors, of the Gram matrices, and of `sweeps` sweeps."""
    from sklearn_cmh.solvers import gram

    seconds = 0.0
    for f in F.values():
        P = np.ones((f.shape[1], BITS), dtype=f.dtype)
        start = time.process_time()
        if anchors:
            for first in range(0, len(f), 4096):
                f[first : first + 4096] @ f[: f.shape[1]].T
        gram(f)
        middle = time.process_time()
        f.T @ (f @ P)
        seconds += middle - start + sweeps * (time.process_time() - middle)
    return seconds


def peak_gigabytes():
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)


def measure(method, rows):
    """Fit once; figures as a dict."""
    from sklearn_cmh import MultimodalData

    warnings.simplefilter("ignore")
    blocks, Y = make_data(rows)
    before = peak_gigabytes()
    hasher = make_method(method)
    start = time.process_time()
    hasher.fit(MultimodalData(**blocks), Y)
    seconds, peak = time.process_time() - start, peak_gigabytes()
    return {
        "method": method,
        "rows": rows,
        "sweeps": hasher.n_iter_,
        "seconds": seconds,
        "products": time_products(blocks, hasher.n_iter_, anchors=hasher.feature_map is not None),
        "inputs": before,
        "peak": peak,
    }


def main():
    """Measure each method at each number of rows, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--methods", default="AAH,ASCMH,DSAH")
    parser.add_argument("--rows", default="10000,30000,90000,184577")
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "ROWS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], int(options.one[1]))))
        return
    print("method     rows  sweeps  seconds  us/row  products  ratio  inputs GB  peak GB")
    for method in options.methods.split(","):
        for rows in options.rows.split(","):
            command = [sys.executable, __file__, "--one", method, rows]
            done = subprocess.run(command, capture_output=True, text=True, env=ONE_CORE)
            if done.returncode:
                sys.exit(done.stderr)
            r = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{r['method']:6} {r['rows']:8d} {r['sweeps']:7d} {r['seconds']:8.1f} "
                f"{1e6 * r['seconds'] / r['rows']:7.0f} {r['products']:9.1f} "
                f"{r['seconds'] / r['products']:6.2f} {r['inputs']:10.2f} {r['peak']:8.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
