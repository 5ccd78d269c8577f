"""Damaged and hostile tables, records and images end in one line, or are read."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from ssd_keras import data
from ssd_keras.data import images, record_file
from tests import mutations
from tests.data import test_tfrecord, trees

pytestmark = pytest.mark.slow

CSV = {
    "header": "image,width,height,xmin,ymin,xmax,ymax,class,split,iscrowd\n"
    'a.jpg,64,48,4,5,30,40,cat,train,0\nb.jpg,64,48,"8",6,40,30,"고양이, small",val,1\n',
    "semicolons": "image;x;y;w;h;class\na.jpg;4,5;5;20,25;30;cat\nb.jpg;8,5;6;30;20,5;dog\n",
    "no header": "a.jpg,4,5,30,40,cat\n" * 3 + "b.jpg,28,16,60,40,dog\n" * 3,
    "a list": "image_id,bbox_xywh,label\n" + 'a.jpg,"[4, 5, 26, 35]",cat\nb.jpg,"8 6 32 24",dog\n',
    "VIA": "filename,region_shape_attributes,region_attributes\n"
    'a.jpg,"{""name"":""rect"",""x"":4,""y"":5,""width"":26,""height"":35}","{""class"":""cat""}"\n'
    'b.jpg,"{""name"":""polygon"",""all_points_x"":[4,30,9],""all_points_y"":[5,6,40]}",'
    '"{""class"":""dog""}"\n',
    "AutoML": "TRAIN,gs://x/a.jpg,cat,0.1,0.1,,,0.5,0.5,,\nTEST,gs://x/b.jpg,dog,.2,.1,,,.5,.9,,\n",
}
MAP = "item {\n  id: 1\n  name: 'cat'\n}\nitem {\n  id: 2\n  name: '\\352\\263\\240'\n}\n"


def read_all(spec):
    """Reads a data set; what it gives must be boxes in images and known classes."""
    try:
        source = data.load_source(spec)
    except data.UnusableError:
        return  # nothing is left of it, and the error says why
    for index, truth in enumerate(source.ground_truth()):
        assert ((truth.boxes >= 0) & (truth.boxes <= 1)).all()
        assert set(truth.labels) <= set(range(len(source.classes)))
        source.try_image(index)


def fuzz(path, spec, count=100, damage=None, **limits):
    """As `mutations.fuzz`; most damages need not be noticed, but some must leave it readable."""
    found = mutations.fuzz(path, damage or (lambda _: read_all(spec)), count, named="set", **limits)
    assert found["valid"] + found["UserError"] == count
    assert found["valid"] > count // 20


@pytest.fixture
def root(tmp_path):
    trees.write(tmp_path / "set", "a.jpg", "b.jpg")
    for encoding in ("cp949", "shift_jis", "gb18030", "big5", "cp1251", "cp1252"):
        "".encode(encoding)  # what is imported when it is needed first
    return tmp_path / "set"


@pytest.mark.parametrize("form", CSV)
def test_damaged_tables(root, form):
    path = root / "boxes.csv"
    path.write_text(CSV[form], encoding="utf-8")
    fuzz(path, f"csv:{path}")


@pytest.mark.parametrize("place", mutations.PLACES)
@pytest.mark.parametrize("name", ["boxes.csv", "t.record", "label_map.pbtxt"])
def test_what_is_no_file_ends_in_a_line(root, tmp_path, name, place):
    (root / "boxes.csv").write_text(CSV["header"], encoding="utf-8")
    write_records(root / "t.record", records(tmp_path))
    mutations.put_in_place(root / name, place)
    spec = f"csv:{root}/boxes.csv" if name == "boxes.csv" else f"tfrecord:{root}/t.record"
    outcome = mutations.outcome(root / name, lambda _: read_all(spec), named="set")
    assert outcome in ("valid", "UserError")


def records(tmp_path):
    return [
        test_tfrecord.example(tmp_path, 0, labels=[1, 2], object__difficult=[0, 1]),
        test_tfrecord.example(tmp_path, 1, texts=["cat"], labels=[1]),
        test_tfrecord.example(tmp_path, 2, texts=["고양이", "dog"]),
    ]


def write_records(path, contents):
    """Records with good checksums, whatever they hold."""
    path.write_bytes(b"".join(map(framed, contents)))


def framed(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    sums = (record_file.masked_crc32c(part) for part in (length, content))
    first, last = (struct.pack("<I", one) for one in sums)
    return length + first + content + last


@pytest.mark.parametrize("stated", ["whole file", "content of a record", "label map"])
def test_damaged_records(root, tmp_path, stated):
    path, labels = root / "t.record", root / "label_map.pbtxt"
    contents = records(tmp_path)
    write_records(path, contents)
    labels.write_text(MAP, encoding="utf-8")
    spec = f"tfrecord:{path}"
    if stated == "whole file":
        fuzz(path, spec)
    elif stated == "label map":
        fuzz(labels, spec)
    else:
        part = root / "content"
        part.write_bytes(contents[0])

        def read(content):
            write_records(path, [content.read_bytes(), *contents[1:]])
            read_all(spec)

        fuzz(part, spec, 300, read)


def picture(form: str) -> bytes:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (10, 14, 3), np.uint8))
    image = image.resize((56, 40), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    more = {"save_all": True, "append_images": [image.rotate(90)]} if form in ("MPO", "GIF") else {}
    more |= {"compression": "tiff_lzw"} if form == "TIFF" else {}
    more |= {"exif": exif()} if form in ("JPEG", "PNG", "WEBP") else {}
    image.save(buffer, form, **more)
    return buffer.getvalue()


def exif() -> Image.Exif:
    told = Image.Exif()
    told[0x0112] = 6  # turned
    return told


FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "MPO")


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_images(root, form):
    path = root / "a.jpg"
    path.write_bytes(picture(form))

    def read(_):
        size = images.read_header(path)
        assert images.read_image(path).shape == (size.height, size.width, 3)
        images.describe(path)

    found = mutations.fuzz(path, read, 100)
    assert found["valid"] + found["UserError"] == 100
    assert found["UserError"] > 5
    if form in ("JPEG", "MPO"):
        assert found["valid"] > 5


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_images_in_a_data_set(root, form):
    path = root / "a.jpg"
    path.write_bytes(picture(form))
    (root / "boxes.csv").write_text("image,xmin,ymin,xmax,ymax,class\na.jpg,4,5,30,40,cat\n")

    def read(_):
        read_all(f"csv:{root}/boxes.csv")

    found = mutations.fuzz(path, read, 60, seed=1, named="set")
    assert found["valid"] + found["UserError"] == 60


def test_the_damaged_are_not_all_alike():
    for form in FORMATS:
        damaged = [content for _, content in mutations.mutations(picture(form), 60)]
        assert len(set(damaged)) > 50
    np.testing.assert_equal(Image.open(io.BytesIO(picture("MPO"))).format, "MPO")
