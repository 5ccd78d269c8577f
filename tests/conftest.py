"""Fixtures that many tests share."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


# What takes longest and is left out unless asked for by `-m slow`: whole programs one after the
# other, XLA under JAX, the deepest networks, other engines. CI runs them after the others.
SLOW = (
    "test_models.py::test_trains_and_detects_under_jax",
    "test_models.py::test_trains_a_step_and_survives_being_saved[SSD_ResNet101",
    "test_models.py::test_trains_a_step_and_survives_being_saved[DSSD_ResNet101",
    "test_models.py::test_trains_a_step_and_survives_being_saved[DSSD_VGG16",
    "test_models.py::test_trains_a_step_and_survives_being_saved[DSSD_MobileNetV2",
    "test_models.py::test_trains_a_step_and_survives_being_saved[DSSD_Inception",
    "test_models.py::test_trains_a_step_and_survives_being_saved[SSD_Inception",
    "test_models.py::test_trains_a_step_and_survives_being_saved[YOLO_Inception",
    "test_notebooks.py",
    "test_overfitting.py",
    "test_readme.py::test_the_python_of",
    "boxes/test_backends.py",
    "deploy/test_mediapipe.py",
    "deploy/test_models.py",
    "deploy/test_saved_model.py",
    "experiments/test_compare.py",
    "experiments/test_demo.py",
    "experiments/test_import_weights.py",
    "experiments/test_train.py::test_killed",
    "experiments/test_train.py::test_a_finished_run",
    "export/test_report.py",
    "export/test_saved_model.py",
    "export/test_web.py",
    "training/test_distribution.py::test_two",
    "training/test_run.py::test_a_run_ends_early",
    "training/test_run.py::test_a_run_that_was_stopped",
    "training/test_run.py::test_half_precision",
    "weights/test_caffe_backbones.py",
    "weights/test_caffe_ssd.py",
    "weights/test_vgg_ssd.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks the slow tests, before pytest selects by marks."""
    for item in items:
        if item.nodeid.removeprefix("tests/").startswith(SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared():
    """`shared("vectors/priors.npz")`: the path of a reference file, or a skip that names it."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"needs the reference file {name} in {SHARED.name}/ beside the project")
        return path

    return find
