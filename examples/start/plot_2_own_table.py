"""
Your own table: raw text beside numbers
=======================================

One DataFrame with a text column and measurements, each modality with preprocessing of
its own, and queries of which only one modality is known.
"""

# %%
# A table
# -------
# A made-up catalogue of fruit: what the scales and the camera say, and what a person wrote.

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_cmh import DSAH, HammingRanker

KINDS = {
    #            grams, length in cm, red, green, blue; and words
    "apple": ((180, 8, 0.8, 0.2, 0.2), "crisp sweet round shiny pome orchard"),
    "banana": ((120, 19, 0.9, 0.8, 0.2), "soft long yellow creamy peel tropical"),
    "cherry": ((8, 2, 0.6, 0.0, 0.1), "small dark sweet stone pair stalk"),
    "lemon": ((100, 8, 0.9, 0.9, 0.3), "sour yellow juice zest citrus"),
    "lime": ((65, 5, 0.4, 0.7, 0.2), "sour green juice zest citrus"),
    "melon": ((1500, 22, 0.6, 0.7, 0.4), "heavy juicy round sweet seeds summer"),
}
rng = np.random.RandomState(0)
rows = []
for kind in rng.choice(list(KINDS), size=400):
    numbers, words = KINDS[kind]
    measured = np.array(numbers) * rng.lognormal(sigma=0.25, size=5)
    text = " ".join(rng.choice(words.split(), size=3, replace=False))
    rows.append([*measured, text, kind])
table = pd.DataFrame(
    rows, columns=["weight", "length", "red", "green", "blue", "description", "kind"]
)
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
hasher = DSAH(
    n_bits=16,
    n_anchors=100,
    modalities=[
        ("scales", measure, ["weight", "length", "red", "green", "blue"]),
        ("text", TfidfVectorizer(), "description"),
    ],
    random_state=0,
)
train, test = table[:300], table[300:]
hasher.fit(train.drop(columns="kind"), train["kind"])
print(f"mAP of {len(test)} new rows: {hasher.score(test.drop(columns='kind'), test['kind']):.3f}")

# %%
# Queries of one modality
# -----------------------
# Somebody types words; the shop knows measurements only. No column that the query
# lacks is asked for.

shop = test.reset_index(drop=True)
numbers = shop[["weight", "length", "red", "green", "blue"]]
ranker = HammingRanker(n_neighbors=3).fit(hasher.encode(numbers, modality="scales"))
query = ["something sour and green for juice", "a pair of small dark ones", "long and creamy"]
found = ranker.kneighbors(hasher.encode(query, modality="text"), return_distance=False)
for words, hits in zip(query, found, strict=True):
    print(f"{words:<36} > {', '.join(shop['kind'][hits])}")

# %%
# ``encoder`` gives the same as a transformer that stays fitted, for a Pipeline of your own.

find = make_pipeline(hasher.encoder("text"), ranker)
find.transform(query).toarray().sum(axis=1)

# %%
# Tuning
# ------
# Parameters of a modality's preprocessing are reached by nested names, next to those of
# the method. The rows are shuffled before they are split.

search = GridSearchCV(
    hasher,
    {"text__ngram_range": [(1, 1), (1, 2)], "alpha": [0.01, 0.1, 1.0]},
    cv=KFold(3, shuffle=True, random_state=0),
)
search.fit(train.drop(columns="kind"), train["kind"])
print(search.best_params_, f"{search.best_score_:.3f}")
