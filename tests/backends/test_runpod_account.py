"""An account of RunPod on this machine: an endpoint is made, found again and deleted; and what `check` says of it."""

import dataclasses
import re
import sys
import traceback
from importlib.metadata import version
from pathlib import Path

import pytest

from hpoviz.backends import runpod_about, runpod_account, runpod_check, runpod_client, runpod_rest
from hpoviz.backends.runpod import RunPodBackend
from hpoviz.backends.runpod_messages import job_input
from hpoviz.errors import BackendProtocol, BackendUnavailable, ConfigError
from hpoviz.testing.backend_contract import tiny_spec
from tests.runpod_rest import Account
from tests.runpod_service import Service

IMAGE = f"docker.io/me/hpoviz-worker:{version('hpoviz')}"
SECRET = "wJalrXUtnFEMI-K7MDENG"
ENV = {"AWS_SECRET_ACCESS_KEY": SECRET, "HPOVIZ_LOG": "1"}


@pytest.fixture
def account():
    with Account() as account:
        yield account


def set_up(account, image=IMAGE, **settings):
    return RunPodBackend.setup(image, **{"api_key": account.key, "base_url": account.base_url} | settings)


def tear_down(account, *ids, **settings):
    return RunPodBackend.teardown(*ids, **{"api_key": account.key, "base_url": account.base_url} | settings)


def test_a_dry_run_makes_nothing(account, capsys):
    plan = set_up(account, workers=4, env=ENV, price_per_hour=0.75)
    said = capsys.readouterr().out
    assert account.calls == [("GET", "/v2/serverless", 200)]
    assert account.endpoints == {}
    assert plan.endpoint_id is None
    assert repr(plan) in said
    for part in (
        "hpoviz-worker: would be created", IMAGE, "AWS_SECRET_ACCESS_KEY, HPOVIZ_LOG", "0 to 4; one ends after 60 s",
        "cost while idle  nothing", "at $0.75 an hour a trial of 10 minutes costs about $0.12",
        "and 4 workers cost at most $3.00 an hour",
        "the same call with dry_run=False",
    ):  # fmt: skip
        assert part in said, part


def test_no_price_is_made_up(account):
    assert "$" not in repr(set_up(account))
    assert "https://www.runpod.io/pricing" in repr(set_up(account))


