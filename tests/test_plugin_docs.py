"""docs/plugins.md: the package on it is installed as it stands there, keeps its contracts and can be searched."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[1] / "docs" / "plugins.md"
FILE = re.compile(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SEARCH = re.compile(r"^## A search with both\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Write the package of the page, as installing it would."""
    folder = tmp_path_factory.mktemp("package")
    files = dict(FILE.findall(PAGE.read_text()))
    assert sorted(files) == [
        "flags/data.py",
        "flags/mlp.py",
        "pyproject.toml",
        "tests/test_data.py",
        "tests/test_mlp.py",
    ]
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "flags" / "__init__.py").touch()
    project = tomllib.loads(files["pyproject.toml"])["project"]
    info = folder / "flags-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [line for group, items in groups for line in (f"[{group}]", *(f"{k} = {v}" for k, v in items.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def run(package, *command):
    path = os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *command], cwd=package, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )


def test_the_contracts_hold(package):
    done = run(package, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"\b11 passed", done.stdout), done.stdout[-500:]


def test_the_search_runs(package):
    (script,) = SEARCH.findall(PAGE.read_text())
    done = run(package, "-c", script)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(re.findall(r"finished|pruned", done.stdout)) >= 4


def test_the_family_is_no_default(package):
    done = run(package, "-c", "from hpoviz.models.model_config import family_for; print(family_for('image'))")
    assert done.stdout.strip() == "cnn"
