"""The dashboard on RunPod, over a service on this machine: switched on, watched, stopped, its costs shown."""

import pytest
from playwright.sync_api import expect

from tests.lab import Lab
from tests.runpod_service import Service
from tests.widgets.test_dashboard_browser import DASH, fill, no_sideways, shown

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SETUP = """
import os
os.environ |= {{"RUNPOD_ENDPOINT_ID": "ep", "RUNPOD_API_KEY": "{key}", "RUNPOD_ENDPOINT_BASE_URL": "{url}"}}
import hpoviz
dash = hpoviz.Dashboard(); dash
"""
PAID = """
backend = hpoviz.RunPodBackend(workers=1, price_per_hour=3600.0, poll_s=0.2)
opt = hpoviz.Optimizer("digits", trials=1, epochs=2, seed=0, backend=backend, search_space={"filters": 8})
opt.run()
"""
AWAY = """
away = hpoviz.RunPodBackend("nobody", workers=1, on_unavailable="local")
moved = hpoviz.Optimizer("digits", trials=1, epochs=2, seed=0, backend=away, search_space={"filters": 8})
moved.run()
"""
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def service():
    with Service() as service:
        service.start_worker("one")
        yield service


@pytest.fixture(scope="module")
def notebook(chromium, service, tmp_path_factory):
    cells = [SETUP.format(key=service.key, url=service.base_url), PAID, AWAY]
    with Lab(tmp_path_factory.mktemp("lab"), chromium) as lab:
        notebook = lab.open("runpod.ipynb", cells)
        notebook.run(0)
        service.wait_for_workers(1)
        yield notebook
        notebook.close()


def test_a_search_is_switched_to_runpod_and_stopped(notebook, service):
    dash = shown(notebook, 0)
    switch = dash.get_by_role("switch", name="run on RunPod")
    expect(switch).not_to_be_checked()
    switch.focus()
    switch.press("Space")
    expect(switch).to_be_checked()
    expect(dash.locator('[data-field="backend"]')).to_be_disabled()
    no_sideways(notebook.page, dash)
    fill(dash, trials=50, workers=1, seed=0)
    pair = dash.locator('.hp-pair[data-field="epochs"] input')
    for at in (1, 0):
        pair.nth(at).fill("900")
        pair.nth(at).blur()
    dash.get_by_role("button", name="Start").click()
    service.wait(lambda: service.running and service.running[0].worker, what="a job with a worker")
    expect(dash.locator(".hp-slot").first).to_contain_text("epoch")
    dash.get_by_role("button", name="Stop").click()
    service.wait(lambda: not service.running, 60, "the end of all jobs")
    expect(dash.locator(".hp-phase")).to_have_text("stopped")


def test_costs_are_shown(notebook, service):
    notebook.run(1)
    dash = notebook.output(1).locator(DASH).first
    expect(dash.locator('[data-figure="left"] small')).to_contain_text("about $")
    (job,) = [job for job in service.jobs.values() if job.status == "COMPLETED"]
    seconds = job.view(output=False)["executionTime"] / 1000
    dash.get_by_role("button", name="View details").first.click()
    expect(dash.locator("dialog .hp-facts-list")).to_contain_text(f"cost${seconds:.2f}")
    notebook.page.keyboard.press("Escape")


def test_that_trials_run_elsewhere_is_said(notebook):
    notebook.run(2)
    dash = notebook.output(2).locator(DASH).first
    expect(dash.get_by_text("Trials run on: ")).to_contain_text("knows no endpoint 'nobody'")
    assert not [cell for cell in range(3) if "rpa_" in notebook.output(cell).inner_html()]
