"""RunStore: the folder of one run. Whatever happens to the process, what was written is whole.

Layout::

    run.json                    settings, hash of the data, versions
    run.lock                    who writes; the lock ends with its process
    events.jsonl                the only log of what happened
    hpoviz.log                  the same for people, with what workers print
    best_hyperparameters.yaml   of the best trial so far
    trials/<trial_id>/          model.keras, history.csv
    jobs/<job>/<trial_id>/      the same of a cross-validation (without models) or a final training
    data/                       arrays shared with worker processes, while a search runs
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import re
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import yaml

from hpoviz.errors import BackendProtocol, ConfigError, StoreError
from hpoviz.events import BatchProgress, EpochEnded, Event, TrialEvent, event_from_json, utc_now

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["RunStore", "check_run_dir", "copy_model", "new_run_dir", "trial_path", "write_atomically"]

RUN_VERSION = 1
RECORD_KEYS = ("run", "data", "objective", "weights", "architecture", "seed", "request", "execution", "versions")
DEFAULT_ROOT = "hpoviz_runs"
LEAST_FREE = 200e6  # bytes
MOST_RUNS_NAMED = 10
LOCK_WAIT_S = 0.3  # longer than somebody who only looks who writes holds the lock


def new_run_dir(data_name: str) -> Path:
    """Return a fresh path in ``hpoviz_runs/``: UTC time, data set, four random characters. Creates nothing."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", data_name).strip("-.")[:40] or "data"
    return Path(DEFAULT_ROOT) / f"{stamp}-{name}-{secrets.token_hex(2)}"


