"""ResNet: 101 layers with the grids and the dilated last stage of the published DSSD, and 50."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras
from keras import layers

from ssd_keras.backbones.normalization import (
    IMAGENET_MEANS,
    BatchNormalization,
    CaffeNormalization,
    standardize,
    subtract_means,
)

# Of each stage: channels, blocks, stride of its first block, dilation of its 3x3 convolutions.
DILATED_101 = ((64, 3, 1, 1), (128, 4, 2, 1), (256, 23, 2, 1), (512, 3, 1, 2))
STAGES_50 = ((64, 3, 1, 1), (128, 4, 2, 1), (256, 6, 2, 1), (512, 3, 2, 1))
EPSILON = 1.001e-5
TORCH_EPSILON = 1e-5
API_EPSILON = 1e-3


def resnet101(
    image_size: tuple[int, int],
    width: float = 1.0,
    *,
    means: Sequence[float] = IMAGENET_MEANS,
) -> keras.Model:
    """ResNet-101 as a Core Network.

    Differs from `keras.applications.ResNet101`: the first pool is not padded (321 px give 40x40
    and 20x20 maps, 513 px 64x64 and 32x32), and the last stage keeps stride 16 and dilates its 3x3
    convolutions by 2. Layer names and shapes are Keras' own, so Keras' ImageNet weights load by
    name; like Keras', the convolutions have biases, which the published model has not. RGB 0..255
    becomes BGR without the mean in the first layer.

    Args:
        image_size: (height, width) of the image in pixels.
        width: multiplier of all channel counts.
        means: what is subtracted from red, green and blue.

    Returns:
        A model from images `[B, H, W, 3]`, RGB 0..255, to the maps "conv3_block4_out" (stride 8)
        and "conv5_block3_out" (stride 16).

    Source: arXiv 1512.03385; caffe-dssd, model_libs.py, ResNet101Body.
    """
    # === Layers ===
    images = keras.Input((*image_size, 3), name="image")
    x = CaffeNormalization(means, name="normalization")(images)
    outputs = _residual_stages(_Layers(width), x, DILATED_101, pool_padding=0)
    # === Functional model ===
    names = ("conv3_block4_out", "conv5_block3_out")
    return keras.Model(images, {name: outputs[name] for name in names}, name="resnet101")


def resnet50(
    image_size: tuple[int, int],
    width: float = 1.0,
    *,
    version: str = "v1",
    finest_stride: int = 16,
) -> keras.Model:
    """ResNet-50 as a Core Network.

    Layer names are Keras' own, so that Keras' ImageNet weights fill version 1 by name.

    Args:
        image_size: (height, width) of the image in pixels.
        width: multiplier of all channel counts.
        version: "v1", `keras.applications.ResNet50`: the first 1x1 convolution of a stage halves
            the map, and the image is BGR without the mean; or "v1.5", torchvision's `resnet50`: the
            3x3 convolution halves it, convolutions have no biases, and the image is RGB, less the
            mean and divided by the deviation; or "api", that of the TF Object Detection API's FPN:
            version 1 with ReLU6, without biases, a pool that pads even sizes at the end only, and
            RGB less the mean.
        finest_stride: 16, or 8 for one map more, "conv3_block4_out", before the others.

    Returns:
        A model from images `[B, H, W, 3]`, RGB 0..255, to the maps "conv4_block6_out" (stride 16)
        and "conv5_block3_out" (stride 32).

    Source: arXiv 1512.03385; keras/src/applications/resnet.py; torchvision, models/resnet.py;
    TF Object Detection API, keras_models/resnet_v1.py,
    ssd_resnet_v1_fpn_keras_feature_extractor.py, ssd_resnet50_v1_fpn_640x640_coco17_tpu-8.config.
    """
    # === Layers ===
    images = keras.Input((*image_size, 3), name="image")
    x, make = _version(version, images, width)
    outputs = _residual_stages(make, x, STAGES_50, "same" if version == "api" else 1)
    # === Functional model ===
    names = ("conv3_block4_out", "conv4_block6_out", "conv5_block3_out")
    names = names if finest_stride == 8 else names[1:]
    return keras.Model(images, {name: outputs[name] for name in names}, name="resnet50")


def _version(version: str, images, width: float) -> tuple:
    """The normalised image of a ResNet-50, and what makes its layers."""
    if version == "v1.5":
        return standardize(images), _Layers(
            width, biases=False, epsilon=TORCH_EPSILON, halves_in_3x3=True
        )
    if version == "api":
        return subtract_means(images), _Layers(
            width, biases=False, epsilon=API_EPSILON, ceiling=6.0
        )
    return CaffeNormalization(name="normalization")(images), _Layers(width)


def _residual_stages(make: _Layers, x, stages, pool_padding: int | str) -> dict:
    """The outputs of all stages, by the name of their last layer."""
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = make.conv_bn(x, 64, 7, "conv1", strides=2)
    x = make.relu(x, "conv1_relu")
    padding = pool_padding if isinstance(pool_padding, str) else "valid"
    if pool_padding and padding == "valid":
        x = layers.ZeroPadding2D(pool_padding, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, padding=padding, name="pool1_pool")(x)
    outputs = {}
    for stage, (channels, blocks, stride, dilation) in enumerate(stages, start=2):
        for block in range(1, blocks + 1):
            first = block == 1
            name = f"conv{stage}_block{block}"
            x = make.bottleneck(x, channels, stride if first else 1, dilation, first, name)
        outputs[f"{name}_out"] = x
    return outputs


@dataclasses.dataclass(frozen=True)
class _Layers:
    """Makes the layers of a width.

    Attributes:
        width: multiplier of all channel counts.
        biases: whether convolutions have them.
        epsilon: of the batch norms.
        halves_in_3x3: whether the 3x3 convolution halves the map, not the 1x1 before it.
        ceiling: largest value of an activation, or None.
    """

    width: float
    biases: bool = True
    epsilon: float = EPSILON
    halves_in_3x3: bool = False
    ceiling: float | None = None

    def relu(self, x, name: str):
        """The activation."""
        return layers.ReLU(self.ceiling, name=name)(x)

    def conv_bn(self, x, channels: int, kernel: int, name: str, **options):
        """Convolution, "valid" by default, and batch norm."""
        channels = round(channels * self.width)
        x = layers.Conv2D(channels, kernel, use_bias=self.biases, name=f"{name}_conv", **options)(x)
        return BatchNormalization(epsilon=self.epsilon, name=f"{name}_bn")(x)

    def bottleneck(self, x, channels: int, stride: int, dilation: int, project: bool, name: str):
        """A residual block; `project` where its shortcut needs a convolution."""
        first, second = (1, stride) if self.halves_in_3x3 else (stride, 1)
        shortcut = x
        if project:
            shortcut = self.conv_bn(x, 4 * channels, 1, f"{name}_0", strides=stride)
        x = self.conv_bn(x, channels, 1, f"{name}_1", strides=first)
        x = self.relu(x, f"{name}_1_relu")
        window = {"padding": "same", "dilation_rate": dilation}
        if second > 1:
            # "same" would pad even sizes at the end only.
            x = layers.ZeroPadding2D(1, name=f"{name}_2_pad")(x)
            window = {"strides": second}
        x = self.conv_bn(x, channels, 3, f"{name}_2", **window)
        x = self.relu(x, f"{name}_2_relu")
        x = self.conv_bn(x, 4 * channels, 1, f"{name}_3")
        x = layers.Add(name=f"{name}_add")([shortcut, x])
        return self.relu(x, f"{name}_out")
