"""Models of the user's own on RunPod's own client and worker loop, over a service on this machine."""

import json
import math
import sys

import keras
import numpy as np
import pytest
from keras import layers

import hpoviz
from hpoviz.backends.backend import RunContext
from hpoviz.backends.model_sender import ModelSender
from hpoviz.backends.runpod import RunPodBackend
from hpoviz.errors import ConfigError
from hpoviz.events import TerminalEvent, TrialFailed
from hpoviz.models.sent_model import pack_model
from hpoviz.models.user_code import pack_user_code
from hpoviz.models.user_model import OWN_MODEL, UserModel
from hpoviz.testing.backend_contract import Harness, tiny_spec
from tests.runpod_service import ROOT, Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LAYER = """
import keras

@keras.saving.register_keras_serializable("mine")
class NAME(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The folders of what is installed here, and of what the worker's image has as well."""
    here, both = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("both")
    (here / "layers_here.py").write_text(LAYER.replace("NAME", "OnlyHere"))
    (both / "layers_of_both.py").write_text(LAYER.replace("NAME", "Twice"))
    sys.path[:0] = [str(here), str(both)]
    yield both
    for folder in (here, both):
        sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def service(packages):
    """The service with one worker that has imported TensorFlow."""
    with Service() as service:
        service.start_worker("one", PYTHONPATH=f"{ROOT}:{packages}")
        service.wait_for_workers(1)
        yield service


def backend_of(service):
    return RunPodBackend("ep", workers=1, api_key=service.key, base_url=service.base_url, poll_s=0.2)


QUIET = hpoviz.OptimizationConfig(health_monitoring_frequency=0, record_layers=False)
# What becomes of the first, the second … trial: the loop, Model.fit, an error, too many parameters.
KINDS = ("plain", "fit", "raises", "large")


def space(trial):
    return {"kind": KINDS[trial.number % 4], "units": trial.suggest_int("units", 4, 8), "epochs": 2, "batch_size": 32}


def two_branches(params, data):
    """A model that is made in another order than it is read, with chance in it, and a kernel that is set by hand."""
    from layers_of_both import Twice

    if params["kind"] == "raises":
        raise RuntimeError("no model of this kind")
    units = 5000 if params["kind"] == "large" else params["units"]
    inputs = layers.Input(data.input_shape)
    branches = []
    for kernel in (1, 3):
        hidden = layers.Conv2D(units, kernel, activation="relu")(inputs)
        branches.append(layers.GlobalAveragePooling2D()(layers.Conv2D(4, kernel)(hidden)))
    by_hand = layers.Dense(6, activation="tanh")
    hidden = by_hand(layers.Dropout(0.2)(Twice()(layers.Concatenate()(branches))))
    kernel = np.sin(np.arange(48)).reshape(8, 6)
    by_hand.set_weights([kernel, np.zeros(6)])
    model = keras.Model(inputs, layers.Dense(data.num_classes)(hidden))
    more = [keras.metrics.SparseTopKCategoricalAccuracy(1, name="top")] if params["kind"] == "fit" else []
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy", *more])
    return model


@pytest.fixture(scope="module")
def searches(service, stripes, tmp_path_factory):
    """The same search here, in one worker process, and over the service."""
    folder, found = tmp_path_factory.mktemp("runs"), []
    for name, where in (("here", {"workers": 1}), ("there", {"backend": backend_of(service)})):
        opt = hpoviz.Optimizer(
            stripes, trials=4, seed=3, build_model=two_branches, search_space=space, max_parameters=20_000,
            config=QUIET, run_dir=folder / name, **where,
        )  # fmt: skip
        opt.run()
        found.append(opt)
    return found


def test_trials_are_what_they_are_on_this_machine(searches):
    here, there = searches
    assert there.results["state"].tolist() == ["finished", "finished", "failed", "infeasible"]
    assert here.results["state"].tolist() == there.results["state"].tolist()
    for one, other in zip(here.trials[:2], there.trials[:2], strict=True):
        same = [name for name in one.history if name != "seconds"]
        assert len(one.history) == 2
        wanted = one.history[same].to_numpy(float)
        assert other.history[same].to_numpy(float) == pytest.approx(wanted, abs=1e-6, nan_ok=True)
        assert not math.isnan(one.accuracy)
        assert one.result.trained_by == other.result.trained_by
        x = here.data.x[:4]
        assert one.model.predict(x, verbose=0) == pytest.approx(other.model.predict(x, verbose=0), abs=1e-5)
    assert "name=top" in there.trials[1].result.trained_by


