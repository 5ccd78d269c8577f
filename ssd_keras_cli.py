"""The command `ssd-keras`: lists the programs of `ssd_keras.commands`, or runs one of them.

It stands beside the library because whatever is imported from there brings TensorFlow along, which
takes seconds and prints notices about the machine.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import os
import sys

COMMANDS = {
    "check-data": "Says whether a data set is fit to train on: what is in it, and what is wrong.",
    "train": "Trains a detector.",
    "evaluate": "Measures a detector, or the results of any other detector, and writes a report.",
    "detect": "Finds objects in images or video, draws them and writes what was found as JSON.",
    "compare": "Trains and measures several models under one budget and writes one table.",
    "import-weights": "Makes a run folder of a detector that others trained.",
    "make-records": "Packs a data set into TFRecord files, the fastest form to train from.",
    "export-tflite": "Exports a trained detector as a .tflite file that detects by itself.",
    "export-saved-model": "Exports a trained detector as a SavedModel with detection inside.",
    "export-report": "Compares every exported form of a detector with the detector itself.",
    "demo": "The whole way in one go: train, evaluate, export to TFLite, detect, with pictures.",
}
FAULT = 2


def main():
    """Runs the program that the first word names, with the others as its flags."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("-h", "-help", "--help", "help"):
        print(overview())
    elif name == "--version":
        print(importlib.metadata.version("ssd-keras"))
    elif name.replace("_", "-") in COMMANDS:
        sys.argv = [sys.argv[0], *rest]
        run(name.replace("_", "-"))
    else:
        print(f"error: {refusal(name)}", file=sys.stderr)
        sys.exit(FAULT)


def overview() -> str:
    """The commands, a line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "Single-shot object detection, from annotated images to a .tflite file.",
            "",
            "ssd-keras COMMAND --flag=value ...",
            "",
            *lines,
            "",
            "ssd-keras COMMAND --help lists the flags of one.",
        ]
    )


def refusal(name: str) -> str:
    """What is said of a command that does not exist."""
    near = difflib.get_close_matches(name.lower().replace("_", "-"), COMMANDS, n=1)
    meant = f" Did you mean '{near[0]}'?" if near else ""
    shown = name.encode("unicode_escape").decode()
    return f"There is no command '{shown}'.{meant} Known: {', '.join(COMMANDS)}."


def run(name: str):
    """Runs a program with the flags in `sys.argv`."""
    quiet_tensorflow()
    program = importlib.import_module(f"ssd_keras.commands.{name.replace('-', '_')}")
    shared = importlib.import_module("ssd_keras.commands._program")
    shared.run(program.main, getattr(program, "expand_config", lambda argv: argv))


def quiet_tensorflow():
    """Imports TensorFlow without the notices it prints about the machine."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    saved, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        import tensorflow as tf

        tf.config.list_physical_devices()
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)
    tf.get_logger().setLevel("ERROR")


if __name__ == "__main__":
    main()
