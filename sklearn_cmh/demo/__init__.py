"""The main job on real data: ``python -m sklearn_cmh.demo --help``."""
