"""The processes of a search, as the system shows them; for tests and benchmarks."""

from __future__ import annotations

import psutil


def workers_of(pid: int) -> list[psutil.Process]:
    """Return the workers of the process that runs a search."""
    return [child for child in psutil.Process(pid).children(recursive=True) if child.name() == "hpoviz-worker"]


def preloaders_of(pid: int) -> list[psutil.Process]:
    """Return the processes that import TensorFlow ahead; there is more than one while the environment changes."""
    children = [child for child in psutil.Process(pid).children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in children if "hpoviz.backends.preloader" in str(child.cmdline())]


def wait_until_gone(processes: list[psutil.Process], timeout_s: float) -> bool:
    """Wait for processes to end, and return whether they have."""
    _, alive = psutil.wait_procs(processes, timeout=timeout_s)
    return not alive
