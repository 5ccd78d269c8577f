"""Misspelt names suggest the right one."""

import pytest

from ssd_keras.errors import did_you_mean


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("SSD_MobilNet_300", " Did you mean 'SSD_MobileNet_300'?"),
        ("ssd_mobilenet_300", " Did you mean 'SSD_MobileNet_300'?"),
        ("SSD_VGG_300", " Did you mean 'SSD_VGG16_300'?"),
        ("zebra", ""),
        ("", ""),
    ],
)
def test_suggests_only_what_is_near(word, expected):
    known = ["SSD_MobileNet_300", "SSD_VGG16_300", "YOLO_Inception_500"]
    assert did_you_mean(word, known) == expected
