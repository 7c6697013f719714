"""The inline HTML in a real browser: both themes, desktop and phone."""

import numpy as np
import pytest

import hpoviz
from hpoviz import _html
from hpoviz.events import BatchProgress, PhaseChanged, RunStarted, TrialFailed, TrialFinished, TrialStarted
from hpoviz.health.metric import METRICS, LayerScore, Metric
from hpoviz.health.report import Finding, HealthReport
from hpoviz.health.weights import CLASSIC_WEIGHTS
from hpoviz.models.cnn import CnnConfig
from hpoviz.progress import ProgressView, TrialTable
from hpoviz.store.run_state import RunState

# JupyterLab's own variables, as its two themes set them.
THEMES = {
    "light": "--jp-content-font-color1:#000000de; --jp-border-color2:#e0e0e0; background:#fff",
    "dark": "--jp-content-font-color1:#fff; --jp-border-color2:#424242; background:#111",
}
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}


def a_state():
    """A run with a finished, a failed and a running trial."""
    params = CnnConfig().to_dict()
    say = {"run": "r", "attempt": 1}
    score = {"score": 0.9826, "accuracy": 0.9826, "loss": 0.07, "best_epoch": 9, "epochs": 12, "model_sha256": "0"}
    started = [
        TrialStarted(
            trial=n, slot=n % 2, params=params | {"learning_rate": 0.001 * (n + 1)}, suggested={}, seed=n, **say
        )
        for n in range(3)
    ]
    reason = "training diverged: the loss became nan in epoch 2, batch 13. <b>Try</b> a lower learning_rate."
    return RunState(
        [
            RunStarted(run="r", trials=12, slots=2, objective="accuracy"),
            started[0],
            TrialFinished(trial=0, number=0, seconds=3.2, **score, **say),
            started[1],
            TrialFailed(trial=1, number=1, seconds=1.0, kind="diverged", reason=reason, **say),
            started[2],
            PhaseChanged(trial=2, phase="training", **say),
            BatchProgress(trial=2, epoch=4, epochs=12, batch=20, batches=36, loss=0.3, accuracy=0.912, **say),
        ]
    )


def pages():
    state = a_state()
    return {
        "settings": hpoviz.Optimizer("digits", seed=0)._repr_html_(),
        "progress": _html.progress("hpoviz · digits", ProgressView.of(state)),
        "results": _html.progress("hpoviz · digits", ProgressView.of(state), TrialTable.of(state)),
        "images": hpoviz.load_dataset("digits")._repr_html_(),
        "texts": hpoviz.load_dataset("docstrings")._repr_html_(),
        "doubtful": doubtful_data()._repr_html_(),
        "health": a_health_report()._repr_html_(),
    }


def a_health_report():
    """A report with every kind of row: a bar, a reason in its place, layers, findings; with names that are markup."""
    layers = tuple(
        LayerScore(layer=name, value=value, interval=(0.1, 0.4), evidence={"active": 3, "units": 16, "finite": 1.0})
        for name, value in (("<b>conv2d_with_a_rather_long_name_17</b>", 0.19), ("dense", 0.97))
    )
    values = (0.31, 0.62, None, 0.97, 0.88, 0.91)
    metrics = {
        name: Metric(
            name=name,
            value=value,
            reason="There is no history of the <b>training</b>." if value is None else None,
            interval=None if value is None else (value - 0.1, value + 0.02),
            layers=layers if name == "neuron_utilization" else (),
        )
        for name, value in zip(METRICS, values, strict=True)
    }
    finding = Finding(
        fault="dying_relu",
        layer=layers[0].layer,
        metric="neuron_utilization",
        evidence="3 of 16 units are active (19%, 95% from 7% to 43%; threshold 50%).",
        consequence="The others say the same for every sample.",
        prescription="Use a smaller learning rate, or BatchNormalization.",
    )
    weights = dict(CLASSIC_WEIGHTS)
    return HealthReport(model="cnn", metrics=metrics, findings=(finding,), weights=weights, rows=360, seconds=0.4)


def doubtful_data():
    """Pictures in colour, of many classes with long names, of which some are rare and some occur twice."""
    chance = np.random.default_rng(0)
    x = chance.integers(0, 255, (300, 12, 20, 3)).astype("uint8")
    x[:9] = x[20]
    labels = [f"class with a long name, number {row % 14}" for row in range(290)] + ["<b>rare</b>"] * 10
    return hpoviz.Dataset.from_arrays(x, np.array(labels)[np.r_[:290, [290] * 5, 295:300]], name="hpoviz · pictures")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", THEMES)
def test_inline_html_fits_and_can_be_read(browser, theme, size, tmp_path):
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height})
    for name, body in pages().items():
        page.set_content(f'<body style="{THEMES[theme]}; font-family:sans-serif">{body}')
        page.screenshot(path=tmp_path / f"{name}-{theme}-{size}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than the page"
        assert page.locator(".hpoviz").inner_text().startswith(("hpoviz · ", "Dataset ", "Health of "))
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0 && image.alt)")
        colors = page.evaluate("[...document.querySelectorAll('.hpoviz *')].map(e => getComputedStyle(e).color)")
        assert set(colors) == {"rgb(255, 255, 255)" if theme == "dark" else "rgba(0, 0, 0, 0.87)"}
    assert page.locator("b").count() == 0  # the error's text stayed text
    page.close()


def test_a_health_report_says_everything_in_words_and_opens_by_keyboard(browser):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.set_content(a_health_report()._repr_html_())
    first = page.locator("summary").first
    assert first.inner_text() == "neuron utilization: 0.31 ill (95%: 0.21 to 0.33)"
    assert page.locator("summary").nth(2).inner_text().endswith("training stability: not available")
    first.focus()
    page.keyboard.press("Enter")
    assert page.get_by_text("The share of hidden units that change").is_visible()
    assert page.get_by_text("active 3, units 16, finite 1").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_the_search_space_opens_by_keyboard_and_scrolls(browser):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.set_content(pages()["settings"])
    page.locator("summary").focus()
    page.keyboard.press("Enter")
    assert page.get_by_text("kernel_size", exact=True).is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
