"""
Stores: what does a query cost?
===============================

Codes in a database are compared by the database. The answers are those of a ranking in memory;
what they cost depends on the rows that a filter leaves. Needs the extras ``faiss`` and ``duckdb``.
"""

# %%
# 100,000 codes of 64 bits with a year, in clusters as codes of classes are.

import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sklearn_cmh import HammingRanker
from sklearn_cmh.retrieval.stores import DuckDBStore, FaissStore

rng = np.random.RandomState(0)
centres = rng.choice([-1, 1], size=(50, 64)).astype(np.int8)
codes = centres[rng.randint(50, size=100_000)]
codes *= np.where(rng.uniform(size=codes.shape) < 0.08, -1, 1).astype(np.int8)
year = rng.randint(2000, 2025, size=len(codes))
queries = codes[:20]

folder = tempfile.TemporaryDirectory()
stores = {
    "FaissStore": FaissStore(folder.name),
    "DuckDBStore": DuckDBStore(Path(folder.name) / "codes.duckdb"),
}
for store in stores.values():
    store.add(codes, ids=np.arange(len(codes)), payload={"year": year})
    store.kneighbors(queries)

# %%
# Every store answers the same queries five times, over fewer and fewer years. The fastest time
# counts.

since = [2000, 2010, 2018, 2022, 2024]
rows_left = [np.sum(year >= first) for first in since]
curves = {name: [] for name in stores}
for first in since:
    kept = np.flatnonzero(year >= first)
    expected = HammingRanker(n_neighbors=10).fit(codes[kept]).kneighbors(queries)
    where = [("year", ">=", first)] if first > 2000 else None
    for name, store in stores.items():
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            distances, found = store.kneighbors(queries, n_neighbors=10, where=where)
            seconds.append(time.perf_counter() - start)
        curves[name].append(min(seconds) / len(queries) * 1000)
        assert (distances == expected[0]).all()
        assert (found == kept[expected[1]]).all()

# %%
figure, ax = plt.subplots(figsize=(6.5, 3.5), layout="constrained")
for name, curve in curves.items():
    ax.semilogx(rows_left, curve, "o-", label=name)
ax.set(
    xlabel="rows that the filter leaves, of 100,000", ylabel="milliseconds a query", ylim=(0, None)
)
ax.legend()
plt.show()

# %%
# DuckDB compares what the filter leaves. faiss has all codes in memory and compares them fastest
# where there is no filter: the last point. With one, the rows must be looked up first.

for store in stores.values():
    store.close()
folder.cleanup()
