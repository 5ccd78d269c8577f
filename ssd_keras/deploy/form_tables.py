"""The tables of compared forms: what each target's delegates take of its file."""

from __future__ import annotations

from collections.abc import Sequence

from ssd_keras.deploy.placement import XNNPACK, Placement, placement_on
from ssd_keras.deploy.targets import TARGETS, choose
from ssd_keras.display import first_names, number

# Target -> the delegates whose parts of the file are counted.
TARGET_DELEGATES = {
    "cpu": (XNNPACK,),
    "gpu": ("GPU",),
    "npu": ("Qualcomm NPU", "MediaTek NPU"),
    "edgetpu": ("Edge TPU",),
    "mediapipe": (XNNPACK,),
}
QUANTIZED = {"none": "float32", "float16": "float16", "dynamic": "dynamic", "int8": "int8"}
NAMED = 3
TARGET_HEADER = ("target", "file", "MB", "AP50", "delegate", "operators", "parts", "ms")


def targets_as_text(rows: Sequence) -> str:
    """The table of targets for the terminal: a line for each and for each of its delegates."""
    table = [list(TARGET_HEADER)]
    for row in rows:
        ms = milliseconds_of(row)
        if row.form not in TARGETS:
            table.append([row.form, "", "", number(row.ap50, 4), "", "", "", ms])
            continue
        choices = choose(row.form)
        file = f"{QUANTIZED[choices.quantization]}, {choices.postprocess}"
        start = [row.form, file, f"{row.megabytes:.2f}", number(row.ap50, 4)]
        for placed in row.placements:
            if placed.delegate in TARGET_DELEGATES[row.form]:
                taken = f"{placed.taken} of {placed.total}"
                table.append([*start, placed.delegate, taken, f"{placed.partitions}", ms])
                start, ms = [""] * len(start), ""
    return "\n".join(aligned(table) + placement_lines(rows))


def placement_lines(rows: Sequence) -> list[str]:
    """What each delegate leaves of each file, and what of that breaks its graph."""
    return [
        f"{row.form}: {line}"
        for row in rows
        for placed in row.placements
        if row.form not in TARGETS or placed.delegate in TARGET_DELEGATES[row.form]
        for line in described(placed)
    ]


def described(placed: Placement) -> list[str]:
    """What a delegate takes and leaves of a file; nothing if it takes nothing."""
    if not placed.taken:
        return []
    left = first_names([f"{count} {name}" for name, count in placed.left.items()], NAMED)
    taken = f"{placed}{f'; left: {left}' if left else ''}"
    if not placed.breaks:
        return [taken]
    return [taken, f"{placed.delegate} is interrupted by {first_names(placed.breaks, NAMED)}"]


def target_lines(content: bytes, target: str) -> list[str]:
    """What the delegates of a target take and leave of a file."""
    return [
        line
        for delegate in TARGET_DELEGATES[target]
        for line in described(placement_on(content, delegate))
    ]


def aligned(table: list[list[str]]) -> list[str]:
    """The rows as lines with columns below each other."""
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    return [
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in table
    ]


def milliseconds_of(row) -> str:
    """The times by threads as a text."""
    return ", ".join(
        f"{ms:.1f}" + (f" ({n} thr)" if n else "") for n, ms in row.milliseconds.items()
    )
