"""The settings as a form: what is filled in comes back as the request that it means."""

import json
import re

import numpy as np
import pytest

import hpoviz
from hpoviz.config import OptimizationRequest
from hpoviz.errors import HpovizError
from hpoviz.running.search_problem import SearchProblem
from hpoviz.search_form import Choices, form, request_of


def filled_in(form, **changes):
    """What dashboard.js sends: every field as it is, with these changes."""
    settings = {name: form[name] for name in ("data", "objective", "trials", "epochs", "workers", "backend", "seed")}
    settings["runpod"] = bool(form["runpod"] and form["runpod"]["on"])
    settings |= {"weights": None, "space": {row["name"]: row["now"] for row in form["space"]}}
    space = changes.pop("space", {})
    settings = settings | changes
    settings["space"] |= space
    return json.loads(json.dumps(settings))


REQUESTS = [
    {},
    {"trials": 7, "seed": 3, "workers": 2, "epochs": 5},
    {"epochs": (2, 9), "search_space": {"filters": (8, 16), "activation": "relu", "kernel_size": [3, 5]}},
    {"search_space": {"epochs": (3, 4), "batch_size": 48, "dropout_conv": 0.25, "augment_shift": 0.1}},
    {"search_space": {"learning_rate": (1e-5, 1e-3), "use_batch_normalization": True, "class_weight": "balanced"}},
    {"objective": "health", "epochs": (6, 8)},
    {"search_space": {"epochs": [5, 10, 20]}},
    {"search_space": {"pooling": ["none", "max"], "augment_shift": (0.0, 0.2)}},
]


@pytest.mark.parametrize("keywords", REQUESTS)
def test_a_form_that_is_left_as_it_is_searches_the_same(keywords):
    choices = Choices("digits", OptimizationRequest(**keywords))
    name, request = request_of(filled_in(form(choices)), choices)
    data = hpoviz.load_dataset("digits")
    was, now = (SearchProblem(one, data, 0).space.domains for one in (choices.request, request))
    order = {"pooling"}  # of choices, which says nothing
    assert {key: value for key, value in was.items() if key not in order} == {
        key: value for key, value in now.items() if key not in order
    }
    assert {key: set(was[key].choices) for key in order} == {key: set(now[key].choices) for key in order}
    fields = ("trials", "objective", "seed", "workers", "backend", "sampler", "weights")
    assert [getattr(request, field) for field in fields] == [getattr(choices.request, field) for field in fields]
    assert name == "digits"
    if not keywords:
        assert request == choices.request


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"space": {"filters": {"range": [8, 16]}}}, {"filters": (8, 16)}),
        ({"space": {"filters": {"range": [24, 24]}}}, {"filters": 24}),
        ({"space": {"learning_rate": {"range": [0.001, 0.001]}}}, {"learning_rate": 0.001}),
        ({"space": {"dropout_conv": {"range": [0, 0.1]}}}, {"dropout_conv": (0, 0.1)}),
        ({"space": {"activation": {"choices": [0, 2]}}}, {"activation": ["relu", "elu"]}),
        ({"space": {"use_global_pooling": {"choices": [1]}}}, {"use_global_pooling": [False]}),
        ({"space": {"pooling": {"choices": [0, 1, 2]}}}, {"pooling": ["max", "average", "none"]}),
        ({"space": {"augment_zoom": {"range": [0, 0.2]}}}, {"augment_zoom": (0, 0.2)}),
        ({}, None),
    ],
)
def test_what_is_narrowed_is_all_that_the_search_space_says(changes, wanted):
    choices = Choices("digits", OptimizationRequest())
    _, request = request_of(filled_in(form(choices), **changes), choices)
    assert request.search_space == wanted
    SearchProblem(request, hpoviz.load_dataset("digits"), 0)


def test_a_parameter_is_put_back():
    choices = Choices("digits", OptimizationRequest(search_space={"filters": 24, "kernel_size": 3}))
    row = next(row for row in form(choices)["space"] if row["name"] == "filters")
    assert (row["now"], row["start"]) == ({"range": [24, 24]}, {"range": [8, 48]})
    _, request = request_of(filled_in(form(choices), space={"filters": row["start"]}), choices)
    assert request.search_space == {"kernel_size": 3}


def test_epochs_have_a_field_of_their_own():
    choices = Choices("digits", OptimizationRequest())
    assert form(choices)["epochs"] == [10, 30]
    assert "epochs" not in [row["name"] for row in form(choices)["space"]]
    assert request_of(filled_in(form(choices), epochs=[3, 3]), choices)[1].epochs == 3
    assert request_of(filled_in(form(choices), epochs=[3, 5]), choices)[1].epochs == (3, 5)
    assert request_of(filled_in(form(choices)), choices)[1].epochs is None


