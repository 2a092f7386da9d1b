"""Any input gives a right answer or a clear error; the long run is `nox -s fuzz`.

Every public estimator is tried, as `all_estimators` finds it: a new method joins by being
public; a baseline, in the long form. A right answer keeps the invariants of every hasher; a clear
error is raised on purpose, for one of the REASONS.
"""

import linecache
import pickle
import re
import traceback
import warnings
from importlib.util import find_spec
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import sklearn
import strategies as own
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone

import sklearn_cmh
from sklearn_cmh import HammingRanker, MultimodalData
from sklearn_cmh.data import encode_labels
from sklearn_cmh.metrics import mean_average_precision
from sklearn_cmh.utils.discovery import all_estimators

pytest.importorskip("pandas")
pytest.importorskip("polars")
pytest.importorskip("pyarrow")

WITHOUT_TORCH = [] if find_spec("torch") else all_estimators(kind="deep")
# Those to be measured against are tried in the long form.
LONG_ONLY = [] if own.LONG else all_estimators(kind="baseline")
HASHERS = dict(
    item for item in all_estimators(kind="hasher") if item not in [*WITHOUT_TORCH, *LONG_ONLY]
)
SHALLOW = dict(all_estimators(kind="shallow"))
PAIRED = dict(all_estimators(kind="paired"))
ONE_SPACE = ["CentredSign"]  # its modalities have columns that mean the same
# Trained networks are the same on one machine only, and cost seconds.
DEEP = dict(all_estimators(kind="deep"))

# Why an estimator may refuse what it is given here. Whatever else one says is a fault.
REASONS = re.compile(
    "|".join(
        [
            r"Found 1 row\(s\) in X, but .* needs at least two",
            r"Found array with 1 sample\(s\)",
            "contains (NaN|infinity)",
            "Sparse data was passed for X, but dense data is required",
            "requires y to be passed",
            "y labels no row at all",
            "y holds one class only",
            "pairs need two",
            r"takes 2 modalities",
            "too near the end of",
            r"\d+ rows of y have no label, and \w+ has no use for them",
            "nothing in common",
            "are the same in all rows",
            "every feature is the same for nearly all rows",
            "all modalities need the same number of columns",
            r"sets \d+ of \d+ labelled rows aside; at least two must remain",
            "No two of \\d+ training rows share a label",
            r"n_bits=\d+ is more than the \d+ coordinates",
            "The loss was not finite in epoch",
            "beyond the single precision in which networks compute",
            r"A pool of n_restarts \* pool_bits = \d+ bits is too small",
        ]
    )
)

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def fuzz(n):
    """Settings of a test of n examples in the default run."""
    return settings(deadline=None, max_examples=own.examples(n), suppress_health_check=SLOW)


# --- Clear errors --------------------------------------------------------------------------------

HOMES = tuple(str(Path(package.__file__).parent) for package in (sklearn, sklearn_cmh))


def raised_on_purpose(error):
    """Whether a `raise` of the package or of scikit-learn says what is wrong."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    line = linecache.getline(last.filename, last.lineno)
    return last.filename.startswith(HOMES) and line.strip().startswith("raise ")


def random_state():
    """Of NumPy's global generator, which nothing here may draw from."""
    return np.random.get_state()[1].copy()  # noqa: NPY002


class Attempt:
    """A block that may end in a clear error, and may warn users, but nobody else."""

    def __enter__(self):
        self.error = None
        self._caught = warnings.catch_warnings(record=True)
        self._warned = self._caught.__enter__()
        warnings.simplefilter("always")
        self._random = random_state()
        return self

    def __exit__(self, kind, error, trace):
        self._caught.__exit__(None, None, None)
        for warning in self._warned:
            assert issubclass(warning.category, UserWarning), warning
        assert_array_equal(random_state(), self._random)
        # A loss that is not finite, of a learning rate of 1e10, say, is a FloatingPointError.
        expected = (ValueError, TypeError, FloatingPointError)
        if isinstance(error, expected) and raised_on_purpose(error):
            assert not isinstance(error, np.linalg.LinAlgError)
            assert REASONS.search(str(error)), f"a reason that is not listed: {error}"
            self.error = error
            return True
        return False


# --- Hashers -------------------------------------------------------------------------------------


