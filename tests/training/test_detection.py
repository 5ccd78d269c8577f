"""Running a detector over a data source."""

from ssd_keras import data
from ssd_keras.training import detect_source
from tests.comparing import assert_same_detections
from tests.data.samples import voc_image, voc_object
from tests.deploy.conftest import lively_detector


def test_a_source_is_seen_as_its_images_are_one_by_one(tmp_path):
    """Of sizes that must be resized, and one more than a batch."""
    for index, size in enumerate(((64, 48), (200, 151), (96, 96))):
        voc_image(
            tmp_path, f"{index}", voc_object(), size=size, width=size[0], height=size[1], seed=index
        )
    source = data.load_source(f"voc:{tmp_path}")
    detector = lively_detector()
    found = detect_source(detector, source, batch_size=2, progress=False)
    assert len(found) == len(source) == 3
    for index, detections in enumerate(found):
        alone = detector.detect(source.image(index))
        assert len(alone) > 10
        assert_same_detections(detections, alone, box_atol=1e-5, score_atol=1e-5)
