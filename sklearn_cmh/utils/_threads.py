"""Blocks of rows on several threads, each with one thread of BLAS.

Products alone would be shared by the threads of BLAS. What stands between them, conversions and
whatever goes entry by entry, would not, and takes half of a fit; and threads of BLAS wait for each
other at the end of every product, and stay awake for the next one, in the way of other threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from threading import Lock, local
from typing import Any, TypeVar
from warnings import catch_warnings

import numpy as np
from joblib import cpu_count
from sklearn import get_config, set_config
from sklearn.utils import gen_batches
from threadpoolctl import ThreadpoolController

__all__ = ["add_blocks", "count_threads", "for_blocks", "map_blocks", "quiet_blas", "row_slices"]

Block = TypeVar("Block")
Result = TypeVar("Result")

# Results wait for those of earlier blocks, and may be large.
_MOST_THREADS = 8
# For fewer blocks a thread, threads of BLAS are as good, or one thread for fewer in all, if it is
# quiet.
_FEWEST_BLOCKS = 4
# Rows of a block, in most passes.
_BLOCK_ROWS = 1024
# Small blocks that a thread takes at a time: whoever hands one over waits for the interpreter.
_TOGETHER = 8


def map_blocks(
    function: Callable[[Block], Result], blocks: Sequence[Block], small: bool = False
) -> Iterator[Result]:
    """Yield ``function(block)`` of every block, from the first to the last.

    As many are computed at the same time as BLAS would take threads, eight at most.

    Parameters
    ----------
    function : callable
        Computes what does not depend on other blocks; it may write to rows of its own.
    blocks : sequence
        Slices of rows, for instance. They are taken of it by the thread that asks for results.
    small : bool, default=False
        Whether blocks and their results are small: a thread then takes several at a time.

    Yields
    ------
    result : object
        In the order of the blocks.

    Examples
    --------
    >>> from sklearn_cmh.utils._threads import map_blocks
    >>> list(map_blocks(abs, [-3, -2]))
    [3, 2]
    """
    quiet = _thread.pool is not None
    # Processors are not counted for a few blocks: that takes longer than to map one row.
    n_threads = count_threads() if quiet or len(blocks) >= 2 * _FEWEST_BLOCKS else 1
    if n_threads == 1 or len(blocks) < _FEWEST_BLOCKS * (1 if quiet else n_threads):
        yield from map(function, blocks)
        return
    waiting: deque = deque()
    together = max(1, min(_TOGETHER, len(blocks) // (_FEWEST_BLOCKS * n_threads))) if small else 1
    # Filters of warnings are the whole process's. Where scikit-learn changes them to check rows, in
    # several threads at once, they would not come back as they were.
    with _one_blas_thread(), catch_warnings(), _pool_of(n_threads) as pool:
        try:
            for some in gen_batches(len(blocks), together):
                few = [blocks[i] for i in range(some.start, some.stop)]
                waiting.append(pool.submit(_each, function, few))
                if len(waiting) > n_threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            wait(waiting)


def _each(function, blocks):
    return [function(block) for block in blocks]


class _Pool(ThreadPoolExecutor):
    """Threads with the settings of the one that makes them."""

    def __init__(self, n_threads):
        self.settings = get_config(), np.geterr()
        super().__init__(n_threads, "", _as_caller, self.settings)


def _pool_of(n_threads):
    """Context of a pool: the one of `quiet_blas`, unless settings are others now, or a new one."""
    kept = _thread.pool
    if kept is not None and kept.settings == (get_config(), np.geterr()):
        return nullcontext(kept)
    return _Pool(n_threads)


def _as_caller(config, errors):
    """What a thread begins with: the caller's scikit-learn, and floating-point errors."""
    set_config(**config)
    np.seterr(**errors)
    _thread.n_threads = 1


def for_blocks(function: Callable[[Block], Any], blocks: Sequence[Block]) -> None:
    """Call a function that writes to rows of its own on every block; see `map_blocks`."""
    deque(map_blocks(function, blocks, small=True), maxlen=0)


def add_blocks(
    total: Any, function: Callable[[Block], Any], blocks: Sequence[Block], small: bool = False
) -> Any:
    """Add ``function(block)`` of every block to a total, in place of arrays; see `map_blocks`.

    They are added from the first to the last: the sum is the same to the last bit, whatever the
    number of threads.

    Examples
    --------
    >>> from sklearn_cmh.utils._threads import add_blocks
    >>> add_blocks(1, abs, [-3, -2])
    6
    """
    for result in map_blocks(function, blocks, small):
        total += result
    return total


def row_slices(n: int, height: int) -> list[slice]:
    """Slices of n rows, `height` rows each."""
    return list(gen_batches(n, height)) if n else []


@lru_cache(maxsize=1)
def _blas():
    return ThreadpoolController().select(user_api="blas")


def count_threads() -> int:
    """How many threads `map_blocks` would take now: as many as a product would, eight at most."""
    if _thread.n_threads is not None:
        return _thread.n_threads
    return min(_most_blas_threads(), cpu_count(), _MOST_THREADS)


def _most_blas_threads():
    return max((library.num_threads for library in _blas().lib_controllers), default=1)


class _Thread(local):
    """What one thread knows: how many it may take, where that is not for BLAS to say."""

    n_threads: int | None = None
    pool: _Pool | None = None


_thread = _Thread()
_lock = Lock()
_n_within = 0
_limits: Any = None


@contextmanager
def quiet_blas(n: int, q: int) -> Iterator[None]:
    """Products within take one thread of BLAS, and `map_blocks` as many threads as without.

    A thread of BLAS stays awake for tens of milliseconds after a product, in the way of those that
    the next pass over blocks takes. That is more than it helps with small products between passes.
    Passes take the same threads, fewer blocks a thread included; their results are taken within.

    Parameters
    ----------
    n : int
        Rows that are passed over. If they make too few blocks for all threads, nothing is changed.
    q : int
        Order of the largest matrix between passes. If its products take longer by one thread than
        a pass does by all, nothing is changed.

    Examples
    --------
    >>> from sklearn_cmh.utils._threads import add_blocks, quiet_blas
    >>> with quiet_blas(n=2, q=1):
    ...     add_blocks(1, abs, [-3, -2])
    6
    """
    n_threads = count_threads()
    if n_threads == 1 or n < n_threads * max(q, _FEWEST_BLOCKS * _BLOCK_ROWS):
        yield
        return
    before = _thread.n_threads, _thread.pool
    try:
        with _one_blas_thread(), _pool_of(n_threads) as pool:
            _thread.n_threads, _thread.pool = n_threads, pool
            yield
    finally:
        _thread.n_threads, _thread.pool = before


@contextmanager
def _one_blas_thread():
    """Limit BLAS to one thread while any caller is within: it is the whole process's number."""
    global _n_within, _limits
    with _lock:
        if not _n_within:
            _limits = _blas().limit(limits=1)
            if _most_blas_threads() > 1:  # another thread sets the limits
                _limits = None
        _n_within += 1
    try:
        yield
    finally:
        with _lock:
            _n_within -= 1
            if not _n_within and _limits is not None:
                _let_any_thread_limit()  # who came first may be another than who leaves last
                _limits.restore_original_limits()
                _let_any_thread_limit()


def _let_any_thread_limit():
    """Release the limits of BLAS, which threadpoolctl, from 3.8 on, leaves to the first thread."""
    for library in _blas().lib_controllers:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)
