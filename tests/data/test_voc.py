"""PASCAL VOC: annotations in any encoding, lists in any form, images by their annotations."""

import os
import unicodedata

import pytest

from ssd_keras import data
from ssd_keras.data import verdict
from ssd_keras.errors import UserError
from tests.data import trees

CAT = ["cat"]
XML = trees.xml("a.jpg")
HEAD = '<?xml version="1.0" encoding="{}"?>'


def annotated(root, content) -> str:
    """A VOC folder of a.jpg with the annotation `content`, and of b.jpg with a good one."""
    trees.write(root, "JPEGImages/a.jpg", "JPEGImages/b.jpg", "Annotations/b.xml")
    data = content if isinstance(content, bytes) else content.encode()
    (root / "Annotations/a.xml").write_bytes(data)
    return f"voc:{root}"


@pytest.mark.parametrize(
    ("content", "name", "noted"),
    [
        (XML.replace("cat", "고양이"), "고양이", []),
        (HEAD.format("utf-8") + XML.replace("cat", "é"), "é", []),
        (("\ufeff" + HEAD.format("utf-8") + XML), "cat", []),
        ("\n " + HEAD.format("utf-8") + XML, "cat", []),
        ((HEAD.format("utf-16") + XML).encode("utf-16"), "cat", ["encoding"]),
        (XML.encode("utf-16-le"), "cat", ["encoding"]),
        (XML.replace("cat", "고양이").encode("cp949"), "고양이", ["encoding"]),
        (
            (HEAD.format("utf-8") + XML.replace("cat", "고양이")).encode("cp949"),
            "고양이",
            ["encoding"],
        ),
        # What the file says itself is no guess.
        ((HEAD.format("euc-kr") + XML.replace("cat", "개")).encode("cp949"), "개", []),
        ((HEAD.format("EUC-KR") + XML.replace("cat", "똠양꿍")).encode("cp949"), "똠양꿍", []),
        ((HEAD.format("gb2312") + XML.replace("cat", "猫")).encode("gbk"), "猫", []),
        ((HEAD.format("Shift_JIS") + XML.replace("cat", "ネコ")).encode("cp932"), "ネコ", []),
        ((HEAD.format("ISO-8859-1") + XML.replace("cat", "Äpfel")).encode("latin-1"), "Äpfel", []),
        ((HEAD.format("windows-1251") + XML.replace("cat", "кот")).encode("cp1251"), "кот", []),
        ('<!DOCTYPE annotation SYSTEM "file:///etc/passwd">' + XML, "cat", []),
    ],
)
def test_annotations_are_read_in_their_encoding(tmp_path, content, name, noted):
    source = data.load_source(annotated(tmp_path, content))
    assert trees.objects(source) == {"a": [name], "b": CAT}
    assert [p.kind for p in source.problems] == noted


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no element found"),
        (XML[:-9], "unclosed token"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "holds zero bytes"),
        (XML.replace("cat", "개").encode("cp949"), "it may be CP949 (Korean)"),
        ('<!DOCTYPE a [<!ENTITY x "yy">]>' + XML.replace("cat", "&x;"), "declares entities"),
        (
            '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + XML.replace("cat", "&x;"),
            "declares entities",
        ),
        (HEAD.format("base64") + XML, "not a text encoding"),
        (HEAD.format("nothing-9") + XML, "unknown encoding"),
        ("<annotations><image/></annotations>", "export from CVAT as Pascal VOC or COCO"),
        ("<html></html>", "the root element is <html>"),
    ],
)
def test_annotations_that_cannot_be_read_cost_their_image(tmp_path, content, said):
    source = data.load_source(annotated(tmp_path, content))
    assert trees.objects(source) == {"b": CAT}
    (problem,) = source.problems
    assert (problem.kind, problem.action, problem.images_lost) == (
        "broken_annotation",
        "refused",
        1,
    )
    assert problem.place == f"{tmp_path}/Annotations/a.xml"
    assert said in problem.message


