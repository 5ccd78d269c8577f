"""Runs a detector over data and measures it: average precision, errors, curves, reports."""

from ssd_keras.boxes.coverage import best_default_boxes
from ssd_keras.evaluation.analysis import (
    confusion_matrix,
    threshold_curves,
    working_points,
    worst_images,
)
from ssd_keras.evaluation.coco import coco_ap
from ssd_keras.evaluation.detecting import detect_source
from ssd_keras.evaluation.errors import error_analysis
from ssd_keras.evaluation.files import make_folder, write_evaluation
from ssd_keras.evaluation.measuring import Evaluation, json_ready, measure
from ssd_keras.evaluation.metrics import DEFINITIONS, evaluate
from ssd_keras.evaluation.of_detector import (
    DetectorEvaluation,
    check_measurable,
    describe,
    levels_of,
    measure_detector,
)
from ssd_keras.evaluation.report import report
from ssd_keras.evaluation.results import read_results, results_classes, to_results, write_results
from ssd_keras.evaluation.tables import tabulate
from ssd_keras.evaluation.voc import voc_ap

__all__ = [
    "DEFINITIONS",
    "DetectorEvaluation",
    "Evaluation",
    "best_default_boxes",
    "check_measurable",
    "coco_ap",
    "confusion_matrix",
    "describe",
    "detect_source",
    "error_analysis",
    "evaluate",
    "json_ready",
    "levels_of",
    "make_folder",
    "measure",
    "measure_detector",
    "read_results",
    "report",
    "results_classes",
    "tabulate",
    "threshold_curves",
    "to_results",
    "voc_ap",
    "working_points",
    "worst_images",
    "write_evaluation",
    "write_results",
]
