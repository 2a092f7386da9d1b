"""The input contract: what every estimator of several modalities takes as X.

`MultimodalEstimator` reads a table, a DataFrame, a MultimodalData or arrays of Dask at fit,
fits the user's transformers, and gives blocks {name: rows}; of new rows it takes the whole, some
of the modalities, or one block alone. It knows nothing of labels or codes, so that a
transformer that is no hasher takes X exactly as hashers do.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from numbers import Real
from typing import Any, ClassVar, TypeVar

import numpy as np
from scipy import sparse
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from ..utils._callbacks import report
from ..utils._dask import checked_rows, first_row, known_shape, map_rows, probe
from ..utils._sklearn import Interval, StrOptions, safe_indexing
from ..utils._threads import count_threads, map_blocks, row_slices
from ..utils._transformers import (
    NestedParamsMixin,
    fit_transform,
    inner_clone,
    is_transformer,
    named_errors,
    transform,
)
from ..utils._typing import MatrixLike
from ._checks import FLOATS, checked
from ._lazy import is_lazy, joined, lazy_blocks, refuse_lazy
from ._lazy_rows import ChunkedRows
from ._modalities import (
    named_transformers,
    refuse_views,
    resolve_modalities,
    select_blocks,
    split_frame,
)
from ._multimodal import MultimodalData, item_shape, stack_items, vector_columns

__all__ = ["MultimodalEstimator", "RowBatches", "modality_weights"]

Result = TypeVar("Result")

# Rows at a time, where memory allows: more are no faster.
_MOST_ROWS = 8192
# Batches of fewer rows are not worth a thread's while.
_FEWEST_SHARED = 1024


class MultimodalEstimator(NestedParamsMixin, BaseEstimator):
    """Base of estimators with a parameter `modalities`; what they learn is theirs.

    A fit calls `_read_table`, then `_fit_preprocessing`, and goes on with the blocks. What
    takes new rows calls `_new_blocks`, on one batch after another by `_map_batches` where
    rows may be many.

    Attributes
    ----------
    modality_names_ : list of str
        Names of the modalities, without those that are dropped.
    transformers_ : dict
        Modality name to fitted transformer, of those that have one.
    """

    # Options of `check_array` for blocks after the user's preprocessing.
    _block_options: ClassVar[dict] = {"dtype": FLOATS}

    _parameter_constraints: dict = {
        "modalities": [dict, list, tuple, StrOptions({"prefix"}), None],
    }

    def _modalities_parameter(self):
        return self.modalities

    # At fit.

    def _read_table(self, X: MatrixLike) -> Any:
        """Validate X and find which columns belong to which modality; the table as validated.

        Sets `modality_names_`.
        """
        if is_lazy(X) and self._takes_chunks:
            return self._read_chunks(X)
        refuse_lazy(X)
        table = self._check_table(X, reset=True)
        self._modalities = resolve_modalities(
            self._modalities_parameter(),
            X if hasattr(X, "columns") else table,
            reserved=self.get_params(deep=False),
        )
        self.modality_names_ = [m.name for m in self._modalities if not m.dropped]
        return table

    def _fit_preprocessing(self, table: Any, y: Any, rng: np.random.RandomState) -> dict:
        """Split a table from `_read_table` and fit the user's transformers: {name: block}.

        Rows of arrays of Dask are not computed yet. Sets `transformers_`.
        """
        if is_lazy(table):
            return self._chunked_blocks(table, rng)
        given = {m.name: m.transformer for m in self._modalities}
        self.transformers_ = {}
        blocks = {}
        for name, block in select_blocks(table, self._modalities).items():
            transformer = given[name]
            if is_transformer(transformer):
                report(self, f"transformer of {name!r}")
                transformer = inner_clone(transformer, rng)
                with named_errors(f"modalities: the transformer of {name!r}"):
                    block = _same_rows(name, block, _fit_transformed(name, transformer, block, y))
                self.transformers_[name] = transformer
            elif transformer not in (None, "passthrough"):
                raise ValueError(
                    f"modalities: the transformer of {name!r} must be an estimator, 'passthrough' "
                    f"or 'drop'; got {transformer!r}."
                )
            blocks[name] = self._check_block(name, block)
        return blocks

    # Arrays of Dask at fit.

    @property
    def _takes_chunks(self) -> bool:
        """Whether X may hold arrays of Dask at fit."""
        return False

    def _read_chunks(self, X):
        rows = {}
        for name, block in lazy_blocks(X).items():
            what = f"The block {name!r}" if name else "X"
            rows[name] = probe(known_shape(block, what), 2)
        # Of rows that are all zero is learned which columns there are.
        self._read_table(joined(rows))
        if len(X) < 2:
            raise ValueError(f"X holds {len(X)} row(s); at least two are needed to learn from.")
        return X

    def _chunked_blocks(self, table, rng):
        given = {m.name: m.transformer for m in self._modalities if is_transformer(m.transformer)}
        if given:
            raise TypeError(
                f"X holds Dask arrays, and the transformers of {list(given)} in `modalities` are "
                "fitted to rows in memory: let Dask transform the chunks before, by map_blocks "
                "with a transformer that was fitted to a sample."
            )
        rows = joined({name: probe(block) for name, block in lazy_blocks(table).items()})
        first = self._fit_preprocessing(rows, None, rng)
        arrays = {m.name: _columns_of(table, m) for m in self._modalities if not m.dropped}
        heights = next(iter(arrays.values())).chunks[0]
        return {
            name: ChunkedRows.from_dask(
                checked_rows(array, f"The modality {name!r}").rechunk({0: heights}),
                first[name],
                f"The modality {name!r} holds what no hasher takes",
            )
            for name, array in arrays.items()
        }

    # New rows.

    def _new_blocks(self, X: MatrixLike, modality: str | None = None) -> dict:
        """Blocks {name: rows} of new rows, preprocessed and validated.

        X is in the form of the fit, or a MultimodalData of some of the modalities, or with
        `modality` its block alone.
        """
        refuse_views(X)
        if modality is None:
            X = self._check_table(X, reset=False)
        was_sparse = {m.name: m.is_sparse for m in self._modalities}
        blocks = {}
        for name, block in select_blocks(X, self._modalities, modality).items():
            block = _as_fitted(block, was_sparse[name])
            if name in self.transformers_:
                with _missing_texts_explained(name, block):
                    block = _same_rows(name, block, transform(self.transformers_[name], block))
            blocks[name] = self._check_block(name, block)
        return blocks

    def _map_batches(self, function: Callable[[Any], Result], X: MatrixLike) -> Iterator[Result]:
        """Iterate over ``function(batch)`` of batches of rows of X, in order; see `RowBatches`."""
        # What others wrote may not bear several threads at once.
        may_share = self._bears_threads and not self.transformers_
        batches = RowBatches(X, 8 * self._row_width(), may_share)

        def of_batch(batch):
            rows, some = batch
            try:
                return function(some)
            except Exception as error:
                if rows is not None:  # rows that it tells are counted from the first of these
                    error.add_note(f"In rows {rows.start} to {rows.stop - 1} of X.")
                raise

        return map_blocks(of_batch, batches) if batches.are_shared else map(of_batch, batches)

    def _map_lazily(self, function, X, modality):
        """Array of Dask of what `function(self, X, modality)` makes of the chunks of X."""
        check_is_fitted(self)
        blocks = lazy_blocks(X)
        if modality in blocks:
            blocks = {modality: blocks[modality]}
        # What is wrong with X is said now, and not when its chunks are computed.
        row = joined({name: probe(block) for name, block in blocks.items()})
        try:
            made = function(self, row, modality)
        except (TypeError, ValueError):
            if not self.transformers_:
                raise
            # A transformer may know the values that there are, and refuse those made up.
            row = joined({name: first_row(block) for name, block in blocks.items()})
            made = function(self, row, modality)
        of_chunk = partial(_of_chunk, function=function, modality=modality)
        return map_rows(of_chunk, self, blocks, made.shape[1], made.dtype)

    @property
    def _bears_threads(self) -> bool:
        """Whether what is computed of new rows, after `transformers_`, bears several threads."""
        return False

    def _row_width(self) -> int:
        """Values that one new row takes while it is computed with, roughly."""
        return 2 * sum(m.width for m in self._modalities)

    # Checks.

    def _check_table(self, X, reset):
        """Validate X as a whole; where every column is used as it is, also its values."""
        refuse_views(X)
        numeric = self._takes_columns_as_they_are(X, reset)
        if not reset and not hasattr(self, "feature_names_in_"):
            X = split_frame(X, self._modalities)
        if isinstance(X, MultimodalData):
            if reset and len(X) < 2:
                raise ValueError(
                    f"Found {len(X)} row(s) in X, but {type(self).__name__} needs at least two to "
                    "learn from."
                )
            if reset:
                validate_data(self, X, reset=True, skip_check_array=True)
            return X
        with _one_modality_explained(X, [] if reset else self._modalities):
            if numeric:
                with _vectors_explained(X), np.errstate(over="ignore", invalid="ignore"):
                    return validate_data(
                        self,
                        X,
                        reset=reset,
                        accept_sparse="csr",
                        dtype=FLOATS,
                        ensure_min_samples=2 if reset else 1,
                    )
            if not hasattr(X, "columns"):
                X = check_array(X, accept_sparse="csr", dtype=None, ensure_all_finite=False)
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X

    def _takes_columns_as_they_are(self, X, reset):
        """Whether X must be a table of numbers: no transformer, and no column of vectors."""
        modalities = self._modalities_parameter()
        if any(t not in (None, "passthrough") for _, t in named_transformers(modalities)):
            return False
        if reset:
            return not modalities or not vector_columns(X)
        return all(m.item_shape is None for m in self._modalities)

    def _check_block(self, name, block):
        """Validate one block after the user's preprocessing."""
        if len(getattr(block, "shape", ())) == 1:
            shape = item_shape(block)
            if shape is not None:
                stack_items(f"The modality {name!r}", block, shape)
            raise ValueError(
                f"The modality {name!r} is one-dimensional, as texts are, but a hasher needs "
                "columns of numbers: give it a transformer such as TfidfVectorizer(), or if it is "
                "a single column of numbers, select that as a list, [column]."
            )
        if np.ndim(block) > 2 and not self._block_options.get("allow_nd"):
            raise ValueError(
                f"The modality {name!r} has rows of shape {block.shape[1:]}, as pictures have, but "
                f"{type(self).__name__} takes rows of features: extract features first, or use "
                "sklearn_cmh.deep.DSPAH, which learns from pixels."
            )
        complaint = f"The modality {name!r} holds what no hasher takes"
        with _vectors_explained(block):
            return checked(block, complaint, **self._block_options)

    # Parameters, tags.

    modalities: Any

    def _nested(self):
        return named_transformers(getattr(self, "modalities", None))

    def _replace_nested(self, name, transformer):
        self.modalities = [
            (m[0], transformer, m[2]) if m[0] == name else m for m in self.modalities
        ]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _fit_transformed(name, transformer, given, y):
    """What a transformer makes of the rows `given`; of an error, what in them is the cause."""
    try:
        with _missing_texts_explained(name, given), _vectors_explained(given):
            return fit_transform(transformer, given, y)
    except (AttributeError, TypeError) as error:
        # To iterate over a DataFrame of polars is to see its columns, which are no strings.
        if not hasattr(given, "columns"):
            raise
        raise ValueError(
            f"The transformer of {name!r} fails on a DataFrame: {error}.{_texts_cure(given)}"
        ) from error


