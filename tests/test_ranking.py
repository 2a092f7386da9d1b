"""HammingRanker: exact, and as users of scikit-learn's neighbours expect."""

import pickle
from importlib.util import find_spec
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.cluster import DBSCAN
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.pipeline import make_pipeline

from sklearn_cmh import HammingRanker
from sklearn_cmh.hamming import (
    _backends,
    _multi_index,
    _nearest,
    _scan,
    check_codes,
    first_non_code,
)
from sklearn_cmh.metrics import mean_average_precision
from sklearn_cmh.metrics.core import _counts
from sklearn_cmh.retrieval import _base


@pytest.fixture
def data():
    """Codes of 20 bits with many ties: database, queries, their labels, all distances."""
    rng = np.random.default_rng(0)
    database, queries = (np.where(rng.random((n, 20)) < 0.5, 1, -1) for n in (80, 12))
    return SimpleNamespace(
        database=database.astype(np.int8),
        queries=queries.astype(np.int8),
        y=rng.integers(0, 3, 80),
        y_queries=rng.integers(0, 3, 12),
        d=(queries[:, None] != database).sum(axis=2),
        own=(database[:, None] != database).sum(axis=2),
    )


def ranked(d):
    order = np.argsort(d, axis=1, kind="stable")
    return np.take_along_axis(d, order, axis=1), order


def without_diagonal(d):
    d = d.copy()
    np.fill_diagonal(d, 99)
    return d


def packed(codes):
    return np.packbits(codes > 0, axis=1)


BACKENDS = ["auto", "numpy"] + [
    pytest.param(name, marks=pytest.mark.skipif(not find_spec(name), reason=f"{name} is missing"))
    for name in ("numba", "faiss")
]


# --- Answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_kneighbors(data, backend):
    ranker = HammingRanker(backend=backend).fit(data.database)
    for k in (None, 1, 33, 80):
        distances, indices = ranker.kneighbors(data.queries, k)
        expected = ranked(data.d)
        assert_array_equal(distances, expected[0][:, : k or 5])
        assert_array_equal(indices, expected[1][:, : k or 5])
        assert_array_equal(ranker.kneighbors(data.queries, k, return_distance=False), indices)
    for k in (1, 79):
        distances, indices = ranker.kneighbors(n_neighbors=k)
        expected = ranked(without_diagonal(data.own))
        assert_array_equal(distances, expected[0][:, :k])
        assert_array_equal(indices, expected[1][:, :k])


@pytest.mark.parametrize("backend", BACKENDS)
def test_own_row_is_left_out_among_equal_codes(backend):
    ranker = HammingRanker(backend=backend).fit(np.ones((6, 4)))
    distances, indices = ranker.kneighbors(n_neighbors=2)
    assert_array_equal(distances, np.zeros((6, 2)))
    assert_array_equal(indices, [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1], [0, 1]])


def test_kneighbors_agrees_with_scikit_learn(data):
    reference = NearestNeighbors(n_neighbors=7, metric="hamming").fit(data.database)
    distances, indices = HammingRanker(n_neighbors=7).fit(data.database).kneighbors(data.queries)
    assert_allclose(distances, reference.kneighbors(data.queries)[0] * 20)
    assert_array_equal(np.take_along_axis(data.d, indices, axis=1), distances)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("sort_results", [False, True])
def test_radius_neighbors(data, own, sort_results):
    ranker = HammingRanker(radius=6).fit(data.database)
    d = without_diagonal(data.own) if own else data.d
    for radius in (None, 0, 9.5):
        distances, indices = ranker.radius_neighbors(
            None if own else data.queries, radius, sort_results=sort_results
        )
        assert distances.shape == indices.shape == (len(d),)
        for i, row in enumerate(d):
            near = np.flatnonzero(row <= (6 if radius is None else radius))
            if sort_results:
                near = near[np.argsort(row[near], kind="stable")]
            assert_array_equal(indices[i], near)
            assert_array_equal(distances[i], row[near])
    assert all(
        len(rows) == 0
        for rows in HammingRanker()
        .fit([[1, 1, 1]])
        .radius_neighbors([[-1, -1, -1]], return_distance=False)
    )


@pytest.mark.parametrize("own", [False, True])
def test_rank_is_the_whole_ranking_in_blocks(data, own):
    ranker = HammingRanker().fit(data.database)
    d = without_diagonal(data.own) if own else data.d
    expected = [part[:, : 79 if own else 80] for part in ranked(d)]
    for memory in (1024, 0.01):
        with config_context(working_memory=memory):
            blocks = list(ranker.rank(None if own else data.queries))
        assert (len(blocks) > 1) == (memory < 1)
        distances, indices = (np.concatenate(part) for part in zip(*blocks, strict=True))
        assert_array_equal(distances, expected[0])
        assert_array_equal(indices, expected[1])


