"""Closed-form leave-one-out ridge, and the choice of bits."""

import copy
import pickle
from functools import partial

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interruptions import interrupted_at_every_line
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import Ridge

from sklearn_cmh import ASCMH
from sklearn_cmh.data import encode_labels, normalise_rows
from sklearn_cmh.features import signed_sqrt, sqrt_norm
from sklearn_cmh.refine import LeaveOneOutRidge
from sklearn_cmh.refine._bits import (
    bit_alignment,
    greedy_bits,
    selection_terms,
    swap_bits,
)
from sklearn_cmh.solvers import ridge_leave_one_out


def signs(rng, *shape):
    return np.where(rng.standard_normal(shape) < 0, -1, 1).astype(np.int8)


# --- Ridge ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "q"), [(30, 6), (12, 12), (9, 20), (2, 3)])
def test_leave_one_out_equals_refitting_without_the_row(n, q):
    rng = np.random.default_rng(0)
    F, B = rng.standard_normal((n, q)) + 1.0, signs(rng, n, 4)
    alphas = [0.003, 0.1, 10.0]
    coef, decisions = ridge_leave_one_out(F, B, alphas)
    assert coef.shape == (3, q, 4) and decisions.shape == (3, n, 4)
    for a, alpha in enumerate(alphas):
        ridge = Ridge(alpha=alpha, solver="svd").fit(F, B)
        assert_allclose(coef[a], ridge.coef_.T, atol=1e-8)
        for i in range(n):
            others = np.arange(n) != i
            ridge = Ridge(alpha=alpha, solver="svd").fit(F[others], B[others])
            expected = (F[i] - F[others].mean(axis=0)) @ ridge.coef_.T
            assert_allclose(decisions[a, i], expected, atol=1e-8)


def test_a_row_s_own_bits_do_not_reach_its_leave_one_out_decision():
    rng = np.random.default_rng(1)
    F, B = rng.standard_normal((40, 5)), signs(rng, 40, 3)
    before = ridge_leave_one_out(F, B, [0.01])[1][0]
    B[7] = -B[7]
    after = ridge_leave_one_out(F, B, [0.01])[1][0]
    assert_allclose(after[7], before[7], atol=1e-9)
    assert np.abs(after[8] - before[8]).max() > 1e-4


def test_rows_blocks_and_float32(monkeypatch):
    rng = np.random.default_rng(2)
    F, B = rng.standard_normal((50, 7)), signs(rng, 50, 3)
    coef, decisions = ridge_leave_one_out(F, B, [0.1, 1.0])
    rows = np.array([3, 49, 11])
    assert_allclose(ridge_leave_one_out(F, B, [0.1, 1.0], rows)[1], decisions[:, rows], atol=1e-12)
    assert_allclose(ridge_leave_one_out(F.astype(np.float32), B, [0.1])[0][0], coef[0], atol=1e-5)
    monkeypatch.setattr("sklearn_cmh.solvers._ridge._BLOCK_ROWS", 8)
    blocked = ridge_leave_one_out(F, B, [0.1, 1.0])
    assert_allclose(blocked[0], coef, atol=1e-12)
    assert_allclose(blocked[1], decisions, atol=1e-12)


# --- LeaveOneOutRidge -----------------------------------------------------------------------


@pytest.mark.parametrize("columns", [1, 3])
def test_an_interrupted_fit_is_none(columns):
    """As before, or where the last line is interrupted as after, but never between."""
    rng = np.random.default_rng(0)
    F, B = rng.standard_normal((30, 4)), signs(rng, 30, columns)
    after = joblib.hash(vars(LeaveOneOutRidge([0.1, 1.0]).fit(F, B)))
    for start in (LeaveOneOutRidge([0.1, 1.0]), LeaveOneOutRidge([0.1, 1.0]).fit(F[:9, :3], B[:9])):
        before, ridge, n_before = joblib.hash(vars(start)), copy.copy(start), 0
        fit = partial(LeaveOneOutRidge.fit, ridge, F, B)
        for _ in interrupted_at_every_line(fit, LeaveOneOutRidge.predict):
            state = joblib.hash(vars(ridge))
            n_before += state == before
            assert state in (before, after)
            vars(ridge).clear()
            vars(ridge).update(vars(start))
        assert n_before > 10


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alphas": [0.1, -1]}, "alphas must hold positive numbers"),
        ({"alphas": [True]}, "alphas must hold positive numbers"),
        ({"alphas": ()}, "alphas must hold positive numbers"),
        ({"alphas": 0.1}, "'alphas' parameter of LeaveOneOutRidge"),
        ({"fit_intercept": "no"}, "'fit_intercept' parameter of LeaveOneOutRidge"),
    ],
)
def test_parameters_are_validated_alone_and_inside(parameters, message):
    ridge = LeaveOneOutRidge(**parameters)
    F, y = np.random.default_rng(0).standard_normal((12, 3)), np.arange(12) % 2
    for model in (ridge, ASCMH(4, n_anchors=5, hash_estimator=ridge)):
        with pytest.raises(ValueError, match=message):
            model.fit(F, y)


# --- Selection of bits ----------------------------------------------------------------------


def alignment_by_definition(bits, T, selected):
    """The criterion through the n x n similarities and predictions that it stands for."""
    S = T @ T.T
    pairs = [(0, 0)] if len(bits) == 1 else [(i, j) for j in range(len(bits)) for i in range(j)]
    inner = norm = 0.0
    for i, j in pairs:
        H1, H2 = bits[i][:, selected].astype(float), bits[j][:, selected].astype(float)
        K = H1 @ (H2 - H2.mean(axis=0)).T
        K_mirror = (H1 - H1.mean(axis=0)) @ H2.T
        inner += (K * S).sum() + (K_mirror * S).sum()
        norm += (K**2).sum() + (K_mirror**2).sum()
    return inner / np.sqrt(norm)


