import dataclasses
import fractions
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpoviz.errors import ConfigError
from hpoviz.models.cnn import CnnConfig
from hpoviz.models.model_config import ModelConfig
from hpoviz.search.parameter import Condition, Parameter, at_least, one_of, parameter, parameters_of

WHOLE = Parameter(name="n", default=4, help="", search=(1, 8), valid=(1, 64))
REAL = Parameter(name="x", default=0.5, help="", search=(0.1, 1.0), valid=(0.0, 2.0))
CHOICE = Parameter(name="c", default="a", help="", choices=("a", "b"), also=("rare",))
FLAG = Parameter(name="f", default=True, help="", choices=(True, False))
SIZE = Parameter(name="s", default=3, help="", choices=(3, 5, 7))
STEP = Parameter(name="g", default=2.0, help="", choices=(1.0, 2.0), valid=(0.5, 4.0))


@pytest.mark.parametrize(
    ("item", "value"),
    [
        (WHOLE, 1),
        (WHOLE, 64),
        (WHOLE, np.int64(5)),
        (REAL, 0),
        (REAL, 2.0),
        (REAL, np.float32(0.25)),
        (REAL, fractions.Fraction(1, 3)),
        (CHOICE, "a"),
        (CHOICE, "rare"),
        (FLAG, False),
        (SIZE, 5),
        (STEP, 0.75),
        (STEP, 1),
    ],
)
def test_right_value(item, value):
    assert item.problem(value) is None


@pytest.mark.parametrize(
    ("item", "value", "message"),
    [
        (WHOLE, 0, "n must be a whole number from 1 to 64. Got 0."),
        (WHOLE, 65, "n must be a whole number from 1 to 64. Got 65."),
        (WHOLE, 2.0, "n must be a whole number from 1 to 64. Got 2.0."),
        (WHOLE, True, "n must be a whole number from 1 to 64. Got True."),
        (WHOLE, "2", "n must be a whole number from 1 to 64. Got '2'."),
        (WHOLE, None, "n must be a whole number from 1 to 64. Got None."),
        (REAL, 2.1, "x must be a number from 0 to 2. Got 2.1."),
        (REAL, math.nan, "x must be a number from 0 to 2. Got nan."),
        (REAL, math.inf, "x must be a number from 0 to 2. Got inf."),
        (REAL, False, "x must be a number from 0 to 2. Got False."),
        (REAL, 1j, "x must be a number from 0 to 2. Got 1j."),
        (CHOICE, "z", "c must be one of 'a', 'b', 'rare'. Got 'z'."),
        (CHOICE, ["a"], "c must be one of 'a', 'b', 'rare'. Got ['a']."),
        (CHOICE, 1, "c must be one of 'a', 'b', 'rare'. Got 1."),
        (FLAG, 1, "f must be one of True, False. Got 1."),
        (FLAG, "yes", "f must be one of True, False. Got 'yes'."),
        (SIZE, 4, "s must be one of 3, 5, 7. Got 4."),
        (SIZE, 3.0, "s must be one of 3, 5, 7. Got 3.0."),
        (STEP, 0.25, "g must be a number from 0.5 to 4. Got 0.25."),
    ],
)
def test_wrong_value(item, value, message):
    assert item.problem(value) == message


@pytest.mark.parametrize(
    ("item", "value", "converted"),
    [(WHOLE, np.int64(5), 5), (REAL, 1, 1.0), (REAL, np.float64(0.5), 0.5), (SIZE, 3, 3)],
)
def test_convert_gives_the_declared_type(item, value, converted):
    result = item.convert(value)
    assert result == converted
    assert type(result) is item.type
    assert json.loads(json.dumps(result)) == converted


@pytest.mark.parametrize(("item", "kind"), [(WHOLE, int), (REAL, float), (CHOICE, str), (FLAG, bool)])
def test_type_is_that_of_the_default(item, kind):
    assert item.type is kind


