"""Discrete semantics-guided asymmetric hashing (DSAH).

J. Long, L. Sun, L. Hua, Z. Yang, "Discrete Semantics-Guided Asymmetric Hashing for
Large-Scale Multimedia Retrieval", Applied Sciences 11, 8769, 2021. Equation (8), for M
modalities, with ``Z_m = F_m P_m`` the projections of modality m:

    sum_m ||Z_m B' - k S||^2                              asymmetric similarity
    + sum_j sqrt(||e_j||^2 + eps^2)                       label alignment, E = B R - L
    + alpha ||B - mean_m Z_m||^2                          quantisation
    + gamma (sum_m ||Z_m||^2 + ||R||^2)                   regularisation
    + delta sum_m ||P_m||^2                               (not in the paper)

over codes B (n, k) in {-1, +1}, label projection R (k, c) and hash functions P_m (q_m, k);
``S = 2 Lt Lt' - 1 1'`` with Lt the indicator L, rows of norm one, or ``S = 2 T T' - 1 1'`` with
other targets T; the label term counts rows with labels. Rows are samples here; the paper's
matrices are the transposes. Two things differ from the paper: eps = 1 smooths the
2,1-norm, without which a class that is fitted exactly would freeze B, and
``delta = 1e-6 n^2``, as F'F is singular where anchors are training rows and the map is
centred.

``solver="exact"`` minimises this by block coordinate descent, each step exact or, for the
bits, cyclic: the objective never rises. It starts from ``sgn(L A)``, A random, of which the
bits that serve the similarity term are kept (`improve_start`). ``solver="alm"`` takes the
printed updates. Those drop the quadratic term tr(B (sum_m Z_m'Z_m) B') in (10) and replace
B'B by the identity in (23), whose alpha terms belong to ``||M B - sum_m Z_m||^2``: they are
not descent steps on (8), whose value rises for several sweeps and then oscillates.

S acts through the classes and F'F is computed once. Given R, D and P, rows of B do not depend on
one another, and what R and P need of them are sums over rows: a sweep is one pass over parts of
the rows, in which a part gets its codes and gives its sums, and costs O(n k (q + k)).
"""

from dataclasses import dataclass, replace
from functools import reduce
from numbers import Integral, Real
from operator import add
from typing import Any, Literal

import numpy as np
from scipy import sparse

from ..base import KernelHasher, Solution, parametrised, warn_ignored
from ..data import ChunkedRows, label_patterns, labelled_rows, shifted
from ..solvers import (
    CosineSimilarity,
    Targets,
    column_means,
    cross,
    cyclic_bits,
    gram,
    inner,
    label_targets,
    sign,
)
from ..utils._dask import computed, pass_over
from ..utils._sklearn import Interval, StrOptions
from ..utils._threads import map_blocks, row_slices
from ._targets import TargetsMixin, no_labels

__all__ = ["DSAH"]

_EPS = 1.0
_RIDGE = 1e-6
_BLOCK_ROWS = 4096
_HUGE = 1e20


