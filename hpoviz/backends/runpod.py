"""RunPodBackend: trials on the GPUs of a RunPod serverless endpoint."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hpoviz.backends.backend import Backend, RunContext
from hpoviz.backends.local import LocalBackend
from hpoviz.backends.model_sender import ModelSender
from hpoviz.backends.remote_storage import RemoteStorage, storage_problems
from hpoviz.backends.runpod_account import set_up, tear_down
from hpoviz.backends.runpod_check import EndpointCheck, check_endpoint
from hpoviz.backends.runpod_client import ENDPOINT_VARIABLE, RunPodClient, find_key, source_of_key
from hpoviz.backends.runpod_job import Limits, RunPodJob
from hpoviz.backends.runpod_messages import job_input, pack_data
from hpoviz.backends.runpod_settings import cost_problems, time_problems, worker_problems
from hpoviz.backends.stored_files import StoredFiles, open_stored
from hpoviz.errors import BackendUnavailable, ConfigError, StoreError
from hpoviz.results import dollars
from hpoviz.store.run_store import write_atomically
from hpoviz.trial_spec import SEARCH_DATA, TrialSpec

__all__ = ["RunPodBackend"]

JOBS_FILE = "runpod_jobs.json"
CLOSE_WAIT_S = 10.0
MOST_QUESTIONS = 150  # a second, of all jobs together: the service refuses more than 200


class RunPodBackend(Backend):
    """Runs trials on the workers of a RunPod serverless endpoint, which are paid by the second.

    Every trial is one job with a limit on its time and on its life in the queue, so nothing runs on that was forgotten.
    Its id is on disk before it is waited for: a run that is opened again after its notebook was killed cancels what it
    had left there. Nothing pickled travels: the user's own `build_model` is called here, and what it returns is sent as
    Keras describes it; callbacks do not travel at all.

    Each job has a thread of its own that asks what it has said; what they share with the caller is behind a lock.

    Parameters
    ----------
    endpoint_id : str, optional
        As on the endpoint's page. None: RUNPOD_ENDPOINT_ID.
    workers : int
        How many trials at a time, 1 to 64; not more than the endpoint's *max workers*.
    api_key : str, optional
        None: RUNPOD_API_KEY, or what ``runpod config`` has stored. It is never shown, logged or written.
    gpus_per_worker : int
        How many GPUs of a worker train a trial together, 1 to 8; the endpoint's workers must have them.
    scale_batch : bool
        Whether each GPU takes a whole ``batch_size`` in a step, and the learning rate is raised to match. Otherwise
        they share it, and what comes out is that of one GPU.
    max_job_minutes : float
        A job that runs longer is ended by RunPod. A trial that has `max_trial_minutes` ends before.
    queue_minutes : float
        A job that waits longer for a worker is cancelled, and the search ends with what the endpoint says of itself.
    silence_minutes : float
        A worker that says nothing for so long is taken for dead, and its trial repeated.
    price_per_hour : float, optional
        Of one worker with all its GPUs, in US dollars, as on the endpoint's page. With it every trial has an estimate
        of its cost: the time that its job had a worker. What workers take to start and to be idle comes on top.
    max_cost : float, optional
        When all that this object has started has cost so many US dollars, by that estimate, no further trial is
        begun; what runs goes on to its end.
    on_unavailable : {"raise", "local"}
        What happens when the endpoint is of no use: the run ends with an error, or its trials go on in worker processes
        on this machine, as is shown. They stay where they are as long as RunPod has not confirmed that its jobs are
        cancelled, so that nothing counts or is paid twice.
    storage : str, optional
        ``s3://bucket/prefix``, for data of more than 4 MB and models of more than 10 MB. Data are uploaded once, under
        their hash. boto3 finds the credentials, here and in the worker each in its own environment.
    storage_url : str, optional
        Of a storage that is not Amazon's: https, or this machine.
    keep_data : bool
        Whether uploaded data stay in the storage; else they are deleted at the end of each search or job.
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
        endpoint_id: str | None = None,
        *,
        workers: int = 2,
        api_key: str | None = None,
        gpus_per_worker: int = 1,
        scale_batch: bool = False,
        max_job_minutes: float = 60.0,
        queue_minutes: float = 15.0,
        silence_minutes: float = 10.0,
        price_per_hour: float | None = None,
        max_cost: float | None = None,
        on_unavailable: str = "raise",
        storage: str | None = None,
        storage_url: str | None = None,
        keep_data: bool = False,
        poll_s: float = 1.0,
        base_url: str | None = None,
    ) -> None:
        endpoint_id = os.environ.get(ENDPOINT_VARIABLE) if endpoint_id is None else endpoint_id
        problems = [
            *worker_problems(endpoint_id, workers, gpus_per_worker, scale_batch),
            *time_problems(max_job_minutes, queue_minutes, silence_minutes, poll_s),
            *cost_problems(price_per_hour, max_cost, on_unavailable),
            *storage_problems(storage, storage_url, keep_data),
        ]
        if problems or endpoint_id is None:
            raise ConfigError("\n".join(problems))
        self.endpoint_id = endpoint_id
        self._workers = workers
        self._gpus, self._scale_batch = gpus_per_worker, scale_batch
        self._limits = Limits(
            running=60 * max_job_minutes,
            queue=60 * queue_minutes,
            silence=60 * silence_minutes,
            poll=max(float(poll_s), workers / MOST_QUESTIONS),
            price=None if price_per_hour is None else price_per_hour / 3600,
            gives_back=on_unavailable == "local",
        )
        self._max_cost, self._spent = max_cost, 0.0
        self._local = LocalBackend() if on_unavailable == "local" else None
        self._storage = None if storage is None else RemoteStorage(storage, storage_url)
        self._keep_data = keep_data
        self._stored: StoredFiles | None = None
        self._client = RunPodClient(endpoint_id, find_key(api_key), base_url)
        self._key_from = source_of_key(api_key)
        self._lock = threading.Lock()
        self._jobs: dict[int, RunPodJob] = {}  # by trial, those that run
        self._left: set[str] = set()  # ids of jobs that were told to stop and may still run
        self._context: RunContext | None = None
        self._data: dict[str, Mapping[str, Any]] = {}  # packed, by name
        self._down: BackendUnavailable | None = None
        self._models: ModelSender | None = None

    def __repr__(self) -> str:
        return f"RunPodBackend({self.endpoint_id!r}, workers={self._workers})"

    @property
    def slots(self) -> int:
        """How many trials run at the same time."""
        return self._workers

    @staticmethod
    def is_configured() -> bool:
        """Tell whether RUNPOD_ENDPOINT_ID names an endpoint and there is a key, so that ``RunPodBackend()`` works."""
        try:
            return bool(os.environ.get(ENDPOINT_VARIABLE)) and bool(find_key(None))
        except ConfigError:
            return False

    @property
    def takes_code(self) -> bool:
        """False: nothing pickled is sent to other machines."""
        return False

    def check(self, *, worker: bool = False, rest_url: str | None = None) -> EndpointCheck:
        """Look at key, endpoint, workers, queue and image: each is right, or it says what to do.

        Parameters
        ----------
        worker : bool
            Ask a worker as well for the versions of its packages and its GPUs. One is started for that, which is paid.
        rest_url : str, optional
            Of RunPod's REST API, for tests: https, or this machine.

        Raises
        ------
        BackendUnavailable
            The key is refused, there is no such endpoint, or the service does not answer.
        """
        return check_endpoint(
            self._client, workers=self._workers, key_from=self._key_from, queue_s=self._limits.queue,
            rest_url=rest_url, ask=worker,
        )  # fmt: skip

    setup = staticmethod(set_up)
    teardown = staticmethod(tear_down)

    def open(self, context: RunContext) -> None:
        """See that the endpoint is there, and cancel what an earlier process has left there of this run."""
        models = ModelSender(context)
        if context.code is not None and self._scale_batch and self._gpus > 1:
            raise ConfigError(
                "scale_batch raises the learning_rate of an architecture, and build_model sets its own. Use "
                "scale_batch=False, or multiply batch_size and learning rate yourself."
            )
        with self._lock:
            self._left = self._left_on_disk(context.folder)  # first: as long as they may run, nothing falls back
        self._client.health()
        self._stored = open_stored(self._storage, context, keep_data=self._keep_data)
        data: dict[str, Mapping[str, Any]] = {
            name: pack_data(make, self._stored) for name, make in context.data.items() if name == SEARCH_DATA
        }
        if self._stored is not None:
            self._stored.drop_left()
        with self._lock:
            self._context, self._down, self._jobs, self._data = context, None, {}, data
            self._models = models
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
            self._data[spec.data] = pack_data(context.data[spec.data], self._stored)
        spec = dataclasses.replace(spec, devices=self._gpus, scale_batch=self._scale_batch)
        content = job_input(spec, self._data[spec.data], version("hpoviz"))
        assert self._models is not None  # it is open
        if (failed := self._models.add_to(content, spec)) is not None:
            context.emit(failed)
            return
        files = None if self._stored is None else self._stored.for_job(spec, self._data[spec.data])
        if files is not None:
            content["results"] = dict(files.place)
        job = RunPodJob(
            spec, slot, content, client=self._client, context=context, limits=self._limits, keeper=self, files=files
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
        stored, self._stored = self._stored, None
        if stored is not None:
            stored.close()
        with self._lock:
            self._context = None

    def describe(self) -> str:
        """Say where trials run."""
        gpus = f" with {self._gpus} GPUs" + (" each" if self._workers > 1 else "") if self._gpus > 1 else ""
        return f"RunPod endpoint {self.endpoint_id}, {self._workers} worker{'s' if self._workers > 1 else ''}{gpus}"

    def exhausted(self) -> str | None:
        """Return that `max_cost` is reached, if it is."""
        if self._max_cost is None:
            return None
        with self._lock:
            spent = self._spent + sum(job.cost or 0.0 for job in self._jobs.values())
        if spent < self._max_cost:
            return None
        return f"max_cost={dollars(self._max_cost)} is reached: about {dollars(spent)} was spent on RunPod"

    @property
    def fallback(self) -> Backend | None:
        """Worker processes on this machine, if that is wanted and nothing may still run on RunPod."""
        return None if self._left else self._local

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
            self._spent += job.cost or 0.0
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


def _in_words(health: Mapping[str, Any]) -> str:
    workers, jobs = health.get("workers"), health.get("jobs")
    workers, jobs = (one if isinstance(one, dict) else {} for one in (workers, jobs))
    parts = [f"{count} {name}" for name, count in workers.items() if count]
    waiting = f", {jobs['inQueue']} jobs in the queue" if jobs.get("inQueue") else ""
    return f"workers: {', '.join(parts) or 'none'}{waiting}"
