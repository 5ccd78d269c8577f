"""Keys of the TF Object Detection API's TF2 checkpoints as the names that its layers have.

A key is the way from attribute to attribute of the API's objects
(`model/_box_predictor/_head_scope_conv_layers/PredictionTower/0/depthwise_kernel`). The names are
those of the variables, which a SavedModel has and which say what a layer is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_ROOT = re.compile(r"^_?model/(?=_feature_extractor/|_box_predictor/)")
_PREDICTOR = "WeightSharedConvolutionalBoxPredictor"

# Way below the root -> name; N is a number that a function below turns into another one.
_RULES = (
    # === SSD ===
    (
        r"_box_predictor/_prediction_heads/box_encodings/(\d+)/_box_encoder_layers/0/",
        r"BoxPredictor/ConvolutionalBoxHead_\1/BoxEncodingPredictor/",
    ),
    (
        r"_box_predictor/_prediction_heads/class_predictions_with_background/(\d+)/"
        r"_class_predictor_layers/0/",
        r"BoxPredictor/ConvolutionalClassHead_\1/ClassPredictor/",
    ),
    (
        r"_feature_extractor/feature_map_generator/convolutions/(\d+)/0/",
        r"FeatureMaps/extra_1_Conv2d_\1_1x1_0_conv/",
    ),
    (
        r"_feature_extractor/feature_map_generator/convolutions/(\d+)/1/",
        r"FeatureMaps/extra_1_Conv2d_\1_1x1_0_batchnorm/",
    ),
    (
        r"_feature_extractor/feature_map_generator/convolutions/(\d+)/3/",
        r"FeatureMaps/extra_2_Conv2d_\1_3x3_s2_0_conv/",
    ),
    (
        r"_feature_extractor/feature_map_generator/convolutions/(\d+)/4/",
        r"FeatureMaps/extra_2_Conv2d_\1_3x3_s2_0_batchnorm/",
    ),
    # === FPN ===
    (
        r"_box_predictor/_box_prediction_head/_box_encoder_layers/0/",
        rf"{_PREDICTOR}/WeightSharedConvolutionalBoxHead/BoxPredictor/",
    ),
    (
        r"_box_predictor/_prediction_heads/class_predictions_with_background/"
        r"_class_predictor_layers/0/",
        rf"{_PREDICTOR}/WeightSharedConvolutionalClassHead/ClassPredictor/",
    ),
    (
        r"_box_predictor/_head_scope_conv_layers/(\w*PredictionTower)/(\d+)/",
        rf"{_PREDICTOR}/\1/conv2d_\2/",
    ),
    (r"_feature_extractor/_coarse_feature_layers/(\d+)/0/", r"bottom_up_Conv2d_\1_conv/"),
    (r"_feature_extractor/_coarse_feature_layers/(\d+)/1/", r"bottom_up_Conv2d_\1_batchnorm/"),
)
_TOWER_NORM = re.compile(
    r"_box_predictor/_base_tower_layers_for_heads/"
    r"(box_encodings|class_predictions_with_background)/(\d+)/(\d+)/"
)
_TOP_DOWN = re.compile(
    r"_feature_extractor/_fpn_features_generator/"
    r"(top_layers|residual_blocks|conv_layers)/(\d+)/(?:([01])/)?"
)
_BACKBONE = re.compile(r"_feature_extractor/classification_backbone/layer_with_weights-(\d+)/")
_LAST = re.compile(r"[a-z_]+$")


def names_of_keys(keys: Iterable[str]) -> dict[str, str]:
    """Key -> name of the variable, of those keys that are the API's.

    Args:
        keys: without the ending that all variables have.
    """
    ways = {key: _ROOT.sub("", key) for key in keys if _ROOT.match(key)}
    backbone = _backbone_layers(ways.values())
    one_tower = any("/PredictionTower/" in way for way in ways.values())
    levels = 1 + len(
        {m[2] for way in ways.values() if (m := _TOP_DOWN.match(way)) and m[1] == "residual_blocks"}
    )
    names = {key: _name(way, backbone, one_tower, levels) for key, way in ways.items()}
    return {key: name for key, name in names.items() if name}


def _name(way: str, backbone: list[str], one_tower: bool, levels: int) -> str | None:
    part = _LAST.search(way)
    if part is None:
        return None
    if match := _BACKBONE.match(way):
        number = int(match[1])
        return f"{backbone[number]}/{part[0]}" if number < len(backbone) else None
    if match := _TOWER_NORM.match(way):
        return f"{_tower_norm(match, one_tower)}/{part[0]}"
    if match := _TOP_DOWN.match(way):
        return f"FeatureMaps/top_down/{_top_down(*match.groups(), levels)}/{part[0]}"
    for pattern, name in _RULES:
        if match := re.match(pattern, way):
            return match.expand(name) + part[0]
    return None


def _tower_norm(match: re.Match, one_tower: bool) -> str:
    """A tower has of each level convolution, batch norm and activation, one after the other."""
    head = "Box" if match[1] == "box_encodings" else "Class"
    tower = "PredictionTower" if one_tower else f"{head}PredictionTower"
    return f"{_PREDICTOR}/{tower}/conv2d_{int(match[3]) // 3}/BatchNorm/feature_{match[2]}"


def _top_down(kind: str, index: str, part: str | None, levels: int) -> str:
    """Levels are numbered from the finest, 1, but made from the coarsest on."""
    if kind == "top_layers":
        return f"projection_{levels}"
    level = levels - 1 - int(index)
    if kind == "residual_blocks":
        return f"projection_{level}"
    return f"smoothing_{level}_{'conv' if part == '0' else 'batchnorm'}"


def _backbone_layers(ways: Iterable[str]) -> list[str]:
    """Names of the layers with weights of Keras' network that has as many."""
    numbers = [int(match[1]) for way in ways if (match := _BACKBONE.match(way))]
    networks = {len(layers): layers for layers in (mobilenet(), mobilenet_v2(), resnet50())}
    return networks.get(max(numbers, default=-1) + 1, [])


def mobilenet() -> list[str]:
    """Layers with weights of `keras.applications.MobileNet`, in their order there."""
    names = ["conv1"]
    for block in range(1, 14):
        names += [f"conv_dw_{block}", f"conv_pw_{block}"]
    return [layer for name in names for layer in (name, f"{name}_bn")]


def mobilenet_v2() -> list[str]:
    """Those of `keras.applications.MobileNetV2`."""
    names = ["Conv1", "bn_Conv1"]
    for block in range(17):
        steps = ("expand", "depthwise", "project") if block else ("depthwise", "project")
        stem = f"block_{block}" if block else "expanded_conv"
        names += [layer for step in steps for layer in (f"{stem}_{step}", f"{stem}_{step}_BN")]
    return [*names, "Conv_1", "Conv_1_bn"]


def resnet50() -> list[str]:
    """Those of `keras.applications.ResNet50`: at one depth, the shortcut comes first."""
    names = ["conv1_conv", "conv1_bn"]
    for stage, blocks in ((2, 3), (3, 4), (4, 6), (5, 3)):
        for block in range(1, blocks + 1):
            ends = ("0_conv", "3_conv", "0_bn", "3_bn") if block == 1 else ("3_conv", "3_bn")
            steps = ("1_conv", "1_bn", "2_conv", "2_bn", *ends)
            names += [f"conv{stage}_block{block}_{step}" for step in steps]
    return names
