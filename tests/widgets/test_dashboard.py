"""The dashboard on the kernel's side: what the browser asks for, and what it is told."""

import gc
import json
import threading
import time
import tracemalloc

import ipywidgets
import pytest

import hpoviz
from hpoviz.assets import asset
from hpoviz.errors import ConfigError
from hpoviz.widgets import dashboard as module
from hpoviz.widgets.dashboard import Dashboard
from tests.conftest import SMALL_SPACE
from tests.made_up_run import made_up_run

SMALL = {"trials": 2, "epochs": 2, "seed": 0, "workers": 1, "search_space": SMALL_SPACE}


class Heard(list):
    """A dashboard's messages, as a browser would get them."""

    def __init__(self, dashboard):
        super().__init__()
        dashboard.send = lambda message, buffers=None: self.append(json.loads(json.dumps(message, allow_nan=False)))

    def of(self, kind):
        return [message for message in self if message["kind"] == kind]


def ask(dashboard, kind, **content):
    dashboard._told(dashboard, {"kind": kind, **content}, None)


def settings(dashboard, **changes):
    form = json.loads(json.dumps(dashboard.form))
    filled = {name: form[name] for name in ("data", "objective", "trials", "epochs", "workers", "backend", "seed")}
    filled |= {"weights": None, "space": {row["name"]: row["now"] for row in form["space"]}}
    return filled | changes


