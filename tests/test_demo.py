"""The main job, as ``make demo`` runs it."""

import re
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_demo_finds_a_good_model_and_says_where_it_is(tmp_path):
    out = subprocess.run(
        [sys.executable, "-m", "hpoviz.demo"], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True, timeout=280
    ).stdout
    assert float(re.search(r"won with a validation accuracy of (0\.\d+)", out)[1]) >= 0.97
    assert float(re.search(r"test accuracy (0\.\d+)", out)[1]) >= 0.95
    assert "★" in out
    places = re.findall(r"^  .+?: +(hpoviz_runs\S+)$", out, re.MULTILINE)
    assert len(places) == 6
    assert all((tmp_path / place).exists() for place in places)
    assert "jupyter lab" in out
