"""LocalBackend: trials in persistent worker processes on this machine."""

from __future__ import annotations

import base64
import collections
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import IO

import psutil

from hpoviz.backends.backend import Backend, RunContext
from hpoviz.backends.gpu import has_gpu, warn_if_taken
from hpoviz.backends.local_worker import MEMORY_EXIT
from hpoviz.backends.preloader import Preloader, WorkerProcess, shared_preloader
from hpoviz.errors import BackendProtocol, BackendUnavailable, ConfigError
from hpoviz.events import SlotChanged, TerminalEvent, TrialCancelled, TrialEvent, WorkerLost, event_from_json
from hpoviz.trial_spec import TrialSpec

__all__ = ["LocalBackend", "default_workers"]

MOST_DEFAULT_WORKERS = 4
WORKER_MEMORY = 1.5e9  # bytes: 0.7 GB of TensorFlow and room for data and weights
MEMORY_SHARE = 0.8  # of the machine's memory, for all workers together
MOST_GROWTH = 0.5e9  # bytes: TensorFlow keeps some of every trial, so a worker that has grown by this is replaced
EXIT_WAIT_S = 2.0
MOST_PER_CORE = 2  # workers a core that go without a warning
# A worker imports from the folders that its parent imports from, after those of its Python: a file of the user's that
# has the name of a standard module does no harm (-P keeps the current directory from the first place).
BOOT = """import sys
sys.path.extend(path for path in sys.argv[3:] if path not in sys.path)
from hpoviz.backends.local_worker import main
main(sys.argv[1], sys.argv[2])"""


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers() -> int:
    """Return one worker a core up to four, fewer where memory is short, and one where there is a GPU."""
    if has_gpu():
        return 1
    fitting = int(psutil.virtual_memory().available / WORKER_MEMORY)
    return max(1, min(available_cores(), MOST_DEFAULT_WORKERS, fitting))


def _warn_of_turns(workers: int) -> None:
    """Warn that there are far more workers than cores, which makes each of them slow and the search no faster."""
    cores = available_cores()
    if workers > MOST_PER_CORE * cores:
        warnings.warn(
            f"workers={workers} on {cores} core(s): they take turns, and each needs memory of "
            f"its own. Leave workers out to have {default_workers()}.",
            stacklevel=3,
        )


def environment(threads: int) -> dict[str, str]:
    """Return the environment of a worker that may use so many threads to compute."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    limits = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), str(threads))
    # Operations mostly follow each other: more threads between them cost small models a fifth and gain nothing.
    limits["TF_NUM_INTEROP_THREADS"] = "1"
    return {**quiet, **os.environ, "KERAS_BACKEND": "tensorflow", **limits}


def folders() -> list[str]:
    """Return where workers import from: hpoviz's own home, and the folders of this process."""
    here = [str(Path(path).absolute()) for path in sys.path]  # "" is the current one, as in a notebook
    return [str(Path(__file__).resolve().parents[2]), *here]


def preloader() -> Preloader:
    """Return the process that has imported TensorFlow, or is about to."""
    # With one thread, as NumPy's own would be lost in a fork; TensorFlow starts its threads in the workers.
    return shared_preloader(environment(threads=1), folders())


