"""TFRecord files as other tools write them, and as they break."""

import gzip
import os
import resource
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras import data
from ssd_keras.data import record_file, tfrecord, verdict
from ssd_keras.errors import UserError
from tests.data import samples

BOX = (0.125, 0.25, 0.5, 0.75)  # ymin, xmin, ymax, xmax


def feature(value):
    """A feature of the kind of its first value."""
    value = [one.encode() if isinstance(one, str) else one for one in value]
    if value and isinstance(value[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=value))
    if value and isinstance(value[0], int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=value))
    return tf.train.Feature(float_list=tf.train.FloatList(value=value))


def example(tmp_path, index=0, *, texts=None, labels=None, boxes=None, **others) -> bytes:
    """A record of the Object Detection API."""
    count = len(labels if labels is not None else texts if texts is not None else [])
    boxes = [BOX] * count if boxes is None else boxes
    # Boxes of one class must differ.
    boxes = [(y, x + i / 64, Y, X) for i, (y, x, Y, X) in enumerate(boxes)]
    picture = samples.picture(tmp_path / f"pictures/{index}.jpg", seed=index)
    values = {
        "image/encoded": [picture.read_bytes()],
        "image/height": [48],
        "image/width": [64],
        "image/source_id": [f"{index}"],
        "image/filename": [f"{index}.jpg"],
        "image/object/class/text": texts,
        "image/object/class/label": labels,
    }
    for axis, key in enumerate(("ymin", "xmin", "ymax", "xmax")):
        values[f"image/object/bbox/{key}"] = [box[axis] for box in boxes]
    values |= {f"image/{key.replace('__', '/')}": value for key, value in others.items()}
    features = {key: feature(value) for key, value in values.items() if value is not None}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write(path, records, compression=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record)
    return path


@pytest.fixture
def read(tmp_path):
    """Writes records of what `example` takes, and reads them."""

    def read(*records, name="train.tfrecord", classes=None, options=""):
        made = [example(tmp_path, index, **record) for index, record in enumerate(records)]
        write(tmp_path / "set" / name, made)
        return data.load_source(f"tfrecord:{tmp_path}/set/{name}{options}", classes)

    return read


def names(source):
    """The names of the objects of each image."""
    return [[source.classes[label] for label in truth.labels] for truth in source.ground_truth()]


MAP = 'item {{ name: "{}" id: {} }}\n'


@pytest.mark.parametrize(
    ("numbers", "classes"),
    [
        ([2, 3], ("2", "3")),
        ([0, 1], ("0", "1")),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], tuple(map(str, range(1, 13)))),
        ([10, 9, 200, 1], ("1", "9", "10", "200")),
        ([7], ("7",)),
    ],
)
def test_numbers_are_as_many_classes_in_their_order(read, numbers, classes):
    source = read({"labels": numbers[::2]}, {"labels": numbers[1::2]})
    assert source.classes == classes
    assert names(source) == [list(map(str, numbers[::2])), list(map(str, numbers[1::2]))]
    notes = [p for p in source.problems if p.kind == "class_numbers"]
    assert [p.action for p in notes] == ["noted"]


@pytest.mark.parametrize("place", ["set/label_map.pbtxt", "label_map.pbtxt"])
def test_a_label_map_names_them(read, tmp_path, place):
    (tmp_path / "set").mkdir()
    text = MAP.format("dog", 3) + MAP.format("cat", 2) + MAP.format("cow", 7)
    (tmp_path / place).write_text(text + MAP.format("background", 0))
    source = read({"labels": [2, 3]}, {"labels": [3, 5]})
    # Classes of the map without objects count; numbers that it does not name stay numbers.
    assert source.classes == ("cat", "dog", "cow", "5")
    assert names(source) == [["cat", "dog"], ["dog", "5"]]
    note, unnamed = source.problems
    assert note.message == f"class numbers are named by '{tmp_path / place}'"
    assert (unnamed.kind, unnamed.action, unnamed.lost) == ("class_numbers", "refused", ())
    assert unnamed.message.startswith("the class numbers 5 have no name")


