"""Targets: what codes should preserve, as the factor of a similarity of rows.

A similarity ``S = T T'`` is given by its factor T (n, t), the targets, whose rows have norm
one. Labels give ``T = Lt``, the label indicator with rows of norm one: rows of one class are
alike, and nothing tells them apart. The pairing of the modalities gives ``T = Z``, the rows in
a space that the modalities share: every row is like itself first. Both give
``T = [sqrt(1 - p) Lt, sqrt(p) Z]``, with the pair weight p, since then
``T T' = (1 - p) Lt Lt' + p Z Z'``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from scipy import sparse
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches

from ..data import ChunkedRows, beside, labelled_rows, normalise_rows
from ..utils._threads import for_blocks, row_slices
from ..utils._typing import Features, Floats, NDArray
from ._canonical import canonical_bases
from ._codes import sign
from ._linalg import dense, dot, squared_norm, sum_rows
from ._moments import Grams, centred_grams, column_means
from ._ridge import ridge_leave_one_out

__all__ = [
    "Targets",
    "complete_labels",
    "label_rows",
    "label_targets",
    "mix_targets",
    "shared_rows",
    "targets_beside",
]

_BLOCK_ROWS = 4096
# Penalties of the regression that predicts labels, relative to the mean eigenvalue of F'F.
_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
# Errors that differ by less, relative to the least, are the same but for rounding.
_ALIKE = 1e-9


@dataclass(frozen=True)
class Targets:
    """The factor T of a similarity ``S = T T'``, a sparse part beside a dense one.

    Parameters
    ----------
    labels : csr_array of shape (n, c)
        The part from labels; c is 0 where there are none.
    pairs : ndarray of shape (n, r)
        The part from pairs; r is 0 where labels are all.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.data import encode_labels, normalise_rows
    >>> from sklearn_cmh.solvers import mix_targets
    >>> L, _ = encode_labels(["cat", "cat", "dog"])
    >>> T = mix_targets(normalise_rows(L), np.eye(3), pair_weight=0.25)
    >>> (T.toarray() @ T.toarray().T).round(2)
    array([[1.  , 0.75, 0.  ],
           [0.75, 1.  , 0.  ],
           [0.  , 0.  , 1.  ]])
    """

    labels: sparse.csr_array
    pairs: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and columns of both parts."""
        return self.labels.shape[0], self.labels.shape[1] + self.pairs.shape[1]

    @property
    def dtype(self) -> np.dtype:
        """Of the products."""
        return np.result_type(self.labels.dtype, self.pairs.dtype)

    def __len__(self) -> int:
        return self.labels.shape[0]

    def __getitem__(self, rows) -> Targets:
        """The targets of some rows."""
        return Targets(self.labels[rows], self.pairs[rows])

    def pool(self, A: Features) -> Floats:
        """``T'A`` (t, k), added up in float64."""
        parts = [part for part in (self.labels, self.pairs) if part.shape[1]] or [self.labels]
        return np.vstack([dense(sum_rows(part, A)) for part in parts])

    def expand(self, G: Floats) -> Floats:
        """``T G`` (n, k), in the dtype of `G`."""
        return self._made(G, G.dtype, lambda product: product)

    def signs(self, G: Floats, offset: Floats | float = 0.0) -> NDArray:
        """Signs of ``T G - offset``, as codes."""
        return self._made(G, np.int8, lambda product: sign(product - offset))

    def _made(self, G, dtype, of_product):
        """What a function makes of ``T G``, (n, k), a block of rows at a time."""
        made, c = np.empty((len(self), G.shape[1]), dtype), self.labels.shape[1]

        def fill(rows):
            product = self.labels[rows].astype(G.dtype, copy=False) @ G[:c]
            if self.pairs.shape[1]:
                product += self.pairs[rows].astype(G.dtype, copy=False) @ G[c:]
            made[rows] = of_product(product)

        for_blocks(fill, row_slices(len(self), _BLOCK_ROWS))
        return made

    def sum(self) -> Floats:
        """Column sums ``T'1`` (t,), float64."""
        labels = np.asarray(self.labels.sum(axis=0, dtype=np.float64)).ravel()
        return np.concatenate([labels, self.pairs.sum(axis=0, dtype=np.float64)])

    def present(self) -> NDArray:
        """Which rows are not zero: (n,) bool."""
        return (np.diff(self.labels.indptr) > 0) | self.pairs.any(axis=1)

    def scaled(self, scale: Floats) -> Targets:
        """Every row times a number of its own."""
        labels = self.labels.multiply(scale[:, None]).tocsr()
        return Targets(labels.astype(self.labels.dtype), self.pairs * scale[:, None])

    def cross(self, other: Targets) -> Floats:
        """``T'A`` (t, a) for another's A, float64."""
        A, Z = self.labels, self.pairs.astype(np.float64, copy=False)
        B, Y = other.labels, other.pairs.astype(np.float64, copy=False)
        return np.block([[(A.T @ B).toarray(), A.T @ Y], [(B.T @ Z).T, Z.T @ Y]])

    def toarray(self) -> Floats:
        """T as one dense array."""
        return np.hstack([self.labels.toarray(), self.pairs])


