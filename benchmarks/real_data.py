"""The data sets that benchmarks run on, and their splits.

"wiki"            fetched, or read from a local file
"openmoji"        emoji pictures and names, one of nine groups each (from the demo extra)
"emoji-keywords"  several labels per row; see `emoji_keywords`
"generated"       few rows, to see that everything runs
a path            an .npz file with ``image``, ``text``, ``labels``, ``train`` and ``test``: blocks
                  of features, class labels or their indicator, and row numbers
"""

import json
from importlib.metadata import PackageNotFoundError, files

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import train_test_split

from sklearn_cmh import MultimodalData
from sklearn_cmh.datasets import fetch_wiki, load_openmoji, make_multimodal_classification

# A keyword is a label if at least this many emoji have it, and it is none that goes with a more
# frequent one: not more than half of the rows that have either have both.
LABEL_ROWS = 25
LARGEST_OVERLAP = 0.5


def load_rows(data, wiki_path=None):
    """All rows of a data set and its published split: ``X, y, train, test``."""
    if data == "wiki":
        bunch = fetch_wiki(wiki_path)
        return bunch.data, bunch.target, bunch.train, bunch.test
    if data == "openmoji":
        bunch = load_openmoji()
        return bunch.data, bunch.target, bunch.train, bunch.test
    if data == "emoji-keywords":
        return emoji_keywords()
    if data == "generated":
        X, y = make_multimodal_classification(300, random_state=0)
        return X, y, np.arange(200), np.arange(200, 300)
    with np.load(data, allow_pickle=False) as arrays:
        X = MultimodalData(image=arrays["image"], text=arrays["text"])
        y, train, test = arrays["labels"], arrays["train"], arrays["test"]
    return X, sparse.csr_array(y) if y.ndim == 2 else y, train, test


def load(data, wiki_path=None, split=0):
    """Rows of a data set: ``(X, y)`` for training and for testing.

    Split 0 is the published one; others are drawn, with as many rows on both sides.
    """
    X, y, train, test = load_rows(data, wiki_path)
    if split:
        rows = np.concatenate([train, test])
        train, test = train_test_split(rows, test_size=len(test), random_state=split)
    return (X[train], y[train]), (X[test], y[test])


def emoji_keywords():
    """Emoji pictures and words, with several labels per row: ``X, y, train, test``.

    Images are those of `load_openmoji`. The keywords are those that people search emoji by, from
    the package em-keyboard (emojilib, licence MIT). Frequent ones are the labels; the rare ones
    are the text, with the words of the name, as annotations and tags are in the sets of pictures
    from Flickr. No word of a frequent keyword is part of the text, be it a label or not. Rows
    without a label or without a word are left out.
    """
    bunch = load_openmoji()
    keywords = _keywords()
    rows = [keywords[_plain(emoji)] for emoji in bunch.emoji]
    frequent = CountVectorizer(analyzer=list, binary=True, min_df=LABEL_ROWS)
    L = frequent.fit_transform(rows).toarray()
    names = frequent.get_feature_names_out()
    hidden = sorted({part for name in names for part in [name, *name.split("_")]})
    documents = [
        " ".join([description, *row]).replace("_", " ")
        for description, row in zip(bunch.descriptions, rows, strict=True)
    ]
    words = CountVectorizer(binary=True, min_df=2, stop_words=hidden, dtype=np.float32)
    T = words.fit_transform(documents)
    L = L[:, _apart(L)]
    kept = np.flatnonzero((L.sum(axis=1) > 0) & (T.getnnz(axis=1) > 0))
    X = MultimodalData(image=bunch.data["image"][kept], text=T[kept])
    train, test = train_test_split(np.arange(len(kept)), test_size=len(kept) // 5, random_state=0)
    return X, sparse.csr_array(L[kept]), train, test


def _keywords():
    """Emoji to the list of its keywords, without its name."""
    try:
        path = next(f for f in files("em-keyboard") if f.name == "emojis.json")
    except PackageNotFoundError as error:
        raise ImportError(
            "emoji-keywords is built from the package em-keyboard: pip install em-keyboard"
        ) from error
    listed = json.loads(path.read_text(encoding="utf-8"))
    return {_plain(emoji): keywords[1:] for emoji, keywords in listed.items()}


def _plain(emoji):
    """Without the variation selector, which lists of emoji put in different places."""
    return emoji.replace("\N{VARIATION SELECTOR-16}", "")


def _apart(L):
    """Columns from the most frequent on that do not go with one before."""
    L = L.astype(bool)
    kept: list[int] = []
    for j in np.argsort(-L.sum(axis=0), kind="stable"):
        both = [(L[:, i] & L[:, j]).sum() / (L[:, i] | L[:, j]).sum() for i in kept]
        if not both or max(both) <= LARGEST_OVERLAP:
            kept.append(j)
    return kept
