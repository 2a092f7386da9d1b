"""A retrieval report as HTML: one fragment, or one document that needs no other file.

Nothing sets a background of its own but the marks, and lines are drawn in the colour of
the text, so that a fragment suits a light notebook as well as a dark one. Right and wrong
differ in sign, border and colour (blue and orange, which the colour-blind can tell apart).
"""

import base64
import io
from html import escape

import numpy as np

from ..utils._plotting import import_pyplot

__all__ = ["render_document", "render_fragment"]

MAX_TEXT = 200
MAX_CLASSES = 50
# Stands for the colour of the text in figures, and is replaced by it.
TEXT_COLOUR = "#010203"
# Okabe and Ito's palette, without the colours too pale for a white page.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]

STYLE = """
.cmh-report{font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
  max-width:70rem;color:inherit}
.cmh-report h2{font-size:1.7em;margin:0 0 .1em;line-height:1.2}
.cmh-report h3{font-size:1.2em;margin:2em 0 .6em;padding-bottom:.25em;
  border-bottom:1px solid rgba(127,127,127,.35)}
.cmh-report p{margin:.3em 0}
.cmh-report .cmh-quiet{opacity:.72}
.cmh-report table{border-collapse:collapse;margin:.5em 0;font-variant-numeric:tabular-nums}
.cmh-report th,.cmh-report td{padding:.35em .9em;text-align:right;background:none;
  border-bottom:1px solid rgba(127,127,127,.25)}
.cmh-report th{font-weight:600}
.cmh-report th:first-child,.cmh-report td:first-child{text-align:left;padding-left:0}
.cmh-report .cmh-words{text-align:left;white-space:pre-wrap}
.cmh-report .cmh-remark{border-left:3px solid #d55e00;padding-left:.6em}
.cmh-report .cmh-scroll{overflow-x:auto}
.cmh-report svg{width:100%;height:auto;max-width:62rem}
.cmh-report .cmh-sample{display:flex;gap:1rem;align-items:flex-start;padding:.8rem 0;
  border-bottom:1px solid rgba(127,127,127,.18)}
.cmh-report .cmh-sample:last-child{border-bottom:0}
.cmh-report .cmh-asked{flex:0 0 9.5rem}
.cmh-report .cmh-hits{flex:1;display:grid;gap:.7rem .5rem;list-style:none;margin:0;
  grid-template-columns:repeat(auto-fill,minmax(6rem,1fr));padding:0 0 0 1rem;
  border-left:1px solid rgba(127,127,127,.35)}
.cmh-report .cmh-card{position:relative;box-sizing:border-box;min-height:4.5rem;
  margin:0;padding:.6rem .5rem .4rem;border:2px solid rgba(127,127,127,.35);border-radius:.5rem;
  display:flex;flex-direction:column;align-items:center;text-align:center;overflow-wrap:anywhere}
.cmh-report .cmh-asked .cmh-card{border-width:1px}
.cmh-report .cmh-right{border:2px solid #0072b2}
.cmh-report .cmh-wrong{border:2px dashed #d55e00}
.cmh-report .cmh-mark{position:absolute;top:-.55rem;left:-.5rem;width:1.35rem;height:1.35rem;
  border-radius:50%;color:#fff;font:700 .85rem/1.35rem sans-serif;text-align:center}
.cmh-report .cmh-right .cmh-mark{background:#0072b2}
.cmh-report .cmh-wrong .cmh-mark{background:#b84a00}
.cmh-report .cmh-card img{width:4.5rem;height:4.5rem;object-fit:contain;border-radius:.3rem;
  background:#fff;margin-bottom:.25rem;image-rendering:auto}
.cmh-report .cmh-asked .cmh-card img{width:6rem;height:6rem}
.cmh-report .cmh-text{font-size:.86em;line-height:1.3;margin:.1rem 0}
.cmh-report .cmh-note{font-size:.74em;line-height:1.3;opacity:.72;margin-top:auto;
  padding-top:.25rem}
.cmh-report .cmh-key{display:inline-block;position:static;vertical-align:-.1em;margin:0 .25em}
@media (max-width:40rem){.cmh-report .cmh-sample{flex-direction:column}
  .cmh-report .cmh-asked{flex:none;width:9.5rem}
  .cmh-report svg{min-width:36rem}
  .cmh-report .cmh-hits{width:100%;border-left:0;padding-left:.5rem}}
"""

DOCUMENT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>:root{{color-scheme:light dark}}body{{margin:2rem auto;max-width:72rem;padding:0 1rem;
background:Canvas;color:CanvasText}}</style>
</head>
<body>
{body}
</body>
</html>
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render_document(report):
    """One self-contained HTML page."""
    return DOCUMENT.format(title=escape(report.title), policy=POLICY, body=render_fragment(report))