def test_a_tree_without_end_of_depth_does_no_harm(tmp_path):
    deep = "<a>" * 100_000 + "</a>" * 100_000
    source = data.load_source(annotated(tmp_path, f"<annotation>{deep}</annotation>"))
    assert trees.objects(source) == {"a": [], "b": CAT}


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to("gone")],
    ids=["pipe", "device", "broken link"],
)
def test_annotations_that_are_no_files_are_named(tmp_path, make):
    trees.write(tmp_path, "JPEGImages/a.jpg", "Annotations/a.xml")
    make(tmp_path / "Annotations/b.xml")
    source = data.load_source(f"voc:{tmp_path}")
    assert trees.objects(source) == {"a": CAT}
    assert [(p.kind, p.place) for p in source.problems] == [
        ("no_file", f"{tmp_path}/Annotations/b.xml")
    ]


FILES = [
    f"{folder}/{name}{extension}"
    for name in ("a", "b", "b 1", "photo (1)", "거실 사진")
    for folder, extension in (("JPEGImages", ".jpg"), ("Annotations", ".xml"))
]


def listed(root, text, *files) -> str:
    """A VOC folder with a list of the split `train`."""
    trees.write(root, *(files or FILES))
    path = root / "ImageSets/Main/train.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return f"voc:{root}#train"


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a\nb\n", ["a", "b"]),
        ("a\r\nb\r\n", ["a", "b"]),
        ("a\r\nb\r\n".encode("utf-16"), ["a", "b"]),
        ("\ufeffa\n\n b \n", ["a", "b"]),
        ("photo (1)\n거실 사진\n", ["photo (1)", "거실 사진"]),
        (unicodedata.normalize("NFD", "거실 사진"), ["거실 사진"]),
        ("거실 사진\n".encode("cp949"), ["거실 사진"]),
        ("a.jpg\nB.JPG\n", ["a", "b"]),
        (
            "JPEGImages/a.jpg\nC:\\me\\JPEGImages\\b.jpg\n/home/me/photo (1).jpg\n",
            ["a", "b", "photo (1)"],
        ),
        ("a.xml\nAnnotations/b.xml\n", ["a", "b"]),
        ("./JPEGImages/a.jpg ./Annotations/a.xml\n", ["a"]),
        # Lists of one class, where -1 means that it does not occur; and names that end so.
        ("a  1\nb -1\n", ["a"]),
        ("a  0\nb 1  1\n", ["a", "b 1"]),
        ("a  1\nb 1 -1\n", ["a"]),
        ("b 1\n", ["b 1"]),
        ("a 1 1 1\nb 12 2 4\n", ["a", "b"]),
    ],
)
def test_a_list_names_images_in_many_ways(tmp_path, text, ids):
    source = data.load_source(listed(tmp_path, text))
    assert trees.objects(source) == dict.fromkeys(ids, CAT)
    assert {p.kind for p in source.problems} <= {"encoding"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n\n", "names no image"),
        ("a -1\n", "names no image"),
        ("狗\n".encode("gbk"), "is not UTF-8 (line 1)"),
        ("nobody\n", "has no usable image"),
    ],
)
def test_a_list_of_nothing_is_refused(tmp_path, text, said):
    with pytest.raises(UserError) as caught:
        data.load_source(listed(tmp_path, text))
    assert said in str(caught.value)


def test_what_a_list_repeats_or_misses_is_named(tmp_path):
    source = data.load_source(listed(tmp_path, "a\nA.jpg\nnobody.jpg\n../../etc/passwd\n"))
    assert trees.objects(source) == {"a": CAT}
    train = f"{tmp_path}/ImageSets/Main/train.txt"
    assert [(p.kind, p.place, p.images_lost) for p in source.problems] == [
        ("duplicate_image", f"{train}:2", 0),
        ("missing_annotation", f"{tmp_path}/Annotations/nobody.xml", 1),
        ("missing_annotation", f"{tmp_path}/Annotations/../../etc/passwd.xml", 1),
    ]


@pytest.mark.parametrize("name", ["A.XML", "a.Xml", unicodedata.normalize("NFD", "거실") + ".xml"])
def test_annotations_are_found_in_any_case(tmp_path, name):
    stem = name[:-4]
    trees.write(
        tmp_path, f"JPEGImages/{unicodedata.normalize('NFC', stem)}.JPG", f"Annotations/{name}"
    )
    source = data.load_source(f"voc:{tmp_path}")
    assert trees.objects(source) == {stem: CAT}
    assert not source.problems


