"""State dicts are read without PyTorch, and nothing else is."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from ssd_keras.errors import UserError
from ssd_keras.weights.torch_files import read_state_dict
from tests.mutations import outcome
from tests.weights import torch_file

ARRAYS = {
    "a.weight": np.arange(24, dtype="f4").reshape(2, 3, 4),
    "a.bias": np.array([1.5, -2.0], "f4"),
    "count": np.array([3, 4], "i8"),
    "scalar": np.array(7.0, "f4"),
}


def test_arrays_come_back_as_they_were(tmp_path):
    (tmp_path / "x.pth").write_bytes(torch_file.pth(ARRAYS))
    read = read_state_dict(tmp_path / "x.pth")
    assert read.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype


def test_pytorchs_own_files_are_read(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    weights = {name: torch.tensor(array) for name, array in ARRAYS.items()}
    weights["turned"] = torch.tensor(ARRAYS["a.weight"]).permute(2, 0, 1)
    torch.save(weights, tmp_path / "x.pth")
    read = read_state_dict(tmp_path / "x.pth")
    np.testing.assert_array_equal(read["turned"], ARRAYS["a.weight"].transpose(2, 0, 1))
    np.testing.assert_array_equal(read["a.weight"], ARRAYS["a.weight"])


class Harmful:
    """Unpickled, it would call a function of the system."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "harm",
    [
        Harmful(os.mkdir, "harm"),
        Harmful(eval, "1 + 1"),
        Harmful(getattr, "x", "upper"),
        Harmful(bytearray, 1 << 40),
    ],
    ids=["mkdir", "eval", "getattr", "bytearray"],
)
def test_nothing_is_executed(tmp_path, monkeypatch, harm):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pth").write_bytes(torch_file.archive(pickle.dumps({"a": harm}), {}))
    with pytest.raises(UserError, match="not a tensor"):
        read_state_dict("x.pth")
    assert not (tmp_path / "harm").exists()


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    data = torch_file.pth(ARRAYS)
    short = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as whole, zipfile.ZipFile(short, "w") as out:
        for name in whole.namelist():
            content = whole.read(name)
            out.writestr(name, content[:4] if name.endswith("data/0") else content)
    (tmp_path / "x.pth").write_bytes(short.getvalue())
    with pytest.raises(UserError, match="instead of 24"):
        read_state_dict(tmp_path / "x.pth")


def nested_tuples(depth):
    """A tuple that holds itself twice, so many times over: 2 ** depth steps to hash it."""
    inner = ()
    for _ in range(depth):
        inner = (inner, inner)
    return inner


OPCODES = {
    "a key without end": pickle.dumps({"a": 1}, 2)[:-3]
    + pickle.dumps(nested_tuples(60), 2)[2:-1]
    + b"K\x01s.",
    "a set": pickle.dumps({1, 2}, 4),
    "a frozen set": pickle.dumps(frozenset((1, 2)), 4),
    "memory without end": b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b".",
    "an object of a class": pickle.dumps(ValueError("x"), 2),
    "the state of an array": b"\x80\x02}(X\x01\x00\x00\x00aK\x01K\x02bu.",
    "no dict": pickle.dumps([1, 2], 2),
    "a dict of nothing": pickle.dumps({}, 2),
}


@pytest.mark.parametrize("kind", OPCODES)
def test_pickles_of_more_than_tensors_are_refused_at_once(tmp_path, kind):
    path = tmp_path / "x.pth"
    path.write_bytes(torch_file.archive(OPCODES[kind], {}))
    assert outcome(path, read_state_dict, seconds=2) == "UserError"


def test_a_value_that_stands_for_many_is_refused(tmp_path):
    class Spread(torch_file.Tensor):
        def __reduce__(self):
            rebuild, (storage, offset, _, _, *rest) = super().__reduce__()
            return rebuild, (storage, offset, (1 << 26,), (0,), *rest)

    path = tmp_path / "x.pth"
    path.write_bytes(torch_file.pth({"a": np.ones(1, "f4")}, Spread))
    with pytest.raises(UserError, match=r"a shape of \[67108864\] is not possible"):
        read_state_dict(path)


def test_modules_versions_beside_a_state_dict_are_passed_over(tmp_path):
    path = tmp_path / "x.pth"
    versions = b"}X\x09\x00\x00\x00_metadata}sb."
    with (
        zipfile.ZipFile(io.BytesIO(torch_file.pth(ARRAYS))) as whole,
        zipfile.ZipFile(path, "w") as out,
    ):
        for name in whole.namelist():
            content = whole.read(name)
            out.writestr(name, content[:-1] + versions if name.endswith("data.pkl") else content)
    assert read_state_dict(path).keys() == ARRAYS.keys()
