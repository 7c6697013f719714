"""Models of the user's own on their way to another machine: what Keras says of them is enough to make them again."""

import base64
import importlib
import json
import random
import sys

import keras
import numpy as np
import pytest
from keras import layers

from hpoviz.data.info import DataInfo
from hpoviz.errors import BackendProtocol, ConfigError, ModelBuildError
from hpoviz.models import sent_model
from hpoviz.models.sent_model import check_sent_model, pack_model, received_code
from hpoviz.models.user_model import OWN_MODEL, UserModel

PARAMS = {"batch_size": 8, "epochs": 1}
IMAGES = DataInfo(name="x", kind="image", input_shape=(8, 8, 1), class_names=("a", "b", "c"))
TEXTS = DataInfo(name="t", kind="text", input_shape=(10,), class_names=("a", "b", "c"), vocabulary=("fine", "day"))


@pytest.fixture(autouse=True)
def keras_registry():
    """Take away what a test registers with Keras."""
    registry = keras.saving.get_custom_objects()
    before = dict(registry)
    yield
    registry.clear()
    registry.update(before)


def compiled(model):
    rate = keras.optimizers.schedules.CosineDecay(1e-3, 100)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=0.01, name="adamw"), loss, metrics=["accuracy"])
    return model


def stack(*inner):
    """An image model of these layers."""
    return compiled(keras.Sequential([layers.Input((8, 8, 1)), *inner, layers.Flatten(), layers.Dense(3)]))


def sequential():
    return stack(layers.RandomFlip(), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Dropout(0.3))


def not_built():
    return compiled(keras.Sequential([layers.Flatten(), layers.Dense(4), layers.Dense(3)]))


def branches():
    """Made branch by branch, and read by depth."""
    inputs = layers.Input((8, 8, 1))
    outs = []
    for kernel in (1, 3, 5):
        hidden = layers.Conv2D(4, kernel, padding="same", activation="relu")(inputs)
        outs.append(layers.Conv2D(4, kernel, padding="same")(hidden))
    joined = layers.Add()([layers.Concatenate()(outs), layers.Conv2D(12, 1)(inputs)])
    return compiled(keras.Model(inputs, layers.Dense(3)(layers.Flatten()(layers.Dropout(0.2)(joined)))))


def nested_and_shared():
    inner = keras.Sequential([layers.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.Flatten()])
    inputs, dense = layers.Input((8, 8, 1)), layers.Dense(5)
    joined = layers.Concatenate()([dense(inner(inputs)), keras.ops.relu(dense(inner(2 * inputs + 1)))])
    return compiled(keras.Model(inputs, layers.Dense(3)(joined)))


def one_initialiser_for_two():
    same = keras.initializers.GlorotUniform()
    return stack(layers.Dense(4, kernel_initializer=same), layers.Dense(4, kernel_initializer=same))


def recurrent():
    inputs = layers.Input((10,), dtype="int32")
    hidden = layers.Embedding(20, 8, mask_zero=True)(inputs)
    hidden = layers.Bidirectional(layers.LSTM(4, return_sequences=True, dropout=0.2))(hidden)
    return compiled(keras.Model(inputs, layers.Dense(3)(layers.GRU(4)(hidden))))


def attention():
    inputs = layers.Input((10,), dtype="int32")
    hidden = layers.Embedding(20, 8)(inputs)
    hidden = layers.LayerNormalization()(hidden + layers.MultiHeadAttention(2, 4, dropout=0.1)(hidden, hidden))
    return compiled(keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(hidden))))


def weights_by_hand():
    model = stack(layers.Dense(4))
    model.set_weights([np.sin(np.arange(value.size)).reshape(value.shape) for value in model.get_weights()])
    return model


def adapted():
    normalise = layers.Normalization()
    normalise.adapt(np.linspace(0, 9, 640).reshape(10, 8, 8, 1))
    return stack(normalise)


def mobile_net():
    base = keras.applications.MobileNetV2(input_shape=(32, 32, 3), weights=None, include_top=False, pooling="avg")
    inputs = layers.Input((32, 32, 3))
    return compiled(keras.Model(inputs, layers.Dense(3)(base(inputs))))


def sent(build, info=IMAGES, seed=5):
    """Return a model and what comes of it at the other end, made with the same seed, and the record between them."""
    record = json.loads(json.dumps(pack_model(UserModel(lambda *_: build(), PARAMS), info, seed), allow_nan=False))
    keras.utils.set_random_seed(seed)
    model = UserModel(lambda *_: build(), PARAMS).build(info)
    keras.utils.set_random_seed(seed)
    there = received_code(record).family(OWN_MODEL).from_dict(PARAMS).build(info)
    return model, there, record


