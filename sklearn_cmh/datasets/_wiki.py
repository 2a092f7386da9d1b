"""The Wikipedia image-text pairs, from the web or from a local file."""

import hashlib
import http.client
import os
import time
import warnings
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
from sklearn.utils import Bunch

from ..data import MultimodalData
from ..utils._sklearn import Interval, StrOptions, validate_params
from ._files import DataHome, keep_file, open_home
from ._mat import dense
from ._paired_mat import checked_features, read_arrays

__all__ = ["fetch_wiki"]


class RemoteFile(NamedTuple):
    """A file on the web, pinned."""

    filename: str
    url: str
    size: int
    sha256: str


WIKI = RemoteFile(
    filename="wikiData.mat",
    url=(
        "https://github.com/llcing/Cross-modal-hashing-SRLCH/raw/"
        "93a0b7b97b7fddcc045b4293307e0b577e19968f/dataset/wikiData.mat"
    ),
    size=1_080_776,
    sha256="915bad0fd08b6cdd6cb5ebd6c831787d70885b4c340f8c796e54752f03d9332c",
)
MAX_BYTES = 2**28  # of a local file's arrays
TIMEOUT = 30.0  # seconds without a byte
DEADLINE = 600.0  # seconds for one attempt as a whole

TARGET_NAMES = (
    "art",
    "biology",
    "geography",
    "history",
    "literature",
    "media",
    "music",
    "royalty",
    "sport",
    "warfare",
)

DESCR = """\
Wikipedia image-text pairs
--------------------------

Sections of 2,866 featured articles of Wikipedia, each with its picture, in the
features and the split that cross-modal retrieval has used since 2010.

=================   ==============================================
Rows                2,866 (2,173 for training, 693 for testing)
image               128 columns, SIFT visual-word histograms
text                10 columns, LDA topic proportions
Classes             10
=================   ==============================================

The first 2,173 rows are the training rows. No licence is stated for these data,
so sklearn-cmh does not contain them: they are read from a file of your own, or
from a copy on the web of which the checksum is pinned.

Rasiwasia, N., Costa Pereira, J., Coviello, E., Doyle, G., Lanckriet, G., Levy, R.
and Vasconcelos, N. (2010). A new approach to cross-modal multimedia retrieval. ACM
Multimedia. https://doi.org/10.1145/1873951.1873987
"""


