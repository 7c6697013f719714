"""Build an environment with chosen versions of what hpoviz needs, and run its quick tests there.

    python tests/compat/environment.py colab     the versions of Google Colab; none may change when hpoviz is installed
    python tests/compat/environment.py lowest    the lowest versions that pyproject.toml allows
    python tests/compat/environment.py newest    the newest versions that there are

Further arguments go to pytest. The environment is made anew, in build/compat.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
PINS = Path(__file__).with_name("colab.txt")
COLAB_PYTHON = (3, 12)
COLAB_RUNPOD = "runpod<1.10"  # newer ones want newer versions of much that Colab has
SHOWN = ("tensorflow", "keras", "optuna", "ipywidgets", "anywidget", "plotly", "pandas", "numpy", "scikit-learn")
QUICK = "not slow and not own_versions"


class Environment:
    """A fresh virtual environment."""

    def __init__(self, path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)
        venv.create(path, with_pip=True)
        self.python = path / "bin" / "python"

    def install(self, *what: str) -> None:
        """Install packages with pip."""
        print("pip install", *what, flush=True)
        subprocess.run([self.python, "-m", "pip", "install", "--quiet", *what], cwd=ROOT, check=True)

    def packages(self) -> dict[str, str]:
        """Return the version of every package."""
        command = [self.python, "-m", "pip", "list", "--format=json"]
        listed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
        return {package["name"].lower(): package["version"] for package in json.loads(listed)}

    def test(self, arguments: list[str]) -> int:
        """Run the tests, and return pytest's exit status."""
        chosen = ["-m", QUICK, "-p", "no:cacheprovider", *arguments]
        return subprocess.run([self.python, "-m", "pytest", *chosen], cwd=ROOT).returncode


def lowest() -> list[str]:
    """Return the lower bound of everything that hpoviz needs, as pip's constraints."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    bounds = [re.match(r"([\w-]+)>=([\d.]+)", one) for one in needed]
    missing = [one for one, bound in zip(needed, bounds, strict=True) if bound is None]
    if missing:
        sys.exit(f"pyproject.toml gives no lower bound for {', '.join(missing)}.")
    return [f"{bound[1]}=={bound[2]}" for bound in bounds if bound]


def like_colab(environment: Environment) -> None:
    """Install Colab's versions, then hpoviz as a user does there, then the tests' own packages."""
    if sys.version_info[:2] != COLAB_PYTHON:
        sys.exit(f"Colab has Python 3.12, this is {sys.version.split()[0]}: make compat-colab COLAB_PYTHON=…")
    environment.install("-r", str(PINS))
    before = environment.packages()
    pinned = [line.partition("==")[0].lower() for line in PINS.read_text().splitlines() if "==" in line]
    for what in (["-e", "."], ["-e", ".[runpod]", COLAB_RUNPOD]):
        environment.install(*what)
        after = environment.packages()
        print("  added:", ", ".join(f"{name} {after[name]}" for name in after if name not in before))
        changed = [f"{name} {before[name]} to {after.get(name)}" for name in pinned if after.get(name) != before[name]]
        print("  changed:", ", ".join(changed) or "nothing")
        if changed:
            sys.exit("Installing hpoviz changes what Colab has.")
        before = after
    environment.install("-e", ".[test,runpod]", COLAB_RUNPOD, "-c", str(PINS))


def main(name: str, *arguments: str) -> int:
    """Build the environment called `name`, and test in it."""
    environment = Environment(ROOT / "build" / "compat" / name)
    if name == "colab":
        like_colab(environment)
    else:
        bounds = ROOT / "build" / "compat" / f"{name}.txt"
        bounds.write_text("\n".join(lowest() if name == "lowest" else []))
        environment.install("-e", ".[test,runpod]", "-c", str(bounds))
    has = environment.packages()
    print(f"{name}: Python {sys.version.split()[0]},", ", ".join(f"{one} {has[one]}" for one in SHOWN), flush=True)
    return environment.test(list(arguments))


if __name__ == "__main__":
    if sys.argv[1:2] not in (["colab"], ["lowest"], ["newest"]):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
