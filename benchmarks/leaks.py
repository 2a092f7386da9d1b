"""What the habits of published evaluations are worth: one method's figures under each of them.

    python benchmarks/leaks.py --data wiki --method BATCH --bits 16,64 --seeds 3
    python benchmarks/leaks.py epochs --data wiki --method DSPAH --bits 16 --seeds 3

Figures are mAP, image to text and text to image, means over the seeds, with what they gain over
the line that they are compared with.

gallery      the codes learned from the labels of the very rows that are ranked, or the training
             rows encoded, instead of rows that took no part in the fit
own row      the query's own row is among those ranked
ties         the order of rows at equal distance, where labels are sorted: by an unstable sort, by
             row, or the best and the worst of all orders
mAP@50       three definitions of it, of the same ranking
settings     ten drawn from the method's grid: the best on the test rows, one for each direction,
             instead of the one that is best on rows of the training set
seeds        the best of ten on the test rows, one for each direction, instead of their mean
splits       drawn ones of the same sizes instead of the published one; the spread over them
epochs       the best epoch on the test rows, one for each direction, instead of the last
"""

import argparse
import warnings

import numpy as np
from paper_tables import DIRECTIONS, METHODS, candidates, chosen, make, mean_average_precision
from real_data import load
from scipy import sparse
from sklearn.base import clone

K = 50
N_DRAWN = 10


def encoded(hasher, X):
    """Codes of both modalities."""
    return {name: hasher.encode(X, modality=name) for name in ("image", "text")}


def held_out(hasher, X, y, exclude_self=True):
    """Both directions of the held-out gallery."""
    codes = encoded(hasher, X)
    return np.array(
        [
            mean_average_precision(codes[query], codes[database], y, y, exclude_self)
            for query, database in DIRECTIONS
        ]
    )


def learned(hasher, X, y, y_train):
    """Both directions of the learned gallery."""
    codes = encoded(hasher, X)
    return np.array(
        [mean_average_precision(codes[query], hasher.codes_, y, y_train) for query, _ in DIRECTIONS]
    )


def indicator(y):
    """Labels as a dense indicator."""
    return y.toarray() if sparse.issparse(y) else np.equal.outer(y, np.unique(y)).astype(int)


def ranked(query, database, relevant, order):
    """Relevance of the database rows by distance, rows at equal distance by `order`."""
    distances = -(query.astype(np.float32) @ database.T.astype(np.float32))
    if order == "unstable":
        rows = np.argsort(distances, axis=1)
    else:
        last = {"by row": np.zeros_like(relevant), "best": ~relevant, "worst": relevant}[order]
        rows = np.lexsort((last, distances))
    return np.take_along_axis(relevant, rows, axis=1)


def average_precision(hits):
    """Of full rankings, one a row."""
    ranks = np.arange(1, hits.shape[1] + 1)
    precision = np.cumsum(hits, axis=1) / ranks
    return ((precision * hits).sum(axis=1) / hits.sum(axis=1)).mean()


def average_precision_at(hits, k, definition):
    """mAP@k as three programs compute it; all rankings have a relevant row."""
    ranks = np.arange(1, hits.shape[1] + 1)
    found = np.cumsum(hits, axis=1)
    precision = found / ranks * hits
    relevant = hits.sum(axis=1)
    if definition == "of the relevant rows among the first k":
        among = hits[:, :k].sum(axis=1)
        return (precision[:, :k].sum(axis=1) / np.maximum(among, 1)).mean()
    if definition == "of all relevant rows, k at most":
        return (precision[:, :k].sum(axis=1) / np.minimum(relevant, k)).mean()
    # The first k relevant rows, wherever they stand.
    return ((precision * (found <= k)).sum(axis=1) / np.minimum(relevant, k)).mean()


DEFINITIONS = (
    "of the relevant rows among the first k",
    "of all relevant rows, k at most",
    "of the first k relevant rows, wherever they stand",
)


def galleries(hasher, training, testing):
    """Rows of the table: name, figures, name of the row that they are compared with."""
    (X, y), (X_test, y_test) = training, testing
    codes, trained = encoded(hasher, X_test), encoded(hasher, X)
    over_encoded = [
        mean_average_precision(codes[query], trained[database], y_test, y)
        for query, database in DIRECTIONS
    ]
    yield "gallery: held-out", held_out(hasher, X_test, y_test), None
    yield "gallery: encoded", np.array(over_encoded), "gallery: held-out"
    yield "gallery: learned", learned(hasher, X_test, y_test, y), "gallery: held-out"
    with_own = held_out(hasher, X_test, y_test, exclude_self=False)
    yield "own row: among the rows ranked", with_own, "gallery: held-out"