def wait_for(condition, timeout_s=240):
    give_up = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def finished(stripes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    opt = hpoviz.Optimizer(stripes, run_dir=folder, **SMALL)
    opt.run()
    return opt


@pytest.mark.slow
def test_the_whole_application_from_choice_to_more_trials():
    dashboard = hpoviz.Dashboard()
    heard = Heard(dashboard)
    assert dashboard.snapshot["head"]["phase"] == "not started"
    assert (dashboard.form["data"], dashboard.form["begun"]) == ("digits", False)
    ask(dashboard, "choose", settings=settings(dashboard, data="docstrings"))
    assert "kernel_size" not in [row["name"] for row in dashboard.form["space"]]
    ask(dashboard, "choose", settings=settings(dashboard, data="digits"))
    row = {row["name"]: row for row in dashboard.form["space"]}["num_layers_conv"]
    assert row["now"] == {"range": [1, 4]}
    filled = settings(dashboard, trials=2, epochs=[2, 2], workers=1, seed=0)
    filled["space"] |= {"filters": {"range": [8, 8]}, "num_layers_conv": {"range": [1, 1]}}
    ask(dashboard, "start", settings=filled)
    wait_for(lambda: dashboard.optimizer is not None and dashboard.optimizer._is_running())
    dashboard.optimizer.wait()
    wait_for(lambda: not dashboard.snapshot["head"]["running"])
    assert dashboard.notice["text"] == ""
    assert dashboard.form["begun"] is True
    assert dashboard.optimizer.results["params_filters"].tolist() == [8, 8]
    phases = {slot["phase"] for change in heard.of("change") for slot in change["head"]["slots"]}
    assert phases & {"starting TensorFlow", "building", "compiling", "training", "saving", "probing"}
    assert dashboard.snapshot["head"]["counts"] == {"finished": 2}
    assert {"kind": "answered", "to": "start", "well": True} in heard
    ask(dashboard, "more", trials=1)
    wait_for(lambda: dashboard.optimizer._wanted == 3)
    dashboard.optimizer.wait()
    wait_for(lambda: dashboard.snapshot["head"]["ended"] == 3 and not dashboard.snapshot["head"]["running"])
    ask(dashboard, "choose", settings=filled)
    assert dashboard.notice["text"].startswith("The settings of a search that has begun stay as they are.")
    dashboard.close()


@pytest.mark.slow
def test_an_optimizer_shows_itself_filled_in_and_starts_from_the_screen(stripes):
    opt = hpoviz.Optimizer(stripes, **SMALL)
    dashboard = Dashboard(opt)
    heard = Heard(dashboard)
    assert dashboard.form["datasets"][0]["title"] == "stripes"
    assert (dashboard.form["data"], dashboard.form["trials"], dashboard.form["epochs"]) == ("", 2, [2, 2])
    ask(dashboard, "start", settings=settings(dashboard, trials=1))
    wait_for(lambda: dashboard.snapshot["head"]["phase"] == "completed")
    assert opt.request.trials == 1
    assert opt.request.search_space == SMALL_SPACE
    assert len(opt.results) == 1
    wait_for(lambda: dashboard.snapshot["head"]["phase"] == "completed")
    assert heard.of("change")
    assert dashboard.optimizer is opt
    dashboard.close()


@pytest.mark.slow
def test_settings_that_cannot_work_are_said_and_nothing_is_begun(stripes):
    opt = hpoviz.Optimizer(stripes, **SMALL)
    opt.compare_with({"filters": 4})
    dashboard = Dashboard(opt)
    for changes, said in [
        ({"trials": 0}, "trials must be a whole number, at least 1. Got 0."),
        ({"objective": "health"}, "objective='health' needs trials of at least 5 epochs"),
        ({"data": "no such data"}, "There is no data set 'no such data'"),
    ]:
        ask(dashboard, "start", settings=settings(dashboard, **changes))
        wait_for(lambda said=said: said in dashboard.notice["text"])
        assert not dashboard._begun
        assert opt.request.trials == 2
    ask(dashboard, "start", settings=settings(dashboard, trials=1))
    wait_for(lambda: dashboard.snapshot["head"]["phase"] == "completed")
    assert opt.results["origin"].tolist() == ["baseline"]  # what was planned before is still planned
    assert opt.results["params_filters"].tolist() == [4]
    dashboard.close()


@pytest.mark.slow
def test_stop_from_the_screen_keeps_what_is_done(stripes):
    opt = hpoviz.Optimizer(stripes, **{**SMALL, "trials": 500, "epochs": 1})
    dashboard = Dashboard(opt)
    heard = Heard(dashboard)
    opt.start()
    wait_for(lambda: any(change["head"]["ended"] for change in heard.of("change")))
    ask(dashboard, "stop")
    assert heard.of("answered") == [{"kind": "answered", "to": "stop", "well": True}]
    try:
        wait_for(lambda: not opt._is_running(), timeout_s=30)
    finally:
        opt.stop()
        opt.wait()
    assert dashboard.snapshot["head"]["counts"]["finished"] >= 1
    assert "stopped" in dashboard.snapshot["head"]["phase"]
    dashboard.close()


def test_details_of_a_trial(finished):
    dashboard = Dashboard(finished)
    heard = Heard(dashboard)
    ask(dashboard, "details", id=0)
    (found,) = heard.of("details")
    assert len(found["epochs"]) == 2
    assert found["columns"] == [
        "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds",
    ]  # fmt: skip
    params = {row[0]: row for row in found["params"]}
    assert params["filters"][1:3] == ["8", "fixed: 8"]
    assert "Health of" in found["health_html"]
    ask(dashboard, "architecture", id=0)
    wait_for(lambda: heard.of("architecture"))
    assert "Conv2D" in heard.of("architecture")[0]["html"]
    dashboard.close()


@pytest.mark.parametrize("wrong", [99, None, "0", [], {}, -1, True])
def test_details_of_what_is_not_there(finished, wrong):
    dashboard = Dashboard(finished)
    heard = Heard(dashboard)
    ask(dashboard, "details", id=wrong)
    assert heard == [{"kind": "details", "id": wrong, "problem": f"No trial with id {wrong!r} has ended."}]
    dashboard.close()


def test_architecture_without_a_model_says_why(tmp_path):
    opt = hpoviz.open_run(made_up_run(tmp_path / "run", 4, 2))
    dashboard = Dashboard(opt)
    heard = Heard(dashboard)
    trial = next(trial for trial in dashboard.snapshot["trials"] if trial["state"] == "finished")
    ask(dashboard, "architecture", id=trial["id"])
    wait_for(lambda: heard.of("architecture"))
    assert "is not in" in heard.of("architecture")[0]["problem"]
    dashboard.close()


@pytest.mark.parametrize("message", [None, [], 3, "start", {}, {"kind": "fly"}, {"kind": ["start"]}])
def test_messages_that_mean_nothing_do_nothing(finished, message):
    dashboard = Dashboard(finished)
    heard = Heard(dashboard)
    dashboard._told(dashboard, message, None)
    assert (heard, dashboard.notice["text"]) == ([], "")
    dashboard.close()


@pytest.mark.parametrize("kind", ["stop", "more"])
def test_what_needs_a_search_says_so(kind):
    dashboard = Dashboard()
    ask(dashboard, kind, trials=1)
    wait_for(lambda: dashboard.notice["text"] == "The search has not begun. Press Start.")
    dashboard.close()


def test_more_trials_must_be_a_number(finished):
    dashboard = Dashboard(finished)
    ask(dashboard, "more", trials=None)
    wait_for(lambda: "more trials must be a whole number, at least 1. Got None." in dashboard.notice["text"])
    dashboard.close()


def test_who_has_an_old_copy_gets_a_new_one(finished):
    dashboard = Dashboard(finished)
    before = dashboard.snapshot["version"]
    ask(dashboard, "hello", version=before)
    assert dashboard.snapshot["version"] == before
    ask(dashboard, "hello", version=before - 1)
    assert dashboard.snapshot["version"] > before
    dashboard.close()


@pytest.mark.slow
def test_several_dashboards_of_one_search_and_one_that_is_closed(stripes):
    opt = hpoviz.Optimizer(stripes, **SMALL)
    first, second, third = Dashboard(opt), Dashboard(opt), Dashboard(opt)
    heard = [Heard(one) for one in (first, second, third)]
    third.close()
    opt.run()
    assert [bool(one.of("change")) for one in heard] == [True, True, False]
    assert first.snapshot["head"]["ended"] == second.snapshot["head"]["ended"] == 2
    first.close()
    second.close()


def test_the_whole_comes_with_the_widget(finished):
    """The browser hears of nothing that is sent before its part has begun, so what opens it must be complete."""
    dashboard = Dashboard(finished)
    state = dashboard.get_state()
    assert state["snapshot"]["head"]["ended"] == 2
    assert state["form"]["begun"] is True
    assert state["frame"]["title"] == "hpoviz"
    bundle, _ = dashboard._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "<table" in bundle["text/html"]
    dashboard.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"title": 7}, "title must be a text. Got 7."),
        ({"logo": "javascript:alert(1)"}, "logo must be a web address"),
        ({"logo": "http://example.org/a.png"}, "logo must be a web address"),
        ({"footer_links": [("bad", "javascript:alert(1)")]}, "footer_links must be pairs"),
        ({"footer_links": ["https://example.org"]}, "footer_links must be pairs"),
    ],
)
def test_frames_that_are_not_allowed(options, said):
    with pytest.raises(ConfigError, match=said):
        Dashboard(**options)


