"""Packing, distances, exact top-k and counts, against brute force and between backends."""

import os
import subprocess
import sys
import threading
import time
import warnings
from importlib.util import find_spec
from itertools import combinations, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sklearn_cmh.data import encode_labels
from sklearn_cmh.hamming import (
    MultiIndex,
    _backends,
    _distances,
    _multi_index,
    _nearest,
    _numpy,
    as_words,
    choose_backend,
    distance_dtype,
    distances_to,
    nearest,
    pack_codes,
    rank_rows,
    with_fallback,
    within_radius,
)
from sklearn_cmh.hamming._codes import row_parts
from sklearn_cmh.hamming._nearest import in_threads
from sklearn_cmh.metrics.core import Retrieval, _counts

BACKENDS = [
    pytest.param(name, marks=pytest.mark.skipif(not find_spec(name), reason=f"{name} is missing"))
    for name in ("numpy", "numba", "faiss")
]
needs_numba = pytest.mark.skipif(not find_spec("numba"), reason="numba is missing")
LENGTHS = [1, 3, 7, 8, 9, 16, 17, 31, 32, 33, 64, 65, 100, 128, 254, 255, 256, 1000, 4096]


def random_bits(n, n_bits, seed=0, n_distinct=None):
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (n_distinct or n, n_bits), dtype=np.uint8)
    return bits[rng.integers(0, n_distinct, n)] if n_distinct else bits


def brute_force(queries, database):
    """Distances and rows in ranking order, from unpacked bits."""
    d = np.stack([(query != database).sum(axis=1) for query in queries])
    order = np.argsort(d, axis=1, kind="stable")
    return np.take_along_axis(d, order, axis=1), order


@pytest.mark.parametrize("n_bits", LENGTHS)
def test_distances_equal_those_of_unpacked_bits(n_bits):
    database, queries = random_bits(50, n_bits), random_bits(3, n_bits, seed=1)
    words, query_words = as_words(pack_codes(database)), as_words(pack_codes(queries))
    assert words.dtype.itemsize == min(8, next(s for s in (1, 2, 4, 8, 512) if s * 8 >= n_bits))
    for i in range(3):
        d = distances_to(words, query_words[:, i], out=np.empty(50, distance_dtype(n_bits)))
        assert_array_equal(d, (queries[i] != database).sum(axis=1))


def test_packing_is_that_of_numpy_in_any_block():
    bits = random_bits(300, 70)
    codes = np.where(bits, 1, -1)
    assert_array_equal(pack_codes(codes), np.packbits(bits, axis=1))
    assert_array_equal(pack_codes(codes * 0.3, binarize=0.2), np.packbits(bits, axis=1))
    wide = random_bits(3, 2**22 + 5)
    assert_array_equal(pack_codes(wide), np.packbits(wide, axis=1))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n_bits", LENGTHS)
def test_nearest_for_any_length(backend, n_bits):
    database, queries = random_bits(200, n_bits), random_bits(20, n_bits, seed=1)
    distances, rows = nearest(
        [pack_codes(database)], pack_codes(queries), 30, n_bits=n_bits, backend=backend
    )
    expected = brute_force(queries, database)
    assert_array_equal(distances, expected[0][:, :30])
    assert_array_equal(rows, expected[1][:, :30])
    assert distances.dtype == np.int32 and rows.dtype == np.intp


