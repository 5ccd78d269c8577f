"""The report of a device: here, and of a phone that a stand-in for adb plays."""

import os
import subprocess
import sys

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.conftest import ROOT
from tests.export.conftest import load_script

SCRIPT = ROOT / "export" / "on_device" / "report.py"
# What benchmark_model prints, abridged.
PRINTED = """
INFO: Replacing 66 out of 80 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 2 partitions for subgraph 0.
INFO: Inference timings in us: Init: 11520, First inference: 9283, Warmup (avg): 8000.1, Inference (avg): 7421.5
INFO: Memory footprint delta from the start of the tool (MB): init=3.1 overall=9.4
"""  # noqa: E501
ADB = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
  *getprop*soc.model) echo SM8650 ;;
  *getprop*) echo Fairphone ;;
  *use_gpu*) echo "ERROR: Failed to apply GPU delegate." >&2; exit 1 ;;
  *benchmark_model\\ --graph*) cat {printed} ;;
esac
"""


@pytest.fixture(scope="module")
def script():
    return load_script(SCRIPT)


def run(*flags, **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, SCRIPT, *flags],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_it_reports_the_file_the_computer_times_and_outputs(tmp_path, float_file):
    (tmp_path / "pets.tflite").write_bytes(float_file)
    done = run(f"--model={tmp_path}/pets.tflite", "--threads=1,2", "--repeats=3")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert list(lines) == ["file", "settings", "device", "system", "versions", "cpu", "output"]
    assert f"{len(float_file) / 1e6:.2f} MB" in lines["file"]
    assert "quantization none  postprocess builtin  image_size [96, 96]" in lines["settings"]
    times = [line for line in done.stdout.splitlines() if line.startswith("cpu")]
    assert [line.split()[1] for line in times] == ["1", "2"]
    outputs = [line for line in done.stdout.splitlines() if line.startswith("output")]
    assert outputs[0].split()[1:3] == ["detection_boxes", "1x200x4"]


def test_every_device_draws_the_same_picture_and_tells_what_the_file_makes_of_it(
    script, float_file
):
    interpreter = script._interpreter(float_file, 1)
    (entry,) = interpreter.get_input_details()
    image = interpreter.get_tensor(entry["index"])
    assert image[0, 0, 0].tolist() == [0, 71, 142]
    assert image[0, 20, 40].tolist() == [(53 + 194 + 71 * c) % 256 for c in range(3)]
    interpreter.invoke()
    boxes, _, scores, _ = script._outputs(interpreter)
    plain = Interpreter(model_content=float_file).get_signature_runner("serving_default")
    wanted = plain(image=image)
    assert f"mean {np.mean(wanted['detection_boxes'], dtype=np.float64):.5f}" in boxes
    assert f"max {wanted['detection_scores'].max():.5f}" in scores


@pytest.fixture
def phone(tmp_path):
    """A folder with a program called adb; `log` in it has what it was asked."""
    (tmp_path / "printed").write_text(PRINTED)
    adb = tmp_path / "adb"
    adb.write_text(ADB.format(log=tmp_path / "log", printed=tmp_path / "printed"))
    adb.chmod(0o755)
    return tmp_path


def test_it_reports_of_a_phone_what_benchmark_model_says(phone, float_file):
    (phone / "pets.tflite").write_bytes(float_file)
    done = run(
        f"--model={phone}/pets.tflite",
        "--threads=1,4",
        "--benchmark_model=android_aarch64_benchmark_model",
        PATH=f"{phone}:{os.environ['PATH']}",
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[2:4] == ["device    Fairphone Fairphone  SM8650", "system    Android Fairphone"]
    measured = "first ms 9.28  ms 7.42  MB 9.4  delegated 66 out of 80 node(s)"
    assert lines[4].startswith(f"cpu       1 threads  {measured}")
    assert lines[5].startswith("cpu       4 threads  ")
    assert lines[6] == "gpu       failed: adb shell: ERROR: Failed to apply GPU delegate."
    asked = (phone / "log").read_text().splitlines()
    assert asked[-1] == "shell rm -f /data/local/tmp/benchmark_model /data/local/tmp/report.tflite"
    assert any("--num_threads=4" in line and "--num_runs=50" in line for line in asked)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model=missing.tflite"], "error: [Errno 2] No such file or directory: 'missing"),
        (["--model=FILE"], "error: "),
        (["--model=FILE", "--threads=many"], "--threads must be numbers with commas"),
        (
            ["--model=FILE", "--benchmark_model=b"],
            "No such file or directory: 'ad",
        ),
    ],
)
def test_faults_are_one_line(tmp_path, flags, message):
    (tmp_path / "file").write_bytes(b"TFL3 no model")
    done = run(*(flag.replace("FILE", f"{tmp_path}/file") for flag in flags), PATH="")
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
