"""The contact sheet: queries on the left, their first answers on the right."""

from dataclasses import dataclass
from functools import cache

import numpy as np

WHITE, INK, GREY, BAND, RULE = "#ffffff", "#1f2328", "#656d76", "#f3f5f8", "#d1d9e0"
# Told apart by every kind of colour vision, and by their marks besides.
RIGHT, WRONG, ITSELF = "#00825f", "#cd4b00", "#0b57d0"

MARGIN = 28
PICTURE = 96
CELL = 116
GAP = 8
LABEL = 20
QUERY = 220


@dataclass
class Row:
    """One query: its words, its group, perhaps its picture, and the answers.

    `hits` holds pairs of a picture and its name, `right` whether each is of the
    query's group, "itself" where it is the very thing, or None where nothing is known.
    """

    text: str
    caption: str
    picture: np.ndarray | None
    hits: list
    right: list


class Canvas:
    """A white picture, drawn at twice its size and halved at the end: smooth edges."""

    def __init__(self, width, height):
        from PIL import Image, ImageDraw

        self.image = Image.new("RGB", (2 * width, 2 * height), WHITE)
        self.draw = ImageDraw.Draw(self.image)

    def text(self, x, y, text, size, colour=INK, *, bold=False, anchor="la", width=None):
        """Write one line, cut to `width` with an ellipsis."""
        font = load_font(size, bold)
        if width is not None and text_width(text, size, bold) > width:
            while text and text_width(text + "…", size, bold) > width:
                text = text[:-1].rstrip()
            text += "…"
        self.draw.text((2 * x, 2 * y), text, colour, font, anchor)

    def line(self, points, colour, width):
        """Draw a line through (x, y) points."""
        scaled = [(2 * x, 2 * y) for x, y in points]
        self.draw.line(scaled, colour, round(2 * width), joint="curve")

    def disc(self, x, y, radius, colour):
        """Fill a circle."""
        box = [2 * (x - radius), 2 * (y - radius), 2 * (x + radius), 2 * (y + radius)]
        self.draw.ellipse(box, colour)

    def box(self, x, y, width, height, *, fill=None, outline=None, line=1):
        """Draw a rectangle with round corners."""
        box = [2 * x, 2 * y, 2 * (x + width) - 1, 2 * (y + height) - 1]
        self.draw.rounded_rectangle(box, 20, fill, outline, round(2 * line))

    def picture(self, x, y, pixels):
        """Paste pixels; twice as large and halved again, they come out as they were."""
        from PIL import Image

        double = pixels.repeat(2, axis=0).repeat(2, axis=1)
        self.image.paste(Image.fromarray(double), (2 * x, 2 * y))

    def save(self, path):
        """Write the file."""
        self.image.reduce(2).save(path, optimize=True)


@cache
def load_font(size, bold):
    """Return the font that comes with matplotlib, so that the sheet looks alike everywhere."""
    from matplotlib.font_manager import findfont
    from PIL import ImageFont

    return ImageFont.truetype(findfont("DejaVu Sans:bold" if bold else "DejaVu Sans"), 2 * size)


def text_width(text, size, bold=False):
    """Width of a line of text."""
    return load_font(size, bold).getlength(text) / 2


def draw_sheet(sections, path, *, subtitle):
    """Draw sections, each a title and rows, to a PNG file; `subtitle` is a list of lines."""
    n_hits = max(len(row.hits) for _, rows in sections for row in rows)
    row_height = CELL + LABEL + GAP
    width = 2 * MARGIN + QUERY + n_hits * (CELL + GAP) - GAP
    height = 2 * MARGIN + 75 + 21 * len(subtitle)
    height += sum(62 + len(rows) * row_height for _, rows in sections)
    canvas = Canvas(width, height)

    y = MARGIN
    canvas.text(MARGIN, y, "Emoji found by their codes", 28, bold=True)
    for i, line in enumerate(subtitle):
        canvas.text(MARGIN, y + 42 + 21 * i, line, 14, GREY)
    y += 45 + 21 * len(subtitle)
    for title, rows in sections:
        canvas.text(MARGIN, y + 16, title, 18, bold=True)
        canvas.line([(MARGIN, y + 46), (width - MARGIN, y + 46)], RULE, 1)
        y += 62
        for row in rows:
            draw_query(canvas, row, y)
            for i, ((pixels, name), right) in enumerate(zip(row.hits, row.right, strict=True)):
                draw_hit(canvas, pixels, name, right, MARGIN + QUERY + i * (CELL + GAP), y)
            y += row_height
    marked = any(right is not None for _, rows in sections for row in rows for right in row.right)
    draw_legend(canvas, y + 14, marked)
    canvas.save(path)


