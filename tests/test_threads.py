"""Blocks of rows on several threads: the same results, in order, and BLAS as it was."""

import re
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event, get_ident
from time import sleep

import numpy as np
import pytest
from sklearn import clone, config_context, get_config
from sklearn.linear_model import Ridge
from sklearn.preprocessing import FunctionTransformer
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_cmh import AAH, ASCMH, DSAH, RefinedHasher
from sklearn_cmh.datasets import make_multimodal_classification
from sklearn_cmh.features._mapped_rows import MappedRows, StoredRows
from sklearn_cmh.shallow import BATCH
from sklearn_cmh.solvers import Sweeps
from sklearn_cmh.utils import _threads
from sklearn_cmh.utils._threads import (
    add_blocks,
    count_threads,
    for_blocks,
    map_blocks,
    quiet_blas,
    row_slices,
)


@pytest.fixture
def three_threads(monkeypatch):
    """BLAS takes three threads, as if there were as many cores."""
    monkeypatch.setattr(_threads, "cpu_count", lambda: 3)
    with threadpool_limits(3, user_api="blas"):
        if blas_threads() != {3}:
            pytest.skip("the threads of this BLAS cannot be chosen")
        yield


def blas_threads():
    """Those of libraries that have one number for all Python threads: not with OpenMP."""
    return {
        library["num_threads"]
        for library in threadpool_info()
        if library["user_api"] == "blas" and library.get("threading_layer") != "openmp"
    }


def test_threads_do_not_share_their_blocks_again(three_threads):
    assert set(map_blocks(lambda _: count_threads(), range(50))) == {1}


@pytest.mark.parametrize("small", [False, True])
def test_results_come_in_order_from_several_threads(three_threads, small):
    threads, within = set(), []

    def square(x):
        threads.add(get_ident())
        within.append(blas_threads())
        return x * x

    assert list(map_blocks(square, range(100), small)) == [x * x for x in range(100)]
    assert get_ident() not in threads
    assert 1 <= len(threads) <= 3
    assert all(counts == {1} for counts in within)


def test_few_blocks_stay_in_the_thread_that_asks(three_threads):
    threads = {thread for thread in map_blocks(lambda _: get_ident(), range(11))}
    assert threads == {get_ident()}


@pytest.mark.parametrize(("small", "together"), [(False, 1), (True, 8)])
def test_no_more_results_wait_than_threads_make(three_threads, small, together):
    begun = []
    results = map_blocks(begun.append, range(100), small)
    next(results)
    results.close()
    assert len(begun) <= 4 * together


def test_sums_do_not_depend_on_the_threads(monkeypatch):
    x = np.random.RandomState(0).standard_normal(1000) * 10.0 ** np.arange(-8, 8).repeat(63)[:1000]
    totals = set()
    monkeypatch.setattr(_threads, "cpu_count", lambda: 7)
    for count in (1, 2, 7):
        with threadpool_limits(count, user_api="blas"):
            totals.add(add_blocks(0.0, lambda i: x[i], range(1000)))
    assert len(totals) == 1


def test_filters_of_warnings_are_as_they_were(three_threads):
    def check(i):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sleep(1e-3 * (i % 3))

    filters = list(warnings.filters)
    for_blocks(check, range(60))
    assert warnings.filters == filters


def test_whoever_leaves_last_gives_blas_its_threads_back(three_threads):
    _threads._let_any_thread_limit()  # of the fixture, in this thread
    within, leave = [Event(), Event()], [Event(), Event()]

    def hold(i):
        with _threads._one_blas_thread():
            within[i].set()
            leave[i].wait(60)

    with ThreadPoolExecutor(2) as pool:  # its threads live on
        results = []
        for i in range(2):
            results.append(pool.submit(hold, i))
            assert within[i].wait(60)
        assert blas_threads() == {1}
        for i in range(2):
            leave[i].set()
            results[i].result()
        assert blas_threads() == {3}
        within = map_blocks(lambda _: blas_threads(), range(50))
        assert all(counts == {1} for counts in within)


@pytest.mark.parametrize("stop", [lambda r: list(r), lambda r: (next(r), r.close())])
def test_blas_has_its_threads_back(three_threads, stop):
    def fail(x):
        if x == 50:
            raise ZeroDivisionError
        return x

    with suppress(ZeroDivisionError):
        stop(map_blocks(fail, range(100)))
    assert blas_threads() == {3}


