"""All metrics of one evaluation in one dictionary, and what each of them means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssd_keras.evaluation.coco import table_coco_ap
from ssd_keras.evaluation.tables import Table, tabulate
from ssd_keras.evaluation.voc import ap_of_hits, table_hits

DEFINITIONS = {
    "voc.ap50": "VOC 2010 and later: mean over classes of the area under the precision-recall "
    "curve, a hit is IoU >= 0.5, boxes include their last pixel, difficult objects and crowd "
    "regions don't count",
    "voc.ap50_11point": "VOC 2007: the same hits, mean of the best precision at recall 0, 0.1 .. 1",
    "coco.AP": "COCO: mean AP over classes and over IoU 0.50, 0.55 .. 0.95, "
    "of the 100 best detections of each class in an image",
    "coco.AP50": "COCO: AP at IoU 0.50",
    "coco.AP75": "COCO: AP at IoU 0.75",
    "coco.APs": "COCO: AP of small objects, area below 32 x 32 pixels",
    "coco.APm": "COCO: AP of medium objects, 32 x 32 to 96 x 96 pixels",
    "coco.APl": "COCO: AP of large objects, area above 96 x 96 pixels",
    "coco.AR1": "COCO: best recall with 1 detection of each class in an image, mean over IoU "
    "0.50 .. 0.95",
    "coco.AR10": "COCO: best recall with 10 of them",
    "coco.AR100": "COCO: best recall with 100 of them",
    "coco.ARs": "COCO: AR100 of small objects",
    "coco.ARm": "COCO: AR100 of medium objects",
    "coco.ARl": "COCO: AR100 of large objects",
}


def evaluate(ground_truth: Sequence, detections: Sequence, classes: Sequence[str]) -> dict:
    """Measures detections by VOC and by COCO.

    Args:
        ground_truth: one record per image (see `tables.tabulate`).
        detections: `Detections` of the same images in the same order; None: could not be read.
        classes: class names.

    Returns:
        `voc`: `ap50`, `ap50_11point`; `coco`: the twelve numbers; `per_class`: name to a
        dictionary of `objects` (that count: neither difficult nor crowd), `detections`,
        `voc_ap50`, `voc_ap50_11point`, `coco_AP`, `coco_AP50`; `images`, `objects`, `detections`:
        counts; `unread`: the ids of images without detections because they could not be read, which
        count nowhere. What `DEFINITIONS` says of each. nan where there is no ground truth.
    """
    return evaluate_table(tabulate(ground_truth, detections, classes))


def evaluate_table(table: Table) -> dict:
    """`evaluate` of a `Table`."""
    hits, counted = table_hits(table)
    area = ap_of_hits(table, hits, counted, "all_point")
    points = ap_of_hits(table, hits, counted, "11_point")
    coco = table_coco_ap(table)
    count = len(table.classes)
    objects = np.bincount(table.object_label[~table.object_ignored], minlength=count)
    found = np.bincount(table.label, minlength=count)
    per_class = {
        name: {
            "objects": int(objects[i]),
            "detections": int(found[i]),
            "voc_ap50": area["per_class"][name],
            "voc_ap50_11point": points["per_class"][name],
            "coco_AP": coco["per_class"][name],
            "coco_AP50": coco["per_class_50"][name],
        }
        for i, name in enumerate(table.classes)
    }
    return {
        "voc": {"ap50": area["map"], "ap50_11point": points["map"]},
        "coco": {k: v for k, v in coco.items() if not k.startswith("per_class")},
        "per_class": per_class,
        "images": int(table.read.sum()),
        "unread": [i for i, read in zip(table.image_ids, table.read, strict=True) if not read],
        "objects": int(objects.sum()),
        "detections": len(table.score),
    }
