from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpoviz import _html
from hpoviz.progress import ProgressView, SlotView, TrialTable
from hpoviz.results import TrialResult
from hpoviz.trial import Trial

TAGS = {"div", "style", "p", "strong", "span", "code", "progress", "details", "summary"}
TAGS |= {"table", "thead", "tbody", "tr", "th", "td"}
ATTRIBUTES = {"class", "tabindex", "scope", "max", "value", "aria-label"}
HOSTILE = [
    "<script>alert(1)</script>",
    "</td></table><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' onmouseover='alert(1)",
    "</style><script>alert(1)</script>",
    "<!-- comment",
    "&lt;b&gt; &amp;",
    "<b>ü</b> &nbsp;",
]


class Reader(HTMLParser):
    """Reads HTML as a browser would: its text, its attributes, and whether every element is closed in turn."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.labels, self.tags, self.attributes = [], [], [], set()
        self._open = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self._open.append(tag)
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.labels += [value for name, value in attrs if name == "aria-label"]

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.texts.append(data)

    def handle_comment(self, data):
        raise AssertionError(f"comment {data!r}")

    @property
    def text(self):
        return "".join(self.texts)


def read(text):
    """Parse HTML of hpoviz and check that it holds only the elements and attributes that hpoviz writes."""
    page = Reader(text)
    assert set(page.tags) <= TAGS
    assert page.attributes <= ATTRIBUTES
    return page


def progress_with(value):
    slot = SlotView(value, value, 0.5, value)
    view = ProgressView(1, 2, ((value, 1),), value, value, (slot,), value)
    return _html.progress(value, view, TrialTable((value,), ((value, value),), 1, 0))


def settings_with(value):
    return _html.settings(
        value, [(value, value)], [dict.fromkeys(("name", "searched", "default", "when", "help"), value)]
    )


def trial_with(value):
    trial = TrialResult(trial_id=0, number=0, state="failed", params={value: value}, seed=0, reason=value)
    return Trial(trial, Path("x"))._repr_html_()


SOURCES = {
    "starting": (lambda value: _html.progress(value, None), 1),
    "progress": (progress_with, 11),
    "settings": (settings_with, 8),
    "table": (lambda value: _html.table((value, value), [(value, value)], marked=0), 4),
    "trial": (trial_with, 3),
}


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("source", SOURCES)
def test_hostile_value_is_text(source, value):
    make, times = SOURCES[source]
    assert read(make(value)).text.count(value) == times


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_label_stays_one_attribute(value):
    assert read(progress_with(value)).labels == ["trials done", value]


@pytest.mark.parametrize("source", SOURCES)
@settings(max_examples=30, deadline=None)
@given(value=st.text(alphabet=st.sampled_from("<>&\"'/=! -abc;#x"), min_size=1, max_size=20))
def test_any_value_is_text(source, value):
    make, times = SOURCES[source]
    assert read(make(value)).text.count(value) >= times


@pytest.mark.parametrize("character", "<>\"'")
def test_quotes_and_brackets_never_come_through(character):
    plain = _html.table(("a",), [("b",)])
    assert _html.table((character,), [(character,)]).count(character) == plain.count(character)


def test_page_carries_the_style_once():
    page = _html.page("<p>body</p>")
    assert page.count("<style>") == 1
    assert ".hpoviz table" in page
    assert page.endswith("<p>body</p></div>")


def test_table_marks_the_best_row_in_its_second_cell():
    text = _html.table(("number", "state"), [("0", "finished"), ("1", "finished")], marked=1)
    assert read(text).text == "numberstate0finished1finished ★ best"
    assert text.index("hpoviz-best") > text.index("<td>0</td>")


def test_table_without_a_best_row():
    assert "best" not in _html.table(("a", "b"), [("0", "1")])


def test_table_shows_what_is_no_string_too():
    assert read(_html.table((1, None), [(2.5, True)])).text == "1None2.5True"


def test_progress_in_words_and_bars():
    slots = (SlotView("slot 0", "training", 0.25, "epoch 1/4"), SlotView("slot 1", "waiting", 0.0, ""))
    view = ProgressView(1, 4, (("finished", 1),), "best accuracy 0.5000 (trial 0)", "3 s", slots, "completed")
    text = _html.progress("title", view)
    page = read(text)
    assert "1/4 trials · 1 finished · best accuracy 0.5000 (trial 0) · 3 s" in page.text
    assert "slot 0: training epoch 1/4" in page.text
    assert "completed" in page.text
    assert text.count('value="0.250"') == 2
    assert page.tags.count("progress") == 2
    assert "table" not in page.tags


def test_progress_before_anything_is_known():
    page = read(_html.progress("title", None))
    assert page.text == "titlestarting …"


def test_progress_of_a_run_that_wants_nothing():
    view = ProgressView(0, 0, (), "", "0 s", (), "")
    assert 'value="0.000"' in _html.progress("title", view)


def test_progress_says_how_many_trials_are_left_out():
    view = ProgressView(3, 3, (), "", "0 s", (), "")
    page = read(_html.progress("title", view, TrialTable(("number",), (("0",),), 2, None)))
    assert "… and 2 more: see opt.results" in page.text
    assert page.tags.count("td") == 1


def test_settings_fold_the_space():
    row = {"name": "filters", "searched": "8 to 48", "default": "32", "when": "", "help": "How many"}
    page = read(_html.settings("title", [("trials", "50")], [row, row]))
    assert "search space: 2 parameters" in page.text
    assert page.text.count("filters8 to 4832How many") == 2
    assert page.tags.count("details") == 1
