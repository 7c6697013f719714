"""What interactive views show: places, steps, details, and the numbers of a recording."""

import dataclasses
import json
import math

import keras
import numpy as np
import pytest

import hpoviz
from hpoviz.architecture.animation import FADING, frames, tensor_of
from hpoviz.architecture.graph_scene import LayerNotes, graph_scene, steps_of, tensors_shown
from hpoviz.architecture.graph_state import MOST_RECORDINGS, GraphState
from hpoviz.architecture.keras_adapter import graph_of
from hpoviz.architecture.overview import overview, with_blocks
from hpoviz.architecture.recording import Recording, TensorRecord
from hpoviz.architecture.sample_recorder import SampleRecorder
from hpoviz.architecture.weight_histograms import MOST_VALUES, weight_histograms
from hpoviz.errors import ConfigError, DatasetError
from hpoviz.instrument import record
from tests.architecture import models
from tests.architecture.test_graph_drawing import HOSTILE


def images(count=20, classes=3):
    chance = np.random.default_rng(0)
    return chance.random((count, 12, 12, 1)).astype("float32"), np.arange(count) % classes


def recorder_of(model, data):
    return SampleRecorder(model, graph_of(model), data)


@pytest.mark.parametrize("make", [models.cnn, models.siamese, models.states, models.nested_twice, models.branching])
@pytest.mark.parametrize("direction", ["down", "right"])
def test_a_scene_is_json_with_the_places_of_the_drawing(make, direction):
    graph = with_blocks(graph_of(make()))
    scene = json.loads(json.dumps(graph_scene(graph, (), direction=direction), allow_nan=False))
    drawn = hpoviz.ModelVisualizer(make()).drawing(direction=direction, collapse=False)
    boxes = {item.key: item for item in drawn.items if getattr(item, "role", "") in ("box", "container")}
    first = scene["nodes"][0]
    shift = boxes[first["id"]].x + boxes[first["id"]].width / 2 - first["x"]
    for node in scene["nodes"]:
        box = boxes[node["id"]]
        assert box.x + box.width / 2 - node["x"] == pytest.approx(shift, abs=0.2)
        assert box.width == pytest.approx(node["width"], abs=0.1)
    ids = {node["id"] for node in scene["nodes"]}
    assert all({edge["source"], edge["target"]} <= ids for edge in scene["edges"])


def test_steps_move_branches_together():
    steps = steps_of(overview(graph_of(models.siamese())))
    assert steps[0] == ["a", "b"]
    assert len(steps[1]) == 2  # the shared model's layer, once for each input
    assert [name for step in steps for name in step].count("difference") == 1


def test_a_closed_block_stands_for_the_tensor_that_leaves_it():
    graph = with_blocks(graph_of(models.nested_twice()))
    state = GraphState(graph)
    state.close_all()
    tensors = {node["id"]: node["tensor"] for node in state.scene["nodes"]}
    assert tensors["middle"] == ("middle/rectify", 0)
    assert tensors["/output/0"] == ("end", 0)
    assert state.scene["closed"] == ["middle"]
    state.toggle("middle")
    assert {node["id"] for node in state.scene["nodes"]} > {"middle/rectify", "middle/inner"}
    with pytest.raises(ConfigError, match="no block"):
        state.toggle("end")


def test_details_tell_health_findings_and_shared_weights():
    graph = dataclasses.replace(graph_of(models.self_shared()), health={"again": 0.25})
    notes = LayerNotes(findings={"again": ["dying relu in again: 3 of 5"]})
    node = next(one for one in graph_scene(graph, (), notes=notes)["nodes"] if one["id"] == "again")
    details = dict(node["details"])
    assert details["shared"] == "called 2 times with the same weights"
    assert details["health"] == "0.25"
    assert details["parameters"] == "30, 30 trained"
    assert node["findings"] == ["dying relu in again: 3 of 5"]
    assert "health" in graph_scene(graph, ())["modes"]


@pytest.mark.parametrize("name", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_names_stay_text_and_json(name):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name=name.replace("/", "")[:300] or "x")
    scene = graph_scene(graph_of(model), ())
    assert json.loads(json.dumps(scene)) == json.loads(json.dumps(scene))
    assert "<script" not in scene["svg"]["type"]


