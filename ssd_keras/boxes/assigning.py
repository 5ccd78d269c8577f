"""What assignments share: candidates of each object become one object for each default box."""

from keras import ops

from ssd_keras.boxes.matching import force

# How far inside an object the centre of a default box must be, in pixels: mmdet's rule.
INSIDE_PIXELS = 0.01


def present(boxes):
    """Which ground truths `[B, M, 4]` are objects: finite and of some area, bool `[B, M]`."""
    sides = boxes[..., 2:] - boxes[..., :2]
    finite = ops.all(ops.isfinite(boxes), axis=-1)
    return ops.logical_and(finite, ops.all(sides > 0, axis=-1))


def without_absent(boxes):
    """Ground truths `[B, M, 4]` with -1 in the place of all that are no objects."""
    boxes = ops.cast(ops.convert_to_tensor(boxes), "float32")
    return ops.where(present(boxes)[..., None], boxes, -1.0)


def pixels_inside(points, boxes, image_size):
    """How many pixels points (y, x) `[..., 2]` are inside of boxes `[..., 4]`, `[...]`."""
    size = ops.convert_to_tensor([float(side) for side in image_size], "float32")
    low, high = (points - boxes[..., :2]) * size, (boxes[..., 2:] - points) * size
    return ops.minimum(ops.min(low, axis=-1), ops.min(high, axis=-1))


def best_object(candidates, values, anchors: int):
    """Which object gets each default box: of those that want it the one of the highest value.

    Args:
        candidates: default boxes that each object looks at, int32 `[B, M, K]`.
        values: how much it wants each, float32 `[B, M, K]`; 0 for not at all.
        anchors: A, how many default boxes there are.

    Returns:
        int32 `[B, A]`, -1 for none; of equal ones the lowest object.
    """
    batch, count = ops.shape(values)[0], values.shape[1]
    rows = ops.arange(batch, dtype="int32")[:, None, None] * anchors
    place = ops.reshape(candidates + rows, (-1,))
    wanted = ops.reshape(values, (-1,))
    most = ops.take(ops.segment_max(wanted, place, batch * anchors), place, axis=0)
    ids = ops.broadcast_to(ops.arange(count, dtype="int32")[:, None], ops.shape(candidates))
    first = ops.where(
        ops.logical_and(wanted > 0, wanted == most), count - ops.reshape(ids, (-1,)), 0
    )
    ranks = ops.maximum(ops.segment_max(first, place, batch * anchors), 0)
    ranks = ops.reshape(ranks, (-1, anchors))
    return ops.where(ranks > 0, count - ranks, -1)


def with_lost_objects(matches, own):
    """Gives each object that has no default box its own one.

    Which may have been another object's only one; so that gets its own one, too.

    Args:
        matches: object of each default box, int32 `[B, A]`, -1 for none.
        own: default box of each object, all different, int32 `[B, M]`, -1 for none; as
            `matching.own_anchors` gives it.

    Returns:
        int32 `[B, A]`.
    """

    def lost(matches):
        return ops.logical_and(own >= 0, ops.logical_not(_have_default_box(matches, own.shape[1])))

    def give(matches, missing):
        matches = force(matches, ops.where(missing, own, -1))
        return matches, lost(matches)

    return ops.while_loop(lambda _, missing: ops.any(missing), give, (matches, lost(matches)))[0]


def _have_default_box(matches, count: int):
    """Which of the objects have a default box, bool `[B, count]`."""
    batch = ops.shape(matches)[0]
    rows = ops.arange(batch, dtype="int32")[:, None] * (count + 1)
    # Slot 0 of each row takes the default boxes without an object.
    place = ops.reshape(matches + 1 + rows, (-1,))
    hits = ops.segment_max(ops.ones_like(place), place, batch * (count + 1))
    return ops.reshape(hits, (-1, count + 1))[:, 1:] > 0


def of_object(values, matches):
    """What each default box's object has: `values` `[B, M, ...]` -> `[B, A, ...]`; 0 for none."""
    count = values.shape[1]
    rows = ops.arange(ops.shape(values)[0], dtype="int32")[:, None] * count
    flat = ops.reshape(values, (-1, *values.shape[2:]))
    taken = ops.take(flat, ops.maximum(matches, 0) + rows, axis=0)
    positive = ops.reshape(matches >= 0, (-1, matches.shape[1], *[1] * (len(values.shape) - 2)))
    return ops.where(positive, taken, ops.zeros_like(taken))
