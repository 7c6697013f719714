"""Options and fixtures of the whole test suite."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, sync_playwright

from hpoviz.data.dataset import Dataset
from tests.lab import FLAGS

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SMALL_SPACE = {
    "num_layers_conv": 1,
    "filters": 8,
    "num_layers_dense": 0,
    "kernel_size": 3,
    "batch_size": 64,
    "optimizer": "adam",
    "learning_rate": (1e-3, 1e-2),
    "l2": 0.0,
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fail-on-skip", action="store_true", help="a skipped test fails the run")


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--fail-on-skip") and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def _same_chance() -> None:
    """Begin every test with the same random numbers, so that what passes here passes elsewhere."""
    random.seed(0)
    np.random.seed(0)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium or Chrome; tests that need one are skipped where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium: install it (apt-get install chromium) to run the browser tests")


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def stripes() -> Dataset:
    """300 small images with horizontal or vertical stripes and noise: learnt in two epochs."""
    rng = np.random.default_rng(0)
    pattern = np.indices((8, 8))[0] % 2
    labels = np.arange(300) % 2
    images = np.where(labels[:, None, None] == 0, pattern, pattern.T) + rng.normal(0, 0.3, (300, 8, 8))
    return Dataset.from_arrays(images, np.array(["across", "down"])[labels], name="stripes")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A path at which a run can be created."""
    return tmp_path / "run"