def test_something_else_as_an_optimizer():
    with pytest.raises(ConfigError, match=r"optimizer must be an hpoviz.Optimizer \(or None\). Got str."):
        Dashboard("digits")


def test_title_logo_and_links():
    dashboard = Dashboard(
        title="Course 7", logo="data:image/png;base64,AAAA", footer_links=[("Us", "https://example.org")]
    )
    frame = {name: value for name, value in dashboard.frame.items() if name not in ("key", "figures")}
    assert frame == {
        "title": "Course 7",
        "logo": "data:image/png;base64,AAAA",
        "links": [["Us", "https://example.org"]],
    }
    dashboard.close()
    dashboard = Dashboard()
    assert dashboard.frame["links"][0] == ["MIT licence", "https://opensource.org/license/mit"]
    dashboard.close()


def test_closing_and_opening_five_times_leaves_nothing(tmp_path):
    opt = hpoviz.open_run(made_up_run(tmp_path / "run", 1_000, 20))
    known = getattr(ipywidgets.widgets.widget, "_instances", None)
    known = ipywidgets.Widget.widgets if known is None else known  # of ipywidgets 7
    Dashboard(opt).close()
    gc.collect()
    before = len(known)
    tracemalloc.start()
    size = tracemalloc.get_traced_memory()[0]
    for _ in range(5):
        Dashboard(opt).close()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - size
    tracemalloc.stop()
    assert len(known) == before
    assert grown < 2e6
    assert not list(opt._dashboards)


