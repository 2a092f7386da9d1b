"""Updates against arithmetic of 60 digits, where doubles are hard put: features that nearly depend.

Each update is the zero of a gradient. Evaluated exactly where the update puts the variable, the
gradient is as small as rounding allows, next to the terms of which it is the sum.
"""

import re
import warnings

import numpy as np
import pytest
import strategies as own
from scipy import sparse
from sklearn.model_selection import ParameterGrid

from sklearn_cmh import MultimodalData
from sklearn_cmh.shallow import _aah as aah
from sklearn_cmh.shallow import _ascmh as ascmh
from sklearn_cmh.shallow import _batch as batch
from sklearn_cmh.shallow import _dsah as dsah
from sklearn_cmh.solvers import (
    GraphSimilarity,
    canonical_bases,
    centred_grams,
    label_targets,
    orthonormal_basis,
    polar_factor,
    ridge_leave_one_out,
    ridge_projection,
)
from sklearn_cmh.utils.discovery import all_estimators

mpmath = pytest.importorskip("mpmath")
mpmath.mp.dps = 60

N, K, C = 12, 3, 4


def exact(A):
    """An array of numbers of 60 digits, with all of NumPy's products."""
    A = A.toarray() if sparse.issparse(A) else np.asarray(A)
    return np.array([mpmath.mpf(float(a)) for a in A.ravel()], dtype=object).reshape(A.shape)


def size(A):
    return float(max(abs(a) for a in np.ravel(A)))


def assert_balanced(*terms, share=1e-12):
    """The terms sum to zero but for rounding, next to the largest of them."""
    assert size(sum(terms)) <= share * max(size(term) for term in terms)


def solve(A, b):
    """The solution of a linear system of 60 digits."""
    left = mpmath.matrix(A.tolist())
    columns = [list(mpmath.lu_solve(left, mpmath.matrix(column.tolist()))) for column in b.T]
    return np.array(columns, dtype=object).T


def features(q, seed=0, spread=6):
    """Rows (N, q) whose singular values fall by that many orders of magnitude."""
    rng = np.random.default_rng(seed)
    U, V = (np.linalg.qr(rng.standard_normal((m, q)))[0] for m in (N, q))
    return U * np.logspace(0, -spread, q) @ V.T


@pytest.fixture
def rng():
    return np.random.RandomState(1)


@pytest.fixture
def L(rng):
    dense = (rng.rand(N, C) < 0.4).astype(np.int8)
    dense[np.arange(N), np.arange(N) % C] = 1
    return sparse.csr_array(dense)


@pytest.fixture
def B(rng):
    return np.where(rng.randn(N, K) > 0, 1.0, -1.0)


@pytest.mark.parametrize("ridge", [1e-8, 1e-4, 1.0])
def test_ridge(B, ridge):
    F = features(5)
    A, b = exact(F), exact(B)
    G = A.T @ A
    # A last trace is part of the definition.
    G += np.eye(5, dtype=int) * (mpmath.mpf(ridge) + mpmath.mpf(1e-12) * np.trace(G))
    W = ridge_projection(F, B, ridge)
    assert_balanced(G @ exact(W), -A.T @ b)
    best = solve(G, A.T @ b)
    assert size(exact(W) - best) <= 1e-14 / ridge * size(best)


@pytest.mark.parametrize("alpha", [1e-6, 1e-2])
def test_leave_one_out(B, alpha):
    """Every decision is that of the fit without the row, its means included."""
    F = features(4, spread=3)
    _, decisions = ridge_leave_one_out(F, B, [alpha])
    A, b = exact(F), exact(B)
    for i in range(N):
        others = np.arange(N) != i
        centre, mean = A[others].sum(axis=0) / (N - 1), b[others].sum(axis=0) / (N - 1)
        rest = A[others] - centre
        G = rest.T @ rest + np.eye(4, dtype=int) * mpmath.mpf(alpha)
        decision = (A[i] - centre) @ solve(G, rest.T @ (b[others] - mean))
        assert size(exact(decisions[0, i]) - decision) <= 1e-9 * max(1, size(decision))


