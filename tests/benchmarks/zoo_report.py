"""What the runs of the fault zoo say, as tables.

(1) By fault and strength: in how many runs a right finding came, in how many any, in how many a right one came first;
on the architectures that thresholds were not fitted to, and on all. (2) By metric: how well its value tells its own
faults (medium and severe) from healthy runs, as AUC with a bootstrapped interval. (3) Findings on healthy runs, with
Wilson's interval. (4) Right layers, where one layer is at fault. (5) The published rules of others on the same runs,
in the scope that they are meant for and in all. (6) What an observation costs.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from hpoviz.health.assessment import metrics_of
from hpoviz.health.calibration import THRESHOLDS
from hpoviz.health.diagnosis import find_faults
from hpoviz.health.metric import METRICS, wilson
from hpoviz.health.observation import Observation
from hpoviz.health.report import Finding
from hpoviz.health.signs import Case
from tests.benchmarks.bench_search import machine
from tests.benchmarks.rule_ports import FAULTS_OF
from tests.benchmarks.zoo_models import FAULTS, HELD_OUT, HELD_OUT_DATA, STRENGTHS

__all__ = ["HEALTHY", "Judged", "is_held_out", "judged", "print_report"]

HEALTHY = "healthy"


@dataclasses.dataclass(frozen=True)
class Judged:
    """A run, its metrics and findings."""

    fault: str
    strength: str
    architecture: str
    data: str
    case: Case
    findings: tuple[Finding, ...]
    rules: Mapping[str, Sequence[str]]
    accuracy: float
    train_s: float
    analyze_s: float

    @property
    def right(self) -> bool:
        """Whether one of the right findings came."""
        return any(finding.fault in FAULTS[self.fault].findings for finding in self.findings)

    @property
    def first(self) -> bool:
        """Whether the first finding is a right one."""
        return bool(self.findings) and self.findings[0].fault in FAULTS[self.fault].findings

    @property
    def layer(self) -> bool | None:
        """Whether the first right finding names the layer at fault; None where none came, or no layer alone is."""
        fault = FAULTS[self.fault]
        named = [finding.layer for finding in self.findings if finding.fault in fault.findings]
        if not fault.layer or not named:
            return None
        recipe = fault.recipes[STRENGTHS.index(self.strength)]
        return named[0] == f"hidden_{recipe.at or 1}"


def judged(item: Mapping[str, Any], thresholds: Mapping[str, float] = THRESHOLDS) -> Judged:
    """Judge a run that was kept."""
    fault, strength, architecture, data, _ = item["key"]
    seen = Observation.from_dict(item["observation"])
    case = Case(metrics_of(seen), seen)
    return Judged(
        fault, strength, architecture, data, case, find_faults(case, thresholds), item["rules"], item["accuracy"],
        item["train_s"], item["analyze_s"],
    )  # fmt: skip


def is_held_out(run: Judged) -> bool:
    """Tell whether thresholds were not fitted to a run."""
    return run.architecture in HELD_OUT or run.data == HELD_OUT_DATA


def print_report(results: Iterable[Mapping[str, Any]]) -> None:
    """Print the tables."""
    runs = [judged(item) for item in results]
    healthy = [run for run in runs if run.fault == HEALTHY]
    faulty = [run for run in runs if run.fault != HEALTHY]
    strong = [run for run in faulty if run.strength != STRENGTHS[0]]
    held_out = list(filter(is_held_out, faulty))
    print(machine())
    print(f"{len(faulty)} faulty and {len(healthy)} healthy runs; held out: {len(held_out)} and ", end="")
    print(len(list(filter(is_held_out, healthy))))
    _print_recall("held-out architectures and data", held_out)
    _print_recall("all", faulty)
    print("\n(2) AUC of each metric on its own faults, medium and severe, against healthy runs\n")
    print("| metric | AUC | 95% | held out | faulty runs | healthy runs | none |\n|---|---|---|---|---|---|---|")
    for metric in METRICS:
        print(_auc_row(metric, strong, healthy))
    print("\n(3) findings on healthy runs\n\n| runs | number | with a finding | 95% | which |\n|---|---|---|---|---|")
    for title, chosen in (("held out", list(filter(is_held_out, healthy))), ("all", healthy)):
        which = collections.Counter(finding for run in chosen for finding in {one.fault for one in run.findings})
        names = ", ".join(f"{name} {count}" for name, count in which.most_common())
        print(f"| {title} | {_alarms([bool(run.findings) for run in chosen])} | {names} |")
    _print_layers(strong)
    _print_rules(strong, healthy)
    accuracies = [run.accuracy for run in healthy]
    print(
        f"\n(6) One observation: median {np.median([run.analyze_s for run in runs]):.2f} s; training "
        f"{np.median([run.train_s for run in runs]):.1f} s. Validation accuracy of healthy runs: median "
        f"{np.median(accuracies):.3f}, least {min(accuracies):.3f}."
    )


def _print_recall(title: str, runs: list[Judged]) -> None:
    print(f"\n(1) {title}: share of runs with a right finding / with any / with the right one first (runs)\n")
    print("| fault | " + " | ".join(STRENGTHS) + " |\n|---|---|---|---|")
    for fault in FAULTS:
        cells = [_shares([run for run in runs if (run.fault, run.strength) == (fault, one)]) for one in STRENGTHS]
        print(f"| {fault} | {' | '.join(cells)} |")
    strong = [run for run in runs if run.strength != STRENGTHS[0]]
    by_fault = _by_fault(strong, lambda run: run.right)
    low = ", ".join(f"{fault} {value:.2f}" for fault, value in by_fault.items() if value < 0.7)
    some, first = (_by_fault(strong, of) for of in (lambda run: bool(run.findings), lambda run: run.first))
    means = [float(np.mean(list(values.values()))) for values in (by_fault, some, first)]
    print(f"\nMeans over faults, medium and severe: {means[0]:.3f} right, {means[1]:.3f} any, {means[2]:.3f} first.")
    print(f"Below 0.70 right: {low or 'none'}.")


def _by_fault(runs: list[Judged], of: Callable[[Judged], bool]) -> dict[str, float]:
    hits: dict[str, list[bool]] = {}
    for run in runs:
        hits.setdefault(run.fault, []).append(of(run))
    return {fault: float(np.mean(values)) for fault, values in hits.items()}


def _shares(runs: list[Judged]) -> str:
    if not runs:
        return "–"
    parts = ([run.right for run in runs], [bool(run.findings) for run in runs], [run.first for run in runs])
    return " / ".join(f"{np.mean(part):.2f}" for part in parts) + f" ({len(runs)})"


def _alarms(hits: list[bool]) -> str:
    low, high = wilson(sum(hits), len(hits)) if hits else (0.0, 1.0)
    return f"{len(hits)} | {sum(hits)} | {low:.3f}–{high:.3f}"


def _auc_row(metric: str, strong: list[Judged], healthy: list[Judged]) -> str:
    own = [run for run in strong if FAULTS[run.fault].metric == metric]
    missing = sum(run.case.metrics[metric].value is None for run in own)
    bad, good = _values(metric, own), _values(metric, healthy)
    if len(bad) < 2 or len(good) < 2:
        return f"| {metric} | – | – | – | {len(bad)} | {len(good)} | {missing} |"
    chance = np.random.default_rng(0)
    drawn = [_auc(chance.choice(good, len(good)), chance.choice(bad, len(bad))) for _ in range(500)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    held_out = _auc(*(_values(metric, list(filter(is_held_out, runs))) for runs in (healthy, own)))
    return (
        f"| {metric} | {_auc(good, bad):.3f} | {low:.3f}–{high:.3f} | {held_out:.3f} | {len(bad)} | {len(good)} | "
        f"{missing} |"
    )


def _values(metric: str, runs: list[Judged]) -> np.ndarray:
    values = [run.case.metrics[metric].value for run in runs]
    return np.array([value for value in values if value is not None])


def _auc(good: np.ndarray, bad: np.ndarray) -> float:
    if not len(good) or not len(bad):
        return float("nan")
    return float(roc_auc_score(np.r_[np.ones(len(good)), np.zeros(len(bad))], np.r_[good, bad]))


def _print_layers(strong: list[Judged]) -> None:
    print(
        "\n(4) right layer, of the runs with a right finding, medium and severe\n\n"
        "| fault | share | runs |\n|---|---|---|"
    )
    for fault, what in FAULTS.items():
        found = [run.layer for run in strong if run.fault == fault and run.layer is not None]
        if what.layer and found:
            print(f"| {fault} | {np.mean(found):.2f} | {len(found)} |")


def _print_rules(strong: list[Judged], healthy: list[Judged]) -> None:
    print("\n(5) beside published rules, medium and severe; the scope is the faults that a tool has a rule for\n")
    print("| tool | right, in its scope | any, in its scope | any, all faults | healthy runs | with a finding | 95% |")
    print("|---|---|---|---|---|---|---|")
    for tool, rules in FAULTS_OF.items():
        scope = {fault for faults in rules.values() for fault in faults}
        inside = [run for run in strong if run.fault in scope]
        right = [any(run.fault in rules[rule] for rule in run.rules[tool]) for run in inside]
        some = [bool(run.rules[tool]) for run in inside]
        anywhere = [bool(run.rules[tool]) for run in strong]
        alarms = _alarms([bool(run.rules[tool]) for run in healthy])
        print(f"| {tool} | {np.mean(right):.3f} | {np.mean(some):.3f} | {np.mean(anywhere):.3f} | {alarms} |")
        ours = [
            [run.right for run in inside],
            [bool(run.findings) for run in inside],
            [bool(run.findings) for run in strong],
        ]
        cells = " | ".join(f"{np.mean(values):.3f}" for values in ours)
        print(f"| hpoviz, in the scope of {tool} | {cells} | {_alarms([bool(run.findings) for run in healthy])} |")