def test_a_label_map_of_escaped_bytes(read, tmp_path):
    text = r"item { id: 1 name: '\352\263\240\x41' } item { id: 2 name: 'a\'b' }"
    (tmp_path / "label_map.pbtxt").write_text(text)
    assert names(read({"labels": [1, 2]})) == [["고A", "a'b"]]


def test_a_label_map_from_0(read, tmp_path):
    (tmp_path / "label_map.pbtxt").write_text(MAP.format("cat", 0) + MAP.format("dog", 1))
    assert names(read({"labels": [0, 1]})) == [["cat", "dog"]]


def test_a_label_map_orders_classes_that_have_names(read, tmp_path):
    (tmp_path / "label_map.pbtxt").write_text(MAP.format("dog", 1) + MAP.format("cat", 2))
    assert read({"texts": ["cat", "dog"]}).classes == ("dog", "cat")


@pytest.mark.parametrize("text", ["node { name: 'x' }", MAP.format("person", 1)])
def test_a_text_of_others_does_not_name_them(read, tmp_path, text):
    (tmp_path / "label_map.pbtxt").write_text(text)
    assert read({"texts": ["cat", "dog"]}).classes == ("cat", "dog")


def test_label_maps_that_differ_are_refused(read, tmp_path):
    (tmp_path / "set").mkdir()
    for number in (1, 2):
        (tmp_path / f"set/{number}.pbtxt").write_text(MAP.format("cat", number))
    with pytest.raises(UserError, match=r"label maps that differ \(1\.pbtxt, 2\.pbtxt\)"):
        read({"labels": [1]})
    assert read({"texts": ["cow"]}).classes == ("cow",)


@pytest.mark.parametrize(
    "text",
    [
        "item { name: ",
        MAP.format("a", 1) + MAP.format("b", 1),
        "item { id: 1 name: 'a' name: 'b' }",
        "item { id: 1 id: 2 name: 'a' }",
        "item { id: 1.5 name: 'a' }",
    ],
)
def test_a_broken_label_map_is_named(read, tmp_path, text):
    (tmp_path / "label_map.pbtxt").write_text(text)
    with pytest.raises(UserError, match=r"label_map\.pbtxt"):
        read({"labels": [1]})


def test_names_here_and_numbers_there(read):
    records = {"texts": ["cat", "dog"], "labels": [2, 1]}, {"labels": [1, 2, 5]}
    source = read(*records)
    assert source.classes == ("cat", "dog", "5")
    assert names(source) == [["cat", "dog"], ["dog", "cat", "5"]]
    assert [p.action for p in source.problems] == ["noted", "refused"]


def test_empty_names_are_none(read):
    assert names(read({"texts": ["", ""], "labels": [2, 3]})) == [["2", "3"]]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([1, 2], ["cat", "dog"]),
        ([0, 1], ["cat", "dog"]),
        ([2], ["dog"]),
        ([2, 3], None),
    ],
)
def test_given_classes_are_named_by_their_places(read, numbers, expected):
    source = read({"labels": numbers}, classes=["cat", "dog"])
    if expected:
        assert names(source) == [expected]
        assert "class_numbers" in [p.kind for p in source.problems]
    else:
        assert not verdict.judge(source).kept
        assert verdict.judge(source).lost == {"unknown_class": 2}


def test_given_classes_that_are_numbers_are_those(read):
    assert names(read({"labels": [3, 2]}, classes=["2", "3"])) == [["3", "2"]]


