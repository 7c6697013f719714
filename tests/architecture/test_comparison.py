"""Two architectures beside each other."""

import xml.etree.ElementTree as ET

import keras
import pytest
from keras import layers

import hpoviz
from tests.architecture import models


def cnn(filters=4, extra=False, name="one"):
    inside = [layers.Conv2D(filters, 3, name="conv"), layers.Flatten(name="flat")]
    if extra:
        inside.insert(1, layers.Dropout(0.3, name="drop"))
    return keras.Sequential([keras.Input((8, 8, 1), name="image"), *inside, layers.Dense(3, name="head")], name=name)


def test_a_model_is_the_same_as_itself():
    found = hpoviz.ModelVisualizer(models.siamese()).compare(models.siamese())
    assert found.differences == ()
    assert repr(found).endswith("no difference")


def test_changes_and_layers_of_one_model_alone():
    found = hpoviz.ModelVisualizer(cnn()).compare(cnn(filters=8, extra=True, name="two"))
    marks = {one.first or one.second: one for one in found.layers}
    assert marks["conv"].changes == ("filters 4 → 8", "gives 6×6×4 → 6×6×8", "parameters 40 → 80")
    assert marks["drop"].mark == "only in the second"
    assert marks["image"].mark == "same"
    back = hpoviz.ModelVisualizer(cnn(filters=8, extra=True)).compare(cnn())
    assert [one.mark for one in back.layers if one.type == "Dropout"] == ["only in the first"]
    frame = found.to_frame()
    assert list(frame["mark"]) == ["same", "changed", "only in the second", "changed", "changed"]


def test_the_drawings_are_marked():
    html = hpoviz.ModelVisualizer(cnn()).compare(cnn(extra=True, name="<b>two"))._repr_html_()
    assert html.count("<svg") == 2
    assert ">+<" in html
    assert "<b>two" not in html
    for part in html.split("<svg")[1:]:
        ET.fromstring("<svg" + part.partition("</svg>")[0] + "</svg>")


def test_inside_closed_blocks():
    wide = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=5, alpha=0.5)
    thin = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=5, alpha=0.35)
    found = hpoviz.ModelVisualizer(wide).compare(thin)
    assert len(found.layers) == 156
    assert 50 < len(found.differences) < 156
    assert found._repr_html_().count("≠") > 10


def times(factor, kind=None):
    x = keras.Input((4,), name="x")
    y = layers.Dense(4, name="d")(x)
    return keras.Model(x, layers.Add(name="sum")([y * factor, x if kind is None else y]), name="of")


def test_constants_and_wiring_are_compared():
    view = hpoviz.ModelVisualizer(times(2.0))
    assert [one.changes for one in view.compare(times(3.0)).differences] == [("with 2 → 3",)]
    assert [one.changes for one in view.compare(times(2.0, "other")).differences] == [
        ("takes from Multiply, InputLayer → Multiply, Dense",)
    ]


def test_what_wrappers_wrap_is_compared():
    one, other = (
        keras.Sequential(
            [keras.Input((5, 3)), layers.TimeDistributed(layers.Dense(2, activation=how), name="each")], name="m"
        )
        for how in ("relu", "tanh")
    )
    found = hpoviz.ModelVisualizer(one).compare(other).differences
    assert [layer.changes for layer in found] == [("Dense activation relu → tanh",)]


def test_what_cannot_be_compared():
    with pytest.raises(hpoviz.ModelBuildError, match="A Keras 3 model"):
        hpoviz.ModelVisualizer(cnn()).compare("a model")
