"""Fit the thresholds of findings to the runs of the fault zoo, and write them into the package::

    python -m tests.benchmarks.calibrate_health --kept zoo.jsonl [--write]

Fitted on the architectures and data sets that are not held out (see `zoo_models.py`); what the held-out ones say of
the result is printed by `health_zoo --report`. For each finding: its sign in healthy runs, and in medium and severe
runs of the faults that it is right for. The threshold lies beyond the largest sign of a healthy run: by `MARGIN` of the
way from there to the median of the faulty ones that are larger, on a logarithmic scale where signs are ratios; and not
below `LEAST`. Three are set `BY_HAND`.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np

from hpoviz.health import calibration
from hpoviz.health.diagnosis import RULES, Rule
from hpoviz.health.metric import METRICS
from hpoviz.health.prediction_metrics import WIDEST_GAP
from tests.benchmarks.health_zoo import kept
from tests.benchmarks.zoo_models import FAULTS, STRENGTHS
from tests.benchmarks.zoo_report import HEALTHY, Judged, is_held_out, judged

MARGIN = 0.5
# Below these nothing is worth a word, or chance would do it, however well the runs could be told apart there.
LEAST = {
    "label_noise": 3.0,  # standard errors
    "dead_units": 0.3,
    "exploding_gradient": 1.0,
    "missing_input_scaling": 10.0,
}
# What the zoo's few data sets cannot say: how far accuracies may be apart differs with the data, so the limit is where
# accuracy_consistency is 0; and no healthy model of the zoo has weight penalties.
BY_HAND = {"overfitting": WIDEST_GAP, "stale_normalization": WIDEST_GAP, "over_regularized": 0.1}
RATIOS = ("missing_input_scaling", "bloat")  # their signs are compared by their logarithm
FILE = Path(calibration.__file__).with_name("calibration.json")


def strongest(rule: Rule, run: Judged) -> float:
    """Return the largest sign of a fault in a run; minus infinity where there is none."""
    return max((sign.value for sign in rule.signs(run.case)), default=-math.inf)


def threshold(rule: Rule, healthy: list[Judged], faulty: list[Judged]) -> tuple[float, str]:
    """Return the threshold of a rule, and a row that says what it was made of."""
    scale = np.log10 if rule.fault in RATIOS else np.asarray
    back = (lambda value: 10**value) if rule.fault in RATIOS else float
    good = [scale(value) for value in (strongest(rule, run) for run in healthy) if math.isfinite(value)]
    own = [run for run in faulty if rule.fault in FAULTS[run.fault].findings]
    bad = [scale(value) for value in (strongest(rule, run) for run in own) if value > -math.inf]
    largest = max(good, default=min((value for value in bad if math.isfinite(value)), default=0.0))
    beyond = [value for value in bad if value > largest]
    finite = [value for value in beyond if math.isfinite(value)]
    middle = float(np.median(finite)) if finite else largest
    chosen = max(
        largest + MARGIN * (middle - largest), float(scale(LEAST[rule.fault])) if rule.fault in LEAST else -math.inf
    )
    if rule.fault in BY_HAND:
        chosen = BY_HAND[rule.fault]
    hits = sum(value >= chosen for value in bad)
    row = f"| {rule.fault} | {back(largest):.3g} | {back(middle):.3g} | {back(chosen):.3g} | {hits} of {len(own)} |"
    return float(f"{back(chosen):.4g}"), row


def main() -> None:
    """Print what was fitted, and keep it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=Path, required=True, help="a file of health_zoo")
    parser.add_argument("--write", action="store_true", help=f"into {FILE.name} of the package")
    options = parser.parse_args()
    runs = [run for run in map(judged, kept(options.kept)) if not is_held_out(run)]
    healthy = [run for run in runs if run.fault == HEALTHY]
    faulty = [run for run in runs if run.fault != HEALTHY and run.strength != STRENGTHS[0]]
    print(f"{len(healthy)} healthy runs and {len(faulty)} with medium or severe faults, none of them held out.\n")
    print("| finding | largest healthy sign | middle of the larger faulty ones | threshold | found, of its faults |")
    print("|---|---|---|---|---|")
    thresholds = {}
    for rule in RULES:
        if rule.threshold:
            thresholds[rule.fault], row = threshold(rule, healthy, faulty)
            print(row)
    values = {
        metric: [value for run in healthy if (value := run.case.metrics[metric].value) is not None]
        for metric in METRICS
    }
    usual = {metric: [round(float(np.quantile(one, q)), 3) for q in (0.05, 0.5)] for metric, one in values.items()}
    print("\n| metric | 5% of healthy runs are below | median |\n|---|---|---|")
    for metric, (low, middle) in usual.items():
        print(f"| {metric} | {low:.3f} | {middle:.3f} |")
    if options.write:
        record = {
            "version": calibration.CALIBRATION["version"] + 1,
            "made_of": f"{len(healthy)} healthy and {len(faulty)} faulty runs of tests/benchmarks/health_zoo.py",
            "thresholds": thresholds,
            "usual": usual,
        }
        FILE.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        print(f"\nWritten: {FILE.name}, version {record['version']}.")


if __name__ == "__main__":
    main()
