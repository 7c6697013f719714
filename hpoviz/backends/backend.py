"""Backend: where trials run. A new backend is a transport: the trial code is the same everywhere."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from hpoviz.data.data_split import DataSplit
from hpoviz.events import Event
from hpoviz.trial_spec import TrialSpec

__all__ = ["Backend", "RunContext"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunContext:
    """What a backend gets from a run.

    Attributes
    ----------
    run : str
        Identifier of the run.
    data : mapping of str to callable
        By the name that a TrialSpec gives: a function that makes the DataSplit, called once by a backend that keeps it.
        One that is a `KnownData` also says how another machine makes it.
    code : bytes or None
        The user's own model and callbacks, as `hpoviz.models.user_code` packed them. It is to be unpacked by processes
        that this one has started on this machine, and by no others.
    folder : Path
        The run's own folder, existing; a backend may keep files in its ``data/``.
    trial_folder : callable
        Maps a trial id to the folder for its files, which exists.
    emit : callable
        Takes each event; may be called from any thread.
    log : callable
        Takes text for the run's log; may be called from any thread.
    """

    run: str
    data: Mapping[str, Callable[[], DataSplit]]
    code: bytes | None = None
    folder: Path
    trial_folder: Callable[[int], Path]
    emit: Callable[[Event], None]
    log: Callable[[str], None]


class Backend(abc.ABC):
    """Runs trials on a number of slots. ``hpoviz.testing`` has the contract tests that a backend must pass.

    The thread that runs the search calls every method; `cancel` must not block for long. For every submitted
    attempt the backend emits the events of ``run_trial``, the last of which is exactly one TerminalEvent, or
    one WorkerLost if the worker died. A backend can be opened again after it was closed.
    """

    @property
    @abc.abstractmethod
    def slots(self) -> int:
        """How many trials run at the same time, at least 1."""

    @property
    def takes_code(self) -> bool:
        """Whether trials run in processes of this machine, to which the user's own functions can be given as they are.

        Elsewhere `RunContext.code` is unpacked here, and the models that it builds are sent as Keras describes them.
        """
        return True

    def warm_up(self) -> None:  # noqa: B027  # optional
        """Get ready for `open` in the background, while the user still looks; returns at once."""

    @abc.abstractmethod
    def open(self, context: RunContext) -> None:
        """Get ready for the trials of a run; BackendError if that fails."""

    @abc.abstractmethod
    def submit(self, spec: TrialSpec, slot: int) -> None:
        """Run a trial on a free slot, counted from 0; returns at once."""

    @abc.abstractmethod
    def cancel(self, trial: int, *, grace_s: float) -> None:
        """Stop a trial after its present batch; one that has ended is passed over.

        After `grace_s` seconds a backend that can do so ends the worker of a trial that still runs.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Cancel what runs and free all resources; calling it twice is fine."""

    def exhausted(self) -> str | None:
        """Return why no more trials are to be begun, as a limit on costs is reached; None if nothing speaks against it.

        What runs goes on to its end, and so ends the run.
        """
        return None

    @property
    def fallback(self) -> Backend | None:
        """Where trials are to run when this one says that it is unavailable; asked once it is closed.

        None: nowhere, and the run ends.
        """
        return None

    @abc.abstractmethod
    def describe(self) -> str:
        """Say in a few words where trials run."""
