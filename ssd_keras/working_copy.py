"""A folder of this machine that stands for one on a remote place, such as `gs://bucket/run`.

Files are fetched when they are needed and sent when they have changed, by `tf.io.gfile`; in between
whoever reads and writes them does so as everywhere else. A process has one copy of a place, in the
folder of temporary files, which it removes when it ends.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path

from ssd_keras import remote
from ssd_keras.errors import UserError
from ssd_keras.files import replace
from ssd_keras.locks import Busy

# What `pathlib` leaves of the two slashes behind a scheme.
_ONE_SLASH = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")


def working_copy(place: str | os.PathLike) -> WorkingCopy:
    """The copy that this process has of a remote folder.

    Raises:
        UserError: nothing here can open places of this scheme.
    """
    return _copy_of(_ONE_SLASH.sub(r"\1://", os.fspath(place)).rstrip("/"))


@functools.cache
def _copy_of(place: str) -> WorkingCopy:
    return WorkingCopy(place)


class WorkingCopy:
    """See `working_copy`.

    Attributes:
        place: the remote folder.
        path: the folder here, whose name tells of the place.
    """

    def __init__(self, place: str):
        remote.check(place)
        self.place = place
        temporary = tempfile.mkdtemp(prefix="ssd-keras-")
        self._remove = weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True)
        self.path = Path(temporary, re.sub(r"[^\w.-]+", "_", place)[-100:])
        self.path.mkdir()
        # What of both sides was the same when it was last looked at.
        self._here: dict[str, tuple[int, int]] = {}
        self._there: dict[str, tuple[int, int] | None] = {}

    def fetch(self, names: Iterable[str]):
        """Makes files here those of the place; what is not there is removed here.

        Raises:
            UserError: the place cannot be read.
        """
        for name in names:
            there = self._stamp_there(name)
            if there is None:
                (self.path / name).unlink(missing_ok=True)
            elif there != self._there.get(name) or not there[1]:
                with remote.faults(self._at(name)):
                    replace(self.path / name, functools.partial(remote.copy, self._at(name)))
                self._here[name] = _stamp(self.path / name)
            self._there[name] = there

    def send(self, last: Sequence[str], advice: str):
        """Sends what has changed here, each file whole or not at all.

        Args:
            last: names of files that are sent after all others, in this order. Who finds one of
                them there finds what was written before it, too. Of these it is noticed if somebody
                else has written them.
            advice: what to do then.

        Raises:
            UserError: the place cannot be written; what is here stays, and is named.
            Busy: somebody else has written one of `last`.
        """
        for name in self._changed(last):
            try:
                is_ours = name not in last or self._stamp_there(name) == self._there.get(name)
                if is_ours:
                    self._send(name)
            except UserError as error:
                raise self._not_sent(error) from error
            if not is_ours:
                raise Busy(self.place, "another process, which has written to it", advice)

    def _send(self, name: str):
        here = _stamp(self.path / name)
        with remote.replacing(self._at(name)) as (part,):
            remote.copy(self.path / name, part)
        self._here[name], self._there[name] = here, self._stamp_there(name)

    def remove_leftovers(self, folders: Sequence[str]):
        """Removes what a process that was killed while it sent has left in folders of the place."""
        for folder in folders:
            for left in remote.matching(os.path.join(self.place, folder, ".partial-*")):
                remote.remove(left)

    def _not_sent(self, error: UserError) -> UserError:
        self._remove.detach()
        _copy_of.cache_clear()
        return UserError(
            f"{error} The newest files are kept in '{self.path}': copy them to the place; else the "
            "same command goes on from what is there."
        )

    def _changed(self, last: Sequence[str]) -> list[str]:
        files = (path for path in self.path.rglob("*") if path.is_file())
        names = [path.relative_to(self.path).as_posix() for path in files]
        changed = [
            name
            for name in names
            # Locks, and files that are not whole yet.
            if not name.rpartition("/")[2].startswith(".")
            and _stamp(self.path / name) != self._here.get(name)
        ]
        place = {name: index for index, name in enumerate(last, start=1)}
        return sorted(changed, key=lambda name: (place.get(name, 0), name))

    def _stamp_there(self, name: str) -> tuple[int, int] | None:
        return remote.stamp_of(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self.place}/{name}"


def _stamp(path: Path) -> tuple[int, int]:
    """What a file is told from a changed one by."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns
