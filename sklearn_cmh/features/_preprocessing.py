"""Preprocessing that suits histograms and counts."""

import numpy as np
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer

__all__ = ["signed_sqrt", "sqrt_norm"]


def signed_sqrt(X):
    """Square root of the magnitudes of `X` (dense or sparse), signs kept.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmh.features import signed_sqrt
    >>> signed_sqrt(np.array([[-4.0, 9.0]]))
    array([[-2.,  3.]])
    """
    if sparse.issparse(X):
        X = X.astype(np.result_type(X.dtype, np.float32))
        X.data = signed_sqrt(X.data)
        return X
    return np.copysign(np.sqrt(np.abs(X)), X)


def sqrt_norm():
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
