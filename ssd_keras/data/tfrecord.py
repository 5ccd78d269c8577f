"""TFRecord files: encoded images and their objects packed together, for fast reading."""

from __future__ import annotations

import dataclasses
import glob
import os
import struct
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ssd_keras.data import checks, images, packed
from ssd_keras.data.source import LEFT_OUT, REFUSED, GroundTruth, Problem, Source
from ssd_keras.errors import UserError, did_you_mean

_OBJECT = "image/object/"


def load(spec: str, place: str, split: str | None, classes: Sequence[str] | None) -> Source:
    """Reads TFRecord files with the features of the TensorFlow Object Detection API.

    All files are scanned once; images are then read by their place, in any order.

    Args:
        spec: how the user named the data, for messages.
        place: a file, a folder, or a glob of files.
        split: files whose name begins with it, in a folder.
        classes: class names; None takes them from the .classes.txt that `write` leaves beside its
            files, or else those that occur, sorted.

    Raises:
        UserError: no such file, or not one usable image.
    """
    files = _files(spec, place, split)
    problems: list[Problem] = []
    found = [entry for path in files for entry in _entries(path, problems)]
    if classes is None:
        classes = _classes_beside(files[0]) or sorted({n for row, _, _ in found for n in row.names})
    for row, _, _ in found:
        # Without text a class is known by its number alone, which counts from 1.
        row.names = [
            classes[int(n[1:]) - 1] if n[:1] == "#" and 0 < int(n[1:]) <= len(classes) else n
            for n in row.names
        ]
    return packed.assemble(spec, classes, found, problems)


def _files(spec, place, split) -> list[str]:
    if os.path.isdir(place):
        place = os.path.join(place, f"{split or ''}*")
    elif split:
        raise UserError(
            f"'{place}' names files, which have no splits: leave out '#{split}', or put it into "
            f"the name, such as 'tfrecord:DIR/{split}-*' (from '{spec}')."
        )
    files = sorted(p for p in glob.glob(place) if "tfrecord" in os.path.basename(p))
    files = files or sorted(p for p in glob.glob(place) if not p.endswith(".txt"))
    if not files:
        parent = os.path.dirname(place) or "."
        near = os.listdir(parent) if os.path.isdir(parent) else []
        raise UserError(
            f"No file matches '{place}' (from '{spec}')."
            + did_you_mean(os.path.basename(place), near)
        )
    return files


def _classes_beside(path: str) -> list[str] | None:
    folder, name = os.path.split(path)
    for other in sorted(glob.glob(os.path.join(glob.escape(folder), "*.classes.txt"))):
        if name.startswith(os.path.basename(other).removesuffix(".classes.txt")):
            with open(other, encoding="utf-8") as file:
                return [line.strip() for line in file if line.strip()]
    return None


def records(path: str, problems: list[Problem]) -> Iterator[tuple[int, int, bytes]]:
    """Index, offset and bytes of each record of a file; a cut-off end is reported."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        at = index = 0
        while at < size:
            head = file.read(12)
            length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else size
            if at + 16 + length > size:
                message = f"the file ends or is damaged inside record {index}; what follows is lost"
                problems.append(Problem("broken_record", path, message, REFUSED))
                return
            data = file.read(length)
            file.read(4)
            yield index, at + 12, data
            at += 16 + length
            index += 1


def _entries(path, problems):
    import tensorflow as tf

    for index, offset, data in records(path, problems):
        place = f"{path}, record {index}"
        try:
            feature = tf.train.Example.FromString(data).features.feature
        except Exception as error:
            message = f"is no tf.train.Example ({error})"
            problems.append(Problem("broken_record", place, message, REFUSED))
            continue
        entry = _entry(feature, place, problems)
        if entry is not None:
            row, header, encoded = entry
            start = offset + data.index(encoded)
            yield row, header, packed.Location(path, start, len(encoded))


def _entry(feature, place, problems):
    def values(name):
        kind = feature[name].WhichOneof("kind") if name in feature else None
        return list(getattr(feature[name], kind).value) if kind else []

    encoded = (values("image/encoded") or [b""])[0]
    try:
        header = images.parse_header(encoded, place)
    except images.ImageError as error:
        problems.append(Problem("broken_image", place, error.reason, LEFT_OUT))
        return None
    name = (values("image/source_id") or values("image/filename") or [place.encode()])[0].decode()
    size = tuple((values(f"image/{side}") or [None])[0] for side in ("height", "width"))
    row = checks.Row(
        name,
        "",
        declared_size=size,
        declared_at=place,
        normalized=True,
        tolerance=checks.SHARE_TOLERANCE,
    )
    corners = [values(f"{_OBJECT}bbox/{key}") for key in ("ymin", "xmin", "ymax", "xmax")]
    names = [text.decode() for text in values(f"{_OBJECT}class/text")]
    names = names or [f"#{number}" for number in values(f"{_OBJECT}class/label")]
    difficult, crowd, area = (
        values(f"{_OBJECT}{key}") or [unknown] * len(names)
        for key, unknown in (("difficult", 0), ("is_crowd", 0), ("area", None))
    )
    counts = [len(c) for c in (*corners, difficult, crowd, area)]
    if set(counts) != {len(names)}:
        message = (
            f"has {counts[:4]} box corners, {counts[4]} difficult, {counts[5]} is_crowd and "
            f"{counts[6]} area for {len(names)} classes"
        )
        problems.append(Problem("broken_record", place, message, REFUSED))
        return None
    for i, box in enumerate(zip(*corners, strict=True)):
        row.add(
            names[i],
            box,
            f"{place}, object {i}",
            difficult=bool(difficult[i]),
            crowd=bool(crowd[i]),
            area=area[i],
        )
    return row, header, encoded


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
    reported in `source.problems`.

    Args:
        source: what to pack.
        prefix: folder and beginning of the file names.
        shards: number of files.
        progress: called with the number of images done.

    Returns:
        the paths of the written TFRecord files.
    """
    import tensorflow as tf

    if shards < 1:
        raise UserError(f"The number of shards must be at least 1, not {shards}.")
    os.makedirs(os.path.dirname(os.path.abspath(prefix)), exist_ok=True)
    paths = [f"{prefix}-{i:05d}-of-{shards:05d}.tfrecord" for i in range(shards)]
    # Written under other names first, so that nothing half-written is ever taken for whole.
    writers = [tf.io.TFRecordWriter(path + ".part") for path in paths]
    names: set[str] = set()
    for index, truth in enumerate(source.ground_truth()):
        try:
            source.image(index)  # raises where the bytes are damaged
            encoded = source.encoded(index)
        except images.ImageError as error:
            place = truth.path or truth.image_id
            source.problems.append(Problem("broken_image", place, error.reason, LEFT_OUT))
            continue
        # Images of one name, from several folders, stay apart when they are read by their name.
        name = truth.image_id
        while name in names:
            name += "'"
        names.add(name)
        truth = dataclasses.replace(truth, image_id=name)
        writers[index % shards].write(_example(truth, encoded, source.classes))
        if progress is not None:
            progress(index + 1)
    for writer, path in zip(writers, paths, strict=True):
        writer.close()
        os.replace(path + ".part", path)
    with open(f"{prefix}.classes.txt", "w", encoding="utf-8") as file:
        file.write("".join(f"{name}\n" for name in source.classes))
    return paths


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
