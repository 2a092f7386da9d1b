"""The papers' tables: every method of the package on real data, in one protocol.

    python benchmarks/paper_tables.py --data wiki,openmoji --bits 16,32,64,128 --seeds 3

Data sets are "wiki" (fetched, or read from --wiki-path), "openmoji" (from the demo extra),
"emoji-keywords" (several labels per row; the demo extra and em-keyboard), "generated" (few rows,
to see that all of this runs), or the path of an .npz file that holds ``image``, ``text``,
``labels``, ``train`` and ``test``: blocks of features, class labels or their indicator, and row
numbers. A data set whose name begins with wiki, mirflickr or nuswide is compared with the figures
that papers print for it (published.csv).

Methods are those of the package, variants of the papers' tables ("AAH-knn"), and shallow ones
inside a RefinedHasher ("AAH-refined"), all with the settings of their papers; or, with --tune N,
with the best of these and N settings that are drawn from the method's `paper_grid`, judged on a
quarter of the training rows that the fit does not see. No test row takes part in that.

Every cell (data set, method, bits, split, seed) runs in a process of its own and is added to
results.csv in the output folder when it is done; a cell that is there already is not run
again. They are run seed by seed, so that a run that is stopped has the same seeds of all methods.
Split 0 is the published one; with --splits, others are drawn. Galleries, of which papers
seldom say which they rank, and two figures beside them:

learned    the training rows, by the codes learned from both modalities and the labels
encoded    the training rows, by the hash function of the other modality
held-out   the other test rows, by the hash function of the other modality
own-pair   share of the test rows whose own row is among the 10 nearest in the other modality
unseen     mAP among rows of classes (28 %) that took no part in another fit

Seconds are those of the processor, all threads together, which other work on the machine leaves as
they are.
"""

import argparse
import csv
import multiprocessing
import os
import resource
import statistics
import sys
import time
import warnings
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import numpy as np
from real_data import load, load_rows
from significance import across_cells, against_best, holm
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, ParameterSampler, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from threadpoolctl import threadpool_limits

from sklearn_cmh import AnchorRBF, RefinedHasher
from sklearn_cmh.metrics import (
    average_precision_scores,
    make_retrieval_scorer,
    pair_recall_at_k,
)
from sklearn_cmh.model_selection import UnseenClassSplit
from sklearn_cmh.utils.discovery import all_estimators

DIRECTIONS = (("image", "text"), ("text", "image"))
# Columns of every gallery: mAP by query, or one figure for both directions.
GALLERIES = {
    gallery: [f"{gallery} {query}" for query, _ in DIRECTIONS]
    for gallery in ("learned", "encoded", "held-out")
} | {"own-pair": ["own-pair"], "unseen": ["unseen"]}
SCORES = [column for columns in GALLERIES.values() for column in columns]
COSTS = ["seconds", "search_seconds", "peak_mb"]
VALIDATION_SHARE = 0.25
# Imported once, by the server that the processes of the cells are forked from.
PRELOADED = [
    "scipy.stats",
    "sklearn.model_selection",
    "skimage.feature",
    "sklearn.feature_extraction.text",
    "sklearn_cmh.datasets",
    "sklearn_cmh.deep",
    "sklearn_cmh.metrics",
    "sklearn_cmh.model_selection",
    "sklearn_cmh.refine",
    "sklearn_cmh.shallow",
]
# Differences to a printed figure that ask for a reason.
NOTABLE = 0.02
# A signed-rank test of fewer cells cannot find anything.
FEWEST_CELLS = 6


class Cell(NamedTuple):
    """One fit, and what is judged by it."""

    data: str
    method: str
    bits: int
    split: int
    seed: int
    tune: int

    def key(self):
        """With the name of the data set for its path."""
        return self._replace(data=Path(self.data).stem)

    def label(self):
        """The method as tables name it."""
        return f"{self.method}, tuned" if self.tune else self.method


COLUMNS = [*Cell._fields, *SCORES, *COSTS]


def anchors(data):
    """500 image and 1,000 text anchors, as the ASCMH paper has them."""
    return {"feature_map": {"image": AnchorRBF(500), "text": AnchorRBF(1000)}}


