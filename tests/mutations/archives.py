"""Damages of zip archives: of their members, their directory, and what they unpack to."""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib

from tests.mutations.binary import BYTES
from tests.mutations.texts import JSON, TEXT


def kinds_of(data: bytes) -> tuple:
    """The damages that suit what a file holds, beside those of bytes."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        return ZIP
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return ()
    if "\0" in text:
        return ()
    try:
        json.loads(text)
    except ValueError:
        return TEXT
    return JSON + TEXT


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _packed(members) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(_entry(name), content)
    return stream.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    """Of one time, so that a seed gives the same bytes always."""
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def _zip_member(data, chance):
    """One member damaged, in an archive that is whole."""
    members = _members(data)
    name = chance.choice(list(members))
    damages = (*BYTES, *kinds_of(members[name]))
    members[name] = chance.choice(damages)(members[name], chance)
    return _packed(members)


def _zip_without(data, chance):
    members = _members(data)
    members.pop(chance.choice(list(members)))
    return _packed(members)


def _zip_renamed(data, chance):
    members = _members(data)
    name = chance.choice(list(members))
    members[chance.choice(("../x", "/tmp/x", ".", "a\\b", "x" * 9999, name.upper()))] = members.pop(
        name
    )
    return _packed(members)


def _zip_exchanged(data, chance):
    """The contents of two members in each other's place."""
    members = _members(data)
    one, other = chance.choice(list(members)), chance.choice(list(members))
    members[one], members[other] = members[other], members[one]
    return _packed(members)


def _zip_bomb(data, chance):
    """A member of 1 GB in 1 MB."""
    members = _members(data)
    name = chance.choice(list(members))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for other, content in members.items():
            if other != name:
                archive.writestr(_entry(other), content)
        archive.writestr(_entry(name), members[name], zipfile.ZIP_DEFLATED)
    return _with_bomb(stream.getvalue(), name, _bomb())


_BOMB_BYTES = 1 << 30


def _bomb(cache: list = []) -> bytes:  # noqa: B006
    """Deflated zeros, made once."""
    if not cache:
        packer = zlib.compressobj(1, zlib.DEFLATED, -15)
        block = bytes(1 << 24)
        packed = [packer.compress(block) for _ in range(_BOMB_BYTES >> 24)]
        cache.append(b"".join(packed) + packer.flush())
    return cache[0]


def _with_bomb(data: bytes, name: str, bomb: bytes) -> bytes:
    """An archive whose last member, deflated, is replaced by `bomb`; with an honest header."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        info = archive.getinfo(name)
    header = 30 + len(info.filename.encode())
    local = bytearray(data[info.header_offset : info.header_offset + header])
    directory = bytearray(data[info.header_offset + header + info.compress_size :])
    sizes = len(bomb).to_bytes(4, "little") + _BOMB_BYTES.to_bytes(4, "little")
    local[18:26] = sizes
    entry = directory.rindex(b"PK\x01\x02")
    directory[entry + 20 : entry + 28] = sizes
    end = directory.rindex(b"PK\x05\x06")
    start = info.header_offset + len(local) + len(bomb)
    directory[end + 16 : end + 20] = start.to_bytes(4, "little")
    return data[: info.header_offset] + bytes(local) + bomb + bytes(directory)


def _zip_size(data, chance):
    """A directory that gives a member another size than it has."""
    changed = bytearray(data)
    entries = [match.start() for match in re.finditer(rb"PK\x01\x02", data)]
    if entries:
        at = chance.choice(entries) + chance.choice((20, 24, 42))
        changed[at : at + 4] = chance.choice((0, 1, 2**31, 2**32 - 1)).to_bytes(4, "little")
    return bytes(changed)


ZIP = (
    _zip_member,
    _zip_member,
    _zip_member,
    _zip_without,
    _zip_renamed,
    _zip_exchanged,
    _zip_bomb,
    _zip_size,
)
