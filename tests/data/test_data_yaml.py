"""data.yaml as people write it, those of Ultralytics, Roboflow and Colab among them."""

import time

import pytest

from ssd_keras import data
from ssd_keras.data import data_yaml
from ssd_keras.errors import UserError
from tests.data import trees

TWO = ("cat", "dog")
HEAD = "train: images/train\nval: images/train\nnc: 2\n"
BOMB = "a: &a [x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(20)
)


def written(root, text) -> str:
    """A folder of two images in images/train/, the second of class 1, and the data.yaml `text`."""
    trees.write(root, "images/train/a.jpg", "images/train/b.jpg", "labels/train/a.txt")
    (root / "labels/train/b.txt").write_text("1" + trees.LINE[1:])
    (root / "data.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return f"yolo:{root}"


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("names: ['cat, small', 'dog']", ("cat, small", "dog")),
        ("names: ['driver''s cat', 'dog']", ("driver's cat", "dog")),
        ("names:\n- driver's cat\n- dog # woof", ("driver's cat", "dog")),
        ("names:\n- cat\n- dog", TWO),
        ("names:\n    - cat\n    - dog\nkpt_shape: [17, 3]\nflip_idx: [0, 1]", TWO),
        ("names: [\n  'cat',\n  'dog',\n  ]", TWO),
        ("names: ['cat',\n        'dog']", TWO),
        ("names: {\n  0: cat,\n  1: dog\n}", TWO),
        ("names: {\n  0: cat,\n  1: dog\n  }", TWO),
        ("names:\n  0: cat # the cat\n  1: dog", TWO),
        ("names:\n  1: dog\n  0: cat", TWO),
        ("names:\n  0: 'cat: small'\n  1: dog", ("cat: small", "dog")),
        ("names:\n  '0': cat\n  '1': dog", TWO),
        ("names: [고양이, 개]", ("고양이", "개")),
        ("names: [no, 1.0]", ("no", "1.0")),
        ('names: ["on", ~]', ("on", "~")),
        ("names: [ cat , 'dog ']", TWO),
        ("names: &n [cat, dog]\nothers: *n", TWO),
        ("", ("0", "1")),
        ("names:", ("0", "1")),
    ],
)
def test_classes_are_read_as_yaml_says(tmp_path, text, classes):
    source = data.load_source(written(tmp_path, HEAD + text))
    assert trees.objects(source) == {"a": [classes[0]], "b": [classes[1]]}
    assert source.classes == classes
    assert not source.problems


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("train: images/train\nnames:\n\t0: cat\n\t1: dog\n", "tabs"),
        ("train: images/train\nnc: 3\nnames: [cat, dog]\n", "other_count"),
        (HEAD + "names: [cat, dog]\ndownload: |\n  import os\n  os.remove('x')\n", "not_run"),
        (HEAD + "names: [cat, dog]\npath: /content/datasets/pets\n", "other_place"),
        (HEAD + "names: [cat, dog]\npath: ../datasets/pets\n", "other_place"),
        ("train: C:\\Users\\me\\pets\\images\\train\nnames: [cat, dog]\n", "other_place"),
        ("train: /content/pets/images/train\nnames: [cat, dog]\n", "other_place"),
        ((HEAD + "names: [cat, dog]\n").encode("utf-16"), "encoding"),
    ],
)
def test_what_is_read_in_another_way_is_noted(tmp_path, text, kind):
    source = data.load_source(written(tmp_path, text))
    assert trees.objects(source) == {"a": ["cat"], "b": ["dog"]}
    assert [(p.kind, p.action) for p in source.problems] == [(kind, "noted")]


@pytest.mark.parametrize(
    "text",
    [
        "train: images\\train",
        "train: ./images/train",
        "train: ../images/train",
        "train: images/train # here",
        "train: [images/train]",
        "train:\n- images/train\n",
        "path: .\ntrain: images/train",
        "path: images\ntrain: train",
        "path:\ntrain: images/train",
        "path: null\ntrain: images/train",
        "\ufefftrain: images/train\r\n",
        "training: images/train",
        "---\ntrain: images/train",
        "test: null\ntrain: images/train\nval:",
    ],
)
def test_a_split_is_found_where_the_file_says(tmp_path, text):
    source = data.load_source(written(tmp_path, f"{text}\nnames: [cat, dog]\n"))
    assert trees.objects(source) == {"a": ["cat"], "b": ["dog"]}
    assert not source.problems


