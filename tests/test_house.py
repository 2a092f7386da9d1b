"""How the house is built: what may import what, and lists that follow from the estimators."""

import ast
import importlib
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

import sklearn_cmh
from sklearn_cmh import DSAH, RefinedHasher, persistence, shallow
from sklearn_cmh.onnx import to_onnx
from sklearn_cmh.utils.discovery import all_estimators

PACKAGE = Path(sklearn_cmh.__file__).parent
DOCS = PACKAGE.parent / "docs"


def room(parts):
    """First part of a module's path inside the package; the package itself is a room too."""
    return parts[0] if parts and parts[0] != "__init__" else "sklearn_cmh"


def imported_rooms(path):
    """Rooms of the package that a module imports, at its head or inside a function."""
    here = path.relative_to(PACKAGE).with_suffix("").parts
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = ["sklearn_cmh", *here[: len(here) - node.level]]
            target = base + (node.module or "").split(".") * bool(node.module)
            # "from . import x" at the top names modules.
            names = [[*target, alias.name] if len(target) == 1 else target for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module.split(".")]
        else:
            continue
        rooms |= {room(parts[1:]) for parts in names if parts[0] == "sklearn_cmh"}
    return rooms - {room(here)}


def import_table():
    """{room: rooms that it may import} from the contributing guide, in its order."""
    if not DOCS.is_dir():
        pytest.skip("the documentation is not there")
    text = (DOCS / "development" / "contributing.rst").read_text(encoding="utf-8")
    rows = re.findall(r"\* - (``.*)\n      - .*\n      - (.*)\n", text)
    order = [name for names, _ in rows for name in re.findall("``([a-z_]+)``", names)]
    table = {}
    for names, allowed in rows:
        for name in re.findall("``([a-z_]+)``", names):
            below = order[order.index(name) + 1 :]
            if allowed.startswith("any"):
                table[name] = set(below)
            elif allowed.startswith("nothing"):
                table[name] = {"utils"} - {name}
            else:
                table[name] = {*allowed.split(", "), "utils"}
            assert table[name] <= {*below, "_version"}, f"an arrow of {name} points upwards"
    return table


def test_imports_point_down():
    table = import_table()
    used = {}
    for path in PACKAGE.rglob("*.py"):
        here = room(path.relative_to(PACKAGE).with_suffix("").parts)
        used.setdefault(here, set()).update(imported_rooms(path))
    assert used.pop("_version") == set()
    assert set(used) == set(table), "the table in contributing.rst names other rooms"
    for here, rooms in used.items():
        assert rooms - {"_version"} <= table[here], f"{here} imports what it may not"


@pytest.mark.parametrize("folder", ["shallow", "deep"])
def test_methods_do_not_import_one_another(folder):
    """What two methods need is shared numerics, or a base."""
    for _, cls in all_estimators():
        module = importlib.import_module(cls.__module__)
        path = Path(module.__file__)
        if path.parent.name != folder:
            continue
        others = {
            Path(importlib.import_module(other.__module__).__file__).stem
            for _, other in all_estimators()
            if other.__module__ != cls.__module__
        }
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                assert node.module not in others, f"{path.name} imports {node.module}"


def private(name):
    """Whether a dotted name has a part that is private."""
    parts = name.removeprefix("_version.").split(".")
    return any(part.startswith("_") and not part.startswith("__") for part in parts)


def test_private_names_stay_at_home():
    """Of scikit-learn they come through one module; of another room, not at all but of utils."""
    for path in PACKAGE.rglob("*.py"):
        here = path.relative_to(PACKAGE)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom):
                continue
            module, names = node.module or "", {alias.name for alias in node.names}
            if node.level == 0:
                foreign = module.split(".")[0] == "sklearn" and here != Path("utils/_sklearn.py")
            else:
                foreign = node.level >= len(here.parts) and module.split(".")[0] != "utils"
                foreign = foreign and len(here.parts) > 1
            for name in names:
                assert not (foreign and private(f"{module}.{name}")), f"{here}: {module}, {name}"


def test_metrics_and_reports_ask_hashers_in_one_place():
    """They stand below or beside hashers, whose attributes are not theirs to know."""
    for folder in ("metrics", "inspection"):
        for path in (PACKAGE / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    own = node.value.id != "hasher" or path.name == "_hashers.py"
                    assert own or not private(node.attr), f"{path}: hasher.{node.attr}"


@pytest.fixture
def throwaway(monkeypatch):
    """A method that is in the ``__all__`` of `sklearn_cmh.shallow`, and nowhere else."""

    class Throwaway(DSAH):
        """A method of no use."""

    Throwaway.__module__ = "sklearn_cmh.shallow._throwaway"
    Throwaway.__qualname__ = "Throwaway"
    monkeypatch.setattr(shallow, "Throwaway", Throwaway, raising=False)
    monkeypatch.setattr(shallow, "__all__", [*shallow.__all__, "Throwaway"])
    return Throwaway


def test_a_new_method_is_found_everywhere(throwaway, monkeypatch, paired):
    assert ("Throwaway", throwaway) in all_estimators(kind="shallow")
    assert ("Throwaway", throwaway) in all_estimators(kind="hasher")
    assert "sklearn_cmh.shallow._throwaway.Throwaway" in persistence.TRUSTED_TYPES
    with pytest.raises(TypeError, match="Throwaway"):
        RefinedHasher(LinearRegression()).fit(paired.X, paired.y)
    common = importlib.import_module("test_common")
    assert "Throwaway" in common.names_of("shallow")


def test_kinds_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"kind must be 'hasher', .* or None; got 'shallows'"):
        all_estimators(kind="shallows")


def test_a_new_method_is_found_in_messages_of_export(throwaway, paired):
    pytest.importorskip("onnx")
    refined = RefinedHasher(
        DSAH(4, n_anchors=20), 4, n_restarts=1, pool_bits=4, refit_hash_functions=False
    ).fit(paired.X, paired.y)
    with pytest.raises(TypeError, match="Throwaway"):
        to_onnx(refined)


def test_a_new_method_is_found_in_the_reference(throwaway):
    if not DOCS.is_dir():
        pytest.skip("the documentation is not there")
    spec = importlib.util.spec_from_file_location("api_pages", DOCS / "_ext" / "api_pages.py")
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    listed = {name for *_, names in pages.sections() for name in names}
    assert "Throwaway" in listed and np.all([name in listed for name in shallow.__all__])


# A paper without a DOI that we could find.
WITHOUT_ADDRESS = ("Deep similarity preserving",)


def references(text):
    """Entries of lists of references: numbered ones, and those under the heading of a docstring."""
    flat = re.sub(r"^ *(\.\. \[\d+\] |References\n *-+$)", "\n", text, flags=re.M)
    joined = [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", flat)]
    return [p for p in joined if re.match(r"[A-Z]\w+, [A-Z]\..*\(\d{4}\)\.", p)]


def test_references_have_an_address():
    sources = [*PACKAGE.rglob("*.py"), *DOCS.glob("user_guide/*.rst")]
    found = [(path, p) for path in sources for p in references(path.read_text(encoding="utf-8"))]
    assert len(found) > 20
    address = re.compile(r":(doi|arxiv):`|https://")
    missing = [
        (path.name, p)
        for path, p in found
        if not address.search(p) and not any(title in p for title in WITHOUT_ADDRESS)
    ]
    assert not missing, f"add the :doi:, the :arxiv: or another address of {missing}"
