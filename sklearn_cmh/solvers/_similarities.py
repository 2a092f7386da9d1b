"""Similarities of n rows, as linear operators: the n x n matrix is never formed.

Every similarity here factors as ``S = E C E'`` through few columns: `pool` applies
``E'`` (sums over rows), `core` the small symmetric ``C``, and `expand` applies ``E``
(back to rows). A product with an (n, k) array so costs time and memory linear in n.
Rows without labels, or without targets, are similar to nothing, themselves included.
"""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator
from sklearn.utils import gen_batches

from ..data import ChunkedRows, label_patterns
from ._linalg import part_sums, sum_rows
from ._targets import Targets, targets_beside

__all__ = [
    "CosineSimilarity",
    "GraphSimilarity",
    "MixedSimilarity",
    "SharedLabelSimilarity",
    "label_similarity",
]

# Entries of the pattern overlap that are kept; beyond, blocks are computed anew.
_MAX_OVERLAP = 2**24
_BLOCK_ENTRIES = 2**22


class _Similarity(LinearOperator):
    """Symmetric (n, n) operator ``expand(core(pool(A)))``; subclasses say how.

    Where the `n_groups` `groups` of the rows are known, ``expand(G)`` is ``G[groups]``.
    """

    def __init__(self, n, dtype):
        super().__init__(np.dtype(dtype), (n, n))

    def _matmat(self, A):
        return self.expand(self.core(self.pool(A)))

    def __matmul__(self, A):
        return self._matmat(A) if isinstance(A, ChunkedRows) else super().__matmul__(A)

    def _adjoint(self):
        return self

    _transpose = _adjoint

    def degrees(self):
        """Row sums, of shape (n,)."""
        return self.matvec(np.ones(self.shape[0], dtype=self.dtype))

    def degree_column(self):
        """Row sums, of shape (n, 1)."""
        return self.degrees()[:, None]


class CosineSimilarity(_Similarity):
    """Cosine of targets, ``scale * T T' - shift * u u'``.

    `T` holds targets with rows of norm one, `u` marks the rows that are not zero. With label
    targets, the cosine is that of label sets, and ``CosineSimilarity(T, 2.0, 1.0)`` DSAH's
    similarity in [-1, 1].

    Parameters
    ----------
    T : Targets of shape (n, t)
        Targets.
    scale, shift : float, default=1.0, 0.0
        Of the cosine.
    dtype : dtype, default=float64
        Of the operator and its products, float32 or float64. Sums over rows are
        accumulated in float64 either way.
    rows : {ndarray, sparse, LazyRows} of shape (n, q), default=None
        Features of the rows, beside which those of targets from labels are: with the workers of
        Dask, maybe. None: here.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.data import encode_labels
    >>> from sklearn_cmh.solvers import CosineSimilarity, label_targets
    >>> L, _ = encode_labels([[1, 1], [1, 0], [0, 0]])
    >>> CosineSimilarity(label_targets(L)) @ np.eye(3)
    array([[1.        , 0.70710678, 0.        ],
           [0.70710678, 1.        , 0.        ],
           [0.        , 0.        , 0.        ]])
    >>> CosineSimilarity(label_targets(L), 2.0, 1.0).degrees().round(3)
    array([1.414, 1.414, 0.   ])
    """

    def __init__(self, T, scale=1.0, shift=0.0, dtype=np.float64, rows=None):
        super().__init__(len(T), dtype)
        self._targets, self._scale, self._shift = T, scale, shift
        # One more label, of all rows that have targets.
        mark = sparse.csr_array(T.present()[:, None].astype(self.dtype))
        marked = Targets(sparse.hstack([T.labels, mark], format="csr"), T.pairs)
        self._marked = targets_beside(rows, marked)
        self._weights = np.full((marked.shape[1], 1), scale, dtype=self.dtype)
        self._weights[T.labels.shape[1]] = -shift

    def squared_norm(self):
        """Squared Frobenius norm of the n x n matrix, from small products."""
        T, scale, shift = self._targets, self._scale, self._shift
        TT, sums, n = T.cross(T), T.sum(), np.count_nonzero(T.present())
        return scale**2 * np.sum(TT**2) - 2 * scale * shift * np.sum(sums**2) + (shift * n) ** 2

    def pool(self, A):
        """``T'A``, with the sum of the rows that have targets as that of a label: (t + 1, k)."""
        return self._marked.pool(A)

    def core(self, G):
        """Weigh the columns of the targets, and the sum."""
        return (self._weights * G).astype(self.dtype, copy=False)

    def expand(self, G):
        """Hand every row what its targets have."""
        return self._marked.expand(G)


