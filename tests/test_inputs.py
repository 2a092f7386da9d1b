"""What users pass is never written to, and its storage makes no difference."""

import contextlib
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from inspect import signature

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

from sklearn_cmh import AAH, ASCMH, DSAH, MultimodalData
from sklearn_cmh.utils._sklearn import Interval
from sklearn_cmh.utils.discovery import all_estimators

WITHOUT = [] if find_spec("torch") else all_estimators(kind="deep")
ESTIMATORS = [item for item in all_estimators() if item not in WITHOUT]
HASHERS = [item for item in all_estimators(kind="hasher") if item not in WITHOUT]
SMALL = {
    "n_bits": 4,
    "n_anchors": 12,
    "max_iter": 2,
    "pretrain_iter": 1,
    "n_restarts": 2,
    "pool_bits": 6,
    "widths": (1.0,),
    "n_bases": 12,
    "random_state": 0,
}

pytestmark = pytest.mark.filterwarnings("ignore")


COLUMNS = {"first": slice(0, 4), "second": slice(4, 8)}


def small(cls, modalities=COLUMNS):
    """A fast estimator of a class; around a hasher where it needs one."""
    needed = "estimator" in signature(cls).parameters
    estimator = cls(small(DSAH, modalities)) if needed else cls()
    known = estimator.get_params(deep=False)
    if "modalities" in known:
        estimator.set_params(modalities=modalities)
    # Codes of a ranker have as many bits as they have.
    ranker = hasattr(cls, "kneighbors")
    return estimator.set_params(
        **{k: v for k, v in SMALL.items() if k in known and not (ranker and k == "n_bits")}
    )


PAIRED = [cls for _, cls in all_estimators(kind="paired")]


def made(cls):
    """A fast estimator of a class for the table below."""
    estimator = small(cls)
    if cls in PAIRED:
        estimator.set_params(modalities={"image": slice(0, 4), "text": slice(4, D)})
    return estimator


@pytest.fixture(params=ESTIMATORS, ids=lambda item: item[0])
def estimator(request):
    return made(request.param[1])


N, D = 60, 8


def counts():
    """Rows of word counts that tell two classes apart, as stored entries with duplicates."""
    rng = np.random.RandomState(0)
    rows = np.repeat(np.arange(N), 12)
    columns = rng.randint(0, D, len(rows)) // (1 + rows % 2)
    return rows, columns, np.ones(len(rows))


def with_duplicates(form, dtype=np.float64):
    """Unsorted, with one entry per token."""
    rows, columns, values = counts()
    values = values.astype(dtype)
    if form == "coo":
        return sparse.coo_array((values, (rows, columns)), shape=(N, D))
    major, minor = (rows, columns) if form == "csr" else (columns, rows)
    order = np.argsort(major, kind="stable")
    indptr = np.searchsorted(major[order], np.arange((N if form == "csr" else D) + 1))
    make = sparse.csr_array if form == "csr" else sparse.csc_array
    return make((values[order], minor[order], indptr), shape=(N, D))


def arrays_of(X):
    names = ("data", "indices", "indptr") if X.format != "coo" else ("data", "row", "col")
    return {name: getattr(X, name) for name in names}


def answers(estimator, X, y):
    """Everything that the methods of a fitted clone say of X."""
    model = clone(estimator).fit(X, y)
    said = [
        getattr(model, name)(X)
        for name in ("transform", "predict", "encode", "project")
        if hasattr(model, name)
    ]
    if hasattr(model, "score"):
        said.append(model.score(X, y))
    return [value.toarray() if sparse.issparse(value) else value for value in said]


def assert_same(said, expected):
    for value, other in zip(said, expected, strict=True):
        np.testing.assert_array_equal(value, other)


def accepts_sparse(estimator):
    return estimator.__sklearn_tags__().input_tags.sparse


Y = np.arange(N) % 2


@pytest.fixture(scope="module")
def plain_answers():
    """What an estimator says of the matrix without duplicates."""

    @cache
    def of(kind):
        return answers(made(kind), sparse.csr_array(with_duplicates("csr").toarray()), Y)

    return lambda estimator: of(type(estimator))


