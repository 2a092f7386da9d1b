"""Preprocessing that suits histograms and counts."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer

__all__ = ["signed_sqrt", "sqrt_norm"]


def signed_sqrt(X: Any) -> Any:
    """Square root of the magnitudes of `X` (dense or sparse), signs kept.

    Parameters
    ----------
    X : {ndarray, sparse} of any shape
        Numbers. Several entries of a sparse matrix at one place count as their sum.

    Returns
    -------
    roots : {ndarray, sparse}
        A new array or matrix; float64, or float32 for float32.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.features import signed_sqrt
    >>> signed_sqrt(np.array([[-4.0, 9.0]]))
    array([[-2.,  3.]])
    """
    if sparse.issparse(X):
        X = X if X.format in ("csr", "csc", "coo") else X.tocsr()
        X = X.astype(np.result_type(X.dtype, np.float32), copy=True)
        X.sum_duplicates()
        X.data = signed_sqrt(X.data)
        return X
    return np.copysign(np.sqrt(np.abs(X)), X)


def sqrt_norm() -> Pipeline:
    """Signed square root, then rows of unit 2-norm: a transformer for histograms and counts.

    Returns
    -------
    transformer : Pipeline
        Of scikit-learn's FunctionTransformer and Normalizer; sparse input stays sparse.

    Examples
    --------
    >>> from sklearn_cmh.features import sqrt_norm
    >>> sqrt_norm().fit_transform([[9.0, -16.0]])
    array([[ 0.6, -0.8]])
    """
    root = FunctionTransformer(
        signed_sqrt, accept_sparse=True, validate=True, feature_names_out="one-to-one"
    )
    return make_pipeline(root, Normalizer())
