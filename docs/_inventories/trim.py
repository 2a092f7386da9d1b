"""Keep of another project's inventory what these pages may link to: modules, classes, functions.

Builds fetch nothing, so the inventories lie here. They were taken from packages of Debian 12, which
ship the documentation as built (python3.11-doc 3.11.2, python-scipy-doc 1.10.1, python-sklearn-doc
1.2.1, python-pandas-doc 1.5.3); addresses of what has existed since have stayed. To renew one:

    dpkg-deb -x python-sklearn-doc_*.deb .
    python docs/_inventories/trim.py usr/share/doc/python-sklearn-doc/html/objects.inv sklearn

NumPy's is in no package of Debian's; see numpy_names.py.
"""

import sys
from pathlib import Path
from zlib import compress

from sphinx.util.inventory import InventoryFile

KEPT = ("py:module", "py:class", "py:function", "py:exception", "py:data")


def trimmed(source):
    """Project of an inventory, and what to keep of it: (name, kind, address, title)."""
    inventory = InventoryFile.loads(source.read_bytes(), uri="").data
    project = next(iter(inventory["py:class"].values())).project_name
    return project, [
        (name, kind, item.uri, item.display_name)
        for kind in KEPT
        for name, item in inventory.get(kind, {}).items()
    ]


def write(project, entries, target):
    """Write in version 2 of the format, without a version: links lead to the current pages."""
    header = (
        f"# Sphinx inventory version 2\n# Project: {project}\n"
        "# Version: \n"
        "# The remainder of this file is compressed using zlib.\n"
    )
    by_kind = sorted(entries, key=lambda entry: (entry[1], entry[0]))
    lines = [f"{name} {kind} 1 {uri} {title}\n" for name, kind, uri, title in by_kind]
    target.write_bytes(header.encode() + compress("".join(lines).encode(), 9))


if __name__ == "__main__":
    write(*trimmed(Path(sys.argv[1])), Path(__file__).parent / f"{sys.argv[2]}.inv")