def test_an_error_of_a_block_is_that_of_the_caller(three_threads):
    with pytest.raises(ZeroDivisionError):
        for_blocks(lambda x: 1 // x, range(50))


def test_blas_has_its_threads_back_when_the_last_caller_leaves(three_threads):
    with _threads._one_blas_thread():
        with _threads._one_blas_thread():
            pass
        assert blas_threads() == {1}
    assert blas_threads() == {3}


def test_quiet_blas_leaves_the_threads_to_blocks(three_threads):
    def found(i):
        sleep(1e-3)
        return get_ident()

    with quiet_blas(n=100_000, q=10):
        assert blas_threads() == {1} and count_threads() == 3
        with quiet_blas(n=100_000, q=10):
            assert count_threads() == 3
        assert len(set(map_blocks(found, range(50))) - {get_ident()}) > 1
        assert blas_threads() == {1} and count_threads() == 3
    assert blas_threads() == {3} and count_threads() == 3
    with suppress(ZeroDivisionError), quiet_blas(n=100_000, q=10):
        raise ZeroDivisionError
    assert blas_threads() == {3} and count_threads() == 3
    with threadpool_limits(2, user_api="blas"):  # as it is now, not as it was
        assert count_threads() == 2


def threads_of_blocks():
    return set(map_blocks(lambda _: sleep(1e-3) or get_ident(), range(50)))


def test_passes_take_the_same_threads_while_blas_is_quiet(three_threads):
    with quiet_blas(n=100_000, q=10):
        first = threads_of_blocks()
        with quiet_blas(n=100_000, q=10):
            assert len(first | threads_of_blocks() | threads_of_blocks()) <= 3
        with config_context(working_memory=7):  # they would not know
            assert not first & threads_of_blocks()
        with suppress(ZeroDivisionError):
            for_blocks(lambda x: 1 // x, range(50))
        assert len(first | threads_of_blocks()) <= 3


def test_few_blocks_are_shared_while_blas_is_quiet(three_threads):
    def at_once(i):
        arrived[i].set()
        return i > 1 or arrived[1 - i].wait(60)  # or it is alone

    for small in (False, True):
        arrived = [Event() for _ in range(4)]
        with quiet_blas(n=100_000, q=10):
            assert all(map_blocks(at_once, range(4), small))


def test_no_block_goes_on_when_another_has_failed(three_threads):
    at_work, done = Event(), []

    def work(x):
        if x == 0:
            assert at_work.wait(60)
            raise ZeroDivisionError
        at_work.set()
        sleep(0.05)
        done.append(x)

    with quiet_blas(n=100_000, q=10):
        with suppress(ZeroDivisionError):
            list(map_blocks(work, range(50)))
        seen = len(done)
        sleep(0.2)
        assert len(done) == seen >= 1


@pytest.mark.parametrize(("n", "q"), [(100_000, 40_000), (5000, 10)])
def test_blas_keeps_its_threads_for_large_products_and_few_rows(n, q, three_threads):
    with quiet_blas(n, q):
        assert blas_threads() == {3}


def test_a_thread_for_blocks_takes_no_others_however_quiet(three_threads):
    def within(_):
        with quiet_blas(n=100_000, q=10):
            return count_threads()

    with quiet_blas(n=100_000, q=10):
        assert set(map_blocks(within, range(50))) == {1}


@pytest.mark.parametrize("method", [AAH(8), BATCH(8, n_anchors=9)], ids=str)
@pytest.mark.parametrize("maps", ["default", "given"])
def test_solvers_keep_blas_quiet_between_passes(method, maps, three_threads, monkeypatch):
    X, y = make_multimodal_classification(15_000, {"image": 12, "text": 9}, random_state=0)
    seen, mapped, record = [], [], Sweeps.record

    def watched(self, value):
        seen.append(blas_threads())
        record(self, value)

    def own_map(X):
        mapped.append(blas_threads())
        return X

    monkeypatch.setattr(Sweeps, "record", watched)
    method = clone(method).set_params(random_state=0)
    if maps == "given":
        method.set_params(feature_map=FunctionTransformer(own_map))
    method.fit(X, y)
    assert len(seen) == method.n_iter_ and all(counts == {1} for counts in seen)
    assert all(counts == {3} for counts in mapped) and bool(mapped) == (maps == "given")
    assert blas_threads() == {3}


@pytest.mark.parametrize(("method", "threads"), [(AAH(8), 1), (DSAH(8, n_anchors=9), 3)], ids=str)
def test_blas_is_quiet_from_the_features_on_where_sums_are_most(method, threads, three_threads):
    seen = []

    class Watched(type(method)):
        def _solve(self, features, L, rng):
            seen.append(blas_threads())
            return super()._solve(features, L, rng)

    X, y = make_multimodal_classification(15_000, {"image": 12, "text": 9}, random_state=0)
    Watched(**method.get_params()).fit(X, y)
    assert seen == [{threads}] and blas_threads() == {3}


def test_settings_are_those_of_the_caller(three_threads):
    with config_context(working_memory=7):
        found = set(map_blocks(lambda _: get_config()["working_memory"], range(50)))
    assert found == {7}


def test_maps_of_others_take_turns(three_threads):
    inside, most = [], []

    def watched(X):
        inside.append(X)
        most.append(len(inside))
        sleep(1e-4)
        inside.pop()
        return X

    X = np.random.RandomState(0).standard_normal((200, 3))
    rows = MappedRows(FunctionTransformer(watched), X)
    for some, found in zip(
        row_slices(200, 4), map_blocks(rows.__getitem__, row_slices(200, 4)), strict=True
    ):
        np.testing.assert_array_equal(found, X[some])
    assert max(most) == 1


def test_floating_point_errors_are_treated_as_the_caller_does(three_threads):
    zero = np.zeros(1)
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        for_blocks(lambda _: 1 / zero, range(50))
    with np.errstate(divide="ignore"):
        for_blocks(lambda _: 1 / zero, range(50))


@pytest.mark.parametrize(
    "method",
    [AAH(16, max_iter=2), ASCMH(16, n_anchors=30, max_iter=2), DSAH(16, n_anchors=30, max_iter=2)],
)
def test_fits_and_codes_do_not_depend_on_the_threads(method, three_threads):
    X, y = make_multimodal_classification(60_000, {"image": 12, "text": 9}, random_state=0)
    method.set_params(random_state=0)
    codes = [method.fit(X, y).codes_, method.encode(X["text"], modality="text")]
    with threadpool_limits(1, user_api="blas"):
        alone = [method.fit(X, y).codes_, method.encode(X["text"], modality="text")]
    np.testing.assert_array_equal(codes, alone)


def threads_of_encoding(hasher, X, monkeypatch):
    """Threads in which batches of new rows are projected."""
    threads, project = set(), type(hasher)._project

    def watched(self, name, block):
        threads.add(get_ident())
        return project(self, name, block)

    monkeypatch.setattr(type(hasher), "_project", watched)
    hasher.encode(X)
    return threads


def identity(X):
    return X


@pytest.fixture(scope="module")
def many_rows():
    return make_multimodal_classification(30_000, {"image": 4, "text": 3}, random_state=0)


@pytest.mark.parametrize(
    ("hasher", "is_shared"),
    [
        (DSAH(8, n_anchors=20), True),
        (AAH(8), True),
        (RefinedHasher(n_bits=8, n_anchors=50, widths=[0.5], ridges=[0.1]), True),
        (RefinedHasher(AAH(8), 8, n_restarts=2, refit_hash_functions=False), True),
        (DSAH(8, feature_map=FunctionTransformer(identity)), False),
        (
            AAH(
                8, modalities=[("image", FunctionTransformer(identity), None), ("text", None, None)]
            ),
            False,
        ),
        (ASCMH(8, n_anchors=20, hash_estimator=Ridge()), False),
        (
            RefinedHasher(
                AAH(8, feature_map=FunctionTransformer(identity)),
                8,
                n_restarts=2,
                refit_hash_functions=False,
            ),
            False,
        ),
    ],
)
def test_batches_of_new_rows_are_shared_unless_others_wrote_a_part(
    hasher, is_shared, many_rows, three_threads, monkeypatch
):
    X, y = many_rows
    with threadpool_limits(1, user_api="blas"):  # more than there are cores get in each other's way
        hasher.set_params(random_state=0).fit(X[:500], y[:500])
    threads = threads_of_encoding(hasher, X, monkeypatch)
    assert (get_ident() not in threads) == is_shared
    assert len(threads) > 1 or not is_shared


class Rows:
    """Rows of somebody else, who notes in which thread they are asked for."""

    def __init__(self, values):
        self.values, self.shape, self.threads = values, values.shape, set()

    def __len__(self):
        return len(self.values)

    def __getitem__(self, rows):
        self.threads.add(get_ident())
        return self.values[rows]


def test_rows_are_asked_for_in_the_thread_that_encodes(many_rows, three_threads):
    X, y = many_rows
    hasher = DSAH(8, n_anchors=20, random_state=0).fit(X[:500], y[:500])
    rows = Rows(X["image"])
    np.testing.assert_array_equal(
        hasher.encode(rows, modality="image"), hasher.encode(X["image"], modality="image")
    )
    assert rows.threads == {get_ident()}


def test_an_error_of_all_batches_tells_nothing_of_their_height(many_rows, three_threads):
    X, y = many_rows
    hasher = DSAH(8, n_anchors=20, random_state=0).fit(X[:500], y[:500])
    with pytest.raises(ValueError, match=r"had 3 columns at fit.*; got 4 columns\."):
        hasher.encode(X["image"], modality="text")


def test_an_error_of_one_batch_is_that_of_all(many_rows, three_threads):
    X, y = many_rows
    hasher = DSAH(8, n_anchors=20, random_state=0).fit(X[:500], y[:500])
    image = X["image"].copy()
    image[20_000, 1] = np.nan
    with pytest.raises(ValueError, match="NaN") as caught:
        hasher.encode(image, modality="image")
    (first, last) = map(int, re.findall(r"\d+", *caught.value.__notes__))
    assert first <= 20_000 <= last < first + 8192
    assert blas_threads() == {3}


@pytest.fixture
def eager_threads():
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_stored_rows_are_read_and_written_in_several_threads(three_threads, eager_threads):
    values = np.arange(400_000.0).reshape(20_000, 20)
    F = StoredRows(values.shape, values.dtype)
    blocks = row_slices(20_000, 10)

    def write(rows):
        F[rows] = values[rows]

    for_blocks(write, blocks)
    assert F.largest == values.max()
    wanted = [np.arange(20_000)[rows][::3] if i % 2 else rows for i, rows in enumerate(blocks)]
    for rows, found in zip(wanted, map_blocks(F.__getitem__, wanted), strict=True):
        np.testing.assert_array_equal(found, values[rows])
