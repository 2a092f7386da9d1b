"""The papers' tables: mAP of every method, code length and gallery, on real data.

    python benchmarks/paper_tables.py --data wiki,openmoji --bits 16,32,64,128 --seeds 3

Data sets are "wiki" (fetched, or read from --wiki-path), "openmoji" (from the demo extra),
"generated" (few rows, to see that all of this runs), or the path of an .npz file that holds
``image``, ``text``, ``labels``, ``train`` and ``test``: blocks of features, class labels or
their indicator, and row numbers. An .npz file whose name begins with wiki, mirflickr or
nuswide is compared with the figures that the papers print for that data set.

Methods are those of the package, variants of the papers' tables ("AAH-knn"), and shallow ones
inside a RefinedHasher ("AAH-refined").

Every cell (data set, method, bits, seed) runs in a process of its own and is added to
results.csv in the output folder when it is done; a cell that is there already is not run
again. Galleries, of which papers seldom say which they rank:

learned    the training rows, by the codes learned from both modalities and the labels
encoded    the training rows, by the hash function of the other modality
held-out   the other test rows, by the hash function of the other modality
"""

import argparse
import csv
import multiprocessing
import resource
import statistics
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.preprocessing import StandardScaler

from sklearn_cmh import AnchorRBF, MultimodalData, RefinedHasher
from sklearn_cmh.datasets import fetch_wiki, load_openmoji, make_multimodal_classification
from sklearn_cmh.metrics import average_precision_scores
from sklearn_cmh.utils.discovery import all_estimators

GALLERIES = ("learned", "encoded", "held-out")
DIRECTIONS = (("image", "text"), ("text", "image"))
SCORES = [f"{gallery} {query}" for gallery in GALLERIES for query, _ in DIRECTIONS]
KEY = ("data", "method", "bits", "seed")
COLUMNS = [*KEY, *SCORES, "seconds", "peak_mb"]

# mAP as printed, image to text and text to image at 16, 32, 64 and 128 bits (the ablations of AAH
# at 16 bits only), ranking learned codes: DSAH from its tables 2 to 5; AAH from its tables II and
# IV (with CNN image features on wiki); ASCMH and BATCH from table 2 of the ASCMH paper.
PUBLISHED_BITS = (16, 32, 64, 128)
PUBLISHED = {
    "wiki": {
        "AAH": ((0.3337, 0.3498, 0.3535, 0.3578), (0.7102, 0.7373, 0.7413, 0.7457)),
        "AAH-knn": ((0.2181,), (0.4646,)),
        "AAH-nl": ((0.3255,), (0.7003,)),
        "AAH-ng": ((0.3272,), (0.6750,)),
        "AAH-na": ((0.2453,), (0.5650,)),
        "ASCMH": ((0.3664, 0.3948, 0.3911, 0.3950), (0.7481, 0.7607, 0.7590, 0.7628)),
        "BATCH": ((0.3553, 0.3781, 0.3837, 0.3940), (0.7382, 0.7448, 0.7586, 0.7502)),
    },
    "mirflickr": {
        "DSAH": ((0.7236, 0.7412, 0.7498, 0.7556), (0.7782, 0.8041, 0.8163, 0.8180)),
        "DSAH-Re": ((0.6076, 0.6081, 0.5911, 0.5784), (0.5521, 0.5760, 0.5773, 0.5801)),
        "DSAH-Ke": ((0.6872, 0.6898, 0.6913, 0.6906), (0.7690, 0.7772, 0.7887, 0.7921)),
        "DSAH-Nm": ((0.7212, 0.7245, 0.7289, 0.7310), (0.7304, 0.7297, 0.7358, 0.7439)),
        "AAH": ((0.7145, 0.7230, 0.7271, 0.7283), (0.8137, 0.8198, 0.8251, 0.8281)),
        "AAH-knn": ((0.5446,), (0.5471,)),
        "AAH-nl": ((0.7118,), (0.8100,)),
        "AAH-ng": ((0.5764,), (0.5851,)),
        "AAH-na": ((0.6482,), (0.7191,)),
        "ASCMH": ((0.7319, 0.7371, 0.7367, 0.7523), (0.8062, 0.8125, 0.8286, 0.8339)),
        "BATCH": ((0.7318, 0.7408, 0.7416, 0.7464), (0.8005, 0.8187, 0.8192, 0.8256)),
    },
    "nuswide": {
        "DSAH": ((0.6432, 0.6517, 0.6667, 0.6791), (0.7596, 0.7756, 0.7834, 0.8024)),
        "DSAH-Re": ((0.4611, 0.4732, 0.4798, 0.4832), (0.4650, 0.4717, 0.4823, 0.4804)),
        "DSAH-Ke": ((0.5911, 0.6287, 0.6334, 0.6499), (0.7452, 0.7676, 0.7704, 0.7799)),
        "DSAH-Nm": ((0.6093, 0.6421, 0.6429, 0.6551), (0.7407, 0.7589, 0.7621, 0.7697)),
        "AAH": ((0.6409, 0.6439, 0.6515, 0.6549), (0.7397, 0.7553, 0.7595, 0.7629)),
        "AAH-knn": ((0.3449,), (0.3432,)),
        "AAH-nl": ((0.6275,), (0.7237,)),
        "AAH-ng": ((0.5734,), (0.6551,)),
        "AAH-na": ((0.5431,), (0.6402,)),
        "ASCMH": ((0.6510, 0.6588, 0.6633, 0.6638), (0.7677, 0.7824, 0.7898, 0.7990)),
        "BATCH": ((0.6274, 0.6505, 0.6632, 0.6638), (0.7596, 0.7782, 0.7815, 0.7837)),
    },
}


