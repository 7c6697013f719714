"""StoredFiles: data and models that go by way of a storage, uploaded, fetched, and deleted on this side.

Keys are ``prefix/data/<sha256>.npz``, and ``prefix/results/<run>-<token>/<trial>-<attempt>/<name>``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from hpoviz.backends.backend import RunContext
from hpoviz.backends.remote_storage import ByteCounter, RemoteStorage, TransferStopped, digest_of
from hpoviz.errors import BackendProtocol, BackendUnavailable, StoreError
from hpoviz.store.run_store import write_atomically
from hpoviz.trial_spec import TrialSpec

__all__ = ["JobFiles", "StoredFiles", "open_stored"]

RECORD = "runpod_storage.json"
DATA_NAME = re.compile(r"[0-9a-f]{64}\.npz")
TOKEN = re.compile(r"[A-Za-z0-9_.-]{1,120}-[0-9a-f]{16}")
LOOK_S = 0.2
MOST_STORED = 5_000_000_000  # bytes of a file of a model


class StoredFiles:
    """What an open backend has in the storage: it is on record in the run's folder until it is deleted.

    May be used from the threads of all jobs. ``_lock`` guards the record; ``_transfer`` is held while data go up.

    Parameters
    ----------
    storage : RemoteStorage
    folder : Path
        The run's.
    run : str
    keep_data : bool
        Whether data stay in the storage at the end.
    log : callable
        Takes lines of text.

    Raises
    ------
    BackendUnavailable
        The storage cannot be used.
    StoreError
        The record of an earlier process cannot be read or written.
    """

    def __init__(
        self, storage: RemoteStorage, folder: Path, run: str, *, keep_data: bool, log: Callable[[str], None]
    ) -> None:
        storage.check()
        self.folder = folder
        self._storage, self._keep, self._log = storage, keep_data, log
        self._files: dict[str, IO[bytes]] = {}  # packed data, by key
        self._sizes: dict[str, int] = {}
        self._lock, self._transfer = threading.Lock(), threading.Lock()
        self._ours: set[str] = set()  # keys of data that we have uploaded, or an earlier process of this run
        self._tokens: set[str] = set()  # folders of results, also those of earlier processes
        self._others: list[dict[str, Any]] = []  # records of other storages
        self._read_record()
        self._token = f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', run)[:100]}-{secrets.token_hex(8)}"
        self._tokens.add(self._token)
        self._write_record()

    def take_data(self, file: IO[bytes]) -> dict[str, Any]:
        """Take packed data, in an open file, and return how a worker finds them once they are uploaded."""
        file.seek(0)
        digest = digest_of(file)
        key, size = self._storage.key("data", f"{digest}.npz"), file.tell()
        self._files[key], self._sizes[key] = file, size
        return {"stored": key, "size": size, "sha256": digest, "storage": self._storage.to_dict()}

    def drop_left(self) -> None:
        """Delete what an earlier process of this run has left, but for the data that are to be used now."""
        wanted = set() if self._keep else self._ours - set(self._files)
        self._delete(wanted, self._tokens - {self._token})
        if self._keep:
            with self._lock:
                self._ours.clear()
                self._write_record()

    def ready(self, record: Mapping[str, Any], say: Callable[[str], None], stopped: Callable[[], bool]) -> None:
        """See that the data of a job are in the storage, and upload them if not; one job does, the others wait.

        Parameters
        ----------
        record : mapping
            The data of a job's input; those that are in it are passed over.
        say : callable
            Takes what is being done, for people.
        stopped : callable
            Whether the job is cancelled.

        Raises
        ------
        BackendUnavailable
            They cannot be uploaded.
        TransferStopped
            The job was cancelled.
        """
        key = record.get("stored")
        if key is None:
            return
        while not self._transfer.acquire(timeout=LOOK_S):
            if stopped():
                raise TransferStopped
        try:
            if self._storage.size(key) != self._sizes[key]:
                self._upload(key, say, stopped)
        finally:
            self._transfer.release()

    def for_job(self, spec: TrialSpec, data: Mapping[str, Any]) -> JobFiles:
        """Return what the job of a trial, with these data, has to do with the storage."""
        prefix = self._storage.key("results", self._token, f"{spec.trial}-{spec.attempt}")
        return JobFiles(self, {"storage": self._storage.to_dict(), "prefix": prefix}, data)

    def fetch(self, place: Mapping[str, Any], message: Mapping[str, Any], path: Path) -> str:
        """Download a file that a worker has put into its place, delete it there, and return its hash.

        Raises
        ------
        BackendProtocol
            The message names something else, or the file is not what it says or cannot be had.
        """
        key, size, digest = (message.get(name) for name in ("stored", "size", "sha256"))
        if key != f"{place['prefix']}/{path.name}":
            raise BackendProtocol(f"The worker names {key!r}, which is not the place of this trial's {path.name}.")
        if type(size) is not int or not 0 < size <= MOST_STORED or not isinstance(digest, str):
            raise BackendProtocol(f"The worker tells of {path.name} without its size and its hash.")
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            self._storage.download(key, temporary, size, digest)
        except BackendUnavailable as error:
            raise BackendProtocol(str(error)) from None
        temporary.replace(path)
        try:
            self._storage.delete(key)
        except BackendUnavailable as error:  # it is tried again at the end
            self._log(str(error))
        return digest

    def close(self) -> None:
        """Delete what is ours in the storage, and say what cannot be deleted; it stays on record."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        try:
            self._delete(set(self._ours), set(self._tokens))
        except StoreError as error:  # all was deleted, and the next time it is deleted again
            self._log(str(error))

    def _upload(self, key: str, say: Callable[[str], None], stopped: Callable[[], bool]) -> None:
        total, where = self._sizes[key] / 1e6, self._storage.named(key)
        end = "they stay there" if self._keep else "they are deleted at the end"
        self._log(f"uploading {total:.1f} MB of data to {where}; {end}")
        if not self._keep:
            with self._lock:
                self._ours.add(key)
                self._write_record()  # before the first byte is there
        say(f"uploading {total:.1f} MB of data")
        counter = ByteCounter(stopped, lambda done: say(f"uploading data: {done / 1e6:.1f} of {total:.1f} MB"))
        began = time.monotonic()
        self._storage.upload(self._files[key], key, counter)
        self._log(f"uploaded {total:.1f} MB in {time.monotonic() - began:.1f} s")

    def _delete(self, keys: set[str], tokens: set[str]) -> None:
        """Delete data and folders of results, and take them off the record; what fails is said."""
        for key in sorted(keys):
            with self._said():
                self._storage.delete(key)
                with contextlib.suppress(BackendUnavailable):  # not every storage can tell of them
                    self._storage.end_uploads(key)
                with self._lock:
                    self._ours.discard(key)
        for token in sorted(tokens):
            with self._said():
                self._storage.delete_all(self._storage.key("results", token, ""))
                with self._lock:
                    self._tokens.discard(token)
        with self._lock:
            self._write_record()

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except BackendUnavailable as error:
            text = f"{error} The next time that this run is opened with this storage, it is tried again."
            self._log(text)
            print(text, flush=True)

    def _read_record(self) -> None:
        for record in _records_of(self.folder):
            if RemoteStorage.from_dict(record) != self._storage:
                self._others.append(record)
                _say_left(record, self._log)
                continue
            names = [str(key).rsplit("/", 1)[-1] for key in record["data"]]  # nothing else is ever deleted
            self._ours = {self._storage.key("data", name) for name in names if DATA_NAME.fullmatch(name)}
            self._tokens = {str(token) for token in record["results"] if TOKEN.fullmatch(str(token))}

    def _write_record(self) -> None:
        path, records = self.folder / RECORD, list(self._others)
        if self._ours or self._tokens:
            mine = {"data": sorted(self._ours), "results": sorted(self._tokens)}
            records.append({**self._storage.to_dict(), **mine})
        try:
            if records:
                write_atomically(path, json.dumps(records).encode())
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"{str(path)!r}, which names what is in the storage, cannot be written: {error}."
            ) from error