@needs_numba
@pytest.mark.parametrize(
    "n_bits", [5, 12, 20, 31, 52, 64, 90, 128, 192, 247, 248, 255, 256, 320, 512, 1024]
)
@pytest.mark.parametrize("n", [1, 7, 129, 2500])
def test_many_queries_find_what_each_finds_alone(n, n_bits):
    """Codes are laid out in another way for several queries."""
    database, queries = random_bits(n, n_bits, n_distinct=300), random_bits(140, n_bits, seed=1)
    options = {"n_bits": n_bits, "backend": "numba"}
    k = min(n, 5)
    expected = brute_force(queries, database)
    for n_queries in (140, 10, 5, 1):
        parts = np.array_split(pack_codes(queries), 140 // n_queries)
        found = [nearest([pack_codes(database)], part, k, **options) for part in parts]
        for i in range(2):
            assert_array_equal(np.concatenate([part[i] for part in found]), expected[i][:, :k])


@needs_numba
@pytest.mark.parametrize("n_bits", [64, 248, 256, 2000, 66_000])
def test_distances_as_large_as_the_codes_are_long(n_bits):
    """Small types count what differs, as long as they can."""
    database = random_bits(10, n_bits)
    queries = 1 - database
    codes = [pack_codes(database)], pack_codes(queries)
    found = nearest(*codes, 10, n_bits=n_bits, backend="numba")
    for ours, expected in zip(found, brute_force(queries, database), strict=True):
        assert_array_equal(ours, expected)
    assert found[0].max() == n_bits


COUNTS_VECTORS = {"+avx512vpopcntdq", "+avx512bitalg"}


@needs_numba
@pytest.mark.parametrize("features", [set(), {"+popcnt"}, COUNTS_VECTORS])
def test_kernels_for_other_processors(features, monkeypatch):
    """Whether bits of words or vectors are counted or not, distances are the same."""
    numba = pytest.importorskip("numba")
    kernels = _backends.load_kernels()
    limits, none = np.full(30, 2001), np.uint16(2001)

    def problem(n_bits):
        database, queries = random_bits(300, n_bits), random_bits(30, n_bits, seed=1)
        codes = [pack_codes(bits) for bits in (database, queries)]
        return database, queries, *map(kernels.as_row_words, codes), codes[1].shape[1]

    # Kernels that are kept shall be for this processor.
    _, _, rows, words, n_bytes = problem(60)
    kernels._top_k(rows, True, words, n_bytes, 7, limits, none)
    monkeypatch.setattr(kernels, "_features", lambda context: features)
    for name in ("_strip_of_blocks", "lay_out_strip"):
        monkeypatch.setattr(kernels, name, numba.njit(getattr(kernels, name).py_func))
    by_rows = numba.njit(kernels._distances_of_rows.py_func)
    top_k = numba.njit(kernels._top_k.py_func)
    d = np.empty(300, dtype=np.uint16)
    for n_bits in (60, 128, 250, 320, 512, 960, 2000):
        database, queries, rows, words, n_bytes = problem(n_bits)
        found = top_k(rows, True, words, n_bytes, 7, limits, none)
        for ours, expected in zip(found, brute_force(queries, database), strict=True):
            assert_array_equal(ours, expected[:, :7])
        by_rows(rows, words[0], 0, 300, d)
        assert_array_equal(d, (queries[0] != database).sum(axis=1))


@needs_numba
def test_compiling_is_shown_if_asked_for(capsys):
    numba = pytest.importorskip("numba")
    kernel = numba.njit(lambda x: x + 1)
    for backend, verbose in [("numba", False), ("numpy", True)]:
        with _backends.compilation_shown(backend, verbose):
            numba.njit(lambda x: x)(1)
    assert capsys.readouterr().out == ""
    with _backends.compilation_shown("numba", True):
        kernel(1)
        kernel(1.0)
    assert capsys.readouterr().out.count("Compiling") == 1
    with _backends.compilation_shown("numba", True):
        kernel(1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n_bits", [255, 256, 65_535, 65_536])
def test_distances_that_need_another_type(backend, n_bits):
    """Codes that differ in every bit, or in all but one, where a narrower type just fails."""
    bits = np.zeros((3, n_bits), dtype=np.uint8)
    bits[1], bits[2, 1:] = 1, 1
    chunks, queries = [pack_codes(bits)], pack_codes(bits[:1])
    distances, rows = nearest(chunks, queries, 3, n_bits=n_bits, backend=backend)
    assert_array_equal(distances, [[0, n_bits - 1, n_bits]])
    assert_array_equal(rows, [[0, 2, 1]])
    found = within_radius(chunks, queries, n_bits - 1, n_bits=n_bits, backend=backend)
    assert_array_equal(found[1], [[0, 2]])
    assert_array_equal(rank_rows(chunks, queries, n_bits=n_bits)[0], distances)


@st.composite
def searches(draw):
    """Queries, database in chunks, k: with many ties, few rows, equal rows."""
    n_bits = draw(st.integers(1, 20))
    n = draw(st.integers(1, 300))
    n_distinct = draw(st.sampled_from([None, 1, 2, 10]))
    seed = draw(st.integers(0, 99))
    database = random_bits(n, n_bits, seed, n_distinct)
    queries = random_bits(draw(st.integers(1, 35)), n_bits, seed + 1)
    k = draw(st.one_of(st.just(1), st.just(n), st.integers(1, n)))
    cuts = sorted(draw(st.lists(st.integers(1, n), max_size=2, unique=True)))
    packed = pack_codes(database)
    return queries, database, [c for c in np.split(packed, cuts) if len(c)], k


@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None, max_examples=40)
@given(search=searches())
def test_nearest_equals_brute_force(backend, search):
    queries, database, chunks, k = search
    n_bits = queries.shape[1]
    expected = brute_force(queries, database)
    for n_jobs in (1, 2, 3):
        distances, rows = nearest(
            chunks, pack_codes(queries), k, n_bits=n_bits, backend=backend, n_jobs=n_jobs
        )
        assert_array_equal(distances, expected[0][:, :k])
        assert_array_equal(rows, expected[1][:, :k])


@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=5), n_parts=st.integers(1, 7))
def test_parts_of_a_database_are_its_rows_once(sizes, n_parts):
    rows = np.arange(sum(sizes), dtype=np.uint8)[:, None]
    chunks = np.split(rows, np.cumsum(sizes)[:-1])
    parts = list(row_parts(chunks, n_parts))
    for first, part in parts:
        assert all(len(piece) for piece in part)
        for piece in part[:1]:
            assert piece[0] == first
    pieces = [piece for _, part in parts for piece in part]
    assert_array_equal(np.concatenate([rows[:0], *pieces]), rows)
    n_rows = [sum(map(len, part)) for _, part in parts]
    assert len(n_rows) == n_parts and max(n_rows) - min(n_rows) <= 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("order", ["random", "nearest last", "nearest first", "all equal"])
