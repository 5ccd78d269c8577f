"""What a reader of damaged files is held to."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import resource
import signal
import sys
import sysconfig
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from ssd_keras.errors import UserError


class TooSlow(BaseException):
    """Not an `Exception`, so that no reader takes it for a fault of the file."""


class Fault(AssertionError):
    """A reader did something with a damaged file that it must not."""


def outcome(
    path: Path,
    read: Callable[[Path], object],
    *,
    seconds: float = 10.0,
    megabytes: int = 600,
    named: str | None = None,
    imports: Collection[str] = (),
    events: Collection[str] = (),
) -> str:
    """Reads a file under guard: "valid", or "UserError" with one line that names the file.

    Args:
        path: the file; nothing outside its folder may be opened.
        read: the reader.
        seconds: longest time of the processor; a reader that waits has `PATIENCE` times as long.
        megabytes: most memory beyond what the process has already.
        named: what the error must name; the file's name unless given.
        imports: packages that the reader may import beyond those that are imported already.
        events: what is forbidden to others and not to this reader, such as "subprocess.Popen".

    Raises:
        Fault: another error, too much time or memory, something opened, started or imported.
    """
    try:
        with _guarded(path.parent, seconds, megabytes, imports, events):
            read(path)
    except UserError as error:
        chain = list(_causes(error))
        if any(isinstance(cause, MemoryError) for cause in chain):
            raise Fault(f"more than {megabytes} MB: {error}") from error
        if "\n" in str(error) or len(str(error)) > 1500:
            raise Fault(f"not one line: {str(error)[:300]!r}") from error
        if (path.name if named is None else named) not in str(error):
            raise Fault(f"does not name the file: {error}") from error
        return "UserError"
    except TooSlow as error:
        raise Fault(f"took more than {seconds:g} s") from error
    except Fault:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        text = " ".join(str(error).split())[:200]
        raise Fault(f"{type(error).__name__}: {text}{_origin(error)}") from error
    return "valid"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _origin(error: BaseException) -> str:
    traceback = error.__traceback__
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    if traceback is None:
        return ""
    return f" ({Path(traceback.tb_frame.f_code.co_filename).name}:{traceback.tb_lineno})"


_FORBIDDEN = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.startfile",
    "pty.spawn",
    "socket.connect",
    "socket.bind",
    "ctypes.dlopen",
    "webbrowser.open",
)
_TOUCHES = ("open", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink")
_LIBRARIES = (
    *(os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")),
    os.path.realpath(Path(__file__).parents[2]),
)
_SYSTEM = ("/proc/", "/sys/", "/etc/ld.so", "/dev/null", "/dev/urandom")


class _Watch:
    """An audit hook, which Python cannot take away again: it looks only while it is on."""

    def __init__(self):
        self.on, self.folder, self.seen = False, "", []
        self.imports, self.events = (), ()
        sys.addaudithook(self)

    def __call__(self, event, args):
        if not self.on:
            return
        self.on = False  # what is asked below would come here again
        try:
            fault = self._fault(event, args)
            if fault:
                self.seen.append(fault)
        finally:
            self.on = True

    def _fault(self, event, args) -> str | None:
        if event in _FORBIDDEN and event not in self.events:
            return f"{event} {args[0]!r}"
        if event == "import":
            package = str(args[0]).partition(".")[0]
            if package not in sys.modules and package not in self.imports:
                return f"imported '{args[0]}'"
        if event in _TOUCHES and isinstance(args[0], (str, bytes, os.PathLike)):
            place = os.path.abspath(os.fsdecode(args[0]))
            writes = event != "open" or _writes(args)
            allowed = (self.folder,) if writes else (self.folder, *_LIBRARIES, *_SYSTEM)
            if not place.startswith(allowed) and "__pycache__" not in place:
                return f"{event} '{place}'"
        return None


def _writes(args) -> bool:
    mode = args[1] if len(args) > 1 else None
    return isinstance(mode, str) and any(letter in mode for letter in "wax+")


_watch: list[_Watch] = []
# How much slower than its processor a busy machine may be.
PATIENCE = 4


@contextlib.contextmanager
def _guarded(
    folder: Path,
    seconds: float,
    megabytes: int,
    imports: Collection[str],
    events: Collection[str],
):
    if not _watch:
        _watch.append(_Watch())
    watch = _watch[0]
    watch.folder, watch.seen = os.path.abspath(folder), []
    watch.imports, watch.events = tuple(imports), tuple(events)
    # The second is for code that no signal reaches: it ends the process and says where it was.
    faulthandler.dump_traceback_later(10 * PATIENCE * seconds, exit=True)
    earlier = [signal.signal(sent, _too_slow) for sent in (signal.SIGPROF, signal.SIGALRM)]
    # Computing, and waiting. Again and again, for it may fall where exceptions are swallowed.
    signal.setitimer(signal.ITIMER_PROF, seconds, 0.1)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE * seconds, 0.1)
    started = time.process_time()
    watch.on = True
    try:
        with _memory_limit(megabytes):
            yield
    finally:
        watch.on = False
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
        for sent, handler in zip((signal.SIGPROF, signal.SIGALRM), earlier, strict=True):
            signal.signal(sent, handler)
        faulthandler.cancel_dump_traceback_later()
        if watch.seen:
            raise Fault(f"it did what no reader may: {'; '.join(watch.seen[:5])}")
        if time.process_time() - started > seconds:
            raise TooSlow


def _too_slow(*_):
    raise TooSlow


@contextlib.contextmanager
def _memory_limit(megabytes: int):
    """Address space beyond what is used; where the system cannot say that, no limit."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