def ties_and_cuts(hasher, training, testing):
    """Orders of ties and definitions of mAP@k in the learned gallery, labels sorted."""
    (_, y), (X_test, y_test) = training, testing
    L, L_test = indicator(y), indicator(y_test)
    by_class = np.argsort(-L @ np.arange(L.shape[1], 0, -1), kind="stable")
    relevant = (L_test @ L[by_class].T) > 0
    codes, database = encoded(hasher, X_test), hasher.codes_[by_class]
    yield "ties: expected", learned(hasher, X_test, y_test, y), None
    for order in ("unstable", "by row", "worst", "best"):
        hits = [ranked(codes[query], database, relevant, order) for query, _ in DIRECTIONS]
        scores = np.array([average_precision(ranking) for ranking in hits])
        yield f"ties: {order}", scores, "ties: expected"
    # A random order, so that labels decide nothing.
    mixed = np.random.RandomState(0).permutation(len(L))
    hits = [
        ranked(codes[query], hasher.codes_[mixed], (L_test @ L[mixed].T) > 0, "by row")
        for query, _ in DIRECTIONS
    ]
    yield "mAP of the full ranking", np.array([average_precision(h) for h in hits]), None
    for definition in DEFINITIONS:
        scores = np.array([average_precision_at(h, K, definition) for h in hits])
        yield f"mAP@{K}: {definition}", scores, "mAP of the full ranking"


def settings(hasher, method, training, testing, seed):
    """Settings chosen on rows of the training set, and on the test rows."""
    (X, y), (X_test, y_test) = training, testing
    drawn = candidates(hasher, method, N_DRAWN, seed)
    honest = chosen(hasher, drawn, X, y, seed).fit(X, y)
    scores = []
    for setting in drawn:
        fitted = clone(hasher).set_params(**{name: value for name, (value,) in setting.items()})
        fitted.fit(X, y)
        scores.append([held_out(fitted, X_test, y_test), learned(fitted, X_test, y_test, y)])
    best = np.max(scores, axis=0)
    baseline = "held-out: settings chosen on training rows"
    yield baseline, held_out(honest, X_test, y_test), None
    yield "held-out: settings chosen on test rows", best[0], baseline
    baseline = "learned: settings chosen on training rows"
    yield baseline, learned(honest, X_test, y_test, y), None
    yield "learned: settings chosen on test rows", best[1], baseline


def seeds_and_splits(method, data, bits, wiki_path):
    """Ten seeds, and ten splits, by their mean and their best."""
    for kind in ("seeds", "splits"):
        scores = []
        for number in range(N_DRAWN):
            seed, split = (number, 0) if kind == "seeds" else (0, number)
            (X, y), (X_test, y_test) = load(data, wiki_path, split)
            hasher = make(method, data, bits, seed).fit(X, y)
            scores.append([held_out(hasher, X_test, y_test), learned(hasher, X_test, y_test, y)])
        for gallery, of_gallery in zip(
            ("held-out", "learned"), np.swapaxes(scores, 0, 1), strict=True
        ):
            baseline = f"{gallery}: mean of ten {kind}"
            yield baseline, of_gallery.mean(axis=0), None
            yield f"{gallery}: best of ten {kind}", of_gallery.max(axis=0), baseline
            yield f"{gallery}: deviation over ten {kind}", of_gallery.std(axis=0, ddof=1), None


def epochs(hasher, training, testing):
    """The last epoch and the best one, by both galleries; one epoch more at a time."""
    (X, y), (X_test, y_test) = training, testing
    n_epochs = hasher.max_iter
    scores = []
    for n in range(1, n_epochs + 1):
        hasher.partial_fit(X, y)
        scores.append(held_out(hasher, X_test, y_test))
        print(f"epoch {n}: {np.round(scores[-1], 4)}", flush=True)
    yield "held-out: last epoch", scores[-1], None
    yield "held-out: best epoch on test rows", np.max(scores, axis=0), "held-out: last epoch"


def tabulate(runs):
    """Print the means of the runs, each a list of rows."""
    means = {}
    for rows in zip(*runs, strict=True):
        name, _, baseline = rows[0]
        means[name] = np.mean([scores for _, scores, _ in rows], axis=0)
        gain = ""
        if baseline is not None:
            gain = "  " + " ".join(f"{g:+8.3f}" for g in means[name] - means[baseline])
        print(f"{name:60}" + " ".join(f"{s:8.3f}" for s in means[name]) + gain, flush=True)


def main():
    """Print a table for every code length."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=["all", "epochs"], default="all")
    parser.add_argument("--data", default="wiki")
    parser.add_argument("--method", default="BATCH", choices=METHODS)
    parser.add_argument("--bits", default="16,64")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--wiki-path", help="local wikiData.mat or raw_features.mat")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    training, testing = load(args.data, args.wiki_path)
    for bits in map(int, args.bits.split(",")):
        print(f"\n{args.data}, {args.method}, {bits} bits, {args.seeds} seeds")
        runs = []
        for seed in range(args.seeds):
            hasher = make(args.method, args.data, bits, seed)
            if args.what == "epochs":
                runs.append(list(epochs(hasher, training, testing)))
                continue
            fitted = clone(hasher).fit(*training)
            rows = [*galleries(fitted, training, testing)]
            rows += ties_and_cuts(fitted, training, testing)
            runs.append([*rows, *settings(hasher, args.method, training, testing, seed)])
        tabulate(runs)
        if args.what == "all":
            tabulate([list(seeds_and_splits(args.method, args.data, bits, args.wiki_path))])


if __name__ == "__main__":
    main()
