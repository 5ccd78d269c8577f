"""Places that are no files of this machine, such as `gs://bucket/records`, by `tf.io.gfile`.

TensorFlow opens `gs://` by itself, and `s3://` and `hdfs://` once the package `tensorflow-io` is
imported. Records and run folders may lie on such places; anything else is refused by name.
"""

from __future__ import annotations

import contextlib
import glob
import importlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ssd_keras import files as local_files
from ssd_keras.errors import UserError, one_line
from ssd_keras.files import is_remote, scheme_of

# Those that the package `tensorflow-io` brings with it.
_MORE = ("s3", "hdfs", "viewfs", "har", "az", "azfs", "oss")


def _tensorflow():
    """TensorFlow, for those alone who name a remote place."""
    import tensorflow

    return tensorflow


def files():
    """The functions of `tf.io.gfile`."""
    return _tensorflow().io.gfile


def check(place: str) -> None:
    """Raises UserError if nothing here can open places of this scheme."""
    scheme = scheme_of(place)
    known = sorted(name for name in files().get_registered_schemes() if name not in ("", "ram"))
    if scheme in files().get_registered_schemes() or (scheme in _MORE and _import_more(scheme)):
        return
    more = f" '{scheme}://' takes the package tensorflow-io." if scheme in _MORE else ""
    raise UserError(
        f"'{place}' cannot be opened: TensorFlow knows {', '.join(f'{n}://' for n in known)} "
        f"here.{more} Copy the files here, or mount the place as a folder."
    )


def _import_more(scheme: str) -> bool:
    with contextlib.suppress(Exception):  # a package of another version fails in any way
        importlib.import_module("tensorflow_io")
    return scheme in files().get_registered_schemes()


@contextlib.contextmanager
def faults(place: str, done: str = "read") -> Iterator[None]:
    """Turns TensorFlow's errors about a remote place into one sentence."""
    try:
        yield
    except _tensorflow().errors.OpError as error:
        reason = one_line(error.message) or type(error).__name__
        raise UserError(f"'{place}' cannot be {done}: {reason}.") from error


def is_file(place: str) -> bool:
    """Whether a file of that name is there, here or elsewhere."""
    if not is_remote(place):
        return os.path.isfile(place)
    with faults(place):
        return files().exists(place) and not files().isdir(place)


def is_folder(place: str) -> bool:
    """Whether a folder of that name is there, here or elsewhere."""
    if not is_remote(place):
        return os.path.isdir(place)
    with faults(place):
        return files().isdir(place)


def matching(pattern: str) -> list[str]:
    """The places that a pattern with `*` fits, sorted."""
    if not is_remote(pattern):
        return sorted(glob.glob(pattern))
    with faults(pattern):
        return sorted(files().glob(pattern))


def escape(place: str) -> str:
    """A place in which no sign means more than itself, for `matching`."""
    return place if is_remote(place) else glob.escape(place)


def size_of(place: str) -> int:
    """The bytes of a file, here or elsewhere."""
    if not is_remote(place):
        return os.path.getsize(place)
    with faults(place):
        return files().stat(place).length


def stamp_of(place: str) -> tuple[int, int] | None:
    """Bytes and time (ns, 0 where the place knows none) of a remote file; None if it is not there.

    Raises:
        UserError: the place cannot be read.
    """
    with faults(place):
        try:
            found = files().stat(place)
        except _tensorflow().errors.NotFoundError:
            return None
    return found.length, found.mtime_nsec


def copy(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Copies a file from or to elsewhere, piece by piece; errors are those of TensorFlow."""
    files().copy(os.fspath(source), os.fspath(target), overwrite=True)


def open_binary(place: str) -> BinaryIO:
    """A file, here or elsewhere, opened for reading at any place.

    Raises:
        OSError: a local file cannot be opened, see `files.open_regular`.
        UserError: a remote one cannot.
    """
    if not is_remote(place):
        return local_files.open_regular(place)
    with faults(place):
        return io.BufferedReader(_File(place), 1 << 16)


def read_bytes(place: str, limit: int) -> bytes:
    """The bytes of a remote file of at most `limit`; UserError otherwise."""
    with open_binary(place) as file:
        size = file.seek(0, os.SEEK_END)
        if size > limit:
            raise UserError(f"'{place}' has {size:,} bytes, more than {limit:,}.")
        file.seek(0)
        return file.read(size)


@contextlib.contextmanager
def replacing(*places: str) -> Iterator[list[str]]:
    """As `files.replacing`, of places here or elsewhere: temporary places, moved once all is done.

    Raises:
        UserError: a file cannot be written.
    """
    if not is_remote(places[0]):
        with local_files.replacing(*places) as parts:
            yield list(map(os.fspath, parts))
        return
    check(places[0])
    parts = [f"{os.path.dirname(p)}/.partial-{os.getpid()}-{os.path.basename(p)}" for p in places]
    try:
        with faults(places[0], "written"):
            files().makedirs(os.path.dirname(places[0]))
            yield parts
            for part, place in zip(parts, places, strict=True):
                files().rename(part, place, overwrite=True)
    finally:
        for part in parts:
            remove(part)


def write_bytes(place: str, data: bytes) -> None:
    """Writes a file, here or elsewhere; see `replacing`."""
    if is_remote(place):
        remove(place)  # TensorFlow's files in memory would grow
        with files().GFile(place, "wb") as file:
            file.write(data)
    else:
        Path(place).write_bytes(data)


def remove(place: str) -> None:
    """Removes a file if it is there."""
    if not is_remote(place):
        Path(place).unlink(missing_ok=True)
        return
    with contextlib.suppress(_tensorflow().errors.OpError):
        files().remove(place)


class _File(io.RawIOBase):
    """A remote file as Python's files are."""

    def __init__(self, place: str):
        super().__init__()
        self._file = files().GFile(place, "rb")
        self._at, self._size = 0, self._file.size()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer) -> int:
        count = max(0, min(len(buffer), self._size - self._at))
        try:
            self._file.seek(self._at)
            data = self._file.read(count) if count else b""
        except _tensorflow().errors.OpError as error:
            raise OSError(one_line(error.message)) from error
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
