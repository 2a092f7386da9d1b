"""
Words find pictures, pictures find words
========================================

Emoji pictures and their names: learn short codes from 1,519 of them, then search the
379 others, which took no part. This is the main job of the package in thirty lines;
``python -m sklearn_cmh.demo`` does it with tuning, baselines and a contact sheet.
"""

# %%
# The data
# --------
# A :class:`~sklearn_cmh.MultimodalData` holds one block per modality side by side. Rows
# are sliced as in an array. Here the image block is a table of features, and the text
# block holds raw strings.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

from sklearn_cmh import DSAH, HammingRanker, MultimodalData
from sklearn_cmh.datasets import load_openmoji
from sklearn_cmh.metrics import PrecisionRecallByRadiusDisplay, make_retrieval_scorer

emoji = load_openmoji()
X = MultimodalData(image=emoji.data["image"], text=emoji.descriptions)
y = emoji.target
print(X)
print("groups:", ", ".join(emoji.target_names))

# %%
# Learning codes
# --------------
# Every modality may bring its own preprocessing, as in a ColumnTransformer. It belongs
# to the model, so that a query in words runs through the same vectoriser.

words = CountVectorizer(binary=True, min_df=2, dtype=np.float32)
hasher = DSAH(
    n_bits=64,
    n_anchors=500,
    modalities=[("image", "passthrough", None), ("text", words, None)],
    random_state=0,
)
hasher.fit(X[emoji.train], y[emoji.train])
print(hasher.codes_.shape, hasher.codes_.dtype)

# %%
# Searching
# ---------
# The database holds the pictures kept out of training, encoded by their pixels alone.
# A query is encoded by its words alone.

database = hasher.encode(X["image"][emoji.test], modality="image")
ranker = HammingRanker(n_neighbors=7).fit(database)
queries = ["woman singer", "crying face", "japan flag", "black arrow"]
distances, indices = ranker.kneighbors(hasher.encode(queries, modality="text"))

figure, axes = plt.subplots(
    len(queries), 7, figsize=(8, 5.2), layout="constrained", gridspec_kw={"hspace": 0.12}
)
for query, row, found, distance in zip(queries, axes, indices, distances, strict=True):
    for ax, i, d in zip(row, found, distance, strict=True):
        ax.imshow(emoji.images[emoji.test[i]])
        ax.set_xlabel(f"distance {int(d)}", fontsize=8)
        ax.set(xticks=[], yticks=[])
    row[0].set_title(f"“{query}”", loc="left", fontsize=11)

# %%
# How good is it?
# ---------------
# ``score`` ranks the codes that were *learned* for the training rows, as the papers do.
# Rows that took no part in training are harder to find: say which gallery a figure is of.

test = X[emoji.test], y[emoji.test]
held_out = make_retrieval_scorer("map", gallery="validation")
print(f"mAP, learned gallery:  {hasher.score(*test):.3f}")
print(f"mAP, held-out gallery: {held_out(hasher, *test):.3f}")

figure, ax = plt.subplots(figsize=(5.5, 4), layout="constrained")
for gallery in ("learned", "validation"):
    PrecisionRecallByRadiusDisplay.from_estimator(
        hasher, *test, query="text", gallery=gallery, name=f"{gallery} gallery", ax=ax
    )
_ = ax.set_title("Words as queries")
