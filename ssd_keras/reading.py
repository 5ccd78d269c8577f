"""Reading files that may be damaged or mean harm: every fault of theirs is one clear line."""

from __future__ import annotations

import contextlib
import json
import math
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ssd_keras.errors import UserError, missing_place, one_line, unreadable
from ssd_keras.files import open_regular

MAX_JSON_BYTES = 16 << 20
MAX_EXPANSION = 100
AGAIN = "Copy or download it again."


def read_bytes(path: str | os.PathLike, limit: int, what: str = "file", advice: str = "") -> bytes:
    """The bytes of a regular file of at most `limit` bytes.

    Args:
        path: the file, or a link to it. Pipes, devices and folders are refused, not waited for.
        limit: the most bytes it may have.
        what: what the file is called in errors, such as "weights file".
        advice: what to do if it cannot be read.

    Raises:
        UserError: it is missing, too large, no regular file or cannot be read.
    """
    with open_file(path, what, advice, limit) as file:
        # Not up to the limit: Python would take that much memory first.
        return file.read(os.fstat(file.fileno()).st_size)


def check_regular(path: str | os.PathLike, what: str = "file", advice: str = ""):
    """Refuses what is no file that can be read, for readers that open it by its path.

    Raises:
        UserError: it is missing, no regular file or cannot be read.
    """
    with open_file(path, what, advice):
        pass


@contextlib.contextmanager
def open_file(
    path: str | os.PathLike, what: str = "file", advice: str = "", limit: int | None = None
) -> Iterator[BinaryIO]:
    """Opens a regular file as bytes; faults of opening and of reading it are errors of the user.

    Args:
        path: the file, or a link to it. Pipes, devices and folders are refused, not waited for.
        what: what the file is called in errors, such as "weights file".
        advice: what to do if it cannot be read.
        limit: the most bytes it may have.

    Raises:
        UserError: it is missing, too large, no regular file or cannot be read.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if limit is not None and size > limit:
                raise UserError(
                    f"'{path}' has {size:,} bytes: it is larger than the {limit:,} bytes that "
                    f"such a file may have.{_also(advice)}"
                )
            yield file
    except (FileNotFoundError, NotADirectoryError) as error:
        raise missing_place(what, path) from error
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {one_line(error)}.{_also(advice)}") from error


@contextlib.contextmanager
def reading(path: str | os.PathLike, kind: str, advice: str = AGAIN) -> Iterator[None]:
    """Turns whatever a damaged file does to its reader into one line that names the file.

    A damaged or hostile file can make a parser fail anywhere and with any error, so every error is
    caught; only a parser may stand inside.

    Args:
        path: the file.
        kind: what it should be, such as "a .pth file".
        advice: what to do.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"'{path}' cannot be read as {kind} ({one_line(error)}): it is damaged, cut off or of "
            f"another kind.{_also(advice)}"
        ) from error


def read_json(
    path: str | os.PathLike, limit: int = MAX_JSON_BYTES, advice: str = AGAIN, finite: bool = True
):
    """The content of a JSON file; see `parse_json`. With `finite` false NaN and Infinity may stand.

    Raises:
        UserError: it cannot be read, is too large, damaged or no JSON.
    """
    data = read_bytes(path, limit, advice=advice)
    with reading(path, "JSON", advice):
        return parse_json(data) if finite else json.loads(data)


def parse_json(data: bytes):
    """JSON whose numbers are finite and fit into 64 bits.

    Raises:
        ValueError: the data is no such JSON.
        RecursionError: it is nested too deep.
    """
    return json.loads(
        data, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_of_64_bits
    )


def _refuse_constant(name: str):
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:30]} is too large")
    return value


def _of_64_bits(text: str) -> int:
    if len(text) > 20 or abs(value := int(text)) >= 1 << 64:
        raise ValueError(f"the number {text[:30]} is too large")
    return value


def read_member(archive: zipfile.ZipFile, name: str | zipfile.ZipInfo, limit: int) -> bytes:
    """One file of an archive, of at most `limit` bytes.

    Raises:
        KeyError: there is none of that name.
        ValueError: it is too large, or packed in a way that can take any amount of memory.
        zipfile.BadZipFile: it is damaged.
    """
    entry = archive.getinfo(name) if isinstance(name, str) else name
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"its '{entry.filename[:80]}' is packed in an unusual way")
    if entry.file_size > min(limit, MAX_EXPANSION * entry.compress_size + 1024):
        raise ValueError(f"its '{entry.filename[:80]}' unpacks to {entry.file_size:,} bytes")
    # Python would take the memory for all that an entry says it has.
    if entry.compress_size > archive.fp.seek(0, os.SEEK_END):
        raise ValueError(f"its '{entry.filename[:80]}' is longer than the archive")
    return archive.read(entry)


def exists(path: Path) -> bool:
    """Whether something, broken links included, has this name.

    Raises:
        UserError: the folder cannot be looked into.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    return True


def _also(advice: str) -> str:
    return f" {advice}" if advice else ""
