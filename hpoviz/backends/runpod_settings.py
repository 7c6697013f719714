"""What is wrong with the settings of a RunPodBackend, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hpoviz.backends.runpod_client import ENDPOINT_VARIABLE

__all__ = ["cost_problems", "time_problems", "worker_problems"]

MOST_WORKERS, MOST_GPUS = 64, 8


def worker_problems(endpoint_id: Any, workers: Any, gpus: Any, scale_batch: Any) -> Iterator[str]:
    """Yield what is wrong with an endpoint's name and its workers."""
    if not isinstance(endpoint_id, str) or not endpoint_id or not endpoint_id.replace("-", "").isalnum():
        yield (
            f"endpoint_id must be that of a RunPod endpoint (letters and digits), or {ENDPOINT_VARIABLE} be set. "
            f"Got {endpoint_id!r}."
        )
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= MOST_WORKERS:
        yield f"workers must be a whole number from 1 to {MOST_WORKERS}. Got {workers!r}."
    if isinstance(gpus, bool) or not isinstance(gpus, int) or not 1 <= gpus <= MOST_GPUS:
        yield f"gpus_per_worker must be a whole number from 1 to {MOST_GPUS}. Got {gpus!r}."
    if not isinstance(scale_batch, bool):
        yield f"scale_batch must be True or False. Got {scale_batch!r}."


def time_problems(job: Any, queue: Any, silence: Any, poll_s: Any) -> Iterator[str]:
    """Yield what is wrong with the limits on time."""
    for name, value in (("max_job_minutes", job), ("queue_minutes", queue), ("silence_minutes", silence)):
        if not _is_positive(value):
            yield f"{name} must be a positive number. Got {value!r}."
    if not _is_positive(poll_s) or not 0.2 <= poll_s <= 60:
        yield f"poll_s must be a number of seconds from 0.2 to 60. Got {poll_s!r}."


def cost_problems(price: Any, most: Any, on_unavailable: Any) -> Iterator[str]:
    """Yield what is wrong with prices, and with what happens when the endpoint is of no use."""
    for name, value in (("price_per_hour", price), ("max_cost", most)):
        if value is not None and not _is_positive(value):
            yield f"{name} must be a positive number of US dollars (or None). Got {value!r}."
    if most is not None and price is None:
        yield "max_cost needs price_per_hour: what a worker costs, as the endpoint's page says."
    if on_unavailable not in ("raise", "local"):
        yield f"on_unavailable must be 'raise' or 'local'. Got {on_unavailable!r}."


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e5
