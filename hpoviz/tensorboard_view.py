"""TensorBoard: the real program over a folder of event files, and what a notebook shows of it.

The program is bound to 127.0.0.1, on a port that the system finds, and ends with this process. It runs without
TensorFlow, which what we write does not need: it is there in a second, in a tenth of the memory.
"""

from __future__ import annotations

import atexit
import collections
import html
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

from hpoviz import _html
from hpoviz.backends.local import folders
from hpoviz.errors import ExportError, StoreError
from hpoviz.results import TrialResult
from hpoviz.tensorboard_logs import LogFolder, LoggedSearch, run_name
from hpoviz.training_record import RECORD_FILE, TrainingRecord

__all__ = ["TensorBoard", "show_tensorboard"]

HOST = "127.0.0.1"
HEIGHT = 800  # pixels, as TensorBoard's own frame
STARTING_S, READING_S, ENDING_S = 120.0, 20.0, 5.0
LOOK_INTERVAL_S = 0.05
RELOAD_S = 2  # between two looks for new trials
REQUEST_S = 5.0
MOST_LINES = 40  # of what it printed, for an error
ADDRESS = re.compile(rb" at http://\S*:(\d+)/")
# It ends when its standard input closes or its parent is gone, as that may be killed: by SIGTERM, so that it tidies up.
# It imports from the folders that its parent imports from, after those of its Python. TensorBoard's own switch `notf`
# keeps TensorFlow out; where a version does not know it, TensorFlow is imported, and all works more slowly.
BOOT = """import os, signal, sys, threading, time, types
count = int(sys.argv[1])
sys.path.extend(path for path in sys.argv[2 : 2 + count] if path not in sys.path)
del sys.argv[1 : 2 + count]
def end():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(3)
    os._exit(0)
def listen():
    sys.stdin.buffer.read()
    end()
def watch(parent):
    while os.getppid() == parent:
        time.sleep(0.5)
    end()
threading.Thread(target=listen, daemon=True).start()
threading.Thread(target=watch, args=(os.getppid(),), daemon=True).start()
sys.modules["tensorboard.compat.notf"] = types.ModuleType("tensorboard.compat.notf")
from tensorboard.main import run_main
run_main()"""


