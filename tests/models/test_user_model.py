"""Models of the user's own: their parameters, how they are built, checked, saved and sent to workers."""

import itertools
import json
import math
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
from keras import layers

from hpoviz.data.dataset import Dataset
from hpoviz.errors import ConfigError, ModelBuildError
from hpoviz.models.model_config import ModelConfig
from hpoviz.models.user_code import UserCode, pack_user_code
from hpoviz.models.user_model import OWN_MODEL, UserModel, UserModelFamily, as_probabilities, check_user_model
from hpoviz.search.sampler import try_space
from hpoviz.search.space import CustomSpace, SearchSpace, own_parameters

pytestmark = pytest.mark.slow

PARAMS = {"units": 3, "batch_size": 32, "epochs": 2}
DECLARED = UserModelFamily(print).parameters()
GOOD, BAD = "a fine warm day and we liked it", "a dull cold night and we hated it"


@pytest.fixture(autouse=True)
def keras_registry():
    """Take away what a test registers with Keras."""
    registry = keras.saving.get_custom_objects()
    before = dict(registry)
    yield
    registry.clear()
    registry.update(before)


@pytest.fixture(scope="module")
def texts():
    """80 short texts of two classes."""
    rng = np.random.default_rng(0)
    lines = [" ".join(rng.permutation((GOOD, BAD)[i % 2].split())) for i in range(80)]
    return Dataset.from_arrays(lines, [i % 2 for i in range(80)], name="opinions")


def compiled(model, loss="sparse_categorical_crossentropy", metrics=("accuracy",)):
    """Compile a model as users do."""
    model.compile(keras.optimizers.Adam(0.03), loss=loss, metrics=list(metrics))
    return model


def dense(params, data, *between, last="softmax"):
    """A small model of images, with layers put in between."""
    inner = [layers.Flatten(), *between, layers.Dense(params["units"]), layers.Dense(data.num_classes, last)]
    return compiled(keras.Sequential([layers.Input(data.input_shape), *inner]))


def embedding(params, data):
    """A small model of token numbers."""
    return compiled(
        keras.Sequential(
            [
                layers.Input(data.input_shape, dtype="int32"),
                layers.Embedding(len(data.vocabulary) + 2, params["units"]),
                layers.GlobalAveragePooling1D(),
                layers.Dense(data.num_classes, "softmax"),
            ]
        )
    )


def functional_embedding(params, data):
    tokens = layers.Input(data.input_shape, dtype="int32")
    vectors = layers.Embedding(len(data.vocabulary) + 2, params["units"])(tokens)
    outputs = layers.Dense(data.num_classes)(layers.GlobalAveragePooling1D()(vectors))
    return compiled(keras.Model(tokens, outputs), keras.losses.SparseCategoricalCrossentropy(from_logits=True))


def check(build_model, data):
    """Check a model as the Optimizer does."""
    model = UserModelFamily(build_model).from_dict(PARAMS)
    check_user_model(model, PARAMS, data.x, data.y, data.split().info)


def cell(source):
    """Run source as a notebook does: what it defines belongs to ``__main__``, and no file has it."""
    names = {"__name__": "__main__"}
    exec(source, names)
    return names


# --- parameters of the user's own --------------------------------------------------------------------------------


def test_a_tuple_of_two_whole_numbers_is_a_range_of_whole_numbers():
    own = own_parameters({"units": (16, 128)}, DECLARED)["units"]
    assert (own.type, own.search, own.choices, own.log) == (int, (16, 128), None, False)
    assert own.problem(200) == "units must be a whole number from 16 to 128. Got 200."


@pytest.mark.parametrize("wish", [(1, 2.5), (1.0, 2), (0.5, 0.75)])
def test_a_range_with_a_broken_end_is_one_of_numbers(wish):
    own = own_parameters({"rate": wish}, DECLARED)["rate"]
    assert own.type is float
    assert [type(end) for end in own.search] == [float, float]
    assert own.search == wish