@contextmanager
def _missing_texts_explained(name, given):
    """Say of an error in transforming a column of texts that some are missing."""
    try:
        yield
    except (AttributeError, TypeError, ValueError) as error:
        missing = _missing_texts(given)
        if not len(missing):
            raise
        raise ValueError(
            f"The column of {name!r} holds no text in row {missing[0]} ({len(missing)} such row(s) "
            f"of {given.shape[0]}): fill them by '', or leave them out. {error}"
        ) from error


def _missing_texts(given):
    """Rows of a column of texts in which there is none."""
    if len(getattr(given, "shape", ())) != 1:
        return np.empty(0, dtype=int)
    texts = [isinstance(item, (str, bytes)) for item in given]
    return np.flatnonzero(~np.array(texts, dtype=bool)) if any(texts) else np.empty(0, dtype=int)


def _texts_cure(given):
    column = next(iter(given.columns))
    return (
        " A text vectoriser takes one column of texts, and reads the columns of a DataFrame as "
        f"its rows: select the column as {column!r} instead of [{column!r}]."
    )


def _same_rows(name, given, returned):
    """What a transformer `returned` for the rows `given`, if it is as many."""
    n = given.shape[0]
    m = returned.shape[0] if hasattr(returned, "shape") else len(returned)
    if n == m:
        return returned
    cure = _texts_cure(given) if hasattr(given, "columns") and m == given.shape[1] else ""
    raise ValueError(f"The transformer of {name!r} returned {m} rows for {n} rows of X.{cure}")


