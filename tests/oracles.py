"""The rules of the papers and of caffe-ssd in plain NumPy, loop by loop, in float64.

`test_oracles.py` holds them against the reference vectors, where these are at hand, and our code
against them everywhere: what the vectors prove here, a clone without them keeps.
Boxes are `[ymin, xmin, ymax, xmax]`, normalised; classes of losses count from 1, 0 is background.
"""

import colorsys
import itertools
import math

import numpy as np

from tests.boxes.reference import numpy_boxes, numpy_match


def caffe_default_boxes(maps, image, min_sizes, max_sizes, ratios, steps):
    """PriorBox of caffe-ssd: in each cell min, sqrt(min * max), then each ratio and its inverse."""
    boxes = []
    for side, low, high, level_ratios, step in zip(
        maps, min_sizes, max_sizes, ratios, steps, strict=True
    ):
        shapes = [(low, low), (math.sqrt(low * high),) * 2]
        for ratio in level_ratios:
            shapes.append((low / math.sqrt(ratio), low * math.sqrt(ratio)))
            shapes.append((low * math.sqrt(ratio), low / math.sqrt(ratio)))
        for row in range(side):
            for column in range(side):
                y, x = (row + 0.5) * step, (column + 0.5) * step
                boxes += [(y - h / 2, x - w / 2, y + h / 2, x + w / 2) for h, w in shapes]
    return np.array(boxes) / image


def _center_form(box):
    height, width = box[2] - box[0], box[3] - box[1]
    return box[0] + height / 2, box[1] + width / 2, height, width


def encode(box, anchor, variances=(0.1, 0.1, 0.2, 0.2)):
    """The code `[dy, dx, dh, dw]` of a box against a default box (SSD, section 2.2)."""
    (y, x, h, w), (ay, ax, ah, aw) = (_center_form(np.float64(b)) for b in (box, anchor))
    code = ((y - ay) / ah, (x - ax) / aw, math.log(h / ah), math.log(w / aw))
    return np.array(code) / variances


def decode(code, anchor, variances=(0.1, 0.1, 0.2, 0.2)):
    """The box of a code; the inverse of `encode`."""
    ay, ax, ah, aw = _center_form(np.float64(anchor))
    dy, dx, dh, dw = np.float64(code) * variances
    y, x, h, w = ay + dy * ah, ax + dx * aw, ah * math.exp(dh), aw * math.exp(dw)
    return np.array([y - h / 2, x - w / 2, y + h / 2, x + w / 2])


def multibox_loss(boxes, labels, anchors, codes, logits, negative_ratio=3):
    """Box and class loss of a batch by the rule of SSD: matched, mined, divided by the matches.

    Args:
        boxes, labels: a list of `[n, 4]` and `[n]` (from 1), an entry an image.
        anchors: `[A, 4]`.
        codes, logits: predictions `[B, A, 4]` and `[B, A, 1 + C]`.
    """
    box_loss = class_loss = matches = 0
    for own_boxes, own_labels, own_codes, own_logits in zip(
        boxes, labels, codes, logits, strict=True
    ):
        match = numpy_match(own_boxes, anchors) if len(own_boxes) else np.full(len(anchors), -1)
        target = np.where(match >= 0, np.append(own_labels, 0)[match], 0)
        own_logits = own_logits.astype(np.float64)
        log_sum = own_logits.max(1) + np.log(
            np.exp(own_logits - own_logits.max(1, keepdims=True)).sum(1)
        )
        cross_entropy = log_sum - own_logits[np.arange(len(anchors)), target]
        positive = np.flatnonzero(match >= 0)
        background = [a for a in np.argsort(-(log_sum - own_logits[:, 0])) if match[a] < 0]
        mined = background[: negative_ratio * len(positive)]
        class_loss += cross_entropy[positive].sum() + cross_entropy[mined].sum()
        for a in positive:
            difference = np.abs(own_codes[a] - encode(own_boxes[match[a]], anchors[a]))
            box_loss += np.where(difference < 1, difference**2 / 2, difference - 0.5).sum()
        matches += len(positive)
    return box_loss / max(matches, 1), class_loss / max(matches, 1)


def distort(image, brightness=0.0, contrast=1.0, saturation=1.0, hue=0.0, contrast_first=True):
    """caffe-ssd's photometric distortion, a pixel at a time; hue in degrees."""

    def turned(pixel):
        h, s, v = colorsys.rgb_to_hsv(*pixel)
        return colorsys.hsv_to_rgb((h + hue / 360) % 1, min(s * saturation, 1), v)

    image = np.float64(image) + brightness
    image = image * contrast if contrast_first else image
    image = np.array([[turned(pixel) for pixel in row] for row in image])
    return image if contrast_first else image * contrast


