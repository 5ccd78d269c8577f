"""Telling how much of a file has come."""

from __future__ import annotations

import sys
import time


class Progress:
    """How much has come, in one line on a terminal, else in a line for each tenth."""

    def __init__(self, size: int | None, out=None):
        self.size, self.out = size, out or sys.stderr
        self.tenth, self.last, self.open_line = 0, 0.0, False

    def begin(self, done: int, size: int | None):
        """Starts with what is there already."""
        self.size = size
        self.tenth = self._tenth(done)
        if done:
            tell(f"Going on after {megabytes(done, size)}.")

    def show(self, done: int):
        """Says how much is there now, if it is time to."""
        if self.out.isatty():
            if time.monotonic() - self.last > 0.2:
                self.last, self.open_line = time.monotonic(), True
                print(f"\r  {megabytes(done, self.size)} ", end="", file=self.out, flush=True)
        elif self._tenth(done) > self.tenth:
            self.tenth = self._tenth(done)
            print(f"  {megabytes(done, self.size)}", file=self.out, flush=True)

    def end(self):
        """Ends the line."""
        if self.open_line:
            print("\r" + " " * 40 + "\r", end="", file=self.out, flush=True)
        self.open_line = False

    def _tenth(self, done: int) -> int:
        return 10 * done // self.size if self.size else done // 10_000_000


def megabytes(done: int, size: int | None) -> str:
    """So many bytes of so many, in MB."""
    whole = f" of {size / 1e6:.1f}" if size else ""
    return f"{done / 1e6:.1f}{whole} MB"


def tell(text: str):
    """Says something beside what a program prints as its result."""
    print(text, file=sys.stderr, flush=True)