def _columns_of(table, modality):
    """The array of Dask that holds one modality."""
    if isinstance(table, MultimodalData):
        return table[modality.name]
    return table[:, modality.positions] if modality.width < table.shape[1] else table


def _of_chunk(estimator, blocks, function, modality):
    return function(estimator, joined(blocks), modality)


class RowBatches(Sequence):
    """Slices of the rows of X, and X there; None, and X whole, where it is small.

    A batch is taken of X when it is asked for.

    Parameters
    ----------
    X : {array-like, sparse, DataFrame, MultimodalData}
        Rows.
    row_bytes : int
        Memory that one row takes; a batch keeps within scikit-learn's `working_memory`.
    may_share : bool, default=False
        Whether threads may take a batch each.

    Attributes
    ----------
    are_shared : bool
        Whether they are for threads: there are some for each, of many rows, and as many as there
        are threads keep within working memory.
    """

    def __init__(self, X, row_bytes, may_share=False):
        self._X = X.tocsr() if sparse.issparse(X) and X.format != "csr" else X
        shape = getattr(X, "shape", None)
        n = shape[0] if shape else len(X) if hasattr(X, "__len__") else 0
        most = max(1, int(get_config()["working_memory"] * 2**20 // row_bytes))
        height, self.are_shared = min(most, _MOST_ROWS), False
        if may_share and n > _MOST_ROWS:
            n_threads = count_threads()
            each = min(most // n_threads, n // (8 * n_threads), _MOST_ROWS // 2)
            self.are_shared = n_threads > 1 and each >= _FEWEST_SHARED
        if self.are_shared:
            height = each
        self._slices = row_slices(n, height) if n > height else [None]

    def __len__(self):
        return len(self._slices)

    def __getitem__(self, i):
        X, rows = self._X, self._slices[i]
        if rows is None:
            return None, X
        sliced = sparse.issparse(X) or isinstance(X, MultimodalData)
        return rows, X[rows] if sliced else safe_indexing(X, rows)


def _as_fitted(block, was_sparse):
    """New rows stored as those of the fit, numbers in C order.

    What was fitted on dense rows may refuse sparse ones, as centring does, and sums over a
    row are rounded alike only where it is stored alike.
    """
    if sparse.issparse(block):
        return block if was_sparse else block.toarray()
    if not isinstance(block, np.ndarray) or block.dtype.kind not in "fiub":
        return block
    return sparse.csr_array(block) if was_sparse else np.ascontiguousarray(block)


@contextmanager
def _vectors_explained(X):
    """Say of an error in validating X that a column of vectors is no column of numbers."""
    try:
        yield
    except ValueError as error:
        found = vector_columns(X)
        if not found:
            raise
        raise ValueError(
            f"X has a column of vectors, {found[0]!r}. Select it alone, as a modality of its own: "
            f"modalities=[('image', 'passthrough', {found[0]!r}), ...], or as a block: "
            f"MultimodalData(image=table[{found[0]!r}], ...)."
        ) from error


@contextmanager
def _one_modality_explained(X, modalities):
    """Say of an error in validating new rows that X may be the block of one modality."""
    try:
        yield
    except ValueError as error:
        columns = set(getattr(X, "columns", ()))
        width = np.shape(X)[-1] if np.ndim(X) == 2 else None
        kept = [m for m in modalities if not m.dropped]
        found = [
            m.name
            for m in kept
            if (columns.issuperset(m.names) if columns and m.names else m.width == width)
        ]
        if len(kept) < 2 or len(found) != 1:
            raise
        raise ValueError(
            f"{error}\nIf X is the block of {found[0]!r} alone, say so: modality={found[0]!r}."
        ) from error


def modality_weights(value, names, parameter):
    """One non-negative weight per modality from a number or a {name: number} mapping."""
    if not isinstance(value, Mapping):
        return np.full(len(names), value, dtype=np.float64)
    if set(value) != set(names):
        raise ValueError(
            f"{parameter} must be a number, or a number for each of the modalities {list(names)}; "
            f"got {dict(value)!r}."
        )
    weights = [value[name] for name in names]
    if not all(Interval(Real, 0, np.inf, closed="left").is_satisfied_by(w) for w in weights):
        raise ValueError(
            f"{parameter} must hold finite numbers that are not negative; got {dict(value)!r}."
        )
    return np.array(weights, dtype=np.float64)
