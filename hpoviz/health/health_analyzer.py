"""HealthAnalyzer: looks inside a trained classifier with one pass of data, and says how healthy it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import keras

from hpoviz.errors import ConfigError
from hpoviz.health.assessment import assess
from hpoviz.health.history import curves_of, snapshots_of
from hpoviz.health.metric import LEAST_ROWS
from hpoviz.health.observation import Observation
from hpoviz.health.observing import observe
from hpoviz.health.preflight import Preflight, preflight
from hpoviz.health.probe import Probe
from hpoviz.health.report import Finding, HealthReport
from hpoviz.health.retry import Retry, retry
from hpoviz.health.samples import ROWS, Samples, parts_of, samples_of
from hpoviz.health.weights import checked_weights

__all__ = ["HealthAnalyzer", "diagnose"]


class HealthAnalyzer:
    """Looks inside trained Keras classifiers.

    Parameters
    ----------
    weights : mapping of str to float, optional
        Of the six metrics in the overall health; by default the classic ones.
    rows : int
        How many validation samples are looked at, at least 100, and how many training samples.
    seed : int
        Of the samples, the signal that is sent back, and the noise.

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> import hpoviz
    >>> data = hpoviz.load_dataset("digits")
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(16, "relu"),
    ...                           keras.layers.Dense(10, "softmax")])
    >>> report = HealthAnalyzer().analyze(model, data)
    >>> report.training_stability.value, report.training_stability.reason
    (None, 'There is no history of the training.')
    """

    def __init__(self, *, weights: Mapping[str, float] | None = None, rows: int = ROWS, seed: int = 0) -> None:
        if isinstance(rows, bool) or not isinstance(rows, int) or rows < LEAST_ROWS:
            raise ConfigError(f"rows must be a whole number of at least {LEAST_ROWS}. Got {rows!r}.")
        self._weights = checked_weights(weights)
        self._rows, self._seed = rows, seed

    def analyze(self, model: keras.Model, data: Any, history: Any = None) -> HealthReport:
        """Return the health of a model.

        Parameters
        ----------
        model : keras.Model
            A trained classifier with one output.
        data : Dataset, or (x, y), or ((x_train, y_train), (x_val, y_val))
            y holds whole numbers from 0, or one-hot rows with a column for each output of the model; x is a list or
            dictionary of arrays for a model with several inputs. With (x, y) alone, which should be data that the model
            was not trained on, there is no gap to training data.
        history : keras.callbacks.History, HealthCallback, mapping or DataFrame, optional
            ``loss`` by epoch, and what else of ``val_loss``, ``accuracy`` and ``val_accuracy`` there is. A
            HealthCallback that watched the training also knows what its gradients were like then.

        Returns
        -------
        HealthReport

        Raises
        ------
        ModelBuildError
            Not a Keras model, not built, or samples that it does not take.
        DatasetError
            No samples, labels that are no classes of the model, a model that is no classifier.
        ConfigError
            A history that is none.
        """
        began = time.perf_counter()
        seen = self.observe(model, data, history)
        return assess(seen, weights=self._weights, seconds=time.perf_counter() - began)

    def observe(self, model: keras.Model, data: Any, history: Any = None) -> Observation:
        """Return what `analyze` computes the health from: plain numbers that can be kept as JSON."""
        samples, probe = self._look(model, data)
        return observe(
            probe,
            samples,
            history=curves_of(history),
            earlier=snapshots_of(history),
            seed=self._seed,
        )

    def preflight(self, model: keras.Model, data: Any) -> Preflight:
        """Say before training what speaks against it: values, labels, outputs and loss, learning rate, first layers.

        Parameters
        ----------
        model : keras.Model
        data : Dataset, or (x, y), or ((x_train, y_train), (x_val, y_val))

        Returns
        -------
        Preflight
            True where nothing was found.

        Examples
        --------
        >>> import hpoviz
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> model.compile(keras.optimizers.Adam(3.0), "sparse_categorical_crossentropy")
        >>> found = HealthAnalyzer().preflight(model, hpoviz.load_dataset("digits"))
        >>> [finding.fault for finding in found.findings]
        ['learning_rate_out_of_range', 'wrong_output_activation']
        """
        samples, probe = self._look(model, data)
        return preflight(probe, samples, self._seed)

    def retry(
        self, model: keras.Model, data: Any, finding: Finding | str, *, epochs: int = 5, batch_size: int = 32
    ) -> Retry:
        """Train two untrained copies of a model for some epochs: as it is compiled, and with what a finding prescribes.

        The model itself stays as it is.

        Parameters
        ----------
        model : keras.Model
            Sequential or functional, compiled.
        data : Dataset or ((x_train, y_train), (x_val, y_val))
        finding : Finding or str
            One of a report's findings, or the name of a fault.
        epochs, batch_size : int

        Returns
        -------
        Retry
            Both reports, and the model that was trained with the change.

        Raises
        ------
        ConfigError
            A fault that no change of the model can mend, or a model that was not compiled.
        ModelBuildError
            A model that cannot be made anew.
        DatasetError
            No training samples apart.
        """
        parts = parts_of(data, self._seed)
        return retry(model, parts, finding, epochs=epochs, batch_size=batch_size, seed=self._seed)

    def _look(self, model: keras.Model, data: Any) -> tuple[Samples, Probe]:
        samples = samples_of(data, self._rows, self._seed)
        probe = Probe(model, samples.x, seed=self._seed)
        samples.check_classes(model.name, probe.classes, probe.outputs)
        return samples, probe


def diagnose(model: keras.Model, data: Any, history: Any = None) -> HealthReport:
    """Return the health of a model: `HealthAnalyzer().analyze(model, data, history)` in one line.

    Examples
    --------
    >>> import hpoviz
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")])
    >>> diagnose(model, hpoviz.load_dataset("digits")).neuron_utilization.reason
    'The model has no hidden layer whose units could be looked at.'
    """
    return HealthAnalyzer().analyze(model, data, history)