def weights(data):
    """The AAH paper's weights for the data set."""
    theta, alpha, beta = (1, 10, 10) if data.startswith("wiki") else (10, 1, 10)
    return {"theta": theta, "alpha": alpha, "beta": beta}


def centred(data):
    """Columns that the method centres itself, and nobody scales, as in circulating code."""
    return {"feature_map": "passthrough"}


KINDS = ("baseline", "shallow", "deep", "refined")
HASHERS = {name: cls for kind in KINDS for name, cls in all_estimators(kind=kind)}
# What the papers set for a data set, where it differs from the defaults.
OPTIONS = {
    "AAH": weights,
    "ASCMH": anchors,
    "BATCH": anchors,
    "CMFH": centred,
    "DSAH": anchors,
}
VARIANTS = {
    "DSAH-alm": {"solver": "alm"},
    # The ablations of DSAH's tables 4 and 5: relaxed codes, no kernel, another norm.
    "DSAH-Re": {"relaxed": True},
    "DSAH-Ke": {"feature_map": StandardScaler(with_mean=False)},
    "DSAH-Nm": {"label_term": "frobenius"},
    # The ablations of AAH's table IV.
    "AAH-knn": {"affinity": "knn"},
    "AAH-nl": {"alpha": 0},
    "AAH-ng": {"beta": 0},
    "AAH-na": {"averaging": False},
    "SCM-orth": {"solver": "orthogonal"},
    # Without a kernel, as in circulating code.
    "DCH-linear": {"feature_map": "passthrough"},
    # What brings printed figures of Wiki about, or nearer: other scales, no kernel, lighter graphs.
    "CMFH-unit": {"feature_map": make_pipeline(Normalizer(), StandardScaler(with_std=False))},
    "SMFH-weak": {"gamma": 0.1},
    "FSH-scaled": {"feature_map": StandardScaler()},
    "GSPH-linear": {"feature_map": StandardScaler()},
    "GSPH-ridge": {"hash_functions": "ridge"},
    "LSSH-unit": {"feature_map": make_pipeline(Normalizer(), StandardScaler(with_std=False))},
    "SePH-linear": {"feature_map": "passthrough"},
    # What the two kinds of targets are worth.
    "RefinedHasher-labels": {"pair_weight": 0},
    "RefinedHasher-pairs": {"pair_weight": 1},
}
REFINED = [f"{name}-refined" for name, _ in all_estimators(kind="shallow")]
METHODS = [*HASHERS, *VARIANTS, *REFINED]
# CentredSign is for embeddings of one space: it needs modalities of the same width.
DEFAULT_METHODS = [
    *(name for name, _ in all_estimators(kind="baseline") if name != "CentredSign"),
    *(name for name, _ in all_estimators(kind="shallow")),
    "DSAH-alm",
    "RefinedHasher",
]


def make(method, data, bits, seed):
    """Make the hasher of a row of the table; deep ones learn from features, too."""
    name, _, variant = method.partition("-")
    options = OPTIONS[name](data) if name in OPTIONS else {}
    if variant == "refined":
        # It chooses feature maps itself.
        options.pop("feature_map", None)
        return RefinedHasher(HASHERS[name](**options), bits, random_state=seed)
    settings = {"n_bits": bits, "random_state": seed, **options, **VARIANTS.get(method, {})}
    known = HASHERS[name]().get_params(deep=False)
    return HASHERS[name](**{key: value for key, value in settings.items() if key in known})


def candidates(hasher, method, n_settings, seed):
    """The settings as they are, and some that are drawn from the method's grid."""
    prefix = ""
    if method.endswith("-refined"):
        hasher, prefix = hasher.estimator, "estimator__"
    grids = hasher.paper_grid() if hasattr(hasher, "paper_grid") else {}
    fixed = {"n_bits", *VARIANTS.get(method, {})}
    choices = [
        {prefix + name: values for name, values in grid.items() if name not in fixed}
        for grid in (grids if isinstance(grids, list) else [grids])
    ]
    choices = [grid for grid in choices if grid]
    if not choices:
        return [{}]
    with warnings.catch_warnings():
        # A grid of fewer settings is taken whole.
        warnings.simplefilter("ignore")
        drawn = list(ParameterSampler(choices, n_settings, random_state=seed))
    return [{}] + [{name: [value] for name, value in setting.items()} for setting in drawn]


