"""Write methods.inc, the table of the page "Which method", from results of the benchmark.

    python benchmarks/paper_tables.py --data wiki,openmoji --bits 16,64 \\
        --methods AAH,BATCH,ASCMH,DSAH,DSPAH,ASCMH-refined --output paper-tables
    python docs/_tables/write_methods.py paper-tables/results.csv
"""

import csv
import statistics
import sys
from collections import defaultdict
from datetime import date
from importlib.metadata import version
from pathlib import Path

from sklearn_cmh import __version__
from sklearn_cmh.utils.discovery import all_estimators

GALLERIES = ("learned", "encoded", "held-out")
DATA = {
    "wiki": "Wiki (2,173 training rows, 693 queries; 128 visual words, 10 topics)",
    "openmoji": "Emoji (1,519 training rows, 379 queries; 704 image features, words of the name)",
}
INTRODUCTION = """\
mAP over the full ranking, image to text / text to image, expected ties, mean of {seeds} seeds. The
three galleries are explained in :ref:`galleries`. *Learned* is what the papers report, *held-out*
what a user with unlabelled data will see. :class:`~sklearn_cmh.shallow.BATCH` (Wang et al., 2020)
is the strongest shallow baseline in the papers' tables. Seconds are those of the fit, on two cores.

.. code-block:: bash

    python benchmarks/paper_tables.py --data {data} --bits {bits} \\
        --methods {methods} --seeds {seeds}
    python docs/_tables/write_methods.py paper-tables/results.csv

Measured with sklearn-cmh {package}, scikit-learn {sklearn}, NumPy {numpy}, in {month}.
The largest standard deviation over seeds of any of these figures is {spread:.3f}. The best of a
column is in bold.
"""


def read(path):
    """{(data, bits, method): list of rows}, in the order of the file."""
    groups = defaultdict(list)
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            groups[row["data"], int(row["bits"]), row["method"]].append(row)
    return groups


def place(method):
    """Shallow methods first, then deep ones, refined ones last; in each group by name."""
    deep = {name for name, _ in all_estimators(kind="deep")}
    return method.endswith("-refined"), method.partition("-")[0] in deep, method


def mean(rows, column):
    """Mean over the seeds."""
    return statistics.mean(float(row[column]) for row in rows)


def spread(rows, column):
    """Standard deviation over the seeds."""
    return statistics.stdev(float(row[column]) for row in rows) if len(rows) > 1 else 0.0


def cell(groups, key, gallery, best):
    """Figures of both directions, the best of the column in bold."""
    figures = []
    for query in ("image", "text"):
        column = f"{gallery} {query}"
        value = f"{mean(groups[key], column):.3f}"
        figures.append(f"**{value}**" if value == best[column] else value)
    return " / ".join(figures)


def table(groups, data, bits, methods):
    """A list-table of one data set and code length."""
    keys = [(data, bits, method) for method in methods if (data, bits, method) in groups]
    columns = [f"{gallery} {query}" for gallery in GALLERIES for query in ("image", "text")]
    best = {c: f"{max(mean(groups[key], c) for key in keys):.3f}" for c in columns}
    lines = [f".. list-table:: {DATA.get(data, data)}, {bits} bits", "    :header-rows: 1", ""]
    rows = [["Method", *(f"{gallery.capitalize()}" for gallery in GALLERIES), "Seconds"]]
    for key in keys:
        seconds = f"{mean(groups[key], 'seconds'):.1f}"
        rows.append([key[2], *(cell(groups, key, g, best) for g in GALLERIES), seconds])
    for row in rows:
        lines += [f"    {'* -' if i == 0 else '  -'} {entry}" for i, entry in enumerate(row)]
    return "\n".join(lines)


def main(path):
    """Write the file beside this one."""
    groups = read(path)
    names = sorted({data for data, _, _ in groups}, reverse=True)
    lengths = {bits for _, bits, _ in groups}
    methods = sorted({method for _, _, method in groups}, key=place)
    scores = [f"{gallery} {query}" for gallery in GALLERIES for query in ("image", "text")]
    introduction = INTRODUCTION.format(
        seeds=max(len(rows) for rows in groups.values()),
        data=",".join(names),
        bits=",".join(map(str, sorted(lengths))),
        methods=",".join(methods),
        package=__version__,
        sklearn=version("scikit-learn"),
        numpy=version("numpy"),
        month=date.today().strftime("%B %Y"),
        spread=max(spread(rows, column) for rows in groups.values() for column in scores),
    )
    tables = [table(groups, data, bits, methods) for data in names for bits in sorted(lengths)]
    target = Path(__file__).with_name("methods.inc")
    target.write_text("\n\n".join([introduction, *tables]) + "\n", encoding="utf-8")
    print(f"wrote {target.name}: {len(groups)} rows of the table")


if __name__ == "__main__":
    main(sys.argv[1])
