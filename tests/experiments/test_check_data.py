"""The report of check_data: what it prints, what it saves, how it ends."""

import shlex
import signal
import time

import pytest

from tests.comparing import assert_drawn
from tests.data import lossy, samples
from tests.data.samples import voc_image, voc_object
from tests.experiments.programs import end, start


def check(*flags):
    return end(start("check_data", *flags))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Three images, one of them truncated, one with a wrong size; and what is said of them."""
    root = tmp_path_factory.mktemp("check")
    voc_image(root / "voc", "good", voc_object() + voc_object("dog", (1, 1, 4, 4)))
    voc_image(root / "voc", "wrong", voc_object(), size=(10, 48))
    voc_image(root / "voc", "cut", voc_object())
    cut = root / "voc/JPEGImages/cut.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    before = {p: p.read_bytes() for p in (root / "voc").rglob("*") if p.is_file()}
    done = check(f"--data={root}/voc", "--model=SSD_MobileNet_300", f"--out={root}/out")
    after = {p: p.read_bytes() for p in (root / "voc").rglob("*") if p.is_file()}
    return done, root, before == after


def test_refused_data_end_with_1(report):
    done, _, _ = report
    assert done.code == 1, done.complaint
    assert "1 problems must be mended" in done.printed


@pytest.mark.parametrize(
    "text",
    [
        "2 images (median 64x48), 3 objects, 2 classes",
        "size_mismatch: 1 refused",
        "wrong.xml: states the size 10x48, but the image is 64x48",
        "undecodable_image: 1 left out",
        "cut.jpg",
        "Default boxes of SSD_MobileNet_300 (1917): ",
        "dog                  1 objects,      1 (100.0%) below",
    ],
)
def test_the_report_says(report, text):
    assert text in report[0].printed


@pytest.mark.parametrize("name", ["classes", "box_sizes", "images", "augmented", "coverage"])
def test_pictures_are_saved(report, name):
    assert_drawn(report[1] / f"out/{name}.png", smallest=40)


def test_the_users_files_are_untouched(report):
    assert report[2]


def test_a_model_of_the_users_backbone_is_checked_and_named_in_what_comes_next(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import keras\n"
        "def mine(image_size):\n"
        "    images = keras.Input((*image_size, 3))\n"
        "    return keras.Model(images, {'fine': keras.layers.Conv2D(4, 16, strides=16)(images)})\n"
    )
    flags = ["--model=SSD_Mine_96", f"--backbone={tmp_path}/mine.py:mine", "--smallest_box=0.05"]
    done = check("--data=shapes#train,count=2", *flags)
    assert "Default boxes of SSD_Mine_96" in done.printed
    assert f"python -m experiments.train {' '.join(flags)} " in done.printed


@pytest.mark.parametrize("backbone", ["EfficientNetB0", "MobileNet"])
def test_models_with_and_without_widths_are_checked(backbone):
    done = check("--data=shapes#train,count=2", f"--model=SSD_{backbone}_96", "--nodecode")
    assert done.code == 0, done.complaint
    assert f"Default boxes of SSD_{backbone}_96" in done.printed


def test_crowded_images_are_counted_and_the_next_command_takes_all(tmp_path):
    rows = range(1, 43, 4)
    objects = "".join(voc_object(box=(x, y, x + 3, y + 3)) for x in range(1, 60, 4) for y in rows)
    voc_image(tmp_path, "crowd", objects)
    done = check(f"--data=voc:{tmp_path}")
    assert "65 objects of 1 image are beyond max_boxes=100" in done.printed
    assert "--max_boxes=165" in done.printed


@pytest.mark.parametrize("count", [1, 3])
def test_images_of_background_alone_are_counted_once(tmp_path, count):
    for number in range(4):
        voc_image(tmp_path, f"{number}", voc_object() if number >= count else "", seed=number)
    done = check(f"--data=voc:{tmp_path}", "--nodecode")
    assert done.code == 0, done.complaint
    said = f"{count} of 4 images have no object and count as background"
    assert done.printed.count(said) == 1


def test_unusable_data_end_with_1_and_their_problems(tmp_path):
    voc_image(tmp_path, "a", voc_object())
    (tmp_path / "JPEGImages/a.jpg").unlink()
    done = check(f"--data={tmp_path}")
    assert done.code == 1
    assert "a.xml: its image 'a.jpg' does not exist" in done.printed
    assert "Traceback" not in done.complaint


def test_images_without_any_object_say_what_to_do(tmp_path):
    voc_image(tmp_path, "a")
    done = check(f"--data=voc:{tmp_path}")
    assert done.code == 1
    assert "Annotate some objects, or give the names" in done.printed
    assert "No problem found" not in done.printed


@pytest.fixture(scope="module")
def lossy_checks(tmp_path_factory):
    """What is said of a set of each format of which nine of ten objects are lost."""
    running = {
        name: start("check_data", f"--data={write(tmp_path_factory.mktemp(name))}")
        for name, write in lossy.FORMATS.items()
    }
    return {name: end(program) for name, program in running.items()}


@pytest.mark.parametrize("name", lossy.FORMATS)
def test_a_set_that_lost_most_objects_is_not_fit(lossy_checks, name):
    done = lossy_checks[name]
    assert done.code == 1, done.complaint
    assert done.printed.splitlines()[0].startswith(
        f"Not fit to train on: 9 of 10 objects are lost, more than half (9 {lossy.KINDS[name]})."
    )
    assert "Fit to train" not in done.printed


@pytest.mark.parametrize("place", ["with blanks/and 'quotes'", "plain"])
def test_the_next_command_can_be_pasted(tmp_path, place):
    voc_image(tmp_path / place, "a", voc_object())
    done = check(f"--data=voc:{tmp_path}/{place}")
    assert done.code == 0, done.complaint
    words = shlex.split(done.printed.splitlines()[-1])
    assert f"--train_data=voc:{tmp_path}/{place}" in words
    assert words[:3] == ["python", "-m", "experiments.train"]


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("SSD_MobileNet_96x192", True),
        ("SSD_MobileNetV4ConvSmall_96x192", True),
        ("SSD_InceptionV2_96x192", False),
    ],
)
def test_weights_to_start_from_are_named_where_there_are_any(model, told):
    done = check("--data=shapes#train,count=4", f"--model={model}", "--nodecode")
    assert ("--backbone_weights=imagenet" in done.printed) is told
    assert "box side at 96x192 (height x width):" in done.printed


def test_records_of_little_are_packed_knowingly(tmp_path):
    (tmp_path / "csv").mkdir()
    spec = lossy.csv(tmp_path / "csv")
    flags = ("make_records", f"--data={spec}", f"--out={tmp_path}/a b/x")
    refused, packed = start(*flags), start(*flags, "--accept_losses")
    done = end(refused)
    assert done.code == 2
    assert "9 of 10 objects are lost" in done.complaint
    assert "--accept_losses" in done.complaint
    done = end(packed)
    assert done.code == 0, done.complaint
    assert "9 of 10 objects are lost" in done.printed
    assert f"--data=tfrecord:{tmp_path}/a b/x-*" in shlex.split(done.printed.splitlines()[-1])


@pytest.mark.parametrize(
    ("sign", "code"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
def test_records_that_are_interrupted_leave_nothing(tmp_path, sign, code):
    flags = ("--data=shapes#train,count=1500", f"--out={tmp_path}/out/x")
    process = start("make_records", *flags)
    while not list((tmp_path / "out").glob(".*.tfrecord")) and process.runs():
        time.sleep(0.02)
    process.send_signal(sign)
    assert end(process).code == code
    assert not list((tmp_path / "out").iterdir())


def test_records_are_packed_and_checked(tmp_path):
    samples.coco(tmp_path / "coco")
    flags = (f"--data=coco:{tmp_path}/coco", f"--out={tmp_path}/packed/pets", "--shards=2")
    done = end(start("make_records", *flags))
    assert done.code == 0, done.complaint
    assert "2 of 2 images, 2 classes" in done.printed
    assert len(list((tmp_path / "packed").glob("*.tfrecord"))) == 2


def test_records_of_some_classes_name_each_other_class_once(tmp_path):
    for name in "abc":
        others = "".join(voc_object(kind, (1, 1, 9, 9)) for kind in ("dog", "cow", "dog"))
        voc_image(tmp_path / "voc", name, voc_object("cat") + others)
    flags = (f"--data=voc:{tmp_path}/voc", f"--out={tmp_path}/packed/cats", "--classes=cat")
    done = end(start("make_records", *flags))
    assert done.code == 0, done.complaint
    assert "unknown_class: 9 left out" in done.printed
    for name, times in (("dog", 6), ("cow", 3)):
        (line,) = [line for line in done.printed.splitlines() if f"'{name}'" in line]
        assert line.endswith(f"({times} times)")
    assert "3 of 3 images, 1 class" in done.printed
