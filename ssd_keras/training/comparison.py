"""Several models trained and measured under one budget, in one table.

Each run is a run folder of its own and a process of its own, so that a comparison goes on where it
was stopped, and the memory of one run is not that of the others.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import math
import multiprocessing
import os
import platform
import re
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import connection
from pathlib import Path

import numpy as np

from ssd_keras import data, deploy, evaluation, zoo
from ssd_keras.backbones import backbone_from_file
from ssd_keras.boxes.coverage import THRESHOLD, best_default_boxes
from ssd_keras.complexity import count_macs
from ssd_keras.deploy.timing import milliseconds
from ssd_keras.errors import UserError
from ssd_keras.files import write_text
from ssd_keras.run_folder import RunFolder
from ssd_keras.training.defaults import suggest
from ssd_keras.training.precision import find_accelerator
from ssd_keras.training.recipe import Recipe
from ssd_keras.training.run import build, train
from ssd_keras.training.settings import RunSettings

MEASURED, COST = "measured.json", "cost.json"
TIMED_RUNS = 30
# What a run is measured by: key, title in the table, digits.
ACCURACY = (
    ("ap50", "mAP@.5", 3),
    ("ap", "AP", 3),
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
    ("mb_int8", "MB int8", 2),
)
LEGEND = f"""\
- mAP@.5: {evaluation.DEFINITIONS["voc.ap50"]}.
- AP: {evaluation.DEFINITIONS["coco.AP"]}; small, medium and large objects are divided at 32 and 96
  pixels (root of the area) of the image as it was annotated.
- Of several seeds the mean, with the lowest and the highest in brackets. The weights of the last
  step are measured, never the best of several evaluations.
- default boxes: share of the evaluated objects that overlap a default box by IoU {THRESHOLD} or
  more.
- mAP@.5 int8: the same for the int8 .tflite of the first seed.
- ms: median of one image, batch 1, on the machine below: Keras with resizing and suppression, int8
  is the .tflite on one thread with suppression. They are measured one at a time after all training.
