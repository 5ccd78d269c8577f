"""The flags by which an exported file suppresses otherwise than its detector."""

from __future__ import annotations

from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_integer("max_detections", None, "Most objects of an image; else the detector's own.")
flags.DEFINE_float("score_threshold", None, "Detections must score higher; else the detector's.")
flags.DEFINE_float(
    "iou_threshold", None, "Boxes overlapping more are one object; else the detector's own."
)
flags.DEFINE_bool(
    "class_agnostic", None, "Boxes of all classes are compared; else as in the detector."
)


def suppression() -> dict:
    """The settings as the library's exports take them; None where the flag was not given."""
    return {
        "max_detections": FLAGS.max_detections,
        "score_threshold": FLAGS.score_threshold,
        "iou_threshold": FLAGS.iou_threshold,
        "class_agnostic": FLAGS.class_agnostic,
    }
