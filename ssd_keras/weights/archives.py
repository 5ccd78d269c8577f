"""Taking named files out of a .tar.gz that may be damaged or mean harm."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Sequence
from pathlib import Path

from ssd_keras.errors import UserError
from ssd_keras.files import disk_errors, open_regular
from ssd_keras.reading import AGAIN, reading

# A name of a file, or what extends it, takes a few kilobytes.
MAX_HEADER_BYTES = 1 << 20
MAX_ENTRIES = 10_000
_BLOCK = 512


def unpack(
    archive: str | Path, members: Sequence[str], folder: Path, limit: int, advice: str = AGAIN
) -> list[Path]:
    """Writes some files of an archive to a folder; nothing else in it is written anywhere.

    Args:
        archive: a .tar.gz.
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
    with reading(archive, "an archive", advice), open_regular(archive) as raw:
        unpacked = _Limited(gzip.GzipFile(fileobj=raw), limit)
        with tarfile.open(fileobj=unpacked, mode="r|") as tar:
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
