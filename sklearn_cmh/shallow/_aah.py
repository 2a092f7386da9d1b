"""Average approximate hashing (AAH).

X. Fang, K. Jiang, N. Han, S. Teng, G. Zhou, S. Xie, "Average Approximate Hashing-Based
Double Projections Learning for Cross-Modal Retrieval", IEEE Transactions on Cybernetics,
2021. Every modality has a semantic space of its own, ``U_m = X_m W_m``, and the codes are
the sign of their mean. Equation (8), for M modalities, every pair counted once:

    sum_m theta_m sum_ij S_ij ||x_i - P_m u_j||^2             residual and energy
    + alpha sum_{l<m} sum_ij S_ij ||u_i^l - u_j^m||^2         label consistency
    + beta sum_{l<m} ||U_l - U_m||^2                          global approximation
    + ||B - mean_m U_m||^2                                    average approximation
    subject to P_m'P_m = I

with S_ij = 1 where rows i and j share a label (or are mutual nearest neighbours, or a mixture
of both), solved by
the alternating direction method of multipliers with multipliers C_m and penalty mu for
``U_m = X_m W_m``. Rows are samples here; the paper's matrices are the transposes. Where
d_m < k, P_m cannot have orthonormal columns: its rows are orthonormal then, which is the
method on X_m padded with zero columns to width k.

The paper forms S and so subsamples large data; here S acts through its few label patterns
(`similarity`), and a sweep passes once over every X_m.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from scipy import sparse
from scipy.linalg import cho_solve
from scipy.sparse.linalg import LinearOperator
from sklearn.utils import gen_batches, gen_even_slices

from ..base import (
    Learning,
    LinearHasher,
    Solution,
    modality_weights,
    parametrised,
    warn_ignored,
)
from ..data import ChunkedRows, label_patterns, labelled_rows, over_rows
from ..solvers import (
    GraphSimilarity,
    MixedSimilarity,
    SharedLabelSimilarity,
    cross,
    dense,
    gram,
    inner,
    label_similarity,
    polar_factor,
    quiet_passes,
    ridge_factor,
    sign,
)
from ..utils._callbacks import report
from ..utils._products import strips
from ..utils._sklearn import HasMethods, Interval, StrOptions
from ..utils._threads import add_blocks, for_blocks, map_blocks, row_slices
from ..utils._transformers import inner_clone

__all__ = ["AAH"]

_BLOCK_ROWS = 2048
# So many that adding up sums of them takes less time than summing does.
_SUMMED_ROWS = 3072
# Of which float64 copies are made while they are in the caches.
_FEW_ROWS = 128
# Of features of some rows, which stay in the caches from one product to the next.
_BLOCK_ENTRIES = 2**20


@dataclass(frozen=True)
class Weights:
    """Weights of the terms of (8), `theta` one per modality; whether the last term is there."""

    theta: list
    alpha: float
    beta: float
    averaging: bool = True

    def average(self, n_modalities):
        """Share of every modality in the codes, as the relaxed codes see it."""
        return 1 / n_modalities if self.averaging else 0.0


@dataclass
class Problem:
    """What the sweeps need of the data, computed once.

    `features` holds X_m, `within` the similarity S_m of each modality's own rows and `between`
    the one that joins modalities, whose dtype is that of the relaxed codes. `factors` are the
    Cholesky factors of X_m'X_m plus the ridge, `pooled` the products ``E'X_m`` of
    ``S_m = E C_m E'``, of which E is that of all similarities, `degrees` and `degrees_between` the
    row sums of the similarities, columns, and `energies` the sums ``sum_i deg_i ||x_i||^2``.
    """

    features: list
    within: list
    between: LinearOperator
    factors: list
    pooled: list
    degrees: list
    degrees_between: np.ndarray
    energies: list

    @classmethod
    def from_data(cls, features, within, between, ridge, sums=None):
        """Prepare features [(n, d_m) arrays] and similarities; `ridge` as the estimator has it.

        `sums` are the `feature_sums`; None stands for such that are computed here.
        """
        degrees = [S.degree_column() for S in within]
        if sums is None:
            sums = list(map(feature_sums, features, within, degrees))
        grams, pooled, energies = zip(*sums, strict=True)
        return cls(
            features=features,
            within=within,
            between=between,
            factors=[_factor(G, len(degrees[0]), ridge) for G in grams],
            pooled=[EX.astype(between.dtype, copy=False) for EX in pooled],
            degrees=degrees,
            degrees_between=between.degree_column(),
            energies=list(energies),
        )


def feature_sums(X, S, degrees):
    """``X'X``, ``E'X`` and ``sum_i deg_i ||x_i||^2``; of many dense rows in groups by one pass."""
    n, d = X.shape
    # As many for each thread, if they are two, four or eight.
    n_blocks = round(n / _SUMMED_ROWS / 8) * 8
    if isinstance(X, ChunkedRows) or sparse.issparse(X) or S.n_groups == n or not n_blocks:
        return gram(X), S.pool(X), inner(_row_energy(X), degrees)

    def of_block(rows):
        exact, energy = np.empty((rows.stop - rows.start, d)), 0.0
        for few in gen_batches(len(exact), _FEW_ROWS):
            these = slice(rows.start + few.start, rows.start + few.stop)
            exact[few] = x = X[these]
            energy += inner(_few_energies(x), degrees[these])
        return exact.T @ exact, S.pool_part(exact, rows), energy

    G, EX, energy = np.zeros((d, d)), np.zeros((S.n_groups, d)), 0.0
    for products, (groups, sums), part in map_blocks(of_block, list(gen_even_slices(n, n_blocks))):
        G += products
        EX[groups] += sums
        energy += part
    return G, EX, energy


@dataclass
class State:
    """All variables but W, the penalty, and products.

    These are ``X_m'H_m`` of the next regression, ``E'U_m`` and ``X_m'S_m U_m``.
    """

    U: list
    P: list
    C: list
    B: np.ndarray
    mu: float
    XH: list
    EU: list
    XSU: list


def update_projection(problem, state, m):
    """W_m, eqs. (17) and (19): regress H_m on the features."""
    return cho_solve(problem.factors[m], state.XH[m]).astype(problem.features[m].dtype)


def regressed(U, C, mu):
    """``H_m = U_m - C_m / mu``, of some rows."""
    return U - C / mu


def update_relaxed(weights, mu, similar, pull, XW, C, B, others):
    """U_m of some rows, eqs. (21) and (23), for any number of modalities.

    `others` are the U_j, `similar` and `pull` what `group_similarities` and `pulls` hand the rows.
    """
    average = weights.average(1 + len(others))
    U = similar + mu * XW + C + 2 * average * B
    for u in others:
        U += (2 * weights.beta - 2 * average**2) * u
    U /= 2 * pull + (2 * weights.beta * len(others) + 2 * average**2 + mu)
    return U


def update_multiplier(mu, XW, C, U):
    """C_m of some rows, eqs. (31) and (32)."""
    return C + mu * (XW - U)


def update_rows(U, C, X, groups, pull, B, *others, weights, mu, next_mu, W, similar):
    """U_m and C_m, overwritten, in one pass over X_m; returns ``X_m'H_m`` for the next W_m."""
    dtype = np.float64 if sparse.issparse(X) else X.dtype  # as in `cross`

    def update(rows):
        x, u, c = X[rows], U[rows], C[rows]
        xw, near, far = x @ W, np.take(similar, groups[rows], axis=0), [V[rows] for V in others]
        u[:] = update_relaxed(weights, mu, near, pull[rows], xw, c, B[rows], far)
        c[:] = update_multiplier(mu, xw, c, u)
        return dense(x.T @ regressed(u, c, next_mu).astype(dtype, copy=False))

    XH = np.zeros((X.shape[1], U.shape[1]))
    return add_blocks(XH, update, row_slices(len(U), _height(X.shape[1])))