@pytest.mark.parametrize(
    ("wish", "log"),
    [
        ((1, 100), True),
        ((1, 99), False),
        ((1e-4, 1e-2), True),
        ((1e-4, 0.9e-2), False),
        ((0, 100_000), False),
        ((0.0, 1.0), False),
        ((-1, 1000), False),
    ],
)
def test_a_positive_range_over_two_orders_of_magnitude_is_searched_by_them(wish, log):
    assert own_parameters({"rate": wish}, DECLARED)["rate"].log is log


@pytest.mark.parametrize(
    ("wish", "choices"),
    [
        (["relu", "tanh"], ("relu", "tanh")),
        (("relu", "tanh"), ("relu", "tanh")),
        ([16, 64, 16], (16, 64)),
        ((16, 32, 64), (16, 32, 64)),
        ([0.5, None, "auto", True], (0.5, None, "auto", True)),
        ([True, False], (True, False)),
        ((True, False), (True, False)),
        ([8], (8,)),
        (8, (8,)),
        (0.5, (0.5,)),
        ("relu", ("relu",)),
        (True, (True,)),
        (None, (None,)),
        ((4, 4), (4,)),
    ],
)
def test_anything_else_is_choices_or_a_fixed_value(wish, choices):
    own = own_parameters({"mine": wish}, DECLARED)["mine"]
    assert own.choices == choices
    assert [type(choice) for choice in own.choices] == [type(choice) for choice in choices]
    assert own.default == choices[0]
    assert own.search is None


def test_declared_parameters_stay_what_they_are():
    assert list(own_parameters({"batch_size": 16, "units": 4, "epochs": (2, 4)}, DECLARED)) == ["units"]
    assert own_parameters(lambda trial: {}, DECLARED) == {}
    assert own_parameters({}, DECLARED) == {}


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"units": (64, 8)}, "the range of units is upside down: (64, 8). Write (8, 64)."),
        ({"units": []}, "units has no choices."),
        ({"units": ()}, "units has no choices."),
        ({"units": {"low": 1}}, "units must be a number, a string, True, False or None. Got {'low': 1}."),
        ({"units": [8, [16]]}, "units must be a number, a string, True, False or None. Got [16]."),
        ({"units": (1, print)}, "units must be a number, a string, True, False or None. Got <built-in"),
        ({"units": [1.0, math.nan]}, "units must be finite, at most 1e+300 in size. Got nan."),
        ({7: (1, 2)}, "the name of a parameter must be a string. Got 7."),
    ],
)
def test_wrong_wishes_are_told(wish, message):
    with pytest.raises(ConfigError) as caught:
        own_parameters(wish, DECLARED)
    assert f"search_space: {message}" in str(caught.value)


def test_all_wrong_wishes_are_told_at_once_and_each_once():
    with pytest.raises(ConfigError) as caught:
        own_parameters({"a": [{}, {}], "b": [], "c": 1, "d": b""}, DECLARED)
    assert [line.split()[1] for line in str(caught.value).splitlines()] == ["a", "d", "b"]


def test_own_parameters_are_proposed_beside_the_declared_ones():
    own = own_parameters({"units": (2, 4), "rate": (1e-4, 1e-1), "bend": [None, "relu"], "flag": True}, DECLARED)
    space = SearchSpace(own | DECLARED, {"batch_size": 16, "epochs": 3})
    params = try_space(space)
    assert list(params) == ["units", "rate", "bend", "flag", "batch_size", "epochs"]
    assert type(params["units"]) is int
    assert 2 <= params["units"] <= 4
    assert 1e-4 <= params["rate"] <= 1e-1
    assert params["bend"] in (None, "relu")
    assert (params["flag"], params["batch_size"], params["epochs"]) == (True, 16, 3)


