"""Paired data to learn and to test with."""

from ._generator import make_multimodal_classification
from ._openmoji import load_openmoji
from ._paired_mat import load_mat
from ._wiki import fetch_wiki

__all__ = ["fetch_wiki", "load_mat", "load_openmoji", "make_multimodal_classification"]
