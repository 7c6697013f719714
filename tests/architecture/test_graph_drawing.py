"""Drawings of graphs: everything fits, nothing overlaps, every name is text."""

import dataclasses
import itertools
import re
import xml.etree.ElementTree as ET

import keras
import matplotlib.font_manager
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from matplotlib.ft2font import FT2Font

from hpoviz.architecture.drawing import Line, Rectangle, Text, elided, plain_text, text_width
from hpoviz.architecture.graph_drawing import Look, draw_graph
from hpoviz.architecture.keras_adapter import graph_of
from hpoviz.architecture.palette import KINDS, THEMES, layer_kind, scale_colour
from hpoviz.architecture.svg import inline_svg, svg
from tests.architecture import models

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = {
    "script": "<script>alert(1)</script>",
    "quotes": "\"'><img src=x onerror=alert(1)>",
    "long": "x" * 500,
    "emoji": "🧠 層 été",
    "newlines": "two\nlines\r\n\tand more",
    "dollars": r"$\frac{1}{0}$ & &amp; %s {}",
    "control": "bell\x07 null\x00 end\x1b[31m",
    "bidi": "left \u202e right",
}
MADE = [
    models.cnn,
    models.siamese,
    models.states,
    models.nested_twice,
    models.subclassed,
    models.branching,
    models.text,
]


def text_box(item):
    width = text_width(item.text, item.size, bold=item.bold)
    left = {"start": item.x, "middle": item.x - width / 2, "end": item.x - width}[item.anchor]
    return left, item.y - item.size, left + width, item.y + item.size * 0.25


def overlap(one, other):
    return min(one[2], other[2]) - max(one[0], other[0]) > 0.5 and min(one[3], other[3]) - max(one[1], other[1]) > 0.5


def nodes_of(drawing):
    return [item for item in drawing.items if isinstance(item, Rectangle) and item.stroke_width == 1.4]


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
@pytest.mark.parametrize("direction", ["down", "right"])
def test_everything_fits_and_nothing_overlaps(make, direction):
    drawing = draw_graph(graph_of(make()), Look(direction=direction))
    texts = [item for item in drawing.items if isinstance(item, Text)]
    for item in texts:
        left, top, right, bottom = text_box(item)
        assert min(left, top) >= 0, item.text
        assert right <= drawing.width, item.text
        assert bottom <= drawing.height, item.text
    for one, other in itertools.combinations(texts, 2):
        assert not overlap(text_box(one), text_box(other)), (one.text, other.text)
    boxes = [(box.x, box.y, box.x + box.width, box.y + box.height) for box in nodes_of(drawing)]
    for one, other in itertools.combinations(boxes, 2):
        assert not overlap(one, other)
    for item in texts:
        if item.anchor == "middle" and item.back:  # the shape of a tensor
            assert not any(overlap(text_box(item), box) for box in boxes)
    for item in drawing.items:
        if isinstance(item, Line):
            assert all(0 <= x <= drawing.width and 0 <= y <= drawing.height for x, y in item.points)


def test_texts_of_a_node_stay_in_its_box():
    drawing = draw_graph(graph_of(models.cnn()))
    boxes = nodes_of(drawing)
    within = [item for item in drawing.items if isinstance(item, Text) and not item.back and item.text != "cnn"]
    for item in within:
        left, top, right, bottom = text_box(item)
        home = [box for box in boxes if box.x <= item.x <= box.x + box.width and box.y <= item.y <= box.y + box.height]
        for box in home:
            assert box.x <= left
            assert right <= box.x + box.width
            assert box.y <= top
            assert bottom <= box.y + box.height


def test_shapes_are_on_the_lines_once_for_each_tensor():
    texts = [item.text for item in draw_graph(graph_of(models.self_shared())).items if isinstance(item, Text)]
    assert texts.count("5") == 4  # of x, of both calls, of the sum
    shapes = [item.text for item in draw_graph(graph_of(models.cnn())).items if isinstance(item, Text) and item.back]
    assert shapes == ["12×12×1", "10×10×4", "10×10×4", "5×5×4", "100", "100", "3"]


def test_nodes_say_what_they_are():
    texts = [item.text for item in draw_graph(graph_of(models.self_shared())).items if isinstance(item, Text)]
    assert {"Dense (call 1 of 2)", "Dense (call 2 of 2)", "5 units", "Add", "Output", "Input"} <= set(texts)
    assert texts.count("30") == 2


def test_the_legend_names_the_kinds_that_are_there():
    drawing = draw_graph(graph_of(models.text()))
    texts = [item.text for item in drawing.items if isinstance(item, Text)]
    assert texts[-10:] == ["I", "input", "E", "embedding", "L", "recurrent", "D", "dense", "Y", "output"]


