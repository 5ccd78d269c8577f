"""PyTorch's .pth files read without PyTorch, and without running what a pickle could run."""

from __future__ import annotations

import collections
import io
import math
import pickle
import zipfile
from pathlib import Path

import numpy as np

from ssd_keras.errors import UserError
from ssd_keras.reading import reading
from ssd_keras.weights.files import (
    MAX_ARRAY_VALUES,
    MAX_FILE_BYTES,
    check_finite,
    checked_shape,
    read_file,
)

_MAX_PICKLE_BYTES = 16 << 20
_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Reads name -> array from a state dict that `torch.save` wrote (PyTorch 1.6 or later).

    Of Python's pickle only dicts, tuples, numbers, strings and tensors are understood; anything
    else in the file is refused, and nothing of it is executed.

    Raises:
        UserError: the file is missing, damaged, of another kind, or holds more than tensors.
    """
    data = read_file(path)
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise UserError(
            f"'{path}' is not a .pth file of PyTorch 1.6 or later (a zip archive): load it with "
            "PyTorch and save its state dict again with torch.save."
        )
    with reading(path, "a state dict of PyTorch"), zipfile.ZipFile(io.BytesIO(data)) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        if sum(sizes.values()) > MAX_FILE_BYTES:
            raise ValueError("it unpacks to too much data")
        (pickled,) = [name for name in sizes if name.rsplit("/", 1)[-1] == "data.pkl"]
        if sizes[pickled] > _MAX_PICKLE_BYTES:
            raise ValueError("its table of contents is too large")
        root = pickled.removesuffix("data.pkl")
        content = _TensorUnpickler(archive, root).load()
        for wrapper in ("state_dict", "model"):
            if isinstance(content.get(wrapper), dict):
                content = content[wrapper]
        arrays = {str(k): v for k, v in content.items() if isinstance(v, np.ndarray)}
        if not arrays:
            raise ValueError("it holds no tensors")
        check_finite(arrays)
        return arrays


# The unpickler written in Python: the one in C reserves as much memory as a file asks for.
class _TensorUnpickler(pickle._Unpickler):
    """Understands tensors and plain containers, and nothing else."""

    def __init__(self, archive: zipfile.ZipFile, root: str):
        super().__init__(io.BytesIO(archive.read(f"{root}data.pkl")))
        self.archive, self.root = archive, root
        self.values_left = MAX_ARRAY_VALUES

    def find_class(self, module: str, name: str):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self.tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if module == "torch" and name in _DTYPES:
            return np.dtype(_DTYPES[name])
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not a tensor")

    def persistent_load(self, key):
        kind, dtype, name, _, count = key
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError("it asks for something that is not a tensor's storage")
        values = np.frombuffer(self.archive.read(f"{self.root}data/{name}"), dtype)
        if len(values) < count:
            raise ValueError(f"storage {name} has {len(values)} values instead of {count}")
        return values

    def tensor(self, values, offset, shape, strides, *_) -> np.ndarray:
        shape = checked_shape(shape, self.values_left)
        self.values_left -= math.prod(shape)
        if len(strides) != len(shape) or offset < 0 or any(stride < 0 for stride in strides):
            raise ValueError("a tensor has impossible strides")
        last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        if 0 not in shape and last >= len(values):
            raise ValueError("a tensor reaches beyond its storage")
        strides = [stride * values.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(values[offset:], shape, strides).copy()
