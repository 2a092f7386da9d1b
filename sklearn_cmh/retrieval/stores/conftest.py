"""Collect doctests of a store only where its packages are installed."""

from importlib.util import find_spec

_NEEDS = {
    "_conditions.py": "pyarrow",
    "_duckdb.py": "duckdb",
    "_engine.py": "pyarrow",
    "_faiss.py": "faiss",
    "_lance.py": "lancedb",
    "_postgres.py": "psycopg",
    "_rows.py": "pyarrow",
    "_sql.py": "pyarrow",
    "_stores.py": "pyarrow",
}
collect_ignore = [
    file for file, package in _NEEDS.items() if not (find_spec(package) and find_spec("pyarrow"))
]
