"""EndpointPlan: the endpoint that RunPodBackend wants, in words, in RunPod's terms, and what one there has other."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpoviz import _html
from hpoviz.backends.runpod_rest import safe_id
from hpoviz.results import dollars

__all__ = ["CONSOLE", "GPUS", "PREFIX", "EndpointPlan", "body_of", "differences", "lines", "problems"]

PREFIX = "hpoviz-"  # by which endpoints of ours are known
GPUS = ("AMPERE_16", "AMPERE_24", "ADA_24")  # the smaller GPUs, which are enough for the models that are searched
MIN_CUDA = "12.5"  # what the packages of tensorflow[and-cuda] 2.18 to 2.21 begin at
MOST_WORKERS = 64
DISK_GB = 20
QUEUE_DELAY_S = 1  # a trial that waits longer gets another worker: trials are long
CONSOLE = "https://console.runpod.io/serverless"
PRICES = "https://www.runpod.io/pricing"
IMAGE = re.compile(r"[a-z0-9][\w.\-/:]*(:[\w][\w.\-]*|@sha256:[0-9a-f]{64})", re.ASCII)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,47}")
POOL = re.compile(r"[A-Z0-9]+(_[A-Z0-9]+)*")
VARIABLE = re.compile(r"[A-Za-z_]\w{0,99}", re.ASCII)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EndpointPlan:
    """An endpoint that would be made, was made, or was there, and what it costs.

    Attributes
    ----------
    name, image : str
    gpus : tuple of str
        RunPod's GPU pools; workers come from any of them.
    gpus_per_worker : int
    workers : int
        At most; at least are none.
    env : tuple of str
        Names of the workers' environment variables; the values are not kept here.
    registry : str or None
        Id of the credential by which RunPod pulls a private image.
    idle_seconds : int
    max_job_minutes : float
    price_per_hour : float or None
        Of one worker with all its GPUs, in US dollars, as given.
    endpoint_id : str or None
        None: there is none yet.
    state : str
        What was done, or would be.
    notes : tuple of str
        What should be known besides.
    """

    name: str
    image: str
    gpus: tuple[str, ...]
    gpus_per_worker: int
    workers: int
    env: tuple[str, ...]
    registry: str | None
    idle_seconds: int
    max_job_minutes: float
    price_per_hour: float | None
    endpoint_id: str | None = None
    state: str = "would be created"
    notes: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, str]]:
        """Return what there is to say, as (subject, text)."""
        return [
            ("endpoint", f"{self.name}{f', id {self.endpoint_id}' if self.endpoint_id else ''}: {self.state}"),
            ("image", self.image + (f", pulled with credential {self.registry}" if self.registry else "")),
            ("environment", ", ".join(self.env) or "nothing"),
            ("GPUs", f"{self.gpus_per_worker} a worker, of {' or '.join(self.gpus)}, with CUDA {MIN_CUDA} or later"),
            ("workers", f"0 to {self.workers}; one ends after {self.idle_seconds} s without work"),
            ("a job ends", f"after {self.max_job_minutes:g} minutes at most, or as its trial says"),
            ("cost while idle", "nothing: no worker is kept"),
            ("cost at work", self._cost()),
            *(("note", note) for note in self.notes),
            ("next", self._next()),
        ]

    def _cost(self) -> str:
        paid = (
            "a worker is paid by the second from its start to its end, with the "
            f"{self.idle_seconds} s after its last trial"
        )
        if self.price_per_hour is None:
            return f"{paid}; prices: {PRICES}, for figures pass price_per_hour="
        most = self.workers * self.price_per_hour
        return (
            f"{paid}; at {dollars(self.price_per_hour)} an hour a trial of 10 minutes costs about "
            f"{dollars(self.price_per_hour / 6)}, and {self.workers} workers cost at most {dollars(most)} an hour"
        )

    def _next(self) -> str:
        if self.endpoint_id is None:
            return "the same call with dry_run=False"
        return f'backend = hpoviz.RunPodBackend(endpoint_id="{self.endpoint_id}", workers={self.workers})'

    def __repr__(self) -> str:
        return lines("RunPod endpoint", self.rows())

    def _repr_html_(self) -> str:
        return _html.page(_html.paragraph("RunPod endpoint", strong=True) + _html.table(("", ""), self.rows()))


def body_of(plan: EndpointPlan, env: Mapping[str, str]) -> dict[str, Any]:
    """Return what RunPod's REST API wants to hear of an endpoint."""
    return {
        "name": plan.name,
        "type": "QUEUE",
        "image": plan.image,
        "disk": DISK_GB,
        "env": dict(env),
        "gpu": {"pools": list(plan.gpus), "count": plan.gpus_per_worker, "minCudaVersion": MIN_CUDA},
        "workers": {"min": 0, "max": plan.workers, "idleTimeout": plan.idle_seconds},
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": QUEUE_DELAY_S},
        "timeout": round(60_000 * plan.max_job_minutes),
    } | ({"registry": plan.registry} if plan.registry else {})


