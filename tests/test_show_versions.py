"""What a bug report needs to know, by the lists of what the package needs."""

import re
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path

import sklearn_cmh
from sklearn_cmh.utils._show_versions import OPTIONAL, REQUIRED, show_versions

ROOT = Path(__file__).resolve().parents[1]


def names(requirements):
    return {re.split(r"[<>=!~;\[ ]", line)[0] for line in requirements.split("\n") if line}


def test_versions_are_printed(capsys):
    show_versions()
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0] == f"sklearn-cmh: {sklearn_cmh.__version__}"
    for package in REQUIRED:
        assert f"{package}: {version(package)}" in lines
    for package in OPTIONAL:
        assert re.search(rf"^{package}: (not installed|\d.*)$", said, re.MULTILINE)
    assert "Numerics:" in lines and str(ROOT) not in said and str(Path.home()) not in said


def test_a_package_that_is_not_there(capsys, monkeypatch):
    monkeypatch.setattr("sklearn_cmh.utils._show_versions.OPTIONAL", ("no-such-package",))
    show_versions()
    assert "no-such-package: not installed\n" in capsys.readouterr().out


def test_every_dependency_is_asked_for():
    """Of users; what tests and documentation alone need says nothing of a bug."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    assert names(config["options"]["install_requires"]) <= set(REQUIRED)
    extras = dict(config["options.extras_require"])
    wanted = {
        n for extra in extras if extra not in ("tests", "docs", "all") for n in names(extras[extra])
    }
    assert wanted and {name for name in wanted if name} <= {*REQUIRED, *OPTIONAL}
