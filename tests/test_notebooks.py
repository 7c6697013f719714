"""The tutorial notebooks as they are committed: sections, pictures, size and links. That they run is nbval's part."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
HYPERPARAMETERS, HEALTH = "06_hyperparameters.ipynb", "07_health_and_accuracy.ipynb"
SECTIONS = (
    "Depth",
    "Width",
    "Activation",
    "Initialiser",
    "Normalisation",
    "Dropout and L2",
    "Optimizer",
    "Learning rate",
    "Schedules",
    "Batch size",
    "Filters and kernels",
    "Pooling",
    "LSTM units and direction",
)
MOST_BYTES = 2_000_000


def cells_of(name: str) -> list[nbformat.NotebookNode]:
    return nbformat.read(NOTEBOOKS / name, as_version=4).cells


def sections_of(name: str) -> dict[str, list[nbformat.NotebookNode]]:
    """Return the cells by the ``##`` heading that they follow."""
    found: dict[str, list[nbformat.NotebookNode]] = {}
    here: list[nbformat.NotebookNode] = []
    for cell in cells_of(name):
        if cell.cell_type == "markdown" and (heading := re.search(r"^## (.+)$", cell.source, re.MULTILINE)):
            here = found.setdefault(heading.group(1), [])
        here.append(cell)
    return found


def test_each_hyperparameter_has_its_section():
    assert tuple(sections_of(HYPERPARAMETERS))[: len(SECTIONS)] == SECTIONS


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_asks_shows_claims_and_sets_an_exercise(section):
    cells = sections_of(HYPERPARAMETERS)[section]
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    code = [cell for cell in cells if cell.cell_type == "code"]
    pictures = [output for cell in code for output in cell.outputs if "image/png" in output.get("data", {})]
    assert "**Question.**" in text
    assert "**Exercise.**" in text
    assert "<details>" in text
    assert pictures, "a page without widgets, as on GitHub, must show a picture"
    check = code[-1].source
    assert "assert is_right(" in check, "the solution must pass"
    assert " and not " in check, "a wrong answer must not"
    assert any("assert " in cell.source for cell in code[:-1]), "what is claimed must be checked"


@pytest.mark.parametrize("name", [HYPERPARAMETERS, HEALTH])
def test_a_notebook_is_small_complete_and_without_errors(name):
    assert (NOTEBOOKS / name).stat().st_size <= MOST_BYTES
    for cell in cells_of(name):
        if cell.cell_type == "code":
            assert cell.execution_count is not None, f"{cell.id} was not run"
            assert not [output for output in cell.outputs if output.output_type == "error"]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_relative_links_lead_somewhere(path):
    text = "\n".join(cell.source for cell in cells_of(path.name) if cell.cell_type == "markdown")
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    missing = [target for target in targets if not (path.parent / target.partition("#")[0]).exists()]
    assert not missing
