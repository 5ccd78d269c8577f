"""What of the data a program does not measure on."""

from __future__ import annotations

from ssd_keras import evaluation
from ssd_keras.commands import _program


def say_left_out(source) -> str:
    """Says how much of the data is not measured on, and returns it.

    Raises:
        UserError: nothing is left to measure on.
    """
    if losses := evaluation.check_measurable(source):
        check = _program.command("check-data", f"--data={source.spec}")
        print(f"Not measured on: {losses}. {check} tells where.", flush=True)
    return losses
