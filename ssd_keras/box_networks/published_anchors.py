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
        last_map: rows and columns of the coarsest map.
    """

    image_size: tuple[int, int]
    levels: int
    extras: Sequence[Extra]
    box_scale: str | None = None
    last_map: tuple[int, int] = (1, 1)


def scale_anchors(pyramid: Pyramid) -> ScaleAnchors:
    """The TF Object Detection API's."""
    return ScaleAnchors(smallest=SMALLEST_SCALE[pyramid.box_scale or "coco"])


def vgg_anchors(pyramid: Pyramid) -> PercentAnchors:
    """caffe-ssd's, which counts the cells of SSD300 in pixels that do not divide the image.

    On a rectangle they stand in the middle of what each cell sees.
    """
    height, width = pyramid.image_size
    centres = {"steps": (8.0, 16.0, 32.0, 64.0, 100.0, 300.0)} if height == width == 300 else {}
    if height != width:
        centres = _centres_of_sight(pyramid, starts=(4.0, 8.0), steps=(8.0, 16.0))
    return PercentAnchors(**_percents(VGG_PERCENTS, pyramid, "voc"), **centres)


def inception_anchors(pyramid: Pyramid) -> PercentAnchors:
    """Those of caffe-ssd at 512 pixels, whatever the number of levels."""
    return PercentAnchors(**_percents(INCEPTION_PERCENTS, pyramid, "voc"))


def resnet_anchors(pyramid: Pyramid) -> PercentAnchors:
    """caffe-dssd's, which stand in the middle of what each cell sees."""
    usual = "coco" if pyramid.levels >= DEEP_LEVELS else "voc"
    return PercentAnchors(
        **_percents(RESNET_PERCENTS, pyramid, usual),
        outer_ratios=(1.6, 2.0, 3.0),
        inner_ratios=(1.6, 2.0, 3.0),
        **_centres_of_sight(pyramid, starts=(2.5, 2.5), steps=(8.0, 16.0)),
    )


def _centres_of_sight(pyramid: Pyramid, starts: tuple, steps: tuple) -> dict:
    """Steps and starts of all levels in pixels, from those of the Core Network's maps.

    A single cell stands in the middle of the image.
    """
    starts, steps = list(starts), list(steps)
    for extra in pyramid.extras:
        padding = 0 if extra.padding == "valid" else extra.padding
        starts.append(starts[-1] + steps[-1] * ((extra.kernel - 1) / 2 - padding))
        steps.append(steps[-1] * extra.stride)
    last = [
        (side / 2, float(side)) if cells == 1 else (starts[-1], steps[-1])
        for side, cells in zip(pyramid.image_size, pyramid.last_map, strict=True)
    ]
    starts[-1], steps[-1] = (_one_for_both(*pair) for pair in zip(*last, strict=True))
    return {"steps": tuple(steps), "starts": tuple(starts)}


def _one_for_both(y: float, x: float) -> float | tuple[float, float]:
    return y if y == x else (y, x)


def _percents(table, pyramid: Pyramid, usual: str) -> dict:
    first, low, high = table[pyramid.box_scale or usual][pyramid.levels >= DEEP_LEVELS]
    return {"first_percent": float(first), "min_percent": low, "max_percent": high}
