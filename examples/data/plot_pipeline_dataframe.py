"""
Pipelines: from a DataFrame to tuned codes
==========================================

The hashers are scikit-learn transformers, so they go where transformers go: behind a
ColumnTransformer, before a ranker, inside a search over everything at once.
"""

# %%
# A table
# -------
# A made-up shop: measurements with gaps, a category, and what the supplier wrote.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, KFold, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_cmh import DSAH, HammingRanker
from sklearn_cmh.metrics import MAPByBitsDisplay

KINDS = {
    #        watts, kilograms; material; words
    "kettle": ((2200, 1.1), "steel", "boils water tea fast cordless litre"),
    "toaster": ((900, 1.6), "steel", "bread slices crisp crumbs tray fast"),
    "lamp": ((9, 2.0), "brass", "light reading warm dimmable bulb desk"),
    "fan": ((45, 3.1), "plastic", "air cool quiet summer speeds desk"),
    "heater": ((2000, 3.4), "plastic", "air warm winter thermostat quiet room"),
}
rng = np.random.RandomState(0)
rows = []
for kind in rng.choice(list(KINDS), size=600):
    numbers, material, words = KINDS[kind]
    watts, weight = np.array(numbers) * rng.lognormal(sigma=0.4, size=2)
    material = material if rng.rand() < 0.7 else rng.choice(["steel", "brass", "plastic"])
    text = " ".join(rng.choice(words.split(), size=2, replace=False))
    rows.append([np.log10(watts), weight, material, text, kind])
table = pd.DataFrame(rows, columns=["log_watts", "weight", "material", "blurb", "kind"])
table.loc[rng.rand(600) < 0.1, "weight"] = np.nan
y = table.pop("kind")
table.head().round(2)

# %%
# ColumnTransformer, hasher, ranker
# ---------------------------------
# The ColumnTransformer returns a DataFrame whose columns are named ``data__...`` and
# ``text__...``, and the modalities are chosen by these names: nothing breaks when a step
# upstream changes its width, as fixed slices would. Text stays raw until the hasher,
# whose triples hold the preprocessing of one modality alone, so that a query of words
# needs no measurements. (Without raw text, ``modalities="prefix"`` reads the modalities
# off the names.)

columns = ColumnTransformer(
    [
        ("data", make_pipeline(SimpleImputer(), StandardScaler()), ["log_watts", "weight"]),
        ("data_material", OneHotEncoder(sparse_output=False), ["material"]),
        ("text", "passthrough", ["blurb"]),
    ]
).set_output(transform="pandas")
modalities = [
    ("data", None, make_column_selector("^data")),
    ("text", TfidfVectorizer(), "text__blurb"),
]
pipe = Pipeline(
    [
        ("columns", columns),
        ("hash", DSAH(n_anchors=100, modalities=modalities, random_state=0)),
        ("rank", HammingRanker(n_neighbors=5)),
    ]
)
pipe

# %%
# One search over preprocessing and method
# ----------------------------------------
# The ranker's score is the mAP of fused codes. The folds are shuffled: where a table is
# sorted by class, the classes of unshuffled folds are missing from the training rows, and
# the score says nothing.

train, test, y_train, y_test = train_test_split(table, y, test_size=150, random_state=0)
grid = {
    "hash__n_bits": [4, 8, 16, 32],
    "hash__text__max_features": [5, None],
}
search = GridSearchCV(pipe, grid, cv=KFold(3, shuffle=True, random_state=0)).fit(train, y_train)
print(search.best_params_)
print(f"mAP of the held-out rows: {search.score(test, y_test):.3f}")

MAPByBitsDisplay.from_cv_results(
    search.cv_results_, param="hash__n_bits", name="best setting of each length"
)
plt.title("Mean and standard deviation over three folds")
plt.show()

# %%
# Ask with words alone
# --------------------
# A query of one modality runs through its own preprocessing alone.

best = search.best_estimator_
queries = ["quiet cool air", "crisp bread"]
codes = best["hash"].encode(queries, modality="text")
nearest = best["rank"].kneighbors(codes, return_distance=False)
for query, found in zip(queries, nearest, strict=True):
    print(f"{query}: {', '.join(y_train.iloc[found])}")
