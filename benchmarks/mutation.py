"""Do the tests notice when the code changes? Mutants of the core, a fixed random sample of them.

    python benchmarks/mutation.py --minutes 30
    python benchmarks/mutation.py --minutes 5 --n-jobs 8

Every mutant is one module with one change: a comparison or an arithmetic operator turned into its
neighbour, a constant moved, a condition negated, an argument dropped. The tests of the module's
room, and the examples of its docstrings, are run on a copy of the package with it; a mutant that
they let pass is printed, for somebody to look at: some change nothing that matters. The score is
the share that the tests noticed.

What by its kind changes no result is left alone, or the score would say how much of it there is:

- annotations, `__all__`, and what goes into messages: f-strings, and all of a `raise`;
- how much is done at once: constants named after blocks, strips or pieces, what is named
  `block_...`, `..._strip` or `..._at_once`, and the sizes that `gen_batches` and `slices` are
  given. Tests of memory and benchmarks look at these;
- the size -1 of `reshape`, for which any negative number serves;
- arguments that save a copy or a computation (`copy=False`, `overwrite_...`, `maxsize` of a
  cache, `prefer_skip_nested_validation`), or that guard against a mistake of ours (`strict` of
  zip, which no right code trips);
- at a limit with a name in capitals, whether it is within (`<` or `<=`): what is right on both
  sides of a limit is right at it;
- `stacklevel`, the line that a warning points to.
"""

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

ROOT = Path(__file__).resolve().parents[1]
LOCK = threading.Lock()  # of the iterator of mutants

# What changes no result; the docstring says why.
AT_ONCE = re.compile(r"[A-Z_]*(BLOCK|STRIP|PIECE|AT_ONCE)[A-Z_]*|block_\w+|\w+_(at_once|strip)")
LIMIT = re.compile(r"[A-Z_]{3,}")
BATCHES = {"gen_batches", "slices"}
SAVING = re.compile(
    r"strict=.*|copy=False|(overwrite_\w+|maxsize|prefer_skip_nested_validation|stacklevel)=.*"
)

# Tests that look at every module, and modules with the test files that are theirs, the quickest
# first.
OF_ALL = ["test_signatures"]
ROOMS = {
    "sklearn_cmh/solvers/_linalg.py": [
        "test_ridge_regression",
        "test_numerics",
        "test_large_data",
        "test_dask_fit",
    ],
    "sklearn_cmh/solvers/_orthogonal.py": ["test_numerics", "test_large_data", "test_dask_fit"],
    "sklearn_cmh/solvers/_ridge.py": ["test_numerics", "test_refine"],
    "sklearn_cmh/solvers/_canonical.py": ["test_canonical", "test_numerics"],
    "sklearn_cmh/solvers/_codes.py": ["test_products", "test_base", "test_dask_fit"],
    "sklearn_cmh/solvers/_itq.py": ["test_itq"],
    "sklearn_cmh/solvers/_similarities.py": ["test_similarity", "test_aah", "test_dask_fit"],
    "sklearn_cmh/solvers/_sweeps.py": ["test_sweeps"],
    "sklearn_cmh/solvers/_targets.py": ["test_targets", "test_pair_weight", "test_dask_fit"],
    "sklearn_cmh/refine/_bits.py": ["test_bits", "test_refine"],
    "sklearn_cmh/refine/_search.py": ["test_pair_weight", "test_refine"],
    "sklearn_cmh/refine/_ridge.py": ["test_bits", "test_refine"],
    "sklearn_cmh/hamming/_codes.py": ["test_ranking", "test_hamming"],
    "sklearn_cmh/hamming/_distances.py": ["test_hamming"],
    "sklearn_cmh/hamming/_nearest.py": ["test_ranking", "test_hamming"],
    "sklearn_cmh/hamming/_numpy.py": ["test_ranking", "test_hamming"],
    "sklearn_cmh/hamming/_multi_index.py": ["test_ranking", "test_hamming"],
    "sklearn_cmh/metrics/_ranking.py": ["test_metrics"],
    "sklearn_cmh/metrics/_pairs.py": ["test_metrics"],
    "sklearn_cmh/metrics/core/_counts.py": ["test_metrics", "test_hamming"],
    "sklearn_cmh/metrics/core/_per_query.py": ["test_two_stage", "test_metrics"],
    "sklearn_cmh/metrics/core/_pair_values.py": ["test_metrics"],
    "sklearn_cmh/deep/_losses.py": ["deep/test_deep_losses"],
}

NEIGHBOURS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


def changes_of(node):
    """Functions that each change a node in one way."""
    found = []
    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in NEIGHBOURS:
        found.append(lambda n: setattr(n, "op", NEIGHBOURS[type(n.op)]()))
    if isinstance(node, ast.Compare) and type(node.ops[0]) in NEIGHBOURS and not limit(node):
        found.append(lambda n: n.ops.__setitem__(0, NEIGHBOURS[type(n.ops[0])]()))
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        found.append(lambda n: setattr(n, "value", n.value + 1))
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        found.append(lambda n: setattr(n, "value", not n.value))
    if isinstance(node, (ast.If, ast.IfExp)):
        found.append(lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test)))
    if isinstance(node, ast.Call) and node.keywords and not saving(node.keywords[-1]):
        found.append(lambda n: n.keywords.pop())
    return found


