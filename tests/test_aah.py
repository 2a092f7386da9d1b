"""AAH: the paper's updates number for number, optimality, ablations, and the estimator."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KNeighborsTransformer, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from sklearn_cmh import MultimodalData
from sklearn_cmh.metrics import make_retrieval_scorer, mean_average_precision
from sklearn_cmh.shallow import AAH
from sklearn_cmh.shallow import _aah as aah
from sklearn_cmh.solvers import GraphSimilarity, SharedLabelSimilarity, Sweeps

N, K = 16, 3


def make_problem(widths, seed=0):
    """Features, indicator, and a random point of every variable."""
    rng = np.random.RandomState(seed)
    L = (rng.rand(N, 5) < 0.2).astype(np.int8)
    L[L.sum(axis=1) == 0, 0] = 1
    X = [rng.randn(N, d) for d in widths]
    W = [rng.randn(d, K) for d in widths]
    U, C = ([rng.randn(N, K) for _ in widths] for _ in range(2))
    P = [aah.update_reconstruction(rng.randn(d, K)) for d in widths]
    B = np.sign(rng.randn(N, K))
    return X, sparse.csr_array(L), W, U, C, P, B


def dense_similarity(L):
    return (L.toarray().astype(int) @ L.toarray().T > 0).astype(float)


def lagrangian(X, S, W, U, C, P, B, theta, alpha, beta, mu):
    """Equation (14), from the double sums of (8), for any number of modalities."""
    value = np.linalg.norm(B - sum(U) / len(U)) ** 2
    for m in range(len(X)):
        value += theta[m] * (S * cdist(X[m], U[m] @ P[m].T, "sqeuclidean")).sum()
        gap = X[m] @ W[m] - U[m]
        value += mu / 2 * np.linalg.norm(gap) ** 2 + (C[m] * gap).sum()
        for j in range(m):
            value += alpha * (S * cdist(U[j], U[m], "sqeuclidean")).sum()
            value += beta * np.linalg.norm(U[j] - U[m]) ** 2
    return value


@pytest.mark.parametrize("widths", [(6,), (6, 5), (6, 5, 7)])
def test_every_update_solves_its_subproblem(widths):
    """The minimum of (14) in one variable: no perturbation and no optimiser does better."""
    X, L, W, U, C, P, B = make_problem(widths)
    S = dense_similarity(L)
    theta, alpha, beta, mu = [1.0, 0.5, 2.0], 0.7, 1.3, 0.4
    weights = aah.Weights(theta, alpha, beta)
    graph = GraphSimilarity(sparse.csr_array(S))
    problem = aah.Problem.from_data(X, [graph] * len(X), graph, ridge=0.0)
    XW = [x @ w for x, w in zip(X, W, strict=True)]
    H = [aah.regressed(u, c, mu) for u, c in zip(U, C, strict=True)]
    XH = [x.T @ h for x, h in zip(X, H, strict=True)]
    state = aah.State(U, P, C, B, mu, XH, EU=U, XSU=[None] * len(X))
    rng = np.random.RandomState(1)

    def value(W=W, U=U, P=P, B=B):
        return lagrangian(X, S, W, U, C, P, B, theta, alpha, beta, mu)

    def put(variables, m, new):
        return [new if j == m else v for j, v in enumerate(variables)]

    for m in range(len(X)):
        best_U = aah.update_relaxed(
            weights,
            mu,
            aah.group_similarities(problem, weights, state, m),
            aah.pulls(problem, weights, m),
            XW[m],
            C[m],
            B,
            U[:m] + U[m + 1 :],
        )
        best_W = aah.update_projection(problem, state, m)
        best_P = aah.update_reconstruction(aah.reconstruction_product(problem, U, m))
        np.testing.assert_allclose(best_P.T @ best_P, np.eye(K), atol=1e-10)
        for name, variables, best in (("U", U, best_U), ("W", W, best_W)):
            found = minimize(
                lambda v, name=name, variables=variables, best=best, m=m: value(
                    **{name: put(variables, m, v.reshape(best.shape))}
                ),
                variables[m].ravel(),
            )
            np.testing.assert_allclose(found.x.reshape(best.shape), best, atol=1e-3)
            optimum = value(**{name: put(variables, m, best)})
            for scale in (1e-3, 1e-1, 1.0):
                other = best + scale * rng.randn(*best.shape)
                assert value(**{name: put(variables, m, other)}) > optimum
        optimum = value(P=put(P, m, best_P))
        for scale in (1e-3, 1e-1, 1.0):
            other = aah.update_reconstruction(best_P + scale * rng.randn(*best_P.shape))
            assert value(P=put(P, m, other)) > optimum
    relaxed = value(B=aah.update_codes(U))
    discrete = aah.update_codes(U, discrete=True)
    assert set(np.unique(discrete)) <= {-1.0, 1.0}
    for scale in (1e-3, 1.0):
        assert value(B=aah.update_codes(U) + scale * rng.randn(N, K)) > relaxed
        flipped = np.where(rng.rand(N, K) < scale, -1, 1) * discrete
        assert value(B=flipped) >= value(B=discrete)


@pytest.mark.parametrize("n_modalities", [1, 2, 3])
@pytest.mark.parametrize("averaging", [True, False])
def test_objective_is_the_double_sum_of_the_paper(n_modalities, averaging):
    """Equation (8) with graphs of their own within modalities, and another between them."""
    X, _, _, U, C, P, B = make_problem((6, 5, 7)[:n_modalities])
    theta, alpha, beta = [1.0, 0.5, 2.0][:n_modalities], 0.7, 1.3
    *within, between = (random_graph(seed) for seed in range(n_modalities + 1))
    problem = aah.Problem.from_data(
        X, [GraphSimilarity(S) for S in within], GraphSimilarity(between), ridge=0.0
    )
    XSU = [aah.reconstruction_product(problem, U, m) for m in range(n_modalities)]
    state = aah.State(U, P, C, B, 0.1, XH=[], EU=U, XSU=XSU)
    value = aah.objective(problem, aah.Weights(theta, alpha, beta, averaging), state)
    expected = averaging * np.linalg.norm(B - sum(U) / n_modalities) ** 2
    for m, x in enumerate(X):
        reconstruction = cdist(x, U[m] @ P[m].T, "sqeuclidean")
        expected += theta[m] * (within[m].toarray() * reconstruction).sum()
        # P_m has orthonormal columns here, as the paper has it, but not where d_m < k.
        for j in range(m):
            expected += alpha * (between.toarray() * cdist(U[j], U[m], "sqeuclidean")).sum()
            expected += beta * np.linalg.norm(U[j] - U[m]) ** 2
    assert value == pytest.approx(expected, rel=1e-12)


def random_graph(seed):
    A = np.random.RandomState(seed).rand(N, N) < 0.2
    return sparse.csr_array((A | A.T | np.eye(N, dtype=bool)).astype(float))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_two_modalities_follow_the_paper_number_for_number():
    """Algorithm 1, transcribed with the paper's column matrices and the n x n graph."""
    (image, text), labels, *_ = make_problem((6, 5))
    alpha, beta, theta, mu, rho, sweeps = 0.8, 3.0, 4.0, 0.1, 1.2, 5
    mu_max = 0.13  # reached on the way
    S = SharedLabelSimilarity(labels)
    start = [np.random.RandomState(3).randn(N, K) for _ in range(2)]
    ours = aah.solve(
        aah.Problem.from_data([image, text], [S, S], S, ridge=0.0),
        aah.Weights([1.0, theta], alpha, beta),
        [u.copy() for u in start],
        mu=mu,
        rho=rho,
        mu_max=mu_max,
        discrete=False,
        sweeps=Sweeps(sweeps, tol=0.0),
    )

    X, Y, L = image.T, text.T, dense_similarity(labels)
    U, V = (u.T for u in start)

    def procrustes(A):
        left, _, right = np.linalg.svd(A, full_matrices=False)
        return left @ right

    P1, P2, B = procrustes(X @ L @ U.T), procrustes(Y @ L @ V.T), (U + V) / 2
    C1, C2, D, I = np.zeros_like(U), np.zeros_like(V), np.diag(L.sum(axis=1)), np.eye(N)
    trace = []
    for _ in range(sweeps):
        Q = np.linalg.inv(X @ X.T) @ X @ (U - C1 / mu).T  # (17)
        A = np.linalg.inv(Y @ Y.T) @ Y @ (V - C2 / mu).T  # (19)
        E = 2 * P1.T @ X @ L + mu * (Q.T @ X + C1 / mu) + 2 * alpha * V @ L
        E += (2 * beta - 1 / 2) * V + B
        U = E @ np.linalg.inv(2 * (1 + alpha) * D + (2 * beta + 1 / 2 + mu) * I)  # (21)
        J = 2 * theta * P2.T @ Y @ L + mu * (A.T @ Y + C2 / mu) + 2 * alpha * U @ L
        J += (2 * beta - 1 / 2) * U + B
        V = J @ np.linalg.inv(2 * (theta + alpha) * D + (2 * beta + 1 / 2 + mu) * I)  # (23)
        P1, P2 = procrustes(X @ L @ U.T), procrustes(Y @ L @ V.T)  # (26), (28)
        B = (U + V) / 2  # (30)
        C1 = C1 + mu * (Q.T @ X - U)  # (31)
        C2 = C2 + mu * (A.T @ Y - V)  # (32)
        mu = min(rho * mu, mu_max)  # (33)
        trace.append(
            (L * cdist(X.T, (P1 @ U).T, "sqeuclidean")).sum()
            + theta * (L * cdist(Y.T, (P2 @ V).T, "sqeuclidean")).sum()
            + alpha * (L * cdist(U.T, V.T, "sqeuclidean")).sum()
            + beta * np.linalg.norm(U - V) ** 2
            + np.linalg.norm(B - (U + V) / 2) ** 2
        )  # (8)
    np.testing.assert_allclose(ours.objective, trace, rtol=1e-9)
    np.testing.assert_array_equal(ours.codes, np.where(B.T >= 0, 1, -1))
    Q = np.linalg.inv(X @ X.T) @ X @ (U - C1 / mu).T
    A = np.linalg.inv(Y @ Y.T) @ Y @ (V - C2 / mu).T
    np.testing.assert_allclose(ours.projections[0], Q, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.projections[1], A, rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=3),
    st.sampled_from([0.0, 0.5]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 100),
)
def test_patterns_give_what_the_dense_graph_gives(widths, alpha, discrete, averaging, seed):
    """Also where a modality is narrower than the codes, and for every ablation."""
    X, L, *_ = make_problem(widths, seed)
    patterns = SharedLabelSimilarity(L)
    graph = GraphSimilarity(sparse.csr_array(dense_similarity(L)))
    start = np.random.RandomState(seed).randn(N, K)
    weights = aah.Weights([1.0] * len(X), alpha, 1.0, averaging)
    both = [
        aah.solve(
            aah.Problem.from_data(X, [S] * len(X), S, ridge=0.1),
            weights,
            [start.copy() for _ in X],
            mu=0.1,
            rho=1.01,
            mu_max=1e8,
            discrete=discrete,
            sweeps=Sweeps(3, tol=0.0),
        )
        for S in (patterns, graph)
    ]
    np.testing.assert_allclose(both[0].objective, both[1].objective, rtol=1e-8)
    for P, Q in zip(both[0].projections, both[1].projections, strict=True):
        np.testing.assert_allclose(P, Q, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", ["dense", "sparse", "many groups", "every row its group"])
def test_sums_of_features_are_their_definition(kind, monkeypatch):
    monkeypatch.setattr(aah, "_SUMMED_ROWS", 9)
    monkeypatch.setattr(aah, "_FEW_ROWS", 5)
    n = N if kind == "every row its group" else 200
    X = np.random.RandomState(0).randn(n, 4)
    if kind == "every row its group":
        S = GraphSimilarity(random_graph(0))
    else:
        g = 30 if kind == "many groups" else 4  # more, and fewer, than rows of a block
        S = SharedLabelSimilarity(sparse.csr_array(np.eye(g, dtype=np.int8)[np.arange(n) % g]))
    degrees = S.degree_column()
    given = sparse.csr_array(X) if kind == "sparse" else X
    G, EX, energy = aah.feature_sums(given, S, degrees)
    np.testing.assert_allclose(G, X.T @ X)
    EX = EX.toarray() if sparse.issparse(EX) else EX
    np.testing.assert_allclose(EX, S.pool(np.eye(n)) @ X, atol=1e-12)
    assert energy == pytest.approx((degrees * X**2).sum())


def test_narrow_modality_is_the_method_on_zero_columns():
    """d_m < k: the same codes as with the features padded to k columns by zeros."""
    X, L, *_ = make_problem((6, 2))
    padded = np.hstack([X[1], np.zeros((N, 1))])
    U = np.random.RandomState(0).randn(N, K)
    S = SharedLabelSimilarity(L)
    P, P_padded = (aah.update_reconstruction(x.T @ (S @ U)) for x in (X[1], padded))
    np.testing.assert_allclose(X[1] @ P, padded @ P_padded, atol=1e-10)
    np.testing.assert_allclose(P_padded.T @ P_padded, np.eye(K), atol=1e-10)


def test_mutual_neighbours_are_mutual():
    X = np.random.RandomState(0).randn(30, 3)
    graph = aah.mutual_neighbours(X, 4).toarray()
    near = NearestNeighbors(n_neighbors=4).fit(X).kneighbors_graph().toarray()
    expected = np.minimum(near, near.T) + np.eye(30)
    np.testing.assert_array_equal(graph, expected)


@pytest.fixture
def hasher():
    return AAH(n_bits=8, random_state=0)


def test_neighbours_are_of_no_use_to_labels(hasher, paired):
    with pytest.warns(UserWarning, match="n_neighbors has no effect with affinity='label'"):
        hasher.set_params(n_neighbors=7).fit(MultimodalData(**paired.blocks), paired.y)


def test_knn_affinity_needs_no_labels(hasher, paired):
    X = MultimodalData(**paired.blocks)
    hasher.set_params(affinity="knn", max_iter=60)
    alone = hasher.fit(X).codes_
    assert hasher.labels_ is None
    with pytest.raises(ValueError, match="fitted without y"):
        hasher.score(X, paired.y)
    hasher.fit(X, np.where(np.arange(len(paired.y)) % 3, paired.y, -1))
    np.testing.assert_array_equal(hasher.codes_, alone)
    assert hasher.score(X, paired.y) > 0.4  # without labels; chance is 0.25


def test_pair_weight_mixes_the_graphs(hasher, paired):
    X = list(paired.blocks.values())
    L = sparse.csr_array(paired.indicator.astype(np.int8))
    hasher.set_params(pair_weight=0.3, n_neighbors=5)
    within, between = hasher._similarities(X, L, np.random)
    graphs = [aah.mutual_neighbours(x, 5).toarray() for x in X]
    I, shared = np.eye(120), dense_similarity(L)
    for S, graph in zip([*within, between], [*graphs, np.maximum(*graphs)], strict=True):
        np.testing.assert_allclose(S @ I, 0.7 * shared + 0.3 * graph)
        np.testing.assert_allclose(S.degrees(), (0.7 * shared + 0.3 * graph).sum(axis=1))


def test_ends_of_pair_weight_are_the_two_affinities(hasher, paired):
    X = MultimodalData(**paired.blocks)
    knn = clone(hasher).set_params(affinity="knn").fit(X)
    alone = clone(hasher).set_params(pair_weight=1).fit(X)
    np.testing.assert_array_equal(alone.codes_, knn.codes_)
    with pytest.warns(UserWarning, match="pair_weight has no effect with affinity='knn'"):
        clone(hasher).set_params(affinity="knn", pair_weight=0.5).fit(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_rows_without_labels_follow_their_neighbours(hasher, paired):
    known = np.arange(120) % 4 == 0
    X, y = MultimodalData(**paired.blocks), paired.y
    hasher.set_params(pair_weight=0.5, n_neighbors=15).fit(X, np.where(known, y, -1))
    codes = hasher.codes_
    hasher.fit(X, paired.indicator * known[:, None])
    np.testing.assert_array_equal(hasher.codes_, codes)
    found = mean_average_precision(codes[~known], codes[known], y[~known], y[known])
    assert found > 0.5  # chance is 0.25


@pytest.mark.parametrize("mode", ["distance", "connectivity"])
def test_neighbours_by_any_transformer(hasher, paired, mode):
    """Equal rows, whose distance is zero, and the row itself, if it is among its nearest."""
    x = np.vstack([paired.image, paired.image[:10]])
    found = aah.mutual_neighbours(x, 7, KNeighborsTransformer(n_neighbors=7, mode=mode))
    k = 6 if mode == "connectivity" else 7  # which counts the row itself
    np.testing.assert_array_equal(found.toarray(), aah.mutual_neighbours(x, k).toarray())
    assert found.nnz < 130 * 8
    X = MultimodalData(**paired.blocks)
    exact = clone(hasher).set_params(affinity="knn", n_jobs=2).fit(X)
    hasher.set_params(affinity="knn", neighbors=KNeighborsTransformer(n_neighbors=20))
    np.testing.assert_array_equal(hasher.fit(X).codes_, exact.codes_)
    assert not hasattr(hasher.neighbors, "n_samples_fit_")
    with pytest.warns(UserWarning, match="n_jobs has no effect with neighbors"):
        hasher.set_params(n_jobs=2).fit(X)
    with pytest.raises(ValueError, match=r"neighbors: .* not a sparse graph of shape"):
        hasher.set_params(neighbors=StandardScaler(), n_jobs=None).fit(X)


def test_label_affinity_needs_labels(hasher, paired):
    with pytest.raises(ValueError, match="requires y"):
        hasher.fit(MultimodalData(**paired.blocks))


@pytest.mark.parametrize(
    "ablation", [{"alpha": 0}, {"beta": 0}, {"averaging": False}, {"discrete": True}]
)
def test_ablations_change_the_solution_and_still_learn(hasher, paired, ablation):
    X = MultimodalData(**paired.blocks)
    whole = hasher.fit(X, paired.y).objective_[-1]
    hasher.set_params(**ablation, max_iter=200).fit(X, paired.y)
    assert hasher.objective_[-1] != whole
    assert hasher.score(X, paired.y) > 0.8


def test_theta_per_modality_is_the_number_after_the_first(hasher, paired):
    X = MultimodalData(**paired.blocks)
    number = hasher.set_params(theta=3.0).fit(X, paired.y).objective_
    mapping = hasher.set_params(theta={"image": 1.0, "text": 3.0}).fit(X, paired.y).objective_
    np.testing.assert_array_equal(number, mapping)
    with pytest.raises(ValueError, match="theta must be"):
        hasher.set_params(theta={"image": 1.0}).fit(X, paired.y)


@pytest.mark.parametrize("names", [["image"], ["image", "text", "sound"]])
def test_any_number_of_modalities(hasher, paired, names):
    sound = paired.text[:, ::-1] ** 2
    blocks = {name: {**paired.blocks, "sound": sound}[name] for name in names}
    X = MultimodalData(**blocks)
    hasher.fit(X, paired.indicator)
    assert hasher.score(X, paired.indicator) > 0.7
    assert list(hasher.projections_) == names


def test_sparse_features_equal_dense_ones(hasher, paired):
    blocks = {name: np.where(block > 1, block, 0) for name, block in paired.blocks.items()}
    hasher.set_params(feature_map="passthrough")
    dense = hasher.fit(MultimodalData(**blocks), paired.y)
    trace, projections = dense.objective_, dense.projections_
    hasher.fit(MultimodalData(**{k: sparse.csr_array(b) for k, b in blocks.items()}), paired.y)
    np.testing.assert_allclose(hasher.objective_, trace)
    for name, P in projections.items():
        np.testing.assert_allclose(hasher.projections_[name], P, atol=1e-8)
    hasher.set_params(feature_map=None)
    hasher.fit(MultimodalData(**{k: sparse.csr_array(b) for k, b in blocks.items()}), paired.y)
    assert not hasher.feature_maps_["image"].with_mean


def test_float32_agrees_with_float64(hasher, paired):
    X = MultimodalData(**paired.blocks)
    X32 = MultimodalData(**{name: block.astype(np.float32) for name, block in X.blocks.items()})
    exact = hasher.fit(X, paired.y)
    trace, codes = exact.objective_, exact.codes_
    hasher.fit(X32, paired.y)
    assert {P.dtype for P in hasher.projections_.values()} == {np.dtype(np.float32)}
    np.testing.assert_allclose(hasher.objective_, trace, rtol=1e-3)
    assert np.mean(hasher.codes_ == codes) > 0.99


def test_constant_columns_without_ridge(hasher, paired):
    X = MultimodalData(image=np.hstack([paired.image, np.ones((len(paired.y), 2))]))
    hasher.set_params(ridge=0).fit(X, paired.y)
    assert np.isfinite(hasher.projections_["image"]).all()


def test_warns_when_sweeps_run_out(hasher, paired):
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        hasher.set_params(max_iter=2).fit(MultimodalData(**paired.blocks), paired.y)
    assert hasher.n_iter_ == len(hasher.objective_) == 2


def test_penalty_is_bounded_by_mu_max(hasher, paired):
    X = MultimodalData(**paired.blocks)
    hasher.set_params(rho=3.0, tol=0, max_iter=5)
    with pytest.warns(ConvergenceWarning):
        free = hasher.fit(X, paired.y).objective_
        bounded = hasher.set_params(mu_max=0.2).fit(X, paired.y).objective_
    np.testing.assert_array_equal(bounded[:1], free[:1])  # the first sweep is at mu
    assert (bounded[2:] != free[2:]).all()


def test_knn_affinity_joins_modalities_where_either_says_so(hasher, paired):
    """Within a modality its own graph counts, between modalities the union of all."""
    X = list(paired.blocks.values())
    hasher.set_params(affinity="knn", n_neighbors=5)
    within, between = hasher._similarities(X, None, np.random)
    graphs = [aah.mutual_neighbours(x, 5).toarray() for x in X]
    assert (graphs[0] != graphs[1]).any()
    for S, graph in zip([*within, between], [*graphs, np.maximum(*graphs)], strict=True):
        np.testing.assert_array_equal(S @ np.eye(len(graph)), graph)


@pytest.mark.parametrize(
    ("bits", "learned", "held_out"),
    [(16, (0.329, 0.703), (0.247, 0.194)), (64, (0.365, 0.730), (0.262, 0.203))],
)
def test_wiki_reaches_the_reference(wiki, bits, learned, held_out):
    """Mean of three seeds, an independent implementation's figures less 0.01."""
    X, y = MultimodalData(image=wiki.image, text=wiki.text), wiki.labels
    scorers = [
        make_retrieval_scorer(query="image"),
        make_retrieval_scorer(query="text"),
        make_retrieval_scorer(query="image", database="text", gallery="validation"),
        make_retrieval_scorer(query="text", database="image", gallery="validation"),
    ]
    figures = []
    for seed in range(3):
        hasher = AAH(n_bits=bits, theta=1, alpha=10, random_state=seed)
        hasher.fit(X[wiki.train], y[wiki.train])
        figures.append([scorer(hasher, X[wiki.test], y[wiki.test]) for scorer in scorers])
    assert (np.mean(figures, axis=0) > np.array([*learned, *held_out]) - 0.01).all()
