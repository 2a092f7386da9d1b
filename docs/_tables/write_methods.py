"""Write the tables of the documentation from results of the benchmark.

    python benchmarks/paper_tables.py --data wiki,openmoji,emoji-keywords --bits 16,64 \\
        --seeds 3 --output paper-tables
    python docs/_tables/write_methods.py paper-tables/results.csv

results.csv beside this file holds the results that the documentation shows: in a copy of it, of a
method that has changed, delete the rows, and let the benchmark fill them again.

methods.inc   every method in every figure, by data set and code length; with a second argument,
              a file of that name instead
tests.inc     the best method of every held-out column, who is level with it, and how refined
              codes stand
papers.inc    figures that papers print for Wiki beside ours, and reasons where they differ
printed.inc   figures that papers print for the same method
"""

import sys
from collections import defaultdict
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from paper_tables import (
    DIRECTIONS,
    GALLERIES,
    NOTABLE,
    cell_of,
    contests,
    published,
    read_published,
    read_results,
    standing,
    summarise,
)

from sklearn_cmh import __version__
from sklearn_cmh.utils.discovery import all_estimators

REFERENCE = "RefinedHasher"
REFINED = (REFERENCE, "ASCMH-refined")
DATA = {
    "wiki": "Wiki (2,173 training rows, 693 queries; 128 visual words, 10 topics)",
    "openmoji": "Emoji (1,519 training rows, 379 queries; 704 image features, words of the name)",
    "emoji-keywords": "Emoji keywords (1,074 training rows, 268 queries; 704 image features, "
    "1,863 words; 43 labels, 1.7 per row)",
}
NAMES = {
    "learned": "Learned",
    "encoded": "Encoded",
    "held-out": "Held-out",
    "own-pair": "Own pair",
    "unseen": "Unseen classes",
}
# Why a figure of ours is not the one that a paper prints, by source, or by method and source.
REASONS = {
    (
        "DCH",
        "AAH, table II",
    ): "a kernel; without (DCH-linear, one seed, 16 bits): 0.329 / 0.714 here",
    ("DCH", "ASCMH, table 2"): "a kernel, in part; without (16 bits): 0.329 / 0.714 here",
    (
        "CMFH",
        "ASCMH, table 2",
    ): "rows of norm one (CMFH-unit, two seeds, 16 bits): 0.173 / 0.460 here",
    ("CMFH", "AAH, table II"): "not found: 22 choices of scaling and weights stay below",
    (
        "SMFH",
        "AAH, table II",
    ): "graphs of a tenth of the weight (SMFH-weak, two seeds, 16 bits): 0.227 / 0.508",
    ("FSH", "ASCMH, table 2"): "columns of variance one (FSH-scaled, one seed, 16 bits): 0.221 / "
    "0.430 here",
    ("GSPH", "AAH, table II"): "not found; nearer by ridge regressions (GSPH-ridge, one seed, 16 "
    "bits): 0.273 / 0.613 here",
    ("GSPH", "ASCMH, table 2"): "the encoded gallery without a kernel (GSPH-linear, one seed, 16 "
    "bits): 0.238 / 0.250 here",
    ("LSSH", "AAH, table II"): "not found: rows of norm one (LSSH-unit, one seed, 16 bits) have "
    "0.204 / 0.507 here",
    ("SePH", "AAH, table II"): "not found; nearer without a kernel (SePH-linear, one seed, 16 "
    "bits): 0.323 / 0.695 here",
    ("AAH", "AAH, table II"): "not found, for image queries of 64 bits",
    "SCH-GAN, table IV": "4,096 features of a deep network and 1,000 words, not 128 and 10",
}

RUN = """\
    python benchmarks/paper_tables.py --data {data} --bits {bits} \\
        --methods {methods} \\
        --seeds {seeds}{galleries}"""
COMMAND = """\
.. code-block:: bash

{runs}
    python docs/_tables/write_methods.py paper-tables/results.csv{name}
"""
INTRODUCTION = """\
mAP over the full ranking, image to text / text to image, expected ties, {seeds}, with
the settings of the papers. The three galleries are explained in :ref:`galleries`: *learned* is what
the papers report, *held-out* what a user with unlabelled data will see. *Own pair* is the share of
held-out rows whose own partner is among the ten nearest, *unseen classes*, where all methods have
it, the mAP among rows of classes (28 %) that took no part in another fit, of one seed; both are
means of the two directions. Seconds for the fit are those of one thread of an Intel Xeon (Sapphire
Rapids), beside other work.

{command}
Measured with sklearn-cmh {package}, scikit-learn {sklearn}, NumPy {numpy}, in {month}.
{spread}The best of a column is in bold.
"""
SPREAD = "The largest standard deviation over seeds of any mAP is {:.3f}. "


