"""CnnConfig: convolutional networks for images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from hpoviz.data.info import DataInfo
from hpoviz.errors import ModelBuildError
from hpoviz.models.cnn_parameters import CnnParameters

if TYPE_CHECKING:
    import keras

__all__ = ["CnnConfig"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CnnConfig(CnnParameters):
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