class TensorBoard:
    """A TensorBoard that runs; ``opt.tensorboard()`` starts it, and a notebook shows it.

    It ends with `close`, or with this process. Its output is read by a thread of its own, which changes ``_said`` and
    ``_port`` only; all else is the caller's.

    Attributes
    ----------
    url : str
        Its address, for browsers on this machine.
    log_dir : Path
        Where its event files are.

    Raises
    ------
    ExportError
        It did not start; with what it printed.
    """

    def __init__(self, log_dir: Path, title: str) -> None:
        self.log_dir, self._title, self._owner = log_dir, title, os.getpid()
        self._said: collections.deque[bytes] = collections.deque(maxlen=MOST_LINES)
        self._port: int | None = None
        known = folders()
        command = [sys.executable, "-P", "-c", BOOT, str(len(known)), *known]
        options = [f"--logdir={log_dir}", f"--host={HOST}", "--port=0", f"--reload_interval={RELOAD_S}"]
        try:
            self._process = subprocess.Popen(
                [*command, *options, f"--window_title={title}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # to interrupt a cell is no reason to end it
            )
        except OSError as error:
            raise ExportError(f"TensorBoard cannot be started with {sys.executable}: {error}.") from error
        atexit.register(self.close)
        self._reader = threading.Thread(target=self._read, name="hpoviz-tensorboard", daemon=True)
        self._reader.start()
        try:
            self._wait()
        except BaseException:  # Ctrl-C too
            self.close()
            raise

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    @property
    def url(self) -> str:
        """Its address, for browsers on this machine."""
        return f"http://{HOST}:{self._port}/"

    def close(self) -> None:
        """End the program; its files stay. Calling it twice is fine."""
        if os.getpid() != self._owner:  # a fork of this process ends, not this process
            return
        atexit.unregister(self.close)
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(ENDING_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._reader.join(ENDING_S)

    def wait_for(self, runs: Collection[str]) -> bool:
        """Wait until it has read these runs, at most 20 seconds, and return whether it has."""
        give_up = time.monotonic() + READING_S
        while not set(runs) <= set(self._runs() or ()):
            if time.monotonic() > give_up or not self.running:
                return False
            time.sleep(LOOK_INTERVAL_S)
        return True

    def __repr__(self) -> str:
        if not self.running:
            return f"<TensorBoard of {self._title}: closed; its files are in {str(self.log_dir)!r}>"
        return f"<TensorBoard of {self._title} at {self.url}; close() ends it, as does the end of this Python>"

    def _repr_html_(self) -> str:
        if not self.running:
            return _html.page(_html.paragraph(f"TensorBoard of {self._title} is closed: opt.tensorboard() starts it."))
        address, title = html.escape(self.url), html.escape(f"TensorBoard of {self._title}")
        link = f'<a href="{address}" target="_blank" rel="noopener">{address}</a>'
        if "google.colab" in sys.modules:
            how = f"from tensorboard import notebook; notebook.display(port={self._port}, height={HEIGHT})"
            where = f"<p>{title} is at {link} on the machine of this notebook. To show it here:</p>"
            return _html.page(f"{where}<p><code>{html.escape(how)}</code></p>")
        about = "It runs until its close() or the end of this Python, and can be seen from this machine alone."
        frame = f'<iframe src="{address}" title="{title}" width="100%" height="{HEIGHT}" style="border: 0"></iframe>'
        return f"{_html.page(f'<p>{title}: {link}. {html.escape(about)}</p>')}{frame}"

    def _wait(self) -> None:
        """Wait until it answers."""
        give_up = time.monotonic() + STARTING_S
        while self._runs() is None:
            if not self.running:
                self._reader.join(ENDING_S)
                raise ExportError(f"TensorBoard ended with exit code {self._process.returncode}. {self._last_words()}")
            if time.monotonic() > give_up:
                raise ExportError(f"TensorBoard has not answered within {STARTING_S:.0f} s. {self._last_words()}")
            time.sleep(LOOK_INTERVAL_S)

    def _runs(self) -> list[str] | None:
        """Return the runs that it has read; None where it does not answer."""
        if self._port is None:
            return None
        connection = http.client.HTTPConnection(HOST, self._port, timeout=REQUEST_S)  # past any proxy
        try:
            connection.request("GET", "/data/runs")
            found = json.loads(connection.getresponse().read())
            return [str(run) for run in found]
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()

    def _read(self) -> None:
        assert self._process.stdout is not None  # it is a pipe
        for line in self._process.stdout:
            self._said.append(line)
            if self._port is None and (found := ADDRESS.search(line)):
                self._port = int(found[1])
        self._process.stdout.close()

    def _last_words(self) -> str:
        said = b"".join(self._said).decode("utf-8", errors="replace").strip()
        return f"It printed:\n{said}" if said else "It printed nothing."


_running: dict[Path, TensorBoard] = {}
_lock = threading.Lock()  # held while files are written and a program is started


def show_tensorboard(log_dir: Path, search: LoggedSearch, folder_of: Callable[[TrialResult], Path]) -> TensorBoard:
    """Write the trials that are not written yet, and return the TensorBoard that shows them.

    Parameters
    ----------
    log_dir : Path
    search : LoggedSearch
    folder_of : callable
        Returns where the files of a trial are.

    Returns
    -------
    TensorBoard
        The one that runs over this folder already, or a new one; it has read the trials.

    Raises
    ------
    ExportError, ConfigError, StoreError
        As `LogFolder` and `TensorBoard`.
    """
    log_dir = log_dir.absolute()
    with _lock:
        logs = LogFolder(log_dir, search)
        renewed = logs.write_search()
        for trial in logs.missing():
            logs.write_trial(trial, _record(trial, folder_of(trial) / RECORD_FILE))
        shown = _running.get(log_dir)
        if shown is None or not shown.running:
            shown = _running[log_dir] = TensorBoard(log_dir, search.run)
        elif renewed:
            print("There are parameters that TensorBoard has not seen: close() it and call tensorboard() again.")
        shown.wait_for([run_name(trial) for trial in search.trials])
        return shown


def _record(trial: TrialResult, path: Path) -> TrainingRecord | None:
    """Return what was seen of a trial's layers; where it is damaged, say so."""
    if not path.is_file():
        return None
    try:
        return TrainingRecord.load(path)
    except StoreError as error:
        print(f"Trial {trial.number} is shown without its layers: {error}")
        return None
