"""Displays of retrieval results, in the manner of scikit-learn's.

Every display holds the numbers that it draws; matplotlib is imported when it draws.
"""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np

from ..utils._plotting import import_pyplot
from ..utils._sklearn import Interval, validate_params
from ..utils._typing import (
    ArrayLike,
    Gallery,
    Labels,
    MatrixLike,
    NDArray,
    NoRelevant,
    Relevance,
    Ties,
)
from ._scorers import make_retrieval_scorer
from .core import (
    CODES_AND_MAYBE_LABELS,
    NO_RELEVANT,
    TIES,
    find_hasher,
    per_query_values,
    precision_by_k,
    precision_recall,
    query_mean,
    recall_by_k,
    retrieval_of,
)

__all__ = [
    "MAPByBitsDisplay",
    "PrecisionAtKDisplay",
    "PrecisionRecallByRadiusDisplay",
    "RecallAtKDisplay",
]

_MAX_K = {"max_k": [Interval(Integral, 1, None, closed="left"), None], "ties": TIES["ties"]}


def _mean_curve(curve, estimator, X, y, query, database, gallery, relevance):
    """Mean of ``curve(retrieval)`` over the searches that a scorer would score, and a name."""
    scorer = make_retrieval_scorer(
        query=query, database=database, gallery=gallery, relevance=relevance
    )
    values = [curve(search.retrieval()) for search in scorer.searches(estimator, X, y)]
    name = type(find_hasher(estimator)[0]).__name__
    return np.mean(values, axis=0), name if query is None else f"{name}, {query} queries"


class _LineDisplay:
    """Draw one line; a subclass says where and how in `_axes_style`."""

    name: str | None
    _line_style: dict = {}

    def _axes_style(self) -> dict[str, Any]:
        raise NotImplementedError

    def _draw(self, x, y, ax, name, kwargs):
        plt = import_pyplot(f"{type(self).__name__}.plot")
        if ax is None:
            _, ax = plt.subplots()
        name = self.name if name is None else name
        style = {**self._line_style, **({} if name is None else {"label": name}), **kwargs}
        (self.line_,) = ax.plot(x, y, **style)
        self.ax_, self.figure_ = ax, ax.figure
        ax.set(**self._axes_style())
        if "label" in style:
            ax.legend()
        return self


