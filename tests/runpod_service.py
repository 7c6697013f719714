"""RunPod's service on this machine: what its SDK's client and its SDK's worker loop talk to, and workers that run.

The paths are those of the real service (``/v2/<endpoint>/run``, ``status``, ``stream``, ``cancel``, ``health`` for
clients; ``job-take``, ``job-stop``, ``job-done``, ``job-stream``, ``ping`` for workers). Client and worker are RunPod's
own, unchanged. Faults are put in by `fail`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")
HOLD_S = 2.0  # so long a worker's question is held open
STOPS, STOP_AGAIN_S = 10, 0.5  # how often, and after what time again, a worker is told to stop a job
WORKER_SIDE = ("job-take", "job-take-batch", "job-stop", "job-done", "job-stream", "ping")
ROOT = Path(__file__).parents[1]


@dataclasses.dataclass
class Job:
    """A job of the service."""

    id: str
    input: Any
    policy: dict[str, int]
    status: str = "IN_QUEUE"
    worker: str | None = None
    stream: list[Any] = dataclasses.field(default_factory=list)
    output: Any = None
    error: str | None = None
    submitted: float = dataclasses.field(default_factory=time.monotonic)
    began: float | None = None
    ended: float | None = None

    def view(self, *, output: bool) -> dict[str, Any]:
        """Return what the service says of it."""
        found: dict[str, Any] = {"id": self.id, "status": self.status}
        if self.began is not None:
            found |= {"workerId": self.worker, "delayTime": int(1000 * (self.began - self.submitted))}
        if self.began is not None and self.ended is not None:
            found["executionTime"] = int(1000 * (self.ended - self.began))
        if self.error is not None:
            found["error"] = self.error
        if output and self.output is not None:
            found["output"] = self.output
        return found


class Service:
    """The service, with one endpoint ``ep``; a context manager."""

    def __init__(self, key: str = "rpa_TESTKEY0123456789") -> None:
        self.key, self.jobs = key, {}
        self.calls: list[tuple[str, str, int]] = []  # method, path, status
        self.tamper: Callable[[Any], Any] = lambda message: message  # what becomes of a worker's message on its way
        self._changed = threading.Condition(threading.RLock())
        self._queue: deque[str] = deque()
        self._stops: dict[str, dict[str, list[float]]] = {}  # by worker and job: when it is told next, how often yet
        self._seen: dict[str, float] = {}
        self._faults: list[list[Any]] = []
        self._open = True
        self._processes: list[subprocess.Popen[bytes]] = []
        self._home = tempfile.TemporaryDirectory()
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

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                pass  # a client that went away

        self._server = Server(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v2"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            kill(process)
        self._open = False
        with self._changed:
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._home.cleanup()

    def fail(self, pattern: str, status: int | str, times: int = 1) -> None:
        """Answer the next calls ("POST /v2/ep/run") with an HTTP status; "drop" cuts them, "lose" only the answer."""
        with self._changed:
            self._faults.append([re.compile(pattern), status, times])

    def start_worker(
        self, name: str, module: str = "hpoviz.backends.runpod_worker", **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start a worker: RunPod's own loop around our handler, in a process of its own."""
        base = f"{self.base_url}/ep"
        env = os.environ | {
            "RUNPOD_POD_ID": name,
            "RUNPOD_AI_API_KEY": "worker-key",
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID",
            "RUNPOD_PING_INTERVAL": "1000",
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
            "HOME": self._home.name,
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_NUM_INTRAOP_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            **environment,
        }
        log = (Path(self._home.name) / f"{name}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            env=env, cwd=self._home.name, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        log.close()
        self._processes.append(process)
        return process

    def log_of(self, name: str) -> str:
        """Return what a worker printed."""
        return (Path(self._home.name) / f"{name}.log").read_text("utf-8", errors="replace")

    def wait_for_workers(self, count: int, timeout_s: float = 180.0) -> None:
        """Wait until so many workers ask for jobs."""
        self.wait(lambda: len(self._seen) >= count, timeout_s, "workers")

    def wait(self, condition: Any, timeout_s: float = 120.0, what: str = "it") -> None:
        """Wait until something is so."""
        give_up = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < give_up, f"{what} did not come; workers printed: {self._printed()}"
            time.sleep(0.05)

    def give_back(self, job: Job) -> None:
        """Queue a job anew, as the service does whose worker died."""
        with self._changed:
            job.status, job.worker, job.stream = "IN_QUEUE", None, []
            self._queue.appendleft(job.id)
            self._changed.notify_all()

    def end(self, job: Job, status: str, error: str | None = None) -> None:
        """End a job from outside."""
        with self._changed:
            job.status, job.error, job.ended = status, error, time.monotonic()
            if job.worker:
                self._stops.setdefault(job.worker, {})[job.id] = [time.monotonic(), STOPS]
            self._changed.notify_all()

    @property
    def running(self) -> list[Job]:
        """The jobs that have not ended."""
        with self._changed:
            return [job for job in self.jobs.values() if job.status not in ENDED]

    def calm_down(self) -> None:
        """Put no more faults in."""
        with self._changed:
            self._faults.clear()
            self.tamper = lambda message: message

    def _printed(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-800:] for path in Path(self._home.name).glob("*.log"))

    def _answer(self, request: BaseHTTPRequestHandler, method: str) -> None:
        length = int(request.headers.get("Content-Length") or 0)
        body = json.loads(request.rfile.read(length) or b"null") if length else None
        path = urlsplit(request.path).path
        parts = path.strip("/").split("/")
        fault = self._fault(f"{method} {path}")
        if fault == "drop":
            request.close_connection = True
            request.connection.close()
            return
        put_in = isinstance(fault, int)
        status, answer = (fault, {"error": f"put in: {fault}"}) if put_in else self._route(parts, request, body)
        if fault == "lose":  # it was done, and the answer does not arrive
            request.close_connection = True
            request.connection.close()
            return
        self.calls.append((method, path, status))
        content = b"" if answer is None else json.dumps(answer).encode()
        with contextlib.suppress(OSError):
            request.send_response(status)
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", str(len(content)))
            request.end_headers()
            request.wfile.write(content)

    def _fault(self, line: str) -> Any:
        with self._changed:
            for fault in self._faults:
                if fault[0].search(line):
                    fault[2] -= 1
                    if fault[2] <= 0:
                        self._faults.remove(fault)
                    return fault[1]
        return None

    def _route(self, parts: list[str], request: BaseHTTPRequestHandler, body: Any) -> tuple[int, Any]:
        if len(parts) < 3 or parts[:2] != ["v2", "ep"]:
            return 404, {"error": "endpoint not found"}
        what, names = parts[2], parts[3:]
        if what not in WORKER_SIDE and request.headers.get("Authorization") != f"Bearer {self.key}":
            return 401, {"error": "unauthorized"}
        action = getattr(self, f"_{what.replace('-', '_')}", None)
        return action(*names, body=body) if action else (404, {"error": "not found"})

    # --- for clients

    def _run(self, body: Any) -> tuple[int, Any]:
        if not isinstance(body, dict) or not body.get("input"):
            return 400, {"error": "input missing"}
        job = Job(f"{uuid.uuid4()}-u1", body["input"], body.get("policy") or {})
        with self._changed:
            self.jobs[job.id] = job
            self._queue.append(job.id)
            self._changed.notify_all()
        return 200, job.view(output=False)

    def _status(self, job_id: str, body: Any) -> tuple[int, Any]:
        with self._changed:
            job = self.jobs.get(job_id)
            return (200, job.view(output=True)) if job else (404, {"error": "request does not exist"})

    def _stream(self, job_id: str, body: Any) -> tuple[int, Any]:
        with self._changed:
            job = self.jobs.get(job_id)
            if not job:
                return 404, {"error": "request does not exist"}
            come, job.stream = job.stream, []
            return 200, {**job.view(output=False), "stream": [{"output": one} for one in come]}

    def _cancel(self, job_id: str, body: Any) -> tuple[int, Any]:
        with self._changed:
            job = self.jobs.get(job_id)
            if job_id in self._queue:
                self._queue.remove(job_id)
        if not job:
            return 404, {"error": "request does not exist"}
        if job.status not in ENDED:
            self.end(job, "CANCELLED")
        return 200, job.view(output=False)

    def _health(self, body: Any) -> tuple[int, Any]:
        with self._changed:
            busy = {job.worker for job in self.jobs.values() if job.status == "IN_PROGRESS"}
            alive = {name for name, seen in self._seen.items() if time.monotonic() - seen < 5}
            counts = {"inQueue": len(self._queue), "inProgress": len(busy)}
            return 200, {"jobs": counts, "workers": {"idle": len(alive - busy), "running": len(alive & busy)}}

    # --- for workers

    def _job_take(self, worker: str, body: Any) -> tuple[int, Any]:
        with self._changed:
            self._seen[worker] = time.monotonic()
            self._changed.wait_for(lambda: self._queue or not self._open, HOLD_S)
            if not self._queue:
                return 204, None
            job = self.jobs[self._queue.popleft()]
            job.status, job.worker, job.began = "IN_PROGRESS", worker, time.monotonic()
            return 200, {"id": job.id, "input": job.input}

    def _job_stop(self, worker: str, body: Any) -> tuple[int, Any]:
        """Name the jobs to stop, again and again: the SDK passes over one that it has taken and not yet begun."""
        give_up = time.monotonic() + HOLD_S
        with self._changed:
            while not (ids := self._due(worker)) and self._open and time.monotonic() < give_up:
                self._changed.wait(STOP_AGAIN_S / 2)
            return (200, {"jobsToStop": ids}) if ids else (204, None)

    def _due(self, worker: str) -> list[str]:
        """Return the jobs of which a worker is to be told now; under the lock."""
        now, stops = time.monotonic(), self._stops.get(worker, {})
        ids = [job for job, (when, _) in stops.items() if when <= now]
        for job in ids:
            stops[job] = [now + STOP_AGAIN_S, stops[job][1] - 1]
            if stops[job][1] <= 0:
                del stops[job]
        return ids

    def _job_done(self, worker: str, job_id: str, body: Any) -> tuple[int, Any]:
        with self._changed:
            job = self.jobs.get(job_id)
            self._stops.get(worker, {}).pop(job_id, None)
            if job and job.status not in ENDED and job.worker == worker:
                error = body.get("error")
                job.status, job.ended = "COMPLETED" if error is None else "FAILED", time.monotonic()
                job.error, job.output = None if error is None else str(error), body.get("output")
        return 200, {}

    def _job_stream(self, worker: str, job_id: str, body: Any) -> tuple[int, Any]:
        with self._changed:
            job = self.jobs.get(job_id)
            if job and job.status not in ENDED and job.worker == worker:
                job.stream.append(self.tamper(body.get("output", body)))
        return 200, {}

    def _ping(self, worker: str, body: Any) -> tuple[int, Any]:
        with self._changed:
            self._seen[worker] = time.monotonic()
        return 200, {}


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a worker at once, with the process that it pings from."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