def test_letters_tell_kinds_apart_without_colours():
    assert len({kind.letter for kind in KINDS.values()}) == len(KINDS)


def contrast(one, other):
    def luminance(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def mixed(colour, paper, share):
    return "#" + "".join(
        f"{round(share * int(colour[place : place + 2], 16) + (1 - share) * int(paper[place : place + 2], 16)):02x}"
        for place in (1, 3, 5)
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_and_borders_can_be_read(theme):
    colours = THEMES[theme]
    for kind in KINDS.values():
        colour = kind.light if theme == "light" else kind.dark
        fill = mixed(colour, colours["paper"], 0.13)
        assert contrast(colours["text"], fill) >= 7
        assert contrast(colours["muted"], fill) >= 4.5
        assert contrast(colour, colours["paper"]) >= 3  # WCAG 2.1: borders
    assert contrast(colours["muted"], colours["paper"]) >= 4.5
    assert contrast(colours["line"], colours["paper"]) >= 3


def test_letters_on_their_badges_can_be_read():
    for theme in ("light", "dark"):
        for color in ("type", "parameters"):
            drawing = draw_graph(graph_of(models.cnn()), Look(theme=theme, color=color))
            items = list(drawing.items)
            for badge, letter in itertools.pairwise(items):
                if isinstance(letter, Text) and letter.colour.startswith("ink") and isinstance(badge, Rectangle):
                    assert contrast(drawing.palette[badge.fill], drawing.palette[letter.colour]) >= 4.5


def test_colours_by_parameters():
    drawing = draw_graph(graph_of(models.cnn()), Look(color="parameters"))
    fills = [drawing.palette[box.fill] for box in nodes_of(drawing)]
    assert fills[6] == scale_colour(1.0)  # the head has most
    assert fills[3] == fills[4] == drawing.palette["unknown"]
    assert {"0", "303", "parameters"} <= {item.text for item in drawing.items if isinstance(item, Text)}


def test_colours_by_health_and_by_performance():
    graph = graph_of(models.cnn())
    drawing = draw_graph(dataclasses.replace(graph, health={"conv": 0.25}), Look(color="health"))
    fills = [drawing.palette[box.fill] for box in nodes_of(drawing)]
    assert fills[1] == scale_colour(0.25)
    assert fills[2] == drawing.palette["unknown"]
    drawing = draw_graph(graph, Look(color="performance"), performance=0.5)
    assert {drawing.palette[box.fill] for box in nodes_of(drawing)} == {scale_colour(0.5)}
    assert any("score 0.500" in item.text for item in drawing.items if isinstance(item, Text))


def test_a_closed_block_shows_the_health_of_its_worst_layer():
    model = keras.Sequential([keras.Input((4,)), *(layers.Dense(4, name=f"d{n}") for n in range(40))])
    graph = graph_of(keras.Sequential([keras.Input((4,)), model, layers.Dense(2, name="end")]))
    health = {f"{model.name}/d{n}": n / 40 for n in range(3, 40)}
    drawing = draw_graph(dataclasses.replace(graph, health=health), Look(color="health"))
    assert scale_colour(3 / 40) in {drawing.palette[box.fill] for box in nodes_of(drawing)}


def test_what_is_not_shown_is_said():
    drawing = draw_graph(graph_of(models.branching()))
    texts = " ".join(item.text for item in drawing.items if isinstance(item, Text))
    assert "Not all is shown" in texts
    assert "depends on values" in texts
    assert "Not all is shown" in drawing.description


def test_unconnected_layers_stand_in_a_column():
    drawing = draw_graph(graph_of(models.branching()))
    assert len([item for item in drawing.items if isinstance(item, Line)]) == 2
    _, small, large, _ = nodes_of(drawing)
    assert small.x + small.width / 2 == large.x + large.width / 2


def test_a_drawing_is_the_same_each_time():
    first, second = (svg(draw_graph(graph_of(models.siamese()))) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_names_are_text(name):
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name=name.replace("/", "⁄")), layers.Dense(2)], name=name.replace("/", "⁄")
    )
    drawing = draw_graph(graph_of(model))
    for text in (svg(drawing), inline_svg(drawing, draw_graph(graph_of(model), Look(theme="dark")))):
        root = ET.fromstring(text)
        kinds = {element.tag.removeprefix(SVG) for element in root.iter()}
        assert kinds <= {"svg", "title", "desc", "style", "rect", "path", "polygon", "text"}
        assert not any(key.startswith("on") for element in root.iter() for key in element.attrib)
        assert all(value.isprintable() for value in (element.text or "" for element in root.iter(f"{SVG}text")))
    for item in drawing.items:
        if isinstance(item, Text):
            assert text_box(item)[2] <= drawing.width


