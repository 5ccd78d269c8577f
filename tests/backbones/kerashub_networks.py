"""Networks of KerasHub as small as its classes allow, for tests where it is installed."""

import pytest

hub = pytest.importorskip(
    "keras_hub", reason="needs the extra 'kerashub', which is not installed", exc_type=ImportError
)
SIZE = (64, 96)


def resnet(kind, pre_activation=False, stem=(64,)):
    kernels = [7] if len(stem) == 1 else [3] * len(stem)
    return hub.models.ResNetBackbone(
        input_conv_filters=list(stem),
        input_conv_kernel_sizes=kernels,
        stackwise_num_filters=[64, 8, 16, 16],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type=kind,
        use_pre_activation=pre_activation,
    )


def vgg(channels=8):
    return hub.models.VGGBackbone([1] * 5, [channels] * 5)


def xception():
    filters = [[8, 8], [12, 12], [16, 16], [20, 20], [24, 24], [28, 28]]
    return hub.models.XceptionBackbone(filters, [False, True, True, True, True, False])


def mobilenet():
    """As MobileNetV3: squeeze and excitation, hard swish, 5x5 kernels."""
    return hub.models.MobileNetBackbone(
        stackwise_expansion=[[8], [16], [16, 16]],
        stackwise_num_blocks=[1, 1, 2],
        stackwise_num_filters=[[16], [24], [32, 32]],
        stackwise_kernel_size=[[3], [5], [5, 5]],
        stackwise_num_strides=[[2], [2], [2, 1]],
        stackwise_se_ratio=[[None], [0.25], [0.25, 0.25]],
        stackwise_activation=[["relu"], ["hard_swish"], ["hard_swish"] * 2],
        stackwise_padding=[[1], [2], [2, 2]],
        output_num_filters=64,
        depthwise_filters=8,
        depthwise_stride=2,
        depthwise_residual=False,
        squeeze_and_excite=0.5,
        last_layer_filter=48,
        input_num_filters=16,
    )


def efficientnet(version):
    blocks = {
        1: ["v1"] * 6,
        2: ["cba", "fused", "fused", "unfused", "unfused", "unfused"],
    }[version]
    return hub.models.EfficientNetBackbone(
        stackwise_width_coefficients=[0.25] * 6,
        stackwise_depth_coefficients=[1.0] * 6,
        stackwise_kernel_sizes=[3] * 6,
        stackwise_num_repeats=[1, 1, 1, 1, 1, 2],
        stackwise_input_filters=[32, 16, 24, 40, 80, 112],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192],
        stackwise_expansion_ratios=[1, 4, 4, 4, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2],
        stackwise_block_types=blocks,
        stackwise_squeeze_and_excite_ratios=[0, 0, 0, 0.25, 0.25, 0.25],
        min_depth=8,
        use_depth_divisor_as_min_depth=True,
        dropout=0.2,
        projection_activation=None,
    )


def csp_darknet():
    return hub.models.CSPNetBackbone(
        stem_filters=8,
        stem_kernel_size=3,
        stem_strides=1,
        stackwise_depth=[1] * 5,
        stackwise_strides=[2] * 5,
        stackwise_num_filters=[8, 8, 16, 16, 16],
        bottle_ratio=[0.5] * 5,
        block_ratio=[1, 0.5, 0.5, 0.5, 0.5],
        expand_ratio=[2, 1, 1, 1, 1],
        block_type="dark_block",
        stage_type="csp",
    )


def hgnet(affine=True):
    stages = [(8, 8, 16, 1, 1, 3), *[(16, 8, 16, 1, 1, 3)] * 3]
    return hub.models.HGNetV2Backbone(
        depths=[1] * 4,
        embedding_size=8,
        hidden_sizes=[16] * 4,
        stem_channels=[3, 8, 8],
        hidden_act="relu",
        use_learnable_affine_block=affine,
        stackwise_stage_filters=stages,
        apply_downsample=[False, True, True, True],
        use_lightweight_conv_block=[False, False, True, True],
        image_shape=(None, None, 3),
    )


def densenet():
    return hub.models.DenseNetBackbone([2, 2, 2, 2], compression_ratio=0.5, growth_rate=8)


def vit():
    return hub.models.ViTBackbone(
        image_shape=(64, 96, 3), patch_size=16, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8
    )


def mit():
    return hub.models.MiTBackbone(
        layerwise_depths=[1] * 4,
        num_layers=4,
        layerwise_num_heads=[1] * 4,
        layerwise_sr_ratios=[8, 4, 2, 1],
        max_drop_path_rate=0.1,
        layerwise_patch_sizes=[7, 3, 3, 3],
        layerwise_strides=[4, 2, 2, 2],
        hidden_dims=[8] * 4,
        image_shape=(64, 64, 3),
    )
