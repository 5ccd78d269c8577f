"""Where the label files of YOLO lie: below labels/, beside their images, or elsewhere."""

from __future__ import annotations

import functools
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from ssd_keras.data import file_lists, image_index, split_folders, text, yolo_layout
from ssd_keras.data.source import NOTED, REFUSED, Problem
from ssd_keras.data.text import number
from ssd_keras.errors import UserError

# 100,000 objects in one image take less.
MAX_LABEL_BYTES = 64 << 20
# Text files beside labels that are none.
_NO_LABELS = re.compile(
    r"(classes|labels|names|train|valid?|test|trainval|notes?|readme.*|licen[cs]e|requirements|"
    r"predefined_classes)\.txt",
    re.IGNORECASE,
)


class LabelFiles:
    """The label files of a data set's images.

    Args:
        root: the folder of the data set, in which label files are looked for that are not in the
            usual place.
        files: the images.
        folders: the folders that were read whole, so that every label file has an image there.
    """

    def __init__(self, root: str, files: Iterable[str], folders: Sequence[str] = ()):
        self._root = root
        self._folders = folders
        self._files = list(dict.fromkeys(files))
        self._elsewhere: dict[str, list[str]] = defaultdict(list)
        self._paths = {image: _usual_place(image) for image in self._files}
        self._usual = set(filter(None, self._paths.values()))
        for image, path in self._paths.items():
            self._paths[image] = path or self._place_elsewhere(image)

    def path(self, image: str) -> str | None:
        """The label file of an image; None if there is none."""
        return self._paths[image]

    def refuse_shared(self, problems: list[Problem]) -> list[str]:
        """The images that have a label file of their own, or none; the others are refused."""
        counts = Counter(filter(None, self._paths.values()))
        owners: dict[str, list[str]] = defaultdict(list)
        for image in self._files:
            if counts[self._paths[image]] > 1:
                owners[self._paths[image]].append(image)
        problems += [_shared_file(path, sharing) for path, sharing in owners.items()]
        return [image for image in self._files if self._paths[image] not in owners]

    def without_image(self) -> list[str]:
        """Label files whose image is not there, in the folders that were read whole."""
        used = set(filter(None, self._paths.values()))
        folders = {yolo_layout.label_twin(folder) or folder for folder in self._folders}
        folders = sorted(filter(os.path.isdir, {*folders, *self._folders}))
        left = (path for folder in folders for path in file_lists.files_of(folder, (".txt",)))
        return [path for path in dict.fromkeys(left) if path not in used and _is_label_file(path)]

    def notes(self) -> list[Problem]:
        """Says where label files were found that are not in the usual place."""
        return [
            Problem(
                "label_place",
                folder,
                f"the label files of {len(found)} images were found here, such as "
                f"'{os.path.basename(found[0])}'",
                NOTED,
            )
            for folder, found in sorted(self._elsewhere.items())
        ]

    def _place_elsewhere(self, image: str) -> str | None:
        name = os.path.relpath(image, self._root)
        for wanted in (f"{os.path.splitext(name)[0]}.txt", f"{name}.txt"):
            found = self._index.find(_behind_pictures(wanted)).path
            if found and found not in self._usual and _may_belong(found, name, self._root):
                self._elsewhere[os.path.dirname(found)].append(found)
                return found
        return None

    @functools.cached_property
    def _index(self) -> image_index.ImageIndex:
        return image_index.ImageIndex([self._root], extensions=(".txt",))


def usual_places(image: str) -> list[str]:
    """Where the objects of an image may be written: labels/ for images/, else beside it."""
    beside = os.path.splitext(image)[0] + ".txt"
    twin = yolo_layout.label_twin(beside)
    return [twin, beside] if twin else [beside]


def _usual_place(image: str) -> str | None:
    places = (path for path in usual_places(image) if os.path.lexists(path))
    # What is no file is named by its reader.
    return next((path for path in places if not os.path.isdir(path)), None)


def _behind_pictures(path: str) -> str:
    """The end of a path behind the folder of images."""
    twin = yolo_layout.label_twin(path)
    return path if twin is None else twin.rpartition(f"labels{os.sep}")[2]


def _may_belong(label_file: str, image: str, root: str) -> bool:
    """Whether a label file elsewhere may be that of an image: not one of another split."""
    if _NO_LABELS.fullmatch(os.path.basename(label_file)):
        return False
    parts = os.path.relpath(label_file, root).split(os.sep)[:-1]
    ours = {
        alias for part in image.split(os.sep)[:-1] for alias in split_folders.aliases(part.lower())
    }
    return all(part.lower() in ours for part in parts if split_folders.is_split(part))


def _shared_file(path: str, sharing: Sequence[str]) -> Problem:
    listed = " and ".join(f"'{os.path.basename(image)}'" for image in sharing[:3])
    message = f"is the label file of {listed}: which of them is annotated? Delete the other"
    try:
        lines = text.read_text(path, limit=MAX_LABEL_BYTES).split("\n")
    except UserError:
        lines = []
    lost = ("",) * sum(bool(line.strip()) for line in lines)
    return Problem("shared_labels", path, message, REFUSED, lost, images_lost=len(sharing))


def _is_label_file(path: str) -> bool:
    if _NO_LABELS.fullmatch(os.path.basename(path)):
        return False
    try:
        first = text.read_text(path, limit=MAX_LABEL_BYTES).split("\n", 1)[0].split()
    except UserError:
        return False
    return len(first) >= 5 and all(number(word) is not None for word in first)
