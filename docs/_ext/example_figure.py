"""A directive for a figure that an example draws, with a link to the example.

.. code-block:: rst

    .. example-figure:: methods/plot_4_convergence
        :number: 1

        What it shows.

Where the example was not run (a package that it needs is absent, or the gallery is switched off)
the caption and the link remain.
"""

from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective


class ExampleFigure(SphinxDirective):
    """Figure of an example of the gallery."""

    required_arguments = 1
    has_content = True
    option_spec = {"number": directives.positive_int, "alt": directives.unchanged}

    def run(self):
        """Nodes of the figure, or of its caption alone."""
        folder, name = self.arguments[0].rsplit("/", 1)
        number = self.options.get("number", 1)
        image = f"auto_examples/{folder}/images/sphx_glr_{name}_{number:03}.png"
        label = f"sphx_glr_auto_examples_{folder.replace('/', '_')}_{name}.py"
        caption = [*self.content, "", f"From :ref:`{label}`."]
        self.env.note_dependency(image)  # Read the page again when the image is there.
        drawn = (Path(self.env.srcdir) / image).is_file()
        alt = self.options.get("alt", " ".join(self.content))
        source = [f".. figure:: /{image}", f"    :alt: {alt}", "    :class: example-figure", ""]
        lines = source + [f"    {line}" for line in " ".join(caption).splitlines()]
        node = nodes.container(classes=["example-figure"])
        text = lines if drawn else [" ".join(caption)]
        self.state.nested_parse(self.as_strings(text), self.content_offset, node)
        return node.children

    def as_strings(self, lines):
        """Lines that know where they come from."""
        from docutils.statemachine import StringList

        return StringList(lines, source=self.env.doc2path(self.env.docname))


def setup(app):
    """Register the directive."""
    app.add_directive("example-figure", ExampleFigure)
    return {"version": "1", "parallel_read_safe": True}