def test_the_list_beside_the_files_is_that_of_the_longest_name(tmp_path):
    for name, classes in (("pets", "dog\ncat"), ("pets-val", "cat\ndog\ncow")):
        write(tmp_path / f"{name}-00000-of-00001.tfrecord", [example(tmp_path, labels=[1])])
        (tmp_path / f"{name}.classes.txt").write_text(classes, encoding="utf-16")
    source = data.load_source(f"tfrecord:{tmp_path}/pets-val-*")
    assert (source.classes, names(source)) == (("cat", "dog", "cow"), [["cat"]])
    assert data.load_source(f"tfrecord:{tmp_path}/pets-*").classes == ("dog", "cat", "cow")


def ids(source):
    return [truth.image_id for truth in source.ground_truth()]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([{}, {}], ["0", "1"]),
        ([{"source_id": [""]}, {"source_id": [""]}], ["0.jpg", "1.jpg"]),
        ([{"source_id": None}, {"source_id": None}], ["0.jpg", "1.jpg"]),
        ([{"source_id": ["x"]}] * 3, ["0.jpg", "1.jpg", "2.jpg"]),
        ([{"source_id": ["x"]}, {}, {"source_id": ["x"]}], ["0.jpg", "1", "2.jpg"]),
        (
            [{"source_id": [""], "filename": ["a.jpg"]}] * 2,
            ["train.tfrecord-0", "train.tfrecord-1"],
        ),
        ([{"source_id": [7]}, {"source_id": [7]}], ["0.jpg", "1.jpg"]),
        ([{"source_id": [b"\xb0\xed"]}, {}], ["\\xb0\\xed", "1"]),
        ([{"source_id": ["1"]}, {"source_id": ["001"]}], ["1", "001-2"]),
    ],
)
def test_all_images_are_kept_with_ids_that_differ(read, records, expected):
    source = read(*({"texts": ["cat"], **record} for record in records))
    assert ids(source) == expected
    assert not data.left_out(source)


def test_files_of_one_name_in_two_folders_are_all_kept(tmp_path):
    for part in "ab":
        record = example(tmp_path, texts=["cat"], source_id=[""], filename=[""])
        write(tmp_path / part / "train.tfrecord", [record])
    source = data.load_source(f"tfrecord:{tmp_path}/?/train.tfrecord")
    assert ids(source) == ["train.tfrecord-0", "train.tfrecord-0-2"]


NAMES = (
    "train.record",
    "train.records",
    "train.tfrec",
    "train.tfrecords",
    "pets.TFRECORD",
    "train.record-00000-of-00001",
    "pets_train-00000-of-00001",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["{}", "{}/{}", "tfrecord:{}", "tfrecord:{}/{}", "tfrecord:{}/*"])
def test_files_are_known_by_their_names(tmp_path, name, place):
    folder = tmp_path / "a [b]"
    write(folder / name, [example(tmp_path, texts=["cat"])])
    (folder / "notes.txt").write_text("not a record")
    if place.endswith("*"):
        folder = folder.rename(tmp_path / "ab")
    assert len(data.load_source(place.format(folder, name))) == 1


def test_a_split_is_a_folder_or_a_beginning(tmp_path):
    for place in ("train/pets.tfrecord", "val/pets.tfrecord", "test.record"):
        write(tmp_path / place, [example(tmp_path, texts=[place[:3]])])
    for split, expected in (("train", "tra"), ("val", "val"), ("test", "tes")):
        assert data.load_source(f"tfrecord:{tmp_path}#{split}").classes == (expected,)
    with pytest.raises(UserError, match=r"no split 'tran'.*Known: test, train, val\."):
        data.load_source(f"tfrecord:{tmp_path}#tran")


@pytest.mark.parametrize(
    ("split", "expected"),
    [("train", "train"), ("trainval", "trainval"), ("val", "valid"), ("eval", None)],
)
def test_a_split_is_the_whole_word_before_the_numbers(tmp_path, split, expected):
    for name in ("train", "trainval", "valid"):
        record = [example(tmp_path, texts=[name])]
        write(tmp_path / f"set/{name}-00000-of-00001.tfrecord", record)
    if expected:
        assert data.load_source(f"tfrecord:{tmp_path}/set#{split}").classes == (expected,)
    else:
        with pytest.raises(UserError, match=r"no split 'eval'.*Known: train, trainval, valid\."):
            data.load_source(f"tfrecord:{tmp_path}/set#{split}")