def render_fragment(report):
    """The report as one element, for a notebook or a page."""
    by_k = "share of queries whose own row is among" if report.by_pair else "precision of"
    parts = [
        f"<style>{STYLE}</style>",
        f"<h2>{escape(report.title)}</h2>",
        f'<p class="cmh-quiet">{escape(report.summary)}</p>',
        *(f'<p class="cmh-remark">{escape(remark)}</p>' for remark in report.remarks),
        _metrics_table(report),
        _glossary(report),
        '<h3>Curves</h3><p class="cmh-quiet">Means over queries: precision and recall of all rows '
        f"within a Hamming radius, one point per radius; {by_k} the first N rows.</p>",
        f'<div class="cmh-scroll">{_curves(report)}</div>',
        _classes_table(report),
        "<h3>Bits</h3>",
        _bits_table(report),
        *(_samples(report, direction) for direction in report.directions),
        _details(report),
    ]
    return f'<div class="cmh-report">{"".join(parts)}</div>'


def _glossary(report):
    """What the figures of the first table are."""
    relevant = (
        "Relevant to a query is its own row alone."
        if report.by_pair
        else "Relevant to a query are the rows that share a label with it."
    )
    terms = "; ".join(f"{name}: {text}" for name, text in report.glossary.items())
    return f'<p class="cmh-quiet">Means over queries. {escape(f"{relevant} {terms}")}.</p>'


def _classes_table(report):
    """Average precision by class, of the classes with most queries where there are many."""
    sizes: dict[str, int] = {}
    for direction in report.directions:
        for name, (n_queries, _) in direction.by_class.items():
            sizes[name] = max(n_queries, sizes.get(name, 0))
    if not sizes:
        return ""
    shown = sorted(sizes, key=lambda name: -sizes[name])[:MAX_CLASSES]
    rows = []
    for name in shown:
        found = [direction.by_class.get(name) for direction in report.directions]
        values = ["" if entry is None else f"{entry[1]:.3f}" for entry in found]
        rows.append([name, f"{sizes[name]:,}", *values])
    more = f", the {len(shown)} with most queries" if len(shown) < len(sizes) else ""
    header = ["class", "queries", *(direction.name for direction in report.directions)]
    note = f'<p class="cmh-quiet">Mean average precision of the queries of every class{more}.</p>'
    return f"<h3>Classes</h3>{note}{_table(header, rows)}"


def _details(report):
    """With what the report was made."""
    rows = [[name, text] for name, text in report.details.items()]
    if not rows:
        return ""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="cmh-words">{escape(text)}</td></tr>'
        for name, text in rows
    )
    return f'<h3>Made with</h3><div class="cmh-scroll"><table><tbody>{body}</tbody></table></div>'


def _table(header, rows):
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(value)}</td>" for value in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="cmh-scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
        "</table></div>"
    )


def _metrics_table(report):
    names = list(report.directions[0].metrics)
    rows = [
        [direction.name, *(f"{value:.3f}" for value in direction.metrics.values())]
        for direction in report.directions
    ]
    return _table(["queries → database", *names], rows)


def _bits_table(report):
    reports = {f"queries: {direction.name}": direction.bits for direction in report.directions}
    if report.database_bits is not None:
        reports["database"] = report.database_bits
    header = ["codes of", "rows", "distinct codes", "rows per code", "bits that never change"]
    header += ["entropy per bit", "mean |correlation| of bits", "largest"]
    rows = []
    for name, bits in reports.items():
        figures = bits.to_dict()
        rows.append(
            [
                name,
                f"{figures['n_codes']:,}",
                f"{figures['n_distinct']:,}",
                f"{figures['n_sharing']:,.1f}",
                str(figures["n_collapsed"]),
                f"{figures['mean_entropy']:.3f}",
                f"{figures['mean_abs_correlation']:.3f}",
                f"{figures['max_abs_correlation']:.3f}",
            ]
        )
    return _table(header, rows)