@pytest.mark.slow
def test_a_search_that_fails_to_begin_can_be_begun_again(stripes, monkeypatch):
    dashboard = Dashboard(hpoviz.Optimizer(stripes, **SMALL))
    begin = hpoviz.Optimizer._begin

    def fail(self, *args, **options):
        raise hpoviz.StoreError("The disk is full.")

    monkeypatch.setattr(hpoviz.Optimizer, "_begin", fail)
    ask(dashboard, "start", settings=settings(dashboard))
    wait_for(lambda: dashboard.notice["text"] == "The disk is full.")
    monkeypatch.setattr(hpoviz.Optimizer, "_begin", begin)
    ask(dashboard, "start", settings=settings(dashboard, trials=1))
    wait_for(lambda: dashboard.snapshot["head"]["phase"] == "completed")
    assert len(dashboard.optimizer.results) == 1
    dashboard.close()


def test_the_same_problem_twice_is_said_twice_and_is_gone_when_dismissed(finished):
    dashboard = Dashboard(finished)
    heard = Heard(dashboard)
    counts = []
    for _ in range(2):
        ask(dashboard, "more", trials=0)
        wait_for(lambda: len(heard.of("answered")) == len(counts) + 1)
        counts.append(dashboard.notice["count"])
    assert counts[1] > counts[0]
    assert [answer["well"] for answer in heard.of("answered")] == [False, False]
    ask(dashboard, "dismiss")
    assert dashboard.notice["text"] == ""
    dashboard.close()


@pytest.mark.slow
def test_more_trials_twice_at_once_begin_one_search(stripes):
    opt = hpoviz.Optimizer(stripes, **{**SMALL, "trials": 1, "epochs": 500, "pruner": None})
    dashboard = Dashboard(opt)
    heard = Heard(dashboard)
    opt.start()
    opt.stop()
    try:
        for _ in range(4):
            ask(dashboard, "more", trials=1)
        wait_for(lambda: len(heard.of("answered")) == 4)
        assert [answer["well"] for answer in heard.of("answered")].count(True) == 1
        assert opt._wanted == 2
    finally:
        opt.stop()
    dashboard.close()


@pytest.mark.slow
def test_a_start_is_seen_by_every_dashboard():
    opt = hpoviz.Optimizer("digits", **{**SMALL, "epochs": 6})
    first, second = Dashboard(opt), Dashboard(opt)
    filled = settings(first, objective="health", trials=1)
    ask(second, "choose", settings=settings(second, trials=7))  # chosen there, never started
    ask(first, "start", settings=filled)
    wait_for(lambda: first.snapshot["head"]["phase"] == "completed")
    wait_for(lambda: second.form["begun"])
    assert (second.form["trials"], second.form["objective"]) == (1, "health")
    wait_for(lambda: second.snapshot["head"]["ended"] == 1)
    assert second.snapshot["head"]["scoring"]["objective"] == "health"
    first.close()
    second.close()


def test_nothing_begins_while_a_job_runs_or_a_search_is_made_ready(finished, stripes):
    with finished._alone(), pytest.raises(ConfigError, match="is being started, or trains something beside it"):
        finished._begin(1)
    with finished._alone(), pytest.raises(ConfigError, match="is being started"):
        finished.cross_validate()
    opt = hpoviz.Optimizer(stripes, **SMALL)
    other = opt.request.keywords() | {"trials": 1}
    opt._log = finished._log  # begun by somebody else while the other settings were made ready
    with pytest.raises(ConfigError, match="has begun meanwhile"):
        opt._change(stripes, type(opt.request)(**other))
    assert opt.request.trials == 2


