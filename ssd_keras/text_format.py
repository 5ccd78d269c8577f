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
    root: dict[str, list] = {}
    stack = [(root, "")]
    tokens = _tokens(text)
    position = 0
    while position < len(tokens):
        kind, token, line = tokens[position]
        position += 1
        message, closing = stack[-1]
        if token in (";", ",") and kind == "mark":
            continue
        if kind == "mark" and token == closing:
            stack.pop()
            continue
        if kind != "word":
            raise ValueError(f"line {line}: '{token}' where the name of a field should be")
        values = message.setdefault(token, [])
        position += position < len(tokens) and tokens[position][1] == ":"
        if position == len(tokens):
            raise ValueError(f"line {line}: '{token}' has no value")
        kind, value, line = tokens[position]
        position += 1
        if kind == "mark" and value in "{<":
            if len(stack) == MAX_DEPTH:
                raise ValueError(f"line {line}: messages are nested more than {MAX_DEPTH} deep")
            values.append({})
            stack.append((values[-1], "}" if value == "{" else ">"))
        elif kind == "mark" and value == "[":
            while position < len(tokens) and tokens[position][1] != "]":
                kind, value, line = tokens[position]
                position += 1
                if kind != "mark":
                    values.append(_value(kind, value))
                elif value != ",":
                    raise ValueError(f"line {line}: '{value}' inside a list")
            position += 1
        elif kind == "mark":
            raise ValueError(f"line {line}: '{value}' where a value should be")
        else:
            end = position
            while kind == "string" and end < len(tokens) and tokens[end][0] == "string":
                end += 1
            more = [_value(*token[:2]) for token in tokens[position:end]]
            values.append("".join([_value(kind, value), *more]) if more else _value(kind, value))
            position = end
    if len(stack) > 1:
        raise ValueError(f"the text ends inside {len(stack) - 1} open messages")
    return root


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