@validate_params(
    {
        "path": [str, os.PathLike, None],
        "subset": [StrOptions({"all", "train", "test"})],
        "data_home": [str, os.PathLike, None],
        "download_if_missing": ["boolean"],
        "return_X_y": ["boolean"],
        "n_retries": [Interval(Integral, 0, None, closed="left")],
        "delay": [Interval(Real, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def fetch_wiki(
    path: str | os.PathLike[str] | None = None,
    *,
    subset: Literal["all", "train", "test"] = "all",
    data_home: DataHome = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Any:
    """Load the Wikipedia image-text pairs, downloading them if necessary.

    =================   ==============================================
    Rows                2,866 (2,173 for training, 693 for testing)
    image               128 columns, SIFT visual-word histograms
    text                10 columns, LDA topic proportions
    Classes             10
    =================   ==============================================

    Parameters
    ----------
    path : str or path-like, default=None
        A local file to read instead of the download: ``wikiData.mat`` (variables
        ``I_tr, T_tr, L_tr, I_te, T_te, L_te``), or the ``raw_features.mat`` of the
        original archive (``I_tr, T_tr, I_te, T_te``) with
        ``trainset_txt_img_cat.list`` and ``testset_txt_img_cat.list`` beside it.
    subset : {"all", "train", "test"}, default="all"
        Which rows to return.
    data_home : str or path-like, default=None
        Folder where the download is kept, by default scikit-learn's (see
        :func:`sklearn.datasets.get_data_home`).
    download_if_missing : bool, default=True
        If False, raise an OSError when the file is not there already.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of the Bunch.
    n_retries : int, default=3
        How often a failed download is tried again.
    delay : float, default=1.0
        Seconds between two attempts.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        data : MultimodalData of shape (n_samples, 138)
            Modalities "image" (128 columns) and "text" (10 columns), float64.
        target : ndarray of shape (n_samples,)
            Labels from 0 to 9.
        target_names : ndarray of shape (10,)
            Names of the classes.
        train, test : ndarray
            Row numbers of the published split, when `subset` is "all".
        DESCR : str
            Description of the data set.

    (data, target) : tuple if `return_X_y` is True
        As above.

    Raises
    ------
    OSError
        If the file cannot be downloaded whole and unchanged, or is absent and may
        not be downloaded.
    ValueError
        If the local file is damaged or has another layout, or if its numbers are
        complex, NaN or infinite.

    Notes
    -----
    No licence is stated for the data. The download comes from a fixed revision of
    a public repository and is used only when its size and SHA-256 digest are the
    expected ones. Local files are read by a reader that trusts nothing: MATLAB's
    formats 5 to 7, not 7.3, of at most 256 MiB of numbers.

    Examples
    --------
    >>> from sklearn_cmh.datasets import fetch_wiki
    >>> X, y = fetch_wiki(subset="train", return_X_y=True)  # doctest: +SKIP
    >>> X["image"].shape, X["text"].shape  # doctest: +SKIP
    ((2173, 128), (2173, 10))
    """
    content = None
    if path is None:
        path, content = _fetch(WIKI, data_home, download_if_missing, n_retries, delay)
    parts = _read(Path(path), content)
    extra = {}
    if subset == "all":
        n_train, n_test = (len(parts[part][2]) for part in ("train", "test"))
        extra = {"train": np.arange(n_train), "test": np.arange(n_train, n_train + n_test)}
        image, text, target = map(np.concatenate, zip(parts["train"], parts["test"], strict=True))
    else:
        image, text, target = parts[subset]
    data = MultimodalData(image=image, text=text)
    if return_X_y:
        return data, target
    return Bunch(
        data=data, target=target, target_names=np.array(TARGET_NAMES), **extra, DESCR=DESCR
    )


def _read(path, content=None):
    """Rows of a .mat file as ``{"train": (image, text, target), "test": ...}``."""
    names = [f"{letter}_{suffix}" for letter in "ITL" for suffix in ("tr", "te")]
    arrays = read_arrays(path, names, MAX_BYTES, content)
    missing = [name for name in ("I_tr", "T_tr", "I_te", "T_te") if name not in arrays]
    if missing:
        raise ValueError(
            f"{path} lacks the variables {missing}: expected the layout of wikiData.mat or of "
            "raw_features.mat."
        )
    parts = {}
    for part, suffix in (("train", "tr"), ("test", "te")):
        image, text = (_features(path, f"{m}_{suffix}", arrays) for m in "IT")
        if f"L_{suffix}" in arrays:
            labels = dense(arrays[f"L_{suffix}"], MAX_BYTES).ravel()
        else:
            labels = _read_labels(path.parent / f"{part}set_txt_img_cat.list")
        if not len(image) == len(text) == len(labels) > 0:
            raise ValueError(
                f"{path}: the {part} rows do not agree; image {image.shape}, text {text.shape}, "
                f"labels {labels.shape}."
            )
        if not np.isin(labels, np.arange(1, len(TARGET_NAMES) + 1)).all():
            raise ValueError(f"{path}: the labels of the {part} rows must be integers 1 to 10.")
        parts[part] = image, text, labels.astype(np.int64) - 1
    for name, train, test in zip(("image", "text"), *parts.values(), strict=False):
        if train.shape[1] != test.shape[1]:
            raise ValueError(
                f"{path}: {name} has {train.shape[1]} columns in training rows, {test.shape[1]} "
                "in test rows."
            )
    return parts


def _features(path, name, arrays):
    """A variable of features as a dense array, float64."""
    features = checked_features(path, name, arrays)
    try:
        features = dense(features, MAX_BYTES)
    except ValueError as error:
        raise ValueError(f"{path}: {name} {error}.") from error
    return features.astype(np.float64)


def _read_labels(path):
    """Last column of a ``*_txt_img_cat.list`` file: text, image, category."""
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {path}: raw_features.mat holds no labels, they are read from the "
            ".list files beside it"
        )
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return np.array([int(line.split()[-1]) for line in lines if line.strip()])
    except ValueError as error:
        raise ValueError(f"{path}: expected lines of text, image and category number.") from error


def _fetch(remote, data_home, download_if_missing, n_retries, delay):
    """Path and verified content of `remote`, downloaded if need be, and then kept."""
    target = open_home(data_home) / remote.filename
    if target.is_file():
        content = _content(target, remote)
        if content is not None:
            return target, content
        if download_if_missing:
            warnings.warn(
                f"{target} is not the expected file (its SHA-256 digest differs); downloading it "
                "again.",
                stacklevel=3,
            )
    if not download_if_missing:
        raise OSError(f"no valid {target}, and download_if_missing is False")
    for attempt in range(n_retries + 1):
        try:
            content = _download(remote)
            break
        except (OSError, http.client.HTTPException) as error:
            final = isinstance(error, HTTPError) and 400 <= error.code < 500
            if final or attempt == n_retries:
                raise OSError(
                    f"could not download {remote.filename} from {remote.url}: {error}. Download "
                    "it by other means and pass its path."
                ) from error
            warnings.warn(f"{error}; trying {remote.url} again", stacklevel=3)
            time.sleep(delay)
    keep_file(target, lambda file: file.write(content))
    return target, content


def _content(path, remote):
    """Content of the file if it is the expected one, else None."""
    with open(path, "rb") as file:
        content = file.read(remote.size + 1)
    return content if hashlib.sha256(content).hexdigest() == remote.sha256 else None


def _download(remote):
    """One attempt: the content, whole and verified."""
    # The addresses are constants of this module, and what comes is verified.
    request = Request(remote.url, headers={"User-Agent": "sklearn-cmh"})  # noqa: S310
    deadline = time.monotonic() + DEADLINE
    content = bytearray()
    with urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
        while len(content) <= remote.size and (chunk := response.read1(2**16)):
            content += chunk
            if time.monotonic() > deadline:
                raise TimeoutError(f"not finished after {DEADLINE:g} seconds")
    if len(content) != remote.size:
        more = " or more" if len(content) > remote.size else ""
        raise OSError(f"received {len(content)}{more} bytes instead of {remote.size}")
    digest = hashlib.sha256(content).hexdigest()
    if digest != remote.sha256:
        raise OSError(f"the SHA-256 digest is {digest}, not {remote.sha256}")
    return bytes(content)
