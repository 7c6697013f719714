"""RemoteStorage: a place in an S3 storage for what is too large to travel with a job, by boto3."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from hpoviz.backends.runpod_client import LOOPBACK, check_address
from hpoviz.errors import BackendProtocol, BackendUnavailable, ConfigError

__all__ = ["ByteCounter", "RemoteStorage", "TransferStopped", "digest_of", "storage_problems"]

ADDRESS = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?P<prefix>(/[A-Za-z0-9_.=-]+)*)/?")
CONNECT_S, READ_S, TRIES = 5, 60, 3
READ_BYTES = 1 << 20
SAY_S = 1.0  # between two words on a transfer
REFUSED = ("401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
MISSING = ("404", "NoSuchKey")
OF_STORAGE = ("boto3", "botocore", "s3transfer", "urllib3")  # whose errors say that the storage is of no use
NEWER = ("request_checksum_calculation", "response_checksum_validation")  # settings of newer versions of botocore


class TransferStopped(Exception):
    """Raised by who counts the bytes of a transfer, to end it."""


@dataclasses.dataclass(frozen=True)
class RemoteStorage:
    """A bucket, and a prefix that all keys of ours begin with. May be used from many threads.

    Credentials are those that boto3 finds for itself, in the environment or in its own files: none is an attribute.

    Attributes
    ----------
    address : str
        ``s3://bucket/prefix``.
    url : str or None
        Of a storage that is not Amazon's: https, or this machine.

    Raises
    ------
    ConfigError
        An address that is none.

    Examples
    --------
    >>> storage = RemoteStorage("s3://bucket/of/mine")
    >>> storage.key("data", "x.npz"), storage.named("of/mine/x")
    ('of/mine/data/x.npz', 's3://bucket/of/mine/x')
    """

    address: str
    url: str | None = None
    _made: dict[str, Any] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        match = ADDRESS.fullmatch(self.address) if isinstance(self.address, str) else None
        if match is None or ".." in self.address:
            raise ConfigError(f"storage must be s3://bucket or s3://bucket/prefix. Got {self.address!r}.")
        if self.url is not None:
            check_address(self.url, "storage_url")
            if "@" in self.url:
                raise ConfigError("storage_url must hold no name and no password: boto3 finds the credentials.")

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> RemoteStorage:
        """Read what `to_dict` wrote; KeyError, TypeError or ConfigError for anything else."""
        return cls(record["address"], record["url"])

    def to_dict(self) -> dict[str, Any]:
        """Return where it is, as JSON values."""
        return {"address": self.address, "url": self.url}

    def key(self, *parts: str) -> str:
        """Return a key under the prefix."""
        return "/".join([*([self._prefix] if self._prefix else []), *parts])

    def named(self, key: str) -> str:
        """Return the address of an object, for people."""
        return f"s3://{self._bucket}/{key}"

    def check(self) -> None:
        """See that it is there and that we may read it.

        Raises
        ------
        BackendUnavailable
            It does not answer, there is no such bucket, or there are no credentials for it.
        """
        self._ask("reach", self.address, "list_objects_v2", Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)

    def size(self, key: str) -> int | None:
        """Return the size of an object in bytes; None if there is none. BackendUnavailable if it cannot be asked."""
        found = self._ask("look for", self.named(key), "head_object", Bucket=self._bucket, Key=key, missing_ok=True)
        return None if found is None else int(found["ContentLength"])

    def upload(self, file: IO[bytes], key: str, on_bytes: Callable[[int], None]) -> None:
        """Upload an open file from its beginning, a large one in parts, and leave it open.

        Parameters
        ----------
        on_bytes : callable
            Gets the bytes of every step, from several threads; a `TransferStopped` from it ends the transfer.

        Raises
        ------
        BackendUnavailable
            It cannot be uploaded.
        """
        file.seek(0)
        self._ask(
            "write", self.named(key), "upload_fileobj",
            Fileobj=_KeptOpen(file), Bucket=self._bucket, Key=key, Callback=on_bytes,
        )  # fmt: skip

    def download(self, key: str, path: Path, size: int, sha256: str) -> None:
        """Download an object, and see that it is what it has to be.

        Raises
        ------
        BackendUnavailable
            It cannot be read.
        BackendProtocol
            It is not there, or its size or its hash is another one; there is no file then.
        """
        there = self.size(key)
        if there is None:
            raise BackendProtocol(f"There is no {self.named(key)} (any more).")
        if there != size:
            raise BackendProtocol(f"{self.named(key)} has {there:,} bytes instead of {size:,}. Delete it.")
        try:
            self._ask(
                "read", self.named(key), "download_file",
                Bucket=self._bucket, Key=key, Filename=str(path),
            )  # fmt: skip
            with path.open("rb") as file:
                digest = digest_of(file)
            if digest != sha256:
                raise BackendProtocol(f"{self.named(key)} is damaged: its hash is another one. Delete it.")
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def delete(self, key: str) -> None:
        """Delete an object, if it is there; BackendUnavailable if it cannot be deleted."""
        self._ask("delete", self.named(key), "delete_object", Bucket=self._bucket, Key=key)

    def delete_all(self, prefix: str) -> None:
        """Delete all objects whose keys begin with `prefix`; BackendUnavailable if they cannot be deleted."""
        where, more = self.named(prefix), True
        while more:
            found = self._ask("list", where, "list_objects_v2", Bucket=self._bucket, Prefix=prefix)
            for one in found.get("Contents", ()):
                self.delete(one["Key"])
            more = bool(found.get("IsTruncated"))

    def end_uploads(self, prefix: str) -> None:
        """End uploads in parts that a process which was killed has left; BackendUnavailable if that fails."""
        found = self._ask("list", self.named(prefix), "list_multipart_uploads", Bucket=self._bucket, Prefix=prefix)
        for one in found.get("Uploads", ()):
            self._ask(
                "end the upload of", self.named(one["Key"]), "abort_multipart_upload",
                Bucket=self._bucket, Key=one["Key"], UploadId=one["UploadId"],
            )  # fmt: skip

    @property
    def _bucket(self) -> str:
        return urlsplit(self.address).netloc

    @property
    def _prefix(self) -> str:
        return urlsplit(self.address).path.strip("/")

    def _ask(self, verb: str, what: str, call: str, *, missing_ok: bool = False, **arguments: Any) -> Any:
        """Call boto3; errors are raised outside of the handler, as what that handles may hold what was sent."""
        try:
            return getattr(self._client(), call)(**arguments)
        except (TransferStopped, BackendUnavailable):
            raise
        except Exception as error:
            if missing_ok and _code(error) in MISSING:
                return None
            if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in OF_STORAGE:
                raise
            problem = BackendUnavailable(f"It was not possible to {verb} {what}: {_why(error)}.")
        raise problem

    def _client(self) -> Any:
        if "client" not in self._made:  # two threads may both make one, which does no harm
            self._made["client"] = _client(self.url)
        return self._made["client"]


def storage_problems(storage: Any, url: Any, keep_data: Any) -> Iterator[str]:
    """Yield what is wrong with the settings of a storage."""
    if storage is None:
        if url is not None or keep_data:
            yield "storage_url and keep_data say something of storage=, which is missing: s3://bucket/prefix."
        return
    if not isinstance(keep_data, bool):
        yield f"keep_data must be True or False. Got {keep_data!r}."
    try:
        RemoteStorage(storage, url)
    except ConfigError as error:
        yield str(error)


class _KeptOpen:
    """A file that who uploads it cannot close."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell
        self.seekable = file.seekable

    def close(self) -> None:
        """Leave it open."""