def test_an_open_space_function_may_add_parameters_which_become_plain_values():
    space = CustomSpace(
        DECLARED,
        lambda trial: {
            "units": trial.suggest_int("units", 2, 4),
            "scale": np.float32(0.5),
            "deep": np.bool_(True),
            "steps": np.int64(7),
            "bend": None,
            "epochs": np.int64(3),
        },
        open_=True,
    )
    params = try_space(space)
    assert params == json.loads(json.dumps(params))
    assert 2 <= params.pop("units") <= 4
    assert params == {"scale": 0.5, "deep": True, "steps": 7, "bend": None, "batch_size": 32, "epochs": 3}
    assert type(params["deep"]) is bool


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({"units": [1, 2]}, "units must be a number, a string, True, False or None. Got [1, 2]."),
        ({"units": math.nan}, "units must be finite, at most 1e+300 in size. Got nan."),
        ({3: 1}, "the name of a parameter must be a string. Got 3."),
        ({"units": 3, "epochs": 0}, "epochs must be a whole number from 1 to"),
        ({"units": 3, "batch_size": "many"}, "batch_size must be a whole number from 1 to"),
        (None, "must return a dictionary of parameters. Got NoneType."),
    ],
)
def test_what_an_open_space_function_returns_is_checked(returned, message):
    with pytest.raises(ConfigError) as caught:
        try_space(CustomSpace(DECLARED, lambda trial: returned, open_=True))
    assert message in str(caught.value)


def test_a_space_function_that_is_not_open_may_add_nothing():
    with pytest.raises(ConfigError, match=r"unknown parameter 'epoch'\. Did you mean 'epochs'"):
        try_space(CustomSpace(DECLARED, lambda trial: {"epoch": 3}))


# --- building ----------------------------------------------------------------------------------------------------


def test_a_family_declares_batch_size_and_epochs_alone():
    family = UserModelFamily(dense)
    assert {name: item.default for name, item in family.parameters().items()} == {"batch_size": 32, "epochs": 20}
    assert family.parameters()["epochs"] == ModelConfig.parameters()["epochs"]
    model = family.from_dict({"batch_size": 16, "epochs": 3, "units": 4})
    assert (model.batch_size, model.epochs) == (16, 3)


def test_build_gives_the_function_its_parameters_and_the_data(stripes):
    info, seen = stripes.split().info, []

    def build_model(params, data):
        seen.append((dict(params), data))
        params.clear()  # its own copy
        return dense(PARAMS, data)

    model = UserModel(build_model, PARAMS)
    model.build(info)
    model.build(info)
    assert seen == [(PARAMS, info)] * 2
    assert PARAMS["units"] == 3


def test_a_model_without_an_input_is_given_its_weights(stripes, texts):
    def build_model(params, data):
        first = layers.Flatten() if data.kind == "image" else layers.Embedding(len(data.vocabulary) + 2, 4)
        return compiled(keras.Sequential([first, layers.Flatten(), layers.Dense(data.num_classes, "softmax")]))

    for data in (stripes, texts):
        info = data.split().info
        model = UserModel(build_model, PARAMS).build(info)
        words = math.prod(info.input_shape)
        expected = 64 * 2 + 2 if data is stripes else 4 * (len(info.vocabulary) + 2) + 2 * (4 * words) + 2
        assert model.count_params() == expected


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, r"must return a compiled keras\.Model\. It returned NoneType\. Does the function end in return model"),
        ("model", r"must return a compiled keras\.Model\. It returned str\.$"),
        (keras.layers.Dense, r"It returned type\.$"),
    ],
)
def test_what_is_no_model_is_refused(stripes, returned, message):
    with pytest.raises(ModelBuildError, match=message):
        UserModel(lambda params, data: returned, PARAMS).build(stripes.split().info)
    with pytest.raises(ConfigError, match=message):
        check(lambda params, data: returned, stripes)


def test_a_model_that_is_not_compiled_is_refused(stripes):
    def build_model(params, data):
        return keras.Sequential([layers.Input(data.input_shape), layers.Flatten(), layers.Dense(2, "softmax")])

    message = r"returned a model that is not compiled\. Call model\.compile\(.*sparse_categorical_crossentropy"
    with pytest.raises(ModelBuildError, match=message):
        UserModel(build_model, PARAMS).build(stripes.split().info)
    with pytest.raises(ConfigError, match=message):
        check(build_model, stripes)


