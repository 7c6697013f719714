"""What is said of a GPU's memory; the driver's tool is a stand-in, as no GPU is here."""

import warnings

import pytest

import hpoviz
from hpoviz.backends import gpu
from hpoviz.backends.gpu import memory_in_use, warn_if_taken
from tests.conftest import SMALL_SPACE


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Return a function that says what nvidia-smi prints, and with which status it ends."""

    def answers(printed, status=0):
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\nprintf '{printed}'\nexit {status}\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpu, "has_gpu", lambda: True)
    return answers


@pytest.mark.parametrize(
    ("printed", "status", "share"),
    [
        ("14512, 15360\\n", 0, 14512 / 15360),
        ("3, 81559\\n70000, 81559\\n", 0, 3 / 81559),  # of two cards, the first
        ("[N/A], [N/A]\\n", 0, None),
        ("0, 0\\n", 0, None),
        ("", 0, None),
        ("3, 81559\\n", 9, None),
    ],
)
def test_share_in_use(driver, printed, status, share):
    driver(printed, status)
    assert memory_in_use() == share


@pytest.mark.usefixtures("driver")
def test_no_tool_says_nothing():
    assert memory_in_use() is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_taken()


def test_a_kernel_that_holds_the_gpu_is_told_what_to_do(driver):
    driver("14512, 15360\\n")
    with pytest.warns(UserWarning, match=r"94% of the GPU's memory is taken .* restart its kernel .*ALLOW_GROWTH"):
        warn_if_taken()


def test_a_free_gpu_is_not_spoken_of(driver):
    driver("300, 15360\\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_taken()


@pytest.mark.slow
def test_a_search_warns_and_goes_on(driver, stripes, run_dir):
    driver("14512, 15360\\n")
    opt = hpoviz.Optimizer(stripes, trials=1, epochs=1, seed=0, workers=1, search_space=SMALL_SPACE, run_dir=run_dir)
    with pytest.warns(UserWarning, match="94% of the GPU's memory is taken"):
        opt.run()
    assert opt.best_trial.state == "finished"
