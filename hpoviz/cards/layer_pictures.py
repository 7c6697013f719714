"""Pictures of what a network is made of: windows, filters, pooling, units, depth, activations; of images and words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from hpoviz.cards.drawing import Frame, Picture, arrow, bar_groups, box, circle, dashed, grid, line, path, text
from hpoviz.models.cnn import CnnConfig
from hpoviz.models.dense_head import DenseHeadConfig

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "activation",
    "convolve",
    "dense_decay",
    "depth",
    "dropout",
    "filter_growth",
    "filters",
    "global_pooling",
    "initializer",
    "kernel",
    "normalisation",
    "pooled",
    "pooling",
    "signal_sizes",
    "units",
]

Array = np.ndarray
# As Keras computes them; a test holds them to it.
ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x > 0 else 0.2 * x,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "swish": lambda x: x / (1 + math.exp(-x)),
    "tanh": math.tanh,
}
# The variance of a weight, from how many inputs and outputs its layer has (He 2015, Glorot 2010, LeCun 1998).
INITIALIZERS: dict[str, Callable[[int, int], float]] = {
    "he_normal": lambda inputs, outputs: 2 / inputs,
    "glorot_uniform": lambda inputs, outputs: 2 / (inputs + outputs),
    "lecun_normal": lambda inputs, outputs: 1 / inputs,
}
SEVEN = np.array([[0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 0], [0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0],
                  [0, 0, 1, 0, 0, 0]])  # fmt: skip
LEVEL = np.array([[-1, -1, -1], [2, 2, 2], [-1, -1, -1]])


def kernel() -> Picture:
    """Draw the windows that a convolution may have, on a grid of pixels."""
    cell, middle = 12, 54
    items = [grid(0, 0, [[0] * 9] * 9, cell, shaded=True)]
    for place, side in enumerate(CnnConfig.parameters()["kernel_size"].choices or ()):
        corner, look = middle - side * cell / 2, ("bold", "bold dash1", "bold dash2")[place]
        items += [box(corner, corner, side * cell, side * cell, look)]
        y = 30 + 22 * place
        items += [line(124, y - 4, 150, y - 4, look), text(158, y, f"{side} × {side} = {side * side} weights")]
    items.append(text(158, 98, "a filter, for each channel"))
    return Picture("Windows of 3, 5 and 7 pixels on a grid: they have 9, 25 and 49 weights.", 109, items)


def convolve(image: Array, window: Array) -> Array:
    """Return a convolution's response after relu, with zeros around the image."""
    reach = len(window) // 2
    wide = np.pad(image, reach)
    rows, columns = image.shape
    found = [
        [np.sum(wide[r : r + len(window), c : c + len(window)] * window) for c in range(columns)] for r in range(rows)
    ]
    return np.maximum(np.array(found), 0)


def filters() -> Picture:
    """Draw an image, and what two filters find in it."""
    maps = [SEVEN, convolve(SEVEN, LEVEL), convolve(SEVEN, LEVEL.T)]
    names = ("an image", "level lines", "upright lines")
    items = []
    for place, (shown, name) in enumerate(zip(maps, names, strict=True)):
        left = 12 + place * 100
        items += [grid(left, 2, shown.tolist(), 12, shaded=True), text(left + 36, 90, name, "middle")]
    return Picture(
        "A seven, and the responses of two filters: one finds its level lines, one its upright ones.", 96, items
    )


