"""TrainingParameters: the hyperparameters of training, which all model families share."""

from __future__ import annotations

import dataclasses

from hpoviz.search.parameter import one_of, parameter

__all__ = ["TrainingParameters"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingParameters:
    """How any classifier is trained; `ModelConfig` carries it out."""

    optimizer: str = parameter(
        "adam",
        choices=("adam", "adamw", "rmsprop", "sgd"),
        help="The rule that turns gradients into weight changes. Adam, AdamW and RMSprop give every weight its own "
        "step size and work at once; SGD with momentum takes one step size for all: it needs a better chosen "
        "learning rate and sometimes ends in a model that generalises better.",
        topic="optimizer",
        means={
            "adam": "Divides each weight's step by how large its gradients usually are, with momentum. A safe start.",
            "adamw": "Adam, with a pull towards zero that is the same share of every weight (weight_decay).",
            "rmsprop": "As Adam, but without momentum.",
            "sgd": "The same step size for all weights, with momentum. It asks most of the learning rate.",
        },
        interacts={
            "learning_rate": "SGD usually wants a larger one than the others.",
            "momentum": "Has an effect with sgd only.",
            "weight_decay": "Has an effect with adamw only.",
        },
        health={
            "convergence_quality": "Rises when the optimizer comes down within the epochs that it has.",
            "training_stability": "Falls when its steps are too large.",
        },
        picture="optimizer",
    )
    learning_rate: float = parameter(
        1e-3,
        search=(1e-4, 3e-2),
        valid=(1e-8, 1e6),
        log=True,
        help="How far each step moves the weights: the parameter that matters most. Too small, and training crawls; "
        "too large, and the loss jumps about or becomes NaN.",
        topic="learning rate",
        raising="Training comes down faster, until steps overshoot: the loss jumps about, units die, and at last it is "
        "NaN.",
        lowering="Training is calmer and slower. Too low, and it has not arrived when the epochs are over.",
        interacts={
            "optimizer": "SGD usually wants a larger rate than Adam, AdamW and RMSprop.",
            "batch_size": "Larger batches have less noisy gradients and stand a larger rate.",
            "learning_rate_schedule": "A rate that falls later may begin larger.",
            "epochs": "A small rate needs more of them.",
            "use_batch_normalization": "With it, training stands a larger rate.",
        },
        health={
            "training_stability": "Falls when the rate is too large: the loss goes up again.",
            "convergence_quality": "Falls when the rate is too small to arrive, or too large to come to rest.",
            "neuron_utilization": "Falls when large steps push ReLU units to where they are always zero.",
        },
        picture="learning_rate",
    )
    momentum: float = parameter(
        0.9,
        search=(0.5, 0.99),
        valid=(0.0, 0.999),
        when=one_of("optimizer", "sgd"),
        help="How much of the last step SGD adds to the next, like a rolling ball: more speeds up long slopes and "
        "smooths noise; too much overshoots.",
        topic="optimizer",
        raising="Long slopes are walked down faster and noise is averaged out; close to 1, steps swing past the goal.",
        lowering="Each step follows its own gradient; at 0 there is no memory, and narrow valleys make it zigzag.",
        interacts={
            "learning_rate": "Together they make the step: at 0.9 a steady slope is walked ten times as fast as at 0.",
        },
        health={
            "convergence_quality": "Rises when more momentum comes down within the epochs.",
            "training_stability": "Falls when steps swing past the goal.",
        },
        picture="momentum",
    )
    weight_decay: float = parameter(
        4e-3,
        search=(1e-5, 1e-1),
        valid=(0.0, 1.0),
        log=True,
        when=one_of("optimizer", "adamw"),
        help="AdamW pulls every weight a little towards zero at each step, apart from the gradient: more keeps the "
        "model simpler and works against overfitting; too much stops it from learning.",
        topic="weight penalty",
        raising="Smaller weights and a simpler model, with less overfitting; too much underfits.",
        lowering="Weights grow as the data want it; at 0 AdamW is Adam.",
        interacts={
            "learning_rate": "Each step takes the share learning_rate × weight_decay of every weight.",
            "l2": "Both keep weights small: one of them is usually enough.",
        },
        health={
            "accuracy_consistency": "Rises when overfitting goes back.",
            "convergence_quality": "Falls when the pull is stronger than what there is to learn.",
        },
        picture="weight_decay",
    )
    learning_rate_schedule: str = parameter(
        "constant",
        choices=("constant", "cosine", "exponential", "reduce_on_plateau"),
        help="How the learning rate changes over the epochs: large steps find the right valley, small steps its floor. "
        "Cosine falls smoothly to zero, exponential by a factor each epoch, reduce_on_plateau halves it when the "
        "validation loss has not fallen for three epochs.",
        topic="schedule",
        means={
            "constant": "The same rate to the end. Simple; the last steps may be too large to settle.",
            "cosine": "Falls slowly at first, then fast, then slowly again, towards zero at the end.",
            "exponential": "The same factor after each epoch (learning_rate_decay).",
            "reduce_on_plateau": "Stays until the validation loss stops falling, then halves: it needs no plan.",
        },
        interacts={
            "learning_rate": "It is where the schedule begins, and with a falling one may be larger.",
            "epochs": "Cosine is spread over all epochs: other epochs, another curve.",
            "learning_rate_decay": "Has an effect with exponential only.",
        },
        health={
            "convergence_quality": "Rises when small last steps let training come to rest.",
            "training_stability": "Rises when large steps end before they do harm.",
        },
        picture="schedule",
    )
    learning_rate_decay: float = parameter(
        0.95,
        search=(0.8, 0.99),
        valid=(0.01, 1.0),
        when=one_of("learning_rate_schedule", "exponential"),
        help="The factor by which the exponential schedule multiplies the learning rate after each epoch.",
        topic="schedule",
        raising="The rate stays large for longer; at 1 it never falls.",
        lowering="The rate falls faster; too low, and training stands still before it has arrived.",
        interacts={
            "epochs": "What is left at the end is the factor to the power of the epochs.",
            "learning_rate": "A rate that falls fast may begin larger.",
        },
        health={
            "convergence_quality": "Falls when the rate is gone before the loss has come down.",
            "training_stability": "Rises when large steps end early.",
        },
        picture="decay",
    )
    batch_size: int = parameter(
        32,
        choices=(16, 32, 64, 128),
        valid=(1, 65536),
        help="How many samples are looked at before each step. Small batches are noisy, which can help to "
        "generalise, and slow; large ones are smooth and fast and want a larger learning rate.",
        topic="batch size",
        raising="Fewer and calmer steps an epoch: faster, with more memory. Very large batches can generalise worse.",
        lowering="More and noisier steps an epoch: slower. The noise can help to find a model that generalises.",
        interacts={
            "learning_rate": "Change them together: twice the batch stands a larger rate.",
            "epochs": "Large batches take fewer steps an epoch, and may need more epochs.",
            "use_batch_normalization": "It measures each batch: with very few samples it measures noise.",
        },
        health={
            "training_stability": "Rises with larger batches, as gradients are less noisy.",
            "convergence_quality": "Falls when large batches leave too few steps to arrive.",
        },
        picture="batch_size",
    )
    epochs: int = parameter(
        20,
        search=(10, 30),
        valid=(1, 100_000),
        help="How often training goes through all training samples. Too few underfit; more cost time and end in "
        "overfitting, against which training stops early when validation accuracy no longer rises.",
        topic="epochs",
        raising="More time to learn, and to learn the training samples by heart; training stops early before that.",
        lowering="Faster; too few, and training ends while the model still improves.",
        interacts={
            "learning_rate": "A small rate needs more epochs.",
            "learning_rate_schedule": "Cosine and exponential are planned in epochs.",
            "batch_size": "An epoch of small batches has more steps.",
        },
        health={
            "convergence_quality": "Rises until training has come to rest.",
            "accuracy_consistency": "Falls when the model is better on training data than on others.",
        },
    )
    l2: float = parameter(
        1e-5,
        search=(1e-6, 1e-2),
        valid=(0.0, 10.0),
        log=True,
        help="A penalty on large weights in the loss: more makes a smoother, simpler model; too much underfits.",
        topic="weight penalty",
        raising="Weights stay smaller and the model smoother: less overfitting, and too much of it underfits.",
        lowering="The model follows the training samples more closely; at 0 nothing holds its weights.",
        interacts={
            "weight_decay": "Both keep weights small: one of them is usually enough.",
            "dropout_dense": "Both work against overfitting: with more of one, less of the other.",
        },
        health={
            "accuracy_consistency": "Rises when overfitting goes back.",
            "convergence_quality": "Falls when the penalty is stronger than what there is to learn.",
        },
        picture="l2",
    )

    class_weight: str = parameter(
        "none",
        choices=("none",),
        also=("balanced",),
        help="Whose mistakes count in training: none gives every sample the same say, so that rare classes have "
        "little; balanced gives every class the same say. It finds more of the rare classes and costs some accuracy on "
        "the frequent ones. Tried only if you ask for it.",
        topic="class weights",
        means={
            "none": "Every sample counts the same, so frequent classes count more.",
            "balanced": "Every class counts the same: a sample of a rare class counts more than others.",
        },
        interacts={
            "learning_rate": "Samples with a large weight make larger steps: a smaller rate may be needed.",
        },
        health={
            "accuracy_consistency": "Rises when a rare class is found that was missed before.",
        },
        picture="class_weight",
    )
