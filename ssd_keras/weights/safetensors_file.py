"""Files of tensors as Hugging Face keeps them (.safetensors), read as bounded data."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from ssd_keras.reading import reading
from ssd_keras.weights.files import (
    MAX_ARRAY_VALUES,
    MAX_ARRAYS,
    check_finite,
    checked_shape,
    read_file,
)

_MAX_HEADER_BYTES = 16 << 20
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}


def read_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """Reads name -> array from a `.safetensors` file.

    Raises:
        UserError: the file is missing, damaged, of another kind, or holds another type of number.

    Source: the format as github.com/huggingface/safetensors describes it: eight bytes with the
    length of a JSON header, the header, the values.
    """
    data = read_file(path)
    with reading(path, "a .safetensors file"):
        length = int.from_bytes(data[:8], "little")
        if not 2 <= length <= min(_MAX_HEADER_BYTES, len(data) - 8):
            raise ValueError(f"its header cannot have {length} bytes")
        header = json.loads(data[8 : 8 + length])
        if not isinstance(header, dict) or len(header) > MAX_ARRAYS:
            raise ValueError("its header is no table of tensors")
        header.pop("__metadata__", None)
        values = memoryview(data)[8 + length :]
        arrays = {name: _tensor(name, entry, values) for name, entry in header.items()}
        if not arrays:
            raise ValueError("it holds no tensors")
        check_finite(arrays)
        return arrays


def _tensor(name: str, entry: dict, values: memoryview) -> np.ndarray:
    kind = entry["dtype"]
    if kind not in _DTYPES:
        raise ValueError(f"'{name}' holds {kind}, which is none of {', '.join(_DTYPES)}")
    dtype = np.dtype(_DTYPES[kind])
    shape = checked_shape(entry["shape"], min(MAX_ARRAY_VALUES, len(values)))
    start, end = (int(place) for place in entry["data_offsets"])
    if not 0 <= start <= end <= len(values) or end - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"'{name}' lies outside of the file or has another size than its shape")
    return np.frombuffer(values[start:end], dtype).reshape(shape)
