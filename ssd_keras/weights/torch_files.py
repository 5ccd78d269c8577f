"""PyTorch's .pth files read without PyTorch, and without running what a pickle could run."""

from __future__ import annotations

import dataclasses
import io
import math
import pickle
import zipfile
from pathlib import Path
from typing import ClassVar

import numpy as np

from ssd_keras.errors import UserError
from ssd_keras.reading import read_member, reading
from ssd_keras.weights.files import (
    MAX_ARRAY_VALUES,
    MAX_FILE_BYTES,
    check_finite,
    checked_shape,
    read_file,
)

_MAX_PICKLE_BYTES = 4 << 20
_ROOM = 1 << 20
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
        if sum(sizes.values()) > min(MAX_FILE_BYTES, 2 * len(data) + _ROOM):
            raise ValueError("it unpacks to too much data")
        (pickled,) = [name for name in sizes if name.rsplit("/", 1)[-1] == "data.pkl"]
        root = pickled.removesuffix("data.pkl")
        content = _TensorUnpickler(archive, root, len(data)).load()
        if not isinstance(content, _Items):
            raise ValueError("it holds no state dict")
        for wrapper in ("state_dict", "model"):
            if isinstance(content.get(wrapper), _Items):
                content = content[wrapper]
        arrays = {str(k): v for k, v in content.items() if isinstance(v, np.ndarray)}
        if not arrays:
            raise ValueError("it holds no tensors")
        check_finite(arrays)
        return arrays


@dataclasses.dataclass(frozen=True)
class _Storage:
    """A type of storage; nothing that a file can call."""

    dtype: str


# What pickles of tensors, numbers, strings and plain containers are written with. Of the others
# some call what a file names, some take as much memory as it asks for; keys other than strings can
# take any time to be hashed.
_OPCODES = (
    *("PROTO", "FRAME", "STOP", "MARK", "MEMOIZE", "BINPUT", "LONG_BINPUT", "BINGET"),
    *("LONG_BINGET", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1"),
    *("BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("TUPLE", "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS", "GLOBAL"),
    *("STACK_GLOBAL", "BINPERSID", "REDUCE", "BUILD"),
)


class _Items(dict):
    """A dict of a file, whose keys are strings or numbers."""

    def __setitem__(self, key, value):
        if not isinstance(key, (str, int)):
            raise pickle.UnpicklingError("a dict has a key that is no string")
        super().__setitem__(key, value)


# The unpickler written in Python: the one in C reserves as much memory as a file asks for.
class _TensorUnpickler(pickle._Unpickler):
    """Understands tensors and plain containers, and nothing else."""

    dispatch: ClassVar[dict] = {
        code: pickle._Unpickler.dispatch[code]
        for code in (getattr(pickle, name)[0] for name in _OPCODES)
    }

    def __init__(self, archive: zipfile.ZipFile, root: str, size: int):
        super().__init__(io.BytesIO(read_member(archive, f"{root}data.pkl", _MAX_PICKLE_BYTES)))
        self.archive, self.root = archive, root
        self.storages: dict[str, bytes] = {}
        # No honest file has more values than bytes.
        self.values_left = min(MAX_ARRAY_VALUES, size)

    def load(self):
        try:
            return super().load()
        except KeyError as error:
            if isinstance(error.args[0], int):
                raise pickle.UnpicklingError("it holds something that is not a tensor") from error
            raise

    def load_empty_dictionary(self):
        self.append(_Items())

    dispatch[pickle.EMPTY_DICT[0]] = load_empty_dictionary

    def load_build(self):
        # The state of a state dict is the versions of its modules, and no weights.
        self.stack.pop()
        if not isinstance(self.stack[-1], _Items):
            raise pickle.UnpicklingError("it changes something that is no dict")

    dispatch[pickle.BUILD[0]] = load_build

    def find_class(self, module: str, name: str):
        if (module, name) == ("collections", "OrderedDict"):
            return lambda: _Items()
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self.tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if module == "torch" and name in _DTYPES:
            return _Storage(_DTYPES[name])
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not a tensor")

    def persistent_load(self, key):
        kind, storage, name, _, count = key
        if kind != "storage" or not isinstance(storage, _Storage) or not isinstance(name, str):
            raise pickle.UnpicklingError("it asks for something that is not a tensor's storage")
        if name not in self.storages:
            place = f"{self.root}data/{name}"
            self.storages[name] = read_member(self.archive, place, MAX_FILE_BYTES)
        values = np.frombuffer(self.storages[name], storage.dtype)
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
