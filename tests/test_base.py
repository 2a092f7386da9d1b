"""The data contract, on the smallest hasher that follows the base."""

import pickle
import tracemalloc
import warnings
from contextlib import nullcontext

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError, UndefinedMetricWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    cross_validate,
    train_test_split,
)
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import estimator_html_repr
from threadpoolctl import threadpool_limits

from sklearn_cmh import AAH, ASCMH, DSAH, AnchorRBF, HammingRanker, MultimodalData
from sklearn_cmh.base import ShallowHasher, Solution, modality_weights, sign
from sklearn_cmh.data import MultimodalEstimator, RowBatches, _estimator, normalise_rows
from sklearn_cmh.metrics import mean_average_precision


class LabelProjection(ShallowHasher):
    """Random projections of the labels as codes, ridge as hash functions."""

    def __init__(
        self,
        n_bits=16,
        *,
        alpha=1e-2,
        n_anchors=30,
        feature_map=None,
        modalities=None,
        max_iter=1,
        tol=0.0,
        random_state=None,
        verbose=0,
    ):
        self.n_bits = n_bits
        self.alpha = alpha
        self.n_anchors = n_anchors
        self.feature_map = feature_map
        self.modalities = modalities
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.verbose = verbose

    def _solve(self, features, L, rng):
        B = sign(normalise_rows(L) @ rng.standard_normal((L.shape[1], self.n_bits)))
        projections = []
        for F in features.values():
            G = F.T @ F
            G = G.toarray() if sparse.issparse(G) else G
            P = np.linalg.solve(G + self.alpha * np.eye(F.shape[1]), F.T @ B)
            projections.append(P.astype(F.dtype))
        return Solution(B, projections, [0.0], 1)


@pytest.fixture
def hasher():
    return LabelProjection(random_state=0)


@pytest.fixture
def fitted(hasher, paired):
    return clone(hasher).fit(MultimodalData(**paired.blocks), paired.y)


def frame_of(paired):
    return pd.DataFrame(
        paired.X, columns=[f"image__{i}" for i in range(6)] + [f"text__{i}" for i in range(5)]
    )


# One model, however its input arrives.


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array, sparse.csr_matrix, list])
def test_a_table_gives_the_codes_of_multimodal_data(hasher, fitted, paired, container):
    X = container(paired.X)
    table = clone(hasher).set_params(modalities=paired.columns).fit(X, paired.y)
    np.testing.assert_array_equal(table.codes_, fitted.codes_)
    np.testing.assert_array_equal(table.transform(X), fitted.transform(fitted_data(paired)))


def fitted_data(paired):
    return MultimodalData(**paired.blocks)


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_frames_by_prefix_and_by_name(hasher, fitted, paired, library):
    frame = library({c: v.to_numpy() for c, v in frame_of(paired).items()})
    names = {"image": list(frame.columns[:6]), "text": list(frame.columns[6:])}
    for modalities in ["prefix", names]:
        model = clone(hasher).set_params(modalities=modalities).fit(frame, paired.y)
        np.testing.assert_array_equal(model.codes_, fitted.codes_)
        text = frame[list(frame.columns[6:])]
        expected = fitted.encode(paired.text, modality="text")
        np.testing.assert_array_equal(model.encode(text, modality="text"), expected)
        np.testing.assert_array_equal(model.encode(frame, modality="text"), expected)
        np.testing.assert_array_equal(
            model.encode(text[list(text.columns[::-1])], modality="text"), expected
        )


def named_frames(paired, text_names="tuvwx"):
    """The blocks of the fixture as DataFrames, and both side by side in one."""
    image = pd.DataFrame(paired.image, columns=list("abcdef"))
    text = pd.DataFrame(paired.text, columns=list(text_names))
    return MultimodalData(image=image, text=text), pd.concat([image, text], axis=1)


def test_columns_with_names_are_matched_by_name_in_every_form(hasher, fitted, paired):
    X, frame = named_frames(paired)
    model = clone(hasher).fit(X, paired.y)
    fused, alone = (
        fitted.transform(fitted_data(paired)),
        fitted.encode(paired.text, modality="text"),
    )
    text, wide = X["text"][list("xwvut")], frame[list("xfawbvcuedt")]
    for query in [wide, MultimodalData(text=text, image=X["image"])]:
        np.testing.assert_array_equal(model.transform(query), fused)
        assert model.score(query, paired.y) == fitted.score(fitted_data(paired), paired.y)
    for query in [wide, text, MultimodalData(text=text), MultimodalData(text=paired.text)]:
        np.testing.assert_array_equal(model.encode(query, modality="text"), alone)
    np.testing.assert_array_equal(model.encode(paired.text, modality="text"), alone)
    np.testing.assert_array_equal(model.transform(paired.X), fused)


@pytest.mark.parametrize("wrap", [MultimodalData, lambda text: text], ids=["multimodal", "frame"])
def test_columns_with_other_names_are_refused(hasher, paired, wrap):
    X, _ = named_frames(paired)
    model = clone(hasher).fit(X, paired.y)
    with pytest.raises(ValueError, match=r"lacks the column 'x'.*'text'"):
        model.encode(wrap(text=X["text"].rename(columns={"x": "X"})), modality="text")
    with pytest.raises(ValueError, match="had 5 columns"):
        model.encode(MultimodalData(text=X["text"].assign(y=0.0)))


@pytest.mark.parametrize("names", ["abcde", "numbers"])
def test_names_that_do_not_tell_columns_apart(hasher, fitted, paired, names):
    """Names that both blocks use, or default ones, which are the numbers of the columns."""
    X, frame = named_frames(paired, text_names="abcde")
    if names == "numbers":
        X = MultimodalData(image=pd.DataFrame(paired.image), text=pd.DataFrame(paired.text))
        frame = pd.DataFrame(paired.X)
    model = clone(hasher).fit(X, paired.y)
    expected = fitted.encode(paired.text, modality="text")
    for query in [frame, X, X["text"], paired.X]:
        np.testing.assert_array_equal(model.encode(query, modality="text"), expected)
    for query in [frame, X]:
        np.testing.assert_array_equal(model.transform(query), fitted.transform(fitted_data(paired)))
    if names == "abcde":
        for query in [frame.iloc[:, ::-1], X["image"]]:
            with pytest.raises(ValueError, match="cannot be matched by name"):
                model.encode(query, modality="text")
        with pytest.raises(ValueError, match="cannot be matched by name"):
            model.transform(frame.iloc[:, ::-1])


