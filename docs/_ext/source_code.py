"""Links from the API reference to source code, for `sphinx.ext.linkcode`.

They lead to the repository where setup.cfg names one, at the tag of the version, and otherwise to
pages that are built here, one a file, so that they work without a network too.
"""

import inspect
from importlib import import_module
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

PACKAGE = "sklearn_cmh"
ROOT = Path(import_module(PACKAGE).__file__).resolve().parents[1]


def find(module, full_name):
    """(path in the repository, first line, last line) of an object, or None if it has no source."""
    thing = import_module(module)
    for name in full_name.split("."):
        thing = getattr(thing, name)
    thing = inspect.unwrap(thing.fget if isinstance(thing, property) else thing)
    try:
        path = Path(inspect.getsourcefile(thing)).resolve()
        lines, first = inspect.getsourcelines(thing)
    except TypeError:
        return None
    if not path.is_relative_to(ROOT / PACKAGE):
        return None
    return path.relative_to(ROOT).as_posix(), first, first + len(lines) - 1


def resolver(repository, tag):
    """`linkcode_resolve`: address of the source of an object."""

    def resolve(domain, info):
        found = find(info["module"], info["fullname"]) if domain == "py" else None
        if found is None:
            return None
        path, first, last = found
        if repository:
            return f"{repository}/blob/{tag}/{path}#L{first}-L{last}"
        # All pages of the reference lie in one folder, generated/.
        return f"../source/{path.removesuffix('.py')}.html#L-{first}"

    return resolve


def pages(app):
    """Every file of the package as a page with an anchor per line."""
    if app.builder.name != "html" or app.config.source_code_repository:
        return
    formatter = HtmlFormatter(lineanchors="L", linenos="inline", wrapcode=True)
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        code = highlight(path.read_text(encoding="utf-8"), PythonLexer(), formatter)
        body = f'<h1><code class="docutils literal">{name}</code></h1>{code}'
        yield f"source/{name.removesuffix('.py')}", {"title": name, "body": body}, "page.html"


def setup(app):
    """Add the pages."""
    app.add_config_value("source_code_repository", None, "html")
    app.connect("html-collect-pages", pages)
    return {"version": "1", "parallel_read_safe": True}
