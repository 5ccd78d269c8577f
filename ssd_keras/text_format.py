"""Protobuf's text format (.prototxt, .pbtxt) read without knowing the messages."""

from __future__ import annotations

import re

MAX_DEPTH = 50

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<word>[A-Za-z0-9_.+\-/]+)
    |(?P<mark>[{}<>\[\]:;,])""",
    re.VERBOSE,
)
# Those of C: a byte in octal or hexadecimal digits, a code point, or a single sign.
_ESCAPE = re.compile(
    rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))"
)
_ESCAPES = dict(zip(b"abfnrtv", b"\a\b\f\n\r\t\v", strict=True))


def parse_text(text: str) -> dict[str, list]:
    """Reads a message: field name -> list of its values, in order.

    A value is a nested message (dict), a string, a number, a bool, or the name of an enum value as
    a string.

    Raises:
        ValueError: this is not text format; says in which line.
    """
    tokens = _Tokens(text)
    root: dict[str, list] = {}
    stack = [(root, "")]
    while tokens.left():
        message, closing = stack[-1]
        kind, token, line = tokens.take()
        if kind == "mark" and token in (";", ","):
            continue
        if kind == "mark" and token == closing:
            stack.pop()
            continue
        if kind != "word":
            raise ValueError(f"line {line}: '{token}' where the name of a field should be")
        values = message.setdefault(token, [])
        tokens.skip(":")
        if not tokens.left():
            raise ValueError(f"line {line}: '{token}' has no value")
        kind, token, line = tokens.take()
        if kind != "mark":
            values.append(tokens.value(kind, token))
        elif token == "[":
            values += tokens.values()
        elif token in "{<":
            if len(stack) == MAX_DEPTH:
                raise ValueError(f"line {line}: messages are nested more than {MAX_DEPTH} deep")
            values.append({})
            stack.append((values[-1], "}" if token == "{" else ">"))
        else:
            raise ValueError(f"line {line}: '{token}' where a value should be")
    if len(stack) > 1:
        raise ValueError(f"the text ends inside {len(stack) - 1} open messages")
    return root


class _Tokens:
    """The tokens of a text, (kind, token, line) each, taken one after the other."""

    def __init__(self, text: str):
        self._tokens = _tokens(text)
        self._position = 0

    def left(self) -> bool:
        """Whether there are more."""
        return self._position < len(self._tokens)

    def take(self) -> tuple[str, str, int]:
        """The next one."""
        self._position += 1
        return self._tokens[self._position - 1]

    def skip(self, token: str) -> bool:
        """Takes the next one if it is this, and says whether it was."""
        is_next = self.left() and self._tokens[self._position][1] == token
        self._position += is_next
        return is_next

    def value(self, kind: str, token: str):
        """The value that begins with this token; texts that follow each other are one."""
        if kind != "string":
            return _value(kind, token)
        parts = [_value(kind, token)]
        while self.left() and self._tokens[self._position][0] == "string":
            parts.append(_value(*self.take()[:2]))
        return "".join(parts)

    def values(self) -> list:
        """Those of a list, whose bracket was taken."""
        values = []
        while self.left() and not self.skip("]"):
            kind, token, line = self.take()
            if kind != "mark":
                values.append(_value(kind, token))
            elif token != ",":
                raise ValueError(f"line {line}: '{token}' inside a list")
        return values


def _tokens(text: str) -> list[tuple[str, str, int]]:
    tokens, position, line = [], 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"line {line}: unexpected character {text[position]!r}")
        if match.lastgroup != "space":
            tokens.append((match.lastgroup, match.group(), line))
        line += match.group().count("\n")
        position = match.end()
    return tokens


def _value(kind: str, token: str):
    if kind == "string":
        return _unescape(token[1:-1])
    if token in ("true", "false"):
        return token == "true"
    for number in (int, float):
        try:
            return number(token)
        except ValueError:
            continue
    return token


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    data = _ESCAPE.sub(_bytes_of, text.encode("utf-8", errors="surrogatepass"))
    # Protobuf writes letters beyond ASCII as the bytes of UTF-8.
    return data.decode("utf-8", errors="backslashreplace")


def _bytes_of(escape: re.Match) -> bytes:
    octal, hexadecimal, *points, sign = escape.groups()
    if sign is not None:
        return bytes([_ESCAPES.get(sign[0], sign[0])])
    if octal or hexadecimal:
        return bytes([int(octal, 8) & 0xFF if octal else int(hexadecimal, 16)])
    point = int(points[0] or points[1], 16)
    if point > 0x10FFFF:
        raise ValueError(f"\\U{point:08x} is no letter")
    return chr(point).encode("utf-8", errors="surrogatepass")
