"""Learning curves: what held-out rows find, and what a fit takes, against rows and anchors.

    python benchmarks/curves.py                                        # 500 to 40,000 rows
    python benchmarks/curves.py --rows 500,2500 --anchors 250 --bits 64

Generated data, that of the gallery's page of learning curves with more rows: 60 and 40 columns,
float32, of 20 classes. ASCMH with a pair weight of 0.3, so that codes tell rows of a class apart,
is fitted to the first rows; the last 2,000 are queries and database. "mAP" is that of text queries
over images of the same class, "own pair" the share whose own image is among the first ten. Every
fit runs in a process of its own; "seconds" are of the processor, "memory" is what the process has
held at most beyond what it held before the fit. More anchors than rows there are not.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
from fit import peak_gigabytes, split

MOST_ROWS, HELD_OUT = 40_000, 2000


def make_data(path):
    """Write the rows to a file, so that no process that measures has held more than them."""
    from sklearn_cmh.datasets import make_multimodal_classification

    X, y = make_multimodal_classification(
        MOST_ROWS + HELD_OUT, {"image": 60, "text": 40}, n_classes=20, noise=2.0, random_state=0
    )
    np.savez(path, y=y, **{name: X[name].astype(np.float32) for name in X.names})


def measure(path, rows, anchors, bits):
    """Fit once; figures."""
    from sklearn_cmh import ASCMH, MultimodalData
    from sklearn_cmh.metrics import mean_average_precision, pair_recall_at_k

    with np.load(path) as file:
        X, y = MultimodalData(image=file["image"], text=file["text"]), file["y"]
    hasher = ASCMH(bits, pair_weight=0.3, n_anchors=anchors, tol=1e-3, random_state=0)
    before, start = peak_gigabytes(), time.process_time()
    hasher.fit(X[:rows], y[:rows])
    seconds, memory = time.process_time() - start, peak_gigabytes() - before
    text, image = (hasher.encode(X[name][-HELD_OUT:], modality=name) for name in ("text", "image"))
    labels = y[-HELD_OUT:]
    precision = mean_average_precision(text, image, labels, labels)
    return precision, pair_recall_at_k(text, image, k=10), seconds, memory


def measure_apart(*setting):
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--one", json.dumps(setting)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main():
    """Measure every number of rows with every number of anchors, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    rows = "500,1000,2500,5000,10000,20000,40000"
    parser.add_argument("--rows", type=split(int), default=rows)
    parser.add_argument("--anchors", type=split(int), default="250,500,1000,2000,4000")
    parser.add_argument("--bits", type=int, default=32)
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one)))
        return
    print("anchors   rows    mAP  own pair  seconds   memory")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rows.npz")
        make_data(path)
        for anchors, rows in itertools.product(options.anchors, options.rows):
            if rows < anchors:
                continue
            precision, recall, seconds, memory = measure_apart(path, rows, anchors, options.bits)
            print(
                f"{anchors:7} {rows:6}  {precision:5.3f}     {recall:5.3f}  {seconds:7.1f}  "
                f"{memory:4.2f} GB",
                flush=True,
            )


if __name__ == "__main__":
    main()
