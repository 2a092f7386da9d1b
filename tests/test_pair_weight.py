"""Methods that learn from targets: labels, pairs, or both, and rows without labels."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone

from sklearn_cmh import ASCMH, DSAH, AnchorRBF, MultimodalData, SharedSpace
from sklearn_cmh.data import labelled_rows
from sklearn_cmh.metrics import mean_average_precision
from sklearn_cmh.shallow import BATCH
from sklearn_cmh.shallow import _ascmh as ascmh
from sklearn_cmh.shallow import _dsah as dsah
from sklearn_cmh.solvers import (
    Targets,
    centred_grams,
    label_targets,
    mix_targets,
    shared_rows,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FITS = {
    "dsah": DSAH(16, n_anchors=50, n_perturbations=2, random_state=0),
    "alm": DSAH(16, n_anchors=50, solver="alm", random_state=0),
    "ascmh": ASCMH(16, n_anchors=50, random_state=0),
    "batch": BATCH(16, n_anchors=50, random_state=0),
}


@pytest.fixture(params=FITS)
def hasher(request):
    return clone(FITS[request.param])


@pytest.fixture
def X(paired):
    return MultimodalData(**paired.blocks)


@st.composite
def problems(draw):
    """Features, labels of which some rows have none, and any targets of norm one."""
    n, c = draw(st.integers(4, 30)), draw(st.integers(0, 4))
    rng = np.random.RandomState(draw(st.integers(0, 2**16)))
    L = (rng.rand(n, c) < draw(st.floats(0, 1))).astype(np.int8)
    L[0] = 1  # a fit needs some row with labels
    L = sparse.csr_array(L)
    T = rng.randn(n, c + draw(st.integers(1, 4)))
    T /= np.linalg.norm(T, axis=1, keepdims=True)
    targets = Targets(sparse.csr_array(T[:, :c]), T[:, c:])
    widths = draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))
    return [rng.randn(n, q) for q in widths], L, targets, rng


def dsah_value(F, L, T, B, R, P, alpha, gamma, label_term):
    """The objective of DSAH read off with n x n, the label term over labelled rows only."""
    (n, k), S = B.shape, 2 * T.toarray() @ T.toarray().T - 1
    Z = [f @ p for f, p in zip(F, P, strict=True)]
    E = (B @ R - L.toarray())[labelled_rows(L)]
    columns = np.sum(E**2, axis=0)
    value = sum(np.sum((Z_m @ B.T - k * S) ** 2) for Z_m in Z)
    value += np.sum(columns if label_term == "frobenius" else np.sqrt(columns + 1))
    value += alpha * np.sum((B - np.mean(Z, axis=0)) ** 2)
    value += gamma * (sum(np.sum(Z_m**2) for Z_m in Z) + np.sum(R**2))
    return value + 1e-6 * n**2 * sum(np.sum(p**2) for p in P)


@settings(deadline=None, max_examples=30)
@given(
    problems(), st.integers(1, 6), st.sampled_from(["l21", "frobenius"]), st.booleans(),
    st.sampled_from([0.1, 1e4]),
)  # fmt: skip
def test_objective_of_dsah_never_rises_for_any_targets(case, k, label_term, relaxed, alpha):
    F, L, T, rng = case
    problem = dsah.Problem.from_data(F, L, T)
    weighting = (alpha, 0.1, label_term)
    state = dsah.start(problem, dsah.start_codes(problem, k, rng), *weighting)
    for _ in range(4):
        expected = dsah_value(F, L, T, state.B, state.R, state.P, *weighting)
        assert state.objective == pytest.approx(expected, rel=1e-8)
        before, state = state, dsah.sweep(problem, state, *weighting, relaxed)
        assert state.objective <= before.objective + 1e-8 * abs(before.objective)


@settings(deadline=None, max_examples=30)
@given(problems(), st.integers(1, 6), st.sampled_from([0.01, 100.0]), st.sampled_from([0.0, 0.5]))
def test_objective_of_ascmh_never_rises_for_any_targets(case, k, omega, weight):
    F, L, T, rng = case
    problem = ascmh.Problem.from_data(F, L, T)
    k, lambdas, T = min(k, len(T) - 1), [weight] * len(F), T.toarray()
    A = T * np.sqrt(np.maximum(L.toarray().sum(axis=1), 1))[:, None]
    state, values = ascmh.start(problem, k, rng), []
    for _ in range(6):
        ascmh.sweep(problem, state, omega, lambdas, rng)
        AM = A @ state.M
        expected = np.linalg.norm(state.V @ state.R @ AM.T - k * T @ T.T) ** 2
        expected += omega * np.linalg.norm(state.B - AM) ** 2
        for f, p in zip(F, state.P, strict=True):
            expected += weight * np.linalg.norm(f - state.V @ p) ** 2
        values.append(ascmh.objective(problem, state, omega, lambdas))
        assert values[-1] == pytest.approx(expected, rel=1e-7, abs=1e-7)
        assert_array_equal(state.B, np.where(AM >= 0, 1, -1))
    assert (np.diff(values) <= 1e-8 * abs(values[0])).all()


def test_label_term_of_the_printed_updates_counts_labelled_rows_only():
    """(12), (16) and (30) have R D R' for those rows, and no label term for the others."""
    rng = np.random.RandomState(0)
    L = sparse.csr_array((np.arange(12)[:, None] % 3 == np.arange(3)).astype(np.int8))
    L = sparse.csr_array(L.multiply(np.arange(12)[:, None] < 8).astype(np.int8))
    L.eliminate_zeros()
    F, alpha, xi = [1e-3 * rng.randn(12, 5), 1e-3 * rng.randn(12, 4)], 0.3, 0.5
    Z = rng.randn(12, 2)
    T = mix_targets(None, Z / np.linalg.norm(Z, axis=1, keepdims=True), 1.0)
    problem = dsah.Problem.from_data(F, L, T)
    R, weights = rng.randn(4, 3), rng.rand(3)
    P = [rng.randn(f.shape[1], 4) for f in F]
    V, B, J = np.sign(rng.randn(12, 4)), np.sign(rng.randn(12, 4)), rng.randn(12, 4)
    RDR = R @ np.diag(weights) @ R.T
    has_labels = labelled_rows(L)[:, None]
    S, Z = 2 * T.toarray() @ T.toarray().T - 1, [f @ p for f, p in zip(F, P, strict=True)]
    target = 2 * 4 * S @ sum(Z) + 2 * alpha * np.mean(Z, axis=0) + 2 * L @ np.diag(weights) @ R.T
    target += xi * V - has_labels * (V @ RDR) - J
    codes = dsah.alm_codes(problem, R, weights, P, V, J, alpha, xi)
    assert_array_equal(codes, dsah.sign(target))
    auxiliary = dsah.alm_auxiliary(problem, B, R, weights, J, xi)
    assert_array_equal(auxiliary, dsah.sign(xi * B + J - has_labels * (B @ RDR)))
    relaxed = dsah.alm_relaxed_codes(problem, R, weights, P, alpha)
    gradient = alpha * sum(relaxed - Z_m for Z_m in Z)
    gradient += has_labels * ((relaxed @ R - L.toarray()) @ np.diag(weights) @ R.T)
    assert_allclose(gradient, 0, atol=1e-9)


