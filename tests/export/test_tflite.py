"""The export program: its files, and what it says when something is wrong."""

import subprocess
import sys

import numpy as np
import pytest

from ssd_keras import deploy
from tests.conftest import ROOT
from tests.deploy.conftest import lively_detector, pictures


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "pets"
    folder.mkdir()
    lively_detector().save(folder / "best.keras")
    return folder


def export(*flags) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "export.tflite", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_run_folder_becomes_a_file_with_the_detectors_answers(run_dir, detector, tmp_path):
    out = tmp_path / "new" / "pets.tflite"
    done = export(f"--run_dir={run_dir}", f"--out={out}", "--quantization=float16")
    assert done.returncode == 0, done.stderr
    assert f"{out}  {out.stat().st_size / 1e6:.2f} MB" in done.stdout
    assert [path.name for path in out.parent.iterdir()] == ["pets.tflite"]
    image = pictures(1, seed=9)[0]
    found, wanted = deploy.TFLiteDetector(out).detect(image), detector.detect(image)
    np.testing.assert_allclose(found.scores[:20], wanted.scores[:20], atol=0.02)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--quantization=int8"], "--quantization=int8 needs --calibration_data=FORMAT:PLACE#"),
        (["--out=FILE/pets.tflite"], "file' is a file, not a folder"),
    ],
)
def test_faults_are_one_sentence_and_leave_no_file(tmp_path, flags, message):
    (tmp_path / "file").touch()
    flags = [flag.replace("FILE", str(tmp_path / "file")) for flag in flags]
    done = export(f"--run_dir={tmp_path}", f"--out={tmp_path}/out/pets.tflite", *flags)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 2
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*pets.tflite"))
