import random

import numpy as np
import optuna
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hpoviz.data.info import DataInfo
from hpoviz.errors import ConfigError
from hpoviz.models.cnn import CnnConfig
from hpoviz.search.parameter import Parameter, at_least, one_of
from hpoviz.search.quiet_study import quiet_study
from hpoviz.search.space import CustomSpace, Domain, SearchSpace

PARAMETERS = CnnConfig.parameters()
SIZES = [(8, 8), (4, 6), (28, 28), (5, 5), (3, 3), (7, 100), (32, 32)]


class Chance:
    """Draws values at random as an Optuna trial does, and notes what it was asked for."""

    def __init__(self, seed=0):
        self._random = random.Random(seed)
        self.asked = {}

    def suggest_int(self, name, low, high, *, log=False):
        self._note(name, (low, high, log))
        return self._random.randint(low, high)

    def suggest_float(self, name, low, high, *, log=False):
        self._note(name, (low, high, log))
        return self._random.uniform(low, high)

    def suggest_categorical(self, name, choices):
        self._note(name, choices)
        return self._random.choice(choices)

    def _note(self, name, domain):
        assert name not in self.asked
        self.asked[name] = domain


def cnn_space(size, narrowed=None):
    info = DataInfo(name="d", kind="image", input_shape=(*size, 1), class_names=("a", "b"), mean=0.0, std=1.0)
    return SearchSpace(
        PARAMETERS, narrowed, structure=CnnConfig.structure, misfit=lambda values: CnnConfig.misfit(values, info)
    )


def fits(params, size):
    """Tell whether every convolution sees a map at least as large as its kernel, halved by each pooling."""
    halvings = params["num_layers_conv"] - 1 if params["pooling"] != "none" else 0
    return params["kernel_size"] <= min(size) // 2**halvings


def allowed_values(item):
    """Return a strategy for the values that are allowed for a parameter."""
    if item.valid is None:
        return st.sampled_from((*item.choices, *item.also))
    if item.type is int:
        return st.integers(item.valid[0], item.valid[1])
    return st.floats(item.valid[0], item.valid[1])


@st.composite
def narrowings(draw, names=tuple(PARAMETERS)):
    """Draw a narrowing of some parameters, each fixed, a list of choices, or a range."""
    narrowed = {}
    for name in draw(st.lists(st.sampled_from(names), unique=True, max_size=6)):
        value = allowed_values(PARAMETERS[name])
        kinds = [value, st.lists(value, min_size=1, max_size=4)]
        if PARAMETERS[name].type in (int, float):
            kinds.append(st.tuples(value, value).map(sorted).map(tuple))
        narrowed[name] = draw(st.one_of(kinds))
    return narrowed


def inside(value, wish):
    if isinstance(wish, tuple):
        return wish[0] <= value <= wish[1]
    return value in wish if isinstance(wish, list) else value == wish


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.sampled_from(SIZES), narrowings(), st.integers(0, 10))
def test_accepted_narrowing_proposes_only_what_is_inside_it_and_fits(size, narrowed, seed):
    try:
        space = cnn_space(size, narrowed)
    except ConfigError:
        assume(False)
    params = space.suggest(Chance(seed))
    assert list(params) == list(PARAMETERS)
    assert CnnConfig(**params).to_dict() == params
    assert fits(params, size)
    for name, wish in narrowed.items():
        if PARAMETERS[name].active(params):
            assert inside(params[name], wish), name


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.fixed_dictionaries(
        {},
        optional={
            "pooling": st.sampled_from(["none", ["max", "none"], ["none", "average", "max"], "max"]),
            "num_layers_conv": st.sampled_from([(1, 6), (2, 4), [1, 3, 5], 1, 4, (1, 16)]),
            "kernel_size": st.sampled_from([3, [3, 5], (5, 7), 7]),
        },
    ),
    st.integers(0, 100),
)
def test_every_proposed_cnn_fits_the_image(size, narrowed, seed):
    least = {
        "kernel_size": np.min(narrowed.get("kernel_size", 3)),
        "pooling": "none" if "none" in narrowed.get("pooling", ()) else "max",
        "num_layers_conv": np.min(narrowed.get("num_layers_conv", 1)),
    }
    if fits(least, size):
        assert fits(cnn_space(size, narrowed).suggest(Chance(seed)), size)
    else:
        with pytest.raises(ConfigError, match="No model of this search space fits the data: kernel_size of"):
            cnn_space(size, narrowed)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pooling", [["max", "average"], ["max", "average", "none"], "none"])