def test_shared_rows_follow_from_any_gram_matrices_of_the_features(paired):
    F = [paired.image, 3.0 + paired.text]
    Z = shared_rows(F)
    assert_allclose(np.linalg.norm(Z, axis=1), 1)
    assert_allclose(shared_rows(F, dsah.centred(dsah.gram_matrices(F), F)), Z, atol=1e-8)
    assert_allclose(shared_rows(F, centred_grams(F)), Z, atol=1e-12)
    assert_allclose(shared_rows([sparse.csr_array(f) for f in F]), Z, atol=1e-8)
    assert shared_rows([f.astype(np.float32) for f in F]).dtype == np.float32
    # Rows are like what their partners say: more than like what others' partners say.
    space = shared_rows(F, n_components=3)
    assert space.shape == (120, 3)
    with pytest.raises(ValueError, match="nothing in common"):
        shared_rows([paired.image, np.ones((120, 2))])


def test_pair_weight_of_zero_is_the_method_of_the_paper(hasher, X, paired):
    """T is Lt then, S its cosine, and rows with the same labels get the same code."""
    L = sparse.csr_array(paired.indicator.astype(np.int8))
    assert_array_equal(label_targets(L).toarray(), paired.indicator)
    hasher.fit(X, paired.y)
    assert len(np.unique(hasher.codes_, axis=0)) == 4
    y = hasher.codes_[:, 0] * 0 + paired.y
    noted = clone(hasher).set_params(pair_weight=0.0).fit(X, np.where(y == 0, -1, y))
    assert_array_equal(noted.classes_, [-1, 1, 2, 3])  # a class like any other


def quality(hasher, X, y):
    """mAP of encoded queries against learned codes, by labels that the fit need not have seen."""
    scores = [
        mean_average_precision(hasher.encode(X[m], modality=m), hasher.codes_, y, y)
        for m in X.names
    ]
    return np.mean(scores)