def test_graphs(data):
    ranker = HammingRanker(n_neighbors=4).fit(data.database)
    distances, indices = ranker.kneighbors(data.queries)
    graph = ranker.kneighbors_graph(data.queries)
    assert graph.format == "csr" and graph.shape == (12, 80) and graph.nnz == 48
    assert_array_equal(graph.indices.reshape(12, 4), indices)
    assert_array_equal(graph.data, 1.0)
    graph = ranker.kneighbors_graph(data.queries, mode="distance")
    assert_array_equal(graph.data.reshape(12, 4), distances)
    transformed = ranker.transform(data.queries)
    assert_array_equal(np.diff(transformed.indptr), 5)
    assert len(ranker.get_feature_names_out()) == 80
    with pytest.raises(ValueError, match="mode"):
        ranker.kneighbors_graph(mode="weights")


def test_transform_feeds_scikit_learns_estimators(data):
    pipeline = make_pipeline(HammingRanker(20), KNeighborsClassifier(5, metric="precomputed"))
    votes = data.y[ranked(data.d)[1][:, :5]]
    assert_allclose(
        pipeline.fit(data.database, data.y).predict_proba(data.queries),
        (votes[:, :, None] == np.arange(3)).mean(axis=1),
    )
    labels = DBSCAN(eps=5, metric="precomputed", min_samples=2).fit_predict(
        HammingRanker(79).fit_transform(data.database)
    )
    assert_array_equal(
        labels, DBSCAN(eps=5, metric="precomputed", min_samples=2).fit_predict(data.own)
    )


def test_score_is_mean_average_precision(data):
    ranker = HammingRanker().fit(data.database, data.y)
    expected = mean_average_precision(data.queries, data.database, data.y_queries, data.y)
    assert ranker.score(data.queries, data.y_queries) == expected
    L, L_queries = np.eye(3, dtype=int)[data.y], np.eye(3, dtype=int)[data.y_queries]
    ranker = HammingRanker(packed=True, n_bits=20).fit(packed(data.database), sparse.csr_array(L))
    assert ranker.score(packed(data.queries), L_queries) == expected
    with pytest.raises(ValueError, match="y at fit was an indicator of 3 columns"):
        ranker.score(packed(data.queries), data.y_queries)
    with pytest.raises(ValueError, match="pass y to fit"):
        HammingRanker().fit(data.database).score(data.queries, data.y_queries)


# --- Small radii and near duplicates ----------------------------------------------------------


@pytest.mark.parametrize("n_bits", [20, 32, 64, 150])
@pytest.mark.parametrize("n_chunks", [1, 3])
def test_a_multi_index_changes_nothing(n_bits, n_chunks, monkeypatch):
    monkeypatch.setattr(_multi_index, "MIN_ROWS", 100)
    monkeypatch.setattr(_multi_index, "MAX_SHARE", 0.2)
    rng = np.random.default_rng(0)
    database = np.where(rng.random((60, n_bits)) < 0.5, 1, -1)[rng.integers(0, 60, 450)]
    flipped = rng.random(database.shape) < 1.5 / n_bits
    database[flipped] *= -1
    queries = np.concatenate([database[::25], np.where(rng.random((5, n_bits)) < 0.5, 1, -1)])
    plain = HammingRanker().fit(database)
    ranker = HammingRanker(multi_index=True)
    for part in np.array_split(database, [250, 400, 440][: n_chunks - 1]):
        ranker.partial_fit(part)
    assert any(ranker._indexes) == (n_bits >= 32)
    for X in (queries, *queries[:, None], None):
        for k in (1, 4, 30):
            assert_array_equal(ranker.kneighbors(X, k), plain.kneighbors(X, k))
        for radius in (0, 1, 2, 5, 12, n_bits):
            for found, expected in zip(
                ranker.radius_neighbors(X, radius), plain.radius_neighbors(X, radius), strict=True
            ):
                for one, other in zip(found, expected, strict=True):
                    assert_array_equal(one, other)
    other = pickle.loads(pickle.dumps(ranker))
    assert_array_equal(other.kneighbors(queries), plain.kneighbors(queries))


