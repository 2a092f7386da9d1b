"""Ridge canonical correlation from Gram matrices."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg, sparse

from sklearn_cmh.solvers import (
    _canonical,
    _moments,
    canonical_bases,
    centred_grams,
    column_means,
    fold_moments,
    out_of_fold_components,
    shared_bases,
)


def shared_signal(n=200, widths=(5, 7), n_shared=3, seed=0, noise=0.5):
    """Blocks of the given widths that share some directions."""
    rng = np.random.RandomState(seed)
    signal = rng.randn(n, n_shared)
    return [signal @ rng.randn(n_shared, q) + noise * rng.randn(n, q) + 3.0 for q in widths]


def centre(F):
    return F - F.mean(axis=0)


# --- Gram matrices ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kinds", [("dense", "dense"), ("sparse", "dense"), ("dense", "sparse"), ("sparse", "sparse")]
)
@pytest.mark.parametrize("block_entries", [2**22, 7])
def test_grams_equal_their_definition(kinds, block_entries, monkeypatch):
    monkeypatch.setattr(_moments, "_BLOCK_ENTRIES", block_entries)
    dense = shared_signal()
    blocks = [
        sparse.csr_array(F) if kind == "sparse" else F for F, kind in zip(dense, kinds, strict=True)
    ]
    grams = centred_grams(blocks)
    assert set(grams) == {(0, 0), (0, 1), (1, 1)}
    for (i, j), G in grams.items():
        np.testing.assert_allclose(G, centre(dense[i]).T @ centre(dense[j]) / 200, atol=1e-10)


def test_grams_of_float32_are_added_up_in_float64():
    blocks = [F.astype(np.float32) + np.float32(1000) for F in shared_signal()]
    copies = [F.copy() for F in blocks]
    exact = centred_grams([F.astype(np.float64) for F in blocks])
    for pair, G in centred_grams(blocks).items():
        assert G.dtype == np.float64
        np.testing.assert_allclose(G, exact[pair], rtol=1e-12, atol=1e-12)
    for F, copy in zip(blocks, copies, strict=True):
        np.testing.assert_array_equal(F, copy)
    assert column_means(sparse.csr_array(blocks[0])).shape == (5,)


# --- Two modalities --------------------------------------------------------------------------


@pytest.mark.parametrize("ridges", [(0.0, 0.0), (0.1, 2.0)])
def test_two_modalities_solve_the_definition(ridges):
    """Bases are orthonormal in the ridged metric, and the cross-product is diagonal."""
    grams = centred_grams(shared_signal())
    bases, rho = canonical_bases(grams, ridges, 5)
    for m, (W, r) in enumerate(zip(bases, ridges, strict=True)):
        G = grams[m, m]
        ridged = G + r * np.trace(G) / len(G) * np.eye(len(G))
        np.testing.assert_allclose(W.T @ ridged @ W, np.eye(5), atol=1e-9)
    np.testing.assert_allclose(bases[0].T @ grams[0, 1] @ bases[1], np.diag(rho), atol=1e-9)
    assert (np.diff(rho) <= 0).all()


def test_correlations_without_ridge_are_those_of_the_components():
    blocks = shared_signal()
    bases, rho = canonical_bases(centred_grams(blocks), [0.0, 0.0], 5)
    E = [F @ W for F, W in zip(blocks, bases, strict=True)]
    measured = [np.corrcoef(a, b)[0, 1] for a, b in zip(E[0].T, E[1].T, strict=True)]
    np.testing.assert_allclose(measured, rho, atol=1e-9)


def test_two_modalities_agree_with_the_generalised_problem():
    """The stacked eigenproblem of many modalities gives the same answer, up to signs."""
    crossed = {(0, 1): np.random.RandomState(0).randn(4, 6)}
    by_two, rho = _canonical._shared_by_two(crossed[0, 1], 4)
    by_many, eigenvalues = _canonical._shared_by_many(crossed, [4, 6], 4)
    np.testing.assert_allclose(eigenvalues, rho, atol=1e-10)
    for U, V in zip(by_two, by_many, strict=True):
        np.testing.assert_allclose(np.abs(U.T @ V), np.eye(4), atol=1e-9)


@pytest.mark.parametrize("ridges", [(0.0, 0.0), (0.1, 2.0)])
@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_the_scale_of_a_modality_does_not_matter(ridges, scale):
    first, second = shared_signal()
    bases, rho = canonical_bases(centred_grams([first, second]), ridges, 5)
    scaled, scaled_rho = canonical_bases(centred_grams([scale * first, second]), ridges, 5)
    np.testing.assert_allclose(scaled_rho, rho, rtol=1e-9)
    np.testing.assert_allclose(scale * scaled[0], bases[0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(scaled[1], bases[1], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("n_modalities", [2, 3])
@pytest.mark.parametrize("n_components", [1, 2, 4])
def test_of_components_that_correlate_alike_rounding_chooses_none(n_modalities, n_components):
    """As all do between equal modalities without a ridge, in whatever basis they are whitened."""
    rng = np.random.RandomState(0)
    F = rng.randn(8, 4)
    grams = centred_grams([F] * n_modalities)
    bases, rho = canonical_bases(grams, [0.0] * n_modalities, n_components)
    np.testing.assert_allclose(rho, 1)
    for W in bases:
        np.testing.assert_allclose(W, bases[0], atol=1e-9)
        np.testing.assert_allclose(W.T @ grams[0, 0] @ W, np.eye(n_components), atol=1e-9)
    for _ in range(5):
        noisy = {}
        for (i, j), G in grams.items():
            noise = 1e-14 * rng.randn(*G.shape)
            noisy[i, j] = G + (noise + noise.T if i == j else noise)
        again, _ = canonical_bases(noisy, [0.0] * n_modalities, n_components)
        for W, V in zip(again, bases, strict=True):
            np.testing.assert_allclose(W, V, atol=1e-9)


# --- Many modalities -------------------------------------------------------------------------


def test_three_modalities_maximise_the_sum_of_correlations():
    """The eigenvalue is that of the generalised problem over all features at once."""
    blocks = shared_signal(widths=(4, 5, 3))
    grams = centred_grams(blocks)
    ridges = [0.1, 0.2, 0.3]
    bases, correlations = canonical_bases(grams, ridges, 6)
    whole = centre(np.hstack(blocks))
    G = whole.T @ whole / len(whole)
    metric = np.zeros_like(G)
    for part, r in zip((slice(0, 4), slice(4, 9), slice(9, 12)), ridges, strict=True):
        own = G[part, part]
        metric[part, part] = own + r * np.trace(own) / len(own) * np.eye(len(own))
        G[part, part] = 0
    expected = linalg.eigh(G, metric, eigvals_only=True)[::-1][:6]
    np.testing.assert_allclose(correlations, (expected / 2).clip(0, 1), atol=1e-9)
    W = np.vstack(bases)
    np.testing.assert_allclose(W.T @ metric @ W, 3 * np.eye(6), atol=1e-9)


def test_order_of_modalities_changes_nothing_else():
    blocks = shared_signal(widths=(4, 5, 3))
    bases, rho = canonical_bases(centred_grams(blocks), [0.1, 0.2, 0.3], 2)
    turned, turned_rho = canonical_bases(centred_grams(blocks[::-1]), [0.3, 0.2, 0.1], 2)
    np.testing.assert_allclose(rho, turned_rho)
    for W, V in zip(bases, turned[::-1], strict=True):
        signs = np.sign((W * V).sum(axis=0))
        np.testing.assert_allclose(W, V * signs, atol=1e-8)


# --- Degenerate rows -------------------------------------------------------------------------


@given(
    seed=st.integers(0, 100),
    widths=st.lists(st.integers(1, 6), min_size=2, max_size=3),
    n_distinct=st.integers(1, 8),
    constant=st.booleans(),
    ridge=st.sampled_from([0.0, 1e-3, 1.0]),
)
def test_degenerate_rows_give_finite_bases(seed, widths, n_distinct, constant, ridge):
    """Duplicated rows, more features than rows, constant columns and constant modalities."""
    rng = np.random.RandomState(seed)
    rows = rng.randint(n_distinct, size=20)
    blocks = [rng.randn(n_distinct, q)[rows] for q in widths]
    if constant:
        blocks[0] = np.full_like(blocks[0], 7.0)
    n_components = 4
    bases, rho = canonical_bases(centred_grams(blocks), [ridge] * len(widths), n_components)
    c = len(rho)
    assert c <= n_components
    assert ((rho >= 0) & (rho <= 1)).all()
    for W, q, F in zip(bases, widths, blocks, strict=True):
        assert W.shape == (q, c)
        assert np.isfinite(W).all()
        # No direction is blown up: components have a variance of one at most, per modality.
        assert np.var(F @ W, axis=0).max(initial=0) <= len(widths) + 1e-6


def test_collinear_features_add_nothing():
    """A copied column and a constant one leave the components as they are."""
    image, text = shared_signal()
    wide = np.hstack([image, image[:, :1], np.ones((200, 1))])
    bases, rho = canonical_bases(centred_grams([image, text]), [0.0, 0.0], 5)
    wide_bases, wide_rho = canonical_bases(centred_grams([wide, text]), [0.0, 0.0], 5)
    np.testing.assert_allclose(rho, wide_rho, atol=1e-9)
    E, wide_E = centre(image) @ bases[0], centre(wide) @ wide_bases[0]
    np.testing.assert_allclose(np.abs(E), np.abs(wide_E), atol=1e-6)


def test_nothing_shared_gives_no_component():
    bases, rho = canonical_bases(centred_grams([np.ones((9, 3)), np.eye(9)]), [0.1, 0.1], 4)
    assert [W.shape for W in bases] == [(3, 0), (9, 0)]
    assert rho.shape == (0,)


# --- Folds -----------------------------------------------------------------------------------


FOLDS = np.random.RandomState(0).permutation(np.arange(200) % 3)


@pytest.mark.parametrize("kinds", [("dense", "dense"), ("sparse", "dense"), ("sparse", "sparse")])
def test_moments_of_folds_add_up(kinds):
    dense = shared_signal()
    blocks = [
        sparse.csr_array(F) if kind == "sparse" else F for F, kind in zip(dense, kinds, strict=True)
    ]
    parts = fold_moments(blocks, [column_means(F) for F in blocks], FOLDS)
    for pair, G in (parts[0] + parts[1] + parts[2]).centred_grams().items():
        np.testing.assert_allclose(G, centred_grams(dense)[pair], atol=1e-10)
    rest = (parts[0] + parts[1] + parts[2] - parts[1]).centred_grams()
    for pair, G in centred_grams([F[FOLDS != 1] for F in dense]).items():
        np.testing.assert_allclose(rest[pair], G, atol=1e-10)


@pytest.mark.parametrize("widths", [(5, 7), (4, 5, 3)])
def test_out_of_fold_correlations_equal_refitting(widths):
    """Bases of the other rows, turned onto those of all rows, applied to the rows left out."""
    features = shared_signal(widths=widths)
    ridges = [0.1] * len(widths)
    bases, _ = canonical_bases(centred_grams(features), ridges, 3)
    components = [np.empty((200, 3)) for _ in features]
    for fold in range(3):
        out = fold == FOLDS
        means = [F[~out].mean(axis=0) for F in features]
        refitted, _ = canonical_bases(centred_grams([F[~out] for F in features]), ridges, 3)
        old = np.vstack(
            [(F[~out] - m) @ W for F, m, W in zip(features, means, refitted, strict=True)]
        )
        new = np.vstack([(F[~out] - m) @ W for F, m, W in zip(features, means, bases, strict=True)])
        Q, _ = linalg.orthogonal_procrustes(old, new)
        for E, F, m, W in zip(components, features, means, refitted, strict=True):
            E[out] = (F[out] - m) @ W @ Q
    expected = np.mean(
        [
            [np.corrcoef(a, b)[0, 1] for a, b in zip(E.T, H.T, strict=True)]
            for E, H in combinations(components, 2)
        ],
        axis=0,
    )
    shared = shared_bases(features, ridges, 3, FOLDS)
    np.testing.assert_allclose(shared.correlations, expected, atol=1e-8)
    for E, out_of_fold in zip(
        components, out_of_fold_components(features, shared, FOLDS), strict=True
    ):
        np.testing.assert_allclose(out_of_fold, E, atol=1e-8)


def test_out_of_fold_correlations_of_noise_are_near_zero():
    """With as many features as rows, in-sample correlations are near one; these are not."""
    rng = np.random.RandomState(0)
    features = [rng.randn(200, 80), rng.randn(200, 90)]
    _, rho = canonical_bases(centred_grams(features), [1e-3, 1e-3], 5)
    shared = shared_bases(features, [1e-3, 1e-3], 5, FOLDS)
    assert rho.min() > 0.8
    assert np.abs(shared.correlations).max() < 0.3


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_rows_that_are_alike_outside_a_fold(kind):
    """What varies in one fold only is unknown to the others: no component is blown up."""
    features = [np.ones((200, 4)), np.ones((200, 3))]
    for F in features:
        F[FOLDS == 0] = np.random.RandomState(0).rand(*F[FOLDS == 0].shape)
    shared = shared_bases([kind(F) for F in features], [0.0, 0.0], 3, FOLDS)
    assert np.isfinite(shared.correlations).all()
    for means, bases in shared.folds:
        for F, m, W in zip(features, means, bases, strict=True):
            assert np.abs((F - m) @ W).max() < 1e3


@pytest.mark.parametrize("rest", [1e-15, -1e-15])
def test_rounding_does_not_turn_a_component_that_the_first_modality_lacks(rest):
    first, second = np.tile([1.0, -1.0], 8), np.repeat([1.0, -1.0], 8)
    F = [(first + rest * second)[:, None], second[:, None], second[:, None]]
    grams = centred_grams(F, [f.mean(axis=0) for f in F])
    bases, _ = canonical_bases(grams, [0.0] * 3, 1)
    assert bases[1][0, 0] > 0 and bases[2][0, 0] > 0