def test_every_structure_that_fits_can_be_proposed(size, pooling):
    space = cnn_space(size, {"pooling": pooling})
    names = ("num_layers_conv", "kernel_size", "pooling")
    proposals = [space.suggest(Chance(seed)) for seed in range(400)]
    seen = {tuple(params[name] for name in names) for params in proposals}
    wanted = {
        (layers, kernel, pool)
        for kernel in (3, 5, 7)
        for pool in ([pooling] if isinstance(pooling, str) else pooling)
        for layers in (1, 2, 3, 4)
        if fits({"kernel_size": kernel, "pooling": pool, "num_layers_conv": layers}, size)
    }
    assert seen == wanted


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (2, 100), (100, 1)])
def test_image_that_no_model_fits(size):
    with pytest.raises(ConfigError, match="No model of this search space fits the data") as caught:
        cnn_space(size)
    assert f"{size[0]}×{size[1]} feature map before convolution 1. Got 3." in str(caught.value)


def test_narrowing_that_no_model_fits():
    with pytest.raises(ConfigError, match=r"4×4 feature map before convolution 2\. Got 7\. Use a smaller"):
        cnn_space((8, 8), {"kernel_size": 7, "num_layers_conv": [2, 3]})


@settings(max_examples=100, deadline=None)
@given(narrowings(), st.integers(0, 100))
def test_asked_are_exactly_the_open_parameters_that_have_an_effect(narrowed, seed):
    try:
        space = SearchSpace(PARAMETERS, narrowed)
    except ConfigError:
        assume(False)
    trial = Chance(seed)
    params = space.suggest(trial)
    searched = {name for name in PARAMETERS if not space.domains[name].fixed and PARAMETERS[name].active(params)}
    assert set(trial.asked) == searched


@pytest.mark.parametrize(
    ("fixed", "silent"),
    [
        ({"optimizer": "adam"}, {"momentum", "weight_decay"}),
        ({"optimizer": "sgd"}, {"weight_decay"}),
        ({"optimizer": "adamw"}, {"momentum"}),
        ({"learning_rate_schedule": "cosine"}, {"learning_rate_decay"}),
        ({"num_layers_dense": 0}, {"dense_units", "dense_decay", "dropout_dense"}),
        ({"num_layers_dense": 1}, {"dense_decay"}),
        ({"num_layers_conv": 1}, {"filter_growth"}),
    ],
)
def test_inactive_parameters_are_not_asked_and_keep_their_defaults(fixed, silent):
    trial = Chance()
    params = cnn_space((28, 28), fixed).suggest(trial)
    assert not silent & set(trial.asked)
    assert {name: params[name] for name in silent} == {name: PARAMETERS[name].default for name in silent}


@pytest.mark.parametrize(
    ("fixed", "asked"),
    [
        ({"optimizer": "sgd"}, "momentum"),
        ({"optimizer": "adamw"}, "weight_decay"),
        ({"learning_rate_schedule": "exponential"}, "learning_rate_decay"),
        ({"num_layers_dense": 2}, "dense_decay"),
    ],
)
def test_active_parameter_is_asked(fixed, asked):
    trial = Chance()
    cnn_space((28, 28), fixed).suggest(trial)
    assert asked in trial.asked


def test_conditions_follow_what_was_drawn():
    space = cnn_space((28, 28), {"optimizer": ["sgd", "adam"]})
    for seed in range(20):
        trial = Chance(seed)
        assert (space.suggest(trial)["optimizer"] == "sgd") == ("momentum" in trial.asked)