def other_set(folder) -> None:
    """Another data set, of one image."""
    trees.write(folder, "images/train/other.jpg", "labels/train/other.txt")


@pytest.mark.parametrize("key", ["train", "path"])
def test_a_set_that_lies_beside_the_folder_is_not_taken_for_its_own(tmp_path, key):
    text = {
        "train": "train: ../images/train\nnames: [cat, dog]\n",
        "path": "path: ../images\ntrain: train\nnames: [cat, dog]\n",
    }[key]
    spec = written(tmp_path / "set", text)
    other_set(tmp_path)
    source = data.load_source(spec)
    assert trees.objects(source) == {"a": ["cat"], "b": ["dog"]}
    (problem,) = source.problems
    assert (problem.kind, problem.action) == ("other_place", "noted")
    assert f"is there, too; '{tmp_path}/set/images" in problem.message


@pytest.mark.parametrize(
    "text",
    [
        "train: ../images/train\n",
        "path: ../images\ntrain: train\n",
        "path: ..\ntrain: images/train\n",
    ],
)
def test_a_path_that_leads_out_of_the_folder_is_noted(tmp_path, text):
    other_set(tmp_path)
    (tmp_path / "set").mkdir()
    (tmp_path / "set/data.yaml").write_text(f"{text}names: [cat, dog]\n")
    source = data.load_source(f"yolo:{tmp_path}/set/data.yaml")
    assert trees.objects(source) == {"other": ["cat"]}
    (problem,) = source.problems
    assert (problem.kind, problem.action) == ("other_place", "noted")
    assert f"leads out of '{tmp_path}/set'" in problem.message


def test_a_path_is_not_shortened_to_another_split(tmp_path):
    spec = written(tmp_path, "train: images\nval: ../valid/images\nnames: [cat, dog]\n")
    with pytest.raises(UserError, match=r"'val: ../valid/images' in .* does not exist"):
        data.load_source(f"{spec}#val")


