"""The lists of a large JSON file piece by piece, in the memory of a piece.

Most of an annotation file are outlines that a detector does not use. They are read, since a file
is damaged wherever it is, and forgotten with their piece. What is unusual about a file, its
encoding, a fault or a repeated key, makes this reader give up: whoever reads the file whole says
what it is.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

import orjson

# Bytes that are read at a time, and the most that one element may need.
PIECE = 1 << 20
_MOST = 1 << 28
_SPACE = re.compile(rb"[ \t\n\r]*")
_KEY = re.compile(rb'[ \t\n\r]*("(?:[^"\\]|\\.)*")[ \t\n\r]*:[ \t\n\r]*')
_BETWEEN = re.compile(r"[ \t\n\r]*(,|\])[ \t\n\r]*")
_NEXT_ELEMENT = re.compile(rb"\}[ \t\n\r]*,[ \t\n\r]*$")


class Unusual(Exception):
    """The file is not as most are; it must be read as a whole."""


class Piece(NamedTuple):
    """Elements of a list that follow one another."""

    key: str
    elements: list


def pieces(file: BinaryIO, keys: Sequence[str]) -> Iterator[Piece]:
    """The elements of the lists `keys` of the one object that a file holds, in their order.

    Raises:
        Unusual: it is not such JSON in UTF-8, a list is not there or not a list, or a key stands
            twice in one object.
    """
    reader = _Reader(file)
    reader.skip(codecs.BOM_UTF8)
    reader.expect(b"{")
    seen: set[str] = set()
    while True:
        key = reader.key()
        if key in seen:
            raise Unusual(f"'{key}' stands twice")
        seen.add(key)
        if key in keys:
            reader.expect(b"[")
            yield from (Piece(key, elements) for elements in reader.elements())
        else:
            reader.value()
        if not reader.goes_on():
            break
    if reader.has_more() or not seen.issuperset(keys):
        raise Unusual("it is not one object with these lists")


class _Reader:
    """A file of JSON from its beginning on; what has been read of it is not kept."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._data, self._at, self._is_whole = b"", 0, False
        self._read(max(PIECE, len(codecs.BOM_UTF8)))

    def _read(self, size: int) -> None:
        more = self._file.read(size)
        self._is_whole = len(more) < size
        self._data, self._at = self._data[self._at :] + more, 0
        if len(self._data) > _MOST:
            raise Unusual("an element is very large")

    def _fill(self) -> None:
        """Reads on, unless a piece is there."""
        missing = PIECE - (len(self._data) - self._at)
        if missing > 0 and not self._is_whole:
            self._read(missing)

    def skip(self, mark: bytes) -> None:
        """Passes over a mark if it is there."""
        if self._data.startswith(mark, self._at):
            self._at += len(mark)

    def _peek(self) -> bytes:
        """The next sign that is no white space."""
        while True:
            self._fill()
            self._at = _SPACE.match(self._data, self._at).end()
            if self._at < len(self._data) or self._is_whole:
                return self._data[self._at : self._at + 1]

    def expect(self, sign: bytes) -> None:
        """Passes over a sign; Unusual if it is another."""
        if self._peek() != sign:
            raise Unusual(f"{sign!r} is missing")
        self._at += 1

    def has_more(self) -> bool:
        """Whether anything but white space follows."""
        return self._peek() != b""

    def goes_on(self) -> bool:
        """Passes over a comma, or over the end of an object, of which it says False."""
        is_comma = self._peek() == b","
        self.expect(b"," if is_comma else b"}")
        return is_comma

    def key(self) -> str:
        """The next key and its colon."""
        self._peek()
        while (found := _KEY.match(self._data, self._at)) is None:
            self._read_on(ValueError("a key is missing"))
        self._at = found.end()
        try:
            return json.loads(found[1])
        except ValueError as error:
            raise Unusual(str(error)) from error

    def value(self):
        """The next value, whatever it is."""
        self._peek()
        while True:
            text = self._text()
            try:
                value, end = _scan(text, 0)
            except (StopIteration, ValueError, RecursionError) as error:
                self._read_on(error)
                continue
            if end < len(text) or self._is_whole:  # a number may go on
                self._at += len(text[:end].encode())
                return value
            self._read_on(None)

    def _read_on(self, error: Exception | None) -> None:
        """Doubles what is there, since a value may be longer; Unusual where there is no more."""
        if self._is_whole or isinstance(error, RecursionError):
            raise Unusual(str(error)) from error
        self._read(len(self._data) - self._at + PIECE)

    def _text(self) -> str:
        """What is there, up to the last whole letter."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            return decoder.decode(self._data[self._at :], self._is_whole)
        except UnicodeDecodeError as error:
            raise Unusual(str(error)) from error

    def elements(self) -> Iterator[list]:
        """The elements of a list whose bracket was read, up to its end."""
        if self._peek() == b"]":
            self._at += 1
            return
        while True:
            self._fill()
            found = self._objects()
            if found is None:
                found, is_end = self._one_by_one()
                yield found
                if is_end:
                    return
            else:
                yield found

    def _objects(self) -> list | None:
        """Objects up to the last one that has a next one; None if they are not plain."""
        data, last = self._data, self._data.rfind(b"{")
        end = _NEXT_ELEMENT.search(data, max(self._at, last - 64), max(last, 0))
        if end is None:
            return None
        part = data[self._at : end.start() + 1]
        try:
            found = orjson.loads(b"[" + part + b"]")
        except ValueError:
            return None
        # It keeps the last of the keys that stand twice.
        if not _has_all_keys(found, part):
            return None
        self._at = last
        return found

    def _one_by_one(self) -> tuple[list, bool]:
        """Elements of any kind up to the end of the list or of what is there."""
        text, at, found = self._text(), 0, []
        while True:
            try:
                value, end = _scan(text, at)
            except (StopIteration, ValueError, RecursionError) as error:
                self._at += len(text[:at].encode())
                if not found:
                    self._read_on(error)
                return found, False
            between = _BETWEEN.match(text, end)
            # Without a sign behind it, it may go on, and so may white space without a next element.
            if between is None or (between.end() == len(text) and between[1] == ","):
                self._at += len(text[:at].encode())
                if not found:
                    self._read_on(None)
                return found, False
            found.append(value)
            at = between.end()
            if between[1] == "]":
                self._at += len(text[:at].encode())
                return found, True


def _has_all_keys(found: list, part: bytes) -> bool:
    """Whether as many keys were found as stand there; False also where that is not certain."""
    colons = part.count(b":")
    # Mostly no object is inside of another.
    if all(type(one) is dict for one in found) and sum(map(len, found)) == colons:
        return True
    keys = _keys_in(found)
    if keys == colons:
        return True
    # Texts hold colons, too.
    apart = any(sign in part for sign in (b'" :', b'"\n:', b'"\r:', b'"\t:'))
    return not apart and keys == part.count(b'":')


def _keys_in(value) -> int:
    """How many keys there are in a value, at any depth."""
    if isinstance(value, dict):
        inner = [v for v in value.values() if isinstance(v, dict | list)]
        return len(value) + sum(map(_keys_in, inner))
    if isinstance(value, list) and value and not isinstance(value[0], int | float):
        return sum(map(_keys_in, value))
    return 0


def without_repeated_keys(pairs: list[tuple[str, object]]) -> dict:
    """An object of JSON; ValueError where a key has two values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            # Another value would be lost without a word.
            if value != found[key] and value == value:
                raise ValueError(f"'{key[:40]}' stands twice in one object")
    return found


_scan = json.JSONDecoder(object_pairs_hook=without_repeated_keys).scan_once
