"""Measuring the runs of a comparison: what they reached, and what a variant costs here."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from ssd_keras import data, deploy, evaluation, zoo
from ssd_keras.backbones import backbone_from_file, is_kerashub
from ssd_keras.boxes.coverage import THRESHOLD, best_default_boxes
from ssd_keras.comparison.variants import COST, MEASURED, Run
from ssd_keras.complexity import count_macs
from ssd_keras.data.inspection import resized_boxes
from ssd_keras.data.tiled import TiledSource
from ssd_keras.deploy.form_comparison import milliseconds_of_image
from ssd_keras.deploy.timing import milliseconds
from ssd_keras.files import write_text
from ssd_keras.training.precision import find_accelerator
from ssd_keras.training.run import train

TIMED_RUNS = 30


def train_and_measure(run: Run):
    """Trains a run to its end and writes what it reached."""
    train(run.settings, run.folder.path)
    detector = zoo.load(run.folder.last)
    history = run.folder.history()
    measured = _reached_by_keras(detector, run.settings.eval_data) | {
        "loss": history[-1]["loss"],
        # Of its epochs, which `patience` may have cut short.
        "steps": len(history) * run.folder.steps_per_epoch(),
        "minutes": sum(row["seconds"] for row in history) / 60,
        "memory_mb": peak_memory() / 1e6,
    }
    if run.held_out:
        measured["held_out_data"] = run.held_out
        measured["held_out"] = _reached_by_keras(detector, run.held_out)
    _write(run, MEASURED, measured)


def select_metrics(metrics: Mapping) -> dict:
    """What a comparison keeps of the metrics of `evaluation.evaluate`: over all and per class."""
    coco = metrics["coco"]
    return {
        "ap50": metrics["voc"]["ap50"],
        "ap": coco["AP"],
        "ap75": coco["AP75"],
        "ap_small": coco["APs"],
        "ap_medium": coco["APm"],
        "ap_large": coco["APl"],
        "images": metrics["images"],
        "objects": metrics["objects"],
        "per_class": {
            name: {"objects": of["objects"], "ap50": of["voc_ap50"], "ap": of["coco_AP"]}
            for name, of in metrics["per_class"].items()
        },
    }


def _reached_by_keras(detector, spec: str) -> dict:
    source = data.load_source(spec, classes=detector.classes)
    found = evaluation.detect_source(detector, source)
    return select_metrics(evaluation.evaluate(source.ground_truth(), found, source.classes))


def measure_cost(run: Run):
    """Writes what a trained variant costs on this machine."""
    if run.settings.backbone and not is_kerashub(run.settings.backbone):
        # For the classes of layers that it may register.
        backbone_from_file(run.settings.backbone)
    detector = zoo.load(run.folder.last)
    source = data.load_source(run.settings.eval_data, classes=detector.classes)
    calibration = data.load_source(run.settings.train_data, classes=detector.classes)
    images = deploy.calibration_images(calibration, 100, detector.tiling)
    content = deploy.to_tflite(detector, quantization="int8", calibration_images=images)
    runner = deploy.TFLiteDetector(content, trusted=True)
    found = [None] * len(source)
    for index, image in source.readable():
        found[index] = runner.detect(image)
    by_int8 = select_metrics(evaluation.evaluate(source.ground_truth(), found, source.classes))
    cost = {
        "of": run.digest(),
        "parameters": detector.count_params(),
        "gmacs": count_macs(detector) / 1e9,
        "covered": _coverage(detector, source),
        "ms_keras": milliseconds(lambda: detector.detect(image), TIMED_RUNS),
        "ms_int8": milliseconds_of_image(runner, image, TIMED_RUNS),
        "ap50_int8": by_int8["ap50"],
        "ap_int8": by_int8["ap"],
        "per_class_int8": by_int8["per_class"],
        "mb_int8": len(content) / 1e6,
    }
    _write(run, COST, cost)


def _coverage(detector, source) -> float | None:
    """Share of the objects that a default box fits; None where there are no default boxes."""
    anchors = detector.box_network.level_anchors
    if detector.tiling is not None:
        source = TiledSource(source, detector.tiling, empty_tiles=0.0)
    resized = (detector.image_size, detector.resize)
    truths = source.ground_truth()
    boxes = np.concatenate([resized_boxes(one, *resized)[one.is_object] for one in truths])
    if not anchors or not len(boxes):
        return None
    overlaps, _ = best_default_boxes(boxes, anchors)
    return float((overlaps >= THRESHOLD).mean())


def _write(run: Run, name: str, values: dict):
    write_text(run.folder.path / name, json.dumps(evaluation.json_ready(values), indent=1) + "\n")


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


def machine() -> str:
    """What the times were measured on."""
    load = f", load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {find_accelerator()}{load}; Python "
        f"{platform.python_version()}, Keras {keras.__version__}, TensorFlow {tf.__version__}"
    )
