"""What all readers of weight files share: limits, and one clear line for a file that is no good."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ssd_keras.errors import UserError

MAX_FILE_BYTES = 2 << 30
MAX_TEXT_BYTES = 4 << 20
MAX_ARRAY_VALUES = 1 << 28
MAX_ARRAYS = 100_000


def read_file(path: str | Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """The bytes of a file that exists, is not empty and is not larger than `limit`.

    Raises:
        UserError: it is missing, empty, too large or cannot be opened.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"Weights file '{path}' does not exist: check the path.")
    try:
        size = path.stat().st_size
        if size > limit:
            raise UserError(
                f"'{path}' has {size:,} bytes, more than the {limit:,} that such a file may have."
            )
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror}.") from error
    if not data:
        raise UserError(f"'{path}' is empty: copy or download it again.")
    return data


@contextlib.contextmanager
def reading(path: str | Path, kind: str) -> Iterator[None]:
    """Turns whatever a damaged file does to its reader into one line that names the file.

    A damaged or hostile file can make a parser fail anywhere and with any error, so every error is
    caught; only a parser may stand inside.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise UserError(
            f"'{path}' cannot be read as {kind} ({reason}): it is damaged, cut off or of another "
            "kind. Copy or download it again."
        ) from error


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