def test_a_dry_run_needs_no_account(account, monkeypatch, tmp_path):
    monkeypatch.setattr(runpod_client, "KEY_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    plan = set_up(account, api_key=None)
    assert "RunPod wants an API key" in repr(plan)
    assert account.calls == []
    with pytest.raises(ConfigError, match="RunPod wants an API key"):
        set_up(account, api_key=None, dry_run=False)


def test_an_endpoint_is_made_once(account, capsys):
    plan = set_up(account, workers=4, env=ENV, registry="cred1", max_job_minutes=30, dry_run=False)
    (made,) = account.endpoints.values()
    assert made["id"] == plan.endpoint_id
    assert made["name"] == "hpoviz-worker"
    assert made["env"] == ENV
    assert made["workers"] == {"min": 0, "max": 4, "idleTimeout": 60}
    assert made["timeout"] == 1_800_000
    assert made["registry"] == "cred1"
    assert made["gpu"] == {"pools": ["AMPERE_16", "AMPERE_24", "ADA_24"], "count": 1, "minCudaVersion": "12.5"}
    assert f'RunPodBackend(endpoint_id="{plan.endpoint_id}", workers=4)' in capsys.readouterr().out
    again = set_up(account, workers=4, env=ENV, registry="cred1", max_job_minutes=30, dry_run=False)
    assert again.endpoint_id == plan.endpoint_id
    assert "is there already" in repr(again)
    assert [call[0] for call in account.changes] == ["POST"]


def test_an_endpoint_of_that_name_with_other_settings_is_left_alone(account):
    endpoint_id = set_up(account, dry_run=False).endpoint_id
    plan = set_up(account, "docker.io/me/hpoviz-worker:9.9.9", workers=8)
    assert "with other settings" in repr(plan)
    assert f"image is {IMAGE}, not docker.io/me/hpoviz-worker:9.9.9" in plan.notes
    with pytest.raises(ConfigError, match=rf"{endpoint_id}: workers.max is 2, not 8"):
        set_up(account, workers=8, dry_run=False)
    with pytest.raises(ConfigError, match="its environment lacks AWS_SECRET_ACCESS_KEY"):
        set_up(account, env=ENV, dry_run=False)
    assert set_up(account, workers=8, name="other", dry_run=False).endpoint_id != endpoint_id
    account.add(name="hpoviz-worker -fb")
    with pytest.raises(ConfigError, match="Several endpoints are called 'hpoviz-worker'"):
        set_up(account, dry_run=False)
    assert [call[0] for call in account.changes] == ["POST", "POST"]


@pytest.mark.parametrize("fault", ["lose", "drop", 500])
def test_an_answer_that_does_not_come(account, fault):
    """What was made all the same is found by its name; nothing is made twice."""
    account.fail("POST /v2/serverless", fault)
    if fault == "lose":
        endpoint_id = set_up(account, dry_run=False).endpoint_id
        assert list(account.endpoints) == [endpoint_id]
    else:
        with pytest.raises(BackendUnavailable, match="RunPod lists no endpoint hpoviz-worker"):
            set_up(account, dry_run=False)
        assert account.endpoints == {}
    assert [call[0] for call in account.changes] == ["POST"]


@pytest.mark.parametrize("other", [{"workers": {"min": 1, "max": 2}}, {"image": "other:1"}, {"type": "LOAD_BALANCER"}])
def test_what_was_not_asked_for_is_deleted_again(account, other):
    account.make_other = other
    with pytest.raises(BackendUnavailable, match=r"RunPod made another endpoint .* was deleted again"):
        set_up(account, dry_run=False)
    assert account.endpoints == {}


def test_what_differs_a_little_is_said(account):
    account.make_other = {"timeout": 0}
    plan = set_up(account, dry_run=False)
    assert plan.notes == ("timeout is 0, not 3600000",)
    assert list(account.endpoints) == [plan.endpoint_id]


def test_several_gpus_a_worker(account):
    plan = set_up(account, gpus=["AMPERE_80"], gpus_per_worker=2, dry_run=False)
    assert account.endpoints[plan.endpoint_id]["gpu"]["count"] == 2
    assert "2 a worker, of AMPERE_80" in repr(plan)
    with pytest.raises(ConfigError, match=r"gpu\.count is 2, not 1"):
        set_up(account, gpus=["AMPERE_80"], dry_run=False)


def test_ctrl_c_leaves_nothing(account, monkeypatch, capsys):
    create = runpod_rest.RunPodRest.create

    def interrupted(rest, body):
        create(rest, body)
        raise KeyboardInterrupt

    monkeypatch.setattr(runpod_rest.RunPodRest, "create", interrupted)
    with pytest.raises(KeyboardInterrupt):
        set_up(account, dry_run=False)
    assert account.endpoints == {}
    assert "was deleted again" in capsys.readouterr().out


def test_what_cannot_be_undone_is_said(account):
    account.make_other = {"workers": {"min": 1, "max": 2}}
    account.fail("DELETE", 500)
    with pytest.raises(
        BackendUnavailable, match=r"may still be there .*HTTP 500.* look at https://console\.runpod\.io"
    ):
        set_up(account, dry_run=False)
    assert len(account.endpoints) == 1


def test_tear_down(account, capsys):
    theirs = account.add(name="somebody's")
    made = set_up(account, dry_run=False).endpoint_id
    account.busy[made] = 2
    plan = tear_down(account)
    assert plan.endpoints == ((made, "hpoviz-worker", "would be deleted, with 2 workers, 2 of them at work"),)
    assert [call[0] for call in account.changes] == ["POST"]
    other = account.add(name="hpoviz-other")
    with pytest.raises(ConfigError, match=r"There are 2 endpoints: .*Say which"):
        tear_down(account, dry_run=False)
    assert tear_down(account, made, dry_run=False).endpoints[0][2] == "was deleted; RunPod says that it is gone"
    assert set(account.endpoints) == {theirs, other}
    assert account.calls[-1] == ("GET", f"/v2/serverless/{made}", 404)
    assert "no such endpoint" in repr(tear_down(account, made, dry_run=False))
    tear_down(account, dry_run=False)
    assert set(account.endpoints) == {theirs}
    assert "there is no endpoint whose name begins with hpoviz-" in repr(tear_down(account, dry_run=False))


def test_workers_are_stopped_first_where_the_service_wants_it(account):
    made = set_up(account, dry_run=False).endpoint_id
    account.wants_no_workers = True
    tear_down(account, made, dry_run=False)
    assert account.endpoints == {}
    assert [call[0] for call in account.changes] == ["POST", "DELETE", "PATCH", "DELETE"]


def test_an_endpoint_that_stays_is_an_error(account, monkeypatch):
    monkeypatch.setattr(runpod_account, "GONE_WAIT_S", 0.3)
    made = set_up(account, dry_run=False).endpoint_id
    account.keeps = True
    with pytest.raises(BackendUnavailable, match=f"RunPod still has endpoint {made}"):
        tear_down(account, made, dry_run=False)


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (401, None, BackendUnavailable, r"refuses the API key \(401\)"),
        (403, None, BackendUnavailable, r"may not list the endpoints \(403\)"),
        (402, {"detail": "not enough balance"}, BackendUnavailable, "without balance"),
        (500, None, BackendUnavailable, r"could not list the endpoints \(HTTP 500\)"),
        (302, None, BackendUnavailable, r"HTTP 302"),
        (200, ["no object"], BackendUnavailable, "list of endpoints is none"),
        ("drop", None, BackendUnavailable, r"could not be reached to list the endpoints"),
        (422, {"detail": "no", "errors": ["$.x: bad"]}, ConfigError, r"refuses to list .*\(422\): no; \$.x: bad"),
    ],
)  # fmt: skip
def test_a_service_that_fails(account, monkeypatch, status, body, error, said):
    monkeypatch.setattr("urllib3.util.retry.Retry.get_backoff_time", lambda _: 0.0)
    account.fail("GET /v2/serverless", status, 3, body)
    for call in (lambda: set_up(account, dry_run=False), lambda: tear_down(account)):
        account._faults[:] = [[re.compile("GET /v2/serverless"), status, 3, body]]
        with pytest.raises(error, match=said):
            call()
    assert account.changes == []