@pytest.mark.parametrize("name", ["dsah", "ascmh"])
def test_pairs_tell_rows_of_a_class_apart(name, X, paired):
    """Not so the printed updates of DSAH, which have no term that decorrelates bits."""
    hasher = clone(FITS[name]).set_params(n_bits=32)
    distinct = {
        p: len(np.unique(clone(hasher).set_params(pair_weight=p).fit(X, paired.y).codes_, axis=0))
        for p in (0.0, 0.5, 1.0)
    }
    assert distinct[0.0] == 4 and min(distinct[0.5], distinct[1.0]) > 20
    assert hasher.set_params(pair_weight=0.1).fit(X, paired.y).score(X, paired.y) > 0.8


def test_pairs_alone_need_no_labels_and_do_not_look_at_them(hasher, X, paired):
    hasher.set_params(pair_weight=1)
    alone = hasher.fit(X).codes_
    assert hasher.labels_ is None
    with pytest.raises(ValueError, match="fitted without y"):
        hasher.score(X, paired.y)
    hasher.fit(X, np.where(np.arange(120) % 3, paired.y, -1))
    assert_array_equal(hasher.codes_, alone)
    assert quality(hasher, X, paired.y) > 0.35  # chance is 0.25


def test_labels_are_needed_below_one(hasher, X):
    with pytest.raises(ValueError, match="requires y"):
        hasher.set_params(pair_weight=0.9).fit(X)


def test_rows_without_labels_take_part(hasher, X, paired):
    """Told by -1 or by an empty row alike; their codes are learned, not encoded."""
    known = np.arange(120) % 4 == 0
    hasher.set_params(pair_weight=0.2)
    y = np.where(known, paired.y, -1)
    codes = hasher.fit(X, y).codes_
    trace = hasher.objective_
    assert_array_equal(hasher.classes_, np.unique(paired.y))
    hasher.fit(X, paired.indicator * known[:, None])
    assert_array_equal(hasher.codes_, codes)
    assert_array_equal(hasher.objective_, trace)
    assert hasher.n_iter_ == len(trace)
    assert (codes[~known] != hasher.transform(X[~known])).any()
    # They help: the modalities' rows say which class they belong to.
    assert quality(hasher, X, paired.y) > 0.7


def test_pairs_need_two_modalities(hasher, paired):
    image = MultimodalData(image=paired.image)
    with pytest.raises(ValueError, match="pairs need two modalities; X has one, 'image'"):
        hasher.set_params(pair_weight=0.1).fit(image, paired.y)
    hasher.set_params(pair_weight=0).fit(image, paired.y)


def test_given_shared_space(hasher, X, paired):
    space = SharedSpace(4, feature_map=AnchorRBF(30), regularisation=0.1, random_state=0)
    hasher.set_params(pair_weight=0.5, shared_space=space)
    codes = hasher.fit(X, paired.y).codes_
    assert not hasattr(space, "correlations_")
    assert hasher.shared_space_.transform(X).shape == (120, 4)
    other = clone(hasher).set_params(shared_space=None).fit(X, paired.y)
    assert (other.codes_ != codes).any()
    assert not hasattr(other, "shared_space_")
    with pytest.warns(UserWarning, match="shared_space has no effect with pair_weight=0"):
        hasher.set_params(pair_weight=0).fit(X, paired.y)


@pytest.mark.parametrize("n_modalities", [2, 3])
@pytest.mark.parametrize("form", ["dense", "sparse", "float32"])
def test_any_features(hasher, paired, n_modalities, form):
    blocks = {"image": paired.image, "text": paired.text, "sound": paired.image[:, ::-1] ** 2}
    convert = {
        "dense": np.asarray,
        "sparse": sparse.csr_array,
        "float32": lambda block: block.astype(np.float32),
    }[form]
    X = MultimodalData(**{name: convert(blocks[name]) for name in list(blocks)[:n_modalities]})
    y = np.where(np.arange(120) % 2, paired.y, -1)
    hasher.set_params(pair_weight=0.2, feature_map="passthrough").fit(X, y)
    assert np.isfinite(hasher.objective_).all()
    assert quality(hasher, X, paired.y) > 0.7


def test_constant_and_repeated_rows(hasher, X, paired):
    twice = np.repeat(np.arange(20), 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        hasher.set_params(pair_weight=0.3).fit(X[twice], paired.y[twice])
    codes = hasher.codes_.reshape(20, 3, -1)
    assert (codes == codes[:, :1]).all()
    constant = MultimodalData(image=paired.image, text=np.ones((120, 2)))
    with pytest.raises(ValueError, match="nothing in common"):
        clone(hasher).set_params(feature_map="passthrough").fit(constant, paired.y)
