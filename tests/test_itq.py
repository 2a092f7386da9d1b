"""Iterative quantisation."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from sklearn_cmh.solvers import Sweeps, _itq, itq_rotation


@pytest.fixture
def V():
    rng = np.random.RandomState(0)
    return rng.randn(300, 6) * [5.0, 4.0, 3.0, 2.0, 1.0, 0.1]


@pytest.mark.parametrize("n_bits", [3, 6, 20])
def test_loss_never_rises(V, n_bits):
    sweeps = Sweeps(30, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        itq_rotation(V, n_bits, np.random.RandomState(0), sweeps)
    assert (np.diff(sweeps.objective) <= 1e-12).all()
    assert sweeps.objective[-1] < sweeps.objective[0]


def test_fewer_bits_take_the_leading_directions(V):
    R = itq_rotation(V, 3, np.random.RandomState(0))
    np.testing.assert_allclose(R.T @ R, np.eye(3), atol=1e-10)
    leading = np.linalg.svd(V, full_matrices=False)[2][:3]
    np.testing.assert_allclose(leading.T @ leading @ R, R, atol=1e-10)


def test_more_bits_than_directions(V):
    """Rows are orthonormal, so that norms and inner products of rows are kept."""
    R = itq_rotation(V, 20, np.random.RandomState(0))
    np.testing.assert_allclose(R @ R.T, np.eye(6), atol=1e-10)
    R = itq_rotation(np.hstack([V, V]), 20, np.random.RandomState(0))
    assert np.linalg.matrix_rank(R) == 6


def test_no_rotation_in_the_plane_is_better():
    """Against all rotations of two directions, from the best of some starts."""
    rng = np.random.RandomState(0)
    V = rng.randn(200, 2) * [2.0, 1.0]
    found = min(
        _itq.quantisation_loss(V @ itq_rotation(V, 2, np.random.RandomState(seed)))
        for seed in range(5)
    )
    angles = np.linspace(0, np.pi, 1000)
    turned = (V @ np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in angles)
    assert found <= min(_itq.quantisation_loss(Z) for Z in turned) + 1e-3


def test_many_rows_are_sampled(V, monkeypatch):
    monkeypatch.setattr(_itq, "_MOST_ROWS", 100)
    assert itq_rotation(V, 4, np.random.RandomState(0)).shape == (6, 4)


def test_rows_of_zeros():
    assert np.isfinite(itq_rotation(np.zeros((5, 3)), 4, np.random.RandomState(0))).all()


def test_signs_of_principal_directions_do_not_matter(V, monkeypatch):
    """They are those of eigenvectors, which differ between processors."""
    expected = itq_rotation(V, 4, np.random.RandomState(0))
    eigh = _itq.linalg.eigh

    def turned(A, **options):
        values, vectors = eigh(A, **options)
        return values, vectors * np.where(np.arange(len(values)) % 2, -1.0, 1.0)

    monkeypatch.setattr(_itq.linalg, "eigh", turned)
    np.testing.assert_array_equal(itq_rotation(V, 4, np.random.RandomState(0)), expected)


def test_directions_that_vary_alike_do_not_depend_on_the_processor(monkeypatch):
    """Of classes of one size any basis is one of eigenvectors, and kernels find different ones."""
    V = np.eye(7)[np.arange(210) % 7] - 1 / 7
    expected = itq_rotation(V, 8, np.random.RandomState(0))
    eigh = _itq.linalg.eigh
    Q = np.linalg.qr(np.random.RandomState(1).randn(6, 6))[0]

    def turned(A):
        values, vectors = eigh(A)
        vectors[:, 1:] = vectors[:, 1:] @ Q  # the first is that of the eigenvalue 0
        return values, vectors

    monkeypatch.setattr(_itq.linalg, "eigh", turned)
    found = itq_rotation(V, 8, np.random.RandomState(0))
    np.testing.assert_allclose(found, expected, atol=1e-10)