def test_default_names_of_a_table_are_no_names(hasher, fitted, paired):
    model = clone(hasher).set_params(modalities=paired.columns)
    model.fit(pd.DataFrame(paired.X), paired.y)
    np.testing.assert_array_equal(
        model.encode(pd.DataFrame(paired.text), modality="text"),
        fitted.encode(paired.text, modality="text"),
    )


def test_a_frame_in_another_order_when_only_one_block_had_names(hasher, fitted, paired):
    X, frame = named_frames(paired)
    model = clone(hasher).fit(MultimodalData(image=paired.image, text=X["text"]), paired.y)
    np.testing.assert_array_equal(model.transform(frame), fitted.transform(fitted_data(paired)))
    with pytest.raises(ValueError, match="another order"):
        model.transform(frame.iloc[:, ::-1])


@pytest.mark.parametrize("fit_on_table", [False, True])
def test_queries_of_one_modality_in_every_form(hasher, fitted, paired, fit_on_table):
    model = fitted
    if fit_on_table:
        model = clone(hasher).set_params(modalities=paired.columns).fit(paired.X, paired.y)
    expected = model.encode(paired.text, modality="text")
    for query in [
        paired.X,
        paired.X.tolist(),
        sparse.csr_array(paired.text),
        sparse.coo_array(paired.text),
        sparse.bsr_matrix(paired.X),
        pd.DataFrame(paired.text),
        paired.text.tolist(),
        MultimodalData(text=paired.text),
        fitted_data(paired),
    ]:
        np.testing.assert_array_equal(model.encode(query, modality="text"), expected)
        np.testing.assert_array_equal(model.transform(query, modality="text"), expected)
    np.testing.assert_array_equal(model.encode(MultimodalData(text=paired.text)), expected)
    np.testing.assert_array_equal(model.encode(paired.X), model.transform(fitted_data(paired)))
    np.testing.assert_array_equal(model.encoder("text").transform(paired.text), expected)


@pytest.mark.parametrize("modalities", [None, "scaled", "reduced"])
@pytest.mark.parametrize("fit_sparse", [False, True])
def test_queries_may_be_stored_otherwise_than_the_training_rows(
    hasher, paired, modalities, fit_sparse
):
    """Centring takes dense rows only, and is what AAH and many a user's transformer do."""
    dense = MultimodalData(**{name: np.round(4 * b) for name, b in paired.blocks.items()})
    compressed = MultimodalData(**{name: sparse.csr_array(dense[name]) for name in dense.names})
    X, other = (compressed, dense) if fit_sparse else (dense, compressed)
    if modalities:
        first = StandardScaler(with_mean=not fit_sparse) if modalities == "scaled" else PCA(3)
        hasher.set_params(modalities=[("image", first, None), ("text", None, None)])
    scaler = StandardScaler(with_mean=not fit_sparse)
    model = hasher.set_params(feature_map={"text": scaler}).fit(X, paired.y)
    np.testing.assert_array_equal(model.transform(other), model.transform(X))
    np.testing.assert_array_equal(
        model.encode(other["text"], modality="text"), model.encode(X, modality="text")
    )
    with pytest.raises(ValueError, match="0 sample"):
        model.encode(other["text"][:0], modality="text")


@pytest.mark.parametrize(
    "kind",
    [
        np.asarray,
        np.ndarray.tolist,
        pd.DataFrame,
        pl.DataFrame,
        sparse.csr_array,
        sparse.coo_matrix,
        lambda X: X[:, 0],
        lambda X: X[:, 0].astype(str).tolist(),
        lambda X: pd.Series(X[:, 0]),
        lambda X: MultimodalData(number=X, name=X[:, 0].astype(str).tolist()),
    ],
)
@pytest.mark.parametrize(("row_bytes", "n_threads", "count"), [(1024, 1, 10), (128, 2, 16)])
def test_batches_of_rows(kind, row_bytes, n_threads, count, monkeypatch):
    """Of the kind of X, and all its rows in their order."""
    monkeypatch.setattr(_estimator, "count_threads", lambda: n_threads)
    monkeypatch.setattr(_estimator, "_FEWEST_SHARED", 500)
    X = kind(np.arange(20_000.0).reshape(-1, 2))
    with config_context(working_memory=1):
        batches = [batch for _, batch in RowBatches(X, row_bytes, may_share=True)]
    assert len(batches) == count
    assert all(type(batch) is type(X) or sparse.issparse(X) for batch in batches)
    np.testing.assert_array_equal([row for batch in batches for row in as_rows(batch)], as_rows(X))


@pytest.mark.parametrize("n_threads", [1, 2, 5, 8])
@pytest.mark.parametrize("n", [1, 8192, 8193, 50_000, 400_000])
@pytest.mark.parametrize("row_bytes", [8, 2**18])
def test_batches_for_threads_are_high_and_enough_for_all(n, n_threads, row_bytes, monkeypatch):
    monkeypatch.setattr(_estimator, "count_threads", lambda: n_threads)
    batches = RowBatches(np.zeros((n, 1)), row_bytes, may_share=True)
    alone = RowBatches(np.zeros((n, 1)), row_bytes)
    heights = [len(batch) for _, batch in batches]
    assert sum(heights) == n
    if batches.are_shared:
        assert len(heights) >= 8 * n_threads
        assert 1024 <= heights[0] <= 4096
        assert n_threads * heights[0] * row_bytes <= 2**30
    else:
        assert heights == [len(batch) for _, batch in alone]
        assert n_threads == 1 or n < 8192 * n_threads or 2**30 // row_bytes < 1024 * n_threads


