"""The export program: its files, and what it says when something is wrong."""

import numpy as np
import pytest
from PIL import Image

from ssd_keras import deploy
from ssd_keras.deploy.tflite_file import TFLiteFile
from tests.deploy.conftest import pictures
from tests.export.programs import assert_one_sentence, run_program


def export(*flags):
    return run_program("export.tflite", *flags)


def test_a_run_folder_becomes_a_file_with_the_detectors_answers(run_dir, detector, tmp_path):
    out = tmp_path / "new" / "pets.tflite"
    done = export(f"--run_dir={run_dir}", f"--out={out}", "--quantization=float16")
    assert done.returncode == 0, done.stderr
    assert f"{out}  {out.stat().st_size / 1e6:.2f} MB" in done.stdout
    assert [path.name for path in out.parent.iterdir()] == ["pets.tflite"]
    image = pictures(1, seed=9)[0]
    found, wanted = deploy.TFLiteDetector(out).detect(image), detector.detect(image)
    np.testing.assert_allclose(found.scores[:20], wanted.scores[:20], atol=0.02)


@pytest.mark.slow
def test_a_file_for_a_target_says_what_its_delegate_takes(run_dir, tmp_path):
    done = export(f"--run_dir={run_dir}", f"--out={tmp_path}/gpu.tflite", "--target=gpu")
    assert done.returncode == 0, done.stderr
    total = len(TFLiteFile((tmp_path / "gpu.tflite").read_bytes()).graph.operators)
    assert f"  placed   GPU takes {total} of {total} operators in 1 part\n" in done.stdout
    assert "outputs  box codes, class scores" in done.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--quantization=int8"], "--quantization=int8 needs --calibration_data=FORMAT:PLACE#"),
        (["--target=npu"], "--target=npu, int8, needs --calibration_data=FORMAT:PLACE#SPLIT"),
        (["--target=cpu"], "learns the value ranges, or another --quantization."),
        (["--target=gpu", "--quantization=int8"], "quantization=int8 does not go with target=gpu"),
        (["--out=FILE/pets.tflite"], "file' is a file, not a folder"),
        ([], "holds no trained detector (best.keras)"),
        (["--calibration_data=shapes#train"], "is for int8, but the file becomes float32: add --"),
        (["--calibration_images=9"], "--calibration_images is for int8, but the file becomes floa"),
        (["--calibration_data=shapes#train", "--target=gpu"], "but the file becomes float16"),
    ],
)
def test_faults_are_one_sentence_and_leave_no_file(tmp_path, flags, message):
    (tmp_path / "file").touch()
    flags = [flag.replace("FILE", f"{tmp_path}/file") for flag in flags]
    done = export(f"--run_dir={tmp_path}", f"--out={tmp_path}/out/pets.tflite", *flags)
    assert_one_sentence(done, message)
    assert not list(tmp_path.rglob("*pets.tflite"))


def test_calibration_images_of_the_wrong_range_leave_no_file_either(run_dir, tmp_path):
    done = export(
        f"--run_dir={run_dir}",
        f"--out={tmp_path}/out/pets.tflite",
        "--quantization=int8",
        f"--calibration_data=csv:{black_images(tmp_path)}",
    )
    message = "Calibration images must be RGB 0..255, but these reach from 0 to 1"
    assert_one_sentence(done, message)
    assert not list(tmp_path.rglob("*pets.tflite"))


def black_images(folder) -> str:
    """A data set of two images as another program leaves them that has scaled them to 0..1."""
    lines = []
    for index in range(2):
        Image.fromarray(np.eye(32, dtype=np.uint8)).convert("RGB").save(folder / f"{index}.png")
        lines.append(f"{index}.png,2,2,20,20,cat")
    file = folder / "boxes.csv"
    file.write_text("image,xmin,ymin,xmax,ymax,label\n" + "\n".join(lines) + "\n")
    return str(file)