def test_compile_and_prepare_leave_everything_to_the_user(stripes):
    split = stripes.split()
    user_model = UserModel(dense, PARAMS)
    model = user_model.build(split.info)
    optimizer = model.optimizer
    user_model.compile(model)
    assert model.optimizer is optimizer
    assert user_model.prepare(split.x_train, split.info) is split.x_train
    assert user_model.schedule_callbacks() == []


# --- saving ------------------------------------------------------------------------------------------------------


def test_a_trained_image_model_is_exported_with_its_weights_and_an_unused_optimizer(stripes):
    split = stripes.split()
    user_model = UserModel(dense, PARAMS)
    model = user_model.build(split.info)
    model.fit(split.x_train, split.y_train, verbose=0)
    exported = user_model.export(model, split.info)
    assert exported is not model
    assert int(model.optimizer.iterations) > 0
    assert int(exported.optimizer.iterations) == 0
    assert float(exported.optimizer.learning_rate) == pytest.approx(0.03)
    assert exported.predict(split.x_val, verbose=0) == pytest.approx(model.predict(split.x_val, verbose=0), abs=1e-6)
    assert exported.evaluate(split.x_val, split.y_val, verbose=0) == pytest.approx(
        model.evaluate(split.x_val, split.y_val, verbose=0), abs=1e-5
    )


@pytest.mark.parametrize("build_model", [embedding, functional_embedding])
def test_a_trained_text_model_is_exported_so_that_it_takes_texts(texts, build_model):
    split = texts.split(seed=0)
    user_model = UserModel(build_model, PARAMS)
    model = user_model.build(split.info)
    model.fit(split.x_train, split.y_train, verbose=0)
    exported = user_model.export(model, split.info)
    lines = [GOOD, BAD, "We LIKED it, a fine day!", "zebra", " ".join([GOOD] * 20)]
    known = {word: token for token, word in enumerate(split.info.vocabulary, start=2)}
    width = split.info.input_shape[0]
    tokens = np.zeros((5, width), "int32")
    for row, line in zip(tokens, lines, strict=True):
        words = line.lower().replace(",", "").replace("!", "").split()[:width]
        row[: len(words)] = [known.get(word, 1) for word in words]
    raw, labels = keras.ops.convert_to_tensor(lines), np.array([0, 1, 0, 1, 0])
    outputs = exported.predict(raw, verbose=0)
    assert outputs == pytest.approx(model.predict(tokens, verbose=0), abs=1e-5)
    assert np.ptp(outputs, axis=0).min() > 0  # the words matter
    figures = exported.evaluate(raw, labels, verbose=0, return_dict=True)
    assert figures == pytest.approx(model.evaluate(tokens, labels, verbose=0, return_dict=True), abs=1e-5)
    assert {"loss", "accuracy"} <= set(figures)
    assert type(exported.optimizer) is keras.optimizers.Adam
    assert int(exported.optimizer.iterations) == 0
    assert float(exported.optimizer.learning_rate) == pytest.approx(0.03)


# --- probabilities -----------------------------------------------------------------------------------------------


def test_probabilities_stay_as_they_are():
    logits = np.random.default_rng(0).normal(0, 5, (50, 7)).astype("float32")
    given = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert as_probabilities(given) is given


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([[0.0, 0.0]], [[0.5, 0.5]]),
        ([[0.0, math.log(3)], [5.0, 5.0]], [[0.25, 0.75], [0.5, 0.5]]),
        ([[1000.0, 0.0], [0.0, -1000.0]], [[1.0, 0.0], [1.0, 0.0]]),
        ([[1.0, 0.0], [2.0, 2.0]], [[math.e / (1 + math.e), 1 / (1 + math.e)], [0.5, 0.5]]),
        ([[-1.0, 2.0]], [[1 / (1 + math.e**3), 1 / (1 + math.e**-3)]]),  # its sum is 1
    ],
)
def test_logits_become_probabilities(outputs, expected):
    assert as_probabilities(np.array(outputs)) == pytest.approx(np.array(expected))


# --- the check before a search -----------------------------------------------------------------------------------


def functional(params, data):
    images = layers.Input(data.input_shape)
    flat = layers.Flatten()(images)
    both = layers.Concatenate()([layers.Dense(params["units"])(flat), layers.Dense(4)(flat)])
    return compiled(keras.Model(images, layers.Dense(data.num_classes, "softmax")(both)))