def as_rows(X):
    X = X["number"] if isinstance(X, MultimodalData) else X
    return (X.toarray() if sparse.issparse(X) else np.asarray(X)).tolist()


@pytest.mark.parametrize("modality", [None, "text"])
def test_codes_do_not_depend_on_working_memory(fitted, paired, modality):
    X = fitted_data(paired)
    expected = fitted.encode(X, modality=modality)
    with config_context(working_memory=1e-2):
        for query in [X, paired.X, MultimodalData(**{m: sparse.csr_array(X[m]) for m in X.names})]:
            np.testing.assert_array_equal(fitted.encode(query, modality=modality), expected)


def test_memory_of_encoding_is_that_of_a_batch(fitted, tmp_path):
    """However many rows there are, on disk; all features at once would have 24 MB."""
    rows = np.lib.format.open_memmap(tmp_path / "rows.npy", "w+", np.float64, (100_000, 5))
    rows[:] = np.random.RandomState(0).randn(100_000, 5)
    rows.flush()
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    fitted.encode(mapped[:10], modality="text")
    tracemalloc.start()
    codes = fitted.encode(mapped, modality="text")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The codes twice, in batches and together, and some arrays of 4,096 rows and 30 features.
    assert peak < 2 * codes.nbytes + 6 * 8 * 4096 * 30
    np.testing.assert_array_equal(codes[-9:], fitted.encode(mapped[-9:], modality="text"))


class Blocks(MultimodalEstimator):
    """The smallest estimator of several modalities: no hasher, knows no labels."""

    def __init__(self, modalities=None):
        self.modalities = modalities

    def fit(self, X, y=None):
        table = self._read_table(X)
        self.fitted_ = self._fit_preprocessing(table, y, np.random.RandomState(0))
        return self


def test_an_estimator_that_is_no_hasher_takes_the_same_input(paired):
    modalities = [("image", StandardScaler(), slice(0, 6)), ("text", None, slice(6, 11))]
    model = Blocks(modalities).fit(paired.X)
    scaled = StandardScaler().fit_transform(paired.image)
    for blocks in [model.fitted_, model._new_blocks(paired.X)]:
        assert list(blocks) == ["image", "text"]
        np.testing.assert_array_equal(blocks["image"], scaled)
        np.testing.assert_array_equal(blocks["text"], paired.text)
    for query, modality in [
        (MultimodalData(image=paired.image), None),
        (paired.image, "image"),
        (paired.X, "image"),
    ]:
        blocks = model._new_blocks(query, modality)
        assert list(blocks) == ["image"]
        np.testing.assert_array_equal(blocks["image"], scaled)
    assert model.get_params()["image__with_mean"] is True
    model.set_params(image__with_mean=False).fit(paired.X)
    assert not model.transformers_["image"].with_mean


def test_fused_codes_are_the_sign_of_the_mean_projection(fitted, paired):
    Z = [fitted._project(name, block) for name, block in paired.blocks.items()]
    np.testing.assert_array_equal(fitted.transform(fitted_data(paired)), sign((Z[0] + Z[1]) / 2))


