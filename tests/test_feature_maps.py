"""AnchorRBF equals the kernel it stands for; rows do not depend on their batch."""

import copy
import gc
import pickle
import tracemalloc
import warnings
import weakref

import joblib
import numpy as np
import pandas as pd
import pytest
from interruptions import interrupted_at_every_line
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from sklearn_cmh import DSAH
from sklearn_cmh.features import AnchorRBF, signed_sqrt, sqrt_norm
from sklearn_cmh.features._anchor_rbf import Kernel

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
    A = form(rng.randn(1000, 70).astype(dtype))
    rbf = AnchorRBF(90, random_state=0).fit(A)
    mapped = rbf.transform(A)
    for size in (1, 2, 7, 64, 333):
        rows = rng.permutation(1000)[:size]
        np.testing.assert_array_equal(rbf.transform(A[rows]), mapped[rows])


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


def kernel_by_differences(X, anchors, width):
    X, anchors = (A.astype(np.float64) / width for A in (X, anchors))
    return np.exp(-0.5 * np.square(X[:, None] - anchors).sum(axis=2))


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0, 10])
def test_kernel_is_right_at_every_width(X, form, dtype, offset):
    rows = (X[:100] + offset).astype(dtype)
    # Rows that are near one another too, at every distance.
    rows[50:] = rows[:50] + (10.0 ** -np.arange(1, 11).repeat(5))[:, None].astype(dtype) * X[:50]
    for exponent in range(0, 320, 6 if offset else 3):
        width = 10.0**-exponent
        rbf = AnchorRBF(40, width=width, centre=False, random_state=0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            F = rbf.fit_transform(form(rows))
        if rbf.width_ == width:
            assert not caught
        else:
            assert "so narrow that rounding" in str(caught[0].message)
            # A small share of the extent of the anchors.
            assert 0 < rbf.width_ < (2e-4 if offset or form is np.asarray else 2e-5)
        expected = kernel_by_differences(rows, rows[rbf.anchor_indices_], rbf.width_)
        np.testing.assert_allclose(F, expected, atol=2e-4)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_beyond_every_distance(X, form, dtype):
    rbf = AnchorRBF(20, width=1e-3, centre=False).fit(form(X.astype(dtype)))
    far = np.full((2, 12), np.finfo(dtype).max / 10)
    far[1] *= -1
    np.testing.assert_array_equal(rbf.transform(form(far.astype(dtype))), 0)


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
    with threadpool_limits(1):
        rbf.fit(X)
        peak_fit = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        rbf.transform(X)
        peak_transform = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The output has 3.2 MB, the input 9.6 MB, all differences would have 960 MB.
    # A block of 512 rows has 1.2 MB, a copy of the anchors 0.24 MB; every thread has one.
    assert peak_fit < 1e7
    assert peak_transform < 3.2e6 + 1e7


@pytest.mark.parametrize("form", FORMS)
def test_a_kernel_is_kept_as_long_as_it_is_that_of_the_map(X, form):
    rbf, other = (AnchorRBF(20, random_state=seed).fit(form(X)) for seed in range(2))
    rbf.transform(form(X))

    def is_fresh(dtype=np.float64):
        rows = form(X.astype(dtype))
        F, fresh = rbf.transform(rows), pickle.loads(pickle.dumps(rbf))
        return F.dtype == dtype and (F == fresh.transform(rows)).all()

    before = joblib.hash(vars(rbf))
    assert is_fresh(np.float32) and is_fresh()
    assert joblib.hash(vars(rbf)) == before
    rbf.width_ *= 2
    assert is_fresh()
    rbf.anchors_ = other.anchors_
    assert is_fresh()
    rbf.fit(form(X[:100]))
    assert is_fresh()


def test_a_kernel_goes_with_its_map(X):
    rbf = AnchorRBF(20, random_state=0).fit(X)
    kernel = weakref.ref(rbf._kernel(X.dtype))
    assert rbf._kernel(X.dtype) is kernel()
    del rbf
    gc.collect()
    assert kernel() is None


def test_clone_and_pickle(X):
    rbf = AnchorRBF(20, random_state=0).fit(X)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(rbf)).transform(X), clone(rbf).fit_transform(X)
    )


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(np.float32, scale) for scale in (1e-30, 1e-12, 1e12, 1e37)]
    + [(np.float64, scale) for scale in (1e-200, 1e-12, 1e155, 1e300)],
)
def test_scale_does_not_matter(X, form, scale, dtype):
    rows = X.astype(dtype)
    F = AnchorRBF(50, random_state=0).fit_transform(form(rows))
    assert F.std() > 0.01
    rbf = AnchorRBF(50, random_state=0)
    np.testing.assert_allclose(rbf.fit_transform(form(rows * dtype(scale))), F, atol=1e-5)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize(("dtype", "scale"), [(np.float32, 2e38), (np.float64, 1e-300)])
def test_numbers_at_the_end_of_their_dtype_are_refused(X, form, dtype, scale):
    rows = form((X / X.max()).astype(dtype) * dtype(scale))
    with pytest.raises(ValueError, match=f"too near the end of {np.dtype(dtype)}.*rescale"):
        AnchorRBF(50).fit(rows)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("dtype", DTYPES)
