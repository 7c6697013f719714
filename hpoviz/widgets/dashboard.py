"""Dashboard: a search on the screen, to set it up, watch it, steer it, and look at what it has found."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import metadata
from typing import Any
from urllib.parse import urlsplit

import anywidget
import traitlets

from hpoviz import _html, search_form
from hpoviz.assets import asset
from hpoviz.config import OptimizationRequest, check_count
from hpoviz.errors import ConfigError, HpovizError
from hpoviz.health.weights import Scoring
from hpoviz.json_values import json_value
from hpoviz.optimizer import Optimizer
from hpoviz.run_feed import RunFeed
from hpoviz.search_form import Choices
from hpoviz.store.run_state import RunState
from hpoviz.trial import Trial
from hpoviz.trial_details import trial_details
from hpoviz.widgets.figure_desk import FigureDesk, figure_tabs

__all__ = ["Dashboard"]

TITLE = "hpoviz"
LICENCE = ("MIT licence", "https://opensource.org/license/mit")
NO_WIDGETS = "The dashboard is to be seen in a running notebook: JupyterLab, Notebook 7, Colab, VS Code, or Voila."
OF_THEIR_OWN = ("card", "details", "architecture", "library", "figure", "file")  # what has its own place on the screen
ONCE_SETTINGS = "The settings of a search that has begun stay as they are. Make another one: hpoviz.Dashboard()."


class Dashboard(anywidget.AnyWidget):
    """A search on the screen: settings, Start and Stop, live figures and curves, every trial with its details.

    ``hpoviz.Dashboard()`` alone is an application: choose data and settings there and press Start; `optimizer` is then
    the search, as if it had been written in code. An `Optimizer` shows itself in one, as the last line of a cell and
    when it starts. It may be shown in several cells; all of them show the same.

    What the browser asks for is done on the thread on which the kernel handles such messages (beside a running cell,
    where JupyterLab and ipykernel can do that), or, where it takes longer, on a thread of its own. A lock guards
    the feed and its version; changes are sent by the thread that shows the run.

    Parameters
    ----------
    optimizer : Optimizer, optional
        The search; None: it is set up on the screen.
    title : str
    logo : str, optional
        A picture: its web address (https), or a ``data:image/`` URI.
    footer_links : sequence of (str, str), optional
        What is written, and the web address (https) that it leads to. None: the licence, and the addresses that the
        installed package names as its own.

    Raises
    ------
    ConfigError
        Something else as an optimizer, or an address that is not allowed.

    Examples
    --------
    >>> dashboard = Dashboard(title="Course 7", footer_links=[("Our pages", "https://example.org")])
    >>> dashboard.optimizer is None
    True
    >>> dashboard.close()
    """

    _esm = (
        asset("elements.js")
        + asset("charts.js")
        + asset("gallery.js")
        + asset("settings_form.js")
        + asset("scene_view.js")
        + asset("figures.js")
        + asset("dashboard.js")
    )
    _css = asset("dashboard.css")
    _ipython_display_ = None  # of ipywidgets 7, which would show nothing but the widget
    frame = traitlets.Dict().tag(sync=True)
    form = traitlets.Dict().tag(sync=True)
    snapshot = traitlets.Dict().tag(sync=True)
    notice: Any = traitlets.Dict({"text": "", "count": 0}).tag(sync=True)
    run_cell: Any = traitlets.Int(0).tag(sync=True)  # which call of run() a cell waits in; 0: none

    def __init__(
        self,
        optimizer: Optimizer | None = None,
        *,
        title: str = TITLE,
        logo: str | None = None,
        footer_links: Sequence[tuple[str, str]] | None = None,
    ) -> None:
        self._optimizer: Optimizer | None = None
        self._closed = False
        if optimizer is not None and not isinstance(optimizer, Optimizer):
            raise ConfigError(f"optimizer must be an hpoviz.Optimizer (or None). Got {type(optimizer).__name__}.")
        frame = _frame(title, logo, _own_links() if footer_links is None else footer_links)
        self._lock = threading.RLock()
        self._busy = threading.Lock()  # held while a search is made ready
        self._run_cells = 0  # so far
        self._choices = Choices("digits", OptimizationRequest())
        self._feed = RunFeed(Scoring())
        self._optimizer = optimizer
        self._desk = FigureDesk(
            lambda message, buffers: self.send(message, buffers), self._running_or_begun, self._trial
        )
        self.renew()
        # Last, so that all of it comes with the widget: the browser begins before it hears of later changes.
        super().__init__(frame=frame)
        self.on_msg(self._told)
        if optimizer is not None:
            self._watch(optimizer)

    @property
    def optimizer(self) -> Optimizer | None:
        """The search that is shown; None until one was started here."""
        return self._optimizer

    def refresh(self, state: RunState, *, running: bool) -> None:
        """Send what has changed, if anything has; the thread that shows the run calls it and holds the state's lock."""
        if not running:  # the end stays in the widget's own state, for a page that is opened later
            self._take_snapshot(state, running=False)
            return
        with self._lock:
            change = self._feed.change(state, running=True, phase="running")
        if change is not None:
            self.send({"kind": "change", **change})

    def cell_waits(self, waits: bool) -> None:
        """Tell the browser that a cell waits in run(), which an interrupt of the kernel ends cleanly, or no longer."""
        self._run_cells += waits
        self.run_cell = self._run_cells if waits else 0

    def renew(self) -> None:
        """Show everything anew: the settings of the search have changed, or it has begun."""
        optimizer = self._optimizer
        if optimizer is not None:
            self._choices = self._choices_of(optimizer)
            self._feed.scoring = optimizer.request.scoring
        self._show_form()
        self._tell_everything()

    def __repr__(self) -> str:
        return "Dashboard: nothing was started" if self._optimizer is None else f"Dashboard of {self._optimizer!r}"

    def open(self) -> None:
        """Begin to talk with the browser, which says itself whether a message is to be handled beside a running cell.

        ipykernel 7.4 handles a message where the comm was last used instead. For what a thread sends that is the main
        shell, and there every message waits until the cell has ended.
        """
        super().open()
        if hasattr(self.comm, "_reply_subshell_for"):
            self.comm._reply_subshell_for = None

    def set_state(self, sync_data: Any) -> None:
        """Take nothing over from a browser but what it asks for in messages."""

    def close(self) -> None:
        """Take the dashboard from the screen; the search goes on."""
        if self._closed:
            return
        self._closed = True
        if self._optimizer is not None and self in self._optimizer._dashboards:
            self._optimizer._dashboards.remove(self)
        if self.comm is not None:
            self.layout.close()
        super().close()

    # --- what the browser asks for -----------------------------------------------------------------------------

    def _told(self, _widget: Any, message: Any, _buffers: Any) -> None:
        if not isinstance(message, Mapping):
            return
        actions: dict[str, tuple[Callable[[Mapping[str, Any]], None], bool]] = {  # and whether it takes a while
            "hello": (self._hello, False),
            "dismiss": (lambda message: self._say(""), False),
            "choose": (self._choose, False),
            "start": (self._start, True),
            "more": (self._more, True),
            "stop": (self._stop, False),
            "card": (self._card, False),
            "details": (self._details, False),
            "architecture": (self._architecture, True),
            "library": (self._desk.library, True),
            "figure": (self._desk.draw, True),
            "file": (self._desk.hand_out, True),
        }
        kind = str(message.get("kind"))
        if kind not in actions:
            return
        action, long = actions[kind]
        if long:
            thread = threading.Thread(
                target=self._do, args=(kind, action, message), name="hpoviz-dashboard", daemon=True
            )
            thread.start()
        else:
            self._do(kind, action, message)

    def _do(self, kind: str, action: Callable[[Mapping[str, Any]], None], message: Mapping[str, Any]) -> None:
        """Do it, and tell the browser that it was done; what goes wrong is said on the screen."""
        problem = ""
        if kind in ("start", "more", "stop", "choose"):
            self.send({"kind": "heard", "to": kind})
        try:
            action(message)
        except HpovizError as error:
            problem = str(error)
        except Exception as error:
            problem = f"That did not work. {type(error).__name__}: {error}"
            raise
        finally:
            if kind in OF_THEIR_OWN:
                if problem:
                    which = {name: json_value(message[name]) for name in ("id", "key") if name in message}
                    self.send({"kind": kind, **which, "problem": problem})
            else:
                if problem:
                    self._say(problem)
                if kind != "hello":
                    self.send({"kind": "answered", "to": kind, "well": not problem})

    def _say(self, text: str) -> None:
        """Say something on the screen, or nothing more."""
        if text or self.notice["text"]:
            self.notice = {"text": text, "count": self.notice["count"] + 1}  # the same text is news too

    def _hello(self, message: Mapping[str, Any]) -> None:
        """A copy on a screen begins, or has missed something."""
        if message.get("version") != self._feed.version:
            self._tell_everything()

    def _choose(self, message: Mapping[str, Any]) -> None:
        """Take settings over that change what else can be set."""
        if self._begun:
            raise ConfigError(ONCE_SETTINGS)
        chosen = self._chosen(message)
        self._say("")
        if not self._begun:  # nobody has started it meanwhile
            self._choices = chosen
            self._show_form()

    def _start(self, message: Mapping[str, Any]) -> None:
        if not self._busy.acquire(blocking=False):
            raise ConfigError("This search is being started already.")
        try:
            if not self._begun:
                self._say("Getting the data and the search ready …")
                self._set_up(self._chosen(message))
            assert self._optimizer is not None  # it was set up
            self._optimizer._begin()
            self._say("")
        finally:
            self._busy.release()

    def _more(self, message: Mapping[str, Any]) -> None:
        optimizer, trials = self._running_or_begun(), message.get("trials")
        check_count("more trials", trials, least=1)
        optimizer._begin(int(trials or 0))
        self._say("")

    def _stop(self, message: Mapping[str, Any]) -> None:
        """Stop the search, unless this was meant for a cell that has ended before it was heard."""
        if message.get("cell", 0) in (0, self.run_cell):
            self._running_or_begun()._stop_soon()

    def _card(self, message: Mapping[str, Any]) -> None:
        """Explain a parameter of the form; with its picture it is too long to be sent with every form."""
        html = search_form.card(message.get("name"), self._choices, space=self._space())
        self.send({"kind": "card", "key": json_value(message.get("key")), "html": html})

    def _details(self, message: Mapping[str, Any]) -> None:
        optimizer, trial = self._running_or_begun(), self._trial(message)
        self.send({"kind": "details", **trial_details(trial, optimizer._problem.space)})

    def _architecture(self, message: Mapping[str, Any]) -> None:
        trial = self._trial(message)
        html = self._desk.visualizer(trial)._repr_mimebundle_()["text/html"]
        self.send({"kind": "architecture", "id": trial.result.trial_id, "html": html})

    # --- parts -------------------------------------------------------------------------------------------------

    @property
    def _begun(self) -> bool:
        return self._optimizer is not None and self._optimizer._log is not None

    def _phase(self) -> str:
        phase = "not started" if self._optimizer is None else self._optimizer._open_phase()
        return f"{phase}, as it was when it was opened here" if phase.startswith("written by") else phase

    def _watch(self, optimizer: Optimizer) -> None:
        """Show this search from now on."""
        self._optimizer = optimizer
        if not self._closed:
            optimizer._dashboards.append(self)

    def _choices_of(self, optimizer: Optimizer) -> Choices:
        """Return what an optimizer was made with."""
        name = optimizer._data_name
        if name is not None and name in Choices("", optimizer.request).kinds():
            return self._choices.changed(name, optimizer.request, self._choices.own)
        return self._choices.changed(optimizer.data, optimizer.request, optimizer.data)

    def _chosen(self, message: Mapping[str, Any]) -> Choices:
        settings = message.get("settings")
        if not isinstance(settings, Mapping):
            raise ConfigError("The settings have not come as an object.")
        name, request = search_form.request_of(settings, self._choices, space=self._space())
        own = self._choices.own
        return self._choices.changed(own if name == search_form.OWN_DATA and own is not None else name, request, own)

    def _space(self) -> Any:
        """The space of the search that is shown, as long as its form is that of its own settings."""
        optimizer, request = self._optimizer, self._choices.request
        same = optimizer is not None and (request is optimizer.request or request.build_model is not None)
        return optimizer._problem.space if same and optimizer is not None else None

    def _set_up(self, choices: Choices) -> None:
        if self._optimizer is None:
            self._watch(Optimizer(choices.data, **choices.request.keywords()))
        else:
            self._optimizer._change(choices.data, choices.request)

    def _show_form(self) -> None:
        facts = [] if self._optimizer is None else [list(fact) for fact in self._optimizer._facts()]
        self.form = {**search_form.form(self._choices, space=self._space()), "begun": self._begun, "facts": facts}

    def _tell_everything(self) -> None:
        optimizer = self._optimizer
        if optimizer is None:
            self._take_snapshot(RunState(), running=False)
            return
        with optimizer._reading() as state:
            self._take_snapshot(state, running=optimizer._is_running())

    def _take_snapshot(self, state: RunState, *, running: bool) -> None:
        with self._lock:
            phase = "running" if running else self._phase()
            self.snapshot = self._feed.snapshot(state, running=running, phase=phase)

    def _running_or_begun(self) -> Optimizer:
        if self._optimizer is None or self._optimizer._log is None:
            raise ConfigError("The search has not begun. Press Start.")
        return self._optimizer

    def _trial(self, message: Mapping[str, Any]) -> Trial:
        optimizer, key = self._running_or_begun(), message.get("id")
        with optimizer._reading() as state:
            result = state.trials.get(key) if type(key) is int else None
        if result is None or result.number is None:
            raise ConfigError(f"No trial with id {key!r} has ended.")
        return optimizer._trial(result)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Return the widget, and for where widgets are not shown, the same facts as a page."""
        found = super()._repr_mimebundle_(**options)
        data, metadata = found if isinstance(found, tuple) else (found, {})
        if data is None:
            return found
        page = _html.page(_html.paragraph(NO_WIDGETS)) if self._optimizer is None else self._optimizer._repr_html_()
        return {**data, "text/html": page, "text/plain": repr(self._optimizer or self)}, metadata


def _frame(title: str, logo: str | None, links: Sequence[tuple[str, str]]) -> dict[str, Any]:
    if not isinstance(title, str):
        raise ConfigError(f"title must be a text. Got {title!r}.")
    if logo is not None and not (isinstance(logo, str) and (logo.startswith("data:image/") or _is_https(logo))):
        raise ConfigError(f"logo must be a web address that begins with https://, or a data:image/ URI. Got {logo!r}.")
    if not isinstance(links, list | tuple):
        raise ConfigError(f"footer_links must be a list of pairs of a text and a web address. Got {links!r}.")
    for link in links:
        if not (isinstance(link, list | tuple) and len(link) == 2 and _is_https(link[1])):
            raise ConfigError(
                f"footer_links must be pairs of a text and a web address that begins with https://. Got {link!r}."
            )
    return {
        "key": secrets.token_hex(8),
        "title": title,
        "logo": logo,
        "links": [[str(text), address] for text, address in links],
        "figures": figure_tabs(),
    }


def _own_links() -> list[tuple[str, str]]:
    """Return the licence, and what the package's metadata name: its repository, its documentation."""
    named = [entry.partition(", ") for entry in metadata("hpoviz").get_all("Project-URL") or []]
    return [LICENCE, *((text, address) for text, _, address in named if _is_https(address))]


def _is_https(address: Any) -> bool:
    try:
        return isinstance(address, str) and urlsplit(address).scheme == "https" and bool(urlsplit(address).netloc)
    except ValueError:  # as for "https://["
        return False
