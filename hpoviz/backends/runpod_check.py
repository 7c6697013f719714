"""RunPodBackend.check: key, endpoint, workers, queue, image, and if wanted a worker, each right or what to do."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

from hpoviz import _html
from hpoviz.backends.runpod_about import WorkerVersions, question, read_answer
from hpoviz.backends.runpod_client import ENDED, JobView, RunPodClient
from hpoviz.backends.runpod_plan import CONSOLE, lines
from hpoviz.backends.runpod_rest import REST_URL, NoSuchEndpoint, RunPodRest
from hpoviz.errors import BackendError

__all__ = ["CheckRow", "EndpointCheck", "check_endpoint"]

ANSWER_S = 120.0  # so long a worker may take to import TensorFlow and answer
PAUSE_S = 1.0
OLDEST_SDK = (1, 10, 1)  # of a worker: older ones do not hear of a cancelled job
MARKS = {"right": "✓", "wrong": "✗", "unknown": "?"}


@dataclasses.dataclass(frozen=True)
class CheckRow:
    """One thing that was looked at.

    Attributes
    ----------
    subject : str
    state : {"right", "wrong", "unknown"}
    text : str
        What there is, and what to do about it.
    """

    subject: str
    state: str
    text: str


@dataclasses.dataclass(frozen=True)
class EndpointCheck:
    """What was looked at, a row each."""

    title: str
    rows: tuple[CheckRow, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; what is unknown may be."""
        return all(row.state != "wrong" for row in self.rows)

    def __repr__(self) -> str:
        return lines(self.title, [(f"{MARKS[row.state]} {row.subject}", row.text) for row in self.rows])

    def _repr_html_(self) -> str:
        rows = [(row.subject, f"{MARKS[row.state]} {row.state}", row.text) for row in self.rows]
        return _html.page(_html.paragraph(self.title, strong=True) + _html.table(("", "", ""), rows))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Endpoint:
    """What RunPod's REST API says of the endpoint; empty, with the reason, where it was not asked or does not say."""

    record: Mapping[str, Any]
    why_not: str = ""

    def part(self, name: str) -> Mapping[str, Any]:
        part = self.record.get(name)
        return part if isinstance(part, Mapping) else {}


def check_endpoint(
    client: RunPodClient, *, workers: int, key_from: str, queue_s: float, rest_url: str | None, ask: bool
) -> EndpointCheck:
    """Look at everything that trials need.

    Parameters
    ----------
    client : RunPodClient
    workers : int
        How many trials are to run at a time.
    key_from : str
        Where the key was found.
    queue_s : float
        How long a worker is waited for.
    rest_url : str or None
        Of RunPod's REST API; None: the one that belongs to the client's service, if there is one.
    ask : bool
        Whether a worker is asked as well, which costs its time.

    Raises
    ------
    BackendUnavailable
        The key is refused, there is no such endpoint, or the service does not answer.
    """
    health = client.health()
    endpoint = _described(client, rest_url)
    rows = [
        CheckRow("key", "right", f"RunPod takes it; it is that of {key_from}"),
        _endpoint_row(client.endpoint_id, endpoint),
        _workers_row(health, endpoint, workers),
        _queue_row(health),
        _image_row(endpoint, ask),
    ]
    if ask:
        rows += _ask_worker(client, queue_s)
    return EndpointCheck(f"RunPod endpoint {client.endpoint_id}", tuple(rows))


def _described(client: RunPodClient, rest_url: str | None) -> _Endpoint:
    if rest_url is None and not client.is_runpod:
        return _Endpoint(record={}, why_not="RunPod's REST API was not asked, as base_url is another service")
    rest = RunPodRest(client.key, rest_url or REST_URL)
    try:
        return _Endpoint(record=rest.endpoint(client.endpoint_id))
    except NoSuchEndpoint:
        return _Endpoint(record={}, why_not="the key's account does not list it: it may be another's")
    except BackendError as error:
        return _Endpoint(record={}, why_not=str(error))


def _endpoint_row(endpoint_id: str, endpoint: _Endpoint) -> CheckRow:
    if not endpoint.record:
        return CheckRow("endpoint", "right", f"{endpoint_id} answers; its settings are unknown: {endpoint.why_not}")
    name, kind = _short(endpoint.record.get("name")), endpoint.record.get("type")
    if kind == "LOAD_BALANCER":
        return CheckRow("endpoint", "wrong", f"{name} has no queue. Make one of type QUEUE: RunPodBackend.setup().")
    return CheckRow("endpoint", "right", f"{endpoint_id} is {name}")


def _workers_row(health: Mapping[str, Any], endpoint: _Endpoint, wanted: int) -> CheckRow:
    counts = {str(name): count for name, count in _counts(health, "workers").items() if count}
    now = ", ".join(f"{count} {name}" for name, count in counts.items()) or "none now"
    most, least = endpoint.part("workers").get("max"), endpoint.part("workers").get("min")
    if most == 0:
        text = "there may be none: RunPod sets endpoints so that had no work for long. Set Max workers on its page."
        return CheckRow("workers", "wrong", text)
    if isinstance(most, int) and most < wanted:
        text = f"at most {most}, and this backend runs {wanted} trials at a time. Raise Max workers on the endpoint's "
        return CheckRow("workers", "wrong", f"{now}; {text}page, or set workers={most}.")
    if set(counts) <= {"unhealthy"} and counts:
        return CheckRow("workers", "wrong", f"{now}: the image does not start. See the logs at {CONSOLE}.")
    if set(counts) <= {"throttled", "unhealthy"} and counts:
        text = f"{now}: GPUs of these kinds are taken. Choose more kinds on the endpoint's page, or wait."
        return CheckRow("workers", "wrong", text)
    limit = f"at most {most}" if isinstance(most, int) else "how many there may be is unknown"
    paid = f"; {least} are always there and always paid" if isinstance(least, int) and least > 0 else ""
    started = "" if counts else "; they are started when there is work"
    return CheckRow("workers", "right", f"{now}, {limit}{paid}{started}")


