"""What `import sklearn_cmh` loads: little beside scikit-learn's base and scipy.sparse."""

import subprocess
import sys

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
    "sklearn_cmh.shallow._fsh",
    "sklearn_cmh.shallow._seph",
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
    from sklearn_cmh import shallow

    for name in shallow.__all__:
        assert getattr(shallow, name).__name__ == name
    assert set(shallow.__all__) <= set(dir(shallow))
    assert len(set(dir(shallow))) == len(dir(shallow)), "named twice once it is read"
    assert not hasattr(shallow, "NoMethod")
