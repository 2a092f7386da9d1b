"""Write numpy.inv: the names of NumPy that these pages link to, each with its address.

No package holds NumPy's own inventory, so addresses follow the scheme of its pages, one for every
name but scalars, constants and what `numpy.random` keeps on two pages. What is linked are names in
roles, as :func:`numpy.packbits`, and those in the code of examples. After a new one:

    python docs/_inventories/numpy_names.py
"""

import ast
import re
from functools import reduce
from inspect import ismodule
from pathlib import Path

import numpy as np
from trim import write

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent
ROOT = DOCS.parent
FOLDER = "reference"
BUILT = {"_build", "auto_examples", "generated"}
ROLE = re.compile(r":(?:class|func|data|exc):`[^`]*?(numpy\.[\w.]+)>?`")
RANDOM = {
    "numpy.random.RandomState": "random/legacy",
    "numpy.random.Generator": "random/generator",
    "numpy.random.default_rng": "random/generator",
}


def names_in_roles():
    """Names that pages and docstrings refer to."""
    pages = [path for path in DOCS.rglob("*.rst") if not BUILT & set(path.parts)]
    pages += (ROOT / "sklearn_cmh").rglob("*.py")
    return {name for page in pages for name in ROLE.findall(page.read_text(encoding="utf-8"))}


def names_in_examples():
    """Names that stand as np.name in the code of examples."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "examples").rglob("*.py")]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    names = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    found = {name.replace("np.", "numpy.", 1) for name in names if re.fullmatch(r"np[\w.]+", name)}
    return {name for name in found if not ismodule(named(name))}


def named(name):
    """What NumPy has by that name."""
    return reduce(getattr, name.split(".")[1:], np)


def entry(name):
    """Name, kind, address and title, as inventories have them. An alias leads to what it names."""
    value = named(name)
    if isinstance(value, type) and issubclass(value, np.generic):
        return name, "py:class", f"{FOLDER}/arrays.scalars.html#{name}", "-"
    if not callable(value):
        return name, "py:data", f"{FOLDER}/constants.html#{name}", "-"
    kind = "py:class" if isinstance(value, type) else "py:function"
    own_name = f"{name.rpartition('.')[0]}.{value.__name__}"
    page = RANDOM.get(name, f"generated/{own_name}")
    return name, kind, f"{FOLDER}/{page}.html#{own_name}", "-"


def entries():
    """One entry for every name that is linked."""
    return [entry(name) for name in names_in_roles() | names_in_examples()]


if __name__ == "__main__":
    write("NumPy", entries(), HERE / "numpy.inv")
