"""The report program: its table, its files, its exit code, and what it says of faults."""

import json

import pytest

from ssd_keras import data
from ssd_keras.deploy import form_comparison
from tests.export.programs import assert_one_sentence, run_program
from tests.export.test_tflite import black_images

pytestmark = pytest.mark.slow

DATA = "shapes#val,count=4"


def run_report(run_dir, *flags):
    return run_program("export.report", f"--run_dir={run_dir}", *flags)


@pytest.fixture(scope="module")
def shapes_run(tmp_path_factory):
    """A run folder whose detector knows the classes of the drawn shapes."""
    from tests import tiny
    from tests.deploy.conftest import enliven

    classes = data.load_source(DATA).classes
    folder = tmp_path_factory.mktemp("runs") / "shapes"
    folder.mkdir()
    # Of so many channels that its weights are most of a file.
    enliven(tiny.detector(classes, channels=192)).save(folder / "best.keras")
    return folder


@pytest.fixture(scope="module")
def finished(shapes_run, tmp_path_factory):
    """A report of every form, and where it was written."""
    out = tmp_path_factory.mktemp("report")
    done = run_report(
        shapes_run,
        f"--data={DATA}",
        "--calibration_data=shapes#train,count=4",
        f"--out={out}",
        "--threads=1,2",
        "--max_drop=1",
    )
    assert done.returncode == 0, done.stderr
    return done, out


def test_it_writes_json_and_a_page_and_says_where(finished):
    done, out = finished
    for name in ("export_report.json", "export_report.html"):
        assert (out / name).is_file()
        assert f"{out / name}" in done.stdout
    assert {path.name for path in out.iterdir()} == {"export_report.json", "export_report.html"}


def test_float_forms_find_what_keras_finds(finished):
    _, out = finished
    rows = {
        row["form"]: row for row in json.loads((out / "export_report.json").read_text())["rows"]
    }
    assert rows.keys() == {"keras", *form_comparison.FORMS}
    for form in ("saved_model", "tflite float32"):
        assert rows[form]["parity"]["matched"] == 1.0
        assert rows[form]["parity"]["box_max"] < 0.5
        assert abs(rows[form]["ap50"] - rows["keras"]["ap50"]) < 0.002
    assert rows["tflite float32"]["milliseconds"].keys() == {"1", "2"}
    assert rows["tflite int8"]["megabytes"] < 0.4 * rows["tflite float32"]["megabytes"]
    assert rows["tflite int8"]["worst_layers"]


def test_the_table_names_every_form_and_few_calibration_images(finished):
    done, _ = finished
    lines = done.stdout.splitlines()
    for form in ("keras", *form_comparison.FORMS):
        assert any(line.startswith(form + " ") for line in lines), form
    assert "warning: only 4 calibration images; 100 or more are better." in lines


def test_placements_stand_below_the_table_and_in_json(finished):
    done, out = finished
    rows = json.loads((out / "export_report.json").read_text())["rows"]
    delegates = [placed["delegate"] for placed in rows[-1]["placements"]]
    assert delegates == ["XNNPACK", "GPU", "Qualcomm NPU", "MediaTek NPU", "Edge TPU"]
    assert "tflite int8: Edge TPU takes " in done.stdout
    assert "tflite float32: GPU is interrupted by NON_MAX_SUPPRESSION_V4 " in done.stdout


def test_images_that_are_calibrated_and_measured_with_are_told(shapes_run, tmp_path):
    done = run_report(
        shapes_run,
        f"--data={DATA}",
        f"--calibration_data={DATA}",
        "--forms=tflite int8",
        "--threads=1",
        "--max_drop=1",
        f"--out={tmp_path}",
    )
    assert done.returncode == 0, done.stderr
    assert f"warning: 4 of the 4 images of {DATA} are measured on as well: int8" in done.stdout


