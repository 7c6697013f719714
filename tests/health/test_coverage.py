"""A health of fewer than all metrics says so beside those of other trials."""

import pytest

from hpoviz.assets import asset
from hpoviz.health.metric import METRICS
from hpoviz.plots.study_facts import tip
from hpoviz.progress import score_text, trial_line
from hpoviz.results import TrialResult

SOME = dict(zip(METRICS, (0.9, 0.8, None, 0.85, None, None), strict=True))
ALL = dict.fromkeys(METRICS, 0.85)
TRIAL = {"trial_id": 0, "number": 0, "state": "finished", "params": {}, "seed": 0, "accuracy": 0.9, "score": 0.885}


def test_lines_and_figures_say_of_how_many_metrics_a_health_is_made():
    some, whole = (TrialResult(health=0.85, metrics=metrics, **TRIAL) for metrics in (SOME, ALL))
    assert score_text(some) == "score 0.8850 (accuracy 0.9000, health 0.85 (3 of 6))"
    assert "health 0.85 (3 of 6)" in trial_line(some)
    assert "health 0.85 (3 of 6)" in tip(some)
    assert "health 0.85)" in trial_line(whole)
    assert "(6 of 6)" not in tip(whole)
    assert "health" not in tip(TrialResult(**TRIAL))


@pytest.mark.slow
def test_tiles_and_the_comparison_say_it_too_and_it_fits_in_a_tile(browser):
    page = browser.new_page()
    code = f"{asset('gallery.js')}; return [trial => healthOf(trial, 2), accuracyAndHealth]"
    trials = [{"health": 0.85, "metrics": SOME}, {"health": 0.85, "metrics": ALL}, {"health": None, "metrics": {}}]
    trials = [{"accuracy": 0.979, **trial} for trial in trials]
    said = page.evaluate("([code, trials]) => new Function(code)().map(say => trials.map(say))", [code, trials])
    assert said[0] == ["0.85 (3 of 6)", "0.85", "–"]
    assert said[1] == ["acc 0.979 · health 0.85 (3 of 6)", "accuracy 0.979 · health 0.85", "accuracy 0.979"]
    tile = "".join(f'<span class="hp-facts">{text}</span>' for text in said[1])
    tile = f'<div class="hpoviz-dash"><div class="hp-tile" style="width: 214px">{tile}</div></div>'
    page.set_content(f"<style>{asset('dashboard.css')}</style>{tile}")
    cut = page.evaluate("[...document.querySelectorAll('.hp-facts')].map(e => e.scrollWidth - e.clientWidth)")
    page.close()
    assert cut == [0, 0, 0]