def chosen(hasher, settings, X, y, seed):
    """The hasher with the settings that find held-out rows of the training set best."""
    search = GridSearchCV(
        hasher,
        settings,
        scoring=make_retrieval_scorer("map", gallery="validation"),
        cv=ShuffleSplit(1, test_size=VALIDATION_SHARE, random_state=seed),
        refit=False,
        error_score="raise",
    ).fit(X, y)
    return clone(hasher).set_params(**search.best_params_)


def fitted(cell, X, y):
    """The hasher, fitted to training rows; CPU seconds of that, and of the search before it."""
    hasher = make(cell.method, cell.key().data, cell.bits, cell.seed)
    start = time.process_time()
    if cell.tune:
        settings = candidates(hasher, cell.method, cell.tune, cell.seed)
        if len(settings) > 1:
            hasher = chosen(hasher, settings, X, y, cell.seed)
    found = time.process_time()
    hasher.fit(X, y)
    return hasher, time.process_time() - found, found - start


def mean_average_precision(query, database, y_query, y_database, exclude_self=False):
    """Mean over the queries that have a relevant row."""
    values, relevant = average_precision_scores(
        query, database, y_query, y_database, exclude_self=exclude_self
    )
    return float(values[relevant].mean())


def rankings(hasher, training, testing, galleries):
    """Class mAP in the galleries that rank rows by their classes, and the own pairs."""
    (X, y), (X_test, y_test) = training, testing
    trained = {name: hasher.encode(X, modality=name) for name in ("image", "text")}
    tested = {name: hasher.encode(X_test, modality=name) for name in ("image", "text")}
    scores, recalls = {}, []
    for query, database in DIRECTIONS:
        ranked = {
            "learned": (hasher.codes_, y),
            "encoded": (trained[database], y),
            "held-out": (tested[database], y_test),
        }
        for gallery in ranked.keys() & set(galleries):
            codes, labels = ranked[gallery]
            own = gallery == "held-out"
            score = mean_average_precision(tested[query], codes, y_test, labels, exclude_self=own)
            scores[f"{gallery} {query}"] = score
        recalls.append(pair_recall_at_k(tested[query], tested[database], k=10))
    if "own-pair" in galleries:
        scores["own-pair"] = float(np.mean(recalls))
    return scores


def unseen_classes(cell, wiki_path):
    """Class mAP among all rows of the classes that a second fit has not seen."""
    X, y, *_ = load_rows(cell.data, wiki_path)
    splitter = UnseenClassSplit(n_splits=cell.seed + 1, random_state=cell.split)
    train, test = list(splitter.split(X, y))[cell.seed]
    hasher, *_ = fitted(cell, X[train], y[train])
    labels = y[test]
    if labels.ndim == 2:
        # What rows share with the classes that were seen does not count.
        labels = labels[:, np.flatnonzero(y[train].sum(axis=0) == 0)]
    codes = {name: hasher.encode(X[test], modality=name) for name in ("image", "text")}
    scores = [
        mean_average_precision(codes[query], codes[database], labels, labels, exclude_self=True)
        for query, database in DIRECTIONS
    ]
    return float(np.mean(scores))


def trained_and_ranked(cell, galleries, wiki_path):
    """What one fit costs and what it finds."""
    training, testing = load(cell.data, wiki_path, cell.split)
    hasher, seconds, search_seconds = fitted(cell, *training)
    # Linux counts kilobytes, macOS bytes.
    unit = 1e6 if sys.platform == "darwin" else 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    scores = rankings(hasher, training, testing, galleries)
    return {
        **{column: round(score, 5) for column, score in scores.items()},
        "seconds": round(seconds, 3),
        "search_seconds": round(search_seconds, 3),
        "peak_mb": round(peak, 1),
    }


