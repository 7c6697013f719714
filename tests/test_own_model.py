"""Searches for models and with callbacks of the user's own, with real worker processes."""

import json
import math
import shutil
import subprocess
import sys
import time
import warnings

import keras
import numpy as np
import pytest
import yaml
from keras import layers

import hpoviz
from hpoviz.backends.local import LocalBackend
from hpoviz.errors import ConfigError, ExportError, StoreError
from hpoviz.events import WorkerLost, event_from_json
from tests.conftest import SMALL_SPACE

pytestmark = pytest.mark.slow

GOOD = ["a fine day", "what a good film", "lovely and bright", "we liked it a lot", "warm and friendly"]
BAD = ["a dull day", "what a bad film", "ugly and dark", "we hated it a lot", "cold and hostile"]


class StopsAtItsSecondEpoch(keras.callbacks.Callback):
    """Counts the epochs it has seen: one that two trials share would stop the second of them at once."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def on_epoch_end(self, epoch, logs=None):
        self.seen += 1
        if self.seen >= 2:
            self.model.stop_training = True


def two_layers(params, data):
    """A model that gives logits, and says so to its loss."""
    inner = [layers.BatchNormalization()] if params["normalize"] else []
    model = keras.Sequential(
        [
            layers.Input(data.input_shape),
            layers.Flatten(),
            *inner,
            layers.Dense(params["units"], activation=params["activation"]),
            layers.Dense(data.num_classes),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(params["rate"]), loss=loss, metrics=["accuracy"])
    return model


SPACE = {
    "units": (4, 12),
    "activation": ["relu", None],
    "rate": (1e-3, 1e-1),
    "normalize": [True, False],
    "kind": "small",
    "batch_size": [16, 32],
}


@pytest.fixture(scope="module")
def search(stripes, tmp_path_factory):
    """A finished search of four trials on two workers, for a model of logits."""
    opt = hpoviz.Optimizer(
        stripes,
        trials=4,
        epochs=5,
        seed=1,
        workers=2,
        build_model=two_layers,
        callbacks=[StopsAtItsSecondEpoch()],
        search_space=SPACE,
        run_dir=tmp_path_factory.mktemp("runs") / "search",
    )
    opt.run()
    return opt


def test_a_search_for_a_model_of_the_users_own_ends_with_a_trained_one(search):
    assert repr(search.status()).startswith("completed: 4 finished of 4; best score")
    assert search.best_trial.accuracy > 0.9
    assert "architecture: your own: two_layers" in repr(search)
    assert "slots=2" in (search.run_dir / "hpoviz.log").read_text()


def test_results_have_a_column_for_every_parameter_of_the_users_own(search):
    columns = [name for name in search.results if name.startswith("params_")]
    assert sorted(columns) == sorted(f"params_{name}" for name in (*SPACE, "epochs"))
    assert search.results["params_units"].between(4, 12).all()
    for trial in search.trials:
        params = trial.params
        assert type(params["units"]) is int
        assert 1e-3 <= params["rate"] <= 1e-1
        assert params["activation"] in ("relu", None)
        assert type(params["normalize"]) is bool
        assert (params["kind"], params["epochs"]) == ("small", 5)
        assert params["batch_size"] in (16, 32)
        normalized = 4 * 64 if params["normalize"] else 0
        assert trial.result.parameters == normalized + 65 * params["units"] + 2 * params["units"] + 2
    assert len({trial.params["rate"] for trial in search.trials}) == 4


def test_every_trial_has_fresh_callbacks(search):
    assert [len(trial.history) for trial in search.trials] == [2, 2, 2, 2]


def test_the_best_model_is_compiled_as_the_user_did_and_evaluates_as_recorded(search, stripes):
    split = stripes.split(seed=search.seed)
    model = search.best_model
    figures = model.evaluate(split.x_val, split.y_val, verbose=0, return_dict=True)
    assert figures["accuracy"] == pytest.approx(search.best_trial.accuracy, abs=1e-6)
    assert figures["loss"] == pytest.approx(search.best_trial.result.loss, rel=1e-3)
    assert model.loss.get_config()["from_logits"] is True
    assert float(model.optimizer.learning_rate) == pytest.approx(search.best_params["rate"])
    assert int(model.optimizer.iterations) == 0


def test_the_best_model_trains_on(search, stripes):
    model = search.best_model
    history = model.fit(stripes.x, stripes.y, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_evaluate_takes_logits_for_what_they_are(search, stripes):
    outputs = search.best_model.predict(stripes.x_test, verbose=0)
    assert not np.allclose(outputs.sum(axis=1), 1)
    score = search.evaluate()
    loss, accuracy = search.best_model.evaluate(stripes.x_test, stripes.y_test, verbose=0)
    assert score.accuracy == pytest.approx(accuracy, abs=1e-6)
    assert score.loss == pytest.approx(loss, rel=1e-3)


def test_best_hyperparameters_name_those_of_the_users_own(search):
    record = yaml.safe_load((search.run_dir / "best_hyperparameters.yaml").read_text())
    assert record["hyperparameters"] == search.best_params
    assert record["architecture"] == "build_model"


def test_summary_and_the_settings_name_the_users_parameters(search):
    assert search.summary().startswith(f"Trial {search.best_trial.number} won with a validation accuracy of")
    rows = json.loads((search.run_dir / "run.json").read_text())["search_space"]
    searched = {row["name"]: row["searched"] for row in rows}
    assert searched["units"] == "4 to 12"
    assert searched["rate"] == "0.001 to 0.1 (log)"
    assert searched["kind"] == "fixed: small"


def test_there_is_no_source_of_a_model_that_the_user_builds(search):
    with pytest.raises(ExportError, match=r"your own build_model, which is its source\. Call it with opt\.best_params"):
        search.to_code()


# --- a run that is reopened --------------------------------------------------------------------------------------


@pytest.fixture
def copy(search, tmp_path):
    """A copy of the finished run."""
    return shutil.copytree(search.run_dir, tmp_path / "copy")


def test_a_reopened_run_is_shown_without_its_function(search, copy, stripes):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    opt = hpoviz.open_run(copy, data=stripes)
    assert opt.results.equals(search.results)
    assert opt.status().phase == "completed"
    assert opt.request.search_space == SPACE
    assert "architecture: your own: two_layers" in repr(opt)
    assert opt.summary() == search.summary()
    x = stripes.x_test
    assert np.array_equal(opt.best_model.predict(x, verbose=0), search.best_model.predict(x, verbose=0))
    assert opt.best_model.evaluate(x, stripes.y_test, verbose=0) == pytest.approx(
        search.best_model.evaluate(x, stripes.y_test, verbose=0)
    )
    with pytest.raises(ConfigError) as caught:
        opt.run(more_trials=1)
    model, callbacks = str(caught.value).splitlines()
    assert model == ("build_model was two_layers, which no file can hold. Pass it again: open_run(…, build_model=…).")
    assert callbacks.startswith("callbacks was StopsAtItsSecondEpoch, which no file can hold. Pass it again: open_run(")
    assert before == {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}


def test_what_was_not_passed_again_is_still_asked_for(copy, stripes):
    opt = hpoviz.open_run(copy, data=stripes, build_model=two_layers)
    with pytest.raises(ConfigError, match=r"^callbacks was StopsAtItsSecondEpoch.*callbacks=…\)\.$"):
        opt.run(more_trials=1)


def test_a_function_that_is_passed_again_is_checked(copy, stripes):
    with pytest.raises(ConfigError, match="It returned NoneType"):
        hpoviz.open_run(copy, data=stripes, build_model=lambda params, data: None)


# --- from wherever people start a search -------------------------------------------------------------------------

MODEL = """
import keras
from keras import layers

