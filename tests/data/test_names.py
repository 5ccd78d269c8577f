"""Names of images and classes, as tools and systems write them."""

import os
import unicodedata

import pytest

from ssd_keras.data import file_lists, image_index, names

NFC, NFD = (unicodedata.normalize(form, "고양이_사진.jpg") for form in ("NFC", "NFD"))
FILES = (
    "a.jpg",
    "B.JPG",
    "photo (1).jpg",
    NFD,
    "only/here.png",
    "cam1/1.jpg",
    "cam2/0.jpg",
    "cam2/2.jpg",
    "cam3/2.jpg",
    "cam3/deep/9.jpg",
    "x.png",
    "x.bmp",
    "Y.jpg",
    "y.jpg",
    "50%.jpg",
)


@pytest.fixture
def folder(tmp_path):
    for name in FILES:
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(b"")
    return tmp_path / "images"


ALONE, CASE, END = "by its name alone", "in another case of letters", "by the end of its path"


@pytest.mark.parametrize(
    ("name", "file", "noted"),
    [
        ("a.jpg", "a.jpg", ""),
        ("./a.jpg", "a.jpg", ""),
        ("images/a.jpg", "a.jpg", ""),
        ("images\\a.jpg", "a.jpg", ""),
        (" a.jpg ", "a.jpg", ""),
        ("../images/a.jpg", "a.jpg", ""),
        (NFC, NFD, ""),
        (NFD, NFD, ""),
        ("photo%20(1).jpg", "photo (1).jpg", ""),
        ("50%.jpg", "50%.jpg", ""),
        ("a.JPG", "a.jpg", CASE),
        ("b.jpg", "B.JPG", CASE),
        ("IMAGES/b.jpg", "B.JPG", CASE),
        ("CAM1\\1.jpg", "cam1/1.jpg", ""),
        ("C:\\Users\\me\\images\\a.jpg", "a.jpg", END),
        ("C:\\Users\\me\\photos\\a.jpg", "a.jpg", ALONE),
        ("/content/drive/MyDrive/a.jpg", "a.jpg", ALONE),
        ("file:///C:/Users/me/photo%20(1).jpg", "photo (1).jpg", ALONE),
        ("https://host/upload/1/a.jpg?token=b.jpg", "a.jpg", ALONE),
        ("/data/local-files/?d=images%2Fa.jpg", "a.jpg", ""),
        ("here.png", "only/here.png", ""),
        ("/content/cam2/0.jpg", "cam2/0.jpg", END),
        ("a.png", "a.jpg", "as .jpg"),
        ("a", "a.jpg", ""),
        ("cam2/2.jpg", "cam2/2.jpg", ""),
        ("D:\\me\\cam3\\2.jpg", "cam3/2.jpg", END),
        ("Y.jpg", "Y.jpg", ""),
        ("elsewhere/y.jpg", "y.jpg", ALONE),
        # Not there, or not to be told.
        ("gone.jpg", None, ""),
        ("", None, ""),
        ("..", None, ""),
        ("a\0.jpg", None, ""),
        ("2.jpg", None, "2 files are called alike"),
        ("D:\\cam9\\2.jpg", None, "2 files are called alike"),
        ("x.jpg", None, "2 files are called alike"),
        ("Y.JPG", None, "2 files are called alike"),
        ("cam1/0.jpg", None, ""),
        ("C:\\me\\cam1\\0.jpg", None, ""),
    ],
)
def test_a_name_means_one_file_or_none(folder, name, file, noted):
    found = image_index.ImageIndex([folder]).find(name)
    assert found.path == (file and os.path.join(folder, file))
    assert (noted in found.note) if noted else found.note == ""


def test_files_of_other_kinds_are_taken_within_the_folders_only(folder, tmp_path):
    for path in ("images/without", "secret", "secret.jpg"):
        (tmp_path / path).write_bytes(b"")
    index = image_index.ImageIndex([folder])
    found = {name: index.find(name).path for name in ("without", "../secret", "../secret.jpg")}
    assert found == {
        "without": f"{folder}/without",
        "../secret": None,
        "../secret.jpg": f"{tmp_path}/secret.jpg",
    }
    assert index.find(f"{tmp_path}/secret").path is None
    assert index.find(f"{tmp_path}/secret.jpg").path == f"{tmp_path}/secret.jpg"


def test_names_of_a_korean_archive_are_read(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), NFC.encode("cp949"))
    with open(path, "wb"):
        pass
    assert image_index.ImageIndex([tmp_path]).find(NFD).path == os.fsdecode(path)


