"""What a user gives as an image, as an array of RGB 0..255; anything else is refused by name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from ssd_keras.errors import UserError

WANTED = "an image is an array [H, W, 3] of RGB 0..255, a PIL image or the path of a file"
# By how much floats may leave 0..255: what interpolation and rounding do.
SLACK = 0.5


def is_single(images) -> bool:
    """Whether what was given is one image rather than several.

    Raises:
        UserError: it is neither.
    """
    if isinstance(images, (str, bytes, os.PathLike, Image.Image)):
        return True
    dimensions = getattr(images, "ndim", None)
    if dimensions is None:
        if not isinstance(images, Iterable) or isinstance(images, dict):
            raise UserError(f"A {type(images).__name__} is no image: {WANTED}.")
        return False
    return dimensions != 4


def arrays(images) -> Iterator[tuple[np.ndarray, str | None]]:
    """Each image as an array `[H, W, 3]`, and its path where it is a file.

    Args:
        images: what `Detector.detect` takes.

    Raises:
        UserError: one of them is no image; says which.
    """
    single = is_single(images)
    for number, image in enumerate([images] if single else images):
        path = os.fspath(image) if isinstance(image, (str, os.PathLike)) else None
        yield to_array(image, "" if single else f"Image {number}: "), path


def to_array(image, where: str = "") -> np.ndarray:
    """One image as an array `[H, W, 3]`, RGB 0..255.

    Args:
        image: uint8 or floating point array `[H, W, 3]`; other whole numbers if they are 0..255;
            a PIL image, the path of an image file, or the bytes of one.
        where: beginning of the error.

    Raises:
        UserError: it has another shape, type or range; says what to do.
    """
    from ssd_keras.data import images

    if isinstance(image, (str, os.PathLike)):
        return images.read_image(image)
    if isinstance(image, bytes):
        return images.decode_image(image, f"{where}image")
    if isinstance(image, Image.Image):
        return images.from_pillow(image, f"{where}PIL image")
    try:
        image = np.asarray(image)
    except Exception as error:
        raise UserError(f"{where}A {type(image).__name__} is no image: {WANTED}.") from error
    fault = _fault_of_shape(image.shape) or fault_of_values(image)
    if fault:
        raise UserError(f"{where}{fault}")
    return image


def _fault_of_shape(shape: tuple[int, ...]) -> str:
    """What is wrong with the shape, and what to do; "" if it is [H, W, 3]."""
    if len(shape) == 3 and shape[2] == 3 and 0 not in shape:
        return ""
    return f"An image must be an array [H, W, 3] of RGB 0..255, got {shape}{_advice(shape)}."


def _advice(shape: tuple[int, ...]) -> str:
    if 0 in shape:
        return ", which is empty"
    if len(shape) == 2:
        return ": make grey RGB by np.repeat(image[..., None], 3, axis=-1)"
    if len(shape) != 3:
        return ""
    if shape[2] == 1:
        return ": make grey RGB by np.repeat(image, 3, axis=-1)"
    if shape[2] == 4:
        return ": leave the transparency out, image[..., :3]"
    if shape[0] == 3:
        return ": put the channels last, np.moveaxis(image, 0, -1)"
    return ""


def fault_of_values(image: np.ndarray) -> str:
    """What is wrong with the type or the range of the values, and what to do; "" if nothing."""
    kind = image.dtype
    if kind == np.uint8:
        return ""
    if kind == np.uint16:
        return (
            "An image of uint16 is not RGB 0..255: np.round(image / 257).astype('uint8') if it "
            "uses 16 bits, np.round(image / 16.06) if 12; image.astype('uint8') if 0..255 already."
        )
    # bfloat16 is a type of its own, which NumPy counts as of no kind.
    if kind.kind not in "iuf" and "float" not in kind.name:
        return f"An image of {kind} has no grey levels: give RGB 0..255, uint8 or float."
    values = image.astype(np.float32) if kind.kind not in "iuf" else image
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low + high):
        return "An image has values that are not finite (nan or infinite): give RGB 0..255."
    if low < -SLACK and low >= -1 and high <= 1:
        advice = "they seem normalised to -1..1: give (image + 1) * 127.5"
    elif low < -SLACK or high > 255 + SLACK:
        advice = "give the pixels as they are in the file, RGB 0..255, not normalised"
    elif 0 < high <= 1 and kind.kind not in "iu":
        advice = "they seem normalised to 0..1: give image * 255"
    else:
        return ""
    return f"An image has values {low:.3g}..{high:.3g}, not RGB 0..255: {advice}."


def check_for_training(x) -> None:
    """Raises UserError if what `fit` is given cannot be RGB 0..255.

    Looks at the values of an array, and at the type of what a `tf.data.Dataset` gives.
    """
    if isinstance(x, np.ndarray) and x.size:
        fault = fault_of_values(x)
    else:
        fault = _fault_of_elements(getattr(x, "element_spec", None))
    if fault:
        raise UserError(f"fit: {fault}")


def _fault_of_elements(spec) -> str:
    images = spec[0] if isinstance(spec, tuple) and spec else spec
    kind = getattr(images, "dtype", None)
    if kind is None or kind.name in ("uint8", "float16", "bfloat16", "float32", "float64"):
        return ""
    return f"Images of {kind.name} are not RGB 0..255: give uint8 or float32."