@pytest.mark.parametrize(
    ("files", "filename", "found", "noted"),
    [
        (["JPEGImages/a.jpg"], "a.jpg", "JPEGImages/a.jpg", ""),
        (["JPEGImages/a.png"], "a.jpg", "JPEGImages/a.png", ""),
        (["JPEGImages/a.jpg"], "x.xml", "JPEGImages/a.jpg", ""),
        (["JPEGImages/a.jpg"], "", "JPEGImages/a.jpg", ""),
        (["JPEGImages/IMG_2.jpg"], "IMG_2.jpg", "JPEGImages/IMG_2.jpg", ""),
        (
            ["JPEGImages/IMG_2.jpg"],
            "C:\\me\\img\\IMG_2.jpg",
            "JPEGImages/IMG_2.jpg",
            "by its name alone",
        ),
        (["JPEGImages/b.jpg", "JPEGImages/a.jpg"], "b.jpg", "JPEGImages/a.jpg", "is there, too"),
        (["JPEGImages/a.jpg", "JPEGImages/a.png"], "a.png", "JPEGImages/a.png", ""),
        (["JPEGImages/x.jpg", "frames/a.jpg"], "a.jpg", "frames/a.jpg", ""),
        # A mask of the same name is no photograph.
        (["JPEGImages/x.jpg", "SegmentationClass/a.png"], "a.jpg", None, ""),
        (["JPEGImages/a.jpg", "JPEGImages/a.png"], "", None, "2 files are called alike"),
        (["JPEGImages/c1/a.jpg", "JPEGImages/c2/a.jpg"], "a.jpg", None, "2 files are called alike"),
        ([], "a.jpg", None, ""),
    ],
)
def test_the_image_of_an_annotation(tmp_path, files, filename, found, noted):
    trees.write(tmp_path, *files, "JPEGImages/z.jpg", "Annotations/z.xml", "Annotations/a.xml")
    (tmp_path / "Annotations/a.xml").write_text(trees.xml(filename))
    source = data.load_source(f"voc:{tmp_path}")
    paths = {
        truth.image_id: os.path.relpath(truth.path, tmp_path) for truth in source.ground_truth()
    }
    assert paths.get("a") == found
    problems = [p for p in source.problems if p.kind in ("image_name", "missing_image")]
    assert [p.kind for p in problems] == (
        ["missing_image"] if not found else ["image_name"] if noted else []
    )
    assert all(noted in p.message for p in problems)
    if not found:
        assert (problems[0].lost, problems[0].images_lost) == (("cat",), 1)


DOUBLED = {
    "two boxes": ("</object>", "<bndbox><xmin>1</xmin></bndbox></object>", "2 <bndbox>"),
    "two names": ("<name>", "<name>dog</name><name>", "2 <name>"),
    "two edges": ("<xmin>", "<xmin>3</xmin><xmin>", "2 <xmin>"),
    "a tag in a name": ("<name>cat", "<name>ca<b>t</b>", "<b> within <name>"),
}  # fmt: skip


@pytest.mark.parametrize("name", DOUBLED)
def test_an_object_that_says_two_things_is_refused(tmp_path, name):
    part, instead, said = DOUBLED[name]
    trees.write(tmp_path, "a.jpg", "b.jpg", "b.xml")
    path = tmp_path / "a.xml"
    path.write_text(trees.xml("a.jpg", "cat").replace(part, instead))
    source = data.load_source(f"voc:{tmp_path}")
    problem = next(p for p in source.problems if p.kind == "broken_object")
    assert (problem.action, len(problem.lost)) == ("refused", 1)
    assert said in problem.message


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        ("<filename>", "<filename>b.jpg</filename><filename>"),
        ("</annotation>", "<size><width>6</width><width>64</width></size></annotation>"),
    ],
)
def test_an_annotation_that_says_two_things_is_refused(tmp_path, part, instead):
    trees.write(tmp_path, "a.jpg", "b.jpg", "b.xml")
    path = tmp_path / "a.xml"
    path.write_text(trees.xml("a.jpg", "cat").replace(part, instead))
    problem = next(
        p for p in data.load_source(f"voc:{tmp_path}").problems if p.kind == "broken_annotation"
    )
    assert (problem.action, problem.lost, problem.images_lost) == ("refused", ("cat",), 1)
    assert "which of them counts" in problem.message


