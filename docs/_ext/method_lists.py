"""Lists of the methods by kind, written from the estimators themselves."""

from pathlib import Path

from sklearn_cmh.utils.discovery import all_estimators

FOLDER = Path(__file__).parents[1] / "generated"

KINDS = {
    "refined": "Recommended",
    "shallow": "Shallow",
    "deep": "Deep",
    "baseline": "To compare with",
}


def learns_from(cls):
    """In words, what a fit of an estimator needs."""
    if "pair_weight" in cls._get_param_names():
        return "labels, pairs or both"
    return "labels" if cls().__sklearn_tags__().target_tags.required else "pairs"


def summary(cls):
    """First sentence of the docstring, without the name that it may begin with."""
    line = cls.__doc__.strip().splitlines()[0].rstrip(".")
    line = line.removeprefix(f"{cls.__name__}: ")
    return line[0].upper() + line[1:]


def table(kinds):
    """A list-table of the methods of some kinds."""
    lines = [".. list-table::", "    :header-rows: 1", "    :widths: 20 22 58", ""]
    rows = [["Method", "Learns from", "What it is"]]
    for kind in kinds:
        if len(kinds) > 1:
            rows.append([f"**{KINDS[kind]}**", "", ""])
        for name, cls in all_estimators(kind=kind):
            link = f":class:`~{addresses()[name]}`"
            rows.append([link, learns_from(cls), summary(cls)])
    for row in rows:
        lines += [f"    {'  -' if i else '* -'} {entry}".rstrip() for i, entry in enumerate(row)]
    return "\n".join(lines) + "\n"


def addresses():
    """Name to the address under which the reference has an estimator."""
    from api_pages import sections

    return {name: f"{module}.{name}" for module, _, _, names in sections() for name in names}


def write(app, config):
    """Write the files that pages of the guide include."""
    FOLDER.mkdir(exist_ok=True)
    for stem, kinds in [("methods_by_kind", list(KINDS)), ("baselines", ["baseline"])]:
        target, text = FOLDER / f"{stem}.inc", table(kinds)
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")


def setup(app):
    """Write at the start of the build."""
    app.connect("config-inited", write)
    return {"version": "1", "parallel_read_safe": True}
