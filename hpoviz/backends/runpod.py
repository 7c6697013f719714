"""RunPodBackend: trials on the GPUs of a RunPod serverless endpoint."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hpoviz.backends.backend import Backend, RunContext
from hpoviz.backends.runpod_client import RunPodClient, find_key
from hpoviz.backends.runpod_job import Limits, RunPodJob
from hpoviz.backends.runpod_messages import job_input, pack_data
from hpoviz.errors import BackendUnavailable, ConfigError, StoreError
from hpoviz.store.run_store import write_atomically
from hpoviz.trial_spec import SEARCH_DATA, TrialSpec

__all__ = ["RunPodBackend"]

MOST_WORKERS = 64
JOBS_FILE = "runpod_jobs.json"
CLOSE_WAIT_S = 10.0
MOST_QUESTIONS = 150  # a second, of all jobs together: the service refuses more than 200


class RunPodBackend(Backend):
    """Runs trials on the workers of a RunPod serverless endpoint, which are paid by the second.

    Every trial is one job with a limit on its time and on its life in the queue, so nothing runs on that was forgotten.
    Its id is on disk before it is waited for: a run that is opened again after its notebook was killed cancels what it
    had left there. Nothing pickled travels, and the user's own `build_model` and callbacks do not travel at all.

    Each job has a thread of its own that asks what it has said; what they share with the caller is behind ``_lock``.

    Parameters
    ----------
    endpoint_id : str
        As on the endpoint's page.
    workers : int
        How many trials at a time, 1 to 64; not more than the endpoint's *max workers*.
    api_key : str, optional
        None: RUNPOD_API_KEY, or what ``runpod config`` has stored. It is never shown, logged or written.
    max_job_minutes : float
        A job that runs longer is ended by RunPod. A trial that has `max_trial_minutes` ends before.
    queue_minutes : float
        A job that waits longer for a worker is cancelled, and the search ends with what the endpoint says of itself.
    silence_minutes : float
        A worker that says nothing for so long is taken for dead, and its trial repeated.
    poll_s : float
        Pause between two questions for the same job, at least 0.2 s.
    base_url : str, optional
        Of the service, for tests: https, or this machine.

    Raises
    ------
    ConfigError
        Settings that cannot work, or no key.
    BackendUnavailable
        The package runpod is missing.
    """

    def __init__(
        self,
        endpoint_id: str,
        *,
        workers: int = 2,
        api_key: str | None = None,
        max_job_minutes: float = 60.0,
        queue_minutes: float = 15.0,
        silence_minutes: float = 10.0,
        poll_s: float = 1.0,
        base_url: str | None = None,
    ) -> None:
        problems = list(_problems(endpoint_id, workers, poll_s))
        limits = {
            "max_job_minutes": max_job_minutes,
            "queue_minutes": queue_minutes,
            "silence_minutes": silence_minutes,
        }
        problems += [
            f"{name} must be a positive number. Got {value!r}."
            for name, value in limits.items()
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e5
        ]
        if problems:
            raise ConfigError("\n".join(problems))
        self.endpoint_id = endpoint_id
        self._workers = workers
        self._limits = Limits(
            running=60 * max_job_minutes,
            queue=60 * queue_minutes,
            silence=60 * silence_minutes,
            poll=max(float(poll_s), workers / MOST_QUESTIONS),
        )
        self._client = RunPodClient(endpoint_id, find_key(api_key), base_url)
        self._lock = threading.Lock()
        self._jobs: dict[int, RunPodJob] = {}  # by trial, those that run
        self._left: set[str] = set()  # ids of jobs that were told to stop and may still run
        self._context: RunContext | None = None
        self._data: dict[str, Mapping[str, Any]] = {}  # packed, by name
        self._down: BackendUnavailable | None = None

    def __repr__(self) -> str:
        return f"RunPodBackend({self.endpoint_id!r}, workers={self._workers})"

    @property
    def slots(self) -> int:
        """How many trials run at the same time."""
        return self._workers

    def check(self) -> str:
        """Say what the endpoint says of itself: its workers, of which there may be none before there is work.

        Raises
        ------
        BackendUnavailable
            The key is refused, there is no such endpoint, or the service does not answer.
        """
        return f"RunPod endpoint {self.endpoint_id}: {_in_words(self._client.health())}"

    def open(self, context: RunContext) -> None:
        """See that the endpoint is there, and cancel what an earlier process has left there of this run."""
        if context.code is not None:
            raise ConfigError(
                "build_model= and callbacks= run on this machine only, as nothing pickled is sent to others: use "
                "backend='local', or make an architecture of your model that the worker's image installs."
            )
        self._client.health()
        data: dict[str, Mapping[str, Any]] = {
            name: pack_data(make) for name, make in context.data.items() if name == SEARCH_DATA
        }
        with self._lock:
            self._context, self._down, self._jobs, self._data = context, None, {}, data
            self._left = self._left_on_disk(context.folder)
            for job in sorted(self._left):
                done = self._client.cancel(job) or self._client.cancel(job)
                said = "cancelled" if done else "cannot be cancelled now: look at https://console.runpod.io/serverless"
                context.log(f"RunPod job {job} of an earlier process: {said}")
                self._left -= {job} if done else set()
            self._write_jobs()

    def submit(self, spec: TrialSpec, slot: int) -> None:
        """Submit a trial as a job; BackendUnavailable if the endpoint has no workers, or the service is away."""
        context = self._context
        assert context is not None  # it is open
        if self._down is not None:
            raise self._down
        if spec.data not in self._data:
            self._data[spec.data] = pack_data(context.data[spec.data])
        content = job_input(spec, self._data[spec.data], version("hpoviz"))
        job = RunPodJob(
            spec, slot, content, client=self._client, context=context, limits=self._limits, keeper=self
        )  # fmt: skip
        with self._lock:
            self._jobs[spec.trial] = job
        job.start()

    def cancel(self, trial: int, *, grace_s: float) -> None:
        """Have the service cancel a trial's job: its worker stops it after the present batch."""
        with self._lock:
            job = self._jobs.get(trial)
        if job is not None:
            job.cancel()

    def close(self) -> None:
        """Cancel all jobs and wait until the service has confirmed it, for some seconds."""
        with self._lock:
            jobs, context = list(self._jobs.values()), self._context
        for job in jobs:
            job.cancel()
        give_up = time.monotonic() + CLOSE_WAIT_S
        for job in jobs:
            if not job.join(max(0.0, give_up - time.monotonic())) and context is not None:
                context.log(f"RunPod job {job.job_id} is still being cancelled; its id stays in {JOBS_FILE}")
        with self._lock:
            self._context = None

    def describe(self) -> str:
        """Say where trials run."""
        return f"RunPod endpoint {self.endpoint_id}, {self._workers} worker{'s' if self._workers > 1 else ''}"

    # --- what jobs tell, from their threads -----------------------------------------------------------------------

    def submitted(self, job: RunPodJob) -> None:
        """A job has an id: it is put on disk."""
        with self._lock:
            if self._jobs.get(job.spec.trial) is job:
                self._write_jobs()

    def others_run(self, job: RunPodJob) -> bool:
        """Tell whether another job of ours has a worker."""
        with self._lock:
            return any(other.runs for other in self._jobs.values() if other is not job)

    def ended(self, job: RunPodJob, down: str | None) -> None:
        """A job runs no more; `down` says why the endpoint is of no use."""
        problem = None if down is None else BackendUnavailable(self._described(down))
        with self._lock:
            if self._jobs.get(job.spec.trial) is not job:  # of a run that was closed
                return
            del self._jobs[job.spec.trial]
            self._down = self._down or problem
            if job.unconfirmed:
                self._left.add(job.job_id)
            self._write_jobs()

    def _described(self, down: str) -> str:
        try:
            said = _in_words(self._client.health())
        except BackendUnavailable as error:
            said = str(error)
        return (
            f"{down} The endpoint: {said}. Look whether it has workers and balance at "
            "https://console.runpod.io/serverless, or use backend='local'."
        )

    def _left_on_disk(self, folder: Path) -> set[str]:
        """Return the jobs that an earlier process has left on this endpoint."""
        path = folder / JOBS_FILE
        try:
            record = json.loads(path.read_text("utf-8"))
            return {str(job) for job in record["jobs"]} if record["endpoint"] == self.endpoint_id else set()
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{str(path)!r} cannot be read ({error}): jobs of this run may still run on RunPod. Look at "
                "https://console.runpod.io/serverless, then delete the file."
            ) from error

    def _write_jobs(self) -> None:
        """Put the ids of the jobs that run, or may run, on disk; under the lock."""
        if self._context is None:
            return
        path = self._context.folder / JOBS_FILE
        jobs = [*(job.job_id for job in self._jobs.values() if job.job_id), *sorted(self._left)]
        if jobs:
            write_atomically(path, json.dumps({"endpoint": self.endpoint_id, "jobs": jobs}).encode())
        else:
            path.unlink(missing_ok=True)


def _problems(endpoint_id: Any, workers: Any, poll_s: Any) -> Iterator[str]:
    if not isinstance(endpoint_id, str) or not endpoint_id or not endpoint_id.replace("-", "").isalnum():
        yield f"endpoint_id must be that of a RunPod endpoint: letters and digits. Got {endpoint_id!r}."
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= MOST_WORKERS:
        yield f"workers must be a whole number from 1 to {MOST_WORKERS}. Got {workers!r}."
    if isinstance(poll_s, bool) or not isinstance(poll_s, int | float) or not 0.2 <= poll_s <= 60:
        yield f"poll_s must be a number of seconds from 0.2 to 60. Got {poll_s!r}."


def _in_words(health: Mapping[str, Any]) -> str:
    workers, jobs = health.get("workers"), health.get("jobs")
    workers, jobs = (one if isinstance(one, dict) else {} for one in (workers, jobs))
    parts = [f"{count} {name}" for name, count in workers.items() if count]
    waiting = f", {jobs['inQueue']} jobs in the queue" if jobs.get("inQueue") else ""
    return f"workers: {', '.join(parts) or 'none'}{waiting}"
