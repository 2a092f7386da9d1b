"""Any accepted ``y`` as one label matrix, and what follows from it.

A target is either labels of shape (n,) or an indicator of shape (n, c), dense
or sparse. Everything downstream sees one form only: a CSR indicator `L` of
shape (n, c) with int8 ones, and the classes that its columns stand for. A row
without any label is an empty row of `L`; it is relevant to no other row.
"""

from collections.abc import Set
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy import sparse
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_array

from ..utils._dask import in_memory
from ..utils._typing import Labels

__all__ = [
    "align_labels",
    "encode_labels",
    "is_indicator",
    "label_patterns",
    "labelled_rows",
    "normalise_rows",
]


_LISTS = (
    "holds lists of labels: turn them into an indicator by "
    "sklearn.preprocessing.MultiLabelBinarizer().fit_transform(y)."
)


def is_indicator(y: Labels, input_name: str = "y") -> bool:
    """Whether `y` is read as a label indicator (n, c) rather than as labels (n,)."""
    y = in_memory(y)
    if sparse.issparse(y):
        return True
    try:
        shape = np.asarray(y).shape
    except ValueError as error:
        raise ValueError(f"{input_name} {_LISTS}") from error
    return len(shape) == 2 and shape[1] != 1


def encode_labels(
    y: Labels, *, unlabelled: bool = False, input_name: str = "y"
) -> tuple[sparse.csr_array, NDArray[Any]]:
    """Turn any accepted target into a label matrix and its classes.

    Parameters
    ----------
    y : array-like of shape (n,) or {array-like, sparse} of shape (n, c)
        Class labels, or an indicator matrix of zeros and ones.
    unlabelled : bool, default=False
        Whether -1 marks rows without a label: the label -1 (beside names, in an array
        of dtype object), or an indicator row of which every entry is -1. Otherwise -1
        is an ordinary class label, and an error in an indicator.
    input_name : str, default="y"
        Name used in error messages.

    Returns
    -------
    L : csr_array of shape (n, c), int8
        The label indicator.
    classes : ndarray of shape (c,)
        Class of every column: sorted labels, or ``arange(c)`` for an indicator.

    Raises
    ------
    ValueError
        If `y` is None, empty, continuous, an indicator with other values than zero and
        one, or if labels are missing (NaN, NaT, None or pandas' NA).

    Examples
    --------
    >>> from sklearn_cmh.data import encode_labels
    >>> L, classes = encode_labels(["cat", "dog", "cat"])
    >>> L.toarray()
    array([[1, 0],
           [0, 1],
           [1, 0]], dtype=int8)
    >>> classes
    array(['cat', 'dog'], dtype='<U3')
    """
    y = in_memory(y)
    if y is None:
        raise ValueError(
            f"{input_name} is None, but labels are required: pass class labels of shape (n,) or "
            "a label indicator of shape (n, c)."
        )
    if is_indicator(y, input_name):
        return _encode_indicator(y, unlabelled, input_name)
    y = _plain(column_or_1d(_without_mask(y, unlabelled, input_name), warn=True))
    if len(y) == 0:
        raise ValueError(f"{input_name} has 0 rows, but at least one is required.")
    _refuse_missing(y, _missing(y), unlabelled, input_name)
    return _encode_classes(y, unlabelled, input_name)


def _without_mask(y, unlabelled, input_name):
    """Nullable integers of pandas as integers of NumPy, where scikit-learn takes floats."""
    dtypes = y.dtypes if hasattr(y, "columns") else [getattr(y, "dtype", None)]
    plain = [getattr(dtype, "numpy_dtype", None) for dtype in dtypes]
    if len(plain) != 1 or getattr(plain[0], "kind", "") not in "iub" or plain[0] is None:
        return y
    missing = np.asarray(y.isna()).ravel()
    _refuse_missing(np.asarray(y, dtype=object).ravel(), missing, unlabelled, input_name)
    return y.to_numpy(dtype=plain[0])


def _plain(y):
    """Numbers in an array of dtype object as an array of numbers; other labels as they are."""
    if y.dtype != object or not all(isinstance(label, Real) for label in y):
        return y
    numbers = np.array(y.tolist())
    exact = numbers.dtype.kind in "iub" or all(isinstance(label, float) for label in y)
    return numbers if exact else y


def _missing(y):
    """Mask of the labels that stand for none: NaN, NaT, None and pandas' NA."""
    if y.dtype.kind == "f":
        return np.isnan(y)
    if y.dtype.kind in "mM":
        return np.isnat(y)
    if y.dtype == object:
        return np.array([_is_missing(label) for label in y])
    return np.zeros(len(y), dtype=bool)


