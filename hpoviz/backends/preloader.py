"""Preloader: a process that has imported TensorFlow and forks workers, which then begin at once.

Importing TensorFlow takes seconds, for every worker again. On Linux without a GPU one process of ours imports it, early
and once, and hands out copies of itself: a worker is there in some hundredths of a second, shares that memory with the
others, and is replaced at no cost. (A GPU's driver cannot be forked, and other systems cannot fork safely.)

The parent sends one packet a worker over a socket: JSON, with the ends of the worker's pipes. The preloader runs one
thread, as forking more of them is unsafe, and computes nothing before it forks. It ends with its parent, when its
socket closes, or when it was idle for `IDLE_EXIT_S`.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any, Protocol

from hpoviz.backends.process_name import name_process

__all__ = ["ForkedProcess", "Preloader", "WorkerProcess", "shared_preloader"]

PRELOADED = ("hpoviz.backends.local_worker", "hpoviz.training.trial", "hpoviz.models.cnn", "hpoviz.models.lstm")
IDLE_EXIT_S = 900.0
LOOK_INTERVAL_S = 0.5
WAIT_STEP_S = 0.05
# What TensorFlow and the libraries below it read when they are imported.
READ_AT_IMPORT = ("TF_", "KERAS_", "XLA_", "CUDA_", "OMP_", "MKL_", "ONEDNN_", "DNNL_", "OPENBLAS_", "LD_", "PYTHON")
PACKET_BYTES = 200_000  # less than what Linux lets a socket hold by default
BOOT = """import sys
sys.path.extend(path for path in sys.argv[2:] if path not in sys.path)
from hpoviz.backends.preloader import serve
serve(int(sys.argv[1]))"""


class WorkerProcess(Protocol):
    """What a worker's owner needs of its process: a subprocess.Popen, or a `ForkedProcess`."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None

    @property
    def returncode(self) -> int | Any: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...


class ForkedProcess:
    """A process that the preloader forks, with the methods of subprocess.Popen.

    Threads may share it: what is known of its end sits behind ``_lock``.
    """

    def __init__(self, preloader: Preloader, pipes: Sequence[int], status: int) -> None:
        self.stdin: IO[bytes] | None = os.fdopen(pipes[0], "wb")
        self.stdout: IO[bytes] | None = os.fdopen(pipes[1], "rb")
        self.stderr: IO[bytes] | None = os.fdopen(pipes[2], "rb")
        self.returncode: int | None = None
        self._preloader, self._status, self._told = preloader, status, b""
        self._poll = select.poll()  # which knows no highest descriptor, as select does
        self._poll.register(status, select.POLLIN | select.POLLHUP)
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, or None while it lives."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code.

        Raises
        ------
        subprocess.TimeoutExpired
        """
        give_up = None if timeout is None else time.monotonic() + timeout
        while (code := self._look(WAIT_STEP_S)) is None:
            if give_up is not None and time.monotonic() > give_up:
                raise subprocess.TimeoutExpired("a forked worker", timeout or 0.0)
        return code

    def kill(self) -> None:
        """End it at once; where it is not forked yet, as TensorFlow is still imported, the preloader with it."""
        if self.poll() is None:
            pid = self._told.partition(b"\n")[0]
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            else:
                self._preloader.kill()

    def _look(self, wait_s: float) -> int | None:
        """Read what the preloader has written: the process' id when it was forked, its exit code when it ended."""
        with self._lock:
            if self.returncode is None and self._poll.poll(1000 * wait_s):
                told = os.read(self._status, 100)
                self._told += told
                lines = self._told.split(b"\n")
                if len(lines) > 2:
                    self.returncode = int(lines[1])
                elif not told:  # the preloader is gone, and its workers end with it
                    self.returncode = -signal.SIGKILL
                if self.returncode is not None:
                    os.close(self._status)
            return self.returncode


