"""Class names in files: a name a line, in the order of the labels, or label maps."""

from __future__ import annotations

import collections
import os
import re
import unicodedata
from collections.abc import Iterable

from ssd_keras.errors import UserError
from ssd_keras.reading import AGAIN, read_bytes, reading
from ssd_keras.text_format import parse_text

MAX_LABEL_BYTES = 4 << 20

_NO_CLASS = (
    *("background", "__background__", "none_of_the_above", "none of the above"),
    *("???", "n/a", ""),
)

# What some program or other takes for the end of a line.
_LINE_ENDS = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


def read_labels(path: str | os.PathLike, advice: str = AGAIN) -> tuple[str, ...]:
    """The class names of a file.

    Args:
        path: UTF-8 text with a name a line, exactly as it is, blanks at its ends included.
        advice: what to do if the file is no good.

    Raises:
        UserError: the file cannot be read, is too large, no text, or names no class, a class
            without a name, or a class twice.
    """
    data = read_bytes(path, MAX_LABEL_BYTES, "label file", advice)
    with reading(path, "a list of class names", advice):
        names = label_lines(data)
        if not names:
            raise ValueError("it names no class")
        blank = next((i for i, name in enumerate(names, start=1) if not name.strip()), None)
        if blank is not None:
            raise ValueError(f"line {blank} is empty")
        if repeated := find_first_repeated(names):
            raise ValueError(f"'{repeated[:50]}' stands there twice")
    return tuple(names)


def label_lines(data: bytes) -> list[str]:
    """The lines of a label file, whatever they mean.

    Raises:
        ValueError: the data is no UTF-8 text.
    """
    text = data.decode("utf-8-sig")
    if "\0" in text:
        raise ValueError("it is no text")
    # Other ends of lines may be part of a name, as they were until names with them were refused.
    lines = text.removesuffix("\n").split("\n") if text else []
    return [line.removesuffix("\r") for line in lines]


def label_map_items(text: str) -> list[tuple[int, str]]:
    """Number and name of each item of a label map (.pbtxt), those that mean no class included.

    Label maps of TensorFlow have `id` and, where there is one, `display_name`; Caffe's `label`.

    Raises:
        ValueError: this is no text of protobuf, or an item says something twice, or no number.
    """
    items = []
    for item in parse_text(text).get("item", []):
        for key in ("id", "label", "name", "display_name"):
            if len(item.get(key, "")) > 1:
                raise ValueError(f"an item has more than one {key}")
        name = (item.get("display_name") or item.get("name") or [""])[0]
        number = (item.get("id") or item.get("label") or [0])[0]
        if type(number) is not int:
            raise ValueError(f"'{number}' is not the number of a class")
        items.append((number, str(name).strip()))
    return items


def is_no_class(name: str) -> bool:
    """Whether this is what label maps and files call a number that no class has."""
    return name.lower() in _NO_CLASS


def label_text(names: Iterable[str]) -> str:
    """The content of a label file.

    Raises:
        UserError: a name holds an end of line; see `check_names`.
    """
    names = list(names)
    for name in names:
        if "\n" in name or "\r" in name:
            raise _refusal(name, "an end of line")
    return "".join(f"{name}\n" for name in names)


def match_key(name: str) -> str:
    """A class name in the form that all its spellings share.

    They are the same in any case of letters and Unicode form, and with blanks, hyphens or
    underscores between words.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return re.sub(r"[\s_-]+", " ", folded).strip()


def find_repeated(values: Iterable) -> list:
    """The values that are there more than once, in the order of their first places."""
    return [value for value, count in collections.Counter(values).items() if count > 1]


def find_first_repeated(values: Iterable):
    """The first value that is there twice, or None."""
    return next(iter(find_repeated(values)), None)


def check_names(names: Iterable[str]):
    """Refuses class names that no label file can hold, before anything is made with them.

    Raises:
        UserError: a name is blank or no text, holds an end of line or a zero byte, or is given
            more than once; says which.
    """
    names = list(names)
    for place, name in enumerate(names):
        if not isinstance(name, str):
            raise UserError(f"Class names must be text, but class {place} is {name!r}: rename it.")
        if not name.strip():
            raise UserError(f"Class {place} has no name ({name!r}): give it one.")
        if _LINE_ENDS.search(name) or "\0" in name:
            raise _refusal(name, "an end of line or a zero byte")
        if not _is_text(name):
            raise _refusal(name, "half a character")
    if repeated := find_first_repeated(names):
        raise UserError(f"Class names must differ, but '{repeated}' is given more than once.")


def _refusal(name: str, what: str) -> UserError:
    return UserError(
        f"The class name {name[:80]!r} holds {what}, but label files have a name a line: rename it."
    )


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