def open_stored(storage: RemoteStorage | None, context: RunContext, *, keep_data: bool) -> StoredFiles | None:
    """Return what keeps track of a run's storage, if there is one; errors as those of `StoredFiles`.

    What an earlier process has left in a storage that is not named now is said.
    """
    if storage is not None:
        return StoredFiles(storage, context.folder, context.run, keep_data=keep_data, log=context.log)
    for record in _records_of(context.folder):
        _say_left(record, context.log)
    return None


@dataclasses.dataclass(frozen=True)
class JobFiles:
    """What one job has to do with the storage.

    Attributes
    ----------
    stored : StoredFiles
    place : mapping
        Where its worker puts files that cannot be sent; a part of the job's input.
    data : mapping
        The data of the job's input.
    """

    stored: StoredFiles
    place: Mapping[str, Any]
    data: Mapping[str, Any]

    def ready(self, say: Callable[[str], None], stopped: Callable[[], bool]) -> None:
        """See that its data are in the storage; see `StoredFiles.ready`."""
        self.stored.ready(self.data, say, stopped)

    def fetch(self, message: Mapping[str, Any], path: Path) -> str:
        """Fetch a file of its worker; see `StoredFiles.fetch`."""
        return self.stored.fetch(self.place, message, path)


def _say_left(record: Mapping[str, Any], log: Callable[[str], None]) -> None:
    text = (
        f"An earlier process of this run has left objects at {record['address']}. Open the run with "
        f"RunPodBackend(…, storage={record['address']!r}, storage_url={record['url']!r}) to have them deleted."
    )
    log(text)
    print(text, flush=True)


def _records_of(folder: Path) -> list[dict[str, Any]]:
    """Return what is on record, of each storage."""
    path = folder / RECORD
    try:
        records = json.loads(path.read_text("utf-8"))
        for record in records:
            RemoteStorage.from_dict(record)
            if not isinstance(record["data"], list) or not isinstance(record["results"], list):
                raise TypeError("no lists")
        return list(records)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{str(path)!r} cannot be read ({error}): there may be objects of this run in your storage. Look at it, "
            "then delete the file."
        ) from error