class ByteCounter:
    """Counts the bytes of a transfer, says them now and then, and ends it when it is not wanted any more.

    Parameters
    ----------
    stopped : callable
        Asked at every step, from several threads.
    say : callable, optional
        Takes the number of bytes so far.
    """

    def __init__(self, stopped: Callable[[], bool], say: Callable[[int], None] | None = None) -> None:
        self._stopped, self._say = stopped, say
        self._done, self._said, self._lock = 0, time.monotonic(), threading.Lock()

    def __call__(self, count: int) -> None:
        if self._stopped():
            raise TransferStopped
        with self._lock:
            self._done += count
            done, quiet = self._done, time.monotonic() - self._said < SAY_S
            if not quiet:
                self._said = time.monotonic()
        if not quiet and self._say is not None:
            self._say(done)


def digest_of(file: IO[bytes]) -> str:
    """Return the SHA-256 of what an open file holds from here on."""
    digest = hashlib.sha256()
    while block := file.read(READ_BYTES):
        digest.update(block)
    return digest.hexdigest()


def _client(url: str | None) -> Any:
    try:
        import boto3.session
        from botocore.config import Config
    except ImportError as error:
        raise BackendUnavailable(
            f'The package boto3 cannot be imported ({error}). Install it: pip install "hpoviz[runpod]".'
        ) from error
    settings: dict[str, Any] = {
        "connect_timeout": CONNECT_S,
        "read_timeout": READ_S,
        "retries": {"total_max_attempts": TRIES, "mode": "standard"},
        "max_pool_connections": 20,
    }
    # Other storages do not know the checksums of newer versions. What is read is checked by its hash here.
    settings |= {name: "when_required" for name in NEWER if name in Config.OPTION_DEFAULTS}
    if urlsplit(url or "").hostname in LOOPBACK:
        settings["proxies"] = {}  # there is no proxy between this machine and itself
    # A session of our own: boto3's default one is not made for threads.
    return boto3.session.Session().client("s3", endpoint_url=url, config=Config(**settings))


def _code(error: Exception) -> str | None:
    """Return the code of the storage's answer; None where there was none."""
    answer = getattr(error, "response", None)
    return str(answer.get("Error", {}).get("Code")) if isinstance(answer, dict) else None


def _why(error: Exception) -> str:
    """Say what went wrong, without anything of the request."""
    code, kind = _code(error), type(error).__name__
    if kind in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"):
        return f"no credentials ({kind}). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
    if code in REFUSED:
        return f"the storage refuses the credentials ({code}). Look at the AWS_… variables and at what they may do"
    if code == "NoSuchBucket":
        return "there is no such bucket"
    if code is not None:
        return f"the storage answers {code}"
    if isinstance(error, OSError):
        return f"{kind}: {error}"
    return f"it does not answer ({kind})"
