import ast
import types

import keras
import numpy as np
import pytest

from hpoviz.architecture.source import keras_source, object_source
from hpoviz.data.info import DataInfo
from hpoviz.errors import ExportError
from hpoviz.models.cnn import CnnConfig

INFO = DataInfo(name="d", kind="image", input_shape=(9, 8, 2), class_names=("a", "b", "c"), mean=4.9, std=1 / 3)
CONFIGS = {
    "default": CnnConfig(),
    "adam": CnnConfig(optimizer="adam", learning_rate=0.0123, learning_rate_schedule="constant", filters=4),
    "adamw": CnnConfig(
        optimizer="adamw",
        weight_decay=0.07,
        learning_rate_schedule="cosine",
        pooling="average",
        num_layers_dense=3,
        dense_decay=0.75,
        activation="leaky_relu",
        epochs=7,
    ),
    "rmsprop": CnnConfig(
        optimizer="rmsprop",
        learning_rate=3e-4,
        learning_rate_schedule="exponential",
        learning_rate_decay=0.9,
        use_global_pooling=True,
        kernel_initializer="glorot_uniform",
        dropout_conv=0.3,
        num_layers_dense=0,
        activation="gelu",
    ),
    "sgd": CnnConfig(
        optimizer="sgd",
        momentum=0.5,
        learning_rate=0.05,
        learning_rate_schedule="reduce_on_plateau",
        pooling="none",
        num_layers_conv=1,
        kernel_size=7,
        use_batch_normalization=False,
        kernel_initializer="lecun_normal",
        l2=0.0,
        dropout_dense=0.0,
        activation="tanh",
    ),
    "swish": CnnConfig(optimizer="sgd", momentum=0.0, activation="swish", l2=0.5, filter_growth=1.5, batch_size=16),
    "augmented": CnnConfig(
        augment_flip=True,
        augment_shift=0.1,
        augment_rotation=0.05,
        augment_zoom=0.2,
        class_weight="balanced",
        filters=4,
    ),
    "elu": CnnConfig(activation="elu", weight_decay=0.0, optimizer="adamw", filters=1),
}


LABELS = [0, 1, 1, 2]


def run(source):
    """Execute a module's source as if it had been imported."""
    module = types.ModuleType("exported")
    exec(compile(source, "exported.py", "exec"), module.__dict__)
    return module


def exported(config, *, patience=6, title="A title."):
    model = config.build(INFO)
    source = keras_source(model, config, title=title, patience=patience)
    return model, source, run(source)


@pytest.fixture(scope="module", params=CONFIGS)
def both(request):
    """A config, its model, the exported source and the module that the source makes."""
    config = CONFIGS[request.param]
    return config, *exported(config)


def test_exported_model_is_the_same(both):
    _, model, _, module = both
    again = module.build_model()
    assert [layer.get_config() for layer in again.layers] == [layer.get_config() for layer in model.layers]
    assert again.count_params() == model.count_params()
    assert (again.name, again.input_shape) == (model.name, model.input_shape)


def test_exported_model_computes_the_same(both):
    _, model, _, module = both
    again = module.build_model()
    again.set_weights(model.get_weights())
    images = np.random.default_rng(0).random((3, 9, 8, 2)).astype(np.float32)
    assert np.array_equal(again.predict(images, verbose=0), model.predict(images, verbose=0))


def test_exported_model_is_compiled_in_the_same_way(both):
    config, model, _, module = both
    config.compile(model)
    again = module.build_model()
    assert type(again.optimizer) is type(model.optimizer)
    names = {"name": None}  # Keras counts its optimizers
    assert again.optimizer.get_config() | names == model.optimizer.get_config() | names
    assert again.loss == model.loss


def test_exported_source_needs_only_keras(both):
    imports = [node for node in ast.walk(ast.parse(both[2])) if isinstance(node, (ast.Import, ast.ImportFrom))]
    modules = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports}
    assert {"keras"} <= modules <= {"keras", "math", "numpy"}


def test_exported_learning_rate_is_the_same(both):
    config, _, _, module = both
    by_formula = config.learning_rate_schedule in ("cosine", "exponential")
    assert hasattr(module, "learning_rate") is by_formula
    if by_formula:
        rates = [module.learning_rate(epoch) for epoch in range(config.epochs)]
        assert rates == [config.learning_rate_at(epoch) for epoch in range(config.epochs)]


class Model:
    """Stands in for a model, to see what it is trained with."""

    def fit(self, *data, **options):
        self.data, self.options = data, options
        return "history"


def trained(module):
    model = Model()
    assert module.train(model, "x", LABELS, "x_val", "y_val") == "history"
    return model


def test_exported_training_is_the_same(both):
    config, _, _, module = both
    model = trained(module)
    callbacks = model.options.pop("callbacks")
    assert model.data == ("x", LABELS)
    weights = config.class_weights(np.array(LABELS))
    assert model.options == {
        "validation_data": ("x_val", "y_val"),
        "batch_size": config.batch_size,
        "epochs": config.epochs,
        **({} if weights is None else {"class_weight": dict(enumerate(weights))}),
    }
    *schedule, stopping = callbacks
    assert [type(item) for item in schedule] == [type(item) for item in config.schedule_callbacks()]
    assert type(stopping) is keras.callbacks.EarlyStopping
    assert (stopping.monitor, stopping.patience, stopping.restore_best_weights) == ("val_accuracy", 6, True)


