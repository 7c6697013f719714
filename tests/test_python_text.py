"""Long expressions over several lines mean the same, and their lines are short."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpoviz.python_text import wrapped

values = st.recursive(
    st.one_of(st.integers(), st.text(max_size=30), st.booleans(), st.none(), st.just((1,)), st.just(())),
    lambda inner: st.one_of(
        st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=8), inner, max_size=4), st.tuples(inner, inner)
    ),
    max_leaves=20,
)


@given(values, st.integers(0, 20), st.integers(10, 60))
def test_what_is_wrapped_is_the_same_value(value, indent, width):
    assert ast.literal_eval(wrapped(repr(value), indent, width)) == value


def test_a_call_is_broken_where_it_must_be_and_no_deeper():
    code = "opt = f(first(1, 2), second={'a': [1, 2, 3], 'b': 'x, (y'})"
    assert wrapped(code, 0, 70) == code
    assert wrapped(code, 0, 40).splitlines() == [
        "opt = f(",
        "    first(1, 2),",
        "    second={",
        "        'a': [1, 2, 3],",
        "        'b': 'x, (y',",
        "    },",
        ")",
    ]


@pytest.mark.parametrize("code", ["a_long_name_alone", "(a_long_name_alone)", "f(1)(22222222)", "'text, (with marks'"])
def test_what_cannot_be_broken_stays(code):
    assert wrapped(code, 0, 8) == code
