"""The published rules of two tools that find faults in training, ported to Keras 3 to be compared on the same runs.

AutoTrainer (Zhang et al., ICSE 2021), thresholds as its code has them: beta_1 1e-3, beta_2 1e-4, beta_3 70, gamma 0.7,
zeta 0.03, eta 0.2, delta 0.01, Theta 0.7. DeepDiagnosis (Wardat et al., ICSE 2022): activations that are dead or
saturated, gradients that vanish, values that are not finite. Both look at training as it goes; here at its every epoch,
on one batch of training samples.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hpoviz.architecture.keras_adapter import graph_of, replay
from hpoviz.health.sites import hidden_sites
from hpoviz.training.graph_optimiser import graph_optimiser

__all__ = ["FAULTS_OF", "RuleWatch"]

# Which of our zoo's faults each rule is meant for, in the authors' words: the scope that recall is counted in.
FAULTS_OF = {
    "AutoTrainer": {
        "vanishing gradient": ("vanishing_sigmoid", "saturated_tanh", "saturated_bias"),
        "exploding gradient": ("exploding_weights", "rate_too_high", "momentum_too_high", "unscaled_inputs"),
        "dying relu": ("dying_relu", "zero_weights", "one_dying_layer", "rate_too_high"),
        "oscillating loss": ("rate_too_high", "momentum_too_high", "unscaled_inputs", "far_from_zero"),
        "slow convergence": ("rate_too_low", "clipped_to_nothing", "too_small", "too_much_l2", "too_much_dropout"),
    },
    "DeepDiagnosis": {
        "dead node": ("dying_relu", "zero_weights", "one_dying_layer", "rate_too_high"),
        "saturated activation": ("saturated_tanh", "saturated_bias", "one_saturated_layer"),
        "vanishing gradient": ("vanishing_sigmoid", "zero_weights", "saturated_tanh"),
        "numerical error": ("exploding_weights", "rate_too_high", "momentum_too_high", "unscaled_inputs"),
    },
}
SATURATED = {"tanh": (-float(np.tanh(5)), float(np.tanh(5))), "sigmoid": (1 / (1 + np.exp(5)), 1 / (1 + np.exp(-5)))}


class RuleWatch(keras.callbacks.Callback):  # type: ignore[misc]
    """Looks at one batch of training samples after each epoch; `verdicts` says what the rules made of all."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        super().__init__()
        self._x, self._y = tf.constant(x), tf.constant(y)
        self._looks: list[dict[str, Any]] = []
        self._history: dict[str, list[float]] = {"accuracy": [], "loss": []}
        self._look: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Make the graph of a look."""
        self._sites = hidden_sites(graph_of(self.model))
        self._kernels = [weight for weight in self.model.trainable_weights if len(weight.shape) > 1]
        self._look = tf.function(self._run, autograph=False)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Look."""
        for name, curve in self._history.items():
            curve.append(float((logs or {})[name]))
        with graph_optimiser(False):
            gradients, low, saturated = self._look()
        self._looks.append(
            {
                "norms": [float(one[0]) for one in gradients],
                "means": [float(one[1]) for one in gradients],
                "zeros": [float(one[2]) for one in gradients],
                "low": [float(one) for one in low],
                "saturated": [float(one) for one in saturated],
            }
        )

    def _run(self) -> Any:
        seen: dict[str, Any] = {}
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([kernel.value for kernel in self._kernels])

            def watch(node: str, outputs: list[Any]) -> list[Any]:
                seen[node] = outputs[0]
                return outputs

            (outputs,) = replay(self.model, self._x, training=False, watch=watch)
            loss = self.model.compute_loss(y=self._y, y_pred=outputs)
        gradients = []
        for gradient in tape.gradient(loss, [kernel.value for kernel in self._kernels]):
            values = tf.zeros([1]) if gradient is None else tf.convert_to_tensor(gradient)
            share = tf.reduce_mean(tf.cast(tf.equal(values, 0.0), tf.float32))
            gradients.append([tf.norm(values), tf.reduce_mean(tf.abs(values)), share])
        low, saturated = [], []
        for site in self._sites:
            tensor = seen[site.node]
            low.append(tf.reduce_mean(tf.cast(tensor <= 0, tf.float32)) if site.activation == "relu" else 0.0)
            ends = SATURATED.get(site.activation)
            saturated.append(
                tf.reduce_mean(tf.cast((tensor <= ends[0]) | (tensor >= ends[1]), tf.float32)) if ends else 0.0
            )
        return gradients, low, saturated

    def verdicts(self) -> dict[str, list[str]]:
        """Return the names of the rules that found something, by tool."""
        return {"AutoTrainer": self._autotrainer(), "DeepDiagnosis": self._deepdiagnosis()}

    def _autotrainer(self) -> list[str]:
        accuracy, loss = np.array(self._history["accuracy"]), np.array(self._history["loss"])
        last = self._looks[-1]
        first_norm, last_norm = last["norms"][0], last["norms"][-1]
        poor = accuracy.max() < 0.7
        ratio = first_norm / last_norm if last_norm else 0.0
        found = []
        if not np.isfinite([*loss, *last["norms"]]).all() or (poor and ratio > 70):
            found.append("exploding gradient")
        if poor and ratio < 1e-3 and first_norm < 1e-4:
            found.append("vanishing gradient")
        if poor and any(site.activation == "relu" for site in self._sites) and max(last["zeros"]) >= 0.7:
            found.append("dying relu")
        moves = np.diff(accuracy)
        if len(moves) and (moves <= -0.03).mean() >= 0.2:
            found.append("oscillating loss")
        if len(moves) and moves.max() < 0.01 and poor:
            found.append("slow convergence")
        return found

    def _deepdiagnosis(self) -> list[str]:
        found = []
        values = [*self._history["loss"], *(norm for look in self._looks for norm in look["norms"])]
        if not np.isfinite(values).all():
            found.append("numerical error")
        if any(share >= 0.7 for look in self._looks for share in look["low"]):
            found.append("dead node")
        if any(share > 0.5 for look in self._looks for share in look["saturated"]):
            found.append("saturated activation")
        if any(mean < 1e-7 for look in self._looks for mean in look["means"]):
            found.append("vanishing gradient")
        return found
