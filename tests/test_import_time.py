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
]


def test_import_loads_nothing_heavy():
    program = f"import sys, sklearn_cmh; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