class SharedLabelSimilarity(_Similarity):
    """1 where two rows share a label, else 0; exact, through distinct label patterns.

    A row's similarities depend on its label pattern alone. With `H` (n, g) the one-hot
    membership of the g distinct patterns and `T` (g, g) their overlap, ``S = H T H'``.
    `T` is kept sparse or dense where it is small, and recomputed in blocks where it is
    not, so memory stays bounded when nearly every row has a pattern of its own.

    Parameters
    ----------
    L : csr_array of shape (n, c)
        Label indicator.
    dtype : dtype, default=float64
        Of the operator and its products, float32 or float64. Sums over rows are
        accumulated in float64 either way.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.data import encode_labels
    >>> from sklearn_cmh.solvers import SharedLabelSimilarity
    >>> L, _ = encode_labels([[1, 1], [1, 0], [0, 1], [0, 0]])
    >>> SharedLabelSimilarity(L) @ np.eye(4)
    array([[1., 1., 1., 0.],
           [1., 1., 0., 0.],
           [1., 0., 1., 0.],
           [0., 0., 0., 0.]])
    """

    def __init__(self, L, dtype=np.float64):
        super().__init__(L.shape[0], dtype)
        patterns, self.groups = label_patterns(L)
        # float32 counts labels exactly up to 2**24 of them.
        self._patterns = patterns.astype(np.float32)
        self.n_groups = patterns.shape[0]
        self._overlap = _kept_overlap(self._patterns, self.dtype)

    def pool(self, A):
        """Sum the rows of `A` (n, k) per label pattern."""
        return _sum_by(A, self.groups, self.n_groups, self.dtype)

    def pool_part(self, A, rows):
        """What a few rows, which are `A`, add to those sums: which of them, and how much."""
        return part_sums(_membership(self.groups[rows], self.n_groups, self.dtype), A)

    def core(self, G):
        """Add up the sums of all patterns that share a label with a pattern."""
        G = G.astype(self.dtype, copy=False)
        if self._overlap is not None:
            return self._overlap @ G
        out = np.empty_like(G)
        g, c = self._patterns.shape
        for block in gen_batches(g, max(1, _BLOCK_ENTRIES // max(g, c))):
            shared = self._patterns @ self._patterns[block].toarray().T
            out[block] = (shared > 0).astype(self.dtype).T @ G
        return out

    def expand(self, G):
        """Hand every row what its pattern has."""
        return np.take(G, self.groups, axis=0)


def _sum_by(A, groups, g, dtype):
    """Sums (g, k) of the rows of A in each of g groups."""
    return sum_rows(_membership(groups, g, dtype), A)


def _membership(groups, g, dtype):
    """Which of g groups each row is in, one-hot: (n, g)."""
    n = len(groups)
    return sparse.csr_array((np.ones(n, dtype), groups, np.arange(n + 1)), shape=(n, g))


class ChunkedLabelSimilarity(SharedLabelSimilarity):
    """`SharedLabelSimilarity` of rows that are with the workers of Dask.

    Parameters
    ----------
    L : csr_array of shape (n, c)
        Label indicator, here.
    rows : ChunkedRows of shape (n, q)
        Anything of the rows.
    dtype : dtype, default=float64
        Of the operator and its products.
    """

    def __init__(self, L, rows, dtype=np.float64):
        super().__init__(L, dtype)
        self._counts = np.bincount(self.groups, minlength=self.n_groups)
        self.groups = rows.beside(self.groups.astype(np.int32))

    def pool(self, A):
        """Sum the rows of `A` (n, k) per label pattern."""
        return A.total(_sum_by, self.groups, args=(self.n_groups, self.dtype))

    def expand(self, G):
        """Hand every row what its pattern has."""
        return self.groups.take(G)

    def degree_column(self):
        """Row sums, of shape (n, 1)."""
        return self.expand(self.core(self._counts[:, None]))


def label_similarity(L, rows, dtype=np.float64):
    """`SharedLabelSimilarity` of rows that are here, or with the workers of Dask.

    Parameters
    ----------
    L : csr_array of shape (n, c)
        Label indicator.
    rows : {ndarray, sparse, LazyRows} of shape (n, q)
        Features of the rows.
    dtype : dtype, default=float64
        Of the operator and its products.

    Returns
    -------
    similarity : SharedLabelSimilarity
        Of the rows where they are.
    """
    if isinstance(rows, ChunkedRows):
        return ChunkedLabelSimilarity(L, rows, dtype)
    return SharedLabelSimilarity(L, dtype)


def _kept_overlap(patterns, dtype):
    """Which of the g patterns share a label, (g, g); None where that is too much to keep."""
    per_class = np.bincount(patterns.indices, minlength=patterns.shape[1]).astype(float)
    # The number of multiplications of the sparse product bounds its nonzeros.
    if per_class @ per_class > _MAX_OVERLAP:
        return None
    overlap = sparse.csr_array(patterns @ patterns.T)
    overlap = sparse.csr_array(
        (np.ones(overlap.nnz, dtype=dtype), overlap.indices, overlap.indptr), shape=overlap.shape
    )
    return overlap.toarray() if 2 * overlap.nnz > overlap.shape[0] ** 2 else overlap


class GraphSimilarity(_Similarity):
    """A sparse symmetric graph over the rows, such as one of nearest neighbours.

    Parameters
    ----------
    graph : sparse array of shape (n, n)
        Symmetric affinities.
    dtype : dtype, default=float64
        Of the operator and its products.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from sklearn_cmh.solvers import GraphSimilarity
    >>> GraphSimilarity(csr_array([[0, 1], [1, 0]])).degrees()
    array([1., 1.])
    """

    def __init__(self, graph, dtype=np.float64):
        super().__init__(graph.shape[0], dtype)
        self._graph = sparse.csr_array(graph, dtype=self.dtype)
        self.n_groups = self.shape[0]
        self.groups = np.arange(self.n_groups)

    def pool(self, A):
        """Return `A` itself: every row is its own group."""
        return A

    def core(self, G):
        """Add up the neighbours of every row."""
        return self._graph @ G.astype(self.dtype, copy=False)

    def expand(self, G):
        """Return `G` itself."""
        return G


class MixedSimilarity(_Similarity):
    """``(1 - weight) S + weight T`` of two similarities of the same rows.

    Parameters
    ----------
    S, T : similarity of shape (n, n)
        Of one dtype.
    weight : float
        In [0, 1].

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_cmh.solvers import GraphSimilarity, MixedSimilarity
    >>> S = GraphSimilarity(csr_array([[1, 1], [1, 1]]))
    >>> T = GraphSimilarity(csr_array([[1, 0], [0, 1]]))
    >>> MixedSimilarity(S, T, 0.25).degrees()
    array([1.75, 1.75])
    """

    def __init__(self, S, T, weight):
        super().__init__(S.shape[0], S.dtype)
        self.n_groups = self.shape[0]
        self.groups = np.arange(self.n_groups)
        self._parts = ((self.dtype.type(1 - weight), S), (self.dtype.type(weight), T))

    def pool(self, A):
        """Return `A` itself: every row is its own group."""
        return A

    def core(self, G):
        """Both products, weighed."""
        G = G.astype(self.dtype, copy=False)
        return sum(weight * (S @ G) for weight, S in self._parts)

    def expand(self, G):
        """Return `G` itself."""
        return G
