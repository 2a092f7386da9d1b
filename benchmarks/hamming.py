"""Speed of Hamming ranking and of retrieval metrics, against what else there is.

Everything is timed interleaved in one process on one thread; the ratios are medians over
repetitions of the ratio within a repetition, so that a busy machine disturbs them little.
Codes and labels are random. Slow rivals get fewer queries; times are per query throughout.

    python benchmarks/hamming.py                      # all of it, a few minutes
    python benchmarks/hamming.py neighbours --bits 64
"""

import argparse
import os
import platform
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.neighbors import NearestNeighbors

from sklearn_cmh import HammingRanker
from sklearn_cmh.data import encode_labels
from sklearn_cmh.hamming import as_words, load_kernels, pack_codes
from sklearn_cmh.metrics.core import Retrieval, _counts, per_query

NUS_WIDE = 184_577
MIRFLICKR = 18_015
FLAGS = ("avx2", "avx512bw", "avx512_bitalg", "avx512_vpopcntdq", "avx512_vbmi", "asimd", "sve")


def one_thread():
    """Start again with BLAS on one thread, and with the kernels that suit the processor."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # On some processors these force an old, slow kernel.
    slow = {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"}
    environment = {name: v for name, v in os.environ.items() if name not in slow} | threads
    if environment != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)


def processor():
    """Name of the processor and those of its features that matter here."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in path.read_text().splitlines())
    info = {name.strip(): value.strip() for name, _, value in lines}
    flags = info.get("flags", info.get("Features", "")).split()
    name = info.get("model name", platform.machine())
    return f"{name}: {' '.join(flag for flag in FLAGS if flag in flags)}"


def interleave(rivals, repeats):
    """Time per query of each rival, a row of times per repetition.

    `rivals` maps names to (function, number of queries it handles). Each is called once
    before, so that nothing is compiled or loaded while the clock runs.
    """
    for function, _ in rivals.values():
        function()
    times = {name: [] for name in rivals}
    for _ in range(repeats):
        for name, (function, n_queries) in rivals.items():
            start = time.perf_counter()
            function()
            times[name].append((time.perf_counter() - start) / n_queries)
    return {name: np.array(values) for name, values in times.items()}


def report(title, times, reference, targets=None):
    """Print medians, and medians of the ratios to (or of) a reference."""
    print(f"\n{title}")
    for name, values in times.items():
        ratio = np.median(values / times[reference])
        speed = f"{ratio:8.3f} x its time" if ratio < 10 else f"{ratio:8.1f} x its time"
        target = (targets or {}).get(name)
        verdict = "" if target is None else f"   (target {target}: {verdict_of(ratio, target)})"
        print(
            f"  {name:28s}{1e6 * np.median(values):12.1f} us/query  {speed}, "
            f"{1 / ratio:8.1f} x as fast{verdict}"
        )
    print(f"  reference: {reference}")


def verdict_of(ratio, target):
    kind, value = target.split()
    return "met" if (ratio <= float(value) if kind == "<=" else 1 / ratio >= float(value)) else "no"


