"""Render formulas as MathML, which browsers show without any script or network.

Docutils translates LaTeX; a formula that it cannot translate is a warning, and so an
error in a strict build.
"""

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.util import logging

logger = logging.getLogger(__name__)


def to_mathml(translator, node, as_block):
    """MathML source of a math node, or its LaTeX with a warning."""
    latex = node.astext().replace("^\\top", "^{\\top}")
    if as_block and "\\\\" in latex and "\\begin" not in latex:
        latex = f"\\begin{{aligned}}{latex}\\end{{aligned}}"
    try:
        return str(latex2mathml.tex2mathml(latex, as_block=as_block))
    except (MathError, IndexError, KeyError) as error:
        logger.warning("formula %r: %s", latex, error, location=node)
        return translator.encode(latex)


def visit_inline(translator, node):
    """Inline formula."""
    translator.body.append(f'<span class="math">{to_mathml(translator, node, False)}</span>')
    raise nodes.SkipNode


def visit_block(translator, node):
    """Displayed formula, numbered if it is labelled."""
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    if node["number"]:
        translator.body.append(f'<span class="eqno">({node["number"]})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    translator.body.append(to_mathml(translator, node, True))
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app):
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