def _is_missing(label):
    try:
        return label is None or bool(label != label)
    except (TypeError, ValueError):  # pandas' NA has no truth value, nor has an array
        return not isinstance(label, (list, tuple, Set, np.ndarray))


def _refuse_missing(y, missing, unlabelled, input_name):
    if not missing.any():
        return
    first = y[missing][0]
    shown = "NaN" if isinstance(first, float) else str(first)
    mark = ""
    if unlabelled and shown != "NaT":
        names = any(isinstance(label, str) for label in y)
        mark = f"write the number -1{' in an array of dtype object' if names else ''}; or "
    raise ValueError(
        f"{input_name} contains {shown}: {missing.sum()} of {len(y)} rows have no label. For them, "
        f"{mark}pass an indicator in which they are rows of zeros, as "
        f"pandas.get_dummies({input_name}) is; or leave them out."
    )


def _encode_classes(y, unlabelled, input_name):
    n = len(y)
    if y.dtype == object and any(isinstance(label, (list, tuple, Set)) for label in y):
        raise ValueError(f"{input_name} {_LISTS}")
    if y.dtype.kind == "f":
        check_array(y, ensure_2d=False, input_name=input_name)
    if unlabelled and y.dtype.kind in "US" and (y == y.dtype.type(-1)).any():
        raise ValueError(
            f'{input_name} holds the string "-1". Beside names, rows without a label are marked by '
            "the number -1 in an array of dtype object."
        )
    present = np.flatnonzero(y != -1) if unlabelled and y.dtype.kind not in "US" else np.arange(n)
    if y.dtype == object and len({isinstance(label, str) for label in y[present]}) > 1:
        raise ValueError(
            f"{input_name} holds names as well as "
            f"{next(label for label in y[present] if not isinstance(label, str))!r}: class labels "
            f"must be all names or all numbers{' (and -1, for no label)' if unlabelled else ''}."
        )
    target = type_of_target(y[present], input_name=input_name) if len(present) else "binary"
    if target not in ("binary", "multiclass"):
        raise ValueError(
            f"Unknown label type: {target}. {input_name} must hold class labels of shape (n,) or "
            "a label indicator of shape (n, c); to hash a continuous target, bin it first."
        )
    classes, columns = np.unique(y[present], return_inverse=True)
    indptr = np.zeros(n + 1, dtype=np.int32)
    indptr[present + 1] = 1
    np.cumsum(indptr, out=indptr)
    data = np.ones(len(present), dtype=np.int8)
    L = sparse.csr_array((data, columns.astype(np.int32), indptr), shape=(n, len(classes)))
    return L, classes


def _encode_indicator(y, unlabelled, input_name):
    if not sparse.issparse(y):
        y = _numbers(np.asarray(y), input_name)
    y = check_array(y, accept_sparse="csr", dtype=None, input_name=input_name)
    if not sparse.issparse(y) and unlabelled:
        y = np.where((y == -1).all(axis=1)[:, None], np.zeros((), y.dtype), y)
    L = sparse.csr_array(y, copy=True)
    L.sum_duplicates()
    if sparse.issparse(y) and unlabelled:
        minus = sparse.csr_array(L == -1)
        filled = np.flatnonzero(np.diff(minus.indptr) == L.shape[1])
        if len(filled):
            keep = np.ones(L.shape[0], dtype=L.dtype)
            keep[filled] = 0
            L.data *= np.repeat(keep, np.diff(L.indptr))
    L.eliminate_zeros()
    strange = L.data[L.data != 1]
    if len(strange):
        hint = (
            " A row of -1 marks missing labels only in estimators that say so."
            if (strange == -1).any()
            else ""
        )
        raise ValueError(
            f"{input_name} of shape {y.shape} is read as a label indicator and must hold only 0 "
            f"and 1; it holds {strange[0].item()!r}.{hint}"
        )
    L = sparse.csr_array(
        (np.ones(L.nnz, dtype=np.int8), L.indices.astype(np.int32), L.indptr.astype(np.int32)),
        shape=L.shape,
    )
    L.sort_indices()
    return L, np.arange(L.shape[1])


def _numbers(y, input_name):
    """An indicator of numbers in an array of dtype object, as floats; names are refused."""
    if y.dtype.kind in "biuf":
        return y
    for value in y.flat:
        if _is_missing(value):
            raise ValueError(
                f"{input_name} of shape {y.shape} is read as a label indicator and must hold only "
                f"0 and 1; it holds {value!r}. Rows without a label are rows of zeros."
            )
        if not isinstance(value, (Real, np.bool_)):
            raise ValueError(
                f"{input_name} of shape {y.shape} is read as a label indicator and must hold only "
                f"0 and 1; it holds {value!r}. If it {_LISTS}"
            )
    return y.astype(np.float64)


