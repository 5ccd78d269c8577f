"""What may stand in a file's place."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest


def _put_folder(path: Path):
    path.mkdir()


def _put_fifo(path: Path):
    os.mkfifo(path)


def _put_endless(path: Path):
    path.symlink_to("/dev/zero")


def _put_loop(path: Path):
    path.symlink_to(path.name)


def _put_empty(path: Path):
    path.touch()


def _put_huge(path: Path):
    """100 GB that take no space on the disk."""
    with path.open("wb") as file:
        file.truncate(100 << 30)


def _put_unreadable(path: Path):
    path.write_bytes(b"secret")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")


def _put_utf16(path: Path):
    path.write_text("cat\ndog\n", encoding="utf-16")


PLACES = {
    "a folder": _put_folder,
    "a FIFO": _put_fifo,
    "an endless device": _put_endless,
    "a link to itself": _put_loop,
    "an empty file": _put_empty,
    "a huge file": _put_huge,
    "an unreadable file": _put_unreadable,
    "UTF-16": _put_utf16,
}


def put_in_place(path: Path, kind: str):
    """Puts what is no file, or none of the kind, where a file was; `kind` is one of `PLACES`."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    PLACES[kind](path)
