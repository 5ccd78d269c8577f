"""The index of a checkpoint is checked before TensorFlow takes memory by what it says."""

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.errors import UserError
from ssd_keras.weights.checkpoint_index import check_index
from ssd_keras.weights.tensorflow_files import read_checkpoint
from tests.mutations import outcome


def write(folder, count):
    """A checkpoint of so many variables; the bytes of its index."""
    names = [f"layer{i}/kernel" for i in range(count)]
    tf.raw_ops.SaveV2(
        prefix=str(folder / "x.ckpt"),
        tensor_names=names,
        shape_and_slices=[""] * count,
        tensors=[np.float32(i) for i in range(count)],
    )
    return (folder / "x.ckpt.index").read_bytes()


@pytest.mark.parametrize("count", [1, 20, 3000])
def test_what_tensorflow_writes_passes(tmp_path, count):
    check_index(write(tmp_path, count))
    assert len(read_checkpoint(tmp_path / "x.ckpt").variables) == count


HUGE = b"\xff\xff\xff\xff\xff\xff\xff\x7f"
FAULTS = {
    "no table": (lambda data: bytes(100), "no index of a checkpoint"),
    "the place of the first block": (lambda data: data[:-48] + HUGE + data[-40:], "beyond its end"),
    "cut off": (lambda data: data[-60:], "beyond its end|compressed"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_places_outside_are_refused(tmp_path, kind):
    damage, reason = FAULTS[kind]
    path = tmp_path / "x.ckpt.index"
    path.write_bytes(damage(write(tmp_path, 20)))
    with pytest.raises(UserError, match=rf"x\.ckpt\.index' cannot be read as .*({reason})"):
        read_checkpoint(path)


def test_no_place_takes_more_memory_than_the_file_has(tmp_path):
    good = write(tmp_path, 20)
    path = tmp_path / "x.ckpt.index"
    for at in range(len(good) - 48, len(good) - 20):
        path.write_bytes(good[:at] + HUGE[: len(good) - at] + good[at + 8 :])
        outcome(path, read_checkpoint, megabytes=300)
