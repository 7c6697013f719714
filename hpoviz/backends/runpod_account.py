"""The endpoint of RunPodBackend made and deleted by RunPod's REST API: `set_up` and `tear_down`, dry unless told."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

from hpoviz import _html
from hpoviz.backends.runpod_client import find_key
from hpoviz.backends.runpod_plan import CONSOLE, GPUS, PREFIX, EndpointPlan, body_of, differences, lines, problems
from hpoviz.backends.runpod_rest import LostAnswer, NoSuchEndpoint, RunPodRest, safe_id
from hpoviz.errors import BackendError, BackendUnavailable, ConfigError

__all__ = ["EndpointPlan", "TearDown", "set_up", "tear_down"]

FLASH = " -fb"  # RunPod has put this behind names of endpoints with FlashBoot
ESSENTIAL = ("type", "image", "workers.min", "workers.max")  # an endpoint with another one of these is not left there
GONE_WAIT_S = 15.0


@dataclasses.dataclass(frozen=True)
class TearDown:
    """Endpoints that would be deleted, or were: (id, name, what was done)."""

    endpoints: tuple[tuple[str, str, str], ...]

    def __repr__(self) -> str:
        rows = [(endpoint, f"{name}: {said}" if name else said) for endpoint, name, said in self.endpoints]
        return lines("RunPod endpoints", rows or [("none", f"there is no endpoint whose name begins with {PREFIX}")])

    def _repr_html_(self) -> str:
        rows = self.endpoints or [("none", f"{PREFIX}…", "there is no such endpoint")]
        return _html.page(_html.table(("endpoint", "name", ""), rows))


def set_up(
    image: str,
    *,
    name: str = "worker",
    workers: int = 2,
    gpus: Sequence[str] = GPUS,
    gpus_per_worker: int = 1,
    env: Mapping[str, str] | None = None,
    registry: str | None = None,
    idle_seconds: int = 60,
    max_job_minutes: float = 60.0,
    price_per_hour: float | None = None,
    api_key: str | None = None,
    base_url: str | None = None,
    dry_run: bool = True,
) -> EndpointPlan:
    """Make a serverless endpoint for trials; with `dry_run` only print what would be made and what it costs.

    One that is there under this name with these settings is taken as it is. If something fails on the way, what was
    made is deleted again.

    Parameters
    ----------
    image : str
        Of the worker, with its tag: docs/runpod.Dockerfile builds one.
    name : str
        Of the endpoint; ``hpoviz-`` is put before it.
    workers : int
        How many there may be at a time, 1 to 64. At least there are none, so an endpoint without work costs nothing.
    gpus : sequence of str
        RunPod's GPU pools, as AMPERE_24; workers come from any of them.
    gpus_per_worker : int
        How many GPUs a worker has, 1 to 8; it costs as many times as much.
    env : mapping of str to str, optional
        The workers' environment. For what is secret, name a secret of your account:
        ``{"AWS_SECRET_ACCESS_KEY": "{{ RUNPOD_SECRET_s3 }}"}``.
    registry : str, optional
        Id of a registry credential of your account, for a private image.
    idle_seconds : int
        How long a worker waits for the next trial, 1 to 3600; this time is paid.
    max_job_minutes : float
        The endpoint's own limit; that of `RunPodBackend` holds for its jobs.
    price_per_hour : float, optional
        Of one worker with all its GPUs, in US dollars, to see costs as figures.
    api_key, base_url : str, optional
        As for `RunPodBackend`; the address is that of RunPod's REST API.
    dry_run : bool
        False: make it.

    Returns
    -------
    EndpointPlan
        What was printed.

    Raises
    ------
    ConfigError
        Settings that cannot work, no key, or an endpoint of this name that is another one.
    BackendUnavailable
        The key is refused, or the service does not do it.

    Examples
    --------
    >>> set_up("hpoviz-worker")
    Traceback (most recent call last):
    ...
    hpoviz.errors.ConfigError: image must be a container image with its tag, ...
    """
    env = dict(env or {})
    wrong = list(
        problems(
            image, name, workers, gpus, gpus_per_worker, env, registry, idle_seconds, max_job_minutes, price_per_hour
        )
    )
    if wrong:
        raise ConfigError("\n".join(wrong))
    plan = EndpointPlan(
        name=name if name.startswith(PREFIX) else PREFIX + name, image=image, gpus=tuple(gpus),
        gpus_per_worker=gpus_per_worker, workers=workers,
        env=tuple(env), registry=registry, idle_seconds=idle_seconds, max_job_minutes=float(max_job_minutes),
        price_per_hour=price_per_hour,
    )  # fmt: skip
    try:
        key = find_key(api_key)
    except ConfigError as error:
        if not dry_run:
            raise
        plan = dataclasses.replace(plan, notes=(str(error),))
    else:
        plan = _carried_out(plan, RunPodRest(key, base_url, env.values()), env, dry_run)
    print(plan)
    return plan


def _carried_out(plan: EndpointPlan, rest: RunPodRest, env: Mapping[str, str], dry_run: bool) -> EndpointPlan:
    """Find the endpoint, or make it if that is wanted."""
    body = body_of(plan, env)
    there = _of_name(rest, plan.name)
    if len(there) > 1:
        ids = ", ".join(one["id"] for one in there)
        raise ConfigError(f"Several endpoints are called {plan.name!r}: {ids}. Pass another name=, or delete some.")
    if there:
        endpoint_id, others = there[0]["id"], list(differences(there[0], body))
        if others and not dry_run:
            raise ConfigError(
                f"There is an endpoint {plan.name!r} with other settings, id {endpoint_id}: {'; '.join(others)}. Pass "
                f'another name=, change it at {CONSOLE}, or delete it: RunPodBackend.teardown("{endpoint_id}", '
                "dry_run=False)."
            )
        state = "is there already" + (", with other settings" if others else "")
        return dataclasses.replace(plan, endpoint_id=endpoint_id, state=state, notes=tuple(others))
    if dry_run:
        return plan
    made = _made(rest, plan.name, body)
    return dataclasses.replace(
        plan, endpoint_id=made["id"], state="was created", notes=tuple(differences(made, body))
    )  # fmt: skip


def tear_down(
    endpoint_id: str | None = None,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    dry_run: bool = True,
) -> TearDown:
    """Delete an endpoint with its workers and jobs; with `dry_run` only print which.

    Parameters
    ----------
    endpoint_id : str, optional
        None: the one whose name begins with ``hpoviz-``. If there are several, `dry_run` lists them.
    api_key, base_url, dry_run
        As for `set_up`.

    Returns
    -------
    TearDown
        What was printed.

    Raises
    ------
    ConfigError
        No key, an id that can be none, or several endpoints and no id.
    BackendUnavailable
        The key is refused, or an endpoint is still there.
    """
    if endpoint_id is not None and not safe_id(endpoint_id):
        raise ConfigError(f"endpoint_id must be that of a RunPod endpoint: letters and digits. Got {endpoint_id!r}.")
    rest = RunPodRest(find_key(api_key), base_url)
    found = [one for one in rest.endpoints() if one["id"] == endpoint_id or _ours(endpoint_id, one)]
    if endpoint_id is None and len(found) > 1 and not dry_run:
        ids = ", ".join(f"{one['id']} ({rest.shown(one.get('name'))})" for one in found)
        raise ConfigError(f"There are {len(found)} endpoints: {ids}. Say which: teardown(endpoint_id, dry_run=False).")
    rows = []
    for one in found:
        if dry_run:
            said = f"would be deleted, with {_workers(rest, one['id'])}"
        else:
            _delete(rest, one["id"])
            said = "was deleted; RunPod says that it is gone"
        rows.append((one["id"], rest.shown(one.get("name")), said))
    if endpoint_id is not None and not found:
        rows.append((endpoint_id, "", "there is no such endpoint of this account (any more)"))
    done = TearDown(tuple(rows))
    print(done)
    return done


def _ours(endpoint_id: str | None, endpoint: Mapping[str, Any]) -> bool:
    return endpoint_id is None and str(endpoint.get("name")).startswith(PREFIX)


def _of_name(rest: RunPodRest, name: str) -> list[dict[str, Any]]:
    return [one for one in rest.endpoints() if one.get("name") in (name, name + FLASH)]


def _made(rest: RunPodRest, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Create an endpoint and return it; if something goes wrong, nothing of it is left there."""
    made: dict[str, Any] | None = None
    try:
        try:
            made = rest.create(body)
        except LostAnswer:
            there = _of_name(rest, name)  # it may have been created all the same
            if not there:
                raise
            made = there[0]
        wrong = [one for one in differences(made, body) if one.startswith(ESSENTIAL)]
        if wrong:
            raise BackendUnavailable(f"RunPod made another endpoint than it was asked for: {'; '.join(wrong)}.")
        return made
    except ConfigError:  # it was refused
        raise
    except BackendError as error:
        problem = f"{error} {_undone(rest, name, made)}"
    except BaseException:  # Ctrl-C
        print(_undone(rest, name, made))
        raise
    raise BackendUnavailable(problem)


