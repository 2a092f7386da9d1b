"""Odd inputs of RefinedHasher and SharedSpace: a right answer or a clear error."""

import pickle
import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer

from sklearn_cmh import AAH, DSAH, AnchorRBF, MultimodalData, RefinedHasher, SharedSpace
from sklearn_cmh.metrics import pair_recall_at_k

NAMES = ("codes", "vectors", "image")
TINY = {"n_anchors": 8, "n_restarts": 1, "pool_bits": 8, "widths": (0.5,), "random_state": 0}
EXPLAINED = re.compile(
    r"pairs need two|requires y|one class only|labels no row|nothing in common|No two of"
)


@st.composite
def rows(draw, modalities=(1, 3)):
    """Few rows in odd blocks: repeated, constant or sparse ones, in either precision."""
    n = draw(st.integers(2, 14))
    widths = draw(st.lists(st.integers(1, 5), min_size=modalities[0], max_size=modalities[1]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    distinct = np.arange(n) % draw(st.integers(1, n))
    blocks = {}
    for name, width in zip(NAMES, widths, strict=False):
        block = rng.standard_normal((n, width))[distinct].astype(dtype)
        form = draw(st.sampled_from(["dense", "dense", "sparse", "constant"]))
        if form == "constant":
            block[:] = draw(st.sampled_from([0, 1, 1e6]))
        blocks[name] = sparse.csr_array(block * (block > 0)) if form == "sparse" else block
    return MultimodalData(**blocks)


@st.composite
def labels_of(draw, n):
    """Labels in any form, some or all of them missing; or none."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    y = rng.integers(0, draw(st.integers(1, n)), n)
    y[rng.random(n) < draw(st.sampled_from([0.0, 0.5, 1.0]))] = -1
    form = draw(st.sampled_from(["labels", "indicator", "several", "sparse", "none"]))
    if form == "labels":
        return y
    if form == "none":
        return None
    L = (y[:, None] == np.arange(4)).astype(int)
    if form == "several":
        L |= rng.random(L.shape) < 0.2
    return sparse.csr_array(L) if form == "sparse" else L


def state(*objects):
    """The numbers of blocks and labels."""
    values = []
    for X in objects:
        for block in [X[name] for name in X.names] if isinstance(X, MultimodalData) else [X]:
            values.append(block.toarray() if sparse.issparse(block) else np.array(block))
    return values


@settings(deadline=None, max_examples=15)
@given(
    data=st.data(),
    X=rows(),
    pair_weight=st.sampled_from(["auto", 0, 0.1, 1]),
    n_bits=st.integers(1, 40),
)
def test_refined_hasher_answers_or_explains(data, X, pair_weight, n_bits):
    y = data.draw(labels_of(len(X)))
    before = state(X, y)
    hasher = RefinedHasher(n_bits=n_bits, pair_weight=pair_weight, ridges=(0.1, 1.0), **TINY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        try:
            hasher.fit(X, y)
        except ValueError as error:
            assert EXPLAINED.search(str(error)), error
            assert not hasattr(hasher, "codes_")
            return
        finally:
            for first, second in zip(before, state(X, y), strict=True):
                assert_array_equal(first, second)
        codes = hasher.transform(X)
        assert codes.shape == hasher.codes_.shape == (len(X), n_bits)
        assert codes.dtype == np.int8 and set(np.unique(codes)) <= {-1, 1}
        assert set(np.unique(hasher.codes_)) <= {-1, 1}
        for name in X.names:
            together = hasher.encode(X[name], modality=name)
            alone = [hasher.encode(X[name][[i]], modality=name) for i in range(len(X))]
            assert_array_equal(together, np.concatenate(alone))
        assert_array_equal(pickle.loads(pickle.dumps(hasher)).transform(X), codes)
        assert_array_equal(clone(hasher).fit(X, y).codes_, hasher.codes_)


@settings(deadline=None, max_examples=40)
@given(
    X=rows(modalities=(1, 3)),
    feature_map=st.sampled_from(["auto", "passthrough", None]),
    regularisation=st.sampled_from(["auto", 0.0, 0.1]),
    power=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_shared_space_answers_or_explains(X, feature_map, regularisation, power):
    before = state(X)
    space = SharedSpace(
        3,
        feature_map=feature_map,
        regularisation=regularisation,
        power=power,
        n_anchors=8,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        try:
            space.fit(X)
        except ValueError as error:
            assert EXPLAINED.search(str(error)), error
            return
        finally:
            for first, second in zip(before, state(X), strict=True):
                assert_array_equal(first, second)
        Z = space.transform(X)
        norms = np.linalg.norm(Z, axis=1)
        assert Z.shape == (len(X), space.n_components_)
        assert (np.isclose(norms, 1, atol=1e-5) | (norms == 0)).all()
        for name in X.names:
            together = space.transform(X[name], modality=name)
            alone = [space.transform(X[name][[i]], modality=name) for i in range(len(X))]
            assert_array_equal(together, np.concatenate(alone))
        assert 0 < space.score(X) <= 1
        assert_array_equal(pickle.loads(pickle.dumps(space)).transform(X), Z)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000), width=st.integers(2, 6), ridge=st.sampled_from([0.0, 0.1, 1.0]))
def test_modalities_that_are_the_same_have_the_same_rows(seed, width, ridge):
    block = np.random.default_rng(seed).standard_normal((30, width))
    X = MultimodalData(a=block, b=block)
    space = SharedSpace(4, feature_map="passthrough", regularisation=ridge, random_state=0).fit(X)
    a, b = (space.transform(X[name], modality=name) for name in X.names)
    assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_things_are_found_where_modalities_are_the_same(seed):
    block = np.random.default_rng(seed).standard_normal((60, 5))
    X = MultimodalData(codes=block, vectors=block)
    hasher = RefinedHasher(n_bits=32, ridges=(0.1, 1.0), **{**TINY, "n_anchors": 40}).fit(X)
    a, b = (hasher.encode(X[name], modality=name) for name in X.names)
    assert pair_recall_at_k(a, b, k=3) > 0.5


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize(
    "estimator", [SharedSpace(), RefinedHasher(), DSAH(pair_weight=1), AAH(pair_weight=1)]
)
def test_one_row_is_refused(estimator, n):
    X = MultimodalData(a=np.ones((3, 2)), b=np.ones((3, 4)))
    with pytest.raises(ValueError, match=rf"{n} row\(s\).*needs at least two"):
        clone(estimator).fit(X[:n])


def two_blocks(n=40):
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((n, 3))
    return MultimodalData(
        a=np.hstack([shared, rng.standard_normal((n, 2))]),
        b=shared + 0.3 * rng.standard_normal((n, 3)),
    )


@pytest.mark.parametrize("feature_map", ["auto", "passthrough", FunctionTransformer()])
def test_features_at_the_end_of_their_type_are_refused(feature_map):
    X = two_blocks()
    for factor in (1e-300, 1e200, 1e300):
        scaled = MultimodalData(a=X["a"] * factor, b=X["b"])
        for regularisation in ("auto", 0.1):
            space = SharedSpace(3, feature_map=feature_map, regularisation=regularisation)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with pytest.raises(ValueError, match=r"of 'a' are of the order of.*rescale"):
                    space.fit(scaled)


@pytest.mark.parametrize("factor", [1e-40, 1e-25, 1e25, 1e100])
def test_the_search_does_not_depend_on_the_scale(factor):
    X = two_blocks()
    scaled = MultimodalData(a=X["a"] * factor, b=X["b"] * factor)
    space = SharedSpace(3, feature_map="passthrough", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = (clone(space).fit(rows) for rows in (X, scaled))
        assert first.regularisation_ == second.regularisation_
        assert_allclose(second.transform(scaled), first.transform(X), atol=1e-6)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(("dtype", "factor"), [(np.float32, 2.0**90), (np.float64, 2.0**900)])
def test_outliers_among_new_rows_have_unit_rows(dtype, factor):
    X = two_blocks()
    blocks = {name: X[name].astype(dtype) for name in X.names}
    space = SharedSpace(3, feature_map="passthrough", random_state=0).fit(MultimodalData(**blocks))
    far, farther = (space.transform(blocks["a"] * dtype(f), "a") for f in (2.0**60, factor))
    assert far.dtype == dtype
    assert_allclose(farther, far, atol=1e-6)
    assert_allclose(np.linalg.norm(farther, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "estimator",
    [
        RefinedHasher(n_bits=8, preprocessing=["sqrt_norm"], **TINY),
        SharedSpace(3, feature_map=make_pipeline(Normalizer(), AnchorRBF(8))),
        DSAH(8, pair_weight=1, n_anchors=8, shared_space=SharedSpace(3, n_anchors=8)),
    ],
)
def test_configured_output_does_not_reach_inner_transformers(estimator):
    pytest.importorskip("pandas")
    X = two_blocks()
    with config_context(transform_output="pandas"), warnings.catch_warnings():
        warnings.filterwarnings("error", "X does not have valid feature names")
        clone(estimator).fit(X).transform(X)


def test_a_fit_without_labels_forgets_those_before():
    X = two_blocks()
    hasher = RefinedHasher(n_bits=8, **TINY)
    again = clone(hasher).fit(X, np.arange(40) % 3).fit(X)
    assert vars(again).keys() == vars(hasher.fit(X)).keys()
    assert again._indicator is None


def test_a_search_without_y_is_told_what_scores():
    search = GridSearchCV(
        RefinedHasher(n_bits=8, **TINY), {"n_bits": [8]}, cv=KFold(2), error_score="raise"
    )
    with pytest.raises(ValueError, match="relevance='pair', gallery='validation'"):
        search.fit(two_blocks())