def test_a_service_that_is_busy_for_a_moment_is_asked_again(account, monkeypatch):
    monkeypatch.setattr("urllib3.util.retry.Retry.get_backoff_time", lambda _: 0.0)
    account.fail("GET /v2/serverless", 503, 2)
    set_up(account)
    assert [call[2] for call in account.calls] == [503, 503, 200]


def _all_of(error):
    """Everything that can be read from an error, from what it came of, and from the frames it went through."""
    while error is not None:
        yield f"{error!r} {vars(error)} {getattr(getattr(error, 'request', None), 'headers', '')}"
        yield "".join(traceback.format_exception(error))
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("status", [401, 403, 422, 500, "drop", "lose"])
def test_key_and_secrets_are_nowhere(account, capsys, caplog, status):
    wrong = "rpa_WRONG_KEY_0123456789"
    echo = {"title": "t", "status": 1, "detail": f"you sent {SECRET} by {account.key}", "errors": [SECRET]}
    with caplog.at_level("DEBUG"):
        said = [repr(set_up(account, env=ENV)), set_up(account, env=ENV)._repr_html_()]
        said += [str(dataclasses.asdict(set_up(account, env=ENV)))]
        account.make_other = {"workers": {"min": 1, "max": 2}} if status == "lose" else {}
        account.fail("POST", status, 1, echo)
        with pytest.raises((BackendUnavailable, ConfigError)) as caught:
            set_up(account, env=ENV, dry_run=False)
        with pytest.raises(BackendUnavailable) as refused:
            set_up(account, env=ENV, api_key=wrong)
    said += [*_all_of(caught.value), *_all_of(refused.value), capsys.readouterr().out, caplog.text]
    said += [repr(runpod_rest.RunPodRest(account.key, account.base_url))]
    assert not [text for text in said for secret in (account.key, SECRET, wrong) if secret in text]


def test_hostile_names(account, capsys):
    account.add(name="hpoviz-<script>alert(1)</script>\x1b[2J")
    account.endpoints["../x"] = {"id": "../x", "name": "hpoviz-path"}
    found = tear_down(account)
    assert len(found.endpoints) == 1
    assert "<script>" not in found._repr_html_()
    assert "\x1b" not in capsys.readouterr().out + repr(found)
    assert not [call for call in account.calls if ".." in call[1]]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"image": "hpoviz-worker"}, "image must be a container image with its tag"),
        ({"image": "https://me:pw@host/x:1"}, "image must be"),
        ({"image": "a:1 --privileged"}, "image must be"),
        ({"name": "a/../b"}, "name must be of letters"),
        ({"name": "<b>"}, "name must be of letters"),
        ({"workers": 0}, "workers must be a whole number from 1 to 64"),
        ({"workers": True}, "workers must be a whole number"),
        ({"gpus_per_worker": 9}, "gpus_per_worker must be a whole number from 1 to 8"),
        ({"gpus": "AMPERE_16"}, "gpus must be names of RunPod's GPU pools"),
        ({"gpus": ["NVIDIA GeForce RTX 4090"]}, "gpus must be"),
        ({"env": {"A B": "1"}}, "env must have names"),
        ({"env": {"A": 1}}, "env must have texts as values. That of A is none"),
        ({"idle_seconds": 0}, "idle_seconds must be"),
        ({"price_per_hour": -1}, "price_per_hour must be a positive number"),
        ({"max_job_minutes": float("nan")}, "max_job_minutes must be"),
        ({"registry": "a/b"}, "registry must be"),
        ({"base_url": "http://example.org/v2"}, "must begin with https://"),
    ],
)
def test_settings_that_cannot_work(account, settings, said):
    with pytest.raises(ConfigError, match=said):
        set_up(account, **{"image": IMAGE} | settings)
    assert account.calls == []
    with pytest.raises(ConfigError, match="endpoint_id must be"):
        tear_down(account, "../x")


