"""Whether a file is the one that was published, where its checksum is known and where not."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from ssd_keras.errors import UserError, unreadable
from ssd_keras.files import measure, write_text
from ssd_keras.reading import exists, read_bytes
from ssd_keras.weights.catalogue import Remote
from ssd_keras.weights.progress import tell

# PyTorch's files carry the beginning of their checksum.
_PYTORCH = re.compile(r"-([0-9a-f]{8})\.pth$")


def check(path: Path, file: Remote, folder: Path):
    """Refuses a file that is not the one which was published.

    Where its checksum is not known, that of the first file is written to `folder`, and another one
    is refused from then on.

    Raises:
        UserError: its size or its checksum is another, or it cannot be read.
    """
    size, digest = _measure(path)
    if file.size is not None and size != file.size:
        raise _another(path, f"it has {size:,} bytes, not {file.size:,}")
    known, record = file.sha256, _record(file, folder)
    if not known and exists(record):
        known = read_bytes(record, 1 << 10).decode("ascii", "replace")[:64]
    if known and digest != known:
        said = "" if file.sha256 else f" that '{record}' remembers from the first time"
        raise _another(path, f"its sha256 is {digest}, not the {known}{said}")
    if (begins := _PYTORCH.search(file.name)) and not digest.startswith(begins[1]):
        raise _another(path, f"its sha256 is {digest}, not {begins[1]}... as its name says")
    if not known:
        write_text(record, f"{digest}  {file.name}\n")
        tell(
            f"The checksum of '{file.name}' is not known: nothing but the connection vouches for "
            f"it. Its sha256 is {digest}, written to '{record}'; another file is refused from now "
            "on."
        )


@contextlib.contextmanager
def first_use(file: Remote, folder: Path) -> Iterator[None]:
    """Where a file whose checksum is not known is read: one that proves to be none is forgotten.

    What came first, or lay there, need not be the right one: it may be a page to sign in.
    """
    files = (folder / file.name, _record(file, folder))
    new = [] if file.sha256 else [path for path in files if not exists(path)]
    try:
        yield
    except UserError as error:
        if getattr(error.__cause__, "errno", None) is None:  # not the disk's fault
            for path in new:
                path.unlink(missing_ok=True)
        raise


def _record(file: Remote, folder: Path) -> Path:
    return folder / f"{file.name}.sha256"


def _another(path: Path, reason: str) -> UserError:
    return UserError(f"'{path}' is not the file that was published: {reason}.")


def _measure(path: Path) -> tuple[int, str]:
    try:
        return measure(path)
    except OSError as error:
        raise unreadable(path, error) from error