@dataclass
class Problem:
    """What the sweeps need of the data, computed once; of all rows, or of a part of them.

    Of the rows, `features` holds F_m, `labels` L, `targets` T and `similarity` S among them;
    `labelled` and `unlabelled` are those that the label term counts and those that it does not:
    slices where they are all or none. Of all rows, also in a part, `n_rows` is their number,
    `class_counts` are the column sums of L and `similarity_norm` is ||S||^2; `grams[l, m]` is
    F_l'F_m, `eigen` the (lam, U) of every F_m'F_m, and `pooled` the (t + 1, q_m) matrices
    ``E'F_m`` of ``S = E C E'``. `dtype` is that of products over rows.
    """

    features: list
    labels: sparse.csr_array
    labelled: np.ndarray | slice
    unlabelled: np.ndarray | slice
    targets: Targets
    similarity: CosineSimilarity
    n_rows: int
    class_counts: np.ndarray
    similarity_norm: float
    grams: dict
    eigen: list
    pooled: list
    dtype: np.dtype

    @classmethod
    def from_data(cls, features, L, targets=None, factors=None, pooled=None):
        """Prepare features [(n, q_m) arrays], the indicator L (n, c), and targets.

        A row without labels is empty in L, which has no column where there are none at all. None
        stands for the targets of L, and for `gram_factors` and `pooled` that are computed here.
        """
        T = label_targets(L) if targets is None else targets
        grams, eigens = gram_factors(*features) if factors is None else factors
        S = CosineSimilarity(T, 2.0, 1.0)
        dtype = np.result_type(*(F.dtype for F in features))
        labelled, unlabelled = split_by_labels(L)
        return cls(
            features=features,
            labels=L.astype(dtype),
            labelled=labelled,
            unlabelled=unlabelled,
            targets=T,
            similarity=S,
            n_rows=L.shape[0],
            class_counts=np.bincount(L.indices, minlength=L.shape[1]),
            similarity_norm=similarity_norm(T),
            grams=grams,
            eigen=eigens,
            pooled=[S.pool(F) for F in features] if pooled is None else pooled,
            dtype=dtype,
        )

    def of_rows(self, features, L, T):
        """The problem as rows of these features, labels and targets see it."""
        labelled, unlabelled = split_by_labels(L)
        return replace(
            self,
            features=features,
            labels=L,
            labelled=labelled,
            unlabelled=unlabelled,
            targets=T,
            similarity=CosineSimilarity(T, 2.0, 1.0),
        )

    def part(self, rows):
        """The problem as some rows see it."""
        return self.of_rows([F[rows] for F in self.features], self.labels[rows], self.targets[rows])

    def map_parts(self, function):
        """Yield ``function(rows, part)`` of slices of the rows, and the problem as they see it."""
        slices = row_slices(self.labels.shape[0], _BLOCK_ROWS)
        return map_blocks(lambda rows: function(rows, self.part(rows)), slices)

    def over_parts(self, function):
        """Sum of `map_parts`."""
        return reduce(add, self.map_parts(function))

    def over_rows(self, function, B, *args):
        """``function(problem, B, *args)``: new codes of all rows, and sums over rows."""
        return function(self, B, *args)

    def given(self, B):
        """Codes of all rows as `over_rows` takes them."""
        return B

    def gathered(self, B):
        """Codes of all rows, from `over_rows`, as an array."""
        return B

    @property
    def all_labelled(self):
        """Whether the label term counts every row."""
        return isinstance(self.labelled, slice)

    @property
    def delta(self):
        """Weight of the ridge on P."""
        return _RIDGE * self.n_rows**2


def split_by_labels(L):
    """Rows with labels and rows without, of an indicator: slices where they are all or none."""
    has_labels = labelled_rows(L)
    if L.shape[1] == 0 or has_labels.all():
        return slice(None), slice(0, 0)
    return np.flatnonzero(has_labels), np.flatnonzero(~has_labels)


@dataclass
class CodeStatistics:
    """Small products of the codes, which add up over parts of the rows.

    B'B, B'L, and for every modality F_m'B and F_m'S B. `label_gram` is B'B over the rows that
    have labels.
    """

    gram: np.ndarray
    label_gram: np.ndarray
    labels: np.ndarray
    features: list
    similar: list

    def __add__(self, other):
        """Those of both parts."""
        return CodeStatistics(
            self.gram + other.gram,
            self.label_gram + other.label_gram,
            self.labels + other.labels,
            [a + b for a, b in zip(self.features, other.features, strict=True)],
            [a + b for a, b in zip(self.similar, other.similar, strict=True)],
        )


def part_statistics(part, B):
    """What one part adds to the statistics: all that R, P and the objective need of its codes."""
    S = part.similarity
    classes = S.core(S.pool(B))
    products = gram(B)
    return CodeStatistics(
        gram=products,
        label_gram=products if part.all_labelled else labelled_gram(part, B),
        labels=cross(B, part.labels),
        features=[cross(F, B, F.dtype) for F in part.features],
        similar=[pooled.T @ classes for pooled in part.pooled],
    )


def labelled_gram(part, B):
    """B'B over the rows that have labels, of which a part may have none."""
    return gram(B[part.labelled]) if len(part.labelled) else np.zeros((B.shape[1], B.shape[1]))


def code_statistics(problem, B):
    """Statistics of the codes of all rows, by a pass over them."""
    return problem.over_parts(lambda rows, part: part_statistics(part, B[rows]))


def counted(problem, B):
    """The codes of all rows, as they are, and their statistics."""
    return B, code_statistics(problem, B)


def gram_matrices(features):
    """``F_l'F_m`` for all modalities l and m."""
    grams = {(m, m): gram(F) for m, F in enumerate(features)}
    for m in range(len(features)):
        for l in range(m):
            grams[l, m] = cross(features[l], features[m], features[l].dtype)
            grams[m, l] = grams[l, m].T
    return grams


def gram_factors(*features):
    """`gram_matrices`, and eigenvalues and eigenvectors of those of a modality with itself."""
    grams = gram_matrices(features)
    return grams, [eigen(grams[m, m]) for m in range(len(features))]