def saving(node):
    """Whether a keyword changes no result; see the docstring of the file."""
    return isinstance(node, ast.keyword) and SAVING.fullmatch(ast.unparse(node)) is not None


def done_at_once(node):
    """Whether a node says how much is done at once, by its name."""
    targets = getattr(node, "targets", [node])
    names = [inner for target in targets for inner in getattr(target, "elts", [target])]
    names = [getattr(name, "id", getattr(name, "name", "")) for name in names]
    kinds = (ast.Assign, ast.FunctionDef)
    return isinstance(node, kinds) and all(map(AT_ONCE.fullmatch, names))


def limit(node):
    """Whether a node compares numbers with a constant that has a name, or a part done at once."""
    names = [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)]
    named = any(LIMIT.fullmatch(name) or AT_ONCE.fullmatch(name) for name in names)
    return named and isinstance(node.ops[0], (ast.Lt, ast.LtE, ast.Gt, ast.GtE))


def left_alone(node):
    """Parts of a node that no mutant is made of."""
    parts = [getattr(node, name, None) for name in ("annotation", "returns")]
    if isinstance(node, (ast.Raise, ast.JoinedStr)) or done_at_once(node) or saving(node):
        parts.append(node)
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
        parts.append(node)
    if isinstance(node, ast.Call) and ast.unparse(node.func) in BATCHES:
        parts += node.args[1:]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".reshape"):
        parts += [size for size in node.args if ast.unparse(size) == "-1"]
    return filter(None, parts)


def code_of(tree):
    """Nodes of functions and constants whose change shows in results, as far as one can tell."""
    parts = [part for node in ast.walk(tree) for part in left_alone(node)]
    skipped = {id(inner) for part in parts for inner in ast.walk(part)}
    return [node for node in ast.walk(tree) if id(node) not in skipped]


def mutants_of(path):
    """(node, way) of every mutant of a module, by numbers."""
    nodes = code_of(ast.parse(path.read_text(encoding="utf-8")))
    return [(i, way) for i, node in enumerate(nodes) for way in range(len(changes_of(node)))]


def mutated(path, number, way):
    """Line, code before and after the change, and the source of the mutant."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    node = code_of(tree)[number]
    before = ast.unparse(node).splitlines()[0]
    changes_of(node)[way](node)
    after = ast.unparse(node).splitlines()[0]
    return node.lineno, before, after, ast.unparse(ast.fix_missing_locations(tree))


def noticed(copied, name, tests):
    """Whether the examples of a module or its tests fail on the package as it is in a folder."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header"]
    command += ["-o", "addopts=--doctest-modules", name, *[f"tests/{test}.py" for test in tests]]
    env = {**os.environ, "PYTHONPATH": str(copied), "CI": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=copied, env=env, capture_output=True, timeout=300)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def copied_package(folder):
    """A copy of what the tests need, for mutants to be written into."""
    copied = Path(folder)
    for part in ("sklearn_cmh", "tests", "pyproject.toml"):
        copy_of = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy_of(ROOT / part, copied / part)
    return copied


def try_mutants(mutants, rooms, deadline):
    """Numbers of mutants tried and noticed, of an iterator that others take from too."""
    tried = found = 0
    with tempfile.TemporaryDirectory() as folder:
        copied = copied_package(folder)
        while time.monotonic() < deadline:
            with LOCK:
                mutant = next(mutants, None)
            if mutant is None:
                break
            name, number, way = mutant
            line, before, after, source = mutated(ROOT / name, number, way)
            (copied / name).write_text(source, encoding="utf-8")
            hit = noticed(copied, name, OF_ALL + rooms[name])
            shutil.copy(ROOT / name, copied / name)
            tried, found = tried + 1, found + hit
            if not hit:
                print(f"survived: {name}:{line}: {before}  ->  {after}", flush=True)
    return tried, found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="modules whose path holds this")
    parser.add_argument("--n-jobs", type=int, default=1)
    arguments = parser.parse_args()
    rooms = {name: tests for name, tests in ROOMS.items() if arguments.only in name}
    present = [name for name in rooms if (ROOT / name).exists()]
    mutants = [(name, *mutant) for name in present for mutant in mutants_of(ROOT / name)]
    order = np.random.default_rng(arguments.seed).permutation(len(mutants))
    print(f"{len(mutants)} mutants of {len(present)} modules", flush=True)
    sample = iter([mutants[i] for i in order])
    deadline = time.monotonic() + 60 * arguments.minutes
    jobs = [delayed(try_mutants)(sample, rooms, deadline)] * arguments.n_jobs
    counts = Parallel(arguments.n_jobs, prefer="threads")(jobs)
    tried, found = np.sum(counts, axis=0)
    print(f"noticed {found} of {tried}: {found / max(tried, 1):.0%}")


if __name__ == "__main__":
    main()
