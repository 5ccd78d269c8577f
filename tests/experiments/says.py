"""A program that prints a text to an output of a kind.

python -m tests.experiments.says KIND TEXT
"""

import os
import sys

from ssd_keras.commands import _program


def standard_output(kind: str):
    """`sys.stdout` as Python makes it for a file, a terminal of few letters, or what is in KIND."""
    if kind == "full disk":
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    if kind == "nobody reads":
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, 1)
    encoding = "ascii" if kind == "few letters" else "utf-8"
    return os.fdopen(1, "w", encoding=encoding, closefd=False)


def main(_):
    print(text)


if __name__ == "__main__":
    kind, text = sys.argv[1:]
    del sys.argv[1:]
    sys.stdout = standard_output(kind)
    _program.run(main)
