"""What came out of a comparison, as rows, as a page and as CSV."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterator, Mapping, Sequence

from ssd_keras import evaluation
from ssd_keras.boxes.coverage import THRESHOLD
from ssd_keras.comparison.variants import Run, first_runs
from ssd_keras.display import number

# What a run is measured by: key, title in the table, digits.
ACCURACY = (
    ("ap50", "mAP@.5", 3),
    ("ap", "AP", 3),
    ("ap75", "AP75", 3),
    ("ap_small", "AP small", 3),
    ("ap_medium", "AP medium", 3),
    ("ap_large", "AP large", 3),
)
COSTS = (
    ("parameters", "parameters", 0),
    ("gmacs", "GMACs", 2),
    ("ms_keras", "ms Keras", 1),
    ("ms_int8", "ms int8", 1),
    ("ap50_int8", "mAP@.5 int8", 3),
    ("ap_int8", "AP int8", 3),
    ("mb_int8", "MB int8", 2),
)
CLASSES_SHOWN = 6
LEGEND = f"""\
- mAP@.5: {evaluation.DEFINITIONS["voc.ap50"]}.
- AP: {evaluation.DEFINITIONS["coco.AP"]}; small, medium and large objects are divided at 32 and 96
  pixels (root of the area) of the image as it was annotated.
- Of several seeds the mean, with the lowest and the highest in brackets. The weights of the last
  step are measured, never the best of several evaluations.
- default boxes: share of the evaluated objects that overlap a default box by IoU {THRESHOLD} or
  more.
- mAP@.5 int8, AP int8: the same for the int8 .tflite of the first seed.
- Per class: AP, and AP at IoU 0.5 as VOC has it. A mean over classes lets a class of three objects
  outweigh one of hundreds: look here first. Of many classes those with the most objects.
- Held out: images that nothing was chosen by.
- ms: median of one image, batch 1, on the machine below: Keras with resizing and suppression, int8
  is the .tflite on one thread with suppression. They are measured one at a time after all training.
