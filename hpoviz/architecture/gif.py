"""A sample that flows through a model, as an animated GIF: the drawing of the graph with its numbers, step by step."""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from hpoviz.architecture.animation import short_number, tensor_of
from hpoviz.architecture.drawing import Drawing, Line, Rectangle, Text, elided
from hpoviz.architecture.graph_scene import steps_of, tensors_shown
from hpoviz.architecture.layered import Point
from hpoviz.architecture.model_graph import ModelGraph
from hpoviz.architecture.raster import LARGEST_PNG, png_bytes
from hpoviz.architecture.svg import route_path

__all__ = ["gif_bytes"]

WIDEST, TALLEST = 900, 640  # pixels of the window that follows the steps
CAPTION = 48  # pixels below it
STEP_MS, HOLD_MS = 550, 1600
COLOURS = 128
CURVE = 8  # points of a bend
TINT = 0.32


def gif_bytes(graph: ModelGraph, drawing: Drawing, played: Mapping[str, Any]) -> bytes:
    """Return an animated GIF: what flows forward, then the gradients that flow back where there is a loss.

    Parameters
    ----------
    graph : ModelGraph
        What of the model is drawn.
    drawing : Drawing
        Of it.
    played : mapping
        What `SampleRecorder.played` returns.
    """
    film = _Film(graph, drawing, played)
    steps = steps_of(graph)
    order = [("forward", number) for number in range(len(steps))]
    if played["backward"]:
        order += [("backward", number) for number in reversed(range(len(steps)))]
    palette = film.palette(steps)
    frames = [
        film.frame(way, number, steps).quantize(palette=palette, dither=Image.Dither.NONE) for way, number in order
    ]
    durations = [STEP_MS] * len(frames)
    durations[len(steps) - 1] = durations[-1] = HOLD_MS
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, disposal=1)
    return file.getvalue()


