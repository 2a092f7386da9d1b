"""Blocks of paired rows side by side, and what may be a block.

`MultimodalData` is indexed by rows, so that scikit-learn splits it like an array.
"""

from collections.abc import Mapping
from functools import partial
from html import escape
from types import EllipsisType, MappingProxyType
from typing import Any, NoReturn, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..utils._dask import is_dask, is_dask_frame, known_shape
from ..utils._sklearn import safe_indexing
from ..utils._typing import ArrayLike

__all__ = [
    "MultimodalData",
    "as_block",
    "block_width",
    "canonical",
    "check_modality_name",
    "item_shape",
    "refuse_tables",
    "stack_items",
    "stack_lazily",
    "vector_columns",
]

Rows: TypeAlias = int | slice | ArrayLike | tuple[ArrayLike | slice, EllipsisType | slice]
"""What X[...] takes to choose rows: positions, a mask, or those with an ellipsis behind."""


class MultimodalData:
    """Blocks of paired rows, one per modality, that scikit-learn splits like one array.

    Row i of every block describes the same sample. Nothing is copied on
    construction, and dense, sparse, numeric and text blocks live side by side.

    Parameters
    ----------
    **blocks : {array-like, sparse, DataFrame, list of str, column of vectors}
        Modality name and its block of n rows: an array of shape (n, d), or with
        more axes as for images, a sparse matrix or array, a DataFrame, or n
        strings. A column of n vectors of d numbers, as embeddings come in tables
        (pandas, polars or pyarrow), is copied into an array of shape (n, d). Names
        are identifiers of your choice, without a double underscore.

    Attributes
    ----------
    names : list of str
        Modality names, in the order given.
    blocks : mapping
        Modality name to block; read-only.
    shape : tuple (n, d)
        Rows, and the sum of the blocks' widths. Trailing axes of a block count as
        their product, a block of strings as one column.

    Raises
    ------
    TypeError
        If a block has no rows to index.
    ValueError
        If there is no block, or the blocks differ in their number of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh import MultimodalData
    >>> X = MultimodalData(image=np.zeros((3, 4)), text=["a cat", "a dog", "a bus"])
    >>> X.shape, X.names
    ((3, 5), ['image', 'text'])
    >>> X[[0, 2]]["text"]
    array(['a cat', 'a bus'], dtype=object)
    """

    ndim = 2
    __iter__ = None  # neither rows nor names: say which with X[i] or X.names

    def __init__(self, **blocks: Any) -> None:
        if not blocks:
            raise ValueError(
                "MultimodalData needs at least one block, as in "
                "MultimodalData(image=X_image, text=X_text)."
            )
        for name in blocks:
            check_modality_name(name)
        self._blocks = {name: as_block(name, block) for name, block in blocks.items()}
        rows = {name: _n_rows(block) for name, block in self._blocks.items()}
        if len(set(rows.values())) > 1:
            raise ValueError(
                "The blocks of MultimodalData must have the same number of rows, one per sample; "
                f"got {rows}."
            )

    @property
    def blocks(self) -> Mapping[str, Any]:
        """Mapping of modality name to block, read-only."""
        return MappingProxyType(self._blocks)

    @property
    def names(self) -> list[str]:
        """Modality names, in the order given."""
        return list(self._blocks)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and the sum of the blocks' widths."""
        return len(self), sum(block_width(block) for block in self._blocks.values())

    def __len__(self) -> int:
        return _n_rows(next(iter(self._blocks.values())))

    def __contains__(self, name: object) -> bool:
        return name in self._blocks

    @overload
    def __getitem__(self, key: str) -> Any: ...

    @overload
    def __getitem__(self, key: Rows) -> "MultimodalData": ...

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if key not in self._blocks:
                raise KeyError(f"No modality {key!r}; this MultimodalData holds {self.names}.")
            return self._blocks[key]
        if isinstance(key, tuple):
            rows, *rest = key
            if any(part is not Ellipsis and part != slice(None) for part in rest):
                raise TypeError(_wrong_key(key))
            key = rows
        if isinstance(key, (int, np.integer)):
            n = len(self)
            if not -n <= key < n:
                raise IndexError(f"Row {key} is out of range for {n} rows.")
            key = [int(key) % n]
        if not isinstance(key, slice):
            key = _row_positions(key, len(self))
        # Blocks are what they are already: a part of a column is read as the whole was.
        taken = object.__new__(type(self))
        taken._blocks = {name: _take_rows(block, key) for name, block in self._blocks.items()}
        return taken

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            "MultimodalData is no array: its blocks differ in kind. Use X['name'] for one block, "
            "or fit an estimator of sklearn_cmh on it as it is."
        )

    def __repr__(self) -> str:
        parts = (f"{name}={_kind(block)} {_shape(block)}" for name, block in self._blocks.items())
        return f"MultimodalData({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """Show names, kinds and shapes as a small table, for notebooks; no value of the data."""
        rows = "".join(
            "<tr>"
            + "".join(f"<td>{escape(text)}</td>" for text in (name, _kind(block), _shape(block)))
            + "</tr>"
            for name, block in self._blocks.items()
        )
        return (
            "<table><caption>MultimodalData</caption>"
            "<thead><tr><th>modality</th><th>block</th><th>shape</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )


def check_modality_name(name: object) -> None:
    """Raise unless `name` can be part of a nested parameter name, and be written to a file."""
    if not isinstance(name, str) or not name or "__" in name:
        raise ValueError(
            "A modality name must be a non-empty string without '__' (which separates nested "
            f"parameter names); got {name!r}."
        )
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"The modality name {name!r} holds half a character (a lone surrogate), which no file "
            "can: it was decoded wrongly. Rename it."
        ) from error


def as_block(name: str, block: Any) -> Any:
    """Return `block` in a form that can be indexed by rows, copied only where it must be.

    Sparse formats become CSR, lists arrays, and columns of vectors of one length arrays
    of shape (n, d).

    Raises
    ------
    TypeError
        If `block` has no rows to index.
    """
    if sparse.issparse(block):
        return block if block.format == "csr" else block.tocsr()
    refuse_tables(block, f"The block {name!r}")
    if isinstance(block, (list, tuple)):
        strings = bool(block) and all(isinstance(item, str) for item in block)
        block = np.array(block, dtype=object) if strings else _as_array(name, block)
    elif _is_arrow(block):
        block = np.asarray(block)
    elif is_dask(block):
        known_shape(block, f"The block {name!r}")
    if not hasattr(block, "__getitem__") or len(getattr(block, "shape", ())) < 1:
        raise TypeError(
            f"The block {name!r} must be an array, a sparse matrix, a DataFrame or a list of "
            f"strings, with one row per sample; got {type(block).__name__}."
        )
    if is_dask(block):
        return stack_lazily(f"The block {name!r}", block)
    return _stack(block) if _holds_vectors(block) else block


def stack_lazily(what: str, column: Any) -> Any:
    """Array (n, d) of Dask of a column of Dask of n vectors, stacked chunk by chunk.

    What is no column of vectors is returned as it is; `what` begins the error of a chunk.
    """
    shape = item_shape(column)
    if shape is None:
        return column
    first = next(item for item in np.asarray(column[:10]) if _is_vector(item))
    return column.map_blocks(
        partial(stack_items, what, shape=shape),
        chunks=(column.chunks[0], *((length,) for length in shape)),
        new_axis=list(range(1, 1 + len(shape))),
        meta=np.empty((0, *shape), dtype=np.asarray(first).dtype),
    )


def _as_array(name, rows):
    try:
        return np.asarray(rows)
    except ValueError as error:
        raise ValueError(
            f"The block {name!r} is a {type(rows).__name__} of rows that differ in length, but "
            "every row needs the same columns."
        ) from error


def _is_arrow(value):
    return type(value).__module__.partition(".")[0] == "pyarrow"


def refuse_tables(X: Any, what: str = "X") -> None:
    """Raise a TypeError if `X` is a table of pyarrow or Dask; `what` begins the message."""
    if _is_arrow(X) and hasattr(X, "to_pandas") and hasattr(X, "column_names"):
        raise TypeError(
            f"{what} is a pyarrow.{type(X).__name__}, which cannot be split by rows: pass its "
            "to_pandas(), or polars.from_arrow of it."
        )
    if is_dask_frame(X):
        raise TypeError(
            f"{what} is a {type(X).__name__} of Dask, which has no rows to take: pass its columns "
            "of numbers as arrays, MultimodalData(image=frame[columns].to_dask_array()"
            ".compute_chunk_sizes(), ...), or its compute()."
        )


def vector_columns(X: Any) -> list[Any]:
    """Names of the columns of a frame that hold vectors."""
    if not hasattr(X, "columns"):
        return []
    kinds = [getattr(dtype, "kind", "O") for dtype in X.dtypes]
    return [
        c for c, kind in zip(X.columns, kinds, strict=True) if kind == "O" and _holds_vectors(X[c])
    ]


def _holds_vectors(column):
    """Whether a one-dimensional `column` holds vectors of numbers, by its first rows."""
    if len(column.shape) != 1:
        return False
    head = np.asarray(column.iloc[:10] if hasattr(column, "iloc") else column[:10])
    if head.ndim > 1:
        return head.dtype.kind in "biuf"
    return head.dtype == object and any(_is_vector(item) for item in head)


def item_shape(column: Any) -> tuple[int, ...] | None:
    """Shape of the first array in a column of arrays of numbers, by its first rows, or None."""
    if not _holds_vectors(column):
        return None
    head = column.iloc[:10] if hasattr(column, "iloc") else column[:10]
    return next(np.shape(item) for item in np.asarray(head) if _is_vector(item))


def stack_items(what: str, column: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Array of the arrays in a column, all of one shape; what is an array already, as it is.

    Raises
    ------
    ValueError
        If one has another shape; the message begins with `what`.
    """
    if tuple(column.shape[1:]) == shape:
        return column
    items = [np.asarray(item) for item in np.asarray(column)]
    wrong = [
        i for i, item in enumerate(items) if item.shape != shape or item.dtype.kind not in "biuf"
    ]
    if wrong:
        i = wrong[0]
        seen = f"numbers of shape {items[i].shape}" if items[i].ndim else repr(items[i].item())
        raise ValueError(
            f"{what} is a column of arrays of shape {shape}, but row {i} holds {seen} "
            f"({len(wrong)} such row(s)). Leave such rows out, or give them an array."
        )
    return np.stack(items) if items else np.empty((0, *shape))


