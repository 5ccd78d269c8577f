"""What a data SPEC may be, and what is said of one that is wrong."""

import pytest

from ssd_keras import data
from ssd_keras.data import specs
from ssd_keras.errors import UserError
from tests.data import samples, trees


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
        ("shapes#train,size=100000000", ["4,096 at most"]),
        ("shapes#train,count=99999999999", ["10,000,000 at most"]),
        ("vok:x#train", ["vok", "Did you mean 'voc'"]),
        ("voc:nowhere#train", ["nowhere"]),
        ("voc:", ["names no place"]),
        ("voc:{}/voc#trian", ["trian", "ImageSets"]),
        ("coco:{}/coko", ["coko", "Did you mean 'coco'"]),
        ("coco:{}/coco/instance.json", ["Did you mean 'instances.json'"]),
        ("coco:{}/coco/instances.json,image=x", ["images=DIR"]),
        ("coco:{}/coco/instances.json#val", ["is one file", "Leave out '#val'"]),
        ("coco:{}/coco#val,images=x", ["write 'coco:", "/coco,images=x#val'"]),
        ("yolo:{}/yolo#val", ["val"]),
        ("csv:{}/csv/box.csv", ["Did you mean 'boxes.csv'"]),
        ("tfrecord:{}/none-*", ["No file matches"]),
        ("tfrecord:{}/none-*#val", ["Leave out '#val'"]),
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


SIGNS = ("set#1", "a,b", "a+b", "a?b", "c=d,units=x", "x?only=y", "a:b", "~x", "with blank", "100%")


@pytest.mark.parametrize("name", SIGNS)
def test_names_of_places_may_hold_the_signs_of_a_spec(tmp_path, name):
    place = tmp_path / name
    files = ("JPEGImages/a.jpg", "Annotations/a.xml", "ImageSets/Main/train.txt")
    trees.write(place, *files, train_txt="a\n")
    trees.write(place / "coco", "images/b.jpg", "all.json", all_json=trees.coco(["b.jpg"]))
    json = f"{place}/coco/all.json"
    for spec, ids in {
        f"voc:{place}": ["a"],
        f"{place}": ["a"],
        f"voc:{place}#train": ["a"],
        f"{place}#train": ["a"],
        f"voc:{place}#train?only=^a": ["a"],
        f"{place}?without=b": ["a"],
        f"coco:{json},images={place}/coco/images": ["0"],
        f"{json},images={place}/coco/images,units=pixels?only=b": ["0"],
        f"voc:{place}+coco:{place}/coco": ["a", "0"],
        f"{place}#train+{json}": ["a", "0"],
        f"{json},images={place}/coco/images+{place}#train": ["0", "a"],
    }.items():
        assert trees.objects(data.load_source(spec)) == {name: ["cat"] for name in ids}, spec


def test_a_sign_that_may_mean_two_things_is_asked_for(tmp_path):
    files = ("JPEGImages/a.jpg", "Annotations/a.xml", "ImageSets/Main/1.txt")
    trees.write(tmp_path / "set", *files, **{"1_txt": "a\n"})
    trees.write(tmp_path / "set#1", "JPEGImages/z.jpg", "Annotations/z.xml")
    with pytest.raises(UserError) as caught:
        data.load_source(f"voc:{tmp_path}/set#1")
    for written, image in ((f"voc:{tmp_path}/set#1/", "z"), (f"voc:{tmp_path}/set/#1", "a")):
        assert f"'{written}'" in str(caught.value)
        assert list(trees.objects(data.load_source(written))) == [image]


def test_a_place_may_begin_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    trees.write(tmp_path / "photos", "images/a.jpg", "all.json", all_json=trees.coco(["a.jpg"]))
    for spec in (
        "coco:~/photos",
        "~/photos",
        "coco:~/photos/all.json,images=~/photos/images",
        "coco:~/photos?only=a",
        "~/photos+~/photos/all.json",
    ):
        assert next(iter(trees.objects(data.load_source(spec)))) == "0"
    with pytest.raises(UserError, match=r"no folder '.*/nothing'"):
        data.load_source("voc:~/nothing")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (",image=x", "Did you mean 'images=DIR'"),
        (",images=/nowhere", "no folder '/nowhere'"),
        (",units=mm", "no unit 'mm'"),
    ],
)
def test_wrong_options_are_named(folders, option, said):
    for spec in ("coco:{}/coco", "coco:{}/coco/instances.json", "{}/coco"):
        with pytest.raises(UserError, match=said):
            data.load_source(spec.format(folders) + option)


def test_ids_of_joined_sets_differ(tmp_path):
    trees.write(tmp_path / "one", "JPEGImages/a.jpg", "Annotations/a.xml")
    trees.write(tmp_path / "two", "JPEGImages/a.jpg", "Annotations/a.xml")
    source = data.load_source(f"voc:{tmp_path}/one+voc:{tmp_path}/two+voc:{tmp_path}/one")
    assert list(trees.objects(source)) == ["a", "a'", "a''"]
    (problem,) = source.problems
    assert (problem.kind, problem.action) == ("image_in_two_sets", "noted")
    assert problem.message.startswith("1 image files are in it more than once")


def test_classes_of_joined_sets_that_look_alike_are_noted(tmp_path):
    for name in ("Cat", "cat"):
        trees.write(tmp_path / name, f"{name}.jpg", f"{name}.xml")
        (tmp_path / name / f"{name}.xml").write_text(trees.xml(f"{name}.jpg", name))
    source = data.load_source(f"voc:{tmp_path}/Cat+voc:{tmp_path}/cat")
    assert source.classes == ("Cat", "cat")
    assert ["'Cat' and 'cat'" in p.message for p in source.problems] == [True]