class LocalBackend(Backend):
    """Runs trials in worker processes that import TensorFlow once and then take trial after trial.

    A worker is a process that imports hpoviz and nothing of the user's ``__main__``, so scripts without a
    guard, ``python -`` and notebooks all work. With several workers each gets its share of the cores as math
    threads. Workers end when this process ends, however it ends.

    Each worker has two reader threads; what they share with the caller sits behind a lock of the worker's own.

    Parameters
    ----------
    workers : int, optional
        None: see `default_workers`.
    worker_memory_gb : float, optional
        A worker that uses more memory of its own is ended, and its trial counts as one whose worker died. None: an
        equal share of 80% of the machine's memory.
    preload : bool, optional
        Whether a process of hpoviz imports TensorFlow as soon as there is an `Optimizer`, and workers are forked from
        it: they start at once and share that memory. None: on Linux without a GPU; elsewhere it cannot be had.

    Raises
    ------
    ConfigError
        `workers` is not a whole number of at least 1, `worker_memory_gb` not a number above 0, or `preload` asks for
        what this system cannot do.

    Examples
    --------
    >>> LocalBackend(workers=2).slots
    2
    """

    def __init__(
        self, workers: int | None = None, *, worker_memory_gb: float | None = None, preload: bool | None = None
    ) -> None:
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
            raise ConfigError(f"workers must be a whole number, at least 1 (or None). Got {workers!r}.")
        known = worker_memory_gb is None or (type(worker_memory_gb) in (int, float) and worker_memory_gb > 0)
        if not known:
            raise ConfigError(f"worker_memory_gb must be a number above 0 (or None). Got {worker_memory_gb!r}.")
        can_preload = sys.platform == "linux" and not has_gpu()
        if preload not in (None, True, False) or (preload and not can_preload):
            raise ConfigError(f"preload must be None or False, or True on Linux without a GPU. Got {preload!r}.")
        self._preload = can_preload if preload is None else preload
        self._slots = workers or default_workers()
        _warn_of_turns(self._slots)
        share = MEMORY_SHARE * psutil.virtual_memory().total / self._slots
        self._memory_limit = int(share if worker_memory_gb is None else 1e9 * worker_memory_gb)
        self._context: RunContext | None = None
        self._workers: dict[int, _Worker] = {}

    @property
    def slots(self) -> int:
        """The number of workers."""
        return self._slots

    def warm_up(self) -> None:
        """Have TensorFlow imported, where that can be done ahead."""
        if self._preload and sys.executable:
            with contextlib.suppress(OSError):  # the first worker meets it again, and says so
                preloader()

    def open(self, context: RunContext) -> None:
        """Write the data where the workers can map it, and start them."""
        if not sys.executable:
            raise BackendUnavailable(
                "The path of this Python is unknown, so no worker can start. Use backend='inline'."
            )
        self._context = context
        warn_if_taken()
        for name, make in context.data.items():
            folder = context.folder / "data" / name
            folder.mkdir(parents=True, exist_ok=True)
            make().save(folder)
        for slot in range(self._slots):
            self._workers[slot] = self._start_worker(slot)

    def submit(self, spec: TrialSpec, slot: int) -> None:
        """Hand a trial to the slot's worker, or to a fresh one if that has died."""
        worker = self._workers[slot]
        if worker.alive and worker.growth > MOST_GROWTH:
            self._opened.log(f"worker {slot} has grown by {worker.growth / 1e9:.2f} GB and is replaced")
            worker.hang_up()
            worker.wait()
        if not worker.alive:
            if worker.failed_to_start:
                raise BackendUnavailable(f"The worker of slot {slot} cannot start: {worker.death()}")
            worker = self._workers[slot] = self._start_worker(slot)
        worker.submit(spec)

    def cancel(self, trial: int, *, grace_s: float) -> None:
        """Have the trial's worker stop it, and kill the worker if it has not done so after `grace_s`."""
        for worker in self._workers.values():
            worker.cancel(trial, grace_s)

    def close(self) -> None:
        """End all workers and delete the shared data."""
        for worker in self._workers.values():
            worker.hang_up()
        for worker in self._workers.values():
            worker.wait()
        self._workers.clear()
        if self._context is not None:
            shutil.rmtree(self._context.folder / "data", ignore_errors=True)

    def describe(self) -> str:
        """Say how many processes there are."""
        return f"local, {self._slots} worker process{'es' if self._slots > 1 else ''}"

    @property
    def _opened(self) -> RunContext:
        assert self._context is not None  # `open` was called
        return self._context

    def _start_worker(self, slot: int) -> _Worker:
        threads = max(1, available_cores() // self._slots)
        return _Worker(slot, threads, self._memory_limit, self._preload, self._opened)


class _Worker:
    """One process, its two reader threads, and the trial that it has in hand."""

    def __init__(self, slot: int, threads: int, memory_limit: int, preload: bool, context: RunContext) -> None:
        self._slot, self._memory_limit, self._context = slot, memory_limit, context
        self._lock = threading.Lock()
        self._spec: TrialSpec | None = None
        self._ending = False  # we ended it: the trial in hand was cancelled, not lost
        self._submitted = time.monotonic()
        self._sequence = itertools.count()
        self._stderr_tail: collections.deque[str] = collections.deque(maxlen=12)
        self._first_memory = self._memory = 0  # bytes, after the first and the latest trial
        self.was_ready = False
        self._process = self._start(threads, preload)
        context.emit(SlotChanged(run=context.run, phase="starting TensorFlow", slot=slot))
        self._errors = threading.Thread(target=self._read_errors, daemon=True)
        self._errors.start()
        self._events = threading.Thread(target=self._read_events, daemon=True)
        self._events.start()
        self._send({"op": "open", "code": base64.b64encode(context.code).decode() if context.code else None})

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def growth(self) -> int:
        """By how many bytes it has grown since its first trial."""
        return self._memory - self._first_memory

    @property
    def failed_to_start(self) -> bool:
        """Whether it ended by itself before it was ready: another one would too. One that was killed did not."""
        return not self.was_ready and (self._process.poll() or 0) > 0

    def submit(self, spec: TrialSpec) -> None:
        with self._lock:
            self._spec, self._submitted = spec, time.monotonic()
        folder = str(self._context.trial_folder(spec.trial).absolute())
        self._send(
            {"op": "run", "spec": spec.to_json(), "folder": folder}
        )  # one that still starts finds it in the pipe

    def cancel(self, trial: int, grace_s: float) -> None:
        with self._lock:
            if self._spec is None or self._spec.trial != trial:
                return
            spec = self._spec
        self._send({"op": "cancel", "trial": trial})
        killer = threading.Timer(grace_s, self._kill_if_busy, args=(spec,))
        killer.daemon = True
        killer.start()

    def hang_up(self) -> None:
        """Close the pipe, at which the process ends at once."""
        with self._lock:
            self._ending = True
        self._close(self._process.stdin)

    def wait(self) -> None:
        try:
            self._process.wait(EXIT_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._events.join()
        self._errors.join()

    def death(self) -> str:
        """Say how the process ended."""
        code = self._process.returncode
        if code < 0:
            name = signal.Signals(-code).name
            hint = " (the system may be out of memory)" if name == "SIGKILL" else ""
            return f"the worker process was ended by {name}{hint}"
        if code == MEMORY_EXIT:
            return (
                f"the worker process used more than the {self._memory_limit / 1e9:.3g} GB of memory that it may. "
                "Search smaller models or batches, or allow more with backend=LocalBackend(worker_memory_gb=…)"
            )
        last_words = "\n".join(self._stderr_tail) or "it printed nothing."
        return f"the worker process ended with exit code {code}. Its last words:\n{last_words}"

    def _start(self, threads: int, preload: bool) -> WorkerProcess:
        data = str((self._context.folder / "data").absolute())
        arguments = [data, str(self._memory_limit)]
        here = environment(threads)
        try:
            if preload:
                try:
                    request = {"argv": arguments, "environment": here, "folders": folders(), "cwd": os.getcwd()}
                    return preloader().spawn(request)
                except OSError as error:
                    self._context.log(f"worker {self._slot} imports TensorFlow for itself: {error}")
            return subprocess.Popen(
                [sys.executable, "-P", "-c", BOOT, *arguments, *folders()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=here,
                start_new_session=True,  # Ctrl-C in a terminal is for the parent, which stops its workers cleanly
            )
        except OSError as error:
            raise BackendUnavailable(f"No worker process can be started with {sys.executable}: {error}.") from error

    def _read_events(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.decode("utf-8", errors="replace")
            if text.startswith('{"ready"'):
                self._on_ready()
                continue
            if text.startswith('{"memory"'):
                self._memory = json.loads(text)["memory"]
                self._first_memory = self._first_memory or self._memory
                continue
            try:
                event = event_from_json(text)
            except BackendProtocol as error:
                self._context.log(f"worker {self._slot}: {error}")
                continue
            if isinstance(event, TerminalEvent):
                with self._lock:
                    self._spec = None
            self._context.emit(event)
        self._process.wait()
        self._errors.join()
        self._on_exit()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            text = line.decode("utf-8", errors="replace").rstrip()
            self._stderr_tail.append(text)
            self._context.log(f"worker {self._slot}: {text}")
        self._process.stderr.close()

    def _on_ready(self) -> None:
        with self._lock:
            self.was_ready, idle = True, self._spec is None
        if idle:
            self._context.emit(SlotChanged(run=self._context.run, phase="waiting", slot=self._slot))

    def _on_exit(self) -> None:
        with self._lock:
            spec, self._spec, ending = self._spec, None, self._ending
        for pipe in (self._process.stdin, self._process.stdout):
            self._close(pipe)
        if spec is None:
            return
        event: TrialEvent
        if ending:
            seconds, reason = time.monotonic() - self._submitted, "stopped by ending its worker"
            event = TrialCancelled(run=spec.run, trial=spec.trial, attempt=spec.attempt, seconds=seconds, reason=reason)
        else:
            event = WorkerLost(run=spec.run, trial=spec.trial, attempt=spec.attempt, reason=self.death())
        self._context.emit(event)

    def _kill_if_busy(self, spec: TrialSpec) -> None:
        with self._lock:
            if self._spec is not spec:
                return
            self._ending = True
        self._process.kill()

    def _send(self, message: dict[str, object]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # it died or was hung up: `_read_events` tells
            self._context.log(f"worker {self._slot}: gone before it could be told to {message['op']}")

    @staticmethod
    def _close(pipe: IO[bytes] | None) -> None:
        try:
            if pipe is not None:
                pipe.close()
        except OSError:  # unsent bytes for a process that is gone
            return
