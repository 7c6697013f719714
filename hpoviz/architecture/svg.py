"""A drawing as SVG, for a file or inside of a page."""

from __future__ import annotations

import hashlib
import itertools
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from hpoviz.architecture.drawing import Drawing, Line, Rectangle, Text, text_width
from hpoviz.architecture.layered import Point

__all__ = ["inline_svg", "route_path", "svg"]

FONT = "'DejaVu Sans', Verdana, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
ARROW = 6.5
UNCHANGED = "!*()/"  # in ids, beside letters and digits
# What the pages that show notebooks set when they are dark: JupyterLab, VS Code, Colab.
DARK_PAGES = ("body[data-jp-theme-light='false']", "body.vscode-dark", "html[theme=dark]")


def svg(drawing: Drawing) -> str:
    """Return a drawing as an SVG document: the same text for the same drawing, nothing loaded from elsewhere.

    Examples
    --------
    >>> from hpoviz.architecture.drawing import Drawing
    >>> empty = Drawing(width=10, height=10, items=(), palette={"paper": "#ffffff"}, title="nothing", description="")
    >>> svg(empty).startswith("<svg ")
    True
    """
    paper = Rectangle(x=0, y=0, width=drawing.width, height=drawing.height, fill="paper")
    return _document(drawing, dict(drawing.palette), "", [paper, *drawing.items])


def inline_svg(light: Drawing, dark: Drawing) -> str:
    """Return SVG for a page, in the colours of the page's theme.

    Parameters
    ----------
    light, dark : Drawing
        The same but for their palettes.
    """
    name = "hpoviz-" + hashlib.sha256(svg(light).encode()).hexdigest()[:10]
    variables = {colour: f"var(--{name}-{number})" for number, colour in enumerate(sorted(light.palette))}
    style = [f".{name}{{max-width:100%;height:auto;{_values(name, light)}}}"]
    style += [f"{page} .{name}{{{_values(name, dark)}}}" for page in DARK_PAGES]
    return _document(light, variables, f' class="{name}"', light.items, f"<style>{''.join(style)}</style>")


def route_path(points: tuple[Point, ...], *, across: bool = False) -> list[tuple[str, tuple[Point, ...]]]:
    """Return a route as path commands: straight where it keeps its side, else a curve that begins and ends upright.

    Examples
    --------
    >>> route_path(((0, 0), (0, 10), (8, 20)))
    [('M', ((0, 0),)), ('L', ((0, 10),)), ('C', ((0, 15.0), (8, 15.0), (8, 20)))]
    """
    commands: list[tuple[str, tuple[Point, ...]]] = [("M", (points[0],))]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if abs((y1 - y0) if across else (x1 - x0)) < 0.05:
            commands.append(("L", ((x1, y1),)))
        elif across:
            middle = (x0 + x1) / 2
            commands.append(("C", ((middle, y0), (middle, y1), (x1, y1))))
        else:
            middle = (y0 + y1) / 2
            commands.append(("C", ((x0, middle), (x1, middle), (x1, y1))))
    return commands


def arrow_head(line: Line) -> tuple[Point, Point, Point]:
    """Return the triangle at the end of a line."""
    x, y = line.points[-1]
    if line.across:
        return (x, y), (x - ARROW, y - ARROW * 0.45), (x - ARROW, y + ARROW * 0.45)
    return (x, y), (x - ARROW * 0.45, y - ARROW), (x + ARROW * 0.45, y - ARROW)


def _values(name: str, drawing: Drawing) -> str:
    return "".join(
        f"--{name}-{number}:{drawing.palette[colour]};" for number, colour in enumerate(sorted(drawing.palette))
    )


def _document(
    drawing: Drawing,
    colours: dict[str, str],
    attributes: str,
    items: tuple[Rectangle | Line | Text, ...] | list[Rectangle | Line | Text],
    style: str = "",
) -> str:
    width, height = f"{drawing.width:.6g}", f"{drawing.height:.6g}"
    body = "".join([_written(item, colours) for item in items])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label={quoteattr(drawing.description)} font-family={quoteattr(FONT)}{attributes}>'
        f"<title>{escape(drawing.title)}</title><desc>{escape(drawing.description)}</desc>{style}{body}</svg>"
    )


# Six digits are a tenth of a pixel at the far end of a drawing of 99,999 pixels.
def _written(item: Rectangle | Line | Text, colours: dict[str, str]) -> str:
    if isinstance(item, Rectangle):
        return _rectangle(item, colours)
    return _line(item, colours) if isinstance(item, Line) else _text(item, colours)


def _rectangle(item: Rectangle, colours: dict[str, str]) -> str:
    text = f'<rect x="{item.x:.6g}" y="{item.y:.6g}" width="{item.width:.6g}" height="{item.height:.6g}"'
    text += f' fill="{colours[item.fill]}"' if item.fill else ' fill="none"'
    if item.fill and item.opacity < 1:
        text += f' fill-opacity="{item.opacity:.6g}"'
    if item.radius:
        text += f' rx="{item.radius:.6g}"'
    if item.stroke:
        text += f' stroke="{colours[item.stroke]}" stroke-width="{item.stroke_width:.6g}"'
    if item.dashed:
        text += ' stroke-dasharray="5 4"'
    text += _handles(item)
    return f"{text}><title>{escape(item.tip)}</title></rect>" if item.tip else f"{text}/>"


def _line(item: Line, colours: dict[str, str]) -> str:
    path = "".join(
        command + " ".join([f"{x:.6g} {y:.6g}" for x, y in points])
        for command, points in route_path(item.points, across=item.across)
    )
    colour = colours[item.colour]
    tip = f"<title>{escape(item.tip)}</title>" if item.tip else ""
    handles = _handles(item)
    text = f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{item.width:.6g}"{handles}>{tip}</path>'
    if not item.arrow:
        return text
    corners = " ".join([f"{x:.6g},{y:.6g}" for x, y in arrow_head(item)])
    return f'{text}<polygon points="{corners}" fill="{colour}"{_handles(item, "arrow")}/>'


def _text(item: Text, colours: dict[str, str]) -> str:
    back = ""
    if item.back:
        width, left = back_of(item)
        back = f'<rect x="{left:.6g}" y="{item.y - item.size:.6g}" width="{width:.6g}" height="{item.size * 1.35:.6g}" '
        back += f'fill="{colours[item.back]}"{_handles(item, "back")}/>'
    anchor = "" if item.anchor == "start" else f' text-anchor="{item.anchor}"'
    weight = ' font-weight="700"' if item.bold else ""
    start = f'<text x="{item.x:.6g}" y="{item.y:.6g}" font-size="{item.size:.6g}" fill="{colours[item.colour]}"'
    return f"{back}{start}{anchor}{weight}{_handles(item)}>{escape(item.text)}</text>"


def _handles(item: Rectangle | Line | Text, role: str | None = None) -> str:
    """Return what a script finds an item by; ids may hold what XML cannot, so they are encoded as in an address."""
    if not item.key:
        return ""
    return f' data-key="{quote(item.key, safe=UNCHANGED, errors="replace")}" data-role="{role or item.role}"'


def back_of(item: Text) -> tuple[float, float]:
    """Return the width and the left side of the rectangle behind a text."""
    width = text_width(item.text, item.size, bold=item.bold) + 4.0
    left = {"start": item.x - 2.0, "middle": item.x - width / 2, "end": item.x - width + 2.0}[item.anchor]
    return width, left