def run_cell(cell, galleries, wiki_path=None, threads=None):
    """Fill the columns of some galleries; returns a row of the results, or a part of one."""
    row = cell.key()._asdict()
    with warnings.catch_warnings(), threadpool_limits(threads):
        warnings.simplefilter("ignore")
        if set(galleries) - {"unseen"}:
            row |= trained_and_ranked(cell, galleries, wiki_path)
        if "unseen" in galleries:
            row["unseen"] = round(unseen_classes(cell, wiki_path), 5)
    return row


def in_own_process(*arguments):
    """`run_cell` in a process of its own, whose peak memory is the cell's."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(run_cell, *arguments).result()


def cell_of(row):
    """The cell that a row of results is of."""
    return Cell(*(Cell.__annotations__[name](row[name]) for name in Cell._fields))


def read_results(path):
    """Rows of the CSV file, by cell."""
    if not path.is_file():
        return {}
    with open(path, newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != COLUMNS:
            raise SystemExit(f"{path} is of another version: its columns are {reader.fieldnames}")
        return {cell_of(row): row for row in reader}


def write_results(path, results):
    """Write all rows anew and rename: a stopped run leaves whole rows only."""
    part = path.with_suffix(".part")
    with open(part, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(results[cell] for cell in sorted(results))
    part.replace(path)


def wanted_columns(galleries):
    """Columns of the results that some galleries fill."""
    return [column for gallery in galleries for column in GALLERIES[gallery]]


def still_missing(row, galleries):
    """Galleries of which a row, perhaps an empty one, has no figures yet."""
    return [g for g in galleries if not all(row.get(column) for column in GALLERIES[g])]


def run(args):
    """Run the cells that are missing, keep their results; returns all rows, and failures."""
    path = args.output / "results.csv"
    results = read_results(path)
    cells = [
        Cell(data, method, bits, split, seed, args.tune)
        for split in range(args.splits)
        for seed in range(args.seeds)
        for data in args.data
        for bits in args.bits
        for method in args.methods
    ]
    todo = {cell: still_missing(results.get(cell.key(), {}), args.galleries) for cell in cells}
    missing = [cell for cell in cells if todo[cell]]
    print(f"{len(cells)} cells, {len(cells) - len(missing)} of them done already", flush=True)
    threads = max(1, (os.cpu_count() or 1) // args.n_jobs) if args.n_jobs > 1 else None
    start, failures = time.perf_counter(), []
    with ThreadPoolExecutor(args.n_jobs) as pool:
        futures = {
            pool.submit(in_own_process, cell, todo[cell], args.wiki_path, threads): cell
            for cell in missing
        }
        try:
            for i, future in enumerate(as_completed(futures), 1):
                cell = futures[future]
                left = (time.perf_counter() - start) / i * (len(missing) - i) / 60
                try:
                    row = future.result()
                except Exception as error:
                    failures.append(cell)
                    outcome = f"failed: {type(error).__name__}: {error}"
                else:
                    results[cell.key()] = {**results.get(cell.key(), {}), **row}
                    write_results(path, results)
                    outcome = told(row)
                print(
                    f"[{i}/{len(missing)}, {left:.0f} min left] {cell.key().data} {cell.label()} "
                    f"{cell.bits} bits, split {cell.split}, seed {cell.seed}: {outcome}",
                    flush=True,
                )
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    wanted = {cell.key() for cell in cells}
    return [row for key, row in results.items() if key in wanted], failures


def told(row):
    """What the progress tells of a row."""
    parts = [
        f"{column} {row[column]:.3f}"
        for column in ("held-out image", "held-out text", "unseen")
        if column in row
    ]
    if "seconds" in row:
        parts += [f"{row['seconds']:.1f} s", f"{row['peak_mb']:.0f} MB"]
    return ", ".join(parts)


def grouped(rows):
    """Rows of the same data set, bits and label: {(data, bits, label): rows}."""
    groups = defaultdict(list)
    for row in rows:
        cell = cell_of(row)
        groups[cell.data, cell.bits, cell.label()].append(row)
    return groups


def mean_and_spread(rows, column):
    """Mean and standard deviation over the runs; NaN where the column was not filled."""
    values = [float(row[column]) for row in rows if row.get(column) not in (None, "")]
    if not values:
        return float("nan"), float("nan")
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def summarise(rows):
    """Mean and spread of every column: {(data, bits, label): {column: (mean, spread)}}."""
    return {
        key: {column: mean_and_spread(members, column) for column in [*SCORES, *COSTS]}
        for key, members in grouped(rows).items()
    }


def format_table(table, galleries):
    """The summary as Markdown: image to text / text to image, and single figures."""
    lines = []
    for data in dict.fromkeys(key[0] for key in table):
        lines += [
            f"\n{data}: image to text / text to image (standard deviation over the runs)\n",
            f"| bits | method | {' | '.join(galleries)} | s | MB |",
            "|" + "---|" * (len(galleries) + 4),
        ]
        for bits in sorted({key[1] for key in table if key[0] == data}):
            for key in (key for key in table if key[:2] == (data, bits)):
                columns = table[key]
                cells = []
                for gallery in galleries:
                    figures = [columns[column] for column in GALLERIES[gallery]]
                    cells.append(" / ".join(f"{m:.3f} ({s:.3f})" for m, s in figures))
                cells += [f"{columns['seconds'][0]:.1f}", f"{columns['peak_mb'][0]:.0f}"]
                lines.append(f"| {bits} | {key[2]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def read_published():
    """Printed figures: {(data, method): {source: {(bits, query): figure as printed}}}."""
    figures = defaultdict(lambda: defaultdict(dict))
    with open(Path(__file__).with_name("published.csv"), newline="") as file:
        for row in csv.DictReader(file):
            of_source = figures[row["data"], row["method"]][row["source"]]
            for bits in (8, 16, 32, 64, 128):
                if row[str(bits)]:
                    of_source[bits, row["query"]] = row[str(bits)]
    return figures


class Comparison(NamedTuple):
    """A printed pair of figures beside ours, image to text and text to image."""

    method: str
    bits: int
    source: str
    printed: tuple
    ours: dict
    """Gallery to our pair; "learned" is what papers say, or seem to say, that they rank."""

    def differences(self, gallery="learned"):
        """Ours less the printed ones."""
        return tuple(o - float(p) for o, p in zip(self.ours[gallery], self.printed, strict=True))

    def agrees(self, gallery="learned"):
        """Whether neither differs by more than NOTABLE."""
        return max(map(abs, self.differences(gallery))) <= NOTABLE

    def explained_by(self):
        """The gallery that the figures agree with: learned, another one, or None."""
        return next((gallery for gallery in self.ours if self.agrees(gallery)), None)


def published(rows):
    """Every printed pair of figures that the rows of published splits have a counterpart of."""
    table = summarise([row for row in rows if cell_of(row).split == 0])
    found = []
    for (data, method), sources in read_published().items():
        for key in (key for key in table if key[0].startswith(data) and key[2] == method):
            ours = {
                gallery: tuple(table[key][column][0] for column in GALLERIES[gallery])
                for gallery in ("learned", "encoded", "held-out")
            }
            ours = {gallery: pair for gallery, pair in ours.items() if not np.isnan(pair).any()}
            for source, figures in sources.items():
                printed = tuple(figures.get((key[1], query), "") for query, _ in DIRECTIONS)
                if all(printed) and "learned" in ours:
                    found.append(Comparison(method, key[1], source, printed, ours))
    return sorted(found, key=lambda c: (c.method.lower(), c.bits, c.source))


def format_published(comparisons):
    """The papers' figures beside ours, as Markdown."""
    lines = [
        "\nBeside the papers: learned gallery, * where one of the two differs by more than "
        f"{NOTABLE}, and the gallery that agrees then\n",
        "| bits | method | ours | printed | difference | where | |",
        "|---|---|---|---|---|---|---|",
    ]
    for comparison in comparisons:
        ours = " / ".join(f"{value:.3f}" for value in comparison.ours["learned"])
        gap = " / ".join(f"{value:+.3f}" for value in comparison.differences())
        mark = "" if comparison.agrees() else f"* {comparison.explained_by() or ''}".strip()
        lines.append(
            f"| {comparison.bits} | {comparison.method} | {ours} | {' / '.join(comparison.printed)}"
            f" | {gap} | {comparison.source} | {mark} |"
        )
    return "\n".join(lines) if comparisons else ""