@pytest.mark.parametrize(
    ("build", "info", "with_weights"),
    [
        (sequential, IMAGES, True),  # seeds of its random layers
        (not_built, IMAGES, False),
        (branches, IMAGES, True),  # that of its dropout
        (nested_and_shared, IMAGES, False),
        (one_initialiser_for_two, IMAGES, False),
        (recurrent, TEXTS, True),
        (attention, TEXTS, True),
        (weights_by_hand, IMAGES, True),
        (adapted, IMAGES, True),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_model_arrives_as_it_was(build, info, with_weights):
    model, there, record = sent(build, info)
    x = np.random.default_rng(0).integers(0, 4, (6, *info.input_shape))
    assert [value.shape for value in there.variables] == [value.shape for value in model.variables]
    assert all(map(np.array_equal, map(np.asarray, model.variables), map(np.asarray, there.variables)))
    assert np.array_equal(model(x, training=False), there(x, training=False))
    assert there.compiled
    assert there.optimizer.get_config() == model.optimizer.get_config()
    assert there.loss.get_config() == model.loss.get_config()
    assert there.get_compile_config() == model.get_compile_config()
    assert ("weights" in record) == with_weights
    assert record["objects"] == {}
    assert len(json.dumps(record)) < 20_000


def test_the_models_differ_by_their_seed():
    one, other = (sent(branches, seed=seed)[1].get_weights()[0] for seed in (1, 2))
    assert not np.array_equal(one, other)


@pytest.mark.slow
def test_a_model_of_keras_applications_travels_without_its_weights():
    model, there, record = sent(mobile_net, DataInfo(**{**vars(IMAGES), "input_shape": (32, 32, 3)}))
    assert all(map(np.array_equal, model.get_weights(), there.get_weights()))
    assert "weights" not in record
    assert len(json.dumps(record)) < 200_000


def test_the_random_numbers_of_the_notebook_are_left_alone():
    random.seed(3), np.random.seed(3)
    wanted = random.random(), np.random.random()
    random.seed(3), np.random.seed(3)
    pack_model(UserModel(lambda *_: sequential(), PARAMS), IMAGES, 5)
    assert (random.random(), np.random.random()) == wanted


@pytest.mark.parametrize(
    ("build", "info"), [(branches, IMAGES), (attention, TEXTS), (adapted, IMAGES)], ids=lambda value: None
)
def test_a_model_that_can_be_sent_passes_the_check(build, info):
    samples = np.ones((4, 8, 8, 1)) if info is IMAGES else np.array(["a fine day"] * 4, dtype=object)
    check_sent_model(UserModel(lambda *_: build(), PARAMS), samples, info, 5)


# --- what cannot be sent ---------------------------------------------------------------------------------------------


class Plain(layers.Layer):
    def call(self, x):
        return x


def shared_between_models():
    dense, inputs = layers.Dense(5), layers.Input((8, 8, 1))
    one = keras.Sequential([layers.Input((64,)), dense])
    other = keras.Sequential([layers.Input((64,)), layers.Dense(64), dense])
    flat = layers.Flatten()(inputs)
    return compiled(keras.Model(inputs, layers.Dense(3)(one(flat) + other(flat))))


def defined_here():
    @keras.saving.register_keras_serializable("mine")
    class Here(Plain):
        pass

    return stack(Here())


def large_weights():
    model = stack(layers.Flatten(), layers.Dense(12_000, name="wide"))
    rng = np.random.default_rng(0)
    model.set_weights([rng.random(value.shape) for value in model.get_weights()])
    return model


def own_loss():
    def my_loss(y, outputs):
        return keras.losses.sparse_categorical_crossentropy(y, outputs)

    model = stack()
    model.compile("adam", my_loss, metrics=["accuracy"])
    return model


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: stack(layers.Lambda(lambda x: 2 * x, name="twice")), "The layer 'twice' of build_model is a Lambda"),
        (lambda: stack(Plain()), "Could not locate class 'Plain'. Decorate layers, losses and metrics of your own"),
        (own_loss, "Could not locate function 'my_loss'"),
        (defined_here, "'mine>Here', which build_model uses, is defined in this notebook or inside a function"),
        (shared_between_models, "has other weights once it is made from its configuration: 8 arrays instead of 6"),
        (large_weights, "2.9 MB of the weights of build_model's model are not made by its initialisers, the largest"),
        (lambda: stack(layers.ReLU(max_value=float("inf"))), "cannot be described as JSON: ValueError"),
    ],
    ids=["Lambda", "not registered", "own loss", "defined here", "shared between models", "large weights", "inf"],
)
def test_what_cannot_be_sent_is_refused_with_its_name(build, said):
    model = UserModel(lambda *_: build(), PARAMS)
    with pytest.raises(ModelBuildError) as caught:
        pack_model(model, IMAGES, 5)
    assert said in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        check_sent_model(model, np.ones((4, 8, 8, 1)), IMAGES, 5)
    assert said in str(caught.value)


LAYERS = """
import keras
from keras import layers

@keras.saving.register_keras_serializable("mine")
class Scaled(layers.Layer):
    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = TAKEN

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {**super().get_config(), KEPT}
"""


