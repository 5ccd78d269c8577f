"""An image file that is decoded once and given part by part, without an array of all of it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ssd_keras.data import pillow
from ssd_keras.data.images import decode_image
from ssd_keras.data.pixels import is_deep, load_upright, to_rgb


class ArrayPicture:
    """An image `[H, W, 3]` in memory.

    Attributes:
        size: (height, width).
    """

    def __init__(self, pixels: np.ndarray):
        self.pixels, self.size = pixels, tuple(pixels.shape[:2])

    def window(self, tile: Sequence[int]) -> np.ndarray:
        """The pixels from top, left to bottom, right."""
        top, left, bottom, right = tile
        return self.pixels[top:bottom, left:right]

    def close(self) -> None:
        """Nothing is open."""


class DecodedPicture:
    """An image as Pillow holds it, 4 bytes a pixel at most; parts of it become RGB.

    Attributes:
        size: (height, width), upright.
    """

    def __init__(self, image: Image.Image):
        self._image, self.size = image, (image.height, image.width)

    def window(self, tile: Sequence[int]) -> np.ndarray:
        """The pixels from top, left to bottom, right, uint8 `[H, W, 3]`."""
        top, left, bottom, right = tile
        return to_rgb(self._image.crop((left, top, right, bottom)))

    def close(self) -> None:
        """Gives the memory back."""
        self._image.close()


def open_decoded(path: str | os.PathLike) -> ArrayPicture | DecodedPicture:
    """A decoded image file, whose parts are those of `images.read_image` to the bit.

    One of more than 8 bits becomes an array, since all of its values say how they are read.

    Raises:
        ImageError: it cannot be read, or is larger than `max_megapixels()`.
    """
    name = os.fspath(path)
    with pillow.open_file(path) as file:
        with pillow.open_image(file, name) as image:
            deep = is_deep(image)
            if not deep:
                load_upright(image)
        if not deep:
            return DecodedPicture(image)
        file.seek(0)
        return ArrayPicture(decode_image(file.read(), name))