def centred(grams, features):
    """Gram matrices of the centred features, divided by the number of rows."""
    n, means = features[0].shape[0], [column_means(F) for F in features]
    return {(l, m): G / n - np.outer(means[l], means[m]) for (l, m), G in grams.items() if l <= m}


def eigen(G):
    """Eigenvalues, none negative, and eigenvectors of a Gram matrix."""
    lam, U = np.linalg.eigh(G)
    return np.maximum(lam, 0), U


def similarity_norm(T):
    """``||S||^2 = 4 ||T'T||^2 - 4 ||T'1||^2 + n^2`` for S = 2 T T' - 1 1', rows of norm one."""
    labels, pairs = T.labels, T.pairs.astype(np.float64, copy=False)
    value = 4 * (labels.T @ labels).power(2).sum() - 4 * np.square(T.sum()).sum()
    value += 8 * np.square(labels.T @ pairs).sum() + 4 * np.square(pairs.T @ pairs).sum()
    return value + np.count_nonzero(T.present()) ** 2


# Rows with the workers of Dask.


@dataclass
class FeatureSums:
    """Small products of the features, which add up over chunks of the rows.

    `grams` are F_l'F_m and `pooled` E'F_m, as of a `Problem`.
    """

    grams: dict
    pooled: list

    def __add__(self, other):
        """Those of both chunks."""
        return FeatureSums(
            {pair: G + other.grams[pair] for pair, G in self.grams.items()},
            [a + b for a, b in zip(self.pooled, other.pooled, strict=True)],
        )


def feature_sums(L, features, shifts):
    """What one chunk of rows adds to the products; see `ChunkedProblem`."""
    S = CosineSimilarity(label_targets(L), 2.0, 1.0)
    F = list(map(shifted, features, shifts))
    return None, FeatureSums(gram_matrices(F), [S.pool(f) for f in F])


@dataclass
class ChunkedProblem(Problem):
    """A problem whose rows are in chunks, with the workers of Dask.

    Of all rows, labels and targets are here, and `features` holds `ChunkedRows`. Of every chunk,
    `chunks` holds tasks, its labels and features, less the `shifts`. Rows of the same number in
    `membership`, which the workers have as `kinds`, have the same labels.
    """

    chunks: list
    shifts: list
    membership: np.ndarray
    kinds: ChunkedRows

    @classmethod
    def from_chunks(cls, features, L):
        """Prepare features [ChunkedRows], chunked alike, and the indicator L (n, c)."""
        patterns, membership = label_patterns(L)
        kinds = features[0].beside(membership.astype(np.int32))
        labels = kinds.take(patterns)
        tasks = zip(labels.chunks, *(F.chunks for F in features), strict=True)
        chunks = [(of_rows, list(parts)) for of_rows, *parts in tasks]
        shifts = [F.shift for F in features]
        _, sums = pass_over(feature_sums, chunks, shifts)
        eigens = [eigen(sums.grams[m, m]) for m in range(len(features))]
        problem = Problem.from_data(features, L, None, (sums.grams, eigens), sums.pooled)
        return cls(
            **vars(problem), chunks=chunks, shifts=shifts, membership=membership, kinds=kinds
        )

    def common(self):
        """What workers need of the problem beside their rows."""
        of_rows = ("labels", "labelled", "unlabelled", "targets", "similarity")
        gone: dict[str, Any] = dict.fromkeys((*of_rows, "membership", "kinds"))
        return replace(self, features=[], grams={}, eigen=[], chunks=[], **gone)

    def over_rows(self, function, B, *args):
        chunks = [(codes, *chunk) for codes, chunk in zip(B, self.chunks, strict=True)]
        return pass_over(on_chunk, chunks, self.common(), function, args)

    def given(self, B):
        """Codes of which rows with the same labels have the same."""
        first = np.unique(self.membership, return_index=True)[1]
        return self.kinds.take(B[first]).chunks

    def gathered(self, B):
        return np.concatenate(computed(B))


def on_chunk(B, L, features, problem, function, args):
    """``function(problem, B, *args)`` of the rows of one chunk."""
    F = list(map(shifted, features, problem.shifts))
    of_rows = problem.of_rows(F, L.astype(problem.dtype), label_targets(L))
    return function(of_rows, B, *args)


# Updates of solver="exact".


def start_codes(problem, n_bits, rng):
    """sgn(T A) with A random: rows with the same targets start alike.

    From codes that are random row by row, short codes fall into poor local minima.
    """
    T = problem.targets
    return T.signs(rng.standard_normal((T.shape[1], n_bits)))


