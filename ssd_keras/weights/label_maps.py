"""Class lists that come with published detectors: label maps, label files, COCO's numbers."""

from __future__ import annotations

from pathlib import Path

from ssd_keras.data import voc
from ssd_keras.errors import UserError
from ssd_keras.labels import find_first_repeated, is_no_class, label_lines, label_map_items
from ssd_keras.reading import reading
from ssd_keras.weights.files import MAX_TEXT_BYTES, read_file

# COCO's categories by their numbers (cocodataset.org); 10 of the 90 numbers have no category.
_COCO = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant - "
    "stop_sign parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe - "
    "backpack umbrella - - handbag tie suitcase frisbee skis snowboard sports_ball kite "
    "baseball_bat baseball_glove skateboard surfboard tennis_racket bottle - wine_glass cup fork "
    "knife spoon bowl banana apple sandwich orange broccoli carrot hot_dog pizza donut cake chair "
    "couch potted_plant bed - dining_table - - toilet - tv laptop mouse remote keyboard "
    "cell_phone microwave oven toaster sink refrigerator - book clock vase scissors teddy_bear "
    "hair_drier toothbrush"
)
COCO = {
    number: name.replace("_", " ")
    for number, name in enumerate(_COCO.split(), start=1)
    if name != "-"
}

# PASCAL VOC's classes as caffe-ssd's label map numbers them.
VOC = dict(enumerate(voc.CLASSES, start=1))


def read_labels(path: str | Path) -> dict[int, str]:
    """Reads class names by their numbers from 1, as a detector with background at 0 counts them.

    Args:
        path: a label map of TensorFlow or Caffe (`.pbtxt`, `.prototxt`), or a text file with a
            name a line; a first line "background" or "???" stands for number 0.

    Raises:
        UserError: the file is missing, names no class, or names a number or a class twice.
    """
    data = read_file(path, MAX_TEXT_BYTES, "label file")
    with reading(path, "a label file"):
        text = "\n".join(label_lines(data))
        is_map = Path(path).suffix in (".pbtxt", ".prototxt") or text.lstrip().startswith("item")
        found = _items(text) if is_map else _lines(text)
        for what, values in zip(("number", "name"), zip(*found, strict=True), strict=False):
            repeated = find_first_repeated(values)
            if repeated is not None:
                raise ValueError(f"the {what} {repeated!r} stands there twice")
    if not found:
        raise UserError(f"Label file '{path}' names no class.")
    return dict(sorted(found))


def labels_of_lines(text: str) -> dict[int, str] | None:
    """Class names by their numbers from 1, from a name a line; None if there is none."""
    return dict(_lines(text)) or None


def _items(text: str) -> list[tuple[int, str]]:
    return [(i, name) for i, name in label_map_items(text) if i > 0 and not is_no_class(name)]


def _lines(text: str) -> list[tuple[int, str]]:
    lines = [line.strip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    from_zero = bool(lines) and is_no_class(lines[0])
    return [(i, x) for i, x in enumerate(lines, start=0 if from_zero else 1) if not is_no_class(x)]


def class_list(
    labels: dict[int, str] | None, count: int
) -> tuple[tuple[int, ...], tuple[str, ...], str]:
    """The numbers and names of the classes to keep of a detector with `count` classes.

    Args:
        labels: number -> name, or None if the user gave none.
        count: classes that the detector was trained with, background not counted.

    Returns:
        Numbers, names, and a sentence on where the names come from.

    Raises:
        UserError: the labels name a number that the detector does not have.
    """
    if labels is not None:
        beyond = [number for number in labels if number > count]
        if beyond:
            raise UserError(
                f"The labels name a class {beyond[0]} ('{labels[beyond[0]]}'), but the detector "
                f"has {count} classes: give the labels it was trained with."
            )
        dropped = count - len(labels)
        note = f"{len(labels)} classes, named by the label file"
        if dropped:
            note += f"; {dropped} numbers without a name are left out"
    elif count == 90:
        labels = COCO
        note = "80 classes, named by COCO's 90 numbers; 10 numbers without a category are left out"
    else:
        labels = {number: f"class {number}" for number in range(1, count + 1)}
        note = f"{count} classes without names: give --labels to name them"
    return tuple(labels), tuple(labels.values()), note
