"""The folders of annotation tools are read as they come out of them."""

import re

import pytest

from ssd_keras import data
from ssd_keras.data import shared_images, specs, split_folders
from ssd_keras.errors import UserError
from tests.data import trees

CAT, ZERO = ["cat"], ["0"]
YAML = "train: ../train/images\nval: ../valid/images\nnames: [cat]\n"

# Files, contents, the format, and for each split the objects of its images.
LAYOUTS = {
    "voc": (
        "JPEGImages/a.jpg JPEGImages/b.jpg Annotations/a.xml Annotations/b.xml "
        "ImageSets/Main/train.txt ImageSets/Main/val.txt",
        {"train_txt": "a\n", "val_txt": "b\n"},
        "voc",
        {"": {"a": CAT, "b": CAT}, "#train": {"a": CAT}, "#val": {"b": CAT}, "#valid": {"b": CAT}},
    ),
    "VOCdevkit in the folder of an archive": (
        "archive/VOCdevkit/VOC2012/JPEGImages/a.jpg archive/VOCdevkit/VOC2012/Annotations/a.xml "
        "archive/README.md",
        {},
        "voc",
        {"": {"a": CAT}},
    ),
    "Label Studio VOC": ("images/a.jpg Annotations/a.xml", {}, "voc", {"": {"a": CAT}}),
    "Kaggle": ("images/a.png annotations/a.xml", {}, "voc", {"": {"a": CAT}}),
    "Kaggle, kangaroos": ("images/a.jpg annots/a.xml", {}, "voc", {"": {"a": CAT}}),
    "Kaggle, nested": (
        "set/set/images/a.jpg set/set/annotations/a.xml",
        {},
        "voc",
        {"": {"a": CAT}},
    ),
    "side by side": ("a.jpg a.xml", {}, "voc", {"": {"a": CAT}}),
    "tutorials of TensorFlow": (
        "images/train/a.jpg images/train/a.xml images/test/b.jpg images/test/b.xml",
        {},
        "voc",
        {"": {"a": CAT, "b": CAT}, "#train": {"a": CAT}, "#test": {"b": CAT}},
    ),
    "Roboflow VOC": (
        "train/a.jpg train/a.xml valid/a.jpg valid/a.xml test/c.jpg test/c.xml README.dataset.txt",
        {},
        "voc",
        {
            "": {"train/a": CAT, "valid/a": CAT, "c": CAT},
            "#train": {"a": CAT},
            "#val": {"a": CAT},
            "#test": {"c": CAT},
        },
    ),
    "folders of splits within": (
        "images/train/a.jpg images/val/a.jpg annotations/train/a.xml annotations/val/a.xml",
        {},
        "voc",
        {"": {"train/a": CAT, "val/a": CAT}, "#train": {"a": CAT}, "#validation": {"a": CAT}},
    ),
    "Oxford's pets": (
        "images/Abyssinian_1.jpg images/beagle_2.jpg images/beagle_3.jpg "
        "annotations/xmls/Abyssinian_1.xml annotations/xmls/beagle_2.xml "
        "annotations/trimaps/Abyssinian_1.png annotations/trimaps/beagle_2.png "
        "annotations/trainval.txt annotations/test.txt annotations/README",
        {"trainval_txt": "Abyssinian_1 1 1 1\nbeagle_2 5 2 1\n", "test_txt": "beagle_2 5 2 1\n"},
        "voc",
        {
            "": {"Abyssinian_1": CAT, "beagle_2": CAT},
            "#trainval": {"Abyssinian_1": CAT, "beagle_2": CAT},
            "#test": {"beagle_2": CAT},
        },
    ),
    "PaddleDetection": (
        "images/a.jpg annotations/a.xml train.txt",
        {"train_txt": "./images/a.jpg ./annotations/a.xml\n"},
        "voc",
        {"#train": {"a": CAT}},
    ),
    "coco": ("images/a.jpg instances.json", {}, "coco", {"": {"0": CAT}}),
    "COCO as it is shipped": (
        "train2017/a.jpg val2017/a.jpg annotations/instances_train2017.json "
        "annotations/instances_val2017.json annotations/captions_val2017.json "
        "annotations/person_keypoints_val2017.json",
        {"captions_val2017_json": trees.coco([]), "person_keypoints_val2017_json": trees.coco([])},
        "coco",
        {"#train2017": {"0": CAT}, "#val2017": {"0": CAT}, "#val": {"0": CAT}},
    ),
    "Detectron": (
        "train/a.jpg val/a.jpg annotations/train.json annotations/val.json",
        {},
        "coco",
        {"#train": {"0": CAT}, "#val": {"0": CAT}},
    ),
    "MMDetection": (
        "images/train/a.jpg images/val/a.jpg annotations/instances_train.json "
        "annotations/instances_val.json",
        {},
        "coco",
        {"#train": {"0": CAT}, "#valid": {"0": CAT}},
    ),
    "CVAT COCO": (
        "images/default/a.jpg annotations/instances_default.json",
        {},
        "coco",
        {"": {"0": CAT}, "#default": {"0": CAT}},
    ),
    "CVAT COCO of two subsets": (
        "images/Train/a.jpg images/Validation/a.jpg annotations/instances_Train.json "
        "annotations/instances_Validation.json",
        {},
        "coco",
        {"#train": {"0": CAT}, "#val": {"0": CAT}},
    ),
    "Label Studio COCO": ("images/a.jpg result.json", {}, "coco", {"": {"0": CAT}}),
    "Roboflow COCO": (
        "train/a.jpg train/_annotations.coco.json valid/a.jpg valid/_annotations.coco.json "
        "README.roboflow.txt",
        {},
        "coco",
        {"#train": {"0": CAT}, "#val": {"0": CAT}, "#valid": {"0": CAT}},
    ),
    "Ultralytics": (
        "images/train/a.jpg images/val/b.jpg labels/train/a.txt labels/val/b.txt data.yaml",
        {"data_yaml": "path: ../datasets/x\ntrain: images/train\nval: images/val\nnames: [cat]\n"},
        "yolo",
        {"": {"a": CAT}, "#train": {"a": CAT}, "#val": {"b": CAT}, "#valid": {"b": CAT}},
    ),
    "Roboflow YOLO": (
        "train/images/a.jpg train/labels/a.txt valid/images/a.jpg valid/labels/a.txt data.yaml",
        {"data_yaml": YAML},
        "yolo",
        {"": {"a": CAT}, "#val": {"a": CAT}},
    ),
    "Roboflow YOLO without data.yaml": (
        "train/images/a.jpg train/labels/a.txt valid/images/a.jpg valid/labels/a.txt",
        {},
        "yolo",
        {"#train": {"a": ZERO}, "#val": {"a": ZERO}},
    ),
    "Roboflow Darknet": (
        "train/a.jpg train/a.txt train/_darknet.labels valid/b.jpg valid/b.txt "
        "valid/_darknet.labels",
        {"_darknet_labels": "cat\n"},
        "yolo",
        {"#train": {"a": CAT}, "#valid": {"b": CAT}},
    ),
    "yaml of another name": (
        "images/train/a.jpg labels/train/a.txt coco128.yaml",
        {"coco128_yaml": "train: images/train\nnames:\n  0: cat\n"},
        "yolo",
        {"": {"a": CAT}},
    ),
    "Label Studio YOLO": (
        "images/a.jpg labels/a.txt classes.txt notes.json",
        {
            "classes_txt": "cat\n",
            "notes_json": '{"categories": [{"id": 0, "name": "cat"}], "info": {"year": 2023}}',
        },
        "yolo",
        {"": {"a": CAT}},
    ),
    "Label Studio YOLO with notes only": (
        "images/a.jpg labels/a.txt notes.json",
        {"notes_json": '{"categories": [{"id": 0, "name": "cat"}], "info": {"year": 2023}}'},
        "yolo",
        {"": {"a": CAT}},
    ),
    "CVAT YOLO 1.1": (
        "obj_train_data/a.jpg obj_train_data/a.txt obj_valid_data/b.jpg obj_valid_data/b.txt "
        "obj.data obj.names train.txt valid.txt",
        {
            "obj_data": (
                "classes = 1\ntrain = data/train.txt\nvalid = data/valid.txt\n"
                "names = data/obj.names\nbackup = backup/\n"
            ),
            "obj_names": "cat\n",
            "train_txt": "data/obj_train_data/a.jpg\n",
            "valid_txt": "data/obj_valid_data/b.jpg\n",
        },
        "yolo",
        {"": {"a": CAT}, "#train": {"a": CAT}, "#val": {"b": CAT}},
    ),
    "labelImg": (
        "images/train/a.jpg images/val/b.jpg labels/train/a.txt labels/train/classes.txt "
        "labels/val/b.txt labels/val/classes.txt",
        {"classes_txt": "cat\ndog\n"},
        "yolo",
        {"": {"a": CAT, "b": CAT}, "#train": {"a": CAT}, "#val": {"b": CAT}},
    ),
    "labelImg, side by side": (
        "a.jpg a.txt classes.txt",
        {"classes_txt": "cat\n"},
        "yolo",
        {"": {"a": CAT}},
    ),
    "a list for each split": (
        "images/a.jpg images/b.jpg labels/a.txt labels/b.txt classes.txt train.txt test.txt",
        {"train_txt": "./images/a.jpg\n", "test_txt": "images\\b.jpg\n", "classes_txt": "cat\n"},
        "yolo",
        {"": {"a": CAT, "b": CAT}, "#train": {"a": CAT}, "#test": {"b": CAT}},
    ),
    "Roboflow CSV": (
        "train/a.jpg train/_annotations.csv valid/a.jpg valid/_annotations.csv",
        {
            "_annotations_csv": (
                "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,64,48,cat,4,5,30,40\n"
            )
        },
        "csv",
        {"#train": {"a": CAT}, "#val": {"a": CAT}},
    ),
}
CASES = [
    (name, split, bare) for name in LAYOUTS for split in LAYOUTS[name][3] for bare in (False, True)
]