def group_similarities(problem, weights, state, m):
    """What is similar to a row in (21), ``2 S_m (theta_m X_m P_m + alpha sum_j U_j)``: by group."""
    P = state.P[m].astype(problem.between.dtype)
    similar = 2 * weights.theta[m] * problem.within[m].core(problem.pooled[m] @ P)
    others = state.EU[:m] + state.EU[m + 1 :]
    if others and weights.alpha:
        similar += 2 * weights.alpha * problem.between.core(total(others))
    return similar


def pulls(problem, weights, m):
    """Weight of ``||u_i^m||^2`` in the similarities of (8): a column."""
    others = len(problem.features) - 1
    within = weights.theta[m] * problem.degrees[m]
    return within + weights.alpha * others * problem.degrees_between


def reconstruction_product(problem, EU, m):
    """``X_m'S_m U_m``."""
    return problem.pooled[m].T @ problem.within[m].core(EU[m])


def update_reconstruction(XSU, last=None):
    """P_m, eqs. (26) and (28): the polar factor of ``X_m'S_m U_m``, nearest to the last one."""
    return polar_factor(XSU, np.eye(*XSU.shape) if last is None else last)


def update_codes(U, discrete=False):
    """B of some rows, eq. (30): the mean of the relaxed codes, or its sign."""
    B = total(U) / len(U)
    return sign(B).astype(B.dtype) if discrete else B