def improve_start(problem, B, gamma, n_rounds, rng):
    """Draw every bit of the first codes anew, `n_rounds` times; keep what is better.

    Better is a lower similarity term with P at its best, alpha = 0: it follows from B'B and
    the class sums of B alone, no pass over the features. Descent cannot do this: where P
    fits B closely, B is a fixed point of its update, good or bad.
    """
    S = problem.similarity
    turned = [U.T @ F.T for (_, U), F in zip(problem.eigen, problem.pooled, strict=True)]
    B, products, sums = B.copy(), gram(B), S.pool(B)
    best = _similarity_at_best_projection(problem, turned, products, sums, gamma)
    for _ in range(n_rounds):
        fresh = start_codes(problem, B.shape[1], rng)
        fresh_sums, with_old, with_fresh = S.pool(fresh), cross(B, fresh), gram(fresh)
        taken = np.zeros(B.shape[1], dtype=bool)
        for j in range(B.shape[1]):
            trial, trial_sums = products.copy(), sums.copy()
            trial[:, j] = trial[j] = np.where(taken, with_fresh[:, j], with_old[:, j])
            trial[j, j] = len(B)
            trial_sums[:, j] = fresh_sums[:, j]
            value = _similarity_at_best_projection(problem, turned, trial, trial_sums, gamma)
            if value < best:
                best, products, sums, taken[j] = value, trial, trial_sums, True
        B[:, taken] = fresh[:, taken]
    return B


def _similarity_at_best_projection(problem, turned, products, sums, gamma):
    """Minimum over P of the first term and the penalties on P, less ``k^2 M ||S||^2``.

    `products` is B'B, `sums` the class sums ``E'B`` of ``S = E C E'``, `turned` holds
    ``U'F'E`` for every modality.
    """
    w, V = eigen(products)
    classes = problem.similarity.core(sums) @ V
    value = 0.0
    for (lam, _), T in zip(problem.eigen, turned, strict=True):
        scale = np.multiply.outer(lam, w + gamma) + problem.delta
        value -= len(w) ** 2 * np.sum(np.square(T @ classes) / scale)
    return value


def codes_quadratic(problem, R, weights, P):
    """Q (k, k) of the problem in B, min tr(B Q B') - 2 tr(B N'), for rows with labels.

    ``Q = sum_m Z_m'Z_m + R D R'``, the first term of which (10) drops. That of other rows lacks
    ``R D R'``.
    """
    Q = (R * weights) @ R.T
    for m in range(len(P)):
        Q += P[m].T @ problem.grams[m, m] @ P[m]
    return Q


def codes_linear(part, R, weights, P, alpha):
    """N (n, k) of the problem in B: ``N = k S sum_m Z_m + L D R' + alpha mean_m Z_m``."""
    M, k = len(P), R.shape[0]
    S = part.similarity
    classes = k * S.core(sum(pooled @ P_m for pooled, P_m in zip(part.pooled, P, strict=True)))
    N = sum(F @ P_m.astype(F.dtype) for F, P_m in zip(part.features, P, strict=True))
    N *= alpha / M
    N += S.expand(classes)
    N += part.labels @ (weights[:, None] * R.T).astype(part.dtype)
    return N


def update_codes(B, Q, N, n_passes=3):
    """B, eq. (9): cyclic over bits, ``b_j = sgn(n_j - B q_j + b_j q_jj)``, the best b_j each."""
    return cyclic_bits(B, Q, N, n_passes)


def update_by_labels(part, update, Q, RDR, *rows):
    """Codes of the rows: ``update(Q, ...)`` of those with labels, less R D R' of the others."""
    if part.all_labelled:
        return update(Q, *rows)
    B = np.empty_like(rows[0])
    for some, quadratic in ((part.labelled, Q), (part.unlabelled, Q - RDR)):
        if len(some):
            B[some] = update(quadratic, *(array[some] for array in rows))
    return B


def update_relaxed_codes(Q, N, alpha):
    """B without the discrete constraint: ``N (Q + alpha I)^-1``."""
    w, V = eigen(Q)
    return (N @ (V / _positive(w + alpha)).astype(N.dtype)) @ V.T.astype(N.dtype)


def update_label_projection(statistics, weights, gamma):
    """R, eq. (21): ``(B'B + (gamma / d_j) I) r_j = B'l_j``, for all classes at once.

    B'B is that of the rows with labels.
    """
    w, V = eigen(statistics.label_gram)
    return V @ ((V.T @ statistics.labels) / _positive(w[:, None] + gamma / weights))


