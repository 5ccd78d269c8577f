"""Average precision by the rules of COCO, measured by pycocotools, the reference evaluator."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval, Params

from ssd_keras.evaluation.tables import Table, tabulate
from ssd_keras.evaluation.voc import of_classes

NUMBERS = (
    "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
)  # fmt: skip


def coco_ap(ground_truth: Sequence, detections: Sequence, classes: Sequence[str]) -> dict:
    """The twelve numbers of COCO and the AP of each class, from pycocotools.

    Boxes are pixels without the +1 of VOC. Crowd objects go in as `iscrowd`; difficult objects
    are normal ones, because COCO has no such thing. An object's area is the annotated one where
    the ground truth has it, else that of its box. At most 100 detections of each class count in
    an image. Equal scores keep the order within `Detections`, and across images the order of the
    image ids where all are numbers, else the order given.

    Args:
        ground_truth: one record per image (see `tables.tabulate`).
        detections: `Detections` of the same images in the same order.
        classes: class names.

    Returns:
        `NUMBERS` as floats (nan where there is no ground truth to measure on, for which pycocotools
        says -1), `per_class`: name to AP (IoU 0.50:0.95), `per_class_50`: name to AP50.
    """
    return table_coco_ap(tabulate(ground_truth, detections, classes))


def table_coco_ap(table: Table) -> dict:
    """`coco_ap` of a `Table`."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(iouType="bbox")
        evaluation.eval = _curves(table, evaluation.params)
        evaluation.summarize()
    numbers = {name: _or_nan(value) for name, value in zip(NUMBERS, evaluation.stats, strict=True)}
    # [IoU, recall, class, area, detections]: area 0 is every size, the last entry 100 detections.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    return numbers | {
        "per_class": _per_class(table.classes, precision),
        "per_class_50": _per_class(table.classes, precision[:1]),
    }


def _curves(table: Table, params: Params) -> dict[str, np.ndarray]:
    """What pycocotools accumulates, -1 where there is nothing: `precision` [IoU, recall, class,
    area, detections] and `recall` [IoU, class, area, detections].

    It looks at every class in every image; so each class is given to it alone, with the images that
    have it, and of these the ones without an object of it as few, see `images_in_one`. That changes
    no number that is summarized, and most classes are in few images.
    """
    ranks, count = _ranks(image_numbers(table.image_ids)), len(table.classes)
    ends = count, len(params.areaRng), len(params.maxDets)
    precision = np.full((len(params.iouThrs), len(params.recThrs), *ends), -1.0)
    recall = np.full((len(params.iouThrs), *ends), -1.0)
    objects, found = of_classes(table.object_label, count), of_classes(table.label, count)
    for label in range(count):
        if len(objects[label]):
            one = _of_class(table, ranks, objects[label], found[label])
            precision[:, :, label] = one["precision"][:, :, 0]
            recall[:, label] = one["recall"][:, 0]
    return {"precision": precision, "recall": recall}


def _ranks(numbers: Sequence[int]) -> np.ndarray:
    """Which place each number has, which pycocotools orders images by."""
    ranks = np.empty(len(numbers), np.int64)
    ranks[sorted(range(len(numbers)), key=numbers.__getitem__)] = np.arange(len(numbers))
    return ranks


def _of_class(table: Table, ranks: np.ndarray, objects, found) -> dict[str, np.ndarray]:
    """The same of one class, whose objects and detections stand at `objects` and `found`."""
    found = found[np.argsort(ranks[table.image[found]], kind="stable")]
    with_objects = ranks[table.object_image[objects]]
    image = images_in_one(ranks[table.image[found]], with_objects)
    images = np.union1d(with_objects, image).tolist()
    truth = _dataset(images, _truth(table, with_objects, objects))
    evaluation = COCOeval(truth, _dataset(images, _results(table, image, found)), iouType="bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval


def images_in_one(image: np.ndarray, with_objects: np.ndarray, most: int = 100) -> np.ndarray:
    """The image of each detection of a class, when images without an object of it are put together.

    All detections in these are false, whichever of them they lie in. Images are put together that
    follow each other, so that equal scores keep their order, and only up to the number of
    detections that count in an image. The numbers with fewer detections an image (AR1, AR10) are
    about objects that were found, and know nothing of these.

    Args:
        image: int `[D]`, rising.
        with_objects: int, the images that have an object of the class.
        most: how many detections of an image count.

    Returns:
        int `[D]`, the first of the images put together.
    """
    images, place, counts = np.unique(image, return_inverse=True, return_counts=True)
    singles = np.isin(images, with_objects)
    first, room, leaders = 0, 0, images.copy()
    for index, (count, single) in enumerate(zip(counts.tolist(), singles.tolist(), strict=True)):
        if single or count > room:
            first, room = images[index], 0 if single else most
        leaders[index] = first
        room -= count
    return leaders[place]


def image_numbers(image_ids: Sequence) -> list[int]:
    """The images as numbers: their ids where all are different whole numbers, else 1, 2, 3 .."""
    if all(str(image_id).isdecimal() for image_id in image_ids):
        numbers = [int(image_id) for image_id in image_ids]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(image_ids) + 1))


def _truth(table: Table, images: np.ndarray, objects: np.ndarray) -> list[dict]:
    return [
        {
            # pycocotools marks "no match" by 0, so an annotation must not have that id.
            "id": int(i) + 1,
            "image_id": image,
            "category_id": 1,
            "bbox": box,
            "area": float(table.object_area[i]),
            "iscrowd": int(table.object_crowd[i]),
        }
        for i, image, box in zip(
            objects, images.tolist(), _xywh(table.object_box[objects]), strict=True
        )
    ]


def _results(table: Table, images: np.ndarray, found: np.ndarray) -> list[dict]:
    # COCO.loadRes fails on an empty list, so the results are laid out here as it does it.
    return [
        {
            "id": int(i) + 1,
            "image_id": image,
            "category_id": 1,
            "bbox": box,
            "score": float(table.score[i]),
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        for i, image, box in zip(found, images.tolist(), _xywh(table.box[found]), strict=True)
    ]


def _dataset(images: Sequence[int], annotations: list[dict]) -> COCO:
    data = COCO()
    data.dataset = {
        "info": {},
        "images": [{"id": number} for number in images],
        "categories": [{"id": 1, "name": "of one class"}],
        "annotations": annotations,
    }
    data.createIndex()
    return data


def _xywh(boxes: np.ndarray) -> list[list[float]]:
    low, high = boxes[:, [1, 0]], boxes[:, [3, 2]]
    return np.concatenate([low, high - low], 1).tolist()


def _per_class(classes: Sequence[str], precision: np.ndarray) -> dict[str, float]:
    return {
        name: _or_nan(precision[:, :, i].mean() if precision[:, :, i].min() >= 0 else -1)
        for i, name in enumerate(classes)
    }


def _or_nan(value: float) -> float:
    return float(value) if value >= 0 else float("nan")
