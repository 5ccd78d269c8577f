"""What the tests of boxes share: reference files in our order, and the rules in plain NumPy."""

import numpy as np

from ssd_keras import boxes as box_ops

RATIOS_300 = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
RATIOS_512 = ((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,))
MAPS_300, STEPS_300 = (38, 19, 10, 5, 3, 1), (8, 16, 32, 64, 100, 300)
MAPS_512, STEPS_512 = (64, 32, 16, 8, 4, 2, 1), (8, 16, 32, 64, 128, 256, 512)


def y_first(boxes):
    """Swaps x and y in the last axis: boxes, codes and centre forms alike."""
    return np.asarray(boxes)[..., [1, 0, 3, 2]]


def corners(centers):
    """`[cy, cx, h, w]` -> corners, float32 as the references compute them."""
    return np.concatenate(
        [centers[..., :2] - centers[..., 2:] / 2, centers[..., :2] + centers[..., 2:] / 2], axis=-1
    )


def ssd300(percents=(20, 90, 10), **options):
    sizes = box_ops.ssd_scale_sizes(300, 6, *percents)
    return box_ops.ssd_levels(MAPS_300, 300, *sizes, RATIOS_300, steps=STEPS_300, **options)


def ssd512(percents=(15, 90, 7), **options):
    sizes = box_ops.ssd_scale_sizes(512, 7, *percents)
    return box_ops.ssd_levels(MAPS_512, 512, *sizes, RATIOS_512, steps=STEPS_512, **options)


def dssd321(starts=(2.5, 2.5, 10.5, 26.5, 90.5, 160.5)):
    sizes = box_ops.ssd_scale_sizes(321, 6, 20, 95, 10)
    steps = None if starts is None else (8, 16, 32, 64, 64, 321)
    return box_ops.ssd_levels(
        (40, 20, 10, 5, 3, 1), 321, *sizes, ((1.6, 2, 3),) * 6, steps=steps, starts=starts
    )


def dssd513(starts=(2.5, 2.5, 10.5, 26.5, 58.5, 122.5, 256.5)):
    sizes = box_ops.ssd_scale_sizes(513, 7, 10, 95, 4)
    steps = None if starts is None else (8, 16, 32, 64, 128, 256, 513)
    return box_ops.ssd_levels(MAPS_512, 513, *sizes, ((1.6, 2, 3),) * 7, steps=steps, starts=starts)


def inception500():
    sizes = box_ops.ssd_scale_sizes(500, 7, 15, 90, 7)
    return box_ops.ssd_levels((60, 29, 14, 7, 4, 2, 1), 500, *sizes, RATIOS_512)


def mobilenet300():
    return box_ops.tf_od_levels((19, 10, 5, 3, 2, 1))


def numpy_boxes(a, b):
    """Pairwise IoU in the arithmetic of the arrays' own type."""
    sides = np.minimum(a[:, None, 2:], b[:, 2:]) - np.maximum(a[:, None, :2], b[:, :2])
    inter = np.where((sides > 0).all(-1), sides[..., 0] * sides[..., 1], 0)
    area_a, area_b = (
        np.where((s > 0).all(-1), s[:, 0] * s[:, 1], 0)
        for s in (a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2])
    )
    union = area_a[:, None] + area_b - inter
    return np.where(union > 0, inter / np.where(union > 0, union, 1), 0)


def numpy_match(boxes, anchors, threshold=0.5):
    """Greedy global bipartite matching, then the threshold: the rule word for word."""
    overlaps = numpy_boxes(anchors, boxes)
    matched = np.where(overlaps.max(1) >= threshold, overlaps.argmax(1), -1)
    left = overlaps.copy()
    for _ in range(len(boxes)):
        anchor, box = divmod(int(left.argmax()), len(boxes))
        if left[anchor, box] <= 1e-6:
            break
        matched[anchor] = box
        left[anchor], left[:, box] = -1, -1
    return matched


def numpy_suppress(
    boxes, scores, iou_threshold=0.45, score_threshold=0.01, max_per_class=400, max_detections=200
):
    """Kept (label, box index), best first: threshold, cut, suppression class by class, cut."""
    kept = []
    for label in range(scores.shape[1]):
        order = np.argsort(-scores[:, label], kind="stable")
        order = [i for i in order if scores[i, label] > score_threshold][:max_per_class]
        too_near = numpy_boxes(boxes[order], boxes[order]) > np.float32(iou_threshold)
        chosen = []
        for i in range(len(order)):
            if not too_near[i, chosen].any():
                chosen.append(i)
        kept += [(label, order[i]) for i in chosen]
    return sorted(kept, key=lambda k: (-scores[k[1], k[0]], k[0]))[:max_detections]


def random_boxes(rng, *shape, grid=None):
    """Random boxes `[*shape, 4]`; `grid` snaps them to fractions, so that many overlaps tie."""
    center = rng.uniform(0.1, 0.9, (*shape, 2))
    half = np.exp(rng.uniform(np.log(0.05), np.log(0.6), (*shape, 2))) / 2
    boxes = np.concatenate([np.clip(center - half, 0, 1), np.clip(center + half, 0, 1)], -1)
    if grid:
        boxes = np.round(boxes * grid) / grid
    return boxes.astype(np.float32)
