"""Which rule lays the default boxes of each family of published detectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ssd_keras.box_networks.anchor_rules import PercentAnchors, ScaleAnchors
from ssd_keras.box_networks.extras import Extra

BOX_SCALES = ("voc", "coco")
SMALLEST_SCALE = {"voc": 0.2, "coco": 0.1}

# (first, min, max) per cent of the image, for detectors of fewer than 7 levels and for others.
# Published are 300 and 512 of VGG16 on both data sets, 321 of ResNet-101 on VOC and 513 on COCO;
# the others follow the nearest of these.
DEEP_LEVELS = 7
VGG_PERCENTS = {"voc": ((10, 20, 90), (7, 15, 90)), "coco": ((7, 15, 90), (4, 10, 90))}
INCEPTION_PERCENTS = {"voc": ((7, 15, 90), (7, 15, 90)), "coco": ((4, 10, 90), (4, 10, 90))}
RESNET_PERCENTS = {"voc": ((10, 20, 95), (7, 15, 90)), "coco": ((7, 15, 95), (4, 10, 95))}


@dataclasses.dataclass(frozen=True)
class Pyramid:
    """What a rule is chosen for.

    Attributes:
        image_size: (height, width) of the image in pixels.
        levels: number of maps that predict.
        extras: those of them that follow the Core Network's.
        box_scale: "voc", "coco" (smaller boxes), or None for what was published.
    """

    image_size: tuple[int, int]
    levels: int
    extras: Sequence[Extra]
    box_scale: str | None = None


def scale_anchors(pyramid: Pyramid) -> ScaleAnchors:
    """The TF Object Detection API's."""
    return ScaleAnchors(smallest=SMALLEST_SCALE[pyramid.box_scale or "coco"])


def vgg_anchors(pyramid: Pyramid) -> PercentAnchors:
    """caffe-ssd's, which counts the cells of SSD300 in pixels that do not divide the image."""
    steps = (8.0, 16.0, 32.0, 64.0, 100.0, 300.0) if pyramid.image_size == (300, 300) else None
    return PercentAnchors(**_percents(VGG_PERCENTS, pyramid, "voc"), steps=steps)


def inception_anchors(pyramid: Pyramid) -> PercentAnchors:
    """Those of caffe-ssd at 512 pixels, whatever the number of levels."""
    return PercentAnchors(**_percents(INCEPTION_PERCENTS, pyramid, "voc"))


def resnet_anchors(pyramid: Pyramid) -> PercentAnchors:
    """caffe-dssd's, which stand in the middle of what each cell sees."""
    start, step = 2.5, 8.0
    starts, steps = [start, start], [step, 2 * step]
    step *= 2
    for extra in pyramid.extras:
        start += step * (extra.kernel - 1) / 2
        step *= extra.stride
        starts.append(start)
        steps.append(step)
    side = min(pyramid.image_size)
    starts[-1], steps[-1] = side / 2, float(side)
    usual = "coco" if pyramid.levels >= DEEP_LEVELS else "voc"
    return PercentAnchors(
        **_percents(RESNET_PERCENTS, pyramid, usual),
        outer_ratios=(1.6, 2.0, 3.0),
        inner_ratios=(1.6, 2.0, 3.0),
        steps=tuple(steps),
        starts=tuple(starts),
    )


def _percents(table, pyramid: Pyramid, usual: str) -> dict:
    first, low, high = table[pyramid.box_scale or usual][pyramid.levels >= DEEP_LEVELS]
    return {"first_percent": float(first), "min_percent": low, "max_percent": high}
