"""Many rows: mapped features outside of memory, passes over parts of the rows, memory."""

import gc
import tracemalloc
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_cmh import AAH, ASCMH, DSAH, AnchorRBF, MultimodalData
from sklearn_cmh.features import (
    MappedRows,
    ScaledRows,
    StoredRows,
    _mapped_rows,
    stored_features,
)
from sklearn_cmh.shallow import ALECH, BATCH, DCH, LEMON, SCRATCH, SRLCH, _aah, _dsah
from sklearn_cmh.solvers import (
    _linalg,
    _orthogonal,
    _similarities,
    complete_labels,
    cross,
    dot,
    gram,
    orthonormal_basis,
    squared_norm,
    weighted_sum,
)

NO_MEMORY = {"working_memory": 0}


def codes_of(hasher, X, y):
    """Codes, projections and objective of a fit; the objective settles or not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hasher.fit(X, y)
    return hasher.codes_, hasher.projections_, hasher.objective_


@pytest.mark.parametrize(
    "hasher",
    [
        DSAH(8, n_anchors=40, random_state=0),
        DSAH(8, n_anchors=40, solver="alm", random_state=0),
        DSAH(8, n_anchors=40, pair_weight=0.3, random_state=0),
        ASCMH(8, n_anchors=40, random_state=0),
        BATCH(8, n_anchors=40, pair_weight=0.3, random_state=0),
        *(
            method(8, n_anchors=40, random_state=0)
            for method in (ALECH, DCH, LEMON, SCRATCH, SRLCH)
        ),
        AAH(8, random_state=0),
        AAH(8, pair_weight=0.3, n_neighbors=5, random_state=0),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_features_outside_of_memory_give_the_same_codes(hasher, paired, dtype):
    X = MultimodalData(**{name: block.astype(dtype) for name, block in paired.blocks.items()})
    y = paired.y.copy()
    if getattr(hasher, "pair_weight", 0):
        y[:20] = -1
    expected = codes_of(hasher, X, y)
    with config_context(**NO_MEMORY):
        codes, projections, objective = codes_of(hasher, X, y)
    np.testing.assert_array_equal(codes, expected[0])
    for name, P in projections.items():
        assert P.dtype == dtype
        scale = np.abs(P).max()
        np.testing.assert_allclose(P, expected[1][name], rtol=1e-3, atol=1e-4 * scale)
    np.testing.assert_allclose(objective, expected[2], rtol=1e-5)


def test_rows_in_a_file_are_the_rows_in_memory():
    X = np.random.RandomState(0).rand(50, 4).astype(np.float32)
    expected = AnchorRBF(20, random_state=0).fit_transform(X)
    with config_context(**NO_MEMORY):
        F = stored_features(AnchorRBF(20, random_state=0), X)
    assert isinstance(F, StoredRows) and F.shape == (50, 20) and F.dtype == np.float32
    np.testing.assert_array_equal(F[:], expected)
    for rows in ([3, 1, 1], slice(7, 9), slice(-3, None), slice(9, 3), slice(1, None, 2)):
        np.testing.assert_array_equal(F[rows], expected[rows])
    np.testing.assert_allclose(F.mean(axis=0), expected.mean(axis=0), atol=1e-8)
    B = np.ones((50, 3), dtype=np.float32)
    for product, same in [
        (cross(F, B), cross(expected, B)),
        (cross(B, F), cross(B, expected)),
        (dot(F, np.ones((20, 2))), dot(expected, np.ones((20, 2)))),
        (gram(F), gram(expected)),
        (squared_norm(F), squared_norm(expected)),
    ]:
        np.testing.assert_array_equal(product, same)


def test_a_file_is_closed_with_its_rows():
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        F = StoredRows((2, 3), np.float64)
        F[0:2] = np.ones((2, 3))
        file = F._file
        del F
        gc.collect()
    assert file.closed


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", [{}, {"with_mean": False}, {"with_std": False}])
def test_rows_scaled_when_they_are_read_are_what_the_scaler_gives(dtype, options):
    X = (np.random.RandomState(0).randn(50, 4) * [1, 10, 0, 1e-3] + [0, 5, 7, 0]).astype(dtype)
    before, scaler = X.copy(), StandardScaler(copy=False, **options)
    with config_context(**NO_MEMORY):
        F = stored_features(scaler, X)
    assert isinstance(F, ScaledRows) and F.shape == (50, 4) and F.dtype == dtype
    np.testing.assert_array_equal(X, before)
    # Not all versions of scikit-learn round means and scales to float32 before they use them.
    expected = scaler.transform(X.copy())
    scale = 1.0 if scaler.scale_ is None else scaler.scale_
    rounding = 2 * np.finfo(dtype).eps * (np.abs(X) + np.abs(X.mean(axis=0))) / scale
    assert (np.abs(F[:] - expected) <= rounding).all()
    for rows in ([3, 1, 1], slice(7, 9), slice(9, 3), slice(1, None, 2)):
        np.testing.assert_array_equal(F[rows], F[:][rows])
    assert F.largest == np.abs(F[:]).max()


@pytest.mark.parametrize(
    ("method", "kind"), [(AAH(8), ScaledRows), (AAH(8, pair_weight=0.3, n_neighbors=5), np.ndarray)]
)
def test_columns_are_scaled_when_read_unless_arrays_are_needed(
    method, kind, paired, monkeypatch, tmp_path
):
    seen, solve = [], AAH._solve

    def watched(self, features, *args):
        seen.append({type(F) for F in features.values()})
        return solve(self, features, *args)

    monkeypatch.setattr(AAH, "_solve", watched)
    method.set_params(random_state=0)
    first = codes_of(method, MultimodalData(**paired.blocks), paired.y)
    method.set_params(memory=str(tmp_path))
    second = codes_of(method, MultimodalData(**paired.blocks), paired.y)
    assert seen == [{kind}, {np.ndarray}]
    np.testing.assert_array_equal(first[0], second[0])


@pytest.mark.parametrize("n", [2, 256, 513, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", [{}, {"with_mean": False}, {"with_std": False}])
def test_a_scaler_that_sees_parts_learns_what_it_learns_of_all(n, dtype, options):
    X = (np.random.RandomState(0).randn(n, 4) * [1, 10, 0, 1e-3] + [0, 1e4, 7.1, 0]).astype(dtype)
    found = _mapped_rows.fit_by_parts(StandardScaler(**options), X)
    expected = StandardScaler(**options).fit(X)
    assert vars(found).keys() == vars(expected).keys()
    assert found.n_samples_seen_ == n and found.n_features_in_ == 4
    np.testing.assert_allclose(found.mean_, expected.mean_, rtol=1e-12)
    if found.with_std:
        np.testing.assert_allclose(found.scale_, expected.scale_, rtol=1e-9)
        np.testing.assert_allclose(found.var_, expected.var_, rtol=1e-9, atol=1e-12)
        assert found.scale_[2] == 1  # constant


def test_rows_whose_scaled_values_overflow_are_refused_outside_of_memory_too(paired):
    image = paired.image.astype(np.float32)
    image[0], image[1] = 3e38, -3e38
    hasher = AAH(8, feature_map=StandardScaler(with_std=False))
    for memory in ({}, NO_MEMORY):
        with config_context(**memory), pytest.raises(ValueError, match=r"'image'.*(infinity|near)"):
            hasher.fit(MultimodalData(image=image, text=paired.text.astype(np.float32)), paired.y)


def test_without_room_for_a_file_features_are_made_anew(monkeypatch, paired):
    def full(self, rows, values):
        raise OSError(28, "No space left on device")

    hasher = DSAH(8, n_anchors=40, random_state=0)
    X = MultimodalData(**paired.blocks)
    expected = hasher.fit(X, paired.y).codes_
    monkeypatch.setattr(StoredRows, "__setitem__", full)
    with config_context(**NO_MEMORY), pytest.warns(UserWarning, match="TMPDIR"):
        np.testing.assert_array_equal(hasher.fit(X, paired.y).codes_, expected)
    with config_context(**NO_MEMORY), pytest.warns(UserWarning, match="No space left"):
        assert isinstance(stored_features(FunctionTransformer(), paired.image), MappedRows)


def test_maps_that_give_no_numbers_are_refused_outside_of_memory_too(paired):
    def spoil(X):
        return np.where(X > 0, np.nan, X)

    hasher = DSAH(8, feature_map=FunctionTransformer(spoil), random_state=0)
    message = "'image' returned what no.*NaN.*rescale the modality, by MaxAbsScaler"
    with config_context(**NO_MEMORY), pytest.raises(ValueError, match=message):
        hasher.fit(MultimodalData(**paired.blocks), paired.y)
    assert not hasattr(hasher, "codes_")


def test_labels_are_completed_from_rows_in_a_file(paired):
    L = AAH(4).fit(paired.X, paired.indicator).labels_
    L = L.multiply((np.arange(len(paired.y)) > 30)[:, None]).tocsr()
    L.eliminate_zeros()
    F = [paired.image, paired.text]
    expected = complete_labels(L, F)
    with config_context(**NO_MEMORY):
        stored = [stored_features(FunctionTransformer(), f) for f in F]
    assert all(isinstance(f, StoredRows) for f in stored)
    np.testing.assert_allclose(complete_labels(L, stored).toarray(), expected.toarray())


@pytest.mark.parametrize("rank", [6, 3, 0])
@pytest.mark.parametrize("decades", [0, 9])
def test_basis_of_many_rows_is_the_maximiser(rank, decades):
    rng = np.random.RandomState(0)
    scales = np.logspace(0, -decades, max(rank, 1))[:rank]
    Z = (rng.randn(5000, rank) * scales) @ rng.randn(rank, 6)
    given = Z + 3.0
    V = orthonormal_basis(given, rng)
    np.testing.assert_array_equal(given, Z + 3.0)
    np.testing.assert_allclose(V.T @ V, 5000 * np.eye(6), atol=1e-7)
    np.testing.assert_allclose(V.sum(axis=0), 0, atol=1e-8)
    largest = np.sqrt(5000) * np.linalg.svd(Z - Z.mean(axis=0), compute_uv=False).sum()
    assert np.sum(V * Z) == pytest.approx(largest, rel=1e-10, abs=1e-6)
    if rank == 6 and decades == 0:
        U, _, Wt = np.linalg.svd(Z - Z.mean(axis=0), full_matrices=False)
        np.testing.assert_allclose(V, np.sqrt(5000) * U @ Wt, atol=1e-9)


@pytest.mark.parametrize("n", [50, 5000])
@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_basis_does_not_depend_on_the_scale(n, scale):
    """Nor do directions that are drawn, where Z has not full rank."""
    rng = np.random.RandomState(0)
    Z = rng.randn(n, 3) @ rng.randn(3, 6)
    V, scaled = (orthonormal_basis(A, np.random.RandomState(1)) for A in (Z, scale * Z))
    np.testing.assert_allclose(scaled.T @ scaled, n * np.eye(6), atol=1e-10 * n)
    np.testing.assert_allclose(scaled.sum(axis=0), 0, atol=1e-10 * n)
    assert np.sum(scaled * Z) == pytest.approx(np.sum(V * Z), rel=1e-9)


def test_no_basis_of_what_is_no_number():
    Z = np.ones((5000, 2))
    Z[7] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        orthonormal_basis(Z, np.random.RandomState(0))


def test_means_however_large_do_not_change_the_basis():
    rng = np.random.RandomState(0)
    Z = (rng.randn(5000, 6) * np.logspace(0, -2, 6)) @ rng.randn(6, 6)
    V, moved = (orthonormal_basis(A, np.random.RandomState(1)) for A in (Z, Z + 1e4 * rng.rand(6)))
    np.testing.assert_allclose(moved, V, atol=1e-7)


@pytest.mark.parametrize("n", [50, 5000])
def test_basis_of_constant_columns_is_centred(n):
    rng = np.random.RandomState(0)
    for scale in [1e-7, 1, 1e7]:
        V = orthonormal_basis(np.tile(scale * rng.randn(6), (n, 1)), rng)
        np.testing.assert_allclose(V.T @ V, n * np.eye(6), atol=1e-10 * n)
        np.testing.assert_allclose(V.sum(axis=0), 0, atol=1e-10 * n)


def test_basis_in_the_memory_of_what_it_is_made_of():
    Z = np.random.RandomState(0).randn(5000, 6)
    V = orthonormal_basis(Z, np.random.RandomState(1))
    taken = orthonormal_basis(Z, np.random.RandomState(1), overwrite=True)
    np.testing.assert_array_equal(taken, V)
    assert np.shares_memory(taken, Z)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weighted_sums_in_strips(dtype):
    A, B, C = np.random.RandomState(0).randn(3, 9000, 7).astype(dtype)
    total = weighted_sum((2, A), (-0.25, B), (1, C))
    assert total.dtype == dtype
    rounding = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(total, 2 * A - B / 4 + C, rtol=rounding, atol=rounding)


def peak_of_a_fit(hasher, n):
    """Bytes that a fit takes beside its input."""
    rng = np.random.RandomState(0)
    y = rng.randint(5, size=n)
    X = MultimodalData(
        image=(rng.rand(5, 10)[y] + rng.rand(n, 10)).astype(np.float32),
        text=(rng.rand(5, 10)[y] + rng.rand(n, 10)).astype(np.float32),
    )
    tracemalloc.start()
    try:
        with config_context(working_memory=1):
            codes_of(hasher, X, y)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture
def small_blocks(monkeypatch):
    """Passes over rows in blocks that are small beside few rows, too."""
    monkeypatch.setattr(_similarities, "_BLOCK_ENTRIES", 2**15)
    monkeypatch.setattr(_orthogonal, "_MANY_ROWS", 256)
    for module in (_linalg, _orthogonal, _dsah, _aah, _mapped_rows):
        monkeypatch.setattr(module, "_BLOCK_ROWS", 256)


@pytest.mark.parametrize("method", [DSAH, ASCMH, BATCH])
def test_memory_of_a_fit_does_not_hold_the_features(method, small_blocks):
    """A row takes its codes and what else the solver has of them: not its 400 features."""
    hasher = method(4, n_anchors=200, max_iter=2, random_state=0)
    few, many = 2_000, 6_000
    growth = (peak_of_a_fit(hasher, many) - peak_of_a_fit(hasher, few)) / (many - few)
    assert growth < 500, f"{growth:.0f} bytes a row, of 1,600 of its features"


def peak(function):
    """Bytes that a call takes at most."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["memory map", "sparse"])