class PrecisionRecallByRadiusDisplay(_LineDisplay):
    """Precision against recall of all rows within a Hamming radius, one point per radius.

    Make one with `from_estimator` or `from_predictions`. All parameters are stored as
    attributes.

    Parameters
    ----------
    precision, recall : ndarray of shape (n_bits + 1,)
        As :func:`precision_recall_by_radius` returns them.
    radii : ndarray of shape (n_bits + 1,)
        The radii 0, 1, ..., n_bits.
    name : str, default=None
        Name of the line in the legend.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The curve.
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure with the axes.

    See Also
    --------
    precision_recall_by_radius : The numbers.
    PrecisionAtKDisplay : Precision of the first rows of a ranking.

    Examples
    --------
    >>> from sklearn_cmh.metrics import PrecisionRecallByRadiusDisplay
    >>> database = [[1, 1, 1], [1, 1, -1], [-1, -1, -1]]
    >>> display = PrecisionRecallByRadiusDisplay.from_predictions(
    ...     [[1, 1, 1]], database, ["cat"], ["cat", "dog", "cat"]
    ... )  # doctest: +SKIP
    """

    _line_style = {"marker": "o", "markersize": 3}

    def __init__(
        self,
        precision: NDArray,
        recall: NDArray,
        radii: NDArray,
        *,
        name: str | None = None,
    ) -> None:
        self.precision = precision
        self.recall = recall
        self.radii = radii
        self.name = name

    def _axes_style(self):
        return {
            "xlabel": "Recall within the radius",
            "ylabel": "Precision within the radius",
            "xlim": (-0.02, 1.02),
            "ylim": (-0.02, 1.02),
        }

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        name : str, default=None
            Name in the legend; None uses the display's own.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : PrecisionRecallByRadiusDisplay
            This display, drawn.
        """
        return self._draw(self.recall, self.precision, ax, name, kwargs)

    @classmethod
    @validate_params({**NO_RELEVANT}, prefer_skip_nested_validation=True)
    def from_estimator(
        cls,
        estimator: Any,
        X: MatrixLike,
        y: Labels | None = None,
        *,
        query: str | None = None,
        database: str | None = None,
        gallery: Gallery = "learned",
        relevance: Relevance = "labels",
        no_relevant: NoRelevant = "skip",
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the curve of a fitted hasher, or of a Pipeline that ends in one.

        Parameters
        ----------
        estimator : object
            Fitted hasher, or Pipeline that ends in one.
        X : {array-like, sparse, DataFrame, MultimodalData} of shape (n, n_features)
            Queries.
        y : array-like of shape (n,) or {array-like, sparse} of shape (n, c), default=None
            Their labels; needed where these say what is relevant.
        query, database, gallery : str, str, str or tuple
            Who asks and what is ranked, as in :func:`make_retrieval_scorer`. None is the
            mean over modalities.
        relevance : {"labels", "pair"}, default="labels"
            Whether rows that share a label with the query are to be found, or its own row
            alone, as in :func:`make_retrieval_scorer`.
        no_relevant : {"skip", "zero"}, default="skip"
            Whether a query without relevant rows is left out, or counts 0.
        name : str, default=None
            Name in the legend; None is the class of the hasher.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : PrecisionRecallByRadiusDisplay
            Drawn.
        """
        (precision, recall), default = _mean_curve(
            lambda retrieval: precision_recall(retrieval, no_relevant),
            *(estimator, X, y, query, database, gallery, relevance),
        )
        radii = np.arange(len(precision))
        return cls(precision, recall, radii, name=name or default).plot(ax, **kwargs)

    @classmethod
    @validate_params({**CODES_AND_MAYBE_LABELS, **NO_RELEVANT}, prefer_skip_nested_validation=True)
    def from_predictions(
        cls,
        query_codes: ArrayLike,
        database_codes: ArrayLike,
        query_labels: Labels | None = None,
        database_labels: Labels | None = None,
        *,
        no_relevant: NoRelevant = "skip",
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the curve of given codes.

        Parameters
        ----------
        query_codes, database_codes : array-like of shape (n_queries, n_bits), (n, n_bits)
            Codes of two values.
        query_labels, database_labels : array-like of shape (n_queries,), (n,) or \
                {array-like, sparse} of shape (n_queries, c), (n, c), default=None
            Class labels, or label indicators over the same classes. Without them, database
            row `i` is what query `i` seeks.
        no_relevant : {"skip", "zero"}, default="skip"
            Whether a query without relevant rows is left out, or counts 0.
        name : str, default=None
            Name in the legend.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : PrecisionRecallByRadiusDisplay
            Drawn.
        """
        retrieval = retrieval_of(query_codes, database_codes, query_labels, database_labels)
        precision, recall = precision_recall(retrieval, no_relevant)
        return cls(precision, recall, np.arange(len(precision)), name=name).plot(ax, **kwargs)


class _ByKDisplay(_LineDisplay):
    """A curve over the number of rows retrieved; a subclass says which by `_curve`."""

    _curve: ClassVar[Any]
    k: NDArray

    def __init__(self, k: NDArray, values: NDArray, *, name: str | None = None) -> None:
        raise NotImplementedError

    @property
    def _values(self) -> NDArray:
        raise NotImplementedError

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        name : str, default=None
            Name in the legend; None uses the display's own.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : object
            This display, drawn.
        """
        return self._draw(self.k, self._values, ax, name, kwargs)

    @classmethod
    @validate_params({**_MAX_K, **NO_RELEVANT}, prefer_skip_nested_validation=True)
    def from_estimator(
        cls,
        estimator: Any,
        X: MatrixLike,
        y: Labels | None = None,
        *,
        query: str | None = None,
        database: str | None = None,
        gallery: Gallery = "learned",
        relevance: Relevance = "labels",
        max_k: int | None = None,
        ties: Ties = "expected",
        no_relevant: NoRelevant = "skip",
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the curve of a fitted hasher, or of a Pipeline that ends in one.

        Parameters
        ----------
        estimator : object
            Fitted hasher, or Pipeline that ends in one.
        X : {array-like, sparse, DataFrame, MultimodalData} of shape (n, n_features)
            Queries.
        y : array-like of shape (n,) or {array-like, sparse} of shape (n, c), default=None
            Their labels; needed where these say what is relevant.
        query, database, gallery : str, str, str or tuple
            Who asks and what is ranked, as in :func:`make_retrieval_scorer`. None is the
            mean over modalities.
        relevance : {"labels", "pair"}, default="labels"
            Whether rows that share a label with the query are to be found, or its own row
            alone, as in :func:`make_retrieval_scorer`.
        max_k : int, default=None
            Last k of the curve; None is the size of the database.
        ties : {"expected", "index"}, default="expected"
            Mean over all orders of rows at equal distance, or by database row.
        no_relevant : {"skip", "zero"}, default="skip"
            Whether a query without relevant rows is left out, or counts 0.
        name : str, default=None
            Name in the legend; None is the class of the hasher.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : object
            Drawn.
        """
        (k, values), default = _mean_curve(
            lambda retrieval: cls._curve(retrieval, max_k, ties, no_relevant),
            *(estimator, X, y, query, database, gallery, relevance),
        )
        return cls(k.astype(np.intp), values, name=name or default).plot(ax, **kwargs)

    @classmethod
    @validate_params(
        {**CODES_AND_MAYBE_LABELS, **_MAX_K, **NO_RELEVANT}, prefer_skip_nested_validation=True
    )
    def from_predictions(
        cls,
        query_codes: ArrayLike,
        database_codes: ArrayLike,
        query_labels: Labels | None = None,
        database_labels: Labels | None = None,
        *,
        max_k: int | None = None,
        ties: Ties = "expected",
        no_relevant: NoRelevant = "skip",
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the curve of given codes.

        Parameters
        ----------
        query_codes, database_codes : array-like of shape (n_queries, n_bits), (n, n_bits)
            Codes of two values.
        query_labels, database_labels : array-like of shape (n_queries,), (n,) or \
                {array-like, sparse} of shape (n_queries, c), (n, c), default=None
            Class labels, or label indicators over the same classes. Without them, database
            row `i` is what query `i` seeks.
        max_k : int, default=None
            Last k of the curve; None is the size of the database.
        ties : {"expected", "index"}, default="expected"
            Mean over all orders of rows at equal distance, or by database row.
        no_relevant : {"skip", "zero"}, default="skip"
            Whether a query without relevant rows is left out, or counts 0.
        name : str, default=None
            Name in the legend.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : object
            Drawn.
        """
        retrieval = retrieval_of(query_codes, database_codes, query_labels, database_labels)
        k, values = cls._curve(retrieval, max_k, ties, no_relevant)
        return cls(k, values, name=name).plot(ax, **kwargs)


class PrecisionAtKDisplay(_ByKDisplay):
    """Precision of the first k rows of the ranking, against k.

    Make one with `from_estimator` or `from_predictions`. All parameters are stored as
    attributes.

    Parameters
    ----------
    k : ndarray of shape (n_positions,)
        Numbers of rows retrieved.
    precision : ndarray of shape (n_positions,)
        Share of relevant rows among them, mean over queries.
    name : str, default=None
        Name of the line in the legend.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The curve.
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure with the axes.

    See Also
    --------
    precision_at_k : One of the numbers.
    PrecisionRecallByRadiusDisplay : Precision and recall of hash lookup.
    RecallAtKDisplay : How many of the relevant rows are found.

    Examples
    --------
    >>> from sklearn_cmh.metrics import PrecisionAtKDisplay
    >>> database = [[1, 1, 1], [1, 1, -1], [-1, -1, -1]]
    >>> display = PrecisionAtKDisplay.from_predictions(
    ...     [[1, 1, 1]], database, ["cat"], ["cat", "dog", "cat"]
    ... )  # doctest: +SKIP
    """

    _curve = staticmethod(precision_by_k)

    def __init__(self, k: NDArray, precision: NDArray, *, name: str | None = None) -> None:
        self.k = k
        self.precision = precision
        self.name = name

    def _axes_style(self):
        return {"xlabel": "Rows retrieved (N)", "ylabel": "Precision@N"}

    @property
    def _values(self):
        return self.precision


class RecallAtKDisplay(_ByKDisplay):
    """Recall of the first k rows of the ranking, against k.

    Make one with `from_estimator` or `from_predictions`. All parameters are stored as
    attributes.

    Parameters
    ----------
    k : ndarray of shape (n_positions,)
        Numbers of rows retrieved.
    recall : ndarray of shape (n_positions,)
        Share of the relevant rows that is among them, mean over queries. Where the own row is
        what is sought, the share of queries that have found it.
    name : str, default=None
        Name of the line in the legend.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The curve.
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure with the axes.

    See Also
    --------
    recall_at_k : One of the numbers.
    pair_recall_at_k : One of them, where the own row is sought.
    PrecisionAtKDisplay : How many of the rows are relevant.

    Examples
    --------
    >>> from sklearn_cmh.metrics import RecallAtKDisplay
    >>> database = [[1, 1, 1], [1, 1, -1], [-1, -1, -1]]
    >>> display = RecallAtKDisplay.from_predictions(
    ...     [[1, 1, 1]], database, ["cat"], ["cat", "dog", "cat"]
    ... )  # doctest: +SKIP
    """

    _curve = staticmethod(recall_by_k)

    def __init__(self, k: NDArray, recall: NDArray, *, name: str | None = None) -> None:
        self.k = k
        self.recall = recall
        self.name = name

    def _axes_style(self):
        return {"xlabel": "Rows retrieved (N)", "ylabel": "Recall@N"}

    @property
    def _values(self):
        return self.recall


class MAPByBitsDisplay(_LineDisplay):
    """Mean average precision against the number of bits.

    Make one with `from_estimators`, `from_cv_results` or `from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    n_bits : array-like of shape (n_lengths,)
        Code lengths.
    scores : array-like of shape (n_lengths,)
        Mean average precision of each.
    spread : array-like of shape (n_lengths,), default=None
        Standard deviations, drawn as a band.
    name : str, default=None
        Name of the line in the legend.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The curve.
    band_ : matplotlib collection or None
        The band of one standard deviation on either side.
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure with the axes.

    See Also
    --------
    mean_average_precision : The numbers.

    Examples
    --------
    >>> from sklearn_cmh.metrics import MAPByBitsDisplay
    >>> display = MAPByBitsDisplay([16, 32, 64], [0.33, 0.35, 0.36], name="mine")
    >>> display.plot()  # doctest: +SKIP
    """

    _line_style = {"marker": "o"}

    def __init__(
        self,
        n_bits: ArrayLike,
        scores: ArrayLike,
        *,
        spread: ArrayLike | None = None,
        name: str | None = None,
    ) -> None:
        self.n_bits = n_bits
        self.scores = scores
        self.spread = spread
        self.name = name

    def _axes_style(self):
        return {"xlabel": "Bits", "ylabel": "Mean average precision"}

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the curve, on a logarithmic axis of bits.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        name : str, default=None
            Name in the legend; None uses the display's own.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : MAPByBitsDisplay
            This display, drawn.
        """
        order = np.argsort(self.n_bits)
        n_bits, scores = np.asarray(self.n_bits)[order], np.asarray(self.scores)[order]
        # Lines whose x are bits: that of axhline, say, are shares of the axes.
        lines = [] if ax is None else ax.get_lines()
        earlier = [
            line.get_xdata()
            for line in lines
            if line.get_transform().contains_branch_seperately(ax.transData)[0]
        ]
        ticks = np.unique(np.concatenate([n_bits, *earlier]))
        self._draw(n_bits, scores, ax, name, kwargs)
        self.ax_.set_xscale("log", base=2)
        self.ax_.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        self.ax_.minorticks_off()
        self.band_ = None
        if self.spread is not None:
            spread = np.asarray(self.spread)[order]
            self.band_ = self.ax_.fill_between(
                *(n_bits, scores - spread, scores + spread),
                color=self.line_.get_color(),
                alpha=0.2,
                linewidth=0,
            )
        return self

    @classmethod
    @validate_params({**TIES, **NO_RELEVANT}, prefer_skip_nested_validation=True)
    def from_estimators(
        cls,
        estimators: Iterable[Any],
        X: MatrixLike,
        y: Labels | None = None,
        *,
        query: str | None = None,
        database: str | None = None,
        gallery: Gallery = "learned",
        relevance: Relevance = "labels",
        k: int | None = None,
        ties: Ties = "expected",
        no_relevant: NoRelevant = "skip",
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the scores of fitted hashers that differ in their number of bits.

        Parameters
        ----------
        estimators : iterable of object
            Fitted hashers, or Pipelines that end in one.
        X : {array-like, sparse, DataFrame, MultimodalData} of shape (n, n_features)
            Queries.
        y : array-like of shape (n,) or {array-like, sparse} of shape (n, c), default=None
            Their labels; needed where these say what is relevant.
        query, database, gallery : str, str, str or tuple
            Who asks and what is ranked, as in :func:`make_retrieval_scorer`. None is the
            mean over modalities.
        relevance : {"labels", "pair"}, default="labels"
            Whether rows that share a label with the query are to be found, or its own row
            alone, as in :func:`make_retrieval_scorer`.
        k : int, default=None
            Rank only the first `k` rows; None is the full ranking.
        ties : {"expected", "index"}, default="expected"
            Mean over all orders of rows at equal distance, or by database row.
        no_relevant : {"skip", "zero"}, default="skip"
            Whether a query without relevant rows is left out, or counts 0.
        name : str, default=None
            Name in the legend; None is the class of the first hasher.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : MAPByBitsDisplay
            Drawn.
        """
        estimators = list(estimators)
        if not estimators:
            raise ValueError("estimators is empty: pass at least one fitted hasher.")
        hashers = [find_hasher(estimator)[0] for estimator in estimators]
        scorer = make_retrieval_scorer(
            "map",
            query=query,
            database=database,
            gallery=gallery,
            relevance=relevance,
            k=k,
            ties=ties,
            no_relevant=no_relevant,
        )
        scores = [scorer(estimator, X, y) for estimator in estimators]
        n_bits = [hasher.codes_.shape[1] for hasher in hashers]
        return cls(n_bits, scores, name=name or type(hashers[0]).__name__).plot(ax, **kwargs)

    @classmethod
    def from_cv_results(
        cls,
        cv_results: Mapping[str, Any],
        *,
        param: str = "n_bits",
        score: str = "score",
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw what a search over the number of bits found.

        Parameters
        ----------
        cv_results : dict
            `cv_results_` of a fitted search. Where other parameters vary, too, the best
            setting of each number of bits is drawn.
        param : str, default="n_bits"
            Name of the parameter, ``"hash__n_bits"`` for a step of a Pipeline.
        score : str, default="score"
            Name of the score where the search had several.
        name : str, default=None
            Name in the legend.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : MAPByBitsDisplay
            Drawn, with the standard deviation over folds as a band.
        """
        for key in [f"param_{param}", f"mean_test_{score}"]:
            if key not in cv_results:
                known = sorted(k for k in cv_results if k.startswith(("param_", "mean_test_")))
                raise ValueError(f"cv_results has no {key!r}; it holds {known}.")
        lengths = cv_results[f"param_{param}"]
        # Of a list of grids, some may not have set the parameter.
        given = ~np.ma.getmaskarray(np.ma.asarray(lengths))
        lengths = np.asarray(lengths)[given].astype(np.intp)
        mean, std = (
            np.asarray(cv_results[f"{part}_test_{score}"])[given] for part in ("mean", "std")
        )
        n_bits = np.unique(lengths)
        candidates = [np.flatnonzero(lengths == n) for n in n_bits]
        best = [rows[np.nan_to_num(mean[rows], nan=-np.inf).argmax()] for rows in candidates]
        return cls(n_bits, mean[best], spread=std[best], name=name).plot(ax, **kwargs)

    @classmethod
    @validate_params({**TIES, **NO_RELEVANT}, prefer_skip_nested_validation=True)
    def from_predictions(
        cls,
        query_codes: Sequence[ArrayLike],
        database_codes: Sequence[ArrayLike],
        query_labels: Labels | None = None,
        database_labels: Labels | None = None,
        *,
        k: int | None = None,
        ties: Ties = "expected",
        no_relevant: NoRelevant = "skip",
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the scores of given codes of several lengths.

        Parameters
        ----------
        query_codes, database_codes : list of array-like
            Codes of two values, of shape (n_queries, n_bits) and (n, n_bits): one pair for
            every number of bits.
        query_labels, database_labels : array-like of shape (n_queries,), (n,) or \
                {array-like, sparse} of shape (n_queries, c), (n, c), default=None
            Class labels, or label indicators over the same classes. Without them, database
            row `i` is what query `i` seeks.
        k : int, default=None
            Rank only the first `k` rows; None is the full ranking.
        ties : {"expected", "index"}, default="expected"
            Mean over all orders of rows at equal distance, or by database row.
        no_relevant : {"skip", "zero"}, default="skip"
            Whether a query without relevant rows is left out, or counts 0.
        name : str, default=None
            Name in the legend.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : MAPByBitsDisplay
            Drawn.
        """
        labels = query_labels, database_labels
        scores = []
        for codes in zip(query_codes, database_codes, strict=True):
            values, has_relevant = per_query_values("map", *codes, *labels, k=k, ties=ties)
            scores.append(query_mean(values, has_relevant, no_relevant))
        n_bits = [np.shape(codes)[1] for codes in database_codes]
        return cls(n_bits, scores, name=name).plot(ax, **kwargs)
