"""What a drawing says of a node: its lines, and what is shown when it is pointed at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hpoviz.architecture.drawing import plain_text
from hpoviz.architecture.folding import BLOCK, NODES, REPEATS, THEN
from hpoviz.architecture.model_graph import Edge, LayerInfo, ModelGraph, Node, shape_text

__all__ = ["node_texts", "node_tip"]

MOST_TIP = 600
FACTS = {
    "filters": "{} filters",
    "kernel_size": "{}",
    "pool_size": "{}",
    "strides": "stride {}",
    "units": "{} units",
    "num_heads": "{} heads",
    "key_dim": "key {}",
    "rate": "rate {}",
    "target_shape": "{}",
    "activation": "{}",
    "return_sequences": "sequences",
}


def node_texts(graph: ModelGraph, node: Node, call: int) -> tuple[str, str, str]:
    """Return the lines of a node: its type, what it was told, its number of parameters.

    `call` says which of all calls of its layer it is, from 1.
    """
    info = graph.layers[node.layer]
    if node.kind == "output":
        tensor = node.outputs[0]
        return "Output", f"{shape_text(tensor.shape)} · {tensor.dtype}" if tensor.shape is not None else "unknown", ""
    if node.kind == "input":
        tensor = node.outputs[0]
        return "Input", plain_text(f"{info.name} · {tensor.dtype}"), ""
    calls = graph.calls[node.layer]
    title = f"{info.settings[REPEATS]} times a block" if info.type == BLOCK else info.type
    if calls > 1:
        title += f" (call {call} of {calls})"
    facts = " · ".join([*_facts(info), *node.constants]) or info.name
    return plain_text(title), plain_text(facts), f"{info.parameters:,}" if info.parameters else ""


def _facts(info: LayerInfo) -> Iterator[str]:
    """Yield what people want to know first of a layer."""
    settings = info.settings
    if info.type == BLOCK:
        yield f"{settings[NODES] // settings[REPEATS]} layers each"
        yield info.name.partition("(")[2].rstrip(")")
        return
    for inner in info.inner[:1]:
        yield " ".join([inner.type, *list(_facts(inner))[:1]])
    for name, pattern in FACTS.items():
        value = settings.get(name)
        if value is not None and value not in ("linear", False) and not (name == "strides" and _all_ones(value)):
            text = pattern.format(shape_text(value) if isinstance(value, list) else _short(value))
            yield text.removesuffix("s") if value == 1 and not isinstance(value, bool) else text
    if isinstance(settings.get("input_dim"), int) and isinstance(settings.get("output_dim"), int):
        yield f"{settings['input_dim']:,} → {settings['output_dim']:,}"
    if THEN in settings:
        yield "then " + ", ".join(settings[THEN])
    if NODES in settings:
        yield f"{info.name}: {settings[NODES]} layers"


def _all_ones(value: Any) -> bool:
    return all(one == 1 for one in value) if isinstance(value, list) else value == 1


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def node_tip(graph: ModelGraph, node: Node, entering: Sequence[Edge]) -> str:
    """Return all that is known of a node, for those who point at it."""
    info = graph.layers[node.layer]
    lines = [plain_text(info.name if info.name else graph.name) + ("" if info.type == BLOCK else f" ({info.type})")]
    if entering:
        lines.append("takes " + ", ".join(shape_text(edge.tensor.shape) for edge in entering))
    if node.outputs and node.kind != "output":
        lines.append("gives " + ", ".join(f"{shape_text(one.shape)} {one.dtype}" for one in node.outputs))
    if info.parameters:
        lines.append(f"{info.parameters:,} parameters, {info.trainable_parameters:,} trained")
    lines += [plain_text(f"{name.lstrip('/')}: {value}") for name, value in info.settings.items()]
    return "\n".join(lines)[:MOST_TIP]