def test_exported_plateau_schedule():
    *_, module = exported(CONFIGS["sgd"])
    plateau = trained(module).options["callbacks"][0]
    (wanted,) = CONFIGS["sgd"].schedule_callbacks()
    names = ("monitor", "factor", "patience", "min_delta", "min_lr", "cooldown")
    assert [getattr(plateau, name) for name in names] == [getattr(wanted, name) for name in names]


def test_without_early_stopping_every_epoch_is_trained():
    *_, module = exported(CnnConfig(epochs=12), patience=None)
    assert trained(module).options["callbacks"][-1].patience == 12


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras with NumPy 2
def test_exported_training_runs():
    config = CnnConfig(
        filters=2, num_layers_conv=1, num_layers_dense=0, epochs=2, learning_rate=0.5, learning_rate_schedule="cosine"
    )
    *_, module = exported(config)
    x, y = np.random.default_rng(0).random((8, 9, 8, 2), np.float32), np.arange(8) % 3
    model = module.build_model()
    history = module.train(model, x, y, x, y)
    assert history.history["learning_rate"] == pytest.approx([0.5, 0.25])


@pytest.mark.parametrize(
    "title", ['She said "hello"', '"""', 'ends with a quote"', "back\\slash", "{braces} {0}", "two\nlines", "ü × 2"]
)
def test_any_title_becomes_the_docstring(title):
    _, source, module = exported(CnnConfig(num_layers_conv=1, filters=1), title=title)
    assert module.__doc__ == title.replace("\\", "/").replace('"', "'")
    assert ast.get_docstring(ast.parse(source)) is not None


def test_lines_say_only_what_is_not_the_default():
    plain = {"l2": 0.0, "num_layers_dense": 0, "use_batch_normalization": False, "pooling": "none"}
    _, source, _ = exported(CnnConfig(num_layers_conv=1, **plain))
    layers = [line.strip() for line in source.splitlines() if line.strip().startswith("layers.")]
    assert layers == [
        "layers.Input((9, 8, 2)),",
        'layers.Rescaling(3.0, name="standardize", offset=-14.700000000000001),',
        'layers.Conv2D(32, (3, 3), name="conv_1", padding="same", kernel_initializer=keras.initializers.HeNormal()),',
        'layers.Activation("relu", name="conv_1_relu"),',
        'layers.Flatten(name="flatten"),',
        'layers.Dense(3, name="probabilities", activation="softmax"),',
    ]


@pytest.mark.parametrize(
    ("thing", "module", "source"),
    [
        (keras.optimizers.Adam(), "keras.optimizers", "keras.optimizers.Adam()"),
        (keras.optimizers.Adam(0.001), "keras.optimizers", "keras.optimizers.Adam()"),
        (keras.optimizers.Adam(0.1), "keras.optimizers", "keras.optimizers.Adam(learning_rate=0.1)"),
        (keras.optimizers.SGD(0.01, momentum=0.9), "keras.optimizers", "keras.optimizers.SGD(momentum=0.9)"),
        (keras.optimizers.SGD(nesterov=True), "o", "o.SGD(nesterov=True)"),
        (keras.regularizers.L2(0.5), "keras.regularizers", "keras.regularizers.L2(l2=0.5)"),
        (keras.layers.Dropout(0.25, name="d"), "layers", 'layers.Dropout(0.25, name="d")'),
        (keras.layers.Flatten(name='a"b'), "layers", 'layers.Flatten(name="a\\"b")'),
        (keras.layers.Dense(3, use_bias=False, name="d"), "layers", 'layers.Dense(3, name="d", use_bias=False)'),
        (
            keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L1(0.5), name="d"),
            "layers",
            'layers.Dense(3, name="d", kernel_regularizer=keras.regularizers.L1(l1=0.5))',
        ),
    ],
)
def test_object_source(thing, module, source):
    assert object_source(thing, module) == source


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2D(3, (2, 3), strides=(1, 2), activation="relu", kernel_initializer="he_normal", name="a"),
        keras.layers.BatchNormalization(momentum=0.5, epsilon=1e-4, name="b"),
        pytest.param(
            keras.layers.MaxPooling2D(3, strides=2, padding="same", name="c"),
        ),
        keras.layers.Dense(4, kernel_initializer=keras.initializers.RandomNormal(0.1, 0.2, seed=3), name="d"),
        keras.layers.Dense(4, kernel_constraint=keras.constraints.MaxNorm(2), name="e"),
        keras.layers.LeakyReLU(negative_slope=0.125, name="f"),
        keras.layers.Reshape((2, 2), name="g"),
        keras.layers.SeparableConv2D(3, 3, depth_multiplier=2, name="h"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_object_source_makes_the_same_layer(layer):
    again = eval(object_source(layer, "layers"), {"keras": keras, "layers": keras.layers})
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()


def test_model_that_is_not_sequential():
    inputs = keras.Input((9, 8, 2))
    model = keras.Model(inputs, keras.layers.Flatten()(inputs))
    with pytest.raises(ExportError, match=r"Only a keras.Sequential model .* Got Functional. Save it with save_model"):
        keras_source(model, CnnConfig(), title="t", patience=None)


class Doubled(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


def test_layer_that_is_not_of_keras():
    model = keras.Sequential([keras.Input((9, 8, 2)), Doubled(name="twice")])
    with pytest.raises(ExportError, match=r"Layer 'twice' is a Doubled of .*, not Keras' own"):
        keras_source(model, CnnConfig(), title="t", patience=None)