@pytest.mark.parametrize("end", ["", ".tfrecord"])
@pytest.mark.parametrize(
    ("place", "action", "lost"), [("/", "left out", 4), ("/*", "left out", 4), ("one", "noted", 0)]
)
def test_files_missing_of_a_numbered_set_are_counted(tmp_path, end, place, action, lost):
    for number in (1, 2):
        records = [example(tmp_path, i + number, texts=["cat"]) for i in range(2)]
        write(tmp_path / f"set/t.record-0000{number}-of-00004{end}", records)
    whole = [example(tmp_path, 9, texts=["cat"])]
    write(tmp_path / f"set/u.record-00000-of-00001{end}", whole * (place != "one"))
    place = f"/t.record-00001-of-00004{end}" if place == "one" else place
    problems = data.load_source(f"tfrecord:{tmp_path}/set{place}").problems
    (problem,) = [p for p in problems if p.kind == "missing_shard"]
    assert problem.action == action
    assert (problem.images_lost > 0) == (lost > 0)
    assert "of 4 files are missing: numbers 00000," in problem.message


@pytest.mark.parametrize(
    ("compress", "reason"),
    [(gzip.compress, r"compressed \(GZIP\).*gunzip"), (zlib.compress, r"compressed \(ZLIB\)")],
)
def test_compressed_files_are_named(tmp_path, compress, reason):
    path = write(tmp_path / "train.tfrecord", [example(tmp_path, texts=["cat"])])
    path.write_bytes(compress(path.read_bytes()))
    with pytest.raises(UserError, match=reason):
        data.load_source(str(path))


def head(length):
    packed = struct.pack("<Q", length)
    return packed + struct.pack("<I", record_file.masked_crc32c(packed))


def three(tmp_path):
    """Bytes of a file of three records, and where they begin."""
    records = [example(tmp_path, index, texts=["cat"]) for index in range(3)]
    path = write(tmp_path / "three.tfrecord", records)
    starts = np.cumsum([0, *(len(record) + 16 for record in records)]).tolist()
    return path.read_bytes(), starts


DAMAGES = {
    # How the bytes change, which images are left, how many are counted as lost.
    "nothing": (lambda b, at: b, "012", 0),
    "a length of 2^60": (lambda b, at: b[: at[1]] + head(1 << 60) + b[at[1] + 12 :], "0", 2),
    "a length that is negative": (lambda b, at: b[: at[1]] + b"\xff" * 8 + b[at[1] + 8 :], "0", 2),
    "the end cut off": (lambda b, at: b[:-9], "01", 1),
    "cut off in a length": (lambda b, at: b[: at[2] + 5], "01", 1),
    "a bit of a length": (lambda b, at: flipped(b, at[1] + 1), "0", 2),
    "a bit of a box": (lambda b, at: flipped(b, b.index(b"bbox/ymin", at[1]) + 20), "02", 1),
    "a bit of a class": (lambda b, at: flipped(b, b.index(b"cat", at[1])), "02", 1),
    "a bit of the checksum": (lambda b, at: flipped(b, at[2] - 1), "02", 1),
    "no example": (
        lambda b, at: b[: at[1]] + framed(b"\xff" * 40) + b[at[2] :],
        "02",
        1,
    ),
    "an empty record": (lambda b, at: b[: at[1]] + framed(b"") + b[at[2] :], "02", 1),
}


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def framed(data):
    return head(len(data)) + data + struct.pack("<I", record_file.masked_crc32c(data))


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_record_is_counted_and_costs_no_other(tmp_path, name):
    change, left, lost = DAMAGES[name]
    content, starts = three(tmp_path)
    (tmp_path / "three.tfrecord").write_bytes(change(content, starts))
    source = data.load_source(str(tmp_path / "three.tfrecord"))
    assert ids(source) == list(left)
    assert source.classes == ("cat",)
    assert sum(verdict.judge(source).images_lost.values()) == lost


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 64, b"\xff" * 4096, b"\x89PNG" * 99])
def test_what_is_no_file_of_records_is_refused(tmp_path, content):
    (tmp_path / "a.tfrecord").write_bytes(content)
    with pytest.raises(UserError):
        data.load_source(str(tmp_path / "a.tfrecord"))