def test_targets_are_compared_in_the_place_of_forms(shapes_run, tmp_path):
    done = run_report(
        shapes_run,
        f"--data={DATA}",
        "--targets=gpu",
        f"--out={tmp_path}",
        "--max_drop=1",
        "--threads=1",
    )
    assert done.returncode == 0, done.stderr
    keras, gpu = json.loads((tmp_path / "export_report.json").read_text())["rows"]
    assert (keras["form"], gpu["form"]) == ("keras", "gpu")
    assert gpu["parity"]["matched"] > 0.9
    assert abs(gpu["ap50"] - keras["ap50"]) < 0.01
    assert "gpu     float16, none  " in done.stdout


def test_the_exit_code_tells_of_a_loss_over_the_limit(shapes_run, tmp_path):
    done = run_report(
        shapes_run,
        f"--data={DATA}",
        "--forms=tflite float16",
        # More than the limit is lost if nothing is.
        "--max_drop=-2",
        f"--out={tmp_path}",
        "--images=2",
        "--iou_threshold=0.6",
    )
    assert done.returncode == 1, done.stderr
    assert "error: tflite float16 loses" in done.stderr
    about = json.loads((tmp_path / "export_report.json").read_text())
    assert (about["images"], about["first_images"]) == (2, 2)
    followed = about["suppression"]
    assert (followed["iou_threshold"], followed["score_threshold"]) == (0.6, 0.01)


def test_json_and_page_say_what_they_are_about(finished):
    done, out = finished
    about = json.loads((out / "export_report.json").read_text())
    source = data.load_source(DATA)
    objects = sum(len(one.labels) for one in source.ground_truth())
    assert (about["images"], about["objects"], about["first_images"]) == (4, objects, None)
    assert about["calibration_data"] == "shapes#train,count=4"
    line = f"Measured on 4 images with {objects} objects, difficult and crowd ones aside."
    assert line in done.stdout.splitlines()
    assert f"<p>{line}</p>" in (out / "export_report.html").read_text()


def test_objects_of_other_classes_are_no_report(shapes_run, tmp_path):
    spec = f"csv:{black_images(tmp_path)}"
    out = tmp_path / "out"
    done = run_report(shapes_run, f"--data={spec}", "--forms=saved_model", f"--out={out}")
    assert_one_sentence(done, f"No object of '{spec}' is of a class that the detector knows")
    assert not list(out.iterdir())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "The form 'tflite int8' needs --calibration_data=FORMAT:PLACE#SPLIT"),
        (["--targets=gpu,npu"], "The target 'npu' needs --calibration_data=FORMAT:PLACE#SPLIT"),
        (["--targets=gpus"], "There is no target 'gpus'. Did you mean 'gpu'"),
        (["--targets=gpu", "--forms=saved_model"], "Give --targets or --forms, not both."),
        (["--forms=tflite float23"], "no form 'tflite float23'. Did you mean 'tflite float"),
        (["--forms=saved_model", "--out=TMP/file/out"], "file' is a file, not a folder"),
        (["--forms=saved_model", "--threads=many"], "--threads must be numbers from 1"),
        (["--forms=saved_model", "--images=-1"], "flag --images=-1"),
        (
            ["--forms=saved_model,tflite float16", "--calibration_data=shapes#train,count=4"],
            "--calibration_data is for int8, but none of saved_model, tflite float16 is",
        ),
        (["--targets=gpu", "--calibration_images=9"], "--calibration_images is for int8, but none"),
        (["--forms=saved_model", "--score_threshold=2"], "score_threshold must be in 0..1, got 2"),
    ],
)
def test_faults_are_one_sentence_and_leave_no_file(shapes_run, tmp_path, flags, message):
    (tmp_path / "file").touch()
    flags = [flag.replace("TMP", str(tmp_path)) for flag in flags]
    done = run_report(shapes_run, f"--data={DATA}", f"--out={tmp_path}", *flags)
    assert_one_sentence(done, message)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
