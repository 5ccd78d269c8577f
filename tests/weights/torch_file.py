"""Writes state dicts as `torch.save` does, without PyTorch."""

import collections
import contextlib
import io
import pickle
import sys
import types
import zipfile

import numpy as np


class FloatStorage:
    """Stands for torch.FloatStorage in a pickle."""


class LongStorage:
    """Stands for torch.LongStorage in a pickle."""


class Storage:
    """An array to be written beside the pickle."""

    def __init__(self, key, array):
        self.key, self.array = key, array


def _rebuild_tensor_v2(*args):
    raise NotImplementedError("only named in pickles")


class Tensor:
    """What a tensor is in a pickle: a call that takes a storage, an offset, a shape and strides."""

    def __init__(self, key, array):
        self.storage, self.array = Storage(key, array), array

    def __reduce__(self):
        strides = tuple(n // self.array.itemsize for n in self.array.strides)
        args = (self.storage, 0, self.array.shape, strides, False, collections.OrderedDict())
        return _rebuild_tensor_v2, args


@contextlib.contextmanager
def pretended_torch():
    """While it is open, pickles name these stand-ins as PyTorch's."""
    modules = {name: types.ModuleType(name) for name in ("torch", "torch._utils")}
    modules["torch"].FloatStorage, modules["torch"].LongStorage = FloatStorage, LongStorage
    modules["torch._utils"]._rebuild_tensor_v2 = _rebuild_tensor_v2
    homes = {FloatStorage: "torch", LongStorage: "torch", _rebuild_tensor_v2: "torch._utils"}
    before = {name: sys.modules.get(name) for name in modules}
    own = {item: item.__module__ for item in homes}
    sys.modules.update(modules)
    for item, home in homes.items():
        item.__module__ = home
    try:
        yield
    finally:
        for item, home in own.items():
            item.__module__ = home
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def pth(arrays, kind=Tensor):
    """The bytes of a .pth file with these arrays, each pickled as `kind` does."""
    content = collections.OrderedDict(
        (name, kind(str(i), np.ascontiguousarray(array)))
        for i, (name, array) in enumerate(arrays.items())
    )
    stream = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if not isinstance(item, Storage):
                return None
            kind = LongStorage if item.array.dtype.kind == "i" else FloatStorage
            return ("storage", kind, item.key, "cpu", item.array.size)

    with pretended_torch():
        Pickler(stream, protocol=2).dump(content)
    return archive(stream.getvalue(), {t.storage.key: t.array for t in content.values()})


def archive(pickled, storages):
    """The zip archive of `torch.save` around a pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("archive/data.pkl", pickled)
        for key, array in storages.items():
            out.writestr(f"archive/data/{key}", array.tobytes())
        out.writestr("archive/version", "3\n")
    return file.getvalue()
