"""Strategies of hypothesis: rows in every form that users have, labels, parameters.

What is drawn are a few plain choices and a seed, so that an example that fails is short and
shrinks; the numbers themselves come from NumPy.
"""

import os
import tempfile
import warnings
from dataclasses import dataclass
from inspect import signature
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import sparse
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.utils import check_array

from sklearn_cmh import AnchorRBF, MultimodalData
from sklearn_cmh.utils._sklearn import Interval, StrOptions, safe_indexing

# The long profile looks at many times as many examples.
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
TIMES = 100 if LONG else 1


def examples(n):
    """Examples of a test: n in the default run, more in the long one."""
    return n * TIMES


seeds = st.integers(0, 2**16)

# --- Values ------------------------------------------------------------------------------------

KINDS = (
    ["normal"] * 6 + ["counts"] * 3 + ["one-hot", "constant", "zeros", "equal", "scaled", "hole"]
)


@st.composite
def values(draw, n, d=None):
    """A float64 matrix of n rows: ordinary numbers as a rule, and odd ones."""
    d = draw(st.integers(1, 6)) if d is None else d
    rng = np.random.default_rng(draw(seeds))
    kind = draw(st.sampled_from(KINDS))
    X = rng.standard_normal((n, d))
    if kind == "counts":
        X = rng.poisson(0.7, (n, d)).astype(float)
    elif kind == "one-hot":
        X = np.eye(d)[rng.integers(0, d, n)]
    elif kind == "constant":
        X[:, draw(st.integers(0, d - 1))] = draw(st.sampled_from([0.0, 7.0, 1e6]))
    elif kind == "zeros":
        X[rng.random(n) < 0.7] = 0.0
    elif kind == "equal":
        X = X[np.arange(n) % draw(st.integers(1, n))]
    elif kind == "scaled":
        X *= 10.0 ** draw(st.integers(-300, 300))
    elif kind == "hole":
        X[rng.integers(n), rng.integers(d)] = draw(st.sampled_from([np.nan, np.inf]))
    return X


# --- Storage -----------------------------------------------------------------------------------

LAYOUTS = ["C", "F", "strided", "reversed", "read-only", "memory-mapped", "unaligned", "swapped"]


def laid_out(X, layout):
    """The numbers of `X` in another layout."""
    n, d = X.shape
    if layout == "F":
        return np.asfortranarray(X)
    if layout == "strided":
        wide = np.zeros((2 * n, 3 * d), X.dtype)
        wide[::2, ::3] = X
        return wide[::2, ::3]
    if layout == "reversed":
        return np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1]
    if layout == "unaligned":
        raw = np.zeros(X.nbytes + 1, np.uint8)[1:].view(X.dtype).reshape(X.shape)
        raw[:] = X
        return raw
    if layout == "swapped":
        return X.astype(X.dtype.newbyteorder())
    if layout == "memory-mapped":
        return memory_mapped(X)
    X = np.ascontiguousarray(X).copy()
    X.flags.writeable = layout != "read-only"
    return X


