"""Stores: codes, ids and what people filter by, in faiss, LanceDB, PostgreSQL or DuckDB.

Importing this package imports none of them; opening a store does, and says which extra to
install where it is missing.
"""

from ._stores import DuckDBStore, FaissStore, LanceStore, PostgresStore

__all__ = ["DuckDBStore", "FaissStore", "LanceStore", "PostgresStore"]
