"""Running a .tflite file in a process of its own, before this one runs it.

The interpreter checks much of a file, but a damaged one may still end the process that runs it, or
keep it busy for ever: one in three hundred files with a few wrong bytes does, one in fifty with a
wrong number in its tables.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

SECONDS = 60
MEMORY = 4 << 30

_FAULT = 3
_SCRIPT = """
import sys
sys.path[:] = {path}
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
except (ImportError, OSError, ValueError):
    pass
import numpy as np
from ai_edge_litert.interpreter import Interpreter
try:
    interpreter = Interpreter(model_content=sys.stdin.buffer.read(), num_threads=1)
    interpreter.allocate_tensors()
    for entry in interpreter.get_input_details():
        value = np.random.default_rng(0).integers(0, 256, entry["shape"], np.uint8)
        interpreter.set_tensor(entry["index"], value.astype(entry["dtype"]))
    interpreter.invoke()
    for output in interpreter.get_output_details():
        interpreter.get_tensor(output["index"])
except Exception as error:
    print(error or type(error).__name__)
    sys.exit({fault})
"""


def fault_of(content: bytes) -> str | None:
    """What is wrong with a .tflite file if it cannot be run, or None.

    It is run once, in at most `SECONDS` and in `MEMORY` bytes and four times its size.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        return None  # A program with Python built in cannot start another Python.
    script = _SCRIPT.format(
        path=json.dumps(sys.path), memory=MEMORY + 4 * len(content), fault=_FAULT
    )
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", script],
            input=content,
            capture_output=True,
            timeout=SECONDS,
            check=False,
            # Each thread of the linear algebra library takes address space.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired:
        return f"it does not come to an end within {SECONDS} s"
    if done.returncode == _FAULT:
        return done.stdout.decode(errors="replace")
    return "the runtime crashes on it" if done.returncode else None
