"""Damages that any file suffers."""

from __future__ import annotations

import random


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


BYTES = (
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
