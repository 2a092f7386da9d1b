"""Emoji pictures find their names, and names their pictures: the main job, end to end.

``python -m sklearn_cmh.demo`` measures codes from labels, from pairs, and from both on 379 emoji
kept out of the fit. Then it learns codes of all 1,898, keeps the models with joblib, and has a
new process search this table with them. The contact sheet shows the first eight answers to
each query: "blue heart" finds the blue heart, where labels alone find anything of its group.
``--query "sad cat"`` asks the saved models whatever you like.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

from sklearn_cmh import (
    AnchorRBF,
    HammingRanker,
    MultimodalData,
    RefinedHasher,
    SharedSpace,
    TwoStageRanker,
)
from sklearn_cmh.datasets import load_openmoji
from sklearn_cmh.metrics import average_precision_scores, pair_recall_at_k
from sklearn_cmh.shallow import CCAITQ

QUERIES = [
    "blue heart",
    "cat face",
    "birthday cake",
    "woman singer",
    "sunrise over mountains",
    "high-heeled shoe",
]
PICTURES = ["rabbit face", "tropical drink", "fire engine", "guitar"]
N_HITS = 8
PICTURE_SIZE = 96
# Settings that take seconds, for tests.
QUICK_WORDS, QUICK_ANCHORS = 400, 200
QUICK: dict[str, Any] = {
    "n_anchors": QUICK_ANCHORS,
    "preprocessing": ("sqrt_norm",),
    "widths": (0.5,),
    "ridges": (0.1, 1.0),
}


def load():
    """Emoji, and their pictures' features and raw names as two modalities."""
    emoji = load_openmoji(image_size=PICTURE_SIZE)
    return emoji, MultimodalData(image=emoji.data["image"], text=emoji.names)


def modalities(args):
    """Pictures as they are, names as bags of words."""
    max_features = QUICK_WORDS if args.quick else None
    words = CountVectorizer(binary=True, max_features=max_features, dtype=np.float32)
    return [("image", "passthrough", None), ("text", words, None)]


def make_hasher(args, pair_weight):
    """The hasher that the demonstration is about."""
    return RefinedHasher(
        n_bits=args.bits,
        pair_weight=pair_weight,
        modalities=modalities(args),
        n_jobs=2,
        random_state=args.seed,
        **(QUICK if args.quick else {}),
    )


def make_space(args):
    """Real-valued vectors that tell things apart more finely than bits: the second stage."""
    quick: dict[str, Any] = {}
    if args.quick:
        quick = {"feature_map": AnchorRBF(QUICK_ANCHORS), "regularisation": 0.1}
    return SharedSpace(modalities=modalities(args), n_jobs=2, random_state=args.seed, **quick)


class RandomCodes:
    """Codes of nothing: every row gets random bits."""

    def __init__(self, n_bits, seed):
        self.n_bits, self.rng = n_bits, np.random.RandomState(seed)

    def encode(self, X, modality):
        """Random codes of the rows."""
        return self.rng.choice(np.array([-1, 1], dtype=np.int8), size=(len(X), self.n_bits))


def evaluate(hasher, X, y):
    """Figures of rows that took no part in the fit, both sides encoded.

    mAP of the groups, image to text and text to image, then the share of rows whose own pair is
    among the first ten, likewise.
    """
    codes = {name: hasher.encode(X, modality=name) for name in X.names}
    groups, pairs = [], []
    for query, database in (("image", "text"), ("text", "image")):
        found, relevant = average_precision_scores(
            codes[query], codes[database], y, y, exclude_self=True
        )
        groups.append(found[relevant].mean())
        pairs.append(pair_recall_at_k(codes[query], codes[database], k=10))
    return groups + pairs


def print_table(rows):
    """Print what every method finds among the held-out rows."""
    print("\n379 emoji that took no part in the fit search each other")
    print(f"{'':<20}{'mAP of the groups':^26}{'own pair among ten':^26}")
    print(f"{'query > found':<20}" + f"{'image > text':>13}{'text > image':>13}" * 2)
    for method, figures in rows.items():
        print(f"{method:<20}" + "".join(f"{figure:>13.3f}" for figure in figures))
    print()


def answer(output, queries, pictures, sheet):
    """Answer queries with the models saved in `output`, and draw the contact sheet."""
    from .sheet import Row, draw_sheet

    emoji, X = load()
    hasher, labels, space = (
        joblib.load(output / f"{name}.joblib") for name in ("model", "labels", "space")
    )
    table = MultimodalData(codes=hasher.codes_, vectors=space.transform(X))
    both = TwoStageRanker(metric="cosine", n_neighbors=N_HITS, oversampling=5).fit(table)
    alone = HammingRanker(N_HITS).fit(labels.codes_)
    numbers = {name: i for i, name in enumerate(emoji.names)}

    def search(block, modality):
        vectors = space.transform(block, modality=modality)
        asked = MultimodalData(codes=hasher.encode(block, modality=modality), vectors=vectors)
        return both.kneighbors(asked, return_distance=False)

    def search_labels(block, modality):
        codes = labels.encode(block, modality=modality)
        return alone.kneighbors(codes, return_distance=False)

    def rows_of(hits, names, with_pictures=False):
        drawn = []
        for i, name in enumerate(names):
            row = numbers.get(name)
            drawn.append(
                Row(
                    text=name,
                    caption="" if row is None else emoji.target_names[emoji.target[row]],
                    picture=emoji.images[row] if with_pictures else None,
                    hits=[(emoji.images[j], emoji.names[j]) for j in hits[i]],
                    right=[verdict(emoji, row, j) for j in hits[i]],
                )
            )
            print(f"  {name:<23} > " + ", ".join(emoji.names[j] for j in hits[i]))
        return drawn

    sections = []
    if queries:
        print("Words find pictures, by codes of labels and pairs:")
        rows = rows_of(search(queries, "text"), queries)
        sections.append(("Words find pictures: codes of labels and pairs", rows))
        print("The same words, by codes of labels alone:")
        rows = rows_of(search_labels(queries, "text"), queries)
        sections.append(("The same words: codes of labels alone", rows))
    if pictures:
        print("Pictures find names, by codes of labels and pairs:")
        asked = np.array([find_picture(emoji, name) for name in pictures])
        rows = rows_of(search(X["image"][asked], "image"), pictures, with_pictures=True)
        sections.append(("Pictures find names: codes of labels and pairs", rows))
    subtitle = [
        f"{hasher.n_bits}-bit codes, nearest first. Searched: the {len(X)} emoji that the codes "
        "were learned from.",
        f"The {N_HITS} best of {5 * N_HITS} candidates, ordered by vectors of the shared space. "
        "Labels are the nine groups of Unicode; pairs are pictures and their names.",
    ]
    draw_sheet(sections, sheet, subtitle=subtitle)
    print(f"  contact sheet: {sheet}")


