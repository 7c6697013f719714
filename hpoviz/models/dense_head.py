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
        topic="activation",
        means={
            "relu": "Zero below zero, unchanged above. Fast; a unit that is below zero for all samples learns no more.",
            "leaky_relu": "As relu, with a gentle slope below zero, so that no unit dies.",
            "elu": "Below zero it bends smoothly towards -1: outputs lie nearer to zero on the average.",
            "gelu": "A smooth relu with a small dip below zero.",
            "swish": "The input times its sigmoid: smooth, with a small dip below zero; also called SiLU.",
            "tanh": "Between -1 and 1. Far from zero it is flat, so that gradients fade in deep networks.",
        },
        interacts={
            "kernel_initializer": "He fits relu and its kin, Glorot tanh.",
            "learning_rate": "Large steps kill units of relu.",
            "num_layers_dense": "The deeper the network, the more a flat activation lets gradients fade.",
            "num_layers_conv": "The deeper the network, the more a flat activation lets gradients fade.",
        },
        health={
            "neuron_utilization": "Falls when units of relu die or units of tanh stay at their ends.",
            "gradient_health": "Falls when many values sit where the activation is flat.",
        },
        picture="activation",
    )
    kernel_initializer: str = parameter(
        "he_normal",
        choices=("he_normal", "glorot_uniform", "lecun_normal"),
        help="How large the random first weights are, so that signals neither fade nor blow up on their way "
        "through: He for ReLU and its kin, Glorot for tanh, LeCun for the self-normalising SELU.",
        topic="initialiser",
        means={
            "he_normal": "Variance 2 / inputs: makes up for the half of the signal that relu cuts off.",
            "glorot_uniform": "Variance 2 / (inputs + outputs): a middle between the way forward and the way back.",
            "lecun_normal": "Variance 1 / inputs: keeps the signal where the activation is near its input.",
        },
        interacts={
            "activation": "With relu and its kin take he_normal, with tanh one of the others.",
            "use_batch_normalization": "It rescales every layer, so that the first weights matter less.",
            "num_layers_dense": "A factor at each layer: it matters more, the deeper the network.",
            "num_layers_conv": "A factor at each layer: it matters more, the deeper the network.",
        },
        health={
            "gradient_health": "Falls when the signal fades or grows from layer to layer.",
            "convergence_quality": "Falls when a signal that has faded makes the first epochs slow.",
        },
        picture="initializer",
    )
    num_layers_dense: int = parameter(
        1,
        search=(0, 4),
        valid=(0, 16),
        help="How many fully connected layers sit before the output. They combine the found patterns into a "
        "decision; 0 or 1 is often enough, more overfit easily.",
        topic="depth",
        raising="More bends in the decision and more weights: it overfits sooner and is harder to train.",
        lowering="A simpler decision with fewer weights; at 0 the classes are read straight from what was found.",
        interacts={
            "dense_units": "Depth and width together make the size of this part.",
            "dropout_dense": "More layers overfit sooner and want more of it.",
        },
        health={
            "gradient_health": "Falls when the signal fades on its way through many layers.",
            "accuracy_consistency": "Falls when the model learns the training samples by heart.",
        },
        picture="depth",
    )
    dense_units: int = parameter(
        64,
        search=(16, 256),
        valid=(1, 65536),
        log=True,
        when=at_least("num_layers_dense", 1),
        help="Width of the first dense layer. After Flatten most weights of a model sit here.",
        topic="width",
        raising="More patterns can be told apart; more weights, more memory, and overfitting sooner.",
        lowering="A smaller, faster model; too narrow, and it cannot hold what it needs: it underfits.",
        interacts={
            "use_global_pooling": "Without it every unit has a weight for every position of every map.",
            "dropout_dense": "A wide layer stands more of it.",
            "dense_decay": "The layers after the first are this width times the factor.",
        },
        health={
            "parameter_efficiency": "Falls when many units say what few could say.",
            "convergence_quality": "Falls when too few units underfit.",
            "accuracy_consistency": "Falls when a wide layer learns the training samples by heart.",
        },
        picture="units",
    )
    dense_decay: float = parameter(
        0.5,
        choices=(0.5, 0.75, 1.0),
        valid=(0.05, 4.0),
        when=at_least("num_layers_dense", 2),
        help="Factor on the width from one dense layer to the next: below 1 narrows step by step towards the classes.",
        topic="width",
        raising="Later layers are wider: more weights and more room.",
        lowering="Later layers are narrower: fewer weights; too narrow, and they are a bottleneck.",
        interacts={
            "dense_units": "It is the width that the factor begins with.",
            "num_layers_dense": "The factor counts once for each layer after the first.",
        },
        health={
            "parameter_efficiency": "Rises when later layers hold no more units than they use.",
            "convergence_quality": "Falls when the last layers are too narrow for the classes.",
        },
        picture="dense_decay",
    )
    dropout_dense: float = parameter(
        0.2,
        search=(0.0, 0.6),
        valid=(0.0, 0.95),
        when=at_least("num_layers_dense", 1),
        help="Share of dense units switched off at random in training: the first remedy against overfitting.",
        topic="dropout",
        raising="Less overfitting, as no unit can be relied on alone; training is slower, and too much underfits.",
        lowering="Training is faster and follows the training samples more closely; at 0 nothing is switched off.",
        interacts={
            "dense_units": "Wide layers stand more of it; a narrow one has little to spare.",
            "l2": "Both work against overfitting: with more of one, less of the other.",
            "epochs": "With much of it, training needs more epochs.",
        },
        health={
            "accuracy_consistency": "Rises when the gap between training and validation closes.",
            "convergence_quality": "Falls when too much of it keeps the loss up.",
        },
        picture="dropout",
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