def check_run_dir(path: Path) -> None:
    """Raise StoreError if a run cannot be created at `path`. Creates nothing.

    Raises
    ------
    StoreError
        The path exists, or its nearest existing parent is no writable directory.
    """
    if path.exists():
        raise StoreError(
            f"run_dir {str(path)!r} exists already. Name a folder that does not exist yet, or use hpoviz.open_run."
        )
    parent = next(ancestor for ancestor in path.absolute().parents if ancestor.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise StoreError(
            f"run_dir {str(path)!r} cannot be created: {str(parent)!r} is no writable directory. Name another."
        )


def trial_path(folder: Path, trial_id: int, job: str | None = None) -> Path:
    """Return where the files of a trial of the search, or of a job, are in the folder of a run."""
    return (folder / "trials" if job is None else folder / "jobs" / job) / str(trial_id)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def copy_model(source: Path, path: str | Path) -> Path:
    """Copy a saved model to a path of the user's, which must end in ``.keras``, and return it.

    Raises
    ------
    ConfigError
        Another suffix.
    StoreError
        It cannot be written.
    """
    target = Path(path)
    if target.suffix != ".keras":
        raise ConfigError(f"A model is saved in Keras' own format: the path must end in .keras. Got {str(path)!r}.")
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise StoreError(f"The model cannot be saved as {str(path)!r}: {error}. Name another path.") from error
    return target


class RunStore:
    """A run's folder; made by `create` or `open`. One process writes at a time, any number read.

    One lock, ``_lock``, guards the files: every method may be called from any thread.

    Parameters
    ----------
    folder : Path
        An existing run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._files: _OpenFiles | None = None
        self._known = 0  # bytes of events.jsonl that this store has read or written

    @classmethod
    def create(cls, folder: Path, settings: Mapping[str, Any]) -> RunStore:
        """Create the folder with its ``run.json``, whole or not at all; StoreError if that fails."""
        check_run_dir(folder)
        building = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
        try:
            (building / "trials").mkdir(parents=True)
            record = {"version": RUN_VERSION, "created": utc_now(), **settings}
            write_atomically(building / "run.json", (json.dumps(record, indent=2, allow_nan=False) + "\n").encode())
            for name in ("events.jsonl", "hpoviz.log"):
                (building / name).touch()
            building.rename(folder)
            return cls(folder)
        except OSError as error:
            shutil.rmtree(building, ignore_errors=True)
            raise StoreError(f"The run cannot be created in {str(folder)!r}: {error}. Name another run_dir.") from error

    @classmethod
    def open(cls, folder: Path) -> tuple[RunStore, dict[str, Any]]:
        """Open an existing run and return it with the content of ``run.json``.

        Raises
        ------
        StoreError
            No run there, a damaged ``run.json``, or one of a newer hpoviz.
        """
        record = _read_record(folder)
        if not (folder / "events.jsonl").is_file():
            raise StoreError(
                f"The run in {str(folder)!r} has no events.jsonl, so nothing is known of its trials. Restore it."
            )
        return cls(folder), record

    def writer(self) -> str | None:
        """Return who is writing the run, where it is not this store. Needs no right to write."""
        with self._lock:
            if self._files is not None:
                return None
            try:
                with (self.folder / "run.lock").open(encoding="utf-8") as lock:
                    return None if _try_lock(lock, shared=True) else _holder(lock)
            except OSError:  # there is no lock: nobody has ever written
                return None

    def check_space(self) -> None:
        """Raise StoreError if the disk is nearly full, so that a search ends while it can still say so."""
        free = shutil.disk_usage(self.folder).free
        if free < LEAST_FREE:
            raise StoreError(
                f"Only {free / 1e6:.0f} MB are free in {str(self.folder)!r}, less than {LEAST_FREE / 1e6:.0f}. "
                "Stopped with everything so far kept. Free space, or set keep_models='best'; run() goes on."
            )

    def begin_writing(self) -> None:
        """Become the one who writes, until `end_writing`.

        Raises
        ------
        StoreError
            Somebody else writes, or has written since the events were read here.
        """
        with self._lock:
            if self._files is not None:
                return
            try:
                files = _OpenFiles(self.folder)
            except BlockingIOError as error:
                raise StoreError(f"The run is being written by {error}: here it can only be looked at.") from error
            except OSError as error:
                raise StoreError(f"The run in {str(self.folder)!r} cannot be written: {error}.") from error
            if files.size != self._known:
                files.close()
                raise StoreError(
                    "The run has gone on elsewhere since it was opened here. Open it again: hpoviz.open_run."
                )
            self._files = files

    def end_writing(self) -> None:
        """Close the files and let others write; calling it twice is fine."""
        with self._lock:
            if self._files is not None:
                self._files.close()
                self._files = None

    def trial_folder(self, trial_id: int, job: str | None = None) -> Path:
        """Return the (existing) folder of a trial of the search, or of a job."""
        folder = trial_path(self.folder, trial_id, job)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def append(self, event: Event) -> None:
        """Store an event and write it to the log; batch progress is only shown, never stored.

        Outside of `begin_writing` … `end_writing` the files are opened for this event alone.

        Raises
        ------
        StoreError
            The disk is full, the folder is gone, or somebody else writes.
        """
        if isinstance(event, BatchProgress):
            return
        with self._lock:
            alone = self._files is None
            self.begin_writing()
            assert self._files is not None  # `begin_writing` has opened them
            try:
                line = event.to_json() + "\n"
                self._files.events.write(line)
                self._files.events.flush()
                self._known += len(line.encode())
                if not isinstance(event, EpochEnded):
                    os.fsync(self._files.events.fileno())
                self._files.log.write(_log_line(event) + "\n")
                self._files.log.flush()
            except (OSError, ValueError) as error:
                path = self.folder / "events.jsonl"
                raise StoreError(f"{path} cannot be written: {error}. Free space and go on.") from error
            finally:
                if alone:
                    self.end_writing()

    def note(self, text: str) -> None:
        """Write a line of text to the log while the run is written: what a worker printed, a traceback."""
        with self._lock:
            if self._files is not None:  # else a worker's last words came too late
                with contextlib.suppress(OSError):  # a full disk: the event that fails says so
                    self._files.log.write(f"{utc_now()} {text.rstrip()}\n")
                    self._files.log.flush()

    def write_best(self, record: Mapping[str, Any]) -> None:
        """Write ``best_hyperparameters.yaml``."""
        write_atomically(self.folder / "best_hyperparameters.yaml", to_yaml(record))

    def drop_model(self, trial_id: int, job: str | None = None) -> None:
        """Delete the model file of a trial that is not worth keeping."""
        (trial_path(self.folder, trial_id, job) / "model.keras").unlink(missing_ok=True)

    def events(self) -> Iterator[Event]:
        """Read the stored events back; a torn last line, left by a kill, is passed over.

        Raises
        ------
        StoreError
            The file is missing, or a line of it is damaged.
        """
        path = self.folder / "events.jsonl"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StoreError(f"The events of the run cannot be read: {error}. Restore {str(path)!r}.") from error
        self._known = content.rfind(b"\n") + 1
        for number, line in enumerate(content.split(b"\n")[:-1], start=1):
            try:
                yield event_from_json(line.decode())
            except (BackendProtocol, UnicodeDecodeError) as error:
                raise StoreError(
                    f"Line {number} of {str(path)!r} is damaged: {error} Restore the file from a copy, or delete this "
                    "line and all that follow to go on from there."
                ) from error


class _OpenFiles:
    """The files of the one who writes: the lock, the events, the log.

    The lock belongs to the open file, so it ends with the process, however that ends. BlockingIOError, with the
    holder's own words, where another has it.
    """

    def __init__(self, folder: Path) -> None:
        self._lock: TextIO = (folder / "run.lock").open("a+", encoding="utf-8")
        give_up = time.monotonic() + LOCK_WAIT_S
        while not _try_lock(self._lock):
            if time.monotonic() > give_up:
                holder = _holder(self._lock)
                self._lock.close()
                raise BlockingIOError(holder)
            time.sleep(LOCK_WAIT_S / 10)
        self._lock.truncate(0)
        self._lock.write(f"process {os.getpid()} on {platform.node()} since {utc_now()}\n")
        self._lock.flush()
        self.size = _drop_torn_line(folder / "events.jsonl")
        self.events: TextIO = (folder / "events.jsonl").open("a", encoding="utf-8")
        self.log: TextIO = (folder / "hpoviz.log").open("a", encoding="utf-8")

    def close(self) -> None:
        for file in (self.events, self.log, self._lock):
            with contextlib.suppress(OSError):  # a full disk: what could not be written was said when it happened
                file.close()


def _runs_in(folder: Path) -> str:
    """Name the runs in a folder, the latest first."""
    begun: dict[Path, float] = {}
    with contextlib.suppress(OSError):  # a folder that may not be read, or a run that is deleted just now
        for path in folder.glob("*/run.json"):
            if not path.parent.name.startswith("."):  # one that is being made
                begun[path.parent] = path.stat().st_mtime
    names = [repr(str(run)) for run in sorted(begun, key=lambda run: (-begun[run], run.name))]
    more = f", and {len(names) - MOST_RUNS_NAMED} more" if len(names) > MOST_RUNS_NAMED else ""
    return ", ".join(names[:MOST_RUNS_NAMED]) + more


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    if not path.is_file():
        inside = _runs_in(folder)
        raise StoreError(
            f"{str(folder)!r} is no run of hpoviz: it has no run.json. "
            + (f"Name one of the runs in it, the latest first: {inside}." if inside else "Name the folder of a run.")
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        version = record["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{str(path)!r} is damaged: {error}. Restore it from a copy.") from error
    if version != RUN_VERSION:
        raise StoreError(
            f"{str(path)!r} has format version {version!r}; this hpoviz reads version {RUN_VERSION}. "
            "Open it with the version of hpoviz that wrote it, or a newer one."
        )
    missing = [name for name in RECORD_KEYS if name not in record]
    if missing:
        raise StoreError(f"{str(path)!r} lacks {', '.join(missing)}: it was changed. Restore it from a copy.")
    return dict(record)


def _try_lock(file: TextIO, *, shared: bool = False) -> bool:
    """Lock an open file until it is closed; False if another has it."""
    try:
        if sys.platform == "win32":
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file.fileno(), (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _holder(lock: TextIO) -> str:
    lock.seek(0)
    return lock.read().strip() or "another process"


def _drop_torn_line(path: Path) -> int:
    """Cut off what a kill left of a last line, so that the next event begins a line of its own; return the size."""
    if not path.is_file():
        return 0
    with path.open("rb+") as file:
        size = file.read().rfind(b"\n") + 1
        file.truncate(size)
    return size


def to_yaml(record: Mapping[str, Any]) -> bytes:
    """Return a record as YAML in its own order."""
    return yaml.safe_dump(dict(record), sort_keys=False, allow_unicode=True).encode()


def _log_line(event: Event) -> str:
    record = json.loads(event.to_json())
    for key in ("event", "version", "run", "time", "trial", "attempt", "sequence"):
        record.pop(key, None)
    details = record.pop("details", None)
    record.pop("suggested", None)
    where = f" trial id {event.trial}" if isinstance(event, TrialEvent) else ""
    what = ", ".join(f"{key}={value}" for key, value in record.items() if value is not None)
    line = f"{event.time}{where} {type(event).__name__}: {what}"
    return f"{line}\n{details}" if details else line
