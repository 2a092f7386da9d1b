"""A report of retrieval: figures, curves, and sample queries with their hits."""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn.utils import check_random_state

from ..data import MultimodalData, encode_labels, is_indicator
from ..hamming import check_codes
from ..metrics import (
    PrecisionAtKDisplay,
    PrecisionRecallByRadiusDisplay,
    make_retrieval_scorer,
)
from ..metrics.core import (
    CODES_AND_LABELS,
    NO_RELEVANT,
    TIES,
    find_hasher,
    per_query_values,
    precision_by_k,
    precision_recall,
    query_mean,
    relevance_labels,
    retrieval_of,
)
from ..utils._sklearn import Interval, StrOptions, validate_params
from ._bits import bit_report
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
        Over the whole ranking; NaN if no row is relevant.
    hits : ndarray of shape (n_hits,)
        Rows of the database, nearest first, equal distances by row.
    distances : ndarray of shape (n_hits,)
        Their Hamming distances.
    relevant : ndarray of shape (n_hits,), bool
        Whether they share a label with the query.
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
    displays : tuple
        Undrawn displays of precision and recall by radius, and of precision@N.
    samples : list of SampleQuery
        Sample queries.
    bits : BitReport
        Of the codes of the queries.
    """

    name: str
    query: str | None
    metrics: dict
    displays: tuple
    samples: list
    bits: object


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

    def __init__(self, directions, summary, title, show, database_bits=None):
        self.directions = directions
        self.summary = summary
        self.title = title
        self.show = show
        self.database_bits = database_bits

    @property
    def metrics(self):
        """Figures of every direction."""
        return {direction.name: direction.metrics for direction in self.directions}

    @property
    def samples(self):
        """Sample queries of every direction."""
        return {direction.name: direction.samples for direction in self.directions}

    @classmethod
    @validate_params(_OPTIONS, prefer_skip_nested_validation=True)
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        query=None,
        database=None,
        gallery="learned",
        k=10,
        ties="expected",
        no_relevant="skip",
        show_queries=None,
        show_database=None,
        target_names=None,
        n_samples=5,
        which="random",
        n_hits=8,
        title="Retrieval report",
        random_state=0,
    ):
        """Report on a fitted hasher, or on a Pipeline that ends in one.

        Parameters
        ----------
        estimator : object
            Fitted hasher, or Pipeline that ends in one.
        X : {array-like, sparse, DataFrame, MultimodalData} of shape (n, n_features)
            Queries.
        y : array-like of shape (n,) or {array-like, sparse} of shape (n, c)
            Their labels.
        query, database, gallery : str, str, str or tuple
            Who asks and what is ranked, as in
            :func:`~sklearn_cmh.metrics.make_retrieval_scorer`. With `query` None, every
            modality asks in turn.
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
            row; or {modality: such a sequence}, or a MultimodalData. A query is shown in
            its own modality alone, a hit in all that are given. With
            ``gallery="validation"``, `show_database` is `show_queries`.
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
        hasher, _ = find_hasher(estimator)
        scorer = make_retrieval_scorer(query=query, database=database, gallery=gallery)
        retrievals = {
            f"{asks} → {answers or 'learned codes'}": (asks, data, exclude_self)
            for (asks, answers), data, exclude_self in scorer.retrievals(estimator, X, y)
        }
        classes = hasher._encode_labels(y)[1]
        own = isinstance(gallery, str) and gallery == "validation"
        if own:
            ranked = "the queries' own rows, each left out of its ranking"
            show_database = show_queries if show_database is None else show_database
        elif isinstance(gallery, str):
            ranked = "learned codes of the training rows"
            classes = np.union1d(classes, hasher.classes_)
        else:
            ranked = "encoded rows"
            classes = np.union1d(classes, hasher._encode_labels(gallery[1])[1])
        return cls._from_retrievals(
            retrievals,
            classes,
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
        )

    @classmethod
    @validate_params({**CODES_AND_LABELS, **_OPTIONS}, prefer_skip_nested_validation=True)
    def from_predictions(
        cls,
        query_codes,
        database_codes,
        query_labels,
        database_labels,
        *,
        k=10,
        ties="expected",
        no_relevant="skip",
        show_queries=None,
        show_database=None,
        target_names=None,
        n_samples=5,
        which="random",
        n_hits=8,
        title="Retrieval report",
        random_state=0,
    ):
        """Report on given codes.

        Parameters
        ----------
        query_codes, database_codes : array-like of shape (n_queries, n_bits), (n, n_bits)
            Codes of two values.
        query_labels, database_labels : array-like of shape (n_queries,), (n,) or \
                {array-like, sparse} of shape (n_queries, c), (n, c)
            Class labels, or label indicators over the same classes.
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
        labels = relevance_labels(query_labels, database_labels)
        classes = encode_labels(query_labels)[1]
        if not is_indicator(query_labels):
            classes = np.union1d(classes, encode_labels(database_labels)[1])
        codes = check_codes(query_codes), check_codes(database_codes)
        return cls._from_retrievals(
            {"retrieval": (None, (*codes, *labels), False)},
            classes,
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
    def _from_retrievals(
        cls,
        retrievals,
        classes,
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
    ):
        _, (query_codes, database_codes, L_query, L_database), _ = next(iter(retrievals.values()))
        names = classes if target_names is None else target_names
        if len(names) != L_query.shape[1]:
            raise ValueError(f"target_names has {len(names)} names for {L_query.shape[1]} classes.")
        show = _Show(show_queries, show_database, L_query, L_database, names)
        drawn = _sample_rows(n_samples, L_query.shape[0], random_state)
        directions = []
        for name, (query, data, exclude_self) in retrievals.items():
            metrics, precisions = _figures(data, exclude_self, k, ties, no_relevant)
            worst = which == "worst" and not np.ndim(n_samples)
            rows = np.argsort(precisions)[:n_samples] if worst else drawn
            directions.append(
                Direction(
                    name,
                    query,
                    metrics,
                    _displays(name, data, exclude_self, ties, no_relevant),
                    [_sample(i, data, exclude_self, precisions[i], n_hits) for i in rows],
                    bit_report(data[0]),
                )
            )
        n_queries, (n, n_bits) = len(query_codes), database_codes.shape
        plural = "query" if n_queries == 1 else "queries"
        summary = f"{subject}{n_queries:,} {plural}, {n:,} rows, {n_bits} bits"
        same = all(data[1] is database_codes for _, data, _ in retrievals.values())
        bits = bit_report(database_codes) if same else None
        return cls(directions, summary, title, show, bits)

    def to_frame(self):
        """Figures of every direction.

        Returns
        -------
        frame : pandas DataFrame
            A row per direction, a column per metric.
        """
        import pandas as pd

        return pd.DataFrame.from_dict(self.metrics, orient="index")

    def save(self, path):
        """Write the report as one HTML file that needs neither network nor other files.

        Parameters
        ----------
        path : str or path-like
            File to write.
        """
        Path(path).write_text(render_document(self), encoding="utf-8")

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
        return "\n".join(lines)


def _sample_rows(n_samples, n_queries, random_state):
    if np.ndim(n_samples):
        rows = np.asarray(n_samples)
        if rows.dtype.kind not in "iu" or not ((rows >= 0) & (rows < n_queries)).all():
            raise ValueError(
                f"n_samples must be a number of queries, or rows from 0 to {n_queries - 1}; got "
                f"{n_samples!r}."
            )
        return rows
    return np.sort(check_random_state(random_state).permutation(n_queries)[:n_samples])


def _figures(data, exclude_self, k, ties, no_relevant):
    """Means over queries by name of the metric, and every query's average precision."""
    names = {
        "mAP": "map",
        f"P@{k}": "precision_at_k",
        f"R@{k}": "recall_at_k",
        f"NDCG@{k}": "ndcg_at_k",
        "P(r<=2)": "lookup_precision",
    }
    metrics = {}
    for name, metric in names.items():
        at = None if metric in ("map", "lookup_precision") else k
        values, has_relevant = per_query_values(
            metric, *data, k=at, ties=ties, exclude_self=exclude_self
        )
        metrics[name] = query_mean(values, has_relevant, no_relevant)
        if metric == "map":
            precisions = np.where(has_relevant, values, np.nan)
    return metrics, precisions


