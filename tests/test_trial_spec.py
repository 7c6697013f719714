import dataclasses
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpoviz.errors import BackendProtocol
from hpoviz.models.cnn import CnnConfig
from hpoviz.trial_spec import TrialSpec

SPEC = TrialSpec(run="r", trial=2, seed=5, architecture="cnn", params={"filters": 8})
VALUE = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10)


@settings(max_examples=100, deadline=None)
@given(
    st.builds(
        TrialSpec,
        run=st.text(max_size=20),
        trial=st.integers(0),
        attempt=st.integers(1),
        seed=st.integers(0),
        architecture=st.text(max_size=10),
        params=st.dictionaries(st.text(max_size=10), VALUE, max_size=5),
        early_stopping_patience=st.none() | st.integers(1),
        max_parameters=st.none() | st.integers(1),
        max_trial_minutes=st.none() | st.floats(0.001, 1e9),
    )
)
def test_round_trip(spec):
    text = spec.to_json()
    assert TrialSpec.from_json(text) == spec
    assert len(text.splitlines()) == 1


def test_json_form():
    assert json.loads(SPEC.to_json()) == {
        "version": 1,
        "run": "r",
        "trial": 2,
        "attempt": 1,
        "seed": 5,
        "architecture": "cnn",
        "params": {"filters": 8},
        "data": "search",
        "learning_rates": None,
        "early_stopping_patience": None,
        "max_parameters": None,
        "max_trial_minutes": None,
        "health_every": 0,
        "record_layers": False,
        "give_up": True,
        "devices": 1,
        "scale_batch": False,
        "scoring": None,
    }


def test_params_of_a_family_survive_exactly():
    config = CnnConfig(learning_rate=0.1 + 0.2, dropout_conv=1 / 3)
    spec = dataclasses.replace(SPEC, params=config.to_dict())
    assert CnnConfig.from_dict(TrialSpec.from_json(spec.to_json()).params) == config


RECORD = json.loads(SPEC.to_json())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ("[1]", "cannot be interpreted as an integer"),
        ("3", "has no attribute 'pop'"),
        ("null", "has no attribute 'pop'"),
        ("{}", "version"),
        (json.dumps(RECORD | {"version": 2}), "version 2"),
        (json.dumps(RECORD | {"version": None}), "version None"),
        (json.dumps(RECORD | {"gpu": True}), "gpu"),
        (json.dumps({name: value for name, value in RECORD.items() if name != "seed"}), "seed"),
    ],
)
def test_what_is_no_spec(text, why):
    with pytest.raises(BackendProtocol) as caught:
        TrialSpec.from_json(text)
    assert str(caught.value).startswith(f"A trial spec must be a JSON object of version 1. Got {text[:200]!r}")
    assert why in str(caught.value)
    assert "same version of hpoviz here and on the worker" in str(caught.value)


def test_nan_is_not_sent():
    with pytest.raises(ValueError, match="not JSON compliant"):
        dataclasses.replace(SPEC, params={"l2": math.nan}).to_json()


def test_spec_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SPEC.trial = 3
