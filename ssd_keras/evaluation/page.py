"""The parts of a self-contained HTML page: sections, tables, numbers, pictures, style."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ssd_keras import display
from ssd_keras.display import printable, shorten


def whole(title: str, subtitle: str, sections: Sequence[str]) -> str:
    """The page; title and subtitle are plain text, sections are HTML."""
    return _PAGE.format(
        title=text(title),
        subtitle=text(subtitle) if subtitle else "",
        style=_STYLE,
        script=_SCRIPT,
        body="\n".join(sections),
    )


def text(value: object) -> str:
    """Any text as HTML: shown as it is, see `printable`, and never part of the page's own."""
    return html.escape(printable(value))


def name(value: object, most: int = 60) -> str:
    """A name in a table as HTML; a long one ends in an ellipsis and is whole in its tooltip."""
    whole = printable(value)
    short = shorten(whole, most)
    if short == whole:
        return html.escape(whole)
    return f'<span title="{html.escape(whole)}">{html.escape(short)}</span>'


def section(title: str, content: str, introduction: str = "") -> str:
    """A headed part of the page, with an introduction in small print; all of it is HTML."""
    intro = f'<p class="quiet">{introduction}</p>' if introduction else ""
    return f"<section><h2>{title}</h2>{intro}{content}</section>"


def tile(title: str, value: float, note: str) -> str:
    """A number of the head of the page."""
    inner = f"<span>{title}</span><b>{number(value)}</b><small>{note}</small>"
    return f'<div class="tile">{inner}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], sortable: bool = False) -> str:
    """A table; cells are HTML, all columns but the first stand to the right."""
    cells = "".join(f"<th>{title}</th>" for title in head)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    kind = "sortable" if sortable else "words" if head[-1] == "meaning" else "plain"
    return f'<table class="{kind}"><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>'


def scroll(content: str) -> str:
    """Content that scrolls sideways where the page is too narrow for it."""
    return f'<div class="scroll">{content}</div>'


def number(value: float, digits: int = 3) -> str:
    """A number, or a dash where there is none."""
    return display.number(value, digits, "&ndash;")


def bar(value: float) -> str:
    """A share as a bar, and the number."""
    if not math.isfinite(value):
        return "&ndash;"
    return f'<span class="bar"><i style="width:{100 * value:.0f}%"></i></span>{value:.3f}'


def figure(figure, alt: str) -> str:
    """A matplotlib figure as a picture inside the page."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150)
    width = round(figure.get_size_inches()[0] * 96)
    return _image(data.getvalue(), "png", alt, width)


def jpeg(pixels: np.ndarray, alt: str) -> str:
    """An RGB array as a picture inside the page."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=85)
    return _image(data.getvalue(), "jpeg", alt, pixels.shape[1])


def _image(data: bytes, kind: str, alt: str, width: int) -> str:
    code = base64.b64encode(data).decode()
    return f'<img src="data:image/{kind};base64,{code}" alt="{alt}" width="{width}">'


_STYLE = """
:root { color-scheme: light; --ink: #1d2530; --quiet: #5c6773; --line: #dde2e8; --blue: #1e78c8; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem clamp(0.8rem, 3vw, 2rem) 3rem; max-width: 1180px;
  font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff;
  overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0; line-height: 1.25; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 0.4rem; padding-top: 0.9rem;
  border-top: 1px solid var(--line); }
p { margin: 0.4rem 0 0.8rem; max-width: 75ch; }
.quiet, small { color: var(--quiet); }
.quiet { font-size: 0.92rem; }
small { font-size: 0.82rem; }
.note { background: #fff4d6; border-left: 4px solid #e69f00; padding: 0.6rem 0.8rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 0.7rem;
  margin: 1.2rem 0 0.6rem; }
.tile { border: 1px solid var(--line); border-radius: 8px; padding: 0.6rem 0.8rem;
  display: flex; flex-direction: column; }
.tile b { font-size: 1.7rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin: 0.4rem 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.92rem; }
th, td { padding: 0.35rem 0 0.35rem 1.1rem; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: normal; }
th { font-weight: 600; vertical-align: bottom; line-height: 1.25; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.words th:last-child, .words td:last-child { text-align: left; min-width: 16rem; }
.sortable th { cursor: pointer; }
.sortable th:hover { color: var(--blue); }
.sortable td { white-space: nowrap; }
.bar { display: inline-block; width: 70px; height: 0.6rem; margin-right: 0.5rem;
  background: #edf1f5; border-radius: 3px; overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--blue); }
img { max-width: 100%; height: auto; display: block; }
.natural img { max-width: none; }
.figures { display: grid; gap: 1rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); }
.pair { margin: 1rem 0 1.4rem; }
.pair div { display: flex; flex-wrap: wrap; gap: 0.5rem; }
.pair img { flex: 0 1 auto; }
@media (min-width: 720px) { .pair div { flex-wrap: nowrap; } .pair img { min-width: 0; } }
@media (max-width: 560px) {
  th, td { padding-left: 0.7rem; } table { font-size: 0.84rem; } .sortable .bar { width: 36px; }
  .sortable th:first-child, .sortable td:first-child { position: sticky; left: 0;
    background: #fff; white-space: normal; padding-right: 0.3rem; }
}
figcaption { font-size: 0.92rem; margin-top: 0.3rem; }
code { font-size: 0.92em; white-space: nowrap; }
"""

_SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("th").forEach((head, column) => {
    let falling = column > 0;
    head.addEventListener("click", () => {
      const value = row => row.cells[column].textContent.replaceAll(",", "");
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => {
        const x = value(a), y = value(b), p = parseFloat(x), q = parseFloat(y);
        if (column === 0) return x.localeCompare(y);
        return (isNaN(p) ? -1 : p) - (isNaN(q) ? -1 : q);
      });
      if (falling) rows.reverse();
      falling = !falling;
      table.tBodies[0].append(...rows);
    });
  });
}
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline';
  script-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p class="quiet">{subtitle}</p>
{body}
<script>{script}</script>
</body>
</html>
"""