@pytest.mark.parametrize(
    ("split", "text", "said"),
    [
        ("", "names: [cat, dog]\n", "names no images: write a line 'train: FOLDER'"),
        ("", "train:\nnames: [cat, dog]\n", "names no images"),
        ("#val", "train: images/train\nnames: [cat, dog]\n", "no split 'val'.* Known: train"),
        ("#val", "val: images\nvalid: images\nnames: [cat, dog]\n", None),
        ("#validation", "val: images\nvalid: images\nnames: [cat, dog]\n", "may be val or valid"),
        ("", "train: nowhere\nnames: [cat, dog]\n", "'train: nowhere' in .* does not exist"),
        ("", "train: [[images]]\nnames: [cat, dog]\n", "'train' in .* must be a folder"),
        ("", "train: {a: b}\nnames: [cat, dog]\n", "'train' in .* must be a folder"),
        ("", "train: /etc/passwd\nnames: [cat, dog]\n", "neither a folder nor a .txt file"),
        ("", "train: /dev/zero\nnames: [cat, dog]\n", "neither a folder nor a .txt file"),
        ("", HEAD + "names:\n  0:cat\n  1:dog\n", "with a blank behind the colon"),
        ("", HEAD + "names: data/coco.names\n", "is the text 'data/coco.names', not a list"),
        ("", HEAD + "names: {0: cat, 0: dog}\n", "line 4: the key '0' stands twice"),
        ("", HEAD + "names: {0: cat, 00: dog}\n", "names class 0 twice"),
        ("", HEAD + "train: images\n", "line 4: the key 'train' stands twice"),
        ("", HEAD + "names: {a: cat}\n", "the key 'a', not a class number"),
        ("", HEAD + "names: {-1: cat}\n", "the key '-1', not a class number"),
        ("", HEAD + "names: {0.5: cat}\n", "the key '0.5', not a class number"),
        ("", HEAD + "names: [cat, [dog]]\n", "Name 1 in .* must be a text"),
        ("", HEAD + "names:\n- cat: small\n- dog\n", "Name 0 in .* put it into quotes"),
        ("", HEAD + "names: [cat, cat]\n", "Classes occur twice"),
        ("", HEAD + "names: ['', dog]\n", "empty name"),
        ("", "train: images\nnames: []\n", "'names' in .* is empty"),
        ("", "train: images\nnames: {}\n", "'names' in .* is empty"),
        ("", HEAD + "path: [images]\n", "'path' in .* must be a folder"),
        ("", "train: images\nnc: 1e9\n", "'nc' in .* not '1e9'"),
        ("", "train: images\nnc: -1\n", "'nc' in .* not '-1'"),
        ("", HEAD + "names: [cat\n", "no readable YAML: line 5"),
        ("", HEAD + 'path: "C:\\Users"\n', "line 4: .* Write paths with /"),
        ("", HEAD + "names:\n  - cat\n\t- dog\n", "line 6: .* Indent with blanks"),
        ("", HEAD + "kpt_shape: 17\n", "'kpt_shape' in .* must be"),
        ("", HEAD + "kpt_shape: [0, 3]\n", "'kpt_shape' in .* must be"),
        ("", HEAD + "kpt_shape: [2.5, 3]\n", "'kpt_shape' in .* must be"),
        ("", HEAD + "kpt_shape: [1e999, 3]\n", "'kpt_shape' in .* must be"),
        ("", "train: images\nnc: [2]\n", "'nc' in .* not 'a list'"),
        ("", HEAD + "names: |\n  cat\n  dog\n", "is the text 'cat dog', not a list"),
        ("", HEAD + "task: guess\n", "'task' in .* must be one of detect"),
        ("", "[1, 2]", "needs lines 'names: ...' and 'train: ...'"),
        ("", "", "needs lines"),
        ("", "words", "needs lines"),
        ("", HEAD + "names: !!python/object/apply:os.system [ls]\n", "means nothing here"),
        ("", HEAD + "names: !mine [cat, dog]\n", "the tag '!mine' means nothing here"),
        ("", BOMB + HEAD + "names: *t\n", "Name 0 in .* must be a text"),
        ("", "x: &a [*a]\n" + HEAD, "recursive"),
        ("", "x: " + "[" * 3000, "nested too deep"),
        ("", "? [a]\n: b\n", "no readable YAML"),
        ("", HEAD + "#" * (1 << 20), "larger than the 1,048,576 bytes"),
        ("", b"\0\1", "no text"),
        ("", "train: a\n---\nx: y\n", "no readable YAML"),
    ],
)
def test_what_is_no_data_yaml_is_refused_in_a_sentence(tmp_path, split, text, said):
    spec, start = written(tmp_path, text) + split, time.monotonic()
    if said is None:
        assert len(data.load_source(spec)) == 2
        return
    with pytest.raises(UserError, match=said) as caught:
        data.load_source(spec)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
    assert time.monotonic() - start < 30


def test_numbers_of_classes_may_have_gaps(tmp_path):
    spec = written(tmp_path, "train: images\nnames: {0: cat, 1: dog, 7: cow}\n")
    (tmp_path / "labels/train/b.txt").write_text("7" + trees.LINE[1:] + "3" + trees.LINE[1:])
    source = data.load_source(spec)
    assert source.classes == ("cat", "dog", "cow")
    assert trees.objects(source) == {"a": ["cat"], "b": ["cow"]}
    assert [(p.kind, p.lost) for p in source.problems] == [("unknown_class", ("3",))]


def test_scalars_are_text():
    text = "nc: 2\nnames: {0: no, 1: '1'}\nempty:\n"
    assert data_yaml.parse(text) == {"nc": "2", "names": {"0": "no", "1": "1"}, "empty": ""}