def _undone(rest: RunPodRest, name: str, made: Mapping[str, Any] | None) -> str:
    """Delete what a set-up has left, and say what became of it."""
    try:
        there = [made] if made is not None else _of_name(rest, name)
        for one in there:
            _delete(rest, one["id"])
    except BackendError as error:
        return f"What was made may still be there ({error}): look at {CONSOLE} for {name}."
    if there:
        return f"Endpoint {', '.join(one['id'] for one in there)} was deleted again."
    return f"RunPod lists no endpoint {name}; look at {CONSOLE} in a minute whether one has come."


def _delete(rest: RunPodRest, endpoint_id: str) -> None:
    """Delete an endpoint and see that it is gone."""
    rest.delete(endpoint_id)
    give_up = time.monotonic() + GONE_WAIT_S
    while time.monotonic() < give_up:
        try:
            rest.endpoint(endpoint_id)
        except NoSuchEndpoint:
            return
        time.sleep(0.5)
    raise BackendUnavailable(
        f"RunPod still has endpoint {endpoint_id}, which it was told to delete: look at {CONSOLE}."
    )


def _workers(rest: RunPodRest, endpoint_id: str) -> str:
    try:
        counts = rest.workers(endpoint_id)
    except NoSuchEndpoint:
        counts = {}
    busy = counts.get("running", 0)
    return f"{counts.get('total', 0)} workers, {busy} of them at work" if busy else f"{counts.get('total', 0)} workers"
