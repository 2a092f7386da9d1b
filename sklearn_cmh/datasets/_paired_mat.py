"""Paired rows from the .mat files that users of MIRFlickr-25K, NUS-WIDE and others have."""

import os
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import Bunch

from ..data import MultimodalData
from ..utils._sklearn import Interval, validate_params
from ._mat import dense, read_mat

__all__ = ["checked_features", "load_mat", "read_arrays"]

SPLIT = {part: tuple(f"{letter}_{part}" for letter in "ITL") for part in ("tr", "te")}
WHOLE = ("images", "YAll", "LAll")
# Up to here, doubles tell whole numbers apart.
_LARGEST_LABEL = 2**53


@validate_params(
    {
        "path": [str, os.PathLike],
        "max_bytes": [Interval(Integral, 1, None, closed="left")],
        "return_X_y": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def load_mat(
    path: str | os.PathLike[str], *, max_bytes: int = 2**33, return_X_y: bool = False
) -> Any:
    """Load paired rows from a .mat file in one of the layouts that the field passes around.

    Read are the variables ``I_tr, T_tr, L_tr, I_te, T_te, L_te`` (features of images and
    texts and labels of training and test rows, as files of Wikipedia, MIRFlickr-25K and
    NUS-WIDE have them), or ``images, YAll, LAll`` (pixels or features, tags and labels of
    all rows). Nothing is downloaded.

    Parameters
    ----------
    path : str or path-like
        A file of MATLAB's versions 5 to 7. Files of version 7.3 are HDF5; save them in
        MATLAB by ``save(..., '-v7')``.
    max_bytes : int, default=2**33
        How much memory the variables may take, all together.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of the Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        data : MultimodalData
            Modalities "image" and "text", in the dtype of the file, sparse where the
            file has them sparse. Pixels have the shape (n, height, width, 3).
        target : ndarray of shape (n, c), int8, or of shape (n,)
            Label indicator; or labels, where the file has one column of them.
        train, test : ndarray
            Row numbers of the split, where the file has one.

    (data, target) : tuple if `return_X_y` is True
        As above.

    Raises
    ------
    ValueError
        If the file is damaged or has another layout, its blocks do not agree, or its
        numbers are complex, NaN or infinite.

    See Also
    --------
    fetch_wiki : The Wikipedia pairs, with names of the classes.

    Notes
    -----
    The file is not trusted: no damaged or malicious one can end the process or take more
    memory than `max_bytes` and a few copies of one variable.

    Examples
    --------
    >>> from sklearn_cmh.datasets import load_mat
    >>> flickr = load_mat("mirflickr25k.mat")  # doctest: +SKIP
    >>> X_train = flickr.data[flickr.train]  # doctest: +SKIP
    """
    path = Path(path)
    arrays = read_arrays(path, [*SPLIT["tr"], *SPLIT["te"], *WHOLE], max_bytes)
    if set(WHOLE) <= arrays.keys():
        parts = [_part(path, WHOLE, arrays, max_bytes)]
    elif all(name in arrays for names in SPLIT.values() for name in names):
        parts = [_part(path, names, arrays, max_bytes) for names in SPLIT.values()]
    else:
        raise ValueError(
            f"{path} has another layout: of its variables, only {sorted(arrays)} are known; "
            f"expected are {', '.join([*SPLIT['tr'], *SPLIT['te']])}, or {', '.join(WHOLE)}."
        )
    image, text, target = (_stacked(path, blocks) for blocks in zip(*parts, strict=True))
    data = MultimodalData(image=image, text=text)
    if return_X_y:
        return data, target
    split = {}
    if len(parts) == 2:
        n_train = parts[0][2].shape[0]
        split = {"train": np.arange(n_train), "test": np.arange(n_train, len(target))}
    return Bunch(data=data, target=target, **split)


def read_arrays(
    path: Path, names: list[str], max_bytes: int, content: bytes | None = None
) -> dict[str, Any]:
    """Variables of a .mat file, or of its `content`; errors name the file."""
    if content is None and not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        return read_mat(content or path, names, max_bytes=max_bytes)
    except ValueError as error:
        raise ValueError(
            f"{path} is no readable .mat file, or not a whole one: {error}."
        ) from error


def checked_features(path: Path, name: str, arrays: Mapping[str, Any]) -> Any:
    """Rows of features of a variable, dense or CSR, all of them finite."""
    features = arrays[name]
    if features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(
            f"{path}: {name} must have rows and columns; its shape is {features.shape}."
        )
    features = features.tocsr() if sparse.issparse(features) else features
    _check_finite(path, name, features.data if sparse.issparse(features) else features)
    return features


def _check_finite(path, name, values):
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: {name} holds NaN or infinite numbers.")


def _part(path, names, arrays, max_bytes):
    """Image, text and labels of some rows."""
    image, text, labels = names
    target = _target(path, labels, arrays[labels], max_bytes)
    n = len(target)
    if arrays[image].ndim == 4:
        images = _pixels(path, image, arrays[image], n)
    else:
        images = checked_features(path, image, arrays)
    texts = checked_features(path, text, arrays)
    if not images.shape[0] == texts.shape[0] == n > 0:
        raise ValueError(
            f"{path}: the rows of {', '.join(names)} do not agree; their shapes are "
            f"{images.shape}, {texts.shape} and {target.shape}."
        )
    return images, texts, target


def _pixels(path, name, array, n):
    """Pictures of n rows as (n, height, width, channels), wherever MATLAB has their number."""
    if array.shape[0] != n:
        array = np.moveaxis(array, -1, 0)
    if array.shape[-1] not in (1, 3) and array.shape[1] in (1, 3):
        array = np.moveaxis(array, 1, -1)
    if array.shape[0] != n or array.shape[-1] not in (1, 3) or array.dtype.kind not in "uf":
        raise ValueError(
            f"{path}: {name} of shape {array.shape} and dtype {array.dtype} are no pictures of "
            f"the {n} rows of labels."
        )
    _check_finite(path, name, array)
    return array


def _target(path, name, array, max_bytes) -> NDArray[Any]:
    """Label indicator (n, c), or labels (n,) of a single column."""
    try:
        labels = dense(array, max_bytes)
    except ValueError as error:
        raise ValueError(f"{path}: {name} {error}.") from error
    if labels.ndim != 2 or not (np.isfinite(labels).all() and (labels == np.rint(labels)).all()):
        raise ValueError(f"{path}: {name} must hold one row of whole numbers for each row.")
    if labels.size and np.abs(labels.astype(np.float64)).max() > _LARGEST_LABEL:
        raise ValueError(f"{path}: {name} holds labels beyond {_LARGEST_LABEL}, no class numbers.")
    if labels.shape[1] == 1:
        return labels.ravel().astype(np.int64)
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(
            f"{path}: {name} of shape {labels.shape} must be an indicator of zeros and ones."
        )
    return labels.astype(np.int8)


def _stacked(path, blocks):
    """Rows of training and test part in one block."""
    if len({block.shape[1:] for block in blocks}) > 1:
        raise ValueError(
            f"{path}: training and test rows have different columns, of the shapes "
            f"{[block.shape for block in blocks]}."
        )
    if len(blocks) == 1:
        return blocks[0]
    if any(sparse.issparse(block) for block in blocks):
        return sparse.csr_array(sparse.vstack(blocks))
    return np.concatenate(blocks)