def test_checksums_are_those_of_tensorflow(tmp_path):
    rng = np.random.default_rng(0)
    lengths = [0, 1, 3, 4, 7, 63, 64, 65, 127, 128, 129, 1000, 4096, 4097, 100_001]
    written = [rng.integers(0, 256, length, np.uint8).tobytes() for length in lengths]
    content = write(tmp_path / "x.tfrecord", written).read_bytes()
    assert content == b"".join(map(framed, written))
    # RFC 3720, B.4
    assert record_file.crc32c(b"123456789") == 0xE3069283
    assert record_file.crc32c(bytes(range(32))) == 0x46DD794E


BROKEN = {
    "three corners": {"object__bbox__ymin": [0.1]},
    "no corners": {"object__bbox__ymin": None},
    "corners of bytes": {"object__bbox__ymin": ["0.1", "0.2"]},
    "names of numbers": {"texts": [1.5, 2.5]},
    "labels of numbers with a fraction": {"texts": None, "labels": [1.5, 2.5]},
    "a class too many": {"object__bbox__ymin": [0.1] * 3, "object__bbox__xmin": [0.1] * 3,
                         "object__bbox__ymax": [0.2] * 3, "object__bbox__xmax": [0.2] * 3},
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_record_that_cannot_be_read_is_counted_with_its_objects(read, name):
    source = read({"texts": ["cat"]}, {"texts": ["cat", "dog"], **BROKEN[name]})
    assert ids(source) == ["0"]
    (problem,) = source.problems
    assert (problem.kind, problem.action, problem.images_lost) == ("broken_record", "refused", 1)
    assert len(problem.lost) == (3 if name == "a class too many" else 2)
    assert "record 1" in problem.place


def test_marks_that_do_not_fit_cost_no_object(read):
    source = read({"texts": ["cat", "dog"], "object__difficult": [1], "object__area": ["x", "y"]})
    assert names(source) == [["cat", "dog"]]
    assert not source.ground_truth()[0].difficult.any()
    assert [p.kind for p in source.problems] == ["broken_marks"]


@pytest.mark.parametrize("encoded", [None, [""], ["no image"], [1], [b"\xff\xd8\xff\xe0 cut"]])
def test_a_record_without_an_image_is_counted_with_its_objects(read, encoded):
    source = read({"texts": ["cat"]}, {"texts": ["cat", "dog"], "encoded": encoded})
    (problem,) = source.problems
    assert (problem.kind, problem.lost) == ("broken_image", ("cat", "dog"))
    if encoded is None:
        assert "no image/encoded" in problem.message
        assert "its features: image/filename, image/height" in problem.message


def test_a_record_of_two_images_is_refused(read):
    source = read({"texts": ["cat"]}, {"texts": ["cat"], "encoded": ["x", "y"]})
    assert ids(source) == ["0"]
    assert "2 values as image/encoded" in source.problems[0].message


@pytest.mark.parametrize(
    ("encoding", "works"), [("utf-8", True), ("cp949", True), ("cp1251", False)]
)
def test_class_names_in_other_encodings(read, encoding, works):
    words = ["고양이 사진", "강아지 사진", "사람과 자동차"] if works else ["кошка", "собака", "дом"]
    record = {"texts": [word.encode(encoding) for word in words]}
    if works:
        assert names(read(record)) == [words]
    else:
        with pytest.raises(UserError, match="UTF-8"):
            read(record)


def test_pixels_are_refused_and_said_by_the_user(read):
    record = {"texts": ["cat", "dog"], "boxes": [(6.0, 16.0, 24.0, 48.0)] * 2}
    with pytest.raises(UserError, match=",units=pixels"):
        read(record)
    box = read(record, options=",units=pixels").ground_truth()[0].boxes[0]
    np.testing.assert_allclose(box, BOX, atol=1e-6)


@pytest.fixture
def source(tmp_path):
    samples.coco(tmp_path / "coco")
    return data.load_source(f"coco:{tmp_path}/coco")


def test_what_is_written_is_read_again(source, tmp_path):
    for _ in range(2):  # the second time over the first
        tfrecord.write(source, str(tmp_path / "a [b]" / "x"), shards=2)
    again = data.load_source(f"tfrecord:{tmp_path}/a [[]b]/x-*")
    assert (again.classes, len(again)) == (source.classes, len(source))
    assert len(list((tmp_path / "a [b]").iterdir())) == 3


def test_files_of_another_number_are_not_mixed(source, tmp_path):
    tfrecord.write(source, str(tmp_path / "x"), shards=2)
    with pytest.raises(UserError, match=r"x-00000-of-00002\.tfrecord' is of an earlier packing"):
        tfrecord.write(source, str(tmp_path / "x"), shards=1)


def test_a_class_name_of_two_lines_is_refused(source, tmp_path):
    source.classes = ("cat\ndog", "cow")
    with pytest.raises(UserError, match="end of line"):
        tfrecord.write(source, str(tmp_path / "x"))
    assert not list(tmp_path.glob("x*"))


@pytest.fixture
def small_files():
    """No file may grow beyond a few bytes, as on a full disk."""
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def folder_of(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_a_full_disk_leaves_the_earlier_files_and_nothing_else(source, tmp_path, small_files):
    tfrecord.write(source, str(tmp_path / "out/x"))
    before = folder_of(tmp_path / "out")
    small_files(700)
    try:
        with pytest.raises(UserError, match=r"cannot be written: File too large.* The disk at '/"):
            tfrecord.write(source, str(tmp_path / "out/x"))
    finally:
        small_files(resource.RLIM_INFINITY)
    assert folder_of(tmp_path / "out") == before


@pytest.mark.parametrize("fault", [KeyboardInterrupt, UserError, RuntimeError])
def test_an_interruption_leaves_the_earlier_files_and_nothing_else(source, tmp_path, fault):
    tfrecord.write(source, str(tmp_path / "out/x"))
    before = folder_of(tmp_path / "out")

    def stop(done):
        raise fault("stopped")

    with pytest.raises(fault):
        tfrecord.write(source, str(tmp_path / "out/x"), progress=stop)
    assert folder_of(tmp_path / "out") == before


def test_a_place_that_cannot_be_written_is_named(source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file' is a file, not a folder"):
        tfrecord.write(source, str(tmp_path / "file/x"))
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(UserError, match="cannot be written: Permission denied"):
            tfrecord.write(source, str(tmp_path / "closed/x"))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("train", "val"), "no split was named: train, val are read as one"),
        (("pets-train", "pets_valid"), "no split was named: train, valid are read as one"),
        (("train", "train2"), ""),
        (("pets", "more"), ""),
    ],
)
def test_several_splits_in_a_folder_are_said(tmp_path, names, said):
    for name in names:
        source = data.load_source(f"shapes#{name},count=2,size=32")
        tfrecord.write(source, str(tmp_path / f"records/{name}"))
    problems = data.load_source(f"tfrecord:{tmp_path}/records").problems
    found = [p for p in problems if p.kind == "all_splits"]
    assert [p.message for p in found] == [said] * bool(said)
    one = data.load_source(f"tfrecord:{tmp_path}/records/{names[0]}-*").problems
    assert "all_splits" not in [p.kind for p in one]
