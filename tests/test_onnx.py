"""Exported encoders give the codes of `encode`."""

import sys

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

from sklearn_cmh import AAH, ASCMH, DSAH, AnchorRBF, MultimodalData, RefinedHasher
from sklearn_cmh.datasets import make_multimodal_classification
from sklearn_cmh.onnx import to_onnx

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:n_anchors"
)

DSAH_SMALL = DSAH(24, n_anchors=40, max_iter=2, n_perturbations=0, random_state=0)
HASHERS = {
    "rbf": DSAH_SMALL,
    "ascmh": ASCMH(24, n_anchors=40, random_state=0),
    "scaled": AAH(24, max_iter=3, random_state=0),
    "passthrough": clone(DSAH_SMALL).set_params(feature_map="passthrough"),
    "not centred": clone(DSAH_SMALL).set_params(feature_map=AnchorRBF(30, centre=False)),
    "pipeline": clone(DSAH_SMALL).set_params(
        feature_map=make_pipeline(FunctionTransformer(), Normalizer(), AnchorRBF(30))
    ),
    "preprocessed": clone(DSAH_SMALL).set_params(
        modalities=[("image", StandardScaler(with_mean=False), None), ("text", None, None)]
    ),
    "refined": RefinedHasher(
        clone(DSAH_SMALL),
        16,
        widths=[1.0],
        ridges=[0.1],
        preprocessing=["sqrt_norm"],
        n_anchors=40,
        n_restarts=1,
        random_state=0,
    ),
}


@pytest.fixture(scope="module")
def runtime():
    pytest.importorskip("onnx")
    return pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def data():
    return make_multimodal_classification(400, random_state=0)


def as_type(X, dtype):
    return MultimodalData(**{name: X[name].astype(dtype) for name in X.names})


def run(runtime, model, X, names):
    session = runtime.InferenceSession(model.SerializeToString())
    dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64}
    inputs = {x.name: X[x.name].astype(dtype[x.type]) for x in session.get_inputs()}
    assert list(inputs) == list(names)
    (codes,) = session.run(None, inputs)
    return codes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", HASHERS)
def test_codes_are_those_of_encode(runtime, data, name, dtype):
    X, y = as_type(data[0], dtype), data[1]
    hasher = clone(HASHERS[name]).fit(X[:200], y[:200])
    for modality in ["image", "text"]:
        codes = run(runtime, to_onnx(hasher, modality, dtype=dtype), X[200:], [modality])
        assert codes.dtype == np.int8
        np.testing.assert_array_equal(codes, hasher.encode(X[200:], modality=modality))
    codes = run(runtime, to_onnx(hasher, dtype=dtype), X[200:], X.names)
    np.testing.assert_array_equal(codes, hasher.encode(X[200:]))


def test_sparse_anchors(runtime, data):
    X, y = make_multimodal_classification(300, random_state=0, sparse_modalities=["text"])
    hasher = clone(DSAH_SMALL).fit(X[:200], y[:200])
    assert sparse.issparse(hasher.feature_maps_["text"].anchors_)
    dense = {"text": X["text"].toarray()}
    codes = run(runtime, to_onnx(hasher, "text"), dense, ["text"])
    np.testing.assert_array_equal(codes, hasher.encode(dense["text"], modality="text"))


def test_projections_within_rounding_of_zero_count_as_plus_one(runtime, data):
    # A row of the training mean has features of zero, and a constant modality nothing else.
    X, y = data
    hasher = AAH(24, max_iter=3, random_state=0).fit(X, y)
    rows = X["image"].mean(axis=0, keepdims=True).repeat(3, axis=0)
    codes = run(runtime, to_onnx(hasher, "image"), {"image": rows}, ["image"])
    np.testing.assert_array_equal(codes, hasher.encode(rows, modality="image"))
    constant = MultimodalData(image=X["image"], text=np.ones((400, 2)))
    hasher = clone(DSAH_SMALL).fit(constant, y)
    codes = run(runtime, to_onnx(hasher, "text"), constant[:5], ["text"])
    assert (codes == 1).all()


def test_any_number_of_rows_and_a_graph_that_names_itself(runtime, data):
    hasher = clone(DSAH_SMALL).fit(*data)
    model = to_onnx(hasher, "text")
    for n in [0, 1, 7]:
        assert run(runtime, model, data[0][:n], ["text"]).shape == (n, 24)
    assert model.producer_name == "sklearn-cmh" and model.graph.name == "DSAH"
    assert len(model.SerializeToString()) < 20_000


