"""What a RunPod worker says of itself when it is asked: the versions of its packages, and its GPUs."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hpoviz.errors import BackendProtocol

__all__ = ["WorkerVersions", "is_question", "question", "read_answer", "this_worker"]

ASK = "versions"
PACKAGES = ("hpoviz", "runpod", "tensorflow", "keras")
LONGEST = 100


@dataclasses.dataclass(frozen=True)
class WorkerVersions:
    """Versions by package, Python's among them, and the names of the GPUs that TensorFlow sees."""

    versions: dict[str, str]
    gpus: tuple[str, ...]


def question() -> dict[str, Any]:
    """Return the input of a job that asks a worker for its versions; a worker of any version may answer."""
    return {"version": 1, "hpoviz": version("hpoviz"), "ask": ASK}


def is_question(content: Any) -> bool:
    """Tell whether a job's input is `question`'s."""
    return isinstance(content, Mapping) and content.get("ask") == ASK


def this_worker() -> dict[str, Any]:
    """Return what this process has: the answer. It trains nothing."""
    import tensorflow as tf

    found = {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()}
    devices = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(one).get("device_name") or one.name for one in devices]
    return {"versions": found, "gpus": names}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def read_answer(output: Any) -> WorkerVersions:
    """Return what the result of such a job says.

    Raises
    ------
    BackendProtocol
        It says something else.
    """
    messages = [one for one in output if isinstance(one, Mapping)] if isinstance(output, list) else []
    answer: Mapping[str, Any] = next((one["about"] for one in messages if isinstance(one.get("about"), Mapping)), {})
    versions, gpus = answer.get("versions"), answer.get("gpus")
    if not isinstance(versions, Mapping) or not isinstance(gpus, list):
        raise BackendProtocol("The worker did not say its versions.")
    return WorkerVersions(
        versions={name: str(versions.get(name))[:LONGEST] for name in (*PACKAGES, "python")},
        gpus=tuple(str(name)[:LONGEST] for name in gpus[:16]),
    )