def test_an_annotation_that_links_to_itself_is_named_and_costs_no_other(tmp_path):
    trees.write(tmp_path, "a.jpg").joinpath("a.xml").symlink_to("a.xml")
    with pytest.raises(UserError, match=r"holds no \.xml .*a\.xml: is a link to nothing"):
        data.load_source(f"voc:{tmp_path}")
    trees.write(tmp_path, "b.jpg", "b.xml")
    source = data.load_source(f"voc:{tmp_path}")
    assert trees.objects(source) == {"b": ["cat"]}
    assert ("no_file", f"{tmp_path}/a.xml") in [(p.kind, p.place) for p in source.problems]


def test_an_image_of_the_stem_of_another_is_noted(tmp_path):
    trees.write(tmp_path, "a.jpg", "a.png", "a.xml")
    (problem,) = data.load_source(f"voc:{tmp_path}").problems
    assert problem.message == "1 images have no .xml file and are not used: a.png"


@pytest.mark.parametrize(("others", "fit"), [(3, True), (4, False)])
def test_a_folder_with_few_annotations_is_not_fit(tmp_path, others, fit):
    trees.write(tmp_path, "a.jpg", "a.xml", *(f"other{i}.jpg" for i in range(others)))
    found = verdict.judge(data.load_source(f"voc:{tmp_path}"))
    assert found.fit == fit
    if not fit:
        assert found.why().startswith("4 of 5 images have no annotation")


def test_images_without_annotation_are_noted(tmp_path):
    trees.write(tmp_path, "JPEGImages/a.jpg", "JPEGImages/b.jpg", "JPEGImages/in/c.png")
    trees.write(tmp_path, "Annotations/a.xml")
    (problem,) = data.load_source(f"voc:{tmp_path}").problems
    assert (problem.kind, problem.action) == ("not_annotated", "noted")
    assert problem.message == "2 images have no .xml file and are not used: b.jpg, c.png"


def test_one_class_in_two_unicode_forms_is_one(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "고양이") for form in ("NFC", "NFD"))
    annotated(tmp_path, trees.xml("a.jpg", decomposed))
    (tmp_path / "Annotations/b.xml").write_text(trees.xml("b.jpg", f" {composed} "))
    for given in (None, [decomposed]):
        source = data.load_source(f"voc:{tmp_path}", given)
        assert source.classes == (composed,)
        assert trees.objects(source) == {"a": [composed], "b": [composed]}


def test_classes_that_differ_in_case_stay_two_and_are_noted(tmp_path):
    source = data.load_source(annotated(tmp_path, trees.xml("a.jpg", "Cat")))
    assert trees.objects(source) == {"a": ["Cat"], "b": CAT}
    assert [p.action for p in source.problems] == ["noted"]
    assert "'Cat' and 'cat'" in source.problems[0].message


def test_shares_are_read_if_they_are_said_to_be(tmp_path):
    shares = trees.xml("a.jpg")
    for key, value in {
        "xmin>5": 4 / 64,
        "ymin>6": 5 / 48,
        "xmax>30": 30 / 64,
        "ymax>40": 40 / 48,
    }.items():
        shares = shares.replace(key, f"{key.partition('>')[0]}>{value}")
    spec = annotated(tmp_path, shares)
    (tmp_path / "Annotations/b.xml").write_text(shares)
    with pytest.raises(UserError, match=",units=shares"):
        data.load_source(spec)
    assert trees.objects(data.load_source(f"{spec},units=shares")) == {"a": CAT, "b": CAT}


def test_images_may_lie_in_a_folder_that_is_named(tmp_path):
    trees.write(tmp_path, "set/Annotations/a.xml", "elsewhere/deep/a.jpg", "set/JPEGImages/b.jpg")
    source = data.load_source(f"voc:{tmp_path}/set,images={tmp_path}/elsewhere")
    assert trees.objects(source) == {"a": CAT}
