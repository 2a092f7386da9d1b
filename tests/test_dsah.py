"""DSAH: every update solves its problem, and the exact solver never raises the objective."""

import itertools
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import approx_fprime
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler, normalize

from sklearn_cmh import MultimodalData
from sklearn_cmh.features import AnchorRBF
from sklearn_cmh.metrics import make_retrieval_scorer
from sklearn_cmh.shallow import DSAH
from sklearn_cmh.shallow import _dsah as solver
from sklearn_cmh.shallow._dsah import Problem
from sklearn_cmh.solvers import Sweeps, Targets, cross, label_targets

ALPHA, GAMMA = 0.3, 0.02


def make(n=30, widths=(7, 5), c=4, k=4, multilabel=True, dtype=np.float64, seed=0):
    """Random features, labels, codes, and all other variables, with the n x n similarity."""
    rng = np.random.RandomState(seed)
    y = rng.randint(c, size=n)
    Y = np.eye(c, dtype=int)[y]
    if multilabel:
        Y = np.maximum(Y, rng.rand(n, c) < 0.2)
    L = sparse.csr_array(Y, dtype=np.int8)
    F = [(rng.randn(n, q) + rng.randn(c, q)[y]).astype(dtype) for q in widths]
    Lt = Y / np.linalg.norm(Y, axis=1, keepdims=True)
    B = solver.sign(rng.randn(n, k)).astype(dtype)
    problem = Problem.from_data(F, L)
    return SimpleNamespace(
        problem=problem,
        F=F,
        L=L,
        Y=Y,
        S=2 * Lt @ Lt.T - 1,
        B=B,
        statistics=solver.code_statistics(problem, B),
        R=rng.randn(k, c),
        weights=rng.rand(c) + 0.1,
        P=[rng.randn(q, k) for q in widths],
        V=solver.sign(rng.randn(n, k)).astype(dtype),
        J=rng.randn(n, k).astype(dtype),
        rng=rng,
    )


def value_with_n_by_n(d, B, R, P, alpha=ALPHA, gamma=GAMMA, label_term="l21"):
    """Equation (8), read off with the n x n similarity."""
    n, k = B.shape
    Z = [F @ P_m for F, P_m in zip(d.F, P, strict=True)]
    E = B @ R - d.Y
    value = sum(np.sum((Z_m @ B.T - k * d.S) ** 2) for Z_m in Z)
    columns = np.sum(E**2, axis=0)
    value += np.sum(columns if label_term == "frobenius" else np.sqrt(columns + 1))
    value += alpha * np.sum((B - np.mean(Z, axis=0)) ** 2)
    value += gamma * (sum(np.sum(Z_m**2) for Z_m in Z) + np.sum(R**2))
    return value + 1e-6 * n**2 * sum(np.sum(P_m**2) for P_m in P)


def codes_problem(d, weights):
    """Q and N of the problem in the codes."""
    Q = solver.codes_quadratic(d.problem, d.R, weights, d.P)
    return Q, solver.codes_linear(d.problem, d.R, weights, d.P, ALPHA)


def fit_codes(problem, B, *args):
    """All other variables fitted to the codes `B`."""
    return solver.fit_codes(problem, B, solver.code_statistics(problem, B), *args)


def derivative(f, x):
    """Largest partial derivative of f at x, relative to that at a nearby point."""
    step = 0.1 * np.abs(x).max()

    def gradient(x):
        return approx_fprime(x.ravel(), lambda v: f(v.reshape(x.shape)), 1e-6 * step)

    moved = gradient(x + step * np.random.RandomState(0).randn(*x.shape))
    return np.abs(gradient(x)).max() / np.abs(moved).max()


@pytest.mark.parametrize("widths", [(6,), (7, 5), (3, 4, 5)])
@pytest.mark.parametrize("label_term", ["l21", "frobenius"])
@pytest.mark.parametrize("real", [False, True])
def test_objective_is_the_formula(widths, label_term, real):
    d = make(widths=widths)
    B = d.B + real * d.rng.randn(*d.B.shape)
    statistics = solver.code_statistics(d.problem, B)
    value = solver.objective(d.problem, statistics, d.R, d.P, ALPHA, GAMMA, label_term)
    expected = value_with_n_by_n(d, B, d.R, d.P, label_term=label_term)
    assert value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("multilabel", [False, True])