def test_conditions_may_chain():
    parameters = {
        "a": Parameter(name="a", default=0, help="", choices=(0, 1)),
        "b": Parameter(name="b", default="off", help="", choices=("on", "off"), when=(at_least("a", 1),)),
        "c": Parameter(name="c", default=1.0, help="", search=(0.0, 1.0), valid=(0.0, 1.0), when=(one_of("b", "on"),)),
    }
    trial = Chance()
    assert SearchSpace(parameters, {"a": 0}).suggest(trial) == {"a": 0, "b": "off", "c": 1.0}
    assert trial.asked == {}
    SearchSpace(parameters, {"a": 1, "b": "on"}).suggest(trial)
    assert list(trial.asked) == ["c"]


ON_REQUEST = [name for name, item in PARAMETERS.items() if item.choices is not None and len(item.choices) == 1]


def test_augmentation_and_class_weights_are_searched_on_request_only():
    assert ON_REQUEST == ["augment_flip", "augment_shift", "augment_rotation", "augment_zoom", "class_weight"]
    trial = Chance()
    SearchSpace(PARAMETERS).suggest(trial)
    assert not set(ON_REQUEST) & set(trial.asked)
    wanted = {"augment_shift": (0.0, 0.2), "augment_flip": [True, False], "class_weight": ["none", "balanced"]}
    trial = Chance()
    SearchSpace(PARAMETERS, wanted).suggest(trial)
    assert set(wanted) <= set(trial.asked)


@pytest.mark.parametrize("name", [name for name in PARAMETERS if name not in ON_REQUEST])
def test_declared_domain_is_asked_as_declared(name):
    item = PARAMETERS[name]
    sgd = {"optimizer": "sgd", "learning_rate_schedule": "exponential", "num_layers_dense": 2, "num_layers_conv": 2}
    sgd |= {"optimizer": "adamw"} if name == "weight_decay" else {}
    trial = Chance()
    SearchSpace(PARAMETERS, {key: value for key, value in sgd.items() if key != name}).suggest(trial)
    assert trial.asked[name] == (item.choices or (*item.search, item.log))


def test_default_space_leaves_out_what_is_tried_only_on_request():
    assert "none" not in cnn_space((8, 8)).domains["pooling"].choices


def test_impossible_structures_are_not_asked_for():
    trial = Chance()
    params = cnn_space((4, 6)).suggest(trial)
    assert params["kernel_size"] == 3
    assert params["num_layers_conv"] == 1
    assert not {"kernel_size", "num_layers_conv"} & set(trial.asked)


def test_structure_fixed_later_limits_what_is_chosen_before():
    space = cnn_space((8, 8), {"num_layers_conv": 2, "pooling": ["max", "none"]})
    kernels = {
        (params["kernel_size"], params["pooling"]) for seed in range(100) if (params := space.suggest(Chance(seed)))
    }
    assert kernels == {(3, "max"), (3, "none"), (5, "none"), (7, "none")}


def test_reduced_choices_are_asked_under_a_name_of_their_own():
    trial = Chance()
    cnn_space((5, 5)).suggest(trial)
    assert trial.asked["kernel_size[3,5]"] == (3, 5)
    assert "kernel_size" not in trial.asked


def test_range_with_gaps_is_asked_as_choices():
    parameters = {"n": Parameter(name="n", default=2, help="", search=(1, 5), valid=(1, 9))}
    space = SearchSpace(parameters, structure=("n",), misfit=lambda row: "odd" if row["n"] % 2 else None)
    trial = Chance()
    assert space.suggest(trial)["n"] in (2, 4)
    assert trial.asked == {"n[2,4]": (2, 4)}


def test_range_without_gaps_is_cut():
    parameters = {"n": Parameter(name="n", default=2, help="", search=(1, 8), valid=(1, 9), log=True)}
    space = SearchSpace(parameters, structure=("n",), misfit=lambda row: None if 3 <= row["n"] <= 5 else "no")
    trial = Chance()
    assert 3 <= space.suggest(trial)["n"] <= 5
    assert trial.asked == {"n": (3, 5, True)}


