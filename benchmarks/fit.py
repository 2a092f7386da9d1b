"""Time and memory of a fit against rows, anchors, bits, modalities and precision.

    python benchmarks/fit.py                          # AAH, ASCMH and DSAH, 1,000 rows and more
    python benchmarks/fit.py --methods DSAH --anchors 2000 --rows 184577
    python benchmarks/fit.py --dtypes float32,float64 --bits 16,64 --modalities 1,2,3
    python benchmarks/fit.py --plot fit.svg           # and a figure, with slopes
    python benchmarks/fit.py --sweeps 12              # as many sweeps in every fit
    python benchmarks/fit.py --threads 2              # seconds by the clock
    python benchmarks/fit.py --encode 1000000         # encoding rows of 500 and 1,000 columns
    python benchmarks/fit.py --grid wikiData.mat      # a search on Wiki, with and without memory=

Synthetic data of the shape of NUS-WIDE: 500 and 1,000 columns (further modalities have 500), ten
labels. Every fit runs in a process of its own, so that its peak memory is its own. Seconds are of
processor time; with several threads, of which some wait for others, by the clock. "products" is
that of the bare matrix products that the method cannot do without, measured in the same process, by
blocks of rows:

* F_m with anchors, and F_m'F_m, in float64, as codes that do not depend on the processor need it;
* in each sweep F_m with projections and F_m' with codes, and once more the latter, for what the
  sweeps start from or the projections that follow them, in the precision of the features;
* of AAH and DSAH, sums of F_m over rows of a label pattern or label; of DSAH, F_l'F_m;
* of ASCMH, F_m'B for the hash functions, in float64, as small eigenvalues divide it; and in each
  sweep, and before, Z'Z and Z times a small matrix, of which an orthonormal basis is made.

"ratio" is seconds over products; "user" is the same without the seconds in the kernel of the
operating system, most of which a virtual machine takes to find memory that it has given back; and
"plain" is seconds over products all in the precision of the features, whatever such would give.
"beyond" is what the process has held at most, beyond what it held before the fit, inputs included.
Methods are those of the package, the ones to compare with included; products of hash functions that
are not linear are not known.

`--encode` compares with products with anchors and with hash functions, in float64, as the code of a
row that does not depend on its batch needs them, and with the exponentials of the kernel:
three times, by turns, as the speed of a processor varies. Figures are medians.
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
from scipy import sparse

WIDTHS = [500, 1000]
LABELS, BLOCK, TIMED_BLOCKS, REPEATS = 10, 2048, 8, 3
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def now():
    """Seconds: of processor time with one thread of BLAS, else by the clock."""
    return time.process_time() if os.environ.get(THREADS[0]) == "1" else time.perf_counter()


def make_data(rows, modalities, dtype):
    """Features around label prototypes, and an indicator of one to three labels."""
    rng = np.random.default_rng(0)
    Y = (rng.random((rows, LABELS)) < 0.15).astype(np.int8)
    Y[np.arange(rows), rng.integers(LABELS, size=rows)] = 1
    blocks = {}
    for m in range(modalities):
        columns = WIDTHS[m] if m < len(WIDTHS) else WIDTHS[0]
        prototypes = rng.standard_normal((LABELS, columns), dtype=dtype)
        block = rng.standard_normal((rows, columns), dtype=dtype)
        for start in range(0, rows, BLOCK):
            block[start : start + BLOCK] += Y[start : start + BLOCK] @ prototypes
        blocks[f"m{m}"] = block
    return blocks, Y


def make_method(name, bits, anchors, blocks):
    """The estimator to be measured; without `anchors`, as many as a modality has columns."""
    from sklearn_cmh import AnchorRBF
    from sklearn_cmh.utils.discovery import all_estimators

    method = dict(all_estimators())[name]
    if "n_anchors" not in method().get_params() or name == "RefinedHasher":
        return method(n_bits=bits, random_state=0)
    maps = {name: AnchorRBF(anchors or block.shape[1]) for name, block in blocks.items()}
    own = {"n_perturbations": 0} if name == "DSAH" else {}
    return method(bits, feature_map=maps, random_state=0, **own)


def timed(product, n, *arrays):
    """Seconds that a product of n rows takes, by blocks of such rows as there are."""
    height = min(BLOCK, len(arrays[0]))
    rows = len(arrays[0]) // height * height
    blocks = [slice(start, start + height) for start in range(0, rows, height)]
    product(*(array[blocks[0]] for array in arrays))
    start = now()
    for block in blocks:
        product(*(array[block] for array in arrays))
    return (now() - start) * n / rows


def time_products(hasher, blocks, Y, exact=np.float64):
    """Seconds of the bare products of a fit.

    `exact` is the precision of those that are in float64.
    """
    if not hasattr(hasher, "projections_"):
        return np.nan
    n, bits = hasher.codes_.shape
    rows, kind, sweeps = min(BLOCK, n), type(hasher).__name__, hasher.n_iter_
    mapped = {name: len(P) for name, P in hasher.projections_.items()}
    seconds = 0.0
    features = []
    groups = summed_groups(kind, Y, rows, exact)
    B = np.ones((n, bits), np.float32)
    few = min(TIMED_BLOCKS * BLOCK, n)  # in float64, all might be too many
    for name, block in blocks.items():
        q, X = mapped[name], block[:few].astype(exact)
        if hasattr(hasher.feature_maps_[name], "anchors_"):
            anchors = np.ones((X.shape[1], q), exact)
            seconds += timed(lambda X, A=anchors: X @ A, n, X)
        F = np.resize(X, (few, q)) if q != X.shape[1] else X
        seconds += timed(lambda F: F.T @ F, n, F)
        if groups is not None:
            seconds += timed(lambda F: groups @ F, n, F)
        if kind == "ASCMH":
            seconds += timed(lambda F, B: F.T @ B, n, F, B[:few].astype(exact))
        F = np.resize(block, (n, q)) if q != block.shape[1] else block
        P, B = np.ones((q, bits), F.dtype), B.astype(F.dtype, copy=False)
        seconds += sweeps * timed(lambda F, P=P: F @ P, n, F)
        seconds += (sweeps + 1) * timed(lambda F, B: F.T @ B, n, F, B)
        features.append(F)
    if kind == "DSAH":
        for F, G in itertools.combinations(features, 2):
            seconds += timed(lambda F, G: F.T @ G, n, F, G)
    if kind == "ASCMH":
        Z, turn = np.ones((n, bits), exact), np.ones((bits, bits), exact)
        seconds += (sweeps + 1) * timed(lambda Z: Z.T @ Z, n, Z)
        seconds += (sweeps + 1) * timed(lambda Z: Z @ turn, n, Z)
    return seconds


def summed_groups(kind, Y, rows, dtype):
    """Which of some rows are of which label pattern or label: (g, rows), sparse, or None."""
    if kind == "AAH":
        _, patterns = np.unique(Y, axis=0, return_inverse=True)
        return sparse.csr_array(
            patterns[:rows].ravel() == np.unique(patterns)[:, None], dtype=dtype
        )
    return sparse.csr_array(Y[:rows].T, dtype=dtype) if kind == "DSAH" else None


def peak_gigabytes():
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)


def measure(setting):
    """Fit once; figures beside the setting."""
    from sklearn_cmh import MultimodalData

    warnings.simplefilter("ignore")
    blocks, Y = make_data(setting["rows"], setting["modalities"], setting["dtype"])
    before = peak_gigabytes()
    hasher = make_method(setting["method"], setting["bits"], setting["anchors"], blocks)
    if setting["sweeps"]:
        hasher.set_params(max_iter=setting["sweeps"], tol=0.0)
    start, system = now(), os.times().system
    hasher.fit(MultimodalData(**blocks), Y)
    seconds, peak = now() - start, peak_gigabytes()
    system = os.times().system - system
    return {
        **setting,
        "sweeps": getattr(hasher, "n_iter_", 1),
        "seconds": seconds,
        "system": system,
        "products": time_products(hasher, blocks, Y),
        "plain": time_products(hasher, blocks, Y, setting["dtype"]),
        "inputs": sum(block.nbytes for block in blocks.values()) / 1e9,
        "beyond": peak - before,
    }


def measure_encode(rows, columns, n_anchors):
    """Encode rows of one modality; seconds and memory beside those of the bare products."""
    from sklearn_cmh import DSAH, MultimodalData

    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, columns), dtype=np.float32)
    y = rng.integers(LABELS, size=5000)
    some = X[: len(y)] + rng.standard_normal((LABELS, columns), dtype=np.float32)[y]
    hasher = DSAH(64, n_anchors=n_anchors, n_perturbations=0, max_iter=2, random_state=0)
    warnings.simplefilter("ignore")
    hasher.fit(MultimodalData(m0=some), y)
    before = peak_gigabytes()
    hasher.encode(X, modality="m0")
    beyond = peak_gigabytes() - before
    few = X[: TIMED_BLOCKS * BLOCK].astype(np.float64)
    anchors, projections = np.ones((columns, n_anchors)), np.ones((n_anchors, 64))
    features = few @ anchors
    exponents = -np.square(np.resize(X, features.shape))

    def bare():
        products = timed(lambda X: X @ anchors, rows, few)
        products += timed(lambda F: F @ projections, rows, features)
        return products, timed(np.exp, rows, exponents)

    taken = []
    for _ in range(REPEATS):
        bares = [bare() for _ in range(REPEATS)]
        start = now()
        hasher.encode(X, modality="m0")
        seconds = now() - start
        bares += [bare() for _ in range(REPEATS)]
        taken.append([seconds, *np.mean(bares, axis=0)])
    ratios = [seconds / (products + exponentials) for seconds, products, exponentials in taken]
    seconds, products, exponentials = np.median(taken, axis=0)
    print(
        f"encode {rows} x {columns}, {n_anchors} anchors: {seconds:.1f} s, "
        f"products {products:.1f}, exponentials {exponentials:.1f}, "
        f"ratio {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
        f"{beyond:.2f} GB beyond the input"
    )


def measure_grid(path):
    """Seconds of a search over 5 x 5 weights with 3 folds on Wiki, without and with `memory`."""
    from sklearn.model_selection import GridSearchCV, KFold

    from sklearn_cmh import DSAH
    from sklearn_cmh.datasets import fetch_wiki

    warnings.simplefilter("ignore")
    X, y = fetch_wiki(path, subset="train", return_X_y=True)
    grid = {"alpha": np.logspace(-3, 1, 5), "gamma": np.logspace(-5, -1, 5)}
    taken = {}
    with tempfile.TemporaryDirectory() as folder:
        for memory in (None, folder):
            hasher = DSAH(32, memory=memory, random_state=0)
            search = GridSearchCV(hasher, grid, cv=KFold(3, shuffle=True, random_state=0))
            start = time.process_time()
            search.fit(X, y)
            taken[memory] = time.process_time() - start
    without, kept = taken.values()
    print(f"grid: {without:.1f} s without memory, {kept:.1f} s with it, {kept / without:.2f}")


def slope(results, without=0):
    """Exponent of time in the rows, by least squares on logarithms.

    Without the seconds in the kernel of the operating system, if `without` is 1.
    """
    rows = [r["rows"] for r in results]
    seconds = [r["seconds"] - without * r["system"] for r in results]
    return np.polyfit(np.log(rows), np.log(seconds), 1)[0]


def by_setting(results):
    """Yield settings other than rows, as text, and their results."""
    keys = ("method", "modalities", "anchors", "bits", "dtype")
    for key, group in itertools.groupby(results, lambda r: [r[k] for k in keys]):
        yield ", ".join(str(k) for k in key if k), list(group)


def plot(results, path):
    """Draw time against rows, a line for every other setting."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    for key, runs in by_setting(results):
        label = f"{key}: slope {slope(runs[1:] or runs):.2f}"
        ax.loglog([r["rows"] for r in runs], [r["seconds"] for r in runs], "o-", label=label)
    ax.set(xlabel="rows", ylabel="seconds of processor time")
    ax.legend()
    figure.savefig(path)