def test_encoding_takes_no_memory_but_for_codes(kind, tmp_path):
    rng = np.random.RandomState(0)
    dense = (rng.rand(12_000, 40) * (rng.rand(12_000, 40) < 0.2)).astype(np.float32)
    if kind == "sparse":
        X = sparse.csr_array(dense)
    else:
        np.save(tmp_path / "X.npy", dense)
        X = np.load(tmp_path / "X.npy", mmap_mode="r")
    hasher = DSAH(8, n_anchors=50, n_perturbations=0, max_iter=2, random_state=0)
    codes_of(hasher, MultimodalData(image=X[:300], text=dense[:300]), np.arange(300) % 3)
    few, many = 3_000, 12_000
    with config_context(working_memory=1):
        peaks = [peak(lambda n=n: hasher.encode(X[:n], modality="image")) for n in (few, many)]
    # Codes of the batches and of all rows; what is sliced off a sparse matrix besides.
    sliced = 80 if kind == "sparse" else 0
    assert peaks[1] - peaks[0] < (many - few) * (3 * 8 + sliced)


def test_memory_maps_are_fitted_as_arrays_are(paired, tmp_path):
    blocks = {}
    for name, block in paired.blocks.items():
        np.save(tmp_path / f"{name}.npy", block)
        blocks[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    X, mapped = MultimodalData(**paired.blocks), MultimodalData(**blocks)
    for hasher in (DSAH(8, n_anchors=40, random_state=0), AAH(8, feature_map="passthrough")):
        hasher.set_params(random_state=0)
        expected = codes_of(hasher, X, paired.y)[0]
        np.testing.assert_array_equal(codes_of(hasher, mapped, paired.y)[0], expected)
        np.testing.assert_array_equal(hasher.transform(mapped), hasher.transform(X))
