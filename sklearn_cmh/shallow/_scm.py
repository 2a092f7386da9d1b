"""SCM: semantic correlation maximisation.

D. Zhang and W.-J. Li, "Large-Scale Supervised Multimodal Hashing with Semantic Correlation
Maximization", AAAI 2014. Written from the published description. With S = 2 Lt Lt' - 1 1', the
cosine of label sets in [-1, 1], and codes H_m = sgn(F_m W_m) of two modalities, bits are to solve

    min  ||H_1 H_2' - k S||^2                                                   eqs. 2 to 4

With signs and constant norms relaxed, that is

    max  tr(W_1'F_1'S F_2 W_2)   subject to  W_m'F_m'F_m W_m = n I              eq. 5

"orthogonal": all bits at once, canonical directions with F_1'S F_2 for F_1'F_2. Later directions
say ever less. "sequential" (Algorithm 2): one direction w_1, w_2 after another, with the
constraint on each alone and what the earlier bits leave, R = k S - sum h_1 h_2', in the place of
S. Features are centred. No n x n matrix is formed: ``F_1'S F_2 = 2 (F_1'Lt)(Lt'F_2)``, from which
every bit takes ``(F_1'h_1)(h_2'F_2)``.
"""

from numbers import Real

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import svds

from ..base import DirectMixin, LinearHasher, Solution, parametrised
from ..solvers import (
    CosineSimilarity,
    centred_grams,
    column_means,
    component_signs,
    inner,
    label_targets,
    project,
    sign,
    whitener,
)
from ..utils._sklearn import Interval, StrOptions
from ._pairs import check_paired

__all__ = ["SCM"]

# Below this width, all singular vectors cost no more than the first.
_SMALL = 64


def first_directions(C):
    """The maximisers u, v of ``u'C v`` of norm one, up to the sign of both."""
    if min(C.shape) <= _SMALL:
        U, _, Vt = linalg.svd(C, full_matrices=False)
    else:
        U, _, Vt = svds(C, k=1, v0=np.ones(min(C.shape)))
    return U[:, 0], Vt[0]


def orthogonal_directions(C, n_bits):
    """Directions (r_m, n_bits) for all bits at once; zero beyond the rank."""
    U, _, Vt = linalg.svd(C, full_matrices=False)
    fill = ((0, 0), (0, max(0, n_bits - len(Vt))))
    return [np.pad(V[:, :n_bits], fill) for V in (U, Vt.T)]


def sequential_directions(C, E, n_bits):
    """Directions (r_m, n_bits), one bit after another, for white rows E_m (n, r_m)."""
    C = C.copy()
    directions = [np.zeros((width, n_bits)) for width in C.shape]
    for j in range(n_bits):
        pair = first_directions(C)
        bits = [sign(e @ u).astype(np.float64) for e, u in zip(E, pair, strict=True)]
        C -= np.outer(E[0].T @ bits[0], bits[1] @ E[1])
        for U, u in zip(directions, pair, strict=True):
            U[:, j] = u
    return directions


def squared_norm_of_similarity(T):
    """``||S||^2`` for ``S = 2 T T' - 1 1'``."""
    TT, total = T.cross(T), T.sum()
    return 4 * inner(TT, TT) - 4 * total @ total + len(T) ** 2


def objective(S, similarity_norm, H):
    """``||H_1 H_2' - k S||^2``, without the n x n matrix."""
    k = H[0].shape[1]
    fit = inner(H[0], S @ H[1])
    return k**2 * similarity_norm - 2 * k * fit + inner(H[0].T @ H[0], H[1].T @ H[1])


@parametrised
class SCM(DirectMixin, LinearHasher):
    """Semantic correlation maximisation: directions of features that agree where labels do.

    A supervised baseline of two modalities [1]_, of one eigendecomposition, or of one per bit.

    Parameters
    ----------
    solver : {"sequential", "orthogonal"}, default="sequential"
        One bit after another, each for what the earlier ones leave (SCM-seq), or all at once,
        orthogonal to one another (SCM-orth), of which there are no more than the narrower
        modality has columns; further bits are constant.
    regularisation : float, default=1e-6
        Ridge, as a multiple of the mean eigenvalue of a modality's features.

    Attributes
    ----------
    offsets_ : dict
        Modality name to the thresholds (n_bits,) of its hash function.

    See Also
    --------
    CVH : The same directions, from pairs instead of labels.

    Notes
    -----
    Codes of the training rows are fused ones, the signs of the sum of both modalities' projections;
    the paper has one code per modality. Time and memory grow linearly with the rows.

    References
    ----------
    .. [1] Zhang, D. and Li, W.-J. (2014). Large-scale supervised multimodal hashing with semantic
       correlation maximization. AAAI. https://ojs.aaai.org/index.php/AAAI/article/view/8995

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> from sklearn_cmh.shallow import SCM
    >>> X, y = make_multimodal_classification(n_samples=200, random_state=0)
    >>> SCM(n_bits=16).fit(X, y).encode(X, modality="text").shape
    (200, 16)
    """

    solver: str = "sequential"
    regularisation: float = 1e-6

    _parameter_constraints = {
        "solver": [StrOptions({"sequential", "orthogonal"})],
        "regularisation": [Interval(Real, 0, None, closed="left")],
    }
    _paper_grid = {"solver": ["sequential", "orthogonal"]}
    _is_baseline = True
    _needs_pairs = True

    def _solve(self, features, L, rng):
        check_paired("SCM", features, at_most=2)
        F, T = list(features.values()), label_targets(L)
        means = [column_means(f) for f in F]
        grams = centred_grams(F, means)
        D = [whitener(grams[m, m], self.regularisation) for m in range(2)]
        offsets = [mean @ d for mean, d in zip(means, D, strict=True)]
        E = [f @ d - offset for f, d, offset in zip(F, D, offsets, strict=True)]
        C = 2 * self.n_bits * T.pool(E[0]).T @ T.pool(E[1])
        if 0 in C.shape:
            constant = [name for name, d in zip(features, D, strict=True) if d.shape[1] == 0]
            raise ValueError(
                f"SCM: the features of {constant} are the same in all rows, so that no direction "
                "in them tells rows apart. Give the modality columns that vary."
            )
        if self.solver == "sequential":
            U = sequential_directions(C, E, self.n_bits)
        else:
            U = orthogonal_directions(C, self.n_bits)
        # Of features, not of white ones, whose signs are those of an eigendecomposition.
        U = [u * component_signs(D[0] @ U[0]) for u in U]
        H = [sign(e @ u).astype(np.float64) for e, u in zip(E, U, strict=True)]
        S = CosineSimilarity(T, 2.0, 1.0)
        value = objective(S, squared_norm_of_similarity(T), H)
        P = [d @ u for d, u in zip(D, U, strict=True)]
        offsets = [offset @ u for offset, u in zip(offsets, U, strict=True)]
        total = sum(project(f, p, offset) for f, p, offset in zip(F, P, offsets, strict=True))
        return Solution(sign(total), P, [value], 1, offsets)
