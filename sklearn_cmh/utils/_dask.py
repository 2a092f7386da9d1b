"""Arrays of Dask: recognised without importing it, and computed with chunk by chunk."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add, getitem
from typing import Any

import numpy as np
from scipy import sparse

from ._typing import NDArray

__all__ = [
    "added_up",
    "checked_rows",
    "computed",
    "culled_chunks",
    "current_client",
    "delayed_call",
    "first_row",
    "in_flight",
    "in_memory",
    "is_dask",
    "is_dask_frame",
    "known_shape",
    "map_rows",
    "nearest_of_chunks",
    "pass_over",
    "probe",
    "remote",
    "row_chunks",
    "shared",
]

# Results of chunks that are merged at once.
FAN_IN = 8


def is_dask(X: Any) -> bool:
    """Whether X is an array of Dask, which then has been imported by whoever made it."""
    module = sys.modules.get("dask.array")
    return module is not None and isinstance(X, module.Array)


def is_dask_frame(X: Any) -> bool:
    """Whether X is a DataFrame or column of Dask, or another collection without a shape."""
    dask = sys.modules.get("dask")
    return dask is not None and dask.is_dask_collection(X) and not is_dask(X)


def in_memory(values: Any) -> Any:
    """What a collection of Dask holds, computed; anything else as it is."""
    dask = sys.modules.get("dask")
    return values.compute() if dask is not None and dask.is_dask_collection(values) else values


def known_shape(array: Any, what: str) -> Any:
    """A Dask array, if it knows how many rows and columns its chunks have; `what` names it.

    Raises
    ------
    ValueError
        If it does not.
    """
    if any(np.isnan(length) for chunks in array.chunks for length in chunks):
        raise ValueError(
            f"{what} is a Dask array with chunks of unknown length: call its "
            "compute_chunk_sizes() first."
        )
    return array


def checked_rows(array: Any, what: str) -> Any:
    """A Dask array whose chunks are whole rows, of known numbers of rows; `what` names it.

    A chunk that turns out to have another shape than Dask was told is an error when it is
    computed: all rows after it would have other numbers.

    Raises
    ------
    ValueError
        If Dask does not know how many rows and columns its chunks have.
    """
    array = known_shape(array, what).map_blocks(
        _as_declared, what, dtype=array.dtype, meta=array._meta
    )
    return array.rechunk({axis: -1 for axis in range(1, array.ndim)})


def _as_declared(chunk, what, block_info=None):
    declared = tuple(int(end - start) for start, end in block_info[0]["array-location"])
    found = tuple(getattr(chunk, "shape", declared))
    if found != declared:
        raise ValueError(
            f"{what} is a Dask array, of which a chunk has the shape {found}, where {declared} was "
            f"declared, from row {block_info[0]['array-location'][0][0]} on: tell "
            "dask.array.from_delayed the shape of what is read, or call compute_chunk_sizes()."
        )
    return chunk


def row_chunks(array: Any) -> list[Any]:
    """Chunks of an array from `checked_rows`, each to be computed on its own."""
    return list(array.to_delayed().reshape(len(array.chunks[0])))


def culled_chunks(array: Any) -> list[Any]:
    """Chunks of an array from `checked_rows` that have rows, each knowing of no other's tasks."""
    import dask

    chunks = zip(row_chunks(array), array.chunks[0], strict=True)
    return [dask.optimize(chunk)[0] for chunk, height in chunks if height]


def shared(value: Any) -> Any:
    """A value that many tasks take, sent to every worker once; a worker's loss does not lose it."""
    import dask

    return dask.delayed(value, traverse=False)


def delayed_call(function: Callable, chunks: list[Any], *args: Any) -> list[Any]:
    """Tasks ``function(chunk, *args)``."""
    import dask

    call = dask.delayed(function)
    return [call(chunk, *args) for chunk in chunks]


def pass_over(
    function: Callable, chunks: Sequence[Sequence[Any]], *args: Any
) -> tuple[list[Any], Any]:
    """One pass over chunks of rows: new rows stay where they are made, small sums come back.

    A worker that dies takes rows with it; Dask makes them again, from the chunks that they were
    made of.

    Parameters
    ----------
    function : callable
        Takes what belongs to a chunk, and `args`; returns new rows, and sums that add up.
    chunks : sequence of sequence of dask.delayed.Delayed
        What belongs to every chunk.
    *args : object
        Sent to every worker once.

    Returns
    -------
    rows : list of dask.delayed.Delayed
        New rows of every chunk, computed and kept.
    total : object
        The sum over the chunks.
    """
    import dask

    call, pick = map(dask.delayed, (function, getitem))
    common = [shared(arg) for arg in args]
    results = [call(*chunk, *common) for chunk in chunks]
    rows, sums = ([pick(result, i) for result in results] for i in range(2))
    *rows, total = dask.persist(*rows, _total(sums))
    return rows, total.compute()


def added_up(tasks: list[Any]) -> Any:
    """The sum of what tasks return, a few at a time where they are; brought here."""
    return computed([_total(tasks)])[0]


def _total(tasks):
    return _merged(_sum_of, tasks)