@pytest.mark.parametrize("feature_map", [None, StandardScaler(with_mean=False), "passthrough"])
@pytest.mark.parametrize("fit_sparse", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_code_of_a_row_depends_on_nothing_else(hasher, paired, dtype, fit_sparse, feature_map):
    """Not on the batch, the order in memory, the storage, or threads; to the last digit."""
    X = MultimodalData(**{name: np.round(b, 1).astype(dtype) for name, b in paired.blocks.items()})
    compressed = MultimodalData(**{name: sparse.csr_array(X[name]) for name in X.names})
    model = hasher.set_params(feature_map=feature_map).fit(
        compressed if fit_sparse else X, paired.y
    )
    same_code_in_every_way(model, X, np.random.RandomState(0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_of_rows_on_the_border(hasher, paired, dtype):
    """Between rows of different codes, as near to the change of a bit as numbers allow."""
    X = MultimodalData(image=paired.image.astype(dtype), text=paired.text.astype(dtype))
    model = hasher.fit(X, paired.y)
    border = {name: border_rows(model, name, X[name]) for name in X.names}
    for name, rows in border.items():
        codes = model.encode(rows, modality=name)
        # Half of them are on either side, one last digit of one entry apart.
        assert (codes[0::2] != codes[1::2]).any(axis=1).all()
    n = min(map(len, border.values()))
    rows = MultimodalData(**{name: block[:n] for name, block in border.items()})
    same_code_in_every_way(model, rows, np.random.RandomState(0))


def border_rows(model, name, block):
    """Pairs of neighbouring floating-point rows whose codes differ, found by bisection."""
    low, high = block[:-1].copy(), block[1:].copy()
    codes = model.encode(low, modality=name)
    differs = (codes != model.encode(high, modality=name)).any(axis=1)
    low, high, codes = low[differs], high[differs], codes[differs]
    for _ in range(200):
        middle = low + (high - low) / 2
        same = (model.encode(middle, modality=name) == codes).all(axis=1)
        low[same], high[~same] = middle[same], middle[~same]
    return np.stack([low, high], axis=1).reshape(-1, block.shape[1])


def same_code_in_every_way(model, X, rng):
    fused, n = model.encode(X), len(X)
    alone = {name: model.encode(X[name], modality=name) for name in X.names}
    batches = [np.arange(n)[::-1], rng.permutation(n)[: n // 3], *np.arange(0, n, 9)[:, None]]
    for rows in batches:
        np.testing.assert_array_equal(model.encode(X[rows]), fused[rows])
        for name, codes in alone.items():
            np.testing.assert_array_equal(model.encode(X[name][rows], modality=name), codes[rows])
    for form in [
        np.asfortranarray,
        sparse.csr_array,
        sparse.csc_array,
        lambda b: np.repeat(b, 2, axis=1)[:, ::2],
    ]:
        other = MultimodalData(**{name: form(X[name]) for name in X.names})
        np.testing.assert_array_equal(model.encode(other), fused)
    for n_threads in (1, 2):
        with threadpool_limits(n_threads), config_context(working_memory=1e-2):
            np.testing.assert_array_equal(model.encode(X), fused)


@pytest.mark.parametrize("method", [AAH, ASCMH, DSAH])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_code_of_a_real_row_depends_on_nothing_else(wiki, method, dtype):
    X = MultimodalData(image=wiki.image.astype(dtype), text=wiki.text.astype(dtype))
    model = method(n_bits=32, max_iter=3, random_state=0)
    if method is not AAH:
        model.set_params(n_anchors=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X[wiki.train], wiki.labels[wiki.train])
    same_code_in_every_way(model, X[wiki.test[::6]], np.random.RandomState(0))


def test_projections_within_rounding_of_zero_count_as_plus_one(hasher, paired):
    # A constant column is centred to zero, and so is everything learned from it.
    X = MultimodalData(image=paired.image, text=np.ones((120, 1)))
    codes = clone(hasher).fit(X, paired.y).encode(np.ones((4, 1)), modality="text")
    assert (codes == 1).all()


def test_float32_stays_float32(hasher, paired):
    X = MultimodalData(image=paired.image.astype(np.float32), text=paired.text)
    fitted = clone(hasher).fit(X, paired.y)
    assert fitted.projections_["image"].dtype == np.float32
    assert fitted._project("image", X["image"]).dtype == np.float32
    assert fitted._project("text", X["text"]).dtype == np.float64


def test_input_is_never_written_to(hasher, paired):
    before = paired.X.copy()
    paired.X.setflags(write=False)
    paired.indicator.setflags(write=False)
    model = clone(hasher).set_params(modalities=paired.columns).fit(paired.X, paired.indicator)
    model.transform(paired.X)
    np.testing.assert_array_equal(paired.X, before)


def test_training_features_are_not_kept(fitted, paired):
    for block in paired.blocks.values():
        assert len(pickle.dumps(fitted)) < 60_000
        assert not any(value is block for value in vars(fitted).values())


@pytest.mark.parametrize("junk", [np.nan, "a name"])
@pytest.mark.parametrize("container", [lambda frame: frame, lambda frame: frame.to_numpy()])
def test_dropped_columns_may_hold_anything(hasher, fitted, paired, junk, container):
    frame = pd.DataFrame(paired.X.astype(object)).set_axis(list("abcdefghijk"), axis=1)
    frame.insert(2, "junk", junk)
    image, text = [0, 1, 3, 4, 5, 6], slice(7, 12)
    model = clone(hasher).set_params(
        modalities=[("image", None, image), ("text", "passthrough", text), ("junk", "drop", [2])]
    )
    X = container(frame)
    model.fit(X, paired.y)
    assert model.n_features_in_ == 12
    np.testing.assert_array_equal(model.transform(X), fitted.transform(fitted_data(paired)))
    frame.iloc[3, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        model.fit(container(frame), paired.y)
    with pytest.raises(ValueError, match="11 features"):
        model.transform(paired.X)


# What a method returns.


class Solved(LabelProjection):
    """A method whose solution a test changes."""

    def _solve(self, features, L, rng):
        solution = super()._solve(features, L, rng)
        for name, value in vars(self)["change"].items():
            setattr(solution, name, value(solution, features))
        return solution


def solved(**change):
    model = Solved(random_state=0)
    model.change = change
    return model


def centred(solution, features):
    means = [np.asarray(F.mean(axis=0)) for F in features.values()]
    return [mean @ P for mean, P in zip(means, solution.projections, strict=True)]


def test_offsets_are_thresholds(paired):
    """Centring by an offset is the same as centred features, and leaves sparse ones sparse."""
    X = fitted_data(paired)
    shifted = MultimodalData(**{name: X[name] + 3 for name in X.names})
    model = solved(offsets=centred).set_params(feature_map="passthrough").fit(shifted, paired.y)
    for name in X.names:
        block = shifted[name]
        P = model.projections_[name]
        expected = (block - block.mean(axis=0)) @ P
        np.testing.assert_allclose(model.project(block, modality=name), expected, atol=1e-9)
        np.testing.assert_array_equal(model.encode(block, modality=name), sign(expected))
    np.testing.assert_array_equal(model.encode(shifted), sign(model.project(shifted)))
    plain = solved().set_params(feature_map="passthrough").fit(shifted, paired.y)
    assert not hasattr(plain, "offsets_")
    assert (plain.encode(shifted) != model.encode(shifted)).any()


def test_offsets_and_projections_by_name_in_any_order(paired):
    X = fitted_data(paired)

    def by_name(values, features):
        return dict(reversed(list(zip(features, values, strict=True))))

    listed = solved(offsets=centred).fit(X, paired.y)
    named = solved(
        offsets=lambda s, F: by_name(centred(s, F), F),
        projections=lambda s, F: by_name(s.projections, F),
    ).fit(X, paired.y)
    np.testing.assert_array_equal(named.encode(X), listed.encode(X))


def test_constant_bits_are_plus_one_whatever_their_offset(paired):
    def one_constant(solution, features):
        codes = solution.codes.copy()
        codes[:, 3] = -1
        return codes

    X = fitted_data(paired)
    model = solved(offsets=lambda s, F: [np.ones(16)] * 2, codes=one_constant).fit(X, paired.y)
    assert (model.codes_[:, 3] == 1).all() and (model.encode(X)[:, 3] == 1).all()


def test_extras_are_fitted_attributes_until_the_next_fit(paired):
    X = fitted_data(paired)
    model = solved(extras=lambda s, F: {"basis_": 1, "_inner": 2}).fit(X, paired.y)
    assert model.basis_ == 1 and model._inner == 2
    model.change = {}
    model.set_params(feature_map="passthrough").fit(X, paired.y)
    assert not hasattr(model, "basis_")
    model.change = {"offsets": centred}
    assert hasattr(model.fit(X, paired.y), "offsets_")
    model.change = {}
    assert not hasattr(model.fit(X, paired.y), "offsets_")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": lambda s, F: s.codes[:, :7]}, r"codes of shape .*\(120, 16\); got \(120, 7\)"),
        ({"codes": lambda s, F: s.codes[:7]}, r"codes of shape .*\(120, 16\); got \(7, 16\)"),
        ({"codes": lambda s, F: s.codes * 0}, "must be -1 and [+]1; got 0"),
        ({"codes": lambda s, F: s.codes + np.nan}, "must be -1 and [+]1; got nan"),
        ({"projections": lambda s, F: s.projections[:1]}, "projections.*one array per modality"),
        ({"projections": lambda s, F: {"image": s.projections[0]}}, "one array per modality"),
        ({"projections": lambda s, F: [P[1:] for P in s.projections]}, r"'image' .*\(30, 16\)"),
        ({"projections": lambda s, F: [P / 0 for P in s.projections]}, "not finite.*Rescale"),
        ({"offsets": lambda s, F: [np.ones(3)] * 2}, r"offsets of 'image' .*\(16,\); got \(3,\)"),
        ({"objective": lambda s, F: [np.nan]}, "objective is not finite"),
        ({"extras": lambda s, F: {"basis": 1}}, "'basis'"),
        ({"extras": lambda s, F: {"codes_": 1}}, "'codes_'"),
        ({"extras": lambda s, F: {"labels_": 1}}, "'labels_'"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_wrong_solution_is_refused(paired, change, message):
    with pytest.raises(ValueError, match=f"Solved: .*{message}"):
        solved(**change).fit(fitted_data(paired), paired.y)


def test_what_a_method_lacks_is_said(paired):
    class Empty(LabelProjection):
        _solve = ShallowHasher._solve

    with pytest.raises(NotImplementedError, match=r"Empty.*write `_solve.*returns a Solution"):
        Empty().fit(fitted_data(paired), paired.y)


def test_projections_are_what_codes_are_the_signs_of(fitted, paired):
    X = fitted_data(paired)
    Z = {name: fitted.project(X[name], modality=name) for name in X.names}
    for name in X.names:
        F = fitted.feature_maps_[name].transform(X[name])
        np.testing.assert_allclose(Z[name], F @ fitted.projections_[name], atol=1e-8)
        np.testing.assert_array_equal(fitted.project(X, modality=name), Z[name])
        np.testing.assert_array_equal(sign(Z[name]), fitted.encode(X[name], modality=name))
    np.testing.assert_array_equal(fitted.project(X), (Z["image"] + Z["text"]) / 2)
    np.testing.assert_array_equal(sign(fitted.project(X)), fitted.transform(X))
    with config_context(working_memory=1e-2, transform_output="pandas"):
        projections = fitted.project(X)
    assert isinstance(projections, np.ndarray)
    np.testing.assert_array_equal(projections, fitted.project(X))


# Targets.


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("label", "score"), [(-1, np.nan), (2, 1.0)])
def test_labels_that_only_score_need_no_two_classes(paired, label, score):
    X, y = fitted_data(paired), np.full(120, label)
    hasher = AAH(n_bits=8, affinity="knn", max_iter=2, random_state=0)
    model = clone(hasher).fit(X, y)
    np.testing.assert_array_equal(model.codes_, clone(hasher).fit(X).codes_)
    with nullcontext() if label > 0 else pytest.warns(UndefinedMetricWarning):
        np.testing.assert_equal(model.score(X, y), score)


def test_labels_and_indicators_are_one_target(hasher, fitted, paired):
    X = fitted_data(paired)
    for y in [paired.indicator, sparse.csr_matrix(paired.indicator), paired.indicator.astype(bool)]:
        model = clone(hasher).fit(X, y)
        np.testing.assert_array_equal(model.codes_, fitted.codes_)
        assert model.score(X, y) == fitted.score(X, paired.y)


def test_labels_to_score_by_are_in_the_form_of_those_at_fit(hasher, fitted, paired):
    with pytest.raises(ValueError, match=r"y at fit was labels; .* not of shape \(120, 4\)"):
        fitted.score(MultimodalData(**paired.blocks), paired.indicator)
    hasher.fit(MultimodalData(**paired.blocks), paired.indicator)
    for y in (paired.y, paired.indicator[:, :3]):
        with pytest.raises(ValueError, match="y at fit was an indicator of 4 columns"):
            hasher.score(MultimodalData(**paired.blocks), y)


def test_modalities_of_other_names_or_lengths_are_refused(fitted, paired):
    with pytest.raises(ValueError, match="which were not there at fit"):
        fitted.transform(MultimodalData(sound=paired.image))


def test_strings_are_labels(hasher, fitted, paired):
    y = np.array(["a", "b", "c", "d"])[paired.y]
    model = clone(hasher).fit(fitted_data(paired), y)
    assert model.classes_.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(model.codes_, fitted.codes_)


def test_rows_without_labels_change_nothing_but_their_own_codes(hasher, paired):
    y = paired.indicator.copy()
    y[::3] = 0
    rows = y.any(axis=1)
    X = fitted_data(paired)
    model = clone(hasher).fit(X, y)
    alone = clone(hasher).fit(X[rows], y[rows])
    np.testing.assert_array_equal(model.codes_[rows], alone.codes_)
    np.testing.assert_array_equal(model.codes_[~rows], alone.transform(X[~rows]))


def test_score_is_the_mean_over_query_modalities(fitted, paired):
    X = fitted_data(paired)
    each = [
        mean_average_precision(fitted.encode(X, modality=name), fitted.codes_, paired.y, paired.y)
        for name in X.names
    ]
    assert fitted.score(X, paired.y) == pytest.approx(np.mean(each), rel=1e-12)


def test_sample_weight_of_zero_leaves_a_query_out(fitted, paired):
    X = fitted_data(paired)
    weight = (np.arange(120) < 40).astype(float)
    assert fitted.score(X, paired.y, sample_weight=weight) == pytest.approx(
        fitted.score(X[:40], paired.y[:40])
    )


def test_queries_of_classes_absent_from_the_fold(hasher, paired):
    X = fitted_data(paired)
    rows = paired.y < 3
    model = clone(hasher).fit(X[rows], paired.y[rows])
    assert model.score(X, paired.y) == pytest.approx(model.score(X[rows], paired.y[rows]))
    with pytest.warns(UndefinedMetricWarning, match="NaN"):
        assert np.isnan(model.score(X[~rows], paired.y[~rows]))


# scikit-learn's tools, unmodified.


def test_split_validate_and_search(hasher, paired):
    X = fitted_data(paired)
    X_train, X_test, y_train, y_test = train_test_split(X, paired.y, random_state=0)
    folds = KFold(3, shuffle=True, random_state=0)
    scores = cross_validate(hasher, X_train, y_train, cv=folds)["test_score"]
    assert scores.shape == (3,) and (scores > 0.8).all()
    grid = {"alpha": [1e-2, 1.0], "feature_map": [None, AnchorRBF(20)]}
    search = GridSearchCV(hasher, grid, cv=folds, n_jobs=2).fit(X_train, y_train)
    assert search.score(X_test, y_test) > 0.8


def test_halving_search_raises_the_resource(hasher, paired):
    frame = frame_of(paired)
    search = HalvingGridSearchCV(
        clone(hasher).set_params(modalities="prefix"),
        {"alpha": [1e-2, 1e-1, 1.0]},
        cv=KFold(2, shuffle=True, random_state=0),
        min_resources=40,
        random_state=0,
    ).fit(frame, paired.y)
    assert search.n_resources_[-1] > search.n_resources_[0]


def test_pipeline_with_memory(hasher, paired, tmp_path):
    scaled = Pipeline(
        [("scale", StandardScaler()), ("hash", clone(hasher))], memory=str(tmp_path)
    ).set_params(hash__modalities=paired.columns)
    first = scaled.fit(paired.X, paired.y).transform(paired.X)
    np.testing.assert_array_equal(scaled.fit(paired.X, paired.y).transform(paired.X), first)


def test_set_output(fitted, paired):
    X = fitted_data(paired)
    codes = fitted.transform(X)
    for kind, library in [("pandas", pd.DataFrame), ("polars", pl.DataFrame)]:
        frame = clone(fitted).fit(X, paired.y).set_output(transform=kind).transform(X)
        assert isinstance(frame, library)
        assert list(frame.columns)[:2] == ["labelprojection0", "labelprojection1"]
        np.testing.assert_array_equal(frame.to_numpy(), codes)


def test_a_global_set_output_reaches_no_inner_clone(hasher, paired):
    X = frame_of(paired)
    triples = [
        ("image", StandardScaler(), list(X.columns[:6])),
        ("text", StandardScaler(), list(X.columns[6:])),
    ]
    model = clone(hasher).set_params(modalities=triples, feature_map=StandardScaler())
    expected = model.fit(X, paired.y).transform(X)
    with config_context(transform_output="pandas"):
        frame = clone(model).fit(X, paired.y).transform(X)
        assert isinstance(model.encode(X), np.ndarray)
    np.testing.assert_array_equal(frame.to_numpy(), expected)


def test_round_trips(fitted, paired, tmp_path):
    X = fitted_data(paired)
    joblib.dump(fitted, tmp_path / "model.joblib")
    for copy in [joblib.load(tmp_path / "model.joblib"), pickle.loads(pickle.dumps(fitted))]:
        np.testing.assert_array_equal(copy.transform(X), fitted.transform(X))
        np.testing.assert_array_equal(copy.codes_, fitted.codes_)


def test_html_repr(fitted):
    assert "LabelProjection" in estimator_html_repr(fitted)


def test_metadata_routing_hands_the_modality_through(hasher, paired):
    with config_context(enable_metadata_routing=True):
        model = clone(hasher).set_params(modalities=paired.columns)
        model.set_transform_request(modality=True).set_score_request(sample_weight=True)
        pipe = make_pipeline(model).fit(paired.X, paired.y)
        np.testing.assert_array_equal(
            pipe.transform(paired.X, modality="text"), model.encode(paired.X, modality="text")
        )
        weight = (np.arange(120) < 40).astype(float)
        search = GridSearchCV(model, {"alpha": [1.0]}, cv=KFold(2, shuffle=True, random_state=0))
        assert search.fit(paired.X, paired.y, sample_weight=weight).best_score_ > 0.5


def test_encoders_compose(fitted, paired):
    text = fitted.encoder("text")
    assert clone(text) is text
    expected = fitted.encode(paired.text, modality="text")
    pipe = Pipeline([("shift", StandardScaler(with_mean=False, with_std=False)), ("hash", text)])
    np.testing.assert_array_equal(pipe.fit(paired.text).transform(paired.text), expected)
    union = FeatureUnion([("hash", text), ("pca", PCA(2))]).fit(paired.text)
    assert union.transform(paired.text).shape == (120, 18)
    assert text.get_feature_names_out()[0] == "modalityencoder0"


def test_an_encoder_knows_its_columns(hasher, fitted, paired):
    pipe = make_pipeline(fitted.encoder("text"), HammingRanker())
    assert pipe.n_features_in_ == 5 and not hasattr(pipe, "feature_names_in_")
    X, _ = named_frames(paired)
    text = clone(hasher).fit(X, paired.y).encoder("text")
    np.testing.assert_array_equal(
        make_pipeline(text, HammingRanker()).feature_names_in_, list("tuvwx")
    )


# Preprocessing inside `modalities`.


@pytest.fixture
def captions(paired):
    rng = np.random.RandomState(1)
    words = np.array(["cat", "dog", "bus", "sea"])[paired.y]
    noise = rng.choice(["red", "blue", "old"], size=120)
    frame = pd.DataFrame(paired.image, columns=[f"i{j}" for j in range(6)])
    frame["caption"] = [f"{a} {b}" for a, b in zip(noise, words, strict=True)]
    return frame


def test_raw_text_and_numbers_in_one_table(hasher, paired, captions):
    captions = captions.copy()
    captions.loc[::10, "i0"] = np.nan
    model = clone(hasher).set_params(
        modalities=[
            ("image", make_pipeline(SimpleImputer(), StandardScaler()), list(captions.columns[:6])),
            ("text", CountVectorizer(), "caption"),
        ]
    )
    model.fit(captions, paired.y)
    assert model.score(captions, paired.y) > 0.9
    alone = model.encode(["a red cat", "an old dog"], modality="text")
    assert alone.shape == (2, 16) and (alone[0] != alone[1]).any()
    np.testing.assert_array_equal(
        model.encode(captions["caption"], modality="text"), model.encode(captions, modality="text")
    )


def test_nested_parameters_are_searchable(hasher, paired):
    model = clone(hasher).set_params(
        modalities=[("image", PCA(), slice(0, 6)), ("text", StandardScaler(), slice(6, 11))],
        feature_map={"image": AnchorRBF(10), "text": AnchorRBF(20)},
    )
    grid = {
        "image__n_components": [2, 4],
        "text": ["passthrough", StandardScaler()],
        "feature_map__image__n_anchors": [5, 15],
    }
    search = GridSearchCV(model, grid, cv=KFold(2, shuffle=True, random_state=0))
    best = search.fit(paired.X, paired.y).best_estimator_
    params = search.best_params_
    assert best.transformers_["image"].n_components == params["image__n_components"]
    n_anchors = params["feature_map__image__n_anchors"]
    assert best.feature_maps_["image"].anchors_.shape[0] == n_anchors
    assert model.get_params()["image__n_components"] is None


def test_a_nested_name_replaces_the_transformer(hasher):
    model = clone(hasher).set_params(
        modalities=[("image", PCA(), [0]), ("text", None, [1])],
        feature_map={"image": AnchorRBF(10)},
    )
    model.set_params(image=StandardScaler(), feature_map__image=AnchorRBF(7))
    assert isinstance(model.modalities[0][1], StandardScaler)
    assert model.feature_map["image"].n_anchors == 7
    with pytest.raises(ValueError, match="Invalid parameter 'audio'"):
        model.set_params(audio__n_components=2)


def test_seeds_inside_come_from_random_state(hasher, paired):
    X = fitted_data(paired)
    first, second = (clone(hasher).fit(X, paired.y) for _ in range(2))
    for name in X.names:
        np.testing.assert_array_equal(
            first.feature_maps_[name].anchors_, second.feature_maps_[name].anchors_
        )


# What goes wrong.


def test_text_needs_a_transformer(hasher, paired, captions):
    """So does a single column, which its name alone hands over in one dimension."""
    texts = captions["caption"].tolist()
    message = r"'text' is one-dimensional.*TfidfVectorizer"
    with pytest.raises(ValueError, match=message):
        hasher.fit(MultimodalData(image=paired.image, text=texts), paired.y)
    with pytest.raises(ValueError, match=r"'text' holds what no hasher takes.*could not convert"):
        hasher.fit(MultimodalData(image=paired.image, text=captions[["caption"]]), paired.y)
    hasher.set_params(modalities={"image": [0, 1, 2, 3, 4], "text": "i5"})
    with pytest.raises(ValueError, match=message):
        hasher.fit(captions.drop(columns="caption"), paired.y)
    hasher.set_params(modalities={"image": [0, 1, 2, 3, 4], "text": ["i5"]})
    assert hasher.fit(captions.drop(columns="caption"), paired.y).codes_.shape == (120, 16)


def test_an_upstream_step_that_changes_a_width_is_found_out(hasher, captions, paired):
    columns = ColumnTransformer(
        [
            ("image", "passthrough", list(captions.columns[:6])),
            ("text", CountVectorizer(), "caption"),
        ]
    )
    pipe = Pipeline([("columns", columns), ("hash", clone(hasher))])
    pipe.set_params(hash__modalities={"image": slice(0, 6), "text": slice(6, 13)})
    pipe.fit(captions, paired.y)
    pipe.set_params(columns__text__max_features=4)
    with pytest.raises(ValueError, match="only 10 columns"):
        pipe.fit(captions, paired.y)
    pipe.set_params(columns__text__max_features=None, columns__text__ngram_range=(1, 2))
    with pytest.raises(ValueError, match="belong to no modality"):
        pipe.fit(captions, paired.y)


@pytest.mark.parametrize(
    ("query", "modality", "message"),
    [
        (np.zeros((2, 4)), "text", "had 5 columns"),
        (np.zeros((2, 5)), "audio", "must be one of"),
        (np.zeros((2, 5)), None, "11 features"),
        (np.full((2, 5), np.nan), "text", "NaN"),
        (np.full((2, 5), np.inf), "text", "infinity"),
        (np.zeros((0, 5)), "text", "0 sample"),
        (np.zeros(5), "text", "Expected 2D"),
        (MultimodalData(audio=np.zeros((2, 5))), None, "not there at fit"),
        (MultimodalData(image=np.zeros((2, 6))), "text", "not 'text'"),
        (MultimodalData(text=np.zeros((2, 4))), None, "had 5 columns"),
    ],
)
def test_wrong_queries(fitted, query, modality, message):
    with pytest.raises(ValueError, match=message):
        fitted.encode(query, modality=modality)


def test_a_list_of_views_names_the_cure(hasher, fitted, paired):
    views = [paired.image, paired.text]
    for call in [lambda: hasher.fit(views, paired.y), lambda: fitted.encode(views)]:
        with pytest.raises(TypeError, match=r"MultimodalData\(image="):
            call()


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y"),
        (np.zeros(120, dtype=int), "one class only"),
        (np.zeros((120, 3), dtype=int), "labels no row"),
        (np.arange(100) % 3, "inconsistent numbers of samples"),
        (np.linspace(0, 1, 120), "Unknown label type"),
        (np.full((120, 3), -1), "must hold only 0 and 1"),
    ],
)
def test_wrong_targets(hasher, paired, y, message):
    with pytest.raises(ValueError, match=message):
        hasher.fit(fitted_data(paired), y)


def test_a_failed_fit_changes_nothing(fitted, paired):
    before = fitted.transform(fitted_data(paired))
    state = set(vars(fitted))
    with pytest.raises(ValueError):
        fitted.fit(np.full((120, 3), np.nan), paired.y)
    with pytest.raises(ValueError, match="one class"):
        fitted.fit(paired.X[:, :3], np.zeros(120))
    assert set(vars(fitted)) == state
    np.testing.assert_array_equal(fitted.transform(fitted_data(paired)), before)


def test_unfitted(hasher, paired):
    for call in [hasher.transform, hasher.encode, lambda X: hasher.score(X, paired.y)]:
        with pytest.raises(NotFittedError):
            call(fitted_data(paired))
    with pytest.raises(NotFittedError):
        hasher.encoder("text")


def test_unknown_names(hasher, fitted, paired):
    with pytest.raises(ValueError, match="must be one of"):
        fitted.encoder("audio")
    with pytest.raises(ValueError, match="no modality 'audio'"):
        hasher.set_params(feature_map={"audio": AnchorRBF()}).fit(fitted_data(paired), paired.y)
    with pytest.raises(ValueError, match="must be an estimator"):
        hasher.set_params(modalities=[("a", "pass", slice(None))], feature_map=None).fit(
            paired.X, paired.y
        )


def test_modality_weights():
    np.testing.assert_array_equal(modality_weights(2, ["a", "b"], "theta"), [2, 2])
    np.testing.assert_array_equal(modality_weights({"b": 1, "a": 3}, ["a", "b"], "theta"), [3, 1])
    for wrong in [{"a": 1}, {"a": 1, "b": -1}, {"a": 1, "b": np.nan}]:
        with pytest.raises(ValueError, match="theta"):
            modality_weights(wrong, ["a", "b"], "theta")


@pytest.mark.parametrize("n_rows", [1, 2])
def test_very_few_rows(hasher, n_rows):
    X, y = np.random.RandomState(0).rand(n_rows, 3), np.arange(n_rows)
    if n_rows == 1:
        with pytest.raises(ValueError, match="1 sample"):
            hasher.fit(X, y)
    else:
        with pytest.warns(UserWarning, match="n_anchors"):
            assert hasher.fit(X, y).codes_.shape == (2, 16)


@pytest.mark.parametrize("wrong", ["nystroem", "drop", 3])
def test_a_feature_map_must_be_a_transformer(hasher, paired, wrong):
    hasher.set_params(feature_map={"image": wrong})
    with pytest.raises(ValueError, match=f"feature_map: the map of 'image'.*got {wrong!r}"):
        hasher.fit(fitted_data(paired), paired.y)


def test_the_transformer_of_a_modality_must_be_one(hasher, paired):
    hasher.set_params(modalities=[("image", 3, None), ("text", None, None)])
    with pytest.raises(ValueError, match=r"transformer of 'image' must be an estimator.*got 3"):
        hasher.fit(fitted_data(paired), paired.y)


def test_frozen_transformers_stay_as_they_are(hasher, paired):
    """They have no `fit_transform`, and belong to the user."""
    scaler = StandardScaler().fit(paired.image).set_output(transform="pandas")
    centre, frozen = scaler.mean_.copy(), FrozenEstimator(scaler)
    X = fitted_data(paired)
    half = X[:60]
    before = clone(hasher).set_params(modalities=[("image", frozen, None), ("text", None, None)])
    inside = clone(hasher).set_params(feature_map={"image": frozen, "text": "passthrough"})
    plain = clone(hasher).set_params(feature_map="passthrough")
    scaled = MultimodalData(image=scaler.transform(paired.image).to_numpy(), text=paired.text)
    before.set_params(feature_map="passthrough")
    expected = plain.fit(scaled[:60], paired.y[:60]).transform(scaled)
    for model in [before, inside]:
        np.testing.assert_array_equal(model.fit(half, paired.y[:60]).transform(X), expected)
    np.testing.assert_array_equal(scaler.mean_, centre)
    assert isinstance(scaler.transform(paired.image), pd.DataFrame)


def feature_map(function):
    return FunctionTransformer(function, accept_sparse=True)


@pytest.mark.parametrize(
    "function",
    [lambda X: X.astype(np.int64), pd.DataFrame, lambda X: X.astype(np.float16), sparse.coo_array],
    ids=["integers", "frame", "float16", "coo"],
)
def test_features_of_any_numeric_kind(hasher, paired, function):
    X = MultimodalData(image=np.round(8 * paired.image), text=paired.text)
    expected = clone(hasher).set_params(feature_map="passthrough").fit(X, paired.y)
    maps = {"image": feature_map(function), "text": "passthrough"}
    model = clone(hasher).set_params(feature_map=maps).fit(X, paired.y)
    np.testing.assert_array_equal(model.transform(X), expected.transform(X))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda X: np.where(X > 0, X, np.nan), "NaN"),
        (lambda X: X[:, 0], "Expected 2D"),
        (lambda X: X.astype(str).astype(object) + "x", "could not convert"),
    ],
)
def test_features_that_no_hasher_takes(hasher, paired, function, message):
    X = fitted_data(paired)
    with pytest.raises(ValueError, match=rf"feature map of 'image'(.|\n)*{message}"):
        hasher.set_params(feature_map={"image": feature_map(function)}).fit(X, paired.y)
    model = hasher.set_params(feature_map="passthrough").fit(X, paired.y)
    model.feature_maps_["image"] = feature_map(function)
    with pytest.raises(ValueError, match=rf"feature map of 'image'(.|\n)*{message}"):
        model.encode(X, modality="image")


def test_pictures_are_sent_to_the_method_that_takes_them():
    X = MultimodalData(image=np.zeros((20, 8, 8, 3), np.uint8), text=np.eye(20))
    with pytest.raises(ValueError, match=r"shape \(8, 8, 3\).*DSPAH"):
        LabelProjection(4).fit(X, np.arange(20) % 2)
