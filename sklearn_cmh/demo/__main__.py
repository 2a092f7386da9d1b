"""Emoji pictures find their names, and names their pictures: the main job, end to end.

``python -m sklearn_cmh.demo`` tunes and fits DSAH on 1,519 emoji, refines it, measures both on
379 others, keeps the model with joblib, and has a new process answer queries with it. The
contact sheet shows the first eight answers to each. ``--query "sad cat"`` then asks the
saved model whatever you like.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.cross_decomposition import PLSSVD
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GridSearchCV, KFold

from sklearn_cmh import DSAH, HammingRanker, MultimodalData, RefinedHasher
from sklearn_cmh.datasets import load_openmoji
from sklearn_cmh.metrics import average_precision_scores, make_retrieval_scorer

GRID = {"alpha": [0.01, 0.1, 1.0], "gamma": [1e-4, 1e-3, 1e-2]}
QUICK_GRID = {"alpha": [0.1], "gamma": [1e-4, 1e-3]}
QUERIES = [
    "cat face",
    "woman singer",
    "birthday cake",
    "sunrise over mountains",
    "high-heeled shoe",
    "japan flag",
]
PICTURES = [
    "rabbit face",
    "drooling face",
    "tropical drink",
    "fire engine",
    "guitar",
    "up down arrow",
]
N_HITS = 8
PICTURE_SIZE = 96


def load():
    """Emoji, and their pictures' features and raw names as two modalities."""
    emoji = load_openmoji(image_size=PICTURE_SIZE)
    return emoji, MultimodalData(image=emoji.data["image"], text=emoji.names)


def tune(X, y, *, n_bits, seed, quick):
    """Fit DSAH, its alpha and gamma chosen by cross-validation on the training rows."""
    words = CountVectorizer(binary=True, dtype=np.float32)
    hasher = DSAH(
        n_bits,
        modalities=[("image", "passthrough", None), ("text", words, None)],
        random_state=seed,
    )
    search = GridSearchCV(
        # A search of settings can do without the search for better codes, at a quarter of the time.
        clone(hasher).set_params(n_perturbations=0),
        QUICK_GRID if quick else GRID,
        # Rows of the validation fold find each other, as unlabelled rows will have to.
        scoring=make_retrieval_scorer("map", gallery="validation"),
        refit=False,
        cv=KFold(3, shuffle=True, random_state=seed),
        n_jobs=2,
        verbose=2,
    )
    search.fit(X, y)
    print(f"best: {search.best_params_}, mAP {search.best_score_:.3f} in cross-validation")
    return hasher.set_params(**search.best_params_).fit(X, y)


def random_encoder(n_bits, seed):
    """Encoder of nothing: every row gets random bits."""
    rng = np.random.RandomState(seed)

    def encode(X, modality):
        return rng.choice(np.array([-1, 1], dtype=np.int8), size=(len(X), n_bits))

    return encode


def cca_encoder(X, n_bits):
    """Canonical correlation analysis and the sign, without labels.

    Both modalities are whitened on their leading principal components, which
    regularises them; the singular vectors of what is left of their covariance
    are the canonical directions.
    """
    words = CountVectorizer(binary=True, dtype=np.float32).fit(X["text"])
    features: dict[str, Callable[[Any], Any]] = {
        "image": np.asarray,
        "text": lambda text: words.transform(text).toarray(),
    }
    n_components = max(n_bits, 128)
    whiteners = {
        name: PCA(n_components, whiten=True, random_state=0).fit(prepare(X[name]))
        for name, prepare in features.items()
    }

    def whiten(X, name):
        return whiteners[name].transform(features[name](X[name]))

    cca = PLSSVD(n_bits, scale=False).fit(whiten(X, "image"), whiten(X, "text"))
    directions = {"image": cca.x_weights_, "text": cca.y_weights_}

    def encode(X, modality):
        return np.where(whiten(X, modality) @ directions[modality] >= 0, 1, -1)

    return encode


def evaluate(encode, train, test, learned=None):
    """Return mAP of the test rows against three galleries, image to text and text to image."""
    (X_train, y_train), (X_test, y_test) = train, test

    def mean_average_precision(query, database, y_database, exclude_self=False):
        values, relevant = average_precision_scores(
            query, database, y_test, y_database, exclude_self=exclude_self
        )
        return values[relevant].mean()

    row = {}
    for query, database in (("image", "text"), ("text", "image")):
        codes = encode(X_test, modality=query)
        if learned is not None:
            row["learned", query] = mean_average_precision(codes, learned, y_train)
        row["encoded", query] = mean_average_precision(
            codes, encode(X_train, modality=database), y_train
        )
        row["held-out", query] = mean_average_precision(
            codes, encode(X_test, modality=database), y_test, exclude_self=True
        )
    return row


