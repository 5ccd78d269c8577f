"""TensorFlow Datasets: any detection set of its catalogue, or a builder's folder on disk."""

from __future__ import annotations

import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence

import numpy as np

from ssd_keras.data import checks, images, options, packed, pillow
from ssd_keras.data.source import LEFT_OUT, Problem, Source
from ssd_keras.errors import UserError, did_you_mean, one_line, unknown

# How many of a set's servers are asked, and for how long, before TFDS may download from them.
_SERVERS, _SECONDS = 2, 5


def load(spec: str, place: str, split: str | None, classes: Sequence[str] | None) -> Source:
    """Reads a data set of TensorFlow Datasets.

    The encoded images are copied to a temporary file (which needs their size on disk), because
    training reads them in another order each epoch.

    Args:
        spec: how the user named the data, for messages.
        place: name of a builder such as `voc/2007`, or a folder with its prepared files;
            `,units=UNIT` behind it, see `units`.
        split: as TFDS understands it, `trainval` or `train[:10%]`; None takes `train`.
        classes: class names; None takes those of the data set.

    Raises:
        UserError: TFDS is not installed, no such data set or split, no boxes in it, or it is not
            here and there is no network.
    """
    import tensorflow as tf

    tfds = _import_tfds(spec)
    place, chosen = options.split(spec, place, options.UNITS)
    builder = _builder(tfds, spec, place)
    split = split or "train"
    _check_features(builder, spec)
    examples = _encoded_examples(tfds, builder, place, split)
    labels = builder.info.features["objects"]["label"]
    names = list(getattr(labels, "names", None) or map(str, range(labels.num_classes)))
    problems: list[Problem] = []
    spool = tempfile.TemporaryFile(prefix="ssd_keras_")  # noqa: SIM115 - lives as long as the source
    # TFDS takes VOC's pixels, which count from 1 and are inclusive, for edges.
    shift = 1 if builder.name == "voc" else 0
    arguments = (names, place, split, spool, problems, shift)
    try:
        entries = list(_entries(tfds.as_numpy(examples), *arguments))
    except tf.errors.InvalidArgumentError:
        # Some builders (mocked ones among them) can only give decoded images.
        problems.clear()
        spool.seek(0)
        entries = list(_entries(tfds.as_numpy(builder.as_dataset(split=split)), *arguments))
    except tf.errors.OpError as error:
        raise UserError(f"'{spec}' cannot be read: {one_line(error.message)}.") from error
    except OSError as error:
        raise UserError(
            f"The images of '{spec}' cannot be copied to '{tempfile.gettempdir()}' "
            f"({one_line(error)}): make room there, or name a larger disk by TMPDIR."
        ) from error
    spool.flush()
    return packed.assemble(spec, classes or names, entries, problems, spool, chosen.get("units"))


def _import_tfds(spec: str):
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"'{spec}' needs TensorFlow Datasets: pip install 'ssd-keras[tfds]' ({error})."
        ) from error
    return tfds


def _encoded_examples(tfds, builder, place: str, split: str):
    """The examples of a split, whose images are not decoded."""
    if not builder.is_prepared():
        _check_network(place, builder.url_infos)
    try:
        builder.download_and_prepare()
        return builder.as_dataset(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    except (ValueError, KeyError) as error:
        raise unknown("split", split, builder.info.splits or (), f"in '{place}'") from error


def _check_network(place: str, urls: Iterable[str]) -> None:
    """Raises a UserError where no server of a set answers; TFDS itself tries for minutes."""
    servers = list(dict.fromkeys("/".join(url.split("/")[:3]) for url in urls))
    reason = None
    for server in servers[:_SERVERS]:
        head = urllib.request.Request(server, method="HEAD")
        try:
            urllib.request.urlopen(head, timeout=_SECONDS).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError as error:
            reason = f"{server}: {one_line(error)}"
    if reason is None:
        return
    raise UserError(
        f"'{place}' of TFDS is not on this machine and cannot be downloaded ({reason}): "
        "prepare it where there is a network, and copy its folder below ~/tensorflow_datasets, or "
        "name the folder."
    )


def _builder(tfds, spec, place):
    try:
        if os.path.isdir(place):
            return tfds.builder_from_directory(place)
        return tfds.builder(place)
    except tfds.core.DatasetNotFoundError as error:
        near = did_you_mean(place, _names_like(tfds, place))
        raise UserError(f"TFDS has no data set '{place}' (from '{spec}').{near}") from error
    except (ValueError, FileNotFoundError) as error:
        near = did_you_mean(place, _names_like(tfds, place))
        raise UserError(
            f"TFDS has no data set '{place}' (from '{spec}').{near or ' ' + one_line(error)}"
        ) from error


def _names_like(tfds, place: str) -> list[str]:
    """The sets of TFDS, and the configurations of those that the name begins with."""
    names = tfds.list_builders(with_community_datasets=False)
    for name in [name for name in names if place.startswith(name)]:
        names += [f"{name}/{config}" for config in tfds.builder_cls(name).builder_configs]
    return names


def _check_features(builder, spec) -> None:
    features = builder.info.features or {}
    objects = features["objects"] if "objects" in features else {}  # noqa: SIM401 - no dict
    if "image" not in features or "bbox" not in objects or "label" not in objects:
        raise UserError(
            f"'{spec}' is no detection data set: it has no image with objects, bbox and label, "
            f"but {', '.join(features)}."
        )


def _entries(examples, names, place, split, spool, problems, shift):
    at = 0
    for index, example in enumerate(examples):
        where = f"tfds:{place}#{split}, example {index}"
        row = _row(example, index, names, where, problems)
        encoded = _encode(example["image"])
        try:
            header = images.parse_header(encoded, where)
        except images.ImageError as error:
            problems.append(row.left_out("broken_image", where, error.reason))
            continue
        down, right = shift / header.height, shift / header.width
        row.boxes = [(top - down, left - right, *end) for top, left, *end in row.boxes]
        spool.write(encoded)
        yield row, header, packed.Location(spool.fileno(), at, len(encoded))
        at += len(encoded)


def _row(example, index: int, names: Sequence[str], where: str, problems) -> checks.Row:
    row = checks.Row(
        _image_id(example, index),
        "",
        declared_at=where,
        normalized=True,
        tolerance=checks.SHARE_TOLERANCE,
    )
    objects = example["objects"]
    lengths = {len(values) for values in objects.values()}
    count = min(lengths)
    if len(lengths) > 1:
        message = f"its objects have lists of {sorted(lengths)} values; the shortest counts"
        lost = ("",) * (max(lengths) - count)
        problems.append(Problem("broken_record", where, message, LEFT_OUT, lost, row.image))
    difficult = objects.get("is_difficult", np.zeros(count))
    crowd = objects.get("is_crowd", np.zeros(count))
    area = objects.get("area", np.full(count, np.nan))
    for i in range(count):
        label = int(objects["label"][i])
        row.add(
            names[label] if 0 <= label < len(names) else str(label),
            tuple(map(float, objects["bbox"][i])),
            f"{where}, object {i}",
            difficult=difficult[i],
            crowd=crowd[i],
            area=area[i],
        )
    return row


def _encode(image) -> bytes:
    if isinstance(image, bytes):
        return image
    return pillow.as_png(np.asarray(image))


def _image_id(example, index: int) -> str:
    if "image/id" in example:
        return str(int(example["image/id"]))
    if "image/filename" in example:
        return os.path.splitext(example["image/filename"].decode())[0]
    return str(index)