def split(kind):
    """Parser of values of a kind with commas between."""
    return lambda text: [kind(value) for value in text.split(",")]


def main():
    """Measure every combination of the settings, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--methods", type=split(str), default="AAH,ASCMH,DSAH")
    parser.add_argument("--modalities", type=split(int), default="2")
    parser.add_argument("--anchors", type=split(int), default="0", help="0: as many as columns")
    parser.add_argument("--bits", type=split(int), default="64")
    parser.add_argument("--dtypes", type=split(str), default="float32")
    parser.add_argument("--rows", type=split(int), default="1000,10000,30000,90000,184577")
    parser.add_argument("--threads", default="1", help="of BLAS")
    parser.add_argument("--sweeps", type=int, help="of every fit; else until it converges")
    parser.add_argument("--plot", help="write a figure, too")
    parser.add_argument("--encode", type=int, metavar="ROWS", help="encode, in this process")
    parser.add_argument("--grid", metavar="FILE", help="search on Wiki, in this process")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    threads = dict.fromkeys(THREADS, options.threads)
    if not threads.items() <= os.environ.items():  # they count from the start of a process
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **threads})
    if options.encode:
        for columns, n_anchors in itertools.product(WIDTHS, options.anchors):
            measure_encode(options.encode, columns, n_anchors or columns)
        return
    if options.grid:
        measure_grid(options.grid)
        return
    if options.one:
        print(json.dumps(measure(options.one)))
        return
    print(
        "method           mods anchors bits dtype     rows sweeps seconds us/row products ratio "
        " user plain inputs  beyond"
    )
    results = []
    for values in itertools.product(
        options.methods,
        options.modalities,
        options.anchors,
        options.bits,
        options.dtypes,
        options.rows,
    ):
        keys = ("method", "modalities", "anchors", "bits", "dtype", "rows")
        command = [
            sys.executable,
            __file__,
            "--threads",
            options.threads,
            "--one",
            json.dumps({**dict(zip(keys, values, strict=True)), "sweeps": options.sweeps}),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        r = json.loads(done.stdout.splitlines()[-1])
        results.append(r)
        print(
            f"{r['method']:16} {r['modalities']:4} {r['anchors']:7} {r['bits']:4} {r['dtype']:7} "
            f"{r['rows']:7} {r['sweeps']:6} {r['seconds']:7.1f} "
            f"{1e6 * r['seconds'] / r['rows']:6.0f} {r['products']:8.1f} "
            f"{r['seconds'] / r['products']:5.2f} "
            f"{(r['seconds'] - r['system']) / r['products']:5.2f} {r['seconds'] / r['plain']:5.2f} "
            f"{r['inputs']:4.2f} GB {r['beyond']:3.2f} GB",
            flush=True,
        )
    for key, runs in by_setting(results):
        if len(runs) > 1:
            print(
                f"{key}: seconds grow as the rows to the power of {slope(runs):.2f}, "
                f"those of the user of {slope(runs, without=1):.2f}"
            )
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
