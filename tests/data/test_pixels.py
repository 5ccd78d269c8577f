"""Pixels of 12, 16 and 32 bits."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ssd_keras.data import images


def deep_png(values: np.ndarray, colors: int) -> bytes:
    """A PNG of 16 bits a channel, its rows packed as differences to the row above."""
    height, width = values.shape[:2]
    rows = values.astype(">u2").reshape(height, -1).view(np.uint8)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    packed = zlib.compress(b"".join(b"\2" + (row).tobytes() for row in rows - above))

    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 16, colors, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


GREY, COLOR, GREY_ALPHA, COLOR_ALPHA = 0, 2, 4, 6


@pytest.mark.parametrize(("greatest", "note"), [(65535, "divided by 257"), (4095, "255/4095")])
@pytest.mark.parametrize(("colors", "channels"), [(GREY, 1), (COLOR, 3)])
def test_twelve_bits_in_sixteen_are_not_black(greatest, note, colors, channels):
    values = np.random.default_rng(0).integers(0, greatest + 1, (20, 30, channels))
    values[0, 0] = 0
    values[0, 1] = greatest
    data = deep_png(values.astype(np.uint16), colors)
    expected = np.round(values * 255 / greatest)
    np.testing.assert_array_equal(images.decode_image(data), np.broadcast_to(expected, (20, 30, 3)))
    assert note in images.describe(data)


@pytest.mark.parametrize(("colors", "channels"), [(GREY_ALPHA, 2), (COLOR_ALPHA, 4)])
def test_sixteen_bits_with_transparency(colors, channels):
    values = np.random.default_rng(0).integers(0, 65536, (20, 30, channels)).astype(np.uint16)
    values[..., -1] = 65535
    image = images.decode_image(deep_png(values, colors))
    wanted = np.round(values[..., :-1] / 257)
    assert np.abs(image - np.broadcast_to(wanted, (20, 30, 3))).max() <= 1
    with pytest.raises(images.ImageError, match="12 at most"):
        images.decode_image(deep_png(values // np.array([16] * (channels - 1) + [1]), colors))


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("greatest", [65535, 4095])
def test_colours_of_a_deep_tiff(byteorder, greatest):
    values = np.random.default_rng(0).integers(0, greatest + 1, (20, 30, 3))
    values[0, 1] = greatest
    image = images.decode_image(deep_tiff(values, byteorder))
    np.testing.assert_array_equal(image, np.round(values * 255 / greatest))


def test_a_tiff_that_states_its_greatest_value_is_read_by_it():
    values = np.array([[[0], [1000], [16383]]])
    image = images.decode_image(deep_tiff(values, "<", greatest=16383))
    np.testing.assert_array_equal(image[0, :, 0], [0, 16, 255])
    assert "255/16383" in images.describe(deep_tiff(values, "<", greatest=16383))


def deep_tiff(values: np.ndarray, byteorder: str, greatest: int = 65535) -> bytes:
    """An uncompressed TIFF of 16 bits a channel."""
    height, width, channels = values.shape
    short, long = 3, 4
    entries = [
        (256, short, width), (257, short, height), (258, short, 16 if channels == 1 else None),
        (259, short, 1), (262, short, 1 if channels == 1 else 2), (273, long, None),
        (277, short, channels), (278, short, height), (279, long, values.size * 2),
        (281, short, greatest),
    ]  # fmt: skip
    start = 8 + 2 + 12 * len(entries) + 4
    places = {258: start, 273: start + 6}
    content = struct.pack(byteorder + "H", len(entries))
    for tag, kind, value in entries:
        count = 3 if tag == 258 and value is None else 1
        inline = kind == short and count == 1
        content += struct.pack(byteorder + "HHI", tag, kind, count)
        value = places[tag] if value is None else value
        content += struct.pack(byteorder + ("HH" if inline else "I"), *([value, 0][: 1 + inline]))
    content += struct.pack(byteorder + "I3H", 0, 16, 16, 16)
    magic = b"II*\0" if byteorder == "<" else b"MM\0*"
    pixels = values.astype(byteorder + "u2").tobytes()
    return magic + struct.pack(byteorder + "I", 8) + content + pixels


def test_whole_numbers_of_32_bits_have_no_defined_range(tmp_path):
    Image.fromarray(np.full((3, 3), 200, np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(images.ImageError, match="no defined range"):
        images.read_image(tmp_path / "a.tif")
