"""Which default box answers for which ground-truth box."""

from keras import ops

from ssd_keras.boxes import geometry
from ssd_keras.boxes.xla import run_with_xla
from ssd_keras.errors import did_you_mean

RULES = ("bipartite", "argmax")

# caffe-ssd's bipartite step ignores smaller overlaps (bbox_util.cpp, MatchBBox).
_MIN_OVERLAP = 1e-6

# Ground truths whose IoU with all default boxes is held at a time: few enough for a batch's share
# to stay in the cache, enough to be worth a pass. Bounds the memory whatever M is.
_BLOCK = 4

# Ground truths of the batch that look for another default box at a time.
_CLAIMS = 32


def match(boxes, anchors, threshold=0.5, rule="bipartite"):
    """Index of the ground-truth box that each default box is matched to.

    `bipartite` (SSD): pairs are taken greedily by the largest IoU over all ground truths of the
    image, so that every ground truth gets a default box of its own; then every other default box
    takes its best ground truth if their IoU reaches the threshold. `argmax` (torchvision, TF
    Object Detection API): every ground truth forces its best default box; if several force the
    same one, it takes the one of them with the largest IoU. Equal IoU: lowest default box first,
    then lowest ground truth, where IoU is the float32 number that `ssd_keras.boxes.iou` gives on
    every backend.

    Args:
        boxes: ground truth, corners `[B, M, 4]` or `[M, 4]`, padded with -1. Boxes without area
            (padding among them) and boxes that are not finite match nothing.
        anchors: corners of the default boxes `[A, 4]`.
        threshold: IoU (> 0) from which a default box that no ground truth chose is matched.
        rule: "bipartite" or "argmax".

    Returns:
        int32 `[B, A]` or `[A]`: index into M, or -1.
    """
    check_rule(rule)
    boxes = ops.cast(ops.convert_to_tensor(boxes), "float32")
    anchors = ops.cast(ops.convert_to_tensor(anchors), "float32")
    if len(boxes.shape) == 2:
        return match(boxes[None], anchors, threshold, rule)[0]
    constants = [anchors, ops.transpose(anchors)]
    return run_with_xla(match_arrays, [boxes], constants, threshold=float(threshold), rule=rule)


def check_rule(rule):
    """Raises ValueError for an unknown matching rule."""
    if rule not in RULES:
        raise ValueError(
            f"Unknown matching rule '{rule}'; known: {', '.join(RULES)}.{did_you_mean(rule, RULES)}"
        )


def match_arrays(boxes, anchors, columns, *, threshold, rule):
    """The computation of `match`, on float32 tensors `[B, M, 4]` and `[A, 4]`.

    `columns` `[4, A]` is `anchors` transposed: each coordinate contiguous, as vector code needs.
    """
    batch, count = ops.shape(boxes)[0], boxes.shape[1]
    if count == 0:
        return ops.full((batch, anchors.shape[0]), -1, dtype="int32")
    boxes = ops.where(ops.all(ops.isfinite(boxes), axis=-1, keepdims=True), boxes, -1.0)
    best, best_box, top, top_anchor = _scan(boxes, columns)
    choice = ops.where(top > _MIN_OVERLAP, top_anchor, -1)
    if rule == "bipartite":
        choice = _settle(choice, top, boxes, anchors)
    else:
        choice = ops.where(_lost(choice, top), -1, choice)
    return force(ops.where(best >= threshold, best_box, -1), choice)


def own_anchors(boxes, anchors):
    """The default box that bipartite matching gives to each ground truth.

    Args:
        boxes: corners `[B, M, 4]`, padded with -1.
        anchors: corners of the default boxes `[A, 4]`.

    Returns:
        int32 `[B, M]`, all different in an image; -1 for a ground truth that overlaps none, or
        that has no area.
    """
    boxes = ops.cast(ops.convert_to_tensor(boxes), "float32")
    anchors = ops.cast(ops.convert_to_tensor(anchors), "float32")
    if boxes.shape[1] == 0:
        return ops.zeros(ops.shape(boxes)[:2], "int32")
    return run_with_xla(_own_anchors, [boxes], [anchors, ops.transpose(anchors)])


