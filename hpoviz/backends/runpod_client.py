"""RunPodClient: the few calls of RunPod's service that trials need, by its own SDK, each with one clear outcome."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hpoviz.errors import BackendError, BackendUnavailable, ConfigError

__all__ = [
    "ENDED",
    "ENDPOINT_VARIABLE",
    "KEY_VARIABLE",
    "LOOPBACK",
    "JobLost",
    "JobView",
    "RunPodClient",
    "check_address",
    "find_key",
    "source_of_key",
]

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")  # anything else, unknown words too, is a job that runs
ENDPOINT_VARIABLE = "RUNPOD_ENDPOINT_ID"
KEY_VARIABLE, KEY_FILE = "RUNPOD_API_KEY", "~/.runpod/config.toml"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
TRIES, FIRST_PAUSE_S = 6, 0.5  # of a submission that the service puts off (429)
SLOW_DOWN = 429
MOST_CONNECTIONS = 64


class JobLost(BackendError):
    """The service does not know a job (any more)."""


@dataclasses.dataclass(frozen=True)
class JobView:
    """What the service says of a job: its state in RunPod's words, and what has come since it was last asked."""

    status: str
    stream: list[Any]
    output: Any = None
    error: str | None = None
    worker: str | None = None
    execution_s: float | None = None


def find_key(given: str | None) -> str:
    """Return the API key: the one that was given, else of the environment, else of RunPod's own configuration file.

    Raises
    ------
    ConfigError
        There is none.
    """
    key = given or os.environ.get(KEY_VARIABLE) or _key_of_file(Path(KEY_FILE).expanduser())
    if not isinstance(key, str) or not key.strip():
        raise ConfigError(
            f"RunPod wants an API key. Pass RunPodBackend(…, api_key=…), set {KEY_VARIABLE}, or run: runpod config. "
            "Keys are made at https://console.runpod.io/user/settings."
        )
    return key.strip()


def source_of_key(given: str | None) -> str:
    """Say where `find_key` finds the key."""
    if given:
        return "api_key="
    return KEY_VARIABLE if os.environ.get(KEY_VARIABLE) else KEY_FILE


def _key_of_file(path: Path) -> str | None:
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {type(error).__name__}. Mend it, or pass api_key=.") from None
    profiles = [content, *(value for value in content.values() if isinstance(value, dict))]
    return next((str(one["api_key"]) for one in profiles if one.get("api_key")), None)


