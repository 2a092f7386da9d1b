"""Hashing without labels: what finds the thing itself, and what finds its class.

    python benchmarks/label_free.py --data openmoji.npz,wiki.npz --bits 64 --seeds 3

Data sets are those of real_data.py. Every method sees pairs and no label. Rows that took no part
in the fit are encoded by both modalities, and each searches the other: "own pair" is the share of
queries whose own row is among the 10 nearest, "class mAP" full-ranking mean average precision over
rows that share a label, the own row left out. Both times 100, the mean of both directions and of
the seeds, with the standard deviation over the seeds. Ties are averaged over.

"PCA, sign" hashes every modality by itself: chance, for a query of the other one. "SharedSpace" is
real-valued: what its codes are made of.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from real_data import load
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from targets import class_map, own_pair, real_valued

from sklearn_cmh import AAH, AnchorRBF, RefinedHasher, SharedSpace
from sklearn_cmh.base import sign
from sklearn_cmh.shallow import CCAITQ


class PCASign:
    """Signs of the principal components of every modality by itself."""

    def __init__(self, bits):
        self.bits = bits

    def fit(self, X):
        """Learn the components."""
        self.maps = {
            name: make_pipeline(StandardScaler(), PCA(min(self.bits, *X[name].shape))).fit(X[name])
            for name in X.names
        }
        return self

    def encode(self, X, modality):
        """Codes of one modality."""
        codes = sign(self.maps[modality].transform(X[modality]))
        # Fewer columns than bits: the rest is constant.
        return np.pad(codes, [(0, 0), (0, self.bits - codes.shape[1])], constant_values=1)


METHODS = {
    "PCA, sign": lambda k, s: PCASign(k),
    "CCA, sign": lambda k, s: CCAITQ(k, rotation=None, random_state=s),
    "CCA-ITQ": lambda k, s: CCAITQ(k, random_state=s),
    "CCA-ITQ, ridge 1": lambda k, s: CCAITQ(k, regularisation=1.0, random_state=s),
    "kernel CCA-ITQ, ridge 0.1": lambda k, s: CCAITQ(
        k, feature_map=AnchorRBF(), regularisation=0.1, random_state=s
    ),
    "AAH, affinity='knn'": lambda k, s: AAH(k, affinity="knn", random_state=s),
    "RefinedHasher": lambda k, s: RefinedHasher(n_bits=k, random_state=s),
    "SharedSpace": lambda k, s: SharedSpace(random_state=s),
}


def measure(name, bits, seed, X, X_test, y_test):
    """Own pair, class mAP, and seconds of the fit."""
    method = METHODS[name](bits, seed)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method.fit(X)
    seconds = time.perf_counter() - start
    if isinstance(method, SharedSpace):
        rows = [method.transform(X_test, modality=modality) for modality in X.names]
        classes, pairs = real_valued(*rows, y_test)
    else:
        codes = [method.encode(X_test, modality=modality) for modality in X.names]
        classes, pairs = class_map(*codes, y_test), own_pair(*codes)
    return pairs, classes, seconds


def main():
    """Print a table for every data set and code length."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="openmoji")
    parser.add_argument("--bits", default="64")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", default="", help="separated by semicolons; all by default")
    options = parser.parse_args()
    names = [name.strip() for name in options.methods.split(";") if name.strip()] or list(METHODS)
    for data in options.data.split(","):
        (X, _), (X_test, y_test) = load(data)
        for bits in map(int, options.bits.split(",")):
            print(f"\n{Path(data).stem}, {bits} bits, {options.seeds} seeds")
            print(f"{'':28}{'own pair':>14}{'class mAP':>14}{'seconds':>10}")
            for name in names:
                values = [
                    measure(name, bits, seed, X, X_test, y_test) for seed in range(options.seeds)
                ]
                pairs, classes, seconds = np.mean(values, axis=0)
                spread = np.std(values, axis=0)
                print(
                    f"{name:28}{pairs:9.1f} ±{spread[0]:3.1f}{classes:9.1f} ±{spread[1]:3.1f}"
                    f"{seconds:10.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