@pytest.mark.parametrize("other", ["codes_", "constant_0", "sub_0"])
def test_modalities_may_be_called_anything(runtime, data, other):
    X, y = MultimodalData(codes=data[0]["image"], **{other: data[0]["text"]}), data[1]
    hasher = clone(DSAH_SMALL).fit(X, y)
    codes = run(runtime, to_onnx(hasher), X, X.names)
    np.testing.assert_array_equal(codes, hasher.encode(X))
    codes = run(runtime, to_onnx(hasher, "codes"), X, ["codes"])
    np.testing.assert_array_equal(codes, hasher.encode(X, modality="codes"))


def test_a_table_is_exported_by_modality(runtime, data):
    X, y = data
    columns = {"image": slice(0, 20), "text": slice(20, 30)}
    table = np.hstack([X["image"], X["text"]])
    hasher = clone(DSAH_SMALL).set_params(modalities=columns).fit(table, y)
    codes = run(runtime, to_onnx(hasher), X, X.names)
    np.testing.assert_array_equal(codes, hasher.encode(table))


class Doubler(StandardScaler):
    pass


@pytest.mark.parametrize(
    ("hasher", "message"),
    [
        (clone(DSAH_SMALL).set_params(feature_map=PCA(3)), "cannot export PCA.*'text'"),
        (clone(DSAH_SMALL).set_params(feature_map=Doubler()), "cannot export Doubler"),
        (clone(DSAH_SMALL).set_params(feature_map=Normalizer("l1")), "norm='l2' only; got 'l1'"),
        (
            clone(DSAH_SMALL).set_params(feature_map=FunctionTransformer(np.abs)),
            "cannot export the function <ufunc 'absolute'>",
        ),
        (ASCMH(4, hash_estimator=LogisticRegression()), "no linear hash functions"),
        (
            RefinedHasher(DSAH_SMALL, 8, n_restarts=1, refit_hash_functions=False, random_state=0),
            "no linear hash functions",
        ),
    ],
)
def test_what_cannot_be_exported_says_so(runtime, data, hasher, message):
    hasher = clone(hasher).fit(*data)
    with pytest.raises(TypeError, match=message):
        to_onnx(hasher, "text")


class Thresholds(DSAH):
    """Bits that change at a threshold of their own."""

    def _solve(self, features, L, rng):
        solution = super()._solve(features, L, rng)
        solution.offsets = [0.1 * rng.standard_normal(self.n_bits) for _ in features]
        return solution


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_offsets_are_exported(runtime, data, dtype):
    X, y = as_type(data[0], dtype), data[1]
    hasher = Thresholds(24, n_anchors=40, max_iter=2, random_state=0).fit(X[:200], y[:200])
    for modality in [*X.names, None]:
        names = X.names if modality is None else [modality]
        codes = run(runtime, to_onnx(hasher, modality, dtype=dtype), X, names)
        np.testing.assert_array_equal(codes, hasher.encode(X, modality=modality))
    hasher.offsets_ = {name: 0 * offset for name, offset in hasher.offsets_.items()}
    assert (codes != hasher.encode(X)).any()


class Turned(DSAH):
    def _project(self, name, block):
        return -super()._project(name, block)


class Mapped(DSAH):
    def _map_features(self, name, block):
        return -super()._map_features(name, block)


class Renamed(DSAH):
    """Computes what DSAH does."""


def test_a_subclass_that_computes_codes_otherwise_is_refused(runtime, data):
    for cls, hook in [(Turned, "_project"), (Mapped, "_map_features")]:
        hasher = cls(**DSAH_SMALL.get_params()).fit(*data)
        with pytest.raises(TypeError, match=f"cannot export {cls.__name__}.*`{hook}`"):
            to_onnx(hasher, "text")
    hasher = Renamed(**DSAH_SMALL.get_params()).fit(*data)
    codes = run(runtime, to_onnx(hasher, "text"), data[0], ["text"])
    np.testing.assert_array_equal(codes, hasher.encode(data[0], modality="text"))


def test_wrong_calls(runtime, data):
    with pytest.raises(NotFittedError):
        to_onnx(DSAH_SMALL, "text")
    with pytest.raises(TypeError, match="exports fitted hashers"):
        to_onnx(StandardScaler())
    hasher = clone(DSAH_SMALL).fit(*data)
    with pytest.raises(ValueError, match="must be one of"):
        to_onnx(hasher, "audio")
    with pytest.raises(ValueError, match="float32 or float64"):
        to_onnx(hasher, "text", dtype=np.int8)


def test_without_onnx_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'pip install "sklearn-cmh\[onnx\]"'):
        to_onnx(DSAH_SMALL)