def test_svg_loads_nothing_and_speaks():
    text = svg(draw_graph(graph_of(models.cnn())))
    root = ET.fromstring(text)
    assert root.attrib["role"] == "img"
    assert "Conv2D 10×10×4" in root.attrib["aria-label"]
    assert not re.search(r"href|url\(|@import|<script", text)
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert any("40 parameters, 40 trained" in (title or "") for title in titles)


def test_inline_svg_follows_the_page():
    light, dark = (draw_graph(graph_of(models.cnn()), Look(theme=theme)) for theme in ("light", "dark"))
    text = inline_svg(light, dark)
    assert "body[data-jp-theme-light='false']" in text
    assert "html[theme=dark]" in text
    assert THEMES["light"]["text"] in text
    assert THEMES["dark"]["text"] in text
    assert not re.search(r'(fill|stroke)="#', text)


@pytest.mark.parametrize("weight", ["normal", "bold"])
def test_widths_are_those_of_the_font(weight):
    properties = matplotlib.font_manager.FontProperties(family="DejaVu Sans", weight=weight)
    font = FT2Font(matplotlib.font_manager.findfont(properties))
    font.set_size(1000, 72)
    for code in range(32, 127):
        width = font.load_char(code).linearHoriAdvance / 65536
        assert text_width(chr(code), 1000, bold=weight == "bold") == pytest.approx(1.02 * width, abs=1.5)


@given(st.text(max_size=60), st.floats(10, 300))
def test_elided_texts_fit(text, width):
    short = elided(text, 11.0, width)
    assert text_width(short, 11.0) <= width
    assert short == text or short.endswith("…")


@settings(max_examples=300)
@given(st.text())
def test_plain_texts_are_one_printable_line(text):
    plain = plain_text(text)
    assert len(plain.splitlines()) <= 1
    ET.fromstring(f"<a>{plain.replace('&', '').replace('<', '')}</a>")


@pytest.mark.parametrize(
    ("type_", "node", "kind"),
    [
        ("Conv2DTranspose", "layer", "convolution"),
        ("GlobalMaxPooling1D", "layer", "pooling"),
        ("ConvLSTM2D", "layer", "recurrent"),
        ("LayerNormalization", "layer", "normalization"),
        ("Normalization", "layer", "preprocessing"),
        ("RandomFlip", "layer", "preprocessing"),
        ("Multiply", "operation", "merging"),
        ("Exp", "operation", "operation"),
        ("MyOwnLayer", "layer", "other"),
        ("Functional", "container", "model"),
        ("InputLayer", "input", "input"),
    ],
)
def test_kinds_are_told_from_the_class(type_, node, kind):
    from hpoviz.architecture.model_graph import LayerInfo

    assert layer_kind(LayerInfo(id="conv_dense", name="conv_dense", type=type_), node).name == kind


def test_a_class_called_block_is_a_layer():
    class Block(layers.Layer):
        def __init__(self, nodes=8, then=3, input_dim=(2, 2), output_dim=(3, 3), **options):
            super().__init__(**options)
            self.nodes, self.then, self.input_dim, self.output_dim = nodes, then, input_dim, output_dim

        def call(self, x):
            return x

    drawing = draw_graph(graph_of(keras.Sequential([keras.Input((4,)), Block(name="mine"), layers.Dense(2)])))
    assert {"Block", "mine"} <= {item.text for item in drawing.items if isinstance(item, Text)}


def test_folded_layers_keep_their_health():
    graph = dataclasses.replace(graph_of(models.cnn()), health={"conv": 0.9, "norm": 0.3})
    drawing = draw_graph(graph, Look(color="health", fold={"BatchNormalization"}))
    assert scale_colour(0.3) in {drawing.palette[box.fill] for box in nodes_of(drawing)}


def test_letters_can_be_read_in_the_colours_of_the_other_theme():
    light, dark = (draw_graph(graph_of(models.cnn()), Look(theme=theme)) for theme in ("light", "dark"))
    assert light.palette.keys() == dark.palette.keys()
    for badge, letter in itertools.pairwise(light.items):
        if isinstance(letter, Text) and letter.colour.startswith("ink") and isinstance(badge, Rectangle):
            for palette in (light.palette, dark.palette):
                assert contrast(palette[badge.fill], palette[letter.colour]) >= 4.5