def place(label):
    """Baselines first, then shallow methods, deep ones, and refined ones; by name in each group."""
    kinds = ["baseline", "shallow", "deep", "refined"]
    name, _, variant = label.partition(",")[0].partition("-")
    groups = {name: kind for kind in kinds for name, _ in all_estimators(kind=kind)}
    return variant == "refined", kinds.index(groups[name]), label


def lists(title, header, rows):
    """A list-table."""
    lines = [f".. list-table:: {title}", "    :header-rows: 1", ""]
    for row in [header, *rows]:
        lines += [f"    {'* -' if i == 0 else '  -'} {entry}" for i, entry in enumerate(row)]
    return "\n".join(lines)


def shown(value):
    """A figure as tables have it."""
    return "" if np.isnan(value) else f"{value:.3f}"


def in_bold(entry, best):
    """An entry, in bold if it is the best."""
    return f"**{entry}**" if entry and entry == best else entry


def methods_table(summary, data, bits):
    """Every figure of one data set and code length."""
    labels = sorted((key[2] for key in summary if key[:2] == (data, bits)), key=place)
    figures = {label: summary[data, bits, label] for label in labels}
    best = {
        column: shown(max(np.nan_to_num([figures[label][column][0] for label in labels])))
        for columns in GALLERIES.values()
        for column in columns
    }
    # A figure that some methods lack would not be a comparison.
    galleries = [
        gallery
        for gallery, columns in GALLERIES.items()
        if not np.isnan([figures[label][c][0] for label in labels for c in columns]).any()
    ]
    rows = []
    for label in labels:
        row = [label]
        for gallery in galleries:
            entries = [in_bold(shown(figures[label][c][0]), best[c]) for c in GALLERIES[gallery]]
            row.append(" / ".join(entries))
        rows.append([*row, f"{figures[label]['seconds'][0]:.1f}"])
    header = ["Method", *(NAMES[gallery] for gallery in galleries), "s"]
    return lists(f"{DATA.get(data, data)}, {bits} bits", header, rows)


def command_of(rows, name):
    """The commands that make these rows: one for each number of seeds."""
    cells = [cell_of(row) for row in rows]
    methods = sorted({cell.method for cell in cells}, key=place)
    seeds_of = {g: seeds_filled(rows, columns) for g, columns in GALLERIES.items()}
    runs = []
    for seeds in sorted(set(seeds_of.values()) - {0}, reverse=True):
        galleries = [gallery for gallery, number in seeds_of.items() if number == seeds]
        runs.append(
            RUN.format(
                data=",".join(in_order({cell.data for cell in cells})),
                bits=",".join(map(str, sorted({cell.bits for cell in cells}))),
                methods=",".join(methods),
                seeds=seeds,
                galleries=""
                if len(galleries) == len(GALLERIES)
                else f" --galleries {','.join(galleries)}",
            )
        )
    return COMMAND.format(runs="\n".join(runs), name="" if name == "methods" else f" {name}")


def seeds_filled(rows, columns):
    """Seeds of the rows that have some figures."""
    return 1 + max((cell_of(r).seed for r in rows if all(r.get(c) for c in columns)), default=-1)


def in_order(names):
    """Data sets in the order of their descriptions, others after them."""
    return sorted(names, key=lambda name: ([*DATA, name].index(name), name))


def write_methods(rows, name):
    """All figures of all methods."""
    summary = summarise(rows)
    ranked = [c for gallery in ("learned", "encoded", "held-out") for c in GALLERIES[gallery]]
    spreads = [columns[column][1] for columns in summary.values() for column in ranked]
    n_seeds = 1 + max(cell_of(row).seed for row in rows)
    introduction = INTRODUCTION.format(
        seeds="one seed" if n_seeds == 1 else f"mean of {n_seeds} seeds",
        command=command_of(rows, name),
        package=__version__,
        sklearn=version("scikit-learn"),
        numpy=version("numpy"),
        month=date.today().strftime("%B %Y"),
        spread="" if n_seeds == 1 else SPREAD.format(np.nanmax(spreads)),
    )
    keys = {key[:2] for key in summary}
    tables = [
        methods_table(summary, data, bits)
        for data in in_order({data for data, _ in keys})
        for bits in sorted(bits for name, bits in keys if name == data)
    ]
    return "\n\n".join([introduction, *tables])


