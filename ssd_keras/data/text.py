"""Text files as people have them: which bytes are which letters, and what number a word is."""

from __future__ import annotations

import codecs
import numbers
import os
import re

import numpy as np

from ssd_keras import remote
from ssd_keras.data.source import NOTED, Problem
from ssd_keras.errors import UserError
from ssd_keras.reading import open_file

# The largest text file that is read. The annotations of the largest public data sets are smaller.
LARGEST = 4 << 30
_HEAD = 1 << 16

_MARKS = (
    # UTF-32's mark of little-endian text begins with that of UTF-16.
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")

# What texts that are not UTF-8 usually are; only for the advice.
_LIKELY = {
    "CP949": "Korean",
    "SHIFT_JIS": "Japanese",
    "GB18030": "Chinese",
    "BIG5": "Chinese",
    "CP1251": "Russian",
    "CP1252": "Western European",
}

# The 400 syllables that make 94 % of Korean text (the word frequencies of wordfreq 3.1). Bytes that
# mean something else, Chinese and Western European above all, give valid Hangul, too, but of these
# syllables only one in five.
_COMMON_HANGUL = frozenset(
    "가각간갈감강같개거건걸검것게겠겨격견결경계고곳공과관광교구국군권규그근글금급기긴길김까께끝"
    "끼나난날남내냐냥너네녀년노놓누눈뉴느는늘능니님다단달담답당대더던데도독돌동됐되된될두뒤드든"
    "들등디따때또라락란람랑래러런럼럽렇레려력련렸령로록론료루류르른를름리린릴림립마막만많말망맞"
    "매머먹메며면명모목못무문물뭐미민및바박반받발방배백버번벌범법베변별병보복본볼봐부북분불브블"
    "비빠사산살삼상새색생서석선설성세션셨소속손송수순술스슨습승시식신실심싶써쓰씨아악안않알았앞"
    "애야약양어억언얼엄업없었에엔여역연열였영예오온올와완왔왕왜외요용우운울움워원월위유육으은을"
    "음응의이인일임입있자작잘잡장재저적전절점접정제져졌조족존좀종좋죠주죽준줄중즈증지직진질집짜"
    "째쪽차참창찾채책처천첫청체초총최추축출충취츠치친침카커케코크클키타태터테토통투트특티파판패"
    "퍼페편평포폭표품프플피필하학한할함합항해했행향험현협형호혼화확환활황회획후희히힘"
)
_KOREAN_SIGNS = frozenset(
    "·…‥“”‘’〈〉《》「」『』【】〔〕、。～∼―–—°℃×÷±※→←↑↓○●◎□■◇◆△▲▽▼☆★㎜㎝㎞㎡㎏㈜①②③④⑤⑥⑦⑧⑨"  # noqa: RUF001
)


def read_text(
    path: str | os.PathLike, problems: list[Problem] | None = None, *, limit: int = LARGEST
) -> str:
    """Reads a text file in whatever encoding it unmistakably has.

    UTF-8, with or without a byte order mark; UTF-16 and UTF-32 with a mark or told by their zero
    bytes (PowerShell writes such files); CP949 where the text is Korean beyond doubt (Excel in
    Korea writes it).

    Args:
        path: the file.
        problems: a note is added to it where the encoding had to be told by the bytes.
        limit: the most bytes that are read.

    Returns:
        The text, without byte order mark; every line ends with "\\n".

    Raises:
        UserError: no file, no plain file (a folder, a pipe, a device), not readable, too large, or
            in an encoding that is not unmistakable, with how to convert it.
    """
    return decode(read_bytes(path, limit=limit), path, problems)


def read_bytes(path: str | os.PathLike, *, limit: int = LARGEST) -> bytes:
    """The bytes of a regular file of at most `limit` bytes; UserError otherwise.

    Sees by the first bytes that a large file is no text.
    """
    if remote.is_remote(path):
        return remote.read_bytes(os.fspath(path), limit)
    with open_file(path, limit=limit) as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(_HEAD)
        if len(head) == _HEAD:
            _check_head(head, os.fspath(path))
        # Not up to the limit: Python would take that much memory first.
        return head + file.read(max(0, size - len(head)))


def decode(
    data: bytes, name: str | os.PathLike = "text", problems: list[Problem] | None = None
) -> str:
    """The text that the bytes of a file are, as `read_text` has it; `name` is used in messages."""
    name = os.fspath(name)
    text, encoding = _decode_by_mark(data, name) or _decode_without_mark(data, name)
    if encoding not in ("utf-8", "utf-8-sig") and problems is not None:
        how = "CP949 (Korean)" if encoding == "cp949" else encoding.upper()
        problems.append(Problem("encoding", name, f"is read as {how}, not UTF-8", NOTED))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def lines(text: str) -> list[str]:
    """The lines of a text of `read_text`; rarer signs (U+2028, form feed) do not end a line."""
    return text.removesuffix("\n").split("\n") if text else []


def _decode_by_mark(data: bytes, name: str) -> tuple[str, str] | None:
    marked = [encoding for mark, encoding in _MARKS if data.startswith(mark)]
    for encoding in marked:
        text = _try_decode(data, encoding)
        if text is not None:
            return text, encoding
    if marked:
        what = marked[-1].removesuffix("-sig").upper()
        raise UserError(f"'{name}' begins as {what} but is none: save it again as UTF-8.")
    return None


def _decode_without_mark(data: bytes, name: str) -> tuple[str, str]:
    if b"\0" in data:
        return _wide(data, name)
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        korean = _try_decode(data, "cp949")
        if korean is not None and _is_korean(korean):
            return korean, "cp949"
        raise _unclear(data, name, error.start) from error


def _wide(data: bytes, name: str) -> tuple[str, str]:
    """Text of two or four bytes a letter, told by where its zero bytes are."""
    for encoding in _WIDE:
        text = _wide_text(data, encoding)
        if text is not None:
            return text, encoding
    raise _binary(name)


def _wide_text(data: bytes, encoding: str, *, whole: bool = True) -> str | None:
    if not _zeros_fit(data, encoding):
        return None
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(data, whole)
    except UnicodeDecodeError:
        return None
    return None if _NO_TEXT.search(text) else text


def _zeros_fit(data: bytes, encoding: str) -> bool:
    """Whether the zeros lie where line ends, digits and commas of that encoding have them."""
    size, last = (4, 3) if encoding.startswith("utf-32") else (2, 1)
    units = np.frombuffer(data[: len(data) // size * size], np.uint8).reshape(-1, size)
    units = units if encoding.endswith("le") else units[:, ::-1]
    low, high = units[:, 0], units[:, last]
    zeros, ends = high == 0, low == ord("\n")
    if size == 4:
        return bool(zeros.all())
    enough = zeros.sum() >= max(1, len(units) // 8) and zeros.sum() >= 4 * (low == 0).sum()
    return bool(enough and zeros[ends].all() and not (high == ord("\n")).any())


# Control characters other than those of white space, and code points that mean nothing.
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x19\x1b-\x1f\ufffe\uffff]")


def _check_head(head: bytes, name: str) -> None:
    """Refuses a large file by its beginning where that is no text."""
    marked = head.startswith(tuple(mark for mark, _ in _MARKS))
    if b"\0" in head and not marked and not any(_wide_text(head, e, whole=False) for e in _WIDE):
        raise _binary(name)


def _binary(name: str) -> UserError:
    return UserError(f"'{name}' is no text: it holds zero bytes.")


def _try_decode(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _is_korean(text: str) -> bool:
    foreign = {letter for letter in text if letter > "\x7f"} - _KOREAN_SIGNS
    if not all("가" <= letter <= "힣" for letter in foreign):
        return False
    common = len(foreign & _COMMON_HANGUL)
    rare = len(foreign) - common
    return (common >= 3 and common >= 4 * rare) or common - rare >= 6


def _unclear(data: bytes, name: str, at: int) -> UserError:
    line = data.count(b"\n", 0, at) + 1
    likely = _likely(data)
    may_be = f": it may be {' or '.join(likely)}" if likely else ""
    return UserError(
        f"'{name}' is not UTF-8 (line {line}){may_be}. Save it as UTF-8, or convert it with the "
        "encoding that it has, e.g. 'iconv -f CP949 -t UTF-8 OLD > NEW'."
    )


def _likely(data: bytes) -> list[str]:
    runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", data)]
    # Letters with accents stand alone, or nearly so; those of East Asia and Russia in groups.
    western = sum(run == 1 for run in runs) > len(runs) / 2
    codes = ["CP1252"] if western else list(_LIKELY)
    return [f"{code} ({_LIKELY[code]})" for code in codes if _try_decode(data, code) is not None]


# What a program writes for a number. Python would take 1_000 and digits of other scripts, too.
_NUMBER = re.compile(
    r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?(?:nan|inf|infinity)", re.ASCII | re.IGNORECASE
)


_LARGEST_INT = 1 << 53


def number(value) -> float | None:
    """A number, or the number that a text is, as float; None for anything else.

    `nan` and `inf` are numbers here, and named as coordinates later. True, "1_000", "0,5" and
    digits other than 0 to 9 are none.
    """
    if type(value) is float or value is None:
        return value
    if type(value) is int and -_LARGEST_INT < value < _LARGEST_INT:
        return float(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = value.strip()
        return float(value) if _NUMBER.fullmatch(value) else None
    try:
        return float(value) if isinstance(value, numbers.Real) else None
    except OverflowError:
        return None


_YES = ("1", "1.0", "true", "t", "yes", "y")
# Open Images writes -1 where it is not known.
_NOT = ("", "0", "0.0", "false", "f", "no", "n", "none", "null", "nan", "unspecified", "-1")


def mark(value) -> bool | None:
    """What a mark such as `iscrowd` says, or its text; None if it says neither yes nor no."""
    written = "" if value is None else str(value).strip().lower()
    return True if written in _YES else False if written in _NOT else None
