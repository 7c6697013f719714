"""The worker process of LocalBackend: reads one JSON message a line, runs trials, writes events a line.

Messages in: ``{"op": "open", "code": …}`` once, with the user's code in base64 or null, then
``{"op": "run", "spec": …, "folder": …}`` and ``{"op": "cancel", "trial": …}``. Lines out: ``{"ready": pid}`` once, then
events, and ``{"memory": bytes}`` before the end of each trial. Standard output belongs to the protocol alone: whatever
else prints goes to standard error. The process ends as soon as its standard input closes, so it never outlives its
parent, and with exit code `MEMORY_EXIT` as soon as it uses more memory than it may.
"""

from __future__ import annotations

import base64
import functools
import gc
import json
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

import psutil

from hpoviz.backends.process_name import name_process

MEMORY_EXIT = 77
WATCH_INTERVAL_S = 0.5


def main(data_folder: str, memory_limit: str) -> None:
    """Serve the parent until it goes away.

    Parameters
    ----------
    data_folder : str
        Holds a folder a name of data, with what `DataSplit.save` wrote.
    memory_limit : str
        Bytes of memory of its own that this process may use, as a number.
    """
    name_process("hpoviz-worker")
    channel = _claim_stdout()
    messages: queue.Queue[dict[str, Any]] = queue.Queue()
    cancelled: set[int] = set()
    threading.Thread(target=_listen, args=(messages, cancelled), daemon=True).start()
    threading.Thread(target=_watch, args=(os.getppid(), int(memory_limit)), daemon=True).start()

    # Imported after the threads are up, as TensorFlow takes seconds in which the parent may die.
    from hpoviz.data.data_split import DataSplit
    from hpoviz.events import Event, TerminalEvent
    from hpoviz.models.user_code import UserCode
    from hpoviz.training.trial import run_trial
    from hpoviz.trial_spec import TrialSpec

    def emit(event: Event) -> None:
        if isinstance(event, TerminalEvent):
            _write(channel, json.dumps({"memory": own_memory()}))
        _write(channel, event.to_json())

    @functools.cache
    def data_of(name: str) -> DataSplit:
        return DataSplit.load(Path(data_folder) / name)

    gc.collect()
    gc.freeze()  # the imported modules stay: every collection would look at them all again, some of them in each trial
    packed = messages.get()["code"]
    code = UserCode.unpack(None if packed is None else base64.b64decode(packed))
    _write(channel, json.dumps({"ready": os.getpid()}))
    while True:
        message = messages.get()
        spec = TrialSpec.from_json(message["spec"])
        run_trial(
            spec,
            data_of(spec.data),
            emit,
            should_stop=lambda trial=spec.trial: trial in cancelled,  # type: ignore[misc]
            folder=Path(message["folder"]),
            code=code,
        )


def _claim_stdout() -> TextIO:
    """Keep standard output for the protocol, and send every print of TensorFlow's or the user's to standard error."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return channel


def _write(channel: TextIO, line: str) -> None:
    channel.write(line + "\n")
    channel.flush()


def _listen(messages: queue.Queue[dict[str, Any]], cancelled: set[int]) -> None:
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if message["op"] == "cancel":
            cancelled.add(message["trial"])
        else:
            messages.put(message)
    os._exit(0)  # the parent closed the pipe or died; nothing of an unfinished trial is worth keeping


def own_memory() -> int:
    """Return the bytes of memory that this process has for itself; what it shares with others is left out."""
    return int(psutil.Process().memory_full_info().uss)


def _watch(parent: int, memory_limit: int) -> None:
    """End when the parent is gone, even if another process holds the pipe open, or when memory runs over."""
    while os.getppid() == parent:
        # What is shared counts in the first figure, which costs nothing; the second takes some milliseconds.
        if psutil.Process().memory_info().rss > memory_limit and own_memory() > memory_limit:
            os._exit(MEMORY_EXIT)
        time.sleep(WATCH_INTERVAL_S)
    os._exit(0)
