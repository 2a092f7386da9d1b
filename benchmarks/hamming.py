"""Speed of Hamming ranking and of retrieval metrics, against what else there is.

Everything is timed interleaved in one process on one thread, in processor time (of the
threads, wall-clock time); the ratios are medians over repetitions of the ratio within a
repetition, so that a busy machine disturbs them little. Codes and labels are random. Slow
rivals get fewer queries; times are per query throughout.

    python benchmarks/hamming.py                      # all of it, some minutes
    python benchmarks/hamming.py latency batch        # some sections
    python benchmarks/hamming.py latency batch --avx2 # NumPy, numba and faiss without AVX-512
    python benchmarks/hamming.py --short              # small sizes, once
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from sklearn.neighbors import NearestNeighbors

from sklearn_cmh import HammingRanker, MultimodalData, TwoStageRanker
from sklearn_cmh.data import encode_labels
from sklearn_cmh.hamming import as_words, load_kernels, pack_codes
from sklearn_cmh.metrics.core import Retrieval, _counts, per_query

NUS_WIDE = 184_577
MIRFLICKR = 18_015
FLAGS = ("avx2", "avx512bw", "avx512_bitalg", "avx512_vpopcntdq", "avx512_vbmi", "asimd", "sve")
# As this NumPy calls what it has AVX-512 loops for.
LOOPS = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
AVX512 = [name for name in LOOPS if name.startswith(("AVX512", "X86_V4"))]


def one_thread(avx2):
    """Start again with BLAS on one thread, and with the kernels that suit the processor.

    Or with those of a processor that has AVX2 and not AVX-512: NumPy's features are
    disabled, numba compiles for a Zen 3, and faiss is told its level.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # On some processors these force an old, slow kernel.
    slow = {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"}
    environment = {name: v for name, v in os.environ.items() if name not in slow} | threads
    if avx2:
        environment |= {"NUMBA_CPU_NAME": "znver3", "NUMBA_CPU_FEATURES": "+avx2,+popcnt"}
        # Once they are disabled, NumPy finds none.
        if AVX512:
            environment["NPY_DISABLE_CPU_FEATURES"] = " ".join(AVX512)
    if environment != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    if find_spec("faiss"):
        import faiss

        faiss.omp_set_num_threads(1)
        if avx2 and hasattr(faiss, "SIMDConfig"):
            faiss.SIMDConfig.set_level(faiss.SIMDLevel_AVX2)


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


def interleave(rivals, repeats, clock=time.process_time):
    """Time per query of each rival, a row of times per repetition.

    `rivals` maps names to (function, number of queries it handles). Each is called once
    before, so that nothing is compiled or loaded while the clock runs.
    """
    for function, _ in rivals.values():
        function()
    times = {name: [] for name in rivals}
    for _ in range(repeats):
        for name, (function, n_queries) in rivals.items():
            start = clock()
            function()
            times[name].append((clock() - start) / n_queries)
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
                stop = min(start + 4096, words.shape[1])
                strip_distances(words, False, query, start, stop, out)

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


def latency(args, rng):
    """One query at a time, ten in a row: auto, with the kernels loaded, against all others."""
    load_kernels()
    for n_bits in (64, 128, 256, 512):
        database, query = (random_codes(rng, n, n_bits) for n in (args.rows, 1))
        search = {
            "faiss IndexBinaryFlat": partial(faiss_index(database).search, query, 10),
            "auto": partial(ranker(database, "auto").kneighbors, query, 10),
            "numpy": partial(ranker(database, "numpy").kneighbors, query, 10),
        }
        rivals = {name: (partial(in_a_row, function, 10), 10) for name, function in search.items()}
        rivals |= usearch_exact(database, query) | pynear_exact(database, query)
        times = interleave(rivals, args.repeats)
        title = f"One query: kneighbors(10), {args.rows:,} rows, {n_bits} bits"
        report(title, times, "faiss IndexBinaryFlat", {"auto": "<= 1.0"})


def in_a_row(function, n_calls):
    for _ in range(n_calls):
        function()


@cache
def installed(package):
    """Whether a rival can be measured; a line says where it cannot."""
    if find_spec(package):
        return True
    print(f"\n{package} is left out: it is not installed (pip install {package})")
    return False


def usearch_exact(database, queries):
    """Search of usearch, for the rows that are nearest; it has none by radius."""
    if not installed("usearch"):
        return {}
    from usearch.index import MetricKind, search

    few = queries[:4]
    options = {"exact": True, "threads": 1, "dtype": "b1"}
    call = partial(search, database, few, 10, MetricKind.Hamming, **options)
    return {"usearch, exact": (call, len(few))}


def pynear_exact(database, queries):
    """Tree of PyNear, which has one for some lengths of codes."""
    n_bits = 8 * database.shape[1]
    if n_bits not in (64, 128, 256, 512) or not installed("pynear"):
        return {}
    index = pynear_index(f"VPTreeBinaryIndex{n_bits}", database)
    few = queries[:4]
    return {"PyNear VPTree": (partial(index.searchKNN_arrays, few, 10), len(few))}


def pynear_index(name, codes, *arguments):
    import pynear

    index = getattr(pynear, name)(*arguments)
    index.set(codes)
    return index


def batch(args, rng):
    """A hundred queries, 10 nearest, up to wide codes, against faiss."""
    targets = {64: "<= 0.25", 128: "<= 0.25", 256: "<= 0.6", 512: "<= 0.6"}
    if args.avx2 or "avx512" not in processor():
        targets |= {64: "<= 0.4", 128: "<= 0.4"}
    for n_bits in (64, 128, 256, 512, 1024, 4096):
        n = args.rows if n_bits <= 512 else args.rows * 512 // n_bits
        database, queries = (random_codes(rng, n, n_bits) for n in (n, 100))
        rivals = {
            "faiss IndexBinaryFlat": (partial(faiss_index(database).search, queries, 10), 100),
            **usearch_exact(database, queries),
            **pynear_exact(database, queries),
            "numba": (partial(ranker(database, "numba").kneighbors, queries, 10), 100),
        }
        times = interleave(rivals, args.repeats)
        title = f"A hundred queries: kneighbors(10), {n:,} rows, {n_bits} bits"
        report(title, times, "faiss IndexBinaryFlat", {"numba": targets.get(n_bits)})


def choice(args, rng):
    """What `auto` costs against the best backend, and NumPy's figures that it is based on."""
    load_kernels()
    print("\nauto against the best backend: microseconds a call, kneighbors(10)")
    worst, nanoseconds = 0.0, {}
    for n_bits in (32, 64, 128, 256, 512):
        for n in (10_000, 100_000, args.rows):
            for n_queries in (1, 30):
                database, queries = (random_codes(rng, m, n_bits) for m in (n, n_queries))
                # As many calls as take some milliseconds: short ones would not be told apart.
                n_calls = max(1, 1_000_000 // (n * n_queries))
                rivals = {}
                for name in ("numpy", "numba", "faiss", "auto"):
                    search = partial(ranker(database, name).kneighbors, queries, 10)
                    rivals[name] = partial(in_a_row, search, n_calls), n_calls
                times = interleave(rivals, args.repeats)
                best = min(("numpy", "numba", "faiss"), key=lambda name: np.median(times[name]))
                ratio = np.median(times["auto"] / times[best])
                worst = max(worst, ratio)
                cells = "".join(f"{1e6 * np.median(v):11.0f} {name}" for name, v in times.items())
                print(f"  {n_bits:4d} bits {n:9,} rows {n_queries:3d} queries{cells}  {ratio:.2f}")
                nanoseconds[-(-n_bits // 64)] = 1e9 * np.median(times["numpy"]) / n / n_queries
    print(f"  worst ratio {worst:.2f}")
    table = ", ".join(f"{words}: {value:.2f}" for words, value in nanoseconds.items())
    print(f"  SEARCH_NS = {{{table}}}")


def near_codes(rng, n, n_bits, n_distinct, flips):
    """Codes in groups that differ by a few bits."""
    codes = random_codes(rng, n_distinct, n_bits)[rng.integers(0, n_distinct, n)]
    for _ in range(flips):
        bits = rng.integers(0, n_bits, n)
        codes[np.arange(n), bits // 8] ^= (1 << (bits % 8)).astype(np.uint8)
    return codes


def small_radius(args, rng):
    """Radius 2 at 64 bits, near duplicates at 512, against faiss's multi-index and PyNear."""
    load_kernels()
    n = args.rows
    for n_bits, radius, codes, n_hash, width in [
        (64, 2, random_codes(rng, n, 64), 4, 16),
        (512, 8, near_codes(rng, n, 512, n // 20, 3), 9, 56),
    ]:
        queries = codes[rng.integers(0, n, 200)]
        plain = ranker(codes, "numba")
        start = time.process_time()
        tables = HammingRanker(packed=True, multi_index=True).fit(codes)
        built = time.process_time() - start
        rival = multi_hash(codes, n_hash, width)
        one_by_one = [queries[i : i + 1] for i in range(200)]
        rivals = {
            "faiss IndexBinaryMultiHash": (partial(rival.range_search, queries, radius + 1), 200),
            "faiss, one query": (partial(each, rival.range_search, one_by_one, radius + 1), 200),
            "multi_index": (partial(tables.radius_neighbors, queries, radius), 200),
            "multi_index, one query": (
                partial(each, tables.radius_neighbors, one_by_one, radius),
                200,
            ),
            "numba, all rows": (partial(plain.radius_neighbors, queries[:20], radius), 20),
            **pynear_radius(codes, queries[:20], radius),
        }
        times = interleave(rivals, args.repeats)
        report(f"Radius {radius}, {n:,} rows, {n_bits} bits", times, "faiss IndexBinaryMultiHash")
        size = sum(index.nbytes for index in tables._indexes) / 1e6
        print(f"  tables of {size:.0f} MB, built in {built:.1f} s")
        if n_bits == 512:
            rivals = {
                "numba, all rows": (partial(plain.kneighbors, queries[:20], 10), 20),
                "multi_index": (partial(tables.kneighbors, queries, 10), 200),
                **pynear_exact(codes, queries),
                **pynear_mih(codes, queries),
                **usearch_exact(codes, queries),
            }
            times = interleave(rivals, args.repeats)
            report(f"10 nearest, {n:,} rows, {n_bits} bits", times, "numba, all rows")


def each(function, queries, *arguments):
    for query in queries:
        function(query, *arguments)


def multi_hash(codes, n_hash, width):
    import faiss

    index = faiss.IndexBinaryMultiHash(8 * codes.shape[1], n_hash, width)
    index.add(codes)
    return index


def pynear_mih(codes, queries):
    if not installed("pynear"):
        return {}
    index = pynear_index("MIHBinaryIndex", codes, 8)
    return {"PyNear MIH (approximate)": (partial(index.searchKNN, queries, 10), len(queries))}


def pynear_radius(codes, queries, radius):
    if not installed("pynear"):
        return {}
    index = pynear_index(f"BKTreeBinaryIndex{8 * codes.shape[1]}", codes)
    return {"PyNear BKTree": (partial(index.find_threshold, queries, radius), len(queries))}


def start_up(args, rng):
    """Seconds from the end of the import to the first ranking, in processes of their own."""
    program = (
        "import time, numpy as np\n"
        "from sklearn_cmh import HammingRanker\n"
        "rng = np.random.default_rng(0)\n"
        "X, Q = (rng.integers(0, 256, (n, 8), dtype=np.uint8) for n in ({n}, 200))\n"
        "starts = time.perf_counter(), time.process_time()\n"
        "HammingRanker(packed=True, backend='{backend}').fit(X).kneighbors(Q, 100)\n"
        "print(time.perf_counter() - starts[0], time.process_time() - starts[1])\n"
    )
    print(f"\nFirst ranking in a later process: 200 queries, {NUS_WIDE:,} rows, 64 bits")
    for backend in ("auto", "numpy", "numba", "faiss"):
        code = program.format(n=NUS_WIDE, backend=backend)
        runs = [subprocess.check_output([sys.executable, "-c", code]) for _ in range(4)]
        clock, processor = np.median([list(map(float, run.split())) for run in runs[1:]], axis=0)
        print(f"  {backend:28s}{clock:12.2f} s, {processor:.2f} s of the processor")


def growth(args, rng):
    """partial_fit of many small chunks, with labels."""
    print("\npartial_fit of 10 rows at a time, 64 bits, with labels")
    X, y = random_codes(rng, 20_000, 64), rng.integers(0, 10, 20_000)
    for n in (5_000, 10_000, 20_000):
        start = time.process_time()
        growing = HammingRanker(packed=True)
        for i in range(0, n, 10):
            growing.partial_fit(X[i : i + 10], y[i : i + 10])
        print(f"  {n:7,} rows {1e6 * (time.process_time() - start) / n:8.1f} us a row")


def second_stage(args, rng):
    """What ordering 4 x 10 candidates adds to the scan: 128 bits, vectors of 64 float16."""
    n = args.rows
    codes, queries = (np.unpackbits(random_codes(rng, m, 128), axis=1) for m in (n, 100))
    vectors = rng.normal(size=(n, 64)).astype(np.float16)
    query_vectors = rng.normal(size=(100, 64)).astype(np.float32)
    first = HammingRanker(backend="numba")
    both = MultimodalData(codes=codes, vectors=vectors)
    asked = MultimodalData(codes=queries, vectors=query_vectors)
    by_vectors = TwoStageRanker(first, metric="cosine").fit(both)
    by_projections = TwoStageRanker(first).fit(codes)
    projections = rng.normal(size=(100, 128)).astype(np.float32)
    scan = HammingRanker(backend="numba").fit(codes)
    rivals = {
        "scan": (partial(scan.kneighbors, queries, 10), 100),
        "scan, 40 nearest": (partial(scan.kneighbors, queries, 40), 100),
        "asymmetric": (partial(by_projections.kneighbors, projections, 10), 100),
        "cosine": (partial(by_vectors.kneighbors, asked, 10), 100),
    }
    times = interleave(rivals, args.repeats)
    targets = {"asymmetric": "<= 1.3", "cosine": "<= 1.3"}
    report(f"Second stage, oversampling 4, {n:,} rows, 128 bits", times, "scan", targets)


def ours(database, queries):
    """Both backends, NumPy with fewer queries."""
    few = queries[: max(1, len(queries) // 4)]
    return {
        "numba": (partial(ranker(database, "numba").kneighbors, queries, 100), len(queries)),
        "numpy": (partial(ranker(database, "numpy").kneighbors, few, 100), len(few)),
    }


def threads(args, rng):
    """A hundred queries on one thread and on two, by the clock and by processor time.

    The clock tells of threads only where nothing else runs. What the busier thread computes
    tells how long both would take with a processor to themselves.
    """
    print(f"\nTwo threads against one: a hundred queries, kneighbors(10), {args.rows:,} rows")
    for n_bits in (64, 128, 256, 512):
        database, queries = (random_codes(rng, n, n_bits) for n in (args.rows, 100))
        calls = [partial(ranker(database, "numba", n).kneighbors, queries, 10) for n in (1, 2)]
        times = np.array([[of_threads(call) for call in calls] for _ in range(1 + args.repeats)])
        one, two = times[1:].min(axis=0)
        clock, busier, total = one / two
        print(
            f"  {n_bits:4d} bits {clock:6.2f} x as fast by the clock "
            f"(target >= 1.7: {verdict_of(1 / clock, '>= 1.7')}), {busier:.2f} x by the busier "
            f"thread; both compute {1 / total:.2f} x as long"
        )


def of_threads(function):
    """Seconds of a call: by the clock, of the busier of two threads, and of both."""
    start = time.perf_counter(), time.process_time(), time.thread_time()
    function()
    clock, total, own = time.perf_counter(), time.process_time(), time.thread_time()
    clock, total, own = np.subtract((clock, total, own), start)
    return clock, max(own, total - own), total


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


def many_rows(args, rng):
    """Radius 2 among fifty million rows of 64 bits: tables and scan, and what tables take."""
    n = 50_000_000
    codes = random_codes(rng, n, 64)
    queries = codes[rng.integers(0, n, 200)]
    scan = ranker(codes, "numba")
    start = time.process_time()
    tables = HammingRanker(packed=True, multi_index=True).fit(codes)
    built = time.process_time() - start
    rivals = {
        "scan": (partial(scan.radius_neighbors, queries[:2], 2), 2),
        "multi_index": (partial(tables.radius_neighbors, queries, 2), 200),
    }
    report(f"Radius 2, {n:,} rows, 64 bits", interleave(rivals, args.repeats), "scan")
    size = sum(index.nbytes for index in tables._indexes) / 1e6
    print(
        f"  codes of {codes.nbytes / 1e6:.0f} MB, tables of {size:.0f} MB, built in {built:.1f} s"
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
        latency,
        batch,
        choice,
        small_radius,
        second_stage,
        start_up,
        growth,
        neighbours,
        threads,
        scikit_learn,
        large,
        many_rows,
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
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the newer sections")
    parser.add_argument("--avx2", action="store_true", help="as without AVX-512")
    parser.add_argument(
        "--short", action="store_true", help="small sizes, once; without `large` and `many_rows`"
    )
    args = parser.parse_args()
    one_thread(args.avx2)
    if args.short:
        args.bits, args.queries, args.repeats, args.rows = [64], 100, 1, 100_000
        args.sections = [name for name in args.sections if name not in ("large", "many_rows")]
    print(processor(), "(as if without AVX-512)" if args.avx2 else "")
    for name in args.sections:
        SECTIONS[name](args, np.random.default_rng(0))


if __name__ == "__main__":
    main()
