"""The tables of compared forms, for the terminal, as JSON and as a page; and those of targets."""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Sequence

from ssd_keras.deploy.placement import XNNPACK, Placement, placement_on
from ssd_keras.deploy.targets import PRECISIONS, TARGETS, choose
from ssd_keras.display import counted, first_names, number, printable
from ssd_keras.evaluation.measuring import json_ready
from ssd_keras.evaluation.metrics import DEFINITIONS

# Target -> the delegates whose parts of the file are counted.
TARGET_DELEGATES = {
    "cpu": (XNNPACK,),
    "gpu": ("GPU",),
    "npu": ("Qualcomm NPU", "MediaTek NPU"),
    "edgetpu": ("Edge TPU",),
    "mediapipe": (XNNPACK,),
}
NAMED = 3
# Column -> what it is.
DEFINED = {
    "AP50": DEFINITIONS["voc.ap50"],
    "AP": DEFINITIONS["coco.AP"],
    "APs": DEFINITIONS["coco.APs"],
    "APm": DEFINITIONS["coco.APm"],
    "APl": DEFINITIONS["coco.APl"],
    "matched": "share of Keras' detections with a score of at least 0.1 that the form finds too "
    "(same class, IoU 0.5)",
    "px p95, px max": "difference of box edges of those in pixels of the image, 95th percentile "
    "and largest",
    "score": "largest difference of their scores",
    "ms": "median time of one image",
}
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
        file = f"{PRECISIONS[choices.quantization]}, {choices.postprocess}"
        start = [row.form, file, f"{row.megabytes:.2f}", number(row.ap50, 4)]
        for placed in row.placements:
            if placed.delegate in TARGET_DELEGATES[row.form]:
                taken = f"{placed.taken} of {placed.total}"
                table.append([*start, placed.delegate, taken, f"{placed.partitions}", ms])
                start, ms = [""] * len(start), ""
    lines = placement_lines(rows) + note_lines(rows) + definition_lines(("AP50", "ms"))
    return "\n".join(align_columns(table) + lines)


def data_line(rows: Sequence, all_images: int) -> str:
    """What the rows are about.

    Args:
        rows: from `compare_forms`.
        all_images: how many the data have.
    """
    images = counted(rows[0].images, "image")
    of = f" of {all_images:,}" if all_images != rows[0].images else ""
    objects = counted(rows[0].objects, "object")
    return f"Measured on {images}{of} with {objects}, difficult and crowd ones aside."


def definition_lines(columns: Sequence[str] = tuple(DEFINED)) -> list[str]:
    """What each of the columns is."""
    return [f"{name}: {DEFINED[name]}" for name in columns]


def note_lines(rows: Sequence) -> list[str]:
    """What forms do otherwise than the detector."""
    return [f"{row.form}: {note}; measured so" for row in rows for note in row.notes]


def placement_lines(rows: Sequence) -> list[str]:
    """What each delegate leaves of each file, and what of that breaks its graph."""
    return [
        f"{row.form}: {line}"
        for row in rows
        for placed in row.placements
        if row.form not in TARGETS or placed.delegate in TARGET_DELEGATES[row.form]
        for line in describe_placement(placed)
    ]


def describe_placement(placed: Placement) -> list[str]:
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
        for line in describe_placement(placement_on(content, delegate))
    ]


def align_columns(table: list[list[str]]) -> list[str]:
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


def largest_drop(rows: Sequence) -> tuple[str, float]:
    """The form that lost most AP50 against Keras, and how much."""
    keras_row, *others = rows
    drops = {row.form: keras_row.ap50 - row.ap50 for row in others}
    form = max(drops, key=drops.get)
    return form, drops[form]


HEADER = ("form", "MB", "AP50", "AP", "APs", "APm", "APl", "matched")
HEADER += ("px p95", "px max", "score", "ms", "custom", "not on GPU")


def cells(row) -> list[str]:
    """The row as texts, in the order of `HEADER`."""
    near, needs = row.parity, row.operators
    return [
        row.form,
        "" if row.megabytes is None else f"{row.megabytes:.2f}",
        *(
            number(x if x >= 0 else None, 4)  # COCO's -1: no such objects
            for x in (row.ap50, row.ap, row.ap_small, row.ap_medium, row.ap_large)
        ),
        *(("",) * 4 if near is None else _parity_cells(near)),
        milliseconds_of(row),
        "" if needs is None else " ".join(needs.custom) or "none",
        "" if needs is None else " ".join(needs.not_on_gpu) or "none",
    ]


def _parity_cells(near) -> tuple[str, ...]:
    return (
        f"{100 * near.matched:.1f} %" if math.isfinite(near.matched) else "-",
        number(near.box_p95, 2),
        number(near.box_max, 2),
        number(near.score_max, 3),
    )


def as_text(rows: Sequence) -> str:
    """The report as a table for the terminal; the operators have lines of their own."""
    columns = len(HEADER) - 2
    lines = align_columns([list(HEADER[:columns])] + [cells(row)[:columns] for row in rows])
    for row in rows:
        if row.operators and (row.operators.custom or row.operators.not_on_gpu):
            lines.append(f"{row.form}: not on the GPU: {' '.join(row.operators.not_on_gpu)}")
            if row.operators.custom:
                lines.append(f"{row.form}: not built in: {' '.join(row.operators.custom)}")
    return "\n".join(lines + _lines_below(rows))


def _lines_below(rows: Sequence) -> list[str]:
    return placement_lines(rows) + _int8_lines(rows) + note_lines(rows) + definition_lines()


def _int8_lines(rows: Sequence) -> list[str]:
    lines = []
    for row in rows:
        if row.worst_layers:
            drops = {
                name: rows[0].per_class_ap50[name] - value
                for name, value in row.per_class_ap50.items()
            }
            listed = ", ".join(f"{printable(n)} {-drop:+.4f}" for n, drop in drops.items())
            lines.append(f"{row.form}: AP50 against Keras: {listed}")
            noisy = ", ".join(f"{x.name} -{x.lost:.1f} dB" for x in row.worst_layers)
            lines.append(f"{row.form}: layers that add most noise: {noisy}")
    return lines


def as_json(rows: Sequence) -> list[dict]:
    """The rows as plain dicts; values that do not exist are None."""
    return [json_ready(dataclasses.asdict(row)) for row in rows]


def as_page(rows: Sequence, title: str, about: str = "") -> str:
    """The report as one HTML page; `about` stands above the table."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in HEADER)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells(row)) + "</tr>\n"
        for row in rows
    )
    notes = "".join(f"<p>{html.escape(line)}</p>\n" for line in _lines_below(rows))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>body{{font-family:sans-serif;margin:2em}}"
        "td,th{padding:.3em .7em;border-bottom:1px solid #ccc;text-align:left}"
        "table{border-collapse:collapse}</style></head><body>"
        f"<h1>{html.escape(title)}</h1><p>{html.escape(about)}</p>"
        f"<table><tr>{head}</tr>\n{body}</table>\n{notes}</body></html>\n"
    )