def voc_average_precision(truths, founds, label, *, eleven_points, iou=0.5):
    """Average precision of a class as the devkit computes it, in whole pixels that are inclusive.

    Args:
        truths: for each image `(boxes in pixels [n, 4], labels, difficult)`.
        founds: for each image `(boxes in pixels [m, 4], labels, scores)`.
    """
    objects = sum(((t[1] == label) & ~t[2]).sum() for t in truths)
    rows = [
        (score, image, box)
        for image, (boxes, labels, scores) in enumerate(founds)
        for box, own, score in zip(boxes, labels, scores, strict=True)
        if own == label
    ]
    taken, hits = set(), []
    for _, image, box in sorted(rows, key=lambda row: -row[0]):
        boxes, labels, difficult = truths[image]
        mine = np.flatnonzero(labels == label)
        grown = [np.add(b, (0, 0, 1, 1)) for b in (boxes[mine], [box])]
        overlaps = numpy_boxes(*grown)[:, 0] if len(mine) else np.zeros(0)
        best = mine[overlaps.argmax()] if len(mine) and overlaps.max() > iou else None
        if best is not None and difficult[best]:
            continue
        hits.append(best is not None and (image, best) not in taken)
        taken.add((image, best))
    return _area(np.cumsum(hits), objects, eleven_points) if objects else math.nan


def _area(found, objects, eleven_points):
    recall = found / objects
    precision = found / np.arange(1, len(found) + 1)

    def best_from(r):
        return precision[recall >= r].max(initial=0)

    if eleven_points:
        return np.mean([best_from(r) for r in np.linspace(0, 1, 11)])
    steps = np.unique(np.append(0, recall))
    return sum((b - a) * best_from(b) for a, b in itertools.pairwise(steps))


def atss(boxes, anchors, centers, levels, image_size, candidates=9, whole_cells=False):
    """Adaptive training sample selection, algorithm 1, an object at a time; -1 for none."""
    boxes, anchors = np.float64(boxes).reshape(-1, 4), np.float64(anchors)
    overlaps = numpy_boxes(anchors, boxes)
    best, match = np.zeros(len(anchors)), np.full(len(anchors), -1)
    for m, box in enumerate(boxes):
        middle = np.array([box[0] + box[2], box[1] + box[3]]) / 2
        away = np.hypot(*((np.float64(centers) - middle) * image_size).T)
        chosen, first = [], 0
        for cells, per_cell in levels:
            level = np.arange(first, first + cells * per_cell)
            count = candidates * per_cell if whole_cells else candidates
            chosen += level[np.argsort(away[level], kind="stable")][:count].tolist()
            first += cells * per_cell
        mine = overlaps[chosen, m]
        threshold = mine.mean() + mine.std(ddof=1)
        for a in chosen:
            sides = np.concatenate([centers[a] - box[:2], box[2:] - centers[a]])
            inside = (sides * np.tile(image_size, 2)).min() > 0.01
            if inside and overlaps[a, m] >= threshold and overlaps[a, m] > best[a]:
                best[a], match[a] = overlaps[a, m], m
    return match


def task_aligned(boxes, labels, predicted, scores, centers, image_size, candidates, alpha, beta):
    """TOOD's assignment, an object at a time: matches `[A]`, and their metric, IoU and target."""
    overlaps = numpy_boxes(np.float64(predicted), np.float64(boxes).reshape(-1, 4))
    metrics = np.float64(scores)[:, labels] ** alpha * overlaps**beta
    best, match = np.zeros(len(predicted)), np.full(len(predicted), -1)
    for m, box in enumerate(boxes):
        for a in np.argsort(-metrics[:, m], kind="stable")[:candidates]:
            sides = np.concatenate([centers[a] - box[:2], box[2:] - centers[a]])
            inside = (sides * np.tile(image_size, 2)).min() > 0.01
            if inside and metrics[a, m] > 0 and overlaps[a, m] > best[a]:
                best[a], match[a] = overlaps[a, m], m
    metric, target = np.zeros(len(match)), np.zeros(len(match))
    for m in set(match[match >= 0]):
        own = match == m
        metric[own] = metrics[own, m]
        target[own] = metric[own] / metric[own].max() * best[own].max()
    return match, metric, best, target


def overlap_losses(a, b):
    """IoU, GIoU, DIoU and CIoU loss of two boxes, by their papers."""
    (a_y, a_x, a_h, a_w), (b_y, b_x, b_h, b_w) = (_center_form(np.float64(box)) for box in (a, b))
    iou = numpy_boxes(np.float64(a)[None], np.float64(b)[None])[0, 0]
    height, width = np.maximum(a[2:], b[2:]) - np.minimum(a[:2], b[:2])
    union = (a_h * a_w + b_h * b_w) / (1 + iou)
    apart = ((a_y - b_y) ** 2 + (a_x - b_x) ** 2) / (height**2 + width**2)
    aspect = 4 / math.pi**2 * (math.atan(b_w / b_h) - math.atan(a_w / a_h)) ** 2
    weight = aspect / (1 - iou + aspect) if aspect else 0.0
    hull = height * width
    return {
        "iou": 1 - iou,
        "giou": 1 - iou + (hull - union) / hull,
        "diou": 1 - iou + apart,
        "ciou": 1 - iou + apart + weight * aspect,
    }
