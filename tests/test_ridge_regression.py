"""Products and regressions on features of any kind, in float64."""

import numpy as np
import pytest
from scipy import sparse

from sklearn_cmh.solvers import RidgeRegression, _linalg, cross, gram, ridge_projection, ridge_solve


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_in_blocks(kind, dtype, monkeypatch):
    rng = np.random.RandomState(0)
    F, A = (1e3 * rng.randn(50, 4)).astype(dtype), rng.randn(50, 3)
    monkeypatch.setattr(_linalg, "_BLOCK_ROWS", 7)
    product = cross(kind(F), A)
    assert product.dtype == np.float64
    np.testing.assert_allclose(product, F.astype(float).T @ A, rtol=1e-12)
    G = gram(kind(F))
    assert G.dtype == np.float64
    np.testing.assert_array_equal(G, G.T)
    np.testing.assert_allclose(G, F.astype(float).T @ F.astype(float), rtol=1e-12)


def test_regression_is_the_least_penalised():
    rng = np.random.RandomState(0)
    F, B = rng.randn(30, 5), np.where(rng.randn(30, 3) > 0, 1, -1)
    P = RidgeRegression(F, 0.5).projection(B)
    np.testing.assert_allclose(F.T @ (F @ P - B) + 0.5 * P, 0, atol=1e-10)
    np.testing.assert_array_equal(P, ridge_projection(F, B, 0.5))
    np.testing.assert_allclose(P, ridge_solve(F.T @ F, 0.5, F.T @ B))
    assert RidgeRegression(F.astype(np.float32), 0.5).projection(B).dtype == np.float32
