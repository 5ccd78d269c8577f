"""Images are data: of known kinds, in regular files, within a limit; nothing else is opened."""

import io
import struct
import threading
import time
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from ssd_keras.data import images, pillow
from ssd_keras.errors import UserError
from tests import mutations
from tests.data import samples


@pytest.fixture
def limit():
    """The limit of size is as before afterwards."""
    before = images.max_megapixels()
    yield images.set_max_megapixels
    images.set_max_megapixels(before)


def png(width, height, chunks=(), pixels=None) -> bytes:
    """A black and white PNG, with further chunks `(kind, data)` before the pixels."""

    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    if pixels is None:
        pixels = zlib.compress(bytes((1 + -(-width // 8)) * height), 9)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(pwned) (w) file closefile\n"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (POSTSCRIPT, "PostScript"),
        (b"\xc5\xd0\xd3\xc6" + bytes(26) + POSTSCRIPT, "PostScript"),
        (b"8BPS\0\1" + bytes(20), "Photoshop"),
        (b"SIMPLE  =                    T" + bytes(2850), "FITS"),
        (b"%PDF-1.4\n", "PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\0\0\1\0\1\0\x10\x10", "icon"),
        (b"#define im_width 16\n#define im_height 16\n", "no image of a known kind"),
        (b"<!DOCTYPE html><html>404</html>", "text"),
        (b"P", "no image of a known kind"),
    ],
)
@pytest.mark.parametrize("read", [images.read_header, images.read_image])
def test_other_kinds_are_refused_by_name_and_run_nothing(
    tmp_path, monkeypatch, content, kind, read
):
    def started(*_, **__):
        pytest.fail("a program was started")

    monkeypatch.setattr("subprocess.Popen", started)
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(images.ImageError, match=kind) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("kind", mutations.PLACES)
@pytest.mark.parametrize("read", [images.read_header, images.read_image])
def test_what_is_no_file_is_named_and_never_waited_for(tmp_path, kind, read):
    mutations.put_in_place(tmp_path / "a.jpg", kind)
    assert mutations.outcome(tmp_path / "a.jpg", read, seconds=5, megabytes=100) == "UserError"


@pytest.mark.parametrize("name", ["a\0b.jpg", "x" * 300 + ".jpg"])
def test_a_name_that_no_file_can_have(tmp_path, name):
    with pytest.raises(images.ImageError, match="cannot be opened"):
        images.read_image(f"{tmp_path}/{name}")


WRITTEN = {
    "a.jpg": {},
    "progressive.jpg": {"progressive": True},
    "a.png": {},
    "palette.png": {"mode": "P"},
    "a.gif": {},
    "a.bmp": {},
    "a.webp": {},
    "lossless.webp": {"lossless": True},
    "a.tif": {},
    "lzw.tif": {"compression": "tiff_lzw"},
    "a.ppm": {},
}


@pytest.mark.parametrize("name", WRITTEN)
def test_damaged_images_end_in_one_sentence(tmp_path, name):
    path = samples.picture(tmp_path / name, **WRITTEN[name])
    mutations.fuzz(path, images.read_header, 30)
    found = mutations.fuzz(path, images.read_image, 60)
    assert found["UserError"] > 5


def test_a_size_beyond_the_limit_is_named_with_the_flag_that_reads_it(tmp_path, limit):
    (tmp_path / "a.png").write_bytes(png(1500, 1500))
    limit(2)
    for read in (images.read_header, images.read_image):
        with pytest.raises(images.ImageError, match=r"1500x1500.*--max_megapixels=3 ") as caught:
            read(tmp_path / "a.png")
    assert "7 MB" in str(caught.value)
    limit(3)
    assert images.read_image(tmp_path / "a.png").shape == (1500, 1500, 3)


def test_the_default_limit_takes_the_largest_photographs_of_phones(tmp_path):
    assert pillow.DEFAULT_MEGAPIXELS >= 12240 * 16320 / 1e6
    (tmp_path / "a.png").write_bytes(png(16320, 12240))
    header = images.read_header(tmp_path / "a.png")
    assert (header.height, header.width) == (12240, 16320)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(value):
    with pytest.raises(UserError, match="max_megapixels"):
        images.set_max_megapixels(value)


def claiming(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame says another size."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


@pytest.mark.parametrize(
    ("width", "height", "reason"),
    [(30000, 30000, "900 megapixels"), (14000, 14000, "bytes cannot hold")],
)
def test_a_header_that_claims_too_much_takes_no_memory(tmp_path, width, height, reason):
    path = samples.picture(tmp_path / "a.jpg")
    path.write_bytes(claiming(path.read_bytes(), width, height))
    for read in (images.read_header, images.read_image):
        with pytest.raises(images.ImageError, match=reason):
            read(path)
        assert mutations.outcome(path, read, seconds=5, megabytes=100) == "UserError"


BOMB = zlib.compress(bytes(100 << 20), 9)


@pytest.mark.parametrize(
    "chunk",
    [(b"zTXt", b"Comment\0\0" + BOMB), (b"iCCP", b"icc\0\0" + BOMB)],
    ids=["text", "colour profile"],
)
def test_what_unpacks_to_100_megabytes_beside_the_pixels_is_not_unpacked(tmp_path, chunk):
    path = tmp_path / "a.png"
    path.write_bytes(png(8, 8, [chunk]))
    for read in (images.read_header, images.read_image):
        mutations.outcome(path, read, seconds=5, megabytes=90)


def test_of_a_large_file_only_the_beginning_is_read_for_its_header(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
    for name in ("a.jpg", "a.png", "a.bmp", "a.tif"):
        Image.fromarray(noise).save(tmp_path / name)
        with open(tmp_path / name, "rb", buffering=0) as file:
            counted = _Counted(file)
            header = images._header(counted, name)
            assert (header.height, header.width) == (1500, 1500)
            assert counted.read_bytes < 100_000, name


class _Counted(io.BufferedReader):
    """Counts the bytes that are read."""

    read_bytes = 0

    def read(self, size=-1):
        data = super().read(size)
        self.read_bytes += len(data)
        return data


def test_the_warnings_of_pillow_do_not_leak_whatever_the_thread(tmp_path):
    path = samples.picture(tmp_path / "a.tif")
    # An entry of type "double" where a whole number is expected.
    path.write_bytes(path.read_bytes().replace(b"\x16\x01\x04\x00", b"\x16\x01\x0c\x00", 1))
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        def work():
            for _ in range(20):
                images.describe(path)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not [entry for entry in warnings.filters if "PIL" in str(entry[3])]
    assert not caught
    assert warnings.filters == before


def test_large_images_are_decoded_one_after_the_other(monkeypatch):
    monkeypatch.setattr(pillow, "LARGE_MEGAPIXELS", 0.0001)
    inside, most = [], []

    class Slow:
        width = height = 100

        def load(self):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)
            inside.pop()

    threads = [threading.Thread(target=pillow.load, args=(Slow(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
