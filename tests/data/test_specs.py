"""What a data SPEC may be, and what is said of one that is wrong."""

import pytest

from ssd_keras import data
from ssd_keras.data import specs
from ssd_keras.errors import UserError
from tests.data import samples


@pytest.fixture
def folders(tmp_path):
    samples.voc_image(tmp_path / "voc", "a", samples.voc_object())
    samples.coco(tmp_path / "coco")
    samples.picture(tmp_path / "yolo/images/a.jpg")
    (tmp_path / "yolo/labels").mkdir()
    (tmp_path / "yolo/labels/a.txt").write_text("0 0.5 0.5 0.2 0.3\n")
    samples.picture(tmp_path / "csv/a.jpg")
    (tmp_path / "csv/boxes.csv").write_text(
        "image,xmin,ymin,xmax,ymax,class\na.jpg,1,2,30,40,cat\n"
    )
    return tmp_path


@pytest.mark.parametrize("form", ["voc", "coco", "yolo", "csv"])
def test_a_bare_folder_is_recognised(folders, form):
    place = folders / form
    assert specs.recognise(str(place)) == form
    assert len(data.load_source(str(place)).ground_truth()[0]) == 1


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("", ["empty"]),
        ("shape#train", ["Did you mean 'shapes'"]),
        ("shapes#train,cuont=3", ["cuont", "Did you mean 'count'"]),
        ("shapes#train,count=none", ["whole number"]),
        ("vok:x#train", ["vok", "Did you mean 'voc'"]),
        ("voc:nowhere#train", ["nowhere"]),
        ("voc:", ["names no place"]),
        ("voc:{}/voc#trian", ["trian", "ImageSets"]),
        ("coco:{}/coko", ["coko", "Did you mean 'coco'"]),
        ("coco:{}/coco/instance.json", ["Did you mean 'instances.json'"]),
        ("coco:{}/coco/instances.json,image=x", ["images=DIR"]),
        ("coco:{}/coco/instances.json#val", ["is one file", "leave out '#val'"]),
        ("yolo:{}/yolo#val", ["val"]),
        ("csv:{}/csv/box.csv", ["Did you mean 'boxes.csv'"]),
        ("tfrecord:{}/none-*", ["No file matches"]),
        ("tfrecord:{}/none-*#val", ["leave out '#val'"]),
        ("{}/nothing", ["no file or folder"]),
        ("tfds:no/such/set", ["tfds:no/such/set"]),
    ],
)
def test_a_wrong_spec_names_the_fault(folders, spec, parts):
    with pytest.raises(UserError) as caught:
        data.load_source(spec.format(folders))
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_folder_of_nothing_is_refused(tmp_path):
    (tmp_path / "notes.md").write_text("hello")
    with pytest.raises(UserError, match="no annotated images"):
        data.load_source(str(tmp_path))


def test_classes_must_not_repeat(folders):
    with pytest.raises(UserError, match="twice"):
        data.load_source(f"coco:{folders}/coco", ["cat", "cat"])
