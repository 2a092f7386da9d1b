"""Loaders and generators of paired data."""