def make(root, name):
    files, texts, form, _ = LAYOUTS[name]
    files = files.split()
    found = {f.rpartition("/")[2].replace(".", "_").replace("-", "_"): f for f in files}
    for key, file in found.items():
        if file.endswith(".json") and key not in texts:
            texts = texts | {key: trees.coco(["a.jpg"])}
    return trees.write(root, *files, **texts), form


@pytest.mark.parametrize(("name", "split", "bare"), CASES)
def test_a_layout_is_read(tmp_path, name, split, bare):
    root, form = make(tmp_path / "set", name)
    source = data.load_source(f"{root}{split}" if bare else f"{form}:{root}{split}")
    assert trees.objects(source) == LAYOUTS[name][3][split]
    assert all(problem.action == "noted" for problem in source.problems)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_recognised_as_one_format(tmp_path, name):
    root, form = make(tmp_path / "set", name)
    (split, *_) = LAYOUTS[name][3]
    assert specs.recognise(str(root), split.removeprefix("#") or None) == form


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_split_that_is_not_there_names_those_that_are(tmp_path, name):
    root, form = make(tmp_path / "set", name)
    splits = [split.removeprefix("#") for split in LAYOUTS[name][3] if split]
    with pytest.raises(UserError) as caught:
        data.load_source(f"{form}:{root}#trian")
    message = str(caught.value)
    assert "'trian'" in message or "#trian" in message
    assert "\n" not in message
    known = [split for split in splits if split in message.lower()]
    assert known or not splits or form == "csv"
    if "train" in splits and form != "csv":
        assert "did you mean 'train" in message.lower()


