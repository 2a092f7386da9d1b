"""What a second stage finds that codes alone do not: own pairs, and rows of the same class.

Codes are those of RefinedHasher from labels and pairs (``estimator=None``, its default pair
weight unless given), vectors 64 float16 a row of one of three spaces: that which the hasher
has fitted for itself; a SharedSpace whose settings are searched, its components weighted by
how well they hold for rows left out (``power=1``, the default); and the same, its components
weighted alike (``power=0``). Two uses:

* table: all rows are fitted; the text of every row searches the learned codes.
* held out: the standard split; the test rows of one modality search those of the other, the
  mean of both directions.

The columns: plain Hamming ranking; the query's projections against all codes, and against
the candidates only; candidates by cosine in the three spaces; and all rows by cosine in the
two searched ones, without codes. Candidates are the 40 nearest codes of a search for 10 rows
(``oversampling=4``); how often the own row is among them, the first column says: no second stage
finds more.

    python benchmarks/second_stage.py --data openmoji.npz wiki.npz --bits 32 64 128
"""

import argparse
from copy import copy
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from sklearn_cmh import HammingRanker, MultimodalData, RefinedHasher, SharedSpace, TwoStageRanker

SMALL = {"n_neighbors": 10, "oversampling": 4}
COSINE = {"metric": "cosine", "dtype": "float16"}
RANKERS = {
    "Hamming": HammingRanker(n_neighbors=10),
    "asymmetric, all": TwoStageRanker(n_neighbors=10, oversampling=None),
    "asymmetric": TwoStageRanker(**SMALL),
    "hasher's space": TwoStageRanker(**COSINE, **SMALL),
    "searched space": TwoStageRanker(**COSINE, **SMALL),
    "even space": TwoStageRanker(**COSINE, **SMALL),
    "searched, all": TwoStageRanker(**COSINE, n_neighbors=10, oversampling=None),
    "even, all": TwoStageRanker(**COSINE, n_neighbors=10, oversampling=None),
}
SPACES = ("hasher", "searched", "even")


def load(path):
    """Both modalities, label indicator, and the rows of the standard split."""
    data = np.load(path)
    X = MultimodalData(image=data["image"], text=data["text"])
    return X, data["labels"], data["train"], data["test"]


def compare(codes, vectors, query, query_vectors, y, y_queries):
    """Own row among ten, own row first, and class mAP of every ranking; own row among 40 codes.

    `query` holds projections; query i is the partner of row i. Vectors are those of all spaces.
    """
    signs = np.where(query >= 0, 1, -1)
    own = np.arange(len(query))[:, None]
    table = {}
    for name, ranker in RANKERS.items():
        rows, queries = codes, signs if name == "Hamming" else query
        if ranker.get_params().get("metric") == "cosine":
            space = next(i for i, word in enumerate(SPACES) if name.startswith(word))
            rows = MultimodalData(codes=codes, vectors=vectors[space])
            queries = MultimodalData(codes=signs, vectors=query_vectors[space])
        ranker.fit(rows, y)
        found = ranker.kneighbors(queries, return_distance=False) == own
        mean_average_precision = ranker.score(queries, y_queries)
        table[name] = found.any(axis=1).mean(), found[:, 0].mean(), mean_average_precision
    candidates = HammingRanker(n_neighbors=40).fit(codes).kneighbors(signs, return_distance=False)
    table["among 40"] = [(candidates == own).any(axis=1).mean()]
    return table


def own_table(X, y, hasher, spaces):
    """Every row's text searches the learned codes of all rows."""
    text = [space.transform(X["text"], modality="text") for space in spaces]
    projections = hasher.project(X["text"], modality="text")
    rows = [space.transform(X) for space in spaces]
    return compare(hasher.codes_, rows, projections, text, y, y)


def held_out(rows, y, hasher, spaces):
    """Test rows of one modality search those of the other, both ways."""
    project = {name: hasher.project(rows[name], modality=name) for name in rows.names}
    vectors = {
        name: [space.transform(rows[name], modality=name) for space in spaces]
        for name in rows.names
    }
    tables = []
    for name, other in (("image", "text"), ("text", "image")):
        codes = np.where(project[other] >= 0, 1, -1)
        tables.append(compare(codes, vectors[other], project[name], vectors[name], y, y))
    return {name: np.mean([table[name] for table in tables], axis=0) for name in tables[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", type=Path, required=True, help=".npz files")
    parser.add_argument("--bits", nargs="+", type=int, default=[32, 64, 128])
    parser.add_argument("--pair-weight", type=float, help="of RefinedHasher; its own by default")
    parser.add_argument("--uses", nargs="+", default=["table", "held out"])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    weight = "auto" if args.pair_weight is None else args.pair_weight
    print("own row among 10 / own row first / class mAP, x 100")
    columns = ["among 40", *RANKERS]
    print(f"{'':28s}" + "".join(f"{name:>20s}" for name in columns))
    for path, use in product(args.data, args.uses):
        X, y, train, test = load(path)
        fitted = np.arange(len(y)) if use == "table" else train
        searched = SharedSpace(random_state=args.seed).fit(X[fitted])
        even = copy(searched).set_params(power=0)
        with TemporaryDirectory() as memory:  # Features, the same for all lengths.
            for n_bits in args.bits:
                hasher = RefinedHasher(
                    n_bits=n_bits, pair_weight=weight, memory=memory, random_state=args.seed
                ).fit(X[fitted], y[fitted])
                spaces = [hasher.shared_space_, searched, even]
                if use == "table":
                    table = own_table(X, y, hasher, spaces)
                else:
                    table = held_out(X[test], y[test], hasher, spaces)
                cells = (" / ".join(f"{100 * value:.1f}" for value in table[n]) for n in columns)
                label = f"{path.stem}, {use}, {n_bits}"
                print(f"{label:28s}" + "".join(f"{cell:>20s}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
