"""What travels between here and a RunPod worker: JSON in both directions, and files in parts with their hashes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hpoviz.backends.stored_files import JobFiles, StoredFiles
from hpoviz.backends.worker_storage import load_stored
from hpoviz.data.data_recipe import DataRecipe, KnownData
from hpoviz.data.data_split import ARRAYS, DataSplit
from hpoviz.data.info import DataInfo
from hpoviz.errors import BackendProtocol, ConfigError
from hpoviz.store.run_store import write_atomically
from hpoviz.trial_spec import TrialSpec

__all__ = [
    "FILES",
    "MOST_BYTES",
    "Inbox",
    "job_input",
    "pack_data",
    "parts_of",
    "read_job",
    "sizes_of",
    "unpack_data",
]

VERSION = 1
MOST_INLINE = 4_000_000  # bytes of packed data in a job; the service takes 10 MB
PART = 384_000  # bytes of a file in one message, 512 kB in base64
FILES = ("model.keras", "history.csv", "health.json", "arrays.npz")
MOST_BYTES = 10_000_000  # of all files of a trial: all of it is in the job's result again, which may have 20 MB


def pack_data(make: Callable[[], DataSplit], stored: StoredFiles | None = None) -> dict[str, Any]:
    """Return data as JSON: compressed arrays in base64, with their hash; larger ones of a known name by that name.

    Parameters
    ----------
    make : callable
    stored : StoredFiles, optional
        Takes what is too large for both.

    Raises
    ------
    ConfigError
        They are too large to travel in a job, no data set that a worker can load by name, and there is no storage.
    """
    data = make()
    arrays: dict[str, Any] = {name: np.asarray(getattr(data, name)) for name in ARRAYS}
    large = sum(array.nbytes for array in arrays.values()) > MOST_INLINE
    if large and isinstance(make, KnownData) and (recipe := make.recipe()).is_right():
        return {"recipe": recipe.to_dict()}
    content = tempfile.TemporaryFile(dir=None if stored is None else stored.folder)  # noqa: SIM115  # it may be kept
    np.savez_compressed(content, **arrays)
    size = content.tell()
    if size > MOST_INLINE and stored is not None:
        return {**stored.take_data(content), "info": data.info.to_dict()}
    content.seek(0)
    packed = content.read(MOST_INLINE)
    content.close()
    if size > MOST_INLINE:
        raise ConfigError(
            f"These data take {size / 1e6:.1f} MB, packed; {MOST_INLINE / 1e6:.0f} MB can be sent with a trial. "
            "Search a data set that has a name (hpoviz.datasets()), on a part of yours, or here: backend='local'. "
            "To have them uploaded to a storage of yours: RunPodBackend(…, storage='s3://bucket/prefix')."
        )
    return {
        "npz": base64.b64encode(packed).decode("ascii"),
        "sha256": hashlib.sha256(packed).hexdigest(),
        "info": data.info.to_dict(),
    }


def unpack_data(record: Mapping[str, Any]) -> DataSplit:
    """Return what `pack_data` packed; BackendProtocol for anything else."""
    try:
        if "recipe" in record:
            return DataRecipe.from_dict(record["recipe"]).make()
        if "stored" in record:
            return load_stored(record)
        packed = base64.b64decode(record["npz"], validate=True)
        if hashlib.sha256(packed).hexdigest() != record["sha256"]:
            raise ValueError("their hash is another one")
        with np.load(io.BytesIO(packed), allow_pickle=False) as file:
            arrays = {name: file[name] for name in ARRAYS}
        return DataSplit(**arrays, info=DataInfo.from_dict(record["info"]))
    except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise BackendProtocol(f"The data of a trial cannot be read: {type(error).__name__}: {error}.") from error


def job_input(spec: TrialSpec, data: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return the input of a job."""
    return {"version": VERSION, "hpoviz": version, "spec": json.loads(spec.to_json()), "data": dict(data)}


