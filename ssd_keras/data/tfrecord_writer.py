"""Packs a data set into TFRecord files, as the TensorFlow Object Detection API does."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from ssd_keras import remote
from ssd_keras.data import images, index_file, record_index
from ssd_keras.data.source import LEFT_OUT, GroundTruth, Problem, Source
from ssd_keras.data.tfrecord_examples import OBJECT
from ssd_keras.errors import UserError, one_line
from ssd_keras.labels import label_text


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
    if shards < 1:
        raise UserError(f"The number of shards must be at least 1, not {shards}.")
    paths = [f"{prefix}-{i:05d}-of-{shards:05d}.tfrecord" for i in range(shards)]
    _check_no_others(prefix, paths)
    names = label_text(source.classes)
    index = record_index.Builder(source.classes, shards)
    with remote.replacing(*paths, f"{prefix}.classes.txt") as (*parts, names_file):
        remote.write_bytes(names_file, names.encode())
        try:
            _write_shards(source, parts, index, progress)
        except tf.errors.OpError as error:
            raise _as_os_error(error) from error
    _write_index(index, paths, f"{prefix}{record_index.SUFFIX}")
    return paths


def _write_index(index: record_index.Builder, paths: Sequence[str], place: str) -> None:
    """Writes the index of large sets; of others there must be none that was written before."""
    if index.size < record_index.FROM_BYTES:
        remote.remove(place)
        return
    with remote.replacing(place) as (part,):
        remote.write_bytes(part, index_file.as_bytes(index.arrays(paths), record_index.ABOUT))


def _check_no_others(prefix: str, paths: Sequence[str]) -> None:
    """Refuses to write beside files that would be read together with the new ones."""
    pattern = f"{remote.escape(prefix)}-?????-of-?????.tfrecord"
    others = sorted(set(remote.matching(pattern)) - set(paths))
    if others:
        raise UserError(
            f"'{others[0]}' is of an earlier packing into another number of files, and "
            f"'{prefix}-*' would read both: remove it and its like, or give another name."
        )


def _write_shards(source: Source, parts: Sequence[os.PathLike], found, progress) -> None:
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
            record = _example(truth, encoded, source.classes)
            writers[index % len(writers)].write(record)
            found.add(index % len(writers), record, encoded, truth)
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
        f"{OBJECT}class/text": texts([classes[label].encode() for label in truth.labels]),
        f"{OBJECT}class/label": integers(truth.labels + 1),
        f"{OBJECT}difficult": integers(truth.difficult),
        f"{OBJECT}is_crowd": integers(truth.crowd),
    }
    if truth.ignored.any():
        feature[f"{OBJECT}is_ignored"] = integers(truth.ignored)
    if np.isfinite(truth.area).any():
        feature[f"{OBJECT}area"] = floats(truth.area)
    for axis, key in enumerate(("ymin", "xmin", "ymax", "xmax")):
        feature[f"{OBJECT}bbox/{key}"] = floats(truth.boxes[:, axis])
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
