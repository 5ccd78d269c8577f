"""Damages of texts, of their numbers and encodings, and of JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

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


TEXT = (_number, _all_numbers, _line, _word, _encoding, _brackets)


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


JSON = (_json_value, _json_key)
