"""What `import sklearn_cmh` loads: little beside scikit-learn's base and scipy.sparse."""

import ast
import subprocess
import sys
from pathlib import Path

import sklearn_cmh
from sklearn_cmh import shallow

HEAVY = [
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "sklearn.multioutput",
    "sklearn.neighbors",
    "matplotlib.pyplot",
    "numba",
    "onnx",
    "torch",
]
# What the rooms load on use: kernels are not compiled, and figures may never be drawn.
ON_USE = ["matplotlib", "numba", "faiss", "torch"]
ROOMS = ["metrics", "retrieval", "inspection"]

PROGRAM = f"""
import sys, sklearn_cmh
print([m for m in {HEAVY} if m in sys.modules])
for room in {ROOMS}:
    __import__(f"sklearn_cmh.{{room}}")
    print([m for m in {ON_USE} if m in sys.modules])
"""


def test_imports_load_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.stdout.split() == ["[]"] * (1 + len(ROOMS)), done.stdout + done.stderr


def test_shallow_methods_are_read_when_asked_for():
    program = "import sys, sklearn_cmh; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    read = {f"sklearn_cmh.shallow.{file}" for file in shallow._FILES.values()}
    asked = {
        f"sklearn_cmh.shallow.{shallow._FILES[n]}"
        for n in sklearn_cmh.__all__
        if n in shallow._FILES
    }
    assert read & set(done.stdout.split()) == asked, done.stderr
    for name in shallow.__all__:
        assert getattr(shallow, name).__name__ == name
    assert set(shallow.__all__) <= set(dir(shallow))
    assert len(set(dir(shallow))) == len(dir(shallow)), "named twice once it is read"
    assert not hasattr(shallow, "NoMethod")


def test_type_checkers_know_the_methods_that_are_read_when_asked_for():
    tree = ast.parse(Path(shallow.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    known = {line.names[0].asname: line.module for line in block.body}
    assert known == shallow._FILES
