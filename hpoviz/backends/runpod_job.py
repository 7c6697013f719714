"""RunPodJob: one trial on RunPod, from its submission to the one event that ends it."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from hpoviz.backends.backend import RunContext
from hpoviz.backends.runpod_client import ENDED, JobLost, JobView, RunPodClient
from hpoviz.backends.runpod_messages import Inbox
from hpoviz.errors import BackendProtocol, BackendUnavailable
from hpoviz.events import (
    SlotChanged,
    TerminalEvent,
    TrialCancelled,
    TrialEvent,
    TrialFailed,
    WorkerLost,
    event_from_json,
)
from hpoviz.trial_spec import TrialSpec

__all__ = ["RunPodJob"]

QUEUED = "IN_QUEUE"
AWAY_S = 120.0  # so long the service may not answer, besides the client's own patience
CANCEL_WAIT_S = 8.0


class RunPodJob:
    """Hears what a job says and tells it as a trial's events, the last of which is its end, told once.

    Parameters
    ----------
    spec : TrialSpec
    job_id : str
        RunPod's.
    slot : int
    client : RunPodClient
    context : RunContext
    limits : mapping of str to float
        ``queue_minutes`` and ``silence_minutes`` in seconds.
    poll_s : float
    ended : callable
        Called with this job when it runs no more, and with a reason if the endpoint is of no use, before its end is
        told.
    """

    def __init__(
        self,
        spec: TrialSpec,
        job_id: str,
        slot: int,
        *,
        client: RunPodClient,
        context: RunContext,
        limits: Mapping[str, float],
        poll_s: float,
        ended: Callable[[RunPodJob, str | None], None],
    ) -> None:
        self.spec, self.job_id = spec, job_id
        self._slot, self._client, self._context = slot, client, context
        self._limits, self._poll_s, self._ended = limits, poll_s, ended
        self._cancelled, self._wake = threading.Event(), threading.Event()
        self._boot: str | None = None
        self._next = 0  # number of the message that comes next
        self._early: dict[int, Mapping[str, Any]] = {}  # messages that came before others
        self._inbox = Inbox(context.trial_folder(spec.trial))
        self._end: TerminalEvent | None = None
        self._began = self._heard = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"hpoviz-runpod-{slot}", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def cancel(self) -> None:
        """Have it cancelled; returns at once."""
        self._cancelled.set()
        self._wake.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the end."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            end, down = self._listen(), None
        except _Down as error:
            end, down = self._cancelled_event("the endpoint is of no use"), str(error)
        except Exception as error:  # nothing may leave a slot waiting for ever
            self._stop_on_server()
            end, down = self._failed("error", f"{type(error).__name__}: {error}"), None
        self._ended(self, down)
        self._context.emit(end)

    def _listen(self) -> TrialEvent:
        """Ask, until there is an end."""
        waiting_said = False  # that it is in the queue
        while True:
            if self._cancelled.is_set():
                return self._after_cancel()
            try:
                view = self._client.poll(self.job_id)
            except JobLost as error:
                return self._lost(str(error))
            except BackendUnavailable as error:
                if time.monotonic() - self._heard > AWAY_S:
                    self._stop_on_server()
                    return self._lost(str(error))
                self._pause()
                continue
            if view.status == QUEUED:
                if not waiting_said:
                    waiting_said = True
                    waiting = "waiting for a RunPod worker"
                    self._context.emit(SlotChanged(run=self.spec.run, slot=self._slot, phase=waiting))
                if time.monotonic() - self._began > self._limits["queue_minutes"]:
                    self._stop_on_server()
                    minutes = self._limits["queue_minutes"] / 60
                    raise _Down(f"No RunPod worker took trial {self.spec.trial} within {minutes:g} minutes.")
                self._heard = time.monotonic()
            ended = self._take(view)
            if ended is not None:
                return ended
            if time.monotonic() - self._heard > self._limits["silence_minutes"]:
                self._stop_on_server()
                return self._lost(f"its worker said nothing for {self._limits['silence_minutes'] / 60:g} minutes")
            self._pause()

    def _take(self, view: JobView) -> TrialEvent | None:
        """Take what has come; return the end, if this is it."""
        try:
            for message in view.stream:
                if restarted := self._message(message):
                    return restarted
            if view.status not in ENDED:
                return None
            if self._end is None and view.status == "COMPLETED":  # something was lost on the way: all of it comes again
                whole = self._client.status(self.job_id).output
                for message in whole if isinstance(whole, list) else []:
                    if restarted := self._message(message):
                        return restarted
        except BackendProtocol as error:
            self._stop_on_server()
            return self._lost(str(error))
        if self._end is not None:
            if self._inbox.missing:
                return self._lost(f"parts of {', '.join(self._inbox.missing)} have not come")
            return self._end
        return self._ended_badly(view)

    def _ended_badly(self, view: JobView) -> TrialEvent:
        """Say what became of a job without an end of ours."""
        error = view.error
        if view.status in ("FAILED", "TIMED_OUT") and error is None:
            try:
                error = self._client.status(self.job_id).error
            except (JobLost, BackendUnavailable):
                error = None
        if view.status == "CANCELLED":
            return self._cancelled_event("its job was cancelled on RunPod")
        if view.status == "TIMED_OUT":
            minutes = self._limits["max_job_minutes"] / 60
            return self._failed("too_slow", f"RunPod ended it after max_job_minutes={minutes:g}. Allow more.")
        if view.status == "FAILED" and error and "BackendProtocol" in error:  # of another version: so are the others
            raise _Down(_last_line(error))
        return self._lost(_last_line(error) if error else f"its job ended as {view.status} without a result")

    def _message(self, message: Any) -> TrialEvent | None:
        """Take one message of the worker; a worker that begins anew is one that was lost."""
        if not isinstance(message, Mapping) or type(message.get("n")) is not int:
            raise BackendProtocol(f"The worker said what is no message of a trial: {str(message)[:200]}.")
        self._heard = time.monotonic()
        boot = str(message.get("boot"))
        if self._boot is None:
            self._boot = boot
        if boot != self._boot:
            self._stop_on_server()
            return self._lost("its worker died, and RunPod began the job anew")
        if message["n"] >= self._next:
            self._early[message["n"]] = message
        while self._next in self._early:
            self._in_order(self._early.pop(self._next))
            self._next += 1
        return None

    def _in_order(self, message: Mapping[str, Any]) -> None:
        if "file" in message:
            self._inbox.take(message)
            return
        record = message.get("event", message.get("progress"))
        event = event_from_json(json.dumps(record))
        spec = self.spec
        if not isinstance(event, TrialEvent) or (event.trial, event.attempt) != (spec.trial, spec.attempt):
            raise BackendProtocol(f"The worker told of something else than trial {spec.trial}: {str(record)[:200]}.")
        event = dataclasses.replace(event, run=spec.run)
        if isinstance(event, TerminalEvent):
            self._end = event
        else:
            self._context.emit(event)

    def _after_cancel(self) -> TrialEvent:
        """Cancel on the service, and give the worker's own last word, if it comes in time."""
        self._stop_on_server()
        return self._end or self._cancelled_event("cancelled")

    def _stop_on_server(self) -> None:
        """Have the service cancel the job, and see that it has; else say so."""
        give_up = time.monotonic() + CANCEL_WAIT_S
        while not self._client.cancel(self.job_id):
            if time.monotonic() > give_up:
                self._context.log(
                    f"RunPod has not confirmed that job {self.job_id} is cancelled: look at "
                    "https://console.runpod.io/serverless. It ends by itself when its time is over."
                )
                return
            time.sleep(0.5)

    def _pause(self) -> None:
        self._wake.wait(self._poll_s)
        self._wake.clear()

    def _identity(self) -> dict[str, Any]:
        return {"run": self.spec.run, "trial": self.spec.trial, "attempt": self.spec.attempt}

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _lost(self, reason: str) -> TrialEvent:
        return WorkerLost(**self._identity(), reason=f"RunPod job {self.job_id}: {reason}")

    def _failed(self, kind: str, reason: str) -> TrialEvent:
        return TrialFailed(**self._identity(), kind=kind, reason=reason, seconds=self._seconds())

    def _cancelled_event(self, reason: str) -> TrialEvent:
        return TrialCancelled(**self._identity(), seconds=self._seconds(), reason=reason)


class _Down(Exception):
    """The endpoint is of no use for any trial."""


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "no reason"
