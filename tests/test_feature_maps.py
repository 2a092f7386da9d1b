"""AnchorRBF equals the kernel it stands for; rows do not depend on their batch."""

import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics.pairwise import euclidean_distances

from sklearn_cmh.features import AnchorRBF, stable_dot

FORMS = [np.asarray, np.asfortranarray, sparse.csr_array, sparse.csr_matrix, sparse.csc_array]
DTYPES = [np.float32, np.float64]


@pytest.fixture
def X():
    rng = np.random.RandomState(0)
    return rng.rand(300, 12) * (rng.rand(300, 12) < 0.4)


def features(X, indices, square, centre=True):
    K = np.exp(-euclidean_distances(X, X[indices], squared=True) / (2 * square))
    return K - K.mean(axis=0) if centre else K


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0, 100])
def test_is_the_kernel(X, form, dtype, offset):
    rows = form((X + offset).astype(dtype))
    rbf = AnchorRBF(50, random_state=0).fit(rows)
    F = rbf.transform(rows)
    distances = euclidean_distances(X, X[rbf.anchor_indices_], squared=True)
    assert F.shape == (300, 50) and F.dtype == dtype
    assert rbf.width_**2 == pytest.approx(distances.mean(), rel=1e-4)
    expected = features(X, rbf.anchor_indices_, distances.mean())
    np.testing.assert_allclose(F, expected, atol=1e-5 if dtype == np.float32 else 1e-9)
    np.testing.assert_array_equal(AnchorRBF(50, random_state=0).fit_transform(rows), F)
    assert len(np.unique(rbf.anchor_indices_)) == 50


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_width(X, form):
    rows = form(X)
    mean_rule = AnchorRBF(50, random_state=0).fit(rows).width_
    half = AnchorRBF(50, width_factor=0.25, random_state=0).fit(rows)
    assert half.width_ == pytest.approx(mean_rule / 2)
    plain = AnchorRBF(50, width=0.7, centre=False, random_state=0).fit(rows)
    assert plain.width_ == 0.7 and plain.mean_ is None
    expected = features(X, plain.anchor_indices_, 0.49, centre=False)
    np.testing.assert_allclose(plain.transform(rows), expected)
    np.testing.assert_array_equal(plain.fit_transform(rows), plain.transform(rows))


@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_and_sparse_rows_have_the_same_features(X, dtype):
    for fitted_on in (X, sparse.csr_array(X)):
        rbf = AnchorRBF(50, random_state=0).fit(fitted_on.astype(dtype))
        np.testing.assert_array_equal(
            rbf.transform(sparse.csr_array(X.astype(dtype))), rbf.transform(X.astype(dtype))
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", [np.asarray, np.asfortranarray, sparse.csr_array])
def test_rows_do_not_depend_on_their_batch(dtype, form):
    rng = np.random.RandomState(0)
    A, B = form(rng.randn(1000, 70).astype(dtype)), rng.randn(70, 32).astype(dtype)
    rbf = AnchorRBF(90, random_state=0).fit(A)
    product, mapped = stable_dot(A, B), rbf.transform(A)
    # Some BLAS kernels for float64 sum differently at different places of a block.
    rtol = 0 if dtype == np.float32 or sparse.issparse(A) else 1e-13
    for size in (1, 2, 7, 64, 333):
        rows = rng.permutation(1000)[:size]
        np.testing.assert_allclose(stable_dot(A[rows], B), product[rows], rtol=rtol, atol=rtol)
        np.testing.assert_allclose(rbf.transform(A[rows]), mapped[rows], rtol=rtol, atol=rtol)
    np.testing.assert_allclose(product, A @ B, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", [1, 64, 65])
def test_stable_dot_has_the_common_dtype(n):
    A, B = np.ones((n, 3), dtype=np.float32), np.ones((3, 2))
    assert stable_dot(A, B).dtype == np.float64
    assert stable_dot(A, B.astype(np.float32)).dtype == np.float32
    np.testing.assert_array_equal(stable_dot(A, B), 3)


def test_more_anchors_than_rows(X):
    with pytest.warns(UserWarning, match="n_anchors=1000"):
        rbf = AnchorRBF(random_state=0).fit(X)
    assert rbf.transform(X[:2]).shape == (2, 300)
    assert len(rbf.get_feature_names_out()) == 300
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AnchorRBF(300).fit(X)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_rows(form, dtype):
    rbf = AnchorRBF(5).fit(form(np.full((30, 3), 0.1, dtype=dtype)))
    assert rbf.width_ == 1.0
    np.testing.assert_array_equal(rbf.transform(form(np.full((2, 3), 0.1, dtype=dtype))), 0)
    assert np.isfinite(rbf.transform(np.ones((2, 3)))).all()


@pytest.mark.parametrize("scale", [1e-12, 1e12])
@pytest.mark.parametrize("dtype", DTYPES)
def test_scale_does_not_matter(X, scale, dtype):
    rows = X.astype(dtype)
    F = AnchorRBF(50, random_state=0).fit_transform(rows)
    np.testing.assert_allclose(
        AnchorRBF(50, random_state=0).fit_transform(rows * dtype(scale)), F, atol=1e-5
    )


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_width_gives_finite_features_or_is_refused(X, form, dtype):
    rows, refused = form(X.astype(dtype)), []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for exponent in range(0, 323, 2):
            rbf = AnchorRBF(5, width=10.0**-exponent, random_state=0)
            try:
                assert np.isfinite(rbf.fit(rows).transform(rows)).all()
            except ValueError as error:
                assert "is too small" in str(error) and not hasattr(rbf, "anchors_")
                refused.append(exponent)
    # From one width downwards; sparse rows are mapped in float64.
    assert refused == list(range(refused[0], 323, 2))
    assert refused[0] in ([20] if dtype == np.float32 and form is np.asarray else [154])
    with pytest.raises(ValueError, match="Raise width or width_factor"):
        AnchorRBF(5, width=1e-100, width_factor=1e-200).fit(rows)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_input_is_not_written_to(X, form):
    rows = form(X)
    (rows.data if sparse.issparse(rows) else rows).flags.writeable = False
    AnchorRBF(50).fit(rows).transform(rows)
    AnchorRBF(50).fit_transform(rows)


def test_memory_is_bounded():
    X = np.random.RandomState(0).rand(4000, 300)
    rbf = AnchorRBF(100, random_state=0)
    tracemalloc.start()
    rbf.fit(X)
    peak_fit = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    rbf.transform(X)
    peak_transform = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The output has 3.2 MB, the input 9.6 MB, all differences would have 960 MB.
    assert peak_fit < 3e6
    assert peak_transform < 3.2e6 + 3e6


def test_clone_and_pickle(X):
    rbf = AnchorRBF(20, random_state=0).fit(X)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(rbf)).transform(X), clone(rbf).fit_transform(X)
    )
