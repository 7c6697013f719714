"""The worker's side of what goes by way of a storage: data are downloaded once, and large files of models uploaded."""

from __future__ import annotations

import functools
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hpoviz.backends.remote_storage import ByteCounter, RemoteStorage, digest_of
from hpoviz.data.data_split import ARRAYS, DataSplit
from hpoviz.errors import BackendError, BackendProtocol, BackendUnavailable

__all__ = ["load_stored", "store_files"]

KEPT = 2  # data sets on the disk
HASH = re.compile(r"[0-9a-f]{64}")


@functools.cache
def _cache() -> Path:
    """Return the folder of this process for data, which ends with it."""
    folder = tempfile.TemporaryDirectory(prefix="hpoviz-data-")
    _folders.append(folder)
    return Path(folder.name)


_folders: list[tempfile.TemporaryDirectory[str]] = []  # which are deleted when the process ends


def load_stored(record: Mapping[str, Any]) -> DataSplit:
    """Return the data that `StoredFiles` has uploaded. They are downloaded once, and the arrays are read from disk.

    Raises
    ------
    BackendUnavailable, BackendProtocol
        They cannot be read, or are not what was uploaded.
    """
    storage, digest = RemoteStorage.from_dict(record["storage"]), str(record["sha256"])
    if not HASH.fullmatch(digest) or record["stored"] != storage.key("data", f"{digest}.npz"):
        raise BackendProtocol(f"The job's data have no key of ours: {record['stored']!r}.")
    folder = _cache() / digest
    try:
        if folder.exists():
            folder.touch()
        else:
            _unpack(storage, record, folder)
        for old in sorted(_cache().iterdir(), key=lambda one: one.stat().st_mtime_ns)[:-KEPT]:
            shutil.rmtree(old)
        (folder / "info.json").write_text(json.dumps(record["info"]), encoding="utf-8")
        return DataSplit.load(folder)
    except (BackendError, OSError) as error:
        raise BackendUnavailable(
            f"The worker could not load the data of this trial, as its endpoint is set up. {error}"
        ) from error


def _unpack(storage: RemoteStorage, record: Mapping[str, Any], folder: Path) -> None:
    """Download packed arrays and write each as a file of its own; there is no half of such a folder."""
    building = Path(tempfile.mkdtemp(dir=_cache()))
    try:
        storage.download(record["stored"], building / "data.npz", record["size"], record["sha256"])
        with zipfile.ZipFile(building / "data.npz") as packed:
            for name in ARRAYS:
                with packed.open(f"{name}.npy") as source, (building / f"{name}.npy").open("wb") as target:
                    shutil.copyfileobj(source, target)
        (building / "data.npz").unlink()
        building.rename(folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def store_files(
    folder: Path, sizes: Mapping[str, int], most: int, place: Mapping[str, Any], stopped: Callable[[], bool]
) -> Iterator[dict[str, Any]]:
    """Put the largest files of a trial into its place in the storage, until the others take no more than `most` bytes.

    Yields
    ------
    dict
        What `StoredFiles.fetch` takes.

    Raises
    ------
    BackendUnavailable
        A file cannot be uploaded.
    TransferStopped
        The trial is not wanted any more.
    """
    storage, left = RemoteStorage.from_dict(place["storage"]), sum(sizes.values())
    for name, size in sorted(sizes.items(), key=lambda one: -one[1]):
        if left <= most:
            return
        key = f"{place['prefix']}/{name}"
        with (folder / name).open("rb") as file:
            digest = digest_of(file)
            storage.upload(file, key, ByteCounter(stopped))
        yield {"file": name, "stored": key, "size": size, "sha256": digest}
        left -= size