def _own_anchors(boxes, anchors, columns):
    boxes = ops.where(ops.all(ops.isfinite(boxes), axis=-1, keepdims=True), boxes, -1.0)
    _, _, top, top_anchor = _scan(boxes, columns)
    return _settle(ops.where(top > _MIN_OVERLAP, top_anchor, -1), top, boxes, anchors)


def _scan(boxes, columns):
    """One pass over all IoUs, `_BLOCK` ground truths at a time.

    Returns:
        `(best, best_box, top, top_anchor)`: the largest IoU of each default box `[B, A]` and the
        lowest ground truth that has it; the largest IoU of each ground truth `[B, M]` and the
        lowest default box that has it.
    """
    batch, count = ops.shape(boxes)[0], boxes.shape[1]
    size = columns.shape[1]
    best = ops.zeros((batch, size), "float32")
    best_box = ops.full((batch, size), -1, dtype="int32")
    if count <= _BLOCK:
        return _scan_block(columns, boxes, ops.convert_to_tensor(0, "int32"), best, best_box)

    blocks = -(-count // _BLOCK)
    padded = ops.pad(boxes, [[0, 0], [0, blocks * _BLOCK - count], [0, 0]], constant_values=-1.0)
    stacked = ops.transpose(ops.reshape(padded, (-1, blocks, _BLOCK, 4)), (1, 0, 2, 3))

    def body(k, best, best_box, tops, top_anchors):
        first = k * _BLOCK
        best, best_box, top, top_anchor = _scan_block(columns, stacked[k], first, best, best_box)
        at = ops.reshape(k, (1, 1))
        tops = ops.scatter_update(tops, at, top[None])
        top_anchors = ops.scatter_update(top_anchors, at, top_anchor[None])
        return k + 1, best, best_box, tops, top_anchors

    start = ops.convert_to_tensor(0, "int32")
    tops = ops.zeros((blocks, batch, _BLOCK), "float32")
    top_anchors = ops.zeros((blocks, batch, _BLOCK), "int32")
    _, best, best_box, tops, top_anchors = ops.while_loop(
        lambda k, *_: k < blocks, body, (start, best, best_box, tops, top_anchors)
    )

    def unstack(x):
        x = ops.reshape(ops.transpose(x, (1, 0, 2)), (-1, blocks * _BLOCK))
        return x[:, :count]

    return best, best_box, unstack(tops), unstack(top_anchors)


def _scan_block(columns, block, first, best, best_box):
    """The results of `_scan` with the ground truths `[B, N, 4]` from number `first` on."""
    overlaps = geometry.iou_of_coordinates(
        tuple(columns[k] for k in range(4)), tuple(block[:, :, k, None] for k in range(4))
    )
    size = columns.shape[1]
    ids = ops.arange(size, dtype="int32")
    top = ops.max(overlaps, axis=2)
    top_anchor = ops.min(ops.where(overlaps == top[:, :, None], ids, size), axis=2)
    for i in range(block.shape[1]):
        overlap = overlaps[:, i]
        better = overlap > best
        best = ops.where(better, overlap, best)
        best_box = ops.where(better, first + i, best_box)
    return best, best_box, top, top_anchor


def _settle(choice, value, boxes, anchors):
    """Greedy global bipartite matching: the default box of each ground truth `[B, M]`, or -1.

    Runs as deferred acceptance (Gale and Shapley): a ground truth that lost its default box to a
    better one claims the best of those whose holder it would beat. As all pairs are ranked by one
    order, the stable result is unique and equals the greedy one; only collisions cost anything.
    """
    batch, count = ops.shape(boxes)[0], boxes.shape[1]
    size = anchors.shape[0]
    ids = ops.arange(size, dtype="int32")
    flat_boxes = ops.reshape(boxes, (-1, 4))
    spare = ops.zeros((_CLAIMS,), "int32")

    def claim(choice, value, lost):
        waiting = ops.concatenate([ops.reshape(ops.cast(lost, "int32"), (-1,)), spare], axis=0)
        active, pick = ops.top_k(waiting, _CLAIMS)
        active = active > 0
        pick = ops.where(active, pick, 0)
        image, me = pick // count, pick % count
        box = ops.take(flat_boxes, pick, axis=0)

        held = ops.take(ops.where(lost, -1, choice), image, axis=0)
        held_value = ops.take(value, image, axis=0)
        held_box = ops.take(anchors, ops.maximum(held, 0), axis=0)
        mine = geometry.iou_aligned(box[:, None], held_box)
        others = ops.arange(count, dtype="int32")[None]
        beaten = ops.logical_or(
            held_value > mine, ops.logical_and(held_value == mine, others < me[:, None])
        )
        # Slots of one row are [A] default boxes and one more that takes what is not blocked.
        slot = ops.where(ops.logical_and(held >= 0, beaten), held, size)
        slot = slot + ops.arange(_CLAIMS, dtype="int32")[:, None] * (size + 1)
        blocked = ops.scatter_update(
            ops.zeros((_CLAIMS * (size + 1),), "int32"),
            ops.reshape(slot, (-1, 1)),
            ops.ones_like(ops.reshape(slot, (-1,))),
        )
        blocked = ops.reshape(blocked, (_CLAIMS, size + 1))[:, :size] > 0
        overlaps = ops.where(blocked, -1.0, geometry.iou(box[:, None], anchors)[:, 0])
        top = ops.max(overlaps, axis=1)
        top_anchor = ops.min(ops.where(overlaps == top[:, None], ids, size), axis=1)
        top_anchor = ops.where(top > _MIN_OVERLAP, top_anchor, -1)

        target = ops.where(active, pick, batch * count)[:, None]
        choice = _put(choice, target, top_anchor)
        value = _put(value, target, top)
        return choice, value, _lost(choice, value)

    return ops.while_loop(
        lambda choice, value, lost: ops.any(lost), claim, (choice, value, _lost(choice, value))
    )[0]


def _put(table, targets, updates):
    """`table` `[B, M]` with `updates` at flat `targets` `[N, 1]`; target B * M goes nowhere."""
    flat = ops.reshape(table, (-1,))
    padded = ops.concatenate([flat, ops.zeros_like(flat[:1])], axis=0)
    updated = ops.scatter_update(padded, targets, ops.cast(updates, table.dtype))
    return ops.reshape(updated[:-1], (-1, table.shape[1]))


def _lost(choice, value):
    """Ground truths `[B, M]` whose default box was chosen by a better one."""
    ids = ops.arange(choice.shape[1], dtype="int32")
    same = ops.logical_and(choice[:, :, None] == choice[:, None, :], choice[:, :, None] >= 0)
    ahead = ops.logical_or(
        value[:, None, :] > value[:, :, None],
        ops.logical_and(value[:, None, :] == value[:, :, None], ids[None, :] < ids[:, None]),
    )
    return ops.any(ops.logical_and(same, ahead), axis=2)


def force(matches, choice):
    """`matches` `[B, A]` with each ground truth on the default box it chose, if any.

    A scatter, because XLA fuses it with nothing: what uses the matches then reads them instead of
    computing them again for every number that depends on them.
    """
    batch, count = ops.shape(choice)[0], choice.shape[1]
    size = matches.shape[1]
    rows = ops.arange(batch, dtype="int32")[:, None] * size
    target = ops.where(choice >= 0, choice + rows, batch * size)
    ids = ops.broadcast_to(ops.arange(count, dtype="int32")[None], ops.shape(choice))
    return _put(matches, ops.reshape(target, (-1, 1)), ops.reshape(ids, (-1,)))