def memory_mapped(X):
    """The numbers of `X`, mapped read-only from a file that is gone from its folder."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder, "X.npy")
        np.save(path, X)
        return np.load(path, mmap_mode="r")


SPARSE = ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"]


@dataclass(frozen=True)
class Stored:
    """How a sparse matrix is stored."""

    format: str
    matrix: bool = False
    wide_indices: bool = False
    duplicates: bool = False
    unsorted: bool = False
    zeros: bool = False

    def __call__(self, X):
        rows, columns = np.nonzero(np.ones_like(X) if self.zeros else X)
        data = X[rows, columns]
        if self.duplicates and X.dtype.kind == "f":
            rows, columns = np.tile(rows, 2), np.tile(columns, 2)
            data = np.concatenate([data / 2, data / 2])
        if self.unsorted:
            order = np.random.default_rng(0).permutation(len(rows))
            rows, columns, data = rows[order], columns[order], data[order]
        made: Any = sparse.coo_array((data, (rows, columns)), shape=X.shape)
        if self.format in ("csr", "csc"):
            made = self._compressed(rows, columns, data, X.shape)
        elif self.format != "coo":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", sparse.SparseEfficiencyWarning)
                made = made.asformat(self.format)
        if self.matrix:
            made = getattr(sparse, f"{self.format}_matrix")(made)
        return made

    def _compressed(self, rows, columns, data, shape):
        """Entries of a row in the order in which they are given, duplicates side by side."""
        major, minor = (rows, columns) if self.format == "csr" else (columns, rows)
        order = np.argsort(major, kind="stable")
        length = shape[0] if self.format == "csr" else shape[1]
        dtype = np.int64 if self.wide_indices else np.int32
        indptr = np.searchsorted(major[order], np.arange(length + 1)).astype(dtype)
        make = getattr(sparse, f"{self.format}_array")
        return make((data[order], minor[order].astype(dtype), indptr), shape=shape)


stored = st.builds(Stored, st.sampled_from(SPARSE), *[st.booleans() for _ in range(5)])

FRAMES = ["pandas", "nullable", "arrow", "polars"]
NULLABLE = {"float32": "Float32", "int8": "Int8", "int64": "Int64", "uint8": "UInt8"}
NULLABLE |= {"uint64": "UInt64", "bool": "boolean"}


def framed(X, library, prefix="column"):
    """A DataFrame of the columns of `X`."""
    columns = {f"{prefix}{j}": column for j, column in enumerate(np.ascontiguousarray(X.T))}
    if library == "polars":
        import polars

        return polars.DataFrame(columns)
    import pandas as pd

    frame = pd.DataFrame(columns)
    if library == "nullable":
        return frame.astype(NULLABLE.get(X.dtype.name, "Float64"))
    if library == "arrow":
        return frame.astype(f"{X.dtype.name}[pyarrow]")
    return frame


DTYPES = ["float64"] * 4 + ["float32"] * 3 + ["float16", "longdouble", "int8", "int64", "uint8"]
DTYPES += ["uint64", "bool", "object"]


def cast(X, dtype):
    """Numbers of another type, as far as it holds them."""
    kind = np.dtype(dtype).kind
    if kind == "O":
        return X.astype(object)
    if kind in "iu":
        return np.clip(np.nan_to_num(X), 0, 100).astype(dtype)
    if kind == "b":
        return X > 0
    largest = np.finfo(dtype).max
    return np.where(np.isinf(X), X, np.clip(X, -largest, largest)).astype(dtype)


@st.composite
def blocks(draw, n, d=None):
    """One block of n rows, in some type and storage."""
    X = draw(values(n, d))
    kind = draw(st.sampled_from(["dense", "dense", "sparse", "frame", "list"]))
    dtype = draw(st.sampled_from(DTYPES))
    if kind == "list":
        return X.tolist()
    if kind == "frame":
        if dtype in ("float16", "longdouble", "object"):
            dtype = "float64"
        return framed(cast(X, dtype), draw(st.sampled_from(FRAMES)))
    if kind == "sparse":
        if dtype in ("float16", "longdouble", "object"):
            dtype = "float64"
        return draw(stored)(cast(X, dtype))
    layout = draw(st.sampled_from(LAYOUTS))
    X = cast(X, dtype)
    return X if dtype == "object" else laid_out(X, layout)


NAMES = ["image", "text", "audio", "a b", "é"]


@st.composite
def multimodal(draw, n, least=1, d=None):
    """MultimodalData of up to five blocks, of d columns each if that is given."""
    count = draw(st.integers(least, 5))
    return MultimodalData(**{name: draw(blocks(n, d)) for name in NAMES[:count]})


@st.composite
def tables(draw, n):
    """One table, and the parameter `modalities` that splits it."""
    X = draw(blocks(n))
    d = np.shape(X)[1] if not sparse.issparse(X) else X.shape[1]
    cuts = sorted(draw(st.sets(st.integers(1, d), max_size=3)) | {d})
    starts = [0, *cuts[:-1]]
    if draw(st.booleans()) and len(cuts) == 1:
        return X, None
    columns = [slice(a, b) for a, b in zip(starts, cuts, strict=True)]
    if draw(st.booleans()):
        columns = [list(range(part.start, part.stop)) for part in columns]
    return X, dict(zip(NAMES, columns, strict=False))


numbers_of_rows = st.one_of(st.integers(2, 12), st.integers(2, 30), st.sampled_from([150, 2, 1]))


# --- What rows are ------------------------------------------------------------------------------


def take(X, rows):
    """Some rows, of whatever kind."""
    if isinstance(X, MultimodalData):
        return X[rows]
    if sparse.issparse(X):
        return X.tocsr()[rows]
    return safe_indexing(X, rows)


def n_rows(X):
    """How many rows."""
    return X.shape[0] if hasattr(X, "shape") else len(X)


def plain(X):
    """The same numbers in the plainest storage: C order, or CSR without duplicates."""
    if isinstance(X, MultimodalData):
        return MultimodalData(**{name: plain(X[name]) for name in X.names})
    X = check_array(X, accept_sparse="csr", dtype=[np.float64, np.float32], copy=True)
    if sparse.issparse(X):
        X = sparse.csr_array(X)
        X.sum_duplicates()
        return X
    return np.ascontiguousarray(X, dtype=X.dtype.newbyteorder("="))


def contents(*objects):
    """Copies of everything that is stored in rows or labels, to see whether it has changed."""
    found = []
    for X in objects:
        if isinstance(X, MultimodalData):
            found += contents(*[X[name] for name in X.names])
        elif sparse.issparse(X) and X.format in ("csr", "csc", "bsr"):
            found += [X.data.copy(), X.indices.copy(), X.indptr.copy()]
        elif sparse.issparse(X):
            made = X.tocoo(copy=True)
            found += [made.data, *made.coords]
        elif X is not None:
            values = np.array(X)
            found.append(values.astype(str) if values.dtype == object else values)
    return found


# --- Labels --------------------------------------------------------------------------------------

LABELS = ["strings", "integers", "floats", "bool", "list", "indicator", "several", "sparse"]
LABELS += ["boolean indicator", "frame", "series", "nullable"]


@st.composite
def labels(draw, n):
    """Labels in any form; rows without one where the form has such; classes that are absent."""
    rng = np.random.default_rng(draw(seeds))
    n_classes = draw(st.sampled_from([3, 2, 3, 2, 6, 1]))
    y = rng.permutation(np.arange(n) % n_classes)
    form = draw(st.sampled_from(LABELS))
    if form == "integers":
        return y.astype(draw(st.sampled_from(["int8", "uint8", "int64"])))
    if form == "floats":
        return y.astype(draw(st.sampled_from(["float32", "float64"])))
    if form == "strings":
        return np.array(["cat", "dog", "é", "", "a b", "1"])[y]
    if form == "bool":
        return y > 0
    if form == "list":
        return y.tolist()
    if form in ("series", "nullable"):
        import pandas as pd

        return pd.Series(y, dtype="Int64" if form == "nullable" else "category")
    L = np.eye(n_classes + draw(st.integers(0, 2)), dtype=int)[y]
    L[rng.random(n) < draw(st.sampled_from([0.0, 0.3, 0.0, 1.0]))] = 0
    if form == "several":
        L |= rng.random(L.shape) < 0.3
    if form == "sparse":
        return draw(stored)(L.astype(draw(st.sampled_from(["int8", "float64", "bool"]))))
    if form == "boolean indicator":
        return L > 0
    if form == "frame":
        return framed(L, draw(st.sampled_from(["pandas", "polars"])))
    return L.astype(draw(st.sampled_from(["int8", "float32", "int64"])))


# --- Parameters ----------------------------------------------------------------------------------

# What costs time is small; what is not named here is drawn, or stays as it is.
COSTS = {
    "n_anchors": 12,
    "max_iter": 2,
    "n_restarts": 1,
    "pool_bits": 8,
    "n_perturbations": 1,
    "widths": (1.0,),
    "ridges": (0.1, 1.0),
    "n_neighbors": 2,
    "hidden": (8,),
    "pretrain_iter": 1,
    "n_candidates": 10,
    "n_selected": 3,
    "n_semantic": 8,
    "width": 4,
    "device": "cpu",
    "verbose": 0,
}
FIXED = {
    "n_bits",
    "random_state",
    "modalities",
    "network",
    "pretrained",
    "image_shape",
    "optimiser",
}
FIXED |= {"shared_space", "neighbors", "hash_estimator", "classifier", "backend"}
FIXED |= {"n_jobs", *COSTS} - {"n_anchors", "n_perturbations", "n_neighbors", "n_restarts"}

feature_maps = st.sampled_from(
    [None, "passthrough", AnchorRBF(5), StandardScaler(with_mean=False), MaxAbsScaler()]
)


def numbers_in(interval):
    """Numbers of an interval, over 24 orders of magnitude where it is as wide."""
    low = -np.inf if interval.left is None else interval.left
    high = np.inf if interval.right is None else interval.right
    if interval.type is Integral:
        return st.integers(int(max(low, -3)), int(min(high, max(low, -3) + 30)))
    orders = st.integers(-12, 12).map(lambda order: 10.0**order)
    ends = [x for x in (low, high, 0.0, 0.5) if np.isfinite(x)]
    return st.one_of(orders, st.sampled_from(ends)).filter(lambda x: x in interval)


def choices_of(constraints):
    """Strategies of the values that a parameter's constraints allow, where they are plain."""
    found: list[Any] = []
    for constraint in constraints:
        if isinstance(constraint, StrOptions):
            found.append(st.sampled_from(sorted(constraint.options)))
        elif isinstance(constraint, Interval):
            found.append(numbers_in(constraint))
        elif constraint == "boolean":
            found.append(st.booleans())
        elif constraint is None:
            found.append(st.none())
    return found


@st.composite
def parameters(draw, cls, most_bits=300):
    """Parameters of an estimator: cheap ones, and up to four drawn from what is allowed."""
    known = signature(cls).parameters
    chosen = {name: value for name, value in COSTS.items() if name in known}
    if "n_bits" in known:
        most = draw(st.sampled_from([12, 12, most_bits]))
        chosen["n_bits"] = draw(st.integers(1, most))
    if "pool_bits" in known:
        chosen["pool_bits"] = chosen["n_bits"] + draw(st.integers(0, 5))
    if "random_state" in known:
        chosen["random_state"] = draw(st.integers(0, 3))
    free = {
        name: choices_of(constraints)
        for name, constraints in cls._parameter_constraints.items()
        if name in known and name not in FIXED
    }
    free["feature_map"] = [feature_maps] if "feature_map" in known else []
    names = sorted(name for name, choices in free.items() if choices)
    for name in draw(st.sets(st.sampled_from(names), max_size=4)) if names else ():
        chosen[name] = draw(st.one_of(*free[name]))
    return chosen
