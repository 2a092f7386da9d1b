"""
A report to show around: figures, curves and hits
=================================================

Before a hasher is trusted, somebody should look at what it finds.
:class:`~sklearn_cmh.inspection.RetrievalReport` puts metrics, curves and sample queries
with their hits on one page, pictures and words included, right and wrong marked. It
renders in a notebook, and saves as one HTML file that needs no network.
"""

# %%
# Codes for emoji
# ---------------
# Pictures and names of 1,519 emoji to learn from, 379 to ask with.

from sklearn_cmh import DSAH
from sklearn_cmh.datasets import load_openmoji
from sklearn_cmh.inspection import RetrievalReport

emoji = load_openmoji()
train, test = emoji.train, emoji.test
hasher = DSAH(n_bits=32, random_state=0).fit(emoji.data[train], emoji.target[train])

# %%
# The report
# ----------
# `show_queries` and `show_database` say what stands for a row. A query is shown in its
# own modality alone, as the hasher saw it; its hits in all modalities. A hit is right if
# it shares a label with the query: here the group that Unicode puts the emoji in.
#
# The database is the training rows, encoded by the other modality. Equal distances are
# in the order of the database.

shown = {"image": emoji.images[train], "text": emoji.names[train]}
report = RetrievalReport.from_estimator(
    hasher,
    emoji.data[test],
    emoji.target[test],
    gallery=(emoji.data[train], emoji.target[train]),
    show_queries={"image": emoji.images[test], "text": emoji.names[test]},
    show_database=shown,
    target_names=emoji.target_names,
    title="Emoji: pictures and names",
    n_samples=4,
    n_hits=6,
)
print(report)

# %%
# A notebook shows the report where it is the last line of a cell, as here;
# ``report.save("report.html")`` writes the same as a file to send to somebody.

report

# %%
# The numbers behind it are `report.metrics`, or a table:

report.to_frame().round(3)
