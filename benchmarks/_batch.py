"""BATCH, the strongest shallow baseline of the papers' tables, for comparison only.

Written from the published description (Y. Wang, X. Luo, L. Nie, J. Song, W. Zhang, X.-S. Xu,
"BATCH: A Scalable Asymmetric Discrete Cross-Modal Hashing", IEEE TKDE 2020). With G the label
indicator, rows of norm one, and k bits,

    min ||k G G' - B (V R)'||^2 + theta ||B - V R||^2 + sum_m lambda ||F_m - V U_m||^2
    s.t. V'V = n I, 1'V = 0, R'R = I, B in {-1, +1}

where every update has a closed form; then ridge regression from features to bits.
"""

import numpy as np

from sklearn_cmh.base import ShallowHasher, Solution, sign
from sklearn_cmh.data import normalise_rows


def polar(A):
    """The orthogonal Q that maximises tr(Q'A)."""
    left, _, right = np.linalg.svd(A, full_matrices=False)
    return left @ right


def update_latent(Z, rng):
    """The V that maximises tr(V'Z) with V'V = n I and 1'V = 0."""
    n, k = Z.shape
    Z = Z - Z.mean(axis=0)
    left, values, right = np.linalg.svd(Z, full_matrices=False)
    rank = int((values > 1e-6 * values[0]).sum())
    if rank < k:
        # Any orthonormal completion is a maximiser.
        free = rng.standard_normal((n, k - rank))
        free -= free.mean(axis=0)
        free -= left[:, :rank] @ (left[:, :rank].T @ free)
        left = np.hstack([left[:, :rank], np.linalg.qr(free)[0]])
    return np.sqrt(n) * left @ right


class BATCH(ShallowHasher):
    """BATCH with ridge hash functions."""

    def __init__(
        self,
        n_bits=64,
        *,
        theta=1.0,
        lambda_=0.5,
        ridge=1e-2,
        modalities=None,
        feature_map=None,
        n_anchors=1000,
        max_iter=10,
        tol=0.0,
        random_state=None,
        verbose=0,
    ):
        self.n_bits = n_bits
        self.theta = theta
        self.lambda_ = lambda_
        self.ridge = ridge
        self.modalities = modalities
        self.feature_map = feature_map
        self.n_anchors = n_anchors
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.verbose = verbose

    _parameter_constraints: dict = {
        **ShallowHasher._parameter_constraints,
        "theta": "no_validation",
        "lambda_": "no_validation",
        "ridge": "no_validation",
    }

    def _solve(self, features, L, rng):
        n, k = L.shape[0], self.n_bits
        G = normalise_rows(L)
        B = sign(rng.standard_normal((n, k))).astype(np.float64)
        V = update_latent(rng.standard_normal((n, k)), rng)
        R = polar(rng.standard_normal((k, k)))
        for _ in range(self.max_iter):
            similar = k * (G @ (G.T @ B)) + self.theta * B
            Z = similar @ R.T
            for F in features.values():
                Z += self.lambda_ * (F @ (V.T @ F / n).T)
            V = update_latent(Z, rng)
            R = polar(V.T @ similar)
            B = sign(k * (G @ (G.T @ (V @ R))) + self.theta * (V @ R)).astype(np.float64)
        projections = []
        for F in features.values():
            gram = F.T @ F + self.ridge * np.eye(F.shape[1])
            projections.append(np.linalg.solve(gram, F.T @ B))
        return Solution(B.astype(np.int8), projections, [], self.max_iter)
