"""The small pictures that a declaration may name (`parameter(picture=…)`), drawn when they are asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from hpoviz.cards import layer_pictures, text_pictures, training_pictures
from hpoviz.cards.drawing import Picture
from hpoviz.errors import ConfigError, nearest

__all__ = ["PICTURES", "picture"]

PICTURES: Mapping[str, Callable[[], Picture]] = {
    "activation": layer_pictures.activation,
    "batch_size": training_pictures.batch_size,
    "class_weight": training_pictures.class_weight,
    "decay": training_pictures.decay,
    "dense_decay": layer_pictures.dense_decay,
    "depth": layer_pictures.depth,
    "directions": text_pictures.directions,
    "dropout": layer_pictures.dropout,
    "dropped_words": text_pictures.dropped_words,
    "embedding": text_pictures.embedding,
    "filter_growth": layer_pictures.filter_growth,
    "filters": layer_pictures.filters,
    "flip": training_pictures.flip,
    "global_pooling": layer_pictures.global_pooling,
    "initializer": layer_pictures.initializer,
    "kernel": layer_pictures.kernel,
    "l2": training_pictures.l2,
    "learning_rate": training_pictures.learning_rate,
    "lstm": text_pictures.lstm,
    "momentum": training_pictures.momentum,
    "normalisation": layer_pictures.normalisation,
    "optimizer": training_pictures.optimizer,
    "pooling": layer_pictures.pooling,
    "rotation": training_pictures.rotation,
    "schedule": training_pictures.schedule,
    "sequence": text_pictures.sequence,
    "shift": training_pictures.shift,
    "units": layer_pictures.units,
    "vocabulary": text_pictures.vocabulary,
    "weight_decay": training_pictures.weight_decay,
    "word_pooling": text_pictures.word_pooling,
    "zoom": training_pictures.zoom,
}


@functools.cache
def picture(name: str) -> Picture:
    """Return a picture by its name; ConfigError if there is none.

    Examples
    --------
    >>> picture("batch_size").alt
    '64 samples: eight steps an epoch in batches of eight, two in batches of 32.'
    """
    if name not in PICTURES:
        raise ConfigError(f"There is no picture {name!r}.{nearest(name, PICTURES)} Pictures: {', '.join(PICTURES)}.")
    return PICTURES[name]()