def test_weights_belong_to_health():
    choices = Choices("digits", OptimizationRequest())
    weights = {"accuracy": 0.5, "health": 0.5}
    settings = filled_in(form(choices), objective="health", weights=weights)
    _, request = request_of(settings, choices)
    assert (request.objective, request.weights) == ("health", weights)
    back = request_of({**settings, "objective": "accuracy"}, Choices("digits", request))[1]
    assert (back.objective, back.weights) == ("accuracy", None)


def test_other_data_of_the_same_kind_keep_the_space_and_texts_have_their_own():
    choices = Choices("digits", OptimizationRequest(trials=9))
    settings = filled_in(form(choices), space={"filters": {"range": [8, 9]}})
    name, request = request_of({**settings, "data": "mnist"}, choices)
    assert (name, request.search_space, request.trials) == ("mnist", {"filters": (8, 9)}, 9)
    name, request = request_of({**settings, "data": "docstrings"}, choices)
    assert (name, request.search_space, request.trials) == ("docstrings", None, 9)
    names = [row["name"] for row in form(Choices(name, request))["space"]]
    assert "units" in names or "lstm_units" in names


def test_what_the_form_does_not_show_is_kept(stripes):
    request = OptimizationRequest(max_parameters=9_000, pruner=None, config=hpoviz.OptimizationConfig(retries=0))
    choices = Choices(stripes, request, stripes)
    shown = form(choices)
    assert shown["datasets"][0]["title"] == "stripes"
    name, changed = request_of(filled_in(shown, trials=4), choices)
    assert name == ""
    assert (changed.max_parameters, changed.pruner, changed.config.retries, changed.trials) == (9_000, None, 0, 4)


def test_functions_and_objects_stay_as_they_are():
    def space(trial):
        return {"filters": trial.suggest_int("filters", 8, 9)}

    request = OptimizationRequest(search_space=space, backend=hpoviz.InlineBackend())
    choices = Choices("digits", request)
    shown = form(choices)
    assert (shown["space"], shown["epochs"], shown["backend"]) == ([], None, None)
    assert "function" in shown["space_note"]
    _, changed = request_of(filled_in(shown, trials=3), choices)
    assert (changed.search_space, changed.backend, changed.trials) == (space, request.backend, 3)


def test_a_model_of_the_users_own(stripes):
    def build(params, info):
        import keras

        model = keras.Sequential(
            [keras.Input(info.input_shape), keras.layers.Flatten(), keras.layers.Dense(params["units"])]
        )
        model.add(keras.layers.Dense(info.num_classes, activation="softmax"))
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    request = OptimizationRequest(build_model=build, search_space={"units": (4, 64), "rate": [0.1, 0.2]})
    choices, problem = Choices(stripes, request, stripes), SearchProblem(request, stripes, 0)
    shown = form(choices, space=problem.space)
    rows = {row["name"]: row for row in shown["space"]}
    assert rows["units"]["now"] == rows["units"]["start"] == {"range": [4, 64]}
    settings = filled_in(shown, space={"units": {"range": [8, 16]}})
    _, changed = request_of(settings, choices, space=problem.space)
    now = SearchProblem(changed, stripes, 0).space
    assert (now.domains["units"].low, now.domains["units"].high) == (8, 16)
    assert now.domains["rate"].choices == (0.1, 0.2)
    assert now.domains["batch_size"].choices == (32,)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trials": None}, "trials must be a whole number, at least 1. Got None."),
        ({"trials": 2.5}, "trials must be a whole number"),
        ({"workers": 0}, "workers must be a whole number, at least 1"),
        ({"objective": "speed"}, "objective must be one of 'accuracy', 'health', 'pareto'. Got 'speed'."),
        ({"backend": "cloud"}, "backend must be one of 'inline', 'local'. Got 'cloud'."),
        ({"epochs": [None, 5]}, "epochs needs a number at both ends, a whole number from 1 to 100000. Got [None, 5]."),
        ({"epochs": [9, 5]}, "upside down"),
        ({"epochs": "many"}, "epochs needs a number at both ends"),
        ({"data": "mnits"}, "There is no data set 'mnits'"),
        ({"data": 7}, "There is no data set 7."),
        ({"seed": -1}, "seed must be a whole number"),
        ({"weights": "all", "objective": "health"}, "weights must be a dictionary"),
        ({"space": {"filters": {"range": [32, 8]}}}, "upside down"),
        ({"space": {"filters": {"range": [0, 8]}}}, "filters must be a whole number from 1 to 4096. Got 0."),
        ({"space": {"filters": {"range": [1.5, 8]}}}, "filters must be a whole number"),
        ({"space": {"filters": 8}}, "filters needs two numbers, or places of its choices. Got 8."),
        ({"space": {"activation": {"choices": []}}}, "activation has no choices"),
        (
            {"space": {"activation": {"choices": [99]}}},
            "activation needs two numbers, or places of its choices. Got {'choices': [99]}.",
        ),
        ({"backend": ["local"]}, "backend must be one of"),
        ({"epochs": [None, None]}, "epochs needs a number at both ends"),
        ({"space": {"filters": {"range": [[1], [1]]}}}, "filters needs a number at both ends"),
        ({"space": {"filters": 8}, "trials": 0}, "trials must be a whole number"),
        ({"data": "mnits", "backend": "cloud"}, "backend must be one of"),
        ({"space": {"filters": {"list": [8, 9]}}}, "filters needs two numbers"),
        ({"space": {"filters": 8, "l2": 9}}, "l2 needs two numbers"),
        ({"space": {"flavour": {"range": [1, 2]}}}, "There is no parameter 'flavour'"),
    ],
)
def test_what_cannot_be_is_said(changes, said):
    choices = Choices("digits", OptimizationRequest())

    def start():
        _, request = request_of(filled_in(form(choices), **changes), choices)
        hpoviz.Optimizer("digits", **request.keywords())

    with pytest.raises(HpovizError, match=re.escape(said)):
        start()


