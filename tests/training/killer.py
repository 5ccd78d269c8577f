"""Runs the training program and kills it at the so-many-th call of a function.

python -m tests.training.killer MOMENT COUNT FLAGS...
"""

import io
import itertools
import os
import runpy
import signal
import sys

import numpy as np

from ssd_keras import remote

MOMENTS = ("half a file", "before it reaches the disk", "before it is moved", "after it is moved")
# Of a run on a remote place.
SENDING = ("before it is sent", "before it has its name there", "after it has its name there")


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(function, count: int, before=None, after=None):
    """The function, but its call number `count` has something before or after it."""
    calls = itertools.count(1)

    def call(*args, **options):
        fatal = next(calls) == count
        if fatal and before:
            before(*args, **options)
        result = function(*args, **options)
        if fatal and after:
            after()
        return result

    return call


def half(savez):
    """What writes half of what `numpy.savez` would write, and no more."""

    def write(file, **arrays):
        whole = io.BytesIO()
        savez(whole, **arrays)
        file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
        file.flush()
        die()

    return write


def make_deadly(moment: str, count: int):
    """Lets this process die in that moment, the so-many-th time that it comes."""
    if moment == "half a file":
        np.savez = deadly(np.savez, count, before=half(np.savez))
    elif moment == "before it reaches the disk":
        os.fsync = deadly(os.fsync, count, before=die)
    elif moment == "before it is moved":
        os.replace = deadly(os.replace, count, before=die)
    elif moment == "after it is moved":
        os.replace = deadly(os.replace, count, after=die)
    elif moment == "before it is sent":
        remote.copy = deadly(remote.copy, count, before=die)
    elif moment == "before it has its name there":
        remote.files().rename = deadly(remote.files().rename, count, before=die)
    else:
        remote.files().rename = deadly(remote.files().rename, count, after=die)


if __name__ == "__main__":
    make_deadly(sys.argv[1], int(sys.argv[2]))
    sys.argv = ["experiments.train", *sys.argv[3:]]
    runpy.run_module("experiments.train", run_name="__main__", alter_sys=True)
