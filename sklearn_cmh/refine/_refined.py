"""Codes from targets, their hash functions and bits chosen by leave-one-out retrieval.

What limits a shallow method on held-out rows is not how it learns codes, but what the codes
are to preserve, how features are mapped to them, and which bits can be predicted at all. So a
refined hasher

1. takes targets T from labels, from pairs, or from both (`mix_targets`);
2. makes a pool of bits: sides of hyperplanes through the mean of the targets, ``sgn((T - mean) A)``
   (`draw_hyperplanes`), or restarts of a method;
3. chooses, for every modality, preprocessing, width of the anchor kernel and ridge by how
   well leave-one-out predictions of the pool's first bits retrieve across modalities
   (`coordinate_search`), and fits ridge regressions from those features to all bits of
   the pool (`ridge_leave_one_out`);
4. weighs pairs by what classes lose and own pairs gain (`weight_scores`), unless told how much;
5. keeps the bits whose leave-one-out predictions align best with the similarity ``T T'``
   (`selection_terms`, `greedy_bits`, `swap_bits`).
"""

import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from itertools import product
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from ..base import BaseHasher, Learning, ShallowHasher, warn_ignored
from ..data import ChunkedRows, MultimodalData, beside, labelled_rows, multimodal, normalise_rows
from ..features import SharedSpace, fit_mapped_rows, space_rows
from ..solvers import (
    complete_labels,
    mix_targets,
    project,
    ridge_leave_one_out,
    sign,
    targets_beside,
)
from ..utils._cache import MEMORY_CONSTRAINTS, cached
from ..utils._callbacks import end_step, report
from ..utils._sklearn import HasMethods, Interval, StrOptions
from ..utils._transformers import fit, inner_clone, transform
from ..utils._typing import Modalities, RandomState
from ..utils.discovery import all_estimators
from ._bits import choose_bits
from ._pair_weight import (
    INITIAL_WEIGHT,
    candidate_weights,
    held_out_pairs,
    least_good_weight,
    weight_scores,
)
from ._pool import draw_hyperplanes, hyperplane_bits
from ._ridge import check_positive
from ._search import (
    anchor_map,
    candidate_params,
    coordinate_search,
    leave_one_out_codes,
    mapped_spectrum,
    report_failures,
    search_results,
)

__all__ = ["RefinedHasher"]

_PREPROCESSING = ("raw", "sqrt_norm")


def weighted(estimator, pair_weight):
    """A clone that learns with the pair weight, where the method has one and labels to weigh."""
    estimator = clone(estimator)
    if hasattr(estimator, "pair_weight") and estimator._learning().needs_labels:
        estimator.set_params(pair_weight=pair_weight)
    return estimator


def fit_restart(estimator, blocks, L, random_state):
    """Fit one restart on blocks that are split and preprocessed already."""
    estimator._learn(blocks, L, check_random_state(random_state))
    return estimator


def bits_of_restarts(block, restarts, name):
    """Bits (n, p) of rows of a modality by the hash functions of all restarts, side by side."""
    if isinstance(block, ChunkedRows):
        width = sum(restart.n_bits for restart in restarts)
        return block.made(width, np.int8, bits_of_restarts, args=(restarts, name))
    return sign(np.hstack([restart._project(name, block) for restart in restarts]))


@contextmanager
def equal_warnings_once():
    """Hold back the warnings of a block, and show one of each kind at its end."""
    caught = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            yield
    finally:
        for w in {(w.category, str(w.message)): w for w in caught}.values():
            warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)


