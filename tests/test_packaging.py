"""What is uploaded for a release: it can be built, its description is right, and it works without the repository."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[1]
QUICKSTART = """
import hpoviz
assert "site" in hpoviz.__file__, hpoviz.__file__
opt = hpoviz.Optimizer("digits", trials=1, epochs=1, seed=0, backend="inline", search_space={"filters": 8})
opt.run()
assert opt.best_model.predict(opt.data.x_test[:2], verbose=0).shape == (2, 10)
assert hpoviz.Dashboard()._esm
print(opt.report("run.html"), hpoviz.explain("dropout_conv"), hpoviz.load_dataset("docstrings"))
"""


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, ROOT], check=True, capture_output=True)
    return folder


def test_the_description_is_right(dist):
    files = sorted(map(str, dist.iterdir()))
    done = subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_of_the_package_is_in_both(dist):
    tracked = subprocess.run(["git", "ls-files", "hpoviz"], cwd=ROOT, capture_output=True, text=True, check=True)
    wanted = set(tracked.stdout.split())
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        assert wanted - set(wheel.namelist()) == set()
        assert [name for name in wheel.namelist() if not name.startswith("hpoviz")] == []
    with tarfile.open(next(dist.glob("*.tar.gz"))) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    assert (wanted | {"pyproject.toml", "README.md", "LICENSE"}) - names == set()


def test_the_wheel_runs_the_quickstart_without_the_repository(dist, tmp_path):
    wheel, site = next(dist.glob("*.whl")), tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel], check=True
    )
    env = {**os.environ, "PYTHONPATH": str(site), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", QUICKSTART], cwd=tmp_path, env=env, capture_output=True, text=True
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run.html").stat().st_size > 1e6
