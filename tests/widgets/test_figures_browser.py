"""Figures and downloads of the dashboard in a real JupyterLab: tabs draw when opened, files open elsewhere."""

import io
import json
import zipfile

import pytest
from playwright.sync_api import expect

import hpoviz
from hpoviz.plots.catalogue import TRIAL_FIGURES
from tests.conftest import SMALL_SPACE
from tests.lab import Lab
from tests.made_up_run import made_up_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BAD = '<img src=x onerror="window.hacked=1">'
SETUP = """
import numpy as np, hpoviz
pattern = np.indices((8, 8))[0] % 2
labels = np.arange(300) % 2
rng = np.random.default_rng(0)
images = np.where(labels[:, None, None] == 0, pattern, pattern.T) + rng.normal(0, 0.8, (300, 8, 8))
"""
OPEN = f"""
data = hpoviz.Dataset.from_arrays(images, np.array([{BAD!r}, "down"])[labels], name="bad")
opt = hpoviz.open_run("run", data=data); opt
"""
THOUSAND = 'hpoviz.open_run("thousand")'
NEW = 'hpoviz.Optimizer(data, trials=3, epochs=1, seed=0, workers=1, search_space={"filters": 8}, run_dir="new")'
DASH = ".hpoviz-dash[data-ready]"
LONGEST = 90_000


