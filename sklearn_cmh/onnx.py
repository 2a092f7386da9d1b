"""Encoders as ONNX graphs, to hash queries where there is no Python.

The graph takes the rows of a modality to int8 codes: preprocessing, feature map,
projection, sign, with the rule of `encode` that projections within rounding of zero count
as +1. Preprocessing that cannot be written down so is refused.
"""

import numpy as np
from scipy import sparse
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from sklearn.utils.validation import check_is_fitted

from ._version import __version__
from .base import BaseHasher, ShallowHasher
from .features import AnchorRBF, signed_sqrt
from .solvers import rounding_noise
from .utils.discovery import all_estimators

__all__ = ["to_onnx"]

OPSET = 18
IR_VERSION = 9


def to_onnx(hasher, modality=None, *, dtype=None):
    """Export the encoder of a fitted hasher.

    Supported are the methods with linear hash functions (all shallow ones, ASCMH with its own
    ridge regression, and RefinedHasher with refitted hash functions), the feature maps
    :class:`~sklearn_cmh.AnchorRBF`, "passthrough", StandardScaler and Normalizer, Pipelines
    of them, and the same as preprocessing inside `modalities`.

    Parameters
    ----------
    hasher : BaseHasher
        Fitted hasher.
    modality : str, default=None
        Modality to encode. None exports the fused encoder, with an input per modality.
    dtype : {float32, float64}, default=None
        Type of the rows; None is that of the projections, which is that of the training
        rows. Codes agree with those of `encode` for rows of this type, but for bits whose
        projections differ from zero by rounding only.

    Returns
    -------
    model : onnx.ModelProto
        Graph with inputs of shape (n, n_features) named as the modalities, and the output
        ``codes`` of shape (n, n_bits), int8, -1 and +1; ``codes__`` where a modality is
        called "codes".

    Raises
    ------
    ImportError
        If the extra ``onnx`` is not installed.
    TypeError
        If a part of the encoder is not supported, or a class that is not of this package
        computes codes in a way of its own.

    Examples
    --------
    >>> from sklearn_cmh.onnx import to_onnx
    >>> model = to_onnx(hasher, "text")  # doctest: +SKIP
    >>> session = onnxruntime.InferenceSession(model.SerializeToString())  # doctest: +SKIP
    >>> (codes,) = session.run(None, {"text": X_text})  # doctest: +SKIP
    """
    try:
        from onnx import checker, helper
    except ImportError as error:
        raise ImportError(
            'to_onnx needs onnx: pip install "sklearn-cmh[onnx]" installs it.'
        ) from error
    if not isinstance(hasher, BaseHasher):
        raise TypeError(f"to_onnx exports fitted hashers; got {hasher!r}.")
    check_is_fitted(hasher)
    if not hasattr(hasher, "projections_"):
        raise TypeError(
            f"This {type(hasher).__name__} has no linear hash functions (`projections_`), so "
            f"to_onnx cannot export it. Supported are {_supported()}."
        )
    _check_hooks(hasher)
    if modality is not None and modality not in hasher.modality_names_:
        raise ValueError(f"modality must be one of {hasher.modality_names_}; got {modality!r}.")
    names = hasher.modality_names_ if modality is None else [modality]
    if dtype is None:
        dtype = np.result_type(*(hasher.projections_[name] for name in names))
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64; got {dtype!r}.")

    graph = GraphBuilder(np.dtype(dtype))
    projections = [_projection(graph, hasher, name) for name in names]
    codes = graph.sign(graph.sum(projections))
    widths = {m.name: m.width for m in hasher._modalities}
    n_bits = hasher.projections_[names[0]].shape[1]
    output = "codes__" if "codes" in names else "codes"
    model = helper.make_model(
        helper.make_graph(
            [*graph.nodes, helper.make_node("Identity", [codes], [output])],
            type(hasher).__name__,
            [
                helper.make_tensor_value_info(name, graph.onnx_type, ["n", widths[name]])
                for name in names
            ],
            [helper.make_tensor_value_info(output, graph.int8, ["n", n_bits])],
            graph.constants,
        ),
        producer_name="sklearn-cmh",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    checker.check_model(model, full_check=True)
    return model


# What takes rows to codes; a class elsewhere that overrides one computes something else.
_HOOKS = (
    "_check_block",
    "_check_features",
    "_encode",
    "_map_features",
    "_new_blocks",
    "_project",
    "_project_blocks",
    "_projected_batches",
    "encode",
    "transform",
)


def _check_hooks(hasher):
    cls = type(hasher)
    for name in _HOOKS:
        hook = getattr(cls, name, None)
        # scikit-learn wraps `transform`, keeping the module of what it wraps.
        if hook is not None and hook.__module__.split(".")[0] != __name__.split(".")[0]:
            raise TypeError(
                f"to_onnx cannot export {cls.__name__}, whose own `{name}` it cannot write down."
            )


def _supported():
    """Which methods can have linear hash functions, in words."""
    names = [name for name, cls in all_estimators() if issubclass(cls, ShallowHasher)]
    return (
        f"{', '.join(names)} (ASCMH with hash_estimator=None), and RefinedHasher with "
        "refit_hash_functions=True"
    )


class GraphBuilder:
    """Nodes and constants of a graph; a method per operation, which returns its output's name.

    Names hold two underscores, which those of modalities, the inputs, must not.

    Parameters
    ----------
    dtype : dtype
        Of the rows, float32 or float64.
    """

    def __init__(self, dtype):
        from onnx import TensorProto

        self.dtype = dtype
        self.nodes, self.constants = [], []
        self.int8 = TensorProto.INT8
        self.types = {np.dtype("f4"): TensorProto.FLOAT, np.dtype("f8"): TensorProto.DOUBLE}

    @property
    def onnx_type(self):
        """Type of the rows in ONNX."""
        return self.types[self.dtype]

    def node(self, operation, *inputs, **attributes):
        """Append a node; inputs are names, or arrays that become constants."""
        from onnx import helper

        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        output = f"{operation.lower()}__{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, names, [output], **attributes))
        return output

    def constant(self, value):
        """Store an array; floating values take the type of the rows unless they are float64."""
        from onnx import numpy_helper

        name = f"constant__{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def number(self, value, dtype=None):
        """Store a number."""
        return self.constant(np.array([value], dtype=dtype or self.dtype))

    def cast(self, x, dtype):
        """Convert floating values."""
        return self.node("Cast", x, to=self.types[np.dtype(dtype)])

    def row_squares(self, x):
        """Squared norms of rows, (n, 1)."""
        return self.node("ReduceSum", self.node("Mul", x, x), np.array([1]), keepdims=1)

    def sum(self, names):
        """Sum of arrays of one shape."""
        total = names[0]
        for name in names[1:]:
            total = self.node("Add", total, name)
        return total

    def sign(self, x):
        """Codes, with sign(0) = +1."""
        positive = self.node("GreaterOrEqual", x, self.number(0))
        return self.node(
            "Cast", self.node("Where", positive, self.number(1), self.number(-1)), to=self.int8
        )


def _projection(graph, hasher, name):
    """Projections of one modality, as `sklearn_cmh.solvers.project` computes them."""
    steps = [getattr(hasher, "transformers_", {}).get(name), hasher.feature_maps_[name]]
    x = name
    for step in steps:
        x = _transform(graph, x, step, name)
    P = hasher.projections_[name].astype(graph.dtype)
    Z = graph.node("MatMul", x, P)
    noise = graph.node("Mul", _norms(graph, x), rounding_noise(P).astype(graph.dtype))
    offset = getattr(hasher, "offsets_", {}).get(name)
    if offset is not None:
        offset = offset.astype(graph.dtype)
        Z = graph.node("Sub", Z, offset)
        noise = graph.node("Add", noise, np.finfo(graph.dtype).eps * np.abs(offset))
    negligible = graph.node("LessOrEqual", graph.node("Abs", Z), noise)
    return graph.node("Where", negligible, graph.number(0), Z)


def _norms(graph, x):
    """Norms of rows, in units of their largest entry, whose square may be no number."""
    largest = graph.node("ReduceMax", graph.node("Abs", x), np.array([1]), keepdims=1)
    unit = graph.node("Max", largest, graph.number(np.finfo(graph.dtype).tiny))
    scaled = graph.node("Div", x, unit)
    return graph.node("Mul", graph.node("Sqrt", graph.row_squares(scaled)), unit)


def _transform(graph, x, step, name):
    """Append one fitted transformer, with the transformers that a Pipeline holds in turn."""
    if isinstance(step, Pipeline):
        for _, part in step.steps:
            x = _transform(graph, x, part, name)
        return x
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return x
    # A subclass may compute something else.
    append = _TRANSFORMERS.get(type(step))
    if append is None:
        known = ", ".join(cls.__name__ for cls in _TRANSFORMERS)
        raise TypeError(
            f"to_onnx cannot export {type(step).__name__}, which prepares the modality {name!r}. "
            f"Supported are {known} and Pipelines of these. Apply it yourself before the graph, "
            "and fit the hasher on what it gives."
        )
    return append(graph, x, step)


def _anchor_rbf(graph, x, step):
    """As in `AnchorRBF`: from units of the width, in float64 where anchors are sparse."""
    dense = not sparse.issparse(step.anchors_)
    dtype = graph.dtype if dense else np.dtype("f8")
    anchors = (step.anchors_ if dense else step.anchors_.toarray()).astype(dtype)
    u = x if dtype == graph.dtype else graph.cast(x, dtype)
    if dense:
        shift = step.anchors_.mean(axis=0, dtype=np.float64).astype(dtype)
        anchors = anchors - shift
        u = graph.node("Sub", u, shift)
    scale = dtype.type(1 / step.width_)
    V = anchors * scale
    u = graph.node("Mul", u, graph.number(scale, dtype))
    half = graph.number(0.5, dtype)
    exponent = graph.node("MatMul", u, V.T)
    exponent = graph.node("Sub", exponent, graph.node("Mul", graph.row_squares(u), half))
    exponent = graph.node("Sub", exponent, 0.5 * np.square(V).sum(axis=1))
    values = graph.node("Exp", graph.node("Min", exponent, graph.number(0, dtype)))
    if dtype != graph.dtype:
        values = graph.cast(values, graph.dtype)
    if step.mean_ is None:
        return values
    return graph.node("Sub", values, step.mean_.astype(graph.dtype))


def _standard_scaler(graph, x, step):
    if step.with_mean:
        x = graph.node("Sub", x, step.mean_.astype(graph.dtype))
    if step.with_std:
        x = graph.node("Div", x, step.scale_.astype(graph.dtype))
    return x


def _normalizer(graph, x, step):
    if step.norm != "l2":
        raise TypeError(f"to_onnx supports Normalizer with norm='l2' only; got {step.norm!r}.")
    norms = graph.node("Sqrt", graph.row_squares(x))
    # As scikit-learn: rows that are zero stay zero.
    zero = graph.node("Less", norms, graph.number(10 * np.finfo(graph.dtype).eps))
    return graph.node("Div", x, graph.node("Where", zero, graph.number(1), norms))


def _function(graph, x, step):
    if step.func is None:
        return x
    if step.func is not signed_sqrt:
        raise TypeError(f"to_onnx cannot export the function {step.func!r}.")
    root = graph.node("Sqrt", graph.node("Abs", x))
    return graph.node("Mul", graph.node("Sign", x), root)


_TRANSFORMERS = {
    AnchorRBF: _anchor_rbf,
    StandardScaler: _standard_scaler,
    Normalizer: _normalizer,
    FunctionTransformer: _function,
}