class RefinedHasher(BaseHasher):
    """Codes that preserve labels, pairs, or both, refined by leave-one-out retrieval.

    What codes preserve is a similarity of rows, given by targets: rows that share labels are
    alike, and so are a row's own modalities. The pair weight says how much of each. From
    labels alone, codes find classes, and rows of one class have one code; with a little of
    the pairing they find the thing itself among its class, and classes never seen as well.
    Without labels the pairing is all there is, and enough.

    A hash function must work on rows that it was not fitted to, and with thousands of
    anchors its fit to the training rows says little about that. Leave-one-out
    predictions of ridge regressions, which come in closed form, say more. They choose
    the features and penalties of the hash functions, and, from a pool of bits, those that
    hash functions can predict. The pool holds sides of hyperplanes through the targets, some at
    random and some turned so that signs lose least, or the bits of restarts of any shallow method.

    It does not pay with very few rows (a hundred, say, where the search follows noise), nor
    where encoding must be cheap: maps of 2,000 anchors take two to four times as long as the
    methods' own.

    Parameters
    ----------
    estimator : ShallowHasher, default=None
        Method that learns the pool: `DSAH`, `AAH`, `ASCMH` or a subclass of
        `ShallowHasher` of your own, the feature maps and hash functions of which serve to
        learn codes only. None takes hyperplanes of the targets.
    n_bits : int, default=64
        Length of the codes; takes the place of the estimator's own.
    pair_weight : float or "auto", default="auto"
        Weight of the pairing in the targets, in [0, 1]: 0 is labels alone, 1 pairs alone,
        which needs no y. "auto" is 1 without y, and the estimator's own pair weight where one
        is given (0 where it has none). Else it is the least of 0.1, 0.15, 0.2, 0.3, 0.5 and 0.7
        (from 0.2 on at 32 bits, 0.3 on at 20 and fewer) by which codes tell rows apart, and by
        which leave-one-out codes score within 1 per cent of the best, where twice the mean
        reciprocal rank of own pairs that the space has not seen is worth 2 per cent of class mAP.
        Rows are told apart where there are two thirds as many codes as rows, or own pairs are
        nearer by eight bits (0.15 at 64 bits). It is the least of all with fewer than six labelled
        rows, 0.1 without `select_bits`, and 0 where there is one modality only.
    shared_space : SharedSpace, default=None
        Space of the modalities in which pairs are alike, cloned and fitted. None is one
        of 64 components on 1,000 anchors a modality where labels are there as well, and one
        whose settings are searched where they are not.
    modalities : list of tuple, dict or "prefix", default=None
        Which columns of X make up which modality: (name, transformer, columns) triples
        as in ColumnTransformer, {name: columns}, or "prefix" for a DataFrame with
        columns ``image__...``. None: the estimator's own, if one is given; else those of a
        MultimodalData, or a single modality.
    widths : sequence of float, default=(0.25, 0.5, 1.0)
        Candidates: squared width of the anchor kernel, in mean squared distances of
        rows to anchors.
    ridges : sequence of float, default=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
        Candidates: penalty of the ridge regressions.
    preprocessing : sequence of {"raw", "sqrt_norm"}, default=("raw", "sqrt_norm")
        Candidates: features as they are, or their signed square root with rows of
        unit norm, which suits histograms and counts.
    n_anchors : int, default=2000
        Anchors of the hash functions, at most the number of training rows.
    n_restarts : int, default=8
        Restarts of the estimator, or draws of hyperplanes, that make the pool of bits. Four
        suffice for `AAH`.
    pool_bits : int, default=64
        Bits of each restart; candidates are compared by the codes of the first. Without an
        estimator there are as many more restarts as make a pool of ``4 * n_bits``.
    max_search_rows : int, default=5000
        Training rows, drawn at random, on which candidates are fitted.
    max_scoring_rows : int, default=2000
        Of these, the rows whose leave-one-out codes score candidates.
    refit_hash_functions : bool, default=True
        Whether to search and fit hash functions. If not, those of the estimator
        serve, and bits are chosen by how these encode the training rows.
    select_bits : bool, default=True
        Whether to choose bits from a pool. If not, the estimator is fitted once, with
        its own `random_state` if it has one. With both steps off, the codes are those
        of the estimator.
    n_jobs : int, default=None
        Jobs over candidates and restarts; as in scikit-learn.
    memory : str or object like joblib.Memory, default=None
        Where the features of the candidates are kept, with the decompositions of their Gram
        matrices, for fits on the same rows that follow, as those of a search are. Nothing is kept
        with ``random_state=None``, as every fit draws anchors of its own. The estimator has a
        memory of its own.
    random_state : int, RandomState instance or None, default=None
        Seed of anchors, scoring rows and restarts.
    verbose : int, default=0
        Whether to print progress.

    Attributes
    ----------
    codes_ : ndarray of shape (n, n_bits), int8
        Learned codes of the training rows.
    pair_weight_ : float
        Pair weight in use.
    shared_space_ : SharedSpace or None
        The fitted space of the pairs; None with a pair weight of 0.
    best_params_ : dict of {str: dict}
        Chosen `preprocessing`, `width` and `ridge` of each modality.
    best_score_ : float
        Score of the leave-one-out codes with these: cross-modal mAP of the classes, mean
        reciprocal rank of the own pair, or their geometric mean weighted by the pair weight (by
        0.1 where that is chosen afterwards).
    cv_results_ : dict of {str: ndarray}
        All candidates in the form of scikit-learn's searches, as a DataFrame takes it:
        `params`, `param_modality`, `param_preprocessing`, `param_width`, `param_ridge`,
        `mean_test_score` (score of the leave-one-out codes, the other modalities at their
        choices at the time; NaN for a candidate that failed), `rank_test_score` within
        the modality, `mean_fit_time`.
    selected_bits_ : ndarray of shape (n_bits,), intp
        The chosen bits of the pool, in the order of their choice; bit ``j`` is bit
        ``j % pool_bits`` of restart ``j // pool_bits``.
    feature_maps_ : dict of {str: transformer}
        Fitted feature map of each modality. Like `best_params_`, `best_score_` and
        `cv_results_`, only with `refit_hash_functions`.
    projections_ : dict of {str: ndarray of shape (n_features, n_bits)}
        Hash function of each modality on its mapped features.
    labels_ : csr_array of shape (n, c), int8, or None
        Label indicator of the training rows.
    classes_ : ndarray of shape (c,) or None
        Class of each of its columns.
    modality_names_ : list of str
        Names of the modalities.
    objective_ : ndarray
        The criterion of the chosen bits after the greedy choice and after the swaps; or
        the estimator's objective, without `select_bits`.
    n_iter_ : int
        Most sweeps that a restart took; 1 without an estimator.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where X has names.

    See Also
    --------
    SharedSpace : The space of the pairs alone, real-valued.
    LeaveOneOutRidge : The ridge regression alone, for the `hash_estimator` of `ASCMH`.

    Notes
    -----
    Rows without labels (-1 in a label vector, or an empty row of an indicator) take part:
    the pairing of their modalities counts as any other row's, and their labels are
    predicted by ridge regression on the features of all modalities.

    With q mapped features, a pool of p bits and targets of t columns, a candidate of the search
    takes :math:`O(n q^2 + q^3)`, on no more than `max_search_rows` rows, and the choice of bits
    :math:`O(n p (p + t))`. Time and memory are linear in the rows.

    Examples
    --------
    >>> from sklearn_cmh import RefinedHasher
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> X, y = make_multimodal_classification(200, random_state=0)
    >>> hasher = RefinedHasher(n_bits=16, random_state=0).fit(X, y)
    >>> hasher.transform(X[:5]).shape
    (5, 16)
    >>> RefinedHasher(n_bits=16, random_state=0).fit(X).pair_weight_
    1.0
    """

    _n_phases = 3  # targets, pool, and hash functions

    _parameter_constraints: dict = {
        **BaseHasher._parameter_constraints,
        "estimator": [HasMethods(["fit", "get_params"]), None],
        "pair_weight": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
        "shared_space": [HasMethods(["fit", "transform"]), None],
        "widths": ["array-like"],
        "ridges": ["array-like"],
        "preprocessing": ["array-like"],
        "n_anchors": [Interval(Integral, 1, None, closed="left")],
        "n_restarts": [Interval(Integral, 1, None, closed="left")],
        "pool_bits": [Interval(Integral, 1, None, closed="left")],
        "max_search_rows": [Interval(Integral, 2, None, closed="left")],
        "max_scoring_rows": [Interval(Integral, 2, None, closed="left")],
        "refit_hash_functions": ["boolean"],
        "select_bits": ["boolean"],
        "n_jobs": [None, Integral],
        "memory": MEMORY_CONSTRAINTS,
    }

    def __init__(
        self,
        estimator: Any = None,
        n_bits: int = 64,
        *,
        pair_weight: float | Literal["auto"] = "auto",
        shared_space: Any = None,
        modalities: Modalities = None,
        widths: Sequence[float] = (0.25, 0.5, 1.0),
        ridges: Sequence[float] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        preprocessing: Any = _PREPROCESSING,
        n_anchors: int = 2000,
        n_restarts: int = 8,
        pool_bits: int = 64,
        max_search_rows: int = 5000,
        max_scoring_rows: int = 2000,
        refit_hash_functions: bool = True,
        select_bits: bool = True,
        n_jobs: int | None = None,
        memory: Any = None,
        random_state: RandomState = None,
        verbose: bool | int = 0,
    ):
        self.estimator = estimator
        self.n_bits = n_bits
        self.pair_weight = pair_weight
        self.shared_space = shared_space
        self.modalities = modalities
        self.widths = widths
        self.ridges = ridges
        self.preprocessing = preprocessing
        self.n_anchors = n_anchors
        self.n_restarts = n_restarts
        self.pool_bits = pool_bits
        self.max_search_rows = max_search_rows
        self.max_scoring_rows = max_scoring_rows
        self.refit_hash_functions = refit_hash_functions
        self.select_bits = select_bits
        self.n_jobs = n_jobs
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose

    # What it learns from.

    def _modalities_parameter(self):
        if self.modalities is None and self.estimator is not None:
            return self.estimator.modalities
        return self.modalities

    def _learning(self):
        p = self.pair_weight
        estimator = self.estimator
        if isinstance(p, Real) and estimator is not None:
            estimator = weighted(estimator, p)
        wrapped = getattr(estimator, "_learning", Learning)()
        return Learning(
            needs_labels=isinstance(p, Real) and p < 1,
            minus_one_is_unlabelled=True,
            from_unlabelled=self.estimator is None or wrapped.from_unlabelled,
            without_labels="With pair_weight=1, or 'auto', pairs alone are learned from.",
        )

    def _fit(self, X, y):
        self._check_parameters()
        return super()._fit(X, y)

    def _check_parameters(self):
        """Refuse what the constraints of single parameters cannot see."""
        if self.random_state is None:
            warn_ignored(self, ["memory"], "random_state=None")
        if not (self.estimator is None or isinstance(self.estimator, ShallowHasher)):
            shallow = ", ".join(name for name, _ in all_estimators(kind="shallow"))
            raise TypeError(
                "estimator must be None or a shallow hasher, whose codes can be learned apart from "
                f"its hash functions: {shallow}, or a subclass of ShallowHasher of your own; got "
                f"{self.estimator!r}, which has no solver for codes on mapped features (`_solve`)."
            )
        if self.estimator is None and not self.refit_hash_functions:
            raise ValueError(
                "refit_hash_functions=False takes the hash functions of an estimator, but "
                "estimator is None: give one, or let hash functions be fitted."
            )
        check_positive("widths", self.widths)
        check_positive("ridges", self.ridges)
        if len(self.preprocessing) == 0 or any(p not in _PREPROCESSING for p in self.preprocessing):
            raise ValueError(
                f"preprocessing must hold some of {_PREPROCESSING}; got {self.preprocessing!r}."
            )
        pool = int(self.n_restarts) * int(self.pool_bits)
        if self.estimator is not None and self.select_bits and pool < self.n_bits:
            raise ValueError(
                f"A pool of n_restarts * pool_bits = {pool} bits is too small to choose "
                f"n_bits={self.n_bits} from; raise n_restarts or pool_bits."
            )

    def _choose_pair_weight(self, blocks, L):
        """The pair weight in use, given what X and y hold."""
        if self.pair_weight != "auto":
            p = float(self.pair_weight)
        elif L is None:
            p = 1.0
        elif self.estimator is not None:
            p = float(getattr(self.estimator, "pair_weight", 0.0))
        else:
            p = INITIAL_WEIGHT if len(blocks) > 1 else 0.0
        if p > 0 and len(blocks) < 2:
            raise ValueError(
                f"X holds the modality {next(iter(blocks))!r} alone, but pairs need two. Pass y "
                "and leave pair_weight at 'auto' or 0, or give X a second modality."
            )
        if p < 1:
            self._check_classes(L[labelled_rows(L)])
        return p

    @property
    def _takes_chunks(self):
        return self.estimator is None or self.estimator._takes_chunks

    # The fit, step by step.

    def _fit_blocks(self, blocks, L, rng):
        parallel = Parallel(n_jobs=self.n_jobs)
        self.pair_weight_ = self._choose_pair_weight(blocks, L)
        self.shared_space_ = None
        first = next(iter(blocks.values()))
        if self.select_bits or self.estimator is None:
            Lt, Z = self._target_parts(blocks, L, rng)
            T = targets_beside(first, mix_targets(Lt, Z, self.pair_weight_))
            end_step(self, "targets")
        restarts = self._fit_restarts(blocks, L, rng, parallel)
        if restarts:
            pool = beside(first, np.hstack([restart.codes_ for restart in restarts]))
        else:
            pool_seed = rng.randint(np.iinfo(np.int32).max)
            pool = self._hyperplane_pool(T, pool_seed)
        end_step(self, "pool")
        if self.refit_hash_functions:
            seeds = {name: rng.randint(np.iinfo(np.int32).max) for name in blocks}
            rows = self._search_rows(L, len(pool), rng)
            self._search(blocks, L, pool[:, : self.pool_bits], seeds, rows, parallel)
            if self._weighs_labels_and_pairs():
                self._weigh_pairs(blocks, L, Lt, pool_seed, seeds, rows, rng)
                T = targets_beside(first, mix_targets(Lt, Z, self.pair_weight_))
                pool = self._hyperplane_pool(T, pool_seed)
            maps, coefs, bits = self._fit_hash_functions(blocks, pool, seeds)
        else:
            bits = {name: bits_of_restarts(b, restarts, name) for name, b in blocks.items()}
        end_step(self, "hash functions")
        if self.select_bits:
            self.selected_bits_, self.objective_ = choose_bits(list(bits.values()), T, self.n_bits)
            value, size = self.objective_[-1], pool.shape[1]
            report(self, f"{self.n_bits} of {size} bits have alignment {value:.4f}")
        else:
            self.selected_bits_ = np.arange(self.n_bits)
            self.objective_ = restarts[0].objective_ if restarts else np.array([np.nan])
        self.codes_ = pool[:, self.selected_bits_]
        self.n_iter_ = max((restart.n_iter_ for restart in restarts), default=1)
        # The fitted hashers whose hash functions serve, if any.
        self._restarts = [] if self.refit_hash_functions else restarts
        if self.refit_hash_functions:
            self.feature_maps_ = maps
            self.projections_ = {
                name: np.ascontiguousarray(coef[:, self.selected_bits_])
                for name, coef in coefs.items()
            }

    def _weighs_labels_and_pairs(self):
        """Whether both are there, and how much each counts is left to the fit."""
        free = self.pair_weight == "auto" and self.estimator is None and self.select_bits
        return free and 0 < self.pair_weight_ < 1

    def _weigh_pairs(self, blocks, L, Lt, pool_seed, seeds, rows, rng):
        """Choose `pair_weight_` by what leave-one-out codes retrieve, on the rows of the search.

        Own pairs are those of rows that a space of the others does not know.
        """
        fitted, scored = rows
        blocks = {name: block[fitted] for name, block in blocks.items()}
        weights = candidate_weights(self.n_bits)
        pairs = held_out_pairs(len(scored), rng)
        if len(pairs) < 2:
            self.pair_weight_ = weights[0]
            return
        Lt = Lt[fitted]
        others = np.delete(np.arange(Lt.shape[0]), scored[pairs])
        space = self._fit_space({name: block[others] for name, block in blocks.items()}, rng)
        Z = transform(space, MultimodalData(**blocks))
        targets = [mix_targets(Lt, Z, p) for p in weights]
        pools = [self._hyperplane_pool(T, pool_seed) for T in targets]
        bits = []
        for name, block in blocks.items():
            best, ridge = self._best_map(name, block, seeds), [self.best_params_[name]["ridge"]]
            F, spectrum = cached(self._memory(), mapped_spectrum, best, block)
            B = np.hstack(pools)
            codes = ridge_leave_one_out(F, B, ridge, signs=True, spectrum=spectrum)[1][0]
            bits.append(np.split(codes, len(weights), axis=1))
        bits = list(zip(*bits, strict=True))
        labels = L[fitted][scored]
        scores, distinct = weight_scores(bits, pools, targets, labels, self.n_bits, scored, pairs)
        self.pair_weight_ = least_good_weight(weights, scores, distinct, self.n_bits)
        told = ", ".join(f"{s:.4f} at {p}" for p, s in zip(weights, scores, strict=True))
        report(self, f"pair weight {self.pair_weight_}: score is {told}")

    def _target_parts(self, blocks, L, rng):
        """Targets from labels and from pairs, None where they do not count.

        Sets `shared_space_`.
        """
        p = self.pair_weight_
        Z, Lt = None, None
        if p > 0:
            report(self, "shared space of the modalities")
            self.shared_space_ = self._fit_space(blocks, rng)
            Z = space_rows(self.shared_space_, blocks)
        if p < 1:
            if labelled_rows(L).all():
                Lt = normalise_rows(L)
            else:
                report(self, "labels of the rows that have none")
                seed = rng.randint(np.iinfo(np.int32).max)
                maps = [self._default_map(block, seed) for block in blocks.values()]
                mapped = map(fit_mapped_rows, maps, blocks.values())
                Lt = complete_labels(L, [F for _, F in mapped])
        return Lt, Z

    def _fit_space(self, blocks, rng):
        seed = rng.randint(np.iinfo(np.int32).max)
        if self.shared_space is not None:
            space = inner_clone(self.shared_space, rng)
        elif self.pair_weight_ < 1:
            maps = {name: self._default_map(block, seed) for name, block in blocks.items()}
            # Beside labels, what tells things apart matters more than what pairs share most.
            space = SharedSpace(
                64, regularisation=0.1, feature_map=maps, power=0.5, random_state=seed
            )
        else:
            # More bits than components would repeat each other.
            n_rows = next(iter(blocks.values())).shape[0]
            space = SharedSpace(
                max(64, self.n_bits),
                n_anchors=min(1000, n_rows),
                n_jobs=self.n_jobs,
                random_state=seed,
            )
        return fit(space, multimodal(blocks))

    def _default_map(self, block, seed):
        return anchor_map("sqrt_norm", 0.5, min(1000, block.shape[0]), seed)

    def _hyperplane_pool(self, T, seed):
        """Bits of the rows of targets T by hyperplanes, some of them learned."""
        rng = check_random_state(seed)
        n_restarts, n_bits = 1, self.n_bits
        if self.select_bits:
            n_bits = int(self.pool_bits)
            n_restarts = max(int(self.n_restarts), -(-4 * int(self.n_bits) // n_bits))
        return hyperplane_bits(T, draw_hyperplanes(T, n_restarts, n_bits, rng))

    def _fit_restarts(self, blocks, L, rng, parallel):
        """Fit the estimator, if any, once or as often as the pool needs."""
        if self.estimator is None:
            return []
        estimator = weighted(self.estimator, self.pair_weight_)
        learning = estimator._learning()
        if L is None and learning.needs_labels:
            raise ValueError(
                f"y is None, but {type(estimator).__name__} learns its codes from labels. Pass y, "
                f"or leave estimator at None. {learning.without_labels}".strip()
            )
        if not self.select_bits:
            estimator.set_params(n_bits=self.n_bits)._validate_params()
            own = estimator.random_state
            estimator._fit_blocks(blocks, L, rng if own is None else check_random_state(own))
            return [estimator]
        report(self, f"{self.n_restarts} restarts of {self.estimator}")
        estimator.set_params(n_bits=self.pool_bits)._validate_params()
        cheap = estimator._restart_params(codes_only=self.refit_hash_functions)
        estimator.set_params(**cheap)
        seeds = rng.randint(np.iinfo(np.int32).max, size=self.n_restarts)
        with equal_warnings_once():
            if isinstance(next(iter(blocks.values())), ChunkedRows):
                # It is this process that tells the workers of Dask what to do.
                return [fit_restart(clone(estimator), blocks, L, seed) for seed in seeds]
            return parallel(
                delayed(fit_restart)(clone(estimator), blocks, L, seed) for seed in seeds
            )

    def _fit_hash_functions(self, blocks, pool, seeds):
        """Fit the best hash functions to every bit of the pool.

        Returns {name: feature map}, {name: coefficients} and {name: leave-one-out bits}.
        """
        maps, coefs, bits = {}, {}, {}
        for name, block in blocks.items():
            report(self, f"{name}: hash functions of {pool.shape[1]} bits")
            maps[name], F = fit_mapped_rows(self._best_map(name, block, seeds), block)
            ridge = self.best_params_[name]["ridge"]
            coef, codes = ridge_leave_one_out(F, pool, [ridge], signs=True)
            coefs[name], bits[name] = coef[0].astype(F.dtype), codes[0]
        return maps, coefs, bits

    def _memory(self):
        """Where what fits have in common is kept: nowhere if every one draws its own anchors."""
        return None if self.random_state is None else self.memory

    def _best_map(self, name, block, seeds):
        best = self.best_params_[name]
        return self._feature_map(best["preprocessing"], best["width"], block, seeds[name])

    def _feature_map(self, preprocessing, width, block, seed):
        return anchor_map(preprocessing, width, min(self.n_anchors, block.shape[0]), seed)

    def _search(self, blocks, L, B, seeds, rows, parallel):
        """Choose candidates for codes B; sets `best_params_`, `best_score_` and `cv_results_`."""
        fitted, scored = rows
        blocks, B = {name: block[fitted] for name, block in blocks.items()}, B[fitted]
        if L is not None:
            L = L[fitted][scored]
            if self.pair_weight_ < 1 and L.sum(axis=0).max() < 2:
                raise ValueError(
                    f"No two of {len(scored)} training rows share a label, so no class can be "
                    "retrieved to choose hash functions by: raise max_scoring_rows if there are "
                    "more rows, or set pair_weight=1 to learn from pairs alone."
                )
        settings = list(product(blocks, self.preprocessing, self.widths))
        report(self, f"leave-one-out codes on {len(settings)} feature maps")
        outcomes = parallel(
            delayed(leave_one_out_codes)(
                self._feature_map(preprocessing, width, blocks[name], seeds[name]),
                blocks[name],
                B,
                self.ridges,
                scored,
                self._memory(),
            )
            for name, preprocessing, width in settings
        )
        codes: dict[str, dict[Any, Any]] = {name: {} for name in blocks}
        seconds: list[float] = []
        for setting, (outcome, time_taken) in zip(settings, outcomes, strict=True):
            seconds += [time_taken / len(self.ridges)] * len(self.ridges)
            if not isinstance(outcome, Exception):
                codes[setting[0]].update(zip(product([setting], self.ridges), outcome, strict=True))
        report_failures(settings, [outcome for outcome, _ in outcomes])

        scores, self.best_params_ = {}, {}
        for name, values, best in coordinate_search(codes, L, parallel, self.pair_weight_):
            scores.update(values)
            self.best_params_[name] = candidate_params(best)
            self.best_score_ = values[best]
            report(self, f"{name}: {self.best_params_[name]} has score {self.best_score_:.4f}")
        candidates = list(product(settings, self.ridges))
        self.cv_results_ = search_results(
            candidates, [scores.get(candidate, np.nan) for candidate in candidates], seconds
        )

    def _search_rows(self, L, n, rng):
        """Rows on which candidates are fitted, and which of these score them.

        Where classes count, rows with labels score.
        """
        order = rng.permutation(n)
        if L is not None and self.pair_weight_ < 1:
            order = order[np.argsort(~labelled_rows(L)[order], kind="stable")]
            n_scored = min(self.max_scoring_rows, int(labelled_rows(L).sum()))
        else:
            n_scored = min(self.max_scoring_rows, n)
        if n <= self.max_search_rows:
            return slice(None), np.sort(order[:n_scored])
        n_scored = min(n_scored, self.max_search_rows)
        others = rng.permutation(order[n_scored:])[: self.max_search_rows - n_scored]
        chosen = np.sort(np.concatenate([order[:n_scored], others]))
        return chosen, np.flatnonzero(np.isin(chosen, order[:n_scored]))

    @property
    def _bears_threads(self):
        return all(restart._bears_threads for restart in self._restarts)

    def _project(self, name, block):
        if self._restarts:
            Z = np.hstack([restart._project(name, block) for restart in self._restarts])
            return Z[:, self.selected_bits_]
        return project(transform(self.feature_maps_[name], block), self.projections_[name])
