"""The flags by which detections are suppressed otherwise than by the detector's own rule."""

from __future__ import annotations

from absl import flags

from ssd_keras.boxes.suppression import SETTINGS, Suppression

FLAGS = flags.FLAGS
flags.DEFINE_float("score_threshold", None, "Detections must score higher; else the detector's.")
flags.DEFINE_float(
    "iou_threshold", None, "Boxes overlapping more are one object; else the detector's own."
)
flags.DEFINE_integer("max_detections", None, "Most objects of an image; else the detector's own.")
flags.DEFINE_bool(
    "class_agnostic", None, "Boxes of all classes are compared; else as in the detector."
)
PICTURED_SCORE = 0.4


def suppression() -> dict:
    """The settings as the library takes them; None where the flag was not given.

    Raises:
        UserError: a value that makes no sense, which should show before anything is computed.
    """
    given = {name: FLAGS[name].value for name in SETTINGS}
    Suppression().replace(**given)
    return given


def for_pictures(own: Suppression, given: dict) -> Suppression:
    """A detector's rule with what is given, or at least the score of what is worth drawing."""
    likely = {"score_threshold": max(own.score_threshold, PICTURED_SCORE)}
    return own.replace(**likely).replace(**given)