# --- check


@pytest.fixture(scope="module")
def service():
    """The service, with one worker that has imported TensorFlow for those who ask for it."""
    with Service() as service:
        yield service


@pytest.fixture
def calm(service):
    service.calm_down()
    service.calls.clear()
    yield service
    service.calm_down()
    service.wait(lambda: not service.running, 30, "the end of all jobs")


def backend_of(service, **settings):
    return RunPodBackend("ep", **{"api_key": service.key, "base_url": service.base_url, "workers": 2} | settings)


def rows_of(check):
    return {row.subject: (row.state, row.text) for row in check.rows}


def check_with(calm, account, health=None, **fields):
    account.add(**{"id": "ep", "name": "hpoviz-worker", "image": IMAGE} | fields)
    if health is not None:
        calm._health = lambda body: (200, health)
    try:
        return backend_of(calm).check(rest_url=account.base_url)
    finally:
        calm.__dict__.pop("_health", None)


def test_check_says_that_all_is_right(calm, account, monkeypatch):
    check = check_with(calm, account)
    assert check.ok
    assert rows_of(check) == {
        "key": ("right", "RunPod takes it; it is that of api_key="),
        "endpoint": ("right", "ep is hpoviz-worker"),
        "workers": ("right", "none now, at most 3; they are started when there is work"),
        "queue": ("right", "empty"),
        "image": ("right", f"{IMAGE}, by its tag"),
    }
    assert re.search(r"^RunPod endpoint ep\n  ✓ key +RunPod takes it", repr(check))
    assert check._repr_html_().count("✓ right") == 5
    assert calm.key not in repr(check) + check._repr_html_()
    monkeypatch.setenv("RUNPOD_API_KEY", calm.key)
    assert "that of RUNPOD_API_KEY" in repr(backend_of(calm, api_key=None).check())


@pytest.mark.parametrize(
    ("fields", "health", "subject", "state", "said"),
    [
        ({"workers": {"min": 0, "max": 1}}, None, "workers", "wrong", "at most 1, and this backend runs 2 trials"),
        ({"workers": {"min": 0, "max": 0}}, None, "workers", "wrong", "there may be none"),
        ({"workers": {"min": 1, "max": 3}}, None, "workers", "right", "1 are always there and always paid"),
        ({"workers": "x"}, None, "workers", "right", "how many there may be is unknown"),
        ({}, {"workers": {"throttled": 2}}, "workers", "wrong", "2 throttled: GPUs of these kinds are taken"),
        ({}, {"workers": {"unhealthy": 1, "idle": 0}}, "workers", "wrong", "the image does not start"),
        ({}, {"workers": {"unhealthy": 1, "running": 2}}, "workers", "right", "1 unhealthy, 2 running"),
        ({}, {"jobs": {"inQueue": 4, "inProgress": 1}}, "queue", "right", "4 jobs wait, 1 run"),
        ({"type": "LOAD_BALANCER"}, None, "endpoint", "wrong", "has no queue"),
        ({"image": "me/w:9.9.0"}, None, "image", "wrong", "trials want hpoviz"),
        ({"image": "me/w:latest"}, None, "image", "unknown", r"check\(worker=True\)"),
        ({"image": "me/w@sha256:12.3"}, None, "image", "unknown", "its tag is no version"),
        ({"image": None}, None, "image", "unknown", r"run check\(worker=True\)"),
        ({"name": "<i>x</i>\x1b"}, None, "endpoint", "right", "^ep is <i>x</i>$"),
    ],
)  # fmt: skip
def test_check_says_what_to_do(calm, account, fields, health, subject, state, said):
    check = check_with(calm, account, health, **fields)
    found = rows_of(check)[subject]
    assert found[0] == state
    assert re.search(said, found[1])
    assert check.ok == (state != "wrong")
    assert "<i>" not in check._repr_html_()


