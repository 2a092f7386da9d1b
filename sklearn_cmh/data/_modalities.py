"""From any accepted X to named blocks of rows, one per modality.

`resolve_modalities` reads the `modalities` parameter of an estimator against the X
that it is fitted on; `select_blocks` takes the raw blocks of the X that a fitted
estimator is asked about.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..utils._sklearn import safe_indexing
from ..utils._typing import MatrixLike, Modalities
from ._multimodal import (
    MultimodalData,
    as_block,
    block_width,
    canonical,
    check_modality_name,
    item_shape,
    refuse_tables,
    stack_items,
)

__all__ = [
    "Modality",
    "named_transformers",
    "refuse_views",
    "resolve_modalities",
    "select_blocks",
    "split_frame",
]

SINGLE_MODALITY = "data"


@dataclass(frozen=True)
class Modality:
    """What a fitted estimator knows of one modality's input columns.

    `positions` are its columns in the whole table, `names` their names if the
    estimator was fitted on a DataFrame whose columns are all named by strings, `tail`
    the shape of one row of its block: ``()`` for a one-dimensional block, as text
    vectorisers take it. `is_sparse` says how the block was stored. Where its one column
    holds arrays, as embeddings come in tables, `item_shape` is that of one of them, and
    the block is the array that they make.
    """

    name: str
    transformer: Any
    positions: NDArray[np.intp]
    names: list[str] | None = None
    tail: tuple[int, ...] = ()
    is_sparse: bool = False
    item_shape: tuple[int, ...] | None = None

    @property
    def width(self) -> int:
        """Columns of the input that belong to the modality."""
        return int(np.prod(self.tail, dtype=int))

    @property
    def dropped(self) -> bool:
        """Whether the modality is left out, as 'drop' in ColumnTransformer."""
        return isinstance(self.transformer, str) and self.transformer == "drop"


def named_transformers(modalities: Any) -> list[tuple[str, Any]]:
    """The (name, transformer) pairs in a `modalities` parameter, valid or not."""
    if not isinstance(modalities, (list, tuple)):
        return []
    return [(m[0], m[1]) for m in modalities if isinstance(m, (list, tuple)) and len(m) == 3]


def refuse_views(X: Any) -> None:
    """Raise a TypeError if `X` is a list, tuple or dict of views, or no table that has rows."""
    refuse_tables(X)
    if isinstance(X, Mapping) and not sparse.issparse(X):  # dok_array is a mapping
        views = list(X.values())
    elif isinstance(X, (list, tuple)):
        views = list(X)
    else:
        return
    if any(sparse.issparse(v) or len(getattr(v, "shape", ())) >= 2 for v in views) or (
        isinstance(X, Mapping)
    ):
        raise TypeError(
            f"X is a {type(X).__name__} of {len(views)} views. Name the modalities instead: "
            "MultimodalData(image=X_image, text=X_text). (A list of views would be split into "
            "views, not rows, by scikit-learn's cross-validation.)"
        )


def resolve_modalities(
    modalities: Modalities, X: MatrixLike, reserved: Iterable[str] = ()
) -> list[Modality]:
    """Read the `modalities` parameter against the X to be fitted.

    Parameters
    ----------
    modalities : None, "prefix", dict or list of triples
        As the estimators take it.
    X : MultimodalData, DataFrame, ndarray or sparse
        Training rows; a table must already be two-dimensional.
    reserved : iterable of str, default=()
        Names that no modality may have: the estimator's own parameters.

    Returns
    -------
    list of Modality
        In the order given, with the columns that each holds.

    Raises
    ------
    ValueError
        If the modalities do not partition the columns of X, or a name is wrong.
    TypeError
        If `modalities` has another form.
    """
    is_multimodal = isinstance(X, MultimodalData)
    triples = _as_triples(modalities, X)
    names = [name for name, _, _ in triples]
    for name in names:
        check_modality_name(name)
        if name in reserved:
            raise ValueError(
                f"modalities: the name {name!r} is a parameter of the estimator; rename it."
            )
    if len(set(names)) < len(names):
        raise ValueError(f"modalities: names must be unique; got {names}.")
    resolved = _resolve_multimodal(triples, X) if is_multimodal else _resolve_table(triples, X)
    if all(m.dropped for m in resolved):
        raise ValueError("modalities: every modality is 'drop', so there is nothing to learn from.")
    return resolved


def _as_triples(modalities, X):
    is_multimodal = isinstance(X, MultimodalData)
    if modalities is None:
        if is_multimodal:
            return [(name, None, None) for name in X.names]
        return [(SINGLE_MODALITY, None, slice(None))]
    if isinstance(modalities, str) and modalities == "prefix":
        return _prefix_triples(X)
    if isinstance(modalities, Mapping):
        return [(name, None, columns) for name, columns in modalities.items()]
    if isinstance(modalities, (list, tuple)) and len(named_transformers(modalities)) == len(
        modalities
    ):
        return [tuple(triple) for triple in modalities]
    raise TypeError(
        "modalities must be None, 'prefix', a dict {name: columns} or a list of (name, "
        f"transformer, columns) triples as in ColumnTransformer; got {modalities!r}."
    )


def _prefix_triples(X):
    columns = getattr(X, "columns", None)
    if columns is None or isinstance(X, MultimodalData):
        raise ValueError(
            "modalities='prefix' needs a DataFrame whose columns are named like 'image__0'; got "
            f"{type(X).__name__}."
        )
    groups: dict[str, list] = {}
    bare = []
    for column in columns:
        prefix, separator, _ = str(column).partition("__")
        if separator and prefix:
            groups.setdefault(prefix, []).append(column)
        else:
            bare.append(column)
    if bare:
        raise ValueError(
            f"modalities='prefix': {_shorten(bare)} have no prefix like 'image__', so they belong "
            "to no modality. Rename or drop them."
        )
    return [(name, None, columns) for name, columns in groups.items()]


def _resolve_multimodal(triples, X):
    for name, _, columns in triples:
        if columns is not None:
            raise ValueError(
                f"modalities: with MultimodalData the columns of {name!r} must be None, as its "
                f"block is all there is; got {columns!r}."
            )
        if name not in X:
            raise ValueError(f"modalities: X holds {X.names}, but no modality {name!r}.")
    left = [name for name in X.names if name not in {t[0] for t in triples}]
    if left:
        raise ValueError(
            f"modalities: the blocks {left} of X are named by none. Name them, with 'drop' as "
            "their transformer to leave them out."
        )
    resolved, offset = [], 0
    order = {name: transformer for name, transformer, _ in triples}
    for name in X.names:
        block = X[name]
        width = block_width(block)
        resolved.append(
            Modality(
                name,
                order[name],
                np.arange(offset, offset + width),
                _column_names(block),
                tuple(block.shape[1:]),
                sparse.issparse(block),
            )
        )
        offset += width
    by_name = {m.name: m for m in resolved}
    return [by_name[name] for name, _, _ in triples]


def _resolve_table(triples, X):
    d = X.shape[1]
    labels = list(X.columns) if hasattr(X, "columns") else None
    all_names = _column_names(X)
    owner = np.full(d, -1)
    resolved = []
    for i, (name, transformer, columns) in enumerate(triples):
        if columns is None:
            raise ValueError(
                f"modalities: the columns of {name!r} are None, which only MultimodalData allows."
            )
        if callable(columns):
            # It sees X, so it may count from the end of it.
            columns = columns(X)
        else:
            _refuse_from_the_end(name, columns, d)
        positions = _column_positions(name, columns, d, labels)
        if len(positions) == 0:
            raise ValueError(
                f"modalities: {name!r} selects no column of X, which has {d} feature(s); got "
                f"{columns!r}."
            )
        taken = positions[owner[positions] >= 0]
        if len(taken) or len(np.unique(positions)) < len(positions):
            other = triples[owner[taken[0]]][0] if len(taken) else name
            raise ValueError(
                f"modalities: {_shorten(_labels_of(taken, labels) or [columns])} belong to both "
                f"{other!r} and {name!r}; every column must belong to exactly one modality."
            )
        owner[positions] = i
        item = _item_shape(X, positions)
        single = isinstance(columns, (str, int, np.integer)) or item is not None
        tail = () if single else (len(positions),)
        names = None if all_names is None else [all_names[j] for j in positions]
        resolved.append(
            Modality(name, transformer, positions, names, tail, sparse.issparse(X), item)
        )
    if (owner < 0).any():
        free = np.flatnonzero(owner < 0)
        raise ValueError(
            f"modalities: {_shorten(_labels_of(free, labels))} of X belong to no modality. Every "
            f"column must belong to exactly one; X has {d} columns, {len(free)} of them free. If "
            "an earlier step changed the width of X, select columns by name or use "
            "modalities='prefix'; to leave columns out, give them a ('name', 'drop', columns) "
            "triple."
        )
    return resolved


def _item_shape(X, positions):
    """Shape of the arrays in a column of a frame, where that column is all there is."""
    if len(positions) > 1 or not hasattr(X, "columns"):
        return None
    return item_shape(safe_indexing(X, int(positions[0]), axis=1))


def _column_positions(name, columns, d, labels):
    """Positions of a ColumnTransformer-like column selection in a table of d columns."""

    def position(label):
        if labels is None:
            raise ValueError(
                f"modalities: {name!r} selects columns by name, but X has no column names: pass a "
                "DataFrame, or select by position."
            )
        if label not in labels:
            raise ValueError(
                f"modalities: X has no column {label!r}, which {name!r} selects; its columns are "
                f"{_shorten(labels)}."
            )
        if labels.count(label) > 1:
            raise ValueError(
                f"modalities: X has several columns {label!r}, which {name!r} selects; give them "
                "different names, or select by position."
            )
        return labels.index(label)

    if isinstance(columns, str):
        return np.array([position(columns)])
    if isinstance(columns, slice):
        if isinstance(columns.start, str) or isinstance(columns.stop, str):
            # As in pandas and ColumnTransformer, a slice of names includes its end.
            start = 0 if columns.start is None else position(columns.start)
            stop = d if columns.stop is None else position(columns.stop) + 1
            return np.arange(d)[start : stop : columns.step]
        if columns.stop is not None and columns.stop > d:
            raise ValueError(
                f"modalities: {name!r} selects {columns}, but X has only {d} columns. If an "
                "earlier step changed the width of X, select columns by name or use "
                "modalities='prefix'."
            )
        return np.arange(d)[columns]
    if isinstance(columns, (list, tuple)) and any(isinstance(c, str) for c in columns):
        return np.array([position(c) for c in columns])
    index = np.atleast_1d(np.asarray(columns))
    if index.dtype.kind in "OU" and index.size:
        return np.array([position(c) for c in index.tolist()])
    if index.size == 0:
        return np.empty(0, dtype=np.intp)
    if index.dtype.kind not in "iub" or index.ndim != 1:
        raise ValueError(
            f"modalities: the columns of {name!r} must be a slice, positions, names, a mask or a "
            f"callable, as in ColumnTransformer; got {columns!r}."
        )
    try:
        return np.arange(d)[index]
    except IndexError as error:
        raise ValueError(
            f"modalities: {name!r} selects {columns!r}, but X has {d} columns."
        ) from error


def _refuse_from_the_end(name, columns, d):
    """Raise if which columns are selected by position depends on the width of X."""
    if isinstance(columns, slice):
        if any(isinstance(end, str) for end in (columns.start, columns.stop)):
            return
        start, stop, step = columns.indices(d)
        relative = columns.stop is None and (start, step) != (0, 1)
        relative = relative or min(columns.start or 0, columns.stop or 0, step) < 0
        counted = f"slice({start}, {stop})" if step == 1 else f"range({start}, {stop}, {step})"
    else:
        numbers = [c for c in np.ravel(columns).tolist() if type(c) is int]
        relative = min(numbers, default=0) < 0
        counted = str([c % d for c in numbers])
    if relative:
        raise ValueError(
            f"modalities: {name!r} selects {columns!r}, which depends on the width of X: behind "
            "an earlier step that changed it, these would silently be other columns. Count from "
            f"the start to an end, as in {counted}, or select by name. Where the width may "
            f"change, say so by a callable, as in lambda X: {columns!r}."
        )


def select_blocks(
    X: MatrixLike, modalities: Sequence[Modality], only: str | None = None
) -> dict[str, Any]:
    """Raw blocks of `X` for a fitted estimator.

    Parameters
    ----------
    X : MultimodalData, DataFrame, ndarray, sparse, or array-like of str
        The whole table, a MultimodalData that holds some or all modalities, or with
        `only` the block of that modality alone.
    modalities : list of Modality
        As resolved at fit.
    only : str, optional
        Take this modality alone.

    Returns
    -------
    dict
        Modality name to raw block, in the order of the fit. Sparse blocks are CSR without
        duplicate entries, columns of vectors are arrays.
    """
    shapes = {m.name: m.item_shape for m in modalities}
    return {
        name: _as_rows(name, block, shapes[name])
        for name, block in _select(X, modalities, only).items()
    }


def _as_rows(name, block, shape):
    """A raw block in the form in which it is computed with."""
    if sparse.issparse(block):
        return canonical(block)
    return block if shape is None else stack_items(f"The modality {name!r}", block, shape)


def _select(X, modalities, only):
    kept = [m for m in modalities if not m.dropped]
    if only is not None:
        found = [m for m in kept if m.name == only]
        if not found:
            raise ValueError(f"modality must be one of {[m.name for m in kept]}; got {only!r}.")
        if sparse.issparse(X) or not hasattr(X, "shape"):
            X = as_block(only, X)
        return {only: _block_of(X, found[0], modalities)}
    if isinstance(X, MultimodalData):
        unknown = [name for name in X.names if name not in {m.name for m in modalities}]
        if unknown:
            raise ValueError(
                f"X holds the modalities {unknown}, which were not there at fit; known are "
                f"{[m.name for m in kept]}."
            )
        present = [m for m in kept if m.name in X]
        if not present:
            raise ValueError(f"X holds none of the modalities {[m.name for m in kept]}.")
        return {m.name: _block_of(X, m, modalities) for m in present}
    return {m.name: _take_columns(X, m) for m in kept}


def _block_of(X, modality, modalities):
    """The block of one modality: in a MultimodalData, by name, alone, or in the whole table."""
    name = modality.name
    if isinstance(X, MultimodalData):
        if name not in X:
            raise ValueError(f"X holds the modalities {X.names}, but not {name!r}.")
        block = X[name]
        columns = _column_names(block)
        if columns is None or modality.names is None or len(columns) > modality.width:
            return _check_width(block, modality)
        return _take_columns(block, replace(modality, positions=_find(modality, columns, [])))
    columns = _column_names(X)
    if not hasattr(X, "columns") and tuple(X.shape[1:]) == modality.item_shape:
        return X
    if columns is not None and modality.names is not None:
        return _take_columns(X, replace(modality, positions=_find(modality, columns, modalities)))
    total = sum(m.width for m in modalities)
    if len(X.shape) == 2 and X.shape[1] == total != modality.width:
        return _take_columns(X, modality)
    return _check_width(X, modality, total)


def _find(modality, columns, modalities):
    """Positions of the columns of one modality among the names `columns`.

    They are found by name, or where all names are those of the fit, of the block alone
    or of all `modalities`, by position.
    """
    names = modality.names
    if columns == names:
        return np.arange(len(names))
    known = _known_names(modalities)
    if columns == known:
        return modality.positions
    where = {column: j for j, column in enumerate(columns)}
    missing = [c for c in names if c not in where]
    if missing:
        raise ValueError(
            f"X lacks {_shorten(missing)}, known from the modality {modality.name!r} at fit. "
            "Columns with names are matched by name; to match them by position, pass an array."
        )
    # In a wider frame, a name that several modalities share could mean any of them.
    counts = Counter(columns)
    shared = Counter(known) if len(columns) > len(names) else Counter()
    unclear = [c for c in dict.fromkeys(names) if counts[c] > 1 or shared[c] > 1]
    if unclear or len(set(names)) < len(names):
        raise ValueError(
            f"X cannot be matched by name to the modality {modality.name!r}, as "
            f"{_shorten(unclear or names)} could be several. Pass the block alone with the columns "
            "of the fit, or an array, whose columns are matched by position."
        )
    return np.array([where[c] for c in names])


def _known_names(modalities):
    """Names of all columns of the whole table, in its order; None where there is none."""
    known: dict[int, str | None] = {}
    for m in modalities:
        known.update(zip(m.positions, m.names or [None] * len(m.positions), strict=True))
    return [known[j] for j in sorted(known)]


def split_frame(X: MatrixLike, modalities: Sequence[Modality]) -> MatrixLike:
    """Split a whole DataFrame by the column names of the frames in a MultimodalData at fit.

    Parameters
    ----------
    X : {array-like, sparse, DataFrame} of shape (n, d)
        The whole table; it is returned as it is unless column names are known on both
        sides.
    modalities : list of Modality
        As resolved at fit.

    Returns
    -------
    X : {array-like, sparse, DataFrame} or MultimodalData
        The blocks of the modalities.

    Raises
    ------
    ValueError
        If names are missing, or do not tell which column belongs to which modality.
    """
    columns = _column_names(X)
    kept = [m for m in modalities if not m.dropped]
    if (
        columns is None
        or len(columns) != sum(m.width for m in modalities)
        or all(m.names is None for m in kept)
    ):
        return X
    where = [_find(m, columns, modalities) if m.names else m.positions for m in kept]
    if len(np.unique(np.concatenate(where))) < sum(m.width for m in kept):
        raise ValueError(
            "The columns of X are in another order than at fit, when not all of them had names: "
            "pass a MultimodalData, or the columns in the order of the fit."
        )
    return MultimodalData(
        **{
            m.name: _take_columns(X, replace(m, positions=positions))
            for m, positions in zip(kept, where, strict=True)
        }
    )


def _check_width(block, modality, total=None):
    tail = tuple(block.shape[1:])
    if tail in (modality.tail, modality.item_shape):
        return block
    if len(tail) == 1 and tail[0] == modality.width:
        whole = replace(modality, positions=np.arange(modality.width))
        return _take_columns(block, whole)
    if modality.item_shape is not None:
        raise ValueError(
            f"The modality {modality.name!r} was a column of arrays of shape "
            f"{modality.item_shape} at fit; got {_form_of_rows(tail)}."
        )
    whole = f", or the whole X with {total}" if total not in (None, modality.width) else ""
    hint = " Expected 2D array, got 1D array instead." if not tail and modality.width > 1 else ""
    raise ValueError(
        f"The modality {modality.name!r} had {modality.width} columns at fit: pass that many "
        f"{whole and '(the block alone)'}{whole}; got {_form_of_rows(tail)}.{hint}"
    )


def _form_of_rows(tail):
    """What rows are like; how many there are is not told, as they come in batches."""
    if len(tail) == 1:
        return f"{tail[0]} columns"
    return f"rows of shape {tail}" if tail else "one value a row"


def _take_columns(X, modality):
    """Columns of a table as the block that the modality had at fit."""
    positions = modality.positions
    if len(positions) == X.shape[1] and np.array_equal(positions, np.arange(X.shape[1])):
        block = X
    elif len(positions) > 1 and (np.diff(positions) == 1).all() and not sparse.issparse(X):
        # A contiguous run is a view of an array.
        block = safe_indexing(X, slice(positions[0], positions[-1] + 1), axis=1)
    else:
        block = safe_indexing(X, positions, axis=1)
    if modality.tail == ():
        if sparse.issparse(block):
            return block.toarray()[:, 0]
        return safe_indexing(block, 0, axis=1) if hasattr(block, "columns") else block[:, 0]
    if len(modality.tail) > 1:
        return np.asarray(block).reshape(-1, *modality.tail)
    return block


def _column_names(X):
    """Names of the columns of a frame if all are strings, as in scikit-learn; otherwise None."""
    columns = list(getattr(X, "columns", []))
    return columns if columns and all(isinstance(c, str) for c in columns) else None


def _labels_of(positions, labels):
    return [int(j) if labels is None else labels[j] for j in positions]


def _shorten(names, most=8):
    text = ", ".join(repr(name) for name in names[:most])
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return f"the columns {text}{more}" if len(names) != 1 else f"the column {text}"