def test_what_is_read_without_a_split_is_said(tmp_path):
    root, _ = make(tmp_path, "tutorials of TensorFlow")
    problems = data.load_source(f"voc:{root}").problems
    assert [(p.kind, p.message, p.action) for p in problems] == [
        ("all_splits", "no split was named: test, train are read as one", "noted")
    ]


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("voc", "train, val"),
        ("Oxford's pets", "test, trainval"),
        ("a list for each split", "test, train"),
        ("labelImg", "train, val"),
    ],
)
def test_lists_of_splits_that_are_not_used_are_said(tmp_path, name, splits):
    root, form = make(tmp_path / "set", name)
    found = [p for p in data.load_source(f"{form}:{root}").problems if p.kind == "all_splits"]
    assert [p.message for p in found] == [f"no split was named: {splits} are read as one"]
    one = data.load_source(f"{form}:{root}#{splits.split(', ')[1]}")
    assert "all_splits" not in [problem.kind for problem in one.problems]


@pytest.mark.parametrize(
    "name", ["Kaggle", "Label Studio YOLO", "Label Studio COCO", "a file of COCO", "a file of CSV"]
)
def test_what_is_said_of_a_split_that_is_not_there_divides_the_set(tmp_path, name):
    if name == "a file of CSV":
        root = trees.write(tmp_path / "set", *(f"{i}.jpg" for i in range(9)), "boxes.csv")
        lines = [f"{i}.jpg,4,5,30,40,cat" for i in range(9)]
        (root / "boxes.csv").write_text("\n".join(["image,xmin,ymin,xmax,ymax,class", *lines]))
        spec = f"csv:{root}/boxes.csv"
    elif name.endswith("COCO"):
        files = [f"images/{i}.jpg" for i in range(9)]
        root = trees.write(tmp_path / "set", *files, "instances.json")
        (root / "instances.json").write_text(trees.coco([f"{i}.jpg" for i in range(9)]))
        spec = f"coco:{root}" + "/instances.json" * (name == "a file of COCO")
    else:
        root, form = make(tmp_path / "set", name)
        for number in range(9):
            end = {"voc": "annotations/{}.xml", "yolo": "labels/{}.txt"}[form]
            trees.write(root, f"images/{number}.jpg", end.format(number))
        spec = f"{form}:{root}"
    with pytest.raises(UserError) as caught:
        data.load_source(f"{spec}#train")
    said = re.findall(r"'([^']+\?(?:share|rest)=0\.8)'", str(caught.value))
    parts = [data.load_source(part) for part in said]
    assert len(parts) == 2
    assert sum(map(len, parts)) == len(data.load_source(spec))
    assert shared_images(*parts) == []


