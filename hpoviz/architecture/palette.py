"""Kinds of layers with their colours: tell them apart without seeing colours too, by a letter."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from hpoviz.architecture.model_graph import LayerInfo, NodeKind

__all__ = ["KINDS", "THEMES", "LayerKind", "ink_on", "layer_kind", "scale_colour", "two_sided_colour"]


@dataclasses.dataclass(frozen=True)
class LayerKind:
    """A kind of layer: its name, its letter, and its colour in the light and the dark theme."""

    name: str
    letter: str
    light: str
    dark: str


# Colours after Paul Tol's qualitative scheme "muted", safe for colour-blind eyes; lighter ones on dark paper.
KINDS = {
    kind.name: kind
    for kind in (
        LayerKind("input", "I", "#44546a", "#a9b8cc"),
        LayerKind("preprocessing", "F", "#6b4f9e", "#b9a3e3"),
        LayerKind("embedding", "E", "#aa4499", "#dd8fcf"),
        LayerKind("convolution", "C", "#332288", "#9b90f0"),
        LayerKind("pooling", "P", "#1a6c91", "#88ccee"),
        LayerKind("recurrent", "L", "#117733", "#6cc38a"),
        LayerKind("attention", "Q", "#882255", "#dc7fae"),
        LayerKind("dense", "D", "#a0660a", "#e3bf6b"),
        LayerKind("normalization", "N", "#1d7f70", "#6fd0c0"),
        LayerKind("activation", "A", "#b8394d", "#f09aa6"),
        LayerKind("regularization", "R", "#6f6f14", "#c5c561"),
        LayerKind("reshaping", "S", "#5f6b7a", "#b5bfcb"),
        LayerKind("merging", "M", "#8a4b2d", "#dca184"),
        LayerKind("operation", "O", "#5a5a5a", "#bdbdbd"),
        LayerKind("model", "B", "#3d5a80", "#98b4d8"),
        LayerKind("other", "U", "#4f4f4f", "#c8c8c8"),
        LayerKind("output", "Y", "#44546a", "#a9b8cc"),
    )
}
THEMES: Mapping[str, Mapping[str, str]] = {
    "light": {"paper": "#ffffff", "text": "#1f2328", "muted": "#59636e", "line": "#7b8794", "unknown": "#8c959f"},
    "dark": {"paper": "#111418", "text": "#e6edf3", "muted": "#a5b0bb", "line": "#8a96a3", "unknown": "#7d8590"},
}
# Viridis at 0, 1/8 … 1: even steps for all eyes, also in black and white.
SCALE = (
    (68, 1, 84), (71, 45, 123), (59, 82, 139), (44, 114, 142), (33, 145, 140), (40, 174, 128), (94, 201, 98),
    (173, 220, 48), (253, 231, 37),
)  # fmt: skip
# Less than usual, usual, more: blue and orange, which all eyes tell apart, on light and on dark paper.
TWO_SIDED = ((64, 130, 220), (150, 150, 150), (214, 118, 24))

EXACT = {
    "recurrent": {"LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional"},
    "embedding": {"Embedding", "ReversibleEmbedding"},
    "dense": {"Dense", "EinsumDense", "Matmul", "Einsum", "Dot"},
    "attention": {"Attention", "AdditiveAttention", "MultiHeadAttention", "GroupedQueryAttention"},
    "activation": {
        "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Relu", "Relu6", "Gelu", "Sigmoid", "Tanh",
        "Silu", "Elu", "Selu", "Softplus", "LeakyRelu", "HardSigmoid", "HardSilu", "LogSoftmax",
    },
    "regularization": {
        "Dropout", "GaussianDropout", "GaussianNoise", "AlphaDropout", "SpatialDropout1D", "SpatialDropout2D",
        "SpatialDropout3D", "ActivityRegularization",
    },
    "reshaping": {
        "Flatten", "Reshape", "Permute", "RepeatVector", "Masking", "Transpose", "Squeeze", "ExpandDims", "GetItem",
        "Stack", "Split", "Slice", "Cast", "BroadcastTo", "Identity",
    },
    "merging": {
        "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "TrueDivide", "Divide",
    },
    "preprocessing": {
        "TextVectorization", "StringLookup", "IntegerLookup", "Hashing", "CategoryEncoding", "Rescaling", "Resizing",
        "Discretization", "Normalization", "CenterCrop",
    },
}  # fmt: skip


def layer_kind(info: LayerInfo, node: NodeKind) -> LayerKind:
    """Return the kind of a layer, told from its class, or Keras' layer that this is made from, never from its name.

    Examples
    --------
    >>> layer_kind(LayerInfo(id="a", name="dense", type="SeparableConv2D"), "layer").name
    'convolution'
    """
    if node in ("input", "output"):
        return KINDS[node]
    if node == "container":
        return KINDS["model"]
    name = info.base or info.type
    if name == "TimeDistributed" and info.inner:
        return layer_kind(info.inner[0], "layer")
    exact = next((kind for kind, types in EXACT.items() if name in types), None)
    if exact:
        return KINDS[exact]
    if "LSTM" in name or "GRU" in name:
        return KINDS["recurrent"]
    if "Conv" in name:
        return KINDS["convolution"]
    if "Pool" in name:
        return KINDS["pooling"]
    if name.endswith("Normalization"):
        return KINDS["normalization"]
    if name.startswith("Random"):
        return KINDS["preprocessing"]
    if name.startswith(("ZeroPadding", "Cropping", "UpSampling")):
        return KINDS["reshaping"]
    return KINDS["operation" if node == "operation" else "other"]


def scale_colour(share: float) -> str:
    """Return the colour of a number between 0 and 1, as ``#rrggbb``.

    Examples
    --------
    >>> scale_colour(0.0), scale_colour(1.0)
    ('#440154', '#fde725')
    """
    return _mixed(SCALE, share)


def two_sided_colour(tone: float) -> str:
    """Return the colour of a number between -1 and 1, grey in the middle, as ``#rrggbb``.

    Examples
    --------
    >>> two_sided_colour(-2.0), two_sided_colour(0.0)
    ('#4082dc', '#969696')
    """
    return _mixed(TWO_SIDED, (tone + 1) / 2)


def ink_on(colour: str) -> str:
    """Return black or white, whichever is easier to read on a colour (WCAG 2 relative luminance)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return "#101418" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "#ffffff"


def _mixed(scale: Sequence[tuple[int, int, int]], share: float) -> str:
    place = min(max(share, 0.0), 1.0) * (len(scale) - 1)
    low = min(int(place), len(scale) - 2)
    mixed = (round(a + (b - a) * (place - low)) for a, b in zip(scale[low], scale[low + 1], strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)
