"""From a data SPEC, `FORMAT:PLACE#SPLIT`, to a source."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from ssd_keras.data import (
    coco,
    csv_file,
    layouts,
    options,
    shapes,
    split_folders,
    tfds,
    tfrecord,
    voc,
    yolo,
)
from ssd_keras.data.combined import CombinedSource
from ssd_keras.data.filtered import FILTERS, SHARES, FilteredSource
from ssd_keras.data.record_file import is_record
from ssd_keras.data.source import NOTED, Problem, Source
from ssd_keras.display import join_names
from ssd_keras.errors import UserError, did_you_mean, missing_place, unknown
from ssd_keras.files import is_remote, refuse_remote

LOADERS = {
    "voc": voc.load,
    "coco": coco.load,
    "yolo": yolo.load,
    "csv": csv_file.load,
    "tfrecord": tfrecord.load,
    "tfds": tfds.load,
}
FORMATS = (*LOADERS, "shapes")


def load_source(spec: str, classes: Sequence[str] | None = None) -> Source:
    """Opens the data set that `spec` names.

    Args:
        spec: `FORMAT:PLACE#SPLIT` with a format of `FORMATS`; `shapes#SPLIT[,count=N]
            [,size=PIXELS]`; a bare folder or file, which is recognised by what it holds; or several
            of these joined by `+`. The signs `#`, `,`, `+` and `?` may be part of the name of a
            place that exists.
        classes: class names in the order of their labels; None takes them from the data.

    Raises:
        UserError: the spec is not understood or nothing usable is there.
    """
    if not spec or not spec.strip():
        raise UserError("The data SPEC is empty; write FORMAT:PLACE#SPLIT, e.g. voc:DIR#train.")
    parts = _parts(spec)
    if len(parts) == 1:
        return _load(spec, classes)
    return CombinedSource(spec, [_load(part, classes) for part in parts])


def open_source(data: str | os.PathLike | Source, classes: Sequence[str] | None = None) -> Source:
    """The source that a SPEC names, or a source that is open already.

    Args:
        data: a data SPEC as for `load_source`, or a source.
        classes: class names that the labels must mean, in their order; None for those of the data.

    Raises:
        UserError: nothing usable is there, or a source with other classes.
    """
    if isinstance(data, (str, os.PathLike)):
        return load_source(os.fspath(data), classes)
    if not isinstance(data, Source):
        raise UserError(
            "Data are a SPEC, FORMAT:PLACE#SPLIT, or a source of ssd_keras.data.load_source, "
            f"got {type(data).__name__}."
        )
    if classes is not None and tuple(data.classes) != tuple(classes):
        raise UserError(
            f"'{data.spec}' was opened with the classes {join_names(data.classes)}, but "
            f"{join_names(classes)} are needed: give the SPEC, or open it with "
            "ssd_keras.data.load_source(spec, classes=...)."
        )
    return data


def _parts(spec: str) -> list[str]:
    """Splits at each `+` behind which a format name or an existing place stands.

    A `+` is part of a name where the place with it exists.
    """
    starts = [0]
    for sign in re.finditer(r"\+", spec):
        rest, current = spec[sign.end() :], spec[starts[-1] :]
        begins = re.split(r"[:#?]", rest)[0] in FORMATS or _end_of_place(rest) > 0
        if begins and _end_of_place(current) <= sign.start() - starts[-1]:
            starts.append(sign.end())
    ends = [start - 1 for start in starts[1:]] + [len(spec)]
    return [spec[start:end] for start, end in zip(starts, ends, strict=True) if end > start]


def _end_of_place(spec: str) -> int:
    """Where the place of a spec and its options end; 0 if it does not exist."""
    name, colon, _ = spec.partition(":")
    start = len(name) + 1 if colon and name in FORMATS and not options.exists(spec) else 0
    end = options.end_of_place(spec, start)
    return end if end > start else 0


def _load(spec: str, classes) -> Source:
    if spec.partition("#")[0] == "shapes" or re.match(r"shapes(#[^?]*)?\?", spec):
        end = 0
    else:
        end = _end_of_place(spec)
        _check_sign(spec, end)
    filtered = re.fullmatch(r"(.*)\?(\w+)=(.*)", spec[end:])
    if filtered:
        before, kind, value = filtered.groups()
        if kind not in FILTERS:
            raise unknown("filter", kind, FILTERS, f"in '{spec}'")
        if kind in SHARES and (other := re.search(rf"\?({'|'.join(SHARES)})=", before)):
            raise UserError(
                f"'{spec}' has '{other[1]}' and '{kind}': a set is divided once, '?share=0.8' is "
                "one part of it and '?rest=0.8' the other."
            )
        return FilteredSource(spec, _load(spec[:end] + before, classes), kind, value)
    behind, _, split = spec[end:].partition("#")
    options_behind = re.search(r",\w+=.*", split)
    if options_behind and spec[:end] + behind != "shapes":
        written = f"{spec[:end]}{behind}{options_behind[0]}#{split[: options_behind.start()]}"
        raise UserError(f"Options stand before the split: write '{written}' for '{spec}'.")
    return _open(spec, spec[:end] + behind, split or None, classes)


def _check_sign(spec: str, end: int) -> None:
    """Refuses a `#` that may be part of a name or begin a split, unless a `/` tells."""
    place = spec[:end]
    cut = place.rfind("#")
    folder, split = place[:cut], place[cut + 1 :]
    if cut > 0 and "/" not in split and _end_of_place(folder) == cut:
        raise UserError(
            f"'{place}' is a place, and '{split}' may be a split of '{folder}', too: write "
            f"'{place}/' for the place, or '{folder}/#{split}' for the split."
        )


def _open(spec: str, head: str, split: str | None, classes) -> Source:
    if head == "shapes":
        return _shapes(spec, split or "", classes)
    if _end_of_place(head) and not head.startswith(tuple(f"{name}:" for name in FORMATS)):
        return _bare(spec, os.path.expanduser(head), split, classes)
    name, colon, place = head.partition(":")
    if not colon:
        raise _no_format(spec, head)
    if name not in LOADERS and is_remote(head):
        raise UserError(
            f"'{spec}' names a place on another machine: records are read from there, by "
            f"'tfrecord:{spec}'; copy anything else here, or mount the place as a folder."
        )
    if name in LOADERS and name != "tfrecord":
        refuse_remote(place, f"data of the format '{name}'")
    if name not in LOADERS:
        raise unknown("data format", name, FORMATS, f"in '{spec}'")
    if not place:
        raise UserError(f"'{spec}' names no place after '{name}:'.")
    place, split = _part(spec, name, os.path.expanduser(place), split)
    return LOADERS[name](spec, place, split, classes)


def _no_format(spec: str, head: str) -> UserError:
    if os.sep in head or "." in head:
        return missing_place("file or folder", head)
    return UserError(
        f"'{spec}' is neither FORMAT:PLACE#SPLIT nor a folder; formats: {', '.join(FORMATS)}."
        + did_you_mean(head, FORMATS)
    )


def _bare(spec: str, place: str, split: str | None, classes) -> Source:
    found = _recognise(place[: options.end_of_path(place)], split)
    place, split = _part(spec, found[0], place, split)
    source = LOADERS[found[0]](spec, place, split, classes)
    if len(found) > 1:
        others = " or ".join(f"'{name}:'" for name in found[1:])
        message = f"is read as '{found[0]}:'; it may be {others}, too: write which"
        source.problems.append(Problem("several_formats", spec, message, NOTED))
    return source


def _part(spec: str, name: str, place: str, split: str | None) -> tuple[str, str | None]:
    """The folder of a split, for formats whose readers know no such folders."""
    if name not in ("tfrecord", "csv"):
        return place, split
    return layouts.of_split(spec, place, split, name)


def recognise(place: str, split: str | None = None) -> str:
    """The format of a file or folder, judged by what it holds.

    Raises:
        UserError: it holds nothing that looks like annotated images.
    """
    return _recognise(place, split)[0]


def _recognise(place: str, split: str | None) -> list[str]:
    if os.path.isdir(place):
        split_folders.check_folder(place, place)
        found = layouts.recognise(place, split)
        if found:
            return found
        raise UserError(
            f"'{place}' holds no annotated images that are recognised: neither Annotations/*.xml, "
            "instances.json, data.yaml, images/ with labels/, *.csv nor *.tfrecord."
        )
    lower = place.lower()
    for ends, name in _ENDS.items():
        if lower.endswith(ends):
            return [name]
    if is_record(place):
        return ["tfrecord"]
    raise UserError(
        f"'{place}' is no .json, .yaml, .csv, .tfrecord or .record file.{_advice(lower)}"
    )


_ENDS = {
    (".json",): "coco",
    (".yaml", ".yml", ".data"): "yolo",
    (".csv", ".tsv"): "csv",
}


def _advice(name: str) -> str:
    if name.endswith((".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")):
        return " Unpack it and name the folder."
    if name.endswith((".xml", ".txt", ".names")):
        return " Name the folder that it lies in."
    return ""


_MOST_DRAWN = {"count": 10_000_000, "size": 4096}


def _shapes(spec: str, split: str, classes) -> Source:
    split, *given = (split or "train").split(",")
    values = {"count": shapes.DEFAULT_COUNTS.get(split, 300), "size": 300}
    for option in given:
        key, _, value = option.partition("=")
        if key not in values:
            raise unknown("option", key, values, f"in '{spec}'")
        if not value.isdigit() or int(value) < 1:
            raise UserError(f"'{key}' in '{spec}' must be a whole number from 1, not '{value}'.")
        if len(value) > 9 or int(value) > _MOST_DRAWN[key]:
            raise UserError(f"'{key}' in '{spec}' is {_MOST_DRAWN[key]:,} at most.")
        values[key] = int(value)
    if classes is not None and tuple(classes) != shapes.CLASSES:
        raise UserError(f"The classes of '{spec}' are {','.join(shapes.CLASSES)}; leave them out.")
    return shapes.ShapesSource(spec, split, values["count"], values["size"])
