"""Collect doctests of a backend only where its package is installed."""

from importlib.util import find_spec

_NEEDS = {"_faiss.py": "faiss", "_numba.py": "numba"}
collect_ignore = [file for file, package in _NEEDS.items() if not find_spec(package)]