class RunPodClient:
    """Talks to one serverless endpoint. May be used from many threads.

    Parameters
    ----------
    endpoint_id : str
    key : str
        Never shown: not in ``repr``, not in an error, not in a log.
    base_url : str, optional
        Of the service; https, or this machine.

    Raises
    ------
    ConfigError
        An address that is neither.
    BackendUnavailable
        The package ``runpod`` is not installed.
    """

    def __init__(self, endpoint_id: str, key: str, base_url: str | None = None) -> None:
        if base_url is not None:
            check_address(base_url)
        self.endpoint_id = endpoint_id
        sdk = _sdk()
        self._endpoint = sdk.Endpoint(endpoint_id, api_key=key)
        self._http = self._endpoint.rp_client
        if base_url is not None:
            self._http.endpoint_url_base = base_url.rstrip("/")
        check_address(self._http.endpoint_url_base)  # the SDK takes one from the environment too
        session = self._http.rp_session
        if urlsplit(self._http.endpoint_url_base).hostname in LOOPBACK:
            session.trust_env = False  # there is no proxy between this machine and itself
        _retry_reading(session)

    def __repr__(self) -> str:
        return f"RunPodClient({self.endpoint_id!r})"

    @property
    def is_runpod(self) -> bool:
        """Whether the service is RunPod's own."""
        return bool(urlsplit(self._http.endpoint_url_base).hostname == "api.runpod.ai")

    @property
    def key(self) -> str:
        """The API key, for RunPod's other services; it must not be shown."""
        return str(self._http.api_key)

    def submit(self, content: Mapping[str, Any], policy: Mapping[str, int]) -> str:
        """Submit a job and return its id.

        A submission that the service puts off is tried again for some seconds. One whose answer did not come may have
        been taken: it is sent once more, and what the other job says is heard by nobody, as its id is not known.

        Raises
        ------
        BackendUnavailable
            It cannot be submitted.
        """
        pause, unanswered, attempt = FIRST_PAUSE_S, 0, 0
        while True:
            try:
                return str(self._endpoint.run({"input": dict(content), "policy": dict(policy)}).job_id)
            except Exception as error:
                code, problem = _status_code(error), self._unavailable("submit a trial", error)
            attempt, unanswered = attempt + 1, unanswered + (code is None or code >= 500)
            if (code is not None and code < 500 and code != SLOW_DOWN) or unanswered > 1 or attempt == TRIES:
                raise problem  # outside of the handler: what it handled holds the key
            time.sleep(pause)
            pause *= 2

    def poll(self, job: str) -> JobView:
        """Ask what a job has said since it was last asked.

        Raises
        ------
        JobLost
            There is no such job.
        BackendUnavailable
            The service does not answer.
        """
        return self._view(job, "stream")

    def status(self, job: str) -> JobView:
        """Ask for the state of a job, and its result if it has ended; errors as `poll`."""
        return self._view(job, "status")

    def cancel(self, job: str) -> bool:
        """Ask for a job to be cancelled; return whether the service has confirmed that it runs no more."""
        try:
            answer = self._http.post(f"{self.endpoint_id}/cancel/{job}", data=None, timeout=5)
        except Exception as error:
            return _status_code(error) == 404
        return isinstance(answer, dict) and answer.get("status") in ENDED

    def health(self) -> dict[str, Any]:
        """Return what the service says of the endpoint: its workers and its jobs.

        Raises
        ------
        BackendUnavailable
            The key is wrong, there is no such endpoint, or the service does not answer.
        """
        answer = self._asked(f"{self.endpoint_id}/health", "ask for its health")
        return answer if isinstance(answer, dict) else {}

    def _view(self, job: str, what: str) -> JobView:
        answer = self._asked(f"{self.endpoint_id}/{what}/{job}", "hear of a trial", job)
        if not isinstance(answer, dict):
            raise BackendUnavailable(f"RunPod's answer about job {job} is no object: {str(answer)[:200]!r}.")
        stream = answer.get("stream")
        chunks = [one.get("output") for one in stream if isinstance(one, dict)] if isinstance(stream, list) else []
        milliseconds, error_text = answer.get("executionTime"), answer.get("error")
        return JobView(
            status=str(answer.get("status")),
            stream=chunks,
            output=answer.get("output"),
            error=None if error_text is None else str(error_text),
            worker=answer.get("workerId"),
            execution_s=milliseconds / 1000 if isinstance(milliseconds, int | float) else None,
        )

    def _asked(self, path: str, what: str, job: str | None = None) -> Any:
        """Ask the service; errors are raised outside of the handlers, as what those handle holds the key."""
        problem: BackendError
        try:
            return self._http.get(path, timeout=10)
        except Exception as error:
            problem = self._unavailable(what, error)
            if job is not None and _status_code(error) == 404:
                problem = JobLost(f"RunPod does not know job {job} (any more): results are kept for half an hour.")
        raise problem

    def _unavailable(self, what: str, error: Exception) -> BackendUnavailable:
        """Say what went wrong, without anything of the request: its headers hold the key."""
        code = _status_code(error)
        if code == 401:
            return BackendUnavailable(
                f"RunPod refuses the API key (401). Check {KEY_VARIABLE} or api_key=: it must be a key of the account "
                f"that owns endpoint {self.endpoint_id!r}."
            )
        if code == 404:
            return BackendUnavailable(
                f"RunPod knows no endpoint {self.endpoint_id!r} of this account (404). Its id is on its page."
            )
        reason = f"HTTP {code}" if code is not None else type(error).__name__
        return BackendUnavailable(
            f"RunPod could not be reached to {what} ({reason}). Try again, or use backend='local'."
        )


def check_address(address: str, name: str = "base_url") -> None:
    """Raise ConfigError for an address to which a key must not be sent: https and this machine are fine."""
    parts = urlsplit(address)
    local = parts.scheme == "http" and parts.hostname in LOOPBACK
    if not (local or (parts.scheme == "https" and parts.hostname)):
        raise ConfigError(f"{name} must begin with https:// (or be this machine's). Got {address!r}.")


def _status_code(error: Exception) -> int | None:
    """Return the HTTP status of an error of requests; None where there was no answer."""
    if type(error) is RuntimeError:  # what the SDK makes of 401
        return 401
    return getattr(getattr(error, "response", None), "status_code", None)


def _sdk() -> Any:
    """Import RunPod's SDK, which sets the root logger up for itself: that is undone."""
    loggers = [logging.getLogger(name) for name in (None, "urllib3", "paramiko", "uvicorn")]
    handlers, levels = list(loggers[0].handlers), [logger.level for logger in loggers]
    try:
        import runpod
    except ImportError as error:
        raise BackendUnavailable(
            f'The package runpod cannot be imported ({error}). Install it: pip install "hpoviz[runpod]".'
        ) from error
    except KeyError as error:  # what it does with a configuration file without a key
        raise ConfigError(
            f"The package runpod cannot read {KEY_FILE}: it has no {error}. Mend it: runpod config."
        ) from error
    finally:
        loggers[0].handlers[:] = handlers
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    return runpod


def _retry_reading(session: Any) -> None:
    """Have questions asked again where the service is busy or away for a moment; nothing is submitted twice by it."""
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry

    again = Retry(
        total=4, connect=1, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=("GET",),
        respect_retry_after_header=False,
    )  # fmt: skip
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=MOST_CONNECTIONS, max_retries=again))