def _merged(function, tasks, *args):
    """A task that merges results by ``function(results, *args)``, a few at a time."""
    import dask

    merge = dask.delayed(function)
    while len(tasks) > 1:
        tasks = [merge(tasks[i : i + FAN_IN], *args) for i in range(0, len(tasks), FAN_IN)]
    return tasks[0]


def _sum_of(parts):
    return reduce(add, parts)


def remote(arrays: list[Any]) -> list[Any]:
    """Tasks that are arrays, brought to the workers; the scheduler has them in case one dies."""
    import dask

    hand_over = dask.delayed(_as_it_is)
    # That they are sent as parts of the tasks is wanted.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
        return list(dask.persist(*map(hand_over, arrays)))


def _as_it_is(values):
    return values


def computed(tasks: list[Any]) -> tuple[Any, ...]:
    """Results of tasks, brought here."""
    import dask

    return dask.compute(*tasks)


def in_flight() -> int:
    """How many tasks Dask runs at the same time, roughly."""
    client = current_client()
    if client is not None:
        return max(1, sum(client.ncores().values()))
    import dask

    workers = dask.config.get("num_workers", None)
    single = dask.config.get("scheduler", None) in ("sync", "synchronous", "single-threaded")
    return 1 if single else workers or os.cpu_count() or 1


def current_client() -> Any:
    """The client of the cluster on which Dask computes, or None where it computes here."""
    if "distributed" not in sys.modules:
        return None
    import dask
    from distributed import default_client

    scheduler = dask.config.get("scheduler", None)
    if scheduler not in (None, "dask.distributed", "distributed"):
        return None
    try:
        return default_client()
    except ValueError:
        return None


def probe(array: Any, n_rows: int = 1) -> Any:
    """Rows of the kind of a Dask array, to find out what is made of it.

    Zeros, or a word where columns of objects or strings are texts.
    """
    shape = (n_rows, *array.shape[1:])
    if sparse.issparse(array._meta):
        return sparse.csr_matrix(shape, dtype=array.dtype)
    if array.dtype.kind in "SUT" or (array.dtype.kind == "O" and array.ndim == 1):
        return np.full(shape, "text", dtype=object)
    return np.zeros(shape, dtype=array.dtype)


def first_row(array: Any) -> Any:
    """The first row of a Dask array, computed, with the values that it has."""
    return array[:1].compute()


def map_rows(
    function: Callable[[Any, dict[str, Any]], NDArray[Any]],
    estimator: Any,
    blocks: Mapping[str, Any],
    n_columns: int,
    dtype: np.dtype[Any],
) -> Any:
    """Array of Dask of what a function makes of the rows of some blocks, chunk by chunk.

    Parameters
    ----------
    function : callable
        Takes the estimator and blocks of rows, {name: array}, and returns (n, n_columns) of
        `dtype`.
    estimator : object
        Sent to every worker once.
    blocks : dict of dask.array.Array
        Blocks of the same number of rows. Those that are chunked in another way than the
        first are chunked anew.
    n_columns : int
        Columns of the result.
    dtype : dtype
        Type of the result.

    Returns
    -------
    mapped : dask.array.Array of shape (n, n_columns)
        Nothing is computed yet.
    """
    import dask
    import dask.array as da

    arrays = {
        name: checked_rows(block, f"The block {name!r}" if name else "X")
        for name, block in blocks.items()
    }
    heights = next(iter(arrays.values())).chunks[0]
    aligned = [row_chunks(array.rechunk({0: heights})) for array in arrays.values()]
    fitted, compute = shared(estimator), dask.delayed(function)
    parts = [
        da.from_delayed(
            compute(fitted, dict(zip(arrays, rows, strict=True))), (height, n_columns), dtype
        )
        for height, *rows in zip(heights, *aligned, strict=True)
    ]
    return da.concatenate(parts)


def nearest_of_chunks(
    search: Callable[[Any, Any, Any, int], tuple[NDArray[Any], NDArray[np.intp]]],
    ranker: Any,
    array: Any,
    queries: NDArray[Any],
    k: int,
) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Compute the k nearest rows of an array of Dask from those of its chunks, ties by row.

    Parameters
    ----------
    search : callable
        Takes the ranker, a chunk, queries and k; returns distances and rows of the chunk,
        (n_queries, at most k), equal distances by row.
    ranker : object
        Sent to every worker once.
    array : dask.array.Array
        The rows, from `checked_rows`.
    queries : ndarray
        Sent to every worker once.
    k : int
        Number of rows.

    Returns
    -------
    distances, rows : ndarray of shape (n_queries, k)
        The nearest of all.
    """
    import dask

    common = [shared(part) for part in (ranker, queries)]
    start = dask.delayed(_numbered)
    heights = array.chunks[0]
    firsts = np.cumsum([0, *heights])
    found = [
        start(search, chunk, *common, k, int(first))
        for chunk, height, first in zip(row_chunks(array), heights, firsts, strict=False)
        if height
    ]
    return computed([_merged(_nearest_of, found, k)])[0]


def _numbered(search, chunk, ranker, queries, k, first):
    distances, rows = search(ranker, chunk, queries, k)
    return distances, rows + first


def _nearest_of(found, k):
    distances, rows = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(rows, order, axis=1)
