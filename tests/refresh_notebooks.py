"""Run all notebooks from top to bottom and keep their outputs: ``make notebooks``.

What TensorFlow writes to standard error on import is left out, and so are times that change with every run. Of outputs
that are drawings too the drawing is kept, which GitHub shows, and of plotly figures their data.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

PLOTLY = "application/vnd.plotly.v1+json"
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def refresh(path: Path) -> None:
    """Run one notebook in its own folder and write it back."""
    notebook = nbformat.read(path, as_version=4)
    began = time.monotonic()
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                slim(output.get("data", {}))
    notebook.metadata.pop("widgets", None)
    nbformat.write(notebook, path)
    print(f"{path.name}: {time.monotonic() - began:.0f} s, {path.stat().st_size / 1024:.0f} KiB")


def slim(bundle: dict[str, object]) -> None:
    """Leave out what is there in another form too, and widgets, whose state is not kept."""
    if "image/svg+xml" in bundle or PLOTLY in bundle:
        bundle.pop("text/html", None)
    bundle.pop("application/vnd.jupyter.widget-view+json", None)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or sorted(map(str, NOTEBOOKS.glob("*.ipynb"))):
        refresh(Path(chosen))
