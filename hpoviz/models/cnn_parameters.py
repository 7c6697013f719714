"""CnnParameters: the hyperparameters of convolutional networks, beside those of the dense head and of training."""

from __future__ import annotations

import dataclasses

from hpoviz.models.dense_head import DenseHeadConfig
from hpoviz.search.parameter import at_least, parameter

__all__ = ["CnnParameters"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CnnParameters(DenseHeadConfig):
    """What a convolutional network is made of; `CnnConfig` builds it."""

    kernel_size: int = parameter(
        3,
        choices=(3, 5, 7),
        help="Side of the square window that a convolution looks at, in pixels. 3 sees fine detail with few weights; "
        "5 and 7 see more at once, cost more, and need larger images.",
        topic="filters and kernels",
        raising="Each layer sees more of the picture at once; weights and time grow with the square of the side.",
        lowering="Finer detail with fewer weights; several small windows after each other see as far as a large one.",
        interacts={
            "num_layers_conv": "More layers see further too: two windows of 3 reach as far as one of 5.",
            "filters": "Together they make the weights of a convolution.",
            "pooling": "The window must fit the picture that pooling has left.",
        },
        health={
            "parameter_efficiency": "Falls when large windows make filters that say the same.",
            "accuracy_consistency": "Falls when the larger model learns the training samples by heart.",
        },
        picture="kernel",
    )
    pooling: str = parameter(
        "max",
        choices=("max", "average"),
        also=("none",),
        help="Halves the picture after each convolution: max keeps the strongest response, average the mean one. "
        "It makes the model faster and less sensitive to where things are; none keeps every position, which is "
        "slow, so it is tried only where you ask for it.",
        topic="pooling",
        means={
            "max": "The strongest of four responses: says whether a pattern is there. The usual choice.",
            "average": "The mean of four responses: smoother, and a strong response counts less.",
            "none": "Every position stays: slow, and with Flatten many weights.",
        },
        interacts={
            "num_layers_conv": "The picture is halved once for each layer: a small one is soon used up.",
            "kernel_size": "The window must fit the picture that is left.",
            "use_global_pooling": "What is left at the end is averaged, or kept position by position.",
        },
        health={
            "accuracy_consistency": "Rises when a pattern is found wherever it lies.",
        },
        picture="pooling",
    )
    num_layers_conv: int = parameter(
        2,
        search=(1, 4),
        valid=(1, 16),
        help="How many convolution layers follow each other. Each combines the patterns of the one before: edges, "
        "then corners, then parts. More see larger and more complex patterns and are harder to train.",
        topic="depth",
        raising="Larger and more complex patterns; more time, and gradients have a longer way back.",
        lowering="Faster and easier to train; too few see only small and simple patterns.",
        interacts={
            "pooling": "It halves the picture at each layer, which limits how many fit.",
            "use_batch_normalization": "Makes deep networks easier to train.",
            "kernel_initializer": "A factor on the signal at each layer: it matters more, the deeper the network.",
        },
        health={
            "gradient_health": "Falls when the signal fades or grows on its way through many layers.",
            "convergence_quality": "Falls when a network is too shallow for the task, or too deep to train.",
        },
        picture="depth",
    )
    filters: int = parameter(
        32,
        search=(8, 48),
        valid=(1, 4096),
        log=True,
        help="How many patterns the first convolution looks for. More can tell more apart; they cost time and can "
        "learn the training samples by heart.",
        topic="filters and kernels",
        raising="More patterns are looked for: more can be told apart, more time, and overfitting sooner.",
        lowering="A smaller and faster model; too few, and classes that differ in detail look the same.",
        interacts={
            "filter_growth": "Later convolutions have this number times the factor.",
            "kernel_size": "Together they make the weights of a convolution.",
            "use_global_pooling": "With it, the last number of filters is all that the decision is made of.",
        },
        health={
            "parameter_efficiency": "Falls when many filters say what few could say.",
            "neuron_utilization": "Falls when filters are left that never respond.",
            "accuracy_consistency": "Falls when the model learns the training samples by heart.",
        },
        picture="filters",
    )
    filter_growth: float = parameter(
        2.0,
        choices=(1.0, 1.5, 2.0),
        valid=(0.25, 4.0),
        when=at_least("num_layers_conv", 2),
        help="Factor on the number of filters from one convolution to the next. Growth makes up for the positions "
        "that pooling takes away.",
        topic="filters and kernels",
        raising="Late layers have more filters: room for many complex patterns, and most of the weights.",
        lowering="Late layers stay narrow: a small model, which may not hold all patterns; at 1 all have the same.",
        interacts={
            "filters": "It is the number that the factor begins with.",
            "num_layers_conv": "The factor counts once for each layer after the first.",
            "pooling": "It takes positions away; more filters keep what they said.",
        },
        health={
            "parameter_efficiency": "Falls when late layers have more filters than they use.",
            "convergence_quality": "Falls when late layers are too narrow for the task.",
        },
        picture="filter_growth",
    )
    use_batch_normalization: bool = parameter(
        True,
        choices=(True, False),
        help="Rescales what each convolution gives, batch by batch: training stands larger learning rates and "
        "deeper networks. With very small batches it is noisy.",
        topic="normalisation",
        means={
            "True": "Each filter's responses have mean 0 and spread 1 in every batch, then a learnt scale and offset.",
            "False": "Responses stay as they come: learning rate and first weights must fit.",
        },
        interacts={
            "learning_rate": "With it, training stands a larger rate.",
            "batch_size": "Mean and spread are measured in each batch: with very few samples they are noise.",
            "num_layers_conv": "The deeper the network, the more it helps.",
            "dropout_conv": "Its noise works against overfitting too, so less dropout is needed.",
        },
        health={
            "training_stability": "Rises, as no layer's responses run away.",
            "gradient_health": "Rises, as the signal keeps its size from layer to layer.",
            "neuron_utilization": "Rises, as few units stay below zero for every sample.",
        },
        picture="normalisation",
    )
    dropout_conv: float = parameter(
        0.0,
        search=(0.0, 0.4),
        valid=(0.0, 0.95),
        help="Share of a convolution's outputs switched off at random in training, so that no unit is relied on "
        "alone. More works against overfitting; too much underfits.",
        topic="dropout",
        raising="Less overfitting; training is slower, and too much underfits.",
        lowering="Training is faster and follows the training samples more closely; at 0 nothing is switched off.",
        interacts={
            "use_batch_normalization": "Its noise works against overfitting too, so less dropout is needed.",
            "dropout_dense": "The dense layers overfit first: begin there.",
            "filters": "Many filters stand more of it.",
        },
        health={
            "accuracy_consistency": "Rises when the gap between training and validation closes.",
            "convergence_quality": "Falls when too much of it keeps the loss up.",
        },
        picture="dropout",
    )
    use_global_pooling: bool = parameter(
        False,
        choices=(True, False),
        help="How feature maps become one vector: global average pooling keeps one number a filter (few weights, "
        "position forgotten); otherwise Flatten keeps every position (many weights).",
        topic="pooling",
        means={
            "True": "One number a filter, its mean: few weights, and where a pattern lies is forgotten.",
            "False": "Flatten keeps every position: where a pattern lies can matter, at the price of many weights.",
        },
        interacts={
            "dense_units": "After Flatten each unit has a weight for every position of every map.",
            "filters": "With it, too few filters leave too little to decide by.",
            "num_layers_conv": "Late layers have patterns that say enough without their place.",
        },
        health={
            "accuracy_consistency": "Rises when far fewer weights mean less overfitting.",
            "convergence_quality": "Falls when the place of a pattern is what tells classes apart.",
        },
        picture="global_pooling",
    )

    augment_flip: bool = parameter(
        False,
        choices=(False,),
        also=(True,),
        help="Mirrors every other image from left to right in training, so that the model cannot rely on the side. "
        "Only where a mirrored image still belongs to its class: not for digits, letters or traffic signs. Tried only "
        "if you ask for it, as all augmentation.",
        topic="augmentation",
        means={
            "False": "Images stay as they are.",
            "True": "In training, each image is mirrored with a chance of one half.",
        },
        interacts={"epochs": "No two epochs show the same images: training may go on for longer."},
        health={"accuracy_consistency": "Rises when there is less overfitting."},
        picture="flip",
    )
    augment_shift: float = parameter(
        0.0,
        choices=(0.0,),
        valid=(0.0, 0.5),
        help="Moves every image in training by up to this share of its size, so that where a thing is matters less. "
        "0.1 is a good start; too much moves things out of sight.",
        topic="augmentation",
        raising="Things are recognised at more places; too much moves them out of sight, and training is slower.",
        lowering="Training sees things where the training images have them; at 0 images stay as they are.",
        interacts={
            "use_global_pooling": "It forgets places by itself: then shifting brings less.",
            "epochs": "No two epochs show the same images: training may go on for longer.",
        },
        health={"accuracy_consistency": "Rises when there is less overfitting."},
        picture="shift",
    )
    augment_rotation: float = parameter(
        0.0,
        choices=(0.0,),
        valid=(0.0, 0.5),
        help="Turns every image in training by up to this share of a full turn: 0.05 is 18 degrees. It takes time, and "
        "too much makes a 6 of a 9.",
        topic="augmentation",
        raising="Things are recognised at more angles; too much makes classes alike, and training is slower.",
        lowering="Training sees things upright as they come; at 0 images stay as they are.",
        interacts={"epochs": "No two epochs show the same images: training may go on for longer."},
        health={"accuracy_consistency": "Rises when there is less overfitting."},
        picture="rotation",
    )
    augment_zoom: float = parameter(
        0.0,
        choices=(0.0,),
        valid=(0.0, 0.5),
        help="Makes every image in training larger or smaller by up to this share, so that size matters less. 0.1 is a "
        "good start.",
        topic="augmentation",
        raising="Things are recognised at more sizes; too much cuts them off or makes them too small to see.",
        lowering="Training sees things at the size that they have; at 0 images stay as they are.",
        interacts={"epochs": "No two epochs show the same images: training may go on for longer."},
        health={"accuracy_consistency": "Rises when there is less overfitting."},
        picture="zoom",
    )
