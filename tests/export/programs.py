"""Running the export programs as a user does, on a run folder with the small detector."""

import subprocess
import sys

from tests.conftest import ROOT


def run_program(name: str, *flags) -> subprocess.CompletedProcess:
    """`python -m NAME FLAGS...`."""
    return subprocess.run(
        [sys.executable, "-m", name, *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def assert_one_sentence(done: subprocess.CompletedProcess, message: str):
    """The program stopped with exit code 2 and one line that holds `message`."""
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in done.stderr