def label_errors(problem, statistics, R):
    """Squared norms ||e_j||^2 of the columns of E = B R - L, over the rows with labels."""
    counts = np.bincount(problem.labels.indices, minlength=problem.labels.shape[1])
    fit = np.einsum("kj,kj->j", R, statistics.label_gram @ R - 2 * statistics.labels)
    return np.maximum(fit + counts, 0)


def update_weights(errors, label_term):
    """Diagonal of D, eq. (4): ``1 / (2 ||e_j||)``, smoothed; 1 for the Frobenius norm."""
    if label_term == "frobenius":
        return np.ones_like(errors)
    return 0.5 / np.sqrt(errors + _EPS**2)


def update_projection(problem, statistics, P, m, alpha, gamma, code_eigen):
    """P_m, the zero of the gradient of (22) as it should read.

    ``F'F P (B'B + (alpha/M^2 + gamma) I) + delta P =
    F'(k S B + (alpha/M) B - (alpha/M^2) sum_{j != m} Z_j)``, diagonal in the eigenvectors of
    F'F and B'B (`code_eigen`).
    """
    M = len(P)
    lam, U = problem.eigen[m]
    w, V = code_eigen
    right = len(w) * statistics.similar[m] + (alpha / M) * statistics.features[m]
    for j in range(M):
        if j != m:
            right -= (alpha / M**2) * problem.grams[m, j] @ P[j]
    scale = np.multiply.outer(lam, w + alpha / M**2 + gamma) + problem.delta
    return U @ ((U.T @ right @ V) / scale) @ V.T


def objective(problem, statistics, R, P, alpha, gamma, label_term):
    """Equation (8), from small products only; `statistics` are those of the codes."""
    modalities = range(len(P))
    M, k = len(P), len(R)
    GP = {(l, m): problem.grams[l, m] @ P[m] for m in modalities for l in range(m + 1)}
    value = gamma * inner(R, R)
    for m in modalities:
        ZZ = P[m].T @ GP[m, m]
        value += inner(ZZ, statistics.gram) - 2 * k * inner(P[m], statistics.similar[m])
        value += k**2 * problem.similarity_norm
        value += gamma * np.trace(ZZ) + problem.delta * inner(P[m], P[m])
    errors = label_errors(problem, statistics, R)
    value += np.sum(errors if label_term == "frobenius" else np.sqrt(errors + _EPS**2))
    quantisation = np.trace(statistics.gram)
    quantisation -= 2 / M * sum(inner(P[m], statistics.features[m]) for m in modalities)
    # Once of a modality with itself, twice of a pair.
    quantisation += sum((2 - (l == m)) * inner(P[l], GP[l, m]) for l, m in GP) / M**2
    return float(value + alpha * quantisation)


@dataclass
class State:
    """All variables after a sweep, and the objective there."""

    B: np.ndarray
    R: np.ndarray
    weights: np.ndarray
    P: list
    objective: float


def fit_codes(problem, B, statistics, weights, P, alpha, gamma, label_term):
    """Update R, D and every P_m to the codes `B`, of which `statistics` are known."""
    R = update_label_projection(statistics, weights, gamma)
    weights = update_weights(label_errors(problem, statistics, R), label_term)
    code_eigen = eigen(statistics.gram)
    P = list(P)
    for m in range(len(P)):
        P[m] = update_projection(problem, statistics, P, m, alpha, gamma, code_eigen)
    value = objective(problem, statistics, R, P, alpha, gamma, label_term)
    return State(B, R, weights, P, value)


def start(problem, B, alpha, gamma, label_term):
    """Fit R and P to codes, from R = 0 and P = 0."""
    weights = update_weights(problem.class_counts.astype(np.float64), label_term)
    B, statistics = problem.over_rows(counted, B)
    P = [np.zeros((F.shape[1], len(statistics.gram))) for F in problem.features]
    return fit_codes(problem, B, statistics, weights, P, alpha, gamma, label_term)


def sweep_part(part, state, B, Q, alpha, relaxed=False):
    """Codes of one part of the rows, from their codes `B` and the other variables."""
    N = codes_linear(part, state.R, state.weights, state.P, alpha)
    RDR = (state.R * state.weights) @ state.R.T
    if relaxed:
        return update_by_labels(part, lambda Q, N: update_relaxed_codes(Q, N, alpha), Q, RDR, N)
    return update_by_labels(part, lambda Q, B, N: update_codes(B, Q, N), Q, RDR, B, N)


