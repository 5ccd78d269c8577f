"""Places that teach nothing: what they lie on is neither an object nor background."""

from keras import ops

from ssd_keras.boxes import geometry

# Boxes that are held against all places at a time; bounds the memory however many there are.
_BLOCK = 8
COVERED = 0.5


def find_covered(boxes, places, share: float = COVERED):
    """Which places lie on one of the boxes by at least `share` of their own area.

    Args:
        boxes: corners `[B, K, 4]`, padded with -1.
        places: corners `[A, 4]`, default boxes or cells.
        share: of the area of a place.

    Returns:
        bool `[B, A]`.

    Source: the rule for COCO's crowds, which detections are held against in the same way; mmdet
    3.3.0, ignore_iof_thr.
    """
    boxes = ops.cast(ops.convert_to_tensor(boxes), "float32")
    places = ops.cast(ops.convert_to_tensor(places), "float32")
    least = share * geometry.area(places)
    found = ops.zeros((ops.shape(boxes)[0], places.shape[0]), "bool")
    for first in range(0, boxes.shape[1], _BLOCK):
        block = boxes[:, first : first + _BLOCK, None]
        low = ops.maximum(block[..., :2], places[:, :2])
        high = ops.minimum(block[..., 2:], places[:, 2:])
        shared = geometry.area(ops.concatenate([low, high], axis=-1))
        here = ops.logical_and(shared >= least, shared > 0)
        found = ops.logical_or(found, ops.any(here, axis=1))
    return found


def cells(grid: tuple[int, int]):
    """Corners of the cells of a grid of (rows, columns), row by row, float32 `[S, 4]`."""
    rows, columns = grid
    number = ops.arange(rows * columns, dtype="int32")
    row, column = ops.cast(number // columns, "float32"), ops.cast(number % columns, "float32")
    return ops.stack(
        [row / rows, column / columns, (row + 1) / rows, (column + 1) / columns], axis=-1
    )
