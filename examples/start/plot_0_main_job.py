"""
The main job
============

``python -m sklearn_cmh.demo`` does the whole job on real data: it learns codes of emoji pictures
and their names (:func:`~sklearn_cmh.datasets.load_openmoji`) from labels, from pairs and from both,
says what each finds, keeps the models with joblib, and lets a new process search the table with
them. This page runs it with fewer candidates for hash functions (``--quick``); below is its code.
"""

# %%

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

from sklearn_cmh.demo.__main__ import main

folder = tempfile.TemporaryDirectory()
main(["--quick", "--output", folder.name])

# %%
# The contact sheet: words find the very picture and others of its group; labels alone find groups.

sheet = plt.imread(Path(folder.name) / "contact_sheet.png")
height, width = sheet.shape[:2]
figure = plt.figure(figsize=(width / 100, height / 100), dpi=100)
ax = figure.add_axes((0, 0, 1, 1))
ax.imshow(sheet)
ax.axis("off")
folder.cleanup()

# %%
# The code
# --------
#
# .. literalinclude:: /../sklearn_cmh/demo/__main__.py
#    :language: python