@pytest.mark.parametrize("size", SIZES)
def test_optuna_takes_every_proposal_of_one_study(size):
    study = quiet_study(optuna.samplers.RandomSampler(seed=0), optuna.pruners.NopPruner())
    space = cnn_space(size, {"pooling": ["max", "average", "none"]})
    for _ in range(30):
        trial = study.ask()
        params = space.suggest(trial)
        assert fits(params, size)
        assert all(params[label.split("[")[0]] == value for label, value in trial.params.items())
        study.tell(trial, 0.5)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(SIZES), narrowings(), st.integers(0, 2**31))
def test_equal_seeds_give_equal_proposals(size, narrowed, seed):
    try:
        spaces = [cnn_space(size, narrowed), cnn_space(size, narrowed)]
    except ConfigError:
        assume(False)
    first, second = (space.suggest(Chance(seed)) for space in spaces)
    assert first == second


BAD = [
    ({"filters": (16, 8)}, "search_space: the range of filters is upside down: (16, 8). Write (8, 16)."),
    ({"learning_rate": (1e-1, 1e-3)}, "the range of learning_rate is upside down: (0.1, 0.001). Write (0.001, 0.1)."),
    ({"kernel_size": (7, 3)}, "the range of kernel_size is upside down: (7, 3). Write (3, 7)."),
    ({"filters": 8.0}, "search_space: filters must be a whole number from 1 to 4096. Got 8.0."),
    ({"filters": "8"}, "search_space: filters must be a whole number from 1 to 4096. Got '8'."),
    ({"filters": True}, "search_space: filters must be a whole number from 1 to 4096. Got True."),
    ({"filters": None}, "search_space: filters must be a whole number from 1 to 4096. Got None."),
    ({"filters": (8.0, 16.0)}, "search_space: filters must be a whole number from 1 to 4096. Got 8.0."),
    ({"filters": (0, 8)}, "search_space: filters must be a whole number from 1 to 4096. Got 0."),
    ({"filters": (8, 5000)}, "search_space: filters must be a whole number from 1 to 4096. Got 5000."),
    ({"filters": [8, -1]}, "search_space: filters must be a whole number from 1 to 4096. Got -1."),
    ({"filters": (1, 2, 3)}, "search_space: a range of filters is a tuple of two numbers. Got (1, 2, 3)."),
    ({"filters": ("a", "b")}, "search_space: a range of filters is a tuple of two numbers. Got ('a', 'b')."),
    ({"filters": (True, 8)}, "search_space: a range of filters is a tuple of two numbers. Got (True, 8)."),
    ({"filters": ()}, "search_space: a range of filters is a tuple of two numbers. Got ()."),
    ({"filters": []}, "filters has no choices. Give at least one of: a whole number from 1 to 4096."),
    ({"filters": range(8, 16)}, "filters must be a whole number from 1 to 4096. Got range(8, 16)."),
    ({"filters": {"low": 8}}, "filters must be a whole number from 1 to 4096. Got {'low': 8}."),
    ({"learning_rate": "fast"}, "learning_rate must be a number from 1e-08 to 1e+06. Got 'fast'."),
    ({"learning_rate": (0, 0.1)}, "learning_rate must be a number from 1e-08 to 1e+06. Got 0."),
    ({"learning_rate": float("nan")}, "learning_rate must be a number from 1e-08 to 1e+06. Got nan."),
    ({"learning_rate": (float("nan"), 0.1)}, "learning_rate must be a number from 1e-08 to 1e+06. Got nan."),
    ({"dropout_conv": 1.0}, "dropout_conv must be a number from 0 to 0.95. Got 1.0."),
    ({"activation": "rleu"}, "activation must be one of 'relu', 'leaky_relu', 'elu', 'gelu', 'swish', 'tanh'. Got 'r"),
    ({"activation": ["relu", "rleu"]}, "activation must be one of 'relu', 'leaky_relu', 'elu', 'gelu', 'swish', 'tan"),
    ({"activation": ("relu", 3)}, "activation must be one of 'relu', 'leaky_relu', 'elu', 'gelu', 'swish', 'tanh'. G"),
    ({"activation": (1, 2)}, "activation must be one of 'relu', 'leaky_relu', 'elu', 'gelu', 'swish', 'tanh'. Got (1"),
    ({"activation": []}, "activation has no choices. Give at least one of: one of 'relu', "),
    ({"activation": {"relu"}}, "activation must be one of 'relu', 'leaky_relu', 'elu', 'gelu', 'swish', 'tanh'. Got {"),
    ({"kernel_size": 4}, "kernel_size must be one of 3, 5, 7. Got 4."),
    ({"kernel_size": (8, 9)}, "kernel_size must be one of 3, 5, 7. Got (8, 9)."),
    ({"use_global_pooling": 1}, "use_global_pooling must be one of True, False. Got 1."),
    ({"use_global_pooling": (0, 1)}, "use_global_pooling must be one of True, False. Got (0, 1)."),
    (
        {"filter": 8},
        "search_space has an unknown parameter 'filter'. Did you mean 'filters'? Parameters: kernel_size, ",
    ),
    ({"lerning_rate": 1}, "search_space has an unknown parameter 'lerning_rate'. Did you mean 'learning_rate'?"),
    ({"zebra": 8}, "search_space has an unknown parameter 'zebra'. Parameters: kernel_size, "),
    ({3: 8}, "search_space has an unknown parameter 3. Parameters: kernel_size, "),
    ([("filters", 8)], "search_space must be a dictionary or a function of an Optuna trial. Got [('filters', 8)]."),
    ("filters", "search_space must be a dictionary or a function of an Optuna trial. Got 'filters'."),
]


