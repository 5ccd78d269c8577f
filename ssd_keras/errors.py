"""Errors that speak to the user: what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
import functools
import os
import re
from collections.abc import Iterable

LONGEST_REASON = 200
# Longer ones, without a blank, are no name that a user could read.
_LONGEST_WORD = re.compile(r"\S{300,}")
# Control characters, signs that turn the direction of writing, and halves of characters.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class UserError(ValueError):
    """A fault in what the user gave (a name, a flag, a file), explained in one sentence.

    Programs print it as one line and end with exit code 2; no traceback is shown. Names in it may
    come from files, so characters that cannot be seen are escaped and words without end cut.
    """

    def __init__(self, message: str = ""):
        super().__init__(legible(message))


def legible(text: str) -> str:
    """A text in which nothing is unseen, and no word longer than a terminal can show."""
    text = _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)
    return _LONGEST_WORD.sub(lambda found: f"{found[0][:150]}[...]{found[0][-100:]}", text)


def unknown(what: str, name: str, known: Iterable[str], where: str = "") -> UserError:
    """The error for a name that is not among those that are known.

    Args:
        what: what was looked for, such as "split" or "data format".
        name: what the user wrote.
        known: all that he could have written.
        where: what it was looked for in, such as "in 'data.yaml' (from 'yolo:data.yaml#vall')".
    """
    known = [str(one) for one in known]
    place = f" {where}" if where else ""
    more = ", ..." if len(known) > 30 else "."
    listed = f" Known: {', '.join(known[:30])}{more}"
    return UserError(
        f"There is no {what} '{name}'{place}.{did_you_mean(name, known)}{listed if known else ''}"
    )


def not_one_of(name: str, value: str, known: Iterable[str]) -> UserError:
    """The error for a setting that takes some words only, and was given another."""
    known = list(known)
    return UserError(
        f"{name} must be one of {', '.join(known)}, got '{value}'.{did_you_mean(str(value), known)}"
    )


def require_one_of(name: str, value: object, known: Iterable[str]):
    """Raises ValueError for an argument of a constructor that takes some words only."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got '{value}'.")


def unreadable(path: str | os.PathLike, error: BaseException) -> UserError:
    """The error for a file that is there and cannot be read."""
    return UserError(f"'{path}' cannot be read: {one_line(error)}.")


def missing_place(what: str, path: str | os.PathLike, spec: str = "") -> UserError:
    """The error for a file or folder that does not exist; names what beside it is called alike.

    Args:
        what: "file", "folder", "image" ...
        path: where it should be.
        spec: how the user named it, where that differs from the path.
    """
    path = os.fspath(path)
    parent, name = os.path.split(os.path.abspath(path))
    try:
        near = os.listdir(parent)
    except OSError:
        near = []
    source = f" (from '{spec}')" if spec and spec != path else ""
    return UserError(f"There is no {what} '{path}'{source}.{did_you_mean(name, near)}")


def one_line(error: BaseException | str) -> str:
    """The text of another library's error as part of a sentence: one line, not too long."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(reason.split()) or type(error).__name__
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 4] + " ..."


def did_you_mean(word: str, known: Iterable[str], count: int = 3) -> str:
    """Returns " Did you mean 'X'?" for the known names nearest to `word`, or "" if none is near.

    Of equally near ones the first known comes first.
    """
    return _nearest(word, tuple(known), count)


# A data set may name the same unknown class once for each of a million objects.
@functools.lru_cache(maxsize=256)
def _nearest(word: str, known: tuple[str, ...], count: int) -> str:
    names = {name.lower(): name for name in known}
    order, matcher = list(names), difflib.SequenceMatcher(b=word.lower())

    def unlikeness(name: str) -> tuple[float, int]:
        matcher.set_seq1(name)
        return -matcher.ratio(), order.index(name)

    near = difflib.get_close_matches(word.lower(), names, n=len(names) or 1, cutoff=0.6)
    best = [names[name] for name in sorted(near, key=unlikeness)[:count]]
    return " Did you mean " + " or ".join(f"'{name}'" for name in best) + "?" if best else ""
