"""ModelVisualizer: files, inline pictures, records, and what it says about bad input."""

import io
import json
import os
import xml.etree.ElementTree as ET

import keras
import matplotlib
import numpy as np
import pytest
from keras import layers
from PIL import Image

import hpoviz
from hpoviz.architecture.model_graph import ModelGraph
from hpoviz.architecture.raster import LARGEST_PNG, png_bytes
from tests.architecture import models
from tests.architecture.test_graph_drawing import HOSTILE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def view():
    return hpoviz.ModelVisualizer(models.cnn())


def test_svg(view, tmp_path):
    path = view.export(tmp_path / "model.svg")
    assert path == tmp_path / "model.svg"
    assert ET.parse(path).getroot().tag.endswith("svg")


def test_png(view, tmp_path):
    path = view.export(str(tmp_path / "model.PNG"), scale=1)
    drawing = view.drawing()
    with Image.open(path) as image:
        assert image.size == pytest.approx((drawing.width, drawing.height), abs=1)
        colours = image.convert("RGB").getcolors(1 << 20)
    assert len(colours) > 50


def test_pdf(view, tmp_path):
    content = view.export(tmp_path / "model.pdf").read_bytes()
    assert content.startswith(b"%PDF-1.4")
    assert content.rstrip().endswith(b"%%EOF")


def test_json_is_the_graph(view, tmp_path):
    path = view.export(tmp_path / "model.json")
    assert ModelGraph.from_json(path.read_text()) == view.model_graph


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png", ".json"])
def test_a_file_is_the_same_each_time(suffix, tmp_path):
    first, second = (
        hpoviz.ModelVisualizer(models.cnn()).export(tmp_path / f"{number}{suffix}").read_bytes() for number in (1, 2)
    )
    assert first == second


def test_nothing_but_the_file_is_left(view, tmp_path):
    view.export(tmp_path / "model.svg")
    view.export(tmp_path / "model.svg", theme="dark")
    assert os.listdir(tmp_path) == ["model.svg"]
    assert "#111418" in (tmp_path / "model.svg").read_text()


@pytest.mark.parametrize(
    "look",
    [
        {"theme": "dark"},
        {"color": "parameters"},
        {"color": "health"},
        {"color": "performance"},
        {"direction": "right"},
        {"collapse": False},
        {"fold": {"BatchNormalization", "Dropout"}},
    ],
    ids=str,
)
def test_every_look_is_written_in_every_form(view, tmp_path, look):
    plain = {suffix: view.export(tmp_path / f"plain{suffix}").read_bytes() for suffix in (".svg", ".png", ".pdf")}
    for suffix, before in plain.items():
        after = view.export(tmp_path / f"look{suffix}", **look).read_bytes()
        assert (after == before) == (look == {"collapse": False})


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("model.bmp", r"'model.bmp' must end in one of .svg, .pdf, .png, .json"),
        ("model", r"'model' must end in one of"),
        ("missing/model.svg", r"model.svg' cannot be written: No such file or directory. Name a folder that exists"),
        ("file/model.svg", r"cannot be written: Not a directory"),
    ],
)
def test_places_where_nothing_can_be_written(view, tmp_path, path, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(hpoviz.ExportError, match=message):
        view.export(tmp_path / path)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"theme": "drak"}, r"theme must be one of 'light', 'dark'. Got 'drak'. Did you mean 'dark'\?"),
        ({"color": "size"}, r"color must be one of 'type', 'parameters', 'performance', 'health'. Got 'size'."),
        ({"direction": "up"}, r"direction must be one of 'down', 'right'"),
        ({"colour": "type"}, r"There is no argument 'colour'. Did you mean 'color'\?"),
        ({"scale": 0}, r"scale must be between 0.1 and 10. Got 0."),
        ({"fold": "Dropout"}, r'fold must be a collection of class names, as \{"Dropout"\}. Got \'Dropout\'.'),
    ],
)
def test_bad_looks(view, tmp_path, options, message):
    with pytest.raises(hpoviz.ConfigError, match=message):
        view.export(tmp_path / "model.svg", **options)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"performance": 1.5}, r"performance must be between 0 and 1. Got 1.5."),
        ({"health": {"conv": -1}}, r"health\['conv'\] must be between 0 and 1. Got -1."),
        ({"health": {"cnov": 0.5}}, r"health names a layer that the model has not: 'cnov'. Did you mean 'conv'\?"),
    ],
)
def test_bad_scores(options, message):
    with pytest.raises(hpoviz.ConfigError, match=message):
        hpoviz.ModelVisualizer(models.cnn(), **options)


def test_what_is_no_model():
    with pytest.raises(hpoviz.ModelBuildError, match="A Keras 3 model"):
        hpoviz.ModelVisualizer("model.keras")


def test_a_model_that_cannot_be_traced_is_drawn_in_part(tmp_path):
    view = hpoviz.ModelVisualizer(models.branching())
    assert "Not all is shown" in view.export(tmp_path / "part.svg").read_text()