@pytest.mark.parametrize("k", [1, 100, 9000])
def test_nearest_in_a_database_of_many_strips(backend, order, k):
    # Longer than a strip of the kernels; the worst order replaces what was kept all the time.
    database, queries = random_bits(9000, 24), random_bits(3, 24, seed=1)
    queries[1:] = queries[0]
    if order != "random":
        database = database[np.argsort((database != queries[0]).sum(axis=1), kind="stable")]
    if order == "nearest last":
        database = database[::-1].copy()
    if order == "all equal":
        database[:] = database[0]
    found = nearest([pack_codes(database)], pack_codes(queries), k, n_bits=24, backend=backend)
    expected = brute_force(queries, database)
    assert_array_equal(found[0], expected[0][:, :k])
    assert_array_equal(found[1], expected[1][:, :k])


@pytest.mark.parametrize("backend", BACKENDS)
def test_nearest_over_blocks_of_the_database(backend, monkeypatch):
    database, queries = random_bits(1000, 10), random_bits(5, 10, seed=1)
    expected = brute_force(queries, database)
    monkeypatch.setattr(_distances, "BLOCK", 64)
    monkeypatch.setattr(_distances, "LARGE_BLOCK", 80)
    monkeypatch.setattr(_distances, "PIECE", 300)
    for k in (1, 40, 100, 1000):
        found = nearest([pack_codes(database)], pack_codes(queries), k, n_bits=10, backend=backend)
        assert_array_equal(found[0], expected[0][:, :k])
        assert_array_equal(found[1], expected[1][:, :k])


@settings(deadline=None, max_examples=25)
@given(search=searches(), radius=st.integers(0, 20))
def test_radius_and_ranking_equal_brute_force(search, radius):
    queries, database, chunks, _ = search
    n_bits = queries.shape[1]
    expected = brute_force(queries, database)
    ranked = rank_rows(chunks, pack_codes(queries), n_bits=n_bits)
    assert_array_equal(ranked[0], expected[0])
    assert_array_equal(ranked[1], expected[1])
    distances, rows = within_radius(chunks, pack_codes(queries), radius, n_bits=n_bits)
    for i, query in enumerate(queries):
        d = (query != database).sum(axis=1)
        assert_array_equal(rows[i], np.flatnonzero(d <= radius))
        assert_array_equal(distances[i], d[d <= radius])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n_bits", [7, 64, 100, 128, 255, 256, 512, 700])