def anchors(data):
    """500 image and 1,000 text anchors, as the ASCMH paper has them."""
    return {"feature_map": {"image": AnchorRBF(500), "text": AnchorRBF(1000)}}


def weights(data):
    """The AAH paper's weights for the data set."""
    theta, alpha, beta = (1, 10, 10) if data.startswith("wiki") else (10, 1, 10)
    return {"theta": theta, "alpha": alpha, "beta": beta}


HASHERS = dict(all_estimators(kind="shallow") + all_estimators(kind="deep"))
# What the papers set for a data set, where it differs from the defaults.
OPTIONS = {"AAH": weights, "ASCMH": anchors, "BATCH": anchors, "DSAH": anchors}
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
}
REFINED = [f"{name}-refined" for name, _ in all_estimators(kind="shallow")]
METHODS = [*HASHERS, *VARIANTS, *REFINED]


def make(method, data, bits, seed):
    """Make the hasher of a row of the table; deep ones learn from features, too."""
    name, _, variant = method.partition("-")
    options = OPTIONS[name](data) if name in OPTIONS else {}
    if variant == "refined":
        # It chooses feature maps itself.
        options.pop("feature_map", None)
        return RefinedHasher(HASHERS[name](**options), bits, random_state=seed)
    return HASHERS[name](bits, random_state=seed, **options | VARIANTS.get(method, {}))


def load(data, wiki_path=None):
    """Rows of a data set: ``(X, y)`` for training and for testing."""
    if data == "wiki":
        bunch = fetch_wiki(wiki_path)
        X, y, train, test = bunch.data, bunch.target, bunch.train, bunch.test
    elif data == "openmoji":
        bunch = load_openmoji()
        X, y, train, test = bunch.data, bunch.target, bunch.train, bunch.test
    elif data == "generated":
        X, y = make_multimodal_classification(300, random_state=0)
        train, test = np.arange(200), np.arange(200, 300)
    else:
        with np.load(data, allow_pickle=False) as arrays:
            X = MultimodalData(image=arrays["image"], text=arrays["text"])
            y, train, test = arrays["labels"], arrays["train"], arrays["test"]
        if y.ndim == 2:
            y = sparse.csr_array(y)
    return (X[train], y[train]), (X[test], y[test])


def mean_average_precision(query, database, y_query, y_database, exclude_self=False):
    """Mean over the queries that have a relevant row."""
    values, relevant = average_precision_scores(
        query, database, y_query, y_database, exclude_self=exclude_self
    )
    return float(values[relevant].mean())


