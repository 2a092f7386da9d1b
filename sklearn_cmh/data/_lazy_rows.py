"""Rows of which only some are in memory: read, computed, or kept by workers of Dask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import getitem
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.utils import gen_batches

from ..utils._dask import (
    added_up,
    computed,
    culled_chunks,
    delayed_call,
    in_flight,
    pass_over,
    remote,
    shared,
)
from ..utils._typing import Features, Floats, NDArray
from ._checks import FLOATS, checked
from ._multimodal import MultimodalData

__all__ = [
    "ChunkedRows",
    "LazyRows",
    "beside",
    "is_sparse",
    "multimodal",
    "over_rows",
    "shifted",
    "stacked",
]

_BLOCK_ROWS = 4096


def is_sparse(rows: Any) -> bool:
    """Whether rows are sparse, here or in chunks."""
    return rows.is_sparse if isinstance(rows, ChunkedRows) else sparse.issparse(rows)


class LazyRows:
    """Takes the place of an (n, q) array that would be too large to keep.

    It has a shape, a dtype, a mean, and can be indexed by rows, which gives arrays.
    """

    shape: tuple[int, int]
    dtype: np.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Floats:
        raise NotImplementedError

    def mean(self, axis: int = 0, dtype: Any = np.float64) -> Floats:
        """Mean of every column."""
        total = np.zeros(self.shape[1], dtype=dtype)
        for rows in gen_batches(len(self), _BLOCK_ROWS):
            total += self[rows].sum(axis=axis, dtype=dtype)
        return total / len(self)


class ChunkedRows(LazyRows):
    """Rows whose chunks are computed by Dask whenever they are asked for.

    Parameters
    ----------
    chunks : list of dask.delayed.Delayed
        Arrays or sparse matrices of consecutive rows.
    heights : sequence of int
        Their numbers of rows.
    width : int
        Columns.
    dtype : dtype
        Of the values.
    is_sparse : bool
        Whether chunks are sparse matrices, as far as Dask was told.

    Attributes
    ----------
    shift : ndarray of shape (d,) or None
        To be subtracted from the chunks, by whoever computes with them where they are.
    largest : float or None
        Largest magnitude of the chunks, where it is known.
    """

    shift: Floats | None = None
    largest: float | None = None

    def __init__(self, chunks: list[Any], heights: Any, width: int, dtype: Any, is_sparse: bool):
        self.chunks, self.heights = chunks, np.asarray(heights, dtype=np.intp)
        self.is_sparse = is_sparse
        self.shape, self.dtype = (int(self.heights.sum()), width), np.dtype(dtype)
        self._ends = np.cumsum(self.heights)

    @classmethod
    def from_dask(cls, array: Any, first: Features, complaint: str) -> Self:
        """Chunks of an array of Dask, validated where they are computed.

        Parameters
        ----------
        array : dask.array.Array of shape (n, d)
            From `checked_rows`.
        first : {ndarray, sparse}
            A row of its kind, validated.
        complaint : str
            Begins the error of a chunk that holds what no hasher takes.
        """
        heights = [height for height in array.chunks[0] if height]
        width, is_sparse = first.shape[1], sparse.issparse(first)
        rows = cls(culled_chunks(array), heights, width, first.dtype, is_sparse)
        rows.chunks = [
            delayed_call(_checked, [chunk], complaint, some.start)[0]
            for chunk, some in zip(rows.chunks, rows.slices(), strict=True)
        ]
        return rows

    def to_dask(self) -> Any:
        """The same rows as an array of Dask."""
        import dask.array as da

        meta = sparse.csr_array((0, self.shape[1]), dtype=self.dtype) if self.is_sparse else None
        return da.concatenate(
            [
                da.from_delayed(chunk, (int(height), self.shape[1]), self.dtype, meta=meta)
                for chunk, height in zip(self.chunks, self.heights, strict=True)
            ]
        )

    def map(self, first: Features, function: Callable, *args: Any) -> Self:
        """Rows ``function(chunk, *args)``, of which `first` is one; nothing is computed yet."""
        chunks = delayed_call(function, self.chunks, *map(shared, args))
        dtype, is_sparse = first.dtype, sparse.issparse(first)
        return type(self)(chunks, self.heights, first.shape[1], dtype, is_sparse)

    def where(self, mask: NDArray) -> Self:
        """The rows that a mask chooses; nothing is computed yet."""
        chosen = [np.flatnonzero(mask[rows]) for rows in self.slices()]
        kept = [(chunk, rows) for chunk, rows in zip(self.chunks, chosen, strict=True) if len(rows)]
        chunks = [delayed_call(_taken, [chunk], rows)[0] for chunk, rows in kept]
        heights = [len(rows) for _, rows in kept]
        return type(self)(chunks, heights, self.shape[1], self.dtype, self.is_sparse)

    def joined(self, *others: ChunkedRows) -> Self:
        """Columns of these rows and of others, dense; nothing is computed yet."""
        rows: list[ChunkedRows] = [self, *others]
        width, dtype = sum(A.shape[1] for A in rows), np.result_type(*(A.dtype for A in rows))
        return type(self)(_calls(_side_by_side, rows, ()), self.heights, width, dtype, False)

    def persist(self) -> Self:
        """The same, computed, and kept where it was."""
        import dask

        kept = list(dask.persist(*self.chunks))
        return type(self)(kept, self.heights, self.shape[1], self.dtype, self.is_sparse)

    def each(self, function: Callable | None = None, *args: Any) -> Iterator[Any]:
        """Yield ``function(chunk, *args)``, or the chunks, from the first to the last.

        No more are in memory here at a time than are computed at the same time.
        """
        tasks = self.chunks
        if function is not None:
            tasks = delayed_call(function, tasks, *map(shared, args))
        step = in_flight()
        for start in range(0, len(tasks), step):
            yield from computed(tasks[start : start + step])

    def slices(self) -> list[slice]:
        """Rows of every chunk."""
        return [slice(end - h, end) for h, end in zip(self.heights, self._ends, strict=True)]

    # As with an array of rows, which stays with the workers: what is made is computed and kept,
    # what is added up over rows is brought here.

    __array_ufunc__ = None  # arrays leave it to these methods to compute with them

    def made(
        self, width: int, dtype: Any, function: Callable, *others: ChunkedRows, args: tuple = ()
    ) -> Self:
        """Kept rows ``function(chunk, *chunks of others, *args)``."""
        tasks = _calls(function, (self, *others), args)
        return type(self)(tasks, self.heights, width, dtype, False).persist()

    def total(self, function: Callable, *others: ChunkedRows, args: tuple = ()) -> Any:
        """Sum over chunks of ``function(chunk, *chunks of others, *args)``."""
        return added_up(_calls(function, (self, *others), args))

    def picked(self, item: Any) -> Self:
        """Rows ``chunk[item]`` of chunks that each hold rows by item."""
        return self.made(self.shape[1], self.dtype, getitem, args=(item,))

    def _with(self, function, other):
        if isinstance(other, ChunkedRows):
            width = max(self.shape[1], other.shape[1])
            dtype = np.result_type(self.dtype, other.dtype)
            return self.made(width, dtype, function, other)
        return self.made(self.shape[1], np.result_type(self.dtype, other), function, args=(other,))

    def __add__(self, other):
        return self._with(np.add, other)

    def __radd__(self, other):
        return self if isinstance(other, int) and other == 0 else self._with(np.add, other)

    def __sub__(self, other):
        return self._with(np.subtract, other)

    def __mul__(self, other):
        return self._with(np.multiply, other)

    __rmul__ = __mul__

    def __truediv__(self, other):
        return self._with(np.true_divide, other)

    def __matmul__(self, other):
        dtype = np.result_type(self.dtype, other.dtype)
        return self.made(other.shape[1], dtype, np.matmul, args=(other,))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        whole = stacked(list(self.each()))
        return whole if dtype is None else whole.astype(dtype)

    @property
    def T(self) -> _Transposed:
        """The transpose, to be multiplied by rows chunked alike."""
        return _Transposed(self)

    def astype(self, dtype: Any) -> Self:
        """Rows of another type."""
        return self.made(self.shape[1], dtype, _astype, args=(np.dtype(dtype),))

    def mean(self, axis: int = 0, dtype: Any = np.float64) -> Floats:
        """Mean of every column."""
        return self.sum(axis, dtype) / len(self)

    def sum(self, axis: int = 0, dtype: Any = np.float64) -> Floats:
        """Sum of every column."""
        return self.total(_sum, args=(dtype,))

    def beside(self, values: Features) -> Self:
        """Rows of an array or a sparse matrix, sent to where these rows are."""
        tasks = remote([values[rows] for rows in self.slices()])
        width = values.shape[1] if values.ndim > 1 else 1
        return type(self)(tasks, self.heights, width, values.dtype, sparse.issparse(values))

    def take(self, table: Any) -> Self:
        """Rows of a table, of anything that has rows, that the numbers in these rows name."""
        return self.made(table.shape[1], table.dtype, _row_of, args=(table,))

    def standard_normal(self, rng: np.random.RandomState, width: int) -> Self:
        """Random rows beside these: what ``rng.standard_normal((n, width))`` draws.

        They are drawn here, one chunk after another, to know where each begins, and once more
        where they are needed.
        """
        import dask

        draw, tasks = dask.delayed(_normal), []
        for height in self.heights:
            tasks.append(draw(rng.get_state(), int(height), width))
            rng.standard_normal((height, width))
        return type(self)(tasks, self.heights, width, np.float64, False).persist()

    def __getitem__(self, rows: Any) -> Any:
        """Compute some rows, a slice of them or positions, and return them as a matrix.

        Of ``[rows, columns]``, some columns of them.
        """
        rows, *columns = rows if isinstance(rows, tuple) else (rows,)
        positions = np.arange(len(self))[rows]
        owners = np.searchsorted(self._ends, positions, side="right")
        order = np.argsort(owners, kind="stable")
        wanted, counts = np.unique(owners, return_counts=True)
        groups = np.split(positions[order], np.cumsum(counts)[:-1])
        slices = self.slices()
        parts = computed(
            [
                delayed_call(_taken, [self.chunks[c]], group - slices[c].start, *columns)[0]
                for c, group in zip(wanted, groups, strict=True)
            ]
        )
        inverse = np.empty(len(order), dtype=np.intp)
        inverse[order] = np.arange(len(order))
        return stacked(parts)[inverse]


class _Transposed:
    def __init__(self, rows):
        self.rows = rows

    def __matmul__(self, other):
        return self.rows.total(_inner_products, other)


def beside(rows: Any, values: Any) -> Any:
    """Values that belong to some rows, sent to where these are."""
    there = isinstance(values, ChunkedRows) or not isinstance(rows, ChunkedRows)
    return values if there else rows.beside(values)


def multimodal(blocks: dict[str, Any]) -> MultimodalData:
    """Blocks {name: rows} as a user would pass them: rows in chunks as arrays of Dask."""
    return MultimodalData(
        **{
            name: block.to_dask() if isinstance(block, ChunkedRows) else block
            for name, block in blocks.items()
        }
    )


def over_rows(function: Callable, changed: Any, rows: Any, **settings: Any) -> tuple[Any, Any]:
    """Call a function that overwrites some rows, and returns a sum over rows.

    Parameters
    ----------
    function : callable
        Called as ``function(*changed, *rows, **settings)``, with all rows or those of a chunk.
    changed, rows : sequence of {array-like, ChunkedRows}
        Rows that it overwrites, those of chunks in copies, and others; there is one at least.
    **settings : object
        Sent to every worker once.

    Returns
    -------
    changed : list of {array-like, ChunkedRows}
        The rows that it has overwritten.
    total : object
        The sum.
    """
    together = (*changed, *rows)
    if not isinstance(together[0], ChunkedRows):
        return list(changed), function(*together, **settings)
    chunks, shifts = _together(together)
    tasks, total = pass_over(
        _changed, [(parts,) for parts in chunks], shifts, len(changed), function, settings
    )
    parts = [delayed_call(getitem, tasks, i) for i in range(len(changed))]
    return [
        ChunkedRows(part, some.heights, some.shape[1], some.dtype, False)
        for part, some in zip(parts, changed, strict=True)
    ], total


def _changed(chunks, shifts, count, function, settings):
    copies = [np.array(chunk) for chunk in chunks[:count]]
    others = map(shifted, chunks[count:], shifts[count:])
    return copies, function(*copies, *others, **settings)


def _together(rows):
    """Chunks of the same rows, and what is to be subtracted from them."""
    chunks = [list(of_rows) for of_rows in zip(*(some.chunks for some in rows), strict=True)]
    return chunks, [some.shift for some in rows]


def _calls(function, rows, args):
    """Tasks ``function(*chunks, *args)``, one for all chunks of the same rows."""
    chunks, shifts = _together(rows)
    return delayed_call(_called, chunks, *map(shared, (shifts, function, args)))


def _called(chunks, shifts, function, args):
    return function(*map(shifted, chunks, shifts), *args)


def _side_by_side(*parts):
    return np.hstack([part.toarray() if sparse.issparse(part) else part for part in parts])


def _inner_products(A, B):
    return A.T @ B


def _row_of(numbers, table):
    return table[numbers]


def _astype(chunk, dtype):
    return chunk.astype(dtype)


def _sum(chunk, dtype):
    return np.asarray(chunk.mean(axis=0, dtype=dtype)).ravel() * chunk.shape[0]


def _normal(state, height, width):
    rng = np.random.RandomState()
    rng.set_state(state)
    return rng.standard_normal((height, width))


def _checked(chunk, complaint, start):
    try:
        return checked(chunk, complaint, dtype=FLOATS)
    except ValueError as error:
        error.add_note(f"In rows {start} to {start + chunk.shape[0] - 1} of X.")
        raise


def _taken(chunk, rows, *columns):
    return chunk[rows][:, columns[0]] if columns else chunk[rows]


def stacked(parts):
    if sparse.issparse(parts[0]):
        return sparse.csr_array(sparse.vstack(parts, format="csr"))
    return np.concatenate(parts)


class ShiftedRows(LazyRows):
    """Rows of an array, of which a row is subtracted when they are read.

    Parameters
    ----------
    values : ndarray of shape (n, q)
        Rows.
    shift : ndarray of shape (q,)
        In their dtype.
    """

    def __init__(self, values: Floats, shift: Floats):
        self.values, self.shift = values, shift
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, rows: Any) -> Floats:
        return self.values[rows] - self.shift


def shifted(values: Features, shift: Floats | None) -> Features | ShiftedRows:
    """Rows of `ChunkedRows` as they are meant: a `shift`, if any, is subtracted."""
    return values if shift is None else ShiftedRows(values, shift)
