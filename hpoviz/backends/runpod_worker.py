"""The worker of RunPodBackend: takes a trial, trains it with the same code as everywhere, and tells of it as it goes.

Runs in a container on RunPod: ``python -m hpoviz.backends.runpod_worker``. A job's input is what `job_input` makes;
what it yields are numbered messages: an event, or a part of a file. The last event of a trial comes after its files.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import itertools
import json
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hpoviz.backends.remote_storage import TransferStopped
from hpoviz.backends.runpod_about import is_question, this_worker
from hpoviz.backends.runpod_messages import MOST_BYTES, parts_of, read_job, sizes_of, unpack_data
from hpoviz.backends.worker_storage import store_files
from hpoviz.errors import BackendUnavailable, HpovizError
from hpoviz.events import BatchProgress, Event, TerminalEvent, TrialFailed, TrialFinished
from hpoviz.json_values import json_value

__all__ = ["handler", "main"]

PROGRESS_S = 1.0  # between two words on batches, which are in the job's result again
_one_trial = threading.Lock()  # TensorFlow's seeds and its devices are those of the process


async def handler(job: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Carry out one job. Ending the generator stops the trial after its present batch.

    Parameters
    ----------
    job : dict
        With the ``input`` of `job_input`.

    Yields
    ------
    dict
        Messages ``{"boot", "n", "event"}`` and ``{"boot", "n", "file", …}``: of one run of the job, counted from 0;
        ``{"boot", "n", "about"}`` for one that asks the worker about itself.
    """
    loop, stop = asyncio.get_running_loop(), threading.Event()
    messages: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def say(message: dict[str, Any] | None) -> None:
        loop.call_soon_threadsafe(messages.put_nowait, message)

    work = asyncio.ensure_future(asyncio.to_thread(_train, job.get("input"), say, stop))
    work.add_done_callback(lambda _: messages.put_nowait(None))
    boot, count = secrets.token_hex(4), 0
    try:
        while (message := await messages.get()) is not None:
            yield {"boot": boot, "n": count, **message}
            count += 1
        await work  # what it raised, if it did
    finally:
        stop.set()


def _train(content: Any, say: Callable[[dict[str, Any]], None], stop: threading.Event) -> None:
    """Run a trial in this thread, or answer a question."""
    if is_question(content):
        say({"about": this_worker()})
        return
    from hpoviz.models.sent_model import received_code
    from hpoviz.training.trial import run_trial

    spec, packed = read_job(content, version("hpoviz"))
    with _one_trial, tempfile.TemporaryDirectory() as folder:
        said, numbers = 0.0, itertools.count()

        def emit(event: Event) -> None:
            nonlocal said
            if isinstance(event, BatchProgress):
                if time.monotonic() - said < PROGRESS_S:
                    return
                said = time.monotonic()
            if isinstance(event, TerminalEvent):
                event = _send_files(event, Path(folder), content.get("results"), say, stop)
            event = dataclasses.replace(event, sequence=next(numbers))  # without gaps for what was not said
            kind = "progress" if isinstance(event, BatchProgress) else "event"
            say({kind: json_value(json.loads(event.to_json()))})

        try:
            data = _unpacked(json.dumps(packed, sort_keys=True))
            code = received_code(content.get("model"))
        except HpovizError as error:
            emit(
                TrialFailed(
                    run=spec.run, trial=spec.trial, attempt=spec.attempt, kind="error", reason=str(error), seconds=0.0
                )
            )
            return
        run_trial(spec, data, emit, stop.is_set, Path(folder), code)


def _send_files(
    event: TerminalEvent,
    folder: Path,
    place: Mapping[str, Any] | None,
    say: Callable[[dict[str, Any]], None],
    stop: threading.Event,
) -> TerminalEvent:
    """Send the files of a trial, the largest by way of its place in the storage, and return the trial's end."""
    sizes, stored = sizes_of(folder), set()
    size = sum(sizes.values())
    if size > MOST_BYTES and not isinstance(event, TrialFinished):
        return event  # nobody needs them
    if size > MOST_BYTES and place is None:
        return _without_model(
            event, "too_large", f"its files take {size / 1e6:.1f} MB, and {MOST_BYTES / 1e6:.0f} MB can be sent back. "
            "Search smaller models: set max_parameters. Or have them come by way of a storage: "
            "RunPodBackend(…, storage='s3://bucket/prefix').", violation=size / MOST_BYTES - 1,
        )  # fmt: skip
    try:
        for message in store_files(folder, sizes, MOST_BYTES, place, stop.is_set) if place is not None else ():
            stored.add(message["file"])
            say(message)
    except (BackendUnavailable, TransferStopped) as error:
        return _without_model(event, "error", f"its model of {size / 1e6:.1f} MB cannot be handed over. {error}")
    for part in parts_of(folder, [name for name in sizes if name not in stored]):
        say(part)
    return event


def _without_model(event: TerminalEvent, kind: str, reason: str, violation: float | None = None) -> TrialFailed:
    """Return the end of a trial whose model cannot be sent."""
    return TrialFailed(
        run=event.run, trial=event.trial, attempt=event.attempt, sequence=event.sequence, kind=kind,
        reason=reason, violation=violation, seconds=event.seconds,
    )  # fmt: skip


@functools.lru_cache(maxsize=1)
def _unpacked(packed: str) -> Any:
    """Unpack the data of a job; those of the next one are mostly the same."""
    return unpack_data(json.loads(packed))


def main() -> None:
    """Serve RunPod until the container is stopped."""
    import runpod

    import hpoviz.training.trial  # noqa: F401  # TensorFlow, before the first job

    print(f"hpoviz {version('hpoviz')} waits for trials", file=sys.stderr, flush=True)
    runpod.serverless.start({"handler": handler, "return_aggregate_stream": True})


if __name__ == "__main__":
    main()
