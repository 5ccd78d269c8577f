"""Exports to full disks and to those that can only be read: one sentence, and all is as it was."""

import subprocess

import pytest

from ssd_keras.deploy.saved_model import MANIFEST
from ssd_keras.folders import check_folder, replace_folder
from tests.export.programs import assert_one_sentence, run_program

pytestmark = pytest.mark.slow

PROGRAMS = {
    "export.tflite": ["--out=PLACE/out.tflite"],
    "export.saved_model": ["--out=PLACE/out"],
    "export.report": ["--out=PLACE", "--data=shapes#val,count=1", "--forms=tflite float32"],
}
WRITTEN = {
    "export.tflite": "out.tflite",
    "export.saved_model": "out",
    "export.report": "export_report.json",
}


def mount(*arguments) -> bool:
    return not subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode


@pytest.fixture
def disk(tmp_path):
    """A disk of 400 kB with what earlier exports have left on it."""
    place = tmp_path / "disk"
    place.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=400k", "tmpfs", place):
        pytest.skip("may not mount a disk")
    for name in ("out.tflite", "export_report.json", "export_report.html"):
        (place / name).write_text("earlier")
    replace_folder(place / "out", lambda new: (new / "saved_model.pb").touch(), MANIFEST)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.fixture(scope="module")
def shapes_run(tmp_path_factory):
    """A detector that knows the classes of the drawn shapes."""
    from ssd_keras import data
    from tests import tiny
    from tests.deploy.conftest import enliven

    classes = data.load_source("shapes#val,count=1").classes
    folder = tmp_path_factory.mktemp("runs") / "shapes"
    folder.mkdir()
    # Of so many channels that its weights are larger than the disk.
    enliven(tiny.detector(classes, channels=192)).save(folder / "best.keras")
    return folder


def export(program: str, run_dir, place, **environment) -> subprocess.CompletedProcess:
    flags = [flag.replace("PLACE", str(place)) for flag in PROGRAMS[program]]
    return run_program(program, f"--run_dir={run_dir}", *flags, **environment)


def contents(place) -> dict:
    return {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_full_disk(shapes_run, disk, program):
    if program == "export.report":
        # Two small files: fill up the disk.
        with pytest.raises(OSError, match="No space"), (disk / "filler").open("wb") as file:
            file.write(bytes(1 << 20))
    before = contents(disk)
    done = export(program, shapes_run, disk)
    assert_one_sentence(
        done,
        f"{WRITTEN[program]}' cannot be written: No space left on device. The disk at '{disk}'",
    )
    assert "MB left: make room" in done.stderr
    assert contents(disk) == before
    check_folder(disk / "out", MANIFEST)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_disk_that_can_only_be_read(shapes_run, disk, program):
    before = contents(disk)
    assert mount("-o", "remount,ro", disk)
    done = export(program, shapes_run, disk)
    assert_one_sentence(
        done,
        f"{WRITTEN[program]}' cannot be written: Read-only file system. The disk at '{disk}' can "
        "only be read. Give another place.",
    )
    # Found out before anything is computed.
    assert "onvert" not in done.stdout
    assert contents(disk) == before


def test_a_full_disk_for_temporary_files(shapes_run, disk, tmp_path):
    done = export("export.tflite", shapes_run, tmp_path / "new", TMPDIR=str(disk))
    assert_one_sentence(done, f"No space left on device. The disk at '{disk}' has")
    assert "Set TMPDIR to a folder on a disk with room" in done.stderr
    assert not list(tmp_path.glob("new/*"))
    # AutoGraph removes its files when an interpreter ends, which a forked program has not.
    left = (path.name for path in disk.iterdir())
    assert sorted(name for name in left if not name.startswith("__autograph")) == [
        "export_report.html",
        "export_report.json",
        "out",
        "out.tflite",
    ]