@dataclass(frozen=True)
class ChunkedTargets(Targets):
    """Targets of rows that are with the workers of Dask.

    Parameters
    ----------
    labels : csr_array of shape (n, c)
        Of all rows, here.
    pairs : {ndarray, ChunkedRows} of shape (n, r)
        Here or there.
    rows : ChunkedRows
        Of every chunk, its targets.
    """

    rows: ChunkedRows

    def pool(self, A):
        """``T'A`` (t, k) of rows with the workers."""
        return A.total(_pooled, self.rows)

    def expand(self, G):
        """``T G`` (n, k), with the workers."""
        return self.rows.made(G.shape[1], G.dtype, Targets.expand, args=(G,))

    def signs(self, G, offset=0.0):
        """Signs of ``T G - offset``, with the workers."""
        return self.rows.made(G.shape[1], np.int8, Targets.signs, args=(G, offset))


def _pooled(A, T):
    return T.pool(A)


def targets_beside(rows: Any, T: Targets) -> Targets:
    """Targets where the rows are that they belong to: here, or with workers.

    Parameters
    ----------
    rows : {ndarray, sparse, LazyRows} of shape (n, q)
        Features of the rows.
    T : Targets of shape (n, t)
        Their targets, of which the part from pairs may be where the rows are already.

    Returns
    -------
    targets : Targets
        The same.
    """
    if not isinstance(rows, ChunkedRows):
        return T
    labels, pairs = beside(rows, T.labels), beside(rows, T.pairs)
    return ChunkedTargets(T.labels, T.pairs, labels.made(T.shape[1], T.dtype, Targets, pairs))


def label_rows(L: sparse.csr_array, rows: Any) -> Targets:
    """The label indicator L (n, c) itself as targets, in float64, where the rows are.

    Parameters
    ----------
    L : csr_array of shape (n, c)
        Label indicator.
    rows : {ndarray, sparse, LazyRows} of shape (n, q)
        Features of the rows.

    Returns
    -------
    targets : Targets of shape (n, c)
        Rows of L, not of norm one.
    """
    return targets_beside(rows, Targets(L.astype(np.float64), np.zeros((L.shape[0], 0))))


def mix_targets(Lt: sparse.csr_array | None, Z: Floats | None, pair_weight: float) -> Targets:
    """``T = [sqrt(1 - p) Lt, sqrt(p) Z]``.

    Parameters
    ----------
    Lt : {csr_array, None} of shape (n, c)
        Label rows of norm one, from `normalise_rows` or `complete_labels`; None only where
        the pair weight is 1.
    Z : {ndarray, ChunkedRows, None} of shape (n, r)
        Rows of norm one in a space that the modalities share; None only where the pair
        weight is 0.
    pair_weight : float
        The pair weight p, in [0, 1].

    Returns
    -------
    targets : Targets
        With rows of norm one, but for rows that are zero in `Lt` or `Z`.
    """
    if pair_weight == 0:
        assert Lt is not None
        return Targets(Lt, np.zeros((Lt.shape[0], 0), dtype=Lt.dtype))
    assert Z is not None
    if pair_weight == 1:
        return Targets(sparse.csr_array((len(Z), 0), dtype=Z.dtype), Z)
    assert Lt is not None
    dtype = np.result_type(Z.dtype, np.float32)  # whatever whole numbers are in
    labels = Lt.astype(dtype) * dtype.type(np.sqrt(1 - pair_weight))
    return Targets(labels, Z * dtype.type(np.sqrt(pair_weight)))


def label_targets(L: sparse.csr_array) -> Targets:
    """Targets from labels alone: the indicator L (n, c) with rows of norm one."""
    return mix_targets(normalise_rows(L), None, 0.0)


def shared_rows(
    features: Sequence[Features],
    grams: Grams | None = None,
    *,
    n_components: int = 64,
    regularisation: float = 0.1,
) -> Floats:
    """Rows of norm one in a space that the modalities share, by ridge canonical correlation.

    A plain one, of features that a fit has anyway: no search, and components weighted by their
    correlation in the rows at hand. `SharedSpace` chooses features and ridge, and weighs
    components by what holds for other rows.

    Parameters
    ----------
    features : sequence of {ndarray, sparse} of shape (n, q_m)
        Features of the modalities.
    grams : dict, default=None
        Their centred Gram matrices divided by n, where they are known; see `centred_grams`.
    n_components : int, default=64
        Dimensions of the shared space; fewer where the modalities have no more in common.
    regularisation : float, default=0.1
        Ridge, as a multiple of the mean eigenvalue of every Gram matrix.

    Returns
    -------
    Z : ndarray of shape (n, r)
        Rows of norm one, or zero where nothing is known of a row.

    Raises
    ------
    ValueError
        If there is one modality only, or they have nothing in common.
    """
    if len(features) < 2:
        raise ValueError("Pairs need two modalities, and X has one.")
    means = [column_means(F) for F in features]
    grams = centred_grams(features, means) if grams is None else grams
    bases, weights = canonical_bases(grams, [regularisation] * len(features), n_components)
    if not weights.any():
        raise ValueError(
            "The modalities have nothing in common: one is the same in all rows. Their pairing "
            "teaches nothing; labels alone, with pair_weight=0, may."
        )
    weighted = [W * weights for W in bases]
    total = sum(
        dot(F, W) - (mean @ W).astype(F.dtype)
        for F, W, mean in zip(features, weighted, means, strict=True)
    )
    return normalize(total, copy=False)