def print_table(rows):
    """Print mean average precision of every method, gallery and direction."""
    galleries = ("learned", "encoded", "held-out")
    print("\nMean average precision of the 379 held-out emoji as queries")
    print(f"{'gallery':<14}" + "".join(f"{gallery:^26}" for gallery in galleries))
    print(f"{'query > found':<14}" + f"{'image > text':>13}{'text > image':>13}" * 3)
    for method, row in rows.items():
        cells = (row.get((g, q)) for g in galleries for q in ("image", "text"))
        figures = ("-" if score is None else f"{score:.3f}" for score in cells)
        print(f"{method:<14}" + "".join(f"{figure:>13}" for figure in figures))
    print(
        "learned: training rows, by the codes learned from picture, name and group\n"
        "encoded: training rows, by the hash function of the other modality\n"
        "held-out: the other held-out rows, by the hash function of the other modality\n"
    )


def answer(output, queries, pictures, sheet):
    """Answer queries with the model saved in `output`, and draw the contact sheet."""
    from .sheet import Row, draw_sheet

    emoji, X = load()
    hasher = joblib.load(output / "model.joblib")
    gallery = emoji.test
    groups = dict(zip(emoji.names, emoji.target, strict=True))

    def search(codes, modality):
        ranker = HammingRanker(N_HITS).fit(hasher.encode(X[gallery], modality=modality))
        return gallery[ranker.kneighbors(codes, return_distance=False)]

    def rows_of(hits, names, rows=None):
        drawn = []
        for i, name in enumerate(names):
            group = groups.get(name)
            right = [None if group is None else emoji.target[j] == group for j in hits[i]]
            drawn.append(
                Row(
                    text=name,
                    caption="" if group is None else emoji.target_names[group],
                    picture=None if rows is None else emoji.images[rows[i]],
                    hits=[(emoji.images[j], emoji.names[j]) for j in hits[i]],
                    right=right,
                )
            )
            print(f"  {name:<18} > " + ", ".join(emoji.names[j] for j in hits[i]))
        return drawn

    sections = []
    if queries:
        hits = search(hasher.encode(queries, modality="text"), "image")
        sections.append(("Words find pictures", rows_of(hits, queries)))
    if pictures:
        rows = np.array([find_picture(emoji, name) for name in pictures])
        found = search(hasher.encode(X["image"][rows], modality="image"), "text")
        sections.append(("Pictures find names", rows_of(found, pictures, rows)))
    subtitle = [
        f"{hasher.n_bits}-bit codes, nearest first. Searched: the {len(gallery)} emoji kept out of "
        "training, pictures by their pixels alone, names by their words alone.",
        "The model learned the nine groups of Unicode from the others; an answer is right if it is "
        "of the query's group.",
    ]
    draw_sheet(sections, sheet, subtitle=subtitle)
    print(f"  contact sheet: {sheet}")


def find_picture(emoji, name):
    """Row number of the held-out emoji of this name."""
    rows = emoji.test[emoji.names[emoji.test] == name]
    if not len(rows):
        raise SystemExit(f"no held-out emoji is named {name!r}")
    return rows[0]


def main_job(args):
    """Tune, fit, compare, save; then answer queries in a new process."""
    start = time.perf_counter()

    def step(text):
        print(f"[{time.perf_counter() - start:5.1f} s] {text}", flush=True)

    step("loading 1,898 emoji: pictures, names, nine groups")
    emoji, X = load()
    train, test = ((X[rows], emoji.target[rows]) for rows in (emoji.train, emoji.test))

    step(f"tuning alpha and gamma of DSAH, {args.bits} bits")
    hasher = tune(*train, n_bits=args.bits, seed=args.seed, quick=args.quick)

    models = {"DSAH": hasher}
    if not args.quick:
        step("refining it: hash functions and bits that serve unseen rows best")
        hasher = RefinedHasher(hasher, args.bits, random_state=args.seed, n_jobs=2).fit(*train)
        models["DSAH, refined"] = hasher

    step("comparing with random codes and with CCA and sign")
    rows = {
        "random codes": evaluate(random_encoder(args.bits, args.seed), train, test),
        "CCA and sign": evaluate(cca_encoder(train[0], args.bits), train, test),
    }
    for name, model in models.items():
        rows[name] = evaluate(model.encode, train, test, learned=model.codes_)
    print_table(rows)

    args.output.mkdir(parents=True, exist_ok=True)
    joblib.dump(hasher, args.output / "model.joblib", compress=3)
    step(f"model saved: {args.output / 'model.joblib'}; a new process answers queries with it")
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
    parser.add_argument("--quick", action="store_true", help="try two settings, and do not refine")
    asking = parser.add_argument_group("asking the saved model, instead of fitting one")
    asking.add_argument("--query", action="append", default=[], help="words to search by")
    asking.add_argument(
        "--picture", action="append", default=[], help="name of a held-out emoji to search by"
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