@pytest.mark.parametrize("make", [models.cnn, models.text, models.subclassed], ids=["cnn", "text", "subclassed"])
def test_the_animations_numbers_are_the_instruments(make):
    model = make()
    chance = np.random.default_rng(1)
    if make is models.text:
        x = chance.integers(1, 20, (4, 9))
    else:
        x = chance.random((4, *((12, 12, 1) if make is models.cnn else (5,)))).astype("float32")
    y = np.array([0, 1, 0, 1])
    seen = record(model, x[2:3], y[2:3])
    played = recorder_of(model, (x, y)).played(2)
    assert played["loss"] == pytest.approx(seen.loss, rel=1e-5)
    for tensor in seen.tensors:
        shown = tensor_of(played, (tensor.node, tensor.port))
        assert shown["strength"] == pytest.approx(tensor.mean_abs, rel=1e-5)
        assert shown["silent"] == pytest.approx(tensor.silent.mean())
        if tensor.gradient_norm is None:
            assert shown["gradient"] is None
        else:
            assert shown["gradient"] == pytest.approx(tensor.gradient_norm, rel=1e-4, abs=1e-12)
    assert {node for node, _ in tensors_shown(with_blocks(graph_of(model))).values()} <= set(played["tensors"])


def test_a_view_shows_the_number_of_the_tensor_that_it_names():
    model = models.nested_twice()
    state = GraphState(graph_of(model), recorder=recorder_of(model, np.ones((3, 4), "float32")))
    state.close_all()
    played = state.record(0)
    seen = {(one.node, one.port): one for one in record(model, np.ones((1, 4), "float32")).tensors}
    for node in state.scene["nodes"]:
        place = tuple(node["tensor"])
        assert tensor_of(played, place)["mean"] == pytest.approx(seen[place].mean, rel=1e-5)


def a_tensor(node, strength, norm):
    one = np.ones(1, np.float32)
    return TensorRecord(
        node=node, port=0, shape=(1, 1), mean=strength, std=0.0, mean_abs=strength, minimum=0.0, maximum=strength,
        zeros=0.0, finite=1.0, gradient_norm=norm, unit_mean=one, unit_std=one, unit_peak=one * strength,
    )  # fmt: skip


def test_vanishing_exploding_and_lost_gradients_are_marked():
    norms = {"a": 1.0, "b": 1.1 * FADING, "c": 0.9 * FADING, "d": 0.9 / FADING, "e": 1.1 / FADING, "f": 0.0}
    norms |= {"g": math.inf, "h": None, "i": 1.0, "j": 1.0}
    tensors = tuple(a_tensor(name, 1.0, norm) for name, norm in norms.items())
    seen = Recording(samples=1, training=False, loss=1.0, outputs=(), tensors=tensors, weights=(), maps=(), seconds=0.0)
    shown = {name: ports[0] for name, ports in frames(seen)["tensors"].items()}
    assert {name: one["mark"] for name, one in shown.items()} == {
        "a": "", "b": "", "c": "vanishing", "d": "", "e": "exploding", "f": "vanishing", "g": "not finite", "h": "",
        "i": "", "j": "",
    }  # fmt: skip
    assert shown["h"]["backward"] == "no gradient"
    assert shown["c"]["width"] < shown["a"]["width"] < shown["e"]["width"]
    json.dumps(frames(seen), allow_nan=False)


def test_a_recording_that_is_not_finite_is_json():
    model = models.cnn()
    x, y = images()
    x[0] = np.nan
    kernel = model.layers[-1].kernel
    kernel.assign(np.full(kernel.shape, np.nan))  # whatever pooling makes of what is not a number
    played = recorder_of(model, (x, y)).played(0)
    json.dumps(played, allow_nan=False)
    assert tensor_of(played, ("conv", 0))["finite"] == 0.0
    assert played["caption"]["predicted"] is None


def test_right_and_wrong_samples_are_offered():
    model = models.cnn()
    x, y = images(60)
    recorder = recorder_of(model, (x, y))
    said = np.asarray(model(x)).argmax(1)
    assert {one.right for one in recorder.choices()} == {True, False}
    for one in recorder.choices():
        assert one.predicted == str(said[one.index])
        assert one.right == (said[one.index] == y[one.index])
    assert recorder.choice(59).label == str(y[59])


def test_class_names_and_pictures_of_a_dataset():
    data = hpoviz.load_dataset("digits")
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")])
    recorder = recorder_of(model, data)
    _, rows = data.split_rows()
    assert len(recorder) == len(rows)
    caption = recorder.played(5)["caption"]
    assert caption["label"] == data.class_names[data.y[rows[5]]]
    assert caption["picture"].startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("y", "labels"),
    [(np.eye(3)[np.arange(6) % 3], ["0", "1", "2"]), (np.arange(6).reshape(-1, 1) % 3, ["0", "1", "2"])],
    ids=["one-hot", "column"],
)
def test_labels_in_other_forms(y, labels):
    model = models.cnn()
    model.compile(loss="categorical_crossentropy" if y.shape[1] == 3 else "sparse_categorical_crossentropy")
    recorder = recorder_of(model, (images(6)[0], y))
    assert [recorder.choice(row).label for row in range(3)] == labels
    assert recorder.played(1)["loss"] is not None


