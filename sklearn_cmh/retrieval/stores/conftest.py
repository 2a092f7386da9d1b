"""Collect doctests of a store only where its packages are installed."""

from importlib.util import find_spec

_NEEDS = {
    "_conditions.py": ["pyarrow"],
    "_duckdb.py": ["pyarrow", "duckdb"],
    "_engine.py": ["pyarrow"],
    "_faiss.py": ["pyarrow", "faiss"],
    "_lance.py": ["pyarrow", "lancedb"],
    "_postgres.py": ["pyarrow", "psycopg"],
    "_rows.py": ["pyarrow"],
    "_sql.py": ["pyarrow"],
    "_stores.py": ["pyarrow", "duckdb", "faiss", "lancedb"],
}
collect_ignore = [
    file for file, packages in _NEEDS.items() if not all(find_spec(name) for name in packages)
]
