"""What computes: NumPy, compiled kernels, or faiss; all exact, with identical results."""

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from ..utils._typing import NDArray
from . import _numpy

__all__ = ["Backend", "choose_backend", "load_backend", "load_kernels", "with_fallback"]

# Pairs of codes above which it pays to load, and perhaps to compile, the numba kernels.
MANY_PAIRS = 10**8


class Backend(NamedTuple):
    """How the nearest rows of a block are found.

    Attributes
    ----------
    layout : callable
        Takes the packed rows of a block, and the number of queries that they will meet;
        returns them as `top_k` wants them.
    top_k : callable
        Takes the block, packed queries, k, a limit per query and the number of bits; returns
        distances and rows, (n_queries, k), of the k nearest rows that are nearer than the
        limit, equal distances by row, filled up with anything at the limit or above.
    """

    layout: Callable[[NDArray[Any], int], Any]
    top_k: Callable[..., tuple[NDArray[Any], NDArray[Any]]]


def load_backend(name: str) -> Backend:
    """Import a backend by name."""
    if name == "numba":
        kernels = load_kernels()
        return Backend(kernels.layout, kernels.top_k)
    if name == "faiss":
        from . import _faiss

        return Backend(_faiss.layout, _faiss.top_k)
    return Backend(_numpy.layout, _numpy.top_k)


def load_kernels() -> ModuleType:
    """Import the numba kernels; they are compiled at their first use, and cached."""
    from . import _numba

    return _numba


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


def choose_backend(backend: str, n_pairs: int) -> str:
    """Name of the backend that computes, which is "numpy" where another one is missing.

    Parameters
    ----------
    backend : {"auto", "numpy", "numba", "faiss"}
        What the user asked for.
    n_pairs : int
        Number of pairs of codes to compare.

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
    >>> choose_backend("auto", 100)
    'numpy'
    """
    if backend == "numpy" or (backend == "auto" and n_pairs < MANY_PAIRS):
        return "numpy"
    package, extra = ("faiss", "faiss") if backend == "faiss" else ("numba", "fast")
    try:
        load_backend(package)
    except ImportError as error:
        warnings.warn(
            f"{package} cannot be imported ({error}), so NumPy computes, with the same results but "
            f'slower. Install it with pip install "sklearn-cmh[{extra}]".',
            UserWarning,
        )
        return "numpy"
    return package
