"""Interrupt fits at random moments, as Ctrl-C does: `python tests/interrupted_fits.py 50 DSAH AAH`.

So many times each of the estimators named, or all.

A fit that is interrupted leaves the estimator as it was, or, at its very end, as it becomes; the
next fit is as if nothing had been. A process of its own, so that a signal that comes too late
hits nobody else.
"""

import signal
import sys
import threading
import time
import warnings

import numpy as np
from sklearn.base import clone

from sklearn_cmh import HammingRanker, MultimodalData, SharedSpace
from sklearn_cmh.utils.discovery import all_estimators

SMALL = {"n_bits": 8, "n_anchors": 15, "max_iter": 3, "n_restarts": 1, "pool_bits": 8}
SMALL |= {"widths": (1.0,), "ridges": (0.1, 1.0), "preprocessing": ("raw",), "random_state": 0}
SMALL |= {"n_bases": 24}


def small(cls):
    """An estimator that is fitted in no time, on the paths of its defaults."""
    known = cls().get_params(deep=False)
    return cls(**{name: value for name, value in SMALL.items() if name in known})


def rows(seed):
    """Paired rows of three classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(40) % 3
    blocks = [rng.standard_normal((3, 5))[y] + rng.standard_normal((40, 5)) for _ in range(2)]
    return MultimodalData(image=blocks[0], text=blocks[1]), y


def interrupt(estimator, rounds, rng):
    """Fit with interruptions; how many hit."""
    (X, y), (other, other_y) = rows(0), rows(1)
    before = clone(estimator).fit(X, y).transform(X)
    start = time.perf_counter()
    after = clone(estimator).fit(other, other_y).transform(X)
    seconds = time.perf_counter() - start
    fitted = clone(estimator).fit(X, y)
    hits = 0
    for _ in range(rounds):
        try:
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 1.1 * seconds))
            fitted.fit(other, other_y)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            hits += 1
            answer = fitted.transform(X)
            assert np.array_equal(answer, before) or np.array_equal(answer, after), estimator
        fitted.fit(X, y)
        assert np.array_equal(fitted.transform(X), before), estimator
    return hits


def interrupt_search(rounds, rng):
    """Rank with interruptions in all of its threads; how many hit."""
    codes = np.where(rng.random((3000, 64)) < 0.5, -1, 1).astype(np.int8)
    ranker = HammingRanker(5, n_jobs=2).fit(codes)
    start = time.perf_counter()
    expected = ranker.kneighbors(codes[:200], return_distance=False)
    seconds = time.perf_counter() - start
    hits = 0
    for _ in range(rounds):
        try:
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, seconds))
            ranker.kneighbors(codes[:200])
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            hits += 1
        found = ranker.kneighbors(codes[:200], return_distance=False)
        assert np.array_equal(found, expected)
    return hits


def main(rounds, names):
    """Interrupt the fits of those named, or of all, and a search: `rounds` times each."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    rng = np.random.default_rng(0)
    kinds = ("shallow", "refined", "baseline")
    found = dict(item for kind in kinds for item in all_estimators(kind=kind))
    found["SharedSpace"] = SharedSpace
    hits = sum(interrupt(small(found[name]), rounds, rng) for name in names or found)
    hits += interrupt_search(rounds, rng)
    # Where the wait for a thread was interrupted, it is left to end by itself.
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join(timeout=60)
    assert threading.active_count() == 1, threading.enumerate()
    print(hits)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