def objective(problem, weights, state):
    """Eq. (8) at the relaxed codes, as (13) writes it."""
    U, EU = state.U, state.EU
    rows = [pulls(problem, weights, m) for m in range(len(U))]
    _, value = over_rows(row_terms, (), (state.B, *U, *rows), weights=weights)
    for m, theta in enumerate(weights.theta):
        value += theta * (problem.energies[m] - 2 * inner(state.P[m], state.XSU[m]))
        if m and weights.alpha:
            value -= 2 * weights.alpha * inner(total(EU[:m]), problem.between.core(EU[m]))
    return value


def average_rows(B, *U, discrete):
    """B, overwritten, a few rows at a time."""

    def average(rows):
        for few in strips(*B.shape, rows=rows):
            B[few] = update_codes([u[few] for u in U], discrete)

    for_blocks(average, row_slices(len(B), _BLOCK_ROWS))
    return 0


def row_terms(B, *U_and_pulls, weights):
    """Terms of (8) that add up over rows, each on its own."""
    count = len(U_and_pulls) // 2

    def terms(rows):
        value = 0.0
        for few in strips(*B.shape, rows=rows):
            U, pull = [u[few] for u in U_and_pulls[:count]], [p[few] for p in U_and_pulls[count:]]
            value += sum(inner(p, _few_energies(u)) for p, u in zip(pull, U, strict=True))
            value += weights.beta * sum(_few_energies(u - v).sum() for u, v in combinations(U, 2))
            if weights.averaging:
                value += _few_energies(B[few] - total(U) / count).sum()
        return value

    return add_blocks(0.0, terms, row_slices(len(B), _BLOCK_ROWS))


def total(arrays):
    """Sum of arrays, of one that itself."""
    return sum(arrays[1:], start=arrays[0])


def start(problem, U, mu, discrete, XU=None):
    """The state at relaxed codes [(n, k) arrays]: multipliers zero, P_m and B fitted to them.

    U are overwritten by the sweeps; XU are the ``X_m'U_m``, where they are known.
    """
    if XU is None:
        XU = [cross(X, u, X.dtype) for X, u in zip(problem.features, U, strict=True)]
    EU = [problem.between.pool(u) for u in U]
    XSU = [reconstruction_product(problem, EU, m) for m in range(len(U))]
    (B,), _ = over_rows(average_rows, (_zeros(U[0]),), U, discrete=discrete)
    return State(
        U=list(U),
        P=[update_reconstruction(product) for product in XSU],
        C=[_zeros(u) for u in U],
        B=B,
        mu=mu,
        XH=list(XU),
        EU=EU,
        XSU=XSU,
    )


