"""What runs a file, and the choices that belong to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ssd_keras.deploy.converter import QUANTIZATIONS, check_quantization
from ssd_keras.deploy.postprocess import check_postprocess
from ssd_keras.errors import UserError, unknown

# Quantization -> what the file computes in, as a word.
PRECISIONS = {name: name for name in QUANTIZATIONS} | {"none": "float32"}


@dataclasses.dataclass(frozen=True)
class Target:
    """What suits one kind of device or library; the first of each is what is chosen.

    Attributes:
        quantizations: those that it runs well.
        postprocesses: those that it can do with.
        reason: why no others.
    """

    quantizations: tuple[str, ...]
    postprocesses: tuple[str, ...]
    reason: str


TARGETS = {
    "cpu": Target(
        ("int8", "float16", "dynamic", "none"),
        ("builtin", "op", "none"),
        "",
    ),
    "gpu": Target(
        ("float16", "none"),
        ("none",),
        "a GPU computes in float and does not suppress",
    ),
    "npu": Target(
        ("int8",),
        ("none",),
        "an NPU computes in int8 and does not suppress",
    ),
    "edgetpu": Target(
        ("int8",),
        ("op", "none"),
        "a Coral computes in int8, and its runtime suppresses by TFLite_Detection_PostProcess",
    ),
    "mediapipe": Target(
        ("int8", "float16", "dynamic", "none"),
        ("builtin", "op"),
        "MediaPipe suppresses raw outputs by a rule of its own",
    ),
}


@dataclasses.dataclass(frozen=True)
class Choices:
    """How a file is made: `quantization` and `postprocess`."""

    quantization: str
    postprocess: str


def choose(
    target: str | None = None, quantization: str | None = None, postprocess: str | None = None
) -> Choices:
    """The choices of a target, or those that were made where they go with it.

    Args:
        target: a name of `TARGETS`; None: float32 with suppression inside.
        quantization: a name of `QUANTIZATIONS`; None: what suits the target.
        postprocess: a name of `POSTPROCESSES`; None: what suits the target.

    Raises:
        UserError: an unknown name, or a choice that does not go with the target.
    """
    if quantization is not None:
        check_quantization(quantization)
    if postprocess is not None:
        check_postprocess(postprocess)
    if target is None:
        return Choices(quantization or "none", postprocess or "builtin")
    if target not in TARGETS:
        raise unknown("target", target, TARGETS)
    suits = TARGETS[target]
    return Choices(
        _pick("quantization", target, quantization, suits.quantizations),
        _pick("postprocess", target, postprocess, suits.postprocesses),
    )


def check_calibration_is_used(given: Mapping[str, object], choices: Choices):
    """Raises a UserError for what is for int8, where the file becomes something else.

    Args:
        given: settings by their names; None: not given.
        choices: how the file is made.
    """
    useless = [name for name, value in given.items() if value is not None]
    if useless and choices.quantization != "int8":
        raise UserError(
            f"{useless[0]} is for int8, but the file becomes {PRECISIONS[choices.quantization]}: "
            'give quantization="int8" as well, or leave it out.'
        )


def _pick(setting: str, target: str, given: str | None, suitable: tuple[str, ...]) -> str:
    if given is None:
        return suitable[0]
    if given not in suitable:
        raise UserError(
            f"{setting}={given} does not go with target={target}: {TARGETS[target].reason}; take "
            f"{' or '.join(suitable)}, or give no target."
        )
    return given
