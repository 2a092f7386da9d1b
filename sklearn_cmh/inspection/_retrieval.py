"""A report of retrieval: figures, curves, and sample queries with their hits."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, partial
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import sklearn
from scipy import sparse
from sklearn.utils import check_random_state

from .._version import __version__
from ..data import MultimodalData, align_labels, encode_labels, is_indicator
from ..hamming import check_codes
from ..metrics import (
    PrecisionAtKDisplay,
    PrecisionRecallByRadiusDisplay,
    RecallAtKDisplay,
    make_retrieval_scorer,
)
from ..metrics.core import (
    CODES_AND_MAYBE_LABELS,
    NO_RELEVANT,
    TIES,
    Search,
    find_hasher,
    has_form_of_fit,
    labels_of,
    precision_by_k,
    precision_recall,
    preprocessed_rows,
    query_mean,
    raw_blocks,
    recall_by_k,
    relevance_labels,
)
from ..utils._sklearn import Interval, StrOptions, validate_params
from ..utils._typing import (
    ArrayLike,
    Gallery,
    Labels,
    MatrixLike,
    NoRelevant,
    RandomState,
    Relevance,
    Ties,
)
from ._bits import BitReport, bit_report
from ._html import render_document, render_fragment

__all__ = ["RetrievalReport"]

_POSITIVE = Interval(Integral, 1, None, closed="left")
_OPTIONS = {
    "k": [_POSITIVE],
    "ties": TIES["ties"],
    **NO_RELEVANT,
    "n_samples": [Interval(Integral, 0, None, closed="left"), "array-like"],
    "which": [StrOptions({"random", "worst"})],
    "n_hits": [_POSITIVE],
    "random_state": ["random_state"],
}


@dataclass(frozen=True)
class SampleQuery:
    """One query and its first hits.

    Parameters
    ----------
    row : int
        Row of the query.
    average_precision : float
        Over the whole ranking; NaN if no row is relevant. Where the own row is sought, its
        reciprocal rank.
    hits : ndarray of shape (n_hits,)
        Rows of the database, nearest first, equal distances by row.
    distances : ndarray of shape (n_hits,)
        Their Hamming distances.
    relevant : ndarray of shape (n_hits,), bool
        Whether they share a label with the query, or are its own row.
    """

    row: int
    average_precision: float
    hits: np.ndarray
    distances: np.ndarray
    relevant: np.ndarray


@dataclass(frozen=True)
class Direction:
    """What one modality retrieves: figures, curves, samples.

    Parameters
    ----------
    name : str
        As ``"image → learned codes"``.
    query : str or None
        Modality of the queries.
    metrics : dict
        Name to mean over queries.
    by_class : dict
        Name of a class to (number of queries, their mean average precision); empty where
        labels are unknown or say nothing of what is sought.
    displays : tuple
        Undrawn displays of precision and recall by radius, and of precision@N; of recall@N
        where the own row is sought.
    samples : list of SampleQuery
        Sample queries.
    bits : BitReport
        Of the codes of the queries.
    empty : ndarray of shape (n,), bool, or None
        Which rows have no feature but zero in this modality; None if unknown.
    """

    name: str
    query: str | None
    metrics: dict
    by_class: dict
    displays: tuple
    samples: list
    bits: BitReport
    empty: np.ndarray | None


class RetrievalReport:
    """Figures, curves and sample queries of a retrieval, for reading.

    Make one with `from_estimator` or `from_predictions`. In a notebook it shows itself;
    `save` writes one HTML file that needs no other.

    Parameters
    ----------
    directions : list of Direction
        One for every query modality and gallery.
    summary : str
        A line that says what was ranked for what.
    title : str
        Heading.
    show : _Show
        Pictures or texts of the rows, and their labels.
    database_bits : BitReport or None
        Of the codes of the database, where it is the same for all directions.
    glossary : dict, default=None
        ``{metric: what the number is}``.
    details : dict, default=None
        ``{name: text}``: the estimator with its parameters, the date, versions.
    remarks : list of str, default=None
        What a reader should know before reading on.
    by_pair : bool, default=False
        Whether the own row was sought, and not rows that share a label.

    Attributes
    ----------
    metrics : dict
        ``{direction: {metric: value}}``.
    samples : dict
        ``{direction: list of SampleQuery}``.

    Examples
    --------
    >>> from sklearn_cmh.inspection import RetrievalReport
    >>> report = RetrievalReport.from_predictions(
    ...     [[1, 1, 1]],
    ...     [[1, 1, 1], [1, 1, -1], [-1, -1, -1]],
    ...     ["cat"],
    ...     ["cat", "dog", "cat"],
    ...     k=2,
    ... )
    >>> report
    RetrievalReport: 1 query, 3 rows, 3 bits
                       mAP    P@2    R@2 NDCG@2 P(r<=2)
      retrieval     0.8333 0.5000 0.5000 0.6131 0.5000
    >>> report.save("report.html")  # doctest: +SKIP
    """

    def __init__(
        self,
        directions,
        summary,
        title,
        show,
        database_bits=None,
        *,
        glossary=None,
        details=None,
        remarks=None,
        by_pair=False,
    ):
        self.directions = directions
        self.summary = summary
        self.title = title
        self.show = show
        self.database_bits = database_bits
        self.glossary = glossary or {}
        self.details = details or {}
        self.remarks = remarks or []
        self.by_pair = by_pair

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Figures of every direction."""
        return {direction.name: direction.metrics for direction in self.directions}

    @property
    def samples(self) -> dict[str, list[SampleQuery]]:
        """Sample queries of every direction."""
        return {direction.name: direction.samples for direction in self.directions}

    @classmethod
    @validate_params(_OPTIONS, prefer_skip_nested_validation=True)
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
        k: int = 10,
        ties: Ties = "expected",
        no_relevant: NoRelevant = "skip",
        show_queries: Any = None,
        show_database: Any = None,
        target_names: Sequence[str] | None = None,
        n_samples: int | ArrayLike = 5,
        which: Literal["random", "worst"] = "random",
        n_hits: int = 8,
        title: str = "Retrieval report",
        random_state: RandomState = 0,
    ) -> Self:
        """Report on a fitted hasher, or on a Pipeline that ends in one.

        Parameters
        ----------
        estimator : object
            Fitted hasher, or Pipeline that ends in one.
        X : {array-like, sparse, DataFrame, MultimodalData} of shape (n, n_features)
            Queries.
        y : array-like of shape (n,) or {array-like, sparse} of shape (n, c), default=None
            Their labels; needed where these say what is relevant.
        query, database, gallery : str, str, str or tuple
            Who asks and what is ranked, as in
            :func:`~sklearn_cmh.metrics.make_retrieval_scorer`. With `query` None, every
            modality asks in turn.
        relevance : {"labels", "pair"}, default="labels"
            Whether rows that share a label with the query are to be found, or its own row
            alone, as in :func:`~sklearn_cmh.metrics.make_retrieval_scorer`: in a given
            gallery ``(X_database, None)``, whose first rows are those of `X`, row `i` is
            that of query `i`.
        k : int, default=10
            Rows retrieved, for the metrics "at k".
        ties : {"expected", "index"}, default="expected"
            Mean over all orders of rows at equal distance, or by database row.
        no_relevant : {"skip", "zero"}, default="skip"
            Whether a query without relevant rows is left out, or counts 0.
        show_queries, show_database : sequence, dict or MultimodalData, default=None
            What stands for the rows of `X`, and for those that are ranked: pictures
            (arrays of shape (height, width), or (height, width, 3) or with 4 for colour,
            of values up to 255, or up to 1 in floats; or PIL images) or texts, one per
            row; or {modality: such a sequence}, or a MultimodalData. A DataFrame is shown
            with all its columns. A query is shown in its own modality alone, a hit in
            all that are given. With ``gallery="validation"``, `show_database` is
            `show_queries`.
        target_names : sequence of str, default=None
            Names of the classes, in sorted order.
        n_samples : int or array-like of int, default=5
            Number of sample queries, or their rows.
        which : {"random", "worst"}, default="random"
            Whether a number of sample queries is drawn at random, or has the lowest
            average precision.
        n_hits : int, default=8
            Hits shown for each.
        title : str, default="Retrieval report"
            Heading.
        random_state : int, RandomState instance or None, default=0
            Draws the sample queries.

        Returns
        -------
        report : RetrievalReport
            The report.
        """
        hasher, prepare = find_hasher(estimator)
        scorer = make_retrieval_scorer(
            query=query, database=database, gallery=gallery, relevance=relevance
        )
        searches = {
            f"{search.query} → {search.database or 'learned codes'}": search
            for search in scorer.searches(estimator, X, y)
        }
        own = isinstance(gallery, str) and gallery == "validation"
        if own:
            left_out = ", each left out of its ranking" if relevance == "labels" else ""
            ranked = f"the queries' own rows{left_out}"
        else:
            learned = isinstance(gallery, str)
            ranked = "learned codes of the training rows" if learned else "encoded rows"
            if relevance == "pair" and not learned:
                ranked += ", the first of them the queries' own"
        X_asked = prepare(X)
        if show_queries is None:
            show_queries = _texts(hasher, X_asked)
        if own and show_database is None:
            show_database = show_queries
        if show_database is None and not isinstance(gallery, str):
            show_database = _texts(hasher, prepare(gallery[0]))
        labels = _row_labels(hasher, y, gallery)
        find_empty = cache(partial(_empty_rows, hasher, X_asked))
        return cls._from_searches(
            searches,
            labels,
            k=k,
            ties=ties,
            no_relevant=no_relevant,
            show_queries=show_queries,
            show_database=show_database,
            target_names=target_names,
            n_samples=n_samples,
            which=which,
            n_hits=n_hits,
            title=title,
            random_state=random_state,
            subject=f"{type(hasher).__name__}, ranking {ranked}: ",
            details={"Estimator": repr(estimator)},
            empty={search.query: find_empty(search.query) for search in searches.values()},
        )

    @classmethod
    @validate_params({**CODES_AND_MAYBE_LABELS, **_OPTIONS}, prefer_skip_nested_validation=True)
    def from_predictions(
        cls,
        query_codes: ArrayLike,
        database_codes: ArrayLike,
        query_labels: Labels | None = None,
        database_labels: Labels | None = None,
        *,
        k: int = 10,
        ties: Ties = "expected",
        no_relevant: NoRelevant = "skip",
        show_queries: Any = None,
        show_database: Any = None,
        target_names: Sequence[str] | None = None,
        n_samples: int | ArrayLike = 5,
        which: Literal["random", "worst"] = "random",
        n_hits: int = 8,
        title: str = "Retrieval report",
        random_state: RandomState = 0,
    ) -> Self:
        """Report on given codes.

        Parameters
        ----------
        query_codes, database_codes : array-like of shape (n_queries, n_bits), (n, n_bits)
            Codes of two values.
        query_labels, database_labels : array-like of shape (n_queries,), (n,) or \
                {array-like, sparse} of shape (n_queries, c), (n, c), default=None
            Class labels, or label indicators over the same classes. Without them, database
            row `i` is what query `i` seeks.
        k : int, default=10
            Rows retrieved, for the metrics "at k".
        ties : {"expected", "index"}, default="expected"
            Mean over all orders of rows at equal distance, or by database row.
        no_relevant : {"skip", "zero"}, default="skip"
            Whether a query without relevant rows is left out, or counts 0.
        show_queries, show_database : sequence, dict or MultimodalData, default=None
            Pictures or texts of the rows; see `from_estimator`.
        target_names : sequence of str, default=None
            Names of the classes, in sorted order.
        n_samples : int or array-like of int, default=5
            Number of sample queries, or their rows.
        which : {"random", "worst"}, default="random"
            Whether a number of sample queries is drawn at random, or has the lowest
            average precision.
        n_hits : int, default=8
            Hits shown for each.
        title : str, default="Retrieval report"
            Heading.
        random_state : int, RandomState instance or None, default=0
            Draws the sample queries.

        Returns
        -------
        report : RetrievalReport
            The report.
        """
        codes = check_codes(query_codes), check_codes(database_codes)
        labels = None
        if query_labels is not None or database_labels is not None:
            classes = encode_labels(query_labels)[1]
            if not is_indicator(query_labels):
                classes = np.union1d(classes, encode_labels(database_labels)[1])
            labels = (*relevance_labels(query_labels, database_labels), classes)
        data = (*codes, *(labels or (None, None))[:2])
        rows = [np.arange(len(part)) for part in codes]
        return cls._from_searches(
            {"retrieval": Search(None, None, data, False, *rows)},
            labels,
            k=k,
            ties=ties,
            no_relevant=no_relevant,
            show_queries=show_queries,
            show_database=show_database,
            target_names=target_names,
            n_samples=n_samples,
            which=which,
            n_hits=n_hits,
            title=title,
            random_state=random_state,
            subject="",
        )

    @classmethod
    def _from_searches(
        cls,
        searches,
        labels,
        *,
        k,
        ties,
        no_relevant,
        show_queries,
        show_database,
        target_names,
        n_samples,
        which,
        n_hits,
        title,
        random_state,
        subject,
        details=None,
        empty=None,
    ):
        first = next(iter(searches.values()))
        query_codes, database_codes, L_query, L_database = first.data
        # Where the own row is sought, all rows are, and labels may be known none the less.
        bit_labels = (labels or (None, None)) if L_query is None else (L_query, L_database)
        figures = PAIR_FIGURES if L_query is None else FIGURES
        show = _Show(show_queries, show_database, labels, first, target_names)
        drawn = _sample_positions(n_samples, first.query_rows, random_state)
        directions = []
        for name, search in searches.items():
            metrics, values = _figures(figures, search, k, ties, no_relevant)
            worst = which == "worst" and not np.ndim(n_samples)
            samples = np.argsort(values)[:n_samples] if worst else drawn
            directions.append(
                Direction(
                    name=name,
                    query=search.query,
                    metrics=metrics,
                    by_class=_by_class(search, values, show.class_names),
                    displays=_displays(name, search, ties, no_relevant),
                    samples=[_sample(search, i, values[i], n_hits) for i in samples],
                    bits=bit_report(search.data[0], labels=bit_labels[0]),
                    empty=None if empty is None else empty[search.query],
                )
            )
        n_queries, (n, n_bits) = len(query_codes), database_codes.shape
        plural = "query" if n_queries == 1 else "queries"
        same = len({search.database for search in searches.values()}) == 1
        bits = bit_report(database_codes, labels=bit_labels[1]) if same else None
        return cls(
            directions,
            f"{subject}{n_queries:,} {plural}, {n:,} rows, {n_bits} bits",
            title,
            show,
            bits,
            glossary={name.format(k=k): text.format(k=k) for name, (_, _, text) in figures.items()},
            details={**(details or {}), **_made()},
            remarks=_remarks(directions, bits, show.n_queries - n_queries, show.n_rows - n),
            by_pair=L_query is None,
        )

    def to_frame(self) -> Any:
        """Figures of every direction.

        Returns
        -------
        frame : pandas DataFrame
            A row per direction, a column per metric.
        """
        import pandas as pd

        return pd.DataFrame.from_dict(self.metrics, orient="index")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report as one HTML file that needs neither network nor other files.

        Parameters
        ----------
        path : str or path-like
            File to write.
        """
        write_text(path, render_document(self))

    def _repr_html_(self):
        return render_fragment(self)

    def __repr__(self):
        names = list(self.directions[0].metrics)
        width = max(len(name) for name in [*self.metrics, " " * 14])
        lines = [f"RetrievalReport: {self.summary}"]
        lines.append(f"  {'':{width}} " + " ".join(f"{name:>6}" for name in names))
        for direction, metrics in self.metrics.items():
            values = " ".join(f"{value:6.4f}" for value in metrics.values())
            lines.append(f"  {direction:{width}} {values}")
        lines += [f"  {remark}" for remark in self.remarks]
        return "\n".join(lines)


def write_text(path, text):
    """Write a file as a whole, or leave what was there as it was, if the disk is full, say."""
    path = Path(path).resolve()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # Half of a surrogate pair, as broken texts hold, is written as an escape.
        part.write_text(text, encoding="utf-8", errors="backslashreplace")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _sample_positions(n_samples, rows, random_state):
    """Positions of the sample queries among those asked, which are these rows."""
    if not np.ndim(n_samples):
        return np.sort(check_random_state(random_state).permutation(len(rows))[:n_samples])
    asked = np.asarray(n_samples)
    if asked.dtype.kind not in "iu" or not np.isin(asked, rows).all():
        which = f"rows from 0 to {rows[-1]}"
        if len(rows) <= rows[-1]:
            which += " that have labels"
        raise ValueError(f"n_samples must be a number of queries, or {which}; got {n_samples!r}.")
    return np.searchsorted(rows, asked)


# Name of a figure: metric, its k (None where it takes none), and what the number is.
FIGURES = {
    "mAP": ("map", None, "mean average precision of the full ranking"),
    "P@{k}": ("precision_at_k", "k", "share of the first {k} rows that share a label"),
    "R@{k}": (
        "recall_at_k",
        "k",
        "share of the rows that share a label which is among the first {k}",
    ),
    "NDCG@{k}": (
        "ndcg_at_k",
        "k",
        "shared labels of the first {k} rows, discounted by place, relative to the best ranking",
    ),
    "P(r<=2)": (
        "lookup_precision",
        None,
        "share of the rows within Hamming radius 2 that share a label",
    ),
}
PAIR_FIGURES = {
    "MRR": ("mrr", None, "mean of one over the place of the own row"),
    "R@1": ("recall_at_k", 1, "share of the queries that find their own row first"),
    "R@{k}": ("recall_at_k", "k", "share of the queries whose own row is among the first {k}"),
}


def _figures(figures, search, k, ties, no_relevant):
    """Means over queries by name, and the first figure of every query: NaN if nothing is relevant.

    `figures` is one of the tables above.
    """
    metrics, first = {}, None
    for name, (metric, at, _) in figures.items():
        values, has_relevant = search.values(metric, k=k if at == "k" else at, ties=ties)
        metrics[name.format(k=k)] = query_mean(values, has_relevant, no_relevant)
        if first is None:
            first = np.where(has_relevant, values, np.nan)
    return metrics, first


def _by_class(search, values, class_names):
    """Number of queries and mean average precision of every class that a query has."""
    L_query = search.data[2]
    if L_query is None:
        return {}
    counted = np.isfinite(values)
    L = L_query[counted].astype(np.float64)
    n_queries = np.asarray(L.sum(axis=0)).ravel()
    means = L.T @ values[counted] / np.maximum(n_queries, 1)
    return {
        str(name): (int(n), float(mean))
        for name, n, mean in zip(class_names, n_queries, means, strict=True)
        if n
    }


def _displays(name, search, ties, no_relevant):
    retrieval = search.retrieval()
    precision, recall = precision_recall(retrieval, no_relevant)
    by_k, display = (
        (recall_by_k, RecallAtKDisplay)
        if search.data[2] is None
        else (precision_by_k, PrecisionAtKDisplay)
    )
    return (
        PrecisionRecallByRadiusDisplay(precision, recall, np.arange(len(precision)), name=name),
        display(*by_k(retrieval, None, ties, no_relevant), name=name),
    )


def _sample(search, i, value, n_hits):
    """First hits of the query at position `i`."""
    query_codes, database_codes, L_query, L_database = search.data
    distances = ((query_codes[i] > 0) != (database_codes > 0)).sum(axis=1)
    order = np.argsort(distances, kind="stable")
    if search.exclude_self:
        order = order[order != i]
    hits = order[:n_hits]
    if L_query is None:
        relevant = hits == i
    else:
        relevant = (L_database[hits] @ L_query[[i]].T).toarray().ravel() > 0
    rows = int(search.query_rows[i]), search.database_rows[hits]
    return SampleQuery(rows[0], float(value), rows[1], distances[hits], relevant)


def _row_labels(hasher, y, gallery):
    """Labels of all scored rows and of all rows that are ranked, and their classes, if known."""
    if y is None:
        return None
    L, classes = labels_of(hasher, y)
    if isinstance(gallery, str) and gallery == "learned":
        if not has_form_of_fit(hasher, y):
            return None
        return align_labels(L, classes, hasher.labels_, hasher.classes_)
    y_database = y if isinstance(gallery, str) else gallery[1]
    if y_database is None:
        return None
    L_database, database_classes = labels_of(hasher, y_database)
    return align_labels(L, classes, L_database, database_classes)


def _texts(hasher, X):
    """Modalities of a MultimodalData or a DataFrame that are texts: {name: texts}, or None."""
    if isinstance(X, MultimodalData):
        blocks = X.blocks
    elif hasattr(X, "columns"):
        blocks = raw_blocks(hasher, X)
    else:
        return None
    texts = {
        name: block
        for name, block in blocks.items()
        if np.ndim(block) == 1 and len(block) and isinstance(_at(block, 0), str)
    }
    return texts or None


def _empty_rows(hasher, X, modality):
    """Mask of the rows that have no feature but zero in one modality, as unknown words have."""
    parts = []
    for block in preprocessed_rows(hasher, X, modality):
        parts.append(
            np.diff(block.indptr) == 0
            if sparse.issparse(block)
            else ~np.reshape(block, (len(block), -1)).any(axis=1)
        )
    return np.concatenate(parts)


def _made():
    versions = f"sklearn-cmh {__version__}, scikit-learn {sklearn.__version__}"
    return {"Made": f"{date.today().isoformat()}, {versions}"}


def _remarks(directions, database_bits, n_queries_left_out, n_rows_left_out):
    """What a reader should know before reading on."""
    remarks = []
    if database_bits is not None and database_bits.remark:
        remarks.append(f"Database: {database_bits.remark}")
    for query, direction in {direction.query: direction for direction in directions}.items():
        if direction.empty is not None and direction.empty.any():
            remarks.append(
                f"{query}: {np.count_nonzero(direction.empty):,} of {len(direction.empty):,} rows "
                "have no feature but zero, as texts without a known word. They all get the same "
                "code, whatever they say."
            )
    for n, rows in [(n_queries_left_out, "queries"), (n_rows_left_out, "rows of the database")]:
        if n:
            remarks.append(f"{n:,} {rows} without labels are left out.")
    return remarks


class _Show:
    """What stands for the rows in a report.

    Parameters
    ----------
    queries, database : sequence, dict, MultimodalData or None
        Pictures or texts, one per row, or by modality.
    labels : tuple (L_query, L_database, classes) or None
        Label indicators of all rows, and the classes of their columns.
    search : Search
        One of the searches; says how many rows there are where labels are unknown.
    target_names : sequence or None
        Names of the classes.
    """

    L_query: Any
    L_database: Any
    class_names: Any

    def __init__(self, queries, database, labels, search, target_names):
        self.L_query, self.L_database, classes = labels or (None, None, None)
        self.n_queries, self.n_rows = (
            len(rows) if L is None else L.shape[0]
            for L, rows in [
                (self.L_query, search.query_rows),
                (self.L_database, search.database_rows),
            ]
        )
        self.class_names = classes if target_names is None else target_names
        n_classes = 0 if labels is None else self.L_query.shape[1]
        if target_names is not None and len(target_names) != n_classes:
            raise ValueError(f"target_names has {len(target_names)} names for {n_classes} classes.")
        queries, database = (
            items.blocks if isinstance(items, MultimodalData) else items
            for items in (queries, database)
        )
        for name, items, n in [
            ("show_queries", queries, self.n_queries),
            ("show_database", database, self.n_rows),
        ]:
            for part in items.values() if isinstance(items, Mapping) else [items]:
                if part is not None and len(part) != n:
                    raise ValueError(
                        f"{name} has {len(part)} items for {n} rows: pass one per row."
                    )
        self.queries, self.database = queries, database

    def query(self, row, modality):
        """Items of one query: what is given for its modality."""
        items = self.queries
        if isinstance(items, Mapping) and modality is not None:
            items = {modality: items[modality]} if modality in items else None
        return self._items(items, row)

    def hit(self, row):
        """Items of one row of the database."""
        return self._items(self.database, row)

    def query_labels(self, row):
        """Names of the classes of one query."""
        return self._labels(self.L_query, row)

    def hit_labels(self, row):
        """Names of the classes of one row of the database."""
        return self._labels(self.L_database, row)

    @staticmethod
    def _items(items, row):
        parts = list(items.values()) if isinstance(items, Mapping) else [items]
        return [_at(column, row) for part in parts for column in _columns(part)]

    def _labels(self, L, row):
        if L is None:
            return ""
        start, stop = L.indptr[row], L.indptr[row + 1]
        return ", ".join(str(self.class_names[j]) for j in L.indices[start:stop]) or "no label"


def _columns(part):
    """Columns of a DataFrame, or what stands for the rows alone."""
    if part is None:
        return []
    return [part[name] for name in part.columns] if hasattr(part, "columns") else [part]


def _at(items, row):
    return items.iloc[row] if hasattr(items, "iloc") else items[row]
