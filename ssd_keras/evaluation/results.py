"""Detections as a file in the results format of COCO, which any detector can write."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ssd_keras.data.names import as_number
from ssd_keras.data.text import read_text
from ssd_keras.detections import Detections
from ssd_keras.errors import UserError, one_line


def to_results(
    ground_truth: Sequence,
    detections: Sequence[Detections | None],
    category_ids: Mapping[int, int] | None = None,
) -> list[dict]:
    """Detections as a list of `image_id`, `category_id`, `bbox` (x, y, width, height), `score`.

    Where the data have no numbers of their own, `category_name` as well.

    Args:
        ground_truth: records with `image_id`, `height`, `width`.
        detections: of the same images, in the same order; None for an image not read.
        category_ids: the data set's numbers of the classes, number to label, the first of a label
            counts; 1, 2, 3 .. if None. Detections of a class without a number are left out.

    `image_id` is a number where all ids of the data set are different numbers, else the id as it
    is.
    """
    ids = [truth.image_id for truth in ground_truth]
    if all(str(image_id).isdecimal() for image_id in ids) and len(set(map(int, ids))) == len(ids):
        ids = [int(image_id) for image_id in ids]
    numbers = {}
    for number, label in (category_ids or {}).items():
        numbers.setdefault(label, number)
    results = []
    for truth, image_id, found in zip(ground_truth, ids, detections, strict=True):
        if found is None:
            continue
        boxes = np.asarray(found.boxes, np.float64) * np.tile((truth.height, truth.width), 2)
        for box, score, label in zip(boxes, found.scores, found.labels, strict=True):
            number = int(label) + 1 if category_ids is None else numbers.get(int(label))
            if number is None:
                continue
            y0, x0, y1, x1 = (float(v) for v in box)
            results.append(
                {
                    "image_id": image_id,
                    "category_id": number,
                    "bbox": [round(v, 3) for v in (x0, y0, x1 - x0, y1 - y0)],
                    # Six digits would turn near scores into ties; repr of the float32 does not.
                    "score": float(str(score)),
                }
                | ({"category_name": found.classes[label]} if category_ids is None else {})
            )
    return results


def write_results(path: str | Path, results: Sequence[Mapping]) -> None:
    """Writes a list of results, one a line."""
    lines = ",\n".join(json.dumps(result) for result in results)
    Path(path).write_text(f"[\n{lines}\n]\n" if results else "[]\n", encoding="utf-8")


def read_results(
    path: str | Path,
    ground_truth: Sequence,
    classes: Sequence[str],
    category_ids: Mapping[int, int] | None = None,
) -> list[Detections]:
    """Reads a COCO results file.

    Args:
        path: the file: a JSON list of `image_id`, `category_id`, `bbox` (x, y, width, height in
            pixels) and `score`; a `category_name` goes before a number that the data do not have.
        ground_truth: records with `image_id`, `height`, `width`.
        classes: class names.
        category_ids: the data set's numbers of the classes, number to label; 1, 2, 3 .. if None.

    Returns:
        `Detections` for each record, empty where the file has none.

    Raises:
        UserError: the file is missing or not of this format, or names an image or a category that
            the data does not have, or that two images of the data have.
    """
    entries = _load(path)
    labels = category_ids
    if category_ids is None:
        labels = {label + 1: label for label in range(len(classes))}
    images = _images(ground_truth)
    rows: list[list[tuple]] = [[] for _ in ground_truth]
    for place, entry in enumerate(entries, start=1):
        image_id, category, (x, y, w, h), score = _fields(path, place, entry)
        where = f"'{path}', result {place}"
        if as_number(str(image_id)) not in images:
            raise UserError(
                f"{where}: there is no image '{image_id}' in the data, whose images are called "
                f"{_some(t.image_id for t in ground_truth)}. Are these results of other data?"
            )
        if category_ids is None and isinstance(name := entry.get("category_name"), str):
            label = _label_of(name, classes, where)
        elif category in labels:
            label = labels[category]
        else:
            numbers = _some(f"{n} ({classes[i]})" for n, i in labels.items())
            raise UserError(
                f"{where}: there is no category_id {category} in the data, which has {numbers}."
                + (" These data have no numbers of their own." if category_ids is None else "")
            )
        index = images[as_number(str(image_id))]
        height, width = ground_truth[index].height, ground_truth[index].width
        box = (y / height, x / width, (y + h) / height, (x + w) / width)
        rows[index].append((box, score, label))
    return [
        Detections([r[0] for r in row], [r[1] for r in row], [r[2] for r in row], tuple(classes))
        for row in rows
    ]


def results_classes(path: str | Path) -> list[str]:
    """The names that a results file gives its classes, in the order of the alphabet; often none."""
    names = (entry.get("category_name") for entry in _load(path) if isinstance(entry, Mapping))
    return sorted({name for name in names if isinstance(name, str)})


def _label_of(name: str, classes: Sequence[str], where: str) -> int:
    if name not in classes:
        raise UserError(
            f"{where}: there is no class '{name}' in the data, which have {_some(classes)}."
        )
    return list(classes).index(name)


def _images(ground_truth: Sequence) -> dict[str, int]:
    images = {}
    for i, truth in enumerate(ground_truth):
        if images.setdefault(as_number(str(truth.image_id)), i) != i:
            raise UserError(
                f"Two images of the data are called '{truth.image_id}', so that results cannot "
                "tell which of them they mean: evaluate the parts of combined data one by one."
            )
    return images


def _load(path: str | Path) -> list:
    text = read_text(path)
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"The results '{path}' are not JSON: {one_line(error)}.") from error
    if not isinstance(entries, list):
        raise UserError(
            f"The results '{path}' must be a list of image_id, category_id, bbox and score, as "
            f"COCO's results are, but hold a {type(entries).__name__}."
        )
    return entries


def _fields(path, place: int, entry) -> tuple:
    try:
        box = [float(v) for v in entry["bbox"]]
        score = float(entry["score"])
        if len(box) != 4 or not all(math.isfinite(v) for v in (*box, score)):
            raise ValueError("bbox must be 4 finite numbers and score a finite number")
        return entry["image_id"], int(entry["category_id"]), box, score
    except KeyError as error:
        raise UserError(f"'{path}', result {place} has no {error.args[0]!r}.") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"'{path}', result {place} is not a COCO result: {error}.") from error


def _some(names) -> str:
    names = [str(name) for name in names]
    return ", ".join(names[:4]) + (f", ... ({len(names)} in all)" if len(names) > 4 else "")
