"""Bits coupled by a quadratic: one pass is exact bit by bit, and blocks change nothing."""

import numpy as np
import pytest

from sklearn_cmh.solvers import _cyclic, cyclic_bits, sign


def values(B, Q, N):
    """``b Q b' - 2 b n'`` of every row."""
    return np.einsum("ij,jk,ik->i", B, Q, B) - 2 * np.sum(B * N, axis=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_single_bit_is_better_turned(dtype):
    rng = np.random.RandomState(0)
    A, N = rng.randn(5, 5), rng.randn(60, 5).astype(dtype)
    Q, start = A @ A.T, sign(rng.randn(60, 5)).astype(dtype)
    codes = cyclic_bits(start, Q, N, n_passes=50)
    assert codes.dtype == dtype and (np.abs(codes) == 1).all()
    assert (values(codes, Q, N) <= values(start, Q, N) + 1e-5).all()
    for j in range(5):
        turned = codes.copy()
        turned[:, j] *= -1
        assert (values(codes, Q, N) <= values(turned, Q, N) + 1e-5).all()


def test_every_bit_sees_those_before_it():
    """Of whole numbers, whose sums are exact and often zero."""
    rng = np.random.RandomState(0)
    A, N = rng.randint(-2, 3, size=(40, 40)), rng.randint(-5, 6, size=(30, 40)).astype(float)
    N[N == 0] = -0.0
    others = A + A.T
    np.fill_diagonal(others, 0)
    start = sign(rng.randn(30, 40))
    expected, drawn = start.copy(), []
    for _ in range(2):
        for j in range(40):
            drawn.append(N[:, j] - expected @ others[:, j])
            expected[:, j] = sign(drawn[-1])
    assert (np.array(drawn) == 0).any()
    np.testing.assert_array_equal(cyclic_bits(start, A + A.T, N, n_passes=2), expected)


def test_blocks_of_rows_do_not_show(monkeypatch):
    rng = np.random.RandomState(0)
    A, N, start = rng.randn(6, 6), rng.randn(50, 6), sign(rng.randn(50, 6)).astype(float)
    whole = cyclic_bits(start, A @ A.T, N)
    monkeypatch.setattr(_cyclic, "_BLOCK_ROWS", 7)
    np.testing.assert_array_equal(cyclic_bits(start, A @ A.T, N), whole)
