"""
Words find pictures, pictures find words
========================================

Emoji pictures and their names: learn short codes of the pairs, then search the table by
words alone. This is the main job of the package in thirty lines;
``python -m sklearn_cmh.demo`` does it with baselines and a contact sheet.
"""

# %%
# The data
# --------
# A :class:`~sklearn_cmh.MultimodalData` holds one block per modality side by side. Rows
# are sliced as in an array. Here the image block is a table of features, and the text
# block holds raw strings.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer

from sklearn_cmh import HammingRanker, MultimodalData, RefinedHasher
from sklearn_cmh.datasets import load_openmoji
from sklearn_cmh.metrics import RecallAtKDisplay, make_retrieval_scorer, pair_recall_at_k

emoji = load_openmoji()
X = MultimodalData(image=emoji.data["image"], text=emoji.names)
y = emoji.target
print(X)
print("groups:", ", ".join(emoji.target_names))

# %%
# Learning codes
# --------------
# Every modality may bring its own preprocessing, as in a ColumnTransformer. It belongs
# to the model, so that a query in words runs through the same vectoriser. Codes are learned
# from labels and pairs: the group of an emoji, and which name is of which picture.
#
# 1,519 emoji take part, 379 are kept out. The last three lists keep this page quick: they are
# few of the candidates for hash functions that are tried by default. Leave them out.

words = CountVectorizer(binary=True, dtype=np.float32)
hasher = RefinedHasher(
    n_bits=64,
    modalities=[("image", "passthrough", None), ("text", words, None)],
    random_state=0,
    preprocessing=["sqrt_norm"],
    widths=[0.5],
    ridges=[0.1, 1.0],
)
hasher.fit(X[emoji.train], y[emoji.train])
print(hasher.codes_.shape, hasher.codes_.dtype, "pair weight", hasher.pair_weight_)

# %%
# Searching
# ---------
# What is searched: all 1,898 emoji, those kept out as well, encoded by picture and name
# together. A query is encoded by its words alone. The emoji of that name has
# a green frame, where it is among the first seven.

database = hasher.transform(X)
ranker = HammingRanker(n_neighbors=7).fit(database)
queries = ["blue heart", "woman singer", "birthday cake", "cat face"]
hits = ranker.kneighbors(hasher.encode(queries, modality="text"), return_distance=False)

figure, axes = plt.subplots(
    len(queries), 7, figsize=(8, 5.2), layout="constrained", gridspec_kw={"hspace": 0.12}
)
for query, row, found in zip(queries, axes, hits, strict=True):
    for ax, i in zip(row, found, strict=True):
        ax.imshow(emoji.images[i])
        ax.set(xticks=[], yticks=[])
        own = emoji.names[i] == query
        ax.spines[:].set(color="tab:green" if own else "lightgrey", linewidth=3 if own else 1)
    row[0].set_title(f"“{query}”", loc="left", fontsize=11)

# %%
# Is the picture itself found?
# ----------------------------
# Labels alone give all rows of a group one code. They find an emoji of the right group, and
# the right emoji by luck. A little of the pairing in what is learned mends that.

labels_alone = clone(hasher).set_params(pair_weight=0)
labels_alone.fit(X[emoji.train], y[emoji.train])
both = {"labels and pairs": hasher, "labels alone": labels_alone}
for name, model in both.items():
    names, rows = model.encode(X["text"], modality="text"), model.transform(X)
    distinct = len(np.unique(model.codes_, axis=0))
    print(
        f"{name}: {distinct} distinct codes; names find their own picture "
        f"first {pair_recall_at_k(names, rows, k=1):.3f}, "
        f"among ten {pair_recall_at_k(names, rows, k=10):.3f}"
    )

# %%
# These rows are encoded by the very words that ask for them. Harder: pictures that were kept
# out, encoded by their pixels alone.

test = X[emoji.test], y[emoji.test]
held_out = make_retrieval_scorer("map", gallery="validation")
finds_it = make_retrieval_scorer("recall_at_k", relevance="pair", gallery="validation")
for name, model in both.items():
    print(
        f"{name}: mAP of the groups {held_out(model, *test):.3f}, "
        f"own pair among ten {finds_it(model, *test):.3f}"
    )

figure, ax = plt.subplots(figsize=(5.5, 4), layout="constrained")
for name, model in both.items():
    RecallAtKDisplay.from_estimator(
        model,
        X[emoji.test],
        query="text",
        gallery="validation",
        relevance="pair",
        max_k=50,
        name=name,
        ax=ax,
    )
_ = ax.set_title("Names that found their own of 379 pictures")
