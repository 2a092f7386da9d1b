"""Every similarity operator equals the n x n matrix that it stands for."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sklearn_cmh.data import encode_labels, labelled_rows, normalise_rows
from sklearn_cmh.solvers import (
    CosineSimilarity,
    GraphSimilarity,
    MixedSimilarity,
    SharedLabelSimilarity,
    _linalg,
    label_targets,
    mix_targets,
)
from sklearn_cmh.solvers import _similarities as similarity


@st.composite
def indicators(draw):
    """Any indicator: empty rows, absent classes, every density."""
    n, c = draw(st.integers(1, 25)), draw(st.integers(2, 12))
    rng = np.random.RandomState(draw(st.integers(0, 2**16)))
    return sparse.csr_array((rng.rand(n, c) < draw(st.floats(0, 1))).astype(np.int8))


def dense_cosine(L, scale, shift):
    Lt = normalise_rows(L).toarray()
    u = labelled_rows(L).astype(float)
    return scale * Lt @ Lt.T - shift * np.outer(u, u)


def dense_shared(L):
    counts = L.toarray().astype(int)
    return (counts @ counts.T > 0).astype(float)


def check_operator(S, dense, rtol=1e-12):
    rng = np.random.RandomState(0)
    A = rng.randn(len(dense), 3)
    scale = np.abs(dense).sum() + 1
    for product, expected in [
        (S @ A, dense @ A),
        (S.T @ A, dense @ A),
        (S.rmatmat(A), dense @ A),
        (S @ A[:, 0], dense @ A[:, 0]),
        (S @ np.sign(A).astype(np.int8), dense @ np.sign(A)),
        (S.degrees(), dense.sum(axis=1)),
    ]:
        assert product.dtype == S.dtype
        assert product.shape == expected.shape
        np.testing.assert_allclose(product, expected, rtol=0, atol=rtol * scale)


@settings(deadline=None)
@given(indicators(), st.sampled_from([(1.0, 0.0), (2.0, 1.0), (0.5, -3.0)]))
def test_cosine_is_its_dense_matrix(L, scale_shift):
    S, dense = CosineSimilarity(label_targets(L), *scale_shift), dense_cosine(L, *scale_shift)
    check_operator(S, dense)
    assert S.squared_norm() == pytest.approx(np.linalg.norm(dense) ** 2, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(indicators(), st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([(1.0, 0.0), (2.0, 1.0)]))
def test_cosine_of_labels_and_pairs_is_its_dense_matrix(L, pair_weight, scale_shift):
    scale, shift = scale_shift
    Z = np.random.RandomState(0).randn(L.shape[0], 2)
    Z[::3] = 0
    T = mix_targets(normalise_rows(L), Z, pair_weight)
    S = CosineSimilarity(T, scale, shift)
    u = T.toarray().any(axis=1).astype(float)
    dense = scale * T.toarray() @ T.toarray().T - shift * np.outer(u, u)
    check_operator(S, dense)
    assert S.squared_norm() == pytest.approx(np.linalg.norm(dense) ** 2, rel=1e-9, abs=1e-9)
    X = np.random.RandomState(1).randint(0, 3, (L.shape[0], 4)).astype(float)
    np.testing.assert_allclose(S.pool(sparse.csr_array(X)), S.pool(X), atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(indicators(), st.sampled_from([0.0, 0.25, 1.0]))
def test_mixture_is_its_dense_matrix(L, weight):
    dense = dense_shared(L), dense_cosine(L, 1.0, 0.0)
    parts = SharedLabelSimilarity(L), CosineSimilarity(label_targets(L))
    check_operator(MixedSimilarity(*parts, weight), (1 - weight) * dense[0] + weight * dense[1])


@settings(deadline=None)
@given(indicators(), st.sampled_from([0, 10, 2**24]), st.sampled_from([1, 40, 2**22]))
def test_shared_label_is_its_dense_matrix(L, kept, block):
    """Whether the pattern overlap is kept or computed in blocks, and whatever the blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "_MAX_OVERLAP", kept)
        patch.setattr(similarity, "_BLOCK_ENTRIES", block)
        check_operator(SharedLabelSimilarity(L), dense_shared(L))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [CosineSimilarity, SharedLabelSimilarity, GraphSimilarity])