def test_similarity_norm(multilabel):
    d = make(multilabel=multilabel)
    assert solver.similarity_norm(d.problem.targets) == pytest.approx(np.sum(d.S**2))


@pytest.mark.parametrize("widths", [(6,), (7, 5), (3, 4, 5)])
def test_codes_problem_is_the_objective_in_the_codes(widths):
    d = make(widths=widths)
    Q, N = codes_problem(d, np.ones(4))
    other = solver.sign(d.rng.randn(*d.B.shape)).astype(float)

    def quadratic(B):
        return np.trace(B @ Q @ B.T) - 2 * np.sum(B * N)

    def objective(B):
        return value_with_n_by_n(d, B, d.R, d.P, label_term="frobenius")

    assert quadratic(d.B) - quadratic(other) == pytest.approx(objective(d.B) - objective(other))


def row_values(B, Q, N):
    return np.einsum("ij,jk,ik->i", B, Q, B) - 2 * np.sum(B * N, axis=1)


@pytest.mark.parametrize("k", [3, 4])
def test_codes_against_all_codes(k):
    rng = np.random.RandomState(0)
    A = rng.randn(k, k)
    Q, N = A @ A.T, rng.randn(50, k)
    start = solver.sign(rng.randn(50, k)).astype(float)
    codes = solver.update_codes(start, Q, N, n_passes=20)
    values = row_values(codes, Q, N)
    assert (values <= row_values(start, Q, N) + 1e-12).all()
    for j in range(k):
        flipped = codes.copy()
        flipped[:, j] *= -1
        assert (values <= row_values(flipped, Q, N) + 1e-12).all()
    # Without coupling, bit by bit is the best of all codes.
    every = np.array(list(itertools.product([-1.0, 1.0], repeat=k)))
    diagonal = np.diag(np.diag(Q))
    best = [row_values(every, diagonal, np.tile(row, (len(every), 1))).min() for row in N]
    codes = solver.update_codes(start, diagonal, N)
    np.testing.assert_allclose(row_values(codes, diagonal, N), best)


def test_one_pass_sets_every_bit_to_its_best():
    rng = np.random.RandomState(0)
    Q, N = np.cov(rng.randn(3, 9)), rng.randn(40, 3)
    start = solver.sign(rng.randn(40, 3)).astype(float)
    expected = start.copy()
    for j in range(3):
        plus, minus = expected.copy(), expected.copy()
        plus[:, j], minus[:, j] = 1, -1
        expected[:, j] = np.where(row_values(plus, Q, N) <= row_values(minus, Q, N), 1, -1)
    np.testing.assert_array_equal(solver.update_codes(start, Q, N, n_passes=1), expected)


@pytest.mark.parametrize("solver_name", ["exact", "alm"])
@pytest.mark.parametrize("relaxed", [False, True])
@pytest.mark.parametrize("unlabelled", [0, 9])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_sums_over_parts_of_the_rows_give_the_same_solution(
    solver_name, relaxed, unlabelled, monkeypatch
):
    d = make(n=60, k=6)
    d.Y[:unlabelled] = 0
    L = sparse.csr_array(d.Y, dtype=np.int8)
    T = Targets(label_targets(L).labels, normalize(d.rng.randn(60, 3)))
    solve, own = {
        "exact": (solver.solve_exact, {"n_perturbations": 2}),
        "alm": (solver.solve_alm, {"xi": 0.1, "rho": 1.1}),
    }[solver_name]
    whole, in_parts = [], []
    for height, solutions in ((4096, whole), (7, in_parts)):
        monkeypatch.setattr(solver, "_BLOCK_ROWS", height)
        for targets in (None, T):
            problem = Problem.from_data(d.F, L, targets)
            solutions.append(
                solve(
                    problem, 6, alpha=ALPHA, gamma=GAMMA, relaxed=relaxed,
                    sweeps=Sweeps(3, tol=-1.0), rng=np.random.RandomState(0), **own,
                )
            )  # fmt: skip
    for one, other in zip(whole, in_parts, strict=True):
        np.testing.assert_array_equal(one.codes, other.codes)
        np.testing.assert_allclose(one.objective, other.objective, rtol=1e-9)


def test_relaxed_codes_are_stationary():
    d = make()
    Q, N = codes_problem(d, np.ones(4))
    B = solver.update_relaxed_codes(Q, N, ALPHA)
    f = lambda B: value_with_n_by_n(d, B, d.R, d.P, label_term="frobenius")  # noqa: E731
    assert derivative(f, B) < 1e-4


