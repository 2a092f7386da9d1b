"""Paired data made up on the spot."""

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_random_state

from ..data import MultimodalData
from ..utils._sklearn import Interval, validate_params
from ..utils._typing import NDArray, RandomState

__all__ = ["make_multimodal_classification"]


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_features": [dict, None],
        "n_classes": [Interval(Integral, 1, None, closed="left")],
        "multilabel": ["boolean"],
        "n_labels": [Interval(Real, 1, None, closed="left")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "unlabelled": [Interval(Real, 0, 1, closed="both")],
        "sparse_modalities": ["array-like"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_multimodal_classification(
    n_samples: int = 200,
    n_features: Mapping[str, int] | None = None,
    *,
    n_classes: int = 4,
    multilabel: bool = False,
    n_labels: float = 2,
    noise: float = 1.0,
    unlabelled: float = 0.0,
    sparse_modalities: Sequence[str] = (),
    random_state: RandomState = None,
) -> tuple[MultimodalData, NDArray[Any]]:
    """Make rows that several modalities describe, and their labels.

    Every row has a hidden description: the mean of the centres of its classes,
    plus a part of its own. Each modality sees it through a random linear map of
    its own, with noise added.

    Parameters
    ----------
    n_samples : int, default=200
        Number of rows.
    n_features : dict, default=None
        ``{name: number of columns}`` for any number of modalities; None means
        ``{"image": 20, "text": 10}``.
    n_classes : int, default=4
        Number of classes.
    multilabel : bool, default=False
        Whether a row may have several labels. Every row has at least one, unless
        it is unlabelled.
    n_labels : float, default=2
        Mean number of labels of a row when `multilabel` is True.
    noise : float, default=1.0
        Standard deviation of the noise in every column. A column without noise
        has a standard deviation of about one.
    unlabelled : float, default=0.0
        Share of the rows whose labels are withheld (rounded to whole rows). With
        ``multilabel=True`` these are rows of zeros, which every method takes for
        rows without labels. With ``multilabel=False`` they have the label -1, as
        in :mod:`sklearn.semi_supervised`; only the methods that say so read it as
        "no label", to the others -1 is a class.
    sparse_modalities : sequence of str, default=()
        Modalities whose columns are made non-negative with four fifths of the
        entries zero, and returned as a CSR array.
    random_state : int, RandomState instance or None, default=None
        Pass an int for reproducible rows.

    Returns
    -------
    X : MultimodalData of shape (n_samples, sum of the numbers of columns)
        The modalities.
    y : ndarray of shape (n_samples,) or (n_samples, n_classes)
        Labels from 0 to ``n_classes - 1``, or their indicator of zeros and ones
        when `multilabel` is True.

    Examples
    --------
    >>> from sklearn_cmh.datasets import make_multimodal_classification
    >>> X, y = make_multimodal_classification(100, {"image": 6, "text": 5}, random_state=0)
    >>> X.shape, X["text"].shape, y.shape
    ((100, 11), (100, 5), (100,))
    >>> X, Y = make_multimodal_classification(
    ...     100, n_classes=3, multilabel=True, unlabelled=0.25, random_state=0
    ... )
    >>> Y.shape, int((Y.sum(axis=1) == 0).sum())
    ((100, 3), 25)
    """
    n_features = {"image": 20, "text": 10} if n_features is None else n_features
    _check_names(n_features, sparse_modalities)
    if multilabel and n_labels > n_classes:
        raise ValueError(f"n_labels={n_labels} is more than n_classes={n_classes}.")
    rng = check_random_state(random_state)

    Y = _draw_labels(rng, n_samples, n_classes, n_labels if multilabel else 1)
    width = max(n_classes, 8)
    centres = rng.standard_normal((n_classes, width))
    hidden = Y @ centres / Y.sum(axis=1, keepdims=True)
    hidden += 0.5 * rng.standard_normal(hidden.shape)

    blocks = {}
    for name, n_columns in n_features.items():
        block = hidden @ rng.standard_normal((width, n_columns)) / np.sqrt(width)
        block += noise * rng.standard_normal(block.shape)
        if name in sparse_modalities:
            block = sparse.csr_array(np.maximum(block - np.quantile(block, 0.8), 0.0))
        blocks[name] = block

    withheld = rng.permutation(n_samples)[: round(unlabelled * n_samples)]
    if multilabel:
        y = Y
        y[withheld] = 0
    else:
        y = Y.argmax(axis=1)
        y[withheld] = -1
    return MultimodalData(**blocks), y


def _check_names(n_features, sparse_modalities):
    if not n_features:
        raise ValueError("n_features is empty: name at least one modality, as in {'image': 20}.")
    for name, n_columns in n_features.items():
        if not isinstance(name, str):
            raise ValueError(f"n_features: names of modalities must be strings; got {name!r}.")
        if not isinstance(n_columns, Integral) or isinstance(n_columns, bool) or n_columns < 1:
            raise ValueError(
                f"n_features[{name!r}] must be a positive integer; got {n_columns!r} instead."
            )
    unknown = [name for name in sparse_modalities if name not in n_features]
    if unknown:
        raise ValueError(
            f"sparse_modalities names {unknown}, but the modalities are {list(n_features)}."
        )


def _draw_labels(rng, n_samples, n_classes, n_labels):
    """Indicator with one class drawn for every row, and each other class with equal chance."""
    extra = (n_labels - 1) / max(n_classes - 1, 1)
    Y = (rng.uniform(size=(n_samples, n_classes)) < extra).astype(int)
    Y[np.arange(n_samples), rng.randint(n_classes, size=n_samples)] = 1
    return Y