@pytest.mark.parametrize("name", ["Roboflow COCO", "COCO as it is shipped"])
def test_coco_without_a_split_names_them(tmp_path, name):
    root, _ = make(tmp_path, name)
    with pytest.raises(UserError, match=r"holds the splits train\w*, val\w*: name one, as in '.*#"):
        data.load_source(f"coco:{root}")


def test_two_folders_of_one_split_are_not_chosen_from(tmp_path):
    trees.write(tmp_path, "val/a.jpg", "val/a.xml", "valid/b.jpg", "valid/b.xml")
    assert trees.objects(data.load_source(f"voc:{tmp_path}#valid")) == {"b": CAT}
    with pytest.raises(UserError, match="may be val or valid"):
        data.load_source(f"voc:{tmp_path}#validation")


def test_a_split_is_never_filled_from_another(tmp_path):
    trees.write(tmp_path, "train/a.jpg", "train/b.jpg", "valid/a.jpg", "valid/labels/a.txt")
    annotations = tmp_path / "valid/_annotations.coco.json"
    annotations.write_text(trees.coco(["a.jpg", "b.jpg"]))
    source = data.load_source(f"coco:{tmp_path}#valid")
    assert trees.objects(source) == {"0": CAT}
    assert [(p.kind, p.lost) for p in source.problems] == [("missing_image", ("cat",))]


def test_several_formats_in_one_folder_are_said(tmp_path):
    root, _ = make(tmp_path, "coco")
    trees.write(root, "labels/a.txt")
    problem = data.load_source(str(root)).problems[-1]
    assert problem.kind == "several_formats"
    assert problem.message == "is read as 'yolo:'; it may be 'coco:', too: write which"
    assert not data.load_source(f"coco:{root}").problems