def test_trials_fail_as_they_do_on_this_machine(searches):
    for one, other in zip(*(opt.trials[2:] for opt in searches), strict=True):
        assert (one.state, one.reason) == (other.state, other.reason)
    assert other.result.trial_id == 3
    assert searches[1].trials[2].reason == "RuntimeError: no model of this kind"


def test_what_travels_is_json_and_small(searches, service):
    sent = [job.input["model"] for job in service.jobs.values() if "model" in job.input]
    assert set(sent[0]) == {"keras", "objects", "config", "weights"}
    assert sent[0]["objects"] == {"mine>Twice": "layers_of_both"}
    assert len(json.dumps(sent[0])) < 20_000


def test_jobs_train_the_users_model_as_well(searches):
    results = []
    for opt in searches:
        again, final = opt.cross_validate(top=1, folds=2), opt.train_final()
        results.append([*again.table.loc[0, ["fold_1", "fold_2"]], final.accuracy, final.loss])
        assert again.problems == ()
    assert results[0] == pytest.approx(results[1], abs=1e-6)


def only_here(params, data):
    from layers_here import OnlyHere

    model = keras.Sequential([layers.Input(data.input_shape), OnlyHere(), layers.Flatten(), layers.Dense(2, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_a_layer_that_the_worker_does_not_have(service, stripes, tmp_path):
    opt = hpoviz.Optimizer(
        stripes, trials=1, epochs=1, seed=0, config=QUIET, build_model=only_here, search_space={},
        backend=backend_of(service), run_dir=tmp_path / "run",
    )  # fmt: skip
    opt.run()
    (trial,) = opt.trials
    assert trial.state == "failed"
    assert "The worker does not know 'mine>OnlyHere', which build_model uses" in trial.reason
    assert "Install the package that registers it, in layers_here, in the worker's image" in trial.reason


def defined_in_a_function(params, data):
    @keras.saving.register_keras_serializable("mine")
    class Here(layers.Layer):
        def call(self, x):
            return x

    model = keras.Sequential([layers.Input(data.input_shape), Here(), layers.Flatten(), layers.Dense(2, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_what_cannot_travel_is_refused_before_the_search(service, stripes, tmp_path):
    settings = {"seed": 0, "build_model": defined_in_a_function, "search_space": {}, "run_dir": tmp_path / "run"}
    with pytest.raises(ConfigError, match="'mine>Here', which build_model uses, is defined in this notebook"):
        hpoviz.Optimizer(stripes, backend=backend_of(service), **settings)
    assert not (tmp_path / "run").exists()
    hpoviz.Optimizer(stripes, backend="inline", **settings)  # it is fine on this machine
    keras.saving.get_custom_objects().pop("mine>Here")


def test_callbacks_are_refused_and_say_what_to_do_instead(service, stripes, tmp_path):
    code = pack_user_code(None, [keras.callbacks.TerminateOnNaN()])
    context = RunContext(run="r", data={}, code=code, folder=tmp_path, trial_folder=None, emit=print, log=print)
    with pytest.raises(ConfigError, match=r"callbacks= run on this machine only.*early_stopping_patience.*schedules"):
        ModelSender(context)


def linear(params, data):
    model = keras.Sequential([layers.Input(data.input_shape), layers.Flatten(), layers.Dense(10, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ("nothing", "The model of a job is no configuration of one"),
        ({"config": {"class_name": "Dense", "module": "keras.layers", "config": {"units": 3}}}, "is of no model"),
        ({"config": {"class_name": "__lambda__", "config": {"value": []}}}, "deserialization of a Python lambda"),
        ({"weights": "AAAA"}, "The weights of a job's model cannot be read"),
    ],
    ids=["no record", "no model", "a lambda", "no weights"],
)
def test_a_job_that_is_tampered_with_fails_its_trial_with_a_reason(service, tmp_path, monkeypatch, changes, said):
    data = hpoviz.load_dataset("digits").split()

    def add_to(self, content, spec):
        model = UserModel(linear, {"batch_size": 32, "epochs": 1})
        whole = pack_model(model, data.info, 0)
        content["model"] = {**whole, **changes} if isinstance(changes, dict) else changes
        content["spec"]["architecture"] = OWN_MODEL

    monkeypatch.setattr(ModelSender, "add_to", add_to)
    harness = Harness(backend_of(service), data, tmp_path)
    try:
        harness.backend.submit(tiny_spec(), slot=0)
        events = harness.events_until(TerminalEvent)
    finally:
        harness.backend.close()
    assert isinstance(events[-1], TrialFailed)
    assert said in events[-1].reason
