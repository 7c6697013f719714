"""What RunPod trials cost, where that ends, and going on here when the endpoint is of no use: on a service here."""

import time

import pytest

import hpoviz
from hpoviz.errors import BackendUnavailable, ConfigError
from hpoviz.events import BackendFellBack, TrialCharged, event_from_json
from hpoviz.progress import ProgressView, progress_lines
from hpoviz.results import dollars
from hpoviz.run_feed import RunFeed
from tests.backends.test_runpod import LONG, backend_of
from tests.conftest import SMALL_SPACE
from tests.runpod_service import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SHORT = {"epochs": 2, "seed": 3, "search_space": SMALL_SPACE}


def feed_of(opt):
    with opt._reading() as state:
        head = RunFeed(opt.request.scoring).snapshot(state, running=False, phase="")["head"]
        return head, progress_lines(ProgressView.of(state), 500)


def test_every_trial_has_an_estimate_of_its_cost(calm, stripes, tmp_path):
    known = set(calm.jobs)
    backend = backend_of(calm, price_per_hour=3.6)
    opt = hpoviz.Optimizer(stripes, trials=3, backend=backend, run_dir=tmp_path / "run", **SHORT)
    opt.run()
    jobs = [job.view(output=False) for name, job in calm.jobs.items() if name not in known]
    expected = sorted(job["executionTime"] / 1e6 for job in jobs)
    assert sorted(opt.results["cost"]) == pytest.approx(expected)
    assert opt.status().cost == pytest.approx(sum(expected))
    assert f", about {dollars(sum(expected))}" in repr(opt.status())
    head, lines = feed_of(opt)
    assert head["cost"].startswith("about $0.0")
    assert head["cost"] in lines[0]
    again = hpoviz.open_run(tmp_path / "run", data=stripes)
    assert again.results["cost"].tolist() == opt.results["cost"].tolist()


def test_where_nothing_is_paid_there_is_no_cost(stripes, tmp_path):
    opt = hpoviz.Optimizer(stripes, trials=1, backend="inline", run_dir=tmp_path / "run", **SHORT)
    opt.run()
    assert "cost" not in opt.results
    assert opt.status().cost is None
    assert feed_of(opt)[0]["cost"] == ""


def test_max_cost_begins_nothing_more(calm, stripes, tmp_path):
    backend = backend_of(calm, workers=1, price_per_hour=3600.0, max_cost=0.05)  # a dollar a second
    opt = hpoviz.Optimizer(stripes, trials=5, backend=backend, run_dir=tmp_path / "run", **SHORT)
    opt.run()
    assert opt.results["state"].tolist() == ["finished"]
    assert opt.status().phase.startswith("max_cost=$0.05 is reached: about $")


def test_an_attempt_that_was_lost_is_paid_too(calm, tmp_path):
    backend = backend_of(calm, workers=1, price_per_hour=3.6, silence_minutes=0.03)
    calm.fail("POST /v2/ep/job-stream", 200, 100_000)  # nothing that a worker says arrives
    opt = hpoviz.Optimizer(
        "digits", trials=1, seed=0, search_space={"filters": 8} | LONG, backend=backend, run_dir=tmp_path / "run",
        config=hpoviz.OptimizationConfig(early_stopping_patience=None),
    )  # fmt: skip
    opt.run()
    assert opt.results["state"].tolist() == ["failed"]
    events = [event_from_json(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    charges = [event for event in events if isinstance(event, TrialCharged)]
    assert [event.attempt for event in charges] == [1, 2]
    assert all(event.worker_seconds > 1 for event in charges)
    assert opt.results["cost"].tolist() == pytest.approx([sum(event.cost for event in charges)])


@pytest.mark.parametrize("trouble", ["no workers", "wrong key"])
def test_trials_go_on_here(stripes, tmp_path, trouble, capsys):
    with Service() as service:
        settings = {"queue_minutes": 0.03, "on_unavailable": "local"}
        if trouble == "wrong key":
            settings["api_key"] = "rpa_WRONG"
        opt = hpoviz.Optimizer(
            stripes, trials=3, backend=backend_of(service, **settings), run_dir=tmp_path / "run", **SHORT,
            config=hpoviz.OptimizationConfig(retries=0, display="text"),
        )  # fmt: skip
        opt.run()
        assert opt.results["state"].tolist() == ["finished"] * 3  # retries=0: being given back is no failure
        assert service.running == []
        events = [event_from_json(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
        (moved,) = [event for event in events if isinstance(event, BackendFellBack)]
        said = "No RunPod worker took trial" if trouble == "no workers" else "refuses the API key"
        assert said in moved.reason
        assert "rpa_WRONG" not in moved.to_json()
        head, lines = feed_of(opt)
        assert head["notice"] == f"Trials run on: {moved.now}. {moved.reason}"
        assert head["notice"] in lines[1]
        assert "Trials run on: " in capsys.readouterr().out
        asked = len(service.calls)
        opt.run(more_trials=1)  # RunPod is asked again
        assert len(service.calls) > asked
        assert len(opt.results) == 4


def test_nothing_is_moved_while_it_may_still_run_there(calm, tmp_path):
    opt = hpoviz.Optimizer(
        "digits", trials=3, seed=0, search_space={"filters": 8} | LONG, run_dir=tmp_path / "run", pruner=None,
        backend=backend_of(calm, workers=2, on_unavailable="local"),
        config=hpoviz.OptimizationConfig(early_stopping_patience=None),
    )  # fmt: skip
    calm.fail("POST /v2/ep/run", "pass", 1)
    calm.fail("POST /v2/ep/run", 400, 1)  # the second submission
    calm.fail("POST /v2/ep/cancel", 500, 100_000)
    with pytest.raises(BackendUnavailable, match="submit a trial"):
        opt.run()
    assert not any("BackendFellBack" in line for line in (tmp_path / "run" / "events.jsonl").open())
    (left,) = calm.running
    assert left.id in (tmp_path / "run" / "runpod_jobs.json").read_text()
    calm.calm_down()
    backend = backend_of(calm)
    again = hpoviz.open_run(tmp_path / "run", backend=backend)
    again.start()
    calm.wait(lambda: left.status == "CANCELLED")
    again.stop()


def test_a_service_that_cannot_be_reached_for_a_while(calm, tmp_path):
    opt = hpoviz.Optimizer(
        "digits", trials=1, seed=0, search_space={"filters": 8, "epochs": 60}, run_dir=tmp_path / "run",
        backend=backend_of(calm, workers=1), config=hpoviz.OptimizationConfig(early_stopping_patience=None),
    )  # fmt: skip
    opt.start()
    calm.wait(lambda: "EpochEnded" in (tmp_path / "run" / "events.jsonl").read_text())
    calm.fail("GET /v2/ep/(stream|status|health)", "drop", 100_000)
    time.sleep(20)
    calm.calm_down()
    assert opt.wait(240)
    assert opt.results["state"].tolist() == ["finished"]
    assert len(opt.best_trial.history) == 60


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_cost": 1.0}, "max_cost needs price_per_hour"),
        ({"price_per_hour": -1}, "price_per_hour must be a positive number of US dollars"),
        ({"price_per_hour": 1.0, "max_cost": True}, "max_cost must be a positive number"),
        ({"on_unavailable": "cloud"}, "on_unavailable must be 'raise' or 'local'. Got 'cloud'"),
    ],
)
def test_settings_that_cannot_work(settings, said):
    with pytest.raises(ConfigError, match=said):
        hpoviz.RunPodBackend("ep", api_key="k", **settings)