def test_a_multi_index_is_looked_up(monkeypatch):
    """Nothing is compared with all rows where few rows are near."""
    rng = np.random.default_rng(0)
    packed = rng.integers(0, 256, (20_000, 8), dtype=np.uint8)
    ranker = HammingRanker(packed=True, multi_index=True).fit(packed)
    monkeypatch.setattr(_scan, "load_backend", lambda name: pytest.fail("compared all rows"))
    monkeypatch.setattr(_nearest, "load_backend", lambda name: pytest.fail("compared all rows"))
    assert_array_equal(ranker.kneighbors(packed[:9], 1)[1][:, 0], np.arange(9))
    assert all(i in rows for i, rows in enumerate(ranker.radius_neighbors(packed[:9], 2)[1]))


# --- The database -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["bool", "zero-one", "float", "list", "fortran"])
def test_forms_of_codes(data, form):
    convert = {
        "bool": lambda codes: codes > 0,
        "zero-one": lambda codes: (codes > 0).astype(np.uint8),
        "float": lambda codes: codes.astype(np.float32),
        "list": np.ndarray.tolist,
        "fortran": np.asfortranarray,
    }[form]
    expected = HammingRanker().fit(data.database).kneighbors(data.queries)
    found = HammingRanker().fit(convert(data.database)).kneighbors(convert(data.queries))
    assert_array_equal(found, expected)


@given(
    values=st.lists(st.sampled_from([-2, -1, -0.5, 0, 0.5, 1, 2, 3]), min_size=1, max_size=4),
    dtype=st.sampled_from([np.int8, np.int64, np.float32, np.float64]),
)
def test_codes_are_of_two_values_and_the_error_names_another(values, dtype):
    codes = np.array([values]).astype(dtype)
    found = set(codes.ravel().tolist())
    strange = first_non_code(codes)
    assert (strange is None) == (found <= {0, 1} or found <= {-1, 1})
    if strange == "0.0 as well as -1" or strange == "0 as well as -1":
        assert found >= {-1, 0}
    elif strange is not None:
        assert float(strange) in found - {-1, 0, 1}


@pytest.mark.parametrize(("dtype", "hint"), [(np.uint8, "unpacked"), (np.int8, "Binarise")])
def test_bytes_that_are_no_codes_are_refused_with_what_to_do(data, dtype, hint):
    """Packed codes, as bytes of no sign are taken to be, and numbers."""
    with pytest.raises(ValueError, match=rf"binary codes.* it holds 3\..*{hint}"):
        check_codes(np.array([[0, 3, 1], [1, 1, 0]], dtype=dtype))


def test_threshold(data):
    expected = HammingRanker().fit(data.database).kneighbors(data.queries)
    ranker = HammingRanker(binarize=100)
    with pytest.warns(UserWarning, match="no binary code"):
        found = ranker.fit(data.database + 100.5).kneighbors(data.queries + 100.5)
    assert_array_equal(found, expected)


@pytest.mark.parametrize("n_bits", [None, 20])
def test_packed_codes(data, n_bits):
    ranker = HammingRanker(packed=True, n_bits=n_bits).fit(packed(data.database))
    assert ranker.n_bits_ == (n_bits or 24)
    expected = HammingRanker().fit(data.database).kneighbors(data.queries)
    assert_array_equal(ranker.kneighbors(packed(data.queries)), expected)


def test_spare_bits_must_be_zero(data, tmp_path):
    """They would count as distance; of a memory-mapped database, too."""
    codes = packed(data.database)
    codes[-1, -1] |= 1
    np.save(tmp_path / "codes.npy", codes)
    for X in (codes, np.load(tmp_path / "codes.npy", mmap_mode="r")):
        with pytest.raises(ValueError, match="4 spare bits"):
            HammingRanker(packed=True, n_bits=20).fit(X)
    ranker = HammingRanker(packed=True, n_bits=20).fit(packed(data.database))
    with pytest.raises(ValueError, match="4 spare bits"):
        ranker.kneighbors(codes)


def test_failed_fit_changes_nothing(data):
    ranker = HammingRanker().fit(data.database)
    expected = ranker.kneighbors(data.queries)
    with pytest.raises(ValueError, match="inconsistent"):
        ranker.fit(data.database[:, :6], [1, 2])
    assert ranker.n_features_in_ == ranker.n_bits_ == data.database.shape[1]
    assert_array_equal(ranker.kneighbors(data.queries), expected)