def test_radius_of_any_backend(backend, n_bits, monkeypatch):
    database, queries = random_bits(9000, n_bits, n_distinct=40), random_bits(3, n_bits, seed=1)
    queries[0] = database[5]
    d = (queries[:, None] != database).sum(axis=2)
    for block in (64, 2**18):
        monkeypatch.setattr(_distances, "BLOCK", block)
        monkeypatch.setattr(_distances, "LARGE_BLOCK", block)
        for radius in (0, 1.5, n_bits // 2, n_bits, 10 * n_bits):
            distances, rows = within_radius(
                [pack_codes(database)], pack_codes(queries), radius, n_bits=n_bits, backend=backend
            )
            for i in range(3):
                assert_array_equal(rows[i], np.flatnonzero(d[i] <= radius))
                assert_array_equal(distances[i], d[i][rows[i]])
                assert distances[i].dtype == np.int32 and rows[i].dtype == np.intp


# --- Tables of substrings ---------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None, max_examples=40)
@given(
    n_bits=st.sampled_from([16, 17, 32, 40, 64, 70, 96, 600, 640]),
    radius=st.integers(0, 20),
    seed=st.integers(0, 99),
    flips=st.integers(0, 10),
    at_once=st.sampled_from([1, 50, _multi_index.AT_ONCE]),
)
def test_the_index_finds_what_is_within_a_radius(backend, n_bits, radius, seed, flips, at_once):
    """Or says that it has not looked: never anything else."""
    rng = np.random.default_rng(seed)
    database, queries = random_bits(200, n_bits, seed, 20), random_bits(9, n_bits, seed, 20)
    for query in queries:  # Near rows, by bits anywhere.
        query[rng.choice(n_bits, min(flips, n_bits), replace=False)] ^= 1
    index = MultiIndex(pack_codes(database), n_bits)
    d = (queries[:, None] != database).sum(axis=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_multi_index, "AT_ONCE", at_once)
        for most in (0, 50, 5000):
            hits, answered = index.within(pack_codes(queries), radius, most, backend)
            numbers, rows = np.nonzero((d <= radius) & answered[:, None])
            assert_array_equal(hits.queries, numbers)
            assert_array_equal(hits.rows, rows)
            assert_array_equal(hits.distances, d[numbers, rows])
    few = radius // index.n_tables == 0
    assert answered.all() or not few


def test_no_code_within_the_radius_is_missed():
    """Every code at distance 5 from another, of 32 bits in two tables."""
    bits = np.zeros((1, 32), dtype=np.uint8)
    some = np.array(list(islice(combinations(range(32), 5), 0, None, 7)))
    others = np.zeros((len(some), 32), dtype=np.uint8)
    np.put_along_axis(others, some, 1, axis=1)
    index = MultiIndex(pack_codes(others), 32)
    assert index.n_tables == 2
    assert len(index.within(pack_codes(bits), 5, np.inf)[0].rows) == len(others)
    assert len(index.within(pack_codes(bits), 4, np.inf)[0].rows) == 0


@pytest.mark.parametrize("n_bits", [16, 31, 32, 40, 63, 64, 100, 128, 255, 512, 640, 1000, 4096])
def test_keys_of_an_index_share_no_byte_and_have_no_spare_bit(n_bits):
    """Or near rows would be missed, as one bit would count in two tables."""
    index = MultiIndex(pack_codes(random_bits(3, n_bits)), n_bits)
    assert index.n_tables == min(32, n_bits // 16)
    assert len(np.unique(index.key_bytes)) == len(index.key_bytes) == 2 * index.n_tables
    assert index.key_bytes.min() >= 0 and index.key_bytes.max() < n_bits // 8


def test_pieces_with_an_index_keep_it():
    """Of enough rows and of two substrings at least; the others have none."""
    few, enough = _multi_index.MIN_ROWS - 1, _multi_index.MIN_ROWS
    for n_bits, any_index in [(31, False), (32, True)]:
        pieces = [pack_codes(random_bits(n, n_bits)) for n in (few, enough, enough + 1)]
        indexes = _multi_index.index_chunks(pieces[:2], n_bits)
        assert [index is not None for index in indexes] == [False, any_index]
        more = _multi_index.index_chunks(pieces, n_bits, indexes)
        assert more[:2] == indexes and (more[2] is not None) == any_index


def test_memory_of_an_index_is_as_stated():
    index = MultiIndex(pack_codes(random_bits(20_000, 128)), 128)
    rows = sum(rows.nbytes for rows in index.rows)
    assert rows == 20_000 * 4 * 128 // 16
    assert index.nbytes - rows == 8 * 8 * (2**16 + 1)


# --- Counts of the metrics --------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", pytest.param("numba", marks=BACKENDS[1].marks)])
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize("c", [3, 70])
@pytest.mark.parametrize("n_bits", [6, 300])
@pytest.mark.parametrize("collapse", [False, True])
def test_counts_and_rankings(backend, graded, exclude_self, c, n_bits, collapse, monkeypatch):
    monkeypatch.setattr(_counts, "MANY_QUERIES", 1 if collapse else np.inf)
    n, n_distinct = 300 if exclude_self else 5000, 30 if collapse else None
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 30, n) if collapse else np.arange(n)
    bits = random_bits(n_distinct or n, n_bits)[rows]
    L = (rng.random((n_distinct or n, c)) < 2 / c).astype(int)[rows]
    n_queries = n if exclude_self else 9
    other = random_bits(n_queries, n_bits, seed=1)
    retrieval = Retrieval(
        pack_codes(other),
        pack_codes(bits),
        n_bits,
        encode_labels(L[:n_queries])[0],
        encode_labels(L)[0],
        graded=graded,
        exclude_self=exclude_self,
        backend=backend,
    )
    assert (retrieval._distinct()[2] is not None) == collapse
    block, counts = next(retrieval.histograms())
    rankings = retrieval.rankings()
    for i in range(9):
        d = (other[i] != bits).sum(axis=1)
        shared = L @ L[i] if graded else (L @ L[i] > 0).astype(int)
        keep = np.arange(n) != i if exclude_self else np.ones(n, dtype=bool)
        expected = np.zeros_like(counts[0])
        np.add.at(expected, (d[keep], shared[keep]), 1)
        assert_array_equal(counts[i], expected)
        order = np.argsort(d[keep], kind="stable")
        assert_array_equal(next(rankings)[1], shared[keep][order])
    assert block.start == 0


# --- Backends ---------------------------------------------------------------------------------


@needs_numba
@pytest.mark.parametrize("compiled", [False, True])
def test_auto_loads_numba_once_numpy_has_taken_as_long(compiled, monkeypatch):
    monkeypatch.delitem(sys.modules, "sklearn_cmh.hamming._numba", raising=False)
    monkeypatch.setattr(_backends, "_numpy_seconds", 0.0)
    monkeypatch.setattr(_backends, "_compiled_before", lambda: compiled)
    limit = _backends.LOAD_SECONDS if compiled else _backends.COMPILE_SECONDS
    n_pairs = round(limit / 4.5 / _backends.numpy_seconds(1, 64))
    chosen = [choose_backend("auto", n_pairs, 64) for _ in range(6)]
    assert chosen == ["numpy"] * 4 + ["numba"] * 2
    assert choose_backend("auto", 1, 64) == "numba"
    assert choose_backend("numpy", 10**15, 64) == "numpy"


def test_estimates_of_numpy_grow_with_pairs_and_bits():
    seconds = [_backends.numpy_seconds(10**6, n_bits) for n_bits in (8, 64, 100, 1024, 8192)]
    assert seconds == sorted(seconds)
    assert _backends.numpy_seconds(10**9, 64) == pytest.approx(1000 * seconds[1])


@needs_numba
@pytest.mark.parametrize("variable", [False, True])
def test_whether_kernels_were_compiled_before(variable, tmp_path, monkeypatch):
    package = tmp_path / "hamming"
    monkeypatch.setattr(_backends, "__file__", str(package / "_backends.py"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    cache = package / "__pycache__"
    if variable:
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
        cache = tmp_path / "cache" / "hamming_0123"
    assert not _backends._compiled_before()
    cache.mkdir(parents=True)
    (cache / "_numba._top_k-1.py311.nbi").touch()
    assert _backends._compiled_before()


@pytest.mark.parametrize("package", ["numba", "faiss"])
@pytest.mark.parametrize("auto", [False, True])
def test_a_missing_package_falls_back_with_a_warning(package, auto, monkeypatch):
    if auto and package == "faiss":
        pytest.skip("auto never chooses faiss")
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"sklearn_cmh.hamming._{package}", raising=False)
    monkeypatch.delattr(f"sklearn_cmh.hamming._{package}", raising=False)
    monkeypatch.setattr(_backends, "_numpy_seconds", 0.0)
    with pytest.warns(UserWarning, match=rf"{package} cannot be imported.*pip install"):
        assert choose_backend("auto" if auto else package, 10**12) == "numpy"


def test_small_searches_without_numba_are_no_warning(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "sklearn_cmh.hamming._numba", raising=False)
    monkeypatch.setattr(_backends, "_numpy_seconds", 1e6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_backend("auto", 10**6, 64) == "numpy"


def test_a_failing_backend_falls_back_with_a_warning():
    def compute(backend):
        if backend == "numba":
            raise RuntimeError("no compiler")
        return 42

    with pytest.warns(UserWarning, match=r"numba failed .*no compiler.*NumPy"):
        assert with_fallback("numba", compute) == 42


def test_an_error_of_numpy_is_an_error():
    with pytest.raises(ZeroDivisionError):
        with_fallback("numpy", lambda backend: 1 / 0)


@needs_numba
def test_kernels_are_cached_and_release_the_gil():
    kernels = _backends.load_kernels()
    for kernel in (kernels._top_k, kernels._within, kernels._count_pairs, kernels._rank_shared):
        assert kernel.targetoptions["nogil"]
        assert type(kernel._cache).__name__ == "FunctionCache"


@needs_numba
def test_kernels_run_uncached_where_nothing_can_be_written():
    code = """
import warnings
from numba.core import caching

caching.CompileResultCacheImpl._locator_classes = []
import numpy as np
from sklearn_cmh.hamming import choose_backend, nearest

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    backend = choose_backend("numba", 10**9)
messages = [str(warning.message) for warning in caught]
assert backend == "numba", messages
assert len(messages) == 1 and "NUMBA_CACHE_DIR" in messages[0], messages
codes = np.array([[0], [3], [1]], dtype=np.uint8)
assert nearest([codes], codes[:1], 2, n_bits=8, backend=backend)[1].tolist() == [[0, 2]]
"""
    # Slow kernels are compiled sooner.
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"NUMBA_OPT": "0"})


# --- Interruption -----------------------------------------------------------------------------


def test_an_error_in_one_thread_tells_the_others_to_stop():
    told = []

    def wait(part, interrupted):
        if part == 0:
            raise KeyboardInterrupt
        told.append(interrupted.wait(timeout=100))

    with pytest.raises(KeyboardInterrupt):
        in_threads(wait, [0, 1, 2])
    assert told == [True, True]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_search_looks_for_an_interruption_between_short_pieces(n_jobs, monkeypatch):
    """Ctrl-C during a piece ends the search after that piece of every thread."""
    codes = pack_codes(random_bits(64, 8))
    monkeypatch.setattr(_distances, "PIECE", 64)
    raised = threading.Event()
    calls = []

    def top_k(rows, queries, k, limits, n_bits):
        calls.append(len(queries))
        if threading.current_thread() is threading.main_thread():
            raised.set()
            raise KeyboardInterrupt
        raised.wait(timeout=100)
        time.sleep(0.1)
        return _numpy.top_k(_numpy.layout(rows, 1), queries, k, limits, n_bits)

    slow = _backends.Backend(_distances.rows_at_once, lambda rows, n_queries: rows, top_k)
    monkeypatch.setattr(_nearest, "load_backend", lambda name: slow)
    with pytest.raises(KeyboardInterrupt):
        nearest([codes], codes, 1, n_bits=8, n_jobs=n_jobs)
    assert calls == [1] * n_jobs