def complete_labels(L: sparse.csr_array, features: Sequence[Features]) -> sparse.csr_array:
    """Rows of norm one for all rows: of labels where there are any, predicted ones elsewhere.

    The prediction is ridge regression of the labelled rows' Lt on the features of all
    modalities side by side, its penalty chosen by leave-one-out error: scores, with rows of
    norm one, not probabilities or hard guesses.

    Parameters
    ----------
    L : csr_array of shape (n, c)
        Label indicator; a row without labels is empty.
    features : sequence of {ndarray, sparse, LazyRows} of shape (n, q_m)
        Mapped features of every modality.

    Returns
    -------
    Lt : csr_array of shape (n, c)
        The indicator with rows of norm one, rows without labels filled in.

    Raises
    ------
    ValueError
        If no row has labels.
    """
    labelled = labelled_rows(L)
    Lt = normalise_rows(L, np.result_type(*(F.dtype for F in features)))
    if labelled.all():
        return Lt
    if not labelled.any():
        raise ValueError("L labels no row, so nothing tells the labels of the others.")
    known, unknown = np.flatnonzero(labelled), np.flatnonzero(~labelled)
    F, F_new = (_side_by_side(features, mask) for mask in (labelled, ~labelled))
    scores = np.asarray(predict_scores(F, Lt[labelled].toarray(), F_new))
    order = np.argsort(np.concatenate([known, unknown]))
    filled = sparse.csr_array(normalize(scores).astype(Lt.dtype, copy=False))
    return sparse.csr_array(sparse.vstack([Lt[labelled], filled], format="csr")[order])


def predict_scores(F: Any, Y: Any, F_new: Any) -> Any:
    """Ridge scores of new rows, the penalty chosen by leave-one-out squared error.

    The largest of those that do as well but for rounding: of two rows, all do.
    """
    n, q = F.shape
    if n == 1:
        # Without it, none is left.
        return np.repeat(Y, F_new.shape[0], axis=0)
    mean = F.mean(axis=0, dtype=np.float64)
    scatter = _squared_distance(F, mean) / q
    # Rows that are alike but for rounding tell nothing: their scatter is no scale.
    rounding = np.finfo(F.dtype).eps * squared_norm(F) / q
    penalties = np.array(_PENALTIES) * (max(scatter, rounding) or 1.0)
    Y_mean = Y.mean(axis=0, dtype=np.float64)
    # Decisions are about the mean of the other rows, ``(n Y_mean - Y) / (n - 1)``.
    excess = (Y - Y_mean) * (n / (n - 1))
    if isinstance(F, ChunkedRows):
        Y, excess = F.beside(Y), F.beside(excess)
    coef, decisions = ridge_leave_one_out(F, Y, penalties)
    errors = [squared_norm(decision - excess) for decision in decisions]
    best = coef[np.flatnonzero(errors <= (1 + _ALIKE) * np.min(errors))[-1]]
    offset = Y_mean - mean @ best
    return dot(F_new, best) + offset.astype(F_new.dtype)


def _squared_distance(F, mean):
    """Sum over rows of the squared distance from the mean."""
    if isinstance(F, ChunkedRows):
        return F.total(_squared_distance, args=(mean,))
    return sum(np.square(F[rows] - mean).sum() for rows in gen_batches(F.shape[0], _BLOCK_ROWS))


def _side_by_side(features, mask):
    """The rows that a mask chooses, features of all modalities side by side, dense."""
    if not isinstance(features[0], ChunkedRows):
        return SomeRows(features, np.flatnonzero(mask))
    first, *others = (F.where(mask) for F in features)
    return first.joined(*others)


class SomeRows:
    """Some rows of the features of all modalities side by side, dense where they are looked at.

    Parameters
    ----------
    features : sequence of {ndarray, sparse, LazyRows} of shape (n, q_m)
        Features of the modalities.
    rows : ndarray of int
        The rows.
    """

    def __init__(self, features: Sequence[Features], rows: NDArray):
        self.features, self.rows = features, rows
        self.shape = len(rows), sum(F.shape[1] for F in features)
        self.dtype = np.result_type(*(F.dtype for F in features))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows) -> Floats:
        return np.hstack([dense(F[self.rows[rows]]) for F in self.features])

    def mean(self, axis: int, dtype: DTypeLike) -> Floats:
        """Mean of every column."""
        total = np.zeros(self.shape[1], dtype=dtype)
        for rows in gen_batches(len(self), _BLOCK_ROWS):
            total += self[rows].sum(axis=axis, dtype=dtype)
        return total / len(self)