@pytest.fixture(scope="module")
def notebook(chromium, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    made_up_run(folder / "thousand", 1_000, 3)
    scope: dict = {}
    exec(SETUP, scope)
    bad = hpoviz.Dataset.from_arrays(scope["images"], scope["np"].array([BAD, "down"])[scope["labels"]], name="bad")
    opt = hpoviz.Optimizer(
        bad, trials=2, epochs=2, seed=0, backend="inline", search_space=SMALL_SPACE, run_dir=folder / "run", pruner=None
    )
    opt.run()
    with Lab(folder, chromium) as lab:
        notebook = lab.open("figures.ipynb", [SETUP, OPEN, THOUSAND, NEW])
        notebook.page.add_init_script("delete window.showSaveFilePicker")
        notebook.page.evaluate("delete window.showSaveFilePicker; window.showSaveFilePicker = undefined")
        notebook.run(0)
        notebook.run(1)
        yield notebook
        notebook.close()


@pytest.fixture
def dash(notebook):
    dash = notebook.output(1).locator(DASH).first
    dash.wait_for(timeout=LONGEST)
    return dash


def errors_of_ours(notebook):
    """The page's errors that come of our code or of plotly's, which run from blobs; JupyterLab has some of its own."""
    return [error for error in notebook.errors if "blob:" in error or "hpoviz" in error]


def opened(dash, name):
    dash.locator(f'[data-tab="{name}"]').click()
    wanted = name if name != "study" else dash.get_by_label("which figure of the search").input_value()
    dash.locator(f'.hp-panel[data-shown^="{wanted} "]').wait_for(timeout=LONGEST)
    return dash.locator(".hp-panel")


def test_nothing_is_drawn_before_a_tab_is_opened(dash):
    expect(dash.locator(".hp-drawing")).to_have_text("Open a figure: it is drawn then.")
    assert dash.locator(".hp-plot svg").count() == 0
    assert dash.locator('[role="tab"]').count() == len(TRIAL_FIGURES) + 1


@pytest.mark.parametrize("name", [*TRIAL_FIGURES, "study"])
def test_every_tab_draws_its_figure(dash, notebook, name):
    panel = opened(dash, name)
    assert panel.locator(".hp-plot .main-svg").first.is_visible()
    assert panel.locator("..").locator(f'[data-tab="{name}"]').get_attribute("aria-selected") == "true"
    if name in TRIAL_FIGURES and name != "architecture":
        expect(panel.locator(".hp-heading h4")).to_have_text(TRIAL_FIGURES[name].title)
        assert len(panel.locator(".hp-heading p").inner_text()) > 60 or name == "mistakes"  # there may be none
    assert notebook.page.evaluate("window.hacked") is None
    assert not errors_of_ours(notebook)


def test_figures_of_the_search_can_be_chosen(dash):
    opened(dash, "study")
    dash.get_by_label("which figure of the search").select_option("timeline")
    dash.locator('.hp-panel[data-shown="timeline study"]').wait_for(timeout=LONGEST)


def test_tabs_by_keyboard(dash, notebook):
    opened(dash, "calibration")
    dash.locator('[data-tab="calibration"]').press("ArrowLeft")
    dash.locator('.hp-panel[data-shown^="mistakes "]').wait_for(timeout=LONGEST)
    assert dash.locator('[data-tab="mistakes"]').evaluate("e => e === document.activeElement && e.tabIndex === 0")
    dash.locator('[data-tab="mistakes"]').press("End")
    dash.locator('.hp-panel[data-shown$=" study"]').wait_for(timeout=LONGEST)


def test_figures_of_another_trial_from_its_details(dash):
    dash.locator('[data-trial="1"] .hp-details').click()
    dash.get_by_role("button", name="Figures of this trial").click()
    dash.locator('.hp-panel[data-shown$=" 1"]').wait_for(timeout=LONGEST)
    expect(dash.locator("dialog")).not_to_be_visible()
    expect(dash.get_by_label("figures of which trial")).to_have_value("1")
    dash.get_by_label("figures of which trial").select_option("")


def test_the_theme_is_followed(dash, notebook):
    opened(dash, "confusion_matrix")
    notebook.theme("dark")
    notebook.page.wait_for_function(
        """e => { const svg = e.querySelector('.hp-plot .main-svg');
            return svg && getComputedStyle(svg).backgroundColor === 'rgb(17, 20, 24)'; }""",
        arg=dash.element_handle(),
        timeout=LONGEST,
    )
    notebook.theme("light")
    dash.locator('.hp-panel[data-shown^="confusion_matrix "]').wait_for(timeout=LONGEST)


def test_on_a_phone_nothing_is_wider_than_the_screen(dash, notebook):
    opened(dash, "training")
    notebook.page.set_viewport_size({"width": 390, "height": 844})
    try:
        notebook.page.wait_for_function(
            """e => [...e.querySelectorAll('.hp-figures-of *')].every(one => one.closest('.hp-scroll')
                || one.getBoundingClientRect().right <= e.getBoundingClientRect().right + 1)""",
            arg=dash.element_handle(),
            timeout=LONGEST,
        )
    finally:
        notebook.page.set_viewport_size({"width": 1440, "height": 900})


def saved(notebook, button):
    with notebook.page.expect_download(timeout=LONGEST) as waiting:
        button.click()
    download = waiting.value
    return download.suggested_filename, download.path().read_bytes()


def test_figures_are_saved_as_pictures_and_pages(dash, notebook):
    opened(dash, "calibration")
    name, png = saved(notebook, dash.locator('[data-save="PNG"]'))
    assert name.startswith("trial_")
    assert name.endswith("_calibration.png")
    assert png.startswith(b"\x89PNG")
    _, svg = saved(notebook, dash.locator('[data-save="SVG"]'))
    assert svg.startswith(b"<svg")
    page = notebook.page.context.new_page()
    page.set_content(svg.decode())
    assert "Calibration" in page.locator("svg").first.text_content()
    page.close()
    name, html = saved(notebook, dash.locator('[data-save="HTML"]'))
    assert (name[-5:], b"plotly.js v" in html) == (".html", True)


def test_what_a_run_gives_can_be_taken_away(dash, notebook):
    name, content = saved(notebook, dash.locator('[data-file="best_model"]'))
    assert name == "best_model.zip"
    assert sorted(zipfile.ZipFile(io.BytesIO(content)).namelist()) == ["best_hyperparameters.yaml", "model.keras"]
    name, content = saved(notebook, dash.locator('[data-file="results"]'))
    assert content.decode().startswith("number,state,origin,score")
    name, content = saved(notebook, dash.locator('[data-file="run"]'))
    assert "run/events.jsonl" in zipfile.ZipFile(io.BytesIO(content)).namelist()
    name, content = saved(notebook, dash.locator('[data-file="report"]'))
    assert (name, content.lstrip()[:15].lower()) == ("report.html", b"<!doctype html>")
    expect(dash.locator(".hp-files [role=status]")).to_have_text("report.html is saved.")


def test_the_layers_are_saved(dash, notebook):
    opened(dash, "architecture")
    _, content = saved(notebook, dash.locator('[data-save="layers as JSON"]'))
    assert json.loads(content)


def test_the_browsers_own_dialog_says_where_it_goes(dash, notebook):
    notebook.page.evaluate(
        """() => { window.showSaveFilePicker = async ({ suggestedName }) => ({ createWritable: async () => ({
            write: async (blob) => (window.written = [suggestedName, blob.size]), close: async () => {} }) }) }"""
    )
    dash.locator('[data-file="results"]').click()
    expect(dash.locator(".hp-files [role=status]")).to_have_text("results.csv is saved.", timeout=LONGEST)
    name, size = notebook.page.evaluate("window.written")
    assert (name, size > 500) == ("results.csv", True)
    notebook.page.evaluate(
        "() => { window.showSaveFilePicker = async () => { throw new DOMException('no', 'AbortError') } }"
    )
    dash.locator('[data-file="run"]').click()
    expect(dash.locator(".hp-files [role=status]")).to_have_text("")  # nothing is saved where people change their mind
    notebook.page.evaluate("window.showSaveFilePicker = undefined")


def test_a_thousand_trials(notebook):
    notebook.run(2)
    dash = notebook.output(2).locator(DASH).first
    dash.wait_for(timeout=LONGEST)
    opened(dash, "study")
    opened(dash, "training")
    opened(dash, "gradient_flow")  # made by hand, without a record
    assert "arrays.npz is not there" in dash.locator(".hp-plot").text_content()


def test_buttons_say_when_there_is_something(notebook):
    notebook.run(3)
    dash = notebook.output(3).locator(DASH).first
    dash.get_by_role("button", name="▶ Start").click()
    expect(dash.locator('[data-file="best_model"]')).to_be_disabled(timeout=LONGEST)
    expect(dash.locator(".hp-files [role=status]")).to_contain_text("Best model, ", timeout=LONGEST)
    expect(dash.locator(".hp-files [role=status]")).to_contain_text("when the first trial has finished")
    expect(dash.locator('[data-file="best_model"]')).to_be_enabled(timeout=LONGEST)
    expect(dash.locator(".hp-files [role=status]")).to_have_text("")
    assert not errors_of_ours(notebook)
