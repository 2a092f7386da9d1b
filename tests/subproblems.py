"""Checks that an update minimises what it is said to minimise, all other variables fixed."""

import itertools

import numpy as np
import pytest
from scipy import sparse


def labels(n, n_classes, rng):
    """Indicator of rows with one label or several, and one class that never occurs."""
    L = (rng.rand(n, n_classes + 1) < 0.4).astype(np.int8)
    L[:, -1] = 0
    L[L.sum(axis=1) == 0, 0] = 1
    return sparse.csr_array(L)


def assert_lowest_point(value, x, rng, rtol=1e-8):
    """Whether x is the lowest point of a quadratic: curved upwards, and without slope.

    Differences of a quadratic are exact, so that steps can be as large as x.
    """
    for _ in range(10):
        step = rng.randn(*x.shape) * (np.abs(x).mean() + 1e-6)
        up, here, down = value(x + step), value(x), value(x - step)
        curvature = up + down - 2 * here
        assert curvature > 0
        assert abs(up - down) <= rtol * curvature + 1e-11 * abs(here)


def assert_best_codes(value, B):
    """Whether no other code of any row is better; rows do not depend on each other."""
    here = value(B)
    for i in range(len(B)):
        for code in itertools.product([-1.0, 1.0], repeat=B.shape[1]):
            other = B.copy()
            other[i] = code
            assert here <= value(other) + 1e-9 * abs(here)


def assert_no_bit_is_better_turned(value, B):
    """Whether the codes cannot be improved by turning one bit."""
    here = value(B)
    for i, j in np.ndindex(*B.shape):
        other = B.copy()
        other[i, j] *= -1
        assert here <= value(other) + 1e-9 * abs(here)


def assert_never_rises(values):
    """Whether a trace falls, but for rounding."""
    values = np.asarray(values)
    assert len(values) > 1 and np.isfinite(values).all()
    assert (np.diff(values) <= 1e-9 * np.abs(values[0])).all()
    assert values[-1] < values[0]


def approx(value):
    """Equal but for rounding."""
    return pytest.approx(value, rel=1e-10)
