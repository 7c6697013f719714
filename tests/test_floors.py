"""The floors of docs/architecture.md hold: no module imports from above."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| (\d) \| (.+?) \|(.*)\|$", re.MULTILINE)
NAME = re.compile(r"`([\w.]+)`")
TABLE = ROW.findall((ROOT / "docs" / "architecture.md").read_text())
FLOORS = {f"hpoviz.{name}": int(floor) for floor, names, _ in TABLE for name in NAME.findall(names)}
PACKAGES = {name: int(floor) for floor, _, names in TABLE for name in NAME.findall(names)}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in (ROOT / "hpoviz").rglob("*.py")
    if path.name != "__init__.py"
}


def imports(path):
    """Yield every imported module, at the top or in a function; what only type checkers see does not count."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in FLOORS else node.module


def test_every_module_has_one_floor_and_every_floor_its_modules():
    assert set(FLOORS) == set(MODULES)
    assert len(FLOORS) == sum(len(NAME.findall(names)) for _, names, _ in TABLE)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_nothing_is_imported_from_above(module):
    floor = FLOORS[module]
    for name in imports(MODULES[module]):
        top = name.split(".")[0]
        if top == "hpoviz":
            assert name in FLOORS, f"{module} imports {name}, which has no floor"
            assert FLOORS[name] <= floor, f"{module} (floor {floor}) imports {name} (floor {FLOORS[name]})"
        elif top not in sys.stdlib_module_names:
            assert top in PACKAGES, f"{module} imports {top}, which no floor allows"
            assert PACKAGES[top] <= floor, f"{module} (floor {floor}) imports {top} (floor {PACKAGES[top]})"