def sweep_codes(problem, B, state, Q, alpha, relaxed=False):
    """Codes of all rows, and their statistics, from codes `B` by one pass over parts."""
    new = np.empty_like(B, dtype=problem.dtype if relaxed else np.int8)

    def swept(rows, part):
        new[rows] = sweep_part(part, state, B[rows], Q, alpha, relaxed)
        return part_statistics(part, new[rows])

    return new, problem.over_parts(swept)


def sweep(problem, state, alpha, gamma, label_term, relaxed=False):
    """One sweep of the exact solver: B, R, D, P_1, ..., P_M. The objective does not rise."""
    Q = codes_quadratic(problem, state.R, state.weights, state.P)
    others = replace(state, B=None)
    B, statistics = problem.over_rows(sweep_codes, state.B, others, Q, alpha, relaxed)
    return fit_codes(problem, B, statistics, state.weights, state.P, alpha, gamma, label_term)


def solve_exact(
    problem,
    n_bits,
    *,
    alpha,
    gamma,
    label_term="l21",
    relaxed=False,
    n_perturbations=10,
    sweeps,
    rng,
):
    """Block coordinate descent from improved random codes; the trace never rises."""
    weighting = (alpha, gamma, label_term)
    B = start_codes(problem, n_bits, rng)
    B = improve_start(problem, B, gamma, n_perturbations, rng)
    state = start(problem, problem.given(B), *weighting)
    sweeps.start(state.objective)
    for _ in sweeps:
        state = sweep(problem, state, *weighting, relaxed)
        sweeps.record(state.objective)
    B = problem.gathered(state.B)
    codes = threshold_at_mean(B) if relaxed else B
    return Solution(codes, state.P, sweeps.objective, len(sweeps))


# Updates of solver="alm", as printed.


def alm_codes(part, R, weights, P, V, J, alpha, xi):
    """B, eq. (12): no quadratic term of Z, and R D R' acts on the auxiliary V."""
    RDR = (R * weights) @ R.T
    target = 2 * codes_linear(part, R, weights, P, alpha) + xi * V - J
    target[part.labelled] -= V[part.labelled] @ RDR
    return sign(target).astype(part.dtype)


def alm_auxiliary(part, B, R, weights, J, xi):
    """V, eq. (16)."""
    target = xi * B + J
    target[part.labelled] -= B[part.labelled] @ ((R * weights) @ R.T)
    return sign(target).astype(B.dtype)


def alm_sweep_part(part, R, weights, P, V, J, alpha, xi):
    """B, V and J of one part of the rows; codes as small integers."""
    B = alm_codes(part, R, weights, P, V.astype(part.dtype), J, alpha, xi)
    V = alm_auxiliary(part, B, R, weights, J, xi)
    return B.astype(np.int8), V.astype(np.int8), J + xi * (B - V)  # eq. (17)


def alm_relaxed_codes(part, R, weights, P, alpha):
    """B of DSAH-Re, eq. (30) with its missing term.

    ``(alpha sum_m Z_m + L D R')(M alpha I + R D R')^-1``.
    """
    Z = sum(F @ P_m.astype(F.dtype) for F, P_m in zip(part.features, P, strict=True))
    N = alpha * Z + part.labels @ (weights[:, None] * R.T)
    RDR = (R * weights) @ R.T
    B = update_by_labels(part, lambda Q, N: update_relaxed_codes(Q, N, len(P) * alpha), RDR, RDR, N)
    return B.astype(part.dtype)


def bounded(B):
    """Relaxed codes, scaled down where they are huge: codes do not depend on their scale.

    The printed updates of P and of relaxed codes feed each other: B grows by a factor of about
    ``k n`` every sweep, and would overflow.
    """
    return B * min(1, _HUGE / max(np.sqrt(inner(B, B) / B.size), 1))


def alm_projection(problem, statistics, P, m, alpha, gamma):
    """P_m, eqs. (24) and (27); a small ridge, as F'F is singular.

    ``((1 + alpha + gamma) F'F)^-1 F'(k S B + M alpha B - alpha sum_{j != m} Z_j)``.
    """
    M = len(P)
    lam, U = problem.eigen[m]
    right = P[m].shape[1] * statistics.similar[m] + M * alpha * statistics.features[m]
    for j in range(M):
        if j != m:
            right -= alpha * problem.grams[m, j] @ P[j]
    scale = (1 + alpha + gamma) * lam + _RIDGE * problem.n_rows
    return U @ ((U.T @ right) / scale[:, None])


