"""Descriptions of pages, for search engines and for previews of links: their first paragraph."""

from html import escape

from docutils import nodes

LENGTH = 200


def description(doctree):
    """First paragraph of a page as plain text, cut at a word."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if not text or isinstance(paragraph.parent, (nodes.list_item, nodes.entry)):
            continue
        return text if len(text) <= LENGTH else text[:LENGTH].rsplit(" ", 1)[0] + " ..."
    return ""


def tags(title, text, site, page, image):
    """Elements for the head of a page."""
    properties = {
        "og:type": "website",
        "og:site_name": site,
        "og:title": title,
        "og:description": text,
    }
    if page:
        properties |= {"og:url": page, "og:image": image}
    lines = [f'<meta name="description" content="{escape(text)}" />']
    lines += [
        f'<meta property="{name}" content="{escape(value)}" />'
        for name, value in properties.items()
    ]
    return "\n".join(lines)


def add_tags(app, page_name, template_name, context, doctree):
    """Give a page its tags; addresses need `html_baseurl`."""
    if doctree is None:
        return
    base = app.config.html_baseurl
    context["metatags"] = context.get("metatags", "") + tags(
        nodes.unescape(context.get("title", "")),
        description(doctree),
        app.config.project,
        base and f"{base}{page_name}.html",
        f"{base}_static/contact_sheet.png",
    )


def setup(app):
    """Add the tags to every page."""
    app.connect("html-page-context", add_tags)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