@settings(max_examples=100, deadline=None)
@given(st.integers())
def test_whole_number_is_right_exactly_in_its_range(value):
    assert (WHOLE.problem(value) is None) == (1 <= value <= 64)


@settings(max_examples=100, deadline=None)
@given(st.floats())
def test_number_is_right_exactly_in_its_range(value):
    assert (REAL.problem(value) is None) == (0.0 <= value <= 2.0)


def test_condition_on_values():
    condition = one_of("optimizer", "sgd", "adam")
    assert condition == Condition("optimizer", values=("sgd", "adam"))
    assert condition.holds({"optimizer": "sgd"})
    assert not condition.holds({"optimizer": "adamw"})
    assert str(condition) == "optimizer is sgd or adam"


def test_condition_on_a_bound():
    condition = at_least("layers", 2)
    assert condition.holds({"layers": 2})
    assert not condition.holds({"layers": 1})
    assert str(condition) == "layers is at least 2"


@pytest.mark.parametrize(("a", "b", "active"), [(1, "x", True), (0, "x", False), (1, "y", False), (0, "y", False)])
def test_parameter_is_active_when_all_conditions_hold(a, b, active):
    item = dataclasses.replace(WHOLE, when=(at_least("a", 1), one_of("b", "x")))
    assert item.active({"a": a, "b": b}) is active


def test_parameter_without_condition_is_always_active():
    assert WHOLE.active({})


@pytest.mark.parametrize("both", [{}, {"choices": (1, 2), "search": (1, 2)}])
def test_parameter_has_either_choices_or_a_range(both):
    with pytest.raises(ConfigError, match="either choices or a search range"):
        parameter(1, help="", **both)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parent:
    rate: float = parameter(0.1, search=(0.01, 1.0), help="rate")
    plain: int = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Child(Parent):
    width: int = parameter(8, search=(4, 64), valid=(1, 99), log=True, help="width")
    deep: bool = parameter(True, choices=(True, False), when=at_least("width", 8), help="deep")


def test_parameters_of_gives_own_parameters_first_and_no_plain_fields():
    assert list(parameters_of(Child)) == ["width", "deep", "rate"]
    assert list(parameters_of(Parent)) == ["rate"]


def test_parameters_of_carries_the_declaration():
    found = parameters_of(Child)
    assert found["width"] == Parameter(name="width", default=8, help="width", search=(4, 64), valid=(1, 99), log=True)
    assert found["deep"].when == (Condition("width", least=8),)
    assert found["rate"].valid == (0.01, 1.0)  # nothing else was said, so the search range is all that is allowed


def test_declared_default_is_the_field_default():
    assert Child() == Child(rate=0.1, width=8, deep=True)


ALL = CnnConfig.parameters()


@pytest.mark.parametrize("item", ALL.values(), ids=ALL)
def test_declaration_of_the_cnn_is_sound(item):
    assert item.problem(item.default) is None
    assert len(item.help) > 40
    assert (item.choices is None) != (item.search is None)
    if item.choices:
        assert all(item.problem(choice) is None for choice in (*item.choices, *item.also))
        assert item.default in item.choices
    else:
        assert item.search[0] < item.search[1]
        assert all(item.problem(item.type(end)) is None for end in item.search)
        assert not item.log or item.search[0] > 0


@pytest.mark.parametrize("name", ALL)
def test_conditions_of_the_cnn_name_earlier_parameters(name):
    structure = list(CnnConfig.structure)
    order = structure + [other for other in ALL if other not in structure]
    earlier = order[: order.index(name)]
    assert all(condition.name in earlier for condition in ALL[name].when)


def test_family_parameters_come_before_those_of_training():
    own = [name for name in ALL if name not in ModelConfig.parameters()]
    assert list(ALL)[: len(own)] == own
    assert list(ALL)[len(own) :] == list(ModelConfig.parameters())
