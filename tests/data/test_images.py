"""Image files of every kind are read right or refused by name."""

import io

import numpy as np
import pytest
from PIL import Image

from ssd_keras.data import images
from tests.data import samples


def test_rgb_jpeg_equals_tensorflow(tmp_path):
    import tensorflow as tf

    path = samples.picture(tmp_path / "a.jpg", width=123, height=77)
    expected = tf.io.decode_jpeg(path.read_bytes(), channels=3, dct_method="INTEGER_ACCURATE")
    np.testing.assert_array_equal(images.read_image(path), expected)


@pytest.mark.parametrize(
    ("mode", "extension", "form"),
    [
        ("L", ".jpg", "greyscale"),
        ("CMYK", ".jpg", "CMYK"),
        ("L", ".png", "greyscale"),
        ("P", ".png", "palette"),
        ("1", ".png", "black and white"),
        ("RGBA", ".png", "transparency"),
        ("LA", ".png", "transparency"),
        ("RGB", ".bmp", ""),
        ("RGB", ".webp", ""),
    ],
)
def test_modes_become_rgb(tmp_path, mode, extension, form):
    path = samples.picture(tmp_path / f"a{extension}", mode=mode)
    image = images.read_image(path)
    assert image.shape == (48, 64, 3)
    assert image.dtype == np.uint8
    assert form in images.describe(path)
    assert bool(images.describe(path)) == bool(form)
    with Image.open(path) as opened:
        expected = np.asarray(opened.convert("RGB"))
    np.testing.assert_array_equal(image, expected)


def test_transparency_is_laid_on_white(tmp_path):
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = [10, 20, 30, 255]
    pixels[1, 1] = [0, 0, 0, 128]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = images.read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image[0, 0], [10, 20, 30])
    np.testing.assert_array_equal(image[0, 1], [255, 255, 255])
    np.testing.assert_allclose(image[1, 1], 127, atol=1)


def test_sixteen_bits_keep_their_range(tmp_path):
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    image = images.read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image[0, :, 0], [0, 1, 128, 255])
    assert "16-bit" in images.describe(tmp_path / "a.png")


def test_float_pixels_are_refused_by_name(tmp_path):
    Image.fromarray(np.ones((3, 3), np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(images.ImageError, match=r"a\.tiff.*mode F"):
        images.read_image(tmp_path / "a.tiff")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    image = images.read_image(tmp_path / "a.jpg")
    header = images.read_header(tmp_path / "a.jpg")
    turned = orientation >= 5
    assert image.shape[:2] == ((32, 16) if turned else (16, 32))
    assert (header.height, header.width) == image.shape[:2]
    assert header.turned == turned
    assert header.standard_jpeg == (orientation == 1)
    bottom, right = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    corner = image[-8:] if bottom else image[:8]
    corner = corner[:, -8:] if right else corner[:, :8]
    assert corner.mean() > 200


def _jpeg(**options) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


GOOD = _jpeg()


def test_a_common_jpeg_is_plain():
    header = images.parse_header(GOOD)
    assert (header.height, header.width, header.standard_jpeg) == (40, 50, True)


@pytest.mark.parametrize(
    "data",
    [
        _jpeg(progressive=True),
        GOOD[: len(GOOD) // 2],
        GOOD.replace(b"\xff\xc4", b"\xff\xfe"),  # no Huffman table
        GOOD.replace(b"\xff\xdb", b"\xff\xfe"),  # no quantisation table
    ],
    ids=["progressive", "truncated", "no Huffman tables", "no quantisation tables"],
)
def test_an_uncommon_jpeg_takes_the_careful_way(data):
    assert not images.parse_header(data).standard_jpeg


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<html>404 not found</html>", "no image of a known kind"),
        (GOOD[:200], "cannot be|no image"),
        (GOOD[: len(GOOD) // 2], "cannot be decoded"),
    ],
    ids=["empty", "HTML", "head only", "half"],
)
def test_a_broken_file_is_named(tmp_path, content, reason):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(images.ImageError, match=reason) as caught:
        images.read_image(tmp_path / "a.jpg")
    assert str(tmp_path / "a.jpg") in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(images.ImageError, match=r"nothing\.jpg"):
        images.read_image(tmp_path / "nothing.jpg")


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".tif"])
def test_header_and_pixels_agree_on_what_is_turned(tmp_path, extension):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"a{extension}"
    Image.fromarray(np.zeros((16, 32, 3), np.uint8)).save(path, exif=exif)
    header = images.read_header(path)
    assert (header.height, header.width) == images.read_image(path).shape[:2] == (32, 16)
    assert header.turned
    assert "orientation 6" in images.describe(path)


def test_what_a_png_says_behind_its_pixels_counts(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((16, 32, 3), np.uint8)).save(buffer, "PNG", exif=exif)
    data = buffer.getvalue()
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    moved = data[:start] + data[end:-12] + data[start:end] + data[-12:]
    header = images.parse_header(moved)
    assert (header.height, header.width) == images.decode_image(moved).shape[:2] == (32, 16)


def test_of_several_frames_the_first_is_read(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ((255, 0, 0), (0, 255, 0))]
    for name in ("a.gif", "a.tif", "a.mpo"):
        path = tmp_path / name
        frames[0].save(path, save_all=True, append_images=frames[1:])
        assert images.read_image(path)[4, 4, 0] > 200
        assert "several frames" in images.describe(path)


def test_the_shared_kinds_of_images(shared):
    folder = shared("cases/29-huge-and-12-bit-images/i01-image-kinds/JPEGImages")
    means = {path.name: _mean(path) for path in folder.iterdir()}
    unread = {name for name, mean in means.items() if mean is None}
    assert unread == {"empty.jpg", "f32.tif", "heic.jpg", "html.jpg", "trunc.jpg"}
    assert all(110 < mean < 125 for mean in means.values() if mean is not None)


def _mean(path):
    try:
        return images.read_image(path).mean()
    except images.ImageError:
        return None
