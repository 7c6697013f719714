"""Before training: what of a model, its data and its compile settings cannot work, or will not work well."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import keras
import numpy as np

from hpoviz import _html
from hpoviz.data.inputs import leaves
from hpoviz.health.assessment import metrics_of
from hpoviz.health.diagnosis import find_faults
from hpoviz.health.losses import CATEGORICAL, SPARSE, loss_name
from hpoviz.health.observing import observe
from hpoviz.health.probe import Probe
from hpoviz.health.rates import constant_rate, inner_optimizer, middle_rate, said_of_rate, usual_rates
from hpoviz.health.report import Finding
from hpoviz.health.samples import Samples
from hpoviz.health.signs import Case

__all__ = ["Preflight", "preflight"]

# What the layers of an untrained model already show.
AT_START = (
    *("not_finite", "wrong_output_activation", "missing_input_scaling", "vanishing_gradient", "exploding_gradient"),
    *("saturation", "dying_relu", "dead_units"),
)
FEW_OF_CLASS, IMBALANCED = 20, 0.1
MOST_DROPOUT = 0.7


@dataclasses.dataclass(frozen=True)
class Preflight:
    """What was found before training; empty findings mean that nothing speaks against it.

    Attributes
    ----------
    model : str
    findings : tuple of Finding
    """

    model: str
    findings: tuple[Finding, ...]

    def __bool__(self) -> bool:
        """Whether it can take off: nothing was found."""
        return not self.findings

    def __repr__(self) -> str:
        if not self.findings:
            return f"Before training {self.model}: nothing speaks against it."
        return "\n".join([f"Before training {self.model}:", *(f"  ! {finding}" for finding in self.findings)])

    def _repr_html_(self) -> str:
        return _html.health(f"Before training {self.model}", "", [], [finding.cells for finding in self.findings])


def preflight(probe: Probe, samples: Samples, seed: int) -> Preflight:
    """Look at an untrained model with its data and compile settings.

    Parameters
    ----------
    probe : Probe
        Of the model.
    samples : Samples
    seed : int
    """
    seen = observe(probe, samples, history={}, seed=seed)
    seen = dataclasses.replace(
        seen, learning_rate=None
    )  # of a training that is over; the next one's rate is told below
    faults = find_faults(Case(metrics_of(seen), seen))
    found = [
        *_values(samples),
        *_compilation(probe.model, samples.one_hot is not None),
        *(finding for finding in faults if finding.fault in AT_START),
        *_classes(samples, probe.classes),
        *_dropout(probe.model),
    ]
    return Preflight(probe.model.name, tuple(found))


def _values(samples: Samples) -> Iterator[Finding]:
    parts = [array for part in (samples.x_train, samples.x) if part is not None for array in leaves(part)]
    floating = [part for part in parts if np.issubdtype(part.dtype, np.floating)]
    share = 1 - float(np.mean([np.isfinite(part).mean() for part in floating])) if floating else 0.0
    if share > 0:
        yield Finding(
            fault="values_not_finite",
            layer=None,
            metric="training_stability",
            evidence=f"{share:.2%} of the values in the samples are NaN or infinite.",
            consequence="The first batch that holds one makes all weights NaN.",
            prescription="Leave those samples out, or fill the values in: np.nan_to_num(x).",
        )


def _compilation(model: keras.Model, one_hot: bool) -> Iterator[Finding]:
    if not getattr(model, "compiled", False) or model.optimizer is None:
        yield Finding(
            fault="not_compiled",
            layer=None,
            metric="convergence_quality",
            evidence="The model has no optimizer and no loss.",
            consequence="fit() will refuse it.",
            prescription="model.compile('adam', 'sparse_categorical_crossentropy', metrics=['accuracy']).",
        )
        return
    name = loss_name(model)
    if one_hot and name in SPARSE:
        yield Finding(
            fault="wrong_label_coding",
            layer=None,
            metric="convergence_quality",
            evidence=f"The labels are one-hot rows, and the loss {name} takes whole numbers.",
            consequence="fit() fails, or learns something else.",
            prescription="Use categorical_crossentropy, or y.argmax(axis=1).",
        )
    if not one_hot and name in CATEGORICAL:
        yield Finding(
            fault="wrong_label_coding",
            layer=None,
            metric="convergence_quality",
            evidence=f"The labels are whole numbers, and the loss {name} takes a column for each class.",
            consequence="fit() fails, or learns something else.",
            prescription="Use sparse_categorical_crossentropy, or keras.utils.to_categorical(y).",
        )
    rate, kind = constant_rate(model), type(inner_optimizer(model)).__name__
    low, high = usual_rates(kind)
    if rate is not None and not low <= rate <= high:
        yield Finding(
            fault="learning_rate_out_of_range",
            layer=None,
            metric="training_stability" if rate > high else "convergence_quality",
            evidence=f"{said_of_rate(rate, kind)}.",
            consequence="Steps are so large that the loss jumps or units die."
            if rate > high
            else "The model will have learned next to nothing when training ends.",
            prescription=f"Begin with {middle_rate(kind):g}, and search around it.",
        )


def _classes(samples: Samples, classes: int) -> Iterator[Finding]:
    counts = np.zeros(classes, int)
    counts[: len(samples.class_counts)] = samples.class_counts
    rarest = int(counts.argmin())
    if counts[rarest] < FEW_OF_CLASS or counts[rarest] < IMBALANCED * counts.max():
        yield Finding(
            fault="rare_class",
            layer=None,
            metric="accuracy_consistency",
            evidence=f"Class {rarest} has {counts[rarest]} of {counts.sum():,} training samples, the largest class "
            f"{counts.max():,}.",
            consequence="It may never be found, and the accuracy will not show it.",
            prescription="Use class_weight in fit(), or collect more of it; leave its output out if it never comes.",
        )


def _dropout(model: keras.Model) -> Iterator[Finding]:
    for layer in model._flatten_layers():
        rate = getattr(layer, "rate", None)
        if "Dropout" in type(layer).__name__ and isinstance(rate, float) and rate > MOST_DROPOUT:
            yield Finding(
                fault="too_much_dropout",
                layer=layer.name,
                metric="convergence_quality",
                evidence=f"{rate:.0%} of its inputs are dropped in each step.",
                consequence="Little is left to learn from: the model underfits.",
                prescription="Use 0.2 to 0.5.",
            )
