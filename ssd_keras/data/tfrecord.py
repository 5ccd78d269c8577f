"""TFRecord files: encoded images and their objects packed together, for fast reading.

Which files are meant, and which images are which; `tfrecord_examples` reads the records,
`tfrecord_classes` tells what their classes are called, `tfrecord_writer` makes such files.
"""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from ssd_keras import remote
from ssd_keras.data import options, packed, record_index, split_folders, streamed
from ssd_keras.data.record_file import is_record
from ssd_keras.data.source import LEFT_OUT, NOTED, Problem, Source
from ssd_keras.data.tfrecord_classes import (
    LabelMap,
    classes_beside,
    decode_names,
    in_order,
    name_numbers,
    read_label_map,
)
from ssd_keras.data.tfrecord_examples import Entry, read_entries
from ssd_keras.errors import UserError, missing_place

# More files than anybody writes; a name may state any number.
MOST_SHARDS = 100_000


def load(spec: str, place: str, split: str | None, classes: Sequence[str] | None) -> Source:
    """Reads TFRecord files with the features of the TensorFlow Object Detection API.

    All files are scanned once, except where an index lies beside them; images are then read by
    their place, in any order.

    Args:
        spec: how the user named the data, for messages.
        place: a file, a folder, or a glob of files; `,units=UNIT` behind it, see `units`, and
            `,sequential=IMAGES`, see `streamed`.
        split: files whose name begins with it, or that lie in a folder of that name, in a folder.
        classes: class names; None takes them from the .classes.txt that `write` leaves beside its
            files, from a label map (.pbtxt) beside them, or else those that occur, sorted; classes
            that have a number only are called by it.

    Raises:
        UserError: no such file, or not one usable image.
    """
    place, chosen = options.split(spec, place, options.UNITS | options.SEQUENTIAL)
    if remote.is_remote(place):
        remote.check(place)
    files = _files(spec, place, split)
    problems: list[Problem] = []
    if split is None and remote.is_folder(place):
        problems += _several_splits(files, place)
    if "sequential" in chosen:
        return streamed.load(spec, files, classes, chosen, problems)
    indexed = record_index.read(files, problems)
    if indexed is not None:
        problems += _missing_shards(files, len(indexed.table), asked=remote.is_file(place))
        classes = classes or classes_beside(files, problems) or indexed.classes
        return packed.assemble_indexed(spec, classes, indexed, problems, chosen.get("units"))
    found = [entry for path in files for entry in read_entries(path, problems)]
    problems += _missing_shards(files, len(found), asked=remote.is_file(place))
    beside = classes_beside(files, problems)
    needed = not all(all(entry.row.names) for entry in found)
    label_map = read_label_map(files, needed) if not beside else LabelMap()
    decode_names(found, spec, problems)
    if needed:
        name_numbers(found, beside or classes or (), label_map, spec, problems)
    if classes is None:
        classes = beside or in_order(label_map.names, found)
    _tell_apart(found, spec, problems)
    return packed.assemble(
        spec, classes, [entry[:3] for entry in found], problems, unit=chosen.get("units")
    )


def _files(spec, place, split) -> list[str]:
    files = [place] if remote.is_file(place) else []
    if remote.is_folder(place):
        files = _in_folder(place, split)
    elif split:
        raise UserError(
            f"'{place}' names files, which have no splits: put it into the name, such as "
            f"'tfrecord:DIR/{split}-*' (from '{spec}'). {split_folders.advice(spec, split)}"
        )
    elif not files:
        found = [path for path in remote.matching(place) if remote.is_file(path)]
        files = [path for path in found if is_record(path)]
        files = files or [path for path in found if not path.endswith((".txt", ".pbtxt"))]
    if files:
        return files
    if remote.is_folder(place):
        raise _no_records(spec, place, split)
    if glob.has_magic(place):
        raise UserError(f"No file matches '{place}' (from '{spec}').")
    raise missing_place("file", place, spec)


