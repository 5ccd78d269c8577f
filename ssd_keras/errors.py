"""Errors that speak to the user: what was wrong, where, and what to do."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A fault in what the user gave (a name, a flag, a file), explained in one sentence.

    Programs print it as one line and end with exit code 2; no traceback is shown.
    """


def did_you_mean(word: str, known: Iterable[str], count: int = 3) -> str:
    """Returns " Did you mean 'X'?" for the known names nearest to `word`, or "" if none is near."""
    names = {name.lower(): name for name in known}
    near = [names[n] for n in difflib.get_close_matches(word.lower(), names, n=count, cutoff=0.6)]
    if not near:
        return ""
    return " Did you mean " + " or ".join(f"'{name}'" for name in near) + "?"