def _is_vector(item):
    if isinstance(item, str) or not hasattr(item, "__len__"):
        return False
    try:
        return len(item) > 0 and np.asarray(item).dtype.kind in "biuf"
    except ValueError:  # lists within that differ in length
        return False


def _stack(column):
    """Array (n, d) of a column of n vectors; the column itself where they differ in length."""
    values = np.asarray(column)
    if values.ndim > 1:
        return values
    try:
        return np.stack([np.asarray(item) for item in values])
    except ValueError:
        return column


def canonical(X: Any) -> Any:
    """CSR matrix `X` with sorted columns and without duplicates; a copy where it has others.

    Norms, variances and kernels read stored entries one by one, so duplicates of an entry
    (one per token, say) must be summed first. scipy sums them in place, also where only the
    largest entry is asked for: what a user passes is never written to.
    """
    # An object of its own: scipy notes on it what it has found out, also in two threads at once.
    view = type(X)((X.data, X.indices, X.indptr), shape=X.shape)
    if view.has_canonical_format:
        return X
    view = view.copy()
    view.sum_duplicates()
    return view


def block_width(block: Any) -> int:
    """Columns of a block: the product of its trailing axes."""
    return int(np.prod(block.shape[1:], dtype=int))


def _n_rows(block):
    return block.shape[0]