@pytest.mark.parametrize("name", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_names_in_every_form(name, tmp_path):
    name = name.replace("/", "⁄")
    view = hpoviz.ModelVisualizer(keras.Sequential([keras.Input((4,)), layers.Dense(3, name=name)], name=name))
    for suffix in (".svg", ".pdf", ".png", ".json"):
        assert view.export(tmp_path / f"x{suffix}").stat().st_size > 400
    assert json.loads(json.dumps(view.to_cytoscape()))["elements"]["nodes"][1]["data"]["name"] == name


def test_a_png_is_never_larger_than_viewers_take():
    model = keras.Sequential([keras.Input((4,)), *(layers.Dense(4) for _ in range(220))])
    drawing = hpoviz.ModelVisualizer(model).drawing(collapse=False)
    assert drawing.height > LARGEST_PNG / 2
    with Image.open(io.BytesIO(png_bytes(drawing, scale=3))) as image:
        assert max(image.size) <= LARGEST_PNG


def test_inline(view):
    bundle = view._repr_mimebundle_()
    assert bundle["text/plain"] == "ModelVisualizer of 'cnn': 359 parameters"
    assert bundle["image/svg+xml"].startswith("<svg ")
    assert bundle["text/html"].count("<svg ") == 1


def test_cytoscape(view):
    graph = view.to_cytoscape()
    nodes, edges = graph["elements"]["nodes"], graph["elements"]["edges"]
    assert graph["version"] == 1
    assert [node["data"]["type"] for node in nodes] == [
        "InputLayer", "Conv2D", "BatchNormalization", "MaxPooling2D", "Flatten", "Dropout", "Dense", "Output",
    ]  # fmt: skip
    assert (edges[1]["data"]["source"], edges[1]["data"]["target"], edges[1]["data"]["label"]) == (
        "conv",
        "norm",
        "10×10×4",
    )
    heights = [node["position"]["y"] for node in nodes]
    assert heights == sorted(heights)
    json.dumps(graph, allow_nan=False)


def test_cytoscape_of_nested_models():
    nodes = {
        node["data"]["id"]: node
        for node in hpoviz.ModelVisualizer(models.siamese()).to_cytoscape()["elements"]["nodes"]
    }
    assert nodes["base//1/code"]["data"]["parent"] == "base//1"
    assert "position" not in nodes["base"]
    assert nodes["base"]["data"]["parameters"] == 28


def test_architecture_record():
    record = hpoviz.ModelVisualizer(models.cnn(), performance=0.9).architecture(health_score=0.4)
    values = json.loads(json.dumps(record.to_dict(), allow_nan=False))
    assert (values["architecture_type"], values["total_parameters"], values["model_depth"]) == ("Sequential", 359, 7)
    assert set(values) == {
        "architecture_type", "layers", "total_parameters", "model_depth", "max_layer_width", "max_layer_height",
        "performance_score", "health_score", "performance_color", "health_color",
    }  # fmt: skip
    conv = values["layers"][1]
    assert set(conv) == {
        "layer_id", "layer_type", "position_z", "width", "height", "depth", "parameters", "filters", "kernel_size",
        "units", "color_intensity", "opacity",
    }  # fmt: skip
    assert (conv["layer_id"], conv["layer_type"], conv["filters"], conv["kernel_size"]) == ("conv", "Conv2D", 4, [3, 3])
    assert conv["width"] == conv["height"] == pytest.approx(0.24 * 10**0.5)
    assert conv["depth"] == pytest.approx(0.10 * np.log2(5) ** 1.15)
    head = values["layers"][-1]
    assert (head["units"], head["height"], head["color_intensity"]) == (3, pytest.approx(0.6), 1.0)
    assert [layer["position_z"] for layer in values["layers"]] == [0, 1, 2, 3, 4, 5, 6]
    assert (conv["opacity"], values["layers"][3]["opacity"]) == (0.95, 0.45)


def test_layers_that_are_not_trained_are_fainter():
    model = models.cnn()
    model.get_layer("head").trainable = False
    assert hpoviz.ModelVisualizer(model).architecture().layers[-1].opacity == 0.7


def test_settings_of_the_users_matplotlib_change_no_export(view, tmp_path):
    plain = {suffix: view.export(tmp_path / f"a{suffix}").read_bytes() for suffix in (".png", ".pdf")}
    with matplotlib.rc_context({"text.usetex": True, "savefig.bbox": "tight", "figure.autolayout": True}):
        for suffix, before in plain.items():
            assert view.export(tmp_path / f"b{suffix}").read_bytes() == before
        assert matplotlib.rcParams["text.usetex"]


@pytest.mark.parametrize("fold", [None, 3, [1]])
def test_bad_folds(view, tmp_path, fold):
    with pytest.raises(hpoviz.ConfigError, match="fold must be a collection of class names"):
        view.export(tmp_path / "model.svg", fold=fold)