def _zeros(U):
    """As many zeros, where U is; U is finite."""
    return U * U.dtype.type(0)


def turn(problem, weights, state, m, next_mu):
    """The part of modality m in a sweep, in place: W_m, U_m, C_m, in one pass over its rows."""
    others = state.U[:m] + state.U[m + 1 :]
    changed, state.XH[m] = over_rows(
        update_rows,
        (state.U[m], state.C[m]),
        (problem.features[m], problem.between.groups, pulls(problem, weights, m), state.B, *others),
        weights=weights,
        mu=state.mu,
        next_mu=next_mu,
        W=update_projection(problem, state, m),
        similar=group_similarities(problem, weights, state, m),
    )
    state.U[m], state.C[m] = changed
    state.EU[m] = problem.between.pool(state.U[m])


def sweep(problem, weights, state, discrete, next_mu):
    """One sweep of Algorithm 1, in place: every W_m, U_m and C_m, every P_m, B and the penalty.

    C_m follows U_m at once, as no other update has a part of it.
    """
    modalities = range(len(state.U))
    for m in modalities:
        turn(problem, weights, state, m, next_mu)
    for m in modalities:
        state.XSU[m] = reconstruction_product(problem, state.EU, m)
        state.P[m] = update_reconstruction(state.XSU[m], state.P[m])
    (state.B,), _ = over_rows(average_rows, (state.B,), state.U, discrete=discrete)
    state.mu = next_mu


def solve(problem, weights, U, *, mu, rho, mu_max, discrete, sweeps, XU=None):
    """Algorithm 1 for any number of modalities, from relaxed codes `U` on; XU as in `start`."""
    with quiet_passes(problem.features):
        state = start(problem, U, mu, discrete, XU)
        for _ in sweeps:
            sweep(problem, weights, state, discrete, min(rho * state.mu, mu_max))  # eq. (33)
            sweeps.record(objective(problem, weights, state))
        projections = [update_projection(problem, state, m) for m in range(len(U))]
    return Solution(sign(state.B), projections, sweeps.objective, len(sweeps))


