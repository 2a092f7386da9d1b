"""A space that modalities share, learned from the pairing of their rows alone.

Ridge canonical correlation on mapped features, of two or more modalities. In thousands of
features, every component correlates in the rows at hand, and few do in new ones; so components
are weighted by their *out-of-fold* correlation c_j to a power p: a row of one modality is
``e_m = unit(E_m diag(c)^p)``, one of several is ``unit(sum_m E_m diag(c)^p)``.

cca-zoo offers canonical correlation in many forms, but has dense views, which it copies, kept
in-sample correlations and searches of its own: here features may be sparse and are passed over
once, and everything that weighs or chooses is measured on rows left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations, product
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy import linalg, sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from ..data import (
    FLOATS,
    ChunkedRows,
    MultimodalEstimator,
    beside,
    checked,
    is_lazy,
    modality_weights,
    multimodal,
    refuse_views,
)
from ..solvers import out_of_fold_components, shared_bases
from ..utils._dask import checked_rows, in_memory, is_dask, probe
from ..utils._documentation import DocumentedMixin
from ..utils._products import stable_dot
from ..utils._sklearn import Interval, StrOptions, fit_context
from ..utils._state import VersionedStateMixin, unchanged_on_error
from ..utils._transformers import fit, fit_transform, inner_clone, named_errors, transform
from ..utils._typing import Floats, MatrixLike, Modalities, NDArray, RandomState
from ._anchor_rbf import AnchorRBF
from ._chunked_rows import mapped_features, measured
from ._mapped_rows import mapped_rows
from ._maps import FeatureMapsMixin, check_scale
from ._preprocessing import sqrt_norm

__all__ = ["SharedSpace", "fit_mapped_rows", "linear_map", "space_rows"]

N_FOLDS = 3
# Weights of components: none vanishes, and none counts as certain.
_LEAST, _MOST = 0.001, 0.99

# The search: rows and anchors that it works with at most, and what it chooses from.
_SEARCH_ROWS = 2000
_SEARCH_ANCHORS = 500
_RIDGES = (0.1, 0.01, 1.0, 10.0)
_WIDTH_FACTORS = (0.25, 1.0)
# Wider blocks are mapped by anchors only: linear ones would cost the cube of their width.
_WIDEST_LINEAR = 2000
_BLOCK_ENTRIES = 2**22


# Own pairs.


def own_pair_ranks(A: Floats, B: Floats) -> Floats:
    """Rank of row i of `B` among all rows of `B`, by inner product with row i of `A`.

    Products that are equal but for rounding share their mean rank; rows have norm one at most.
    Products are formed a block of rows at a time.
    """
    rounding = 10 * np.finfo(A.dtype).eps
    ranks = np.empty(len(A))
    for rows in gen_batches(len(A), max(1, _BLOCK_ENTRIES // len(B))):
        products = A[rows] @ B.T
        own = np.take_along_axis(products, np.arange(len(A))[rows, None], axis=1)
        nearer = (products > own + rounding).sum(axis=1)
        alike = (np.abs(products - own) <= rounding).sum(axis=1)
        ranks[rows] = nearer + (alike + 1) / 2
    return ranks


def component_weights(correlations: Floats, power: float) -> Floats:
    """Weights of components from their out-of-fold correlations."""
    return correlations.clip(_LEAST, _MOST) ** power


# Search of maps and ridges.


@dataclass
class _FoldedFeatures:
    """Mapped features of one modality in the eigenvectors of the rows outside every fold.

    `inside` and `outside` hold the coordinates of the rows outside and inside the fold,
    `eigenvalues` the variances of the former.
    """

    inside: list[Floats]
    outside: list[Floats]
    eigenvalues: list[Floats]
    width: int

    def scales(self, fold: int, ridge: float) -> Floats:
        """Factors that whiten the coordinates, but for a power of two: the leading one is near one.

        Scores do not depend on it, and what a large ridge leaves would vanish in single precision.
        """
        values = self.eigenvalues[fold]
        factors = 1 / np.sqrt(values + ridge * values.sum() / self.width)
        return np.ldexp(factors, -np.frexp(factors[-1])[1]).astype(np.float32)


def folded_features(F, folds: NDArray) -> _FoldedFeatures:
    """Decompose features (n, q) once per fold; every ridge is then a scale of coordinates."""
    F = F.toarray() if sparse.issparse(F) else F
    inside, outside, eigenvalues = [], [], []
    for fold in range(N_FOLDS):
        rest = F[folds != fold].astype(np.float64)
        mean = rest.mean(axis=0)
        rest -= mean
        values, V = linalg.eigh(rest.T @ rest / len(rest))
        kept = values > 1e-10 * max(values[-1], np.finfo(float).tiny) * len(V)
        # In units of about the largest: whatever the scale, single precision holds products. The
        # unit is a power of two, which changes no digit.
        unit = np.ldexp(1.0, np.frexp(values[-1])[1] // 2)
        V = V[:, kept] / unit
        inside.append((rest @ V).astype(np.float32))
        outside.append(((F[folds == fold] - mean) @ V).astype(np.float32))
        eigenvalues.append(values[kept] / unit**2)
    return _FoldedFeatures(inside, outside, eigenvalues, F.shape[1])


def leading_singular_vectors(C: Floats, c: int) -> tuple[Floats, Floats]:
    """Singular vectors of the `c` largest singular values: all computed where most are wanted."""
    if 2 * c > min(C.shape):
        U, _, Vt = linalg.svd(C, full_matrices=False, check_finite=False)
    else:
        U, _, Vt = randomized_svd(C, c, random_state=0)
    return U[:, :c], Vt[:c]


def pair_scores(
    left: _FoldedFeatures, right: _FoldedFeatures, ridges: list, n_components: int
) -> list[float]:
    """How well own pairs are found out of fold, for every pair of ridges: minus mean log rank.

    The mean log rank has half the scatter of the mean reciprocal rank, to which only the pairs
    that are found first contribute.
    """
    scores = np.zeros(len(ridges))
    for fold in range(N_FOLDS):
        inside = left.inside[fold], right.inside[fold]
        C = inside[0].T @ inside[1] / len(inside[0])
        c = min(n_components, *C.shape)
        if c == 0:
            return [-np.inf] * len(ridges)
        for i, (ridge_l, ridge_r) in enumerate(ridges):
            scale_l, scale_r = left.scales(fold, ridge_l), right.scales(fold, ridge_r)
            U, Vt = leading_singular_vectors(scale_l[:, None] * C * scale_r, c)
            A = left.outside[fold] @ (scale_l[:, None] * U)
            B = right.outside[fold] @ (scale_r[:, None] * Vt.T)
            weights = component_weights(column_correlations(A, B), 1)
            A, B = normalize(A * weights), normalize(B * weights)
            ranks = np.concatenate([own_pair_ranks(A, B), own_pair_ranks(B, A)])
            scores[i] -= np.log(ranks).mean() / N_FOLDS
    return list(scores)


def column_correlations(A: Floats, B: Floats) -> Floats:
    """Correlation of every column of `A` with that of `B`; 0 where one is constant."""
    A, B = A - A.mean(axis=0), B - B.mean(axis=0)
    scale = np.sqrt((A**2).sum(axis=0) * (B**2).sum(axis=0))
    return np.divide((A * B).sum(axis=0), scale, out=np.zeros_like(scale), where=scale > 0)


def search_pairs(
    candidates: list[list[_FoldedFeatures]],
    ridges: list[list[float]],
    n_components: int,
    n_jobs: int | None = None,
) -> list[tuple[int, float]]:
    """Map and ridge of every modality by which own pairs are found best out of fold.

    One modality is varied at a time, the others held, until none changes any more.

    Parameters
    ----------
    candidates : list of list of _FoldedFeatures
        Features by every candidate map of every modality; the search starts from the first.
    ridges : list of list of float
        Candidate ridges of every modality; the search starts from the first.
    n_components : int
        Components of the shared space.
    n_jobs : int or None
        Threads.

    Returns
    -------
    choice : list of (int, float)
        Index of the map and ridge, for every modality.
    """
    choice = [(0, grid[0]) for grid in ridges]
    known: dict[tuple, list[float]] = {}

    def compute(m, k, other):
        """Scores of all ridges of map k of modality m, with another modality held."""
        held_map, held_ridge = choice[other]
        pairs = [(ridge, held_ridge) for ridge in ridges[m]]
        return pair_scores(candidates[m][k], candidates[other][held_map], pairs, n_components)

    m = settled = 0
    while settled < len(candidates):
        others = [other for other in range(len(candidates)) if other != m]
        jobs = list(product(range(len(candidates[m])), others))
        new = [job for job in jobs if (m, *job, choice[job[1]]) not in known]
        found = Parallel(n_jobs, prefer="threads")(delayed(compute)(m, *job) for job in new)
        known.update({(m, *job, choice[job[1]]): s for job, s in zip(new, found, strict=True)})
        totals = {
            (k, ridge): sum(known[m, k, other, choice[other]][r] for other in others)
            for k in range(len(candidates[m]))
            for r, ridge in enumerate(ridges[m])
        }
        best = max(totals, key=totals.__getitem__)
        is_better = totals[best] > totals[choice[m]]
        choice[m] = best if is_better else choice[m]
        settled = 1 if is_better else settled + 1
        m = (m + 1) % len(candidates)
    return choice


def linear_map(block):
    """Standardised columns; those of sparse rows are not centred."""
    rows = block[:1] if isinstance(block, ChunkedRows) else block  # which Dask may not be told of
    return StandardScaler(with_mean=not sparse.issparse(rows))


def candidate_maps(block, n_anchors):
    """Maps that the search tries on a block, the first one to start from."""
    rbf = [AnchorRBF(n_anchors, width_factor=factor) for factor in _WIDTH_FACTORS]
    maps = [make_pipeline(sqrt_norm(), clone(anchors)) for anchors in rbf] + rbf
    if block.shape[1] <= _WIDEST_LINEAR:
        maps += [linear_map(block), sqrt_norm()]
    return maps


# The estimator.


class SharedSpace(
    VersionedStateMixin,
    DocumentedMixin,
    ClassNamePrefixFeaturesOutMixin,
    FeatureMapsMixin,
    TransformerMixin,
    MultimodalEstimator,
):
    """Unit rows in a space that modalities share, learned from pairs without labels.

    Rows of one modality find those of another by their inner product: real-valued
    cross-modal retrieval, and the start of codes that need no labels.

    Parameters
    ----------
    n_components : int, default=64
        Dimensions of the shared space; fewer where the modalities have no more in common.
    modalities : {"prefix"}, dict or list of tuples, default=None
        Which columns belong to which modality, as in the hashers: ``(name, transformer,
        columns)`` triples, ``{name: columns}``, or "prefix". None takes a MultimodalData's
        own.
    feature_map : {"auto", "passthrough"}, transformer, dict or None, default="auto"
        Map of every modality's columns, or a {name: map} dict. "auto" chooses among standardised
        columns, `sqrt_norm`, and `AnchorRBF` of either of two widths, with and without
        `sqrt_norm` before it; None is ``AnchorRBF(n_anchors)``.
    regularisation : float, dict or "auto", default="auto"
        Ridge, as a multiple of the mean eigenvalue of a modality's features, or a {name:
        ridge} dict. "auto" chooses among 0.01, 0.1, 1 and 10.
    power : float, default=1.0
        Components are weighted by their out-of-fold correlation to this power: of new rows, 1
        finds the own partner best, 2 rows of its topic; 0 weighs all alike, by which the rows of
        the fit are told apart best. It may be set after the fit.
    n_anchors : int, default=1000
        Anchors of `AnchorRBF`.
    n_jobs : int, default=None
        Threads of the search.
    random_state : int, RandomState instance or None, default=None
        Draws folds, anchors and the rows that the search looks at.
    verbose : bool or int, default=False
        Whether to print what the search chose.

    Attributes
    ----------
    correlations_ : ndarray of shape (n_components_,)
        Out-of-fold correlation of every component between modalities, the mean over pairs of
        them.
    n_components_ : int
        Dimensions in use.
    regularisation_ : dict
        Modality name to ridge.
    feature_maps_ : dict
        Modality name to fitted map; None where the columns are used as they are.
    folds_ : ndarray of shape (n,)
        Fold of every training row.
    modality_names_ : list of str
        Names of the modalities.
    transformers_ : dict
        Modality name to fitted transformer of `modalities`, where it has one.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where all are strings.

    See Also
    --------
    AnchorRBF : The nonlinear map.
    sklearn.cross_decomposition.CCA : Canonical correlation of two dense tables.

    Notes
    -----
    "auto" searches one modality at a time, on at most 2,000 rows and with at most 500
    anchors, for the map and the ridge by which rows left out of three folds find their own
    partner: the least mean log rank. With q mapped features in all, fitting takes
    :math:`O(n q^2 + q^3)`, one pass over the rows. With fewer than six rows there are no folds:
    in-sample correlations weigh the components, and the search is skipped.

    References
    ----------
    Hardoon, D. R., Szedmak, S. and Shawe-Taylor, J. (2004). Canonical correlation analysis: an
    overview with application to learning methods. Neural Computation, 16(12), 2639-2664.
    :doi:`10.1162/0899766042321814`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh import MultimodalData, SharedSpace
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> X, _ = make_multimodal_classification(n_samples=300, random_state=0)
    >>> space = SharedSpace(n_components=8, n_anchors=100, random_state=0).fit(X[:200])
    >>> image = space.transform(X[200:], modality="image")
    >>> image.shape, np.allclose(np.linalg.norm(image, axis=1), 1)
    ((100, 8), True)
    """

    # For `all_estimators`.
    _needs_pairs = True

    _named_maps = ("auto", "passthrough")

    _parameter_constraints: dict = {
        **MultimodalEstimator._parameter_constraints,
        **FeatureMapsMixin._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "feature_map": [
            *FeatureMapsMixin._parameter_constraints["feature_map"],
            StrOptions({"auto"}),
        ],
        "regularisation": [Interval(Real, 0, None, closed="left"), dict, StrOptions({"auto"})],
        "power": [Interval(Real, 0, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components: int = 64,
        *,
        modalities: Modalities = None,
        feature_map: Any = "auto",
        regularisation: float | Mapping[str, float] | str = "auto",
        power: float = 1.0,
        n_anchors: int = 1000,
        n_jobs: int | None = None,
        random_state: RandomState = None,
        verbose: bool | int = False,
    ):
        self.n_components = n_components
        self.modalities = modalities
        self.feature_map = feature_map
        self.regularisation = regularisation
        self.power = power
        self.n_anchors = n_anchors
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @property
    def _takes_chunks(self):
        return True

    # Nested transformers validate their own parameters.
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: MatrixLike, y: Any = None) -> "SharedSpace":
        """Learn the shared space of the modalities of X.

        Parameters
        ----------
        X : {array-like, sparse, DataFrame} of shape (n, d) or MultimodalData
            Training rows, of two modalities at least; arrays of Dask too.
        y : object, default=None
            Ignored, but by transformers in `modalities`.

        Returns
        -------
        self : object
            The fitted transformer. After an error it is as it was before.

        Raises
        ------
        ValueError
            If X is malformed, has one modality only, or a modality is constant.
        TypeError
            If X is a list of views.
        """
        with unchanged_on_error(self):
            rng = check_random_state(self.random_state)
            table = self._read_table(X)
            if len(self.modality_names_) < 2:
                raise ValueError(
                    "SharedSpace learns from pairs, and pairs need two modalities; X has one, "
                    f"{self.modality_names_[0]!r}. Pass a MultimodalData of two blocks, or say by "
                    "`modalities` which columns belong to which."
                )
            self._fit_blocks(self._fit_preprocessing(table, y, rng), rng)
        return self

    def _fit_blocks(self, blocks, rng):
        n = next(iter(blocks.values())).shape[0]
        self.folds_ = rng.permutation(np.arange(n) % N_FOLDS)
        maps, ridges = self._choose(blocks, rng)
        features = self._fit_features(blocks, rng, maps, make=fit_mapped_rows)
        self._shared = shared_bases(list(features.values()), ridges, self.n_components, self.folds_)
        self.correlations_ = self._shared.correlations
        if not len(self.correlations_):
            constant = [name for name, F in features.items() if is_constant(F[:_SEARCH_ROWS])]
            raise ValueError(
                f"The modalities have nothing in common: the features of {constant} are the same "
                "in all rows. Their pairing teaches nothing; a hasher can learn from labels "
                "alone, with pair_weight=0."
            )
        self.n_components_ = self._n_features_out = len(self.correlations_)
        self.regularisation_ = dict(zip(blocks, map(float, ridges), strict=True))

    def _unmapped_features(self, block):
        if isinstance(block, ChunkedRows):
            measured(block)
        return block

    def _choose(self, blocks, rng):
        """Map and ridge of every modality, searched for where they are not given."""
        self._check_maps(blocks)
        given = {name: self._given_map(name) for name in blocks}
        for name, block in blocks.items():
            if given[name] == "auto":
                check_scale(name, block)
        ridges = [[*_RIDGES]] * len(blocks)
        if self.regularisation != "auto":
            weights = modality_weights(self.regularisation, list(blocks), "regularisation")
            ridges = [[ridge] for ridge in weights]

        def candidates(name, n_anchors):
            if given[name] == "auto":
                return candidate_maps(blocks[name], n_anchors)
            return [AnchorRBF(n_anchors) if given[name] is None else given[name]]

        maps = {name: candidates(name, self.n_anchors) for name in blocks}
        choice = [(0, grid[0]) for grid in ridges]
        n = len(self.folds_)
        is_given = all(
            len(maps[name]) == len(grid) == 1 for name, grid in zip(maps, ridges, strict=True)
        )
        if not is_given and n >= 2 * N_FOLDS:
            rows = np.sort(rng.permutation(n)[:_SEARCH_ROWS])
            n_anchors = min(self.n_anchors, _SEARCH_ANCHORS, len(rows))
            folded, kept = [], []
            for name, block in blocks.items():
                with named_errors(f"feature_map of {name!r}"):
                    tried = [mapped(fm, block[rows], rng) for fm in candidates(name, n_anchors)]
                tried = [check_scale(name, F) for F in tried]
                # Of what is the same for all rows nothing can be learned.
                kept.append([k for k, F in enumerate(tried) if not is_constant(F)] or [0])
                folded.append([folded_features(tried[k], self.folds_[rows]) for k in kept[-1]])
            found = search_pairs(folded, ridges, self.n_components, self.n_jobs)
            choice = [(ks[k], ridge) for ks, (k, ridge) in zip(kept, found, strict=True)]
        chosen = {name: maps[name][k] for name, (k, _) in zip(maps, choice, strict=True)}
        if self.verbose and not is_given:
            for (name, feature_map), (_, ridge) in zip(chosen.items(), choice, strict=True):
                # On one line, however long.
                described = " ".join(repr(feature_map).split())
                print(f"[SharedSpace] {name}: {described}, regularisation {ridge:g}")
        return chosen, [ridge for _, ridge in choice]

    def transform(self, X: MatrixLike, modality: str | None = None) -> Floats:
        """Unit rows in the shared space.

        Parameters
        ----------
        X : {array-like, sparse, DataFrame} of shape (n, d) or MultimodalData
            Rows in the form of the fit. A MultimodalData may hold some of the modalities only.
            With `modality`, its block alone does too.
        modality : str, default=None
            Modality of the rows; None takes all that X holds.

        Returns
        -------
        rows : ndarray of shape (n, n_components_)
            Of norm one: of the components of one modality, or of their sum over several. A row
            about which nothing is known is zero. An array of Dask, not computed yet, where X holds
            such.
        """
        return self._rows(X, modality)

    def _rows(self, X, modality):
        """Unit rows as an ndarray, whatever `set_output` says."""
        if is_lazy(X):
            return self._map_lazily(_unit_rows, X, modality)
        check_is_fitted(self)
        refuse_views(X)

        def rows(batch):
            return self._unit_rows(self._components(self._new_blocks(batch, modality)))

        return np.concatenate(list(self._map_batches(rows, X)))

    def _row_width(self):
        widest = max((len(W) for W in self._shared.bases), default=0)
        return super()._row_width() + 2 * widest

    def _components(self, blocks):
        """Components (n, c) of every modality of validated blocks, not weighted."""
        components = {}
        for name, block in blocks.items():
            m = self.modality_names_.index(name)
            F = self._map_features(name, block)
            W = self._shared.bases[m].astype(F.dtype)
            mean = self._shared.means[m]
            if sparse.issparse(F):
                components[name] = F @ W - (mean @ self._shared.bases[m]).astype(F.dtype)
            else:
                components[name] = stable_dot(F - mean.astype(F.dtype), W)
        return components

    def _unit_rows(self, components):
        """Unit rows of the weighted sum of components of one or more modalities."""
        total = sum(components.values())
        total = total * component_weights(self.correlations_, self.power).astype(total.dtype)
        # An outlier's squares may overflow; divided by a power of two, no digit changes.
        exponents = np.frexp(np.abs(total).max(axis=1, keepdims=True))[1]
        return normalize(np.ldexp(total, -exponents))

    def out_of_fold_rows(self, X: MatrixLike) -> dict[str, Floats]:
        """Unit rows of the training pairs, each by the bases of the folds that it is not in.

        What is learned from rows of the training pairs should not mistake for shared what the bases
        have fitted; a row out of fold is like that of a new pair.

        Parameters
        ----------
        X : {array-like, sparse, DataFrame} of shape (n, d) or MultimodalData
            The training rows, with all modalities, in the order of the fit.

        Returns
        -------
        rows : dict
            Modality name to unit rows (n, ``n_components_``).

        Raises
        ------
        TypeError
            If X holds arrays of Dask.
        """
        check_is_fitted(self)
        if is_lazy(X):
            raise TypeError(
                "X holds Dask arrays, and out_of_fold_rows takes rows in memory: compute() its "
                "blocks first."
            )
        blocks = self._new_blocks(X)
        n = next(iter(blocks.values())).shape[0]
        if n != len(self.folds_) or len(blocks) < len(self.modality_names_):
            raise ValueError(
                f"out_of_fold_rows takes the {len(self.folds_)} training rows with the modalities "
                f"{self.modality_names_}; got {n} rows with {list(blocks)}."
            )
        features = [self._map_features(name, block) for name, block in blocks.items()]
        components = out_of_fold_components(features, self._shared, self.folds_)
        return {
            name: self._unit_rows({name: E}) for name, E in zip(blocks, components, strict=True)
        }

    def score(self, X: MatrixLike, y: Any = None) -> float:
        """Mean reciprocal rank at which rows find their own partner among the rows of X.

        Parameters
        ----------
        X : {array-like, sparse, DataFrame} of shape (n, d) or MultimodalData
            Rows with all modalities.
        y : object, default=None
            Ignored.

        Returns
        -------
        score : float
            In (0, 1], the mean over all ordered pairs of modalities.
        """
        check_is_fitted(self)
        X = self._check_table(X, reset=False)
        rows = [in_memory(self._rows(X, name)) for name in self.modality_names_]
        return float(np.mean([np.mean(1 / own_pair_ranks(A, B)) for A, B in permutations(rows, 2)]))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _unit_rows(space, X, modality):
    return space._rows(X, modality)


def space_rows(space, blocks):
    """Rows of blocks in a fitted space, which may be somebody else's: where the blocks are.

    Parameters
    ----------
    space : transformer
        Takes a MultimodalData, of arrays of Dask where blocks are in chunks.
    blocks : dict of {str: {ndarray, sparse, ChunkedRows}}
        Rows by modality.

    Returns
    -------
    Z : {ndarray, ChunkedRows} of shape (n, r)
        float32 or float64.
    """
    first, Z = next(iter(blocks.values())), transform(space, multimodal(blocks))
    complaint = "The shared_space returned what no hasher takes"
    lazy = is_dask(Z) and isinstance(first, ChunkedRows)
    if not lazy:
        Z = checked(in_memory(Z), complaint, dtype=FLOATS)
    if Z.ndim != 2 or Z.shape[0] != first.shape[0]:
        raise ValueError(
            f"{complaint}: an array of shape {Z.shape} for {first.shape[0]} rows. Its transform "
            "must return a row of numbers for each."
        )
    if not lazy:
        return beside(first, Z)
    Z = checked_rows(Z, "What the shared_space returned").rechunk({0: tuple(first.heights)})
    one = checked(probe(Z), complaint, dtype=FLOATS)
    return ChunkedRows.from_dask(Z, one, complaint).persist()


def mapped(feature_map, block, rng):
    """Rows of a block by a clone of a map, fitted to them."""
    if isinstance(feature_map, str):
        return block
    return fit_transform(inner_clone(feature_map, rng), block)


def fit_mapped_rows(feature_map, block):
    """A map fitted to a block, and the features, not kept where they are many."""
    if isinstance(block, ChunkedRows):
        return feature_map, mapped_features(feature_map, block)
    feature_map = fit(feature_map, block)
    first = transform(feature_map, block[:1])
    is_plain = isinstance(first, np.ndarray) and first.ndim == 2 and first.dtype in FLOATS
    F = mapped_rows(feature_map, block) if is_plain else transform(feature_map, block)
    return feature_map, F


def is_constant(F):
    """Whether all rows of `F`, dense or sparse, are the same."""
    low, high = F.min(axis=0), F.max(axis=0)
    if sparse.issparse(low):
        low, high = low.toarray(), high.toarray()
    return np.array_equal(low, high)