def test_the_form_is_strict_json_with_explanations():
    shown = form(Choices("docstrings", OptimizationRequest()))
    json.dumps(shown, allow_nan=False)
    assert all(len(row["help"]) > 20 for row in shown["space"])
    assert {row["name"] for row in shown["datasets"]} >= {"digits", "mnist", "gtsrb", "reuters"}
    assert len(shown["metric_help"]) == 6
    assert np.isclose(sum(shown["weights"]["metrics"].values()), 1)


def test_own_data_can_be_left_and_chosen_again(stripes):
    choices = Choices(stripes, OptimizationRequest(), stripes)
    settings = filled_in(form(choices))
    name, request = request_of({**settings, "data": "mnist"}, choices)
    other = Choices(name, request, stripes)
    assert form(other)["datasets"][0]["title"] == "stripes"
    assert request_of({**settings, "data": ""}, other)[0] == ""


def test_an_architecture_that_was_named_keeps_its_kind_of_data():
    choices = Choices("digits", OptimizationRequest(architecture="cnn"))
    settings = filled_in(form(choices))
    assert request_of({**settings, "data": "mnist"}, choices)[0] == "mnist"
    with pytest.raises(HpovizError, match="architecture='cnn' is for image data, and these are text data"):
        request_of({**settings, "data": "imdb"}, choices)


def test_lists_of_numbers_are_shown_and_kept():
    choices = Choices("digits", OptimizationRequest(search_space={"filters": [8, 16, 32], "batch_size": [48, 64]}))
    shown = form(choices)
    rows = {row["name"]: row for row in shown["space"]}
    assert rows["filters"]["now"] == {"list": [8, 16, 32]}
    assert rows["batch_size"]["now"] == {"list": [48, 64]}
    assert request_of(filled_in(shown), choices)[1] == choices.request
    back = request_of(filled_in(shown, space={"filters": rows["filters"]["start"]}), choices)[1]
    assert back.search_space == {"batch_size": [48, 64]}


def test_weights_that_mean_the_same_are_the_same():
    request = OptimizationRequest(objective="health", weights={"accuracy": 0.7, "health": 0.3})
    choices = Choices("digits", request)
    assert request_of(filled_in(form(choices)), choices)[1] == request


def test_the_switch_for_runpod(monkeypatch):
    """It is there when RunPod is set up, and says where trials will run."""
    monkeypatch.delenv("RUNPOD_ENDPOINT_ID", raising=False)
    choices = Choices("digits", OptimizationRequest())
    assert form(choices)["runpod"] is None
    monkeypatch.setenv("RUNPOD_ENDPOINT_ID", "abc123")
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_SECRET")
    shown = form(choices)
    assert shown["runpod"] == {"on": False, "title": "RunPod endpoint abc123"}
    assert "rpa_SECRET" not in json.dumps(shown)
    _, chosen = request_of(filled_in(shown, runpod=True, workers=3), choices)
    assert chosen.backend.endpoint_id == "abc123"
    assert chosen.backend.slots == 3
    assert chosen.workers is None  # they are the backend's
    switched = choices.changed("digits", chosen, None)
    assert form(switched)["runpod"] == {"on": True, "title": "RunPod endpoint abc123, 3 workers"}
    _, back = request_of(filled_in(form(switched), runpod=False), switched)
    assert back.backend == "local"
    remembered = switched.changed("digits", back, None)
    assert request_of(filled_in(form(remembered), runpod=True), remembered)[1].backend is chosen.backend


def test_another_backend_of_ones_own_has_no_switch(monkeypatch):
    monkeypatch.setenv("RUNPOD_ENDPOINT_ID", "abc123")
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_SECRET")
    backend = hpoviz.InlineBackend()
    choices = Choices("digits", OptimizationRequest(backend=backend))
    assert form(choices)["runpod"] is None
    assert request_of(filled_in(form(choices), runpod=True), choices)[1].backend is backend