class Preloader:
    """The parent's side: starts the preloading process and asks it for workers.

    Parameters
    ----------
    environment : mapping
        Of the process and all its workers.
    folders : sequence of str
        Where hpoviz and its packages are imported from, after the folders of this Python.
    """

    def __init__(self, environment: Mapping[str, str], folders: Sequence[str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-c", BOOT, str(theirs.fileno()), *folders]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # a worker that imports for itself says what is wrong
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C in a terminal is for the parent
            )
        finally:
            theirs.close()

    @property
    def alive(self) -> bool:
        """Whether it can fork."""
        return self._process.poll() is None

    @property
    def failed(self) -> bool:
        """Whether it ended by an error of its own, as where TensorFlow cannot be imported: another one would too."""
        return (self._process.poll() or 0) > 0

    def spawn(self, request: Mapping[str, Any]) -> ForkedProcess:
        """Ask for a worker, which starts as soon as TensorFlow is imported; returns at once.

        Parameters
        ----------
        request : mapping
            ``argv`` for the worker's `main`, its ``environment``, ``folders`` to import from too, and ``cwd``.

        Raises
        ------
        OSError
            The process is gone.
        """
        ours: list[int] = []
        theirs: list[int] = []
        try:
            for worker_reads in (True, False, False, False):  # standard input, output, error, and status
                reads, writes = os.pipe()
                theirs.append(reads if worker_reads else writes)
                ours.append(writes if worker_reads else reads)
            socket.send_fds(self._socket, [json.dumps(request).encode()], theirs)
        except OSError:
            for descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        return ForkedProcess(self, ours[:3], ours[3])

    def retire(self) -> None:
        """Let it end when its last worker has."""
        self._socket.close()
        threading.Thread(target=self._process.wait, daemon=True).start()

    def kill(self) -> None:
        """End it and, within a second, its workers."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


class _Shared:
    """The one preloader of this process, behind a lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.preloader: Preloader | None = None
        self.made_for: tuple[int, dict[str, str]] = (0, {})


_shared = _Shared()


def shared_preloader(environment: Mapping[str, str], folders: Sequence[str]) -> Preloader:
    """Return this process' preloader, started now unless it lives and has imported in the same environment.

    Raises
    ------
    OSError
        It cannot be started, or could not import TensorFlow.
    """
    made_for = (os.getpid(), {name: text for name, text in environment.items() if name.startswith(READ_AT_IMPORT)})
    with _shared.lock:
        known = _shared.preloader
        if known is not None and known.failed and made_for == _shared.made_for:
            raise OSError("the process that imports TensorFlow ahead ended by an error")
        if known is None or not known.alive or made_for != _shared.made_for:
            if known is None:
                atexit.register(_end_shared)
            elif _shared.made_for[0] == os.getpid():
                known.retire()
            _shared.preloader = known = Preloader(environment, folders)
            _shared.made_for = made_for
        return known


def _end_shared() -> None:
    if _shared.preloader is not None and _shared.made_for[0] == os.getpid():  # not in a fork of the user's
        _shared.preloader.kill()


# --- the process itself --------------------------------------------------------------------------------------------


def serve(descriptor: int) -> None:
    """Import what workers need, then fork one for every packet; does not return.

    Parameters
    ----------
    descriptor : int
        The socket to the parent.
    """
    parent, imported = os.getppid(), threading.Event()
    name_process("hpoviz-preload")
    watch = threading.Thread(target=_end_with, args=(parent, imported), daemon=True)  # an import may fail
    watch.start()
    for module in PRELOADED:
        importlib.import_module(module)
    imported.set()
    watch.join()  # nothing is forked before this is the only thread again
    gc.collect()
    gc.freeze()  # no collection looks at the imported modules again, or copies their pages
    _Server(socket.socket(fileno=descriptor), parent).run()


def _end_with(parent: int, imported: threading.Event) -> None:
    """End with the parent while TensorFlow is imported, which takes seconds."""
    while not imported.wait(LOOK_INTERVAL_S):
        if os.getppid() != parent:
            os._exit(0)


class _Server:
    def __init__(self, channel: socket.socket, parent: int) -> None:
        self._channel: socket.socket | None = channel
        self._parent, self._statuses, self._busy = parent, dict[int, int](), time.monotonic()
        self._wake, wakes = os.pipe()
        os.set_blocking(wakes, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        self._wakes = wakes

    def run(self) -> None:
        while os.getppid() == self._parent and (self._statuses or (self._channel and not self._idle())):
            channels: list[Any] = [self._channel] if self._channel else []
            ready, _, _ = select.select([*channels, self._wake], [], [], LOOK_INTERVAL_S)
            if self._wake in ready:
                os.read(self._wake, 4096)
            self._reap()
            if self._channel in ready:
                self._take()
        os._exit(0)  # workers see that their parent is gone

    def _idle(self) -> bool:
        if self._statuses:
            self._busy = time.monotonic()
        return time.monotonic() - self._busy > IDLE_EXIT_S

    def _take(self) -> None:
        assert self._channel is not None  # it was ready
        packet, descriptors, _, _ = socket.recv_fds(self._channel, PACKET_BYTES, 4)
        if not packet:
            self._channel = None  # the parent has retired us
            return
        self._busy = time.monotonic()
        pid = os.fork()
        if pid == 0:
            self._become_worker(json.loads(packet), descriptors)
        for descriptor in descriptors[:3]:
            os.close(descriptor)
        self._statuses[pid] = descriptors[3]
        self._tell(descriptors[3], pid)

    def _reap(self) -> None:
        for pid in list(self._statuses):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self._tell(self._statuses[pid], os.waitstatus_to_exitcode(status))
                os.close(self._statuses.pop(pid))

    @staticmethod
    def _tell(descriptor: int, number: int) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
            os.write(descriptor, b"%d\n" % number)

    def _become_worker(self, request: dict[str, Any], descriptors: list[int]) -> None:
        """Turn this copy into a worker; does not return."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            for number, descriptor in enumerate(descriptors[:3]):
                os.dup2(descriptor, number)
            assert self._channel is not None  # the request came by it
            self._channel.close()
            for descriptor in (*descriptors, self._wake, self._wakes, *self._statuses.values()):
                os.close(descriptor)
            os.environ.clear()
            os.environ.update(request["environment"])
            os.chdir(request["cwd"])
            sys.path.extend(path for path in request["folders"] if path not in sys.path)
            from hpoviz.backends.local_worker import main

            main(*request["argv"])
        except BaseException:
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
        os._exit(1)