def pooled(values: Array, how: Callable[..., Array]) -> Array:
    """Return each square of 2 × 2 as one number."""
    rows, columns = values.shape
    return how(values.reshape(rows // 2, 2, columns // 2, 2), axis=(1, 3))


def pooling() -> Picture:
    """Draw what both kinds of pooling make of the same 4 × 4 numbers."""
    values = np.array([[1, 3, 2, 0], [5, 2, 1, 4], [0, 1, 6, 2], [3, 0, 1, 3]])
    items = [
        grid(2, 2, values.tolist()),
        box(2, 2, 44, 88, "bold"),
        box(46, 2, 44, 88, "bold"),
        line(2, 46, 90, 46, "bold"),
    ]
    items += [arrow(98, 116, 46)]
    for left, name, how in ((124, "max", np.max), (216, "average", np.mean)):
        items += [grid(left, 14, pooled(values, how).tolist(), 32), text(left + 32, 94, name, "middle")]
    return Picture(
        "Sixteen numbers in squares of four: max pooling keeps the largest of each, average their mean.", 100, items
    )


def global_pooling() -> Picture:
    """Draw three feature maps, flattened and averaged."""
    maps = np.array([[[4, 0], [1, 3]], [[0, 2], [2, 0]], [[1, 1], [5, 1]]])
    items = []
    for place, values in enumerate(maps):
        items += [grid(2 + 52 * place, 2, values.tolist())]
    flat, means = [maps.ravel().tolist()], [maps.mean(axis=(1, 2)).tolist()]
    items += [text(164, 28, "3 maps of 2 × 2")]
    items += [grid(2, 56, flat, 16), text(200, 68, "Flatten: 12")]
    items += [grid(2, 84, means, 22), text(200, 99, "global: 3 means")]
    return Picture("Three maps of four numbers: Flatten keeps twelve numbers, global pooling three means.", 110, items)


def filter_growth() -> Picture:
    """Draw the filters of four convolutions for each factor."""
    factors = CnnConfig.parameters()["filter_growth"].choices or ()
    groups = [
        (f"factor {factor:g}", CnnConfig(filters=16, num_layers_conv=4, filter_growth=factor).conv_filters)
        for factor in factors
    ]
    said = "; ".join(f"{label}: {', '.join(map(str, widths))}" for label, widths in groups)
    return Picture(f"Filters of four convolutions, the first with 16. {said}.", 106, bar_groups(groups))


def dense_decay() -> Picture:
    """Draw the units of three dense layers for each factor."""
    factors = DenseHeadConfig.parameters()["dense_decay"].choices or ()
    groups = [
        (f"factor {factor:g}", DenseHeadConfig(dense_units=64, num_layers_dense=3, dense_decay=factor).dense_widths)
        for factor in factors
    ]
    said = "; ".join(f"{label}: {', '.join(map(str, widths))}" for label, widths in groups)
    return Picture(f"Units of three dense layers, the first with 64. {said}.", 106, bar_groups(groups))


def depth() -> Picture:
    """Draw networks of one, two and four layers."""
    items = []
    for row, layers in enumerate((1, 2, 4)):
        y, x = 4 + 32 * row, 0.0
        for name, width in (("data", 38), *((f"{n}", 26) for n in range(1, layers + 1)), ("classes", 50)):
            if x:
                items.append(arrow(x + 2, x + 14, y + 11))
                x += 16
            items += [box(x, y, width, 22, "soft" if name[0].isdigit() else "line")]
            items += [text(x + width / 2, y + 15, name, "middle")]
            x += width
    return Picture("Networks of one, two and four layers between the data and the classes.", 94, items)


def units() -> Picture:
    """Draw a narrow and a wide layer with every weight."""
    items, inputs = [], 4
    for left, count in ((0, 3), (160, 8)):
        ins = [(left + 12.0, 14 + 24.0 * place) for place in range(inputs)]
        outs = [(left + 110.0, 50 + (96 / count) * (place - (count - 1) / 2)) for place in range(count)]
        items += [line(*a, *b, "thin") for a, b in itertools.product(ins, outs)]
        items += [circle(*place, 5, "dot") for place in ins] + [circle(*place, 5, "accent") for place in outs]
        items += [text(left + 62, 116, f"{count} units, {inputs * count} weights", "middle")]
    return Picture("Four inputs: with three units there are 12 weights between them, with eight units 32.", 122, items)


def dropout() -> Picture:
    """Draw a layer in two training steps, with other units off each time, and in use."""
    rng, count = np.random.default_rng(7), 10
    rows = [(f"step {step}", rng.random(count) < 0.3) for step in (1, 2)] + [("in use", np.zeros(count, bool))]
    items = []
    for row, (name, off) in enumerate(rows):
        y = 13 + 30 * row
        items.append(text(0, y + 4, name))
        for place, gone in enumerate(off):
            x = 58 + 17 * place
            items.append(circle(x, y, 7, "dashed" if gone else "accent"))
            items += [path([(x - 4, y - 4), (x + 4, y + 4)]), path([(x + 4, y - 4), (x - 4, y + 4)])] if gone else []
        items.append(text(230, y + 4, f"{off.sum()} of {count} off" if off.any() else "all on"))
    counts = [int(off.sum()) for _, off in rows]
    return Picture(
        f"Ten units: {counts[0]} are off in one training step, {counts[1]} others in the next, none in use.", 88, items
    )


def normalisation() -> Picture:
    """Draw the responses of three filters to a batch, before and after they are normalised."""
    rng = np.random.default_rng(1)
    before = [rng.normal(mean, spread, 16) for mean, spread in ((5, 1.5), (-4, 0.6), (1, 3))]
    after = [(row - row.mean()) / row.std() for row in before]
    items = []
    for left, name, rows in ((62, "before", before), (188, "after", after)):
        frame = Frame(left, 4, 108, 72, (-9, 9), (0, 3))
        items += [line(*frame.at(0, 0), *frame.at(0, 3), "thin"), box(left, 4, 108, 72, "line")]
        items += [frame.dots([(float(value), 2.5 - row) for value in values]) for row, values in enumerate(rows)]
        items += [text(left + 54, 92, f"{name}, 0 ± 9", "middle")]
    items += [text(0, 20 + 24 * row, f"filter {row + 1}") for row in range(3)]
    return Picture(
        "A batch of 16 responses of three filters: scattered before, all around 0 with spread 1 after.", 98, items
    )


def activation() -> Picture:
    """Draw the curve of each activation from -3 to 3."""
    items = []
    across = np.linspace(-3, 3, 49).tolist()
    for place, (name, curve) in enumerate(ACTIVATIONS.items()):
        frame = Frame(100.0 * (place % 3) + 6, 8 + 78.0 * (place // 3), 84, 50, (-3, 3), (-1.2, 3))
        items += [line(*frame.at(-3, 0), *frame.at(3, 0), "thin"), line(*frame.at(0, -1.2), *frame.at(0, 3), "thin")]
        items += [frame.curve([(x, curve(x)) for x in across]), text(frame.x + 42, frame.y + 63, name, "middle")]
    return Picture("The curves of relu, leaky_relu, elu, gelu, swish and tanh from -3 to 3.", 154, items)


def signal_sizes(variance: Callable[[int, int], float], layers: int = 10, width: int = 64) -> list[float]:
    """Return the root mean square of a random signal after each of several relu layers with first weights."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(256, width))
    sizes = [float(np.sqrt(np.mean(signal**2)))]
    for _ in range(layers):
        weights = rng.normal(scale=math.sqrt(variance(width, width)), size=(width, width))
        signal = np.maximum(signal @ weights, 0)
        sizes.append(float(np.sqrt(np.mean(signal**2))))
    return sizes


def initializer() -> Picture:
    """Draw how large a signal is after up to ten relu layers, by their first weights."""
    frame = Frame(34, 20, 140, 76, (0, 10), (-2, 0.3))
    items = [frame.axes("relu layers passed", "size of the signal")]
    items += [text(30, frame.at(0, power)[1] + 4, f"{10**power:g}", "end") for power in (0, -1, -2)]
    ends: Sequence[tuple[str, str]] = (("he_normal", "he_normal"), ("lecun_normal", "glorot, lecun"))
    for place, (name, label) in enumerate(ends):
        sizes = [math.log10(size) for size in signal_sizes(INITIALIZERS[name])]
        items += [frame.curve(enumerate(sizes), dashed(place))]
        items += [text(180, frame.at(10, sizes[-1])[1] + 4, label)]
    return Picture(
        "A random signal through ten relu layers of 64 units: with he_normal it keeps its size, with glorot_uniform "
        "and lecun_normal, which are alike where all layers have the same width, it fades.",
        116,
        items,
    )