@pytest.mark.parametrize("radius", [-1, np.nan, "2"])
def test_bad_radius_is_refused(data, radius):
    with pytest.raises(ValueError, match="radius must be a number of bits"):
        HammingRanker().fit(data.database).radius_neighbors(data.queries, radius)


@pytest.mark.parametrize("backend", BACKENDS)
def test_packed_database_is_neither_copied_nor_read(data, tmp_path, backend):
    codes = packed(data.database)
    assert np.shares_memory(HammingRanker(packed=True).fit(codes)._chunks[0], codes)
    np.save(tmp_path / "codes.npy", codes)
    mapped = np.load(tmp_path / "codes.npy", mmap_mode="r")
    ranker = HammingRanker(packed=True, n_bits=20, backend=backend).fit(mapped)
    assert np.shares_memory(ranker._chunks[0], mapped)
    expected = HammingRanker().fit(data.database).kneighbors(data.queries)
    assert_array_equal(ranker.kneighbors(packed(data.queries)), expected)
    ranker.partial_fit(codes)
    assert np.shares_memory(ranker._chunks[0], mapped)
    twice = HammingRanker().fit(np.tile(data.database, (2, 1)))
    assert_array_equal(
        ranker.kneighbors(packed(data.queries), 9), twice.kneighbors(data.queries, 9)
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("form", ["labels", "indicator", "none"])
def test_partial_fit_appends(data, backend, form):
    y = {"labels": data.y, "indicator": np.eye(3, dtype=int)[data.y], "none": None}[form]
    whole = HammingRanker(backend=backend).fit(data.database, y)
    parts = HammingRanker(backend=backend)
    for rows in np.split(np.arange(80), [1, 2, 3, 10, 11, 50]):
        parts.partial_fit(data.database[rows], None if y is None else y[rows])
    assert parts.n_samples_fit_ == 80
    for k in (1, 10, 80):
        assert_array_equal(parts.kneighbors(data.queries, k), whole.kneighbors(data.queries, k))
    assert_array_equal(parts.kneighbors(n_neighbors=3), whole.kneighbors(n_neighbors=3))
    assert_array_equal(next(parts.rank(data.queries)), next(whole.rank(data.queries)))
    if form == "labels":
        assert parts.score(data.queries, data.y_queries) == whole.score(
            data.queries, data.y_queries
        )
    if form != "none":
        assert_array_equal(parts.labels_.toarray(), whole.labels_.toarray())
    assert len(parts.fit(data.database)._chunks) == 1


def test_partial_fit_of_many_single_rows_keeps_few_chunks(data):
    ranker = HammingRanker()
    for row in data.database:
        ranker.partial_fit(row[None])
    assert len(ranker._chunks) < 8
    expected = HammingRanker().fit(data.database).kneighbors(data.queries)
    assert_array_equal(ranker.kneighbors(data.queries), expected)


def test_partial_fit_copies_a_row_a_few_times_only(monkeypatch):
    """As often as the logarithm of the number of calls, codes and labels."""
    copied = {"codes": 0, "labels": 0}

    def count(kind, stack):
        def counted(parts, *args, **options):
            stacked = stack(parts, *args, **options)
            copied[kind] += stacked.shape[0]
            return stacked

        return counted

    monkeypatch.setattr(_base.np, "concatenate", count("codes", np.concatenate))
    monkeypatch.setattr(_base.sparse, "vstack", count("labels", sparse.vstack))
    plain, labelled = HammingRanker(), HammingRanker()
    for _ in range(256):
        plain.partial_fit(np.ones((1, 8)))
    assert copied == {"codes": 256 * 8, "labels": 0}
    for i in range(256):
        labelled.partial_fit(np.ones((1, 8)), [i % 3])
    assert copied["labels"] == 256 * 8
    assert labelled.labels_.shape == (256, 3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n_bytes", [1, 8, 16])
def test_read_only_and_unaligned_codes(backend, n_bytes):
    rng = np.random.default_rng(0)
    buffer = rng.integers(0, 256, 300 * n_bytes + 1, dtype=np.uint8)
    codes = buffer[1:].reshape(300, n_bytes)
    expected = HammingRanker(packed=True, backend="numpy").fit(codes.copy()).kneighbors(codes[:9])
    codes.flags.writeable = False
    found = HammingRanker(packed=True, backend=backend).fit(codes).kneighbors(codes[:9])
    assert_array_equal(found, expected)


def test_threads_give_the_same_answers(data):
    expected = HammingRanker().fit(data.database).kneighbors(data.queries)
    for n_jobs in (2, -1, 50):
        ranker = HammingRanker(n_jobs=n_jobs).fit(data.database)
        assert_array_equal(ranker.kneighbors(data.queries), expected)


def test_ranker_is_kept(data, tmp_path):
    ranker = HammingRanker().fit(data.database, data.y).partial_fit(data.database, data.y)
    joblib.dump(ranker, tmp_path / "ranker.joblib")
    for other in (pickle.loads(pickle.dumps(ranker)), joblib.load(tmp_path / "ranker.joblib")):
        assert_array_equal(other.kneighbors(data.queries), ranker.kneighbors(data.queries))
        assert other.score(data.queries, data.y_queries) == ranker.score(
            data.queries, data.y_queries
        )
    with pytest.raises(NotFittedError):
        clone(ranker).kneighbors(data.queries)


# --- Bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "codes", "message"),
    [
        ({}, [[1.0, np.nan]], "NaN"),
        ({}, np.ones((0, 3)), "0 sample"),
        ({}, [1, 1], "2D array"),
        ({"n_bits": 20}, np.ones((3, 5)), r"n_bits=20.*5 columns.*packed=True"),
        ({"packed": True}, np.ones((3, 5)), r"uint8.*float64.*packed=False"),
        ({"packed": True, "n_bits": 20}, np.ones((3, 2), np.uint8), r"fills 3 bytes.*9 and 16"),
        ({"packed": True, "n_bits": 20}, np.full((3, 3), 255, np.uint8), "4 spare bits"),
    ],
)
def test_bad_codes_are_refused(options, codes, message):
    with pytest.raises(ValueError, match=message):
        HammingRanker(**options).fit(codes)


def test_values_that_are_no_codes_give_a_warning(data):
    with pytest.warns(UserWarning, match=r"holds .*, which is no binary code.*packed=True"):
        HammingRanker().fit(packed(data.database))
    ranker = HammingRanker().fit(data.database)
    with pytest.warns(UserWarning, match="codes and not features"):
        ranker.kneighbors(data.queries * 0.7)


def test_bad_queries_are_refused(data):
    ranker = HammingRanker().fit(data.database)
    with pytest.raises(ValueError, match="expecting 20 features"):
        ranker.kneighbors(data.queries[:, :19])
    for k, own in [(81, False), (80, True)]:
        with pytest.raises(ValueError, match=rf"Expected n_neighbors.*at most {k - 1}"):
            ranker.kneighbors(None if own else data.queries, k)
    for k in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="n_neighbors must be an integer"):
            ranker.kneighbors(data.queries, k)
    with pytest.raises(NotFittedError):
        HammingRanker().kneighbors(data.queries)