units = {"narrow": 3, "wide": 5}

@keras.saving.register_keras_serializable("mine")
class Scaled(layers.Layer):
    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}

class OneEpoch(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True

def dense(width):
    return layers.Dense(units[width], activation="relu")

def make(factor):
    def build_model(params, data):
        inner = [layers.Flatten(), Scaled(factor), dense(params["width"]), layers.Dense(data.num_classes, "softmax")]
        model = keras.Sequential([layers.Input(data.input_shape), *inner])
        model.compile(keras.optimizers.Adam(params["rate"]), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model
    return build_model

build_closure = make(0.125)

def build_model(params, data):
    return build_closure(params, data)
"""
IMPORT = "from my_model import OneEpoch, Scaled, build_model\n"
SEARCH = """
import json, sys, hpoviz

opt = hpoviz.Optimizer(
    "digits", trials=2, epochs=3, seed=0, workers=int(sys.argv[2]), run_dir=sys.argv[1], build_model=FUNCTION,
    callbacks=[OneEpoch()], search_space={"width": ["narrow", "wide"], "rate": (1e-3, 1e-1), "batch_size": 128},
)
opt.run()
model = opt.best_model
print(json.dumps({
    "status": repr(opt.status()),
    "reasons": [trial.reason for trial in opt.trials],
    "parameters": [[trial.params["width"], trial.result.parameters] for trial in opt.trials],
    "epochs": [len(trial.history) for trial in opt.trials],
    "layers": [type(layer).__name__ for layer in model.layers],
    "factor": model.layers[1].factor,
    "same class": type(model.layers[1]) is Scaled,
    "best": opt.best_trial.accuracy,
    "test": opt.evaluate().accuracy,
}))
"""


@pytest.mark.parametrize(("kind", "workers"), [("standard input", 2), ("module", 1)])
def test_a_model_is_searched_for_wherever_people_define_it(tmp_path, kind, workers):
    """On standard input, as a closure, which workers can import from nowhere; and in a module beside the script."""
    (tmp_path / "elsewhere").mkdir()
    if kind == "standard input":
        command, script = "-", MODEL + SEARCH.replace("FUNCTION", "build_closure")
    else:
        (tmp_path / "my_model.py").write_text(MODEL)
        (tmp_path / "search.py").write_text(IMPORT + SEARCH.replace("FUNCTION", "build_model"))
        command, script = tmp_path / "search.py", ""
    done = subprocess.run(
        [sys.executable, command, tmp_path / "run", str(workers)],
        input=script,
        capture_output=True,
        text=True,
        cwd=tmp_path / "elsewhere",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["status"].startswith("completed: 2 finished of 2"), facts
    sizes = {"narrow": 65 * 3 + 4 * 10, "wide": 65 * 5 + 6 * 10}
    assert all(count == sizes[width] for width, count in facts["parameters"])
    assert facts["epochs"] == [1, 1]
    assert facts["layers"] == ["Flatten", "Scaled", "Dense", "Dense"]
    assert (facts["factor"], facts["same class"]) == (0.125, True)
    assert facts["test"] > 0.2  # chance is 0.1
    assert f"trials=2, slots={workers}" in (tmp_path / "run" / "hpoviz.log").read_text()


# --- texts -------------------------------------------------------------------------------------------------------


def bag_of_words(params, data):
    tokens = layers.Input(data.input_shape, dtype="int32")
    vectors = layers.Embedding(len(data.vocabulary) + 2, params["size"])(tokens)
    outputs = layers.Dense(data.num_classes, "softmax")(layers.GlobalAveragePooling1D()(vectors))
    model = keras.Model(tokens, outputs)
    model.compile(keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def text_search(tmp_path_factory):
    """A finished search for a model of texts, with Keras' own early stopping after the second epoch."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.permutation((GOOD, BAD)[i % 2])) for i in range(160)]
    data = hpoviz.Dataset.from_arrays(texts, [("good", "bad")[i % 2] for i in range(160)], name="opinions")
    opt = hpoviz.Optimizer(
        data,
        trials=2,
        epochs=6,
        seed=0,
        workers=1,
        build_model=bag_of_words,
        callbacks=[keras.callbacks.EarlyStopping("loss", min_delta=10.0, patience=1)],
        search_space={"size": (4, 8), "batch_size": 8},
        run_dir=tmp_path_factory.mktemp("runs") / "texts",
    )
    opt.run()
    return opt


def test_a_model_of_texts_is_saved_so_that_it_takes_texts(text_search):
    assert text_search.best_trial.accuracy > 0.9
    saved = keras.saving.load_model(text_search.best_trial.model_path)
    given = ["a fine and lovely film", "ugly, cold and DULL!"]
    for model in (saved, text_search.best_model):
        probabilities = model.predict(np.array(given, dtype=object), verbose=0)
        assert [text_search.data.class_names[k] for k in probabilities.argmax(axis=1)] == ["good", "bad"]


def test_a_model_of_texts_evaluates_as_the_test_says(text_search):
    data = text_search.data
    score = text_search.evaluate()
    assert score.accuracy > 0.9
    texts = keras.ops.convert_to_tensor(data.x_test.tolist())
    loss, accuracy = text_search.best_model.evaluate(texts, data.y_test, verbose=0)
    assert score.accuracy == pytest.approx(accuracy, abs=1e-6)
    assert score.loss == pytest.approx(loss, rel=1e-3, abs=1e-5)


def test_early_stopping_by_the_user_works(text_search):
    assert [len(trial.history) for trial in text_search.trials] == [2, 2]


def test_a_reopened_run_goes_on_with_its_function(text_search, tmp_path):
    folder = shutil.copytree(text_search.run_dir, tmp_path / "copy")
    opt = hpoviz.open_run(
        folder,
        data=text_search.data,
        build_model=bag_of_words,
        callbacks=[keras.callbacks.EarlyStopping("loss", min_delta=10.0, patience=2)],
    )
    opt.run(more_trials=1)
    assert opt.results["number"].tolist() == [0, 1, 2]
    assert opt.results.head(2).equals(text_search.results)
    assert opt.trials[2].state == "finished"
    assert len(opt.trials[2].history) == 3  # the callbacks are those that were passed again


# --- what goes wrong ---------------------------------------------------------------------------------------------

KINDS = {1: "large", 2: "raises", 3: "greedy"}


def space_of_mishaps(trial):
    kind = KINDS.get(trial.number, "modest")
    params = {"kind": kind, "units": trial.suggest_int("units", 2, 8), "epochs": 1}
    return params if kind == "large" else {**params, "dropout": trial.suggest_float("dropout", 0.1, 0.5)}


def one_of_many_kinds(params, data):
    units = 1000 if params["kind"] == "large" else params["units"]
    inner = [layers.Flatten(), layers.Dense(units), layers.Dropout(params.get("dropout", 0.0))]
    model = keras.Sequential(
        [layers.Input(data.input_shape), *inner, layers.Dense(data.num_classes, "softmax")], name=params["kind"]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class Mischief(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        if self.model.name == "raises":
            raise RuntimeError("the callback has had enough")
        if self.model.name == "greedy":
            hoard = np.ones(150_000_000)  # 1.2 GB, until the worker is ended
            give_up = time.monotonic() + 60
            while hoard[0] and time.monotonic() < give_up:
                time.sleep(0.1)


@pytest.fixture(scope="module")
def mishaps(stripes, tmp_path_factory):
    """A search in whose trials of ids 1 to 3 something goes wrong."""
    opt = hpoviz.Optimizer(
        stripes,
        trials=5,
        seed=0,
        backend=LocalBackend(workers=1, worker_memory_gb=1.2),  # TensorFlow and a small model need about 0.4
        build_model=one_of_many_kinds,
        callbacks=[Mischief()],
        search_space=space_of_mishaps,
        max_parameters=5000,
        run_dir=tmp_path_factory.mktemp("runs") / "mishaps",
    )
    opt.run()
    return opt


def test_a_search_goes_on_whatever_the_users_code_does(mishaps):
    assert mishaps.results["state"].tolist() == ["finished", "infeasible", "failed", "failed", "finished"]
    assert mishaps.status().phase == "completed"
    assert mishaps.best_trial.number in (0, 4)


def test_max_parameters_holds_for_the_users_models(mishaps):
    count = 65 * 1000 + 2 * 1000 + 2
    assert mishaps.trials[1].result.parameters == count
    assert f"has {count:,} parameters, more than max_parameters=5,000" in mishaps.trials[1].reason


def test_a_callback_that_raises_fails_its_trial_with_its_words(mishaps):
    assert mishaps.trials[2].reason == "RuntimeError: the callback has had enough"


def test_a_callback_that_takes_too_much_memory_fails_its_trial_after_a_second_attempt(mishaps):
    reason = mishaps.trials[3].reason
    assert reason.startswith("its worker died 2 times: the worker process used more than the 1.2 GB of memory")
    events = [event_from_json(line) for line in (mishaps.run_dir / "events.jsonl").read_text().splitlines()]
    lost = [event for event in events if isinstance(event, WorkerLost)]
    assert [(event.trial, event.attempt, event.will_retry) for event in lost] == [(3, 1, True), (3, 2, False)]


def test_a_space_function_may_leave_a_parameter_of_its_own_out(mishaps):
    frame = mishaps.results
    assert frame["params_kind"].tolist() == ["modest", "large", "raises", "greedy", "modest"]
    assert frame["params_units"].between(2, 8).all()
    assert frame["params_dropout"].isna().tolist() == [False, True, False, False, False]
    assert (frame["params_batch_size"] == 32).all()  # declared, and its default where the function leaves it out


def test_everything_that_no_file_can_hold_is_asked_for_again_at_once(mishaps, stripes):
    opt = hpoviz.open_run(mishaps.run_dir, data=stripes)
    assert opt.results.equals(mishaps.results)
    with pytest.raises(ConfigError) as caught:
        opt.run(more_trials=1)
    asked = dict(line.split(", which no file can hold")[0].split(" was ") for line in str(caught.value).splitlines())
    assert asked == {
        "search_space": "space_of_mishaps",
        "build_model": "one_of_many_kinds",
        "callbacks": "Mischief",
        "backend": "LocalBackend",
    }


# --- settings that cannot work -----------------------------------------------------------------------------------

OWN = {"build_model": two_layers, "search_space": SPACE}


def fails(trial):
    raise RuntimeError("no idea")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (OWN | {"architecture": "cnn"}, "architecture and build_model exclude each other"),
        ({"build_model": two_layers}, "build_model needs a search_space that says what to search"),
        ({"build_model": two_layers, "epochs": 3}, "build_model needs a search_space that says what to search"),
        (OWN | {"build_model": "cnn"}, "build_model must be a function (params, data) -> keras.Model. Got 'cnn'"),
        (OWN | {"build_model": lambda params, data: None}, "It returned NoneType. Does the function end in return"),
        (OWN | {"build_model": lambda params: None}, "build_model failed with params={"),
        (OWN | {"search_space": {"units": (4, 8)}}, "KeyError: 'normalize'"),
        (OWN | {"search_space": SPACE | {"units": (8, 4)}}, "the range of units is upside down: (8, 4)"),
        (OWN | {"search_space": SPACE | {"units": []}}, "units has no choices"),
        (OWN | {"search_space": SPACE | {"units": [[8]]}}, "units must be a number, a string"),
        (OWN | {"search_space": SPACE | {"batch_size": 0}}, "batch_size must be a whole number from 1"),
        (OWN | {"search_space": SPACE | {"epochs": 2}, "epochs": 3}, "epochs is given twice"),
        (OWN | {"search_space": lambda trial: {}, "epochs": 3}, "epochs and a search_space function exclude"),
        (OWN | {"search_space": lambda trial: {"units": [8]}}, "units must be a number, a string"),
        (OWN | {"search_space": fails}, "The search_space function failed on a trial: RuntimeError: no idea"),
        (OWN | {"callbacks": [5]}, "callbacks must be objects of keras.callbacks.Callback. Got 5"),
        (
            OWN | {"callbacks": [StopsAtItsSecondEpoch]},
            "callbacks must be objects of keras.callbacks.Callback. Got <class",
        ),
        (OWN | {"callbacks": StopsAtItsSecondEpoch()}, "callbacks must be a list of keras.callbacks.Callback. Got <"),
        ({"callbacks": [print]}, "callbacks must be objects of keras.callbacks.Callback. Got <built-in"),
    ],
)
def test_settings_that_cannot_work_are_a_clear_error_and_create_nothing(
    stripes, settings, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        hpoviz.Optimizer(stripes, seed=0, **settings)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# --- and beside it -----------------------------------------------------------------------------------------------


def test_callbacks_work_with_the_models_of_hpoviz_and_inline(stripes, run_dir):
    opt = hpoviz.Optimizer(
        stripes,
        trials=2,
        epochs=5,
        seed=0,
        backend="inline",
        callbacks=[StopsAtItsSecondEpoch()],
        search_space=SMALL_SPACE,
        run_dir=run_dir,
    )
    opt.run()
    assert [len(trial.history) for trial in opt.trials] == [2, 2]
    assert opt.best_model.evaluate(stripes.x_test, stripes.y_test, verbose=0)[1] == pytest.approx(
        opt.evaluate().accuracy
    )


def test_a_model_of_the_users_own_is_trained_inline_as_it_is_in_a_worker(search, stripes, run_dir):
    first = next(trial for trial in search.trials if trial.result.trial_id == 0)
    opt = hpoviz.Optimizer(
        stripes,
        trials=1,
        epochs=5,
        seed=1,
        backend="inline",
        build_model=two_layers,
        callbacks=[StopsAtItsSecondEpoch()],
        search_space=SPACE,
        run_dir=run_dir,
    )
    opt.run()
    assert opt.best_params == first.params
    assert opt.best_trial.result.loss == pytest.approx(first.result.loss, rel=1e-3)
    assert not math.isnan(first.result.loss)


def test_an_own_loss_that_cannot_be_loaded_back_is_found_before_the_search(stripes):
    def my_loss(y, outputs):
        return keras.losses.sparse_categorical_crossentropy(y, outputs)

    def build_model(params, data):
        model = keras.Sequential([layers.Input(data.input_shape), layers.Flatten(), layers.Dense(2, "softmax")])
        model.compile("adam", my_loss, metrics=["accuracy"])
        return model

    with pytest.raises(ConfigError, match=r"cannot be saved and loaded back: .*my_loss.* layers, losses and metrics"):
        hpoviz.Optimizer(stripes, build_model=build_model, search_space={})


def linear(params, data):
    model = keras.Sequential([layers.Input(data.input_shape), layers.Flatten(), layers.Dense(2, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("name", ["range", "object", "parameters"])
def test_parameters_of_any_name_survive_reopening(stripes, run_dir, name):
    space = {name: (1, 3), "other": [1, None, "a"]}
    settings = {"build_model": linear, "search_space": space, "epochs": 1, "backend": "inline"}
    opt = hpoviz.Optimizer(stripes, trials=1, seed=0, run_dir=run_dir, **settings)
    opt.run()
    again = hpoviz.open_run(run_dir, data=stripes, build_model=linear)
    assert again.request.search_space == space
    again.run(more_trials=1)
    assert len(again.results) == 2


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"u": [math.inf]}, "u must be finite"),
        ({"u": (0.0, math.inf)}, "u must be finite"),
        ({"u": np.array([])}, "u has no choices"),
        (5, "search_space must be a dictionary or a function"),
        ([1], "search_space must be a dictionary or a function"),
    ],
)
def test_a_space_that_cannot_work_is_refused(stripes, space, message):
    with pytest.raises(ConfigError, match=message):
        hpoviz.Optimizer(stripes, build_model=linear, search_space=space)


def test_numpy_values_are_taken_as_pythons(stripes):
    space = {"a": np.array([16, 32]), "b": (np.int64(1), np.int64(5)), "c": np.float64(2.0)}
    opt = hpoviz.Optimizer(stripes, build_model=linear, search_space=space)
    assert [row["searched"] for row in opt._problem.space.describe()][:3] == ["16 | 32", "1 to 5", "fixed: 2.0"]


def test_a_run_goes_on_with_another_backend_than_it_began_with(stripes, run_dir):
    settings = {"build_model": linear, "search_space": {"a": (0.0, 1.0)}, "epochs": 1}
    hpoviz.Optimizer(stripes, trials=1, seed=0, workers=2, run_dir=run_dir, **settings).run()
    again = hpoviz.open_run(run_dir, data=stripes, build_model=linear, backend="inline")
    again.run(more_trials=1)
    assert again.results["state"].tolist() == ["finished", "finished"]


class Exits(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        sys.exit(3)


@pytest.mark.parametrize("backend", ["inline", "local"])
def test_a_callback_that_exits_fails_its_trial_alone(stripes, run_dir, backend):
    opt = hpoviz.Optimizer(
        stripes, trials=2, seed=0, backend=backend, callbacks=[Exits()], search_space=SMALL_SPACE, run_dir=run_dir
    )
    opt.run()
    assert opt.results["reason"].tolist() == ["SystemExit: 3", "SystemExit: 3"]


def test_a_model_with_layers_that_are_not_known_here_says_what_to_do(stripes, run_dir):
    @keras.saving.register_keras_serializable("gone")
    class Double(layers.Layer):
        def call(self, x):
            return 2 * x

    def build_model(params, data):
        stack = [layers.Input(data.input_shape), Double(), layers.Flatten(), layers.Dense(2, "softmax")]
        model = keras.Sequential(stack)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    opt = hpoviz.Optimizer(
        stripes, trials=1, epochs=1, seed=0, build_model=build_model, search_space={}, run_dir=run_dir
    )
    opt.run()
    assert opt.best_model.compiled  # made in a function of an imported module, it came to the worker by value
    keras.saving.get_custom_objects().pop("gone>Double")
    with pytest.raises(StoreError, match=r"cannot be loaded: .*Double.* import or define them first"):
        hpoviz.open_run(run_dir, data=stripes).best_model.summary()


def test_other_metrics_of_a_text_model_are_kept(run_dir):
    def build_model(params, data):
        inputs = layers.Input(data.input_shape, dtype="int32")
        hidden = layers.GlobalAveragePooling1D()(layers.Embedding(len(data.vocabulary) + 2, 4)(inputs))
        model = keras.Model(inputs, layers.Dense(data.num_classes, "softmax")(hidden))
        top = keras.metrics.SparseTopKCategoricalAccuracy(2, name="top")
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy", top])
        return model

    data = hpoviz.Dataset.from_arrays(GOOD * 8 + BAD * 8, [1] * 40 + [0] * 40)
    opt = hpoviz.Optimizer(data, trials=1, epochs=1, seed=0, backend="inline", build_model=build_model, search_space={})
    opt.run()
    texts = keras.ops.convert_to_tensor(GOOD[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = opt.best_model
    assert set(model.evaluate(texts, np.array([1, 1]), verbose=0, return_dict=True)) == {"loss", "accuracy", "top"}
