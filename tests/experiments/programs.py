"""Programs of experiments/, as a user starts them."""

from tests import programs
from tests.programs import ROOT as ROOT
from tests.programs import Ended as Ended


def start(name: str, *flags) -> programs.Program:
    """Starts `experiments.NAME` without waiting for it, so that several run at a time."""
    return programs.start(f"experiments.{name}", *flags)


def end(program: programs.Program, timeout: float = 300) -> Ended:
    """Waits for a program, at most so many seconds."""
    return program.end(timeout)
