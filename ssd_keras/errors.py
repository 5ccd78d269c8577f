"""Errors that speak to the user: what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Iterable

LONGEST_REASON = 200


class UserError(ValueError):
    """A fault in what the user gave (a name, a flag, a file), explained in one sentence.

    Programs print it as one line and end with exit code 2; no traceback is shown.
    """


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
    """Returns " Did you mean 'X'?" for the known names nearest to `word`, or "" if none is near."""
    return _nearest(word, tuple(known), count)


# A data set may name the same unknown class once for each of a million objects.
@functools.lru_cache(maxsize=256)
def _nearest(word: str, known: tuple[str, ...], count: int) -> str:
    names = {name.lower(): name for name in known}
    near = [names[n] for n in difflib.get_close_matches(word.lower(), names, n=count, cutoff=0.6)]
    if not near:
        return ""
    return " Did you mean " + " or ".join(f"'{name}'" for name in near) + "?"