def logits(params, data):
    return compiled(dense(params, data, last=None), keras.losses.SparseCategoricalCrossentropy(from_logits=True))


def regularised(params, data):
    return dense(params, data, layers.BatchNormalization(), layers.Dropout(0.5), layers.GaussianNoise(0.1))


def named_metric(params, data):
    return compiled(dense(params, data), metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")])


def without_input(params, data):
    return compiled(keras.Sequential([layers.Flatten(), layers.Dense(data.num_classes, "softmax")]))


@pytest.mark.parametrize("build_model", [dense, functional, logits, regularised, named_metric, without_input])
def test_good_models_of_images_pass_the_check(stripes, build_model):
    assert check(build_model, stripes) is None


@pytest.mark.parametrize("build_model", [embedding, functional_embedding])
def test_good_models_of_texts_pass_the_check(texts, build_model):
    assert check(build_model, texts) is None


def test_a_registered_subclass_of_keras_model_passes_the_check(stripes):
    @keras.saving.register_keras_serializable("test_user_model")
    class Net(keras.Model):
        def __init__(self, classes, **kwargs):
            super().__init__(**kwargs)
            self.classes, self.flatten, self.last = classes, layers.Flatten(), layers.Dense(classes, "softmax")

        def call(self, images):
            return self.last(self.flatten(images))

        def get_config(self):
            return {**super().get_config(), "classes": self.classes}

    assert check(lambda params, data: compiled(Net(data.num_classes)), stripes) is None


def test_an_error_of_the_function_is_told_with_its_parameters(stripes):
    with pytest.raises(ConfigError) as caught:
        check(lambda params, data: dense({"units": params["unit"]}, data), stripes)
    assert str(caught.value) == f"build_model failed with params={PARAMS!r}: KeyError: 'unit'"
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_model_for_other_samples_is_refused(stripes):
    def build_model(params, data):
        return compiled(keras.Sequential([layers.Input((5, 5, 1)), layers.Flatten(), layers.Dense(2, "softmax")]))

    message = r"cannot take samples of shape \(8, 8, 1\) \(float32\): .* Use data\.input_shape for its input\."
    with pytest.raises(ConfigError, match=message):
        check(build_model, stripes)


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_model_with_other_outputs_than_classes_is_refused(stripes, outputs):
    def build_model(params, data):
        last = layers.Dense(outputs, "sigmoid")
        return compiled(keras.Sequential([layers.Input(data.input_shape), layers.Flatten(), last]), "mse")

    with pytest.raises(ConfigError) as caught:
        check(build_model, stripes)
    assert f"one value a class, shape (8, 2) for 8 samples. It gives (8, {outputs})." in str(caught.value)


def test_a_model_with_an_output_a_pixel_is_refused(stripes):
    def build_model(params, data):
        return compiled(keras.Sequential([layers.Input(data.input_shape), layers.Dense(2, "softmax")]))

    with pytest.raises(ConfigError, match=r"It gives \(8, 8, 8, 2\)\. End it in Dense\(data\.num_classes"):
        check(build_model, stripes)


def test_logits_for_a_loss_that_takes_probabilities_are_refused(stripes):
    def model_with(loss):
        model = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2)])
        model.set_weights([np.ones((64, 2)), np.array([-1e6, 0])])
        return compiled(model, loss)

    with pytest.raises(ConfigError, match=r"gives numbers from -1e\+06 to .* compile it with .*from_logits=True"):
        check(lambda params, data: model_with("sparse_categorical_crossentropy"), stripes)
    check(lambda params, data: model_with(keras.losses.SparseCategoricalCrossentropy(from_logits=True)), stripes)


def test_a_loss_for_one_hot_labels_is_refused(stripes):
    message = r"cannot be evaluated with labels 0 to 1: .* loss=\"sparse_categorical_crossentropy\""
    with pytest.raises(ConfigError, match=message):
        check(lambda params, data: compiled(dense(params, data), "categorical_crossentropy"), stripes)


