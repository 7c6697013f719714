"""RunPodJob: one trial on RunPod, from its submission to the one event that ends it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

from hpoviz.backends.backend import RunContext
from hpoviz.backends.runpod_client import ENDED, JobLost, JobView, RunPodClient
from hpoviz.backends.runpod_messages import Inbox
from hpoviz.backends.stored_files import JobFiles
from hpoviz.errors import BackendProtocol, BackendUnavailable
from hpoviz.events import (
    BatchProgress,
    EpochEnded,
    HealthMeasured,
    ModelBuilt,
    PhaseChanged,
    SlotChanged,
    TerminalEvent,
    TrialCancelled,
    TrialCharged,
    TrialEvent,
    TrialFailed,
    TrialFinished,
    WorkerLost,
    event_from_json,
)
from hpoviz.trial_spec import TrialSpec

__all__ = ["JobKeeper", "Limits", "RunPodJob"]

QUEUED = "IN_QUEUE"
AWAY_S = 120.0  # so long the service may not answer, besides the client's own patience
CANCEL_WAIT_S = 8.0
END_WAIT_S = 30.0  # for the service's word that a job has ended, once the worker has said so
MOST_AHEAD = 20_000  # messages that may come before one that is missing
TOLD = (PhaseChanged, ModelBuilt, BatchProgress, EpochEnded, HealthMeasured, TrialFinished, TrialFailed, TrialCancelled)
NUMBERS = (
    "score", "accuracy", "loss", "val_accuracy", "val_loss", "learning_rate", "seconds", "health", "violation", "epoch",
    "epochs", "batch", "batches", "best_epoch", "parameters",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """How long things may take, in seconds, and what they cost.

    Attributes
    ----------
    running, queue, silence, poll : float
    price : float or None
        US dollars for a second of a worker; None where nobody has said it.
    gives_back : bool
        Whether a trial that cannot run there may run elsewhere.
    """

    running: float
    queue: float
    silence: float
    poll: float
    price: float | None = None
    gives_back: bool = False


class JobKeeper(Protocol):
    """Who knows which jobs there are; called from the jobs' threads."""

    def submitted(self, job: RunPodJob) -> None:
        """A job has an id: put it on disk."""

    def ended(self, job: RunPodJob, down: str | None) -> None:
        """A job runs no more, or (`unconfirmed`) perhaps does; `down` says why the endpoint is of no use."""

    def others_run(self, job: RunPodJob) -> bool:
        """Tell whether another job of ours has a worker."""


