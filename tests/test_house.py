"""The picture of the house in CONTRIBUTING.md is true: every import goes to a floor below."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "ssd_keras"
PROGRAMS = ("experiments", "export")


def floors() -> dict[str, int]:
    """From the name of a room to its floor, counted from below, as the picture has it."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    picture = re.search(r"## The house.*?```text\n(.*?)```", text, re.S)[1]
    rows = [line.split() for line in picture.splitlines() if line.strip()]
    return {room: height for height, row in enumerate(reversed(rows)) for room in row}


def room_of(path: Path) -> str:
    """The room a file stands in: a folder of the library, a file of its own, or a program."""
    parts = path.relative_to(ROOT).parts
    return parts[0] if parts[0] in PROGRAMS else parts[1]


def modules() -> list[Path]:
    """All Python files of the library and of the programs, less the public face."""
    found = [path for part in ("ssd_keras", *PROGRAMS) for path in (ROOT / part).rglob("*.py")]
    return sorted(path for path in found if path != LIBRARY / "__init__.py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms of the library and programs that a file imports from, wherever in it that stands."""
    names = set()
    for node in _nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {room for name in names if (room := _room_of_module(name.split(".")))}


def _nodes(tree: ast.AST):
    """All nodes but those that only type checkers read."""
    if isinstance(tree, ast.If) and ast.unparse(tree.test) == "TYPE_CHECKING":
        return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from _nodes(child)


def _room_of_module(parts: list[str]) -> str | None:
    if parts[0] in PROGRAMS:
        return parts[0]
    if parts[0] != "ssd_keras" or len(parts) < 2:
        return None
    if (LIBRARY / parts[1]).is_dir():
        return parts[1]
    return f"{parts[1]}.py" if (LIBRARY / f"{parts[1]}.py").is_file() else None


def test_every_room_is_in_the_picture():
    assert {room_of(path) for path in modules()} == set(floors())


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    height = floors()
    own = room_of(path)
    upward = {room for room in imported_rooms(path) - {own} if height[room] >= height[own]}
    assert not upward, f"{own} is not above {', '.join(sorted(upward))}"
