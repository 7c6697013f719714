"""What README says is so."""

import re
from pathlib import Path

import keras
import pytest

import hpoviz

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_number_of_decisions_is_right():
    (number,) = re.findall(r"takes \((\d+) of them\)", README)
    assert int(number) == len(hpoviz.CnnConfig.parameters())


@pytest.mark.parametrize("space", [{"fliters": 8}, {"num_layers_conv": 2, "kernel_size": 7}])
def test_the_errors_read_as_quoted(space):
    with pytest.raises(hpoviz.ConfigError) as caught:
        hpoviz.Optimizer("digits", search_space=space)
    quoted = " ".join(README.split())
    assert str(caught.value).partition("Parameters:")[0].strip() in quoted


def test_every_link_leads_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert len(links) >= 4
    assert all((ROOT / link).is_file() for link in links)


def test_python_blocks_are_code():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        compile(block, "README.md", "exec")


@pytest.mark.slow
def test_the_example_of_an_own_model_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(def build_model.*?)```", README, re.DOTALL)
    names = {"keras": keras, "hpoviz": hpoviz}
    exec(block, names)
    own = names["own"]
    assert own.results["origin"].tolist().count("baseline") == 1
    assert (own.run_dir / "jobs" / "final_training-1" / "0" / "model.keras").is_file()
