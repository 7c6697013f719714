"""RunPod's REST API (v2) on this machine: the endpoints of one account, with the fields of its OpenAPI description.

The paths are ``/v2/serverless``, ``/v2/serverless/<id>`` and ``/v2/serverless/<id>/workers``. As the real one, it takes
no fields that it does not know, and answers problems by RFC 9457. Faults are put in by `fail`.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FIELDS = {
    "name", "type", "image", "disk", "env", "args", "ports", "registry", "gpu", "workers", "scaling", "timeout",
    "flashboot", "dataCenterIds", "networkVolumes", "templateId",
}  # fmt: skip
GPU, WORKERS = (
    {"pools", "count", "excludedTypes", "minCudaVersion", "allowedCudaVersions"},
    {"min", "max", "idleTimeout"},
)


class Account:
    """The API, with the endpoints of one account; a context manager."""

    def __init__(self, key: str = "rpa_TESTKEY0123456789") -> None:
        self.key = key
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.busy: dict[str, int] = {}  # workers at work, by endpoint
        self.calls: list[tuple[str, str, int]] = []  # method, path, status
        self.make_other: dict[str, Any] = {}  # what endpoints get in place of what was asked for
        self.wants_no_workers = False  # to be deleted
        self.keeps = False  # what is deleted stays there
        self._lock = threading.Lock()
        self._faults: list[list[Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                outer._answer(self, "GET")

            def do_POST(self) -> None:
                outer._answer(self, "POST")

            def do_PATCH(self) -> None:
                outer._answer(self, "PATCH")

            def do_DELETE(self) -> None:
                outer._answer(self, "DELETE")

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # a client that went away

        self._server = Server(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v2"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> Account:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def changes(self) -> list[tuple[str, str, int]]:
        """The calls that change something."""
        return [call for call in self.calls if call[0] != "GET"]

    def add(self, **fields: Any) -> str:
        """Put an endpoint there, as somebody else would, and return its id."""
        endpoint_id = fields.pop("id", uuid.uuid4().hex[:14])
        workers = {"min": 0, "max": 3, "idleTimeout": 10}
        self.endpoints[endpoint_id] = {"id": endpoint_id, "type": "QUEUE", "workers": workers} | fields
        return endpoint_id

    def fail(self, pattern: str, status: int | str, times: int = 1, body: Any = None) -> None:
        """Answer the next calls ("POST /v2/serverless") with a status; "drop" cuts them, "lose" only the answer."""
        self._faults.append([re.compile(pattern), status, times, body])

    def _answer(self, request: BaseHTTPRequestHandler, method: str) -> None:
        body = json.loads(request.rfile.read(int(request.headers.get("Content-Length") or 0)) or b"null")
        with self._lock:
            fault, put_in = self._fault(f"{method} {request.path}")
            if fault == "drop":
                status, answer = 0, None
            elif isinstance(fault, int):
                status, answer = fault, put_in or _problem(fault, f"put in: {fault}")
            else:
                status, answer = self._route(method, request, body)
            self.calls.append((method, request.path, status))
        if fault in ("drop", "lose"):
            request.close_connection = True
            request.connection.close()
            return
        content = b"" if answer is None else json.dumps(answer).encode()
        with contextlib.suppress(OSError):
            request.send_response(status)
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", str(len(content)))
            request.end_headers()
            request.wfile.write(content)

    def _fault(self, line: str) -> tuple[Any, Any]:
        for fault in self._faults:
            if fault[0].search(line):
                fault[2] -= 1
                if fault[2] <= 0:
                    self._faults.remove(fault)
                return fault[1], fault[3]
        return None, None

    def _route(self, method: str, request: BaseHTTPRequestHandler, body: Any) -> tuple[int, Any]:
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            return 401, _problem(401, "invalid bearer token")
        parts = request.path.strip("/").split("/")
        if parts[:2] != ["v2", "serverless"] or len(parts) > 4:
            return 404, _problem(404, "no such path")
        if len(parts) == 2:
            return self._create(body) if method == "POST" else (200, {"endpoints": list(self.endpoints.values())})
        endpoint = self.endpoints.get(parts[2])
        if endpoint is None:
            return 404, _problem(404, "resource not found")
        if parts[3:] == ["workers"]:
            busy = self.busy.get(parts[2], 0)
            return 200, {"workers": [], "summary": {"running": busy, "idle": 0, "total": busy}}
        if method == "PATCH":
            endpoint["workers"] = endpoint["workers"] | body["workers"]
            return 200, endpoint
        if method == "DELETE":
            if self.wants_no_workers and endpoint["workers"]["max"]:
                return 400, _problem(400, "max workers must be 0")
            if not self.keeps:
                del self.endpoints[parts[2]]
            return 204, None
        return 200, endpoint

    def _create(self, body: dict[str, Any]) -> tuple[int, Any]:
        wrong = [f"$: additional properties {name!r} not allowed" for name in sorted(set(body) - FIELDS)]
        wrong += [f"$: missing property {name!r}" for name in ("name", "type", "scaling", "image") if name not in body]
        for name, known in (("gpu", GPU), ("workers", WORKERS)):
            wrong += [f"$.{name}: additional properties {one!r} not allowed" for one in set(body.get(name, {})) - known]
        if "gpu" not in body or not body["gpu"].get("pools"):
            wrong.append("$: exactly one of gpu or cpu")
        if body.get("scaling", {}).get("type") == "REQUEST_COUNT" and "idleTimeout" in body.get("workers", {}):
            wrong.append("idleTimeout does not apply to queue-based endpoints scaling on requestCount")
        if wrong:
            return 422, _problem(422, "Request validation failed.", wrong)
        made = {"dataCenterIds": [], "networkVolumes": [], "flashboot": "OFF", "registry": None} | body
        return 201, self.endpoints[self.add(**made | self.make_other)]


def _problem(status: int, detail: str, errors: list[str] | None = None) -> dict[str, Any]:
    return {"title": "Problem", "status": status, "detail": detail} | ({"errors": errors} if errors else {})
