"""Ranking metrics against their definitions, by brute force over all orders of tied rows."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.metrics import ndcg_score

from sklearn_cmh.data import encode_labels
from sklearn_cmh.metrics import (
    average_precision_scores,
    lookup_precision,
    mean_average_precision,
    mean_reciprocal_rank,
    ndcg_at_k,
    pair_recall_at_k,
    precision_at_k,
    precision_recall_by_radius,
    recall_at_k,
)
from sklearn_cmh.metrics.core import per_query, per_query_values, retrieval_of
from sklearn_cmh.metrics.core._per_query import harmonic_difference

TIED = [mean_average_precision, precision_at_k, recall_at_k, ndcg_at_k]
ALL = [*TIED, lookup_precision, precision_recall_by_radius]


# --- Definitions ------------------------------------------------------------------------------


def average_precision(gains, k):
    hits = np.flatnonzero(gains[:k])
    return np.mean([(gains[: i + 1] > 0).mean() for i in hits]) if len(hits) else 0.0


def precision(gains, k):
    return (gains[:k] > 0).mean()


def reciprocal_rank(gains, k):
    hits = np.flatnonzero(gains[:k])
    return 1 / (hits[0] + 1) if len(hits) else 0.0


def recall(gains, k):
    return (gains[:k] > 0).sum() / max((gains > 0).sum(), 1)


def ndcg(gains, k):
    discount = 1 / np.log2(np.arange(len(gains)) + 2)
    ideal = (np.sort(gains)[::-1] * discount)[:k].sum()
    return (gains * discount)[:k].sum() / ideal if ideal else 0.0


DEFINITIONS = dict(zip(TIED, [average_precision, precision, recall, ndcg], strict=True))


def tie_orders(distances):
    """Every order of the rows by distance."""
    groups = [np.flatnonzero(distances == d) for d in np.unique(distances)]
    for orders in product(*[list(permutations(group)) for group in groups]):
        yield np.concatenate([np.array(order) for order in orders])


def rankings(distances, ties):
    return [np.argsort(distances, kind="stable")] if ties == "index" else tie_orders(distances)


def brute_force(metric, query, database, L_query, L_database, k, ties, exclude_self=False):
    """Values per query from the definition, and which queries have a relevant row."""
    values, has_relevant = [], []
    for i, (code, labels) in enumerate(zip(query, L_query, strict=True)):
        keep = np.arange(len(database)) != i if exclude_self else np.ones(len(database), bool)
        distances = (code != database).sum(axis=1)[keep]
        gains = (L_database @ labels)[keep]
        definition = DEFINITIONS.get(metric, metric)
        orders = rankings(distances, ties)
        values.append(np.mean([definition(gains[order], k) for order in orders]))
        has_relevant.append(gains.any())
    return np.array(values), np.array(has_relevant)


@st.composite
def small_problems(draw, max_rows=6, max_classes=3):
    n_bits, n_query = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    n, c = draw(st.integers(1, max_rows)), draw(st.integers(2, max_classes))
    bit, label = st.sampled_from([-1, 1]), st.sampled_from([0, 1])
    return (
        draw(arrays(np.int8, (n_query, n_bits), elements=bit)),
        draw(arrays(np.int8, (n, n_bits), elements=bit)),
        draw(arrays(np.int8, (n_query, c), elements=label)),
        draw(arrays(np.int8, (n, c), elements=label)),
    )


def random_problem(n_query=40, n=300, n_bits=12, c=5, seed=0):
    rng = np.random.default_rng(seed)
    codes = [np.where(rng.random((m, n_bits)) < 0.5, 1, -1) for m in (n_query, n)]
    labels = [(rng.random((m, c)) < 1.5 / c).astype(np.int8) for m in (n_query, n)]
    return *codes, *labels


# --- Agreement with the definitions -----------------------------------------------------------


@pytest.mark.parametrize("ties", ["expected", "index"])
@pytest.mark.parametrize("metric", TIED)
@settings(deadline=None, max_examples=30)
@given(problem=small_problems(), k=st.integers(1, 7))
def test_metric_equals_its_definition(metric, ties, problem, k):
    values, has_relevant = brute_force(metric, *problem, k, ties)
    zero = metric(*problem, k=k, ties=ties, no_relevant="zero")
    assert_allclose(zero, values.mean(), atol=1e-12)
    if has_relevant.any():
        skip = metric(*problem, k=k, ties=ties, no_relevant="skip")
        assert_allclose(skip, values[has_relevant].mean(), atol=1e-12)


@pytest.mark.parametrize("ties", ["expected", "index"])
@settings(deadline=None, max_examples=30)
@given(problem=small_problems(), k=st.one_of(st.none(), st.integers(1, 7)))
def test_scores_without_the_own_row(ties, problem, k):
    _, database, _, L = problem
    values, has_relevant = average_precision_scores(
        database, database, L, L, k=k, ties=ties, exclude_self=True
    )
    problem = database, database, L, L
    if len(database) == 1:
        assert_array_equal(values, [0.0])
        return
    expected = brute_force(mean_average_precision, *problem, k, ties, exclude_self=True)
    assert_allclose(values, expected[0], atol=1e-12)
    assert_array_equal(has_relevant, expected[1])


@pytest.mark.parametrize("ties", ["expected", "index"])
@settings(deadline=None, max_examples=30)
@given(problem=small_problems(), radius=st.integers(0, 5))
def test_average_precision_within_a_radius(ties, problem, radius):
    query, database, L_query, L_database = problem
    values, has_relevant = average_precision_scores(*problem, radius=radius, ties=ties)
    for i, (code, labels) in enumerate(zip(query, L_query, strict=True)):
        distances, gains = (code != database).sum(axis=1), L_database @ labels
        n_within = (distances <= radius).sum()
        orders = rankings(distances, ties)
        expected = np.mean([average_precision(gains[order], n_within) for order in orders])
        assert_allclose(values[i], expected, atol=1e-12)
        assert has_relevant[i] == gains.any()
    zero = mean_average_precision(*problem, radius=radius, ties=ties, no_relevant="zero")
    assert_allclose(zero, values.mean(), atol=1e-12)


def figures(result):
    """What a metric returns, without the radii."""
    return np.array(result[:2] if isinstance(result, tuple) else result)


@pytest.mark.parametrize("metric", ALL)
def test_metrics_leave_the_own_row_out(metric):
    """As if every query were alone, with the other rows as its database."""
    _, codes, _, L = random_problem(n=40, n_bits=5)
    rows = np.arange(40)
    alone = [
        figures(metric(codes[[i]], codes[rows != i], L[[i]], L[rows != i], no_relevant="zero"))
        for i in rows
    ]
    found = figures(metric(codes, codes, L, L, exclude_self=True, no_relevant="zero"))
    assert_allclose(found, np.mean(alone, axis=0), atol=1e-12)
    # Rows beyond the queries are others.
    found = figures(metric(codes[:9], codes, L[:9], L, exclude_self=True, no_relevant="zero"))
    assert_allclose(found, np.mean(alone[:9], axis=0), atol=1e-12)
    with pytest.raises(ValueError, match="row i of the database must be the partner"):
        metric(codes, codes[:3], L, L[:3], exclude_self=True)


@pytest.mark.parametrize("no_relevant", ["skip", "zero"])
@pytest.mark.parametrize("metric", ALL)
def test_weights_count_queries_several_times(metric, no_relevant):
    query, database, L_query, L_database = random_problem()
    L_query[::5] = 0  # no row is relevant to these
    weights = np.random.default_rng(0).integers(0, 4, size=len(query))
    weighted = metric(
        query, database, L_query, L_database, sample_weight=weights, no_relevant=no_relevant
    )
    often = np.repeat(np.arange(len(query)), weights)
    expected = metric(query[often], database, L_query[often], L_database, no_relevant=no_relevant)
    assert_allclose(weighted, expected, rtol=1e-12)
    for strange, message in [([1.0], "shape|inconsistent"), (-weights - 1, "(?i)negative")]:
        with pytest.raises(ValueError, match=message):
            metric(query, database, L_query, L_database, sample_weight=strange)


@pytest.mark.parametrize("metric", ALL)
def test_weight_on_queries_without_a_relevant_row_only(metric):
    codes = [[1, 1], [1, -1]]
    labels = ["a", "b"], ["a", "a"]
    with pytest.warns(UserWarning, match="No query of positive weight has a relevant row"):
        score = metric(codes, codes, *labels, sample_weight=[0, 1])
    assert np.isnan(figures(score)).all()
    zero = metric(codes, codes, *labels, sample_weight=[0, 1], no_relevant="zero")
    assert_array_equal(figures(zero), 0.0)


@settings(deadline=None, max_examples=30)
@given(problem=small_problems())
def test_radius_metrics_equal_their_definitions(problem):
    query, database, L_query, L_database = problem
    relevant = L_query @ L_database.T > 0
    distances = (query[:, None] != database).sum(axis=2)
    precision, recall, radii = precision_recall_by_radius(*problem, no_relevant="zero")
    assert_array_equal(radii, np.arange(query.shape[1] + 1))
    for radius in radii:
        within = distances <= radius
        hits = (within & relevant).sum(axis=1)
        expected = np.mean(hits / np.maximum(within.sum(axis=1), 1))
        assert_allclose(precision[radius], expected, atol=1e-12)
        assert_allclose(
            recall[radius], np.mean(hits / np.maximum(relevant.sum(axis=1), 1)), atol=1e-12
        )
        lookup = lookup_precision(*problem, radius=int(radius), no_relevant="zero")
        assert_allclose(lookup, expected, atol=1e-12)


def test_expected_ties_are_the_mean_over_shuffled_databases():
    query, database, L_query, L_database = random_problem(n_bits=4, n=60)
    rng = np.random.default_rng(0)
    for k in (10, None):
        expected = mean_average_precision(query, database, L_query, L_database, k=k)
        shuffled = []
        for _ in range(150):
            order = rng.permutation(60)
            shuffled.append(
                mean_average_precision(
                    query, database[order], L_query, L_database[order], k=k, ties="index"
                )
            )
        error = np.std(shuffled) / np.sqrt(150)
        assert abs(np.mean(shuffled) - expected) < 4 * error


def test_ndcg_agrees_with_scikit_learn():
    query, database, L_query, L_database = random_problem()
    gains = L_query @ L_database.T
    distances = (query[:, None] != database).sum(axis=2)
    for k in (1, 7, 300):
        expected = ndcg_score(gains, -distances, k=k)
        assert_allclose(
            ndcg_at_k(query, database, L_query, L_database, k=k, no_relevant="zero"), expected
        )


@given(N=st.integers(0, 10**7), n=st.integers(0, 10**4))
def test_harmonic_difference_is_exact(N, n):
    terms = 1 / np.arange(N + 1, N + n + 1, dtype=np.longdouble)
    assert_allclose(float(harmonic_difference(N, n)), float(terms.sum()), rtol=2e-15, atol=1e-300)


def test_metrics_by_name_are_the_metrics():
    problem = random_problem()
    for metric, function in [
        ("map", mean_average_precision),
        ("precision_at_k", precision_at_k),
        ("recall_at_k", recall_at_k),
        ("ndcg_at_k", ndcg_at_k),
        ("lookup_precision", lookup_precision),
    ]:
        values, has_relevant = per_query_values(metric, *problem)
        assert_allclose(values[has_relevant].mean(), function(*problem), rtol=1e-14)


@pytest.mark.parametrize("ties", ["expected", "index"])
@settings(deadline=None, max_examples=30)
@given(problem=small_problems(), max_k=st.one_of(st.none(), st.integers(1, 7)))
def test_curves_are_the_metrics_at_every_k(ties, problem, max_k):
    n = len(problem[1])
    retrieval = retrieval_of(*problem)
    anything_relevant = bool((problem[2] @ problem[3].T).any())
    for curve, metric in [
        (per_query.precision_by_k, precision_at_k),
        (per_query.recall_by_k, recall_at_k),
    ]:
        for no_relevant in ("zero", "skip")[: 1 + anything_relevant]:
            options = {"ties": ties, "no_relevant": no_relevant}
            at, values = curve(retrieval, max_k, ties, no_relevant)
            assert_array_equal(at, np.arange(1, min(max_k or n, n) + 1))
            expected = [metric(*problem, k=k, **options) for k in at.tolist()]
            assert_allclose(values, expected, atol=1e-12)


# --- The partner as the one relevant row -------------------------------------------------------


@st.composite
def pairs(draw):
    n_bits, n_queries = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    n = n_queries + draw(st.integers(0, 3))
    bit = st.sampled_from([-1, 1])
    return [draw(arrays(np.int8, (m, n_bits), elements=bit)) for m in (n_queries, n)]


def pair_values(definition, query, database, k, ties):
    """Values per query from the definition, where database row i is what query i seeks."""
    values = []
    for i, code in enumerate(query):
        own = np.arange(len(database)) == i
        orders = rankings((code != database).sum(axis=1), ties)
        values.append(np.mean([definition(own[order], k) for order in orders]))
    return np.array(values)


@pytest.mark.parametrize("ties", ["expected", "index"])
@settings(deadline=None, max_examples=60)
@given(codes=pairs(), k=st.integers(1, 7))
def test_pair_metrics_equal_their_definitions(ties, codes, k):
    expected = pair_values(recall, *codes, k, ties).mean()
    assert_allclose(pair_recall_at_k(*codes, k=k, ties=ties), expected, atol=1e-12)
    for at in (k, None):
        expected = pair_values(reciprocal_rank, *codes, at, ties).mean()
        assert_allclose(mean_reciprocal_rank(*codes, k=at, ties=ties), expected, atol=1e-12)


@pytest.mark.parametrize("ties", ["expected", "index"])
@settings(deadline=None, max_examples=30)
@given(codes=pairs(), k=st.integers(1, 7))
def test_every_metric_of_pairs_equals_its_definition(ties, codes, k):
    definitions = {
        "map": average_precision,
        "mrr": reciprocal_rank,
        "precision_at_k": precision,
        "recall_at_k": recall,
        "ndcg_at_k": ndcg,
    }
    for metric, definition in definitions.items():
        values, has_relevant = per_query_values(metric, *codes, None, None, k=k, ties=ties)
        assert_allclose(values, pair_values(definition, *codes, k, ties), atol=1e-12)
        assert has_relevant.all()
    # What is in closed form for pairs agrees with what holds for any relevance.
    retrieval = retrieval_of(*codes)
    for general in (per_query.average_precision, per_query.reciprocal_rank):
        values, _ = general(retrieval, k, ties)
        assert_allclose(values, pair_values(reciprocal_rank, *codes, k, ties), atol=1e-12)


@pytest.mark.parametrize("ties", ["expected", "index"])
@settings(deadline=None, max_examples=30)
@given(problem=small_problems(), k=st.integers(1, 7))
def test_reciprocal_rank_by_labels_equals_its_definition(ties, problem, k):
    values, has_relevant = per_query_values("mrr", *problem, k=k, ties=ties)
    expected = brute_force(reciprocal_rank, *problem, k, ties)
    assert_allclose(values, expected[0], atol=1e-12)
    assert_array_equal(has_relevant, expected[1])


def test_pair_metrics_of_many_equal_codes():
    """Nine codes for all rows: the partner is anywhere among those of its code."""
    code = np.arange(900) % 9
    codes = np.where(code[:, None] >> np.arange(4) & 1, 1, -1)
    assert_allclose(pair_recall_at_k(codes, codes, k=10), 0.1)
    assert_allclose(mean_reciprocal_rank(codes, codes), harmonic_difference(0, 100) / 100)
    assert pair_recall_at_k(codes, codes, k=None) == 1


def test_pair_metrics_refuse_queries_without_a_partner():
    for metric in (pair_recall_at_k, mean_reciprocal_rank):
        with pytest.raises(ValueError, match="row i of the database must be the partner"):
            metric([[1, 1], [1, -1]], [[1, 1]])
        with pytest.raises(ValueError, match="same hasher"):
            metric([[1, 1]], [[1, 1, 1]])
        with pytest.raises(ValueError, match="'k' parameter"):
            metric([[1, 1]], [[1, 1]], k=0)
        with pytest.raises(ValueError, match=r"(?i)negative"):
            metric([[1, 1]], [[1, 1]], sample_weight=[-1])


def test_weights_of_pairs_count_queries_several_times():
    rng = np.random.default_rng(0)
    query, database = (np.where(rng.random((20, 5)) < 0.5, 1, -1) for _ in range(2))
    weights = rng.integers(0, 3, size=20)
    for metric in (pair_recall_at_k, mean_reciprocal_rank):
        alone = [
            metric(query[[i]], np.vstack([database[[i]], np.delete(database, i, axis=0)]))
            for i in range(20)
        ]
        expected = np.average(alone, weights=weights)
        assert_allclose(metric(query, database, sample_weight=weights), expected)


# --- Invariances ------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ALL)
def test_forms_of_codes_and_labels(metric):
    query, database, L_query, L_database = random_problem()
    expected = metric(query, database, L_query, L_database)
    for form in (
        lambda codes: codes > 0,
        lambda codes: (codes > 0) * 1.0,
        np.int8,
        np.ndarray.tolist,
    ):
        assert_array_equal(metric(form(query), form(database), L_query, L_database), expected)
    for form in (sparse.csr_array, sparse.csc_matrix, np.ndarray.tolist):
        assert_array_equal(metric(query, database, form(L_query), form(L_database)), expected)
    assert_array_equal(
        metric(query, database, encode_labels(L_query)[0], encode_labels(L_database)[0]), expected
    )


@pytest.mark.parametrize("ties", ["expected", "index"])
@pytest.mark.parametrize("metric", TIED)
@pytest.mark.parametrize("c", [8, 9, 33, 64, 65, 200])
def test_any_number_of_classes(metric, ties, c):
    # Classes that nothing has change how labels are stored, and nothing else.
    *codes, L_query, L_database = random_problem(c=5)
    wide = [np.zeros((len(L), c), dtype=np.int8) for L in (L_query, L_database)]
    for L, narrow in zip(wide, (L_query, L_database), strict=True):
        L[:, -5:] = narrow
    expected = metric(*codes, L_query, L_database, ties=ties)
    assert_allclose(metric(*codes, *wide, ties=ties), expected, rtol=1e-15)


@pytest.mark.parametrize("metric", ALL)
def test_memory_is_bounded_without_a_change(metric):
    problem = random_problem()
    expected = metric(*problem)
    with config_context(working_memory=1e-4):
        assert_allclose(metric(*problem), expected, rtol=1e-14)
    if metric in TIED:
        expected = metric(*problem, ties="index")
        with config_context(working_memory=1e-4):
            assert_allclose(metric(*problem, ties="index"), expected, rtol=1e-14)


def test_classes_may_differ_between_queries_and_database():
    codes = [[1, 1], [1, -1], [-1, -1]]
    labels = ["cat", "dog", "eel"]
    assert mean_average_precision(codes[:2], codes, ["dog", "ant"], labels) == 0.5
    assert (
        mean_average_precision(codes[:2], codes, ["dog", "ant"], labels, no_relevant="zero") == 0.25
    )


def test_a_row_without_labels_is_relevant_to_nothing():
    codes, L = np.ones((2, 3)), np.array([[0, 0], [1, 0]])
    values, has_relevant = average_precision_scores(codes, codes, L, L)
    assert_array_equal(has_relevant, [False, True])
    assert values[0] == 0


def test_the_whole_database_is_retrieved_when_k_is_larger():
    problem = random_problem(n=20)
    for metric in TIED:
        assert metric(*problem, k=500) == metric(*problem, k=20) == metric(*problem, k=None)


def test_perfect_and_long_codes():
    L = np.eye(3, dtype=int)[np.arange(30) % 3]
    codes = np.repeat(2 * L - 1, 400, axis=1)
    assert codes.shape[1] == 1200
    for metric in (mean_average_precision, ndcg_at_k):
        for ties in ("expected", "index"):
            assert_allclose(metric(codes, codes, L, L, ties=ties), 1.0)


# --- Bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ALL)
def test_no_relevant_row_at_all_is_nan_with_a_warning(metric):
    codes = [[1, 1], [1, -1]]
    with pytest.warns(UserWarning, match="no_relevant='zero'"):
        score = metric(codes, codes, ["a", "b"], ["c", "d"])
    assert np.isnan(figures(score)).all()
    score = metric(codes, codes, ["a", "b"], ["c", "d"], no_relevant="zero")
    assert_array_equal(figures(score), 0.0)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_codes": [[0.5, 1.0], [1, 1]]}, "query_codes must hold binary codes.*0.5"),
        ({"query_codes": [[0, 1], [-1, 1]]}, "query_codes must hold binary codes.*as well as -1"),
        ({"database_codes": np.full((2, 2), 7, np.uint8)}, "database_codes.*packed=True"),
        ({"database_codes": [["a", "b"], ["c", "d"]]}, "database_codes must hold binary codes"),
        ({"query_codes": [[np.nan, 1], [1, 1]]}, "query_codes contains NaN"),
        ({"query_codes": np.ones((0, 2))}, "0 sample"),
        ({"query_codes": [1, 1]}, "query_codes|2D array"),
        ({"query_codes": [[1, 1, 1], [1, 1, 1]]}, "query_codes have 3 bits.*same hasher"),
        ({"query_labels": ["a"]}, "query_codes have 2 rows, but query_labels have 1"),
        ({"database_labels": [[1, 0], [0, 1]]}, "must both be"),
        ({"database_labels": [1, 2]}, "use the same labels"),
        (
            {"query_labels": [[1, 0], [0, 1]], "database_labels": [[1, 0, 0], [0, 0, 1]]},
            "query_labels has 2 columns, but database_labels has 3",
        ),
        ({"query_labels": [[1, 2], [0, 1]], "database_labels": [[1, 0], [0, 1]]}, "query_labels"),
        ({"no_relevant": "drop"}, "no_relevant"),
    ],
)
def test_bad_input_is_refused_with_the_cure(metric, change, message):
    codes = [[1, -1], [-1, -1]]
    good = {
        "query_codes": codes,
        "database_codes": codes,
        "query_labels": ["a", "b"],
        "database_labels": ["a", "b"],
    }
    with pytest.raises(ValueError, match=message):
        metric(**(good | change))


@pytest.mark.parametrize("metric", TIED)
@pytest.mark.parametrize("options", [{"k": 0}, {"k": 1.5}, {"ties": "random"}])
def test_options_are_checked(metric, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        metric([[1]], [[1]], ["a"], ["a"], **options)


def test_a_ranking_ends_in_one_way():
    for metric in (mean_average_precision, average_precision_scores):
        with pytest.raises(ValueError, match=r"k=3 and radius=2 .* pass one of them"):
            metric([[1]], [[1]], ["a"], ["a"], k=3, radius=2)
        with pytest.raises(ValueError, match="'radius' parameter"):
            metric([[1]], [[1]], ["a"], ["a"], radius=-1)
