"""Extra levels: coarser maps that follow from a Core Network's last one."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Extra:
    """An extra level, made from the level before it.

    Attributes:
        reduced: channels of the bottleneck before the convolution that shrinks the map.
        channels: channels of the level.
        kernel: kernel size of that convolution.
        stride: stride of that convolution.
        padding: "same", "valid", or a number of pixels on every side.
    """

    reduced: int
    channels: int
    kernel: int = 3
    stride: int = 2
    padding: int | str = "same"

    def size(self, before: int) -> int:
        """Side of the level's map, from the side of the map before it."""
        if self.padding == "same":
            return -(-before // self.stride)
        padded = before + 2 * (0 if self.padding == "valid" else self.padding)
        return (padded - self.kernel) // self.stride + 1


# === Published sequences: from the shorter side of the last map to the levels after it ===


def four_extras(_side: int) -> list[Extra]:
    """The extra levels of the MobileNet models of the TF Object Detection API."""
    return [Extra(256, 512), Extra(128, 256), Extra(128, 256), Extra(64, 128)]


def extras_to_one_cell(side: int) -> list[Extra]:
    """Halves the map until one cell is left."""
    extras = []
    while side > 1:
        extras.append(Extra(128, 256) if extras else Extra(256, 512))
        side = extras[-1].size(side)
    return extras


def vgg_extras(side: int) -> list[Extra]:
    """The extra levels of caffe-ssd: 300 ends with two 3x3 "valid", 512 with a 4x4."""
    extras = []
    while side > 1:
        channels = (128, 256) if extras else (256, 512)
        if side in (3, 5):
            extras.append(Extra(*channels, kernel=3, stride=1, padding="valid"))
        elif side == 2:
            extras.append(Extra(*channels, kernel=4, stride=1, padding=1))
        else:
            extras.append(Extra(*channels, kernel=3, stride=2, padding=1))
        side = extras[-1].size(side)
    return extras


def resnet_extras(side: int) -> list[Extra]:
    """The residual blocks of caffe-dssd: 2x2 with stride 2, and 3x3 for 5 and 3 cells."""
    extras = []
    while side > 1:
        window = {"kernel": 3, "stride": 1} if side in (3, 5) else {"kernel": 2, "stride": 2}
        extras.append(Extra(256, 1024, padding="valid", **window))
        side = extras[-1].size(side)
    return extras