@pytest.mark.parametrize(("narrowed", "message"), BAD, ids=[str(wish) for wish, _ in BAD])
def test_bad_narrowing(narrowed, message):
    with pytest.raises(ConfigError) as caught:
        SearchSpace(PARAMETERS, narrowed)
    assert message in str(caught.value)


def test_all_problems_at_once():
    with pytest.raises(ConfigError) as caught:
        SearchSpace(PARAMETERS, {"filter": 8, "filters": (16, 8), "activation": ["a", "b"], "l2": "no", "epochs": 5})
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    for line, part in zip(lines, ["'filter'", "upside down", "Got 'a'", "Got 'b'", "Got 'no'"], strict=True):
        assert part in line


def test_range_of_a_parameter_with_choices_that_holds_none_of_them():
    with pytest.raises(ConfigError, match=r"16, 32, 64, 128"):
        SearchSpace(PARAMETERS, {"batch_size": (200, 300)})


@pytest.mark.parametrize(
    ("name", "wish", "domain"),
    [
        ("filters", 8, Domain(choices=(8,))),
        ("filters", (8, 8), Domain(choices=(8,))),
        ("filters", (8, 16), Domain(low=8, high=16, log=True)),
        ("filters", [16, 8, 16], Domain(choices=(16, 8))),
        ("filters", np.int64(8), Domain(choices=(8,))),
        ("filters", (1, 4096), Domain(low=1, high=4096, log=True)),
        ("l2", 0, Domain(choices=(0.0,))),
        ("l2", (0, 0.1), Domain(low=0.0, high=0.1, log=False)),
        ("l2", (0.01, 0.1), Domain(low=0.01, high=0.1, log=True)),
        ("dropout_conv", (0, 0.5), Domain(low=0.0, high=0.5)),
        ("kernel_size", (3, 5), Domain(choices=(3, 5))),
        ("kernel_size", (4, 6), Domain(choices=(5,))),
        ("kernel_size", [7, 3], Domain(choices=(7, 3))),
        ("batch_size", (16, 100), Domain(choices=(16, 32, 64))),
        ("batch_size", [8, 24], Domain(choices=(8, 24))),
        ("pooling", "none", Domain(choices=("none",))),
        ("activation", ("relu", "tanh"), Domain(choices=("relu", "tanh"))),
        ("use_global_pooling", (True, False), Domain(choices=(True, False))),
        ("use_global_pooling", True, Domain(choices=(True,))),
    ],
)
def test_narrowed_domain(name, wish, domain):
    found = SearchSpace(PARAMETERS, {name: wish}).domains[name]
    assert found == domain
    kinds = {type(value) for value in found.choices or (found.low, found.high)}
    assert kinds == {PARAMETERS[name].type}


