"""Retrieval metrics, scorers and displays."""
