"""Render formulas as MathML, which browsers show without any script or network.

Docutils translates LaTeX; a formula that it cannot translate is a warning, and so an
error in a strict build.
"""

import re
from html import unescape
from itertools import pairwise
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.util import logging

logger = logging.getLogger(__name__)


FENCES = set("()[]{}|‖∣∥⟨⟩")
BARS = set("|‖")
CLOSING = set(")]}⟩|‖")
SIGNS = set("+-−±")
ACCENTS = set("ˉ¯ˆ^˜~´`˙¨→ˇ˘")


def to_mathml(translator, node, as_block):
    """MathML source of a math node, or its LaTeX with a warning."""
    latex = node.astext()
    if as_block and "\\\\" in latex and "\\begin" not in latex:
        latex = f"\\begin{{aligned}}{latex}\\end{{aligned}}"
    # What docutils does not know, or takes only in braces.
    latex = latex.replace("\\dots", "\\ldots").replace("^\\top", "^{\\top}")
    try:
        source = str(latex2mathml.tex2mathml(latex, as_block=as_block))
    except (MathError, IndexError, KeyError) as error:
        logger.warning("formula %r: %s", latex, error, location=node)
        return translator.encode(latex)
    return polish(source)


def polish(source):
    """Keep brackets small unless they come from \\left and \\right; display style in tables.

    Bars stand close to what is between them, and signs to their number. What stands over a letter
    is set above it: as an accent, browsers print it upon the letter, or not at all, where the font
    has no place for it.
    """
    # XML knows no entities but these.
    source = re.sub(r"&(?!amp;|lt;|gt;)\w+;", lambda entity: unescape(entity[0]), source)
    root = ElementTree.fromstring(source)  # noqa: S314 (made just above)
    for parent in list(root.iter()):
        for child in parent:
            set_index_beside(parent, child)
    for parent in root.iter():
        ends = (parent[0], parent[-1]) if len(parent) > 1 else ()
        paired = parent.tag.endswith("mrow") and all(is_fence(end) for end in ends)
        for child in parent:
            if is_fence(child) and not (paired and child in ends):
                child.set("stretchy", "false")
            if child.tag.endswith("mo") and child.text in BARS:
                child.set("lspace", "0")
                child.set("rspace", "0")
        for before, child in pairwise(parent):
            if child.text in SIGNS and before.tag.endswith("mo") and before.text not in CLOSING:
                child.set("form", "prefix")
        if parent.tag.endswith("mover"):
            parent.set("accent", "false")
        if parent.tag.endswith("mtable"):
            parent.set("displaystyle", "true")
    ElementTree.register_namespace("", root.tag[1:].partition("}")[0])
    return ElementTree.tostring(root, encoding="unicode")


def set_index_beside(parent, child):
    """Set the index of a letter that has an accent beside it; docutils sets it below."""
    if not child.tag.endswith("munderover") or child[2].text not in ACCENTS:
        return
    letter, index, accent = child
    space = child.tag.removesuffix("munderover")
    accented = ElementTree.Element(f"{space}mover")
    accented.extend([letter, accent])
    if parent.tag.endswith("msup") and child is parent[0]:
        parent.tag = f"{space}msubsup"
        parent[:1] = [accented, index]
    else:
        child.tag = f"{space}msub"
        child[:] = [accented, index]


def is_fence(element):
    """Whether an element is a bracket or bar."""
    return element.tag.endswith("mo") and element.text in FENCES


def visit_inline(translator, node):
    """Inline formula."""
    mathml = to_mathml(translator, node, False)
    translator.body.append(f'<span class="math">{mathml}{node.get("after", "")}</span>')
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


def hold_together(app, doctree, docname):
    """Let no line begin with the full stop or comma after a formula: the formula takes it along."""
    if app.builder.format != "html":
        return
    for formula in doctree.findall(nodes.math):
        after = formula.next_node(descend=False, siblings=True)
        found = re.match(r"[.,:;!?)\]]+", after.astext() if isinstance(after, nodes.Text) else "")
        if found:
            formula["after"] = found[0]
            after.parent.replace(after, nodes.Text(after.astext()[found.end() :]))


def setup(app):
    """Register the renderer."""
    app.connect("doctree-resolved", hold_together)
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