def _row_positions(key: Any, n: int) -> NDArray[np.intp]:
    """Positions of rows from positions or a mask over n rows."""
    rows = np.asarray(key)
    if rows.shape == (0,) and rows.dtype != bool:
        return rows.astype(np.intp)
    if rows.ndim != 1 or rows.dtype.kind not in "iub":
        raise TypeError(_wrong_key(key))
    if rows.dtype.kind != "b":
        return rows
    if len(rows) != n:
        raise IndexError(f"A mask of {len(rows)} rows does not fit MultimodalData of {n} rows.")
    return np.flatnonzero(rows)


def _wrong_key(key):
    return (
        "MultimodalData is indexed by rows (X[rows], with a slice, positions or a mask in one "
        f"dimension) or by one modality name (X['image']); got {key!r}. For some modalities, write "
        "MultimodalData(image=X['image'], ...)."
    )


def _take_rows(block, key):
    if hasattr(block, "iloc") or hasattr(block, "columns"):
        return safe_indexing(block, key)
    return block[key]


def _kind(block):
    dtype = getattr(block, "dtype", None)
    if dtype is None:
        return type(block).__name__
    return f"{block.format} {dtype}" if sparse.issparse(block) else str(dtype)


def _shape(block):
    return str(tuple(block.shape))