def differences(found: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[str]:
    """Say what an endpoint has other than it should; values of the environment are not said."""
    for name in ("type", "image", "timeout"):
        if found.get(name) != body[name]:
            yield f"{name} is {_short(found.get(name))}, not {body[name]}"
    for group, name in (("workers", "min"), ("workers", "max"), ("workers", "idleTimeout"), ("gpu", "count")):
        theirs = _part(found, group).get(name)
        if theirs != body[group][name]:
            yield f"{group}.{name} is {_short(theirs)}, not {body[group][name]}"
    pools = _part(found, "gpu").get("pools")
    if not isinstance(pools, list) or set(map(str, pools)) != set(body["gpu"]["pools"]):
        yield f"gpu.pools is {_short(pools)}, not {body['gpu']['pools']}"
    if missing := sorted(set(body["env"]) - set(_part(found, "env"))):
        yield f"its environment lacks {', '.join(missing)}"


def _part(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = found.get(name)
    return part if isinstance(part, Mapping) else {}


def _short(value: object) -> str:
    text = "".join(one for one in str(value) if one.isprintable())
    return text if len(text) <= 120 else text[:119] + "…"


def problems(
    image: Any, name: Any, workers: Any, gpus: Any, gpus_per_worker: Any, env: Mapping[Any, Any], registry: Any,
    idle_seconds: Any, max_job_minutes: Any, price: Any,
) -> Iterator[str]:  # fmt: skip
    """Yield what is wrong with settings of an endpoint."""
    if not isinstance(image, str) or len(image) > 300 or not IMAGE.fullmatch(image):
        yield f"image must be a container image with its tag, as docker.io/me/hpoviz-worker:0.1.0. Got {image!r}."
    if not isinstance(name, str) or not NAME.fullmatch(name):
        yield f"name must be of letters, digits and hyphens, at most 48. Got {name!r}."
    whole = (
        ("workers", workers, MOST_WORKERS),
        ("gpus_per_worker", gpus_per_worker, 8),
        ("idle_seconds", idle_seconds, 3600),
    )
    for what, value, most in whole:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            yield f"{what} must be a whole number from 1 to {most}. Got {value!r}."
    pools = [] if isinstance(gpus, str) or not isinstance(gpus, Sequence) else list(gpus)
    if not pools or not all(isinstance(one, str) and POOL.fullmatch(one) for one in pools):
        yield f"gpus must be names of RunPod's GPU pools, as {list(GPUS)}. Got {gpus!r}."
    if wrong := sorted(str(one) for one in env if not isinstance(one, str) or not VARIABLE.fullmatch(one)):
        yield f"env must have names of letters, digits and underscores. Got {', '.join(map(repr, wrong))}."
    if strange := sorted(str(one) for one, value in env.items() if not isinstance(value, str)):
        yield f"env must have texts as values. That of {', '.join(strange)} is none."
    if registry is not None and not safe_id(registry):
        yield f"registry must be the id of a registry credential. Got {registry!r}."
    for what, number in (("max_job_minutes", max_job_minutes), ("price_per_hour", 1 if price is None else price)):
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < 1e5:
            yield f"{what} must be a positive number. Got {number!r}."


def lines(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """Return a title and its rows as text."""
    width = max(len(subject) for subject, _ in rows)
    return "\n".join([title, *(f"  {subject:<{width}}  {text}" for subject, text in rows)])