def verdict(emoji, row, hit):
    """What an answer is to the emoji in a row: itself, of its group, or neither."""
    if row is None:
        return None
    return "itself" if hit == row else bool(emoji.target[hit] == emoji.target[row])


def find_picture(emoji, name):
    """Row number of the emoji of this name."""
    rows = np.flatnonzero(emoji.names == name)
    if not len(rows):
        raise SystemExit(f"no emoji is named {name!r}")
    return rows[0]


def own_row(hasher, X):
    """How often names find their own row of the table first, and among ten."""
    queries = hasher.encode(X, modality="text")
    return [pair_recall_at_k(queries, hasher.codes_, k=k) for k in (1, 10)]


def main_job(args):
    """Compare on held-out rows; learn the whole table, save; answer in a new process."""
    start = time.perf_counter()

    def step(text):
        print(f"[{time.perf_counter() - start:5.1f} s] {text}", flush=True)

    step("loading 1,898 emoji: pictures, names, nine groups")
    emoji, X = load()
    y = emoji.target
    train, test = emoji.train, emoji.test

    step(f"learning {args.bits}-bit codes of 1,519: from pairs, from labels, from both")
    cca = CCAITQ(n_bits=args.bits, modalities=modalities(args), random_state=args.seed)
    models = {
        "random codes": RandomCodes(args.bits, args.seed),
        "CCA-ITQ, pairs": cca.fit(X[train]),
    }
    for name, pair_weight in (("labels", 0), ("labels and pairs", "auto")):
        models[name] = make_hasher(args, pair_weight).fit(X[train], y[train])
    print_table({name: evaluate(model, X[test], y[test]) for name, model in models.items()})

    step("learning codes of the whole table, from labels and from both")
    args.output.mkdir(parents=True, exist_ok=True)
    for file, pair_weight in (("labels", 0), ("model", "auto")):
        hasher = make_hasher(args, pair_weight).fit(X, y)
        joblib.dump(hasher, args.output / f"{file}.joblib", compress=3)
        distinct = len(np.unique(hasher.codes_, axis=0))
        first, ten = own_row(hasher, X)
        print(
            f"  {'labels' if file == 'labels' else 'labels and pairs':<17}{distinct:>5} distinct "
            f"codes; names find their own row first {first:.3f}, among ten {ten:.3f}"
        )
    joblib.dump(make_space(args).fit(X), args.output / "space.joblib", compress=3)

    step(f"models saved in {args.output}; a new process answers queries with them")
    command = [sys.executable, "-m", "sklearn_cmh.demo", "--output", str(args.output)]
    command += ["--sheet", str(args.output / "contact_sheet.png")]
    command += [word for query in QUERIES for word in ("--query", query)]
    command += [word for name in PICTURES for word in ("--picture", name)]
    subprocess.run(command, check=True)
    step('done; ask it yourself: python -m sklearn_cmh.demo --query "sad cat"')


def parse(argv):
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sklearn_cmh.demo",
        description="Learn binary codes of 1,898 emoji pictures and their names, and search "
        "one by the other.",
    )
    parser.add_argument("--bits", type=int, default=64, help="length of the codes (default 64)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("emoji-demo"),
        help="folder of the model and the contact sheet (default emoji-demo)",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    parser.add_argument(
        "--quick", action="store_true", help="fewer words, and fewer candidates for hash functions"
    )
    asking = parser.add_argument_group("asking the saved model, instead of fitting one")
    asking.add_argument("--query", action="append", default=[], help="words to search by")
    asking.add_argument(
        "--picture", action="append", default=[], help="name of an emoji to search by"
    )
    asking.add_argument("--sheet", type=Path, help="picture to write (default OUTPUT/answers.png)")
    args = parser.parse_args(argv)
    if not 1 <= args.bits <= 256:
        parser.error("--bits must be between 1 and 256")
    if (args.query or args.picture) and not (args.output / "model.joblib").is_file():
        parser.error(f"there is no model in {args.output}: run without --query first")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run the main job, or answer queries."""
    args = parse(argv)
    if args.query or args.picture:
        sheet = args.sheet or args.output / "answers.png"
        answer(args.output, args.query, args.picture, sheet)
    else:
        main_job(args)


if __name__ == "__main__":
    main()
