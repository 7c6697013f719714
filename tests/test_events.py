import dataclasses
import datetime
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpoviz.errors import BackendProtocol
from hpoviz.events import (
    EVENT_TYPES,
    BatchProgress,
    EpochEnded,
    Event,
    PhaseChanged,
    SlotChanged,
    TerminalEvent,
    TrialFinished,
    TrialStarted,
    event_from_json,
    utc_now,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.none() | st.booleans() | st.integers() | FINITE | st.text(max_size=8)
MAPPING = st.dictionaries(st.text(max_size=8), JSON | st.lists(JSON, max_size=3), max_size=4)
VALUES = {
    "str": st.text(max_size=20),
    "int": st.integers(),
    "float": FINITE,
    "bool": st.booleans(),
    "int | None": st.none() | st.integers(),
    "float | None": st.none() | FINITE,
    "str | None": st.none() | st.text(max_size=20),
    "Mapping[str, Any]": MAPPING,
    "Mapping[str, float] | None": st.none() | st.dictionaries(st.text(max_size=8), FINITE, max_size=3),
    "Mapping[str, float | None] | None": st.none()
    | st.dictionaries(st.text(max_size=8), st.none() | FINITE, max_size=3),
    "Sequence[float] | None": st.none() | st.lists(FINITE, max_size=3),
    "Sequence[Mapping[str, Any]]": st.lists(MAPPING, max_size=3),
    "Sequence[Mapping[str, int]]": st.lists(st.dictionaries(st.text(max_size=8), st.integers()), max_size=3),
    "Mapping[str, Mapping[str, Any]]": st.dictionaries(st.text(max_size=8), MAPPING, max_size=3),
}


def events(cls, **given):
    return st.builds(cls, **{field.name: VALUES[field.type] for field in dataclasses.fields(cls)} | given)


def strict(text):
    """Parse JSON as a strict parser would: NaN and Infinity are refused."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("cls", EVENT_TYPES.values(), ids=EVENT_TYPES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_round_trip(cls, data):
    event = data.draw(events(cls))
    text = event.to_json()
    again = event_from_json(text)
    assert type(again) is cls
    assert again == event
    assert "\n" not in text
    assert text.isascii()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("cls", [c for c in EVENT_TYPES.values() if "float" in {f.type for f in dataclasses.fields(c)}])
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_what_is_not_finite_becomes_null(cls, value, data):
    names = [field.name for field in dataclasses.fields(cls) if field.type in ("float", "float | None")]
    event = dataclasses.replace(data.draw(events(cls)), **dict.fromkeys(names, value))
    record = strict(event.to_json())
    assert all(record[name] is None for name in names)
    assert event_from_json(event.to_json()) == dataclasses.replace(event, **dict.fromkeys(names))


def test_what_is_not_finite_becomes_null_inside_mappings_too():
    started = TrialStarted(
        run="r",
        trial=0,
        slot=0,
        seed=0,
        params={"a": math.nan, "b": [1, math.inf]},
        suggested={"a": {"value": -math.inf}},
    )
    record = strict(started.to_json())
    assert record["params"] == {"a": None, "b": [1, None]}
    assert record["suggested"] == {"a": {"value": None}}


def test_json_form():
    event = PhaseChanged(
        run="r", sequence=4, time="2024-01-01T00:00:00.000+00:00", trial=3, attempt=2, phase="building"
    )
    assert json.loads(event.to_json()) == {
        "event": "PhaseChanged",
        "version": 1,
        "run": "r",
        "job": None,
        "sequence": 4,
        "time": "2024-01-01T00:00:00.000+00:00",
        "trial": 3,
        "attempt": 2,
        "phase": "building",
    }


GOOD = {"event": "SlotChanged", "version": 1, "run": "r", "slot": 0, "phase": "waiting"}


def test_the_good_record_is_good():
    assert event_from_json(json.dumps(GOOD)).phase == "waiting"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ("no JSON", "Expecting value"),
        (json.dumps(GOOD)[:-5], "Unterminated string"),
        ("[]", "TypeError"),
        ("null", "AttributeError"),
        ("7", "AttributeError"),
        ('"SlotChanged"', "AttributeError"),
        ("{}", "KeyError: 'event'"),
        (json.dumps(GOOD | {"event": "SlotExploded"}), "KeyError: 'SlotExploded'"),
        (json.dumps(GOOD | {"event": "Event"}), "KeyError: 'Event'"),
        (json.dumps(GOOD | {"event": "TerminalEvent"}), "KeyError: 'TerminalEvent'"),
        (json.dumps(GOOD | {"event": ["SlotChanged"]}), "unhashable"),
        (json.dumps(GOOD | {"version": 2}), "version 2"),
        (json.dumps(GOOD | {"version": "1"}), "version '1'"),
        (json.dumps(GOOD | {"version": None}), "version None"),
        (json.dumps({k: v for k, v in GOOD.items() if k != "version"}), "KeyError: 'version'"),
        (json.dumps({k: v for k, v in GOOD.items() if k != "phase"}), "phase"),
        (json.dumps(GOOD | {"colour": "red"}), "colour"),
    ],
)
def test_what_is_no_event(text, why):
    with pytest.raises(BackendProtocol) as caught:
        event_from_json(text)
    message = str(caught.value)
    assert message.startswith(f"An event must be a JSON object of version 1. Got {text[:200]!r}")
    assert why in message
    assert message.endswith("Use one version of hpoviz everywhere.")


def test_a_long_text_is_cut_in_the_message():
    with pytest.raises(BackendProtocol) as caught:
        event_from_json("x" * 10_000)
    assert len(str(caught.value)) < 500


def leaves(cls):
    below = cls.__subclasses__()
    return {leaf for child in below for leaf in leaves(child)} if below else {cls}


def test_every_concrete_event_can_be_read_back():
    own = {cls for cls in leaves(Event) if cls.__module__ == Event.__module__}
    assert own == set(EVENT_TYPES.values())


def test_the_four_ends_of_a_trial():
    ends = {name for name, cls in EVENT_TYPES.items() if issubclass(cls, TerminalEvent)}
    assert ends == {"TrialFinished", "TrialPruned", "TrialFailed", "TrialCancelled"}


@pytest.mark.parametrize("cls", EVENT_TYPES.values(), ids=EVENT_TYPES)
@settings(max_examples=1, deadline=None)
@given(data=st.data())
def test_events_are_frozen(cls, data):
    event = data.draw(events(cls))
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.run = "another"
    with pytest.raises(TypeError):
        cls("r")


def test_time_is_utc_and_now():
    before = datetime.datetime.now(datetime.UTC)
    told = datetime.datetime.fromisoformat(SlotChanged(run="r", slot=0, phase="waiting").time)
    assert told.utcoffset() == datetime.timedelta(0)
    assert before - datetime.timedelta(milliseconds=1) <= told <= datetime.datetime.now(datetime.UTC)


def test_utc_now_counts_milliseconds():
    assert len(utc_now()) == len("2024-01-01T00:00:00.000+00:00")


def test_defaults_of_a_terminal_event():
    event = TrialFinished(
        run="r", trial=0, seconds=1.0, score=1.0, accuracy=1.0, loss=None, best_epoch=1, epochs=1, model_sha256="0"
    )
    assert (event.number, event.reason, event.attempt, event.sequence) == (None, None, 1, 0)


def test_unicode_and_line_breaks_survive_on_one_line():
    event = SlotChanged(run="ü\u2028\x85", slot=0, phase="a\nb\r\n\x0c")
    assert len(event.to_json().splitlines()) == 1
    assert event_from_json(event.to_json()) == event


@pytest.mark.parametrize("cls", [BatchProgress, EpochEnded])
def test_epochs_are_counted_with_their_total(cls):
    assert {"epoch", "epochs"} <= {field.name for field in dataclasses.fields(cls)}
