"""RunPodRest: the calls of RunPod's REST API (v2) about the endpoints of an account, each with one clear outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from hpoviz.backends.runpod_client import KEY_VARIABLE, LOOPBACK, check_address
from hpoviz.errors import BackendError, BackendUnavailable, ConfigError, HpovizError

__all__ = ["REST_URL", "LostAnswer", "NoSuchEndpoint", "RunPodRest", "safe_id"]

REST_URL = "https://api.runpod.io/v2"  # v1 (rest.runpod.io) is retired
SERVERLESS = "/serverless"
TIMEOUT_S = 20
NOT_WHILE_BUSY = (400, 409, 422)  # what may become of deleting an endpoint that has workers
LONGEST_ERROR = 400
REFUSED = object()


class NoSuchEndpoint(BackendError):
    """The account has no such endpoint (any more)."""


class LostAnswer(BackendUnavailable):
    """The service may have done what it was asked for, and did not say so."""


class RunPodRest:
    """Talks to RunPod's REST API.

    Parameters
    ----------
    key : str
        Never shown: not in ``repr``, not in an error.
    base_url : str, optional
        Of the API; https, or this machine.
    secrets : iterable of str, optional
        More texts that are never shown, as the service may repeat what it was sent.

    Raises
    ------
    ConfigError
        An address that is neither.
    BackendUnavailable
        The package ``requests`` is not installed.
    """

    def __init__(self, key: str, base_url: str | None = None, secrets: Iterable[str] = ()) -> None:
        self.base_url = (base_url or REST_URL).rstrip("/")
        check_address(self.base_url)
        try:
            import requests
        except ImportError as error:
            raise BackendUnavailable(
                f'The package requests cannot be imported ({error}). Install it: pip install "hpoviz[runpod]".'
            ) from error
        self._hidden = [key, *(one for one in secrets if len(one) > 3)]
        self._session = requests.Session()
        self._session.headers.update({"Authorization": f"Bearer {key}", "Accept": "application/json"})
        if urlsplit(self.base_url).hostname in LOOPBACK:
            self._session.trust_env = False  # there is no proxy between this machine and itself
        self._retry_reading()

    def __repr__(self) -> str:
        return f"RunPodRest({self.base_url!r})"

    def endpoints(self) -> list[dict[str, Any]]:
        """Return all endpoints of the account.

        Raises
        ------
        BackendUnavailable
            The key is wrong, or the service does not answer.
        """
        answer = self._asked("GET", SERVERLESS, "list the endpoints")
        found = answer.get("endpoints") if isinstance(answer, dict) else None
        if not isinstance(found, list):
            raise BackendUnavailable(f"RunPod's list of endpoints is none: {self.shown(answer)}.")
        return [one for one in found if isinstance(one, dict) and safe_id(one.get("id"))]

    def endpoint(self, endpoint_id: str) -> dict[str, Any]:
        """Return one endpoint; NoSuchEndpoint if there is none, else errors as `endpoints`."""
        answer = self._asked("GET", f"{SERVERLESS}/{endpoint_id}", f"ask for endpoint {endpoint_id}")
        if not isinstance(answer, dict):
            raise BackendUnavailable(f"RunPod's answer about endpoint {endpoint_id} is no object.")
        return answer

    def workers(self, endpoint_id: str) -> dict[str, int]:
        """Return how many workers an endpoint has now, by their state; errors as `endpoint`."""
        answer = self._asked("GET", f"{SERVERLESS}/{endpoint_id}/workers", f"ask for the workers of {endpoint_id}")
        summary = answer.get("summary") if isinstance(answer, dict) else None
        summary = summary if isinstance(summary, dict) else {}
        return {str(name): count for name, count in summary.items() if type(count) is int}

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an endpoint and return it. It is asked for once: nothing is created twice.

        Raises
        ------
        ConfigError
            The service refuses the settings.
        LostAnswer
            No answer came, or that of a failure (5xx): it may have been created.
        BackendUnavailable
            As `endpoints`.
        """
        answer = self._asked("POST", SERVERLESS, "create an endpoint", body)
        if not isinstance(answer, dict) or not safe_id(answer.get("id")):
            raise LostAnswer(f"RunPod's answer about the endpoint that it created is none: {self.shown(answer)}.")
        return answer

    def delete(self, endpoint_id: str) -> None:
        """Delete an endpoint, and with it its workers and jobs; one that there is no more is fine.

        Where the service does not delete an endpoint that may have workers, it is told first that there may be none.
        """
        path = f"{SERVERLESS}/{endpoint_id}"
        try:
            refused = self._deleted(path, NOT_WHILE_BUSY)
            if refused:
                self._asked("PATCH", path, f"stop the workers of {endpoint_id}", {"workers": {"min": 0, "max": 0}})
                self._deleted(path)
        except NoSuchEndpoint:
            return

    def _deleted(self, path: str, allowed: tuple[int, ...] = ()) -> bool:
        """Return whether the service has refused to, with a status that is allowed."""
        return self._asked("DELETE", path, "delete an endpoint", allowed=allowed) is REFUSED

    def _asked(
        self, method: str, path: str, what: str, body: Mapping[str, Any] | None = None, allowed: tuple[int, ...] = ()
    ) -> Any:
        """Ask the service; errors are raised outside of the handlers, as what those handle holds the key."""
        problem = ""
        try:
            answer = self._session.request(
                method, self.base_url + path, json=None if body is None else dict(body), timeout=TIMEOUT_S,
                allow_redirects=False,
            )  # fmt: skip
        except Exception as error:
            problem = type(error).__name__
        if problem:
            raise self._unanswered(method)(f"RunPod could not be reached to {what} ({problem}). Try again.")
        code = answer.status_code
        if code in allowed:
            return REFUSED
        if not 200 <= code < 300:
            raise self._error(method, code, what, answer)
        try:
            return answer.json() if answer.content else None
        except ValueError:
            return None

    def _error(self, method: str, code: int, what: str, answer: Any) -> HpovizError:
        """Say what went wrong, without anything of the request: its headers hold the key."""
        said = self._said(answer)
        if code == 401:
            return BackendUnavailable(f"RunPod refuses the API key (401). Check {KEY_VARIABLE} or api_key=.")
        if code == 403:
            return BackendUnavailable(
                f"The API key may not {what} (403). Make one that may read and write serverless endpoints, at "
                "https://console.runpod.io/user/settings."
            )
        if code == 404:
            return NoSuchEndpoint(f"RunPod has nothing there to {what} (404).")
        if code == 402 or "balance" in said.lower():
            return BackendUnavailable(
                f"RunPod does not {what} without balance ({code}): {said} Add some in the console."
            )
        if code in (400, 409, 422):
            return ConfigError(f"RunPod refuses to {what} ({code}): {said} Change the settings it names.")
        return self._unanswered(method, code)(f"RunPod could not {what} (HTTP {code}). {said} Try again.")

    @staticmethod
    def _unanswered(method: str, code: int = 500) -> type[BackendUnavailable]:
        return LostAnswer if method == "POST" and code >= 500 else BackendUnavailable

    def _said(self, answer: Any) -> str:
        """Return what the service gives as a reason (an RFC 9457 problem)."""
        try:
            problem = answer.json()
        except ValueError:
            return ""
        if not isinstance(problem, dict):
            return ""
        errors = problem.get("errors")
        parts = [problem.get("detail"), *(errors if isinstance(errors, list) else [])]
        said = "; ".join(str(part).rstrip(".") for part in parts if part)
        return f"{self.shown(said)}." if said else ""

    def shown(self, value: Any) -> str:
        """Return a value in print, on one line, without what must not be shown."""
        text = " ".join(str(value).split())
        for secret in self._hidden:
            text = text.replace(secret, "…")
        return "".join(one for one in text[:LONGEST_ERROR] if one.isprintable())

    def _retry_reading(self) -> None:
        """Have questions asked again where the service is busy or away for a moment; nothing is changed twice by it."""
        from requests.adapters import HTTPAdapter
        from urllib3.util.retry import Retry

        again = Retry(
            total=2, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=("GET",),
            respect_retry_after_header=False, raise_on_status=False,
        )  # fmt: skip
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=again))


def safe_id(value: object) -> bool:
    """Tell whether something is an id that can be part of an address."""
    return isinstance(value, str) and value.replace("-", "").replace("_", "").isalnum() and value.isascii()