def test_bad_labels_are_refused(data):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        HammingRanker().fit(data.database, data.y[:5])
    ranker = HammingRanker().fit(data.database, data.y)
    with pytest.raises(ValueError, match=r"came with labels, these come without"):
        ranker.partial_fit(data.database)
    with pytest.raises(ValueError, match=r"3 columns, but the first rows had 4"):
        HammingRanker().fit(data.database, np.eye(4, dtype=int)[data.y]).partial_fit(
            data.database, np.eye(3, dtype=int)[data.y]
        )
    assert ranker.n_samples_fit_ == 80


# --- Backends ---------------------------------------------------------------------------------


def test_a_backend_that_fails_is_replaced_with_a_warning(data, monkeypatch):
    def fail(*args):
        raise RuntimeError("cannot compile")

    broken = SimpleNamespace(rows_at_once=fail, layout=fail, top_k=fail, within=fail)
    broken.count_pairs = broken.rank_shared = broken.look_up = fail
    expected = HammingRanker(backend="numpy").fit(data.database).kneighbors(data.queries)
    score = mean_average_precision(data.queries, data.database, data.y_queries, data.y)
    monkeypatch.setattr(_backends, "load_kernels", lambda: broken)
    monkeypatch.setattr(_counts, "load_kernels", lambda: broken)
    monkeypatch.setattr(_backends, "COMPILE_SECONDS", 0.0)
    monkeypatch.setattr(_backends, "LOAD_SECONDS", 0.0)
    for backend in ("auto", "numba"):
        with pytest.warns(UserWarning, match=r"numba failed .*cannot compile.*NumPy"):
            found = HammingRanker(backend=backend).fit(data.database).kneighbors(data.queries)
        assert_array_equal(found, expected)
    with pytest.warns(UserWarning, match=r"numba failed .*cannot compile.*NumPy"):
        found = mean_average_precision(data.queries, data.database, data.y_queries, data.y)
    assert found == score
