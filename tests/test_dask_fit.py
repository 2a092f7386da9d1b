"""Fits on Dask arrays: the codes of rows in memory, chunk by chunk."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, Normalizer, StandardScaler

from sklearn_cmh import AAH, ASCMH, DSAH, AnchorRBF, MultimodalData, RefinedHasher, SharedSpace
from sklearn_cmh.data import ChunkedRows
from sklearn_cmh.datasets import make_multimodal_classification
from sklearn_cmh.features import StoredRows, sqrt_norm
from sklearn_cmh.features._chunked_rows import mapped_features
from sklearn_cmh.shallow import CCAITQ
from sklearn_cmh.solvers import (
    cross,
    dense,
    dot,
    gram,
    inner,
    orthonormal_basis,
    sign,
    squared_norm,
    weighted_sum,
)
from sklearn_cmh.utils.discovery import all_estimators

dask = pytest.importorskip("dask", reason="dask is not installed")
da = pytest.importorskip("dask.array", reason="dask is not installed")

CHUNKED = [cls for _, cls in all_estimators() if getattr(cls(), "_takes_chunks", False)]
CHUNKED.remove(SharedSpace)  # it has no codes

SOLVED_BY_WORKERS = [cls for cls in CHUNKED if getattr(cls(), "_solves_chunks", False)]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def in_this_thread():
    with dask.config.set(scheduler="sync"):
        yield


@pytest.fixture(scope="module")
def data():
    X, y = make_multimodal_classification(200, random_state=0)
    return in_dtype(X, np.float32), y


def in_dtype(X, dtype):
    return MultimodalData(**{name: block.astype(dtype) for name, block in X.blocks.items()})


def in_chunks(X, rows=((70, 0, 90, 40), 90), columns=7):
    """The blocks of X as Dask arrays, chunked in ways of their own."""
    heights = dict(zip(X.names, rows, strict=True))
    return MultimodalData(
        **{
            name: da.from_array(block, chunks=(heights[name], columns))
            for name, block in X.blocks.items()
        }
    )


def assert_alike(found, expected, X):
    """That two fits differ in no more than rounding."""
    assert np.mean(found.codes_ == expected.codes_) >= 0.999
    assert np.mean(found.transform(X) == expected.transform(X)) >= 0.999
    # What settles to the last digit does so a sweep earlier or later.
    assert found.n_iter_ == expected.n_iter_ or found.tol == 0
    assert found.objective_[-1] == pytest.approx(expected.objective_[-1], rel=1e-4)
    for name in X.names:
        P, wanted = found.projections_[name], expected.projections_[name]
        assert P.dtype == wanted.dtype
        assert_allclose(P, wanted, rtol=0, atol=1e-3 * abs(wanted).max())


def small(cls, **params):
    given = {"n_bits": 8, "max_iter": 3, "n_anchors": 20, "random_state": 0, **params}
    return cls(**{name: value for name, value in given.items() if name in cls().get_params()})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cls", CHUNKED)
def test_codes_are_those_of_rows_in_memory(cls, dtype, data):
    X, y = in_dtype(data[0], dtype), data[1]
    found = small(cls).fit(in_chunks(X), y)
    assert_alike(found, small(cls).fit(X, y), X)
    assert found.codes_.dtype == np.int8


@pytest.mark.parametrize("hasher", [small(DSAH), small(AAH)])
def test_features_beyond_working_memory_go_to_a_file(hasher, data, monkeypatch):
    made = []
    init = StoredRows.__init__
    monkeypatch.setattr(StoredRows, "__init__", lambda *args: made.append(init(*args)))
    X, y = data
    with config_context(working_memory=0.001):
        found = clone(hasher).fit(in_chunks(X), y)
    assert len(made) == 2
    assert_alike(found, clone(hasher).fit(X, y), X)


@pytest.mark.parametrize("hasher", [small(DSAH), small(AAH)])
def test_sparse_chunks(hasher, data):
    X, y = data
    X = MultimodalData(image=X["image"], text=np.maximum(X["text"], 0))
    lazy = in_chunks(X)
    lazy = MultimodalData(image=lazy["image"], text=lazy["text"].map_blocks(sparse.csr_array))
    X = MultimodalData(image=X["image"], text=sparse.csr_array(X["text"]))
    found, expected = clone(hasher).fit(lazy, y), clone(hasher).fit(X, y)
    assert_alike(found, expected, X)
    anchors = getattr(found.feature_maps_["text"], "anchors_", None)
    assert anchors is None or sparse.issparse(anchors)


@pytest.mark.parametrize("feature_map", [None, "passthrough", MaxAbsScaler()])
def test_sparse_chunks_of_which_dask_was_not_told(feature_map, data):
    X, y = data
    text = sparse.csr_array(X["text"])
    chunks = [
        da.from_delayed(dask.delayed(part), part.shape, part.dtype)
        for part in (text[:80], text[80:])
    ]
    lazy = MultimodalData(image=da.from_array(X["image"]), text=da.concatenate(chunks))
    X = MultimodalData(image=X["image"], text=text)
    for cls in (DSAH, AAH):
        hasher = small(cls, feature_map=feature_map)
        assert_alike(clone(hasher).fit(lazy, y), clone(hasher).fit(X, y), X)


@pytest.mark.parametrize("of_kind", [np.asarray, sparse.csr_array])
def test_width_counts_chunks_of_zeros(of_kind, data):
    X, y = data
    zeros = np.where(np.arange(len(y))[:, None] < 100, 0, X["text"])
    text = da.from_array(zeros, chunks=(100, -1)).map_blocks(of_kind)
    lazy = MultimodalData(image=da.from_array(X["image"], chunks=(100, -1)), text=text)
    X = MultimodalData(image=X["image"], text=of_kind(zeros))
    found, expected = small(DSAH).fit(lazy, y), small(DSAH).fit(X, y)
    widths = [hasher.feature_maps_["text"].width_ for hasher in (found, expected)]
    assert widths[0] == pytest.approx(widths[1], rel=1e-5)
    assert_alike(found, expected, X)


def test_columns_of_a_table(data):
    X, y = data
    table = np.hstack([X["image"], X["text"]])
    width = X["image"].shape[1]
    hasher = small(
        DSAH, modalities={"image": slice(0, width), "text": slice(width, table.shape[1])}
    )
    lazy = da.from_array(table, chunks=(64, 5))
    found, expected = clone(hasher).fit(lazy, y), clone(hasher).fit(table, y)
    assert_array_equal(found.codes_, expected.codes_)
    assert found.n_features_in_ == table.shape[1]
    alone = small(AAH).fit(lazy, y)
    assert_array_equal(alone.codes_, small(AAH).fit(table, y).codes_)


@pytest.mark.parametrize(
    "feature_map",
    [
        "passthrough",
        MaxAbsScaler(),
        Normalizer(),
        AnchorRBF(20, centre=False),
        AnchorRBF(20, width=2.0),
        make_pipeline(sqrt_norm(), "passthrough", AnchorRBF(20)),
        make_pipeline(AnchorRBF(30), MaxAbsScaler()),
        Pipeline([("nothing", "passthrough")]),
        make_pipeline(MaxAbsScaler().set_output(transform="pandas"), AnchorRBF(20)),
        MaxAbsScaler().set_output(transform="pandas"),
        "frozen",
    ],
)
def test_maps_of_chunks(feature_map, data):
    X, y = data
    if feature_map == "frozen":
        feature_map = FrozenEstimator(PCA(3, random_state=0).fit(X["text"]))
        feature_map = {"image": StandardScaler(), "text": feature_map}
    hasher = small(DSAH, feature_map=feature_map, n_anchors=1000)
    found, expected = clone(hasher).fit(in_chunks(X), y), clone(hasher).fit(X, y)
    assert_alike(found, expected, X)


@pytest.mark.parametrize("shared_space", [None, SharedSpace(4, n_anchors=30)])
def test_pairs_of_chunks(shared_space, data):
    X, y = data
    hasher = small(DSAH, pair_weight=0.3, shared_space=shared_space)
    assert_alike(clone(hasher).fit(in_chunks(X), y), clone(hasher).fit(X, y), X)


@pytest.mark.parametrize("far", [False, True])
def test_rows_without_labels_are_encoded(far, data, monkeypatch):
    if far:
        monkeypatch.setattr("sklearn_cmh.base.current_client", object)
    X, y = data
    Y = np.eye(4, dtype=int)[y]
    Y[10:60:2] = 0
    Y[70:160] = 0  # a whole chunk of them
    hasher = small(DSAH, max_iter=30)
    assert_alike(clone(hasher).fit(in_chunks(X), Y), clone(hasher).fit(X, Y), X)


def refused(data):
    """(hasher, X, y, error, message)"""
    X, y = data
    lazy = in_chunks(X)
    broken = X["text"].copy()
    broken[120, 3] = np.nan
    broken = MultimodalData(image=lazy["image"], text=da.from_array(broken, chunks=(50, -1)))
    own = [("image", StandardScaler(), None), ("text", None, None)]
    pictures = MultimodalData(image=da.zeros((200, 4, 4), chunks=(50, -1, -1)), text=lazy["text"])
    huge = MultimodalData(image=lazy["image"], text=lazy["text"] * 1e30)
    unknown = lazy["image"][lazy["image"][:, 0] > 0]
    return [
        (CCAITQ(8), lazy, y, TypeError, r"CCAITQ does not learn from them; AAH, .*DSAH"),
        (AAH(8, affinity="knn"), lazy, y, TypeError, "AAH at these parameters does not"),
        (ASCMH(8, hash_estimator=Ridge()), lazy, y, TypeError, "fit on a sample"),
        (DSAH(8, feature_map=PCA()), lazy, y, TypeError, "PCA cannot .*FrozenEstimator"),
        (DSAH(8, feature_map=AnchorRBF(9, sampling="kmeans")), lazy, y, ValueError, "kmeans"),
        (DSAH(8, modalities=own), lazy, y, TypeError, r"\['image'\] in `modalities`"),
        (
            RefinedHasher(AAH(affinity="knn")),
            lazy,
            y,
            TypeError,
            "RefinedHasher at these parameters does",
        ),
        (RefinedHasher(), broken, y, ValueError, "modality 'text' holds .* NaN"),
        (SharedSpace(), broken, None, ValueError, "modality 'text' holds .* NaN"),
        (SharedSpace(feature_map="passthrough"), huge, None, ValueError, "'text' are of the order"),
        (SharedSpace(modalities=own), lazy, None, TypeError, r"\['image'\] in `modalities`"),
        (DSAH(8), broken, y, ValueError, "modality 'text' holds .* NaN"),
        (DSAH(8), lazy, y[:10], ValueError, "inconsistent"),
        (DSAH(8), pictures, y, ValueError, "'image' to be vectors"),
        (DSAH(8), unknown, y, ValueError, "compute_chunk_sizes"),
        (DSAH(8), in_chunks(X[:1], (1, 1)), y[:1], ValueError, "1 row"),
        (DSAH(8), MultimodalData(image=lazy["image"], text=X["text"]), y, ValueError, "Dask"),
    ]


@pytest.mark.parametrize("case", range(17))
def test_what_does_not_go_is_refused(case, data):
    hasher, X, y, error, message = refused(data)[case]
    before = dict(vars(hasher))
    with pytest.raises(error, match=message):
        hasher.fit(X, y)
    assert vars(hasher) == before


def test_errors_of_a_chunk_name_its_rows(data):
    X, y = data
    text = X["text"].copy()
    text[120, 3] = np.nan
    broken = MultimodalData(
        image=da.from_array(X["image"], chunks=(50, -1)), text=da.from_array(text, chunks=(70, -1))
    )
    with pytest.raises(ValueError, match="NaN") as error:
        small(DSAH).fit(broken, y)
    assert error.value.__notes__ == ["In rows 100 to 149 of X."]


@pytest.mark.parametrize("read", [lambda rows: rows[:-1], lambda rows: rows[:, 1:]])
def test_chunks_of_another_shape_than_was_declared_are_said(read, data):
    X, y = data
    text = X["text"]
    chunks = [
        da.from_delayed(dask.delayed(chunk), text[:100].shape, text.dtype)
        for chunk in (text[:100], read(text[100:]))
    ]
    wrong = MultimodalData(image=da.from_array(X["image"]), text=da.concatenate(chunks))
    with pytest.raises(ValueError, match=r"'text' is .* from row 100 on"):
        small(DSAH).fit(wrong, y)
    hasher = small(DSAH).fit(X, y)
    with pytest.raises(ValueError, match=r"'text' is .* from row 100 on"):
        hasher.transform(wrong).compute()
    with pytest.raises(ValueError, match=r"X is .* from row 100 on"):
        hasher.encode(wrong["text"], modality="text").compute()


def test_numbers_of_dtype_object(data):
    X, y = data
    lazy = in_chunks(in_dtype(X, object))
    found, expected = small(DSAH).fit(lazy, y), small(DSAH).fit(in_dtype(X, float), y)
    assert_alike(found, expected, in_dtype(X, float))
    assert_array_equal(expected.transform(lazy).compute(), expected.transform(in_dtype(X, float)))


def test_more_anchors_than_rows_are_said(data):
    X, y = data
    with pytest.warns(UserWarning, match="more than the 200 training rows"):
        DSAH(4, n_anchors=300, random_state=0).fit(in_chunks(X), y)


# --- The shared space, and what is refined -------------------------------------------------------


@pytest.mark.parametrize(
    "feature_map",
    [
        "auto",
        None,
        "passthrough",
        {"image": make_pipeline(sqrt_norm(), AnchorRBF(30)), "text": StandardScaler()},
    ],
)
@pytest.mark.parametrize("is_sparse", [False, True])
def test_spaces_are_those_of_rows_in_memory(feature_map, is_sparse, data):
    X = data[0]
    lazy = in_chunks(X, columns=-1)
    if is_sparse:
        text = np.maximum(X["text"], 0)
        X = MultimodalData(image=X["image"], text=sparse.csr_array(text))
        text = da.from_array(text, chunks=(60, -1)).map_blocks(sparse.csr_array)
        lazy = MultimodalData(image=lazy["image"], text=text)
        if isinstance(feature_map, dict):
            feature_map = {**feature_map, "text": MaxAbsScaler()}
    space = SharedSpace(5, n_anchors=30, feature_map=feature_map, random_state=0)
    found, expected = clone(space).fit(lazy), clone(space).fit(X)
    assert found.regularisation_ == expected.regularisation_
    assert_array_equal(found.folds_, expected.folds_)
    assert_allclose(found.correlations_, expected.correlations_, atol=1e-6)
    for modality in (None, "image"):
        rows = found.transform(lazy, modality=modality)
        assert isinstance(rows, da.Array)
        assert rows.dtype == np.float32
        wanted = expected.transform(X, modality=modality)
        assert_allclose(rows.compute(), wanted, atol=1e-5)
        assert_allclose(found.transform(X, modality=modality), wanted, atol=1e-5)
    assert found.score(lazy) == pytest.approx(expected.score(X), abs=1e-6)
    with pytest.raises(TypeError, match=r"out_of_fold_rows .* compute\(\)"):
        found.out_of_fold_rows(lazy)


@pytest.mark.parametrize("heights", [(197, 1, 2), (3,) * 66 + (2,)])
def test_chunks_without_rows_of_some_fold(heights, data):
    X = data[0]
    space = SharedSpace(4, n_anchors=20, regularisation=0.1, feature_map=None, random_state=0)
    found = clone(space).fit(in_chunks(X, (heights, heights))).transform(X)
    assert_allclose(found, clone(space).fit(X).transform(X), atol=1e-5)


class PairSpace(TransformerMixin, BaseEstimator):
    """A space that somebody else wrote: what it is told to make of the first columns."""

    def __init__(self, make=None):
        self.make = make

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return self.make(X["image"][:, :3])


@pytest.mark.parametrize(
    "make",
    [
        lambda A: A,
        lambda A: A.rechunk((17, 3)) if isinstance(A, da.Array) else A,
        lambda A: np.asarray(A),
        lambda A: (100 * A).astype(int),
    ],
)
def test_rows_of_a_space_that_somebody_else_wrote(make, data):
    X, y = data
    for hasher in (refined(pair_weight=0.5), small(DSAH, pair_weight=0.5)):
        hasher.set_params(shared_space=PairSpace(make))
        codes = clone(hasher).fit(in_chunks(X), y).codes_
        expected = clone(hasher).fit(X, y).codes_
        assert np.mean(codes == expected) >= 0.999
        hasher.set_params(shared_space=PairSpace(lambda A: make(A).astype(float)))
        # In another precision.
        assert np.mean(clone(hasher).fit(X, y).codes_ == expected) >= 0.999


@pytest.mark.parametrize("make", [lambda A: A[:50], lambda A: A[:, 0]])
@pytest.mark.parametrize("lazily", [False, True])
def test_spaces_of_other_shapes_are_refused(make, lazily, data):
    X, y = data
    for hasher in (refined(pair_weight=0.5), small(DSAH, pair_weight=0.5)):
        hasher.set_params(shared_space=PairSpace(make))
        with pytest.raises(ValueError, match="shared_space returned what no hasher takes"):
            hasher.fit(in_chunks(X) if lazily else X, y)


def test_rows_tell_that_they_are_sparse_where_dask_was_not_told(data):
    text = sparse.csr_array(data[0]["text"])
    chunks = [da.from_delayed(dask.delayed(part), part.shape, part.dtype) for part in (text, text)]
    rows = ChunkedRows.from_dask(da.concatenate(chunks), data[0]["text"][:1], "")
    assert not rows.is_sparse
    assert mapped_features(MaxAbsScaler(), rows).is_sparse
    assert not mapped_features(AnchorRBF(20), rows).is_sparse


def refined(estimator=None, **params):
    given = {"n_anchors": 30, "n_restarts": 2, "pool_bits": 16, "random_state": 0}
    given |= {"widths": [0.5], "ridges": [0.03, 0.3]}
    return RefinedHasher(estimator, 8, **{**given, **params})


def some_labels(y):
    """-1 in a third of the rows, and in a whole chunk of them."""
    rows = np.arange(len(y))
    return np.where((rows % 3 == 0) | ((70 <= rows) & (rows < 160)), -1, y)


@pytest.mark.parametrize(
    ("params", "labels"),
    [
        ({"max_search_rows": 90}, np.array),
        ({"max_search_rows": 90}, some_labels),
        ({"max_search_rows": 90}, lambda y: None),
        ({"pair_weight": 0}, np.array),
        ({"pair_weight": 0}, some_labels),
        ({"pair_weight": 1}, np.array),
        ({"shared_space": SharedSpace(4, n_anchors=30), "preprocessing": ["raw"]}, np.array),
        ({"select_bits": False}, some_labels),
        ({"estimator": small(DSAH)}, np.array),
        ({"estimator": small(DSAH), "refit_hash_functions": False}, some_labels),
        (
            {"estimator": small(DSAH), "refit_hash_functions": False, "select_bits": False},
            np.array,
        ),
        ({"estimator": small(ASCMH, pair_weight=0.3), "n_jobs": 2}, some_labels),
    ],
)
def test_refined_codes_are_those_of_rows_in_memory(params, labels, data):
    X, y = data[0], labels(data[1])
    hasher = refined(**params)
    found, expected = clone(hasher).fit(in_chunks(X), y), clone(hasher).fit(X, y)
    assert found.pair_weight_ == expected.pair_weight_
    assert getattr(found, "best_params_", None) == getattr(expected, "best_params_", None)
    assert_array_equal(found.selected_bits_, expected.selected_bits_)
    assert np.mean(found.codes_ == expected.codes_) >= 0.999
    assert_allclose(found.objective_, expected.objective_, rtol=1e-6)
    codes = found.transform(in_chunks(X)).compute()
    assert np.mean(codes == expected.transform(X)) >= 0.999
    assert found.codes_.dtype == np.int8


def test_what_is_refined_reads_chunks_a_few_times_and_never_all_rows(data):
    X, y = data
    at_once = []

    def read(chunk):
        at_once.append(len(chunk))
        return chunk

    lazy = {
        name: da.from_array(block, chunks=(20, -1)).map_blocks(
            read, meta=np.empty((0, 0), np.float32)
        )
        for name, block in X.blocks.items()
    }
    refined(max_search_rows=50).fit(MultimodalData(**lazy), y)
    assert max(at_once) == 20
    # Of each of ten chunks a modality: rows of the search and of tests of the input, and of the
    # maps of the space and of the hash functions their anchors, width, mean and products; the
    # targets, and the bits of the rows.
    assert len(at_once) <= 15 * 20


# --- Codes that stay with the workers between the sweeps ---------------------------------------


@pytest.fixture
def workers(monkeypatch):
    """As if there were workers: what they do is done in this thread."""
    monkeypatch.setattr("sklearn_cmh.base.current_client", object)


def many_sweeps(cls, **params):
    return small(cls, **{"n_bits": 16, "n_anchors": 40, "tol": 0.0, "max_iter": 4, **params})


@pytest.mark.parametrize("cls", SOLVED_BY_WORKERS)
@pytest.mark.parametrize("several", [False, True])
def test_codes_of_workers_are_those_of_rows_in_memory(cls, several, data, workers, monkeypatch):
    # As of many rows: what their bases leave open is drawn alike in both.
    monkeypatch.setattr("sklearn_cmh.solvers._orthogonal._MANY_ROWS", 0)
    X, y = data
    rng = np.random.RandomState(0)
    Y = np.eye(5)[y] + np.eye(5)[rng.randint(5, size=len(y))] > 0
    y = Y.astype(int) if several else y
    hasher = many_sweeps(cls)
    assert_alike(clone(hasher).fit(in_chunks(X), y), clone(hasher).fit(X, y), X)


@pytest.mark.parametrize(
    "params",
    [
        {"n_perturbations": 0},
        {"label_term": "frobenius"},
        {"feature_map": "passthrough"},
        {"feature_map": {"image": StandardScaler()}},
        # These come here, part by part.
        {"relaxed": True},
        {"solver": "alm"},
        {"pair_weight": 0.3},
    ],
)
def test_parameters_with_workers(params, data, workers):
    X, y = data
    hasher = many_sweeps(DSAH, **params)
    assert_alike(clone(hasher).fit(in_chunks(X), y), clone(hasher).fit(X, y), X)


def test_what_workers_find_wrong_is_said(data, workers):
    X, y = data
    huge = MultimodalData(image=X["image"], text=X["text"] * np.float32(1e30))
    hasher = DSAH(8, feature_map="passthrough")
    with pytest.raises(ValueError, match="features of 'text' are of the order of 5e"):
        hasher.fit(in_chunks(huge), y)
    assert not hasattr(hasher, "codes_")


def test_rows_with_workers_are_computed_with_as_arrays_are():
    rng = np.random.RandomState(0)
    A = rng.randn(70, 4).astype(np.float32)
    M, row = rng.randn(4, 3), rng.randn(4)
    first = ChunkedRows.from_dask(da.from_array(A, chunks=(30, -1)), A[:1], "")
    a = first.persist()
    b = a.standard_normal(np.random.RandomState(1), 4)
    numbers = rng.randint(5, size=70)
    for found, expected in [
        (b, np.random.RandomState(1).standard_normal((70, 4))),
        (a + A.dtype.type(2), A + 2),
        (3 * (a - row) / 2, 3 * (A - row) / 2),
        (sum([a, b, a]) @ M, (A + np.asarray(b) + A) @ M),
        (sign(a).astype(np.float64), sign(A)),
        (dot(a, M), dot(A, M)),
        (a.beside(numbers).take(M[[0, 1, 2, 3, 3]]), M[[0, 1, 2, 3, 3]][numbers]),
        (weighted_sum((2.0, a), (-0.5, a)), 1.5 * A),
        (a.beside(sparse.csr_array(A)), A),
        (a.joined(b, a.beside(sparse.csr_array(A))), np.hstack([A, np.asarray(b), A])),
        (a[3:50:4, [2, 0]], A[3:50:4, [2, 0]]),
        (a.to_dask(), A),
        (a[3:50:4], A[3:50:4]),
        (a[[60, 2, 2, 69]], A[[60, 2, 2, 69]]),
    ]:
        assert found.shape == expected.shape
        found = found[:] if getattr(found, "is_sparse", False) else np.asarray(found)
        assert_allclose(dense(found), expected, rtol=1e-5, atol=1e-6)
    wide = np.asarray(b)
    for total, expected in [
        (a.T @ b, A.T @ wide),
        (cross(a, b), cross(A, wide)),
        (gram(a), gram(A)),
        (inner(a, b), inner(A, wide)),
        (squared_norm(a), squared_norm(A)),
        (a.mean(axis=0), A.mean(axis=0)),
        (a.sum(axis=0), A.sum(axis=0)),
    ]:
        assert isinstance(total, np.ndarray | float)
        assert_allclose(total, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rank", [4, 2, 0])
@pytest.mark.parametrize("many", [False, True])
def test_basis_of_rows_with_workers_is_the_maximiser(rank, many, monkeypatch):
    if many:
        monkeypatch.setattr("sklearn_cmh.solvers._orthogonal._MANY_ROWS", 0)
    rng = np.random.RandomState(0)
    Z = rng.randn(90, rank) @ rng.randn(rank, 4) + 3.0
    V = np.asarray(orthonormal_basis(chunked_rows(Z), rng))
    assert_allclose(V.T @ V, 90 * np.eye(4), atol=1e-9)
    assert_allclose(V.sum(axis=0), 0, atol=1e-9)
    largest = np.sqrt(90) * np.linalg.svd(Z - Z.mean(axis=0), compute_uv=False).sum()
    assert np.sum(V * Z) == pytest.approx(largest, abs=1e-6)


def test_basis_of_fewer_rows_than_columns_with_workers_is_that_of_rows_in_memory():
    Z = np.random.RandomState(0).randn(50, 60)
    rows = chunked_rows(Z)
    V, expected = (orthonormal_basis(A, np.random.RandomState(1)) for A in (rows, Z))
    assert isinstance(V, ChunkedRows)
    assert_array_equal(np.asarray(V), expected)


def chunked_rows(A):
    return ChunkedRows.from_dask(da.from_array(A, chunks=(40, -1)), A[:1], "").persist()
