"""ASCMH: constraints, optimality, the objective, and any model as hash function."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from sklearn_cmh import ASCMH, AnchorRBF, MultimodalData
from sklearn_cmh.data import normalise_rows
from sklearn_cmh.metrics import make_retrieval_scorer
from sklearn_cmh.shallow import _ascmh as ascmh
from sklearn_cmh.solvers import (
    Sweeps,
    gram,
    orthonormal_basis,
    polar_factor,
    ridge_factor,
    ridge_projection,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:n_anchors", "ignore::sklearn.exceptions.ConvergenceWarning"
)

N, K, C = 20, 3, 4
OMEGA, LAMBDAS = 0.7, (0.5, 1.5)


class Point:
    """Features, labels and a feasible point, with the objective written out with n x n."""

    def __init__(self, seed=0):
        rng = self.rng = np.random.RandomState(seed)
        L = (rng.rand(N, C) < 0.4).astype(float)
        L[L.sum(axis=1) == 0, 0] = 1
        self.L = sparse.csr_array(L)
        self.G = normalise_rows(self.L)
        self.F = [rng.randn(N, 6), rng.randn(N, 5)]
        self.problem = ascmh.Problem.from_data(self.F, self.L)
        V = orthonormal_basis(rng.randn(N, K), rng)
        B = np.where(rng.randn(N, K) > 0, 1.0, -1.0)
        self.state = ascmh.State(
            V=V,
            R=polar_factor(rng.randn(K, K)),
            M=rng.randn(C, K),
            B=B,
            P=[rng.randn(K, f.shape[1]) for f in self.F],
            GV=self.G.T @ V,
            LB=self.L.T @ B,
        )

    def value(self, **changed):
        at = {**vars(self.state), **changed}
        LM, G = self.L.toarray() @ at["M"], self.G.toarray()
        value = np.linalg.norm(at["V"] @ at["R"] @ LM.T - K * G @ G.T) ** 2
        value += OMEGA * np.linalg.norm(at["B"] - LM) ** 2
        for weight, f, p in zip(LAMBDAS, self.F, at["P"], strict=True):
            value += weight * np.linalg.norm(f - at["V"] @ p) ** 2
        return value


@pytest.fixture
def point():
    return Point()


def test_objective_is_the_one_with_the_dense_similarity(point):
    """At the loadings that are best for V, as after every sweep."""
    point.state.P = [ascmh.update_loading(point.state.V, f) for f in point.F]
    value = ascmh.objective(point.problem, point.state, OMEGA, LAMBDAS)
    assert value == pytest.approx(point.value(), rel=1e-12)


def test_label_map_and_loading_solve_their_subproblems(point):
    """No numerical optimiser and no perturbation does better."""
    M = ascmh.update_label_map(point.problem, point.state, OMEGA)
    P = ascmh.update_loading(point.state.V, point.F[0])
    for best, value in [
        (M, lambda v: point.value(M=v.reshape(M.shape))),
        (P, lambda v: point.value(P=[v.reshape(P.shape), point.state.P[1]])),
    ]:
        found = minimize(value, np.zeros(best.size))
        np.testing.assert_allclose(found.x.reshape(best.shape), best, atol=1e-3)
        for scale in (1e-3, 1e-1, 1.0):
            assert value((best + scale * point.rng.randn(*best.shape)).ravel()) > value(best)


def test_rotation_basis_and_codes_solve_their_subproblems(point):
    R = ascmh.update_rotation(point.problem, point.state)
    np.testing.assert_allclose(R.T @ R, np.eye(K), atol=1e-12)
    V = ascmh.update_basis(point.problem, point.state, LAMBDAS, point.rng)
    B = ascmh.update_codes(point.problem, point.state.M)
    for scale in (1e-3, 1e-1, 1.0):
        for _ in range(10):
            other = polar_factor(R + scale * point.rng.randn(K, K))
            assert point.value(R=other) > point.value(R=R)
            other = orthonormal_basis(V + scale * point.rng.randn(N, K), point.rng)
            assert point.value(V=other) > point.value(V=V)
            flips = np.where(point.rng.rand(N, K) < scale, -1, 1)
            assert point.value(B=B * flips) >= point.value(B=B)


@settings(deadline=None)
@given(
    st.integers(2, 40), st.integers(1, 12), st.integers(0, 12), st.floats(-6, 6), st.integers(0, 99)
)
def test_basis_holds_its_constraints(n, k, rank, magnitude, seed):
    """Also where Z lacks directions, or there are more bits than rows can carry."""
    rng = np.random.RandomState(seed)
    Z = 10.0**magnitude * (5.0 + rng.randn(n, rank) @ rng.randn(rank, k))
    V = orthonormal_basis(Z, rng)
    np.testing.assert_allclose(V.sum(axis=0), 0, atol=1e-8 * n)
    if k < n:
        np.testing.assert_allclose(V.T @ V, n * np.eye(k), atol=1e-8 * n)
    # The maximum of tr(V'Z) is the sum of the singular values of the centred Z.
    singular = np.linalg.svd(Z - Z.mean(axis=0), compute_uv=False)
    assert (V * Z).sum() == pytest.approx(
        np.sqrt(n) * singular.sum(), rel=1e-8, abs=1e-8 * np.abs(Z).sum()
    )


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 3),
    st.integers(1, 8),
    st.sampled_from([0.0, 0.01, 1.0, 1e3]),
    st.sampled_from([0.0, 0.5, 1e4]),
    st.booleans(),
    st.integers(0, 99),
)
def test_objective_never_rises(modalities, k, omega, weight, deficient, seed):
    """From any start, whatever the weights, with a class that never occurs and one that repeats."""
    rng = np.random.RandomState(seed)
    L = (rng.rand(30, C) < 0.4).astype(np.int8)
    L[L.sum(axis=1) == 0, 0] = 1
    if deficient:
        L = np.hstack([L, np.zeros((30, 1), dtype=np.int8), L[:, :1]])
    F = [rng.randn(30, 4 + m) for m in range(modalities)]
    sweeps = Sweeps(15, tol=-1.0)
    problem = ascmh.Problem.from_data(F, sparse.csr_array(L))
    lambdas = [weight] * modalities
    B = ascmh.solve(problem, k, omega=omega, lambdas=lambdas, sweeps=sweeps, rng=rng)
    assert len(sweeps.objective) == len(sweeps) == 15
    assert (np.diff(sweeps.objective) <= 1e-9 * np.abs(sweeps.objective[0])).all()
    # One code per label pattern.
    _, pattern = np.unique(L, axis=0, return_inverse=True)
    assert len(np.unique(np.column_stack([pattern.ravel(), B]), axis=0)) == pattern.max() + 1


def test_ridge_is_the_ridge_of_scikit_learn():
    rng = np.random.RandomState(0)
    F, B = rng.randn(40, 6), np.where(rng.randn(40, 3) > 0, 1, -1).astype(np.int8)
    expected = Ridge(0.3, fit_intercept=False).fit(F, B).coef_.T
    np.testing.assert_allclose(ridge_projection(F, B, 0.3), expected, rtol=1e-8)
    collinear = np.hstack([F, F[:, :1], np.zeros((40, 1))])
    assert np.isfinite(ridge_projection(collinear, B, 0.0)).all()


@pytest.mark.parametrize("rows", [7, 5000])
def test_gram_accumulates_in_float64(rows):
    X = np.random.RandomState(0).rand(rows, 1100).astype(np.float32)
    X[:, 30:] = 0
    exact = X[:, :30].astype(float).T @ X[:, :30]
    np.testing.assert_allclose(gram(X)[:30, :30], exact, rtol=1e-12)
    np.testing.assert_allclose(gram(sparse.csr_array(X))[:30, :30], exact, rtol=1e-12)
    factor, _ = ridge_factor(np.zeros((2, 2)), 0.0)
    assert np.isfinite(factor).all()


@pytest.fixture
def X(paired):
    return MultimodalData(**paired.blocks)


@pytest.fixture
def hasher():
    return ASCMH(n_bits=8, random_state=0)


@pytest.mark.parametrize(
    "model",
    [
        Ridge(),
        SVR(),
        KNeighborsRegressor(),
        RidgeClassifier(),
        LogisticRegression(),
        SVC(),
        GaussianNB(),
        DecisionTreeClassifier(),
        ExtraTreeClassifier(),
        MLPClassifier((8,), solver="lbfgs", max_iter=50),
        make_pipeline(StandardScaler(), LogisticRegression()),
        GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2),
        GridSearchCV(SVC(), {"C": [0.1, 1.0]}, cv=2),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("n_bits", [1, 2, 6])
def test_any_regressor_or_classifier_is_a_hash_function(hasher, X, paired, model, n_bits):
    hasher.set_params(hash_estimator=model, n_bits=n_bits).fit(X, paired.y)
    assert not hasattr(hasher, "projections_")
    fitted = hasher.hash_estimators_
    assert list(fitted) == ["image", "text"] and fitted["image"] is not fitted["text"]
    agreement = [np.mean(hasher.encode(X[m], modality=m) == hasher.codes_) for m in fitted]
    assert min(agreement) > 0.75
    # The scores of a row are its own: columns did not change places, rows neither.
    half = hasher.encode(X["text"][::-1][:40], modality="text")
    np.testing.assert_array_equal(half, hasher.encode(X["text"], modality="text")[::-1][:40])
    assert hasher.transform(X).shape == (120, n_bits)


def test_hash_estimator_does_not_touch_the_given_one(hasher, X, paired):
    model = LogisticRegression()
    hasher.set_params(hash_estimator=model).fit(X, paired.y)
    assert not hasattr(model, "coef_")
    assert clone(hasher).hash_estimator.C == model.C


def test_hash_estimator_is_grid_searchable(X, paired):
    search = GridSearchCV(
        ASCMH(n_bits=8, random_state=0, hash_estimator=LogisticRegression()),
        {"hash_estimator__C": [1e-6, 10.0], "omega": [0.01]},
        cv=KFold(2, shuffle=True, random_state=0),
    ).fit(X, paired.y)
    assert search.best_params_["hash_estimator__C"] == 10.0
    assert search.best_score_ > 0.8


def test_hash_estimator_follows_random_state(hasher, X, paired):
    hasher.set_params(hash_estimator=ExtraTreeClassifier(max_depth=2))
    first, second = (clone(hasher).fit(X, paired.y) for _ in range(2))
    np.testing.assert_array_equal(first.transform(X), second.transform(X))


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("lambda_h", {"hash_estimator": LogisticRegression(), "lambda_h": 0.1}),
        ("n_anchors", {"feature_map": "passthrough", "n_anchors": 9}),
        (
            "n_anchors",
            {"feature_map": dict.fromkeys(["image", "text"], AnchorRBF(9)), "n_anchors": 9},
        ),
    ],
)
def test_ignored_parameters_warn(hasher, X, paired, name, params):
    with pytest.warns(UserWarning, match=f"{name} has no effect"):
        hasher.set_params(**params).fit(X, paired.y)


def test_anchors_of_one_modality_have_an_effect(hasher, X, paired, recwarn):
    hasher.set_params(feature_map={"image": "passthrough"}, n_anchors=9).fit(X, paired.y)
    assert not [w for w in recwarn if "no effect" in str(w.message)]


@pytest.mark.parametrize("model", [LogisticRegression(), SVR(), GaussianNB()])
@pytest.mark.parametrize("varied", [0, 1, 6])
def test_constant_bits_stay_what_they_are(hasher, X, paired, model, varied, monkeypatch):
    """No classifier fits a constant target."""

    def solve(problem, n_bits, **options):
        B = found(problem, n_bits, **options)
        B[:, varied:] = np.resize([-1, 1], 8 - varied)
        return B

    found = ascmh.solve
    monkeypatch.setattr(ascmh, "solve", solve)
    hasher.set_params(hash_estimator=model).fit(X, paired.y)
    encoded = hasher.encode(X["image"], modality="image")
    np.testing.assert_array_equal(encoded[:, varied:], hasher.codes_[:, varied:])
    if varied:
        assert np.mean(encoded[:, :varied] == hasher.codes_[:, :varied]) > 0.75


def test_refit_with_another_kind_of_hash_function(hasher, X, paired):
    linear = hasher.fit(X, paired.y).transform(X)
    hasher.set_params(hash_estimator=RidgeClassifier()).fit(X, paired.y)
    hasher.set_params(hash_estimator=None).fit(X, paired.y)
    assert not hasattr(hasher, "hash_estimators_")
    np.testing.assert_array_equal(hasher.transform(X), linear)


def test_rows_without_labels_do_not_enter(hasher, X, paired):
    labelled = np.arange(120) % 3 > 0
    some = paired.indicator * labelled[:, None]
    hasher.fit(X, some)
    alone = clone(hasher).fit(X[labelled], paired.indicator[labelled])
    np.testing.assert_array_equal(hasher.codes_[labelled], alone.codes_)
    np.testing.assert_array_equal(hasher.codes_[~labelled], alone.transform(X[~labelled]))


def test_more_bits_than_rows_or_classes(X, paired):
    few = np.arange(12)
    hasher = ASCMH(n_bits=64, random_state=0).fit(X[few], paired.y[few])
    assert hasher.codes_.shape == (12, 64)
    assert np.isfinite(hasher.objective_).all()


def test_lambdas_per_modality(hasher, X, paired):
    number = hasher.set_params(lambdas=0.3).fit(X, paired.y).objective_
    mapping = hasher.set_params(lambdas={"image": 0.3, "text": 0.3}).fit(X, paired.y).objective_
    np.testing.assert_array_equal(number, mapping)
    with pytest.raises(ValueError, match="lambdas must be"):
        hasher.set_params(lambdas={"image": 0.3}).fit(X, paired.y)


def test_warns_when_sweeps_run_out(hasher, X, paired):
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        hasher.set_params(max_iter=1).fit(X, paired.y)


def test_sweeps_use_what_the_sweep_before_has_left(point):
    """Algorithm 1 from dense matrices: every variable from the newest of the others."""
    F, k, L, G = point.F, K, point.L.toarray(), point.G.toarray()
    state, rng = ascmh.start(point.problem, k, np.random.RandomState(5)), np.random.RandomState(6)
    V, R, B = state.V, state.R, state.B
    ours, dense = np.random.RandomState(6), rng
    omega = 50.0  # so that B says much about M
    for _ in range(4):
        ascmh.sweep(point.problem, state, omega, LAMBDAS, ours)
        P = [V.T @ f / N for f in F]
        M = np.linalg.pinv(L.T @ L) @ (k * L.T @ G @ G.T @ V @ R + omega * L.T @ B) / (N + omega)
        R = polar_factor(k * V.T @ G @ G.T @ L @ M)
        Z = k * G @ G.T @ L @ M @ R.T + sum(
            w * f @ p.T for w, f, p in zip(LAMBDAS, F, P, strict=True)
        )
        V = orthonormal_basis(Z, dense)
        B = np.where(L @ M >= 0, 1, -1)
        for name, expected in {"M": M, "R": R, "V": V, "B": B}.items():
            np.testing.assert_allclose(getattr(state, name), expected, atol=1e-6, err_msg=name)
        value = point.value(**vars(state)) + (omega - OMEGA) * np.linalg.norm(B - L @ M) ** 2
        found = ascmh.objective(point.problem, state, omega, LAMBDAS)
        assert found == pytest.approx(value)


def test_norms_of_features_are_traces_of_known_gram_matrices(point):
    grams = [F.T @ F for F in point.F]
    problem = ascmh.Problem.from_data(point.F, point.L, grams=grams)
    np.testing.assert_allclose(problem.energies, point.problem.energies)


def test_wiki_reaches_the_reference(wiki):
    """16 bits, mean of three seeds: an independent implementation's figures less 0.01."""
    X, y = MultimodalData(image=wiki.image, text=wiki.text), wiki.labels
    scorers = [
        make_retrieval_scorer(query="image"),
        make_retrieval_scorer(query="text"),
        make_retrieval_scorer(query="image", database="text", gallery="validation"),
        make_retrieval_scorer(query="text", database="image", gallery="validation"),
    ]
    anchors = {"image": AnchorRBF(500), "text": AnchorRBF(1000)}
    figures = []
    for seed in range(3):
        hasher = ASCMH(n_bits=16, feature_map=anchors, random_state=seed)
        hasher.fit(X[wiki.train], y[wiki.train])
        figures.append([scorer(hasher, X[wiki.test], y[wiki.test]) for scorer in scorers])
    expected = np.array([0.354, 0.735, 0.264, 0.205])
    assert (np.mean(figures, axis=0) > expected - 0.01).all()