@pytest.fixture
def module_of(tmp_path, monkeypatch):
    """Return what makes an importable module of a text, as a package would bring it."""
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def make(text, name="their_layers"):
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        made.append(name)
        return importlib.import_module(name)

    yield make
    for name in made:
        sys.modules.pop(name, None)


def test_a_layer_of_an_importable_module_is_named_with_it(module_of):
    module = module_of(LAYERS.replace("KEPT", '"factor": self.factor').replace("TAKEN", "factor"))
    _, there, record = sent(lambda: stack(module.Scaled(0.5)))
    assert record["objects"] == {"mine>Scaled": "their_layers"}
    assert there.layers[0].factor == 0.5
    keras.saving.get_custom_objects().pop("mine>Scaled")
    sys.modules.pop("their_layers")  # as in a worker, which has not imported it yet
    again = received_code(record).family(OWN_MODEL).from_dict(PARAMS).build(IMAGES)
    assert (type(again.layers[0]).__module__, again.layers[0].factor) == ("their_layers", 0.5)


@pytest.mark.parametrize(
    ("kept", "taken", "said"),
    [
        ('"factor": self.factor', "factor / 2", r"is another one .*: the Scaled '\w+' has other settings"),
        ("**{}", "factor", "predicts something else once it is made from its configuration: up to"),
    ],
)
def test_a_layer_that_does_not_tell_all_of_itself_is_found(module_of, kept, taken, said):
    module = module_of(LAYERS.replace("KEPT", kept).replace("TAKEN", taken))
    with pytest.raises(ConfigError, match=said):
        check_sent_model(UserModel(lambda *_: stack(module.Scaled(0.5)), PARAMS), np.ones((4, 8, 8, 1)), IMAGES, 5)


# --- at the other end ------------------------------------------------------------------------------------------------


def arriving(**changes):
    return {**pack_model(UserModel(lambda *_: stack(), PARAMS), IMAGES, 5), **changes}


def made_of(record):
    return received_code(record).family(OWN_MODEL).from_dict(PARAMS).build(IMAGES)


@pytest.mark.parametrize("record", [5, "a", [], {}, {"config": None}, {"config": [1]}])
def test_what_is_no_model_is_no_part_of_a_job(record):
    with pytest.raises(BackendProtocol, match="The model of a job is no configuration of one"):
        received_code(record)


def test_a_job_without_a_model_is_one_of_a_family():
    assert received_code(None).family(OWN_MODEL) is None


LAMBDA = {"class_name": "__lambda__", "config": {"value": ["4wAAAA==", None, None]}}
DENSE = keras.saving.serialize_keras_object(layers.Dense(3))


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"config": DENSE}, BackendProtocol, "is of no model, but of a Dense"),
        ({"config": {}}, BackendProtocol, "is of no model, but of a dict"),
        ({"config": LAMBDA}, ModelBuildError, "Requested the deserialization of a Python lambda"),
        ({"config": {"class_name": "system", "module": "os", "config": {}}}, ModelBuildError, "locate class 'system'"),
        ({"config": {**DENSE, "config": 5}, "keras": "2.0"}, ModelBuildError, "here, and 2.0 at home"),
        ({"objects": {"mine>Gone": "no_such_module"}}, ModelBuildError, "'mine>Gone', which build_model uses (Module"),
        ({"objects": {"mine>Gone": "json"}}, ModelBuildError, "'json' that is installed there does not register it"),
        ({"objects": {"mine>Gone": "../x"}}, ModelBuildError, "'../x' is no module"),
        ({"objects": {"mine>Gone": 5}}, ModelBuildError, "'5' is no module"),
        ({"weights": "!"}, BackendProtocol, "The weights of a job's model cannot be read"),
        ({"weights": 5}, BackendProtocol, "The weights of a job's model cannot be read"),
        ({"weights": {99: np.zeros(3)}}, BackendProtocol, "The weights of a job's model cannot be read: IndexError"),
        ({"weights": {0: np.zeros(3)}}, BackendProtocol, "The weights of a job's model cannot be read: ValueError"),
    ],
)
def test_what_is_wrong_in_a_job_fails_the_trial_with_a_reason(changes, error, said):
    model = stack()
    if isinstance(changes.get("weights"), dict):
        changes = {"weights": sent_model._packed_weights(changes["weights"], model)}
    with pytest.raises(error) as caught:
        made_of(arriving(**changes))
    assert said in str(caught.value)


def test_pickled_weights_are_not_read(tmp_path):
    np.savez(tmp_path / "w.npz", **{"0": np.array([{}], dtype=object)})
    weights = base64.b64encode((tmp_path / "w.npz").read_bytes()).decode()
    with pytest.raises(BackendProtocol, match="allow_pickle=False"):
        made_of(arriving(weights=weights))