def align_labels(
    L_first: sparse.csr_array,
    classes_first: NDArray[Any],
    L_second: sparse.csr_array,
    classes_second: NDArray[Any],
) -> tuple[sparse.csr_array, sparse.csr_array, NDArray[Any]]:
    """Put two label matrices on the union of their classes.

    Parameters
    ----------
    L_first, L_second : csr_array of shape (n_first, c_first), (n_second, c_second)
        Label indicators from `encode_labels`.
    classes_first, classes_second : ndarray of shape (c_first,), (c_second,)
        Their classes.

    Returns
    -------
    L_first, L_second : csr_array of shape (n_first, c), (n_second, c)
        The same rows over the union of the classes.
    classes : ndarray of shape (c,)
        The union, sorted.

    Raises
    ------
    ValueError
        If one side has names and the other numbers.

    Examples
    --------
    >>> from sklearn_cmh.data import align_labels, encode_labels
    >>> first, second, classes = align_labels(*encode_labels(["a", "b"]), *encode_labels(["b"]))
    >>> second.toarray(), classes
    (array([[0, 1]], dtype=int8), array(['a', 'b'], dtype='<U1'))
    """
    if np.array_equal(classes_first, classes_second):
        return L_first, L_second, classes_first
    first, second = classes_first[:1].tolist(), classes_second[:1].tolist()
    if first and second and isinstance(first[0], str) != isinstance(second[0], str):
        raise ValueError(
            f"Labels like {first[0]!r} cannot be compared with labels like {second[0]!r}: use the "
            "same labels on both sides, all names or all numbers."
        )
    if len({classes_first.dtype.kind, classes_second.dtype.kind} & set("iuf")) == 2:
        # Numbers of two kinds would be compared as floats, which do not hold every integer.
        classes_first, classes_second = classes_first.astype(object), classes_second.astype(object)
    classes = np.union1d(classes_first, classes_second)

    def widen(L, old):
        columns = np.searchsorted(classes, old).astype(np.int32)
        return sparse.csr_array(
            (L.data, columns[L.indices], L.indptr), shape=(L.shape[0], len(classes))
        )

    return widen(L_first, classes_first), widen(L_second, classes_second), classes


def labelled_rows(L: sparse.csr_array) -> NDArray[np.bool_]:
    """Mask of shape (n,): which rows of the indicator `L` carry at least one label."""
    return np.diff(L.indptr) > 0


def normalise_rows(L: sparse.csr_array, dtype: DTypeLike = np.float64) -> sparse.csr_array:
    """Divide every row of the indicator `L` by its 2-norm; empty rows stay empty.

    Parameters
    ----------
    L : csr_array of shape (n, c)
        Label indicator.
    dtype : dtype, default=float64
        Of the result.

    Returns
    -------
    Lt : csr_array of shape (n, c)
        Rows of norm one, or zero.

    Examples
    --------
    >>> from sklearn_cmh.data import encode_labels, normalise_rows
    >>> L, _ = encode_labels([[1, 1], [0, 0]])
    >>> normalise_rows(L).toarray().round(3)
    array([[0.707, 0.707],
           [0.   , 0.   ]])
    """
    counts = np.diff(L.indptr)
    values = np.repeat(1.0 / np.sqrt(np.maximum(counts, 1)), counts).astype(dtype)
    return sparse.csr_array((values, L.indices, L.indptr), shape=L.shape)


def label_patterns(L: sparse.csr_array) -> tuple[sparse.csr_array, NDArray[np.intp]]:
    """Distinct rows of a label indicator.

    Parameters
    ----------
    L : csr_array of shape (n, c)
        Label indicator.

    Returns
    -------
    patterns : csr_array of shape (g, c), int8
        The distinct rows.
    membership : ndarray of shape (n,), intp
        Which pattern each row has: ``patterns[membership]`` equals `L`.

    Examples
    --------
    >>> from sklearn_cmh.data import encode_labels, label_patterns
    >>> L, _ = encode_labels([[1, 1, 0], [0, 0, 1], [1, 1, 0]])
    >>> patterns, membership = label_patterns(L)
    >>> patterns.shape, membership.tolist()
    ((2, 3), [1, 0, 1])
    """
    n, c = L.shape
    width = -(-c // 8)
    # Rows become bit strings, a block at a time: n c / 8 bytes instead of a dense n c.
    packed = np.empty((n, width), dtype=np.uint8)
    step = max(1, 2**24 // max(c, 1))
    for start in range(0, n, step):
        packed[start : start + step] = np.packbits(L[start : start + step].toarray() > 0, axis=1)
    keys = packed.view(np.dtype((np.void, width))).ravel()
    _, first, membership = np.unique(keys, return_index=True, return_inverse=True)
    return L[first], membership.reshape(-1)
