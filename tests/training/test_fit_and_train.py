"""Plain `fit` and `train` with equal settings end with equal detectors."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssd_keras import figures
from tests.training import fit_and_train

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("ema", [pytest.param(0.0, marks=pytest.mark.slow), 0.9])
def test_their_weights_are_equal_to_the_bit(tmp_path, monkeypatch, ema):
    # Drawing takes longer than training here.
    monkeypatch.setattr(figures, "save", lambda figure, path: Path(path).touch())
    settings = dataclasses.replace(
        fit_and_train.SETTINGS,
        model="SSD_Tiny_32",
        backbone=f"{ROOT / 'tests' / 'tiny.py'}:backbone",
        train_data="shapes#train,count=16,size=32",
        recipe=dataclasses.replace(fit_and_train.SETTINGS.recipe, epochs=8, ema=ema),
    )
    trained = fit_and_train.trained(settings, tmp_path)
    fitted = fit_and_train.fitted(settings)
    assert len(fitted.get_weights()) > 10
    for one, other in zip(fitted.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_their_mean_average_precision_is_equal_under_jax(tmp_path):
    """Under TensorFlow that follows from their weights."""
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    command = [sys.executable, "-m", "tests.training.fit_and_train", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["mAP"]["train"] > 0.05
    assert found["mAP"]["fit"] == found["mAP"]["train"]
    assert found["AP"]["fit"] == found["AP"]["train"]
    assert found["difference"] == 0.0