@st.composite
def fits(draw, name):
    """A class of hashers, its parameters, rows, and their labels."""
    cls = HASHERS[name]
    n = draw(own.numbers_of_rows)
    most_bits = min(300, 3000 // n)
    chosen = draw(own.parameters(cls, most_bits))
    if "estimator" in signature(cls).parameters:
        inner = draw(st.sampled_from([None, *sorted(SHALLOW)]))
        if inner is not None:
            chosen["estimator"] = SHALLOW[inner](**draw(own.parameters(SHALLOW[inner], most_bits)))
    if name in PAIRED or draw(st.integers(0, 3)):
        d = draw(st.integers(1, 6)) if name in ONE_SPACE else None
        X, chosen["modalities"] = draw(own.multimodal(n, least=1 + (name in PAIRED), d=d)), None
    else:
        X, chosen["modalities"] = draw(own.tables(n))
    y = draw(st.one_of(own.labels(n), st.none()) if draw(st.booleans()) else own.labels(n))
    return cls, chosen, X, y


def assert_same_state(before, after):
    for first, second in zip(before, after, strict=True):
        assert_array_equal(first, second)


def check_hasher(hasher, X, n):
    """What every fitted hasher keeps."""
    n_bits = hasher.n_bits
    assert hasher.codes_.shape == (n, n_bits) and hasher.codes_.dtype == np.int8
    assert set(np.unique(hasher.codes_)) <= {-1, 1}
    codes = hasher.transform(X)
    assert codes.shape == (n, n_bits) and codes.dtype == np.int8
    rows = sorted({0, n // 2, n - 1})
    for modality in [None, *hasher.modality_names_]:
        Z = hasher.project(X, modality=modality)
        together = hasher.encode(X, modality=modality)
        assert Z.shape == (n, n_bits) and np.isfinite(Z).all() and Z.dtype.kind == "f"
        assert_array_equal(together, np.where(Z >= 0, 1, -1))
        for i in rows:
            assert_array_equal(hasher.encode(own.take(X, [i]), modality=modality)[0], together[i])
    assert_array_equal(hasher.encode(X), codes)
    with config_context(working_memory=1e-6):
        assert_array_equal(hasher.encode(own.take(X, slice(0, 9))), codes[:9])
    assert_array_equal(pickle.loads(pickle.dumps(hasher)).encode(X), codes)


@pytest.mark.parametrize("name", HASHERS)
@fuzz(2)
@given(data=st.data())
def test_hashers_answer_or_explain(name, data):
    cls, chosen, X, y = data.draw(fits(name))
    hasher = cls(**chosen)
    before = own.contents(X, y)
    with Attempt() as attempt:
        hasher.fit(X, y)
        check_hasher(hasher, X, own.n_rows(X))
        if name not in DEEP:
            again = clone(hasher).fit(own.plain(X), y)
            assert_array_equal(again.codes_, hasher.codes_)
            assert_array_equal(again.encode(own.plain(X)), hasher.encode(X))
    assert_same_state(before, own.contents(X, y))
    if attempt.error is not None:
        assert not hasattr(hasher, "codes_")


# --- Estimators that are no hashers --------------------------------------------------------------

OTHERS = {name: cls for name, cls in all_estimators(kind="other") if not hasattr(cls, "kneighbors")}


@pytest.mark.parametrize("name", OTHERS)
@fuzz(3)
@given(data=st.data())
def test_others_answer_or_explain(name, data):
    cls = OTHERS[name]
    n = data.draw(st.integers(2, 30))
    estimator = cls(**data.draw(own.parameters(cls)))
    several = "modalities" in signature(cls).parameters
    X = data.draw(own.multimodal(n, least=2) if several else own.blocks(n))
    y = None if hasattr(cls, "transform") else data.draw(own.values(n))
    before = own.contents(X, y)
    with Attempt():
        estimator.fit(X, y)
        answer = getattr(estimator, "transform" if y is None else "predict")
        together = answer(X)
        assert len(together) == n and np.isfinite(together).all()
        for i in sorted({0, n // 2, n - 1}):
            alone = answer(own.take(X, [i]))[0]
            if y is None:
                assert_array_equal(alone, together[i])
            else:
                assert_allclose(alone, together[i], rtol=1e-6)
        copy = pickle.loads(pickle.dumps(estimator))
        assert_array_equal(getattr(copy, answer.__name__)(X), together)
        again = clone(estimator).fit(X, y)
        assert_array_equal(getattr(again, answer.__name__)(X), together)
    assert_same_state(before, own.contents(X, y))


# --- Rankers -------------------------------------------------------------------------------------


def in_form(bits, form):
    """Codes as users have them."""
    if form == "packed":
        return np.packbits(bits, axis=1)
    if form == "bool":
        return bits.astype(bool)
    if form in ("uint8", "float16"):
        return bits.astype(form)
    codes = np.where(bits, 1, -1).astype("int8" if form == "frame" else form)
    return own.framed(codes, "pandas") if form == "frame" else codes


FORMS = ["int8", "packed", "bool", "uint8", "float16", "float32", "int64", "frame"]
BACKENDS = ["auto", "numpy", *[name for name in ("numba", "faiss") if find_spec(name)]]


def nearest(distances):
    """Distances in ranking order, and their rows: equal ones by row."""
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, order, axis=1), order


class Database(RuleBasedStateMachine):
    """A ranker that is filled, asked and saved in any order, beside the plain bits."""

    @initialize(
        n_bits=st.one_of(st.integers(1, 70), st.sampled_from([128, 256, 300])),
        form=st.sampled_from(FORMS),
        backend=st.sampled_from(BACKENDS),
        multi_index=st.booleans(),
        labelled=st.booleans(),
    )
    def start(self, n_bits, form, backend, multi_index, labelled):
        self.form, self.labelled = form, labelled
        self.bits = np.empty((0, n_bits), dtype=np.uint8)
        self.y = np.empty(0, dtype=int)
        packed = {"packed": True, "n_bits": n_bits} if form == "packed" else {}
        self.ranker = HammingRanker(backend=backend, multi_index=multi_index, **packed)

    def draw_bits(self, n, seed):
        """Rows of which some are equal, and near those that are there."""
        rng = np.random.default_rng(seed)
        n_bits = self.bits.shape[1]
        bits = rng.integers(0, 2, (n, n_bits), dtype=np.uint8)[rng.integers(0, n, n)]
        if len(self.bits):
            old = self.bits[rng.integers(0, len(self.bits), n)] ^ (rng.random((n, n_bits)) < 0.05)
            bits = np.where(rng.random((n, 1)) < 0.5, old, bits)
        return bits

    @rule(n=st.integers(1, 40), seed=own.seeds)
    def append(self, n, seed):
        bits = self.draw_bits(n, seed)
        y = np.random.default_rng(seed).integers(0, 4, n)
        self.ranker.partial_fit(in_form(bits, self.form), y if self.labelled else None)
        self.bits, self.y = np.vstack([self.bits, bits]), np.append(self.y, y)
        assert self.ranker.n_samples_fit_ == len(self.bits)

    def queries(self, n, seed):
        bits = self.draw_bits(n, seed)
        return bits, (bits[:, None] != self.bits).sum(axis=2)

    @precondition(lambda self: len(self.bits))
    @rule(n=st.integers(1, 9), seed=own.seeds, data=st.data())
    def neighbours(self, n, seed, data):
        bits, distances = self.queries(n, seed)
        k = data.draw(st.integers(1, len(self.bits)))
        found = self.ranker.kneighbors(in_form(bits, self.form), k)
        for answer, expected in zip(found, nearest(distances), strict=True):
            assert_array_equal(answer, expected[:, :k])
        blocks = list(self.ranker.rank(in_form(bits, self.form)))
        for part, expected in enumerate(nearest(distances)):
            assert_array_equal(np.concatenate([block[part] for block in blocks]), expected)

    @precondition(lambda self: len(self.bits) > 1)
    @rule(data=st.data())
    def own_rows(self, data):
        distances = (self.bits[:, None] != self.bits).sum(axis=2)
        k = data.draw(st.integers(1, min(len(self.bits) - 1, 50)))
        indices = self.ranker.kneighbors(n_neighbors=k, return_distance=False)
        for i, row in enumerate(nearest(distances)[1]):
            assert_array_equal(indices[i], row[row != i][:k])

    @precondition(lambda self: len(self.bits))
    @rule(n=st.integers(1, 9), seed=own.seeds, radius=st.integers(0, 40), sort=st.booleans())
    def within(self, n, seed, radius, sort):
        bits, distances = self.queries(n, seed)
        found = self.ranker.radius_neighbors(
            in_form(bits, self.form), radius, return_distance=False, sort_results=sort
        )
        for rows, d in zip(found, distances, strict=True):
            expected = np.flatnonzero(d <= radius)
            order = np.argsort(d[expected], kind="stable") if sort else slice(None)
            assert_array_equal(rows, expected[order])

    @precondition(lambda self: len(self.bits) and self.labelled)
    @rule(seed=own.seeds)
    def score(self, seed):
        bits, distances = self.queries(5, seed)
        y = np.random.default_rng(seed).integers(0, 4, 5)
        relevant = y[:, None] == self.y
        assume(relevant.any())
        expected = np.mean(
            [
                expected_precision(d, hits)
                for d, hits in zip(distances, relevant, strict=True)
                if hits.any()
            ]
        )
        assert_allclose(self.ranker.score(in_form(bits, self.form), y), expected, rtol=1e-12)

    @precondition(lambda self: len(self.bits))
    @rule()
    def save(self):
        self.ranker = pickle.loads(pickle.dumps(self.ranker))


def expected_precision(distances, hits):
    """Average precision, in the mean over all orders of tied rows; each tie in a sum of its own.

    A relevant row at place j of m tied ones has, in the mean, 1 + (j - 1) (r - 1) / (m - 1) of
    the tie's r relevant rows at or before it, and is equally likely at every place.
    """
    total, before, found = 0.0, 0, 0
    for d in np.unique(distances):
        tied = distances == d
        m, r = tied.sum(), hits[tied].sum()
        places = np.arange(1, m + 1)
        share = (r - 1) / (m - 1) if m > 1 else 0.0
        total += r * np.mean((found + 1 + (places - 1) * share) / (before + places))
        before, found = before + m, found + r
    return total / hits.sum()


TestDatabase = Database.TestCase
TestDatabase.settings = settings(
    deadline=None, max_examples=own.examples(4), stateful_step_count=8, suppress_health_check=SLOW
)


@fuzz(10)
@given(data=st.data())
def test_metrics_of_any_form_equal_brute_force(data):
    n, m = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 40))
    rng = np.random.default_rng(data.draw(own.seeds))
    bits = rng.integers(0, 2, (n + m, data.draw(st.integers(1, 40))), dtype=np.uint8)
    form = data.draw(st.sampled_from([form for form in FORMS if form != "packed"]))
    y = data.draw(own.labels(n + m))
    L = encode_labels(y)[0].toarray()
    relevant = L[:n] @ L[n:].T > 0
    before = own.contents(y)
    arguments = (
        in_form(bits[:n], form), in_form(bits[n:], form), own.take(y, slice(n)),
        own.take(y, slice(n, n + m)),
    )  # fmt: skip
    with Attempt() as attempt:
        found = mean_average_precision(*arguments)
    assert_same_state(before, own.contents(y))
    if attempt.error is None and relevant.any():
        distances = (bits[:n, None] != bits[n:]).sum(axis=2)
        values = [
            expected_precision(d, hits)
            for d, hits in zip(distances, relevant, strict=True)
            if hits.any()
        ]
        assert_allclose(found, np.mean(values), rtol=1e-12)


# --- Rows ----------------------------------------------------------------------------------------


class Selections(RuleBasedStateMachine):
    """Rows of MultimodalData, chosen again and again, beside their numbers."""

    @initialize(n=st.integers(1, 30))
    def start(self, n):
        import polars

        self.rows = np.arange(n)
        column = self.rows[:, None].astype(float)
        self.X = MultimodalData(
            dense=column,
            pictures=np.broadcast_to(column[:, :, None], (n, 2, 3)),
            stored=sparse.csr_array(np.hstack([column, column])),
            text=[str(i) for i in self.rows],
            pandas=own.framed(column, "pandas"),
            polars=polars.Series("number", self.rows),
            nullable=own.framed(column, "nullable"),
        )

    def check(self, key, rows):
        self.X, self.rows = self.X[key], self.rows[rows]
        assert len(self.X) == len(self.rows) and self.X.shape == (len(self.rows), 13)
        for name in self.X.names:
            block = self.X[name]
            numbers = block.toarray() if sparse.issparse(block) else np.asarray(block)
            while numbers.ndim > 1:
                numbers = numbers[:, 0]
            assert_array_equal(numbers.astype(float), self.rows)

    @precondition(lambda self: len(self.rows))
    @rule(data=st.data(), kind=st.sampled_from(["list", "array", "int8", "tuple"]))
    def positions(self, data, kind):
        n = len(self.rows)
        chosen = data.draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=40))
        key = chosen if kind == "list" else np.array(chosen, dtype=kind if kind == "int8" else int)
        self.check((key, ...) if kind == "tuple" else key, chosen)

    @rule(data=st.data(), as_list=st.booleans())
    def mask(self, data, as_list):
        n = len(self.rows)
        chosen = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=bool)
        self.check(chosen.tolist() if as_list and n else chosen, chosen)

    @rule(data=st.data())
    def part(self, data):
        chosen = data.draw(st.slices(len(self.rows)))
        self.check(chosen, chosen)

    @precondition(lambda self: len(self.rows))
    @rule(data=st.data())
    def one(self, data):
        i = data.draw(st.integers(-len(self.rows), len(self.rows) - 1))
        self.check(i, [i])

    @rule(beyond=st.integers(0, 3), negative=st.booleans())
    def beyond(self, beyond, negative):
        n = len(self.rows)
        i = -n - 1 - beyond if negative else n + beyond
        for key in (i, [i], np.array([i])):
            with pytest.raises(IndexError):
                self.X[key]

    @rule()
    def save(self):
        self.X = pickle.loads(pickle.dumps(self.X))


TestSelections = Selections.TestCase
TestSelections.settings = settings(
    deadline=None, max_examples=own.examples(8), stateful_step_count=10, suppress_health_check=SLOW
)
