"""TFRecord files: encoded images and their objects packed together, for fast reading."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ssd_keras.data import checks, images, layouts, options, packed
from ssd_keras.data.names import normalize
from ssd_keras.data.record_file import is_record, records
from ssd_keras.data.source import LEFT_OUT, NOTED, REFUSED, GroundTruth, Problem, Source
from ssd_keras.data.text import decode, read_text
from ssd_keras.data.text import lines as lines_of
from ssd_keras.errors import UserError, missing_place, one_line
from ssd_keras.files import replacing
from ssd_keras.labels import label_text
from ssd_keras.reading import reading
from ssd_keras.text_format import parse_text

_OBJECT = "image/object/"
_CORNERS = ("ymin", "xmin", "ymax", "xmax")
# More files than anybody writes; a name may state any number.
MOST_SHARDS = 100_000
# What label maps call the number 0 where it is no class.
_NO_CLASS = ("background", "__background__", "none_of_the_above", "???", "n/a")


def load(spec: str, place: str, split: str | None, classes: Sequence[str] | None) -> Source:
    """Reads TFRecord files with the features of the TensorFlow Object Detection API.

    All files are scanned once; images are then read by their place, in any order.

    Args:
        spec: how the user named the data, for messages.
        place: a file, a folder, or a glob of files; `,units=UNIT` behind it, see `units`.
        split: files whose name begins with it, or that lie in a folder of that name, in a folder.
        classes: class names; None takes them from the .classes.txt that `write` leaves beside its
            files, from a label map (.pbtxt) beside them, or else those that occur, sorted; classes
            that have a number only are called by it.

    Raises:
        UserError: no such file, or not one usable image.
    """
    place, chosen = options.split(spec, place, options.UNITS)
    files = _files(spec, place, split)
    problems: list[Problem] = []
    found = [entry for path in files for entry in _entries(path, problems)]
    problems += _missing_shards(files, len(found), asked=os.path.isfile(place))
    beside = _classes_beside(files, problems)
    needed = not all(all(entry.row.names) for entry in found)
    label_map = _label_map(files, needed) if not beside else _LabelMap()
    _decode_names(found, spec, problems)
    if needed:
        _name_classes(found, beside or classes or (), label_map, spec, problems)
    if classes is None:
        classes = beside or _in_order(label_map.names, found)
    _tell_apart(found, spec, problems)
    return packed.assemble(
        spec, classes, [entry[:3] for entry in found], problems, unit=chosen.get("units")
    )


def _files(spec, place, split) -> list[str]:
    files = [place] if os.path.isfile(place) else []
    if os.path.isdir(place):
        files = _in_folder(place, split)
    elif split:
        raise UserError(
            f"'{place}' names files, which have no splits: leave out '#{split}', or put it into "
            f"the name, such as 'tfrecord:DIR/{split}-*' (from '{spec}')."
        )
    elif not files:
        found = [path for path in sorted(glob.glob(place)) if os.path.isfile(path)]
        files = [path for path in found if is_record(path)]
        files = files or [path for path in found if not path.endswith((".txt", ".pbtxt"))]
    if files:
        return files
    if os.path.isdir(place):
        raise _no_records(spec, place, split)
    if glob.has_magic(place):
        raise UserError(f"No file matches '{place}' (from '{spec}').")
    raise missing_place("file", place, spec)


def _in_folder(place: str, split: str | None) -> list[str]:
    """The files of records in a folder; of a split, those in its folder or named so."""
    if not split:
        return _records_in(place)
    inner = layouts.part(place, split)
    if inner and (files := _records_in(inner)):
        return files
    # train-00000-of-00002, but not trainval.
    names = "|".join(map(re.escape, layouts.aliases(split)))
    begins = re.compile(rf"({names})(?![a-z])", re.IGNORECASE)
    return [path for path in _records_in(place) if begins.match(os.path.basename(path))]


def _records_in(folder: str) -> list[str]:
    paths = sorted(glob.glob(os.path.join(glob.escape(folder), "*")))
    return [path for path in paths if os.path.isfile(path) and is_record(path)]


def _no_records(spec: str, place: str, split: str | None) -> UserError:
    if not split:
        return UserError(f"There is no file of records in '{place}' (from '{spec}').")
    files = [os.path.basename(path) for path in _records_in(place)]
    begins = {re.split(r"[-_.]", name)[0] for name in files} | set(layouts.parts(place))
    return layouts.no_split(split, place, spec, begins, f"file of records named {split}")


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


def _classes_beside(files: Sequence[str], problems: list[Problem]) -> list[str]:
    """The names that `write` left beside the files; of several sets, those of all."""
    found: dict[str, list[str]] = {}
    for path in files:
        folder, name = os.path.split(path)
        lists = glob.glob(os.path.join(glob.escape(folder), "*.classes.txt"))
        stems = {os.path.basename(other).removesuffix(".classes.txt"): other for other in lists}
        fitting = [stem for stem in stems if name.startswith(stem)]
        if fitting and (other := stems[max(fitting, key=len)]) not in found:
            lines = lines_of(read_text(other, problems))
            found[other] = [line.strip() for line in lines if line.strip()]
    return list(dict.fromkeys(name for names in found.values() for name in names))


class _LabelMap(NamedTuple):
    """Class names by their numbers, and the file that says so."""

    path: str = ""
    names: Mapping[int, str] = {}


def _label_map(files: Sequence[str], needed: bool) -> _LabelMap:
    """The label map that lies with the files, or one folder up if its name says what it is."""
    folder = os.path.dirname(os.path.abspath(files[0]))
    above = os.path.dirname(folder)
    stem = os.path.basename(files[0]).split(".")[0]
    for pattern in (f"{glob.escape(folder)}/*.pbtxt", f"{glob.escape(above)}/*label*map*.pbtxt"):
        paths = sorted(glob.glob(pattern))
        maps = [_LabelMap(path, found) for path in paths if (found := _map_of(path))]
        maps = [one for one in maps if os.path.basename(one.path).startswith(stem)] or maps
        if all(one.names == maps[0].names for one in maps[1:]):
            if maps:
                return maps[0]
        elif needed:
            listed = ", ".join(os.path.basename(one.path) for one in maps)
            raise UserError(
                f"'{os.path.dirname(maps[0].path)}' holds label maps that differ ({listed}): leave "
                "the one there that belongs to the records."
            )
    return _LabelMap()


def _map_of(path: str) -> dict[int, str]:
    """Names by numbers from 0 of a label map; {} for another kind of text."""
    text = read_text(path, limit=4 << 20)
    if not re.search(r"^\s*item\s*:?\s*[{<]", text, re.MULTILINE):
        return {}
    with reading(path, "a label map"):
        found = {}
        for item in parse_text(text).get("item", []):
            if twice := [
                key for key in ("id", "name", "display_name") if len(item.get(key, "")) > 1
            ]:
                raise ValueError(f"an item has more than one {twice[0]}")
            name = str((item.get("display_name") or item["name"])[0]).strip()
            number = (item.get("id") or [0])[0]
            if type(number) is not int:
                raise ValueError(f"the id {number} is no whole number")
            if not number and name.lower() in _NO_CLASS:
                continue
            if found.setdefault(number, name) != name:
                raise ValueError(f"number {number} stands there twice")
    return found


class _Entry(NamedTuple):
    """A record: its image and what else tells it apart from others."""

    row: checks.Row
    header: images.Header
    location: packed.Location
    numbers: list[int | None]
    other_ids: tuple[str, str]


def _entries(path: str, problems: list[Problem]) -> Iterator[_Entry]:
    import tensorflow as tf

    for index, offset, data in records(path, problems):
        place = f"{path}, record {index}"
        try:
            feature = tf.train.Example.FromString(data).features.feature
        except Exception as error:
            message = f"is no tf.train.Example ({one_line(error)})"
            problem = Problem("broken_record", place, message, REFUSED, images_lost=1)
            problems.append(problem)
            continue
        record = _Record(feature, place)
        row, numbers = _row(record, problems)
        if row is None:
            continue
        if fault := record.fault_of_image():
            problems.append(row.left_out("broken_image", place, fault))
            continue
        encoded = record.first("image/encoded")
        try:
            header = images.parse_header(encoded, place)
        except images.ImageError as error:
            problems.append(row.left_out("broken_image", place, error.reason))
            continue
        location = packed.Location(path, offset + data.index(encoded), len(encoded))
        others = record.text("image/filename"), f"{os.path.basename(path)}-{index}"
        yield _Entry(row, header, location, numbers, others)


class _Record:
    """The features of a record."""

    def __init__(self, feature, place: str):
        self._feature = feature
        self.place = place

    def values(self, name: str) -> list:
        """All values of a feature, bytes or numbers; [] if there is none."""
        if name not in self._feature:
            return []
        kind = self._feature[name].WhichOneof("kind")
        return list(getattr(self._feature[name], kind).value) if kind else []

    def first(self, name: str, otherwise=None):
        """The first value of a feature."""
        return next(iter(self.values(name)), otherwise)

    def number(self, name: str) -> float | None:
        """The first value of a feature if it is a number."""
        value = self.first(name)
        return value if isinstance(value, int | float) else None

    def text(self, name: str) -> str:
        """The first value of a feature as text, whatever it is."""
        value = self.first(name, b"")
        return _text(value) if isinstance(value, bytes) else str(value)

    def numbers(self, name: str, count: int, unknown) -> list:
        """As many numbers as there are objects; `unknown` for each if there are others."""
        values = self.values(name)
        good = len(values) == count and not any(isinstance(value, bytes) for value in values)
        return values if good else [unknown] * count

    def fault_of_image(self) -> str:
        """Why the record has not one image; "" where it has."""
        values = self.values("image/encoded")
        if len(values) == 1 and isinstance(values[0], bytes):
            return ""
        if values:
            return f"has {len(values)} values as image/encoded, not the bytes of one image"
        there = sorted(self._feature)
        listed = ", ".join(there[:6]) + (", ..." if len(there) > 6 else "")
        return f"has no image/encoded, the bytes of the image; its features: {listed or 'none'}"


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="backslashreplace").strip()


def _decode_names(found: Sequence[_Entry], spec: str, problems: list[Problem]) -> None:
    """Names of classes in another encoding than UTF-8, told by all of them together."""
    names = sorted({name for entry in found for name in entry.row.names})
    told = dict(zip(names, names, strict=True))
    if foreign := list(filter(_is_foreign, names)):
        joined = (re.sub(r"[\r\n]", " ", name) for name in foreign)
        data = [name.encode("utf-8", errors="surrogateescape") for name in joined]
        text = decode(b"\n".join(data), f"the class names of {spec}", problems)
        told |= zip(foreign, text.split("\n"), strict=True)
    for entry in found:
        entry.row.names = [normalize(told[name]) for name in entry.row.names]


def _is_foreign(name: str) -> bool:
    return any("\udc80" <= letter <= "\udcff" for letter in name)


def _row(record: _Record, problems: list[Problem]) -> tuple[checks.Row | None, list[int | None]]:
    """The objects of a record and their class numbers."""
    place = record.place
    row = checks.Row(
        record.text("image/source_id"),
        "",
        declared_size=(record.number("image/height"), record.number("image/width")),
        declared_at=place,
        normalized=True,
        tolerance=checks.SHARE_TOLERANCE,
    )
    corners = [record.values(f"{_OBJECT}bbox/{key}") for key in _CORNERS]
    texts = record.values(f"{_OBJECT}class/text")
    labels = record.values(f"{_OBJECT}class/label")
    count = len(corners[0])
    if fault := _fault(corners, texts, labels):
        lost = ("",) * max(map(len, (*corners, texts, labels)))
        problem = Problem("broken_record", place, fault, REFUSED, lost, images_lost=1)
        problems.append(problem)
        return None, []
    names, numbers = _classes_of(texts, labels, count)
    difficult, crowd, area = (
        record.numbers(f"{_OBJECT}{key}", count, unknown)
        for key, unknown in (("difficult", 0), ("is_crowd", 0), ("area", None))
    )
    known = [record.values(f"{_OBJECT}{key}") for key in ("difficult", "is_crowd", "area")]
    if any(values and len(values) != count for values in known):
        message = f"has marks or areas that are not one for each of {count} objects: not read"
        problems.append(Problem("broken_marks", place, message, NOTED, image=row.image))
    for i, box in enumerate(zip(*corners, strict=True)):
        flags = {"difficult": bool(difficult[i]), "crowd": bool(crowd[i]), "area": area[i]}
        row.add("", box, f"{place}, object {i}", **flags)
    row.names = names  # their encoding is told by those of all records together
    return row, numbers


def _fault(corners, texts, labels) -> str:
    """Why the objects of a record cannot be read; "" where they can."""
    counts = [len(values) for values in corners]
    numbers_of_classes = {len(values) for values in (texts, labels) if values} or {0}
    if len(set(counts)) > 1 or counts[0] not in numbers_of_classes:
        classes = " and ".join(str(number) for number in sorted(numbers_of_classes))
        return f"has {counts} box corners ({', '.join(_CORNERS)}) for {classes} classes"
    strange = [
        name
        for name, values, kind in (
            *((f"bbox/{key}", v, int | float) for key, v in zip(_CORNERS, corners, strict=True)),
            ("class/text", texts, bytes),
            ("class/label", labels, int),
        )
        if not all(isinstance(value, kind) for value in values)
    ]
    return f"has {_OBJECT}{strange[0]} of another type than that feature has" if strange else ""


def _classes_of(texts, labels, count) -> tuple[list[str], list[int | None]]:
    """The names of classes, "" where there is none, and their numbers, None where there is none."""
    names = [""] * count
    if len(texts) == count:
        names = [text.decode("utf-8", errors="surrogateescape").strip() for text in texts]
    return names, list(labels) if len(labels) == count else [None] * count


def _name_classes(
    found: Sequence[_Entry],
    in_order: Sequence[str],
    label_map: _LabelMap,
    spec: str,
    problems: list[Problem],
) -> None:
    """Gives a name to the classes that have a number only, and notes where it is from.

    That of the label map; else what the same number is called elsewhere in the files; else the one
    at its place in `in_order`, from 1 as the Object Detection API counts, or from 0 where a 0
    occurs; else the number itself.
    """
    numbers = {n for entry in found for n in entry.numbers if n is not None}
    names, source = label_map.names, f"are named by '{label_map.path}'"
    if not names:
        names, source = _named_elsewhere(found), "are called as elsewhere in the files"
    if not names:
        names, first = _at_places(in_order, numbers)
        source = f"are taken as places in the list of classes, from {first}"
    if not names:
        listed = ", ".join(map(str, sorted(numbers)[:8]))
        source = f"have no names ({listed}); a label map (.pbtxt) beside the files gives them"
    problems.append(Problem("class_numbers", spec, f"class numbers {source}", NOTED))
    if names and (nameless := sorted(_of_nameless(found) - set(names))):
        message = (
            f"the class numbers {', '.join(map(str, nameless[:8]))} have no name, unlike others: "
            "they are classes of their own here; name them in a label map (.pbtxt) beside the files"
        )
        problems.append(Problem("class_numbers", spec, message, REFUSED))
    for row, _, _, own, _ in found:
        row.names = [
            name or ("" if number is None else names.get(number, str(number)))
            for name, number in zip(row.names, own, strict=True)
        ]


def _of_nameless(found: Sequence[_Entry]) -> set[int]:
    """The numbers of the classes of objects without a name."""
    return {
        number
        for row, _, _, numbers, _ in found
        for name, number in zip(row.names, numbers, strict=True)
        if not name and number is not None
    }


def _at_places(in_order: Sequence[str], numbers: set[int]) -> tuple[dict[int, str], int]:
    """Names of numbers that are places in a list, and the number of the first; {} if they are not.

    A list that holds the numbers themselves was made of files like these.
    """
    first = 0 if 0 in numbers else 1
    names = dict(enumerate(in_order, first))
    are_places = numbers <= set(names) and not {*map(str, numbers)} & {*in_order}
    return (names if are_places else {}), first


def _named_elsewhere(found: Sequence[_Entry]) -> dict[int, str]:
    """Names of numbers that have the same name wherever they have one."""
    names: dict[int, set[str]] = {}
    for row, _, _, numbers, _ in found:
        for name, number in zip(row.names, numbers, strict=True):
            if name and number is not None:
                names.setdefault(number, set()).add(name)
    return {number: next(iter(group)) for number, group in names.items() if len(group) == 1}


def _in_order(labels: Mapping[int, str], found: Sequence[_Entry]) -> list[str]:
    """The classes of the label map by their numbers, then what else occurs: names, then numbers."""
    occurring = {name for row, *_ in found for name in row.names if name}
    listed = dict.fromkeys(labels[number] for number in sorted(labels))
    if not occurring & set(listed):
        listed = {}
    numbers = {name for name in occurring if name.isdecimal()}
    others = [*sorted(occurring - numbers), *sorted(numbers, key=int)]
    return list(dict.fromkeys((*listed, *others)))


def _tell_apart(found: Sequence[_Entry], spec: str, problems: list[Problem]) -> None:
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


def write(
    source: Source,
    prefix: str,
    *,
    shards: int = 1,
    progress: Callable[[int], None] | None = None,
) -> list[str]:
    """Packs a source into `PREFIX-00000-of-0000N.tfrecord` and `PREFIX.classes.txt`.

    Image files are taken as they are, byte by byte; drawn images are written as PNG. Images go to
    the shards in turn. Ids that occur twice get a prime ('). Unreadable images are left out, and
    reported in `source.problems`. Until all is written, earlier files stay as they are.

    Args:
        source: what to pack.
        prefix: folder and beginning of the file names.
        shards: number of files.
        progress: called with the number of images done.

    Returns:
        the paths of the written TFRecord files.

    Raises:
        UserError: the files cannot be written, files of another number of shards are there, or a
            class name holds the end of a line.
    """
    import tensorflow as tf

    if shards < 1:
        raise UserError(f"The number of shards must be at least 1, not {shards}.")
    paths = [f"{prefix}-{i:05d}-of-{shards:05d}.tfrecord" for i in range(shards)]
    _check_no_others(prefix, paths)
    names = label_text(source.classes)
    with replacing(*paths, f"{prefix}.classes.txt") as (*parts, names_file):
        names_file.write_text(names, encoding="utf-8")
        try:
            _write_shards(source, parts, progress)
        except tf.errors.OpError as error:
            raise _as_os_error(error) from error
    return paths


def _check_no_others(prefix: str, paths: Sequence[str]) -> None:
    """Refuses to write beside files that would be read together with the new ones."""
    pattern = f"{glob.escape(prefix)}-?????-of-?????.tfrecord"
    others = sorted(set(glob.glob(pattern)) - set(paths))
    if others:
        raise UserError(
            f"'{others[0]}' is of an earlier packing into another number of files, and "
            f"'{prefix}-*' would read both: remove it and its like, or give another name."
        )


def _write_shards(source: Source, parts: Sequence[os.PathLike], progress) -> None:
    import tensorflow as tf

    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(tf.io.TFRecordWriter(os.fspath(part))) for part in parts]
        ids: set[str] = set()
        for index, truth in enumerate(source.ground_truth()):
            try:
                source.image(index)  # raises where the bytes are damaged
                encoded = source.encoded(index)
            except images.ImageError as error:
                source.problems.append(_unreadable(source, truth, error))
                continue
            # Images of one name, from several folders, stay apart when they are read by their name.
            name = truth.image_id
            while name in ids:
                name += "'"
            ids.add(name)
            truth = dataclasses.replace(truth, image_id=name)
            writers[index % len(writers)].write(_example(truth, encoded, source.classes))
            if progress is not None:
                progress(index + 1)


def _unreadable(source: Source, truth: GroundTruth, error: images.ImageError) -> Problem:
    place = truth.path or truth.image_id
    lost = tuple(source.classes[label] for label in truth.labels)
    image = os.path.basename(truth.path) if truth.path else truth.image_id
    return Problem("broken_image", place, error.reason, LEFT_OUT, lost, image, images_lost=1)


def _as_os_error(error) -> OSError:
    """TensorFlow's error about a file as Python's."""
    reasons = {errno.ENOSPC: "No space left", errno.EFBIG: "File too large"}
    code = next((code for code, text in reasons.items() if text in error.message), errno.EIO)
    return OSError(code, os.strerror(code) if code != errno.EIO else one_line(error.message))


def _example(truth: GroundTruth, encoded: bytes, classes) -> bytes:
    import tensorflow as tf

    def integers(values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(v) for v in values]))

    def floats(values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=np.asarray(values).tolist()))

    def texts(values):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    feature = {
        "image/encoded": texts([encoded]),
        "image/source_id": texts([truth.image_id.encode()]),
        "image/filename": texts([os.path.basename(truth.path or truth.image_id).encode()]),
        "image/height": integers([truth.height]),
        "image/width": integers([truth.width]),
        f"{_OBJECT}class/text": texts([classes[label].encode() for label in truth.labels]),
        f"{_OBJECT}class/label": integers(truth.labels + 1),
        f"{_OBJECT}difficult": integers(truth.difficult),
        f"{_OBJECT}is_crowd": integers(truth.crowd),
    }
    if np.isfinite(truth.area).any():
        feature[f"{_OBJECT}area"] = floats(truth.area)
    for axis, key in enumerate(("ymin", "xmin", "ymax", "xmax")):
        feature[f"{_OBJECT}bbox/{key}"] = floats(truth.boxes[:, axis])
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