def _height(d):
    """Rows at a time of d features."""
    return int(np.clip(_BLOCK_ENTRIES // d, 256, _BLOCK_ROWS))


def _factor(G, n, ridge):
    """Factor of ``G = X'X`` plus `ridge` times the mean squared norm of the n rows."""
    return ridge_factor(G, ridge * np.trace(G) / n)


def _row_energy(X):
    """Squared norms of the rows, (n, 1) in float64, added up in the dtype of X."""
    if isinstance(X, ChunkedRows):
        return X.made(1, np.float64, _row_energy)
    if sparse.issparse(X):
        return np.asarray(X.power(2).sum(axis=1), dtype=np.float64).reshape(-1, 1)
    return np.concatenate([_few_energies(X[few]) for few in strips(*X.shape)])


def _few_energies(x):
    """`_row_energy` of rows that stay in the caches."""
    return np.einsum("ij,ij->i", x, x).astype(np.float64)[:, None]


def mutual_neighbours(X, n_neighbors, neighbors=None, n_jobs=None):
    """Graph of rows that are among each other's nearest neighbours, and of every row with itself.

    Parameters
    ----------
    X : {ndarray, sparse} of shape (n, d)
        Features.
    n_neighbors : int
        Nearest other rows looked at, at most n - 1.
    neighbors : transformer, default=None
        Finds the neighbours in place of an exact search: `fit_transform` gives a sparse graph
        of every row's nearest, as that of `KNeighborsTransformer`.
    n_jobs : int, default=None
        Threads of the exact search.

    Returns
    -------
    graph : csr_array of shape (n, n)
        Symmetric, zeros and ones.
    """
    n = X.shape[0]
    if neighbors is None:
        # Imported on use: it loads half of scikit-learn.
        from sklearn.neighbors import kneighbors_graph

        k = min(n_neighbors, n - 1)
        nearest = kneighbors_graph(X, k, include_self=False, n_jobs=n_jobs)
    else:
        nearest = neighbors.fit_transform(X)
        if not sparse.issparse(nearest) or nearest.shape != (n, n):
            raise ValueError(
                f"neighbors: {neighbors!r} gave {type(nearest).__name__} of shape "
                f"{np.shape(nearest)}, not a sparse graph of shape {(n, n)}. Pass a transformer "
                "such as KNeighborsTransformer."
            )
    nearest = sparse.csr_array(nearest)
    # Entries may be distances, which are zero between equal rows.
    nearest = sparse.csr_array((np.ones(nearest.nnz), nearest.indices, nearest.indptr), (n, n))
    nearest.sum_duplicates()
    mutual = nearest.minimum(nearest.T)
    return sparse.csr_array(mutual.maximum(sparse.eye_array(n, format="csr")))


@parametrised
class AAH(LinearHasher):
    """Average approximate hashing.

    Projects every modality into a semantic space of its own, in which rows that share a
    label lie together, draws these spaces towards one another, and takes the sign of
    their mean as codes [1]_. The hash functions are linear in standardised features.

    The ablations of the paper's Table IV are settings: AAH_knn is ``affinity="knn"``,
    AAH_nl ``alpha=0``, AAH_ng ``beta=0``, and AAH_na ``averaging=False``.

    Parameters
    ----------
    alpha : float, default=1.0
        Weight of label consistency between modalities.
    beta : float, default=10.0
        Weight of the global approximation: a row's modalities lie together.
    theta : float or dict, default=10.0
        Weight of residual and energy preservation of every modality after the first,
        which has weight 1; or {name: weight} for all modalities. The paper's settings
        are ``theta=10, alpha=1, beta=10`` on MIRFlickr and NUS-WIDE,
        ``theta=1, alpha=10, beta=10`` on Wiki.
    mu : float, default=0.1
        First penalty on the gap between relaxed codes and hash functions.
    rho : float, default=1.01
        Factor by which the penalty grows every sweep.
    mu_max : float, default=1e8
        Largest penalty.
    ridge : float, default=2.0
        Ridge of the hash functions, relative to the mean squared norm of a row. The
        paper has none, which is all but ``ridge=0`` and overfits where features are
        many; with rows in plenty the term vanishes.
    affinity : {"label", "knn"}, default="label"
        Which rows belong together: those that share a label, or those that are mutual
        nearest neighbours, in each modality by its own mapped features, and between
        modalities where they are so in either. With "knn", y is optional and serves
        `score` alone; -1 then marks rows without labels.
    pair_weight : float, default=0.0
        Weight p in [0, 1] of the graph of nearest neighbours beside that of labels: similarities
        are ``(1 - p)`` times the one and p times the other. 1 is ``affinity="knn"``; y is
        optional then. Above 0 rows without labels, -1 or an empty row of an indicator, take part
        through their neighbours. A row shares labels with many more rows than are its
        neighbours, so weights near 1 differ most.
    n_neighbors : int, default=20
        Neighbours of a row in the graph of nearest neighbours.
    neighbors : transformer, default=None
        How neighbours are found, cloned for every modality: an object like `KNeighborsTransformer`,
        whose own `n_neighbors` counts then, exact or approximate, such as pynndescent's
        ``PyNNDescentTransformer``. None is scikit-learn's exact search.
    n_jobs : int, default=None
        Threads of the exact search.
    discrete : bool, default=False
        Whether the codes are binary within the sweeps too, rather than relaxed.
    averaging : bool, default=True
        Whether the codes are drawn towards the mean over modalities.

    Attributes
    ----------
    objective_ : ndarray of shape (n_iter_,)
        Equation (8) after every sweep. It need not fall: the paper solves by
        multipliers.

    See Also
    --------
    ASCMH : Codes from labels first, hash functions of any kind second.

    Notes
    -----
    Time and memory grow linearly with the rows: the label similarity acts through its
    distinct label patterns, and no n x n matrix is formed. With d columns and k bits, the fit takes
    :math:`O(n d^2)` once and :math:`O(n d k)` every sweep; reduce very wide sparse features first,
    for instance by TruncatedSVD. The exact search for nearest neighbours, where it is needed, takes
    :math:`O(n^2 d)` time, though no more memory than the graph: beyond some ten thousand rows, use
    `n_jobs`, or an approximate search as `neighbors`.

    Of the paper's two strategies for more than two modalities, this is the joint model,
    every pair counted once; the other is one AAH for every pair.

    References
    ----------
    .. [1] Fang, X., Jiang, K., Han, N., Teng, S., Zhou, G. and Xie, S. (2021). Average
       approximate hashing-based double projections learning for cross-modal retrieval. IEEE
       Transactions on Cybernetics. :doi:`10.1109/TCYB.2021.3081615`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh import AAH, MultimodalData
    >>> rng = np.random.RandomState(0)
    >>> y = np.arange(90) % 3
    >>> X = MultimodalData(image=np.eye(3)[y] + rng.rand(90, 3), text=np.eye(3)[y, ::-1])
    >>> hasher = AAH(n_bits=16, random_state=0).fit(X, y)
    >>> hasher.encode(X["text"], modality="text").shape
    (90, 16)
    >>> hasher.score(X, y) > 0.9
    True
    """

    alpha: float = 1.0
    beta: float = 10.0
    theta: float | Mapping[str, float] = 10.0
    mu: float = 0.1
    rho: float = 1.01
    mu_max: float = 1e8
    ridge: float = 2.0
    affinity: Literal["label", "knn"] = "label"
    pair_weight: float = 0.0
    n_neighbors: int = 20
    neighbors: Any = None
    n_jobs: int | None = None
    discrete: bool = False
    averaging: bool = True
    tol: float = 1e-4

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "theta": [Interval(Real, 0, None, closed="left"), dict],
        "mu": [Interval(Real, 0, None, closed="neither")],
        "rho": [Interval(Real, 1, None, closed="left")],
        "mu_max": [Interval(Real, 0, None, closed="neither")],
        "ridge": [Interval(Real, 0, None, closed="left")],
        "affinity": [StrOptions({"label", "knn"})],
        "pair_weight": [Interval(Real, 0, 1, closed="both")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "neighbors": [HasMethods(["fit", "transform"]), None],
        "n_jobs": [Integral, None],
        "discrete": ["boolean"],
        "averaging": ["boolean"],
    }

    _scales_when_read = True

    @property
    def _knn_weight(self):
        """Weight of the graph of nearest neighbours."""
        return 1.0 if self.affinity == "knn" else float(self.pair_weight)

    @property
    def _takes_lazy_rows(self):
        # The search for neighbours takes arrays.
        return self._knn_weight == 0

    @property
    def _solves_chunks(self):
        return self._knn_weight == 0

    def _learning(self):
        return Learning(
            needs_labels=self._knn_weight < 1,
            minus_one_is_unlabelled=self._knn_weight > 0,
            from_unlabelled=self._knn_weight > 0,
            without_labels="affinity='knn' learns without labels, as does pair_weight=1.",
        )

    def _warn_ignored(self, names):
        super()._warn_ignored(names)
        if self.affinity == "knn":
            warn_ignored(self, ["pair_weight"], "affinity='knn'")
        if self._knn_weight == 0:
            warn_ignored(self, ["n_neighbors", "neighbors", "n_jobs"], "affinity='label'")
        elif self.neighbors is not None:
            warn_ignored(self, ["n_neighbors", "n_jobs"], "neighbors")

    def _solve(self, features, L, rng):
        X = list(features.values())
        within, between = self._similarities(X, L, rng)
        degrees = [S.degree_column() for S in within]
        of_modalities = zip(X, within, degrees, strict=True)
        sums = [self._cached(feature_sums, *of_one) for of_one in of_modalities]
        problem = Problem.from_data(X, within, between, self.ridge, sums)
        U, XU = self._relaxed_start(problem, L, rng)
        return solve(
            problem,
            Weights(
                self._theta_of(list(features)), float(self.alpha), float(self.beta), self.averaging
            ),
            U,
            mu=float(self.mu),
            rho=float(self.rho),
            mu_max=float(self.mu_max),
            discrete=self.discrete,
            sweeps=self._sweeps(),
            XU=XU,
        )

    def _similarities(self, X, L, rng):
        """Similarity of every modality's own rows, and the one that joins modalities."""
        dtype, p = np.result_type(*(x.dtype for x in X)), self._knn_weight
        if p == 0:
            shared = label_similarity(L, X[0], dtype)
            return [shared] * len(X), shared
        graphs = [self._nearest(x, rng) for x in X]
        either = graphs[0]
        for graph in graphs[1:]:
            either = either.maximum(graph)
        within = [GraphSimilarity(graph, dtype) for graph in graphs]
        between = GraphSimilarity(either, dtype)
        if p == 1:
            return within, between
        shared = SharedLabelSimilarity(L, dtype=dtype)
        return [MixedSimilarity(shared, S, p) for S in within], MixedSimilarity(shared, between, p)

    def _nearest(self, X, rng):
        report(self, "nearest neighbours")
        neighbors = None if self.neighbors is None else inner_clone(self.neighbors, rng)
        return mutual_neighbours(X, self.n_neighbors, neighbors, self.n_jobs)

    def _relaxed_start(self, problem, L, rng):
        """Relaxed codes to start from, near binary ones where labels give such, and ``X_m'U_m``.

        The paper starts from random projections, as AAH_knn does here. But a solution
        turned in code space has the same objective but for the last term, which is small,
        so the sweeps keep much of the turn that they begin with; from random codes of the
        labels, less is lost when the signs are taken.
        """
        X, dtype = problem.features, problem.between.dtype
        if self._knn_weight == 1:
            W = [rng.standard_normal((x.shape[1], self.n_bits)) for x in X]
            U = [(x @ w.astype(x.dtype)).astype(dtype) for x, w in zip(X, W, strict=True)]
            return U, None
        A = rng.standard_normal((L.shape[1], self.n_bits))
        patterns, membership = label_patterns(L)
        # Centred, so that hardly a bit is constant even when classes are few; of the small size
        # that the sweeps lead to, which saves some of them.
        kinds = sign(patterns @ A - L.mean(axis=0) @ A).astype(dtype) / 10
        # Rows without labels begin at zero, and follow their neighbours.
        kinds[~labelled_rows(patterns)] = 0
        if self._knn_weight == 0:  # rows of a pattern are a group
            U = [problem.between.expand(kinds) for _ in X]
            return U, [EX.T @ kinds for EX in problem.pooled]
        return [np.take(kinds, membership, axis=0) for _ in X], None

    def _theta_of(self, names):
        if isinstance(self.theta, Mapping):
            return modality_weights(self.theta, names, "theta").tolist()
        return [1.0] + [float(self.theta)] * (len(names) - 1)

    @staticmethod
    def paper_grid() -> dict[str, list[Any]]:
        """Parameter grid over the ranges that the paper studies, for GridSearchCV.

        Returns
        -------
        param_grid : dict
            Values of `theta`, `alpha`, `beta` and `rho`.

        Examples
        --------
        >>> from sklearn_cmh import AAH
        >>> AAH.paper_grid()["theta"]
        [0.1, 1.0, 10.0, 100.0]
        """
        return {
            "theta": [0.1, 1.0, 10.0, 100.0],
            "alpha": [0.1, 1.0, 10.0, 100.0],
            "beta": [0.1, 1.0, 10.0, 100.0, 1000.0],
            "rho": [1.01, 1.1],
        }
