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


def test_blocks_of_rows_do_not_show(monkeypatch):
    rng = np.random.RandomState(0)
    A, N, start = rng.randn(6, 6), rng.randn(50, 6), sign(rng.randn(50, 6)).astype(float)
    whole = cyclic_bits(start, A @ A.T, N)
    monkeypatch.setattr(_cyclic, "_BLOCK_ROWS", 7)
    np.testing.assert_array_equal(cyclic_bits(start, A @ A.T, N), whole)
