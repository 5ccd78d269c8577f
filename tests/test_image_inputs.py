"""What is given as an image is RGB 0..255, or is refused by name with what to do."""

import io

import numpy as np
import pytest
from PIL import Image

from ssd_keras import image_inputs
from ssd_keras.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)
FLOATS = PIXELS.astype(np.float32)


def encoded(form="PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, form)
    return buffer.getvalue()


class Tensor:
    """What another library has instead of an array."""

    ndim, shape = 3, PIXELS.shape

    def __array__(self, dtype=None, copy=None):
        return PIXELS


@pytest.mark.parametrize(
    "image",
    [
        PIXELS,
        FLOATS,
        FLOATS.astype(np.float64),
        FLOATS.astype(np.float16),
        PIXELS.astype(np.int64),
        FLOATS + 0.4,  # interpolation may leave the range by a little
        Image.fromarray(PIXELS),
        encoded(),
        Tensor(),
    ],
    ids=["uint8", "float32", "float64", "float16", "int64", "beyond", "Pillow", "bytes", "tensor"],
)
def test_images_of_every_form_are_taken(image):
    found = image_inputs.to_array(image)
    assert found.shape == PIXELS.shape
    np.testing.assert_allclose(found, PIXELS, atol=0.41)


def test_bfloat16_is_taken_and_checked():
    import ml_dtypes

    assert image_inputs.to_array(FLOATS.astype(ml_dtypes.bfloat16)).shape == PIXELS.shape
    with pytest.raises(UserError, match=r"0\.\.1"):
        image_inputs.to_array((FLOATS / 255).astype(ml_dtypes.bfloat16))


def test_black_images_are_images():
    for dtype in (np.uint8, np.float32, np.int32):
        assert not image_inputs.to_array(np.zeros((4, 4, 3), dtype)).any()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("L", [77, 77, 77]), ("RGBA", [255, 255, 255]), ("I;16", [128, 128, 128])],
)
def test_pillow_images_are_read_as_their_files_are(mode, expected):
    image = {
        "L": Image.new("L", (3, 2), 77),
        "RGBA": Image.new("RGBA", (3, 2), (10, 20, 30, 0)),
        "I;16": Image.fromarray(np.full((2, 3), 32896, np.uint16)),
    }[mode]
    np.testing.assert_array_equal(image_inputs.to_array(image)[0, 0], expected)


def test_a_pillow_image_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "PNG", exif=exif)
    assert image_inputs.to_array(Image.open(buffer)).shape == (20, 12, 3)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (FLOATS / 255, r"0\.\.1: give image \* 255"),
        (FLOATS / 127.5 - 1, r"-1\.\.1: give \(image \+ 1\) \* 127.5"),
        ((FLOATS - 128) / 60, "not normalised"),
        (FLOATS * 257, "not normalised"),
        (np.full((4, 4, 3), np.nan, np.float32), "not finite"),
        (np.full((4, 4, 3), np.inf), "not finite"),
        (PIXELS.astype(np.uint16) * 257, "uint16.*257"),
        (PIXELS.astype(np.uint16), "uint16"),
        (PIXELS.astype(np.int32) - 1, "-1..254"),
        (PIXELS.astype(np.int64) * 2, "not normalised"),
        (PIXELS > 100, "bool"),
        (PIXELS.astype(np.complex64), "complex64"),
        (PIXELS.astype(object), "object"),
        (PIXELS[..., 0], r"\(12, 20\): make grey RGB by np.repeat\(image\[..., None\], 3, axis=-1"),
        (PIXELS[..., :1], r"\(12, 20, 1\): make grey RGB by np.repeat\(image, 3"),
        (np.zeros((9, 9, 4), np.uint8), r"\(9, 9, 4\): leave the transparency out"),
        (PIXELS.transpose(2, 0, 1), r"\(3, 12, 20\).*np.moveaxis\(image, 0, -1\)"),
        (np.zeros((9, 9, 5), np.uint8), r"\(9, 9, 5\)\."),
        (np.zeros((0, 9, 3), np.uint8), "empty"),
        (np.zeros((), np.uint8), r"got \(\)"),
        (b"GIF89a", "GIF"),
        ("nothing.jpg", "nothing.jpg: cannot be opened"),
        (".", "folder"),
    ],
)
def test_other_arrays_are_refused_with_what_to_do(image, message):
    with pytest.raises(UserError, match=message):
        image_inputs.to_array(image)


@pytest.mark.parametrize("what", [None, 7, {"image": PIXELS}, 1.5])
def test_what_is_no_image_at_all_is_refused(what):
    with pytest.raises(UserError, match=f"{type(what).__name__} is no image"):
        list(image_inputs.arrays(what))


@pytest.mark.parametrize(
    ("images", "single"),
    [
        (PIXELS, True),
        (PIXELS[None], False),
        (PIXELS[..., 0], True),
        ("a.jpg", True),
        (b"", True),
        (Image.fromarray(PIXELS), True),
        ([PIXELS, "a.jpg"], False),
        ((p for p in [PIXELS]), False),
        ([], False),
    ],
)
def test_one_image_is_told_from_several(images, single):
    assert image_inputs.is_single(images) == single


def test_of_several_the_wrong_one_is_named():
    mixed = [PIXELS, Image.fromarray(PIXELS), encoded(), FLOATS / 255]
    taken = image_inputs.arrays(iter(mixed))
    for _ in range(3):
        assert next(taken)[0].shape == PIXELS.shape
    with pytest.raises(UserError, match=r"Image 3: .*0\.\.1"):
        next(taken)
    with pytest.raises(UserError, match=r"Image 0: .*0\.\.1"):
        list(image_inputs.arrays(FLOATS[None] / 255))
    with pytest.raises(UserError, match="Image 1: "):
        list(image_inputs.arrays([PIXELS, [[1, 2], [3]]]))
