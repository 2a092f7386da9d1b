"""Classes and things: what codes from labels, from pairs, or from both find.

    python benchmarks/targets.py held-out --data openmoji.npz,wiki.npz --bits 16,32,64,128
    python benchmarks/targets.py own-table --data openmoji.npz --bits 64
    python benchmarks/targets.py unseen --data openmoji.npz,wiki.npz --bits 64
    python benchmarks/targets.py unlabelled --data openmoji.npz,wiki.npz --bits 64

Data sets are those of real_data.py. Figures are means over --seeds (splits, for unseen
classes), times 100, of both directions:

class mAP   full-ranking mean average precision, rows that share a label, own pair left out
own pair    share of the queries whose own row is among the 10 nearest
codes       distinct learned codes

held-out    rows that took no part in the fit, both sides encoded
own-table   all rows are fitted; encoded texts search the learned codes, and the fused ones
unseen      28 % of the classes take no part in the fit
unlabelled  a quarter of the training rows keep their labels
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from real_data import load
from scipy import sparse

from sklearn_cmh import AAH, ASCMH, DSAH, RefinedHasher, SharedSpace
from sklearn_cmh.deep import SCHGAN
from sklearn_cmh.metrics import average_precision_scores, pair_recall_at_k
from sklearn_cmh.model_selection import UnseenClassSplit
from sklearn_cmh.shallow import CCAITQ, ClassifierHasher

NAMES = ("image", "text")
DEFAULT = "RefinedHasher"

SUPERVISED = {
    "ASCMH": lambda k, s: ASCMH(k, random_state=s),
    "DSAH": lambda k, s: DSAH(k, random_state=s),
    "ClassifierHasher": lambda k, s: ClassifierHasher(n_bits=k, random_state=s),
    "RefinedHasher, labels": lambda k, s: RefinedHasher(n_bits=k, pair_weight=0, random_state=s),
    "RefinedHasher, ASCMH": lambda k, s: RefinedHasher(ASCMH(), n_bits=k, random_state=s),
    DEFAULT: lambda k, s: RefinedHasher(n_bits=k, random_state=s),
}
LABEL_FREE = {
    "CCAITQ": lambda k, s: CCAITQ(n_bits=k, random_state=s),
    "AAH-knn": lambda k, s: AAH(k, affinity="knn", random_state=s),
    "RefinedHasher, no labels": lambda k, s: RefinedHasher(n_bits=k, random_state=s),
}


def class_map(first, second, y):
    """Class mAP of both directions among the same rows."""
    scores = []
    for query, database in ((first, second), (second, first)):
        values, relevant = average_precision_scores(query, database, y, y, exclude_self=True)
        scores.append(values[relevant].mean())
    return 100 * np.mean(scores)


def own_pair(first, second, k=10):
    """Own-pair recall of both directions."""
    recalls = (pair_recall_at_k(first, second, k=k), pair_recall_at_k(second, first, k=k))
    return 100 * np.mean(recalls)


def encoded(hasher, X):
    """Codes of every modality."""
    return [hasher.encode(X, modality=name) for name in NAMES]


def fitted(make, bits, seed, X, y):
    """The fitted hasher, and the seconds that it took."""
    hasher = make(bits, seed)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hasher.fit(X, y)
    return hasher, time.perf_counter() - start


def held_out(data, bits, seed, names):
    """Class mAP, own pair, distinct learned codes, seconds."""
    (X, y), (X_test, y_test) = load(data)
    for name, make in (SUPERVISED | LABEL_FREE).items():
        if names and name not in names:
            continue
        hasher, seconds = fitted(make, bits, seed, X, y if name in SUPERVISED else None)
        codes = encoded(hasher, X_test)
        distinct = len(np.unique(hasher.codes_, axis=0))
        yield name, (class_map(*codes, y_test), own_pair(*codes), distinct, seconds)
    if not names or "SharedSpace" in names:
        start = time.perf_counter()
        space = SharedSpace(random_state=seed).fit(X)
        seconds = time.perf_counter() - start
        E = [space.transform(X_test, modality=name) for name in NAMES]
        yield "SharedSpace", (*real_valued(*E, y_test), np.nan, seconds)


def real_valued(first, second, y, k=10):
    """Class mAP and own pair of rankings by inner products, among a few thousand rows."""
    L = y.toarray() if sparse.issparse(y) else np.equal.outer(y, np.unique(y)).astype(int)
    relevant = (L @ L.T > 0) & ~np.eye(len(L), dtype=bool)
    maps, pairs = [], []
    for S in (first @ second.T, second @ first.T):
        # Rows with the same features are tied but for rounding; their order is averaged over.
        own = S.diagonal()[:, None]
        nearer, tied = (S > own + 1e-5).sum(axis=1), (np.abs(S - own) <= 1e-5).sum(axis=1)
        pairs.append(np.mean(np.clip(k - nearer, 0, tied) / tied))
        hits = np.take_along_axis(relevant, np.argsort(-S, axis=1), axis=1)
        # The own pair takes a place in no ranking of classes.
        own = np.take_along_axis(np.eye(len(S), dtype=bool), np.argsort(-S, axis=1), axis=1)
        ranks = np.cumsum(~own, axis=1)
        precision = np.cumsum(hits, axis=1) / np.maximum(ranks, 1)
        found = hits.any(axis=1)
        maps.append(np.mean(((precision * hits).sum(1) / np.maximum(hits.sum(1), 1))[found]))
    return 100 * np.mean(maps), 100 * np.mean(pairs)


def own_table(data, bits, seed, names):
    """Own row among the 10 nearest, and first: learned codes, then fused ones."""
    (X, y), (X_test, y_test) = load(data)
    X = type(X)(**{name: stack(X[name], X_test[name]) for name in X.names})
    y = stack(y, y_test)
    for name, make in (SUPERVISED | LABEL_FREE).items():
        if names and name not in names:
            continue
        hasher, seconds = fitted(make, bits, seed, X, y if name in SUPERVISED else None)
        queries = hasher.encode(X, modality="text")
        row = []
        for codes in (hasher.codes_, hasher.transform(X)):
            row += [100 * pair_recall_at_k(queries, codes, k=k) for k in (10, 1)]
        yield name, (*row, seconds)


def stack(first, second):
    """Rows of two blocks or labels."""
    if sparse.issparse(first):
        return sparse.vstack([first, second], format="csr")
    return np.concatenate([first, second])


def unseen(data, bits, seed, names):
    """Seen@seen class mAP, unseen@unseen class mAP, own pair on seen rows."""
    (X, y), (X_test, y_test) = load(data)
    X = type(X)(**{name: stack(X[name], X_test[name]) for name in X.names})
    y = stack(y, y_test)
    train, test = list(UnseenClassSplit(n_splits=seed + 1, random_state=0).split(X, y))[seed]
    order = np.random.RandomState(seed).permutation(train)
    train, seen = np.sort(order[len(order) // 5 :]), np.sort(order[: len(order) // 5])
    for name, make in (SUPERVISED | LABEL_FREE).items():
        if names and name not in names:
            continue
        labels = y[train] if name in SUPERVISED else None
        hasher, seconds = fitted(make, bits, seed, X[train], labels)
        seen_codes, unseen_codes = encoded(hasher, X[seen]), encoded(hasher, X[test])
        yield (
            name,
            (
                class_map(*seen_codes, y[seen]),
                class_map(*unseen_codes, y[test]),
                own_pair(*seen_codes),
                seconds,
            ),
        )


def unlabelled(data, bits, seed, names):
    """Class mAP and own pair with a quarter of the labels, rows without them used or not."""
    (X, y), (X_test, y_test) = load(data)
    known = np.random.RandomState(seed).permutation(len(X)) < len(X) // 4
    y = sparse.csr_array(y)
    partial = y.toarray()
    partial[~known] = 0
    marked = partial.astype(int)
    marked[~known] = -1
    methods = {f"{name}, labelled rows": make for name, make in SUPERVISED.items()}
    methods |= {"SCHGAN": lambda k, s: SCHGAN(k, random_state=s), DEFAULT: SUPERVISED[DEFAULT]}
    for name, make in methods.items():
        if names and name not in names:
            continue
        if name.endswith("labelled rows"):
            hasher, seconds = fitted(make, bits, seed, X[known], partial[known])
        else:
            hasher, seconds = fitted(make, bits, seed, X, marked if name == "SCHGAN" else partial)
        codes = encoded(hasher, X_test)
        yield name, (class_map(*codes, y_test), own_pair(*codes), seconds)


PROTOCOLS = {
    "held-out": (held_out, ("class mAP", "own pair", "codes", "seconds")),
    "own-table": (own_table, ("learned, 10", "first", "fused, 10", "first", "seconds")),
    "unseen": (unseen, ("seen@seen", "unseen@unseen", "own pair", "seconds")),
    "unlabelled": (unlabelled, ("class mAP", "own pair", "seconds")),
}


def main():
    """Print a table for every data set and code length."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("protocol", choices=PROTOCOLS)
    parser.add_argument("--data", default="openmoji")
    parser.add_argument("--bits", default="64")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", default="", help="separated by semicolons; all by default")
    options = parser.parse_args()
    run, columns = PROTOCOLS[options.protocol]
    names = [name.strip() for name in options.methods.split(";") if name.strip()]
    for data in options.data.split(","):
        for bits in map(int, options.bits.split(",")):
            print(f"\n{Path(data).stem}, {bits} bits, {options.protocol}, {options.seeds} seeds")
            print(f"{'':38}" + "".join(f"{column:>15}" for column in columns))
            rows: dict = {}
            for seed in range(options.seeds):
                for name, values in run(data, bits, seed, names):
                    rows.setdefault(name, []).append(values)
            for name, values in rows.items():
                cells = "".join(f"{value:15.1f}" for value in np.mean(values, axis=0))
                print(f"{name:38}{cells}", flush=True)


if __name__ == "__main__":
    main()
