"""What tools call the splits of a data set and its folders, and which of these are there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

from ssd_keras.data import file_lists
from ssd_keras.errors import UserError, missing_place, one_line, unknown

# What tools call the parts of a data set; the names of a line mean the same.
_SPLITS = (
    ("train", "training"),
    ("val", "valid", "validation"),
    ("test", "testing"),
    ("trainval",),
)
PICTURES = ("JPEGImages", "images", "image", "imgs", "img", "pictures", "photos", "frames")
ANNOTATIONS = ("Annotations", "annotation", "annots", "anno", "xmls", "xml", "labels")


def aliases(split: str) -> tuple[str, ...]:
    """A split's name, and then the others that mean the same."""
    for same in _SPLITS:
        if split.lower() in same:
            return tuple(dict.fromkeys((split, *same)))
    return (split,)


def is_split(name: str) -> bool:
    """Whether tools call a part of a data set so."""
    return any(name.lower() in same for same in _SPLITS)


def choose(split: str, known: Iterable[str], where: str) -> str | None:
    """Which of the known names the split means; None if it means none.

    Raises:
        UserError: it means several.
    """
    known = list(known)
    if split in known:
        return split
    meant = [name for name in known if name.lower() in aliases(split.lower())]
    if len(meant) > 1:
        raise UserError(f"'#{split}' may be {' or '.join(meant)} {where}: write one of them.")
    return meant[0] if meant else None


def no_split(split: str, place: str, spec: str, known: Iterable[str], needs: str = "") -> UserError:
    """The error for a split that is not there; says which are, or what there should be."""
    known = sorted(set(known))
    error = unknown("split", split, known, f"in '{place}' (from '{spec}')")
    if known:
        return error
    return UserError(f"{error} It has none{needs and f': no {needs}'}. {advice(spec, split)}")


def advice(spec: str, split: str) -> str:
    """How to name data that have no such split, all of them or one of two parts."""
    whole = "".join(spec.rpartition(f"#{split}")[::2])
    return (
        f"Leave out '#{split}' to read all of it; to train on one part and judge by the other, "
        f"write '{whole}?share=0.8' and '{whole}?rest=0.8'."
    )


def check_folder(place: str, spec: str) -> None:
    """Refuses a place that is no folder, or that cannot be looked into."""
    if not os.path.isdir(place):
        raise missing_place("folder", place.rstrip("/") or place, spec)
    list_folder(place)


def list_folder(folder: str) -> list[str]:
    """The names in a folder, sorted, without those that systems hide."""
    return sorted(entry.name for entry in _entries(folder))


def _entries(folder: str) -> list[os.DirEntry]:
    """What is in a folder, without what systems hide; of large ones no file is asked for."""
    try:
        with os.scandir(folder) as listing:
            return [entry for entry in listing if not file_lists.is_litter(entry.name)]
    except OSError as error:
        raise UserError(f"'{folder}' cannot be looked into: {one_line(error)}.") from error


def sub_folders(folder: str) -> list[str]:
    found = _entries(folder)
    return sorted(e.name for e in found if file_lists.leads_to(e, os.path.isdir, e.is_dir))


def files_with_end(folder: str, *ends: str) -> list[str]:
    """The names of plain files with such an end, in any case of letters."""
    listed = [entry for entry in _entries(folder) if entry.name.lower().endswith(ends)]
    return sorted(e.name for e in listed if file_lists.leads_to(e, os.path.isfile, e.is_file))


def folders_called(folder: str, wanted: Sequence[str]) -> list[str]:
    """The sub-folders with these names, in any case of letters, with or without an s."""
    rank = {form: at for at, name in enumerate(wanted) for form in forms_of(name)}
    found = [name for name in sub_folders(folder) if name.lower() in rank]
    found.sort(key=lambda name: (rank[name.lower()], name not in wanted))
    return [os.path.join(folder, name) for name in found]


def forms_of(name: str) -> tuple[str, str]:
    name = name.lower()
    return name, (name.removesuffix("s") if name.endswith("s") else name + "s")


def unwrap(place: str) -> str:
    """The folder itself, or the one that holds everything, where archives were unpacked."""
    place = place.rstrip(os.sep) or os.sep
    for _ in range(4):
        inner = sub_folders(place)
        others = set(list_folder(place)) - set(inner)
        remarks = all(re.match(r"readme|licen[cs]e", name.lower()) for name in others)
        known = {form for name in (*PICTURES, *ANNOTATIONS) for form in forms_of(name)}
        if len(inner) != 1 or not remarks or inner[0].lower() in known or is_split(inner[0]):
            break
        place = os.path.join(place, inner[0])
    return place


def parts(place: str) -> list[str]:
    """The sub-folders that are named like splits."""
    return [name for name in sub_folders(place) if is_split(name)]


def part(place: str, split: str) -> str | None:
    """The sub-folder of a split."""
    name = choose(split, sub_folders(place), f"in '{place}'")
    return os.path.join(place, name) if name else None


def holds(folder: str, extensions: tuple[str, ...]) -> bool:
    return bool(file_lists.files_of(folder, extensions, most=1))


def name_one(spec: str, folder: str, splits: Sequence[str]) -> UserError:
    return UserError(
        f"'{folder}' holds the splits {', '.join(splits)}: name one, as in '{spec}#{splits[0]}'."
    )