class Contest(NamedTuple):
    """The methods in one column of one data set and code length, run by run."""

    data: str
    bits: int
    column: str
    best: str
    others: dict
    n_runs: int


def overlap_of(data, n_splits, wiki_path=None):
    """Test rows per training row; 0 where there is one split, so that none overlap."""
    if n_splits == 1:
        return 0.0
    *_, train, test = load_rows(data, wiki_path)
    return len(test) / len(train)


def contests(rows, columns, overlaps):
    """Methods compared with the best one in every column, on the runs that both have."""
    scores = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        cell = cell_of(row)
        for column in columns:
            if row.get(column):
                of_column = scores[cell.data, cell.bits, column]
                of_column[cell.label()][cell.split, cell.seed] = float(row[column])
    found = []
    for (data, bits, column), of_column in scores.items():
        if len(of_column) > 1:
            best, others = against_best(of_column, overlaps[data])
            found.append(Contest(data, bits, column, best, others, len(of_column[best])))
    return found


def standing(found, method):
    """In how many contests a method is best, within the spread of the best, not worse by test."""
    best = within = level = 0
    for contest in found:
        if contest.best == method:
            best += 1
        elif method in contest.others:
            behind, spread, p_value = contest.others[method]
            within += behind <= spread
            level += not p_value < 0.05
    return best, best + within, best + level


