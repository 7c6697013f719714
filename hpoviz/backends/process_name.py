"""Names of processes, for people who look at what runs."""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ["name_process"]


def name_process(name: str) -> None:
    """Give this process a name for ``top`` and its like, where the system can (15 characters at most)."""
    comm = Path("/proc/self/comm")
    with contextlib.suppress(OSError):
        comm.write_text(name, encoding="ascii")
