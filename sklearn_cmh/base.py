"""The shared estimator: everything about a hasher that is not its method.

`BaseHasher` keeps the data contract (what X and y may be, queries of one modality,
codes, scoring); a subclass learns codes from blocks in `_fit_blocks` and projects
the rows of one modality in `_project`. `ShallowHasher` adds feature maps and linear
hash functions, so that a shallow method is its solver and little else.
"""

import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from inspect import signature
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from .data import (
    ChunkedRows,
    LazyRows,
    MultimodalData,
    MultimodalEstimator,
    align_labels,
    encode_labels,
    is_indicator,
    is_lazy,
    label_patterns,
    labelled_rows,
    modality_weights,
    refuse_lazy,
    refuse_views,
)
from .features import (
    FeatureMapsMixin,
    features_fit_in_memory,
    fitted_features,
    gathered,
    gathered_features,
    is_own,
    kept,
    kept_features,
    linear_map,
    stored_features,
)
from .metrics import average_precision_scores
from .solvers import (
    Solution,
    Sweeps,
    clear_columns,
    constant_bits,
    fuse,
    project,
    quiet_passes,
    sign,
    warn_constant_bits,
)
from .utils._cache import MEMORY_CONSTRAINTS, cached
from .utils._callbacks import CallbackSupportMixin, end_step, fit_task, report
from .utils._dask import current_client, in_memory
from .utils._documentation import DocumentedMixin
from .utils._parametrised import field, parametrised
from .utils._sklearn import Interval, check_sample_weight, fit_context
from .utils._state import VersionedStateMixin, unchanged_on_error
from .utils._typing import (
    ArrayLike,
    Codes,
    Floats,
    Labels,
    MatrixLike,
    Modalities,
    NDArray,
    RandomState,
)

__all__ = [
    "BaseHasher",
    "DirectMixin",
    "KernelHasher",
    "Learning",
    "LinearHasher",
    "ModalityEncoder",
    "ShallowHasher",
    "Solution",
    "modality_weights",
    "parametrised",
    "sign",
]


@dataclass(frozen=True)
class Learning:
    """What a method does with y; see `BaseHasher._learning`.

    Parameters
    ----------
    needs_labels : bool, default=True
        Whether y must be given. If not, it serves `score` alone.
    minus_one_is_unlabelled : bool, default=False
        Whether -1 in y marks rows without labels, rather than a class.
    from_unlabelled : bool, default=False
        Whether rows without labels are learned from. If not, they are encoded after the fit.
    without_labels : str, default=""
        What to do where there are no labels, for the error that says that they are needed.
    """

    needs_labels: bool = True
    minus_one_is_unlabelled: bool = False
    from_unlabelled: bool = False
    without_labels: str = ""


