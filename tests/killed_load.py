"""Load a store in a process that dies, as of SIGKILL, at a given line of the code that loads."""

import multiprocessing
import os
import signal
import sys
from importlib import import_module

import numpy as np

N_ROWS, BATCH = 60, 10
# Imported once, and not by every process that dies.
PRELOADED = ["pytest", "pyarrow.compute", "faiss", "lancedb", "duckdb", "psycopg"]
PRELOADED += ["sklearn_cmh.retrieval.stores"]


def rows():
    """Codes, ids and payload of all rows."""
    rng = np.random.default_rng(0)
    codes = rng.choice([-1, 1], size=(N_ROWS, 12)).astype(np.int8)
    ids = [f"row {i}" for i in rng.permutation(N_ROWS)]
    return codes, ids, {"year": rng.integers(2000, 2003, N_ROWS)}


def batches():
    """Yield the same rows, some at a time."""
    codes, ids, payload = rows()
    for i in range(0, N_ROWS, BATCH):
        part = slice(i, i + BATCH)
        yield codes[part], ids[part], {"year": payload["year"][part]}


def load_and_die(name, arguments, module, stop):
    """Load a store; die at line number `stop` that is run of its module."""
    file = import_module(f"sklearn_cmh.retrieval.stores.{module}").__file__
    left = stop

    def trace(frame, event, argument):
        nonlocal left
        if frame.f_code.co_filename != file:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    stores = import_module("sklearn_cmh.retrieval.stores")
    with getattr(stores, name)(*arguments) as store:
        sys.settrace(trace)
        store.load(batches())
        sys.settrace(None)


def killed_loads(name, arguments, module, step):
    """Load again and again, killed at line 1, at line 1 + step, ...; ends with a whole load."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    for stop in range(1, 10_000, step):
        process = context.Process(target=load_and_die, args=(name, arguments, module, stop))
        process.start()
        process.join()
        if process.exitcode == 0:
            return
        assert process.exitcode == -signal.SIGKILL
        yield
