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
    structure: ClassVar[tuple[str, ...]] = ("num_layers_conv", "kernel_size", "pooling")

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

    @property
    def conv_filters(self) -> tuple[int, ...]:
        """Filters of each convolution."""
        return tuple(max(1, round(self.filters * self.filter_growth**i)) for i in range(self.num_layers_conv))

    @classmethod
    def misfit(cls, values: Mapping[str, Any], info: DataInfo) -> str | None:
        """Return why kernel, pooling and depth do not fit images of this size, or None."""
        layers, kernel, pooling = (values[name] for name in cls.structure)
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
                layers.Rescaling(1 / info.std, -info.mean / info.std, name="standardize"),
                *(layer for block in enumerate(self.conv_filters, start=1) for layer in self._conv_block(*block)),
                flat(name="global_pooling" if self.use_global_pooling else "flatten"),
                *self.head_layers(info),
            ],
            name="cnn",
        )

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
