"""What all readers of weight files share: limits, and checks of what they hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssd_keras.errors import UserError
from ssd_keras.reading import AGAIN, read_bytes

MAX_FILE_BYTES = 2 << 30
MAX_TEXT_BYTES = 4 << 20
MAX_ARRAY_VALUES = 1 << 28
MAX_ARRAYS = 100_000


def read_file(path: str | Path, limit: int = MAX_FILE_BYTES, what: str = "weights file") -> bytes:
    """The bytes of a file that exists, is not empty and is not larger than `limit`.

    Raises:
        UserError: it is missing, empty, too large, no regular file or cannot be read.
    """
    data = read_bytes(path, limit, what)
    if not data:
        raise UserError(f"'{path}' is empty. {AGAIN}")
    return data


def checked_shape(shape: Sequence[int], limit: int = MAX_ARRAY_VALUES) -> tuple[int, ...]:
    """A shape from a file as a tuple, if an array of it can be made.

    Raises:
        ValueError: a side is negative, there are too many of them, or the array is too large.
    """
    shape = tuple(int(side) for side in shape)
    if len(shape) > 8 or any(side < 0 for side in shape) or math.prod(shape) > limit:
        raise ValueError(f"a shape of {list(shape[:9])} is not possible")
    return shape


def check_finite(arrays: dict[str, np.ndarray]):
    """Refuses weights that are no numbers.

    Raises:
        ValueError: an array holds NaN or infinity; names it.
    """
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise ValueError(f"'{name}' holds values that are not finite")