class RunPodJob:
    """Submits a trial, hears what its job says, and tells it as the trial's events, the last of which is told once.

    Parameters
    ----------
    spec : TrialSpec
    slot : int
    content : mapping
        The job's input.
    client : RunPodClient
    context : RunContext
    limits : Limits
    keeper : JobKeeper
    files : JobFiles, optional
        What goes by way of a storage.
    """

    def __init__(
        self,
        spec: TrialSpec,
        slot: int,
        content: Mapping[str, Any],
        *,
        client: RunPodClient,
        context: RunContext,
        limits: Limits,
        keeper: JobKeeper,
        files: JobFiles | None = None,
    ) -> None:
        self.spec, self.job_id = spec, ""
        self.runs = self.unconfirmed = False  # it has a worker; it may still run though it was told to stop
        self._slot, self._content, self._client, self._context = slot, content, client, context
        self._limits, self._keeper, self._files = limits, keeper, files
        self._cancelled, self._wake = threading.Event(), threading.Event()
        self._boot: str | None = None
        self._next = 0  # number of the message that comes next
        self._early: dict[int, Mapping[str, Any]] = {}  # messages that came before others
        self._end: TerminalEvent | None = None
        self._began = self._heard = self._answered = time.monotonic()
        self._ran_since: float | None = None  # when it was first seen with a worker
        self._worker_s: float | None = None  # for how long it had one, as RunPod says
        self._thread = threading.Thread(target=self._run, name=f"hpoviz-runpod-{slot}", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def cancel(self) -> None:
        """Have it cancelled; returns at once."""
        self._cancelled.set()
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; return whether it has come."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def cost(self) -> float | None:
        """What it has cost so far, in US dollars, by the time that it has or had a worker; None without a price."""
        if self._limits.price is None:
            return None
        seen = 0.0 if self._ran_since is None else time.monotonic() - self._ran_since
        return self._limits.price * (seen if self._worker_s is None else self._worker_s)

    def _run(self) -> None:
        down: str | None = None
        try:
            end = self._submit_and_listen()
        except _Down as error:
            down = str(error)
            end = self._lost(down, given_back=True) if self._limits.gives_back else self._cancelled_event(down)
        except Exception as error:  # nothing may leave a slot waiting for ever
            self._stop_on_server()
            end = self._failed("error", f"{type(error).__name__}: {error}")
        if self._cancelled.is_set() and end is not self._end:
            end = self._cancelled_event("cancelled")
        charged = self._charged()
        try:
            self._keeper.ended(self, down)
        except Exception as error:
            self._context.log(f"RunPod job {self.job_id}: {type(error).__name__}: {error}")
        finally:
            if charged is not None:
                self._context.emit(charged)
            self._context.emit(end)

    def _charged(self) -> TrialEvent | None:
        """Return what it has cost; None where it never had a worker, or no price is known."""
        if self._limits.price is None or self._ran_since is None:
            return None
        if self._worker_s is None:
            with contextlib.suppress(JobLost, BackendUnavailable):  # then what was seen from here is what there is
                self._worker_s = self._client.status(self.job_id).execution_s
        seconds = time.monotonic() - self._ran_since if self._worker_s is None else self._worker_s
        self._worker_s = seconds
        return TrialCharged(**self._identity(), cost=self.cost or 0.0, worker_seconds=seconds)

    def _submit_and_listen(self) -> TrialEvent:
        self._inbox = Inbox(self._context.trial_folder(self.spec.trial), self._files)
        self._inbox.clear()  # of what an earlier attempt has left
        running_ms, queue_ms = int(1000 * self._limits.running), int(1000 * self._limits.queue)
        try:
            if self._files is not None:
                self._files.ready(self._say, self._cancelled.is_set)
            # In the queue and in work together a job lives no longer than this.
            policy = {"executionTimeout": running_ms, "ttl": running_ms + 2 * queue_ms}
            self.job_id = self._client.submit(self._content, policy)
        except BackendUnavailable as error:
            raise _Down(str(error)) from None
        self._began = self._heard = self._answered = time.monotonic()
        try:
            self._keeper.submitted(self)
        except OSError as error:
            self._stop_on_server()
            raise _Down(f"The job's id cannot be kept on disk, so it was cancelled: {error}.") from error
        return self._listen()

    def _listen(self) -> TrialEvent:
        """Ask, until there is an end."""
        waiting_said = False
        while not self._cancelled.is_set():
            try:
                view = self._client.poll(self.job_id)
            except JobLost as error:
                return self._give_up(str(error))
            except BackendUnavailable as error:
                if time.monotonic() - self._answered > AWAY_S:
                    return self._give_up(str(error))
                self._pause()
                continue
            self._answered = now = time.monotonic()
            if view.status == QUEUED:
                if self.runs:
                    return self._give_up("its worker died, and RunPod has queued the job again")
                if not waiting_said:
                    waiting_said = True
                    self._say("waiting for a RunPod worker")
                if now - self._began > self._limits.queue and not self._keeper.others_run(self):
                    self._stop_on_server()
                    minutes = self._limits.queue / 60
                    raise _Down(f"No RunPod worker took trial {self.spec.trial} within {minutes:g} minutes.")
                self._heard = now
            else:
                self.runs, self._ran_since = True, self._ran_since or now
                self._worker_s = view.execution_s if view.status in ENDED else None
            ended = self._take(view)
            if ended is not None:
                return ended
            if now - self._heard > (self._limits.silence if self._end is None else END_WAIT_S):
                return self._give_up(f"its worker said nothing for {(now - self._heard) / 60:.2g} minutes")
            self._pause()
        self._stop_on_server()
        return self._whole() or self._cancelled_event("cancelled")

    def _take(self, view: JobView) -> TrialEvent | None:
        """Take what has come; return the end, if this is it."""
        try:
            for message in view.stream:
                self._message(message)
            if view.status not in ENDED:
                return None
            if self._whole() is None and view.status == "COMPLETED":  # something was lost: all of it comes again
                whole = self._client.status(self.job_id).output
                for message in whole if isinstance(whole, list) else []:
                    self._message(message)
            if (end := self._whole()) is not None:
                return end
        except (BackendProtocol, _Restarted) as error:
            return self._give_up(str(error))
        except JobLost as error:
            return self._give_up(str(error))
        except BackendUnavailable:
            return None  # it is asked again, as long as `_heard` allows
        return self._ended_badly(view)

    def _ended_badly(self, view: JobView) -> TrialEvent:
        """Say what became of a job without a whole result of ours."""
        error = view.error
        if view.status in ("FAILED", "TIMED_OUT") and error is None:
            try:
                error = self._client.status(self.job_id).error
            except (JobLost, BackendUnavailable):
                error = None
        if view.status == "CANCELLED":
            return self._cancelled_event("its job was cancelled on RunPod")
        if view.status == "TIMED_OUT":
            minutes = self._limits.running / 60
            return self._failed("too_slow", f"RunPod ended it after max_job_minutes={minutes:g}. Allow more.")
        if view.status == "FAILED" and error and "BackendProtocol" in error:  # of another version: so are the others
            raise _Down(_last_line(error))
        return self._lost(_last_line(error) if error else f"its job ended as {view.status} without a whole result")

    def _message(self, message: Any) -> None:
        """Take one message of the worker; one that begins anew is another worker."""
        if self._end is not None and not self._early and not self._inbox.missing:
            return  # it has said its last
        if not isinstance(message, Mapping) or type(message.get("n")) is not int:
            raise BackendProtocol(f"The worker said what is no message of a trial: {str(message)[:200]}.")
        self._heard = time.monotonic()
        boot = str(message.get("boot"))
        self._boot = self._boot or boot
        if boot != self._boot:
            raise _Restarted("its worker died, and RunPod began the job anew")
        if message["n"] > self._next + MOST_AHEAD:
            raise BackendProtocol(f"The worker sent message {message['n']} where {self._next} comes next.")
        if message["n"] >= self._next:
            self._early[message["n"]] = message
        while self._next in self._early:
            self._in_order(self._early.pop(self._next))
            self._next += 1

    def _in_order(self, message: Mapping[str, Any]) -> None:
        if "file" in message:
            self._inbox.take(message)
            return
        record = message.get("event", message.get("progress"))
        event, spec = event_from_json(json.dumps(record)), self.spec
        if not isinstance(event, TOLD) or (event.trial, event.attempt) != (spec.trial, spec.attempt):
            raise BackendProtocol(f"The worker told of something else than trial {spec.trial}: {str(record)[:200]}.")
        for name in NUMBERS:
            value = getattr(event, name, None)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise BackendProtocol(f"The worker told of a trial whose {name} is {value!r}.")
        event = dataclasses.replace(event, run=spec.run, job=None)
        if isinstance(event, TerminalEvent):
            self._end = dataclasses.replace(event, number=None)
        else:
            self._context.emit(event)

    def _whole(self) -> TerminalEvent | None:
        """Return the end that the worker told, if all of its files are here and are what it says."""
        end = self._end
        if end is None or self._inbox.missing:
            return None
        if isinstance(end, TrialFinished) and self._inbox.written.get("model.keras") != end.model_sha256:
            raise BackendProtocol("the model that came is not the one that was trained")
        return end

    def _give_up(self, reason: str) -> TrialEvent:
        """Stop the job; what it has given is taken if it is all there, else its worker counts as lost."""
        stopped = self._stop_on_server()
        try:
            if (end := self._whole()) is not None:
                return end
        except BackendProtocol as error:
            reason = str(error)
        return self._lost(reason if stopped else f"{reason}; RunPod has not confirmed that it is cancelled")

    def _stop_on_server(self) -> bool:
        """Have the service cancel the job, and return whether it has said that it is; else say so in the log."""
        if not self.job_id:
            return True
        give_up = time.monotonic() + CANCEL_WAIT_S
        while not self._client.cancel(self.job_id):
            if time.monotonic() > give_up:
                self.unconfirmed = True
                self._context.log(
                    f"RunPod has not confirmed that job {self.job_id} is cancelled: look at "
                    "https://console.runpod.io/serverless. It ends by itself when its time is over."
                )
                return False
            time.sleep(0.5)
        return True

    def _say(self, phase: str) -> None:
        self._context.emit(SlotChanged(run=self.spec.run, slot=self._slot, phase=phase))

    def _pause(self) -> None:
        self._wake.wait(self._limits.poll)
        self._wake.clear()

    def _identity(self) -> dict[str, Any]:
        return {"run": self.spec.run, "trial": self.spec.trial, "attempt": self.spec.attempt}

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _lost(self, reason: str, *, given_back: bool = False) -> TrialEvent:
        which = f"RunPod job {self.job_id}: " if self.job_id else ""
        return WorkerLost(**self._identity(), reason=f"{which}{reason}", given_back=given_back)

    def _failed(self, kind: str, reason: str) -> TrialEvent:
        return TrialFailed(**self._identity(), kind=kind, reason=reason, seconds=self._seconds())

    def _cancelled_event(self, reason: str) -> TrialEvent:
        return TrialCancelled(**self._identity(), seconds=self._seconds(), reason=reason)


class _Down(Exception):
    """The endpoint is of no use for any trial."""


class _Restarted(Exception):
    """Another worker has begun the job anew."""


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "no reason"