def random_codes(rng, n, n_bits):
    return rng.integers(0, 256, (n, n_bits // 8), dtype=np.uint8)


def faiss_index(packed):
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexBinaryFlat(8 * packed.shape[1])
    index.add(packed)
    return index


def ranker(packed, backend, n_jobs=None):
    return HammingRanker(packed=True, backend=backend, n_jobs=n_jobs).fit(packed)


# --- Limits of the machine --------------------------------------------------------------------


def limits(args, rng):
    """Memory bandwidth, and the cost of nothing but distances."""
    from numba import njit

    kernels = load_kernels()
    popcount, strip_distances = kernels.popcount, kernels.strip_distances

    @njit(nogil=True)
    def nothing_but_popcounts(words, queries):
        total = np.uint64(0)
        for i in range(len(queries)):
            query = queries[i]
            for j in range(len(words)):
                total += popcount(words[j] ^ query)
        return total

    @njit(nogil=True)
    def as_bytes(words, queries, out):
        for query in queries:
            for start in range(0, words.shape[1], 4096):
                strip_distances(words, query, start, min(start + 4096, words.shape[1]), out)

    big = np.ones(2**26, dtype=np.uint64)
    words = as_words(random_codes(rng, NUS_WIDE, 64))
    queries = np.ascontiguousarray(words[:, :200].T)
    out = np.empty(NUS_WIDE, dtype=np.uint8)
    times = interleave(
        {
            "read": (big.sum, 1),
            "popcount": (lambda: nothing_but_popcounts(words[0], queries[:, 0].copy()), 200),
            "bytes": (lambda: as_bytes(words, queries, out), 200),
        },
        args.repeats,
    )
    median = {name: np.median(values) for name, values in times.items()}
    print(f"\nLimits, 64 bits, {NUS_WIDE:,} rows")
    print(f"  memory read                 {big.nbytes / median['read'] / 1e9:12.1f} GB/s")
    print(f"  popcounts, summed           {1e6 * median['popcount']:12.1f} us/query")
    print(f"  distances, stored as bytes  {1e6 * median['bytes']:12.1f} us/query")


# --- Nearest neighbours -----------------------------------------------------------------------


def neighbours(args, rng):
    """kneighbors(100) over the rows of NUS-WIDE: backends against faiss and scikit-learn."""
    numba_targets = {16: "<= 0.05", 32: "<= 0.25", 64: "<= 0.25", 128: "<= 0.25"}
    numpy_targets = {32: "<= 1.3", 64: "<= 1.3", 128: "<= 1.8"}
    for n_bits in args.bits:
        database, queries = (random_codes(rng, n, n_bits) for n in (NUS_WIDE, args.queries))
        few = queries[: max(1, args.queries // 4)]
        rivals = {
            "faiss IndexBinaryFlat": (partial(faiss_index(database).search, few, 100), len(few)),
            **ours(database, queries),
        }
        times = interleave(rivals, args.repeats)
        targets = {"numba": numba_targets.get(n_bits), "numpy": numpy_targets.get(n_bits)}
        title = f"kneighbors(100), {NUS_WIDE:,} rows, {n_bits} bits"
        report(title, times, "faiss IndexBinaryFlat", targets)


def ours(database, queries):
    """Both backends, NumPy with fewer queries."""
    few = queries[: max(1, len(queries) // 4)]
    return {
        "numba": (partial(ranker(database, "numba").kneighbors, queries, 100), len(queries)),
        "numpy": (partial(ranker(database, "numpy").kneighbors, few, 100), len(few)),
    }


def threads(args, rng):
    """The same search on one and on two threads."""
    database, queries = (random_codes(rng, n, 64) for n in (NUS_WIDE, args.queries))
    rivals = {
        name: (partial(ranker(database, "numba", n_jobs).kneighbors, queries, 100), len(queries))
        for n_jobs, name in [(1, "numba, 1 thread"), (2, "numba, 2 threads")]
    }
    times = interleave(rivals, args.repeats)
    title = f"Threads: kneighbors(100), {NUS_WIDE:,} rows, 64 bits"
    report(title, times, "numba, 1 thread", {"numba, 2 threads": ">= 1.6"})
    # What two threads cost tells what they would gain if both had a processor to themselves.
    one, two = (
        np.median([processor_time(function) for _ in range(args.repeats)])
        for function, _ in rivals.values()
    )
    print(f"  processor time of two threads: {two / one:.2f} x that of one")


def processor_time(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def scikit_learn(args, rng):
    """kneighbors(100) against scikit-learn's brute force."""
    database, queries = (random_codes(rng, n, 64) for n in (NUS_WIDE, args.queries))
    bits, few = (np.unpackbits(codes, axis=1).astype(bool) for codes in (database, queries[:20]))
    slow = NearestNeighbors(metric="hamming", algorithm="brute").fit(bits)
    name = "scikit-learn NearestNeighbors"
    rivals = {name: (partial(slow.kneighbors, few, 100), 20), **ours(database, queries)}
    title = f"kneighbors(100), {NUS_WIDE:,} rows, 64 bits"
    times = interleave(rivals, args.repeats)
    report(title, times, name, {"numba": ">= 200", "numpy": ">= 20"})


def peak_memory(function):
    """Bytes that a call takes at most beyond what is in use before it."""
    process = Path("/proc/self")
    (process / "clear_refs").write_text("5")  # Forget the peak so far.
    before = memory_status(process, "VmRSS")
    function()
    return memory_status(process, "VmHWM") - before


def memory_status(process, name):
    lines = (line.split() for line in (process / "status").read_text().splitlines())
    return next(1024 * int(words[1]) for words in lines if words[0] == f"{name}:")


def large(args, rng):
    """64 queries over ten million packed rows of 128 bits, and the memory that they take."""
    database, queries = (random_codes(rng, n, 128) for n in (10_000_000, 64))
    fitted = ranker(database, "numba")
    fitted.kneighbors(queries[:1], 100)
    extra = peak_memory(partial(fitted.kneighbors, queries, 100))
    index = faiss_index(database)
    times = interleave(
        {
            "faiss IndexBinaryFlat": (partial(index.search, queries, 100), 64),
            "numba": (partial(fitted.kneighbors, queries, 100), 64),
        },
        args.repeats,
    )
    title = "kneighbors(100), 10,000,000 rows, 128 bits"
    report(title, times, "faiss IndexBinaryFlat", {"numba": "<= 0.3"})
    print(
        f"  the packed database has {database.nbytes / 1e6:.0f} MB; ranking took "
        f"{extra / 1e6:.1f} MB more ({100 * extra / database.nbytes:.1f} %)"
    )


# --- Mean average precision -------------------------------------------------------------------


def folklore(n, queries, database, L_queries, L):
    """As most published code computes mAP: a matrix product and an argsort per query."""
    values = []
    for code, labels in zip(queries[:n], L_queries[:n], strict=True):
        relevant = labels @ L.T > 0
        if not relevant.any():
            continue
        distances = 0.5 * (database.shape[1] - code @ database.T)
        positions = np.flatnonzero(relevant[np.argsort(distances)]) + 1
        values.append(np.mean(np.arange(1, len(positions) + 1) / positions))
    return np.mean(values)


def mean_average_precision(problem, backend, ties):
    retrieval = Retrieval(*problem, backend=backend)
    return per_query.query_mean(*per_query.average_precision(retrieval, None, ties), "skip")


def random_problem(rng, n, n_queries, n_distinct=None, n_bits=64, n_classes=10):
    """Codes of -1 and +1 and label indicators of the queries and the database."""
    m = n_distinct or n
    rows = rng.integers(0, m, n) if n_distinct else slice(None)
    codes = np.where(rng.random((m, n_bits)) < 0.5, 1, -1)[rows].astype(np.float32)
    L = (rng.random((m, n_classes)) < 0.2)[rows].astype(np.float32)
    queries = np.where(rng.random((n_queries, n_bits)) < 0.5, 1, -1).astype(np.float32)
    return queries, codes, (rng.random((n_queries, n_classes)) < 0.2).astype(np.float32), L


def packed_problem(queries, codes, L_queries, L):
    labels = encode_labels(L_queries)[0], encode_labels(L)[0]
    return pack_codes(queries), pack_codes(codes), codes.shape[1], *labels


def average_precision(args, rng):
    """Full-ranking mAP, 64 bits, 10 classes, against the folklore."""
    targets = {
        NUS_WIDE: (">= 45", ">= 10", ">= 8", ">= 4"),
        MIRFLICKR: (">= 20", ">= 7", ">= 5", ">= 2.5"),
    }
    for n, wanted in targets.items():
        data = random_problem(rng, n, args.queries)
        problem = packed_problem(*data)
        few = max(10, args.queries // 40)
        rivals = {"folklore argsort": (partial(folklore, few, *data), few)}
        for backend in ("numba", "numpy"):
            for ties in ("expected", "index"):
                ours = partial(mean_average_precision, problem, backend, ties)
                rivals[f"{backend}, ties={ties}"] = ours, args.queries
        times = interleave(rivals, args.repeats)
        names = list(rivals)[1:]
        title = f"Full-ranking mAP, {n:,} rows, 64 bits"
        report(title, times, "folklore argsort", dict(zip(names, wanted, strict=True)))


def duplicates(args, rng):
    """Expected-tie mAP where supervised codes have collapsed to few distinct values."""
    for n_distinct in (100, 2_000, 20_000, 60_000):
        problem = packed_problem(*random_problem(rng, NUS_WIDE, args.queries, n_distinct))

        rivals = {
            f"{backend}, {name}": (partial(collapsed, threshold, problem, backend), args.queries)
            for backend in ("numba", "numpy")
            for name, threshold in [("row by row", np.inf), ("collapsed", 1)]
        }
        times = interleave(rivals, args.repeats)
        title = f"Full-ranking mAP, {NUS_WIDE:,} rows of {n_distinct:,} distinct, 64 bits"
        report(title, times, "numba, row by row")


def collapsed(many_queries, problem, backend):
    _counts.MANY_QUERIES = many_queries
    return mean_average_precision(problem, backend, "expected")


SECTIONS = {
    function.__name__: function
    for function in (
        limits,
        neighbours,
        threads,
        scikit_learn,
        large,
        average_precision,
        duplicates,
    )
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "sections",
        nargs="*",
        default=list(SECTIONS),
        help=f"of {', '.join(SECTIONS)}; all by default",
    )
    parser.add_argument("--bits", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    one_thread()
    print(processor())
    for name in args.sections:
        SECTIONS[name](args, np.random.default_rng(0))


if __name__ == "__main__":
    main()
