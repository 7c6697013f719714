"""Retry: a few epochs as it was and with a prescription, side by side."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from hpoviz import _html
from hpoviz.data.validation import codes_of_one_hot
from hpoviz.errors import ConfigError, nearest
from hpoviz.health.health_callback import HealthCallback
from hpoviz.health.losses import as_loss_takes
from hpoviz.health.metric import wilson
from hpoviz.health.remedies import REMEDIES, fresh, words_of
from hpoviz.health.report import Finding, HealthReport

__all__ = ["Retry", "retry"]


# In such a model most other faults do not show.
HIDING = {"not_finite": "giving out values that are not finite", "at_chance": "at chance"}
# Trainings of an MLP and a CNN on digits that differ in nothing but their seed: standard deviations of 0.011 to 0.022
# (8 seeds, 5 epochs, Adam with 0.001 and 0.005), so of two of them one is lower by more than this in one of twenty.
HEALTH_BY_CHANCE = 0.05


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
        """Whether the fault was there before, is not after, and the model is no worse for it.

        Worse is a model that gives out values that are not finite or is at chance, in which most faults do not show, or
        whose overall health or validation accuracy is lower by more than chance makes it.
        """
        return self._is_gone and not self._is_worse

    @property
    def _is_gone(self) -> bool:
        return self.fault in _faults(self.before) and self.fault not in _faults(self.after)

    @property
    def _is_worse(self) -> bool:
        return bool(_faults(self.after) & set(HIDING) or self._losses())

    def _losses(self) -> list[str]:
        """Return in words what is lower after the change."""
        found = []
        old, new = self.before.overall, self.after.overall
        if old is not None and new is not None and new < old - HEALTH_BY_CHANCE:
            found.append(f"overall health fell from {old:.2f} to {new:.2f}")
        low = wilson(self.accuracy_before * self.before.rows, self.before.rows)[0]
        if wilson(self.accuracy_after * self.after.rows, self.after.rows)[1] < low:
            found.append(f"validation accuracy fell from {self.accuracy_before:.4f} to {self.accuracy_after:.4f}")
        return found

    def _in_its_place(self) -> str:
        """Return in words what stands in the way of calling the fault mended: new findings first."""
        known = _faults(self.before)
        new = {finding.fault: finding for finding in reversed(self.after.findings) if finding.fault not in known}
        named = [f"{one.fault.replace('_', ' ')}{f' in {one.layer}' if one.layer else ''}" for one in new.values()]
        said = [f"replaced by {', '.join(reversed(named))}"] if named else []
        said += [
            f"the model is still {words}" for fault, words in HIDING.items() if fault in known & _faults(self.after)
        ]
        return "; ".join([*said, *self._losses()])

    def _verdict(self) -> str:
        if self.fault in _faults(self.after):
            return "it is still there"
        if self._is_gone:
            return f"it is gone, but nothing is mended: {self._in_its_place()}" if self._is_worse else "it is gone"
        if self._is_worse:
            return f"it was not there, and now: {self._in_its_place()}"
        return "so few epochs do not show it, with or without"

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
    coded, coded_val = as_loss_takes(model, y), (val[0], as_loss_takes(model, val[1]))
    fresh(model, x, remedy, layer)  # what cannot be tried is said before anything is trained
    reports, accuracies = [], []
    for change in (None, remedy):
        keras.utils.set_random_seed(seed)
        copy = fresh(model, x, change, layer)
        watch = HealthCallback(parts, seed=seed)
        weights = _class_weights(y) if change is not None and change.class_weights else None
        history = copy.fit(
            x, coded, validation_data=coded_val, epochs=epochs, batch_size=batch_size, class_weight=weights, verbose=0,
            callbacks=[watch],
        )  # fmt: skip
        reports.append(watch.report)
        accuracies.append(float(history.history["val_accuracy"][-1]))
    before, after = reports
    return Retry(fault, words_of(remedy, model), before, after, accuracies[0], accuracies[1], copy)


def _faults(report: HealthReport) -> set[str]:
    return {finding.fault for finding in report.findings}


def _class_weights(y: np.ndarray) -> dict[int, float]:
    codes = codes_of_one_hot(np.asarray(y))
    counts = np.bincount(np.asarray(y).ravel() if codes is None else codes)
    return {number: len(y) / (np.count_nonzero(counts) * count) for number, count in enumerate(counts) if count}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
