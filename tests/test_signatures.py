"""Docstrings and signatures agree, from the sources: nothing is imported."""

import ast
import re
from pathlib import Path

import pytest

import sklearn_cmh

PACKAGE = Path(sklearn_cmh.__file__).parent
STATED = re.compile(r"^ *(\w+(?:, \w+)*) : .*\bdefault=(.*)$", re.M)


def described(tree):
    """(docstring, function) of functions, and of classes with a constructor."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield ast.get_docstring(node) or "", node
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
                    yield ast.get_docstring(node) or "", inner


def defaults_of(function):
    """{argument: source of its default}."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    given = [*zip(positional[::-1], arguments.defaults[::-1], strict=False)]
    given += [*zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return {name.arg: default for name, default in given if default is not None}


def stated_defaults(docstring, names):
    """(argument, source of its default) of the parameters of a docstring."""
    for several, text in STATED.findall(docstring.split("\nReturns\n")[0]):
        several = several.split(", ")
        parts = text.split(", ") if text.count(",") == len(several) - 1 else [text] * len(several)
        yield from ((n, p) for n, p in zip(several, parts, strict=True) if n in names)


def constants_of(tree):
    """{name: source} of what a module assigns at its head."""
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    return {ast.unparse(node.targets[0]): ast.unparse(node.value) for node in assigned}


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_docstrings_say_the_defaults_of_the_signature(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = constants_of(tree)
    for docstring, function in described(tree):
        defaults = defaults_of(function)
        for name, stated in stated_defaults(docstring, defaults):
            code = ast.unparse(defaults[name]).removeprefix("np.")
            stated = ast.unparse(ast.parse(stated, mode="eval"))
            assert stated == constants.get(code, code), (function.name, name)