@pytest.mark.slow
def test_what_was_heard_is_told_at_once_and_answered_when_it_is_done(stripes):
    dashboard = Dashboard(hpoviz.Optimizer(stripes, **SMALL))
    heard = Heard(dashboard)
    ask(dashboard, "start", settings=settings(dashboard, trials=1))
    wait_for(lambda: heard.of("answered"))
    assert [message["kind"] for message in heard if message.get("to") == "start"] == ["heard", "answered"]
    wait_for(lambda: dashboard.snapshot["head"]["phase"] == "completed")
    dashboard.close()


@pytest.mark.slow
def test_a_search_that_was_made_and_cannot_run_keeps_its_settings(stripes, monkeypatch):
    opt = hpoviz.Optimizer(stripes, **SMALL)
    dashboard = Dashboard(opt)
    heard = Heard(dashboard)

    def fail(self, trials):
        raise hpoviz.StoreError("The disk is full.")

    with monkeypatch.context() as broken:
        broken.setattr(module.Optimizer._study_runner.__globals__["StudyRunner"], "start", fail)
        ask(dashboard, "start", settings=settings(dashboard))
        wait_for(lambda: heard.of("answered"))
    assert dashboard.notice["text"] == "The disk is full."
    assert dashboard.form["begun"] is True
    ask(dashboard, "start", settings=settings(dashboard))
    wait_for(lambda: dashboard.snapshot["head"]["phase"] == "completed")
    dashboard.close()


@pytest.mark.slow
def test_a_dashboard_that_breaks_does_not_stop_the_others(stripes, capsys):
    opt = hpoviz.Optimizer(stripes, **SMALL)
    broken, whole = Dashboard(opt), Dashboard(opt)

    def refresh(state, *, running):
        raise RuntimeError("the comm is gone")

    broken.refresh = refresh
    opt.run()
    assert whole.snapshot["head"]["phase"] == "completed"
    assert capsys.readouterr().err.count("Traceback") in (1, 2)  # on the way, and once more for the end
    assert "status" in repr(opt)
    broken.close()
    whole.close()


def test_browsers_change_nothing_but_by_asking(finished):
    dashboard = Dashboard(finished)
    before = dashboard.snapshot
    dashboard.set_state({"snapshot": {}, "form": {}, "notice": {"text": "<b>", "count": 1}})
    assert dashboard.snapshot is before
    dashboard.close()


def test_trials_that_were_cut_off_do_not_run(tmp_path):
    folder = made_up_run(tmp_path / "run", 6, 3, slots=2)
    lines = (folder / "events.jsonl").read_text().splitlines()
    (folder / "events.jsonl").write_text("\n".join(lines[: len(lines) // 2]) + "\n")
    dashboard = Dashboard(hpoviz.open_run(folder))
    assert dashboard.snapshot["head"]["phase"] == "interrupted"
    states = [trial["state"] for trial in dashboard.snapshot["trials"]]
    assert states.count("interrupted") == dashboard.snapshot["head"]["counts"]["interrupted"] == 2
    assert "running" not in states
    dashboard.close()


@pytest.mark.slow
def test_one_who_watches_a_dashboard_may_ask_about_the_search(stripes):
    opt = hpoviz.Optimizer(stripes, **SMALL)
    dashboard, seen = Dashboard(opt), []
    dashboard.observe(lambda change: seen.append(opt.status().phase), "snapshot")
    opt.run()
    assert seen
    dashboard.close()


def test_no_thread_is_left(finished):
    before = set(threading.enumerate())
    dashboard = Dashboard(finished)
    heard = Heard(dashboard)
    ask(dashboard, "architecture", id=0)
    wait_for(lambda: heard.of("architecture"))
    wait_for(lambda: not [one for one in set(threading.enumerate()) - before if one.name == "hpoviz-dashboard"])
    dashboard.close()


def test_every_asset_is_there():
    for name in ("elements.js", "charts.js", "gallery.js", "settings_form.js", "dashboard.js", "dashboard.css"):
        assert len(asset(name)) > 500