def test_no_labels_no_way_back():
    recorder = recorder_of(models.cnn(), images()[0])
    played = recorder.played(3)
    assert played["loss"] is None
    assert played["caption"]["label"] is None
    assert played["caption"]["predicted"] in "012"
    assert all(one["gradient"] is None for ports in played["tensors"].values() for one in ports)


def test_one_logit_is_the_same_alone_and_among_others():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.layers[0].kernel.assign([[1.0], [0.0], [0.0]])
    x = np.zeros((20, 3), "float32")
    x[:, 0] = np.linspace(-2, 2, 20)
    recorder = recorder_of(model, (x, (x[:, 0] > 0).astype(int)))
    together = {one.index: one.share for one in recorder.choices()}
    for index, share in together.items():
        assert recorder.played(index)["caption"]["share"] == pytest.approx(share)
    assert recorder.choice(19).share == pytest.approx(1 / (1 + math.exp(-2.0)))


def test_predictions_follow_the_training():
    model = models.cnn()
    x, y = images(60)
    recorder = recorder_of(model, (x, y))
    before = recorder.played(3)["caption"]["share"]
    model.get_layer("head").bias.assign([5.0, 0.0, 0.0])
    assert recorder.played(3)["caption"]["predicted"] == "0"
    assert recorder.played(3)["caption"]["share"] != before


def test_lists_and_an_axis_that_keras_adds():
    x, y = images(6)
    recorder = recorder_of(models.cnn(), (x[..., 0], y.tolist()))
    assert recorder.choice(1).label == "1"
    assert recorder.played(1)["loss"] is not None


def test_one_hot_labels_of_a_model_that_is_not_compiled():
    x, y = images(6)
    one, other = (recorder_of(models.cnn(), (x, labels)).played(1) for labels in (y, np.eye(3)[y]))
    assert one["backward"]
    assert other["backward"]


def test_a_loss_that_is_not_finite_still_flows_back():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False, name="line")])
    model.compile(loss="mse")
    model.layers[0].kernel.assign([[1.0], [1.0]])
    played = recorder_of(model, (np.full((4, 2), 1e30, "float32"), np.zeros(4))).played(0)
    assert played["loss"] is None  # 4e60 is more than float32 holds
    assert played["backward"]


def test_several_inputs():
    pair = [np.ones((5, 6), "float32"), np.zeros((5, 6), "float32")]
    played = recorder_of(models.siamese(), (pair, np.zeros(5))).played(4)
    assert tensor_of(played, ("a", 0))["mean"] == 1.0
    assert tensor_of(played, ("b", 0))["mean"] == 0.0


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (np.ones((4, 3)), r"takes samples of shape 12×12×1. Got 3 each"),
        ((np.ones((4, 12, 12, 1)), np.zeros(3)), r"a label for each sample: 4. Got \[3\]"),
        (np.ones((0, 12, 12, 1)), r"must hold at least one sample"),
        (7, r"must be a Dataset, \(x, y\)"),
        (([np.ones((4, 12, 12, 1))] * 2, np.zeros(4)), r"has 1 inputs. Got samples for 2"),
    ],
    ids=["shape", "labels", "none", "kind", "inputs"],
)
def test_bad_data(data, said):
    with pytest.raises(DatasetError, match=said):
        recorder_of(models.cnn(), data)


@pytest.mark.parametrize("index", [20, -1, 1.0, True, "1", None])
def test_a_sample_that_is_not_there(index):
    with pytest.raises(DatasetError, match="a whole number from 0 to 19"):
        GraphState(graph_of(models.cnn()), recorder=recorder_of(models.cnn(), images())).record(index)


def test_no_data_says_what_to_pass():
    with pytest.raises(ConfigError, match=r"ModelVisualizer\(model, data=data\)"):
        GraphState(graph_of(models.cnn())).record(0)


def test_the_last_recordings_are_kept():
    model = models.cnn()
    state = GraphState(graph_of(model), recorder=recorder_of(model, images()))
    first = state.record(0)
    for index in (*range(1, MOST_RECORDINGS - 1), 0, 15, 16):
        state.record(index)
    assert list(state.recordings) == [*map(str, range(2, MOST_RECORDINGS - 1)), "0", "15", "16"]
    assert len(state.recordings) == MOST_RECORDINGS
    assert state.recordings["0"] is first


def test_weight_histograms_count_all_or_a_part():
    model = keras.Sequential([keras.Input((200,)), keras.layers.Dense(300, name="wide")])
    found = weight_histograms(model)["wide"]
    assert found["of"] == 200 * 300 + 300
    assert sum(found["counts"]) == found["values"] <= 2 * MOST_VALUES
    kernel = np.asarray(model.layers[0].kernel)
    assert found["high"] <= kernel.max()
    assert found["std"] == pytest.approx(kernel.std(), rel=0.1)
    model.layers[0].kernel.assign(kernel * np.nan)
    assert weight_histograms(model)["wide"]["finite"] < 0.1
