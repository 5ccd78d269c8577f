"""Fonts that have the signs of a text, whatever its script; where there is none, that is said once.

DejaVu Sans, which comes with matplotlib, has Latin, Greek, Cyrillic and more. For other scripts the
fonts of the system are looked through when such a text is first drawn.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import unicodedata
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import ImageDraw, ImageFont

# Words in the names of signs, and what has them.
_ADVICE = (
    (("HANGUL", "CJK", "HIRAGANA", "KATAKANA"), "a font for Korean, Chinese and Japanese",
     "Noto Sans CJK (Debian, Ubuntu, Colab: apt install fonts-noto-cjk)"),
    (("",), "a font that has them", "Noto Sans (Debian, Ubuntu, Colab: apt install fonts-noto)"),
)  # fmt: skip
_INVISIBLE = "\u200c\u200d\ufe0e\ufe0f"
_missing_said: set[str] = set()


@functools.lru_cache(maxsize=4096)
def font_runs(text: str) -> tuple[tuple[str, str | None], ...]:
    """A text in parts, each with the file of a font that has all of its signs.

    One font for the whole text if there is one. Signs that no font has are written as their
    numbers (`\\uac1c`), and it is said once which font to install. The file is None where not even
    DejaVu Sans is there.
    """
    whole = _first_with(frozenset(text) - set(_INVISIBLE))
    return ((text, whole),) if whole else tuple(_parts(text))


def _parts(text: str) -> list[tuple[str, str | None]]:
    parts: list[tuple[str, str | None]] = []
    for sign in text:
        before = parts[-1][1] if parts else default_font()
        if sign in _INVISIBLE or ord(sign) in _signs_of(before):
            path = before
        else:
            path = _first_with(frozenset(sign))
        if path is None and sign not in _INVISIBLE:
            _say_missing(sign)
            sign, path = sign.encode("unicode_escape").decode("ascii"), default_font()
        if parts and path == before:
            sign = parts.pop()[0] + sign
        parts.append((sign, path))
    return parts


def drawable(text: str) -> str:
    """The text as it can be drawn: signs that no font has are written as their numbers."""
    return "".join(part for part, _ in font_runs(text))


@functools.cache
def default_font() -> str | None:
    """The file of DejaVu Sans. Does not import matplotlib, which brings it along."""
    found = importlib.util.find_spec("matplotlib")
    for place in (found.submodule_search_locations or ()) if found else ():
        path = Path(place, "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")
        if path.is_file():
            return str(path)
    return None


@functools.lru_cache(maxsize=4096)
def _first_with(signs: frozenset[str]) -> str | None:
    """The first font that has all of these signs."""
    codes = {ord(sign) for sign in signs}
    for path in _fonts() if not codes <= _signs_of(default_font()) else (default_font(),):
        if path is not None and codes <= _signs_of(path):
            return path
    return None


@functools.cache
def _fonts() -> tuple[str, ...]:
    """All fonts, sans-serif ones of normal weight first."""
    from matplotlib import font_manager

    found = font_manager.findSystemFonts(fontext="ttf")
    return (default_font(), *sorted(found, key=_rank))


_ODD = ("mono", "serif", "italic", "oblique", "condensed", "myeongjo", "bold", "black", "thin")


def _rank(path: str) -> tuple:
    name = os.path.basename(path).lower()
    odd = sum(word in name for word in (*_ODD, "light", "heavy", "extra"))
    return odd, "sans" not in name and "gothic" not in name, name


@functools.lru_cache(maxsize=1024)
def _signs_of(path: str | None) -> frozenset[int]:
    """The signs that a font has as outlines; none if it is damaged."""
    from fontTools.ttLib import TTFont

    if path is None:
        return frozenset()
    try:
        with TTFont(path, fontNumber=0, lazy=True) as font:
            if not {"glyf", "CFF ", "CFF2"} & set(font.keys()):
                return frozenset()
            return frozenset(font.getBestCmap() or ())
    except Exception:  # whatever a damaged font of the system raises
        return frozenset()


def _say_missing(sign: str) -> None:
    name = unicodedata.name(sign, f"U+{ord(sign):04X}")
    what, advice = next(rest for words, *rest in _ADVICE if any(word in name for word in words))
    if what in _missing_said:
        return
    _missing_said.add(what)
    warnings.warn(
        f"No font has '{sign}' ({name}): pictures show such signs by their numbers. Install "
        f"{what}, such as {advice}, and start again.",
        stacklevel=2,
    )


def forget() -> None:
    """Looks for fonts anew, after one was installed."""
    for cached in (_fonts, _first_with, _signs_of, font_runs):
        cached.cache_clear()
    _missing_said.clear()


@functools.lru_cache(maxsize=256)
def _font(size: int, path: str | None = None) -> ImageFont.FreeTypeFont:
    path = path or default_font()
    return ImageFont.truetype(path, size) if path else ImageFont.load_default(size)


class Line:
    """A line of text in one or more fonts.

    Attributes:
        width, height: pixels that it takes.
    """

    def __init__(self, text: str, size: int):
        self.parts = [(part, _font(size, path)) for part, path in font_runs(text)]
        self.width = int(np.ceil(sum(font.getlength(part) for part, font in self.parts)))
        metrics = [font.getmetrics() for _, font in self.parts]
        self.ascent = max((ascent for ascent, _ in metrics), default=0)
        self.height = self.ascent + max((descent for _, descent in metrics), default=0)

    def draw(self, draw: ImageDraw.ImageDraw, x: float, y: float, color) -> None:
        """Draws the line with its left upper corner at x, y."""
        for part, font in self.parts:
            draw.text((x, y + self.ascent), part, font=font, anchor="ls", fill=color)
            x += font.getlength(part)


def families(texts: Iterable[str]) -> list[str]:
    """Font families for matplotlib that together have the signs of these texts."""
    from matplotlib import font_manager

    names = ["DejaVu Sans"]
    for path in dict.fromkeys(p for text in texts for _, p in font_runs(text)):
        if path is None or path == default_font():
            continue
        font_manager.fontManager.addfont(path)
        name = font_manager.FontProperties(fname=path).get_name()
        if name not in names:
            names.append(name)
    return names
