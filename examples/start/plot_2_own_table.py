"""
Your own table: raw text beside numbers
=======================================

One DataFrame with a text column and measurements, each modality with preprocessing of
its own. Words find the very thing that they describe, among others of its kind.
"""

# %%
# A table
# -------
# A made-up catalogue of fruit. The scales and the camera measure every piece; a person who
# has it in hand writes what kind of thing it is, and in what it differs from its kind.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_cmh import HammingRanker, RefinedHasher
from sklearn_cmh.metrics import RecallAtKDisplay, make_retrieval_scorer

MEASURES = ["weight", "length", "red", "green", "blue"]
KINDS = {
    #            grams, length in cm, red, green, blue; and words
    "apple": ((180, 8, 0.8, 0.2, 0.2), "crisp sweet round shiny pome orchard"),
    "banana": ((120, 19, 0.9, 0.8, 0.2), "soft creamy peel tropical bunch"),
    "cherry": ((8, 2, 0.6, 0.0, 0.1), "dark sweet stone pair stalk"),
    "lemon": ((100, 8, 0.9, 0.9, 0.3), "sour juice zest citrus yellow"),
    "lime": ((65, 5, 0.4, 0.7, 0.2), "sour juice zest citrus cocktail"),
    "melon": ((1500, 22, 0.6, 0.7, 0.4), "juicy round sweet seeds summer"),
}
LESS_AND_MORE = ["light heavy", "short long", "pale reddish", "ripe greenish", "warm bluish"]

rng = np.random.RandomState(0)
rows = []
for kind in rng.choice(list(KINDS), size=500):
    usual, words = KINDS[kind]
    deviation = rng.normal(size=len(MEASURES))
    seen = [
        pair.split()[int(more > 0)]
        for pair, more in zip(LESS_AND_MORE, deviation, strict=True)
        if abs(more) > 0.4
    ]
    text = " ".join([*seen, *rng.choice(words.split(), size=2, replace=False)])
    rows.append([*np.array(usual) * np.exp(0.25 * deviation), text, kind])
table = pd.DataFrame(rows, columns=[*MEASURES, "description", "kind"])
table.head().round(2)

# %%
# Modalities as columns
# ---------------------
# The triples are those of a ColumnTransformer: name, transformer, columns. A single
# name hands the vectoriser a column of strings. Every column belongs to exactly one
# modality; a column that is no feature is given the transformer "drop".

measure = make_pipeline(
    FunctionTransformer(np.log1p, feature_names_out="one-to-one"), StandardScaler()
)
hasher = RefinedHasher(
    n_bits=64,
    modalities=[
        ("scales", measure, MEASURES),
        ("text", TfidfVectorizer(), "description"),
    ],
    # Fewer candidates than by default, so that this page is quick.
    n_anchors=150,
    preprocessing=["raw"],
    widths=[1.0],
    ridges=[0.1, 1.0],
    random_state=0,
)
y = table.pop("kind")
train, test, y_train, y_test = table[:400], table[400:], y[:400], y[400:]
hasher.fit(train, y_train)

# %%
# Is the very piece found?
# ------------------------
# Descriptions of 100 pieces that took no part in the fit search the measurements of these
# 100, where about 17 are of any one kind. Codes from the kinds alone order these by luck.
# Those of the pairs of text and measurements find the piece. Codes of both lie between;
# ``pair_weight`` says where, and is searched below.

labels_alone = clone(hasher).set_params(pair_weight=0).fit(train, y_train)
pairs_alone = clone(hasher).fit(train)
fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for name, fitted in [
    ("pairs", pairs_alone),
    ("kinds and pairs", hasher),
    ("kinds", labels_alone),
]:
    display = RecallAtKDisplay.from_estimator(
        fitted,
        test,
        query="text",
        gallery="validation",
        relevance="pair",
        ax=ax,
        name=name,
    )
    print(f"{name:<16} own piece among the first ten: {display.recall[9]:.2f}; by chance 0.10")
ax.set_title("Descriptions that find the measurements of their own piece")
ax.set_xlim(0, 30)
ax.grid(alpha=0.3)

# %%
# Queries of one modality
# -----------------------
# Somebody types words; the shop knows measurements only. No column that the query
# lacks is asked for. The descriptions are shown to compare with; they were not searched.

codes = pairs_alone.encode(test[MEASURES], modality="scales")
ranker = HammingRanker(n_neighbors=2).fit(codes)
query = ["a long greenish lime for juice", "heavy short reddish, pair on a stalk", "light, creamy"]
found = ranker.kneighbors(pairs_alone.encode(query, modality="text"), return_distance=False)
for words, hits in zip(query, found, strict=True):
    print(words)
    for i in hits:
        print(f"    {y_test.iloc[i]}: {test['description'].iloc[i]}")

# %%
# ``encoder`` gives the same as a transformer that stays fitted, for a Pipeline of your own.

find = make_pipeline(pairs_alone.encoder("text"), ranker)
find.transform(query).toarray().sum(axis=1)

# %%
# Tuning
# ------
# Parameters of a modality's preprocessing are reached by nested names, next to those of
# the method. What the search scores decides what is found: here the very piece, among rows
# that took no part in the fit. The rows are shuffled before they are split.

finds_it = make_retrieval_scorer("recall_at_k", relevance="pair", gallery="validation")
search = GridSearchCV(
    hasher,
    {"text__binary": [False, True], "pair_weight": [0.1, 0.5]},
    scoring=finds_it,
    cv=KFold(3, shuffle=True, random_state=0),
)
search.fit(train, y_train)
print(search.best_params_, f"{search.best_score_:.2f}")
