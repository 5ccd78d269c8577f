"""Which default box answers for which ground-truth box."""

from keras import ops

from ssd_keras.boxes import geometry
from ssd_keras.errors import did_you_mean

RULES = ("bipartite", "argmax")

# caffe-ssd's bipartite step ignores smaller overlaps (bbox_util.cpp, MatchBBox).
_MIN_OVERLAP = 1e-6


def match(boxes, anchors, threshold=0.5, rule="bipartite"):
    """Index of the ground-truth box that each default box is matched to.

    `bipartite` (SSD): pairs are taken greedily by the largest IoU over all ground truths of the
    image, so that every ground truth gets a default box of its own; then every other default box
    takes its best ground truth if their IoU reaches the threshold. `argmax` (torchvision, TF
    Object Detection API): every ground truth forces its best default box; if several force the
    same one, it takes the one of them with the largest IoU. Equal IoU: lowest default box first,
    then lowest ground truth.

    Args:
        boxes: ground truth, corners `[B, M, 4]` or `[M, 4]`, padded with -1. Boxes without area
            (padding among them) match nothing.
        anchors: corners of the default boxes `[A, 4]`.
        threshold: IoU from which a default box that no ground truth chose is matched.
        rule: "bipartite" or "argmax".

    Returns:
        int32 `[B, A]` or `[A]`: index into M, or -1.
    """
    if rule not in RULES:
        raise ValueError(
            f"Unknown matching rule '{rule}'; known: {', '.join(RULES)}.{did_you_mean(rule, RULES)}"
        )
    boxes = ops.cast(ops.convert_to_tensor(boxes), "float32")
    if len(boxes.shape) == 2:
        return match(boxes[None], anchors, threshold, rule)[0]
    count = boxes.shape[1]
    if count == 0:
        return ops.full((ops.shape(boxes)[0], len(anchors)), -1, "int32")
    overlaps = geometry.iou(anchors, boxes)
    best = ops.max(overlaps, axis=2)
    matched = ops.where(best >= threshold, ops.argmax(overlaps, axis=2), -1)
    choice = _choose(overlaps) if rule == "bipartite" else _best_anchors(overlaps)[0]
    forced = _forced(choice, overlaps)
    return ops.cast(ops.where(forced >= 0, forced, matched), "int32")


def _best_anchors(overlaps):
    """Best default box of each ground truth, -1 without overlap, and its IoU: `[B, M]` each."""
    best = ops.max(overlaps, axis=1)
    return ops.where(best > _MIN_OVERLAP, ops.cast(ops.argmax(overlaps, axis=1), "int32"), -1), best


def _forced(choice, overlaps):
    """Ground truth that chose each default box, `[B, A]`, -1 if none did."""
    anchor_ids = ops.arange(overlaps.shape[1], dtype="int32")[None, :, None]
    chosen = ops.cast(choice, "int32")[:, None, :] == anchor_ids
    value = ops.where(chosen, overlaps, -1.0)
    return ops.where(ops.any(chosen, axis=2), ops.cast(ops.argmax(value, axis=2), "int32"), -1)


def _choose(overlaps):
    """Greedy global bipartite matching: the default box of each ground truth `[B, M]`, or -1.

    Runs as deferred acceptance: every ground truth without a default box claims the best one that
    would prefer it to its present holder. All pairs being ranked by one and the same order, the
    stable result is unique and equals the greedy one; it takes few rounds instead of M.
    """
    count = overlaps.shape[2]
    ids = ops.arange(count, dtype="int32")
    choice, value = _best_anchors(overlaps)

    def losers(choice, value):
        same = ops.logical_and(choice[:, :, None] == choice[:, None, :], choice[:, :, None] >= 0)
        ahead = ops.logical_or(
            value[:, None, :] > value[:, :, None],
            ops.logical_and(value[:, None, :] == value[:, :, None], ids[None, :] < ids[:, None]),
        )
        return ops.any(ops.logical_and(same, ahead), axis=2)

    def body(choice, value, lost):
        held_choice = ops.where(lost, -1, choice)
        holder = _forced(held_choice, overlaps)
        held = ops.max(ops.where(holder[:, :, None] == ids, overlaps, -1.0), axis=2, keepdims=True)
        holder = holder[:, :, None]
        free = ops.logical_or(overlaps > held, ops.logical_and(overlaps == held, ids < holder))
        claim, claim_value = _best_anchors(ops.where(free, overlaps, -1.0))
        choice = ops.where(lost, claim, choice)
        value = ops.where(lost, claim_value, value)
        return choice, value, losers(choice, value)

    return ops.while_loop(
        lambda choice, value, lost: ops.any(lost), body, (choice, value, losers(choice, value))
    )[0]
