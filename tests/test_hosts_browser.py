"""Other hosts than JupyterLab, as docs/installation.md says: Notebook 7, and a page of nbconvert without a kernel."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import expect, sync_playwright

from tests.lab import FLAGS, LONGEST_MS, READY, Lab, Notebook, wait_for

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
PLOTLY = "application/vnd.plotly.v1+json"
SHOWN_ANYWHERE = ("text/html", "image/svg+xml", "image/png", "image/jpeg", "text/plain", PLOTLY)
SEARCH = """
import hpoviz
opt = hpoviz.Optimizer("digits", trials=2, epochs=1, workers=1, seed=0,
                       config=hpoviz.OptimizationConfig(health_monitoring_frequency=0, record_layers=False),
                       search_space={"filters": 8, "num_layers_conv": 1, "num_layers_dense": 0})
opt
"""
GRAPH = "hpoviz.ModelVisualizer(opt.best_model).graph()"


class Notebook7(Lab):
    """A server of Notebook 7 over a folder; a context manager."""

    def __enter__(self):
        self._log = (self.folder / "notebook.log").open("w")
        command = [
            *(sys.executable, "-m", "notebook", "--no-browser", "--allow-root", f"--port={self._port}"),
            *("--ServerApp.port_retries=0", f"--ServerApp.root_dir={self.folder}", "--ip=127.0.0.1"),
            *(f"--IdentityProvider.token={self._token}", "--JupyterNotebookApp.expose_app_in_browser=True"),
        ]
        self._server = subprocess.Popen(command, env=self._env, stdout=self._log, stderr=subprocess.STDOUT)
        wait_for(f"http://127.0.0.1:{self._port}/api", self._server, self.folder / "notebook.log")
        self._playwright = sync_playwright().start()
        self.browser = self._playwright.chromium.launch(executable_path=self._chromium, args=FLAGS)
        return self

    def open(self, name, cells):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.folder / name)
        page = self.browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        found = Notebook(page)
        page.goto(f"http://127.0.0.1:{self._port}/notebooks/{name}?token={self._token}", timeout=LONGEST_MS)
        page.wait_for_function(READY, timeout=LONGEST_MS)
        return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_notebook_7_shows_a_search_and_a_graph(chromium, tmp_path):
    with Notebook7(tmp_path, chromium) as server:
        notebook = server.open("search.ipynb", [SEARCH, GRAPH])
        notebook.run(0)
        dash = notebook.output(0).locator(".hpoviz-dash[data-ready]")
        dash.get_by_role("button", name="Start").click()
        expect(dash.locator(".hp-phase")).to_have_text("completed", timeout=LONGEST_MS)
        expect(dash.locator(".hp-tile")).to_have_count(2)
        notebook.run(1)
        graph = notebook.output(1).locator(".hpoviz-graph")
        graph.locator("canvas").first.wait_for(timeout=LONGEST_MS)
        expect(graph.get_by_role("button").first).to_be_visible()
        assert [error for error in notebook.errors if "blob:" in error or "hpoviz" in error] == []
        notebook.close()


@pytest.mark.slow
def test_a_static_page_shows_tables_without_a_kernel_or_a_network(browser, tmp_path):
    page_file = tmp_path / "quickstart.html"
    body, _ = HTMLExporter().from_filename(str(NOTEBOOKS / "01_quickstart.ipynb"))
    page_file.write_text(body)
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(page_file.as_uri())
    expect(page.get_by_text("validation samples").first).to_be_visible()
    search_space = page.locator(".hpoviz details").first
    search_space.locator("summary").click()
    expect(search_space.get_by_text("learning_rate", exact=True).first).to_be_visible()
    expect(page.locator(".hpoviz-best").first).to_be_visible()  # the best trial's row in the table of the search
    context.close()


def outputs():
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
            for output in cell.get("outputs", ()):
                if "data" in output:
                    yield path.name, number, output["data"]


def test_every_output_of_the_notebooks_can_be_seen_where_there_are_no_widgets():
    found = list(outputs())
    assert len(found) > 50
    assert [(name, cell) for name, cell, data in found if not set(data) & set(SHOWN_ANYWHERE)] == []
    assert [(name, cell) for name, cell, data in found if any("widget" in kind for kind in data)] == []
