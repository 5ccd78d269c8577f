"""MobileNet v2, whose grids are right as Keras builds them."""

from __future__ import annotations

import keras
from keras import layers

from ssd_keras.backbones.normalization import BatchNormalization, rescale_to_one

BATCH_NORM_MOMENTUM = 0.99
# Layers whose outputs are the maps, by the stride of the finest: those that SSD looks at, and the
# ends of the stages, which are narrower.
MAP_LAYERS = {
    16: ("block_13_expand_relu", "out_relu"),
    8: ("block_6_expand_relu", "block_13_expand_relu", "out_relu"),
}
STAGE_ENDS = {
    16: ("block_12_add", "out_relu"),
    8: ("block_5_add", "block_12_add", "out_relu"),
}


def mobilenet_v2(
    image_size: tuple[int, int],
    width: float = 1.0,
    *,
    finest_stride: int = 16,
    stage_ends: bool = False,
) -> keras.Model:
    """MobileNet v2 as a Core Network: `keras.applications.MobileNetV2` with its feature maps.

    The moving statistics of its batch norms follow faster than Keras' (momentum 0.99 for 0.999):
    otherwise a detector that was trained for a thousand steps is still normalised with those of
    its first minutes.

    Args:
        image_size: (height, width) of the image in pixels.
        width: multiplier of all channel counts, as in the paper.
        finest_stride: 16, or 8 for one map more, "block_6_expand_relu", before the others.
        stage_ends: the maps at the ends of the stages, "block_5_add" and "block_12_add", instead of
            the wide ones behind them: what FPN looks at.

    Returns:
        A model from images `[B, H, W, 3]`, RGB 0..255, to the maps "block_13_expand_relu"
        (stride 16) and "out_relu" (stride 32).

    Source: arXiv 1801.04381, section 6.2; TF Object Detection API,
    ssd_mobilenet_v2_feature_extractor.py, ssd_mobilenet_v2_fpn_keras_feature_extractor.py.
    """
    images = keras.Input((*image_size, 3), name="image")
    model = keras.applications.MobileNetV2(
        input_tensor=rescale_to_one(images),
        input_shape=(*image_size, 3),
        alpha=width,
        include_top=False,
        weights=None,
    )
    model = keras.models.clone_model(model, clone_function=_with_our_batch_norms)
    names = (STAGE_ENDS if stage_ends else MAP_LAYERS)[finest_stride]
    return keras.Model(
        model.inputs[0], {name: model.get_layer(name).output for name in names}, name="mobilenet_v2"
    )


def _with_our_batch_norms(layer: layers.Layer) -> layers.Layer:
    config = layer.get_config()
    if isinstance(layer, layers.BatchNormalization):
        return BatchNormalization.from_config({**config, "momentum": BATCH_NORM_MOMENTUM})
    return layer.__class__.from_config(config)
