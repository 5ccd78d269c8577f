"""Running a detector over a data source."""

import numpy as np
import pytest

from ssd_keras import data, evaluation
from ssd_keras.errors import UserError
from ssd_keras.evaluation import detect_source
from ssd_keras.resizing import WAYS
from tests.comparing import assert_same_detections
from tests.data.samples import voc_image, voc_object
from tests.deploy.conftest import CLASSES, lively_detector


@pytest.mark.parametrize("way", WAYS)
def test_a_source_is_seen_as_its_images_are_one_by_one(tmp_path, monkeypatch, way):
    """Of sizes that must be resized, and one more than a batch."""
    for index, size in enumerate(((64, 48), (200, 151), (96, 96))):
        voc_image(
            tmp_path, f"{index}", voc_object(), size=size, width=size[0], height=size[1], seed=index
        )
    source = data.load_source(f"voc:{tmp_path}")
    detector = lively_detector()
    monkeypatch.setattr(detector, "resize", way)
    found = detect_source(detector, source, batch_size=2, progress=False)
    assert len(found) == len(source) == 3
    for index, detections in enumerate(found):
        alone = detector.detect(source.image(index))
        assert len(alone) > 10
        assert_same_detections(detections, alone, box_atol=1e-5, score_atol=1e-5)


def damage(path):
    """16 bytes of 0xFF inside the pixels of a JPEG, which its header does not tell."""
    content = bytearray(path.read_bytes())
    middle = len(content) * 3 // 4
    content[middle : middle + 16] = b"\xff" * 16
    path.write_bytes(content)


def folder(tmp_path, damaged):
    for index in range(4):
        voc_image(tmp_path, f"{index}", voc_object(), seed=index, quality=95)
        if index in damaged:
            damage(tmp_path / f"JPEGImages/{index}.jpg")
    return data.load_source(f"voc:{tmp_path}", CLASSES)


def test_images_that_cannot_be_read_are_left_out_with_their_objects(tmp_path):
    source = folder(tmp_path, [1])
    detector = lively_detector()
    found = detect_source(detector, source, batch_size=3, progress=False)
    assert [one is None for one in found] == [False, True, False, False]
    assert list(source.unread) == [1]

    def without(values):
        return [value for index, value in enumerate(values) if index != 1]

    truth = source.ground_truth()
    measured = evaluation.measure(truth, found, source.classes)
    rest = evaluation.measure(without(truth), without(found), source.classes)
    assert measured.metrics["unread"] == ["1"]
    assert measured.metrics["images"] == 3
    assert measured.metrics["objects"] == 3
    for group in ("voc", "coco", "errors", "per_class"):
        np.testing.assert_equal(measured.metrics[group], rest.metrics[group])
    results = evaluation.to_results(truth, found)
    assert {result["image_id"] for result in results} <= {0, 2, 3}
    page = evaluation.report(measured, truth, found, source.classes, title="t", image=source.image)
    assert "1 of 4 images could not be read" in page


def test_data_of_which_no_image_can_be_read_are_refused(tmp_path):
    source = folder(tmp_path, range(4))
    detector = lively_detector()
    with pytest.raises(UserError, match=r"4 of 4 images could not be read.*0\.jpg"):
        detect_source(detector, source, progress=False)
