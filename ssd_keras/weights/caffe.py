"""Caffe's files: blobs from .caffemodel (protobuf), the network from .prototxt (text)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ssd_keras.errors import UserError
from ssd_keras.reading import reading
from ssd_keras.text_format import parse_text
from ssd_keras.weights.files import (
    MAX_TEXT_BYTES,
    check_finite,
    checked_shape,
    read_file,
)

# What Caffe adds to variances where a network does not say.
BATCH_NORM_EPSILON = 1e-5

_MAX_FIELDS = 1_000_000

# Field numbers of caffe.proto: the layer lists of NetParameter, and in each kind of layer the
# fields name, type and blobs (V1LayerParameter is what Caffe wrote until 2014).
_LAYER, _V1_LAYER = 100, 2
_LAYER_FIELDS = {_LAYER: (1, 7), _V1_LAYER: (4, 6)}
_BLOB_LEGACY_SHAPE = (1, 2, 3, 4)
_BLOB_DATA, _BLOB_SHAPE, _BLOB_DOUBLE_DATA = 5, 7, 8
_SHAPE_DIM = 1


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer of a .prototxt.

    Attributes:
        name, kind: its name and type, such as "Convolution".
        bottoms, tops: names of the blobs it reads and writes.
        parameters: all its fields, see `text_format.parse_text`.
    """

    name: str
    kind: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    parameters: dict

    def parameter(self, message: str, field: str, default=None):
        """The first value of a field of one of the layer's messages."""
        return self.values(message, field, [default])[0]

    def values(self, message: str, field: str, default=()):
        """All values of a field of one of the layer's messages."""
        (inner,) = self.parameters.get(message, [{}])[:1]
        return inner.get(field) or list(default)


@dataclasses.dataclass(frozen=True)
class Network:
    """What a .prototxt describes.

    Attributes:
        image_size: (height, width) of its input.
        layers: the layers of the test phase by name, in order.
    """

    image_size: tuple[int, int]
    layers: dict[str, Layer]

    def of_kind(self, kind: str) -> list[Layer]:
        """The layers of a type, in order."""
        return [layer for layer in self.layers.values() if layer.kind == kind]


def read_caffemodel(path: str | Path) -> dict[str, list[np.ndarray]]:
    """Reads layer name -> blobs, in Caffe's own layout `[out, in, height, width]`.

    Raises:
        UserError: the file is missing, too large, damaged or not a .caffemodel.
    """
    data = memoryview(read_file(path))
    with reading(path, "a .caffemodel"):
        blobs, wire = {}, _Wire()
        for number, value in wire.fields(data):
            if number not in _LAYER_FIELDS:
                continue
            name_field, blobs_field = _LAYER_FIELDS[number]
            name, arrays = "", []
            for field, content in wire.fields(_message(value)):
                if field == name_field:
                    name = bytes(_message(content)).decode()
                elif field == blobs_field:
                    arrays.append(_blob(_message(content), wire))
            if arrays:
                blobs[name] = arrays
        check_finite({name: array for name, arrays in blobs.items() for array in arrays})
    if not blobs:
        raise UserError(f"'{path}' holds no weights: it is not a .caffemodel, or an untrained one.")
    return blobs


def read_network(path: str | Path) -> Network:
    """Reads the layers of a .prototxt, as they are in the test phase.

    Raises:
        UserError: the file is missing, damaged or does not describe a network.
    """
    text = read_file(path, MAX_TEXT_BYTES)
    with reading(path, "a .prototxt"):
        net = parse_text(text.decode())
        layers = {}
        for fields in net.get("layer", []) + net.get("layers", []):
            phases = [rule.get("phase", [None])[0] for rule in fields.get("include", [])]
            if "TRAIN" in phases and "TEST" not in phases:
                continue
            layer = Layer(
                name=str(fields["name"][0]),
                kind=str(fields["type"][0]),
                bottoms=tuple(map(str, fields.get("bottom", []))),
                tops=tuple(map(str, fields.get("top", []))),
                parameters=fields,
            )
            layers[layer.name] = layer
        if not layers:
            raise ValueError("it has no layers")
        return Network(_input_size(net, layers), layers)


def statistics_of(blobs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance from the blobs of a BatchNorm layer: sums, and what to divide them by."""
    factor = float(blobs[2].reshape(-1)[0]) if len(blobs) > 2 else 1.0
    share = np.float32(1 / factor if factor else 0.0)
    return blobs[0].reshape(-1) * share, blobs[1].reshape(-1) * share


def _input_size(net: dict, layers: dict[str, Layer]) -> tuple[int, int]:
    sides = list(net.get("input_dim", []))
    for shape in net.get("input_shape", []):
        sides += shape.get("dim", [])
    for layer in layers.values():
        if layer.kind == "Input" and not sides:
            sides = layer.values("input_param", "shape", [{}])[0].get("dim", [])
        if layer.kind == "AnnotatedData" and not sides:
            resize = layer.values("transform_param", "resize_param", [{}])[0]
            sides = [1, 3, *resize.get("height", []), *resize.get("width", [])]
    if len(sides) < 4 or not all(isinstance(side, int) and 0 < side < 4096 for side in sides[2:4]):
        raise ValueError("it gives no input of four sides (1, 3, height, width)")
    return sides[2], sides[3]


class _Wire:
    """Reads messages in protobuf's wire format, and so many fields in all."""

    def __init__(self):
        self.fields_left = _MAX_FIELDS

    def fields(self, data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """The (number, value) of each field of a message."""
        position = 0
        while position < len(data):
            self.fields_left -= 1
            if self.fields_left < 0:
                raise ValueError("it has too many fields")
            key, position = varint(data, position)
            kind = key & 7
            if kind == 0:
                value, position = varint(data, position)
            elif kind in (1, 2, 5):
                size = {1: 8, 5: 4}.get(kind)
                if size is None:
                    size, position = varint(data, position)
                value, position = data[position : position + size], position + size
                if position > len(data):
                    raise ValueError("it ends inside a field")
            else:
                raise ValueError(f"field {key >> 3} has the unknown wire type {kind}")
            yield key >> 3, value


def varint(data: memoryview, position: int) -> tuple[int, int]:
    """A number in base 128, low digits first, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise ValueError("it ends inside a number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number is longer than 64 bits")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return value


def _blob(data: memoryview, wire: _Wire) -> np.ndarray:
    legacy, shape, parts = {}, None, []
    for number, value in wire.fields(data):
        if number in _BLOB_LEGACY_SHAPE:
            legacy[number] = value
        elif number == _BLOB_SHAPE:
            dims = wire.fields(_message(value))
            shape = [side for field, dim in dims for side in _sides(field, dim)]
        elif number in (_BLOB_DATA, _BLOB_DOUBLE_DATA):
            dtype = "<f4" if number == _BLOB_DATA else "<f8"
            parts.append(np.frombuffer(_message(value), dtype).astype(np.float32))
    values = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if shape is None:
        shape = (
            [legacy.get(number, 1) for number in _BLOB_LEGACY_SHAPE] if legacy else [len(values)]
        )
    shape = checked_shape(shape)
    if math.prod(shape) != len(values):
        raise ValueError(f"a blob of shape {list(shape)} has {len(values)} values")
    return values.reshape(shape)


def _sides(field: int, value: int | memoryview) -> list[int]:
    """The dimensions in one field of BlobShape: a number, or several packed together."""
    if field != _SHAPE_DIM:
        return []
    if isinstance(value, int):
        return [value]
    sides, position = [], 0
    while position < len(value) and len(sides) < 16:
        side, position = varint(value, position)
        sides.append(side)
    return sides
