"""The one door to the screen: live progress in terminals, log files and notebooks, and the dashboard.

IPython is asked for only when it is already running this process, and widgets only there.
"""

from __future__ import annotations

import importlib
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from hpoviz import _html
from hpoviz.config import DASHBOARD, HTML, NONE
from hpoviz.progress import ProgressView, TrialTable, notice_text, progress_lines, table_lines, trial_line
from hpoviz.results import CANCELLED
from hpoviz.store.run_state import RunState

__all__ = ["ProgressPump", "Watcher", "in_notebook", "make_dashboard"]

LIVE_INTERVAL_S = 0.25
NOTEBOOK_INTERVAL_S = 0.5

Bundle = tuple[dict[str, Any], dict[str, Any]]  # what is shown, and its metadata, both by MIME type


class Screen(Protocol):
    """Something that shows a state again and again, and at last for good."""

    interval_s: float

    def update(self, state: RunState) -> None: ...

    def finish(self, state: RunState) -> None: ...


class Watcher(Protocol):
    """Something that is on screen already and wants to hear of the run: a dashboard."""

    def refresh(self, state: RunState, *, running: bool) -> None: ...


def in_notebook() -> bool:
    """Tell whether this process is a Jupyter kernel, whose cells show HTML."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def make_dashboard(optimizer: Any) -> Any:
    """Return a dashboard for an optimizer: the door to the floor above, which imports widgets."""
    return importlib.import_module("hpoviz.widgets.dashboard").Dashboard(optimizer)


class ProgressPump:
    """Shows a run until it ends, at most four times a second, in a thread of its own that only reads.

    Parameters
    ----------
    reading : callable
        Returns a context manager that yields the RunState while its lock is held.
    running : callable
        Tells whether the run goes on.
    title : str
    told : int
        Ended trials that need not be told of, as an earlier start has ended them.
    display : {"dashboard", "html", "text", "none"}
        As in `hpoviz.OptimizationConfig`.
    bundle : callable, optional
        Returns what a notebook shows as the dashboard, and its metadata, by MIME type; None where there is none.
    watchers : callable
        Returns who else wants to hear of the run now.
    """

    def __init__(
        self,
        reading: Callable[[], AbstractContextManager[RunState]],
        running: Callable[[], bool],
        title: str,
        told: int = 0,
        *,
        display: str = HTML,
        bundle: Callable[[], Bundle] | None = None,
        watchers: Callable[[], Iterable[Watcher]] = tuple,
    ) -> None:
        self._reading, self._running, self._watchers = reading, running, watchers
        self._failed: list[Watcher] = []
        self._screen = _make_screen(title, told, display, bundle)
        self._shown = threading.Event()
        self._thread = threading.Thread(target=self._pump, name="hpoviz-progress", daemon=True)

    def start(self) -> None:
        """Begin to show the run."""
        self._thread.start()

    def finish(self) -> None:
        """Wait until the end of the run is on screen; call it when the run has ended."""
        self._shown.wait()

    def _pump(self) -> None:
        try:
            while self._running():
                with self._reading() as state:
                    self._tell(state, running=True)
                    self._screen.update(state)
                time.sleep(self._screen.interval_s)
            self._failed.clear()  # who could not be told before is told of the end
        finally:
            try:
                with self._reading() as state:
                    self._tell(state, running=False)
                    self._screen.finish(state)
            finally:
                self._shown.set()

    def _tell(self, state: RunState, *, running: bool) -> None:
        for watcher in self._watchers():
            if watcher in self._failed:
                continue
            try:
                watcher.refresh(state, running=running)
            except Exception:  # the others, and the end of the run, must be shown all the same
                self._failed.append(watcher)
                traceback.print_exc()


def _make_screen(title: str, told: int, display: str, bundle: Callable[[], Bundle] | None) -> Screen:
    if display == NONE:
        return _Nowhere()
    if in_notebook() and display == DASHBOARD and bundle is not None:
        return _Widgets(title, *bundle())
    if in_notebook() and display in (DASHBOARD, HTML):
        return _Notebook(title)
    if sys.stdout.isatty():
        return _Terminal(title, told)
    return _LogFile(title, told)


class _Terminal:
    """Redraws one line for the run and one a slot, and writes each ended trial above them."""

    interval_s = LIVE_INTERVAL_S

    def __init__(self, title: str, told: int) -> None:
        self._drawn = 0
        self._told = told
        print(title, flush=True)

    def update(self, state: RunState) -> None:
        width = shutil.get_terminal_size().columns
        new = [trial_line(trial)[: width - 1] for trial in state.numbered[self._told :]]
        self._told += len(new)
        lines = progress_lines(ProgressView.of(state), width - 1)
        erase = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
        sys.stdout.write(erase + "\n".join([*new, *lines]) + "\n")
        sys.stdout.flush()
        self._drawn = len(lines)

    def finish(self, state: RunState) -> None:
        self.update(state)
        _print_end(state)


class _LogFile:
    """Writes a line for each ended trial: for pipes and files, where nothing can be redrawn."""

    interval_s = LIVE_INTERVAL_S

    def __init__(self, title: str, told: int) -> None:
        self._told, self._notice = told, ""
        self._said: set[tuple[int, str]] = set()  # of what takes long, once for each slot
        print(title, flush=True)

    def update(self, state: RunState) -> None:
        if (notice := notice_text(state)) != self._notice:
            self._notice = notice
            print(f"  {notice}", flush=True)
        for trial in state.numbered[self._told :]:
            self._told += 1
            counted = sum(told.state != CANCELLED for told in state.numbered[: self._told])
            best = ProgressView.of(state).best
            print(f"[{counted}/{state.wanted}] {trial_line(trial)}{best and f' · {best}'}", flush=True)
        for index, slot in state.slots.items():
            what = slot.phase.partition(" ")[0]
            if what in ("starting", "uploading") and (index, what) not in self._said:
                self._said.add((index, what))
                print(f"  slot {index}: {slot.phase}", flush=True)

    def finish(self, state: RunState) -> None:
        self.update(state)
        _print_end(state)


class _Notebook:
    """Keeps one output of the cell up to date."""

    interval_s = NOTEBOOK_INTERVAL_S

    def __init__(self, title: str) -> None:
        from IPython.display import HTML, display

        self._title = title
        self._html: Any = HTML
        self._last = ""
        self._handle = display(HTML(_html.progress(title, None)), display_id=True)

    def update(self, state: RunState) -> None:
        self._show(_html.progress(self._title, ProgressView.of(state)))

    def finish(self, state: RunState) -> None:
        self._show(_html.progress(self._title, ProgressView.of(state), TrialTable.of(state)))

    def _show(self, text: str) -> None:
        if text != self._last:
            self._last = text
            self._handle.update(self._html(text))


class _Widgets:
    """Shows a dashboard, which is told by itself; in the end the page for where there are no widgets is made anew."""

    interval_s = LIVE_INTERVAL_S

    def __init__(self, title: str, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        from IPython.display import display

        self._title, self._data, self._metadata = title, data, metadata
        self._handle = display(data, metadata=metadata, raw=True, display_id=True)

    def update(self, state: RunState) -> None:
        """Leave it to the dashboard."""

    def finish(self, state: RunState) -> None:
        page = _html.progress(self._title, ProgressView.of(state), TrialTable.of(state))
        ended = {**self._data, "text/html": page, "text/plain": state.finished_reason or ""}
        self._handle.update(ended, metadata=self._metadata, raw=True)


class _Nowhere:
    """Shows nothing."""

    interval_s = LIVE_INTERVAL_S

    def update(self, state: RunState) -> None:
        """Do nothing."""

    def finish(self, state: RunState) -> None:
        """Do nothing."""


def _print_end(state: RunState) -> None:
    print(f"\n{state.finished_reason}", flush=True)
    table = TrialTable.of(state)
    if table.rows and state.kind is None:  # a job's result is returned to whom asked for it
        print("\n".join(["", *table_lines(table), ""]), flush=True)