@pytest.mark.parametrize("spread", [0, 8, 14])
def test_polar_factor(spread):
    """Orthonormal columns, and ``Q'A`` symmetric without a negative eigenvalue."""
    A = features(4, spread=spread)
    Q = exact(polar_factor(A))
    assert_balanced(Q.T @ Q, -np.eye(4, dtype=int), share=1e-14)
    H = Q.T @ exact(A)
    assert_balanced(H, -H.T, share=1e-14)
    eigenvalues = mpmath.eigsy(mpmath.matrix((H + H.T).tolist()), eigvals_only=True)
    assert min(eigenvalues) >= -1e-14 * size(H)


def test_canonical_bases():
    blocks = [features(4, 0, spread=4), features(3, 1, spread=4)]
    ridges = [1e-6, 1e-6]
    grams = centred_grams(blocks)
    bases, correlations = canonical_bases(grams, ridges, 3)
    centred = [exact(F) - exact(F).sum(axis=0) / N for F in blocks]
    W = [exact(base) for base in bases]
    for m in range(2):
        G = centred[m].T @ centred[m] / N
        q = len(G)
        G += np.eye(q, dtype=int) * (mpmath.mpf(ridges[m]) * np.trace(G) / q)
        assert_balanced(W[m].T @ G @ W[m], -np.eye(3, dtype=int), share=1e-8)
    crossed = W[0].T @ (centred[0].T @ centred[1] / N) @ W[1]
    assert_balanced(crossed, -exact(np.diag(correlations)), share=1e-8)


def test_dsah(L, B, rng):
    F = [features(5, 0), features(4, 1)]
    alpha, gamma = 0.3, 0.02
    problem = dsah.Problem.from_data(F, L)
    statistics = dsah.code_statistics(problem, B)
    labels = exact(L)
    Lt = labels / np.array([mpmath.sqrt(row @ row) for row in labels])[:, None]
    S = 2 * Lt @ Lt.T - 1
    b, X = exact(B), [exact(f) for f in F]
    P = [rng.randn(f.shape[1], K) for f in F]
    eigen = dsah.eigen(statistics.gram)
    for m in range(2):
        best = exact(dsah.update_projection(problem, statistics, P, m, alpha, gamma, eigen))
        at = [best if j == m else exact(P[j]) for j in range(2)]
        Z = [x @ p for x, p in zip(X, at, strict=True)]
        assert_balanced(
            X[m].T @ Z[m] @ (b.T @ b),
            -K * X[m].T @ S @ b,
            X[m].T @ (sum(Z) / 2 - b) * (mpmath.mpf(alpha) / 2),
            X[m].T @ Z[m] * mpmath.mpf(gamma),
            best * (mpmath.mpf(1e-6) * N**2),
        )
    weights = rng.rand(C) + 0.1
    R = exact(dsah.update_label_projection(statistics, weights, gamma))
    assert_balanced(
        b.T @ b @ R * exact(weights), -b.T @ labels * exact(weights), R * mpmath.mpf(gamma)
    )


