"""How differences between forms are measured."""

import dataclasses
import time

import numpy as np
import pytest

from ssd_keras.deploy import parity, timing
from ssd_keras.detections import Detections
from tests.deploy.conftest import assemble, pictures, raw

BOXES = np.array([[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]], np.float32)
SIZE = (200, 100)


def detections(boxes=BOXES, scores=(0.9, 0.8), labels=(0, 1)) -> Detections:
    return Detections(boxes, scores, labels, ("a", "b"))


EMPTY = detections(np.zeros((0, 4)), (), ())


@pytest.mark.parametrize(
    ("found", "wanted_values"),
    [
        (detections(), (1.0, 0.0, 0.0, 0.0)),
        # 0.01 of 200 pixels is 2 pixels.
        (detections(BOXES + np.float32([0.01, 0, 0, 0])), (1.0, 0.0, 2.0, 0.0)),
        (detections(scores=(0.85, 0.8)), (1.0, 0.0, 0.0, 0.05)),
        (detections(labels=(0, 0)), (0.5, 0.5, 0.0, 0.0)),
        (detections(BOXES[:1], (0.9,), (0,)), (0.5, 0.0, 0.0, 0.0)),
        # Of what is not matched no difference is known.
        (EMPTY, (0.0, 0.0, np.nan, np.nan)),
        # A wanted detection is found once, however often the other form finds it.
        (detections(BOXES[[0, 0, 1]], (0.9, 0.85, 0.8), (0, 0, 1)), (1.0, 0.5, 0.0, 0.0)),
    ],
)
def test_differences(found, wanted_values):
    near = parity.compare([detections()], [found], [SIZE])
    values = (near.matched, near.extra, near.box_max, near.score_max)
    np.testing.assert_allclose(values, wanted_values, atol=1e-4)


def test_weak_detections_are_not_wanted_but_may_be_found():
    ours = [detections(scores=(0.9, 0.05)), detections(scores=(0.11, 0.11))]
    theirs = [detections(BOXES[:1], (0.9,), (0,)), detections(scores=(0.09, 0.09))]
    assert parity.compare(ours, theirs, [SIZE, SIZE]).matched == 1.0


@pytest.mark.parametrize("found", [EMPTY, detections()], ids=["nothing", "something"])
def test_where_nothing_is_wanted_nothing_is_known(found):
    near = parity.compare([detections(scores=(0.09, 0.05))], [found], [SIZE])
    assert np.isnan(dataclasses.astuple(near)).all()


@pytest.mark.parametrize(
    ("kind", "custom", "not_on_gpu"),
    [
        ("builtin", (), {"NON_MAX_SUPPRESSION_V4"}),
        ("op", ("custom:TFLite_Detection_PostProcess",), set()),
        ("none", (), set()),
    ],
)
def test_operators_outside_the_builtin_set_and_the_gpus(kind, custom, not_on_gpu):
    needs = parity.operators(assemble(kind))
    assert needs.custom == custom
    assert not_on_gpu == set(needs.not_on_gpu) & {"NON_MAX_SUPPRESSION_V4", "CONV_2D", "SOFTMAX"}


def test_the_raw_network_runs_on_the_gpu_as_a_whole():
    assert parity.operators(raw("none")).not_on_gpu == ()


def test_worst_layers_are_named_with_what_they_add():
    images = [image[:96, :96] for image in pictures(2)]
    worst = parity.worst_layers(raw("none"), raw("int8"), images, count=4)
    assert len(worst) == 4
    assert [layer.lost for layer in worst] == sorted((x.lost for x in worst), reverse=True)
    assert all(layer.lost > 0 for layer in worst)


def test_the_median_is_what_counts(monkeypatch):
    clock = iter([0.0, 0.0, 1.0, 5.0, 14.0, 20.0, 22.0, 30.0, 32.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert timing.milliseconds(lambda: None, repeats=4, warmup=1) == 2000.0


class ScoresAsTheyAre:
    """A decoding whose raw outputs are scores."""

    @staticmethod
    def scores(raw_outputs):
        return raw_outputs["scores"]


@pytest.mark.parametrize(("usual", "expected"), [(0.1, 0.08), (0.9, 0.72)])
def test_what_is_usual_counts_though_one_image_explodes(usual, expected):
    """Four images whose scores the file loses, and one on which the network explodes, as it was."""
    images = [np.full((1, 2, 2, 3), index, np.float32) for index in range(5)]

    def detector(image, training):
        return {"scores": np.float32([usual if image.max() < 4 else 1.0, 0.0])}

    def network(image):
        return {"scores": np.float32([0.0 if image.max() < 4 else 1.0, 0.0])}

    change = parity.score_change(network, detector, ScoresAsTheyAre, images)
    assert change == pytest.approx(expected, abs=1e-6)
