"""
Chunks of a Dask array: how large?
==================================

A fit on a Dask array reads the rows chunk by chunk, and adds up what each says. Chunks of any
size give the same codes; the time differs. Needs the extra ``dask``.
"""

# %%
# A fit on 20,000 rows in memory, to compare with, and the codes of its rows.

import time

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np

from sklearn_cmh import DSAH, MultimodalData
from sklearn_cmh.datasets import make_multimodal_classification

X, y = make_multimodal_classification(20_000, n_classes=10, random_state=0)


def timed(function, *args):
    """What a function returns, and its seconds."""
    start = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - start


method = DSAH(n_bits=32, n_anchors=100, random_state=0)
hasher, seconds = timed(method.fit, X, y)
codes, seconds_of_codes = timed(hasher.transform, X)

# %%
# The same from chunks, on the threads of this machine.

sizes = [200, 500, 1000, 2000, 5000, 10_000, 20_000]
curves = {"fit": [], "transform": []}
for size in sizes:
    chunked = MultimodalData(
        **{name: da.from_array(X[name], chunks=(size, -1)) for name in X.names}
    )
    fitted, seconds_now = timed(DSAH(**method.get_params()).fit, chunked, y)
    curves["fit"].append(seconds_now / seconds)
    lazily, seconds_now = timed(lambda rows=chunked: hasher.transform(rows).compute())
    curves["transform"].append(seconds_now / seconds_of_codes)
    alike = np.mean(fitted.codes_ == hasher.codes_)
    equal = np.array_equal(lazily, codes)
    print(f"chunks of {size:5d}: {alike:.2%} of learned bits alike; same codes: {equal}")

# %%
figure, ax = plt.subplots(figsize=(6.5, 3.5), layout="constrained")
for name, curve in curves.items():
    ax.semilogx(sizes, curve, "o-", label=name)
ax.axhline(1, color="grey", linestyle="--", label="rows in memory")
ax.set(xlabel="rows of a chunk", ylabel="time, by that of rows in memory", ylim=(0, None))
ax.legend()
plt.show()

# %%
# Small chunks cost, for every one is a task. From some thousand rows on, size matters little; and
# larger chunks take more memory while they are read.
