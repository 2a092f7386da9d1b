"""Stores: a load that is killed half-way and goes on, and answers beside those of HammingRanker.

For every store, a process loads batches of rows and is killed (SIGKILL) when half of them are
in; the same load is then called again. All answers must be those of `HammingRanker`, ties
included, with a filter too, or the program ends with an error. Codes come in clusters, so that
most rows have neighbours at equal distances.

    python benchmarks/stores.py --rows 100000 --stores faiss,multi_hash,lance,duckdb
    python benchmarks/stores.py --stores postgres --postgres "host=/tmp dbname=postgres user=search"

A table `benchmark_codes` of the PostgreSQL database is removed first.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd

from sklearn_cmh import HammingRanker
from sklearn_cmh.retrieval.stores import DuckDBStore, FaissStore, LanceStore, PostgresStore

TABLE = "benchmark_codes"


def make_rows(n, n_bits):
    rng = np.random.default_rng(0)
    centres = rng.choice([-1, 1], size=(50, n_bits)).astype(np.int8)
    codes = centres[rng.integers(0, len(centres), n)]
    codes *= np.where(rng.random(codes.shape) < 0.08, -1, 1).astype(np.int8)
    ids = np.array([f"row-{i}" for i in rng.permutation(n)], dtype=object)
    payload = pd.DataFrame(
        {"year": rng.integers(2000, 2025, n), "kind": rng.choice(["cat", "dog", "bird"], n)}
    )
    return codes, ids, payload


def batches(rows, size):
    codes, ids, payload = rows
    for start in range(0, len(codes), size):
        part = slice(start, start + size)
        yield codes[part], ids[part], payload[part]


def open_store(name, folder, connection):
    if name == "faiss":
        return FaissStore(folder)
    if name == "multi_hash":
        return FaissStore(folder, index="multi_hash")
    if name == "lance":
        return LanceStore(folder, table=TABLE)
    if name == "duckdb":
        return DuckDBStore(f"{folder}/codes.duckdb", table=TABLE)
    return PostgresStore(connection, table=TABLE)


def killed_load(name, folder, options):
    """Let a process load, and kill it when half of the batches are in."""
    command = [sys.executable, __file__, "--load", folder, "--stores", name]
    for option in ("rows", "bits", "batch"):
        command += [f"--{option}", str(getattr(options, option))]
    if options.postgres:
        command += ["--postgres", options.postgres]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        n_batches = -(-options.rows // options.batch)
        for _ in range(max(1, n_batches // 2)):
            process.stdout.readline()
        process.kill()
    if process.returncode != -signal.SIGKILL:
        raise SystemExit(f"{name}: the load was over before it was killed")


def check(store, rows, queries, k, where, keep):
    codes, ids, _ = rows
    start = time.perf_counter()
    found = store.kneighbors(queries, k, where=where)
    seconds = time.perf_counter() - start
    distances, positions = HammingRanker().fit(codes[keep]).kneighbors(queries, k)
    if not (found[0] == distances).all() or not (found[1] == ids[keep][positions]).all():
        raise SystemExit(f"{type(store).__name__}: other answers than HammingRanker's")
    return 1e3 * seconds / len(queries)


def measure(name, options):
    rows = make_rows(options.rows, options.bits)
    queries = rows[0][:: max(1, options.rows // options.queries)][: options.queries]
    with tempfile.TemporaryDirectory() as folder:
        if name == "postgres":
            import psycopg

            with psycopg.connect(options.postgres, autocommit=True) as connection:
                connection.execute(f"DROP TABLE IF EXISTS {TABLE}")
        killed_load(name, folder, options)
        with open_store(name, folder, options.postgres) as store:
            n_before = len(store)
            start = time.perf_counter()
            store.load(batches(rows, options.batch))
            seconds = time.perf_counter() - start
            if len(store) != options.rows:
                raise SystemExit(f"{name}: {len(store)} rows of {options.rows}")
        with open_store(name, folder, options.postgres) as store:
            check(store, rows, queries[:1], 10, None, slice(None))
            plain = check(store, rows, queries, 10, None, slice(None))
            keep = np.flatnonzero((rows[2].year >= 2020) & (rows[2].kind == "cat"))
            where = [("year", ">=", 2020), ("kind", "==", "cat")]
            filtered = check(store, rows, queries, 10, where, keep)
    rate = (options.rows - n_before) / seconds
    print(
        f"{name:10s} killed at {n_before:7d} rows; the rest at {rate:8.0f} rows/s; "
        f"{plain:7.2f} ms a query, {filtered:7.2f} with a filter; all answers equal",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stores", default="faiss,multi_hash,lance,duckdb")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--batch", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--postgres", help="connection string of a server, for --stores postgres")
    parser.add_argument("--load", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in options.stores.split(","):
        if options.load is None:
            measure(name, options)
            continue
        rows = make_rows(options.rows, options.bits)
        with open_store(name, options.load, options.postgres) as store:
            store.load(batches(rows, options.batch), verbose=1)


if __name__ == "__main__":
    main()