class BaseHasher(
    CallbackSupportMixin,
    VersionedStateMixin,
    DocumentedMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    MultimodalEstimator,
):
    """The contract of every hasher; a method overrides the hooks below.

    Think twice before adding anything here: what X may be is in `MultimodalEstimator`, what
    y may be in `sklearn_cmh.data`, and numerics are in `sklearn_cmh.solvers`.
    """

    _parameter_constraints: dict[str, Any] = {
        **MultimodalEstimator._parameter_constraints,
        "n_bits": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # Of which sort it is, and whether it is there to be measured against only; see
    # `all_estimators`.
    _sort = "refined"
    _is_baseline = False

    # Steps of a fit, for callbacks, beside its sweeps or epochs.
    _n_phases = 0

    # What every fit leaves behind.
    codes_: Codes
    labels_: Any
    classes_: Any
    n_iter_: int
    modality_names_: list[str]

    # Hooks of a method.

    def _learning(self) -> Learning:
        """Say what the method does with y, at its parameters."""
        return Learning()

    def _fit_blocks(self, blocks, L, rng):
        """Learn `codes_` from the blocks {name: (n, d) array or CSR} and the label matrix L."""
        raise unwritten(self, "_fit_blocks(self, blocks, L, rng)", "sets `codes_`")

    def _project(self, name, block):
        """Real-valued projections (n, n_bits) of one modality; their signs are its codes."""
        raise unwritten(self, "_project(self, name, block)", "returns projections (n, n_bits)")

    # Fitting.

    # Nested estimators validate their own parameters.
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: MatrixLike, y: Labels | None = None) -> Self:
        """Learn codes of the training rows and a hash function per modality.

        Parameters
        ----------
        X : {array-like, sparse, DataFrame} of shape (n, d) or MultimodalData
            Training rows; arrays of Dask too, of methods that see rows in parts.
        y : array-like of shape (n,) or {array-like, sparse} of shape (n, c)
            Class labels, or a label indicator of zeros and ones.

        Returns
        -------
        self : object
            The fitted hasher. After an error it is as it was before.

        Raises
        ------
        ValueError
            If X or y is malformed, the modalities do not partition the columns of X,
            or all labelled rows have the same labels.
        TypeError
            If X is a list of views.
        """
        max_steps = self._n_phases + getattr(self, "max_iter", 0)
        with fit_task(self, X, y, max_steps), unchanged_on_error(self):
            return self._fit(X, y)

    def _read_table(self, X):
        if is_lazy(X) and not self._takes_chunks:
            refuse_lazy(X, _which_take_chunks(type(self).__name__))
        return super()._read_table(X)

    def _fit(self, X, y):
        if not getattr(self, "warm_start", False):
            clear_fitted(self)
        rng = check_random_state(self.random_state)
        table = self._read_table(X)
        L = self._check_labels(table, y)
        blocks = self._fit_preprocessing(table, y, rng)
        rows = None if L is None or self._learning().from_unlabelled else labelled_rows(L)
        if rows is None or rows.all():
            self._fit_blocks(blocks, L, rng)
        else:
            self._fit_blocks(_where(rows, blocks), L[rows], rng)
            codes = np.empty((len(rows), self.codes_.shape[1]), dtype=np.int8)
            codes[rows] = self.codes_
            parts = _parts_of(_where(~rows, blocks))
            codes[~rows] = np.concatenate([sign(self._project_blocks(part)) for part in parts])
            self.codes_ = codes
        self._n_features_out = self.codes_.shape[1]
        return self

    def _check_block(self, name, block):
        if len(getattr(block, "shape", ())) > 2 and not self._block_options.get("allow_nd"):
            raise ValueError(
                f"Expected rows of the modality {name!r} to be vectors, got rows of shape "
                f"{block.shape[1:]}. {type(self).__name__} takes columns of features: extract "
                "some, or reshape to (n, -1). From pictures as they are learns "
                "sklearn_cmh.deep.DSPAH."
            )
        return super()._check_block(name, block)

    def _check_labels(self, X, y):
        """Encode y; sets `labels_` and `classes_`."""
        y = in_memory(y)
        learning = self._learning()
        if y is None and not learning.needs_labels:
            self.labels_ = self.classes_ = self._indicator = None
            return None
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None. It learns from labels: pass class labels of shape (n,) or a label "
                f"indicator of shape (n, c). {learning.without_labels}".strip()
            )
        check_consistent_length(X, y)
        L, classes = self._encode_labels(y)
        if learning.needs_labels:
            self._check_classes(L[labelled_rows(L)])
        self.labels_, self.classes_ = L, classes
        self._indicator = is_indicator(y)
        numbers = not self._indicator and classes.dtype.kind in "if"
        if numbers and len(classes) > 2 and classes[0] == -1 and classes[1] >= 0:
            warnings.warn(
                f"y holds -1 beside other labels, and {type(self).__name__} takes it as a class "
                "like them, whose rows are relevant to one another. If it means that a row has no "
                "label, pass an indicator (n, c), which is zero in such a row."
            )
        return L

    def _check_classes(self, labelled):
        """Refuse labels from which nothing can be learned."""
        if labelled.shape[0] == 0:
            raise ValueError("y labels no row at all; at least two rows with labels are needed.")
        if label_patterns(labelled)[0].shape[0] < 2:
            raise ValueError(
                "y holds one class only: every labelled row has the same labels, so there is "
                "nothing to tell apart. Pass rows of at least two classes. "
                f"{self._learning().without_labels}".strip()
            )

    def _encode_labels(self, y):
        return encode_labels(y, unlabelled=self._learning().minus_one_is_unlabelled)

    def _query_labels(self, y):
        """Labels of queries and of the training rows, on the same classes."""
        L, classes = self._encode_labels(y)
        if is_indicator(y) != self._indicator or (
            self._indicator and len(classes) != len(self.classes_)
        ):
            form = f"an indicator of {len(self.classes_)} columns" if self._indicator else "labels"
            raise ValueError(
                f"y at fit was {form}; pass y in the same form, not of shape {np.shape(y)}."
            )
        return align_labels(L, classes, self.labels_, self.classes_)[:2]

    def _warn_equal_codes(self, blocks):
        """Warn where all rows of a modality have one code, as learned bits that vary are not."""
        varied = ~constant_bits(self.codes_)
        for name, block in blocks.items() if varied.any() else ():
            rows = block[:: 1 + block.shape[0] // _ENCODED_ROWS]
            # A few tell nearly always.
            samples = (rows[:: 1 + rows.shape[0] // _FIRST_ENCODED], rows)
            if all(constant_bits(sign(self._project(name, s)))[varied].all() for s in samples):
                warnings.warn(
                    f"Every row of {name!r} is encoded alike, though the learned codes differ: its "
                    "hash functions are constant. Rescale the features, take outliers out, or "
                    "lower the weight of the regularisation.",
                    ConvergenceWarning,
                )

    # Encoding.

    def transform(self, X: MatrixLike, modality: str | None = None) -> Any:
        """Codes of new rows, fused over the modalities that X holds.

        The fused code is the sign of the mean over modalities of the real-valued
        projections.

        Parameters
        ----------
        X : {array-like, sparse, DataFrame} of shape (n, d) or MultimodalData
            Rows in the form of the fit. A MultimodalData may hold some of the
            modalities only. With `modality`, its block alone does too.
        modality : str, default=None
            Encode this modality alone.

        Returns
        -------
        codes : ndarray of shape (n, n_bits), int8
            Values -1 and +1; an array of Dask, not computed yet, where X holds such.
        """
        return self._encode(X, modality)

    def _encode(self, X, modality):
        if is_lazy(X):
            return self._map_lazily(_encoded, X, modality)
        return np.concatenate([sign(Z) for Z in self._projected_batches(X, modality)])

    def _projected_batches(self, X, modality):
        """Iterate over the projections of one batch of rows after another."""
        check_is_fitted(self)
        refuse_views(X)

        def projected(batch):
            try:
                blocks = self._new_blocks(batch, modality)
            except ValueError as error:
                if modality is not None or not self._is_one_modality(batch):
                    raise
                names = " or ".join(f"modality={name!r}" for name in self.modality_names_)
                raise ValueError(
                    f"X is not in the form of the fit. For rows of one modality alone, name it: "
                    f"encode(X, {names}). {error}"
                ) from error
            return self._project_blocks(blocks)

        return self._map_batches(projected, X)

    def _is_one_modality(self, X):
        """Whether X looks like the block of one modality, where the whole was expected."""
        tail = tuple(np.shape(X)[1:]) if not hasattr(X, "shape") else tuple(X.shape[1:])
        tails = [m.tail for m in self._modalities if not m.dropped]
        return not isinstance(X, MultimodalData) and len(tails) > 1 and tail in [(), *tails]

    def _project_blocks(self, blocks):
        return fuse({name: self._project(name, block) for name, block in blocks.items()})

    def project(self, X: MatrixLike, *, modality: str | None = None) -> Floats:
        """Real-valued projections, of which `encode` takes the signs.

        The mean over the modalities that X holds; thresholds are subtracted, so that the code
        changes at zero. How far a projection is from zero says how sure its bit is.

        Parameters
        ----------
        X : {array-like, sparse, DataFrame} of shape (n, d) or MultimodalData
            The block of one modality alone, or rows in the form of the fit.
        modality : str, default=None
            Modality of the rows; None takes the mean over all modalities that X holds.

        Returns
        -------
        projections : ndarray of shape (n, n_bits)
            Zero where they are zero but for rounding; the code is +1 there. float32 where all
            features are. An array of Dask, not computed yet, where X holds such.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_cmh import DSAH
        >>> from sklearn_cmh.datasets import make_multimodal_classification
        >>> X, y = make_multimodal_classification(200, random_state=0)
        >>> hasher = DSAH(n_bits=16, n_anchors=50, random_state=0).fit(X, y)
        >>> Z = hasher.project(X["text"], modality="text")
        >>> bool(((Z >= 0) == (hasher.encode(X["text"], modality="text") > 0)).all())
        True
        """
        if is_lazy(X):
            return self._map_lazily(_projected, X, modality)
        return np.concatenate(list(self._projected_batches(X, modality)))

    def encode(self, X: MatrixLike, *, modality: str | None = None) -> Codes:
        """Codes of rows of which perhaps only one modality is known.

        The same as `transform`, but always an ndarray, whatever `set_output` says.

        Parameters
        ----------
        X : {array-like, sparse, DataFrame} of shape (n, d) or MultimodalData
            The block of one modality alone, or rows in the form of the fit.
        modality : str, default=None
            Modality of the rows; None fuses all modalities that X holds.

        Returns
        -------
        codes : ndarray of shape (n, n_bits), int8
            Values -1 and +1; an array of Dask, not computed yet, where X holds such.
        """
        return self._encode(X, modality)

    def encoder(self, modality: str) -> "ModalityEncoder":
        """Return the encoder of one modality as a fitted transformer of its own.

        Parameters
        ----------
        modality : str
            Name of the modality.

        Returns
        -------
        encoder : ModalityEncoder
            Its ``transform(X)`` is ``encode(X, modality=modality)``. It stays fitted
            when cloned, so that it can end a Pipeline or stand in a FeatureUnion.
        """
        check_is_fitted(self)
        if modality not in self.modality_names_:
            raise ValueError(f"modality must be one of {self.modality_names_}; got {modality!r}.")
        return ModalityEncoder(self, modality)

    def score(
        self, X: MatrixLike, y: Labels | None = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Mean over query modalities of full-ranking mAP against the training codes.

        The rows of X are the queries, one modality at a time, of those that X holds;
        `codes_` is the database, without rows that have no label. Ties are averaged
        over. Since `codes_` have seen the labels of the training rows, this is an
        optimistic figure; see `make_retrieval_scorer` for others.

        Parameters
        ----------
        X : {array-like, sparse, DataFrame} of shape (n, d) or MultimodalData
            Query rows. A MultimodalData may hold some of the modalities only.
        y : array-like of shape (n,) or {array-like, sparse} of shape (n, c)
            Their labels. They are needed: None, as of a search without y, is refused.
        sample_weight : array-like of shape (n,), default=None
            Weights of the queries.

        Returns
        -------
        score : float
            In [0, 1]; NaN, with a warning, if no query of positive weight has a relevant row.
        """
        check_is_fitted(self)
        if self.labels_ is None:
            raise ValueError(
                f"This {type(self).__name__} was fitted without y, so no row is known to be "
                "relevant to a query. Fit with labels; or score with "
                "make_retrieval_scorer(gallery=(X_database, y_database)), or, without labels, "
                "with make_retrieval_scorer(relevance='pair', gallery='validation')."
            )
        X = self._check_table(X, reset=False)
        labels, database_labels = self._query_labels(y)
        weights = np.ones(labels.shape[0]) if sample_weight is None else sample_weight
        weights = check_sample_weight(weights, labels)
        # Rows without labels are no wrong hits: what they are is not known.
        known = labelled_rows(database_labels)
        if not (weights * (labels @ database_labels.sum(axis=0))).any():
            warnings.warn(
                "No query of positive weight has a relevant training row, so the score is "
                "undefined and set to NaN.",
                UndefinedMetricWarning,
            )
            return np.nan
        names = [m for m in self.modality_names_ if not isinstance(X, MultimodalData) or m in X]
        scores = []
        for name in names or self.modality_names_:
            values, relevant = average_precision_scores(
                self.encode(X, modality=name), self.codes_[known], labels, database_labels[known]
            )
            scores.append(np.average(values[relevant], weights=weights[relevant]))
        return float(np.mean(scores))

    # Parameters, tags.

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self._learning().needs_labels
        tags.transformer_tags.preserves_dtype = []
        return tags


class ModalityEncoder(
    DocumentedMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """One modality of a fitted hasher, as a transformer; see `BaseHasher.encoder`.

    Parameters
    ----------
    hasher : BaseHasher
        Fitted hasher.
    modality : str
        Name of the modality.
    """

    def __init__(self, hasher: "BaseHasher", modality: str):
        self.hasher = hasher
        self.modality = modality

    def fit(self, X: MatrixLike, y: Any = None) -> Self:
        """Do nothing: the hasher is fitted already.

        Parameters
        ----------
        X : object
            Ignored.
        y : object, default=None
            Ignored.

        Returns
        -------
        self : object
            The same encoder.
        """
        return self

    def transform(self, X: MatrixLike) -> Any:
        """Codes of the rows of one modality.

        Parameters
        ----------
        X : {array-like, sparse, DataFrame} of shape (n, d) or MultimodalData
            As `BaseHasher.encode` takes it.

        Returns
        -------
        codes : ndarray of shape (n, n_bits), int8
            Values -1 and +1.
        """
        return self.hasher.encode(X, modality=self.modality)

    @property
    def _n_features_out(self):
        return self.hasher._n_features_out

    @property
    def _input(self):
        return next(m for m in self.hasher._modalities if m.name == self.modality)

    @property
    def n_features_in_(self) -> int:
        """Columns of the modality; texts are one."""
        return self._input.width

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """Names of the columns, where the hasher was fitted on a DataFrame that had such."""
        names = self._input.names
        if names is None:
            raise AttributeError(f"No column names of {self.modality!r} were known at fit.")
        return np.array(names, dtype=object)

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_clone__(self):
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = []
        tags.requires_fit = False
        return tags


@parametrised
class ShallowHasher(FeatureMapsMixin, BaseHasher):
    """Feature map and linear hash function per modality; a method overrides `_solve`.

    A method whose features are those of a kernel is a `KernelHasher`, a linear one a
    `LinearHasher`; its own parameters are annotated attributes of a class decorated with
    `parametrised`.

    Parameters
    ----------
    n_bits : int, default=64
        Length of the codes.
    feature_map : transformer, dict or "passthrough", default=None
        Map of the features, cloned for every modality, or {name: transformer}. None
        stands for that of the method.
    modalities : list of tuple, dict or "prefix", default=None
        Which columns of X make up which modality: (name, transformer, columns) triples
        as in ColumnTransformer, {name: columns}, or "prefix" for a DataFrame with
        columns ``image__...``. None: those of a MultimodalData, or a single modality.
    max_iter : int, default=30
        Largest number of sweeps.
    tol : float, default=1e-6
        Stop when the objective changes by less than this, relatively.
    memory : str or object like joblib.Memory, default=None
        Where mapped features and their Gram matrices are kept, for fits on the same rows that
        follow, as those of a search are. Nothing is kept with ``random_state=None``, as every
        fit draws anchors of its own, nor of features too large for working memory.
    random_state : int, RandomState instance or None, default=None
        Seed of all that is drawn, also by feature maps.
    verbose : bool or int, default=0
        Whether to print the objective of every sweep.

    Attributes
    ----------
    codes_ : ndarray of shape (n, n_bits), int8
        Learned codes of the training rows, -1 and +1.
    projections_ : dict
        Modality name to the (q, n_bits) matrix of its hash function.
    feature_maps_ : dict
        Modality name to the fitted feature map.
    transformers_ : dict
        Modality name to the fitted transformer of `modalities`, where there is one.
    labels_ : csr_array of shape (n, c) or None
        Label indicator of the training rows; None without y.
    classes_ : ndarray of shape (c,) or None
        Classes of the columns of `labels_`.
    modality_names_ : list of str
        Names of the modalities.
    objective_ : ndarray of shape (n_iter_,)
        The objective after every sweep.
    n_iter_ : int
        Sweeps done.
    n_features_in_ : int
        Columns seen during the fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names, where X had them.
    """

    n_bits: int = field(default=64, kw_only=False)
    feature_map: Any = None
    modalities: Modalities = None
    max_iter: int = 30
    tol: float = 1e-6
    memory: Any = None
    random_state: RandomState = None
    verbose: bool | int = 0

    _sort = "shallow"
    _n_phases = 2  # features, and the start of the solver

    # Values that the paper sweeps, by parameter.
    _paper_grid: ClassVar[dict[str, list[Any]]] = {}

    _parameter_constraints = {
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "memory": MEMORY_CONSTRAINTS,
    }

    # Whether passes over features are so few that rows are better scaled when they are read.
    _scales_when_read = False
    # False where decompositions between sums over rows are better done by all threads of BLAS.
    _is_mostly_sums = True

    @property
    def _takes_lazy_rows(self) -> bool:
        """Whether `_solve` reads features by slices of rows alone, so that `LazyRows` will do."""
        return False

    @property
    def _takes_chunks(self) -> bool:
        return self._takes_lazy_rows

    @property
    def _solves_chunks(self) -> bool:
        """Whether `_solve` takes `ChunkedRows`, whose chunks stay with the workers of a cluster."""
        return False

    @property
    def _keeps_chunks(self) -> bool:
        """Whether features of arrays of Dask are kept by workers, of which there are some."""
        return self._solves_chunks and current_client() is not None

    def _own_threads(self, blocks):
        """Context of a fit: `quiet_passes`, where all that takes long is passes of our own."""
        # What does not solve chunks leaves work to other libraries, or to larger matrices.
        if not (self._is_mostly_sums and self._solves_chunks and self.feature_map is None):
            return nullcontext()
        return quiet_passes(list(blocks.values()), getattr(self, "n_anchors", 0))

    def _solve(self, features, L, rng):
        """Return the Solution for features {name: (n, q)} and the label indicator L."""
        raise unwritten(self, "_solve(self, features, L, rng)", "returns a Solution")

    def _row_width(self):
        features = [P.shape[0] for P in getattr(self, "projections_", {}).values()]
        return super()._row_width() + 2 * max(features, default=1000)

    def _sweeps(self):
        """Sweeps of a fit, for a solver to iterate over."""

        def on_sweep(sweep, objective):
            report(self, f"sweep {sweep}, objective {objective:.6e}")
            return end_step(self, "sweep")

        return Sweeps(
            self.max_iter,
            self.tol,
            name=type(self).__name__,
            on_start=lambda: end_step(self, "start"),
            on_sweep=on_sweep,
        )

    @classmethod
    def paper_grid(cls) -> Any:
        """Parameter grid of the paper, for GridSearchCV.

        Returns
        -------
        param_grid : dict or list of dict
            The values that the paper sweeps, or values around its own where it does not say.
        """
        return {name: list(values) for name, values in cls._paper_grid.items()}

    def _restart_params(self, codes_only):
        """Parameters that make one of many restarts cheap; see `RefinedHasher`.

        `codes_only` says that its hash functions will not be used.
        """
        return {}

    def _warn_ignored(self, names):
        """Warn of parameters that are set but have no effect on these modalities."""
        if self.random_state is None and hasattr(self, "memory"):
            warn_ignored(self, ["memory"], "random_state=None")
        given = self.feature_map
        maps = [given.get(name) if isinstance(given, Mapping) else given for name in names]
        if hasattr(self, "n_anchors") and all(feature_map is not None for feature_map in maps):
            warn_ignored(self, ["n_anchors"], "a feature_map for every modality")

    # Features.

    def _make_features(self, feature_map, block):
        """A map fitted to a block, and the features."""
        if isinstance(block, ChunkedRows):
            make = kept_features if self._keeps_chunks else gathered_features
            return feature_map, make(feature_map, block)
        kept = self._keeps_results and features_fit_in_memory(feature_map, block)
        if self._takes_lazy_rows and not kept:
            F = stored_features(feature_map, block, self._scales_when_read)
            return feature_map, F
        return self._cached(fitted_features, feature_map, block)

    def _unmapped_features(self, block):
        if isinstance(block, ChunkedRows):
            return kept(block)[0] if self._keeps_chunks else gathered(block)
        return block

    def _cached(self, function, *args):
        """``function(*args)``, kept in `memory` for fits that follow."""
        lazy = any(isinstance(arg, LazyRows) for arg in args)
        memory = self.memory if self._keeps_results and not lazy else None
        return cached(memory, function, *args)

    @property
    def _keeps_results(self):
        """Whether `memory` counts: without a seed, no two fits are alike."""
        return getattr(self, "memory", None) is not None and self.random_state is not None

    def _fit_blocks(self, blocks, L, rng):
        self._learn(blocks, L, rng)
        warn_constant_bits(self.codes_, "Lower n_bits, or try another random_state.")
        self._warn_equal_codes(blocks)

    def _learn(self, blocks, L, rng):
        """Fit without a word on constant bits, of which `RefinedHasher` chooses none."""
        self._warn_ignored(blocks)
        with self._own_threads(blocks):
            features = self._fit_features(blocks, rng, make=self._make_features)
            end_step(self, "features")
            report(self, "start of the solver")
            solution = self._solve(features, L, rng)
        solution = solution.checked(
            type(self).__name__, features, self.n_bits, taken=[*_SOLVED, *fitted_names(self)]
        )
        constant = constant_bits(solution.codes)
        self.codes_ = np.where(constant, np.int8(1), solution.codes)
        if solution.projections is not None:
            self.projections_ = {
                name: clear_columns(P, constant) for name, P in solution.projections.items()
            }
        if solution.offsets is not None:
            # Of zero columns too, so that constant bits are +1.
            self.offsets_ = {
                name: np.where(self.projections_[name].any(axis=0), offset, offset.dtype.type(0))
                for name, offset in solution.offsets.items()
            }
        self.objective_ = np.asarray(solution.objective, dtype=np.float64)
        self.n_iter_ = solution.n_iter
        self.__dict__.update(solution.extras)

    @property
    def _bears_threads(self):
        return all(m is None or is_own(m) for m in self.feature_maps_.values())

    def _project(self, name, block):
        offset = getattr(self, "offsets_", {}).get(name)
        return project(self._map_features(name, block), self.projections_[name], offset)


@parametrised
class KernelHasher(ShallowHasher):
    """A shallow method on kernel features; see `ShallowHasher`.

    Parameters
    ----------
    n_anchors : int, default=1000
        Anchors of the default feature map.
    feature_map : transformer, dict or "passthrough", default=None
        Map of the features, cloned for every modality, or {name: transformer}. None
        stands for ``AnchorRBF(n_anchors)``.
    """

    n_anchors: int = 1000


@parametrised
class LinearHasher(ShallowHasher):
    """A shallow method on features as they are, but standardised; see `ShallowHasher`.

    Parameters
    ----------
    feature_map : transformer, dict or "passthrough", default=None
        Map of the features, cloned for every modality, or {name: transformer}. None
        standardises columns, those of sparse features without centring them.
    """

    def _default_feature_map(self, block):
        return linear_map(block)


@parametrised
class DirectMixin:
    """A shallow method that goes in no sweeps; it stands before `ShallowHasher` among the bases.

    Parameters
    ----------
    verbose : bool or int, default=0
        Whether to print what is being done.

    Attributes
    ----------
    objective_ : ndarray of shape (1,)
        The objective.
    n_iter_ : int
        1.
    """

    # Annotated as they are, they are no parameters.
    max_iter: ClassVar[int]
    tol: ClassVar[float]
    verbose: bool | int = 0


def _where(mask, blocks):
    """Blocks {name: rows} of the rows that a mask chooses."""
    return {
        name: block.where(mask) if isinstance(block, ChunkedRows) else block[mask]
        for name, block in blocks.items()
    }


def _parts_of(blocks):
    """Yield blocks {name: rows}, whole or chunk by chunk as they are."""
    if not any(isinstance(block, ChunkedRows) for block in blocks.values()):
        yield blocks
        return
    for chunks in zip(*(block.each() for block in blocks.values()), strict=True):
        yield dict(zip(blocks, chunks, strict=True))


def _which_take_chunks(name):
    """Which methods learn from arrays of Dask, for the error of one that does not."""
    from .utils.discovery import all_estimators  # it imports the methods, which import this

    hashers = [(other, cls) for other, cls in all_estimators() if issubclass(cls, BaseHasher)]
    able = [other for other, cls in hashers if cls()._takes_chunks]
    what = "at these parameters " if name in able else ""
    return f"{name} {what}does not learn from them; {', '.join(able)} do."


def _encoded(hasher, X, modality):
    return hasher.encode(X, modality=modality)


def _projected(hasher, X, modality):
    return hasher.project(X, modality=modality)


# Training rows that are encoded after a fit, to see whether codes differ.
_ENCODED_ROWS = 1000
_FIRST_ENCODED = 30

# Attributes that follow from a Solution.
_SOLVED = ("codes_", "projections_", "offsets_", "objective_", "n_iter_")


def unwritten(hasher, hook, does):
    """Error of a subclass that lacks a hook."""
    return NotImplementedError(
        f"{type(hasher).__name__} is no complete hasher: write `{hook}`, which {does}. See "
        '"Adding a new method" in the documentation.'
    )


def clear_fitted(estimator):
    """Remove what an earlier fit has learned."""
    for name in fitted_names(estimator):
        delattr(estimator, name)


def fitted_names(estimator):
    """Names of public fitted attributes."""
    return [name for name in vars(estimator) if name.endswith("_") and not name.startswith("_")]


def warn_ignored(estimator, names, reason):
    """Warn of those parameters that differ from their defaults, but have no effect."""
    defaults = signature(type(estimator).__init__).parameters
    ignored = [name for name in names if getattr(estimator, name) != defaults[name].default]
    if ignored:
        warnings.warn(f"{', '.join(ignored)} has no effect with {reason}.")
