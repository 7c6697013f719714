"""RunPod's service on this machine, for the tests of its backend; a file's own `service` takes its place."""

from collections.abc import Iterator

import pytest

from tests.runpod_service import Service


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """The service with two workers that have imported TensorFlow."""
    with Service() as service:
        for name in ("one", "two"):
            service.start_worker(name)
        service.wait_for_workers(2)
        yield service


@pytest.fixture
def calm(service: Service) -> Iterator[Service]:
    """The service without faults; at the end of a test nothing may run on it."""
    service.calm_down()
    service.calls.clear()
    yield service
    service.calm_down()
    service.wait(lambda: not service.running, 30, "the end of all jobs")
