"""Running the export programs as a user does, on a run folder with the small detector."""

import subprocess

from tests import programs


def run_program(name: str, *flags, **environment) -> subprocess.CompletedProcess:
    """`python -m NAME FLAGS...`."""
    printed, complaint, code = programs.run(name, *flags, **environment)
    return subprocess.CompletedProcess([name, *flags], code, printed, complaint)


def assert_one_sentence(done: subprocess.CompletedProcess, message: str):
    """The program stopped with exit code 2 and one line that holds `message`."""
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in done.stderr