def test_without_narrowing_every_domain_is_the_declared_one():
    domains = SearchSpace(PARAMETERS).domains
    assert list(domains) == list(PARAMETERS)
    assert domains["filters"] == Domain(low=8, high=48, log=True)
    assert domains["kernel_size"] == Domain(choices=(3, 5, 7))


@pytest.mark.parametrize(
    ("domain", "text", "fixed"),
    [
        (Domain(choices=(3,)), "3", True),
        (Domain(choices=(3, 5)), "3 | 5", False),
        (Domain(low=1, high=4), "1 to 4", False),
        (Domain(low=1e-4, high=0.03, log=True), "0.0001 to 0.03 (log)", False),
    ],
)
def test_domain_in_words(domain, text, fixed):
    assert str(domain) == text
    assert domain.fixed is fixed


def test_description_of_the_space():
    rows = {row["name"]: row for row in SearchSpace(PARAMETERS, {"filters": 8, "pooling": ["max", "none"]}).describe()}
    assert list(rows) == list(PARAMETERS)
    assert rows["filters"]["searched"] == "fixed: 8"
    assert rows["pooling"]["searched"] == "max | none"
    assert rows["momentum"]["when"] == "optimizer is sgd"
    assert rows["dense_decay"]["when"] == "num_layers_dense is at least 2"
    assert rows["filters"]["default"] == "32"
    assert all(isinstance(value, str) for row in rows.values() for value in row.values())


def test_custom_space_fills_in_defaults_and_converts():
    params = CustomSpace(PARAMETERS, lambda trial: {"filters": np.int64(8), "l2": 0}).suggest(None)
    assert params == {name: item.default for name, item in PARAMETERS.items()} | {"filters": 8, "l2": 0.0}
    assert type(params["filters"]) is int
    assert type(params["l2"]) is float


def test_custom_space_asks_the_trial():
    trial = Chance()
    space = CustomSpace(PARAMETERS, lambda trial: {"filters": trial.suggest_int("filters", 5, 6)})
    assert space.suggest(trial)["filters"] in (5, 6)
    assert trial.asked == {"filters": (5, 6, False)}


@pytest.mark.parametrize(
    ("returned", "messages"),
    [
        (None, ["must return a dictionary of parameters. Got NoneType."]),
        ([8], ["must return a dictionary of parameters. Got list."]),
        ({"filter": 8}, ["unknown parameter 'filter'. Did you mean 'filters'?"]),
        ({"filters": 8.0}, ["filters must be a whole number from 1 to 4096. Got 8.0."]),
        ({"zebra": 1, "filters": 0, "l2": "x"}, ["'zebra'", "filters must be", "l2 must be"]),
    ],
)
def test_custom_space_that_returns_nonsense(returned, messages):
    with pytest.raises(ConfigError) as caught:
        CustomSpace(PARAMETERS, lambda trial: returned).suggest(None)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(messages)
    assert all(message in line for line, message in zip(lines, messages, strict=True))


def test_custom_space_lets_errors_of_the_function_through():
    with pytest.raises(ZeroDivisionError):
        CustomSpace(PARAMETERS, lambda trial: {"filters": 1 // 0}).suggest(None)


def test_custom_space_description_names_the_function():
    def my_space(trial):
        return {}

    (row,) = CustomSpace(PARAMETERS, my_space).describe()
    assert row["name"] == "(your function)"
    assert row["searched"].endswith("my_space")


@pytest.mark.parametrize("narrowed", [{}, {"filters": (40, 64), "activation": ["tanh", "elu"], "num_layers_conv": 1}])
def test_what_is_near_nothing_are_the_defaults_or_the_nearest_to_them(narrowed):
    space = cnn_space((28, 28), narrowed)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(space.near({})[0])
    expected = CnnConfig().to_dict()
    if narrowed:
        expected |= {"filters": 40, "activation": "tanh", "num_layers_conv": 1}
    assert space.suggest(study.ask()) == expected
