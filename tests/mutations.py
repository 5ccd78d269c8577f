"""Damages that files suffer, and what a reader of damaged files is held to.

def test_damaged(tmp_path):
    path = write_a_good_one(tmp_path)
    fuzz(path, read, count=60)
"""

from __future__ import annotations

import collections
import contextlib
import faulthandler
import io
import json
import os
import random
import re
import resource
import signal
import sys
import sysconfig
import time
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from ssd_keras.errors import UserError

NUMBERS = (
    *("0", "-1", "1", "2", "255", "-128", "65536", "2147483648", "-2147483649"),
    *("9223372036854775808", "12345678901234567890123456789", "1e308", "-1e308", "1e999"),
    *("NaN", "Infinity", "-Infinity", "0.5", "1e-300", ".5", "5.", "+7"),
    *("0x10", "1_000", "1,5", "--3", "३", "½"),
)
TEXTS = (
    "",
    "\0",
    "a\nb",
    "$x$",
    "../../../../etc/passwd",
    "/dev/zero",
    "os",
    "system",
    "<script>alert(1)</script>",
    "\u202e\ufeff",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "x" * 100_000,
)
VALUES = (None, True, -1, 0, 2**63, 10**400, 1e308, float("nan"), float("inf"), [], {}, [[]], [{}])
_NUMBER = re.compile(rb"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def mutations(data: bytes, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """`count` damaged copies of a file, each with the name of its damage; by `seed` the same.

    Damages of bytes for every file; of lines, numbers and encoding for texts, of values for JSON,
    and of members and headers for zip archives.
    """
    chance = random.Random(seed)
    kinds = [*_BYTES, *_kinds_of(data)]
    for index in range(count):
        kind = kinds[index % len(kinds)]
        yield f"{index} {kind.__name__.lstrip('_')}", kind(data, chance)


def _kinds_of(data: bytes) -> tuple:
    if zipfile.is_zipfile(io.BytesIO(data)):
        return _ZIP
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return ()
    if "\0" in text:
        return ()
    try:
        json.loads(text)
    except ValueError:
        return _TEXT
    return _JSON + _TEXT


def _place(data: bytes, chance: random.Random, longest: int = 64) -> tuple[int, int]:
    start = chance.randrange(len(data) + 1)
    return start, start + chance.randint(1, longest)


def _cut(data, chance):
    return data[: chance.randrange(len(data) + 1)]


def _bits(data, chance):
    flipped = bytearray(data)
    for _ in range(chance.choice((1, 1, 4, 32)) if data else 0):
        flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def _zeros(data, chance):
    start, end = _place(data, chance)
    return data[:start] + bytes(len(data[start:end])) + data[end:]


def _ones(data, chance):
    start, end = _place(data, chance)
    return data[:start] + b"\xff" * len(data[start:end]) + data[end:]


def _noise(data, chance):
    start, end = _place(data, chance)
    return data[:start] + chance.randbytes(end - start) + data[end:]


def _inserted(data, chance):
    start, end = _place(data, chance)
    return data[:start] + chance.randbytes(end - start) + data[start:]


def _removed(data, chance):
    start, end = _place(data, chance)
    return data[:start] + data[end:]


def _repeated(data, chance):
    start, end = _place(data, chance, 4096)
    return data[:end] + data[start:end] * chance.choice((1, 2, 100)) + data[end:]


def _swapped(data, chance):
    a, b, c = sorted(chance.randrange(len(data) + 1) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def _spliced(data, chance):
    """The beginning of the file and another piece of it instead of the rest."""
    return data[: chance.randrange(len(data) + 1)] + data[chance.randrange(len(data) + 1) :]


def _integer(data, chance):
    """A binary number of 4 or 8 bytes replaced by an extreme one."""
    size = chance.choice((4, 8))
    start = chance.randrange(max(1, len(data) - size))
    value = chance.choice((0, 1, (1 << 8 * size) - 1, (1 << 8 * size - 1) - 1, 1 << 8 * size - 1))
    return (
        data[:start] + value.to_bytes(size, chance.choice(("little", "big"))) + data[start:][size:]
    )


def _appended(data, chance):
    return data + chance.choice((data, b"\0" * 1000, b"\n", chance.randbytes(100)))


_BYTES = (
    _cut,
    _bits,
    _zeros,
    _ones,
    _noise,
    _inserted,
    _removed,
    _repeated,
    _swapped,
    _spliced,
    _integer,
    _appended,
)


def _number(data, chance):
    found = list(_NUMBER.finditer(data))
    if not found:
        return data
    start, end = chance.choice(found).span()
    return data[:start] + chance.choice(NUMBERS).encode() + data[end:]


def _all_numbers(data, chance):
    value = chance.choice(NUMBERS).encode()
    return _NUMBER.sub(lambda _: value, data)


def _line(data, chance):
    """A line left out, doubled, moved or made another."""
    lines = data.splitlines(keepends=True) or [b""]
    at = chance.randrange(len(lines))
    new = chance.choice(([], [lines[at]] * 2, [lines[at].strip()], [b"\n"], [b"\t,;:{}[]\n"]))
    return b"".join(lines[:at] + new + lines[at + 1 :])


def _word(data, chance):
    words = list(re.finditer(rb"\w+", data))
    if not words:
        return data
    start, end = chance.choice(words).span()
    return data[:start] + chance.choice(TEXTS).encode(errors="surrogatepass") + data[end:]


def _encoding(data, chance):
    name = chance.choice(("utf-16", "utf-32", "utf-8-sig", "latin-1", "utf-16-be"))
    return data.decode().encode(name, errors="replace")


def _brackets(data, chance):
    """What nests, nested far too deep."""
    opening = chance.choice((b"[", b"{", b"<a>", b"(", b'{"a":', b"a {"))
    start = chance.randrange(len(data) + 1)
    return data[:start] + opening * 100_000 + data[start:]


_TEXT = (_number, _all_numbers, _line, _word, _encoding, _brackets)


def _json_value(data, chance):
    """One value of a JSON file replaced by one of another type or size."""
    content = [json.loads(data)]
    place, key = chance.choice(list(_json_places(content)))
    place[key] = chance.choice((*VALUES, *TEXTS, *NUMBERS))
    return json.dumps(content[0]).encode()


def _json_key(data, chance):
    """One entry of a JSON file left out, doubled or renamed."""
    content = [json.loads(data)]
    inner = [(place, key) for place, key in _json_places(content) if place is not content]
    if not inner:
        return data
    place, key = chance.choice(inner)
    if isinstance(place, dict):
        value = place.pop(key)
        if chance.random() < 0.5:
            place[chance.choice(TEXTS)] = value
    elif chance.random() < 0.5:
        place.pop(key)
    else:
        place.insert(key, place[key])
    return json.dumps(content[0]).encode()


def _json_places(content) -> Iterator[tuple[list | dict, int | str]]:
    keys = range(len(content)) if isinstance(content, list) else list(content)
    for key in keys:
        yield content, key
        if isinstance(content[key], (list, dict)):
            yield from _json_places(content[key])


_JSON = (_json_value, _json_key)


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _packed(members) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(_entry(name), content)
    return stream.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    """Of one time, so that a seed gives the same bytes always."""
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def _zip_member(data, chance):
    """One member damaged, in an archive that is whole."""
    members = _members(data)
    name = chance.choice(list(members))
    damages = (*_BYTES, *_kinds_of(members[name]))
    members[name] = chance.choice(damages)(members[name], chance)
    return _packed(members)


def _zip_without(data, chance):
    members = _members(data)
    members.pop(chance.choice(list(members)))
    return _packed(members)


def _zip_renamed(data, chance):
    members = _members(data)
    name = chance.choice(list(members))
    members[chance.choice(("../x", "/tmp/x", ".", "a\\b", "x" * 9999, name.upper()))] = members.pop(
        name
    )
    return _packed(members)


def _zip_exchanged(data, chance):
    """The contents of two members in each other's place."""
    members = _members(data)
    one, other = chance.choice(list(members)), chance.choice(list(members))
    members[one], members[other] = members[other], members[one]
    return _packed(members)


def _zip_bomb(data, chance):
    """A member of 1 GB in 1 MB."""
    members = _members(data)
    name = chance.choice(list(members))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for other, content in members.items():
            if other != name:
                archive.writestr(_entry(other), content)
        archive.writestr(_entry(name), members[name], zipfile.ZIP_DEFLATED)
    return _with_bomb(stream.getvalue(), name, _bomb())


_BOMB_BYTES = 1 << 30


def _bomb(cache: list = []) -> bytes:  # noqa: B006
    """Deflated zeros, made once."""
    if not cache:
        packer = zlib.compressobj(1, zlib.DEFLATED, -15)
        block = bytes(1 << 24)
        packed = [packer.compress(block) for _ in range(_BOMB_BYTES >> 24)]
        cache.append(b"".join(packed) + packer.flush())
    return cache[0]


def _with_bomb(data: bytes, name: str, bomb: bytes) -> bytes:
    """An archive whose last member, deflated, is replaced by `bomb`; with an honest header."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        info = archive.getinfo(name)
    header = 30 + len(info.filename.encode())
    local = bytearray(data[info.header_offset : info.header_offset + header])
    directory = bytearray(data[info.header_offset + header + info.compress_size :])
    sizes = len(bomb).to_bytes(4, "little") + _BOMB_BYTES.to_bytes(4, "little")
    local[18:26] = sizes
    entry = directory.rindex(b"PK\x01\x02")
    directory[entry + 20 : entry + 28] = sizes
    end = directory.rindex(b"PK\x05\x06")
    start = info.header_offset + len(local) + len(bomb)
    directory[end + 16 : end + 20] = start.to_bytes(4, "little")
    return data[: info.header_offset] + bytes(local) + bomb + bytes(directory)


def _zip_size(data, chance):
    """A directory that gives a member another size than it has."""
    changed = bytearray(data)
    entries = [match.start() for match in re.finditer(rb"PK\x01\x02", data)]
    if entries:
        at = chance.choice(entries) + chance.choice((20, 24, 42))
        changed[at : at + 4] = chance.choice((0, 1, 2**31, 2**32 - 1)).to_bytes(4, "little")
    return bytes(changed)


_ZIP = (
    _zip_member,
    _zip_member,
    _zip_member,
    _zip_without,
    _zip_renamed,
    _zip_exchanged,
    _zip_bomb,
    _zip_size,
)


# === What stands in a file's place ===


def _put_folder(path: Path):
    path.mkdir()


def _put_fifo(path: Path):
    os.mkfifo(path)


def _put_endless(path: Path):
    path.symlink_to("/dev/zero")


def _put_loop(path: Path):
    path.symlink_to(path.name)


def _put_empty(path: Path):
    path.touch()


def _put_huge(path: Path):
    """100 GB that take no space on the disk."""
    with path.open("wb") as file:
        file.truncate(100 << 30)


def _put_unreadable(path: Path):
    path.write_bytes(b"secret")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")


def _put_utf16(path: Path):
    path.write_text("cat\ndog\n", encoding="utf-16")


PLACES = {
    "a folder": _put_folder,
    "a FIFO": _put_fifo,
    "an endless device": _put_endless,
    "a link to itself": _put_loop,
    "an empty file": _put_empty,
    "a huge file": _put_huge,
    "an unreadable file": _put_unreadable,
    "UTF-16": _put_utf16,
}


def put_in_place(path: Path, kind: str):
    """Puts what is no file, or none of the kind, where a file was; `kind` is one of `PLACES`."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    PLACES[kind](path)


# === What a reader is held to ===


class TooSlow(BaseException):
    """Not an `Exception`, so that no reader takes it for a fault of the file."""


class Fault(AssertionError):
    """A reader did something with a damaged file that it must not."""


def fuzz(
    path: Path,
    read: Callable[[Path], object],
    count: int = 60,
    seed: int = 0,
    **limits,
) -> collections.Counter:
    """Reads `count` damaged copies of a good file, each in the good one's place.

    Args:
        path: the good file; it is good again afterwards.
        read: the reader, which must read the good file.
        limits: see `outcome`.

    Returns:
        How many came out as "valid" and as "UserError".

    Raises:
        Fault: names every damage that a reader answered with anything else.
    """
    good = path.read_bytes()
    read(path)
    found, faults = collections.Counter(), []
    try:
        for name, damaged in mutations(good, count, seed):
            path.write_bytes(damaged)
            try:
                found[outcome(path, read, **limits)] += 1
            except Fault as fault:
                faults.append(f"{name}: {fault}")
    finally:
        path.write_bytes(good)
    if faults:
        listed = "\n".join(faults[:20])
        raise Fault(f"{len(faults)} of {count} damages of {path.name} (seed {seed}):\n{listed}")
    return found


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
    os.path.realpath(Path(__file__).parents[1]),
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