def format_contests(found, reference, table):
    """What the tests say, as Markdown."""
    found = [contest for contest in found if contest.n_runs > 1]
    if not found:
        return ""
    lines = [
        "\nPaired tests against the best method of every column: t-test over the "
        f"{found[0].n_runs} runs, corrected for overlapping splits (Nadeau and Bengio) and for "
        "their number (Holm)\n",
        "| data | bits | figure | best | not worse by test (p >= 0.05) |",
        "|---|---|---|---|---|",
    ]
    for contest in found:
        level = [name for name, (*_, p) in contest.others.items() if not p < 0.05]
        lines.append(
            f"| {contest.data} | {contest.bits} | {contest.column} | {contest.best} | "
            f"{', '.join(level)} |"
        )
    best, within, level = standing(found, reference)
    lines.append(
        f"\n{reference}: best in {best} of {len(found)}; best or behind by no more than the "
        f"standard deviation of the paired differences in {within}; best or not worse by test in "
        f"{level}"
    )
    wins = across(found, reference, table) if len(found) >= FEWEST_CELLS else []
    if wins:
        lines += [
            f"\n{reference} over these cells against every other: cells that it leads, and "
            "Wilcoxon's signed-rank test corrected by Holm. Cells of one data set are not "
            "independent: read it as a summary\n",
            "| method | leads | of | p |",
            "|---|---|---|---|",
            *(f"| {name} | {won} | {n} | {p:.2g} |" for name, won, n, p in wins),
        ]
    return "\n".join(lines)


def across(found, reference, table):
    """Rows of `format_contests`: method, cells led, cells, corrected p-value."""
    pairs = defaultdict(list)
    for contest in found:
        of_cell = {
            label: table[data, bits, label][contest.column][0]
            for data, bits, label in table
            if (data, bits) == (contest.data, contest.bits)
        }
        for name in of_cell.keys() - {reference} if reference in of_cell else ():
            pairs[name].append((of_cell[reference], of_cell[name]))
    names = sorted(pairs)
    p_values = holm([across_cells(*zip(*pairs[name], strict=True)) for name in names])
    return [
        (name, sum(first > second for first, second in pairs[name]), len(pairs[name]), p)
        for name, p in zip(names, p_values, strict=True)
    ]