@pytest.mark.parametrize(
    ("form", "storage"),
    [
        ("csr", "writable"),
        ("csr", "memory-mapped"),
        ("csc", "read-only"),
        ("coo", "memory-mapped"),
    ],
)
def test_sparse_input_is_not_written_to(estimator, form, storage, plain_answers, tmp_path):
    if not accepts_sparse(estimator):
        pytest.skip("takes no sparse rows")
    X = with_duplicates(form)
    if storage == "memory-mapped":
        joblib.dump(X, tmp_path / "X.joblib")
        X = joblib.load(tmp_path / "X.joblib", mmap_mode="r")
    before = {name: array.copy() for name, array in arrays_of(X).items()}
    if storage == "read-only":
        for array in arrays_of(X).values():
            array.flags.writeable = False
    said = answers(estimator, X, Y)
    for name, array in arrays_of(X).items():
        np.testing.assert_array_equal(array, before[name])
    assert_same(said, plain_answers(estimator))


def test_dense_input_is_not_written_to(estimator):
    X = with_duplicates("csr").toarray()
    y = Y.copy()
    X.flags.writeable = y.flags.writeable = False
    answers(estimator, X, y)


def test_two_threads_read_one_matrix(estimator, plain_answers):
    if not accepts_sparse(estimator):
        pytest.skip("takes no sparse rows")
    X = with_duplicates("csr")
    before = {name: array.copy() for name, array in arrays_of(X).items()}
    with ThreadPoolExecutor(2) as pool:
        for said in pool.map(lambda _: answers(estimator, X, Y), range(2)):
            assert_same(said, plain_answers(estimator))
    for name, array in arrays_of(X).items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(("name", "cls"), HASHERS, ids=[name for name, _ in HASHERS])
def test_blocks_are_not_written_to(name, cls):
    block = with_duplicates("csr")
    dense = with_duplicates("csr").toarray()
    before = {key: array.copy() for key, array in arrays_of(block).items()}
    for array in (*arrays_of(block).values(), dense):
        array.flags.writeable = False
    X = MultimodalData(image=dense, text=block)
    summed = MultimodalData(image=dense, text=sparse.csr_array(block.toarray()))
    hasher = small(cls, modalities=None)
    assert_same(answers(hasher, X, Y), answers(hasher, summed, Y))
    for key, array in arrays_of(block).items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.parametrize("value", ["a", None, True, [1, 2], -1, np.nan, np.inf])
@pytest.mark.parametrize(("cls", "parameter"), [(AAH, "theta"), (ASCMH, "lambdas")])
def test_weights_of_modalities_are_numbers(cls, parameter, value):
    with pytest.raises(ValueError, match=f"{parameter} must hold finite numbers .* got {{'data'"):
        cls(4, **{parameter: {"data": value}}).fit(np.eye(N), Y)


def test_true_is_no_number(estimator):
    """Python takes True for 1, which hides a slip of the position."""
    constraints = estimator._parameter_constraints
    for name, value in estimator.get_params(deep=False).items():
        numbers = [c for c in constraints.get(name, []) if isinstance(c, Interval)]
        if numbers and "boolean" not in constraints[name] and not isinstance(value, str):
            with pytest.raises(ValueError, match=f"'{name}' parameter of"):
                clone(estimator).set_params(**{name: True}).fit(np.eye(N), Y)


@pytest.mark.parametrize(("name", "cls"), HASHERS, ids=[name for name, _ in HASHERS])
def test_the_global_generator_is_left_alone(name, cls):
    rng = np.random.RandomState(0)
    X = MultimodalData(first=rng.rand(20, 4), second=rng.rand(20, 4))
    before = np.random.get_state()[1:3]  # noqa: NPY002
    small(cls, None).fit(X, np.arange(20) % 3).transform(X)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert np.random.get_state()[2] == before[1]  # noqa: NPY002


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "cls"), HASHERS, ids=[name for name, _ in HASHERS])
def test_numbers_at_the_end_of_a_dtype_give_an_answer_or_an_error_alone(name, cls, dtype):
    rng = np.random.RandomState(0)
    huge = np.where(rng.rand(20, 4) < 0.4, np.finfo(dtype).max, 0).astype(dtype)
    X = MultimodalData(first=rng.rand(20, 4), second=huge)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with contextlib.suppress(ValueError):
            small(cls, None).fit(X, np.arange(20) % 3)
