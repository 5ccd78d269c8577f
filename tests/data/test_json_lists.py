"""Large JSON files piece by piece: the same as read whole, or given up."""

import io
import json
from collections import defaultdict

import pytest

from ssd_keras.data import json_lists

KEYS = ("images", "annotations")


def read(text: str | bytes, piece: int, monkeypatch) -> dict:
    monkeypatch.setattr(json_lists, "PIECE", piece)
    found = defaultdict(list)
    data = text if isinstance(text, bytes) else text.encode()
    for key, elements in json_lists.pieces(io.BytesIO(data), KEYS):
        found[key] += elements
    return {key: found[key] for key in KEYS}


OUTLINE = {"segmentation": [[1.5, 2, 3.25]], "rle": {"counts": "a{,}", "size": [4, 5]}}
OBJECTS = [{"id": n, "bbox": [n, 1e-3, -4.5, 1e30], **OUTLINE} for n in range(40)]
STRANGE = [1, None, [], "x, {", {}, [{"a": [{"b": 1}]}], True, -0.0, "é\ud83d\ude00", 1 << 70]


@pytest.mark.parametrize("piece", [1, 7, 100, 1 << 20])
@pytest.mark.parametrize(
    "content",
    [
        {"images": [], "annotations": []},
        {"info": {"x": [1, {"y": "]"}]}, "images": OBJECTS, "annotations": OBJECTS[:1]},
        {"annotations": OBJECTS, "licenses": 12, "images": STRANGE, "z": None},
        {"images": [{"url": "http://x:1/", "a\"b": ": "}] * 30, "annotations": [[OBJECTS]] * 3},
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "form", [{}, {"separators": (",", ":")}, {"indent": 1}, {"separators": (" ,\r\n\t", "\t: ")}]
)
def test_pieces_are_what_the_whole_file_says(monkeypatch, piece, content, form):
    text = json.dumps(content, **form)
    whole = json.loads(text)
    assert read(text, piece, monkeypatch) == {key: whole[key] for key in KEYS}
    assert read("\ufeff" + text + "\n ", piece, monkeypatch) == read(text, piece, monkeypatch)


GOOD = '{"images": [], "annotations": [{"id": 1, "a": 2}, {"id": 2}]}'


@pytest.mark.parametrize("piece", [1, 1 << 20])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        GOOD[:-1],
        GOOD[:-2],
        GOOD + "x",
        GOOD.replace("}, {", "} {"),
        GOOD.replace("}, {", "}, , {"),
        GOOD.replace("]}", ",]}"),
        GOOD.replace('"a"', '"id"'),  # twice, with two values
        GOOD.replace('"a"', '"id" '),
        GOOD.replace('"images"', '"annotations"'),
        GOOD.replace('"images"', '"pictures"'),
        GOOD.replace("[]", "{}"),
        GOOD.replace("[]", '[{"x": {"y": 1, "y": 2}}]'),
        GOOD.replace("[]", "[" * 100_000),
        GOOD.replace("2}]", "9" * 5000 + "}]"),
        GOOD.encode("utf-16"),
        GOOD.replace("a", "é").encode("latin-1"),
    ],
)
def test_what_is_unusual_is_left_to_others(monkeypatch, text, piece):
    if len(text) > 50_000 and piece == 1:
        pytest.skip("slow, and no other case")
    with pytest.raises(json_lists.Unusual):
        read(text, piece, monkeypatch)


def test_keys_that_stand_twice_are_found_whatever_stands_around_them(monkeypatch):
    element = '{"a" : 1, "b": 2, "b": 3, "t": "x\\": y"}, '
    with pytest.raises(json_lists.Unusual, match="'b' stands twice"):
        read('{"images": [], "annotations": [' + element * 9 + "{}]}", 1 << 20, monkeypatch)


def test_a_piece_is_all_that_is_kept(monkeypatch):
    text = json.dumps({"images": [], "annotations": OBJECTS * 50})
    monkeypatch.setattr(json_lists, "PIECE", 1 << 10)
    counts = [len(elements) for _, elements in json_lists.pieces(io.BytesIO(text.encode()), KEYS)]
    assert sum(counts) == 2000
    assert max(counts) < 20
