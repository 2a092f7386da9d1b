"""Say which kernels run: `python kernels.py`, or name NumPy's AVX-512 targets: `... avx512`.

The names of `avx512` are those that this NumPy dispatches to, so they are valid for
NPY_DISABLE_CPU_FEATURES whatever its version calls them; NumPy passes over targets that the
processor lacks.
"""

import sys

import numpy as np
import scipy.linalg  # noqa: F401  (its BLAS is another copy than NumPy's)
from numpy._core import _multiarray_umath as numpy_core
from threadpoolctl import threadpool_info


def avx512_targets():
    """Targets of NumPy's run-time dispatch that use AVX-512."""
    return [name for name in numpy_core.__cpu_dispatch__ if name.startswith(("AVX512", "X86_V4"))]


def kernels():
    """One line: the kernels of each BLAS, and NumPy's targets in use."""
    blas = [
        f"{library['prefix']} {library['version']} {library.get('architecture', '?')}"
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]
    used = [name for name in numpy_core.__cpu_dispatch__ if numpy_core.__cpu_features__.get(name)]
    return f"kernels: {'; '.join(blas)}; NumPy {np.__version__}: {' '.join(used) or 'baseline'}"


if __name__ == "__main__":
    print(" ".join(avx512_targets()) if "avx512" in sys.argv[1:] else kernels())
