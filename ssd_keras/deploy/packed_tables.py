"""Flatbuffer tables written slot by slot, for a schema without generated code."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import flatbuffers
import numpy as np


@dataclasses.dataclass(frozen=True)
class Table:
    """A flatbuffer table: values by slot."""

    slots: int
    values: dict


def make_table(fields: Sequence[str], values: dict) -> Table:
    return Table(len(fields), {fields.index(key): value for key, value in values.items()})


def pack(root: Table, identifier: bytes) -> bytes:
    builder = flatbuffers.Builder(1 << 12)
    builder.Finish(_write(builder, root), identifier)
    return bytes(builder.Output())


_SCALARS = {
    np.dtype(np.bool_): "PrependBoolSlot",
    np.dtype(np.int8): "PrependInt8Slot",
    np.dtype(np.uint8): "PrependUint8Slot",
    np.dtype(np.int32): "PrependInt32Slot",
    np.dtype(np.uint32): "PrependUint32Slot",
    np.dtype(np.float32): "PrependFloat32Slot",
}


def _write(builder: flatbuffers.Builder, value):
    """Writes a value that lies outside of its table and returns its offset."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, bytes):
        # force_align of CustomMetadata.data.
        builder.StartVector(1, len(value), 16)
        builder.head -= len(value)
        builder.Bytes[builder.head : builder.head + len(value)] = value
        return builder.EndVector()
    if isinstance(value, np.ndarray):
        return builder.CreateNumpyVector(value)
    if isinstance(value, list) and all(isinstance(item, float) for item in value):
        return builder.CreateNumpyVector(np.array(value, np.float32))
    if isinstance(value, list):
        offsets = [_write(builder, item) for item in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()
    offsets = {
        slot: None if isinstance(item, np.generic) else _write(builder, item)
        for slot, item in value.values.items()
    }
    builder.StartObject(value.slots)
    for slot, item in value.values.items():
        if offsets[slot] is None:
            getattr(builder, _SCALARS[item.dtype])(slot, item.item(), 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, offsets[slot], 0)
    return builder.EndObject()
