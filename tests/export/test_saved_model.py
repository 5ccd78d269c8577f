"""The SavedModel program: its folder, and what it says when something is wrong."""

import numpy as np
import pytest
import tensorflow as tf

from tests.deploy.conftest import CLASSES, pictures
from tests.export.programs import assert_one_sentence, run_program

pytestmark = pytest.mark.slow


def export(*flags):
    return run_program("export.saved_model", *flags)


def test_a_run_folder_becomes_a_saved_model_with_the_detectors_answers(run_dir, detector, tmp_path):
    out = tmp_path / "pets"
    done = export(f"--run_dir={run_dir}", f"--out={out}", "--max_detections=9")
    assert done.returncode == 0, done.stderr
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    assert f"{out}  {size / 1e6:.2f} MB" in done.stdout
    assert (out / "assets.extra" / "labels.txt").read_text().split() == list(CLASSES)
    image = pictures(1, seed=9)[0]
    serve = tf.saved_model.load(str(out)).signatures["serving_default"]
    wanted = detector.detect(image, max_detections=9)
    found = serve(images=tf.constant(image[None]))["scores"][0]
    np.testing.assert_allclose(found, wanted.scores, atol=1e-4)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--run_dir=TMP"], "holds no trained detector (best.keras)"),
        (["--out=TMP/photos/a.jpg/model"], "a.jpg' is a file, not a folder"),
    ],
)
def test_faults_are_one_sentence_and_harm_nothing(run_dir, tmp_path, flags, message):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"a photo")
    flags = [flag.replace("TMP", str(tmp_path)) for flag in flags]
    done = export(f"--run_dir={run_dir}", f"--out={tmp_path}/out", *flags)
    assert_one_sentence(done, message)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.jpg", "photos"]
    assert (tmp_path / "photos" / "a.jpg").read_bytes() == b"a photo"