def pool(rng, n=24, p=10, modalities=2):
    T = normalise_rows(encode_labels(rng.integers(0, 2, (n, 4)))[0])
    latent = T @ rng.standard_normal((4, p))
    return [np.where(latent + rng.standard_normal((n, p)) < 0, -1, 1) for _ in range(modalities)], T


@pytest.mark.parametrize("modalities", [1, 2, 3])
def test_criterion_equals_its_definition(modalities):
    bits, T = pool(np.random.default_rng(3), modalities=modalities)
    q, G = selection_terms(bits, T)
    selected = [7, 2, 4]
    expected = alignment_by_definition(bits, T.toarray(), selected)
    assert_allclose(bit_alignment(q, G, selected), expected, rtol=1e-10)
    assert_array_equal(selection_terms(bits, T.toarray())[0], q)
    assert_allclose(G, G.T)
    assert np.linalg.eigvalsh(G).min() > -1e-9 * G.max()


def test_constant_bits_are_worth_nothing():
    bits, T = pool(np.random.default_rng(4))
    for H in bits:
        H[:, 5] = 1
    q, G = selection_terms(bits, T)
    assert bit_alignment(q, G, [5]) == 0.0
    assert bit_alignment(q, G, [1, 5]) == bit_alignment(q, G, [1])
    assert greedy_bits(q, G, 1) != 5


def test_constant_bits_come_last():
    # Every bit after the first is a bad one, and lowers the criterion.
    T = normalise_rows(encode_labels(np.arange(8) // 4)[0])
    good = np.repeat([1, -1], 4)
    bad = [np.tile([1, -1, -1, 1], 2), np.tile([1, -1], 4)]
    H = np.transpose([np.ones(8), bad[0], good, -np.ones(8), bad[1]])
    q, G = selection_terms([H, H], T)
    assert bit_alignment(q, G, [2, 0]) > bit_alignment(q, G, [2, 1])
    assert set(greedy_bits(q, G, 3)) == {1, 2, 4}
    with pytest.warns(UserWarning, match="Only 3 of the 5 bits .* 1 of n_bits=4 are constant"):
        assert set(greedy_bits(q, G, 4)[:3]) == {1, 2, 4}
    assert set(swap_bits(q, G, [1, 2, 4])) == {1, 2, 4}
    # One that is there already may go.
    assert set(swap_bits(q, G, [0, 3])) & {2}


def test_greedy_takes_the_best_addition():
    bits, T = pool(np.random.default_rng(5), p=12)
    q, G = selection_terms(bits, T)
    selected = greedy_bits(q, G, 12)
    assert sorted(selected) == list(range(12))
    for size in range(1, 12):
        values = [bit_alignment(q, G, [*selected[: size - 1], j]) for j in selected[size - 1 :]]
        assert_allclose(values[0], max(values), rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 9))
def test_swaps_never_make_a_set_worse(seed, size):
    rng = np.random.default_rng(seed)
    bits, T = pool(rng)
    q, G = selection_terms(bits, T)
    start = rng.permutation(10)[:size]
    selected = swap_bits(q, G, start)
    assert len(set(selected)) == size
    assert bit_alignment(q, G, selected) >= bit_alignment(q, G, start) * (1 - 1e-12) - 1e-12
    # One that is left alone cannot be improved by any exchange.
    settled = swap_bits(q, G, selected, max_passes=50)
    value = bit_alignment(q, G, settled)
    for position in range(size):
        for j in set(np.flatnonzero(G.diagonal() > 0)) - set(settled):  # no constant one comes in
            other = settled.copy()
            other[position] = j
            assert bit_alignment(q, G, other) <= value + 1e-9 * abs(value)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_the_choice_does_not_depend_on_the_scale_of_the_terms(scale):
    bits, T = pool(np.random.default_rng(1), p=12)
    q, G = selection_terms(bits, T)
    greedy = greedy_bits(q, G, 5)
    assert_array_equal(greedy_bits(scale * q, scale * G, 5), greedy)
    for start in (greedy, np.arange(5), np.arange(7, 12)):
        assert_array_equal(swap_bits(scale * q, scale * G, start), swap_bits(q, G, start))


# --- Signed square root ---------------------------------------------------------------------


def test_signed_sqrt_and_norm():
    X = np.array([[4.0, -9.0, 0.0], [0.0, 0.0, 0.0]], dtype=np.float32)
    out = sqrt_norm().fit_transform(X)
    assert out.dtype == np.float32
    assert_allclose(out, [[2 / 13**0.5, -3 / 13**0.5, 0], [0, 0, 0]], rtol=1e-6)
    S = sparse.csr_array(X)
    assert sparse.issparse(sqrt_norm().fit_transform(S))
    assert_array_equal(sqrt_norm().fit_transform(S).toarray(), out)
    assert_array_equal(S.toarray(), X)
    assert signed_sqrt(sparse.csr_array([[1, 0, 4]])).toarray().tolist() == [[1.0, 0.0, 2.0]]


def test_sqrt_norm_clones_and_pickles():
    X = np.random.default_rng(6).standard_normal((5, 3))
    transformer = sqrt_norm().fit(X)
    expected = transformer.transform(X)
    assert_array_equal(pickle.loads(pickle.dumps(transformer)).transform(X), expected)
    assert_array_equal(clone(transformer).fit_transform(X), expected)
    assert list(transformer.get_feature_names_out(["a", "b", "c"])) == ["a", "b", "c"]