def draw_query(canvas, row, y):
    """Draw the words of a query, or its picture."""
    width = QUERY - 2 * GAP
    canvas.box(MARGIN, y, width, CELL, fill=BAND)
    centre = MARGIN + width / 2
    if row.picture is not None:
        # The band shows through where the picture is white.
        band = np.array([int(BAND[i : i + 2], 16) for i in (1, 3, 5)])
        tinted = (row.picture * (band / 255)).astype(np.uint8)
        canvas.picture(round(centre - PICTURE / 2), y + (CELL - PICTURE) // 2, tinted)
        label = f"{row.text} ({row.caption})"
        canvas.text(centre, y + CELL + 4, label, 11, GREY, anchor="ma", width=width)
        return
    lines = wrap(row.text, 18, width - 24)
    top = y + CELL / 2 - 13 * (len(lines) - 1) - (11 if row.caption else 0)
    for i, line in enumerate(lines):
        canvas.text(centre, top + 26 * i, line, 18, bold=True, anchor="mm")
    canvas.text(centre, top + 26 * len(lines), row.caption, 12, GREY, anchor="mm")


def draw_hit(canvas, pixels, name, right, x, y):
    """Draw one answer in its frame: ticked if right, bold if the thing itself, dashed if wrong."""
    if right is False:
        # Faded, so that the right ones stand out at a glance.
        pixels = (0.45 * pixels + 0.55 * 255).astype(np.uint8)
    inset = (CELL - PICTURE) // 2
    canvas.picture(x + inset, y + inset, pixels)
    if right is None:
        canvas.box(x, y, CELL, CELL, outline=RULE, line=1.5)
    elif right:
        colour = ITSELF if right == "itself" else RIGHT
        canvas.box(x, y, CELL, CELL, outline=colour, line=4 if right == "itself" else 2.5)
        canvas.disc(x + CELL - 13, y + 13, 9.5, colour)
        tick = [(-4.5, 0.5), (-1.5, 3.5), (4.5, -3.5)]
        canvas.line([(x + CELL - 13 + dx, y + 13 + dy) for dx, dy in tick], WHITE, 2)
    else:
        draw_dashes(canvas, x, y)
        canvas.disc(x + CELL - 13, y + 13, 9.5, WRONG)
        for sign in (-1, 1):
            ends = [(-3.5, -3.5 * sign), (3.5, 3.5 * sign)]
            canvas.line([(x + CELL - 13 + dx, y + 13 + dy) for dx, dy in ends], WHITE, 2)
    canvas.text(x + CELL / 2, y + CELL + 4, name, 11, GREY, anchor="ma", width=CELL + 2)


def draw_dashes(canvas, x, y):
    """Draw a dashed frame."""
    for start in np.arange(2, CELL - 2, 10.2):
        end = min(start + 6, CELL)
        for side in (1, CELL - 1):
            canvas.line([(x + start, y + side), (x + end, y + side)], WRONG, 1.5)
            canvas.line([(x + side, y + start), (x + side, y + end)], WRONG, 1.5)


def draw_legend(canvas, y, marked):
    """Explain the frames, and name the artists."""
    x = MARGIN
    if marked:
        for mark, colour, text in (
            ("✓", ITSELF, "the thing itself"),
            ("✓", RIGHT, "of the query's group"),
            ("✗", WRONG, "of another group"),
        ):
            canvas.text(x, y, mark, 14, colour, bold=True)
            canvas.text(x + 18, y + 1, text, 13, GREY)
            x += 42 + text_width(text, 13)
    canvas.text(x, y + 1, "Pictures: OpenMoji (openmoji.org), CC BY-SA 4.0", 13, GREY)


def wrap(text, size, width):
    """Break a text, in bold, into lines no wider than `width`."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size, bold=True) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
