"""ModelGraph as data: what is kept, what is refused."""

import json

import pytest

from hpoviz.architecture.keras_adapter import graph_of
from hpoviz.architecture.model_graph import ModelGraph, shape_text
from hpoviz.errors import StoreError
from tests.architecture import models


@pytest.fixture(scope="module")
def values():
    return graph_of(models.siamese()).to_dict()


def test_it_holds_plain_json(values):
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["version"] == 1


def spoilt(values, change):
    changed = json.loads(json.dumps(values))
    change(changed)
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(version=2), r"not a model graph of version 1: its version is 2"),
        (lambda v: v.pop("nodes"), r"damaged: KeyError: 'nodes'"),
        (lambda v: v["nodes"][0].pop("kind"), r"damaged: KeyError: 'kind'"),
        (lambda v: v["nodes"][0].update(kind="thing"), r"a node is of kind 'thing'. Kinds: input, layer"),
        (lambda v: v["nodes"][0].update(outputs=[{"shape": ["x"], "dtype": "float32"}]), r"damaged: ValueError"),
        (lambda v: v["nodes"][0].update(layer="nobody"), r"calls layer 'nobody', which is not there"),
        (lambda v: v["nodes"].append(v["nodes"][0]), r"two nodes have the same id"),
        (lambda v: v["nodes"][3].update(parent="nobody"), r"is inside 'nobody', which is not before it"),
        (lambda v: v["edges"][0].update(source="nobody"), r"an edge leads from 'nobody' to"),
        (lambda v: v["edges"].append({**v["edges"][0], "source": "score"}), r"leads from 'score' to 'base/code'"),
        (lambda v: v.update(layers=[None]), r"damaged: TypeError"),
        (lambda v: v.update(health={"nobody": 0.5}), r"a health of layer 'nobody'"),
        (lambda v: v.update(recording={"version": 9}), r"the recording is of version 9, not 1"),
        (lambda v: v.update(recording=[]), r"damaged: TypeError"),
    ],
)  # fmt: skip
def test_damaged_values_are_refused(values, change, message):
    with pytest.raises(StoreError, match=message):
        ModelGraph.from_dict(spoilt(values, change))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"version": "1"}'])
def test_other_texts_are_refused(text):
    with pytest.raises(StoreError, match="model graph"):
        ModelGraph.from_json(text)


def test_parameters_of_containers_count_shared_layers_once():
    graph = graph_of(models.siamese())
    assert graph.parameters_of("base") == 28
    assert sum(graph.parameters_of(node) for node in ("a", "difference", "score", "/output/0")) == 5


def test_shapes_as_people_write_them():
    assert [shape_text(shape) for shape in ((28, 28, 1), (None, 3), (), None)] == [
        "28×28×1",
        "?×3",
        "scalar",
        "unknown",
    ]
