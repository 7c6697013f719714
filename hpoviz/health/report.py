"""HealthReport: the six metrics of a model, what is wrong with it, and what to do."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from hpoviz import _html
from hpoviz.errors import nearest
from hpoviz.health.calibration import USUAL
from hpoviz.health.metric import EXPLANATIONS, METRICS, Metric
from hpoviz.json_values import json_value

__all__ = ["Finding", "HealthReport", "in_words"]

VERSION = 1
HEALTHY = 0.8  # from where on a value is called so, unless healthy models have less
LEAST_METRICS = 3  # with fewer there is no overall health


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    fault : str
        As "dying_relu".
    layer : str or None
        Its id in the model's graph; None where it is the model as a whole.
    metric : str
        The metric that shows it.
    evidence : str
        The number, its threshold and its interval, in words.
    consequence, prescription : str
        What comes of it, and what to do.
    """

    fault: str
    layer: str | None
    metric: str
    evidence: str
    consequence: str
    prescription: str

    @property
    def cells(self) -> tuple[str, ...]:
        """Fault, layer or an empty text, evidence, consequence, prescription, to be shown."""
        return (
            self.fault.replace("_", " "),
            self.layer or "",
            self.evidence,
            self.consequence,
            self.prescription,
        )

    def __str__(self) -> str:
        where = f" in {self.layer}" if self.layer else ""
        return f"{self.fault.replace('_', ' ')}{where}: {self.evidence} {self.prescription}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class HealthReport:
    """What is known of a model's health; each metric is an attribute too, as ``report.neuron_utilization.value``.

    Attributes
    ----------
    model : str
    metrics : mapping of str to Metric
        By name.
    findings : tuple of Finding
        Causes before what they lead to.
    weights : mapping of str to float
        Of the metrics in the overall health.
    rows : int
        Validation samples that were looked at.
    seconds : float
    """

    model: str
    metrics: Mapping[str, Metric]
    findings: tuple[Finding, ...]
    weights: Mapping[str, float]
    rows: int
    seconds: float

    def __getattr__(self, name: str) -> Metric:
        if name in METRICS:
            return self.metrics[name]
        raise AttributeError(f"A health report has no {name!r}.{nearest(name, METRICS)}")

    @property
    def available(self) -> tuple[Metric, ...]:
        """The metrics that have a value and a weight."""
        return tuple(one for one in self.metrics.values() if one.value is not None and self.weights[one.name] > 0)

    @property
    def overall(self) -> float | None:
        """The weighted mean of the metrics that have a value; None with fewer than three, where three have weights."""
        known = [(self.weights[metric.name], metric.value) for metric in self.available if metric.value is not None]
        total = sum(weight for weight, _ in known)
        wanted = sum(weight > 0 for weight in self.weights.values())
        if len(known) < min(LEAST_METRICS, wanted):
            return None
        return sum(weight * value for weight, value in known) / total

    @property
    def _usual(self) -> float:
        """What the overall health would be if each metric had the least of healthy models."""
        parts = [(self.weights[metric.name], usual_value(metric.name)) for metric in self.available]
        total = sum(weight for weight, _ in parts)
        return sum(weight * value for weight, value in parts) / total if total else HEALTHY

    @property
    def coverage(self) -> str:
        """How many of the metrics the overall health is made of, as "5/6"."""
        return f"{len(self.available)}/{sum(weight > 0 for weight in self.weights.values())}"

    @property
    def worst(self) -> Metric | None:
        """The metric with the lowest value."""
        return min(self.available, key=lambda metric: metric.value or 0.0, default=None)

    @property
    def layer_health(self) -> dict[str, float]:
        """The lowest value that a metric gives a layer, by layer id, for `ModelVisualizer(model, health=…)`."""
        found: dict[str, float] = {}
        for metric in self.metrics.values():
            for score in metric.layers:
                found[score.layer] = min(score.value, found.get(score.layer, 1.0))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "version": VERSION,
            "model": self.model,
            "overall": self.overall,
            "coverage": self.coverage,
            "worst": self.worst.name if self.worst else None,
            "weights": dict(self.weights),
            "metrics": {name: dataclasses.asdict(metric) for name, metric in self.metrics.items()},
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "rows": self.rows,
            "seconds": self.seconds,
        }

    def to_json(self) -> str:
        """Return `to_dict` as text; numbers that are not finite as null."""
        return json.dumps(json_value(self.to_dict()), ensure_ascii=False, allow_nan=False)

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each metric: value, interval, weight, reason, worst layer."""
        rows = [
            {
                "metric": metric.name,
                "value": metric.value,
                "low": metric.interval[0] if metric.interval else None,
                "high": metric.interval[1] if metric.interval else None,
                "weight": self.weights[metric.name],
                "worst_layer": metric.layers[0].layer if metric.layers else None,
                "reason": metric.reason,
            }
            for metric in self.metrics.values()
        ]
        return pd.DataFrame(rows).set_index("metric")

    def _repr_html_(self) -> str:
        overall = "" if self.overall is None else f" {self.overall:.2f},"
        title = f"Health of {self.model}:{overall} {in_words(self.overall, self._usual)}"
        took = f", {self.seconds:.1f} s" if self.seconds else ""  # one made of what was kept took no time
        facts = f"{self.coverage} metrics, {self.rows} samples{took}"
        metrics = [
            _html.HealthRow(
                name=metric.name.replace("_", " "),
                value=metric.value,
                words=in_words(metric.value, usual_value(metric.name)),
                interval=metric.interval,
                weight=self.weights[metric.name],
                reason=metric.reason or "",
                explanation=EXPLANATIONS[metric.name],
                layers=[
                    (
                        score.layer,
                        f"{score.value:.2f}",
                        in_words(score.value, usual_value(metric.name)),
                        _numbers(score.evidence),
                    )
                    for score in metric.layers
                ],
            )
            for metric in self.metrics.values()
        ]
        return _html.health(title, facts, metrics, [finding.cells for finding in self.findings])

    def __repr__(self) -> str:
        overall = "not available" if self.overall is None else f"{self.overall:.2f}"
        lines = [f"Health of {self.model}: {overall} ({self.coverage} metrics, {self.rows} samples)"]
        for metric in self.metrics.values():
            value = "not available" if metric.value is None else f"{metric.value:.2f}"
            worst = f"; worst layer {metric.layers[0].layer} {metric.layers[0].value:.2f}" if metric.layers else ""
            lines.append(
                f"  {metric.name.replace('_', ' '):21} {value}{worst}{f'  ({metric.reason})' if metric.reason else ''}"
            )
        return "\n".join([*lines, *(f"  ! {finding}" for finding in self.findings)])


def usual_value(metric: str) -> float:
    """Return from which value on a metric is called healthy: 95% of healthy models have it, 0.8 at most."""
    return min(HEALTHY, USUAL.get(metric, HEALTHY))


def in_words(value: float | None, usual: float = HEALTHY) -> str:
    """Return what a value is called: so that nobody has to tell colours or numbers apart.

    Parameters
    ----------
    value : float or None
    usual : float
        What 95% of healthy models have or exceed.

    Examples
    --------
    >>> in_words(0.9), in_words(0.6), in_words(0.2), in_words(None)
    ('healthy', 'to be watched', 'ill', 'not available')
    """
    if value is None:
        return "not available"
    return "healthy" if value >= usual else "to be watched" if value >= usual / 2 else "ill"


def _numbers(evidence: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in evidence.items())