@pytest.mark.parametrize("metrics", [[], ["acc"], ["sparse_categorical_accuracy"]])
def test_a_model_that_does_not_report_its_accuracy_is_refused(stripes, metrics):
    def build_model(params, data):
        model = keras.Sequential([layers.Input(data.input_shape), layers.Flatten(), layers.Dense(2, "softmax")])
        return compiled(model, metrics=metrics)

    with pytest.raises(ConfigError) as caught:
        check(build_model, stripes)
    named = str(caught.value).partition("does not report its accuracy, but ")[2].partition(".")[0]
    assert sorted(named.split(", ")) == sorted(["loss", *metrics])
    assert 'metrics=["accuracy"]' in str(caught.value)


CANNOT_BE_SAVED = r"cannot be saved and loaded back: .*register_keras_serializable\(\).*instead of a Lambda layer"


def test_a_lambda_layer_is_refused(stripes):
    with pytest.raises(ConfigError, match=CANNOT_BE_SAVED):
        check(lambda params, data: dense(params, data, layers.Lambda(lambda x: 2 * x)), stripes)


def test_an_unregistered_layer_without_a_config_is_refused(stripes):
    class Scaled(layers.Layer):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def call(self, x):
            return x * float(self.factor)

    with pytest.raises(ConfigError, match=CANNOT_BE_SAVED):
        check(lambda params, data: dense(params, data, Scaled(np.float32(0.5))), stripes)
    with pytest.raises(ConfigError, match=CANNOT_BE_SAVED):
        check(lambda params, data: dense(params, data, Scaled(0.5)), stripes)