def test_label_projection_is_stationary():
    d = make()
    R = solver.update_label_projection(d.statistics, d.weights, GAMMA)

    def surrogate(R):
        return np.sum(d.weights * (d.B @ R - d.Y) ** 2) + GAMMA * np.sum(R**2)

    assert derivative(surrogate, R) < 1e-4


@pytest.mark.parametrize("widths", [(6,), (7, 5), (3, 4, 5)])
def test_projection_is_stationary(widths):
    d = make(widths=widths)
    code_eigen = solver.eigen(d.statistics.gram)
    for m in range(len(widths)):
        P = solver.update_projection(d.problem, d.statistics, d.P, m, ALPHA, GAMMA, code_eigen)
        f = lambda P_m: value_with_n_by_n(d, d.B, d.R, [*d.P[:m], P_m, *d.P[m + 1 :]])  # noqa: B023, E731
        assert derivative(f, P) < 1e-4


def test_weights_are_the_derivative_of_the_norm():
    errors = np.array([0.0, 3.0, 100.0])
    slope = (np.sqrt(errors + 1e-6 + 1) - np.sqrt(errors + 1)) / 1e-6
    np.testing.assert_allclose(solver.update_weights(errors, "l21"), slope, rtol=1e-5)
    np.testing.assert_array_equal(solver.update_weights(errors, "frobenius"), 1)


def test_label_errors():
    d = make()
    expected = np.sum((d.B @ d.R - d.Y) ** 2, axis=0)
    np.testing.assert_allclose(solver.label_errors(d.problem, d.statistics, d.R), expected)


def test_better_start_is_better():
    d = make(n=60)
    B = solver.start_codes(d.problem, 4, d.rng)
    better = solver.improve_start(d.problem, B, GAMMA, 5, d.rng)

    def best_over_projections(B):
        state = solver.start(d.problem, B, 0.0, GAMMA, "frobenius")
        E = B @ state.R - d.Y
        return state.objective - np.sum(E**2) - GAMMA * np.sum(state.R**2)

    assert best_over_projections(better) < best_over_projections(B)
    # The criterion is that minimum itself, less a constant.
    turned = [U.T @ F.T for (_, U), F in zip(d.problem.eigen, d.problem.pooled, strict=True)]
    value = solver._similarity_at_best_projection(
        d.problem, turned, B.T @ B, d.problem.similarity.pool(B), GAMMA
    )
    constant = 2 * 4**2 * np.sum(d.S**2)
    assert value + constant == pytest.approx(best_over_projections(B))


def test_rows_with_the_same_labels_start_alike():
    d = make(n=60)
    B = solver.start_codes(d.problem, 6, d.rng)
    patterns = {}
    for labels, code in zip(d.Y, B, strict=True):
        assert np.array_equal(patterns.setdefault(tuple(labels), code), code)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(3, 40),
    widths=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    c=st.integers(1, 6),
    k=st.integers(1, 12),
    multilabel=st.booleans(),
    constant=st.booleans(),
    label_term=st.sampled_from(["l21", "frobenius"]),
    relaxed=st.booleans(),
    alpha=st.sampled_from([0.0, 1e-5, 0.1, 1e5]),
    gamma=st.sampled_from([0.0, 1e-3, 1e5]),
    seed=st.integers(0, 1000),
)
def test_objective_never_rises(
    n, widths, c, k, multilabel, constant, label_term, relaxed, alpha, gamma, seed
):
    # Relaxed codes are held by alpha alone, and R by gamma where they are collinear: without
    # these, they grow until rounding dominates.
    assume((alpha >= 0.1 and gamma > 0) or not relaxed)
    d = make(n, tuple(widths), c, k, multilabel, seed=seed)
    for F in d.F:
        F -= F.mean(axis=0)
        if constant:
            F[:, 0] = 0
    problem = Problem.from_data(d.F, d.L)
    state = fit_codes(problem, d.B, d.weights, d.P, alpha, gamma, label_term)
    for _ in range(6):
        before, state = state, solver.sweep(problem, state, alpha, gamma, label_term, relaxed)
        assert state.objective <= before.objective + 1e-8 * abs(before.objective)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_products_over_many_rows_keep_their_digits(container):
    """Added up in float32, the relative error would grow with the rows."""
    rng = np.random.default_rng(0)
    F = 1 + rng.random((100_000, 2), dtype=np.float32)
    B = np.ones((len(F), 3), dtype=np.float32)
    expected = F.sum(axis=0, dtype=np.float64)[:, None] * np.ones(3)
    np.testing.assert_allclose(cross(container(F), B, np.float32), expected, rtol=5e-7)
    np.testing.assert_allclose(cross(B, container(F), np.float32), expected.T, rtol=5e-7)