def _curves(report):
    """Both curves of all directions as one inline SVG, in the colour of the text."""
    plt = import_pyplot("The curves of a RetrievalReport")
    from cycler import cycler
    from matplotlib.figure import Figure

    colour = dict.fromkeys(
        ["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"],
        TEXT_COLOUR,
    )
    styles = ["-", "--", "-.", ":", "-", "--"]
    settings = {
        **colour,
        "svg.fonttype": "none",
        "svg.hashsalt": report.title,
        "font.size": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=COLOURS, linestyle=styles),
        "legend.frameon": False,
    }
    with plt.rc_context(settings):
        # Not by pyplot, whose figures a notebook shows on its own.
        figure = Figure(figsize=(11, 4), layout="constrained")
        axes = figure.subplots(1, 2)
        for direction in report.directions:
            for display, ax in zip(direction.displays, axes, strict=True):
                display.plot(ax, name=plain_text(direction.name))
        axes[1].set_ylim(-0.02, 1.02)
        svg = io.StringIO()
        nothing = dict.fromkeys(["Creator", "Date", "Format", "Type"])
        figure.savefig(svg, format="svg", transparent=True, metadata=nothing)
    text = svg.getvalue()
    text = text[text.index("<svg") :].replace(TEXT_COLOUR, "currentColor")
    # Its style sheet is not to reach beyond it.
    text = text.replace("*{stroke-linejoin", ".cmh-report svg *{stroke-linejoin")
    by_k = "recall" if report.by_pair else "precision"
    label = f"Precision against recall by radius, and {by_k} at N"
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def plain_text(name):
    """`name` as matplotlib shows it in a legend: no formula, and not hidden for an underscore."""
    name = name.replace("$", r"\$")
    return f"\N{ZERO WIDTH SPACE}{name}" if name.startswith("_") else name


def _samples(report, direction):
    if not direction.samples:
        return ""
    right = "is the query's own row" if report.by_pair else "shares a label with the query"
    wrong = "is another" if report.by_pair else "does not"
    key = (
        f"<p>{_mark(True, 'cmh-key')} {right}, {_mark(False, 'cmh-key')} {wrong}. d is the "
        "Hamming distance; equal distances are in the order of the database.</p>"
    )
    samples = "".join(_sample(report, direction, sample) for sample in direction.samples)
    return f"<h3>{escape(direction.name)}: sample queries</h3>{key}{samples}"


def _sample(report, direction, sample):
    show = report.show
    asked = _card(
        show.query(sample.row, direction.query), sample.row, show.query_labels(sample.row)
    )
    name = "reciprocal rank" if report.by_pair else "average precision"
    score = (
        "nothing is relevant"
        if np.isnan(sample.average_precision)
        else f"{name} {sample.average_precision:.2f}"
    )
    if direction.empty is not None and direction.empty[sample.row]:
        score = f"every feature is zero, as of a text without a known word; {score}"
    hits = "".join(
        f'<li class="cmh-card {"cmh-right" if right else "cmh-wrong"}">{_mark(right)}'
        + _content(show.hit(row), row, _join(f"d = {distance}", show.hit_labels(row)))
        + "</li>"
        for row, distance, right in zip(sample.hits, sample.distances, sample.relevant, strict=True)
    )
    return (
        f'<div class="cmh-sample"><div class="cmh-asked">{asked}'
        f'<p class="cmh-note">{score}; {int(sample.relevant.sum())} of {len(sample.hits)} shown '
        f'are right</p></div><ol class="cmh-hits">{hits}</ol></div>'
    )


def _join(*words):
    return " · ".join(word for word in words if word)


def _mark(right, kind=""):
    name, sign = ("right", "✓") if right else ("wrong", "✗")
    mark = f'<span class="cmh-mark {kind}" role="img" aria-label="{name}">{sign}</span>'
    return f'<span class="cmh-{name}" style="border:0">{mark}</span>' if kind else mark


def _card(items, row, note):
    return f'<div class="cmh-card">{_content(items, row, note)}</div>'


def _content(items, row, note):
    shown = "".join(_item(item) for item in items) or f'<div class="cmh-text">row {row}</div>'
    return f'{shown}<div class="cmh-note">{escape(note)}</div>'


def _item(item):
    """A picture as an inline PNG, anything else as text."""
    if hasattr(item, "convert"):  # of Pillow, with a palette perhaps
        item = np.asarray(item.convert("RGBA"))
    if np.ndim(item) >= 2:
        return f'<img alt="" src="data:image/png;base64,{_png(np.asarray(item))}">'
    text = str(item)
    if len(text) > MAX_TEXT:
        text = text[: MAX_TEXT - 1].rstrip() + "…"
    return f'<div class="cmh-text">{escape(text)}</div>'


def _png(picture):
    import_pyplot("A picture in a RetrievalReport")
    from matplotlib.image import imsave

    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[:, :, 0]
    if picture.dtype.kind in "iu" or picture.max() > 1:
        picture, white = np.clip(picture, 0, 255).astype(np.uint8), 255
    else:
        picture, white = np.clip(picture.astype(float), 0, 1), 1
    file = io.BytesIO()
    imsave(file, picture, format="png", cmap="gray", vmin=0, vmax=white)
    return base64.b64encode(file.getvalue()).decode("ascii")