- memory: the most that the process of a run held while it trained and detected.
"""


@dataclasses.dataclass(frozen=True)
class Variant:
    """One row of a comparison: a name and the settings of its run, whatever the seed."""

    name: str
    settings: RunSettings


@dataclasses.dataclass(frozen=True)
class Run:
    """One variant with one seed."""

    variant: str
    settings: RunSettings
    folder: RunFolder

    @property
    def seed(self) -> int:
        return self.settings.seed

    def is_measured(self) -> bool:
        """Whether nothing is left to train."""
        return (self.folder.path / MEASURED).is_file()


# === What is compared ===


def parse_variant(text: str, budget: Mapping, train_source, steps: int) -> Variant:
    """A variant from its text.

    Args:
        text: "MODEL option=value ..."; options are those of `RunSettings`, of `Recipe`, or of the
            box network (`fusion=sum`), values JSON or plain words without spaces. `name=...` is
            what the row is called, by default the model and its options.
        budget: options that all variants share.
        train_source: the data they are trained on.
        steps: training steps, rounded to whole epochs.

    Raises:
        UserError: the text or a value in it makes no sense.
    """
    model, *pairs = text.split()
    options = parse_options(pairs)
    zoo.parse(model, options.get("backbone", budget.get("backbone")))
    name = str(options.pop("name", " ".join([model, *pairs])))
    ours = {*RunSettings.__dataclass_fields__, *Recipe.__dataclass_fields__}
    values = {**budget, **options}
    given = {key: value for key, value in values.items() if key in ours}
    given["model_options"] = {key: value for key, value in values.items() if key not in ours}
    if isinstance(given.get("freeze"), str):
        given["freeze"] = tuple(given["freeze"].split(","))
    settings = suggest(model, len(train_source), given)
    per_epoch = data.steps_per_epoch(train_source, settings.recipe.batch_size)
    given["epochs"] = max(1, round(steps / per_epoch))
    given.setdefault("eval_every", max(1, given["epochs"] // 10))
    return Variant(name, suggest(model, len(train_source), given))


def parse_options(pairs: Sequence[str]) -> dict:
    """ "option=value" texts as a dict; values are JSON, or else plain words.

    Raises:
        UserError: one has no "=".
    """
    options = {}
    for pair in pairs:
        option, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"'{pair}' must be option=value.")
        try:
            options[option] = json.loads(value)
        except ValueError:
            options[option] = value
    return options


def check_variants(variants: Sequence[Variant], classes: Sequence[str]):
    """Builds every variant without weights, so that a fault shows before hours of training.

    Raises:
        UserError: two variants of one name, or one that cannot be built.
    """
    folders = [_folder_name(variant.name, 0) for variant in variants]
    for variant, folder in zip(variants, folders, strict=True):
        if folders.count(folder) > 1:
            raise UserError(
                f"Two variants are called '{variant.name}': add name=... to one of them."
            )
        plain = {"backbone_weights": "none", "weights": "", "width": 0.25}
        build(dataclasses.replace(variant.settings, **plain), tuple(classes))


def starts(variants: Sequence[Variant]) -> str:
    """What the variants start from, in words."""
    return " or ".join(dict.fromkeys(_start(variant.settings) for variant in variants))


def _start(settings: RunSettings) -> str:
    if settings.weights:
        return f"`{settings.weights}`"
    if settings.backbone_weights in ("none", ""):
        return "random weights"
    return f"`{Path(settings.backbone_weights).name}`"


def runs_of(variants: Sequence[Variant], seeds: Sequence[int], place: str | Path) -> list[Run]:
    """Every variant with every seed, seed after seed, so that a part of them is comparable."""
    return [
        Run(
            variant.name,
            dataclasses.replace(variant.settings, seed=seed),
            RunFolder(Path(place) / _folder_name(variant.name, seed)),
        )
        for seed in seeds
        for variant in variants
    ]


def _folder_name(name: str, seed: int) -> str:
    return f"{re.sub(r'[^A-Za-z0-9_.=-]+', '-', name).strip('-')}-seed{seed}"


# === Doing it ===


def complete(
    runs: Sequence[Run], *, jobs: int = 1, say: Callable[[str], object] = lambda line: None
):
    """Trains and measures what is not done yet.

    Args:
        runs: from `runs_of`.
        jobs: runs that train at a time. With more than one their output goes to a file beside the
            run folder. Times are always measured alone, at the end.
        say: is told how far it is.

    Raises:
        UserError: a run failed, or its folder holds a run with other settings. What is finished
            stays; the same call goes on.
    """
    for run in runs:
        _check_settings(run)
    left = [run for run in runs if not run.is_measured()]
    say(f"{len(runs) - len(left)} of {len(runs)} runs are finished.")
    tasks = [(f"{run.variant}, seed {run.seed}", _train_and_measure, run) for run in left]
    _in_processes(tasks, jobs, say)
    unpriced = [run for run in _first(runs).values() if not (run.folder.path / COST).is_file()]
    tasks = [(f"time and size of {run.variant}", _measure_cost, run) for run in unpriced]
    _in_processes(tasks, 1, say)


def _first(runs: Sequence[Run]) -> dict[str, Run]:
    """The first run of each variant, which its costs are measured with."""
    first: dict[str, Run] = {}
    for run in runs:
        first.setdefault(run.variant, run)
    return first


def _check_settings(run: Run):
    if not run.is_measured():
        return
    stored, wanted = run.folder.settings(), run.settings.as_stored()
    changed = [key for key, value in wanted.items() if stored.get(key) != value]
    if changed:
        raise UserError(
            f"'{run.folder.path}' holds a run with other settings ({', '.join(changed)} differ): "
            "repeat what the comparison was started with, or give another folder for the runs."
        )


def _in_processes(tasks: list, jobs: int, say):
    """Runs each `(title, function, run)` in a new process, `jobs` at a time."""
    context = multiprocessing.get_context("spawn")
    waiting, running = list(tasks), {}
    free = cpu_shares(jobs)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                title, function, run = waiting.pop(0)
                log = str(run.folder.path) + ".log" if jobs > 1 else ""
                arguments = (function, run, log, data.max_megapixels())
                process = context.Process(target=_task, args=arguments)
                share = free.pop(0)
                with on_cpus(share):
                    process.start()
                running[process.sentinel] = (process, title, log, time.monotonic(), share)
                say(f"{title} ..." + (f" (see {log})" if log else ""))
            for sentinel in connection.wait(list(running)):
                process, title, log, started, share = running.pop(sentinel)
                process.join()
                free.append(share)
                if process.exitcode:
                    said = f"what '{log}' ends with" if log else "what it printed"
                    raise UserError(
                        f"{title}: failed with exit code {process.exitcode}, see {said}. The "
                        "finished runs are kept; the same command goes on."
                    )
                say(f"{title}: done in {time.monotonic() - started:.0f} s")
    finally:
        for process, *_ in running.values():
            process.terminate()  # A run writes its checkpoint then.
            process.join()


def cpu_shares(jobs: int) -> list[set[int]]:
    """The CPUs of each of several jobs, so that none waits for another in the middle of a step.

    Two runs with two threads each on two CPUs get a quarter less done than with one each. Empty
    sets, which stand for no limit, where there are fewer CPUs than jobs or no way to share them.
    """
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if jobs > len(cpus):
        return [set() for _ in range(jobs)]
    return [set(cpus[job::jobs]) for job in range(jobs)]


@contextlib.contextmanager
def on_cpus(cpus: set[int]) -> Iterator[None]:
    """Processes started inside run on these CPUs; on all if there is none."""
    if not cpus:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _end_with_parent():
    """Asks this process to end when the one that started it is gone.

    Else a comparison that was killed and started again would meet its own run still training.
    """
    connection.wait([multiprocessing.parent_process().sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _task(function, run: Run, log: str, max_megapixels: float):
    data.set_max_megapixels(max_megapixels)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.ExitStack() as stack:
        if log:
            Path(log).parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(log, "a", encoding="utf-8", buffering=1))
            stack.enter_context(contextlib.redirect_stdout(file))
            stack.enter_context(contextlib.redirect_stderr(file))
        try:
            function(run)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            sys.exit(2)


def _train_and_measure(run: Run):
    """Trains a run to its end and writes what it reached."""
    train(run.settings, run.folder.path)
    detector = zoo.load(run.folder.last)
    source = data.load_source(run.settings.eval_data, classes=detector.classes)
    metrics = evaluation.evaluate(
        source.ground_truth(), evaluation.detect_source(detector, source), source.classes
    )
    history = run.folder.history()
    measured = {
        "ap50": metrics["voc"]["ap50"],
        "ap": metrics["coco"]["AP"],
        "ap_small": metrics["coco"]["APs"],
        "ap_medium": metrics["coco"]["APm"],
        "ap_large": metrics["coco"]["APl"],
        "loss": history[-1]["loss"],
        "steps": run.settings.recipe.epochs * run.folder.steps_per_epoch(),
        "minutes": sum(row["seconds"] for row in history) / 60,
        "memory_mb": peak_memory() / 1e6,
        "images": len(source),
        "objects": metrics["objects"],
    }
    _write(run, MEASURED, measured)


def _measure_cost(run: Run):
    """Writes what a trained variant costs on this machine."""
    if run.settings.backbone:
        # For the classes of layers that it may register.
        backbone_from_file(run.settings.backbone)
    detector = zoo.load(run.folder.last)
    source = data.load_source(run.settings.eval_data, classes=detector.classes)
    calibration = data.load_source(run.settings.train_data, classes=detector.classes)
    images = deploy.calibration_images(calibration, 100)
    content = deploy.to_tflite(detector, quantization="int8", calibration_images=images)
    runner = deploy.TFLiteDetector(content, trusted=True)
    found = [None] * len(source)
    for index, image in source.readable():
        found[index] = runner.detect(image)
    cost = {
        "parameters": detector.count_params(),
        "gmacs": count_macs(detector) / 1e9,
        "covered": _covered(detector, source),
        "ms_keras": milliseconds(lambda: detector.detect(image), TIMED_RUNS),
        "ms_int8": runner.milliseconds(TIMED_RUNS),
        "ap50_int8": evaluation.voc_ap(source.ground_truth(), found, source.classes)["map"],
        "mb_int8": len(content) / 1e6,
    }
    _write(run, COST, cost)


def _covered(detector, source) -> float | None:
    """Share of the objects that a default box fits; None where there are no default boxes."""
    anchors = detector.box_network.level_anchors
    boxes = np.concatenate([truth.boxes[~truth.crowd] for truth in source.ground_truth()])
    if not anchors or not len(boxes):
        return None
    overlaps, _ = best_default_boxes(boxes, anchors)
    return float((overlaps >= THRESHOLD).mean())


def _write(run: Run, name: str, values: dict):
    write_text(run.folder.path / name, json.dumps(_plain(values), indent=1) + "\n")


def _plain(values: Mapping) -> dict:
    """The values with None for what could not be measured, as JSON wants it."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in values.items()
    }


