"""Indexes: what was found in the files of a data set, kept so that the next start is quick.

An index is a file of arrays in the cache folder. It says of which files it is, by their sizes and
times, and counts for nothing once these have changed. It is written whole or not at all, so any
number of processes may use it. It is read as numbers and text, which run nothing; a damaged one is
said to be and made anew.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from absl import logging

from ssd_keras import remote
from ssd_keras.cache import cache_folder
from ssd_keras.errors import UserError, one_line
from ssd_keras.files import replace

FOLDER = "index"
# What a later version reads otherwise has another number.
VERSION = 1
# A file that was changed so short a time ago can change again without a change of its time.
_SETTLED_SECONDS = 2.0


def stamp(path: str | os.PathLike) -> tuple[int, int] | None:
    """Size and time of change (ns) of a file; None where they may not tell it from a later one."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    settled = time.time() - found.st_mtime > _SETTLED_SECONDS
    return (found.st_size, found.st_mtime_ns) if settled else None


def place_of(kind: str, path: str | os.PathLike) -> Path:
    """The file of an index of some kind, of a file or folder."""
    name = hashlib.blake2b(os.fsencode(os.path.realpath(path)), digest_size=16).hexdigest()
    return cache_folder() / FOLDER / f"{kind}-{name}.npz"


def read(place: str | Path, about: Mapping | None = None) -> dict[str, np.ndarray] | None:
    """The arrays of an index.

    Args:
        place: the file.
        about: what it must say that it is of; None takes any.

    Returns:
        The arrays; None where there is none, it is of something else, or it is damaged.
    """
    place = os.fspath(place)
    if not remote.is_file(place):
        return None
    try:
        with remote.open_binary(place) as file, zipfile.ZipFile(file) as archive:
            size = file.seek(0, os.SEEK_END)
            arrays = {name.removesuffix(".npy"): _array(archive, name, size)
                      for name in archive.namelist()}  # fmt: skip
        written = json.loads(arrays.pop("about").tobytes())
    except Exception as error:  # whatever a damaged file does to NumPy, zipfile or json
        logging.warning("'%s' is damaged (%s) and made anew.", place, one_line(error))
        return None
    wanted = json.loads(json.dumps({"version": VERSION, **(about or {})}))
    if about is None:
        written = {"version": written.get("version")}
    return arrays if written == wanted else None


def _array(archive: zipfile.ZipFile, name: str, size: int) -> np.ndarray:
    entry = archive.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > size:
        raise ValueError(f"'{name[:80]}' is larger than the file")
    data = archive.read(entry)
    with io.BytesIO(data) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"'{name[:80]}' is of a later format")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.hasobject or fortran:
            raise ValueError(f"'{name[:80]}' is not stored as plain numbers")
        return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape)


def write(place: Path, arrays: Mapping[str, np.ndarray], about: Mapping | None = None) -> None:
    """Writes an index; where it cannot be written, the next start is as slow as this one."""
    try:
        replace(place, lambda temporary: temporary.write_bytes(as_bytes(arrays, about)))
    except UserError as error:
        logging.info("%s", error)


def as_bytes(arrays: Mapping[str, np.ndarray], about: Mapping | None = None) -> bytes:
    """The file of an index."""
    text = json.dumps({"version": VERSION, **(about or {})}).encode()
    file = io.BytesIO()
    np.savez(file, about=np.frombuffer(text, np.uint8), **arrays)
    return file.getvalue()


def as_array(values: list) -> np.ndarray:
    """Texts, numbers, lists and tables as bytes `[n]`, for an index."""
    return np.frombuffer(json.dumps(values).encode(), np.uint8)


def as_values(array: np.ndarray) -> list:
    """The values of `as_array`."""
    return json.loads(array.tobytes())