@pytest.mark.parametrize("n_modalities", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_objective_never_rises_with_centred_anchors(n_modalities, dtype):
    rng = np.random.RandomState(0)
    y = rng.randint(5, size=150)
    Y = np.maximum(np.eye(5, dtype=int)[y], rng.rand(150, 5) < 0.1)
    X = [(rng.randn(5, 4)[y] + rng.randn(150, 4)).astype(dtype) for _ in range(n_modalities)]
    F = [AnchorRBF(150, random_state=0).fit_transform(x) for x in X]
    problem = Problem.from_data(F, sparse.csr_array(Y, dtype=np.int8))
    sweeps = Sweeps(30, tol=0)
    solution = solver.solve_exact(problem, 16, alpha=0.1, gamma=1e-3, sweeps=sweeps, rng=rng)
    trace = np.array(solution.objective)
    assert len(trace) > 1
    assert (np.diff(trace) <= 1e-8 * trace[:-1]).all()


def test_one_sweep_at_a_time(paired):
    X = MultimodalData(**paired.blocks)
    hasher = DSAH(n_bits=8, n_anchors=40, random_state=0, n_perturbations=0, tol=0)
    full = hasher.fit(X, paired.y).objective_
    for max_iter in range(1, len(full)):
        with pytest.warns(ConvergenceWarning, match="max_iter"):
            hasher.set_params(max_iter=max_iter).fit(X, paired.y)
        assert hasher.n_iter_ == max_iter
        np.testing.assert_array_equal(hasher.objective_, full[:max_iter])


def test_sweep_follows_the_order_of_the_rows():
    d = make(n=40, k=6)
    order = d.rng.permutation(40)
    problem = Problem.from_data([F[order] for F in d.F], d.L[order])
    args = (d.weights, d.P, ALPHA, GAMMA, "l21")
    state, permuted = (
        solver.sweep(p, fit_codes(p, B, *args), ALPHA, GAMMA, "l21")
        for p, B in [(d.problem, d.B), (problem, d.B[order])]
    )
    np.testing.assert_array_equal(permuted.B, state.B[order])
    np.testing.assert_allclose(permuted.P[0], state.P[0], rtol=1e-6, atol=1e-9)
    assert permuted.objective == pytest.approx(state.objective)


@pytest.mark.parametrize("make_sparse", [False, True])
def test_float32_agrees_with_float64(make_sparse):
    d = make(n=80, k=8)
    solutions = []
    for dtype in (np.float32, np.float64):
        F = [F.astype(dtype) for F in d.F]
        if make_sparse:
            F = [sparse.csr_array(x) for x in F]
        problem = Problem.from_data(F, d.L)
        rng = np.random.RandomState(0)
        sweeps = Sweeps(12, tol=1e-5)
        solutions.append(
            solver.solve_exact(problem, 8, alpha=0.1, gamma=1e-3, sweeps=sweeps, rng=rng)
        )
    single, double = solutions
    assert np.mean(single.codes == double.codes) > 0.99
    assert single.objective[-1] == pytest.approx(double.objective[-1], rel=1e-4)
    assert single.codes.dtype == np.int8


@pytest.mark.parametrize("which", [(0, 1), (0,), (1,)])
def test_sparse_features_agree_with_dense(which):
    d = make()
    F = [sparse.csr_array(F) if m in which else F for m, F in enumerate(d.F)]
    problem = Problem.from_data(F, d.L)
    state, expected = (
        solver.sweep(p, solver.start(p, d.B, ALPHA, GAMMA, "l21"), ALPHA, GAMMA, "l21")
        for p in (problem, d.problem)
    )
    np.testing.assert_array_equal(state.B, expected.B)
    assert state.objective == pytest.approx(expected.objective)


# The printed updates.


@pytest.mark.parametrize("widths", [(6,), (7, 5), (3, 4, 5)])
def test_alm_updates_are_the_printed_ones(widths):
    d = make(widths=widths)
    d.P = [1e-3 * P for P in d.P]  # so that no term of (12) dwarfs the others
    M, k, n, xi = len(widths), 4, 30, 0.5
    Z = [F @ P for F, P in zip(d.F, d.P, strict=True)]
    D = np.diag(d.weights)
    # (12), transposed.
    expected = 2 * k * d.S @ sum(Z) + 2 * ALPHA * np.mean(Z, axis=0) + 2 * d.Y @ D @ d.R.T
    expected += xi * d.V - d.V @ d.R @ D @ d.R.T - d.J
    B = solver.alm_codes(d.problem, d.R, d.weights, d.P, d.V, d.J, ALPHA, xi)
    np.testing.assert_array_equal(B, solver.sign(expected))
    # (16)
    expected = solver.sign(-d.B @ d.R @ D @ d.R.T + xi * d.B + d.J)
    V = solver.alm_auxiliary(d.problem, d.B, d.R, d.weights, d.J, xi)
    np.testing.assert_array_equal(V, expected)
    # (20): B'B R D + gamma R = B'L D
    R = solver.update_label_projection(d.statistics, d.weights, GAMMA)
    np.testing.assert_allclose(d.B.T @ d.B @ R @ D + GAMMA * R, d.B.T @ d.Y @ D, atol=1e-9)
    # (24) and (27); F'F is regular here, so the ridge is all that differs.
    for m, F in enumerate(d.F):
        others = sum(Z[j] for j in range(M) if j != m)
        right = F.T @ (k * d.S @ d.B + M * ALPHA * d.B - ALPHA * others)
        P = solver.alm_projection(d.problem, d.statistics, d.P, m, ALPHA, GAMMA)
        left = (1 + ALPHA + GAMMA) * F.T @ F + 1e-6 * n * np.eye(F.shape[1])
        np.testing.assert_allclose(left @ P, right)
    # (30), with its missing term: the zero of the gradient of (29).
    B = solver.alm_relaxed_codes(d.problem, d.R, d.weights, d.P, ALPHA)
    np.testing.assert_array_equal(solver.bounded(B), B)
    assert np.sqrt(np.mean(solver.bounded(1e40 * B) ** 2)) == pytest.approx(1e20)
    gradient = ALPHA * sum(B - Z_m for Z_m in Z) + (B @ d.R - d.Y) @ D @ d.R.T
    np.testing.assert_allclose(gradient, 0, atol=1e-9)


@pytest.mark.parametrize("solver_name", ["exact", "alm"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_relaxed_codes_are_real_within_and_thresholded_at_their_mean(solver_name):
    d = make(n=60, k=6)
    d.F[0] += 3.0  # not centred, so that the mean of a bit is not zero
    problem = Problem.from_data(d.F, d.L)
    solve, own = {
        "exact": (solver.solve_exact, {"n_perturbations": 0}),
        "alm": (solver.solve_alm, {"xi": 0.1, "rho": 1.1}),
    }[solver_name]
    seen = []

    def record(B):
        seen.append(B)
        return threshold(B)

    threshold = solver.threshold_at_mean
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solver, "threshold_at_mean", record)
        solution, rounded = (
            solve(
                problem, 6, alpha=ALPHA, gamma=GAMMA, relaxed=relaxed,
                sweeps=Sweeps(4, tol=-1.0), rng=np.random.RandomState(0), **own,
            )
            for relaxed in (True, False)
        )  # fmt: skip
    (B,) = seen
    assert len(np.unique(B)) > 2
    np.testing.assert_array_equal(solution.codes, np.where(B >= B.mean(axis=0), 1, -1))
    assert (solution.codes != np.where(B >= 0, 1, -1)).any()
    assert not np.allclose(solution.objective, rounded.objective)


@pytest.mark.parametrize("solver_name", ["exact", "alm"])
@pytest.mark.parametrize(
    "change",
    [{"relaxed": True}, {"label_term": "frobenius"}, {"alpha": 3.0}, {"gamma": 3.0}],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_parameters_reach_the_solver(paired, solver_name, change):
    hasher = DSAH(8, solver=solver_name, n_anchors=40, max_iter=3, tol=0, random_state=0)
    traces = [
        hasher.set_params(**params).fit(paired.X, paired.y).objective_ for params in ({}, change)
    ]
    # One seed: what is ignored leaves every digit as it is.
    assert not np.array_equal(*traces)


def test_printed_relaxed_codes_do_not_grow_without_bound(paired):
    """Unbounded, they grow by k n a sweep, and a fit of some sweeps ended in a LinAlgError."""
    hasher = DSAH(16, solver="alm", relaxed=True, n_anchors=60, max_iter=80, tol=0, random_state=0)
    with pytest.warns(ConvergenceWarning):
        hasher.fit(MultimodalData(**paired.blocks), paired.y)
    assert np.isfinite(hasher.objective_).all()


@pytest.mark.parametrize(("xi", "rho"), [(0.5, 1.0), (0.5, 1.7), (1e3, 1.5)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_alm_follows_algorithm_1_number_for_number(xi, rho):
    """The paper's column matrices, where V and J matter: 2 k S sum Z does not dwarf them."""
    n, k, c, alpha, gamma, sweeps = 30, 4, 4, 0.3, 1e4, 6
    first_xi = xi
    d = make(n=n, k=k, c=c)
    ours = solver.solve_alm(
        d.problem, k, alpha=alpha, gamma=gamma, xi=xi, rho=rho,
        sweeps=Sweeps(sweeps, tol=-1.0), rng=np.random.RandomState(3),
    )  # fmt: skip

    rng = np.random.RandomState(3)
    R = rng.standard_normal((k, c))
    P1, P2 = (rng.standard_normal((F.shape[1], k)).T for F in d.F)
    B, V = (np.where(rng.standard_normal((n, k)) >= 0, 1.0, -1.0).T for _ in range(2))
    J = rng.standard_normal((n, k)).T
    F1, F2 = (F.T for F in d.F)
    L, S, D = d.Y.T, d.S, np.eye(c)
    trace, apart = [], []
    for _ in range(sweeps):
        C = (P1 @ F1 + P2 @ F2) / 2
        target = 2 * k * (P1 @ F1 + P2 @ F2) @ S + 2 * alpha * C - R @ D @ R.T @ V
        B = np.where(target + 2 * R @ D @ L + xi * V - J >= 0, 1.0, -1.0)  # (12)
        V = np.where(-R @ D @ R.T @ B + xi * B + J >= 0, 1.0, -1.0)  # (16)
        J, xi = J + xi * (B - V), rho * xi  # (17)
        for j in range(c):  # (21), column by column
            left = B @ B.T + gamma / D[j, j] * np.eye(k)
            R[:, j] = np.linalg.solve(left, B @ L[j])
        E = R.T @ B - L
        D = np.diag(0.5 / np.sqrt((E**2).sum(axis=1) + 1))  # (4), smoothed
        inverses = [np.linalg.inv((1 + alpha + gamma) * F @ F.T + 1e-6 * n * np.eye(len(F)))
                    for F in (F1, F2)]  # fmt: skip
        P1 = (k * B @ S.T @ F1.T + 2 * alpha * B @ F1.T - alpha * P2 @ F2 @ F1.T) @ inverses[0]
        P2 = (k * B @ S.T @ F2.T + 2 * alpha * B @ F2.T - alpha * P1 @ F1 @ F2.T) @ inverses[1]
        trace.append(value_with_n_by_n(d, B.T, R, [P1.T, P2.T], alpha, gamma))
        apart.append(np.any(B != V))
    assert first_xi > 1 or sum(apart) >= 2, "J moves only where B and V are apart"
    np.testing.assert_array_equal(ours.codes, B.T)
    np.testing.assert_allclose(ours.objective, trace, rtol=1e-10)
    np.testing.assert_allclose(ours.projections[0], P1.T, rtol=1e-7)
    np.testing.assert_allclose(ours.projections[1], P2.T, rtol=1e-7)


# The estimator.


@pytest.mark.parametrize("solver_name", ["exact", "alm"])
@pytest.mark.parametrize("label_term", ["l21", "frobenius"])
@pytest.mark.parametrize("relaxed", [False, True])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_variants_learn_what_is_easy(paired, solver_name, label_term, relaxed):
    hasher = DSAH(
        n_bits=16,
        solver=solver_name,
        label_term=label_term,
        relaxed=relaxed,
        n_anchors=60,
        random_state=0,
    )
    hasher.fit(MultimodalData(**paired.blocks), paired.y)
    assert set(np.unique(hasher.codes_)) == {-1, 1}
    assert hasher.score(MultimodalData(**paired.blocks), paired.y) > 0.8


def test_without_kernel(paired):
    hasher = DSAH(n_bits=16, feature_map=StandardScaler(), random_state=0)
    hasher.fit(MultimodalData(**paired.blocks), paired.y)
    assert hasher.projections_["text"].shape == (5, 16)
    assert hasher.score(MultimodalData(**paired.blocks), paired.y) > 0.8


@pytest.mark.parametrize("names", [["image"], ["image", "text"], ["image", "text", "sound"]])
def test_any_number_of_modalities(paired, names):
    sound = paired.image[:, ::-1] + 1
    blocks = {"sound": sound, **paired.blocks}
    X = MultimodalData(**{name: blocks[name] for name in names})
    hasher = DSAH(n_bits=16, n_anchors=60, random_state=0).fit(X, paired.y)
    assert hasher.score(X, paired.y) > 0.9
    assert list(hasher.projections_) == names


def test_odd_data():
    """More bits than features, more classes than rows have, a class of nobody, a constant."""
    rng = np.random.RandomState(0)
    X = np.column_stack([rng.randn(40, 2), np.ones(40)])
    Y = np.zeros((40, 5), dtype=int)
    Y[np.arange(40), (X[:, 0] > 0).astype(int)] = 1
    hasher = DSAH(n_bits=32, n_anchors=40, random_state=0, tol=0, max_iter=50).fit(X, Y)
    assert np.isfinite(hasher.objective_).all()
    assert (np.diff(hasher.objective_) <= 1e-8 * hasher.objective_[:-1]).all()
    assert hasher.score(X, Y) > 0.9


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"xi": 0.1}, "xi"),
        ({"rho": 2.0}, "rho"),
        ({"solver": "alm", "n_perturbations": 3}, "n_perturbations"),
        ({"solver": "alm", "relaxed": True, "xi": 0.1}, "xi"),
        ({"feature_map": StandardScaler(), "n_anchors": 9}, "n_anchors"),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_ignored_parameters_warn(paired, params, name):
    hasher = DSAH(n_bits=4, random_state=0, **params)
    with pytest.warns(UserWarning, match=f"{name} has no effect"):
        hasher.fit(paired.X, paired.y)


def test_default_on_easy_data_is_silent(paired):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DSAH(n_bits=16, n_anchors=60, random_state=0).fit(paired.X, paired.y)


def test_verbose_prints_sweeps(paired, capsys):
    hasher = DSAH(n_bits=4, n_anchors=20, random_state=0, verbose=1).fit(paired.X, paired.y)
    assert capsys.readouterr().out.count("[DSAH] sweep") == hasher.n_iter_


def test_published_penalties_do_not_matter():
    """The guide says so: 2 k S sum Z dwarfs them, so the codes are the same for all of them."""
    d = make(n=200, k=8)
    fits = [
        solver.solve_alm(
            d.problem, 8, alpha=0.1, gamma=1e-3, xi=xi, rho=rho,
            sweeps=Sweeps(4, tol=-1.0), rng=np.random.RandomState(0),
        )
        for xi, rho in [(1e-8, 1.0), (1e-2, 1.5), (1e-1, 10.0), (1e6, 1.5)]
    ]  # fmt: skip
    for fit in fits[1:-1]:
        np.testing.assert_array_equal(fit.codes, fits[0].codes)
    assert (fits[-1].codes != fits[0].codes).any()


# Real data: the figures of an independent implementation, mean of three seeds.


@pytest.mark.parametrize(
    ("n_bits", "learned", "held_out"),
    [(16, (0.357, 0.730), (0.255, 0.199)), (64, (0.382, 0.763), (0.283, 0.216))],
)
def test_wiki(wiki, n_bits, learned, held_out):
    X, Y = MultimodalData(image=wiki.image, text=wiki.text), wiki.labels
    scorers = [
        make_retrieval_scorer("map", query=query, gallery=gallery)
        for gallery in ("learned", "validation")
        for query in ("image", "text")
    ]
    scores = []
    for seed in range(3):
        maps = {"image": AnchorRBF(500), "text": AnchorRBF(1000)}
        hasher = DSAH(n_bits, feature_map=maps, random_state=seed)
        hasher.fit(X[wiki.train], Y[wiki.train])
        scores.append([score(hasher, X[wiki.test], Y[wiki.test]) for score in scorers])
    assert (np.mean(scores, axis=0) >= np.array([*learned, *held_out]) - 0.01).all()
