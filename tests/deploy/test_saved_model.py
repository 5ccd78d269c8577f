"""The SavedModel runs where this package is not, and gives the detector's answers."""

import io
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ssd_keras import deploy
from ssd_keras.deploy.saved_model import LABELS, MANIFEST, without_edges
from ssd_keras.errors import UserError
from ssd_keras.folders import check_folder
from tests import tiny
from tests.deploy.conftest import CLASSES, enliven, pictures

pytestmark = pytest.mark.slow

IMAGES = np.stack(pictures(3, seed=9))
# A process that cannot import this package.
SCRIPT = """
import sys
import numpy as np
import tensorflow as tf
assert "ssd_keras" not in sys.modules
folder, out = sys.argv[1:]
inputs = np.load(f"{out}/inputs.npz", allow_pickle=True)
signatures = tf.saved_model.load(folder).signatures
images = signatures["serving_default"](images=tf.constant(inputs["images"]))
files = signatures["encoded_images"](encoded_images=tf.constant(list(inputs["files"])))
np.savez(f"{out}/images.npz", **{k: v.numpy() for k, v in images.items()})
np.savez(f"{out}/files.npz", **{k: v.numpy() for k, v in files.items()})
"""


def png(image) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "png")
    return stream.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, detector):
    return deploy.to_saved_model(detector, tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture(scope="module")
def outputs(folder, tmp_path_factory):
    """Outputs of both signatures, from a process of its own."""
    work = tmp_path_factory.mktemp("process")
    files = np.array([png(image) for image in IMAGES] + [png(IMAGES[0][:50, :40])], dtype=object)
    np.savez(work / "inputs.npz", images=IMAGES, files=files)
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT, folder, work],
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {name: dict(np.load(work / f"{name}.npz")) for name in ("images", "files")}


@pytest.mark.parametrize("signature", ["images", "files"])
def test_detections_are_the_detectors(detector, outputs, signature):
    found = outputs[signature]
    for index, wanted in enumerate(detector.detect(list(IMAGES))):
        count = found["count"][index]
        assert count == len(wanted) > 20
        np.testing.assert_allclose(found["scores"][index, :count], wanted.scores, atol=1e-4)
        np.testing.assert_array_equal(found["classes"][index, :5], wanted.labels[:5])
        np.testing.assert_allclose(found["boxes"][index, :5], wanted.boxes[:5], atol=1e-3)


def test_files_of_different_sizes_go_into_one_batch(detector, outputs):
    wanted = detector.detect(IMAGES[0][:50, :40])
    np.testing.assert_allclose(
        outputs["files"]["scores"][3][: len(wanted)], wanted.scores, atol=1e-4
    )


def test_labels_travel_along(folder):
    assert (folder / LABELS).read_text().splitlines() == list(CLASSES)


def test_nothing_else_is_left_beside_it(folder):
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("place", "message"),
    [("file", "is a file: give a folder"), ("photos", "holds other files: give an empty")],
)
def test_places_that_are_not_overwritten(detector, tmp_path, place, message):
    (tmp_path / "file").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(UserError, match=message):
        deploy.to_saved_model(detector, tmp_path / place)
    assert (tmp_path / "photos" / "a.jpg").exists()


def test_an_export_is_replaced_but_nothing_else(folder, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    check_folder(copy, MANIFEST)
    (copy / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"of the user")
    with pytest.raises(UserError, match=r"holds 'assets\.extra/tf_serving_warmup_requests'"):
        check_folder(copy, MANIFEST)


def test_a_saved_model_of_somebody_else_is_not_replaced(detector, tmp_path):
    (tmp_path / "variables").mkdir()
    for name in ("saved_model.pb", "variables/variables.index"):
        (tmp_path / name).write_bytes(b"of somebody else")
    with pytest.raises(UserError, match="holds other files: give an empty or new folder"):
        deploy.to_saved_model(detector, tmp_path)
    assert (tmp_path / "saved_model.pb").read_bytes() == b"of somebody else"


@pytest.mark.parametrize("way", ["corner", "letterbox"])
def test_images_are_resized_in_the_detectors_way(tmp_path, way):
    keras.utils.set_random_seed(0)
    detector = enliven(tiny.detector(CLASSES))
    detector.resize = way
    assert len(detector.detect(IMAGES[0])) > 20
    wanted = [detector.detect(image) for image in IMAGES]
    serve = tf.saved_model.load(str(deploy.to_saved_model(detector, tmp_path / "model"))).signatures
    for found in (
        serve["serving_default"](images=tf.constant(IMAGES)),
        serve["encoded_images"](encoded_images=tf.constant([png(image) for image in IMAGES])),
    ):
        assert found["count"].numpy().tolist() == [len(one) for one in wanted]
        for index, one in enumerate(wanted):
            np.testing.assert_allclose(found["scores"][index, : len(one)], one.scores, atol=1e-4)
            np.testing.assert_allclose(found["boxes"][index, : len(one)], one.boxes, atol=1e-4)


def test_slots_of_no_area_are_left_empty():
    box, line, none = [0.1, 0.2, 0.5, 0.6], [0.1, 1.0, 0.5, 1.0], [0.0] * 4
    found = without_edges(
        {
            "boxes": tf.constant([[line, box, line, box, none], [box, box, none, none, none]]),
            "scores": tf.constant([[0.9, 0.8, 0.7, 0.6, 0.0], [0.5, 0.4, 0.0, 0.0, 0.0]]),
            "classes": tf.constant([[0, 1, 2, 3, -1], [4, 5, -1, -1, -1]]),
            "count": tf.constant([4, 2]),
        }
    )
    np.testing.assert_allclose(found["boxes"], [[box, box, *[none] * 3]] * 2)
    np.testing.assert_allclose(found["scores"], [[0.8, 0.6, 0, 0, 0], [0.5, 0.4, 0, 0, 0]])
    np.testing.assert_array_equal(found["classes"], [[1, 3, -1, -1, -1], [4, 5, -1, -1, -1]])
    np.testing.assert_array_equal(found["count"], [2, 2])