def _several_splits(files: Sequence[str], place: str) -> list[Problem]:
    """A note that the files of a folder are of several splits, by the words of their names."""
    words = {word for path in files for word in re.split(r"[\W\d_]+", os.path.basename(path))}
    found = sorted(filter(split_folders.is_split, words))
    if len(found) < 2:
        return []
    message = f"no split was named: {', '.join(found)} are read as one"
    return [Problem("all_splits", place, message, NOTED)]


def _in_folder(place: str, split: str | None) -> list[str]:
    """The files of records in a folder; of a split, those in its folder or named so."""
    if not split:
        return _records_in(place)
    inner = _folder_of(place, split)
    if inner and (files := _records_in(inner)):
        return files
    # train-00000-of-00002, but not trainval.
    names = "|".join(map(re.escape, split_folders.aliases(split)))
    begins = re.compile(rf"({names})(?![a-z])", re.IGNORECASE)
    return [path for path in _records_in(place) if begins.match(os.path.basename(path))]


def _folder_of(place: str, split: str) -> str | None:
    """The sub-folder of a split."""
    if not remote.is_remote(place):
        return split_folders.part(place, split)
    named = (f"{place.rstrip('/')}/{name}" for name in split_folders.aliases(split))
    return next(filter(remote.is_folder, named), None)


def _records_in(folder: str) -> list[str]:
    paths = remote.matching(os.path.join(remote.escape(folder), "*"))
    return [path for path in paths if remote.is_file(path) and is_record(path)]


def _no_records(spec: str, place: str, split: str | None) -> UserError:
    if not split:
        return UserError(f"There is no file of records in '{place}' (from '{spec}').")
    files = [os.path.basename(path) for path in _records_in(place)]
    begins = {re.split(r"[-_.]", name)[0] for name in files}
    if not remote.is_remote(place):
        begins |= set(split_folders.parts(place))
    return split_folders.no_split(split, place, spec, begins, f"file of records named {split}")


_SHARD = re.compile(r"(.*)-(\d+)-of-(\d+)(\D.*)?$", re.DOTALL)


def _missing_shards(files: Sequence[str], images: int, *, asked: bool) -> Iterator[Problem]:
    """What is missing of sets of files that are numbered; `asked` where one was named itself."""
    found: dict[tuple, set[int]] = {}
    for path in files:
        if numbered := _SHARD.match(path):
            beginning, number, count, end = numbered.groups()
            found.setdefault((beginning, count, end or ""), set()).add(int(number))
    for (beginning, count, end), numbers in found.items():
        missing = sorted(set(range(min(int(count), MOST_SHARDS))) - numbers)
        if missing:
            listed = ", ".join(f"{number:0{len(count)}d}" for number in missing[:5])
            message = (
                f"{len(missing)} of {int(count)} files are missing: numbers {listed}"
                f"{', ...' if len(missing) > 5 else ''}"
            )
            # As many images as the others have.
            lost = 0 if asked else max(1, round(images / len(files) * len(missing)))
            action = NOTED if asked else LEFT_OUT
            place = f"{beginning}-*-of-{count}{end}"
            yield Problem("missing_shard", place, message, action, images_lost=lost)


def _tell_apart(found: Sequence[Entry], spec: str, problems: list[Problem]) -> None:
    """Gives each image an id of its own: its source_id, file name, or place in the files."""
    for other in (0, 1):
        counts = Counter(entry.row.image_id for entry in found)
        alike = [
            entry for entry in found if counts[entry.row.image_id] > 1 or not entry.row.image_id
        ]
        if alike and not other:
            ids = sorted({entry.row.image_id for entry in alike})
            message = (
                f"{len(alike)} images have an image/source_id that is empty or that of another "
                f"(such as '{ids[0]}'): they are told apart by file name or place"
            )
            problems.append(Problem("same_id", spec, message, NOTED))
        for entry in alike:
            entry.row.image_id = entry.other_ids[other] or entry.row.image_id


def write(source: Source, prefix: str, **options) -> list[str]:
    """Packs a source into TFRecord files; see `tfrecord_writer.write`, which needs TensorFlow."""
    from ssd_keras.data import tfrecord_writer

    return tfrecord_writer.write(source, prefix, **options)
