"""Links from the HTML representation of an estimator to its page in the documentation."""

import sys

from .._version import __version__

__all__ = ["DocumentedMixin"]

SITE = "https://sklearn-cmh.readthedocs.io"
VERSION = "latest" if "dev" in __version__ else "stable"


class DocumentedMixin:
    """What scikit-learn's HTML representation asks for; subclasses elsewhere get no link."""

    _doc_link_module = "sklearn_cmh"
    _doc_link_template = f"{SITE}/en/{VERSION}/generated/{{page}}.html"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        """Page of the class: its name in the outermost module that offers it."""
        cls = type(self)
        parts = cls.__module__.split(".")
        modules = (".".join(parts[: i + 1]) for i in range(len(parts)))
        module = next(m for m in modules if getattr(sys.modules[m], cls.__name__, None) is cls)
        return {"page": f"{module}.{cls.__name__}"}
