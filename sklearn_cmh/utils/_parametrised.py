"""Constructors and docstrings of estimators, written once.

Methods share most of their parameters and fitted attributes. A base declares those that it knows
what to do with, and describes them in its docstring; a method declares and describes its own.
"""

import inspect
import re
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

__all__ = ["field", "parametrised"]

C = TypeVar("C", bound=type)

_HEADING = re.compile(r"^([A-Z][A-Za-z ]+)\n-{3,}\n", re.M)


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
def parametrised(cls: C) -> C:
    """Make the annotated attributes of a class parameters of its constructor.

    As `dataclasses.dataclass` does it; what comes out is an estimator as scikit-learn wants it,
    with a constructor that stores what it is given. A class has the parameters of its bases
    too, after its own, but for `n_bits`, which is the first and the only positional one. What the
    bases say of them joins what it says itself: ``_parameter_constraints``, and in the docstring
    the sections Parameters and Attributes, with the class's own defaults.

    Parameters
    ----------
    cls : type
        A class whose annotated attributes all have defaults; one of a base that is annotated
        again has another default. What is no parameter is annotated as ClassVar, or not at all.

    Returns
    -------
    cls : type
        The same class.

    Examples
    --------
    >>> from sklearn_cmh.base import KernelHasher, parametrised
    >>> @parametrised
    ... class Mine(KernelHasher):
    ...     '''Codes of my own.
    ...
    ...     Parameters
    ...     ----------
    ...     weight : float, default=0.5
    ...         Weight of what I like.
    ...     '''
    ...
    ...     weight: float = 0.5
    ...     max_iter: int = 7
    >>> Mine(32, weight=0.1)
    Mine(n_bits=32, weight=0.1)
    >>> for line in Mine.__doc__.splitlines():
    ...     if "default=" in line and "Bits" not in line:
    ...         print(line)
    n_bits : int, default=64
    weight : float, default=0.5
    n_anchors : int, default=1000
    feature_map : transformer, dict or "passthrough", default=None
    modalities : list of tuple, dict or "prefix", default=None
    max_iter : int, default=7
    tol : float, default=1e-06
    memory : str or object like joblib.Memory, default=None
    random_state : int, RandomState instance or None, default=None
    verbose : bool or int, default=0
    """
    dataclass(eq=False, repr=False, match_args=False, kw_only=True)(cls)
    defaults = {f.name: f.default for f in fields(cls)}  # type: ignore[arg-type]
    for name in defaults.keys() & vars(cls).keys():
        delattr(cls, name)  # The constructor knows it.
    names = _ordered(cls, defaults)
    signature = inspect.signature(cls.__init__)  # type: ignore[misc]
    parameters = [signature.parameters[name] for name in ["self", *names]]
    cls.__init__.__signature__ = signature.replace(parameters=parameters)  # type: ignore[misc]
    cls._parameter_constraints = _joined_constraints(cls, names)  # type: ignore[attr-defined]
    if cls.__doc__:
        cls.__doc__ = _joined_docstring(cls, {name: defaults[name] for name in names})
    return cls


def _parametrised_bases(cls):
    """The class and its parametrised bases, nearest first."""
    return [base for base in cls.__mro__ if "__dataclass_fields__" in vars(base)]


def _ordered(cls, defaults):
    """Names of parameters: `n_bits`, then those of the class, then base by base."""
    declared = [n for base in _parametrised_bases(cls) for n in inspect.get_annotations(base)]
    # One that is declared again stays where it was.
    names = list(dict.fromkeys(reversed(declared)))[::-1]
    return sorted((n for n in names if n in defaults), key=lambda name: name != "n_bits")


def _joined_constraints(cls, names):
    known: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        known |= vars(base).get("_parameter_constraints", {})
    return {name: known[name] for name in names if name in known}


def _joined_docstring(cls, defaults):
    """The docstring, with what the bases say of parameters and attributes."""
    head, sections = _sections(cls.__doc__)
    parameters: dict[str, str] = {}
    attributes: dict[str, str] = {}
    for base in _parametrised_bases(cls):
        described = _sections(base.__doc__)[1]
        parameters = _entries(described.get("Parameters", "")) | parameters
        attributes |= {
            name: text
            for name, text in _entries(described.get("Attributes", "")).items()
            if name not in attributes
        }
    joined = {
        "Parameters": [_with_default(parameters[n], value) for n, value in defaults.items()],
        "Attributes": list(attributes.values()),
    }
    sections = {title: "\n".join(entries) for title, entries in joined.items()} | {
        title: body for title, body in sections.items() if title not in joined
    }
    parts = [f"{title}\n{'-' * len(title)}\n{body}" for title, body in sections.items() if body]
    return "\n\n".join([head, *parts]) + "\n"


def _sections(docstring):
    """What comes before the first section, and {title: body}."""
    head, *rest = _HEADING.split(inspect.cleandoc(docstring or ""))
    return head.strip(), {
        title: body.strip() for title, body in zip(rest[::2], rest[1::2], strict=True)
    }


def _entries(body):
    """{name: entry} of a section of parameters or attributes."""
    entries = [entry.rstrip() for entry in re.split(r"^(?=\S)", body, flags=re.M) if entry]
    return {entry.split(" :")[0]: entry for entry in entries}


def _with_default(entry, default):
    """An entry whose first line names the default."""
    first, *rest = entry.split("\n")
    shown = f'"{default}"' if isinstance(default, str) else repr(default)
    first = re.sub(r"default=.*", lambda _: f"default={shown}", first)
    return "\n".join([first, *rest])
