"""How names that users choose are shown: on terminals, in pictures, reports and messages."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

# Invisible, and yet part of how emoji and many scripts are written.
_JOINERS = "\u200c\u200d\ufe0e\ufe0f"
# Letters that have no ink, by which a name can look empty.
_BLANK = "\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def printable(name: object, most: int | None = None) -> str:
    """A name as it can be shown anywhere: one line, nothing that steers a terminal or a text.

    Line ends, escape sequences of terminals, marks that turn the direction of writing and other
    characters without ink are written as in Python (`\\n`, `\\x1b`, `\\u202e`), so that names that
    differ look different. A name that would look empty is shown in that way as well.

    Args:
        name: any text.
        most: longest result in columns of a terminal; the end is replaced by an ellipsis.
    """
    text = "".join(_escape(character) for character in str(name))
    if not text.strip() or text != text.strip():
        text = repr(text) if text.isascii() else f"'{text}'"
    return text if most is None else shorten(text, most)


def _escape(character: str) -> str:
    if character in _JOINERS or character == " ":
        return character
    kind = unicodedata.category(character)
    if kind[0] == "C" or kind in ("Zl", "Zp", "Zs") or character in _BLANK:
        return character.encode("unicode_escape").decode("ascii")
    return character


# Control signs but those of lines and tabs, ends of lines of Unicode, and turns of direction.
_STEERING = (
    *range(9), 11, 12, *range(14, 32), *range(127, 160), 0x061C, *range(0x200E, 0x2010),
    *range(0x2028, 0x202F), *range(0x2066, 0x206A),
)  # fmt: skip
_CONTROLS = {sign: chr(sign).encode("unicode_escape").decode("ascii") for sign in _STEERING}


def without_controls(text: str) -> str:
    """A text of several lines without anything that steers a terminal, written as in Python."""
    return text.translate(_CONTROLS)


def width(text: str) -> int:
    """Columns that a text takes on a terminal; signs of East Asia and emoji take two."""
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shorten(text: str, most: int) -> str:
    """The text, with an ellipsis instead of what goes beyond `most` columns."""
    if width(text) <= most:
        return text
    used, kept = 1, ""
    for character in text:
        used += _columns(character)
        if used > most:
            break
        kept += character
    return kept + ELLIPSIS


def column(names, most: int = 40, least: int = 0) -> list[str]:
    """Names as the cells of a column: printable, at most `most` wide, filled up to one width."""
    cells = [printable(name, most) for name in names]
    wide = max([least, *map(width, cells)])
    return [cell + " " * (wide - width(cell)) for cell in cells]


def number(value: float | None, digits: int, dash: str = "-") -> str:
    """A number with so many digits, or a dash where there is none."""
    return dash if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"


def counted(count: int, one: str, several: str = "") -> str:
    """A count with its noun: "1 image", "1,200 images"; `several` where that is not `one` and s."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def named_size(image_size: Sequence[int]) -> str:
    """(height, width) as names of models have them, which of rectangles is said."""
    height, width = image_size
    return f"{height}x{width}" + (" (height x width)" if height != width else "")


def pace(count: int, seconds: float) -> str:
    """How many a second, or how long each where a second is too short for one."""
    if 0 < count < seconds:
        return f"{number(seconds / count, 1)} seconds each"
    return f"{number(count / max(seconds, 1e-9), 1)} a second"


def first_names(names: Sequence[str], most: int) -> str:
    """The first names, and how many there are more: "cat, dog and 3 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def join_names(names, most: int = 8) -> str:
    """Names in a sentence: "cat, dog, ..."."""
    names = list(names)
    return ", ".join(map(printable, names[:most])) + (", ..." if len(names) > most else "")