def test_aah(L, B, rng):
    F = [features(5, 0), features(4, 1)]
    theta, alpha, beta, mu = [1.0, 10.0], 0.7, 1e5, 1e-3
    S = (L.toarray().astype(int) @ L.toarray().T > 0).astype(float)
    graph = GraphSimilarity(sparse.csr_array(S))
    ridge = 1e-6
    problem = aah.Problem.from_data(F, [graph] * 2, graph, ridge=ridge)
    U, M = ([rng.randn(N, K) for _ in F] for _ in range(2))
    P = [aah.update_reconstruction(rng.randn(f.shape[1], K)) for f in F]
    W = [rng.randn(f.shape[1], K) for f in F]
    XW = [f @ w for f, w in zip(F, W, strict=True)]
    EU = [graph.pool(u) for u in U]
    XH = [f.T @ aah.regressed(u, c, mu) for f, u, c in zip(F, U, M, strict=True)]
    state = aah.State(U, P, M, B, mu, XH, EU, XSU=[None] * 2)
    weights = aah.Weights(theta, alpha, beta)
    s, X = exact(S), [exact(f) for f in F]
    degrees = s.sum(axis=1)[:, None]
    for m in range(2):
        other = exact(U[1 - m])
        similar = aah.group_similarities(problem, weights, state, m)
        pull = aah.pulls(problem, weights, m)
        best = aah.update_relaxed(weights, mu, similar, pull, XW[m], M[m], B, [U[1 - m]])
        best = exact(best)
        assert_balanced(
            (best + other) / 4 * 2 - exact(B),
            2 * mpmath.mpf(theta[m]) * (degrees * best - s @ X[m] @ exact(P[m])),
            2 * mpmath.mpf(alpha) * (degrees * best - s @ other),
            2 * mpmath.mpf(beta) * best,
            -2 * mpmath.mpf(beta) * other,
            mpmath.mpf(mu) * (best - exact(XW[m])),
            -exact(M[m]),
        )
        best = exact(aah.update_projection(problem, state, m))
        G = X[m].T @ X[m]
        trace = np.trace(G)
        last = mpmath.mpf(ridge) * trace / N + mpmath.mpf(1e-12) * trace
        assert_balanced(
            G @ best, best * last, X[m].T @ (exact(M[m]) / mpmath.mpf(mu) - exact(U[m]))
        )


def test_ascmh(L, B, rng):
    F = [features(5, 0), features(4, 1)]
    omega = 1e-4
    problem = ascmh.Problem.from_data(F, L)
    V = orthonormal_basis(features(K, 2), rng)
    labels = exact(L)
    G = labels / np.array([mpmath.sqrt(row @ row) for row in labels])[:, None]
    state = ascmh.State(
        V=V,
        R=polar_factor(rng.randn(K, K)),
        M=rng.randn(C, K),
        B=B,
        P=[rng.randn(K, f.shape[1]) for f in F],
        GV=np.asarray(G, dtype=float).T @ V,
        LB=L.T @ B,
    )
    v, R = exact(V), exact(state.R)
    assert_balanced(v.T @ v, -N * np.eye(K, dtype=int))
    assert size(v.sum(axis=0)) <= 1e-12 * N
    M = exact(ascmh.update_label_map(problem, state, omega))
    turned = v @ R
    assert_balanced(
        labels.T @ (labels @ M @ (turned.T @ turned)),
        -K * labels.T @ (G @ (G.T @ turned)),
        labels.T @ (labels @ M - exact(B)) * mpmath.mpf(omega),
    )
    A = v.T @ G @ (G.T @ labels @ exact(state.M))
    H = exact(ascmh.update_rotation(problem, state)).T @ A
    assert_balanced(H, -H.T)


def test_batch(L, B, rng):
    F = [features(5, 0), features(4, 1)]
    theta, lambdas = 1e-3, (0.5, 1e4)
    problem = batch.Problem.from_data(F, label_targets(L))
    state = batch.start(problem, K, rng)
    state.B = B
    labels = exact(L)
    G = labels / np.array([mpmath.sqrt(row @ row) for row in labels])[:, None]
    pulled = K * G @ (G.T @ exact(B)) + mpmath.mpf(theta) * exact(B)
    H = exact(batch.update_rotation(problem, state, theta)).T @ (exact(state.V).T @ pulled)
    assert_balanced(H, -H.T)
    state.U = [batch.update_loading(state.V, f) for f in F]
    Z = pulled @ exact(state.R).T
    for weight, f, u in zip(lambdas, F, state.U, strict=True):
        Z = Z + mpmath.mpf(weight) * exact(f) @ exact(u).T
    V = exact(batch.update_basis(problem, state, theta, lambdas, rng))
    assert_balanced(V.T @ V, -N * np.eye(K, dtype=int))
    H = V.T @ (Z - Z.sum(axis=0) / N)
    assert_balanced(H, -H.T, share=1e-10)