def test_a_model_that_predicts_something_else_once_loaded_is_refused(stripes):
    made = itertools.count(1)

    @keras.saving.register_keras_serializable("test_user_model")
    class Unlike(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.factor = 0.1 * next(made)

        def call(self, x):
            return x * self.factor

    with pytest.raises(ConfigError, match=r"predicts something else once it was saved and loaded back: up to \d"):
        check(lambda params, data: dense(params, data, Unlike()), stripes)


def test_a_function_that_builds_another_model_each_time_is_refused(stripes):
    sizes = iter(range(3, 100))
    with pytest.raises(ConfigError, match="cannot be saved and loaded back: ValueError"):
        check(lambda params, data: dense({"units": next(sizes)}, data), stripes)


def test_the_check_leaves_no_file(stripes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    check(dense, stripes)
    assert list(tmp_path.iterdir()) == []


# --- on the way to workers ---------------------------------------------------------------------------------------

CELL = """
import keras
from keras import layers

@keras.saving.register_keras_serializable("cell")
class Scaled(layers.Layer):
    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}

@keras.saving.register_keras_serializable("cell")
def bend(x):
    return keras.ops.relu(x)

keras.saving.get_custom_objects()["plain"] = bend

class Counting(keras.callbacks.Callback):
    def __init__(self, start):
        super().__init__()
        self.count = start

factor = 0.25

def helper(units):
    return layers.Dense(units, activation=bend)

def make(classes):
    def build_model(params, data):
        model = keras.Sequential([layers.Input((4,)), Scaled(factor), helper(params["units"]), layers.Dense(classes)])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model
    return build_model
"""

ELSEWHERE = """
import sys
from pathlib import Path
from hpoviz.models.user_code import UserCode
code = UserCode.unpack(Path(sys.argv[1]).read_bytes())
import json, keras
model = code.build_model({"units": 5}, None)
model.save("model.keras")
loaded = keras.saving.load_model("model.keras")
first, second = code.fresh_callbacks(), code.fresh_callbacks()
first[0].count += 1
print(json.dumps({
    "loaded": [type(layer).__name__ for layer in loaded.layers],
    "factor": loaded.layers[0].factor,
    "parameters": loaded.count_params(),
    "registered": sorted(code.custom_objects),
    "known": keras.saving.get_registered_name(type(model.layers[0])),
    "function": keras.saving.get_registered_object("cell>bend").__name__,
    "plain": keras.saving.get_custom_objects()["plain"].__name__,
    "counts": [first[0].count, second[0].count],
    "fresh": first[0] is not second[0],
}))
"""


def test_the_code_of_a_notebook_arrives_in_another_process_by_value(tmp_path):
    names = cell(CELL)
    (tmp_path / "code").write_bytes(pack_user_code(names["make"](classes=7), [names["Counting"](10)]))
    out = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, "code"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert out.returncode == 0, out.stderr
    assert json.loads(out.stdout.splitlines()[-1]) == {
        "loaded": ["Scaled", "Dense", "Dense"],
        "factor": 0.25,
        "parameters": (4 * 5 + 5) + (5 * 7 + 7),
        "registered": ["cell>Scaled", "cell>bend", "plain"],
        "known": "cell>Scaled",
        "function": "bend",
        "plain": "bend",
        "counts": [11, 10],
        "fresh": True,
    }


def test_only_objects_that_a_worker_cannot_import_are_sent():
    names = cell(CELL)
    keras.saving.register_keras_serializable("test_user_model")(UserModelFamily.from_dict)
    code = UserCode.unpack(pack_user_code(names["make"](2), []))
    assert sorted(code.custom_objects) == ["cell>Scaled", "cell>bend", "plain"]


def test_without_code_of_the_users_there_is_nothing_to_send():
    assert pack_user_code(None, []) is None
    nothing = UserCode.unpack(None)
    assert nothing.family(OWN_MODEL) is None
    assert nothing.fresh_callbacks() == []


def test_callbacks_go_alone_too():
    code = UserCode.unpack(pack_user_code(None, [keras.callbacks.EarlyStopping("loss", patience=4)]))
    (callback,) = code.fresh_callbacks()
    assert (type(callback), callback.monitor, callback.patience) == (keras.callbacks.EarlyStopping, "loss", 4)
    assert code.family(OWN_MODEL) is None


def test_unpacked_code_has_the_family_of_the_users_model_and_no_other():
    code = UserCode.unpack(pack_user_code(lambda params, data: params["units"], []))
    assert code.family("cnn") is None
    assert code.family(OWN_MODEL).build_model({"units": 4}, None) == 4
    assert code.fresh_callbacks() == []


def test_callbacks_are_those_of_the_moment_of_packing_and_fresh_at_each_call():
    given = keras.callbacks.EarlyStopping(patience=4)
    code = UserCode.unpack(pack_user_code(None, [given]))
    given.patience = 99
    code.fresh_callbacks()[0].patience = 7
    assert code.fresh_callbacks()[0].patience == 4


def test_a_function_that_holds_what_cannot_be_sent_is_refused():
    lock = threading.Lock()

    def build_model(params, data):
        with lock:
            return dense(params, data)

    with pytest.raises(ConfigError, match=r"^build_model cannot be sent to worker processes: TypeError: .*lock"):
        pack_user_code(build_model, [])


def test_callbacks_that_hold_what_cannot_be_sent_are_refused(tmp_path):
    with (tmp_path / "log").open("w") as file:
        callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: file.write("."))
        with pytest.raises(ConfigError, match=r"^callbacks cannot be sent to worker processes: .*open files"):
            pack_user_code(None, [callback])


def test_much_data_is_refused_and_its_variable_named():
    names = cell(
        "import numpy as np\nimages, labels = np.zeros(1_500_000), np.zeros(300)\n"
        "def build_model(params, data):\n    return images, labels"
    )
    with pytest.raises(ConfigError, match=r"carry 12\.0 MB of data .* more than 10 MB, .* variable 'images' \(12\.0"):
        pack_user_code(names["build_model"], [])


def test_much_data_of_a_closure_is_named_too():
    small, large = np.zeros(100), np.zeros(2_000_000)
    with pytest.raises(ConfigError, match=r"carry 16\.0 MB .* variable 'large' \(16\.0 MB\)"):
        pack_user_code(lambda params, data: (small, large), [])


def test_less_data_than_the_limit_is_sent():
    table = np.arange(1_200_000.0)
    code = UserCode.unpack(pack_user_code(lambda params, data: table, []))
    assert np.array_equal(code.build_model({}, None), table)
