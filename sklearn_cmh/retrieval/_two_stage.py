"""TwoStageRanker: candidates by Hamming distance, ordered by something finer than bits."""

from collections.abc import Callable, Iterator
from numbers import Real
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils import assert_all_finite, check_array, gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data

from ..data import MultimodalData, check_range
from ..hamming import pack_codes
from ..metrics.core import per_query, query_mean
from ..utils._sklearn import Interval, StrOptions
from ..utils._typing import ArrayLike, Floats, Labels, MatrixLike, NDArray
from ._base import BaseRanker, Neighbors, append_chunk
from ._ranker import HammingRanker
from ._stages import asymmetric_distances, take_rows, unpack_signs, vector_distances

__all__ = ["TwoStageRanker"]

# Numbers of candidates' codes or vectors held at once: they stay in the cache.
ELEMENTS = 2**19
# Rows of vectors checked or converted at once.
BLOCK = 2**16


class Queries(NamedTuple):
    """Queries of both stages.

    Attributes
    ----------
    n : int
        How many.
    codes : ndarray or None
        As the first stage takes them; None is every row of the database.
    values : callable
        Takes a slice of queries, and returns their projections or vectors.
    """

    n: int
    codes: Any
    values: Callable[[slice], Floats]


class TwoStageRanker(BaseRanker):
    """Candidates by Hamming distance, ordered by projections or by vectors.

    The first stage finds the ``oversampling * n_neighbors`` nearest codes, exactly. The second
    orders them by a finer distance: 64 bits take only 65 distances, so that most rows of a
    ranking are tied.

    Parameters
    ----------
    ranker : HammingRanker, default=None
        The first stage; its `n_bits`, `packed`, `binarize`, `backend` and `n_jobs` count. None
        is ``HammingRanker()``.
    n_neighbors : int, default=5
        Default number of rows for `kneighbors`.
    metric : {"asymmetric", "cosine", "dot", "euclidean"}, default="asymmetric"
        The second stage. "asymmetric" compares the query's real-valued projections with the
        stored codes, and stores nothing else. The others compare vectors that are stored beside
        the codes.
    oversampling : float, default=4
        Candidates per row asked for. None: every row is a candidate, so that the second stage
        alone decides; slow, for evaluation.
    dtype : {"float16", "float32", "float64"}, default=None
        Type in which vectors are stored. None keeps them as they are, without a copy.

    Attributes
    ----------
    ranker_ : HammingRanker
        The fitted first stage.
    n_samples_fit_ : int
        Rows in the database.
    n_bits_ : int
        Length of the codes.
    labels_ : csr_array of shape (n_samples_fit_, c) or None
        Label indicator of the database, if it was given with labels.
    classes_ : ndarray of shape (c,) or None
        Their classes.
    n_features_in_ : int
        Columns of the rows as given at fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if all are strings.

    See Also
    --------
    HammingRanker : The first stage alone.

    Notes
    -----
    **What rows are.** With metric="asymmetric": codes or projections at fit, of which the signs
    are stored, and projections as queries, from a hasher's ``project``. With vectors, either
    ``MultimodalData(codes=..., vectors=...)``, which leaves both as they are, memory-mapped ones
    too; or one table whose first `n_bits` columns, a parameter of the ranker, are codes and
    whose others are vectors, as a FeatureUnion of a hasher and a space makes it.

    **Distances.** Of projections p to a code b: the sum of ``|p|`` over the bits in which b has
    the other sign, which orders rows as -p'b does and is the Hamming distance where all
    ``|p|`` are 1. Of vectors: one minus the cosine, minus the product, or Euclidean, computed
    in float32, or in float64 where one side is. Equal distances come in the order of the
    database; rows with equal codes, or vectors, have equal distances to the last digit.

    Examples
    --------
    >>> from sklearn_cmh import MultimodalData, TwoStageRanker
    >>> codes = [[1, 1], [1, 1], [-1, 1], [-1, -1]]
    >>> TwoStageRanker(n_neighbors=3).fit(codes).kneighbors([[0.2, 0.9]])
    (array([[0. , 0. , 0.2]]), array([[0, 1, 2]]))
    >>> vectors = [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
    >>> ranker = TwoStageRanker(n_neighbors=2, metric="cosine", oversampling=2)
    >>> ranker = ranker.fit(MultimodalData(codes=codes, vectors=vectors))
    >>> queries = MultimodalData(codes=[[1, 1]], vectors=[[2.0, 0.0]])
    >>> ranker.kneighbors(queries)
    (array([[0., 0.]]), array([[1, 2]]))
    """

    _parameter_constraints: dict = {
        **BaseRanker._parameter_constraints,
        "ranker": [HammingRanker, None],
        "metric": [StrOptions({"asymmetric", "cosine", "dot", "euclidean"})],
        "oversampling": [Interval(Real, 1, None, closed="left"), None],
        "dtype": [StrOptions({"float16", "float32", "float64"}), None],
    }

    def __init__(
        self,
        ranker: HammingRanker | None = None,
        *,
        n_neighbors: int = 5,
        metric: Literal["asymmetric", "cosine", "dot", "euclidean"] = "asymmetric",
        oversampling: float | None = 4,
        dtype: Literal["float16", "float32", "float64"] | None = None,
    ) -> None:
        self.ranker = ranker
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.oversampling = oversampling
        self.dtype = dtype

    _vectors: Any

    # --- The database -------------------------------------------------------------------------

    def _store(self, X: MatrixLike, y: Labels | None, first: bool) -> Self:
        given = HammingRanker() if self.ranker is None else self.ranker
        if self.metric == "asymmetric":
            dtype = None if given.packed else "numeric"
            X = validate_data(self, X, reset=first, dtype=dtype)
            codes, vectors = self._packed(X, given), None
        else:
            codes, vectors = self._split(X, given, reset=first)
            vectors = self._as_stored(vectors)
        if first:
            ranker = clone(given)
            if self.metric == "asymmetric" and not given.packed:
                # The signs of projections are packed here: to the ranker they are no codes.
                ranker.set_params(packed=True, n_bits=X.shape[1])
            self._vectors = None if vectors is None else [vectors]
            self.ranker_ = ranker.fit(codes, y)
        else:
            ranker = clone(self.ranker_)
            vars(ranker).update(vars(self.ranker_))
            self.ranker_ = ranker.partial_fit(codes, y)
            if vectors is not None:
                self._vectors = append_chunk(self._vectors, vectors)
        self.n_bits_, self.n_samples_fit_ = ranker.n_bits_, ranker.n_samples_fit_
        self._label_chunks, self.classes_ = ranker._label_chunks, ranker.classes_
        self._indicator = ranker._indicator
        return self

    def _packed(self, X: NDArray[Any], ranker: HammingRanker) -> NDArray[Any]:
        """Packed codes of a database without vectors."""
        if ranker.packed:
            return X
        ranker._count_bits(X)  # Refuses another length than its n_bits.
        return pack_codes(X, binarize=ranker.binarize)

    def _split(self, X: MatrixLike, ranker: HammingRanker, reset: bool) -> tuple[Any, NDArray[Any]]:
        """Codes and vectors of rows that have both."""
        if isinstance(X, MultimodalData):
            if sorted(X.names) != ["codes", "vectors"]:
                raise ValueError(
                    "X must hold the blocks 'codes' and 'vectors', as in "
                    f"MultimodalData(codes=codes, vectors=vectors); it holds {X.names}."
                )
            if reset:
                self.n_features_in_ = X.shape[1]
                if hasattr(self, "feature_names_in_"):
                    del self.feature_names_in_
            codes, vectors = X["codes"], X["vectors"]
        else:
            X = validate_data(self, X, reset=reset, dtype="numeric")
            n_bits = None if ranker.packed else ranker.n_bits
            if n_bits is None or n_bits >= X.shape[1]:
                raise ValueError(
                    f"metric={self.metric!r} needs vectors beside the codes, but X is one table "
                    f"of {X.shape[1]} columns, ranker has n_bits={ranker.n_bits} and "
                    f"packed={ranker.packed}: pass MultimodalData(codes=codes, "
                    "vectors=vectors), or say with ranker=HammingRanker(n_bits=...) how many "
                    "columns of a table are codes; the others are vectors."
                )
            codes, vectors = X[:, :n_bits], X[:, n_bits:]
        vectors = check_array(
            vectors,
            dtype=[np.float64, np.float32, np.float16],
            ensure_all_finite=False,
            input_name="vectors",
        )
        if not reset and vectors.shape[1] != self._vectors[0].shape[1]:
            raise ValueError(
                f"vectors have {vectors.shape[1]} columns, but those of the database have "
                f"{self._vectors[0].shape[1]}: both must come from the same space."
            )
        return codes, vectors

    def _as_stored(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Vectors in the type `dtype`, all finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self.dtype is not None:
                vectors = vectors.astype(self.dtype, copy=False)
            for rows in gen_batches(len(vectors), BLOCK):
                assert_all_finite(vectors[rows], input_name="vectors")
                check_vectors(vectors[rows])
        return vectors

    # --- Queries ------------------------------------------------------------------------------

    def _queries(self, X: MatrixLike | None) -> Queries:
        check_is_fitted(self)
        if X is None:
            return Queries(self.n_samples_fit_, None, self._stored_values)
        if self.metric != "asymmetric":
            codes, vectors = self._split(X, self.ranker_, reset=False)
            assert_all_finite(vectors, input_name="vectors")
            check_vectors(vectors)
            return Queries(len(vectors), codes, vectors.__getitem__)
        floats = [np.float64, np.float32]
        if self.n_features_in_ == self.n_bits_:
            X = validate_data(self, X, reset=False, dtype=floats)
        else:
            X = check_array(X, dtype=floats)
        if X.shape[1] != self.n_bits_:
            raise ValueError(
                f"Queries have {X.shape[1]} columns, but codes have {self.n_bits_} bits: pass "
                "the real-valued projections of the queries, not packed."
            )
        values = X - X.dtype.type(self.ranker_.binarize)
        return Queries(len(X), pack_codes(values), values.__getitem__)

    def _stored_values(self, rows: slice) -> Floats:
        """Values of the database's own rows, as queries."""
        numbers = np.arange(rows.start, rows.stop)
        if self._vectors is not None:
            return take_rows(self._vectors, numbers)
        return unpack_signs(take_rows(self.ranker_._chunks, numbers), self.n_bits_)

    def kneighbors(
        self,
        X: MatrixLike | None = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
    ) -> Neighbors | NDArray[np.intp]:
        """Find the nearest of the candidates of every query.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_bits) or MultimodalData or array-like of \
                shape (n_queries, n_bits + d), default=None
            Projections; or codes and vectors, in one of the two forms. None: every row of the
            database, which then is not its own neighbour; without vectors, its code is
            all that is known of it.
        n_neighbors : int, default=None
            Number of rows; None is the parameter `n_neighbors`.
        return_distance : bool, default=True
            Whether to return the distances, too.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors)
            Distances of the second stage, rising; only if `return_distance` is True.
        indices : ndarray of shape (n_queries, n_neighbors)
            Database rows, equal distances in their order.
        """
        queries = self._queries(X)
        own = X is None
        k = self._check_n_neighbors(n_neighbors, own)
        n_candidates = self._n_candidates(k, own)
        found = None
        if self.oversampling is not None:
            found = self.ranker_.kneighbors(queries.codes, n_candidates, return_distance=False)
        blocks = []
        for rows in gen_batches(queries.n, self._queries_at_once(n_candidates)):
            candidates = self._all_rows(rows, own) if found is None else found[rows]
            distances, indices = self._order(queries.values(rows), candidates)
            blocks.append((distances[:, :k], indices[:, :k]))
        distances, indices = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        return (distances, indices) if return_distance else indices

    def _n_candidates(self, k: int, own: bool) -> int:
        available = self.n_samples_fit_ - own
        if self.oversampling is None:
            return available
        return min(available, int(np.ceil(self.oversampling * k)))

    def _all_rows(self, rows: slice, own: bool) -> NDArray[np.intp]:
        """Every row of the database as a candidate of some queries, but for their own ones."""
        numbers = np.arange(self.n_samples_fit_ - own)[None]
        queries = np.arange(rows.start, rows.stop)[:, None]
        return numbers + (own & (numbers >= queries))

    def _width(self) -> int:
        """Numbers that a candidate brings along."""
        chunks = self.ranker_._chunks if self._vectors is None else self._vectors
        return chunks[0].shape[1]

    def _queries_at_once(self, n_candidates: int) -> int:
        # Without vectors, there is a table of 256 entries for every byte of a code.
        n_rows = n_candidates + (256 if self._vectors is None else 0)
        return max(1, ELEMENTS // (n_rows * self._width()))

    def _order(self, values: Floats, candidates: NDArray[np.intp]) -> Neighbors:
        """Candidates by the second stage's distance, equal ones by row."""
        candidates = np.sort(candidates, axis=1)
        at_once = max(1, ELEMENTS // (len(values) * self._width()))
        parts = [
            self._distances(values, candidates[:, part])
            for part in gen_batches(candidates.shape[1], at_once)
        ]
        distances = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        order = np.argsort(distances, axis=1, kind="stable")
        return (
            np.take_along_axis(distances, order, axis=1),
            np.take_along_axis(candidates, order, axis=1),
        )

    def _distances(self, values: Floats, candidates: NDArray[np.intp]) -> Floats:
        if self._vectors is None:
            return asymmetric_distances(values, take_rows(self.ranker_._chunks, candidates))
        return vector_distances(values, take_rows(self._vectors, candidates), self.metric)

    # --- Whole rankings -----------------------------------------------------------------------

    def rank(self, X: MatrixLike | None = None) -> Iterator[Neighbors]:
        """Rank the whole database for every query, some queries at a time.

        The ``oversampling * n_neighbors`` candidates come first, in the order of the second
        stage, then all other rows by Hamming distance.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_bits) or MultimodalData or array-like of \
                shape (n_queries, n_bits + d), default=None
            Queries, as `kneighbors` takes them; None is every row of the database without itself.

        Yields
        ------
        distances : ndarray of shape (n_block, n_ranked)
            Distances of the second stage, rising, of the next queries in order; infinite for
            rows that were no candidates.
        indices : ndarray of shape (n_block, n_ranked)
            Database rows.

        Examples
        --------
        >>> from sklearn_cmh import TwoStageRanker
        >>> ranker = TwoStageRanker(oversampling=None).fit([[1, 1], [-1, -1], [1, -1]])
        >>> for distances, indices in ranker.rank([[0.3, 0.1], [-0.1, 0.2]]):
        ...     print(indices)
        [[0 2 1]
         [0 1 2]]
        """
        for distances, indices, _ in self._rank(self._queries(X), own=X is None):
            yield distances, indices

    def _rank(
        self, queries: Queries, own: bool
    ) -> Iterator[tuple[Floats, NDArray[np.intp], NDArray[np.bool_]]]:
        """Distances, rows, and where in the ranking a run of tied rows begins."""
        n_candidates = self._n_candidates(self.n_neighbors, own)
        start = 0
        for hamming, ranked in self.ranker_.rank(queries.codes):
            rows = slice(start, start + len(ranked))
            start = rows.stop
            distances, indices = self._order(queries.values(rows), ranked[:, :n_candidates])
            padding = [(0, 0), (0, ranked.shape[1] - n_candidates)]
            distances = np.pad(distances, padding, constant_values=np.inf)
            ranked[:, :n_candidates] = indices
            begins = np.ones(ranked.shape, dtype=bool)
            begins[:, 1:] = distances[:, 1:] != distances[:, :-1]
            begins[:, n_candidates + 1 :] = (
                hamming[:, n_candidates + 1 :] != hamming[:, n_candidates:-1]
            )
            yield distances, ranked, begins

    def score(
        self,
        X: MatrixLike | None,
        y: Labels | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Mean average precision of the queries against the labelled database.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_bits) or MultimodalData or array-like of \
                shape (n_queries, n_bits + d), or None
            Queries, as `kneighbors` takes them. None: every row of the database, which is left
            out of its own ranking.
        y : array-like of shape (n_queries,) or {array-like, sparse} of shape (n_queries, c)
            Their labels, in the form of the database's. They are needed: None is refused.
        sample_weight : array-like of shape (n_queries,), default=None
            Weights of the queries.

        Returns
        -------
        score : float
            mAP of the ranking that `rank` gives, ties averaged over; queries without a relevant
            row are left out. NaN, with a warning, if there is no other.
        """
        queries = self._queries(X)
        L, L_database, sample_weight = self._query_labels(queries.n, y, sample_weight)
        values = np.zeros(queries.n)
        has_relevant = np.zeros(queries.n, dtype=bool)
        i = 0
        for _, ranked, begins in self._rank(queries, own=X is None):
            shared = (L[i : i + len(ranked)] @ L_database.T).toarray() > 0
            relevant = np.take_along_axis(shared, ranked, axis=1)
            for query, starts in zip(relevant, begins, strict=True):
                values[i] = per_query.average_precision_of_runs(query, np.flatnonzero(starts))
                has_relevant[i] = query.any()
                i += 1
        return query_mean(values, has_relevant, "skip", sample_weight)


def check_vectors(vectors):
    """Refuse vectors too large to compute with; half precision is computed with in single."""
    if vectors.dtype == np.float16:
        vectors = vectors.astype(np.float32)
    check_range(vectors, "vectors", "rescale them all by one factor")
