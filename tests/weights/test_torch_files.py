"""State dicts are read without PyTorch, and nothing else is."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from ssd_keras.errors import UserError
from ssd_keras.weights.torch_files import read_state_dict
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