def write_tests(rows):
    """Who is best, who is level, and how refined codes stand; nothing of a single seed.

    Level is who is behind by no more than the standard deviation of the paired differences. How
    refined codes stand by paired tests, corrected for the number of methods, is told beside it.
    """
    if len({cell_of(row).seed for row in rows}) == 1:
        return ""
    columns = [*GALLERIES["held-out"], *GALLERIES["own-pair"]]
    summary = summarise(rows)
    found = [
        contest
        for contest in contests(rows, columns, defaultdict(float))
        if (contest.data, contest.bits, REFERENCE) in summary
    ]
    if not found:
        return ""
    entries = []
    for contest in found:
        level = [name for name, (behind, spread, _) in contest.others.items() if behind <= spread]
        of_reference = summary[contest.data, contest.bits, REFERENCE][contest.column][0]
        of_best = summary[contest.data, contest.bits, contest.best][contest.column][0]
        entries.append(
            [
                f"{contest.data}, {contest.bits} bits, {described(contest.column)}",
                f"{contest.best} {of_best:.3f}",
                f"{of_reference:.3f}",
                ", ".join(sorted(level, key=place)) or "none",
            ]
        )
    title = f"Held-out rows: the best method of each column, {REFERENCE}, and who is level"
    table = lists(title, ["Column", "Best", REFERENCE, "Level with the best"], entries)
    lines = [f"* {told_standing(found, name)}" for name in REFINED if name in labels_of(rows)]
    return "\n\n".join([table, "\n".join(lines)]) + "\n"


def described(column):
    """A held-out column, as the table of tests names it."""
    return "own pair" if column == "own-pair" else f"{column.split()[1]} queries"


def labels_of(rows):
    """Methods, as tables name them."""
    return {cell_of(row).label() for row in rows}


def told_standing(found, name):
    """How a method stands in the columns of class mAP, and in those of own pairs."""
    parts = []
    for figure, chosen in (
        ("mAP", [contest for contest in found if contest.column != "own-pair"]),
        ("own pair", [contest for contest in found if contest.column == "own-pair"]),
    ):
        best, within, not_worse = standing(chosen, name)
        if chosen:
            of = f"of {len(chosen)} columns"
            parts.append(
                f"{figure}, best in {best} {of}, best or level in {within}, best or not worse by "
                f"test (p >= 0.05) in {not_worse}"
            )
    return f"*{name}*: {'; '.join(parts)}."


def write_papers(rows):
    """Printed figures of Wiki beside ours."""
    comparisons = published(rows)
    entries = []
    for comparison in comparisons:
        gap = " / ".join(f"{value:+.3f}" for value in comparison.differences())
        entries.append(
            [
                f"{comparison.method}, {comparison.bits}",
                " / ".join(f"{value:.3f}" for value in comparison.ours["learned"]),
                " / ".join(comparison.printed),
                gap if comparison.agrees() else f"**{gap}**",
                comparison.source,
                explanation(comparison),
            ]
        )
    title = "Wiki, learned gallery: image to text / text to image"
    header = ["Method, bits", "Measured", "Printed", "Difference", "Where", "Why"]
    agreeing = sum(comparison.agrees() for comparison in comparisons)
    elsewhere = sum(comparison.explained_by() is not None for comparison in comparisons) - agreeing
    text = (
        f"{agreeing} of {len(comparisons)} printed pairs of figures are within {NOTABLE} of ours "
        f"in both directions, and {elsewhere} more agree with ours of another gallery; "
        "differences above that are in bold."
    )
    return "\n\n".join([text, lists(title, header, entries)])


def explanation(comparison):
    """Why a printed figure is not ours: the gallery if one agrees, else what is known."""
    if comparison.agrees():
        return ""
    if gallery := comparison.explained_by():
        pair = " / ".join(f"{value:.3f}" for value in comparison.ours[gallery])
        return f"the {gallery} gallery: {pair} here"
    return REASONS.get((comparison.method, comparison.source), REASONS.get(comparison.source, ""))


def write_printed():
    """Figures of one method in several papers, at the code length where they differ most."""
    entries = []
    for (data, method), sources in sorted(read_published().items()):
        widest = None
        for query, _ in DIRECTIONS:
            for bits in (16, 32, 64, 128):
                of_sources = {s: f[bits, query] for s, f in sources.items() if (bits, query) in f}
                gap = np.ptp([float(figure) for figure in of_sources.values()] or [0.0])
                if len(of_sources) > 1 and (widest is None or gap > widest[0]):
                    widest = gap, query, bits, of_sources
        if widest:
            gap, query, bits, of_sources = widest
            figures = "; ".join(f"{figure} ({source})" for source, figure in of_sources.items())
            entries.append((gap, [f"{method}, {data}, {bits} bits, {query} queries", figures]))
    entries.sort(key=lambda entry: -entry[0])
    rows = [[name, figures, f"{gap:.3f}"] for gap, (name, figures) in entries]
    title = "The same method and data set in several papers, where they differ most"
    return lists(title, ["Method", "Printed", "Range"], rows)


def main(path, methods="methods"):
    """Write the files beside this one."""
    rows = list(read_results(Path(path)).values())
    texts = {
        methods: write_methods(rows, methods),
        "tests": write_tests(rows),
        "papers": write_papers(rows),
        "printed": write_printed(),
    }
    texts = {name: text for name, text in texts.items() if text}
    for name, text in texts.items():
        target = Path(__file__).with_name(f"{name}.inc")
        target.write_text(text.rstrip() + "\n", encoding="utf-8")
    print(f"{len(rows)} rows of results: {', '.join(f'{name}.inc' for name in texts)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
