"""The API reference, written from the `__all__` of the public modules so that it cannot drift."""

from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE.parent / "generated" / "api.rst"

# Module, title, introduction. Every public name of a module is listed in its order.
SECTIONS = [
    (
        "sklearn_cmh",
        "Hashers, data and ranking",
        "What most programs import. The shallow methods, the meta-estimator that refines them, "
        "the container of paired rows, the anchor kernel map and the ranker.",
    ),
    (
        "sklearn_cmh.metrics",
        "Metrics, scorers and displays",
        "Hamming-ranking metrics that handle ties exactly, scorers for scikit-learn's searches, "
        "and figures. See :doc:`/user_guide/evaluation`.",
    ),
    (
        "sklearn_cmh.retrieval.stores",
        "Stores",
        "Codes, ids and what people filter by, in faiss, LanceDB, PostgreSQL or DuckDB. Each needs "
        "an extra. See :doc:`/user_guide/stores`.",
    ),
    (
        "sklearn_cmh.model_selection",
        "Splitters",
        "Splits that scikit-learn does not have. See :ref:`unseen_classes`.",
    ),
    (
        "sklearn_cmh.inspection",
        "Looking at codes and results",
        "Reports on bits and on retrieval. See :doc:`/user_guide/inspecting`.",
    ),
    (
        "sklearn_cmh.deep",
        "Deep methods",
        "These need the extra ``torch``; importing them does not.",
    ),
    (
        "sklearn_cmh.datasets",
        "Data sets",
        "Loaders of real paired data, and a generator of made-up ones.",
    ),
    (
        "sklearn_cmh.refine",
        "Leave-one-out hash functions",
        "Parts of :class:`~sklearn_cmh.RefinedHasher` that are useful on their own.",
    ),
    (
        "sklearn_cmh.persistence",
        "Persistence",
        "See :doc:`/user_guide/persistence`.",
    ),
    (
        "sklearn_cmh.onnx",
        "Export to ONNX",
        "Encoders in other runtimes. This needs the extra ``onnx``.",
    ),
    (
        "sklearn_cmh.utils.discovery",
        "Discovery",
        "What the common tests and tools that list estimators use.",
    ),
    (
        "sklearn_cmh.base",
        "For authors of methods",
        "A new method overrides two hooks of these classes; see :doc:`/development/new_method`.",
    ),
    (
        "sklearn_cmh.shallow",
        "Shallow methods",
        "All of them; the recommended few stand at the top level too.",
    ),
    (
        "sklearn_cmh.solvers",
        "Numerics for authors of methods",
        "Similarities as linear operators, never as n x n matrices; small linear algebra; "
        "canonical correlation and its cross-fitting; the loop of sweeps; projections to codes.",
    ),
]

INTRODUCTION = (
    "Everything public, by module. What is not listed here may change without notice. Parameters, "
    "fitted attributes and errors are described on the page of each name."
)

# Page of the user guide on which a module's names are explained, and those of single names that
# have another. Modules for authors of methods have their own guide.
GUIDE_OF_MODULE = {
    "sklearn_cmh.metrics": "user_guide/evaluation",
    "sklearn_cmh.model_selection": "user_guide/evaluation",
    "sklearn_cmh.retrieval.stores": "user_guide/stores",
    "sklearn_cmh.inspection": "user_guide/inspecting",
    "sklearn_cmh.datasets": "user_guide/datasets",
    "sklearn_cmh.refine": "user_guide/refined",
    "sklearn_cmh.persistence": "user_guide/persistence",
    "sklearn_cmh.onnx": "user_guide/persistence",
    "sklearn_cmh.base": "development/new_method",
    "sklearn_cmh.solvers": "development/new_method",
    "sklearn_cmh.utils.discovery": "development/new_method",
    "sklearn_cmh.shallow": "user_guide/baselines",
    "sklearn_cmh.deep": "user_guide/choosing",
    "sklearn_cmh": "user_guide/data",
}
GUIDE_OF_NAME = {
    "RefinedHasher": "user_guide/refined",
    "HammingRanker": "user_guide/ranking",
    "TwoStageRanker": "user_guide/ranking",
    "AnchorRBF": "user_guide/dsah",
    "SharedSpace": "user_guide/shared_space",
    "BATCH": "user_guide/choosing",
    "CCAITQ": "user_guide/shared_space",
    "CentredSign": "user_guide/embeddings",
    "MultimodalData": "user_guide/data",
    "show_versions": "install",
}


def guides():
    """Page of the user guide for every public name: a method's own where it has one."""
    pages = {}
    for module, _, _, names in sections():
        for name in names:
            own = f"user_guide/{name.lower()}"
            is_written = (HERE.parent / f"{own}.rst").is_file()
            default = own if is_written else GUIDE_OF_MODULE.get(module)
            pages[f"{module}.{name}"] = GUIDE_OF_NAME.get(name, default)
    return pages


# Names that are no objects to document.
LEFT_OUT = {"__version__"}


def public_names(module_name, listed=()):
    """Names in `__all__` whose object no earlier section has listed."""
    module = import_module(module_name)
    names = [name for name in module.__all__ if name not in LEFT_OUT]
    return [name for name in names if not any(getattr(module, name) is other for other in listed)]


def sections():
    """(module, title, introduction, names) of every section whose module exists."""
    listed = []
    for module_name, title, introduction in SECTIONS:
        try:
            module = import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name != module_name:
                raise
            continue
        names = public_names(module_name, listed)
        listed += [getattr(module, name) for name in names]
        yield module_name, title, introduction, names


def render():
    """reStructuredText of the page."""
    parts = ["API reference", "=============", "", INTRODUCTION, ""]
    for module, title, introduction, names in sections():
        parts += [title, "-" * len(title), "", introduction, ""]
        parts += [f".. currentmodule:: {module}", "", ".. autosummary::"]
        parts += ["   :toctree: .", "   :nosignatures:", "", *(f"   {name}" for name in names), ""]
    return "\n".join(parts)


def write(app, config):
    """Write the page, and remove those of names that are gone."""
    config.autosummary_context = {"guides": guides()}
    TARGET.parent.mkdir(exist_ok=True)
    current = {f"{module}.{name}" for module, _, _, names in sections() for name in names}
    for page in TARGET.parent.glob("sklearn_cmh.*.rst"):
        if page.stem not in current:
            page.unlink()
    text = render()
    if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
        TARGET.write_text(text, encoding="utf-8")


def setup(app):
    """Write at the start of the build."""
    app.connect("config-inited", write)
    return {"version": "1", "parallel_read_safe": True}
