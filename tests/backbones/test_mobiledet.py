"""MobileDet is that of the TF Object Detection API, whose own code gave the numbers here."""

import pytest

from ssd_keras.backbones import feature_maps, mobiledet
from ssd_keras.backbones.mobiledet import _scale

# Values of all variables, and the maps of stride 8, 16 and 32: scope, channels.
API = {
    "cpu": (3_036_728, ("IBN_4_add", 32), ("IBN_12_add", 72), ("IBN_17_Conv_1_bn", 144)),
    "edgetpu": (
        2_815_456,
        ("FusedConv_7_add", 40),
        ("IBN_5_add", 96),
        ("IBN_10_Conv_1_bn", 384),
    ),
    "dsp": (5_886_464, ("FusedConv_4_add", 64), ("IBN_7_add", 144), ("IBN_10_Conv_1_bn", 240)),
}


@pytest.mark.parametrize("target", API)
def test_variables_and_maps_are_the_apis(target):
    model = mobiledet((64, 96), target=target, finest_stride=8)
    count, *maps = API[target]
    assert model.count_params() == count
    assert [(m.name, m.channels) for m in feature_maps(model)] == maps
    assert [(m.size, m.stride) for m in feature_maps(model)] == [
        ((8, 12), 8),
        ((4, 6), 16),
        ((2, 3), 32),
    ]


@pytest.mark.parametrize(
    ("channels", "width", "expected"), [(72, 0.25, 16), (16, 0.25, 8), (104, 0.5, 56), (8, 0.1, 8)]
)
def test_channels_are_multiples_of_8_with_halves_upwards(channels, width, expected):
    assert _scale(channels, width) == expected