def test_folders_are_looked_through_in_order(folder, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    assert image_index.ImageIndex([tmp_path, folder]).find("a.jpg").path == f"{tmp_path}/a.jpg"
    assert image_index.ImageIndex([folder, tmp_path]).find("a.jpg").path == f"{folder}/a.jpg"


def test_a_file_is_not_given_to_two_names_that_are_unsure(folder):
    index = image_index.ImageIndex([folder])
    found = index.find_all(["/one/a.jpg", "/two/a.jpg", "B.JPG", "/three/B.JPG", "b.JPG"])
    paths = [one.path and os.path.basename(one.path) for one in found.values()]
    assert paths == [None, None, "B.JPG", None, "B.JPG"]
    assert "belongs to another entry" in found["/two/a.jpg"].note


def test_many_images_under_other_names_are_noted_in_few_lines(folder):
    found = [image_index.Found("p", f"note {i}") for i in range(9)] + [
        image_index.Found("p"),
        image_index.MISSING,
    ]
    problems = image_index.notes(found, "all.json", most=2)
    assert [p.message for p in problems] == [
        "note 0",
        "note 1",
        "and 7 more images were found under other names",
    ]
    assert {(p.kind, p.place, p.action) for p in problems} == {("image_name", "all.json", "noted")}


def test_a_walk_stays_in_its_folder_and_ends(folder, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/z.jpg").write_bytes(b"")
    (folder / "linked").symlink_to(tmp_path / "outside")
    (folder / "loop").symlink_to(folder)
    (folder / "linked.jpg").symlink_to(tmp_path / "outside/z.jpg")
    (folder / "nothing.jpg").symlink_to(tmp_path / "nothing")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.jpg")
    for litter in ("._a.jpg", "__MACOSX/b.jpg", ".cache/c.jpg"):
        (folder / litter).parent.mkdir(exist_ok=True)
        (folder / litter).write_bytes(b"")
    (folder / "folder.jpg").mkdir()
    problems = []
    found = [os.path.relpath(path, folder) for path in file_lists.image_files(folder, problems)]
    assert sorted(found) == sorted([*FILES, "linked.jpg"])
    assert {(p.kind, os.path.basename(p.place)) for p in problems} == {
        ("linked_folder", "linked"),
        ("linked_folder", "loop"),
        ("no_file", "nothing.jpg"),
        ("no_file", "zero.jpg"),
        ("no_file", "pipe.jpg"),
    }


def test_many_files_of_one_name_are_found_in_linear_time(tmp_path):
    index = image_index.ImageIndex([tmp_path])
    (tree,) = index._trees
    tree.files = [
        image_index._File(f"/r/{i}/image.jpg", ("r", str(i), "image.jpg")) for i in range(30_000)
    ]
    found = index.find_all([f"C:\\r\\{i}\\image.jpg" for i in range(30_000)])
    assert [one.path for one in found.values()] == [file.path for file in tree.files]


def test_classes_alike_are_noted():
    problems = []
    classes = ["cat", "Cat", "traffic light", "traffic_light", "dog", "ｄｏｇ", "고양이"]  # noqa: RUF001
    names.note_alike(classes, "voc:x", problems)
    assert [p.message for p in problems] == [
        "the classes 'cat' and 'Cat' are taken as 2 classes: are they one?",
        "the classes 'traffic light' and 'traffic_light' are taken as 2 classes: are they one?",
        "the classes 'dog' and 'ｄｏｇ' are taken as 2 classes: are they one?",  # noqa: RUF001
    ]


@pytest.mark.parametrize(
    ("paths", "ids"),
    [
        (["x/a.jpg", "x/b.png"], ["a", "b"]),
        (["x/cam1/0.jpg", "x/cam2/0.jpg", "x/cam2/1.jpg"], ["cam1/0", "cam2/0", "1"]),
        (["x/0.jpg", "x/cam2/0.jpg"], ["0", "cam2/0"]),
        (["x/a.jpg", "x/a.png"], ["a.jpg", "a.png"]),
        (["x/1.jpg", "x/001.jpg", "x/2.jpg"], ["1.jpg", "001.jpg", "2"]),
        (["x/a.jpg", "x/a.png", "x/a.jpg.png"], ["a.jpg", "a.png", "a.jpg.png"]),
        (["/y/a.jpg", "/y/b/a.jpg"], ["a", "b/a"]),
        (["a.jpg"], ["a"]),
        ([], []),
    ],
)
def test_images_have_ids_that_differ(paths, ids):
    assert names.image_ids(paths) == ids