def _displays(name, data, exclude_self, ties, no_relevant):
    retrieval = retrieval_of(*data, exclude_self=exclude_self)
    precision, recall = precision_recall(retrieval, no_relevant)
    radii = np.arange(len(precision))
    return (
        PrecisionRecallByRadiusDisplay(precision, recall, radii, name=name),
        PrecisionAtKDisplay(*precision_by_k(retrieval, None, ties, no_relevant), name=name),
    )


def _sample(i, data, exclude_self, average_precision, n_hits):
    """First hits of query `i`."""
    query_codes, database_codes, L_query, L_database = data
    distances = ((query_codes[i] > 0) != (database_codes > 0)).sum(axis=1)
    order = np.argsort(distances, kind="stable")
    if exclude_self:
        order = order[order != i]
    hits = order[:n_hits]
    shared = L_database[hits] @ L_query[[i]].T
    relevant = shared.toarray().ravel() > 0
    return SampleQuery(int(i), float(average_precision), hits, distances[hits], relevant)


class _Show:
    """What stands for the rows in a report.

    Parameters
    ----------
    queries, database : sequence, dict, MultimodalData or None
        Pictures or texts, one per row, or by modality.
    L_query, L_database : csr_array of shape (n_queries, c), (n, c)
        Label indicators.
    class_names : sequence of length c
        Names of the classes.
    """

    def __init__(self, queries, database, L_query, L_database, class_names):
        queries, database = (
            items.blocks if isinstance(items, MultimodalData) else items
            for items in (queries, database)
        )
        for name, items, L in [
            ("show_queries", queries, L_query),
            ("show_database", database, L_database),
        ]:
            for part in items.values() if isinstance(items, Mapping) else [items]:
                if part is not None and len(part) != L.shape[0]:
                    raise ValueError(
                        f"{name} has {len(part)} items for {L.shape[0]} rows: pass one per row."
                    )
        self.queries, self.database = queries, database
        self.L_query, self.L_database = L_query, L_database
        self.class_names = class_names

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
        return [_at(part, row) for part in parts if part is not None]

    def _labels(self, L, row):
        start, stop = L.indptr[row], L.indptr[row + 1]
        return ", ".join(str(self.class_names[j]) for j in L.indices[start:stop]) or "no label"


def _at(items, row):
    return items.iloc[row] if hasattr(items, "iloc") else items[row]
