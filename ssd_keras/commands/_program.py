"""What every program shares: faults of the user end in one line, not in a traceback."""

from __future__ import annotations

import errno
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from absl import app, flags

import ssd_keras
from ssd_keras import data
from ssd_keras.display import printable, without_controls
from ssd_keras.errors import UserError, did_you_mean, one_line

# The modules that start the programs where the command is not installed.
IN_A_CLONE = {
    "check-data": "experiments.check_data",
    "compare": "experiments.compare",
    "demo": "experiments.demo",
    "detect": "experiments.detect",
    "evaluate": "experiments.evaluate",
    "import-weights": "experiments.import_weights",
    "make-records": "experiments.make_records",
    "train": "experiments.train",
    "export-report": "export.report",
    "export-saved-model": "export.saved_model",
    "export-tflite": "export.tflite",
}
HELP = {"--help", "-help", "-h", "--helpshort", "-?", "--helpfull"}
FAULT = 2
NOBODY_READS = 128 + 13  # as a shell says of a program that SIGPIPE ended
LIBRARY = Path(ssd_keras.__file__).parent

# Full or broken disks, and what else is wrong with a place.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_PLACE = (
    *_DISK,
    *(errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ESTALE),
)

# Every program reads images, or hands a run to one that does.
flags.DEFINE_float(
    "max_megapixels",
    data.max_megapixels(),
    "Largest image that is read, in millions of pixels; each takes 7 MB of memory.",
)


def run(
    main: Callable[[list[str]], object],
    expand: Callable[[list[str]], list[str]] = lambda argv: argv,
):
    """Parses the flags of `expand(argv)` and calls `main(argv)`.

    A `UserError`, an unknown or a wrong flag, and a place of the user's that cannot be read or
    written are printed as one line; the exit code is 2 then. What the library warns of is one line
    as well. Faults of the program itself keep their traceback.
    """
    warnings.showwarning = _show_without_code(warnings.showwarning)
    for stream in (sys.stdout, sys.stderr):
        _show_harmless(stream)
    app.run(
        _with_one_line_faults(main), flags_parser=lambda argv: _parse(argv, expand, main.__module__)
    )


def values_given(names: Iterable[str]) -> dict:
    """The flags of these names that have a value, and their values."""
    return {name: flags.FLAGS[name].value for name in names if flags.FLAGS[name].value is not None}


def command(name: str, *words: str) -> str:
    """A command as it is typed in a shell, spelt as this program was started.

    What holds blanks or signs is quoted.
    """
    return shlex.join([*_start_of(name), *map(str, words)])


def usage(text: str) -> str:
    """What a program says of itself, with the commands in it spelt as it was started."""
    names = "|".join(sorted(IN_A_CLONE, key=len, reverse=True))
    return re.sub(rf"ssd-keras ({names})\b", lambda found: " ".join(_start_of(found[1])), text)


def _start_of(name: str) -> list[str]:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    started = spec.name if spec else None
    if started in IN_A_CLONE.values():
        return ["python", "-m", IN_A_CLONE[name]]
    return ["ssd-keras", name]


def _show_without_code(usual):
    def show(message, category, filename, lineno, file=None, line=None):
        if LIBRARY in Path(filename).parents:
            print(f"warning: {message}", file=file or sys.stderr, flush=True)
        else:
            usual(message, category, filename, lineno, file, line)

    return show


def _with_one_line_faults(main):
    def run_main(argv):
        if len(argv) > 1:
            _stop(f"'{argv[1]}' is not a flag: write --name=value.")
        try:
            data.set_max_megapixels(flags.FLAGS.max_megapixels)
            result = main(argv)
            sys.stdout.flush()
            return result
        except UserError as error:
            _stop(str(error))
        except BrokenPipeError:
            _let_go_of_output()
            sys.exit(NOBODY_READS)
        except OSError as error:
            if not _is_about_a_place(error):
                raise
            _stop(_explain_place(error))
        except KeyboardInterrupt:
            _stop("Interrupted.", code=130)

    return run_main


def _is_about_a_place(error: OSError) -> bool:
    """Whether a disk or a permission is at fault, and not the program."""
    ours = error.filename is not None and LIBRARY in Path(os.fsdecode(error.filename)).parents
    return not ours and error.errno in (_PLACE if error.filename is not None else _DISK)


def _explain_place(error: OSError) -> str:
    if error.filename is None:
        return f"What the program writes cannot be written: {one_line(error)}."
    advice = "make room" if error.errno in _DISK else "see to its permissions or give another place"
    return f"'{os.fsdecode(error.filename)}': {one_line(error)}; {advice}."


def _show_harmless(stream):
    """Shows signs that would steer a terminal, and those it has no letters for, as escapes."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    write = stream.write
    stream.write = lambda text: write(without_controls(text))


def _let_go_of_output():
    """Python would complain at its end that it cannot write what is left."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
    os.close(sink)


def _parse(argv: list[str], expand, module: str) -> list[str]:
    try:
        argv = expand(argv)
    except UserError as error:
        _stop(str(error))
    if wanted := HELP.intersection(argv[1:]):
        _say(_help(module, everything="--helpfull" in wanted))
        sys.exit()
    try:
        return flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        known = [name for name in flags.FLAGS if not name.startswith("no")]
        _stop(
            f"There is no flag --{error.flagname}.{did_you_mean(error.flagname, known)}"
            " See --help for all flags."
        )
    except flags.Error as error:
        _stop(" ".join(str(error).removeprefix("FATAL Flags parsing error: ").split()))


def _help(module: str, everything: bool) -> str:
    """What a program is for, and its flags."""
    text = usage(sys.modules[module].__doc__ or "")
    if everything:
        return f"{text}\n{flags.FLAGS.get_help()}"
    shown = "".join(flags.FLAGS.module_help(name).partition(":")[2] for name in (module, __name__))
    return f"{text}{shown}\n\nTry --helpfull to get a list of all flags."


def _say(text: str):
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _let_go_of_output()
        sys.exit(NOBODY_READS)


def _stop(message: str, code: int = FAULT):
    try:
        sys.stdout.flush()
    except OSError:
        _let_go_of_output()
    print(f"error: {printable(message.strip())}", file=sys.stderr)
    sys.exit(code)
