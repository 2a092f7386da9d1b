"""Turn CHANGELOG.md into reStructuredText, so that the changes are written down once."""

import re
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "CHANGELOG.md"
TARGET = HERE.parent / "generated" / "changelog.inc"


def to_rst(markdown):
    """The few constructs of a changelog: headings, lists, code and links."""
    text = markdown.replace("`", "``")
    text = re.sub(r"\[([^\]]+)\]\(([^)]+)\)", r"`\1 <\2>`__", text)
    lines = []
    for line in text.splitlines():
        heading = re.match(r"(#+) (.*)", line)
        if heading is None:
            lines.append(line)
        elif len(heading[1]) > 1:
            underline = {2: "-", 3: "~"}[len(heading[1])]
            lines += [heading[2], underline * len(heading[2])]
    return "\n".join(lines) + "\n"


def write(app, config):
    """Write the file that `whats_new.rst` includes."""
    TARGET.parent.mkdir(exist_ok=True)
    text = to_rst(SOURCE.read_text(encoding="utf-8"))
    if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
        TARGET.write_text(text, encoding="utf-8")


def setup(app):
    """Write at the start of the build."""
    app.connect("config-inited", write)
    return {"version": "1", "parallel_read_safe": True}