def _queue_row(health: Mapping[str, Any]) -> CheckRow:
    jobs = _counts(health, "jobs")
    waiting, running = jobs.get("inQueue", 0), jobs.get("inProgress", 0)
    return CheckRow("queue", "right", f"{waiting} jobs wait, {running} run" if waiting or running else "empty")


def _image_row(endpoint: _Endpoint, ask: bool) -> CheckRow:
    image, ours = endpoint.record.get("image"), version("hpoviz")
    unknown = "the worker says" if ask else "run check(worker=True)"
    if not isinstance(image, str) or not image:
        return CheckRow("image", "unknown", f"which version of hpoviz it has: {unknown}")
    tag = image.rpartition(":")[2] if "@" not in image else ""
    if (theirs := _release(tag)) is None:
        return CheckRow("image", "unknown", f"{_short(image)}: its tag is no version of hpoviz; {unknown}")
    if theirs[:2] != (_release(ours) or ())[:2]:
        return CheckRow("image", "wrong", f"{_short(image)}: trials want hpoviz {ours}. {_build()}")
    return CheckRow("image", "right", f"{_short(image)}, by its tag")


def _ask_worker(client: RunPodClient, queue_s: float) -> list[CheckRow]:
    print("A worker is asked for its versions: its start, some seconds and the endpoint's idle timeout are paid.")
    policy = {"executionTimeout": int(1000 * ANSWER_S), "ttl": int(1000 * (queue_s + 2 * ANSWER_S))}
    job, ended = client.submit(question(), policy), False
    try:
        view = _waited_for(client, job, queue_s)
        ended = view.status in ENDED
        if not ended:
            text = f"none came within {queue_s / 60:g} minutes: balance, Max workers, GPUs that are taken, or an image "
            return [CheckRow("worker", "wrong", f"{text}that does not start. See {CONSOLE}.")]
        if view.status != "COMPLETED":
            return [CheckRow("worker", "wrong", f"it did not answer ({view.status}): {_last(view.error)} {_build()}")]
        return list(_answer_rows(read_answer(view.output)))
    except BackendError as error:
        return [CheckRow("worker", "wrong", f"{error}")]
    finally:
        if not ended and not (client.cancel(job) or client.cancel(job)):
            print(f"RunPod has not confirmed that job {job} is cancelled: look at {CONSOLE}. It ends by itself.")


def _waited_for(client: RunPodClient, job: str, queue_s: float) -> JobView:
    """Ask for a job until it has ended, or no worker takes it, or the worker takes too long."""
    began = time.monotonic()
    taken: float | None = None
    while True:
        view = client.status(job)
        now = time.monotonic()
        if view.status != "IN_QUEUE" and taken is None:
            taken = now
        if view.status in ENDED or now > (began + queue_s if taken is None else taken + ANSWER_S):
            return view
        time.sleep(PAUSE_S)


def _answer_rows(worker: WorkerVersions) -> Iterator[CheckRow]:
    has = ", ".join(f"{name} {text}" for name, text in worker.versions.items())
    ours, wrong = version("hpoviz"), []
    if _minor(worker.versions["hpoviz"]) != _minor(ours):
        wrong.append(f"Trials want hpoviz {ours}. {_build()}")
    if (_release(worker.versions["runpod"]) or ()) < OLDEST_SDK:
        wrong.append("Its runpod does not hear of a cancelled job: install 1.10.1 or later in the image.")
    if (_minor(worker.versions["keras"]) or ()) > (_minor(version("keras")) or ()):
        wrong.append(f"Its Keras is newer than the {version('keras')} here, which may not open its models.")
    yield CheckRow("worker", "wrong" if wrong else "right", " ".join([f"{has}.", *wrong]))
    if worker.gpus:
        yield CheckRow("GPUs", "right", ", ".join(worker.gpus))
    else:
        text = "TensorFlow sees none in the worker, so trials run on its CPU and the GPU is paid for nothing. "
        yield CheckRow("GPUs", "wrong", f"{text}The image needs tensorflow[and-cuda]: docs/runpod.Dockerfile.")


def _counts(health: Mapping[str, Any], name: str) -> Mapping[str, int]:
    part = health.get(name)
    return {one: count for one, count in part.items() if type(count) is int} if isinstance(part, Mapping) else {}


def _build() -> str:
    return f"Build the image with hpoviz {version('hpoviz')}: docs/runpod.Dockerfile."


def _release(text: str) -> tuple[int, ...] | None:
    """Return the numbers of a version, 1.10.1 or 0.2.0rc1; None for other texts."""
    found = re.match(r"v?(\d+(?:\.\d+)+)", text)
    return tuple(int(one) for one in found[1].split(".")) if found else None


def _minor(text: str) -> tuple[int, ...] | None:
    release = _release(text)
    return None if release is None else release[:2]


def _last(error: str | None) -> str:
    said = [line.strip() for line in (error or "").splitlines() if line.strip()]
    return _short(said[-1]).rstrip(".") + "." if said else "it gave no reason."


def _short(value: object) -> str:
    text = "".join(one for one in str(value) if one.isprintable())
    return text if len(text) <= 200 else text[:199] + "…"