def peak_memory() -> int:
    """The most memory that this process has held, in bytes."""
    with contextlib.suppress(OSError):
        # Not ru_maxrss, in which Linux counts what the parent held when it started the process.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


# === What came out ===


def results(runs: Sequence[Run]) -> list[dict]:
    """One row for each measured run: variant, seed, its accuracy, and the costs of the variant."""
    first = _first(runs)
    return [
        {
            "variant": run.variant,
            "model": run.settings.model,
            "seed": run.seed,
            **_read(run, MEASURED),
            **_read(first[run.variant], COST),
        }
        for run in runs
        if run.is_measured()
    ]


def _read(run: Run, name: str) -> dict:
    path = run.folder.path / name
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


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
    for variant in dict.fromkeys(row["variant"] for row in rows):
        members = [row for row in rows if row["variant"] == variant]
        line = {"variant": variant, "seeds": len(members)}
        for key, _, _ in ACCURACY:
            values = [row[key] for row in members if row.get(key) is not None]
            line[key] = (statistics.mean(values), min(values), max(values)) if values else None
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
        cells += [_number(line[key], digits) for key, _, digits in COSTS]
        covered = line["covered"]
        cells += ["-" if covered is None else f"{covered:.0%}", _number(line["memory_mb"], 0)]
        body.append(cells)
    runs = [
        [
            row["variant"],
            str(row["seed"]),
            f"{row['steps']:,}",
            *(_number(row[key], digits) for key, _, digits in ACCURACY),
            _number(row["loss"], 3),
            _number(row["minutes"], 1),
        ]
        for row in rows
    ]
    runs_head = ["model", "seed", "steps", *(t for _, t, _ in ACCURACY), "loss", "minutes"]
    notes = "".join(f"- {name}: {text}\n" for name, text in about.items())
    return (
        f"# {title}\n\n{notes}\n{_table(head, body)}\n\n## Every run\n\n"
        f"{_table(runs_head, runs)}\n\n## What the numbers mean\n\n{LEGEND}"
    )


def as_csv(rows: Sequence[Mapping]) -> str:
    """The results as CSV, a line each run."""
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def machine() -> str:
    """What the times were measured on."""
    import keras
    import tensorflow as tf

    load = f", load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {find_accelerator()}{load}; Python "
        f"{platform.python_version()}, Keras {keras.__version__}, TensorFlow {tf.__version__}"
    )


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _spread(values: tuple[float, float, float] | None, digits: int) -> str:
    if values is None:
        return "-"
    mean, low, high = (_number(value, digits) for value in values)
    return mean if low == high else f"{mean} ({low}-{high})"
