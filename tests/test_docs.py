"""The documentation: every public name is listed, and every code block runs."""

import configparser
import contextlib
import doctest
import importlib.util
import io
import json
import pkgutil
import re
import sys
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from sklearn.base import BaseEstimator

import sklearn_cmh

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
if not DOCS.is_dir():
    pytest.skip("the documentation is not part of this distribution", allow_module_level=True)

NO_PAGES = {"_build", "_templates", "auto_examples", "generated"}
PAGES = [ROOT / "README.md"] + [
    path for path in sorted(DOCS.rglob("*.rst")) if not NO_PAGES & set(path.relative_to(DOCS).parts)
]

# Rooms with an `__all__` that is for the package's own use, or whose names stand elsewhere.
INTERNAL = {"data", "features", "hamming", "metrics.core", "retrieval"}


def load_api_pages():
    return load_extension("api_pages")


def load_extension(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / "_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- API reference ---------------------------------------------------------------------------


def public_modules():
    """Modules whose path has no underscore and which declare what is public."""
    names = ["sklearn_cmh"]
    for info in pkgutil.walk_packages(sklearn_cmh.__path__, "sklearn_cmh."):
        parts = info.name.split(".")[1:]
        rooms = {parts[0], ".".join(parts[:2])}
        if any(part.startswith("_") for part in parts) or rooms & (INTERNAL | {"demo"}):
            continue
        if hasattr(import_module(info.name), "__all__"):
            names.append(info.name)
    return names


@pytest.mark.parametrize("module_name", public_modules())
def test_every_public_name_is_in_the_api_reference(module_name):
    module = import_module(module_name)
    listed = {
        id(getattr(import_module(section), name))
        for section, _, _, names in load_api_pages().sections()
        for name in names
    }
    # What a module makes on demand is another object every time.
    made = {
        name
        for section, _, _, names in load_api_pages().sections()
        for name in names
        if section == module_name
    }
    missing = [
        name
        for name in set(module.__all__) - made
        if name != "__version__" and id(getattr(module, name)) not in listed
    ]
    assert not missing, f"add {module_name} to SECTIONS in docs/_ext/api_pages.py: {missing}"


def test_every_estimator_is_in_the_api_reference():
    from sklearn_cmh.utils.discovery import all_estimators

    listed = {name for *_, names in load_api_pages().sections() for name in names}
    assert {name for name, _ in all_estimators()} <= listed


def test_every_method_is_in_the_list_of_methods(monkeypatch):
    from sklearn_cmh.utils.discovery import all_estimators

    monkeypatch.syspath_prepend(DOCS / "_ext")
    lists = load_extension("method_lists")
    text = lists.table(list(lists.KINDS))
    assert all(f"`~sklearn_cmh.{name}`" in text for name in ("RefinedHasher", "DSAH"))
    linked = re.findall(r":class:`~[\w.]+\.(\w+)`", text)
    assert sorted(linked) == sorted(name for name, _ in all_estimators(kind="hasher"))
    rows = dict(re.findall(r"\.(\w+)`\n      - (.*)\n", text))
    expected = {"CVH": "pairs", "DCH": "labels", "RefinedHasher": "labels, pairs or both"}
    assert {name: rows[name] for name in expected} == expected


def test_estimators_link_to_pages_that_are_built():
    from sklearn.utils import estimator_html_repr

    pages = [
        (section, name) for section, _, _, names in load_api_pages().sections() for name in names
    ]
    for section, name in pages:
        estimator = getattr(import_module(section), name)
        if isinstance(estimator, type) and issubclass(estimator, BaseEstimator):
            link = estimator.__new__(estimator)._get_doc_link()
            assert link.endswith(f"/generated/{section}.{name}.html")
    site = re.search(r"Documentation = (.+)", (ROOT / "setup.cfg").read_text(encoding="utf-8"))[1]
    page = rf'href="{site}/en/(latest|stable)/generated/sklearn_cmh\.DSAH\.html"'
    assert re.search(page, estimator_html_repr(sklearn_cmh.DSAH()))

    class Mine(sklearn_cmh.DSAH):
        __module__ = "elsewhere"

    assert site not in estimator_html_repr(Mine())


def test_every_listed_name_has_a_docstring():
    for section, _, _, names in load_api_pages().sections():
        for name in names:
            assert getattr(import_module(section), name).__doc__, f"{section}.{name}"


def test_every_public_name_has_a_page_of_the_guide():
    pages = load_api_pages().guides()
    assert all((DOCS / f"{page}.rst").is_file() for page in pages.values()), pages


def test_every_extra_is_explained():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    page = (DOCS / "install.rst").read_text(encoding="utf-8")
    explained = set(re.findall(r"^    \* - ``(\w+)``$", page, re.M))
    assert explained == set(config["options.extras_require"])


# --- References and links --------------------------------------------------------------------


def test_references_are_no_lists():
    """An entry that begins with an initial, as in "W. Li", is a list to docutils."""
    sources = [*PAGES, *(ROOT / "sklearn_cmh").rglob("*.py")]
    entries = {
        path: re.findall(r"^ *\.\. \[\d+\] [A-Z]\. .*", path.read_text(encoding="utf-8"), re.M)
        for path in sources
    }
    assert not any(entries.values()), {path: found for path, found in entries.items() if found}


def test_one_address_of_the_repository_gives_all_links_to_it(tmp_path):
    links = load_extension("project_links")
    lines = "Documentation = https://a.org\n    Source = https://github.com/b/c"
    (tmp_path / "setup.cfg").write_text(f"[metadata]\nproject_urls =\n    {lines}\n")
    urls = links.project_urls(tmp_path / "setup.cfg")
    icons = {icon["name"]: icon["url"] for icon in links.theme_options(urls)["icon_links"]}
    assert icons["Repository"] == "https://github.com/b/c"
    assert icons["Issues"] == "https://github.com/b/c/issues"
    assert links.theme_options(urls)["use_edit_page_button"]
    context = links.html_context(urls)
    assert (context["github_user"], context["github_repo"]) == ("b", "c")
    del urls["Source"], urls["Issues"]
    assert links.theme_options(urls) == {"icon_links": [], "use_edit_page_button": False}
    assert links.html_context(urls) == {}


def test_this_version_can_be_chosen():
    versions = json.loads((DOCS / "_static" / "versions.json").read_text(encoding="utf-8"))
    current, _, development = sklearn_cmh.__version__.partition(".dev")
    assert development or current in {entry["version"] for entry in versions}
    assert [entry.get("preferred", False) for entry in versions].count(True) == 1
    site = load_extension("project_links").project_urls()["Documentation"]
    assert all(entry["url"].startswith(site) for entry in versions)


def test_every_name_of_numpy_that_is_linked_has_an_address(monkeypatch):
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(DOCS / "_inventories")
    linked = import_module("numpy_names").entries()
    _, written = import_module("trim").trimmed(DOCS / "_inventories" / "numpy.inv")
    assert sorted(name for name, *_ in written) == sorted(name for name, *_ in linked)


def test_accents_stand_above_letters_and_bars_at_what_they_hold():
    pytest.importorskip("sphinx")
    from docutils.utils.math import latex2mathml

    def rendered(latex):
        source = load_extension("mathml").polish(latex2mathml.tex2mathml(latex))
        return re.sub(r"\s*\n\s*", "", source)

    assert '<mover accent="false"><mi>p</mi>' in rendered(r"\bar{p}")
    assert rendered("|H|").count('lspace="0" rspace="0">|') == 2
    assert rendered(r"\{-1, +1\}").count('form="prefix"') == 2
    assert "form" not in rendered(r"|x| - (a + b) - 1")
    assert "</mover><mi>i</mi></msub>" in rendered(r"\hat{l}_i")
    assert "</mover><mi>i</mi><mi>k</mi></msubsup>" in rendered(r"\hat{l}_i^k")
    assert "<munder>" in rendered(r"\sum_m x")


class Anchors(HTMLParser):
    """Targets and links of a page."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids |= {attributes[key] for key in ("id", "name") if attributes.get(key)}
        self.links += [attributes[key] for key in ("href", "src") if attributes.get(key)]


def dead_links(folder):
    """(page, link) of every link to a file or an anchor inside a folder that is not there."""
    # What lies in _static is copied as it is, templates of the theme among it.
    pages = {
        path.resolve(): Anchors(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.html"))
        if "_static" not in path.parts
    }
    dead = []
    for path, page in pages.items():
        for link in page.links:
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(address.fragment)
            found = target.is_file() and (
                not anchor or target not in pages or anchor in pages[target].ids
            )
            if not found:
                dead.append((str(path.relative_to(folder.resolve())), link))
    return dead


def test_dead_links_are_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html#x">b</a> <a href="#y">y</a> <p id="y">')
    (tmp_path / "b.html").write_text('<p id="z"> <img src="c.png"> <a href="https://d.org">')
    assert dead_links(tmp_path) == [("a.html", "b.html#x"), ("b.html", "c.png")]


def test_no_link_inside_the_built_pages_is_dead():
    built = DOCS / "_build" / "html"
    if not (built / "index.html").is_file():
        pytest.skip("the documentation has not been built")
    assert dead_links(built) == []


# --- Code blocks -----------------------------------------------------------------------------


class Block:
    """A Python block of a page: code, its first line, what it requires, what it prints."""

    def __init__(self, code, line, requires=(), output=None):
        self.code, self.line, self.requires, self.output = code, line, requires, output


def required(line):
    """Packages that a `.. requires:` comment names."""
    found = re.match(r"\s*\.\. requires: (.+)", line)
    return tuple(re.split(r"[,\s]+", found[1].strip())) if found else ()


def rst_blocks(text):
    """Python blocks, each with the output block after it and the `.. requires:` before it.

    On the first line of a page, `.. requires:` is for all of its blocks.
    """
    lines = text.splitlines()
    blocks, requires, i = [], (), 1
    for_all = required(lines[0])
    while i < len(lines):
        line = lines[i]
        requires = required(line) or requires
        directive = re.match(r"(\s*)\.\. code-block:: (python|text)\s*$", line)
        if directive is None:
            i += 1
            continue
        indent, kind, start = len(directive[1]), directive[2], i + 1
        i += 1
        while i < len(lines) and (
            not lines[i].strip() or len(lines[i]) - len(lines[i].lstrip()) > indent
        ):
            i += 1
        body = lines[start:i]
        options = [option for option in body if re.match(r"\s*:\w+:", option)]
        first = start + next(j for j, b in enumerate(body) if b.strip() and b not in options)
        body = [b[indent + 4 :] for b in body if b not in options]
        code = "\n".join(body).strip("\n") + "\n"
        if kind == "python":
            blocks.append(Block(code, first + 1, requires + for_all))
            requires = ()
        elif any("output" in option for option in options):
            blocks[-1].output = code
    return blocks


def markdown_blocks(text):
    """Python blocks between fences."""
    return [
        Block(found[1], text[: found.start()].count("\n") + 2)
        for found in re.finditer(r"^```python\n(.*?)^```", text, re.S | re.M)
    ]


def blocks_of(page):
    text = page.read_text(encoding="utf-8")
    return markdown_blocks(text) if page.suffix == ".md" else rst_blocks(text)


FLOAT = re.compile(r"\d+\.\d+")


def is_installed(name):
    """Whether a package can be imported; some have no specification once they are."""
    return name in sys.modules or importlib.util.find_spec(name) is not None


def check_output(block, printed, page):
    """Compare as doctest does, decimal fractions within 0.05: they vary with library versions."""
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    words = [FLOAT.sub("#.#", text) for text in (block.output, printed)]
    same = doctest.OutputChecker().check_output(*words, options)
    assert same, f"{page.name}, line {block.line}: expected\n{block.output}\ngot\n{printed}"
    if "..." not in block.output:
        expected, got = (np.array(FLOAT.findall(t), float) for t in (block.output, printed))
        np.testing.assert_allclose(got, expected, atol=0.05, err_msg=f"{page.name}:{block.line}")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=str(page.relative_to(ROOT)))
        for page in PAGES
        if page.exists() and blocks_of(page)
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_code_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    namespace, skipped = {"__name__": "__main__"}, []
    for block in blocks_of(page):
        absent = [name for name in block.requires if not is_installed(name)]
        if absent:
            skipped.append(f"line {block.line} needs {', '.join(absent)}")
            continue
        # The line numbers of tracebacks are those of the page.
        source = "\n" * (block.line - 1) + block.code
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, str(page), "exec"), namespace)
        if block.output is not None:
            check_output(block, printed.getvalue(), page)
    if skipped:
        pytest.skip("all other blocks run, but " + "; ".join(skipped))
