"""What computes: NumPy, compiled kernels, or faiss; all exact, with identical results."""

import os
import sys
import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..utils._typing import NDArray
from . import _numpy

__all__ = [
    "Backend",
    "choose_backend",
    "compilation_shown",
    "load_backend",
    "load_kernels",
    "with_fallback",
]

# What NumPy takes for a pair of codes, in nanoseconds, by 64-bit words of the codes; and for
# counting a pair in a metric. `benchmarks/hamming.py choice` prints them anew.
SEARCH_NS = {1: 0.65, 2: 1.1, 4: 2.6, 8: 6.2, 16: 12.0, 64: 50.0}
COUNT_NS = 5.0
# Seconds that numba takes to be imported and to load its kernels, or to compile them.
LOAD_SECONDS = 0.7
COMPILE_SECONDS = 10.0

# Seconds that NumPy has computed in this process while numba might have been loaded.
_numpy_seconds = 0.0


class Backend(NamedTuple):
    """How the nearest rows of a block are found.

    Attributes
    ----------
    rows_at_once : callable
        Takes the bytes of a row and the number of queries; returns how many rows of the
        database are searched at once.
    layout : callable
        Takes the packed rows of a block, and the number of queries that they will meet;
        returns them as `top_k` wants them.
    top_k : callable
        Takes the block, packed queries, k, a limit per query and the number of bits; returns
        distances and rows, (n_queries, k), of the k nearest rows that are nearer than the
        limit, equal distances by row, filled up with anything at the limit or above.
    within : callable or None
        Takes the block, packed queries, a radius and the number of bits; gives distances
        (int32) and rows, in their order, of all rows within the radius, query by query.
    look_up : callable
        Takes the arguments of `MultiIndex.look_up`, and returns queries, rows and distances
        (int32) of what was found, by query and row, each once, and which queries are answered.
    """

    rows_at_once: Callable[[int, int], int]
    layout: Callable[[NDArray[Any], int], Any]
    top_k: Callable[..., tuple[NDArray[Any], NDArray[Any]]]
    within: Callable[..., Iterable[tuple[NDArray[Any], NDArray[Any]]]] | None = None
    look_up: Callable[..., tuple[NDArray[Any], ...]] = _numpy.look_up


def load_backend(name: str) -> Backend:
    """Import a backend by name."""
    if name == "numba":
        kernels = load_kernels()
        parts = kernels.rows_at_once, kernels.layout, kernels.top_k, kernels.within
        return Backend(*parts, kernels.look_up)
    if name == "faiss":
        from . import _faiss

        return Backend(_faiss.rows_at_once, _faiss.layout, _faiss.top_k)
    return Backend(_numpy.rows_at_once, _numpy.layout, _numpy.top_k, _numpy.within)


def load_kernels() -> ModuleType:
    """Import the numba kernels; they are compiled at their first use, and cached."""
    from . import _numba

    return _numba


def compilation_shown(backend: str, verbose: bool | int) -> AbstractContextManager[None]:
    """Print a line if kernels are compiled meanwhile, which takes some seconds.

    Parameters
    ----------
    backend : {"numpy", "numba", "faiss"}
        What computes.
    verbose : bool or int
        Whether to print anything.

    Returns
    -------
    context : context manager
        What prints the line.
    """
    if not verbose or backend != "numba":
        return nullcontext()
    return load_kernels().compilation_shown()


def with_fallback(backend: str, compute: Callable[..., Any]) -> Any:
    """Return ``compute(backend=backend)``; if that fails, warn and let NumPy compute.

    Parameters
    ----------
    backend : {"numpy", "numba", "faiss"}
        First choice.
    compute : callable
        Takes the name of a backend.

    Returns
    -------
    result : object
        What `compute` returns.

    Examples
    --------
    >>> from sklearn_cmh.hamming import with_fallback
    >>> with_fallback("numpy", lambda backend: f"done by {backend}")
    'done by numpy'
    """
    if backend != "numpy":
        try:
            return compute(backend=backend)
        except Exception as error:
            warnings.warn(
                f"{backend} failed ({type(error).__name__}: {error}), so NumPy computes, with the "
                "same results but slower.",
                UserWarning,
            )
    return compute(backend="numpy")


def choose_backend(backend: str, n_pairs: int, n_bits: int | None = None) -> str:
    """Name of the backend that computes, which is "numpy" where another one is missing.

    The kernels are faster at every size, but have to be loaded. So "auto" is NumPy until it
    has taken as long, over all calls of the process, as loading them takes. A process that
    searches little never waits for them, and one that searches much waits at most twice as
    long as with the better choice.

    Parameters
    ----------
    backend : {"auto", "numpy", "numba", "faiss"}
        What the user asked for.
    n_pairs : int
        Number of pairs of codes to compare.
    n_bits : int, default=None
        Length of the codes to search; None is a count of pairs for a metric.

    Returns
    -------
    backend : {"numpy", "numba", "faiss"}
        What there is.

    Warns
    -----
    UserWarning
        If the backend cannot be imported.

    Examples
    --------
    >>> from sklearn_cmh.hamming import choose_backend
    >>> choose_backend("numpy", 10**12)
    'numpy'
    """
    if backend == "numpy" or (backend == "auto" and not _worth_loading(n_pairs, n_bits)):
        return "numpy"
    package, extra = ("faiss", "faiss") if backend == "faiss" else ("numba", "fast")
    try:
        load_backend(package)
    except Exception as error:
        warnings.warn(
            f"{package} cannot be imported ({error}), so NumPy computes, with the same results but "
            f'slower. Install it with pip install "sklearn-cmh[{extra}]".',
            UserWarning,
        )
        return "numpy"
    return package


def _worth_loading(n_pairs, n_bits):
    """Whether the kernels are there, or NumPy has cost as much as loading them."""
    global _numpy_seconds
    if f"{__package__}._numba" in sys.modules:
        return True
    seconds = numpy_seconds(n_pairs, n_bits)
    _numpy_seconds += seconds
    if _numpy_seconds < LOAD_SECONDS:
        return False
    if _numpy_seconds < COMPILE_SECONDS and not _compiled_before():
        return False
    # Where numba is missing, only a call that is slow without it is worth a warning.
    return seconds >= LOAD_SECONDS or find_spec("numba") is not None


def numpy_seconds(n_pairs: int, n_bits: int | None) -> float:
    """Estimate how long NumPy compares pairs of codes of a length, or counts them."""
    if n_bits is None:
        return 1e-9 * COUNT_NS * n_pairs
    nanoseconds = np.interp(n_bits / 64, list(SEARCH_NS), list(SEARCH_NS.values()))
    return float(1e-9 * nanoseconds * n_pairs)


def _compiled_before():
    """Whether numba has kept a search kernel, of any type, where it keeps them as a rule."""
    here = Path(__file__)
    places = [here.parent / "__pycache__"]
    if os.environ.get("NUMBA_CACHE_DIR"):
        places = list(Path(os.environ["NUMBA_CACHE_DIR"]).glob(f"{here.parent.name}_*"))
    return any(next(place.glob("_numba._top_k-*.nbi"), None) for place in places)