def solve_alm(
    problem,
    n_bits,
    *,
    alpha,
    gamma,
    xi,
    rho,
    label_term="l21",
    relaxed=False,
    sweeps,
    rng,
):
    """Algorithm 1, as printed; the trace is eq. (8) after every sweep, which may rise."""
    n, c = problem.labels.shape
    R = rng.standard_normal((n_bits, c))
    P = [rng.standard_normal((F.shape[1], n_bits)) for F in problem.features]
    B, V = (sign(rng.standard_normal((n, n_bits))) for _ in range(2))
    J = rng.standard_normal((n, n_bits)).astype(problem.dtype)
    B = B.astype(problem.dtype) if relaxed else B
    weights = np.ones(c)

    def swept(rows, part):
        now = (part, R, weights, P)
        B[rows], V[rows], J[rows] = alm_sweep_part(*now, V[rows], J[rows], alpha, xi)
        return part_statistics(part, B[rows])

    def relaxed_codes(_, part):
        return alm_relaxed_codes(part, R, weights, P, alpha)

    for _ in sweeps:
        if relaxed:
            B = bounded(np.concatenate(list(problem.map_parts(relaxed_codes))))
            statistics = code_statistics(problem, B)
        else:
            statistics = problem.over_parts(swept)
            xi *= rho
        R = update_label_projection(statistics, weights, gamma)
        weights = update_weights(label_errors(problem, statistics, R), label_term)
        for m in range(len(P)):
            P[m] = alm_projection(problem, statistics, P, m, alpha, gamma)
        sweeps.record(objective(problem, statistics, R, P, alpha, gamma, label_term))
    codes = threshold_at_mean(B) if relaxed else B
    return Solution(codes, P, sweeps.objective, len(sweeps))


def threshold_at_mean(B):
    """Codes of relaxed ones: +1 from the mean of a bit upwards."""
    return sign(B - B.mean(axis=0, dtype=np.float64).astype(B.dtype))


def _positive(w):
    """Keep eigenvalues away from zero; what they would divide is zero there too."""
    return np.maximum(w, 1e-12 * np.max(w, initial=0) + np.finfo(np.float64).tiny)