@pytest.mark.parametrize("files", [("a.json", "b.json"), ("c.txt",)])
def test_what_is_said_of_coco_files_can_be_typed(tmp_path, files):
    trees.write(tmp_path / "set", *files, "photos/a.jpg")
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(trees.coco(["a.jpg"]))
        if "a.json" in files:
            (tmp_path / "set" / name).write_text(trees.coco(["a.jpg"]))
    with pytest.raises(UserError, match=r"Name it: \w+:FILE\.json,images=DIR\.$") as caught:
        data.load_source(f"coco:{tmp_path}/set")
    written = str(caught.value).rpartition("Name it: ")[2].removesuffix(".")
    spec = written.replace("FILE", f"{tmp_path}/a").replace("DIR", f"{tmp_path}/set/photos")
    assert trees.objects(data.load_source(spec)) == {"0": CAT}


OTHERS = {
    "labelme": ('{"shapes": [], "imagePath": "a.jpg"}', "labelme files, one .json an image"),
    "VIA": ('{"_via_img_metadata": {}}', "a VIA project"),
    "CreateML": ('[{"image": "a.jpg", "annotations": []}]', "CreateML annotations"),
    "Label Studio": ('[{"id": 1, "data": {}, "annotations": []}]', "Label Studio's own JSON"),
    "Supervisely": ('{"objects": [], "size": {}}', "Supervisely annotations"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_tools_are_refused_by_name(tmp_path, name):
    content, said = OTHERS[name]
    trees.write(tmp_path, "a.jpg", "a.json", a_json=content)
    for spec in (f"coco:{tmp_path}", f"coco:{tmp_path}/a.json", str(tmp_path)):
        with pytest.raises(UserError, match=said):
            data.load_source(spec)


def test_a_bare_folder_names_the_splits_it_has(tmp_path):
    for split in ("train", "valid"):
        trees.write(tmp_path / split, "a.jpg").joinpath("_annotations.coco.json").write_text(
            trees.coco(["a.jpg"])
        )
    assert len(data.load_source(f"{tmp_path}#val")) == 1
    with pytest.raises(UserError, match=r"no split 'test'.*Known: train, valid"):
        data.load_source(f"{tmp_path}#test")


def test_people_are_read_where_there_are_no_other_boxes(tmp_path):
    trees.write(tmp_path, "images/default/a.jpg", "annotations/person_keypoints_default.json")
    path = tmp_path / "annotations/person_keypoints_default.json"
    path.write_text(trees.coco(["a.jpg"]))
    for spec in (f"coco:{tmp_path}", str(tmp_path), f"coco:{tmp_path}#default"):
        assert data.load_source(spec).classes == ("cat",)
    classes = [{"id": 1, "name": "dog"}]
    path.with_name("instances_default.json").write_text(trees.coco(["a.jpg"], categories=classes))
    assert data.load_source(str(tmp_path)).classes == ("dog",)


def test_files_that_are_no_data_are_refused_with_advice(tmp_path):
    trees.write(tmp_path, "a.jpg", "a.xml", "data.zip")
    for name, said in (("a.xml", "Name the folder"), ("data.zip", "Unpack it")):
        with pytest.raises(UserError, match=said):
            data.load_source(str(tmp_path / name))


@pytest.mark.parametrize(
    ("split", "others"),
    [("train", ("training",)), ("VAL", ("val", "valid", "validation")), ("mine", ())],
)
def test_splits_have_several_names(split, others):
    assert split_folders.aliases(split)[0] == split
    assert set(others) <= set(split_folders.aliases(split))
    assert split_folders.is_split(split) == bool(others)


@pytest.mark.parametrize("name", ["config.yaml", "docker-compose.yml", "settings.data"])
def test_files_of_other_programs_are_not_taken_for_those_of_the_data(tmp_path, name):
    root, _ = make(tmp_path, "coco")
    (root / name).write_text("services:\n  web:\n    image: x\nepochs = 3\n")
    for spec in (str(root), f"coco:{root}"):
        assert trees.objects(data.load_source(spec)) == {"0": CAT}
    trees.write(root, "labels/a.txt")
    assert trees.objects(data.load_source(f"yolo:{root}")) == {"a": ZERO}
