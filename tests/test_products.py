"""Products are exact, so that no order of summation can tell rows apart."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from sklearn_cmh.features import stable_dot
from sklearn_cmh.solvers import clear_columns, fuse, project, sign, warn_constant_bits
from sklearn_cmh.utils._products import StableFactor, _rounded, _slices, relative_error

DTYPES = [np.float32, np.float64]


@pytest.fixture(params=DTYPES)
def factors(request):
    rng = np.random.RandomState(0)
    A = rng.standard_normal((1000, 70)) * np.exp(3 * rng.standard_normal((1000, 70)))
    return A.astype(request.param), rng.standard_normal((70, 33)).astype(request.param)


def test_rows_depend_on_nothing_but_themselves(factors):
    A, B = factors
    rng = np.random.RandomState(1)
    product = stable_dot(A, B)
    np.testing.assert_array_equal(stable_dot(np.asfortranarray(A), np.asfortranarray(B)), product)
    order = rng.permutation(70)
    np.testing.assert_array_equal(stable_dot(A[:, order], B[order]), product)
    for size in (1, 2, 7, 64, 333, 1000):
        rows, columns = rng.permutation(1000)[:size], rng.permutation(33)[:5]
        np.testing.assert_array_equal(stable_dot(A[rows], B), product[rows])
        np.testing.assert_array_equal(stable_dot(A[rows], B[:, columns]), product[rows][:, columns])
    for n_threads in (1, 2, 3):
        with threadpool_limits(n_threads):
            np.testing.assert_array_equal(stable_dot(A, B), product)


@pytest.mark.parametrize("d", [1, 2, 255, 257, 3000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_of_slices_are_whole_numbers_below_the_limit(d, dtype):
    """With all entries as large as can be, and of one sign, which no data exceeds."""
    factor = StableFactor(np.full((d, 2), 1 - 2.0**-20, dtype=dtype))
    whole = factor.high * 2.0**factor.bits if factor.n_slices == 1 else factor.high
    np.testing.assert_array_equal(whole, np.rint(whole))
    assert np.abs(whole).max() <= 2**factor.bits
    assert d * 2 ** (2 * factor.bits) <= 2**53
    (high, low), unit = _slices(np.full((3, d), np.pi), 1, factor.bits)
    assert np.abs(high).max() <= 2**factor.bits and np.abs(low).max() <= 0.5
    for part in [high, low * 2.0**factor.bits]:
        np.testing.assert_array_equal(part, np.rint(part))
    # What is left over is half a unit of the low slice.
    assert np.abs(np.pi - (high + low) * unit).max() <= 0.5 * 2.0**-factor.bits * unit.max()


@pytest.mark.parametrize("bits", [21, 22, 23, 25])
@pytest.mark.parametrize("power", [-140, -126, -90, 0, 90, 127])
@pytest.mark.parametrize("axis", [0, 1])
def test_one_slice_is_rounded_to_the_nearest_whole_number(bits, power, axis):
    rng = np.random.RandomState(0)
    A = np.ldexp(rng.uniform(-1, 1, (9, 50)) * rng.rand(9, 1), power)
    A[0] = 0
    A[1] = np.ldexp(np.round(2.0**bits * rng.rand(50)) + 0.5, power - bits)  # halves, to even ones
    A = A.astype(np.float32)
    largest = np.abs(A).max(axis=axis, keepdims=True).astype(np.float64)
    unit = np.ldexp(1.0, np.frexp(largest)[1] - bits)
    np.testing.assert_array_equal(_rounded(A, axis, bits), np.rint(A / unit) * unit)


def test_the_error_is_that_of_the_slices(factors):
    A, B = factors
    exact = A.astype(np.longdouble) @ B.astype(np.longdouble)
    factor = StableFactor(B)
    # Every entry is off by half a unit in the last slice, of A and of B; units are at most
    # 2^(1 - bits) of the largest entry.
    unit = 2.0 ** (1 - factor.bits * factor.n_slices)
    largest = np.abs(A).max(axis=1)[:, None] * np.abs(B).max(axis=0)
    bound = len(B) * largest * (unit + unit**2)
    rounding = np.finfo(A.dtype).eps * np.abs(exact)
    assert (np.abs(stable_dot(A, B) - exact) <= bound + rounding).all()
    assert len(B) * (unit + unit**2) < (1e-4 if A.dtype == np.float32 else 1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [0.45, -0.45])
def test_scale_does_not_matter(factors, dtype, share):
    A, B = (factor.astype(dtype) for factor in factors)
    scale = dtype(2.0 ** int(share * np.log2(np.finfo(dtype).max)))
    expected = stable_dot(A, B).astype(np.float64) * np.float64(scale)
    np.testing.assert_array_equal(stable_dot(A * scale, B), expected.astype(dtype))


@pytest.mark.parametrize("power", [-140, -110, 100])
def test_numbers_at_the_end_of_what_float32_holds(power):
    rng = np.random.RandomState(0)
    A, B = (rng.randint(-50, 50, size=(30, 30)).astype(np.float32) for _ in range(2))
    expected = np.ldexp(A.astype(np.float64) @ B, power).astype(np.float32)
    np.testing.assert_array_equal(stable_dot(np.ldexp(A, power), B), expected)


def test_zeros_and_sparse_rows(factors):
    A, B = factors
    A[::3] = 0
    B[:, 5] = 0
    product = stable_dot(A, B)
    assert not product[::3].any() and not product[:, 5].any()
    atol = (1e-5 if A.dtype == np.float32 else 1e-12) * np.abs(product).max()
    np.testing.assert_allclose(stable_dot(sparse.csr_array(A), B), product, rtol=0, atol=atol)


@pytest.mark.parametrize("n", [1, 100])
def test_the_common_dtype(n):
    A, B = np.ones((n, 3), dtype=np.float32), np.ones((3, 2))
    assert stable_dot(A, B).dtype == np.float64
    assert stable_dot(A, B.astype(np.float32)).dtype == np.float32
    np.testing.assert_array_equal(stable_dot(A, B), 3)


# Projections near zero.


@pytest.fixture(params=DTYPES)
def near_zero(request):
    """Rows that are orthogonal to all of P but for rounding, of either sign; P; and a step.

    Along the first column of P, of the size of the error of a product of rows of norm one.
    """
    P = np.random.RandomState(0).standard_normal((40, 6))
    orthogonal = np.linalg.qr(P, mode="complete")[0][:, 6:].T
    F = np.vstack([orthogonal, -orthogonal]).astype(request.param)
    P = P.astype(request.param)
    error = relative_error(len(P), request.param)
    step = P[:, 0] / np.linalg.norm(P[:, 0]) * request.param(error)
    return F, P, step


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_what_is_zero_but_for_rounding_counts_as_one(near_zero, make):
    F, P, step = near_zero
    assert 0.1 < (F @ P < 0).mean() < 0.9
    assert not project(make(F), P).any()
    for side in (-1, 1):
        beyond = project(make(F + side * 20 * step), P)
        np.testing.assert_array_equal(np.sign(beyond[:, 0]), side)


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_offsets_that_equal_the_product_but_for_rounding_count_as_one(make):
    rng = np.random.RandomState(0)
    F, P = rng.standard_normal((200, 70)), rng.standard_normal((70, 5))
    below_or_above = set()
    for row in F:
        # Summed in another order than the product.
        offset = np.array([sum(row[::-1] * P[::-1, j]) for j in range(5)])
        below_or_above |= set(np.sign(row @ P - offset))
        assert not project(make(row[None]), P, offset).any()
    assert below_or_above >= {-1.0, 1.0}


def test_codes_at_the_edge_of_zero_do_not_depend_on_other_rows(near_zero):
    F, P, step = near_zero
    rows = np.vstack(
        [F + side * width * step for side in (-1, 1) for width in np.linspace(0, 8, 17)]
    )
    rows = rows.astype(F.dtype)
    codes = sign(project(rows, P))
    assert 0.05 < (codes[:, 0] < 0).mean() < 0.5
    order = np.random.RandomState(1).permutation(len(rows))
    np.testing.assert_array_equal(sign(project(rows[order], P)), codes[order])
    np.testing.assert_array_equal(sign(project(np.asfortranarray(rows), P)), codes)
    for i in order[:50]:
        np.testing.assert_array_equal(sign(project(rows[i : i + 1], P))[0], codes[i])


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("share", [-0.8, -0.4, 0.4, 0.8])
def test_what_is_zero_but_for_rounding_does_not_depend_on_the_scale_of_rows(near_zero, make, share):
    F, P, step = near_zero
    rows = np.vstack([F + side * width * step for side in (-1, 1) for width in (0, 2, 4, 8)])
    rows = rows.astype(F.dtype)
    power = int(share * np.finfo(F.dtype).maxexp)
    expected = sign(project(make(rows), P))
    assert 0.05 < (expected[:, 0] < 0).mean() < 0.5
    np.testing.assert_array_equal(sign(project(make(np.ldexp(rows, power)), P)), expected)


# What tells rows apart.


@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_of_rounding_and_of_constant_bits_are_cleared(dtype):
    P = np.random.RandomState(0).standard_normal((30, 5)).astype(dtype)
    edge = np.sqrt(np.finfo(dtype).eps) * np.linalg.norm(P, axis=0).max()
    P[:, 1] *= dtype(0.9 * edge) / np.linalg.norm(P[:, 1])
    P[:, 2] *= dtype(1.1 * edge) / np.linalg.norm(P[:, 2])
    cleared = clear_columns(P, np.array([False, False, False, True, False]))
    assert cleared.dtype == dtype
    assert not cleared[:, [1, 3]].any()
    np.testing.assert_array_equal(cleared[:, [0, 2, 4]], P[:, [0, 2, 4]])
    assert not clear_columns(np.zeros_like(P), np.zeros(5, dtype=bool)).any()


@pytest.mark.parametrize(
    ("n_constant", "shown"),
    [(1, r"\(0\)"), (10, r"\(0, 1, .*, 9\)"), (11, r"\(0, 1, .*, 9, \.\.\.\)")],
)
def test_constant_bits_are_counted_and_the_first_ten_named(n_constant, shown):
    codes = np.ones((4, 15), dtype=np.int8)
    codes[2, n_constant:] = -1
    with pytest.warns(ConvergenceWarning, match=rf"{n_constant} of 15 bits {shown} are .* Cure\."):
        warn_constant_bits(codes, "Cure.")
    codes[1] = -1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_constant_bits(codes, "Cure.")


def test_fused_projections_are_their_mean():
    Z = np.random.RandomState(0).standard_normal((3, 5, 2))
    np.testing.assert_allclose(fuse(dict(zip("abc", Z, strict=True))), Z.mean(axis=0))
    with pytest.raises(ValueError, match="differ in their number of rows"):
        fuse({"a": Z[0], "b": Z[1][:4]})
