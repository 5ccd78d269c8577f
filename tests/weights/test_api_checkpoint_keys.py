"""Keys of the API's TF2 checkpoints, as the zoo's files have them."""

import keras
import pytest

from ssd_keras.weights.api_checkpoint_keys import mobilenet, mobilenet_v2, names_of_keys, resnet50

EXTRACTOR, PREDICTOR = "model/_feature_extractor", "model/_box_predictor"
SHARED = "WeightSharedConvolutionalBoxPredictor"
TOWERS = f"{PREDICTOR}/_base_tower_layers_for_heads"

# The last layer of the backbone, three joined maps, and a tower: what the other names depend on.
V2_LITE = (
    f"{EXTRACTOR}/classification_backbone/layer_with_weights-103/gamma",
    f"{EXTRACTOR}/_fpn_features_generator/residual_blocks/0/0/kernel",
    f"{EXTRACTOR}/_fpn_features_generator/residual_blocks/1/0/kernel",
    f"{PREDICTOR}/_head_scope_conv_layers/PredictionTower/0/depthwise_kernel",
)
V1 = (
    f"{EXTRACTOR}/classification_backbone/layer_with_weights-53/gamma",
    *V2_LITE[1:3],
    f"{PREDICTOR}/_head_scope_conv_layers/ClassPredictionTower/0/kernel",
)


@pytest.mark.parametrize(
    ("layers", "application"),
    [(mobilenet, "MobileNet"), (mobilenet_v2, "MobileNetV2"), (resnet50, "ResNet50")],
)
def test_a_backbone_has_the_layers_of_keras_in_their_order(layers, application):
    model = getattr(keras.applications, application)(
        weights=None, include_top=False, input_shape=(64, 64, 3)
    )
    assert layers() == [layer.name for layer in model.layers if layer.weights]


@pytest.mark.parametrize(
    ("others", "key", "name"),
    [
        (V2_LITE, "classification_backbone/layer_with_weights-0/kernel", "Conv1/kernel"),
        (V2_LITE, "classification_backbone/layer_with_weights-1/beta", "bn_Conv1/beta"),
        (
            V2_LITE,
            "classification_backbone/layer_with_weights-2/depthwise_kernel",
            "expanded_conv_depthwise/depthwise_kernel",
        ),
        (V2_LITE, "classification_backbone/layer_with_weights-7/gamma", "block_1_expand_BN/gamma"),
        (
            V2_LITE,
            "classification_backbone/layer_with_weights-100/kernel",
            "block_16_project/kernel",
        ),
        (V2_LITE, "classification_backbone/layer_with_weights-103/gamma", "Conv_1_bn/gamma"),
        (V1, "classification_backbone/layer_with_weights-0/kernel", "conv1/kernel"),
        (
            V1,
            "classification_backbone/layer_with_weights-6/depthwise_kernel",
            "conv_dw_2/depthwise_kernel",
        ),
        (V1, "classification_backbone/layer_with_weights-53/gamma", "conv_pw_13_bn/gamma"),
        (
            V2_LITE,
            "_fpn_features_generator/top_layers/0/bias",
            "FeatureMaps/top_down/projection_3/bias",
        ),
        (
            V2_LITE,
            "_fpn_features_generator/residual_blocks/1/0/kernel",
            "FeatureMaps/top_down/projection_1/kernel",
        ),
        (
            V2_LITE,
            "_fpn_features_generator/conv_layers/0/1/moving_mean",
            "FeatureMaps/top_down/smoothing_2_batchnorm/moving_mean",
        ),
        (
            V2_LITE,
            "_coarse_feature_layers/1/0/pointwise_kernel",
            "bottom_up_Conv2d_1_conv/pointwise_kernel",
        ),
        (
            (),
            "feature_map_generator/convolutions/2/4/beta",
            "FeatureMaps/extra_2_Conv2d_2_3x3_s2_0_batchnorm/beta",
        ),
    ],
)
def test_what_a_feature_extractor_is_made_of(others, key, name):
    key = f"{EXTRACTOR}/{key}"
    assert names_of_keys([*others, key])[key] == name


@pytest.mark.parametrize(
    ("others", "key", "name"),
    [
        (
            V2_LITE,
            f"{TOWERS}/box_encodings/4/10/gamma",
            f"{SHARED}/PredictionTower/conv2d_3/BatchNorm/feature_4/gamma",
        ),
        (
            V1,
            f"{TOWERS}/box_encodings/0/1/gamma",
            f"{SHARED}/BoxPredictionTower/conv2d_0/BatchNorm/feature_0/gamma",
        ),
        (
            V1,
            f"{TOWERS}/class_predictions_with_background/1/7/beta",
            f"{SHARED}/ClassPredictionTower/conv2d_2/BatchNorm/feature_1/beta",
        ),
        (V1, V1[-1], f"{SHARED}/ClassPredictionTower/conv2d_0/kernel"),
        (
            V1,
            f"{PREDICTOR}/_box_prediction_head/_box_encoder_layers/0/bias",
            f"{SHARED}/WeightSharedConvolutionalBoxHead/BoxPredictor/bias",
        ),
        (
            V1,
            f"{PREDICTOR}/_prediction_heads/class_predictions_with_background/"
            "_class_predictor_layers/0/kernel",
            f"{SHARED}/WeightSharedConvolutionalClassHead/ClassPredictor/kernel",
        ),
        (
            (),
            f"{PREDICTOR}/_prediction_heads/box_encodings/3/_box_encoder_layers/0/bias",
            "BoxPredictor/ConvolutionalBoxHead_3/BoxEncodingPredictor/bias",
        ),
        (
            (),
            f"{PREDICTOR}/_prediction_heads/class_predictions_with_background/0/"
            "_class_predictor_layers/0/kernel",
            "BoxPredictor/ConvolutionalClassHead_0/ClassPredictor/kernel",
        ),
    ],
)
def test_what_a_predictor_is_made_of(others, key, name):
    assert names_of_keys([*others, key])[key] == name


@pytest.mark.parametrize(
    "key",
    [
        "model/parts/0",
        "save_counter",
        f"{EXTRACTOR}/other/0/kernel",
        # A backbone of as many layers is not known.
        f"{EXTRACTOR}/classification_backbone/layer_with_weights-7/kernel",
    ],
)
def test_other_keys_have_no_name(key):
    assert names_of_keys([key]) == {}