def plot(table, galleries, path):
    """Mean of both directions over the code length, one panel per data set and gallery."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(key[0] for key in table))
    methods = list(dict.fromkeys(key[2] for key in table))
    figure, axes = plt.subplots(
        len(names),
        len(galleries),
        figsize=(4 * len(galleries), 3.4 * len(names)),
        squeeze=False,
        layout="constrained",
    )
    for data, panels in zip(names, axes, strict=True):
        for gallery, ax in zip(galleries, panels, strict=True):
            for method in methods:
                lengths = sorted(key[1] for key in table if key[0] == data and key[2] == method)
                columns = [table[data, bits, method] for bits in lengths]
                groups = [[c[column] for column in GALLERIES[gallery]] for c in columns]
                means = [statistics.mean(mean for mean, _ in group) for group in groups]
                spreads = [statistics.mean(spread for _, spread in group) for group in groups]
                ax.errorbar(lengths, means, spreads, marker="o", capsize=2, label=method)
            ticks = sorted({key[1] for key in table if key[0] == data})
            ax.set_xscale("log", base=2)
            ax.set_xticks(ticks, ticks)
            ax.set(title=f"{data}, {gallery}", xlabel="bits", ylabel="mean of both directions")
            ax.grid(alpha=0.3)
    axes[0, 0].legend(fontsize="xx-small", ncols=2)
    figure.savefig(path, dpi=120)


def parse(argv):
    """Options of the command line."""

    def words(text):
        return [word for word in text.split(",") if word]

    def numbers(text):
        return [int(word) for word in words(text)]

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=words, default=["wiki", "openmoji"])
    parser.add_argument(
        "--methods",
        type=words,
        default=DEFAULT_METHODS,
        help=f"of {', '.join(METHODS)}; default: all but deep ones, variants and refined ones",
    )
    parser.add_argument("--bits", type=numbers, default=[16, 32, 64, 128])
    parser.add_argument("--seeds", type=int, default=3, help="how many (default 3)")
    parser.add_argument("--splits", type=int, default=1, help="how many (default: the published)")
    parser.add_argument(
        "--galleries", type=words, default=list(GALLERIES), help=f"of {', '.join(GALLERIES)}"
    )
    parser.add_argument("--tune", type=int, default=0, help="settings tried per method (default 0)")
    parser.add_argument("--reference", default="RefinedHasher", help="whose standing is told")
    parser.add_argument("--n-jobs", type=int, default=1, help="cells run at the same time")
    parser.add_argument("--output", type=Path, default=Path("paper-tables"))
    parser.add_argument("--wiki-path", type=Path, help="local wikiData.mat or raw_features.mat")
    args = parser.parse_args(argv)
    for option, known in (("methods", METHODS), ("galleries", GALLERIES)):
        if unknown := [name for name in getattr(args, option) if name not in known]:
            parser.error(f"unknown {option} {unknown}; known are {', '.join(known)}")
    stems = [Path(data).stem for data in args.data]
    if len(set(stems)) < len(stems):
        parser.error(f"two data sets have the same name: {stems}")
    return args


def report(rows, args):
    """Everything that the rows say, as Markdown, and their summary."""
    table = summarise(rows)
    galleries = [gallery for gallery in GALLERIES if gallery in args.galleries]
    overlaps = {
        Path(data).stem: overlap_of(data, args.splits, args.wiki_path) for data in args.data
    }
    columns = GALLERIES["held-out"] if "held-out" in galleries else wanted_columns(galleries)
    parts = [
        format_table(table, galleries),
        format_published(published(rows)),
        format_contests(contests(rows, columns, overlaps), args.reference, table),
    ]
    return table, "\n".join(part for part in parts if part)


def main(argv=None):
    """Run, and write table.md and map.png beside results.csv."""
    args = parse(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    rows, failures = run(args)
    if rows:
        table, text = report(rows, args)
        (args.output / "table.md").write_text(text.lstrip() + "\n")
        print(text)
        plot(table, args.galleries, args.output / "map.png")
        print(f"\n{args.output}: results.csv, table.md, map.png")
    if failures:
        sys.exit(f"{len(failures)} of the cells failed; the next run tries them again")


if __name__ == "__main__":
    main()