def run_cell(data, method, bits, seed, wiki_path=None):
    """Fit one method once; returns a row of the results."""
    (X_train, y_train), (X_test, y_test) = load(data, wiki_path)
    hasher = make(method, Path(data).stem, bits, seed)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hasher.fit(X_train, y_train)
    seconds = time.perf_counter() - start
    # Linux counts kilobytes, macOS bytes.
    unit = 1e6 if sys.platform == "darwin" else 1e3
    row = {
        "data": Path(data).stem,
        "method": method,
        "bits": bits,
        "seed": seed,
        "seconds": round(seconds, 3),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1),
    }
    trained = {name: hasher.encode(X_train, modality=name) for name in ("image", "text")}
    tested = {name: hasher.encode(X_test, modality=name) for name in ("image", "text")}
    for query, database in DIRECTIONS:
        galleries = {
            "learned": (hasher.codes_, y_train),
            "encoded": (trained[database], y_train),
            "held-out": (tested[database], y_test),
        }
        for gallery, (codes, y) in galleries.items():
            own = gallery == "held-out"
            score = mean_average_precision(tested[query], codes, y_test, y, exclude_self=own)
            row[f"{gallery} {query}"] = round(score, 5)
    return row


def read_results(path):
    """Rows of the CSV file, by cell."""
    if not path.is_file():
        return {}
    with open(path, newline="") as file:
        rows = {cell_of(row): row for row in csv.DictReader(file)}
    return {cell: row for cell, row in rows.items() if row["peak_mb"]}


def cell_of(row):
    """The cell that a row of results is of."""
    return row["data"], row["method"], int(row["bits"]), int(row["seed"])