# --- Grids of the papers -------------------------------------------------------------------------

EXPLAINED = re.compile("max_iter|encoded alike|bits? .*constant|n_anchors|has no effect")


@pytest.mark.parametrize("shape", [(6, 6), (4, 8), (8, 4)])
@pytest.mark.parametrize("rank", [1, 3])
def test_of_several_polar_factors_the_nearest(shape, rank):
    """Whatever rounding adds, where A has not full rank."""
    rng = np.random.RandomState(0)
    A = rng.randn(shape[0], rank) @ rng.randn(rank, shape[1])
    last = polar_factor(rng.randn(*shape))
    Q = polar_factor(A, last)
    short = Q if shape[0] <= shape[1] else Q.T
    np.testing.assert_allclose(short @ short.T, np.eye(len(short)), atol=1e-12)
    assert np.trace(Q.T @ A) == pytest.approx(np.linalg.svd(A, compute_uv=False).sum())
    U, _, Vt = np.linalg.svd(A)
    told = U[:, :rank] @ Vt[:rank]
    open_shape = (shape[0] - rank, shape[1] - rank)
    for _ in range(50):
        rest = U[:, rank:] @ polar_factor(rng.randn(*open_shape)) @ Vt[rank:]
        assert np.linalg.norm(Q - last) < np.linalg.norm(told + rest - last)
    for _ in range(5):
        noise = 1e-14 * rng.randn(*shape)
        np.testing.assert_allclose(polar_factor(A + noise, last), Q, atol=1e-11)
    np.testing.assert_allclose(polar_factor(np.zeros(shape), last), last, atol=1e-14)


@pytest.mark.parametrize(
    ("A", "last"),
    [
        (np.diag([1.0, 0.0]), np.array([[0.0, 1.0], [1.0, 0.0]])),
        (np.diag([0.0, 3.0, 0.0]), np.roll(np.eye(3), 1, axis=0)),
        (np.eye(3, 5, k=1) * [[2.0], [0.0], [0.0]], np.eye(3, 5)),
        (np.eye(5, 3, k=-1) * [2.0, 0.0, 0.0], np.eye(5, 3)),
    ],
)
def test_polar_factor_where_the_last_one_contradicts_it(A, last):
    """Rows and columns that A settles take all that the last one says of others."""
    Q = polar_factor(A, last)
    short = Q if A.shape[0] <= A.shape[1] else Q.T
    np.testing.assert_allclose(short @ short.T, np.eye(len(short)), atol=1e-14)
    assert np.trace(Q.T @ A) == pytest.approx(np.linalg.svd(A, compute_uv=False).sum())


@pytest.mark.parametrize(("name", "cls"), all_estimators("shallow"))
def test_grids_of_the_papers_run_whole(name, cls):
    """Some points, all in the long form: finite objectives, warnings that say what to do."""
    rng = np.random.default_rng(0)
    y = np.arange(20) % 3
    blocks = {m: rng.standard_normal((3, 4))[y] + rng.standard_normal((20, 4)) for m in "ab"}
    points = list(ParameterGrid(cls(4).paper_grid()))
    if not own.LONG:
        points = [points[i] for i in rng.permutation(len(points))[:5]]
    cheap = {"max_iter": 2, "n_anchors": 6, "n_perturbations": 1, "random_state": 0}
    known = cls(4).get_params()
    for point in points:
        model = cls(4).set_params(**{k: v for k, v in cheap.items() if k in known} | point)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(MultimodalData(**blocks), y)
        assert np.isfinite(model.objective_).all(), point
        for warning in caught:
            assert issubclass(warning.category, UserWarning), (point, warning)
            assert EXPLAINED.search(str(warning.message)), (point, warning)
