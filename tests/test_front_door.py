"""Five tasks, here and elsewhere: the line counts in docs/front_door.md are those of its code."""

import io
import re
import tokenize
from pathlib import Path

import pytest

GUIDE = (Path(__file__).resolve().parents[1] / "docs" / "front_door.md").read_text(encoding="utf-8")
OURS = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
TASKS = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", GUIDE, re.M | re.S)


def count(code: str) -> int:
    """Logical lines, which wrapping does not change, and the further lines of texts."""
    tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    texts = (token.string for token in tokens if token.type == tokenize.STRING)
    further = sum(max(text.strip('"\n').count("\n"), 0) for text in texts)
    return further + sum(token.type == tokenize.NEWLINE for token in tokens)


def counted(text: str) -> dict[str, int]:
    """Project to the lines of its code for a task."""
    found = {"ssd-keras": sum(map(count, OURS.findall(text)))}
    for project, code in re.findall(r"^```py\n# (\w+)\n(.*?)^```", text, re.M | re.S):
        found[project] = count(code)
    return found


def table() -> list[list[int]]:
    """The counts that the guide names, a row for each task."""
    rows = re.findall(r"^\| [^|]+ \|((?: \d+ \|)+)$", GUIDE, re.M)
    return [[int(number) for number in re.findall(r"\d+", row)] for row in rows]


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("# a\n\nx = 1\n  # b\nif x:\n    y = 2  # c\n", 3),
        ("f(\n    1,\n    2,\n)\n", 1),
        ('text = """one\ntwo\nthree\n"""\n', 3),
    ],
)
def test_what_counts_as_a_line(code, lines):
    assert count(code) == lines


def test_the_counts_are_those_of_the_code():
    assert len(TASKS) == 5
    projects = {"ssd-keras", "KerasHub", "torchvision", "Ultralytics"}
    assert [set(counted(text)) for _, text in TASKS] == [projects] * 5
    assert [list(counted(text).values()) for _, text in TASKS] == table()


@pytest.mark.parametrize(("task", "text"), TASKS, ids=[task for task, _ in TASKS])
def test_ours_is_never_longer_than_the_shortest(task, text):
    lines = counted(text)
    assert lines.pop("ssd-keras") <= min(lines.values())
