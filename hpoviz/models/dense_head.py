"""DenseHeadConfig: the dense layers before the output, which several families share."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from hpoviz.data.info import DataInfo
from hpoviz.models.model_config import ModelConfig
from hpoviz.search.parameter import at_least, parameter

if TYPE_CHECKING:
    import keras

__all__ = ["DenseHeadConfig"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseHeadConfig(ModelConfig):
    """The base of families that end in dense blocks (Dense, activation, dropout) and a softmax."""

    activation: str = parameter(
        "relu",
        choices=("relu", "leaky_relu", "elu", "gelu", "swish", "tanh"),
        help="The bend after each layer that lets a network learn more than straight lines. ReLU is fast but its "
        "units can die (always zero); leaky ReLU, ELU, GELU and swish keep a gradient; tanh saturates.",
    )
    kernel_initializer: str = parameter(
        "he_normal",
        choices=("he_normal", "glorot_uniform", "lecun_normal"),
        help="How large the random first weights are, so that signals neither fade nor blow up on their way "
        "through: He for ReLU and its kin, Glorot for tanh, LeCun for the self-normalising SELU.",
    )
    num_layers_dense: int = parameter(
        1,
        search=(0, 4),
        valid=(0, 16),
        help="How many fully connected layers sit before the output. They combine the found patterns into a "
        "decision; 0 or 1 is often enough, more overfit easily.",
    )
    dense_units: int = parameter(
        64,
        search=(16, 256),
        valid=(1, 65536),
        log=True,
        when=at_least("num_layers_dense", 1),
        help="Width of the first dense layer. After Flatten most weights of a model sit here.",
    )
    dense_decay: float = parameter(
        0.5,
        choices=(0.5, 0.75, 1.0),
        valid=(0.05, 4.0),
        when=at_least("num_layers_dense", 2),
        help="Factor on the width from one dense layer to the next: below 1 narrows step by step towards the classes.",
    )
    dropout_dense: float = parameter(
        0.2,
        search=(0.0, 0.6),
        valid=(0.0, 0.95),
        when=at_least("num_layers_dense", 1),
        help="Share of dense units switched off at random in training: the first remedy against overfitting.",
    )

    @property
    def dense_widths(self) -> tuple[int, ...]:
        """Units of each hidden dense layer."""
        return tuple(max(1, round(self.dense_units * self.dense_decay**i)) for i in range(self.num_layers_dense))

    def head_layers(self, info: DataInfo) -> list[keras.Layer]:
        """Return the dense blocks and the softmax, for a model that gives one vector a sample."""
        from keras import layers

        head = []
        for index, units in enumerate(self.dense_widths, start=1):
            head.append(layers.Dense(units, name=f"dense_{index}", **self.weight_arguments()))
            head.append(layers.Activation(self.activation, name=f"dense_{index}_{self.activation}"))
            if self.dropout_dense > 0:
                head.append(layers.Dropout(self.dropout_dense, name=f"dense_{index}_dropout"))
        return [*head, layers.Dense(info.num_classes, activation="softmax", name="probabilities")]

    def weight_arguments(self) -> dict[str, Any]:
        """Return the initialiser and the L2 penalty of a layer's kernel."""
        from keras import regularizers

        return {
            "kernel_initializer": self.kernel_initializer,
            "kernel_regularizer": regularizers.L2(self.l2) if self.l2 > 0 else None,
        }
