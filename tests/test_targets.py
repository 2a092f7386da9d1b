"""Targets: the factor of what codes should preserve."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.linear_model import Ridge, RidgeCV

from sklearn_cmh.data import labelled_rows, normalise_rows
from sklearn_cmh.solvers import complete_labels, mix_targets, ridge_leave_one_out, sign
from sklearn_cmh.solvers._targets import predict_scores


@st.composite
def cases(draw):
    """Labels (some rows without), unit rows, a pair weight, and an array to multiply."""
    n, c, r = draw(st.integers(1, 30)), draw(st.integers(1, 6)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    L = sparse.csr_array((rng.random((n, c)) < draw(st.floats(0, 1))).astype(np.int8))
    Z = rng.standard_normal((n, r)).astype(draw(st.sampled_from([np.float32, np.float64])))
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    return normalise_rows(L), Z, draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])), rng


@given(cases())
@settings(max_examples=60, deadline=None)
def test_targets_equal_their_definition(case):
    Lt, Z, p, rng = case
    T = mix_targets(Lt, Z, p)
    S = (1 - p) * (Lt @ Lt.T).toarray() + p * Z.astype(float) @ Z.T
    dense = T.toarray().astype(float)
    tolerance = {"rtol": 1e-5, "atol": 1e-5 if Z.dtype == np.float32 else 1e-12}
    assert_allclose(dense @ dense.T, S, **tolerance)
    assert T.shape == dense.shape and len(T) == len(Z)
    A = rng.standard_normal((len(Z), 3))
    assert_allclose(T.pool(A), dense.T @ A, **tolerance)
    assert_allclose(T.expand(T.pool(A)), S @ A, rtol=1e-4, atol=1e-4 * max(1, len(Z)))
    assert_array_equal(T.signs(T.pool(A)), sign(T.expand(T.pool(A))))
    assert_allclose(T.sum(), dense.sum(axis=0), **tolerance)
    assert_array_equal(T.present(), dense.any(axis=1))
    some = rng.permutation(len(Z))[: len(Z) // 2]
    assert_array_equal(T[some].toarray(), T.toarray()[some])


def test_rows_of_mixed_targets_have_norm_one():
    rng = np.random.default_rng(0)
    Lt = normalise_rows(sparse.csr_array(np.eye(4, dtype=np.int8)[rng.integers(0, 4, 20)]))
    Z = rng.standard_normal((20, 3))
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    for p in (0.0, 0.07, 1.0):
        assert_allclose(np.linalg.norm(mix_targets(Lt, Z, p).toarray(), axis=1), 1)


def test_targets_of_whole_numbers_count():
    rng = np.random.default_rng(0)
    Lt, Z = sparse.csr_array(np.eye(20)), rng.integers(-3, 4, (20, 3))
    for p in (0.3, 1.0):
        assert_allclose(mix_targets(Lt, Z, p).toarray(), mix_targets(Lt, 1.0 * Z, p).toarray())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_without_labels_get_those_that_their_features_tell(paired, dtype):
    L = sparse.csr_array(paired.indicator.astype(np.int8))
    known = np.arange(120) % 4 < 2
    partial = sparse.csr_array(L.multiply(known[:, None]).astype(np.int8))
    partial.eliminate_zeros()
    Lt = complete_labels(partial, [paired.image.astype(dtype), paired.text.astype(dtype)])
    assert Lt.dtype == dtype
    assert_array_equal(Lt[known].toarray(), normalise_rows(L, dtype)[known].toarray())
    assert_allclose(np.linalg.norm(Lt.toarray(), axis=1), 1, rtol=1e-6)
    guess = Lt.toarray()[~known].argmax(axis=1)
    assert np.mean(guess == paired.y[~known]) > 0.9


@pytest.mark.parametrize("noise", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("n", [4, 5, 8, 40])
def test_scores_are_those_of_the_ridge_with_the_least_leave_one_out_error(n, noise, scale):
    rng = np.random.default_rng(0)
    F, F_new = (scale * (rng.standard_normal((m, 6)) + 2) for m in (n, 7))
    Y = 1 + F @ rng.standard_normal((6, 3)) / scale + noise * rng.standard_normal((n, 3))
    mean_eigenvalue = np.square(F - F.mean(axis=0)).sum() / 6
    penalty = RidgeCV(np.logspace(-3, 1, 5) * mean_eigenvalue).fit(F, Y).alpha_
    # Older versions of RidgeCV choose well, and predict with half of the digits.
    expected = Ridge(penalty).fit(F, Y).predict(F_new)
    assert_allclose(predict_scores(F, Y, F_new), expected, rtol=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_rounding_does_not_choose_the_penalty_of_two_labelled_rows(seed):
    """Whatever it is, one of them predicts the other to be its own equal."""
    rng = np.random.default_rng(seed)
    F, F_new = rng.standard_normal((2, 3)) + 10, rng.standard_normal((4, 3)) + 10
    apart = F[0] - F[1]
    # The slope of the two under the strongest penalty: ten times the mean eigenvalue.
    squares = apart @ apart / 2
    share = squares / (squares + 10 * squares / 3)
    along = np.outer((F_new - F.mean(axis=0)) @ apart / (apart @ apart) * share, [1, -1])
    assert_allclose(predict_scores(F, np.eye(2), F_new), 0.5 + along, rtol=1e-9)


def test_a_single_other_row_decides_nothing():
    rng = np.random.default_rng(0)
    _, decisions = ridge_leave_one_out(rng.standard_normal((2, 4)) + 10, np.eye(2), [0.01, 10.0])
    assert_array_equal(decisions, np.zeros((2, 2, 2)))


def test_complete_labels_stay_as_they_are(paired):
    L = sparse.csr_array(paired.indicator.astype(np.int8))
    assert labelled_rows(L).all()
    Lt = complete_labels(L, [paired.image])
    assert_array_equal(Lt.toarray(), normalise_rows(L).toarray())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0.0, 0.1, 1e-8, 1e9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_labelled_rows_that_are_alike_tell_nothing_of_others(value, dtype):
    L = sparse.csr_array(np.eye(3, dtype=np.int8)[[0, 1, 1, 0, 1]])
    L = sparse.csr_array(sparse.vstack([L, sparse.csr_array((4, 3), dtype=np.int8)]))
    F = np.full((9, 2), value, dtype=dtype)
    F[5:] += np.arange(8, dtype=dtype).reshape(4, 2)
    Lt = complete_labels(L, [F]).toarray()
    mean = np.array([2, 3, 0]) / np.sqrt(13)
    assert_allclose(Lt[5:], np.tile(mean, (4, 1)), atol=1e-3)


@pytest.mark.filterwarnings("error")
def test_one_labelled_row_and_sparse_features():
    L = sparse.csr_array(([1], ([2], [0])), shape=(5, 2), dtype=np.int8)
    F = sparse.csr_array(np.eye(5, 3))
    for features in ([F], [F, np.ones((5, 1), dtype=np.float32)]):
        assert_array_equal(complete_labels(L, features).toarray(), [[1, 0]] * 5)
    with pytest.raises(ValueError, match="labels no row"):
        complete_labels(sparse.csr_array((5, 2), dtype=np.int8), [F])