def test_dtype_is_kept(make, dtype):
    rng = np.random.RandomState(0)
    L = sparse.csr_array((rng.rand(60, 5) < 0.3).astype(np.int8))
    if make is GraphSimilarity:
        dense = dense_shared(L)
        S = make(sparse.csr_array(dense), dtype=dtype)
    else:
        dense = dense_cosine(L, 1, 0) if make is CosineSimilarity else dense_shared(L)
        given = label_targets(L) if make is CosineSimilarity else L
        S = make(given, dtype=dtype)
    check_operator(S, dense, rtol=1e-6 if dtype == np.float32 else 1e-13)
    check_operator(pickle.loads(pickle.dumps(S)), dense, rtol=1e-6)


def test_sums_over_many_float32_rows_are_accurate():
    """300,000 ones and a tenth each: summed in float32, the result would be off by percents."""
    n = 300_000
    L, _ = encode_labels(np.zeros(n, dtype=int))
    A = np.full((n, 1), 0.1, dtype=np.float32)
    T = label_targets(L)
    for S in (CosineSimilarity(T, dtype=np.float32), SharedLabelSimilarity(L, dtype=np.float32)):
        np.testing.assert_allclose(S @ A, 0.1 * n, rtol=1e-6)
        assert (S.degrees() == n).all()


@settings(deadline=None, max_examples=30)
@given(indicators())
def test_pool_core_expand_apply_to_sparse_features(L):
    """What the solvers use: the factors one by one, features sparse or dense."""
    X = np.random.RandomState(0).randint(0, 3, (L.shape[0], 4)).astype(float)
    S = SharedLabelSimilarity(L)
    pooled = S.pool(sparse.csr_array(X))
    assert sparse.issparse(pooled)
    np.testing.assert_array_equal(pooled.toarray(), S.pool(X))
    np.testing.assert_allclose(S.expand(S.core(pooled @ np.eye(4))), dense_shared(L) @ X)


def test_many_patterns_keep_memory_bounded():
    """20,000 distinct patterns: neither g x g nor n x n is held."""
    import tracemalloc

    rng = np.random.RandomState(0)
    L = sparse.csr_array((rng.rand(20_000, 40) < 0.4).astype(np.int8))
    A = rng.randn(20_000, 2).astype(np.float32)
    tracemalloc.start()
    S = SharedLabelSimilarity(L, dtype=np.float32)
    product = S @ A
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6
    rows = rng.choice(20_000, 5, replace=False)
    shared = (L[rows].astype(int) @ L.T.astype(int)).toarray() > 0
    np.testing.assert_allclose(product[rows], shared @ A.astype(float), atol=1e-2)


@pytest.mark.parametrize("g", [3, 40])  # fewer, and more, than rows of a block
def test_sums_of_rows_are_a_product(g, monkeypatch):
    monkeypatch.setattr(_linalg, "_BLOCK_ROWS", 5)
    monkeypatch.setattr(_linalg, "_BLOCK_ENTRIES", 1)
    rng = np.random.RandomState(0)
    E, A = sparse.csr_array(rng.rand(100, g) * (rng.rand(100, g) < 0.1)), rng.randn(100, 4)
    for indicator in (E, E.toarray()):
        np.testing.assert_allclose(_linalg.sum_rows(indicator, A), E.toarray().T @ A, atol=1e-12)
    columns, sums = _linalg.part_sums(E[:5], A[:5])
    assert len(sums) <= max(3, E[:5].nnz)
    np.testing.assert_allclose(sums, E[:5].toarray().T[columns] @ A[:5], atol=1e-12)