class _Film:
    def __init__(self, graph: ModelGraph, drawing: Drawing, played: Mapping[str, Any]) -> None:
        self._graph, self._played, self._palette = graph, played, drawing.palette
        self._scale = min(1.25, WIDEST / drawing.width, LARGEST_PNG / drawing.height)
        self._tensors = tensors_shown(graph)
        self._boxes: dict[str, Rectangle] = {}
        self._facts: dict[str, Text] = {}
        self._labels: list[Text] = []
        self._lines: dict[str, Line] = {}
        for item in drawing.items:
            if isinstance(item, Rectangle) and item.role == "box":
                self._boxes[item.key] = item
            elif isinstance(item, Text) and item.role == "facts":
                self._facts[item.key] = item
            elif isinstance(item, Text) and item.role == "label":
                self._labels.append(item)
            elif isinstance(item, Line) and item.key:
                self._lines[item.key] = item
        bare = tuple(item for item in drawing.items if getattr(item, "role", "") != "facts")
        content = png_bytes(dataclasses.replace(drawing, items=bare), scale=self._scale)
        self._rest = Image.open(io.BytesIO(content)).convert("RGB")
        self._height = min(self._rest.height, TALLEST)

    def frame(self, way: str, step: int, steps: list[list[str]]) -> Image.Image:
        """Return the picture of a step: what is reached in colour with its numbers, the window around what is new."""
        place = {name: number for number, names in enumerate(steps) for name in names}
        reached = {name for name, number in place.items() if (number <= step if way == "forward" else number >= step)}
        picture = self._rest.copy()
        draw = ImageDraw.Draw(picture)
        self._draw_edges(draw, way, reached)
        for name, box in self._boxes.items():
            said = self._said(name) if name in reached else None
            colour = said and said["colour" if way == "forward" else "line"]
            if colour:
                self._tint(picture, box, colour, thick=place[name] == step)
            facts = self._facts.get(name)
            if facts is not None:
                room = box.width - (facts.x - box.x)
                text = elided(said[way], facts.size, room) if said else facts.text
                ink = self._palette["text" if said else "muted"]
                draw.text(self._at(facts.x, facts.y), text, ink, _font(facts.size * self._scale), anchor="ls")
        return self._window(picture, way, step, steps)

    def palette(self, steps: list[list[str]]) -> Image.Image:
        """Return a picture of few colours, chosen for all that is shown on both ways."""
        last = [self.frame("forward", len(steps) - 1, steps)]
        last += [self.frame("backward", 0, steps)] if self._played["backward"] else []
        both = Image.new("RGB", (last[0].width, sum(one.height for one in last)))
        for number, one in enumerate(last):
            both.paste(one, (0, number * one.height))
        scale = [colour for way in ("colour", "line") for colour in self._colours(way)]
        stripes = Image.new("RGB", (both.width, both.height + 8 * len(scale)))
        stripes.paste(both, (0, 0))
        for number, colour in enumerate(scale):
            top = both.height + 8 * number
            stripes.paste(colour, (0, top, stripes.width, top + 8))
        return stripes.quantize(COLOURS, dither=Image.Dither.NONE)

    def _colours(self, way: str) -> list[str]:
        said = [self._said(name) for name in self._boxes]
        return sorted({one[way] for one in said if one and one[way]})[:24]

    def _said(self, name: str) -> dict[str, Any] | None:
        return tensor_of(self._played, self._tensors.get(name))

    def _draw_edges(self, draw: ImageDraw.ImageDraw, way: str, reached: set[str]) -> None:
        for number, edge in enumerate(self._graph.edges):
            line, said = self._lines.get(f"edge-{number}"), tensor_of(self._played, edge.made_by)
            if line is None or said is None or not {edge.source, edge.target} <= reached:
                continue
            colour = said["colour" if way == "forward" else "line"]
            width = 2.0 if way == "forward" else said["width"]
            if colour:
                points = [self._at(x, y) for x, y in _sampled(line)]
                draw.line(points, colour, max(1, round(width * self._scale)), joint="curve")
        for label in self._labels:  # the lines are above them now
            at, font = self._at(label.x, label.y), _font(label.size * self._scale)
            left, top, right, bottom = draw.textbbox(at, label.text, font, anchor="ms")
            draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), self._palette["paper"])
            draw.text(at, label.text, self._palette["muted"], font, anchor="ms")

    def _tint(self, picture: Image.Image, box: Rectangle, colour: str, *, thick: bool) -> None:
        left, top = self._at(box.x, box.y)
        right, bottom = self._at(box.x + box.width, box.y + box.height)
        area = (round(left), round(top), round(right), round(bottom))
        patch = picture.crop(area)
        mask = Image.new("L", patch.size, 0)
        ImageDraw.Draw(mask).rounded_rectangle(
            (0, 0, patch.width - 1, patch.height - 1), 7 * self._scale, fill=round(255 * TINT)
        )
        picture.paste(Image.new("RGB", patch.size, colour), area[:2], mask)
        width = 4 if thick else 2
        ImageDraw.Draw(picture).rounded_rectangle(area, 7 * self._scale, outline=colour, width=width)

    def _window(self, picture: Image.Image, way: str, step: int, steps: list[list[str]]) -> Image.Image:
        boxes = [self._boxes[name] for name in steps[step] if name in self._boxes]
        middle = self._scale * sum(box.y + box.height / 2 for box in boxes) / max(len(boxes), 1)
        top = round(min(max(middle - self._height / 2, 0), picture.height - self._height))
        window = Image.new("RGB", (picture.width, self._height + CAPTION), self._palette["paper"])
        window.paste(picture.crop((0, top, picture.width, top + self._height)), (0, 0))
        draw = ImageDraw.Draw(window)
        draw.line((0, self._height, window.width, self._height), self._palette["line"])
        name = next(iter(steps[step]))
        said = self._said(name)
        what = "mean |activation|" if way == "forward" else "gradient norm"
        kind = (
            "output"
            if self._graph.by_id[name].kind == "output"
            else self._graph.layers[self._graph.by_id[name].layer].name
        )
        lines = [
            self._sample_line(),
            f"{way}, step {step + 1} of {len(steps)}: {kind}" + (f", {what} {said[way]}" if said else ""),
        ]
        for number, line in enumerate(lines):
            at = (10, self._height + 8 + 19 * number)
            ink = self._palette["muted" if number else "text"]
            draw.text(at, elided(line, 12, window.width - 20), ink, _font(12))
        return window

    def _sample_line(self) -> str:
        caption, loss = self._played["caption"], self._played["loss"]
        parts = [f"sample {caption['index']}"]
        parts += [f"label {caption['label']}"] if caption["label"] is not None else []
        parts += [f"the model says {caption['predicted']}"] if caption["predicted"] is not None else []
        parts += [f"loss {short_number(loss)}"] if self._played["backward"] else []
        return " · ".join(parts)

    def _at(self, x: float, y: float) -> Point:
        return x * self._scale, y * self._scale


@functools.lru_cache(maxsize=8)
def _font(size: float) -> ImageFont.FreeTypeFont:
    """Return the font that matplotlib brings."""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), max(size, 1.0))


def _sampled(line: Line) -> list[Point]:
    """Return a route as points, its curves in short pieces."""
    points: list[Point] = []
    for command, ends in route_path(line.points, across=line.across):
        if command != "C":
            points += ends
            continue
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = points[-1], *ends
        for number in range(1, CURVE + 1):
            t = number / CURVE
            a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
            points.append((a * x0 + b * x1 + c * x2 + d * x3, a * y0 + b * y1 + c * y2 + d * y3))
    return points
