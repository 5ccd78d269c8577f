"""Core Networks from a Python file of the user."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Callable

import keras

from ssd_keras.errors import UserError, did_you_mean, one_line


def backbone_from_file(place: str) -> Callable[[tuple[int, int]], keras.Model]:
    """The function that builds a Core Network, from a Python file, which is run for it.

    Args:
        place: `FILE.py:FUNCTION`. The file may import what lies beside it.

    Raises:
        UserError: there is no such file or function, or the file cannot be run.
    """
    path, _, name = place.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        raise UserError(f"A backbone of your own is given as FILE.py:FUNCTION, got '{place}'.")
    try:
        changed = os.stat(path).st_mtime_ns
    except OSError as error:
        raise UserError(f"The backbone's '{path}' cannot be read: {one_line(error)}.") from error
    known = _run(os.path.abspath(path), changed)
    function = known.get(name)
    if not callable(function):
        functions = [key for key, value in known.items() if callable(value) and key[0] != "_"]
        raise UserError(
            f"'{path}' has no function '{name}'.{did_you_mean(name, functions)} It must take "
            "(height, width) and return a keras.Model."
        )
    return function


# Once for each version of a file: run again, its classes would be others than those in use.
@functools.cache
def _run(path: str, _changed: int) -> dict:
    """The names that a Python file defines."""
    folder, file = os.path.split(path)
    spec = importlib.util.spec_from_file_location(file.removesuffix(".py"), path)
    module = importlib.util.module_from_spec(spec)
    # Last, so that a file beside it cannot take the place of a package.
    sys.path.append(folder)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(
            f"The backbone's '{path}' cannot be run ({type(error).__name__}: {error})"
            f"{_line(error, path)}."
        ) from error
    finally:
        sys.path.remove(folder)
    return vars(module)


def _line(error: BaseException, path: str) -> str:
    """Where in the file an error arose."""
    if isinstance(error, SyntaxError):
        # Its message says so.
        return ""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f" in line {lines[-1]}" if lines else ""
