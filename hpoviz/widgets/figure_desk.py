"""FigureDesk: what the dashboard's figures and downloads are answered with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from typing import IO, Any

from hpoviz.errors import ConfigError, StoreError
from hpoviz.optimizer import Optimizer
from hpoviz.plots.catalogue import STUDY_FIGURES, TRIAL_FIGURES
from hpoviz.trial import Trial

__all__ = ["FigureDesk", "figure_tabs"]

PLAIN = {"displaylogo": False, "responsive": True, "showSendToCloud": False}  # nothing is sent to plotly's own cloud
PART = 4_000_000  # bytes of one message
MOST_BYTES = 500_000_000  # through the browser
PLAYED = 256  # validation samples of which one plays in the architecture
ARCHITECTURE = "architecture"


class FigureDesk:
    """Draws what a browser asks for, and hands out files. Every request is answered, with a problem if there is one.

    Parameters
    ----------
    send : callable
        Takes a message, and a list of bytes that go with it.
    optimizer : callable
        Returns the search that has begun; ConfigError if none has.
    trial : callable
        Returns the trial of a message; ConfigError if there is none.
    """

    def __init__(
        self,
        send: Callable[[dict[str, Any], list[bytes]], None],
        optimizer: Callable[[], Optimizer],
        trial: Callable[[Mapping[str, Any]], Trial],
    ) -> None:
        self._send, self._optimizer, self._trial = send, optimizer, trial

    def library(self, message: Mapping[str, Any]) -> None:
        """Send plotly's JavaScript, once for a page."""
        from hpoviz.widgets.scene_view import LIBRARY

        module = f"{LIBRARY}\nexport default module.exports;"
        self._send({"kind": "library", "key": message.get("key")}, [module.encode()])

    def draw(self, message: Mapping[str, Any]) -> None:
        """Send a figure: of a trial where the message has an ``id``, else of the search."""
        figure, fit = self._figure(message)
        self._send({"kind": "figure", "key": message.get("key"), "figure": figure.to_json(), "fit": fit}, [])

    def hand_out(self, message: Mapping[str, Any]) -> None:
        """Send a file in parts: the best model, the results, the run, a report, a figure, or a drawing of a model."""
        what = str(message.get("what"))
        makers: dict[str, Callable[[Mapping[str, Any], IO[bytes]], None]] = {
            "best_model": lambda _, file: _put(file, self._optimizer()._best_model_zip()),
            "results": lambda _, file: _put(file, self._optimizer().results.to_csv(index=False).encode()),
            "run": lambda _, file: self._optimizer()._pack(file),
            "report": self._report,
            "figure": self._page,
            "drawing": self._drawing,
        }
        if what not in makers:
            raise ConfigError(f"There is nothing called {what!r} to take away.")
        with tempfile.TemporaryFile() as file:
            makers[what](message, file)
            size = file.tell()
            if size > MOST_BYTES:
                raise StoreError(
                    f"This file has {size / 1e6:.0f} MB, too much for a browser. In a cell: opt.save_run('run.zip')."
                )
            file.seek(0)
            parts = max(1, -(-size // PART))
            for at in range(parts):
                answer = {"kind": "file", "key": message.get("key"), "part": at, "parts": parts, "size": size}
                self._send(answer, [file.read(PART)])

    def visualizer(self, trial: Trial) -> Any:
        """Return the model of a trial with samples and health, to be drawn."""
        from hpoviz.architecture.model_visualizer import ModelVisualizer  # imports TensorFlow

        samples = self._optimizer()._problem.validation_samples
        rows = samples.rows[:PLAYED]
        try:
            health = trial.health
        except StoreError:
            health = None
        data = (samples.x[rows], samples.y[rows]) if len(rows) else None  # a run that was opened without its data
        return ModelVisualizer(trial.model, data=data, health=health)

    def _figure(self, message: Mapping[str, Any]) -> tuple[Any, dict[str, Any] | None]:
        name, theme = str(message.get("name")), "dark" if message.get("dark") else "light"
        if message.get("id") is None:
            return self._optimizer().plot(name, theme=theme), None
        trial = self._trial(message)
        if name == ARCHITECTURE and trial.state == "finished":
            scene = self.visualizer(trial).scene3d(theme=theme)
            return scene, scene._fit
        return trial.plot(name, theme=theme), None

    def _page(self, message: Mapping[str, Any], file: IO[bytes]) -> None:
        figure, _ = self._figure(message)
        _put(file, figure.to_html(include_plotlyjs=True, config=PLAIN).encode())

    def _drawing(self, message: Mapping[str, Any], file: IO[bytes]) -> None:
        suffix = str(message.get("suffix"))
        if suffix not in ("json", "svg", "png"):
            raise ConfigError(f"A drawing is json, svg or png. Got {suffix!r}.")
        with tempfile.TemporaryDirectory() as folder:
            theme = "dark" if message.get("dark") else "light"
            path = self.visualizer(self._trial(message)).export(f"{folder}/model.{suffix}", theme=theme)
            _put(file, path.read_bytes())

    def _report(self, message: Mapping[str, Any], file: IO[bytes]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = self._optimizer().report(f"{folder}/run.html", theme="dark" if message.get("dark") else "light")
            _put(file, path.read_bytes())


def figure_tabs() -> dict[str, list[list[str]]]:
    """Return the figures that there are, by what they are of: name and title of each."""
    return {
        "study": [[name, text.title] for name, text in STUDY_FIGURES.items()],
        "trial": [[name, text.title] for name, text in TRIAL_FIGURES.items()],
    }


def _put(file: IO[bytes], content: bytes) -> None:
    file.write(content)
