"""Taking named files out of a .tar.gz or .tar.xz that may be damaged or mean harm."""

from __future__ import annotations

import gzip
import lzma
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ssd_keras.errors import UserError
from ssd_keras.files import disk_errors, open_regular
from ssd_keras.reading import AGAIN, reading

# A name of a file, or what extends it, takes a few kilobytes.
MAX_HEADER_BYTES = 1 << 20
MAX_ENTRIES = 10_000
_BLOCK = 512
ENDINGS = (".tar.gz", ".tgz", ".tar.xz", ".txz")
# An .xz says itself how much memory it wants; its usual settings ask for up to 65 MB.
MAX_XZ_MEMORY = 128 << 20
_XZ_MAGIC = b"\xfd7zXZ\0"


def unpack(
    archive: str | Path, members: Sequence[str], folder: Path, limit: int, advice: str = AGAIN
) -> list[Path]:
    """Writes some files of an archive to a folder; nothing else in it is written anywhere.

    Args:
        archive: a .tar.gz or .tar.xz.
        members: the names of regular files in it. Links and other kinds are refused.
        folder: where they go, each under the last part of its name.
        limit: the most bytes that the archive may hold up to the last of them.
        advice: what to do if the archive is no good.

    Returns:
        Their places, in the order of `members`.

    Raises:
        UserError: the archive is damaged or larger, or has no such file.
    """
    places = {name: folder / name.rpartition("/")[2] for name in members}
    missing = set(members)
    with _open_tar(archive, limit, advice) as (tar, unpacked):
        for entry in _entries(tar, unpacked):
            name = entry.name.removeprefix("./")
            if name in missing:
                _write(tar, entry, places[name], unpacked)
                missing.remove(name)
            if not missing:
                break
    if missing:
        raise UserError(f"'{archive}' holds no file '{min(missing)}'. {advice}".rstrip())
    return list(places.values())


def list_members(archive: str | Path, limit: int) -> list[str]:
    """The names of the regular files of an archive that unpacks to at most `limit` bytes.

    Raises:
        UserError: the archive is damaged or larger.
    """
    with _open_tar(archive, limit, AGAIN) as (tar, unpacked):
        return [entry.name.removeprefix("./") for entry in _entries(tar, unpacked) if entry.isreg()]


def is_archive(path: Path) -> bool:
    """Whether a file is called as an archive."""
    return path.name.lower().endswith(ENDINGS) and path.is_file()


@contextmanager
def _open_tar(archive, limit: int, advice: str) -> Iterator[tuple[tarfile.TarFile, _Limited]]:
    with reading(archive, "an archive", advice), open_regular(archive) as raw:
        magic = raw.read(len(_XZ_MAGIC))
        raw.seek(0)
        stream = _Xz(raw) if magic == _XZ_MAGIC else gzip.GzipFile(fileobj=raw)
        unpacked = _Limited(stream, limit)
        with tarfile.open(fileobj=unpacked, mode="r|") as tar:
            yield tar, unpacked


def _entries(tar: tarfile.TarFile, unpacked: _Limited):
    for count, entry in enumerate(tar):
        if count >= MAX_ENTRIES:
            raise ValueError(f"it has more than {MAX_ENTRIES:,} entries")
        yield entry
        # What is left of this one, its padding and the next one's header.
        unpacked.allow(_stored_size(entry) + _BLOCK + MAX_HEADER_BYTES)


def _stored_size(entry: tarfile.TarInfo) -> int:
    return max(0, entry.size)


def _write(tar: tarfile.TarFile, entry: tarfile.TarInfo, place: Path, unpacked: _Limited):
    if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or entry.sparse is not None:
        raise ValueError(f"its '{entry.name[:80]}' is no plain file")
    unpacked.allow(_stored_size(entry) + MAX_HEADER_BYTES)
    content, left = tar.extractfile(entry), entry.size
    with place.open("xb") as file:
        while block := content.read(min(left, MAX_HEADER_BYTES)):
            left -= len(block)
            with disk_errors(place, ""):
                file.write(block)
    if left:
        raise ValueError(f"its '{entry.name[:80]}' is cut off")


class _Limited:
    """A stream that gives so many bytes in all, and so many until it is asked for more.

    An archive of a kilobyte can claim a name of gigabytes, which its reader would take into memory.
    """

    def __init__(self, stream, limit: int):
        self.stream, self.limit, self.allowed = stream, limit, MAX_HEADER_BYTES

    def allow(self, count: int):
        """Lets so many bytes more be read."""
        self.allowed = count

    def read(self, count: int) -> bytes:
        """At most so many bytes."""
        data = self.stream.read(count)
        self.limit -= len(data)
        self.allowed -= len(data)
        if self.limit < 0:
            raise ValueError("it unpacks to more than such an archive may hold")
        if self.allowed < 0:
            raise ValueError("a name in it has no end")
        return data


class _Xz:
    """What an .xz holds, as a stream that takes a bounded amount of memory."""

    def __init__(self, raw):
        self.raw = raw
        self.decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_XZ_MEMORY)

    def read(self, count: int) -> bytes:
        """At most so many bytes; none at the end."""
        while not self.decompressor.eof:
            data = self.raw.read(_BLOCK * 128) if self.decompressor.needs_input else b""
            if not data and self.decompressor.needs_input:
                raise EOFError("it ends too early")
            if block := self.decompressor.decompress(data, count):
                return block
        return b""