def read_job(content: Any, version: str) -> tuple[TrialSpec, Mapping[str, Any]]:
    """Return the spec and the packed data of a job's input.

    Raises
    ------
    BackendProtocol
        It is no input of ours, or of another version of hpoviz.
    """
    if not isinstance(content, Mapping) or content.get("version") != VERSION:
        raise BackendProtocol(f"This worker runs trials of hpoviz {version}. Got another kind of job.")
    theirs = str(content.get("hpoviz"))
    if theirs.split(".")[:2] != version.split(".")[:2]:
        raise BackendProtocol(
            f"The worker has hpoviz {version}, and the job is of hpoviz {theirs}. Build the worker's image with your "
            "version."
        )
    data = content.get("data")
    if not isinstance(data, Mapping):
        raise BackendProtocol("The job has no data.")
    return TrialSpec.from_json(json.dumps(content.get("spec"))), data


def sizes_of(folder: Path) -> dict[str, int]:
    """Return the bytes of each of a trial's files."""
    return {name: (folder / name).stat().st_size for name in FILES if (folder / name).is_file()}


def parts_of(folder: Path, names: Iterable[str] = FILES) -> Iterator[dict[str, Any]]:
    """Yield files of a trial's folder in parts."""
    for name in names:
        path = folder / name
        if not path.is_file():
            continue
        content = path.read_bytes()
        digest, count = hashlib.sha256(content).hexdigest(), max(1, -(-len(content) // PART))
        for at in range(count):
            part = base64.b64encode(content[at * PART : (at + 1) * PART]).decode("ascii")
            yield {"file": name, "part": at, "parts": count, "size": len(content), "sha256": digest, "content": part}


class Inbox:
    """Puts files together that come in parts, in whatever order, and writes those that are whole.

    Parameters
    ----------
    folder : Path
        Existing.
    files : JobFiles, optional
        Fetches what comes by way of a storage.

    Attributes
    ----------
    written : dict of str to str
        By name the hash of what was written.
    """

    def __init__(self, folder: Path, files: JobFiles | None = None) -> None:
        self._folder, self._files = folder, files
        self._parts: dict[str, dict[int, bytes]] = {}
        self._whole: dict[str, tuple[Any, ...]] = {}  # by name: parts, size and hash, which stay the same
        self.written: dict[str, str] = {}

    def clear(self) -> None:
        """Delete the files of an earlier attempt."""
        for name in FILES:
            (self._folder / name).unlink(missing_ok=True)

    def take(self, message: Mapping[str, Any]) -> None:
        """Take a part, or a file that is in the storage.

        Raises
        ------
        BackendProtocol
            It is none, or the file that it completes is not what was sent.
        """
        if "stored" in message and message.get("file") in FILES and self._files is not None:
            name = message["file"]
            self.written[name] = self._files.fetch(message, self._folder / name)
            return
        try:
            name, at, count = message["file"], message["part"], message["parts"]
            if name not in FILES or type(at) is not int or type(count) is not int or not 0 <= at < count:
                raise ValueError("it names no file of a trial")
            if count > MOST_BYTES // PART + 1:
                raise ValueError("it is too large")
            whole = (count, message["size"], message["sha256"])
            if self._whole.setdefault(name, whole) != whole:
                raise ValueError("it is of another file")
            content = base64.b64decode(message["content"], validate=True)
            if len(content) > PART:
                raise ValueError("it is too large")
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise BackendProtocol(f"A part of a file cannot be read: {error}.") from error
        parts = self._parts.setdefault(name, {})
        parts[at] = content
        if len(parts) < count:
            return
        file = b"".join(parts[one] for one in range(count))
        del self._parts[name]
        digest = hashlib.sha256(file).hexdigest()
        if (len(file), digest) != whole[1:]:
            raise BackendProtocol(f"{name} has come damaged: its hash is not that which was sent.")
        write_atomically(self._folder / name, file)
        self.written[name] = digest

    @property
    def missing(self) -> list[str]:
        """The files of which some parts have not come."""
        return sorted(self._parts)
