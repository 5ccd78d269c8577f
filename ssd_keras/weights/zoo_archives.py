"""Where in a download of the TF Object Detection API's zoos the detector is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ssd_keras.errors import UserError
from ssd_keras.weights import archives
from ssd_keras.weights.api_facts import CONFIG
from ssd_keras.weights.files import MAX_FILE_BYTES
from ssd_keras.weights.tensorflow_file import is_checkpoint

# The archives hold a detector in two or three forms.
MAX_UNPACKED_BYTES = 2 * MAX_FILE_BYTES
GRAPH = "frozen_inference_graph.pb"
_INDEX = re.compile(r"(?:.*/)?checkpoint/(ckpt-\d+)\.index")


def detector_members(names: Sequence[str]) -> tuple[str, ...]:
    """Which files of an archive make a detector, the weights first; none if there is none.

    A TF2 archive has a checkpoint and its configuration, a TF1 archive a frozen graph.
    """
    for name in names:
        if match := _INDEX.fullmatch(name):
            folder = name.removesuffix(f"checkpoint/{match[1]}.index")
            data = f"{folder}checkpoint/{match[1]}.data-"
            config = [f"{folder}{CONFIG}"] if f"{folder}{CONFIG}" in names else []
            return (name, *(other for other in names if other.startswith(data)), *config)
    return next(((name,) for name in names if name.split("/")[-1] == GRAPH), ())


def unpack_detector(archive: Path, folder: Path) -> Path:
    """Writes what makes a detector of an archive to a folder; returns what is to be imported.

    Raises:
        UserError: the archive is damaged, too large, or holds no detector.
    """
    members = detector_members(archives.list_members(archive, MAX_UNPACKED_BYTES))
    if not members:
        raise UserError(
            f"'{archive}' holds no checkpoint/ckpt-0 and no {GRAPH}: unpack it and give the file "
            "or the folder with the weights."
        )
    return archives.unpack(archive, members, folder, MAX_UNPACKED_BYTES)[0]


def detector_in(folder: Path) -> Path:
    """What is to be imported of an unpacked archive; the folder itself if it is none."""
    for name in ("checkpoint", "saved_model", GRAPH):
        place = folder / name
        is_detector = (
            place.is_file() and name == GRAPH,
            place.is_dir() and is_checkpoint(place),
            (place / "saved_model.pb").is_file(),
        )
        if any(is_detector):
            return place
    return folder
