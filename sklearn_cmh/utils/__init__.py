"""Tools around the package itself."""