- memory: the most that the process of a run held while it trained and detected.
"""


def results(runs: Sequence[Run]) -> list[dict]:
    """One row for each measured run: variant, seed, its accuracy, and the costs of the variant."""
    first = first_runs(runs)
    return [
        {
            "variant": run.variant,
            "model": run.settings.model,
            "seed": run.seed,
            **run.measurement(),
            **{k: v for k, v in first[run.variant].costs().items() if k != "of"},
        }
        for run in runs
        if run.is_measured()
    ]


def histories(runs: Sequence[Run]) -> dict[str, list[list[dict]]]:
    """Variant to the histories of its runs, with the `step` after each epoch."""
    found: dict[str, list[list[dict]]] = {}
    for run in runs:
        rows = run.folder.history()
        steps = run.folder.steps_per_epoch() if rows else 0
        rows = [{**row, "step": row["epoch"] * steps} for row in rows]
        found.setdefault(run.variant, []).append(rows)
    return found


def summarize(rows: Sequence[Mapping]) -> list[dict]:
    """One row for each variant; what depends on the seed is `(mean, lowest, highest)`, or None."""
    summary = []
    for variant, members in _by_variant(rows):
        line = {"variant": variant, "seeds": len(members)}
        line |= {key: _of(members, key) for key, _, _ in ACCURACY}
        for key in (*(key for key, _, _ in COSTS), "covered", "steps"):
            line[key] = members[0].get(key)
        for key in ("minutes", "memory_mb"):
            line[key] = max(row[key] for row in members)
        summary.append(line)
    return summary


def markdown(rows: Sequence[Mapping], title: str, about: Mapping[str, str]) -> str:
    """The results as a page: one table of the variants, one of all runs, what the numbers mean.

    Args:
        rows: from `results`.
        title: of the page.
        about: what was compared on what, name to text.
    """
    head = ["model", "seeds", *(title for _, title, _ in ACCURACY)]
    head += [*(title for _, title, _ in COSTS), "default boxes", "memory MB"]
    body = []
    for line in summarize(rows):
        cells = [line["variant"], str(line["seeds"])]
        cells += [_spread(line[key], digits) for key, _, digits in ACCURACY]
        cells += [number(line[key], digits) for key, _, digits in COSTS]
        covered = line["covered"]
        cells += ["-" if covered is None else f"{covered:.0%}", number(line["memory_mb"], 0)]
        body.append(cells)
    runs = [
        [
            row["variant"],
            str(row["seed"]),
            f"{row['steps']:,}",
            *(number(row.get(key), digits) for key, _, digits in ACCURACY),
            number(row["loss"], 3),
            number(row["minutes"], 1),
        ]
        for row in rows
    ]
    runs_head = ["model", "seed", "steps", *(t for _, t, _ in ACCURACY), "loss", "minutes"]
    notes = "".join(f"- {name}: {text}\n" for name, text in about.items())
    return (
        f"# {title}\n\n{notes}\n{_table(head, body)}\n\n{_classes(rows)}{_held_out(rows)}"
        f"## Every run\n\n{_table(runs_head, runs)}\n\n## What the numbers mean\n\n{LEGEND}"
    )


def _held_out(rows: Sequence[Mapping]) -> str:
    """The accuracy on the images that nothing was chosen by, "" if there are none."""
    apart = [{"variant": row["variant"], **row["held_out"]} for row in rows if row.get("held_out")]
    if not apart:
        return ""
    head = ["model", "seeds", *(title for _, title, _ in ACCURACY)]
    body = [
        [variant, str(len(members)), *(_spread(_of(members, key), n) for key, _, n in ACCURACY)]
        for variant, members in _by_variant(apart)
    ]
    count = f"{apart[0]['images']} images with {apart[0]['objects']} objects"
    return f"## Held out: {count}\n\n{_table(head, body)}\n\n{_classes(apart, 'Held out, per')}"


def _classes(rows: Sequence[Mapping], title: str = "Per") -> str:
    """AP and AP50 of the classes with the most objects, "" where there is one class or none."""
    told = [row for row in rows if row.get("per_class")]
    objects = {name: of["objects"] for name, of in told[0]["per_class"].items()} if told else {}
    if len(objects) < 2:
        return ""
    shown = sorted(objects, key=objects.get, reverse=True)[:CLASSES_SHOWN]
    head = ["model", *(f"{name} ({objects[name]})" for name in shown)]
    body = [
        [variant, *(_class_cell([row["per_class"][name] for row in members]) for name in shown)]
        for variant, members in _by_variant(told)
    ]
    return f"## {title} class (objects): AP, mAP@.5\n\n{_table(head, body)}\n\n"


def _class_cell(reached: Sequence[Mapping]) -> str:
    return ", ".join(_spread(_of(reached, key), 3) for key in ("ap", "ap50"))


def _by_variant(rows: Sequence[Mapping]) -> list[tuple[str, list[Mapping]]]:
    names = dict.fromkeys(row["variant"] for row in rows)
    return [(name, [row for row in rows if row["variant"] == name]) for name in names]


def _of(rows: Sequence[Mapping], key: str) -> tuple[float, float, float] | None:
    """Mean, lowest and highest of what is known."""
    values = [row[key] for row in rows if row.get(key) is not None]
    return (statistics.mean(values), min(values), max(values)) if values else None


def as_csv(rows: Sequence[Mapping]) -> str:
    """The results as CSV, a line each run; `held_out.per_class.car.ap` is a column."""
    text = io.StringIO()
    lines = [dict(_flat(row)) for row in rows]
    columns = list(dict.fromkeys(key for line in lines for key in line))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _flat(values: Mapping, before: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _spread(values: tuple[float, float, float] | None, digits: int) -> str:
    if values is None:
        return "-"
    mean, low, high = (number(value, digits) for value in values)
    return mean if low == high else f"{mean} ({low}-{high})"
