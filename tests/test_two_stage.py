"""TwoStageRanker: Hamming candidates in the order of projections or vectors, by brute force."""

import pickle
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, UndefinedMetricWarning
from sklearn.metrics.pairwise import cosine_distances, euclidean_distances
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer

from sklearn_cmh import HammingRanker, MultimodalData, TwoStageRanker
from sklearn_cmh.metrics.core._per_query import average_precision_of_runs
from sklearn_cmh.retrieval import _two_stage

METRICS = ["asymmetric", "cosine", "dot", "euclidean"]
VECTORS = METRICS[1:]


def make(n=90, n_queries=13, n_bits=12, d=5, seed=0, n_distinct=30):
    """A database in which codes and vectors repeat, and queries."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, n_distinct, n)
    codes = np.where(rng.random((n_distinct, n_bits)) < 0.5, 1, -1)[rows]
    vectors = rng.normal(size=(n_distinct, d)).astype(np.float32)[rows]
    queries = rng.normal(size=(n_queries, n_bits)).astype(np.float32)
    query_vectors = rng.normal(size=(n_queries, d)).astype(np.float32)
    return SimpleNamespace(
        codes=codes,
        vectors=vectors,
        queries=queries,
        query_vectors=query_vectors,
        database=MultimodalData(codes=codes, vectors=vectors),
        both=MultimodalData(codes=np.where(queries > 0, 1, -1), vectors=query_vectors),
        y=rows % 3,
        y_queries=rng.integers(0, 3, n_queries),
    )


@pytest.fixture
def data():
    return make()


def rows_and_queries(data, metric):
    """X at fit and X of queries, as the metric takes them."""
    if metric == "asymmetric":
        return data.codes, data.queries
    return data.database, data.both


def exact_distances(data, metric):
    """Distances of the second stage from their definitions, in float64, equal rows equal."""
    if metric == "asymmetric":
        p = data.queries.astype(float)
        return (np.abs(p)[:, None] * ((p > 0)[:, None] != (data.codes > 0))).sum(axis=2)
    q, v = data.query_vectors.astype(float), data.vectors.astype(float)
    if metric == "dot":
        return -(q[:, None] * v).sum(axis=2)
    return {"cosine": cosine_distances, "euclidean": euclidean_distances}[metric](q, v)


def brute_force(data, metric, k, n_candidates):
    """Distances and rows: candidates by Hamming distance and row, then by the second stage."""
    hamming = ((data.queries > 0)[:, None] != (data.codes > 0)).sum(axis=2)
    exact = exact_distances(data, metric)
    distances, indices = [], []
    for d, near in zip(exact, hamming, strict=True):
        candidates = np.sort(np.argsort(near, kind="stable")[:n_candidates])
        # Rounded, so that equal rows are equal whatever the definition does with them.
        order = candidates[np.argsort(d[candidates].round(9), kind="stable")][:k]
        distances.append(d[order])
        indices.append(order)
    return np.array(distances), np.array(indices)


# --- Answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 99),
    n=st.integers(1, 120),
    n_bits=st.sampled_from([1, 7, 8, 9, 20, 64]),
    n_distinct=st.sampled_from([1, 3, 40]),
    oversampling=st.sampled_from([1, 1.5, 4, 100, None]),
    elements=st.sampled_from([1, 700, _two_stage.ELEMENTS]),
)
def test_kneighbors_equals_brute_force(metric, seed, n, n_bits, n_distinct, oversampling, elements):
    data = make(n, 5, n_bits, seed=seed, n_distinct=n_distinct)
    k = min(3, n)
    n_candidates = n if oversampling is None else min(n, int(np.ceil(oversampling * k)))
    X, queries = rows_and_queries(data, metric)
    ranker = TwoStageRanker(n_neighbors=k, metric=metric, oversampling=oversampling).fit(X)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_two_stage, "ELEMENTS", elements)
        distances, indices = ranker.kneighbors(queries)
    expected = brute_force(data, metric, k, n_candidates)
    assert_array_equal(indices, expected[1])
    # Sums of eight bytes of eight bits each are rounded up to sixteen times.
    assert_allclose(distances, expected[0], rtol=8 * np.finfo(np.float32).eps, atol=2e-6)
    assert distances.dtype == np.float32


@pytest.mark.parametrize("metric", METRICS)
def test_equal_rows_are_tied_to_the_last_digit(metric):
    """Whatever stands beside them, and whichever queries come with them."""
    data = make(n=2000, n_queries=40, n_bits=100, d=67, n_distinct=7)
    X, queries = rows_and_queries(data, metric)
    ranker = TwoStageRanker(metric=metric, oversampling=None).fit(X)
    distances, indices = ranker.kneighbors(queries, 2000)
    for d, rows in zip(distances, indices, strict=True):
        assert len(np.unique(d)) == 7
        assert (np.diff(rows)[np.diff(d) == 0] > 0).all()
    for part in (slice(0, 1), slice(3, 20)):
        assert_array_equal(ranker.kneighbors(queries[part], 2000)[0], distances[part])


def test_projections_of_equal_size_give_hamming_distances(data):
    signs = np.where(data.queries > 0, 1.0, -1.0)
    found = TwoStageRanker(oversampling=1).fit(data.codes).kneighbors(signs)
    assert_array_equal(found, HammingRanker().fit(data.codes).kneighbors(signs))


def test_asymmetric_order_is_that_of_products(data):
    _, indices = TwoStageRanker(oversampling=None).fit(data.codes).kneighbors(data.queries, 90)
    products = np.take_along_axis(data.queries @ data.codes.T, indices, axis=1)
    assert (np.diff(products, axis=1) <= 1e-5).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("oversampling", [2, None])
def test_own_row_is_left_out(data, metric, oversampling):
    X, _ = rows_and_queries(data, metric)
    ranker = TwoStageRanker(metric=metric, oversampling=oversampling).fit(X)
    indices = ranker.kneighbors(n_neighbors=4, return_distance=False)
    assert (indices != np.arange(90)[:, None]).all()
    if oversampling is None:
        queries = data.codes.astype(float) if metric == "asymmetric" else data.database
        every = ranker.kneighbors(queries, 90, return_distance=False)
        others = [rows[rows != i][:4] for i, rows in enumerate(every)]
        assert_array_equal(indices, others)
    ranked = [np.concatenate(part) for part in zip(*ranker.rank(), strict=True)]
    assert ranked[1].shape == (90, 89)
    assert_array_equal(np.sort(ranked[1]), [np.delete(np.arange(90), i) for i in range(90)])


@pytest.mark.parametrize("metric", METRICS)
def test_rank_is_candidates_and_then_hamming(data, metric):
    X, queries = rows_and_queries(data, metric)
    ranker = TwoStageRanker(n_neighbors=4, metric=metric, oversampling=3).fit(X)
    first = ranker.kneighbors(queries, 4)
    hamming = np.concatenate([rows for _, rows in ranker.ranker_.rank(ranker._queries(queries)[1])])
    for memory in (1024, 0.01):
        with config_context(working_memory=memory):
            blocks = list(ranker.rank(queries))
        distances, indices = (np.concatenate(part) for part in zip(*blocks, strict=True))
        assert_array_equal(indices[:, :4], first[1])
        assert_array_equal(distances[:, :4], first[0])
        assert_array_equal(np.sort(indices[:, :12]), np.sort(hamming[:, :12]))
        assert_array_equal(indices[:, 12:], hamming[:, 12:])
        assert np.isfinite(distances[:, :12]).all() and np.isinf(distances[:, 12:]).all()
    assert len(blocks) > 1


def test_graph_and_transform(data):
    ranker = TwoStageRanker(n_neighbors=3).fit(data.codes)
    distances, indices = ranker.kneighbors(data.queries, 4)
    graph = ranker.transform(data.queries)
    assert_array_equal(graph.indices.reshape(-1, 4), indices)
    assert_allclose(graph.data.reshape(-1, 4), distances)


# --- Score ------------------------------------------------------------------------------------


def test_expected_average_precision_of_runs_is_the_mean_over_their_orders():
    relevant = np.array([1, 0, 1, 0, 0, 1, 1], dtype=bool)
    starts = np.array([0, 1, 4])
    values = [
        np.mean((np.arange(3) + 2) / (np.flatnonzero([*a, *b]) + 2))
        for a in permutations(relevant[1:4])
        for b in permutations(relevant[4:])
    ]
    expected = np.mean([(1 + 3 * value) / 4 for value in values])
    assert_allclose(average_precision_of_runs(relevant, starts), expected)
    assert average_precision_of_runs(np.zeros(3, dtype=bool), np.array([0])) == 0


def test_score_of_signs_is_that_of_the_first_stage(data):
    """Ties are averaged over among candidates and among the others."""
    signs = np.where(data.queries > 0, 1.0, -1.0)
    expected = HammingRanker().fit(data.codes, data.y).score(signs, data.y_queries)
    ranker = TwoStageRanker(oversampling=None).fit(data.codes, data.y)
    assert_allclose(ranker.score(signs, data.y_queries), expected)
    assert_allclose(
        ranker.score(None, data.y), HammingRanker().fit(data.codes, data.y).score(None, data.y)
    )


@pytest.mark.parametrize("metric", METRICS)
def test_score_is_average_precision_of_the_ranking(metric):
    data = make(n_distinct=90)  # Other rows are tied in the first stage only.
    X, queries = rows_and_queries(data, metric)
    ranker = TwoStageRanker(metric=metric, oversampling=None).fit(X, data.y)
    values = []
    for row, label in zip(brute_force(data, metric, 90, 90)[1], data.y_queries, strict=True):
        positions = np.flatnonzero(data.y[row] == label) + 1
        values.append(np.mean(np.arange(1, len(positions) + 1) / positions))
    assert_allclose(ranker.score(queries, data.y_queries), np.mean(values))
    weights = np.arange(13.0)
    assert_allclose(
        ranker.score(queries, data.y_queries, weights), np.average(values, weights=weights)
    )
    L, L_queries = np.eye(3, dtype=int)[data.y], np.eye(3, dtype=int)[data.y_queries]
    assert_allclose(ranker.fit(X, L).score(queries, L_queries), np.mean(values))


@pytest.mark.parametrize("cls", [HammingRanker, TwoStageRanker])
def test_score_without_relevant_rows_is_nan(data, cls):
    ranker = cls().fit(data.codes, data.y)
    signs = np.where(data.queries > 0, 1, -1)
    with pytest.warns(UndefinedMetricWarning, match="No query"):
        assert np.isnan(ranker.score(signs, np.full(13, 9)))
    y = np.where(np.arange(13) == 0, 9, data.y_queries)
    with pytest.warns(UndefinedMetricWarning, match="positive weight"):
        assert np.isnan(ranker.score(signs, y, np.arange(13) == 0))
    with pytest.raises(ValueError, match="sample_weight"):
        ranker.score(signs, y, np.ones(4))


@pytest.mark.parametrize("exclude", [False, True])
def test_ranker_scores_its_own_rows_without_themselves(data, exclude):
    ranker = HammingRanker().fit(data.codes, np.arange(90))
    if exclude:  # Nothing but the own row is relevant.
        with pytest.warns(UndefinedMetricWarning):
            assert np.isnan(ranker.score(None, np.arange(90)))
    else:
        assert ranker.score(data.codes, np.arange(90)) > 0


# --- The database -----------------------------------------------------------------------------


@pytest.mark.parametrize("metric", VECTORS)
def test_a_table_of_codes_and_vectors_equals_two_blocks(data, metric):
    expected = TwoStageRanker(metric=metric).fit(data.database).kneighbors(data.both)
    ranker = TwoStageRanker(HammingRanker(n_bits=12), metric=metric)
    ranker.fit(np.hstack([data.codes, data.vectors]))
    signs = np.where(data.queries > 0, 1, -1)
    found = ranker.kneighbors(np.hstack([signs, data.query_vectors]))
    assert_array_equal(found[1], expected[1])
    assert_allclose(found[0], expected[0], atol=1e-6)
    assert_array_equal(ranker.kneighbors(data.both)[1], expected[1])


def test_the_end_of_a_pipeline(data):
    """A union of codes and vectors feeds the ranker."""
    rng = np.random.default_rng(0)
    W = rng.normal(size=(5, 12))
    union = make_union(
        FunctionTransformer(lambda X: np.where(X @ W > 0, 1, -1)), FunctionTransformer(lambda X: X)
    )
    ranker = TwoStageRanker(HammingRanker(n_bits=12), metric="cosine", oversampling=None)
    pipe = make_pipeline(union, ranker).fit(data.vectors, data.y)
    exact = np.argsort(cosine_distances(data.query_vectors, data.vectors), kind="stable")[:, :1]
    found = pipe[-1].kneighbors(pipe[:-1].transform(data.query_vectors), 1)[1]
    assert_array_equal(data.y[found], data.y[exact])
    assert pipe.transform(data.query_vectors).shape == (13, 90)
    assert 0 < pipe.score(data.query_vectors, data.y_queries) <= 1


def test_packed_codes(data):
    packed = np.packbits(data.codes > 0, axis=1)
    first = HammingRanker(packed=True, n_bits=12)
    expected = TwoStageRanker().fit(data.codes).kneighbors(data.queries)
    assert_array_equal(TwoStageRanker(first).fit(packed).kneighbors(data.queries), expected)
    ranker = TwoStageRanker(first, metric="dot")
    ranker.fit(MultimodalData(codes=packed, vectors=data.vectors))
    queries = MultimodalData(
        codes=np.packbits(data.queries > 0, axis=1), vectors=data.query_vectors
    )
    expected = TwoStageRanker(metric="dot").fit(data.database).kneighbors(data.both)
    assert_array_equal(ranker.kneighbors(queries), expected)


def test_threshold(data):
    first = HammingRanker(binarize=10)
    found = TwoStageRanker(first).fit(data.codes + 10.0).kneighbors(data.queries + 10)
    expected = TwoStageRanker().fit(data.codes).kneighbors(data.queries)
    assert_array_equal(found[1], expected[1])
    assert_allclose(found[0], expected[0], atol=1e-5)


def test_projections_are_as_good_as_their_signs_at_fit(data):
    projections = data.codes * np.linspace(0.1, 2, 12)
    expected = TwoStageRanker().fit(data.codes).kneighbors(data.queries)
    assert_array_equal(TwoStageRanker().fit(projections).kneighbors(data.queries), expected)


def test_memory_mapped_vectors_are_not_copied(data, tmp_path):
    np.save(tmp_path / "vectors.npy", data.vectors.astype(np.float16))
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    ranker = TwoStageRanker(metric="cosine").fit(MultimodalData(codes=data.codes, vectors=mapped))
    assert np.shares_memory(ranker._vectors[0], mapped)
    halves = TwoStageRanker(metric="cosine", dtype="float16").fit(data.database)
    assert halves._vectors[0].dtype == np.float16
    assert_array_equal(ranker.kneighbors(data.both), halves.kneighbors(data.both))
    assert ranker.kneighbors(data.both)[0].dtype == np.float32


@pytest.mark.parametrize("metric", METRICS)
def test_partial_fit_appends(data, metric):
    X, queries = rows_and_queries(data, metric)
    expected = TwoStageRanker(metric=metric).fit(X, data.y)
    parts = TwoStageRanker(metric=metric)
    for rows in np.split(np.arange(90), [50, 60, 61]):
        parts.partial_fit(X[rows], data.y[rows])
    assert parts.n_samples_fit_ == 90
    assert_array_equal(parts.kneighbors(queries), expected.kneighbors(queries))
    assert_array_equal(parts.kneighbors(), expected.kneighbors())
    assert parts.score(queries, data.y_queries) == expected.score(queries, data.y_queries)


@pytest.mark.parametrize("metric", METRICS)
def test_after_an_error_the_ranker_is_as_before(data, metric):
    X, queries = rows_and_queries(data, metric)
    ranker = TwoStageRanker(metric=metric).fit(X, data.y)
    expected = ranker.kneighbors(queries)
    other, _ = rows_and_queries(make(n_bits=9, d=4), metric)
    for method, rows, y in [
        (ranker.partial_fit, other, data.y),
        (ranker.partial_fit, X, None),
        (ranker.fit, X, data.y[:4]),
    ]:
        with pytest.raises(ValueError, match=r"columns|features|without|inconsistent"):
            method(rows, y)
        assert_array_equal(ranker.kneighbors(queries), expected)


def test_ranker_is_kept(data):
    ranker = TwoStageRanker(metric="cosine").fit(data.database)
    other = pickle.loads(pickle.dumps(ranker))
    assert_array_equal(other.kneighbors(data.both), ranker.kneighbors(data.both))
    with pytest.raises(NotFittedError):
        clone(ranker).kneighbors(data.both)
    ranker = TwoStageRanker(HammingRanker(n_bits=12)).set_params(ranker__n_jobs=2)
    assert ranker.fit(data.codes).ranker_.n_jobs == 2


def test_zero_vectors_have_cosine_distance_one():
    X = MultimodalData(codes=[[1], [1], [1]], vectors=[[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    query = MultimodalData(codes=[[1]], vectors=[[3.0, 0.0]])
    found = TwoStageRanker(n_neighbors=3, metric="cosine").fit(X).kneighbors(query)
    assert_array_equal(found[0], [[0, 1, 2]])
    assert_array_equal(found[1], [[1, 0, 2]])


# --- Bad input --------------------------------------------------------------------------------


def test_bad_rows_are_refused(data):
    ranker = TwoStageRanker(metric="cosine")
    with pytest.raises(ValueError, match=r"MultimodalData\(codes=codes.*HammingRanker\(n_bits"):
        ranker.fit(data.codes)
    with pytest.raises(ValueError, match=r"blocks 'codes' and 'vectors'.*\['codes', 'text'\]"):
        ranker.fit(MultimodalData(codes=data.codes, text=data.vectors))
    vectors = data.vectors.copy()
    vectors[70, 2] = np.nan
    with pytest.raises(ValueError, match="vectors contains NaN"):
        ranker.fit(MultimodalData(codes=data.codes, vectors=vectors))
    with pytest.raises(ValueError, match="infinity"):
        TwoStageRanker(metric="dot", dtype="float16").fit(
            MultimodalData(codes=data.codes, vectors=data.vectors * 1e6)
        )
    with pytest.raises(ValueError, match=r"n_bits=9.*12 columns"):
        TwoStageRanker(HammingRanker(n_bits=9)).fit(data.codes)


def test_bad_queries_are_refused(data):
    ranker = TwoStageRanker().fit(data.codes)
    with pytest.raises(ValueError, match="expecting 12 features"):
        ranker.kneighbors(data.queries[:, :5])
    with pytest.raises(ValueError, match="NaN"):
        ranker.kneighbors(np.full((1, 12), np.nan))
    with pytest.raises(ValueError, match="at most 90"):
        ranker.kneighbors(data.queries, 91)
    ranker = TwoStageRanker(HammingRanker(packed=True)).fit(np.packbits(data.codes > 0, axis=1))
    with pytest.raises(ValueError, match=r"2 columns.*16 bits.*projections"):
        ranker.kneighbors(np.ones((1, 2)))
    ranker = TwoStageRanker(metric="dot").fit(data.database)
    with pytest.raises(ValueError, match=r"4 columns.*the database have 5"):
        ranker.kneighbors(MultimodalData(codes=data.both["codes"], vectors=np.ones((13, 4))))


def test_bad_parameters_are_refused(data):
    for bad in ({"metric": "hamming"}, {"oversampling": 0.5}, {"dtype": "int8"}, {"ranker": 3}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            TwoStageRanker(**bad).fit(data.codes)
    with pytest.raises(ValueError, match="'backend' parameter of HammingRanker"):
        TwoStageRanker(HammingRanker(backend="gpu")).fit(data.codes)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("exponent", [-44, -34, 36, 49])
def test_cosine_does_not_depend_on_the_scale(exponent):
    rng = np.random.default_rng(0)
    codes, vectors = rng.integers(0, 2, (20, 8)), rng.standard_normal((20, 4), dtype=np.float32)
    ranker = TwoStageRanker(metric="cosine", oversampling=None)
    first, second = (
        clone(ranker).fit(MultimodalData(codes=codes, vectors=scaled)).kneighbors()
        for scaled in (vectors, np.ldexp(vectors, exponent))
    )
    assert_array_equal(first[0], second[0])
    assert_array_equal(first[1], second[1])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_vectors_at_the_end_of_their_type_are_refused(metric):
    codes, vectors = np.eye(4), np.eye(4)
    ranker = TwoStageRanker(metric=metric).fit(MultimodalData(codes=codes, vectors=vectors))
    for factor in (1e-200, 1e200):
        rows = MultimodalData(codes=codes, vectors=factor * vectors)
        for call in (clone(ranker).fit, ranker.partial_fit, ranker.kneighbors):
            with pytest.raises(ValueError, match="vectors are of the order of"):
                call(rows)
    small = MultimodalData(codes=codes, vectors=(6e-8 * vectors).astype(np.float16))
    assert_array_equal(clone(ranker).fit(small).kneighbors(small, 1)[1][:, 0], range(4))


@pytest.mark.parametrize("ranker", [HammingRanker(), TwoStageRanker()])
def test_a_search_without_y_is_told_so(ranker):
    ranker = clone(ranker).fit(np.eye(4), [0, 0, 1, 1])
    with pytest.raises(ValueError, match="y is None"):
        ranker.score(np.eye(4))


def test_names_of_columns_are_those_of_the_last_fit(data):
    """Blocks have none, so those of a table fitted before are forgotten."""
    pd = pytest.importorskip("pandas")
    ranker = TwoStageRanker(HammingRanker(n_bits=12), metric="cosine")
    table = np.hstack([data.codes, data.vectors])
    ranker.fit(pd.DataFrame(table).rename(columns=str))
    assert ranker.feature_names_in_[0] == "0"
    ranker.fit(MultimodalData(codes=data.codes, vectors=data.vectors))
    assert not hasattr(ranker, "feature_names_in_")
    assert ranker.n_features_in_ == table.shape[1]
