"""
Embeddings: the modality gap, and what thresholding costs
=========================================================

Encoders of images and of texts that were trained together put both into one space, where a text
is compared with an image by the cosine. Codes make that search small and fast. But the sign of such
vectors, as they are, says little: here is why, what to do about it, and what it costs.

The embeddings are simulated, as real ones need encoders of hundreds of megabytes: 512 columns,
of which the two modalities share 128 directions, each with noise of its own, some of it in a few
strong directions; and each modality sits in a narrow cone, at a place of its own.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.preprocessing import normalize

from sklearn_cmh import MultimodalData, SharedSpace, TwoStageRanker
from sklearn_cmh.base import sign
from sklearn_cmh.metrics import pair_recall_at_k
from sklearn_cmh.shallow import CCAITQ, CentredSign
from sklearn_cmh.solvers import itq_rotation

rng = np.random.RandomState(0)
n, n_train, d, n_shared = 4000, 3000, 512, 128


def embed(things, cone):
    """One modality: what is shared, noise, strong nuisances, and the place of the cone."""
    nuisance = rng.randn(n, 10) @ rng.randn(10, d) * 0.5
    noise = 2.5 * rng.randn(n, d)
    return normalize(things + nuisance + noise + cone).astype(np.float32)


spread = np.geomspace(1.0, 0.1, n_shared)
things = (rng.randn(n, n_shared) * spread) @ rng.randn(n_shared, d) / 4
centre, gap = 3 * rng.randn(d), 4 * rng.randn(d)
X = MultimodalData(image=embed(things, centre + gap / 2), text=embed(things, centre - gap / 2))
train, test = X[:n_train], X[n_train:]

# %%
# The gap
# -------
#
# The cosine of an image and *any* text is nearly the same number, as it compares the places of the
# two cones. What tells partners apart is small beside that.


def cosines(A, B):
    products = normalize(A) @ normalize(B).T
    return np.diag(products), products[~np.eye(len(A), dtype=bool)]


centred = {name: test[name] - train[name].mean(axis=0) for name in X.names}
fig, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
for axis, blocks, title in zip(
    axes, (test, centred), ("as they are", "each modality centred"), strict=True
):
    own, other = cosines(blocks["text"], blocks["image"])
    axis.hist(other, 60, density=True, alpha=0.6, label="text and another image")
    axis.hist(own, 60, density=True, alpha=0.6, label="text and its image")
    axis.set(title=title, xlabel="cosine")
axes[0].set_ylabel("density")
axes[1].legend()

# %%
# A sign is taken at zero, which is not where either cone is. So some bits are the same for all
# rows of a modality, and many of the others tell the modalities apart, not the rows. Of a text
# and an image that have nothing in common, half of the bits would differ; of a text and its
# image, these:

R = np.random.RandomState(0).randn(d, 64)
image, text = (sign(test[name] @ R) for name in X.names)
constant = [(abs(codes.mean(axis=0)) > 0.9).mean() for codes in (image, text)]
print(f"nearly constant bits: {constant[0]:.0%} of the images, {constant[1]:.0%} of the texts")
print(f"bits in which a text and its image differ: {(image != text).mean():.0%}")

# %%
# Codes without labels
# --------------------
#
# :class:`~sklearn_cmh.shallow.CentredSign` subtracts the mean of every modality and takes signs in
# random directions. That closes the gap, and still spends bits on noise.
# :class:`~sklearn_cmh.shallow.CCAITQ` learns what the modalities share;
# :class:`~sklearn_cmh.SharedSpace` weighs it by how well it holds for rows left out, so that
# what is only noise has no say. Its rows are turned such that signs lose least, by
# :func:`~sklearn_cmh.solvers.itq_rotation`.
#
# The measure is own-pair recall: the share of new texts and images whose partner is among
# the 10 nearest of 1,000.

space = SharedSpace(feature_map="passthrough", random_state=0).fit(train)
rows = {name: space.transform(test, modality=name) for name in X.names}
training_rows = np.vstack([space.transform(train, modality=name) for name in X.names])


def recall(image, text):
    return (pair_recall_at_k(image, text, k=10) + pair_recall_at_k(text, image, k=10)) / 2


def encode(hasher):
    return [hasher.encode(test, modality=name) for name in X.names]


found = {}
for bits in (32, 64, 128, 256):
    R = np.random.RandomState(0).randn(d, bits)
    rotation = itq_rotation(training_rows, bits, np.random.RandomState(0))
    codes = {
        "sign of random directions": [sign(test[name] @ R) for name in X.names],
        "CentredSign": encode(CentredSign(bits, random_state=0).fit(train)),
        "CCAITQ": encode(CCAITQ(bits, tol=1e-3, random_state=0).fit(train)),
        "SharedSpace, ITQ": [sign(rows[name] @ rotation) for name in X.names],
    }
    found[bits] = {name: recall(*pair) for name, pair in codes.items()}
    print(f"{bits:4} bits: " + ", ".join(f"{name} {r:.1%}" for name, r in found[bits].items()))

# %%
# What thresholding costs
# -----------------------
#
# The same rows, ranked by their real values.


def cosine_recall(image, text):
    image, text = normalize(image), normalize(text)
    recalls = [
        np.mean((S > np.diag(S)[:, None]).sum(axis=1) < 10)
        for S in (image @ text.T, text @ image.T)
    ]
    return np.mean(recalls)


real = {
    "as they are": cosine_recall(test["image"], test["text"]),
    "centred": cosine_recall(centred["image"], centred["text"]),
    "SharedSpace": cosine_recall(rows["image"], rows["text"]),
}
print("real-valued: " + ", ".join(f"{name} {r:.1%}" for name, r in real.items()))

# %%
# A second stage gets most of the loss back: the 40 nearest codes are ordered by the rows of
# the shared space, kept beside them.

rotation = itq_rotation(training_rows, 64, np.random.RandomState(0))
sides = {
    name: MultimodalData(codes=sign(rows[name] @ rotation), vectors=rows[name]) for name in X.names
}
recalls = []
for query, database in (("text", "image"), ("image", "text")):
    ranker = TwoStageRanker(n_neighbors=10, metric="cosine", oversampling=4).fit(sides[database])
    _, indices = ranker.kneighbors(sides[query])
    recalls.append((indices == np.arange(len(indices))[:, None]).any(axis=1).mean())
print(f"64 bits, 40 candidates re-ranked: {np.mean(recalls):.1%}")

# %%

fig, axis = plt.subplots(figsize=(8, 3.5), layout="constrained")
for name in found[64]:
    axis.plot(list(found), [found[bits][name] for bits in found], marker="o", label=name)
for name, style in zip(real, (":", "--", "-"), strict=True):
    axis.axhline(real[name], color="grey", linestyle=style, label=f"real-valued, {name}")
axis.set(xlabel="bits", ylabel="own-pair recall@10", xscale="log", ylim=(0, 1))
axis.set_xticks(list(found), list(found))
axis.set_xticks([], minor=True)
fig.legend(loc="outside right", fontsize="small")
plt.show()
