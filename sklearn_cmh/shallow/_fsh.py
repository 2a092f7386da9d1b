"""FSH: fusion similarity hashing.

H. Liu, R. Ji, Y. Wu, F. Huang and B. Zhang, "Cross-Modality Binary Code Learning via Fusion
Similarity Hashing", CVPR 2017. Written from the description and from what the code does that its
first author has released in place of the original one. With p of the n rows as landmarks, two
modalities m and l have the asymmetric similarity (n, p)

    A_m = N_m K_m M_l' / s^2

of the Gaussian kernel K_m (p, p) of the landmarks, of width 1, N_m (n, p), which marks the s
landmarks nearest to a row, and M_l (p, p), which marks those nearest to a landmark: a row is like a
landmark as far as its neighbours in m are near, in m, to the landmark's neighbours in l. The fused
similarity A, the mean over m (and l), is factored by codes B (n, k) of rows and Q (p, k) of
landmarks, with linear hash functions of centred rows of norm one:

    max  <B, A Q> - gamma sum_m ||B - F_m W_m||^2   over W_m, B and Q in {-1, +1}

Every update is the exact maximiser, so that the negative of this never rises. The released code
weighs the A_m anew in every sweep by how badly they fit, outside of this objective; here they
weigh the same, as they do there at first. No n x n matrix is formed.
"""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from scipy.linalg import cho_solve
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from ..base import Learning, LinearHasher, Solution, parametrised
from ..solvers import column_means, gram, inner, ridge_factor, sign, squared_norm
from ..utils._sklearn import Interval
from ._pairs import check_paired

__all__ = ["FSH"]


@dataclass
class Problem:
    """F_m, a factor of F_m'F_m, the fused similarity A (n, p), and gamma."""

    features: list
    factors: list
    A: np.ndarray
    gamma: float

    @classmethod
    def from_data(cls, features, landmarks, n_neighbors, gamma):
        """Prepare features [(n, q_m) arrays or CSR], with rows as landmarks."""
        factors = [ridge_factor(gram(F), 0.0) for F in features]
        return cls(features, factors, fused_similarity(features, landmarks, n_neighbors), gamma)


def nearest(distances, s):
    """Mark the `s` smallest entries of every row: a sparse matrix of ones."""
    n, p = distances.shape
    columns = np.argsort(distances, axis=1, kind="stable")[:, :s].ravel()
    indptr = np.arange(0, len(columns) + 1, len(columns) // n)
    return sparse.csr_array((np.ones(len(columns)), columns, indptr), shape=(n, p))


def fused_similarity(features, landmarks, s):
    """A (n, p): the mean of ``N_m K_m M_l' / s^2`` over pairs of two modalities m and l."""
    s = min(s, len(landmarks))
    distances = [euclidean_distances(F, F[landmarks]).astype(np.float64) for F in features]
    among = [D[landmarks] for D in distances]
    marks = [nearest(D, s) for D in among]
    total, count = np.zeros(distances[0].shape), len(features)
    for m, (D, D_landmarks) in enumerate(zip(distances, among, strict=True)):
        others = sum(M for other, M in enumerate(marks) if other != m)
        kernel = np.exp(-np.square(D_landmarks) / 2)
        total += nearest(D, s) @ (others @ kernel).T
    return total / (s**2 * count * (count - 1))


def projected(problem, W):
    """``sum_m F_m W_m`` (n, k)."""
    return sum(F @ w.astype(F.dtype) for F, w in zip(problem.features, W, strict=True))


def update_codes(problem, Q, W):
    """B: the sign of ``A Q + 2 gamma sum_m F_m W_m``."""
    return sign(problem.A @ Q + 2 * problem.gamma * projected(problem, W)).astype(np.float64)


def update_landmarks(problem, B):
    """Q: the sign of ``A'B``."""
    return sign(problem.A.T @ B).astype(np.float64)


def update_projections(problem, B):
    """W_m: least squares of the codes on the features."""
    return [
        cho_solve(factor, (F.T @ B.astype(F.dtype)).astype(np.float64))
        for F, factor in zip(problem.features, problem.factors, strict=True)
    ]


def objective(problem, B, Q, W):
    """The negative of what is maximised."""
    losses = [
        squared_norm(B - F @ w.astype(F.dtype)) for F, w in zip(problem.features, W, strict=True)
    ]
    return problem.gamma * sum(losses) - inner(B, problem.A @ Q)


def solve(problem, n_bits, *, sweeps, rng):
    """Codes B of the rows and projections W_m, from random projections."""
    W = [rng.standard_normal((F.shape[1], n_bits)) for F in problem.features]
    B = sign(projected(problem, W)).astype(np.float64)
    Q, W = update_landmarks(problem, B), update_projections(problem, B)
    for _ in sweeps:
        B = update_codes(problem, Q, W)
        Q, W = update_landmarks(problem, B), update_projections(problem, B)
        sweeps.record(objective(problem, B, Q, W))
    return B, W


@parametrised
class FSH(LinearHasher):
    """Fusion similarity hashing: codes of neighbours in all modalities, without labels.

    A baseline [1]_. Labels are used for nothing but `score`.

    Parameters
    ----------
    gamma : float, default=300.0
        Weight of the hash functions' distance to the codes.
    n_landmarks : int, default=50
        Rows to which all are compared, drawn at random.
    n_neighbors : int, default=10
        Nearest landmarks by which a row is compared.
    feature_map : transformer, dict or "passthrough", default=None
        Map of the features, cloned for every modality, or {name: transformer}. None takes
        rows of norm one and centres them, sparse ones not; the width of the kernel is made for
        such rows.

    Attributes
    ----------
    objective_ : ndarray of shape (n_iter_,)
        The objective after every sweep; it never rises.
    offsets_ : dict
        Modality name to the thresholds (n_bits,) of its hash function.

    References
    ----------
    .. [1] Liu, H., Ji, R., Wu, Y., Huang, F. and Zhang, B. (2017). Cross-modality binary code
       learning via fusion similarity hashing. CVPR. :doi:`10.1109/CVPR.2017.672`

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import FSH
    >>> X, y = make_multimodal_classification(n_samples=200, random_state=0)
    >>> FSH(n_bits=16, random_state=0).fit(X).encode(X, modality="text").shape
    (200, 16)
    """

    gamma: float = 300.0
    n_landmarks: int = 50
    n_neighbors: int = 10
    max_iter: int = 100

    _parameter_constraints = {
        "gamma": [Interval(Real, 0, None, closed="left")],
        "n_landmarks": [Interval(Integral, 1, None, closed="left")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    }
    _paper_grid = {"gamma": [1.0, 10.0, 100.0, 300.0, 1000.0], "n_landmarks": [50, 100, 300]}
    _is_baseline = True
    _needs_pairs = True

    def _learning(self):
        return Learning(needs_labels=False, from_unlabelled=True)

    def _default_feature_map(self, block):
        centred = StandardScaler(with_mean=not sparse.issparse(block), with_std=False)
        return make_pipeline(Normalizer(), centred)

    def _solve(self, features, L, rng):
        check_paired("FSH", features)
        F, sweeps = list(features.values()), self._sweeps()
        landmarks = rng.permutation(F[0].shape[0])[: self.n_landmarks]
        problem = Problem.from_data(F, landmarks, self.n_neighbors, self.gamma)
        B, W = solve(problem, self.n_bits, sweeps=sweeps, rng=rng)
        offsets = [column_means(f) @ w for f, w in zip(F, W, strict=True)]
        return Solution(B, W, sweeps.objective, len(sweeps), offsets)
