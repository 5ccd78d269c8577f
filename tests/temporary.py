"""One folder for all that a run of tests leaves, which goes when the run ends.

TensorFlow, and every program that is killed, leave files where temporary files are made. Workers,
and the programs that tests start, inherit the folder, so that it also holds what they share.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

# The environment variable of the folder of a run.
FOLDER = "TESTS_FOLDER"
_making: set[str] = set()


def stay_in_one_folder():
    """Makes the folder, unless this process is a worker, who is given that of its run."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    # What pytest keeps of tests that failed stays where pytest looks for it.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    folder = tempfile.mkdtemp(prefix="tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["TMPDIR"] = os.environ[FOLDER] = folder
    tempfile.tempdir = None


def once(name: str, make: Callable[[], bytes]) -> bytes:
    """What `make` returns, which is called once in a run, by the first worker who asks for it."""
    if FOLDER not in os.environ:
        return make()
    if name in _making:
        raise RuntimeError(f"'{name}' is asked for while it is made, which would wait for itself.")
    # Here, as the process that hands out the tests to others does without TensorFlow.
    from ssd_keras import locks

    folder = Path(os.environ[FOLDER], "once", name)
    content = folder / "content"
    _making.add(name)
    try:
        with locks.waiting(folder, tell=lambda holder: None):
            if not content.exists():
                content.write_bytes(make())
            return content.read_bytes()
    finally:
        _making.discard(name)