def test_check_without_the_account(calm, account):
    """The settings are unknown: another service's, another account's, or the key may not read them."""
    assert "was not asked" in rows_of(backend_of(calm).check())["endpoint"][1]
    assert "does not list it" in repr(backend_of(calm).check(rest_url=account.base_url))
    account.fail("GET", 403)
    check = backend_of(calm).check(rest_url=account.base_url)
    assert "may not ask for endpoint ep (403)" in rows_of(check)["endpoint"][1]
    assert rows_of(check)["image"][0] == "unknown"
    assert check.ok


def test_check_of_a_worker_that_does_not_come(calm, account, capsys):
    backend = backend_of(calm, queue_minutes=0.01)
    check = backend.check(worker=True)
    assert not check.ok
    assert re.search(r"none came within 0.01 minutes", rows_of(check)["worker"][1])
    assert "are paid" in capsys.readouterr().out
    (job,) = calm.jobs.values()
    assert job.status == "CANCELLED"
    assert job.policy == {"executionTimeout": 120_000, "ttl": 240_600}
    calm.jobs.clear()


def test_check_of_a_worker_that_is_interrupted(calm, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runpod_check, "_waited_for", interrupt)
    with pytest.raises(KeyboardInterrupt):
        backend_of(calm).check(worker=True)
    assert [job.status for job in calm.jobs.values()] == ["CANCELLED"]
    calm.jobs.clear()


@pytest.mark.slow
def test_check_of_a_worker(calm, account):
    """RunPod's own worker loop around our handler says what is installed here, and trains nothing."""
    calm.start_worker("one")
    calm.wait_for_workers(1)
    account.add(id="ep", name="hpoviz-worker", image="me/w:latest")
    check = backend_of(calm).check(worker=True, rest_url=account.base_url)
    rows = rows_of(check)
    python = ".".join(map(str, sys.version_info[:3]))
    has = ", ".join(f"{name} {version(name)}" for name in ("hpoviz", "runpod", "tensorflow", "keras"))
    assert rows["worker"] == ("right", f"{has}, python {python}.")
    assert rows["GPUs"][0] == "wrong"  # there is none here
    assert "TensorFlow sees none in the worker" in rows["GPUs"][1]
    assert rows["image"][1] == "me/w:latest: its tag is no version of hpoviz; the worker says"
    (job,) = calm.jobs.values()
    assert job.status == "COMPLETED"
    assert [list(message) for message in job.output] == [["boot", "n", "about"]]


OLDEST = ".".join(map(str, runpod_check.OLDEST_SDK))
HERE = {name: version(name) for name in runpod_about.PACKAGES} | {"python": "3.11.9", "runpod": OLDEST}


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ({"hpoviz": "9.9.0"}, "Trials want hpoviz"),
        ({"runpod": "1.10.0"}, "does not hear of a cancelled job"),
        ({"runpod": "missing"}, "does not hear of a cancelled job"),
        ({"keras": "99.1"}, "Its Keras is newer"),
        ({}, None),
    ],
)
def test_versions_of_a_worker(theirs, said):
    worker = runpod_about.read_answer([{"about": {"versions": HERE | theirs, "gpus": ["NVIDIA RTX A4000"]}}])
    row, gpus = runpod_check._answer_rows(worker)
    assert row.state == ("wrong" if said else "right")
    assert (said or "") in row.text
    assert gpus == runpod_check.CheckRow("GPUs", "right", "NVIDIA RTX A4000")


@pytest.mark.parametrize("output", [None, [], ["x"], [{"about": 1}], [{"about": {"versions": HERE}}], [{"n": 0}]])
def test_a_worker_that_answers_something_else(output):
    with pytest.raises(BackendProtocol, match="did not say its versions"):
        runpod_about.read_answer(output)


def test_a_trial_is_no_question():
    assert runpod_about.is_question(runpod_about.question())
    assert not runpod_about.is_question(job_input(tiny_spec(), {}, version("hpoviz")))
    assert not runpod_about.is_question(None)


# --- the image


DOCKERFILE = (Path(__file__).parents[2] / "docs" / "runpod.Dockerfile").read_text()


@pytest.mark.own_versions
def test_the_image_has_the_versions_that_are_here():
    pins = dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE, re.MULTILINE))
    assert pins == {
        "PYTHON": "3.11",
        "HPOVIZ": version("hpoviz"),
        "TENSORFLOW": version("tensorflow"),
        "KERAS": version("keras"),
        "RUNPOD": version("runpod"),
        "NUMPY": version("numpy"),
    }
    assert tuple(map(int, pins["RUNPOD"].split("."))) >= runpod_check.OLDEST_SDK
    assert 'CMD ["python", "-u", "-m", "hpoviz.backends.runpod_worker"]' in DOCKERFILE
