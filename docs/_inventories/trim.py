"""Keep of another project's inventory what these pages may link to: modules, classes, functions.

Builds fetch nothing, so the inventories lie here. They were taken from packages of Debian 12, which
ship the documentation as built (python3.11-doc 3.11.2, python-scipy-doc 1.10.1, python-sklearn-doc
1.2.1, python-pandas-doc 1.5.3); addresses of what has existed since have stayed. To renew one:

    dpkg-deb -x python-sklearn-doc_*.deb .
    python docs/_inventories/trim.py usr/share/doc/python-sklearn-doc/html/objects.inv sklearn

NumPy's is in no package of Debian's, so names of NumPy are not linked.
"""

import sys
from pathlib import Path

from sphinx.util.inventory import InventoryFile

KEPT = ("py:module", "py:class", "py:function", "py:exception", "py:data")


def trimmed(source):
    """Inventory in `source` without what is no module, class, function, exception or constant."""
    inventory = InventoryFile.loads(source.read_bytes(), uri="")
    for kind in list(inventory.data):
        if kind not in KEPT:
            del inventory.data[kind]
    return inventory


def write(inventory, target):
    """Write in version 2 of the format, without a version: links lead to the current pages."""
    from zlib import compress

    item = next(iter(inventory.data["py:class"].values()))
    header = (
        f"# Sphinx inventory version 2\n# Project: {item.project_name}\n"
        "# Version: \n"
        "# The remainder of this file is compressed using zlib.\n"
    )
    lines = [
        f"{name} {kind} 1 {entry.uri} {entry.display_name}\n"
        for kind, entries in sorted(inventory.data.items())
        for name, entry in sorted(entries.items())
    ]
    target.write_bytes(header.encode() + compress("".join(lines).encode(), 9))


if __name__ == "__main__":
    write(trimmed(Path(sys.argv[1])), Path(__file__).parent / f"{sys.argv[2]}.inv")