def test_constant_features_are_refused(X, form, dtype):
    """One outlier, or a width, that leaves the features of all other rows the same."""
    outlier = X.astype(dtype)
    outlier[7, 3] = 1e155 if dtype == np.float64 else 1e30
    cases = [
        ({}, outlier),
        ({"width_factor": 1e300}, X.astype(dtype)),
        ({"width": 1e12}, X.astype(dtype)),
    ]
    for parameters, rows in cases:
        rbf = AnchorRBF(50, random_state=0, **parameters)
        for fit in (rbf.fit, rbf.fit_transform):
            with pytest.raises(ValueError, match=r"same for nearly all rows.*rescale"):
                fit(form(rows))
            assert vars(rbf) == rbf.get_params()
    # A moderate outlier is one row among others.
    outlier[7, 3] = 100
    assert AnchorRBF(50, random_state=0).fit_transform(form(outlier)).std() > 1e-4


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_anchors": 0}, "'n_anchors' parameter of AnchorRBF"),
        ({"n_anchors": -5}, "'n_anchors' parameter of AnchorRBF"),
        ({"n_anchors": True}, "'n_anchors' parameter of AnchorRBF"),
        ({"width": np.inf}, "'width' parameter of AnchorRBF"),
        ({"width": np.nan}, "'width' parameter of AnchorRBF"),
        ({"width_factor": np.inf}, "'width_factor' parameter of AnchorRBF"),
        ({"centre": "no"}, "'centre' parameter of AnchorRBF"),
    ],
)
def test_parameters_are_validated_alone_and_inside(X, parameters, message):
    rbf, y = AnchorRBF(**parameters), np.arange(300) % 2
    for model in (rbf, DSAH(4, feature_map=rbf), DSAH(4, feature_map=make_pipeline(rbf))):
        with pytest.raises(ValueError, match=message):
            model.fit(X, y)


@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_an_interrupted_fit_is_none(X, method):
    """As before, or where the last line is interrupted as after, but never between."""
    frame = pd.DataFrame(X[:100]).add_prefix("x")
    after = joblib.hash(vars(AnchorRBF(5, random_state=0).fit(frame)))
    for start in (AnchorRBF(5, random_state=0), AnchorRBF(5, random_state=0).fit(X[200:, :4])):
        before, rbf, n_before = joblib.hash(vars(start)), copy.copy(start), 0
        for _ in interrupted_at_every_line(lambda m=rbf: getattr(m, method)(frame), Kernel.blocks):
            state = joblib.hash(vars(rbf))
            n_before += state == before
            assert state in (before, after)
            vars(rbf).update(vars(start))
            for name in vars(rbf).keys() - vars(start).keys():
                delattr(rbf, name)
        assert n_before > 20


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csr_matrix])
def test_duplicate_entries_count_as_their_sum(form):
    rng = np.random.RandomState(0)
    tokens = form((np.ones(900), rng.randint(0, 30, 900), np.arange(0, 901, 15)), shape=(60, 30))
    summed = form(tokens.toarray())
    rbf = AnchorRBF(20, random_state=0).fit(summed)
    np.testing.assert_array_equal(rbf.transform(tokens), rbf.transform(summed))
    again = AnchorRBF(20, random_state=0).fit_transform(tokens)
    np.testing.assert_array_equal(again, rbf.transform(summed))
    assert tokens.nnz == 900 and not tokens.has_sorted_indices


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "bsr", "dia"])
def test_roots_of_sums_not_sums_of_roots(form):
    X = sparse.coo_array(([4.0, 5.0, -4.0, 1.0], ([0, 0, 1, 1], [2, 2, 0, 1])), shape=(2, 3))
    given = (
        X.asformat(form)
        if form != "csr"
        else sparse.csr_array((X.data, X.coords[1], [0, 2, 4]), shape=X.shape)
    )
    stored = given.data.copy()
    roots = signed_sqrt(given)
    np.testing.assert_array_equal(roots.toarray(), [[0, 0, 3], [-2, 1, 0]])
    np.testing.assert_array_equal(sqrt_norm().fit_transform(given).toarray()[0], [0, 0, 1])
    np.testing.assert_array_equal(given.data, stored)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_anchors_that_are_centres_of_clusters(kind):
    """One in each of three clouds; with no fewer anchors than rows, all rows."""
    rng = np.random.RandomState(0)
    clouds = np.repeat(np.eye(3) * 10, 20, axis=0)
    X = kind(clouds + 0.1 * rng.randn(60, 3))
    fitted = AnchorRBF(3, sampling="kmeans", random_state=0).fit(X)
    anchors = fitted.anchors_.toarray() if sparse.issparse(X) else fitted.anchors_
    assert sparse.issparse(fitted.anchors_) == sparse.issparse(X)
    np.testing.assert_allclose(np.sort(anchors.max(axis=1)), 10, atol=0.2)
    assert fitted.anchor_indices_ is None and fitted.transform(X).shape == (60, 3)
    again = AnchorRBF(3, sampling="kmeans", random_state=0).fit_transform(X)
    np.testing.assert_array_equal(again, fitted.transform(X))
    assert len(AnchorRBF(60, sampling="kmeans").fit(X).anchor_indices_) == 60