def write_results(path, results):
    """Write all rows anew and rename: a stopped run leaves whole rows only."""
    part = path.with_suffix(".part")
    with open(part, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(results[cell] for cell in sorted(results))
    part.replace(path)


def run(args):
    """Run the cells that are missing, each in a fresh process, and keep their results."""
    path = args.output / "results.csv"
    results = read_results(path)
    cells = [
        (data, method, bits, seed)
        for data in args.data
        for bits in args.bits
        for method in args.methods
        for seed in range(args.seeds)
    ]
    missing = [cell for cell in cells if (Path(cell[0]).stem, *cell[1:]) not in results]
    print(f"{len(cells)} cells, {len(cells) - len(missing)} of them done already", flush=True)
    context = multiprocessing.get_context("spawn")
    for i, (data, method, bits, seed) in enumerate(missing, 1):
        print(f"[{i}/{len(missing)}] {data} {method} {bits} bits, seed {seed}", end="", flush=True)
        # A process per cell, so that its peak memory is its own.
        with context.Pool(1) as pool:
            row = pool.apply(run_cell, (data, method, bits, seed, args.wiki_path))
        print(f": held-out {row['held-out image']:.3f} / {row['held-out text']:.3f}, ", end="")
        print(f"{row['seconds']:.1f} s, {row['peak_mb']:.0f} MB", flush=True)
        results[cell_of(row)] = row
        write_results(path, results)
    wanted = {(Path(data).stem, *cell) for data, *cell in cells}
    return [row for cell, row in results.items() if cell in wanted]


def summarise(rows):
    """Mean and standard deviation over the seeds: {(data, bits, method): {column: (m, s)}}."""
    groups = defaultdict(list)
    for row in rows:
        groups[row["data"], int(row["bits"]), row["method"]].append(row)
    table = {}
    for key, members in groups.items():
        columns = {}
        for column in [*SCORES, "seconds", "peak_mb"]:
            values = [float(member[column]) for member in members]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            columns[column] = statistics.mean(values), spread
        table[key] = columns
    return table


def published(data, method, bits):
    """Figures of the papers as text, or an empty string."""
    method = method.removesuffix("-alm").removesuffix("-refined")
    for name, figures in PUBLISHED.items():
        if data.startswith(name) and method in figures and bits in PUBLISHED_BITS:
            column = PUBLISHED_BITS.index(bits)
            return " / ".join(f"{way[column]:.3f}" for way in figures[method] if column < len(way))
    return ""


def format_table(table):
    """The summary as a Markdown table: image to text / text to image."""
    lines = []
    for data in dict.fromkeys(key[0] for key in table):
        lines += [
            f"\n{data}: mAP, image to text / text to image (standard deviation over the seeds)\n",
            "| bits | method | learned | encoded | held-out | papers (learned) | s | MB |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for bits in sorted({key[1] for key in table if key[0] == data}):
            for key in (key for key in table if key[:2] == (data, bits)):
                columns = table[key]
                cells = []
                for gallery in GALLERIES:
                    pair = [columns[f"{gallery} {query}"] for query, _ in DIRECTIONS]
                    cells.append(" / ".join(f"{mean:.3f} ({spread:.3f})" for mean, spread in pair))
                cells += [published(data, key[2], bits)]
                cells += [f"{columns['seconds'][0]:.1f}", f"{columns['peak_mb'][0]:.0f}"]
                lines.append(f"| {bits} | {key[2]} | {' | '.join(cells)} |")
            peer = published(data, "BATCH", bits)
            if peer and (data, bits, "BATCH") not in table:
                lines.append(f"| {bits} | BATCH | | | | {peer} | | |")
    return "\n".join(lines)


def plot(table, path):
    """Mean of both directions over the code length, one panel per data set and gallery."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(key[0] for key in table))
    methods = list(dict.fromkeys(key[2] for key in table))
    figure, axes = plt.subplots(
        len(names), 3, figsize=(12, 3.4 * len(names)), squeeze=False, layout="constrained"
    )
    for data, panels in zip(names, axes, strict=True):
        for gallery, ax in zip(GALLERIES, panels, strict=True):
            for method in methods:
                lengths = sorted(key[1] for key in table if key[0] == data and key[2] == method)
                columns = [table[data, bits, method] for bits in lengths]
                pairs = [[c[f"{gallery} {query}"] for query, _ in DIRECTIONS] for c in columns]
                means = [sum(mean for mean, _ in pair) / 2 for pair in pairs]
                spreads = [sum(spread for _, spread in pair) / 2 for pair in pairs]
                ax.errorbar(lengths, means, spreads, marker="o", capsize=2, label=method)
            ticks = sorted({key[1] for key in table if key[0] == data})
            ax.set_xscale("log", base=2)
            ax.set_xticks(ticks, ticks)
            ax.set(title=f"{data}, {gallery} gallery", xlabel="bits", ylabel="mAP, mean of both")
            ax.grid(alpha=0.3)
    axes[0, 0].legend()
    figure.savefig(path, dpi=120)


def parse(argv):
    def words(text):
        return [word for word in text.split(",") if word]

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=words, default=["wiki", "openmoji"])
    parser.add_argument(
        "--methods",
        type=words,
        default=[*(name for name, _ in all_estimators(kind="shallow")), "DSAH-alm"],
        help=f"of {', '.join(METHODS)}",
    )
    parser.add_argument(
        "--bits", type=lambda text: [int(word) for word in words(text)], default=[16, 32, 64, 128]
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many (default 3)")
    parser.add_argument("--output", type=Path, default=Path("paper-tables"))
    parser.add_argument("--wiki-path", type=Path, help="local wikiData.mat or raw_features.mat")
    args = parser.parse_args(argv)
    if unknown := [method for method in args.methods if method not in METHODS]:
        parser.error(f"unknown methods {unknown}; known are {', '.join(METHODS)}")
    stems = [Path(data).stem for data in args.data]
    if len(set(stems)) < len(stems):
        parser.error(f"two data sets have the same name: {stems}")
    return args


def main(argv=None):
    args = parse(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    table = summarise(run(args))
    text = format_table(table)
    (args.output / "table.md").write_text(text.lstrip() + "\n")
    print(text)
    plot(table, args.output / "map.png")
    print(f"\n{args.output}: results.csv, table.md, map.png")


if __name__ == "__main__":
    main()
