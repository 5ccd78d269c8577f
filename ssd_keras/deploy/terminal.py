"""Keeping what native libraries print off the user's terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

PRINTED_TAIL = 2000


@contextlib.contextmanager
def hide_output() -> Iterator[None]:
    """Holds back what is printed inside; a failure that is no `OSError` or `ValueError` shows it.

    Native code writes to the file descriptors, past `sys.stdout`, so these are redirected.

    Raises:
        RuntimeError: in place of another exception, with the end of what was printed.
    """
    _flush()
    saved = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        try:
            yield
        except (OSError, ValueError):
            raise
        except Exception as error:
            sink.seek(0)
            printed = sink.read().decode(errors="replace")[-PRINTED_TAIL:]
            raise RuntimeError(f"{error}\n{printed}") from error
        finally:
            _flush()
            for descriptor, original in zip((1, 2), saved, strict=True):
                os.dup2(original, descriptor)
                os.close(original)


def _flush():
    # The disk of the temporary file may be full, and what is printed is of no use then.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