@parametrised
class DSAH(TargetsMixin, KernelHasher):
    """Discrete semantics-guided asymmetric hashing.

    Learns one code per row so that its inner products with real-valued projections of
    every modality agree with label similarity, and a hash function per modality, linear
    in Gaussian kernels with anchors [1]_.

    The ablations of the paper's Tables 4 and 5 are settings: DSAH-Re is ``relaxed=True``,
    DSAH-Ke ``feature_map=StandardScaler()``, DSAH-Nm ``label_term="frobenius"``.

    Parameters
    ----------
    alpha : float, default=0.1
        Weight of the quantisation error between codes and the mean projection.
    gamma : float, default=1e-3
        Weight of the regularisation of projections and label projection.
    xi : float, default=1e-2
        First penalty between codes and their auxiliary copy. ``solver="alm"`` only, and at the
        published values without effect even there; see Notes.
    rho : float, default=1.5
        Factor by which the penalty grows every sweep. ``solver="alm"`` only, likewise.
    solver : {"exact", "alm"}, default="exact"
        "exact" minimises the objective by block coordinate descent, which never raises
        it, from the best of many random codes. "alm" takes the updates as the paper
        prints them; they do not minimise it, and cost accuracy on multi-label data
        above all.
    label_term : {"l21", "frobenius"}, default="l21"
        Norm of the label alignment error: sum over classes of 2-norms, or of squares.
    relaxed : bool, default=False
        Whether codes are real-valued during the fit, and thresholded at their mean.
    n_perturbations : int, default=10
        Rounds in which every bit of the random first codes is drawn anew, and kept if it
        is better. Short codes gain most. ``solver="exact"`` only.

    See Also
    --------
    AnchorRBF : The default feature map.
    RefinedHasher : Hash functions and bits chosen by leave-one-out retrieval.

    Notes
    -----
    With n rows, k bits, targets of c columns and q anchors, a fit takes :math:`O(n q^2 + q^3)`
    once and :math:`O(n k (q + c + k))` per sweep and modality, memory :math:`O(n q + q^2)`. No
    n x n matrix is formed. Without a
    feature map, q is the number of columns: reduce very wide features first.

    The printed updates take codes from the sign of ``2 k S sum_m Z_m`` plus small terms (12).
    Its entries grow with the rows and the bits, those of the penalty stay at `xi` times
    ``rho`` to the number of sweeps: where rows are hundreds or more, `xi` and `rho` change
    nothing at the published values.

    With ``pair_weight > 0`` the similarity is ``S = 2 T T' - 1 1'`` with targets T, and the label
    term ``||B R - L||`` counts the rows that have labels: of the others there is no L to be
    aligned with, and a predicted one would only repeat what their targets say already.
    Without labels there is no such term.

    References
    ----------
    .. [1] Long, J., Sun, L., Hua, L. and Yang, Z. (2021). Discrete semantics-guided asymmetric
       hashing for large-scale multimedia retrieval. Applied Sciences 11(18), 8769.
       :doi:`10.3390/app11188769`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh import MultimodalData
    >>> from sklearn_cmh.shallow import DSAH
    >>> rng = np.random.RandomState(0)
    >>> y = np.arange(90) % 3
    >>> X = MultimodalData(image=np.eye(3)[y] + rng.rand(90, 3), text=np.eye(3)[y, ::-1])
    >>> hasher = DSAH(n_bits=16, n_anchors=50, random_state=0).fit(X, y)
    >>> hasher.encode(X["text"], modality="text").shape
    (90, 16)
    >>> hasher.score(X, y) > 0.9
    True
    """

    alpha: float = 0.1
    gamma: float = 1e-3
    xi: float = 1e-2
    rho: float = 1.5
    solver: Literal["exact", "alm"] = "exact"
    label_term: Literal["l21", "frobenius"] = "l21"
    relaxed: bool = False
    n_perturbations: int = 10
    max_iter: int = 12
    tol: float = 1e-5

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        "gamma": [Interval(Real, 0, None, closed="left")],
        "xi": [Interval(Real, 0, None, closed="neither")],
        "rho": [Interval(Real, 1, None, closed="left")],
        "solver": [StrOptions({"exact", "alm"})],
        "label_term": [StrOptions({"l21", "frobenius"})],
        "relaxed": ["boolean"],
        "n_perturbations": [Interval(Integral, 0, None, closed="left")],
    }

    _takes_lazy_rows = True  # type: ignore[assignment]
    _is_mostly_sums = False

    @property
    def _solves_chunks(self):
        return self.solver == "exact" and not self.relaxed and self.pair_weight == 0

    def _problem(self, F, supervision):
        L = supervision.labels
        if isinstance(F[0], ChunkedRows):
            return ChunkedProblem.from_chunks(F, L)
        factors = self._cached(gram_factors, *F)
        T = self._targets(F, supervision, centred(factors[0], F) if self.pair_weight else None)
        return Problem.from_data(F, no_labels(len(T)) if L is None else L, T, factors)

    def _solve(self, features, supervision, rng):
        solvers: dict[str, tuple[Any, dict[str, Any]]] = {
            "exact": (solve_exact, {"n_perturbations": self.n_perturbations}),
            "alm": (solve_alm, {"xi": self.xi, "rho": self.rho}),
        }
        solve, own = solvers[self.solver]
        return solve(
            self._problem(list(features.values()), supervision),
            self.n_bits,
            alpha=self.alpha,
            gamma=self.gamma,
            label_term=self.label_term,
            relaxed=self.relaxed,
            sweeps=self._sweeps(),
            rng=rng,
            **own,
        )

    def _restart_params(self, codes_only):
        # Many restarts explore as the perturbations of one do.
        return {"n_perturbations": 0} if self.solver == "exact" and not self.relaxed else {}

    def _warn_ignored(self, names):
        super()._warn_ignored(names)
        ignored = {"exact": ["xi", "rho"], "alm": ["n_perturbations"]}[self.solver]
        if self.relaxed and self.solver == "alm":
            ignored = [*ignored, "xi", "rho"]
        warn_ignored(self, ignored, f"solver={self.solver!r}, relaxed={self.relaxed}")

    @staticmethod
    def paper_grid() -> list[dict[str, Any]]:
        """Parameter grids over the ranges that the paper studies, for GridSearchCV.

        Returns
        -------
        param_grid : list of dict
            First what matters, `alpha` and `gamma`, for each solver. Then the penalty of the
            printed updates, `xi` and `rho`, by itself: at these values it changes no code, see
            Notes; leave this grid out of a search for the best.

        Examples
        --------
        >>> from sklearn_cmh.shallow import DSAH
        >>> [sorted(grid) for grid in DSAH.paper_grid()]
        [['alpha', 'gamma', 'solver'], ['alpha', 'gamma', 'solver'], ['rho', 'solver', 'xi']]
        """
        powers = [10.0**i for i in range(-5, 6)]
        matters = {"alpha": powers, "gamma": powers}
        return [
            {"solver": ["exact"], **matters},
            {"solver": ["alm"], **matters},
            {"solver": ["alm"], "xi": [1e-2, 1e-1], "rho": [1.1, 1.5, 2.0]},
        ]
