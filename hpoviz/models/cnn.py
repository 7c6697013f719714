"""CnnConfig: convolutional networks for images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from hpoviz.data.info import DataInfo
from hpoviz.errors import ModelBuildError
from hpoviz.models.dense_head import DenseHeadConfig
from hpoviz.search.parameter import at_least, parameter

if TYPE_CHECKING:
    import keras

__all__ = ["CnnConfig"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CnnConfig(DenseHeadConfig):
    """A convolutional network: standardise, convolution blocks, Flatten or global pooling, dense blocks, softmax.

    Where it is asked for, layers before them change every image a little, at random and in training only
    (augmentation).

    A convolution block is Conv2D (same padding), BatchNormalization (optional), activation, 2×2 pooling
    (optional) and dropout (optional); a dense block is Dense, activation and dropout (optional). The defaults
    build a model that works.

    Examples
    --------
    >>> config = CnnConfig(filters=16, num_layers_dense=0)
    >>> config.kernel_size, config.use_global_pooling
    (3, False)
    >>> CnnConfig(kernel_size=4)
    Traceback (most recent call last):
        ...
    hpoviz.errors.ConfigError: CnnConfig: kernel_size must be one of 3, 5, 7. Got 4.
    """

    data_kinds: ClassVar[tuple[str, ...]] = ("image",)
    structure: ClassVar[tuple[str, ...]] = ("num_layers_conv", "kernel_size", "pooling", "augment_flip")

    kernel_size: int = parameter(
        3,
        choices=(3, 5, 7),
        help="Side of the square window that a convolution looks at, in pixels. 3 sees fine detail with few weights; "
        "5 and 7 see more at once, cost more, and need larger images.",
    )
    pooling: str = parameter(
        "max",
        choices=("max", "average"),
        also=("none",),
        help="Halves the picture after each convolution: max keeps the strongest response, average the mean one. "
        "It makes the model faster and less sensitive to where things are; none keeps every position, which is "
        "slow, so it is tried only where you ask for it.",
    )
    num_layers_conv: int = parameter(
        2,
        search=(1, 4),
        valid=(1, 16),
        help="How many convolution layers follow each other. Each combines the patterns of the one before: edges, "
        "then corners, then parts. More see larger and more complex patterns and are harder to train.",
    )
    filters: int = parameter(
        32,
        search=(8, 48),
        valid=(1, 4096),
        log=True,
        help="How many patterns the first convolution looks for. More can tell more apart; they cost time and can "
        "learn the training samples by heart.",
    )
    filter_growth: float = parameter(
        2.0,
        choices=(1.0, 1.5, 2.0),
        valid=(0.25, 4.0),
        when=at_least("num_layers_conv", 2),
        help="Factor on the number of filters from one convolution to the next. Growth makes up for the positions "
        "that pooling takes away.",
    )
    use_batch_normalization: bool = parameter(
        True,
        choices=(True, False),
        help="Rescales what each convolution gives, batch by batch: training stands larger learning rates and "
        "deeper networks. With very small batches it is noisy.",
    )
    dropout_conv: float = parameter(
        0.0,
        search=(0.0, 0.4),
        valid=(0.0, 0.95),
        help="Share of a convolution's outputs switched off at random in training, so that no unit is relied on "
        "alone. More works against overfitting; too much underfits.",
    )
    use_global_pooling: bool = parameter(
        False,
        choices=(True, False),
        help="How feature maps become one vector: global average pooling keeps one number a filter (few weights, "
        "position forgotten); otherwise Flatten keeps every position (many weights).",
    )

    augment_flip: bool = parameter(
        False,
        choices=(False,),
        also=(True,),
        help="Mirrors every other image from left to right in training, so that the model cannot rely on the side. "
        "Only where a mirrored image still belongs to its class: not for digits, letters or traffic signs. Tried only "
        "if you ask for it, as all augmentation.",
    )
    augment_shift: float = parameter(
        0.0,
        choices=(0.0,),
        valid=(0.0, 0.5),
        help="Moves every image in training by up to this share of its size, so that where a thing is matters less. "
        "0.1 is a good start; too much moves things out of sight.",
    )
    augment_rotation: float = parameter(
        0.0,
        choices=(0.0,),
        valid=(0.0, 0.5),
        help="Turns every image in training by up to this share of a full turn: 0.05 is 18 degrees. It takes time, and "
        "too much makes a 6 of a 9.",
    )
    augment_zoom: float = parameter(
        0.0,
        choices=(0.0,),
        valid=(0.0, 0.5),
        help="Makes every image in training larger or smaller by up to this share, so that size matters less. 0.1 is a "
        "good start.",
    )

    @property
    def conv_filters(self) -> tuple[int, ...]:
        """Filters of each convolution."""
        return tuple(max(1, round(self.filters * self.filter_growth**i)) for i in range(self.num_layers_conv))

    @classmethod
    def misfit(cls, values: Mapping[str, Any], info: DataInfo) -> str | None:
        """Return why depth, kernel, pooling or flips do not fit images of this kind, or None."""
        layers, kernel, pooling = (values[name] for name in cls.structure[:3])
        if values.get("augment_flip") and not info.flippable:
            return (
                f"augment_flip mirrors images, and a mirrored sample of {info.name!r} does not belong to its class. "
                "Use augment_shift, augment_rotation or augment_zoom."
            )
        height, width = info.input_shape[:2]
        for depth in range(1, layers + 1):
            if kernel > min(height, width):
                return (
                    f"kernel_size of CnnConfig must fit the {height}×{width} feature map before convolution {depth}. "
                    f"Got {kernel}. Use a smaller kernel, fewer conv layers, or pooling='none'."
                )
            if pooling != "none":
                height, width = height // 2, width // 2
        return None

    def build(self, info: DataInfo) -> keras.Model:
        """Return the uncompiled model: input (height, width, channels) as in the data, output class probabilities."""
        import keras

        reason = self.misfit(self.to_dict(), info)
        if reason:
            raise ModelBuildError(reason)
        layers = keras.layers
        flat = layers.GlobalAveragePooling2D if self.use_global_pooling else layers.Flatten
        return keras.Sequential(  # all at once, as a Sequential builds itself anew at each add()
            [
                layers.Input(info.input_shape),
                *self.augmentation(),
                layers.Rescaling(1 / info.std, -info.mean / info.std, name="standardize"),
                *(layer for block in enumerate(self.conv_filters, start=1) for layer in self._conv_block(*block)),
                flat(name="global_pooling" if self.use_global_pooling else "flatten"),
                *self.head_layers(info),
            ],
            name="cnn",
        )

    def export(self, model: keras.Model, info: DataInfo) -> keras.Model:
        """Return an uncompiled model with the same weights and without augmentation.

        A plain call of a model does not say that it is no training, and Keras' augmentation layers then go to work.
        """
        import keras

        if not (names := {layer.name for layer in self.augmentation()}):
            return super().export(model, info)
        kept = [layer for layer in model.layers if layer.name not in names]
        return keras.Sequential([keras.layers.Input(info.input_shape), *kept], name=model.name)

    def augmentation(self) -> list[keras.Layer]:
        """Return the layers that change images at random in training."""
        from keras import layers

        fill = {"fill_mode": "nearest"}  # the border goes on, as no value is known to be the background
        shift, turn, zoom = self.augment_shift, self.augment_rotation, self.augment_zoom
        wanted = []
        if self.augment_flip:
            wanted.append(layers.RandomFlip("horizontal", name="augment_flip"))
        if shift > 0:
            wanted.append(layers.RandomTranslation(shift, shift, name="augment_shift", **fill))
        if turn > 0:
            wanted.append(layers.RandomRotation(turn, name="augment_rotation", **fill))
        if zoom > 0:
            wanted.append(layers.RandomZoom((-zoom, zoom), name="augment_zoom", **fill))
        return wanted

    def _conv_block(self, index: int, filters: int) -> list[keras.Layer]:
        from keras import layers

        normalize = self.use_batch_normalization
        block = [
            layers.Conv2D(
                filters,
                self.kernel_size,
                padding="same",
                use_bias=not normalize,  # BatchNormalization has its own offset
                name=f"conv_{index}",
                **self.weight_arguments(),
            )
        ]
        if normalize:
            block.append(layers.BatchNormalization(name=f"conv_{index}_normalize"))
        block.append(layers.Activation(self.activation, name=f"conv_{index}_{self.activation}"))
        if self.pooling != "none":
            pool = layers.MaxPooling2D if self.pooling == "max" else layers.AveragePooling2D
            block.append(pool(2, name=f"conv_{index}_pool"))
        if self.dropout_conv > 0:
            block.append(layers.Dropout(self.dropout_conv, name=f"conv_{index}_dropout"))
        return block
