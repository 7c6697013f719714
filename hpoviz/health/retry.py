"""Retry: a few epochs as it was and with a prescription, side by side."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from hpoviz import _html
from hpoviz.errors import ConfigError, nearest
from hpoviz.health.health_callback import HealthCallback
from hpoviz.health.remedies import REMEDIES, fresh
from hpoviz.health.report import Finding, HealthReport

__all__ = ["Retry", "retry"]


@dataclasses.dataclass(frozen=True)
class Retry:
    """A training as it was and one with a prescription.

    Attributes
    ----------
    fault : str
    words : str
        What was changed.
    before, after : HealthReport
    accuracy_before, accuracy_after : float
        On validation data.
    model : keras.Model
        The one that was trained with the change.
    """

    fault: str
    words: str
    before: HealthReport
    after: HealthReport
    accuracy_before: float
    accuracy_after: float
    model: keras.Model = dataclasses.field(repr=False)

    @property
    def fixed(self) -> bool:
        """Whether the fault was there before and is not after."""
        return self._shows(self.before) and not self._shows(self.after)

    def _shows(self, report: HealthReport) -> bool:
        return any(finding.fault == self.fault for finding in report.findings)

    def _verdict(self) -> str:
        if self.fixed:
            return "it is gone"
        return "it is still there" if self._shows(self.after) else "so few epochs do not show it, with or without"

    def _rows(self) -> list[tuple[str, str, str]]:
        rows = [("validation accuracy", f"{self.accuracy_before:.4f}", f"{self.accuracy_after:.4f}")]
        for name, metric in self.before.metrics.items():
            rows.append((name.replace("_", " "), _number(metric.value), _number(self.after.metrics[name].value)))
        return rows

    def __repr__(self) -> str:
        lines = [f"{self.fault.replace('_', ' ')}, with {self.words}: {self._verdict()}"]
        return "\n".join(lines + [f"  {name:21} {before:>7} → {after}" for name, before, after in self._rows()])

    def _repr_html_(self) -> str:
        said = _html.paragraph(f"{self.fault.replace('_', ' ')}, with {self.words}: {self._verdict()}.", strong=True)
        return _html.page(said + _html.table(("", "before", "after"), self._rows()))


def retry(model: keras.Model, parts: Any, finding: Finding | str, *, epochs: int, batch_size: int, seed: int) -> Retry:
    """Train two untrained copies of a model for some epochs, as it was compiled and with what a finding prescribes.

    Parameters
    ----------
    model : keras.Model
        Sequential or functional, compiled.
    parts : ((x_train, y_train), (x_val, y_val))
    finding : Finding or str
        Or the name of a fault.
    epochs, batch_size, seed : int

    Raises
    ------
    ConfigError
        A fault that no change of the model can mend, or a model that was not compiled.
    ModelBuildError
        A model that cannot be made anew.
    """
    fault, layer = (finding.fault, finding.layer) if isinstance(finding, Finding) else (str(finding), None)
    if fault not in REMEDIES:
        raise ConfigError(
            f"Nothing that could be tried by itself is known against {fault!r}.{nearest(fault, REMEDIES)} "
            f"Known: {', '.join(REMEDIES)}."
        )
    if not getattr(model, "compiled", False):
        raise ConfigError(f"{model.name!r} is not compiled, so it is not known how it is trained. Compile it first.")
    (x, y), val = parts
    remedy = REMEDIES[fault]
    reports, accuracies = [], []
    for change in (None, remedy):
        keras.utils.set_random_seed(seed)
        copy = fresh(model, x, change, layer)
        watch = HealthCallback(parts, seed=seed)
        weights = _class_weights(y) if change is not None and change.class_weights else None
        history = copy.fit(
            x, y, validation_data=val, epochs=epochs, batch_size=batch_size, class_weight=weights, verbose=0,
            callbacks=[watch],
        )  # fmt: skip
        reports.append(watch.report)
        accuracies.append(float(history.history["val_accuracy"][-1]))
    before, after = reports
    return Retry(fault, remedy.words, before, after, accuracies[0], accuracies[1], copy)


def _class_weights(y: np.ndarray) -> dict[int, float]:
    counts = np.bincount(np.asarray(y).ravel())
    return {number: len(y) / (np.count_nonzero(counts) * count) for number, count in enumerate(counts) if count}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
