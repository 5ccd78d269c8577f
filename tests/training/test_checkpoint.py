"""A checkpoint holds everything, and a disk that is full leaves the earlier one as it was."""

import errno
import resource
import shutil
import subprocess

import keras
import numpy as np
import pytest

from ssd_keras.errors import UserError
from ssd_keras.files import replace
from ssd_keras.training import Recipe
from ssd_keras.training.checkpoint import Progress, read_progress, restore_state, save_state


def model(units=3, optimizer="adamw"):
    built = keras.Sequential([keras.Input((2,)), keras.layers.Dense(units)])
    recipe = Recipe(optimizer=optimizer, ema=0.9, accumulation=2, epochs=1)
    built.compile(recipe.build_optimizer(100), loss="mse")
    built.optimizer.build(built.trainable_variables)
    return built


def trained(steps, **options):
    built = model(**options)
    x = np.random.default_rng(steps).normal(size=(steps, 2)).astype("float32")
    built.fit(x, x[:, :1] * np.ones(3), batch_size=1, verbose=0, shuffle=False)
    return built


def values(built):
    return [np.array(v) for v in [*built.variables, *built.optimizer.variables]]


def test_weights_optimizer_averages_and_half_summed_gradients_come_back(tmp_path):
    path = tmp_path / "state.npz"
    earlier, progress = trained(5), Progress(step=5, rate_factor=0.1, rollbacks=1)
    save_state(path, earlier, progress, with_means=False)
    later = model()
    restore_state(path, later)
    for first, second in zip(values(earlier), values(later), strict=True):
        np.testing.assert_array_equal(first, second)
    assert read_progress(path) == progress
    sums = [v for v in later.optimizer.variables if "accum" in v.name]
    assert sums
    assert all(np.abs(np.array(v)).max() > 0 for v in sums)


def test_the_beginning_where_there_is_no_checkpoint(tmp_path):
    assert read_progress(tmp_path / "state.npz") == Progress(0, 1.0, 0)


def test_another_optimizer_is_refused(tmp_path):
    save_state(tmp_path / "state.npz", model(), Progress())
    with pytest.raises(UserError, match="of another model or optimizer"):
        restore_state(tmp_path / "state.npz", model(optimizer="sgd"))


@pytest.mark.parametrize("keep", [0, 100, 2000])
def test_a_damaged_file_is_named(tmp_path, keep):
    path = tmp_path / "state.npz"
    save_state(path, model(), Progress())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"state.npz' cannot be read as .*damaged.*or remove it"):
        read_progress(path)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 kB, or where mounting is not permitted, files that may not grow beyond that."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if shutil.which("mount") and not subprocess.run(mount, capture_output=True).returncode:
        yield place, "No space left on device"
        subprocess.run(["umount", str(place)], check=True)
        return
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    yield place, "File too large"
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_leaves_the_earlier_checkpoint_good_and_is_named(small_disk):
    place, reason = small_disk
    path = place / "state.npz"
    save_state(path, trained(5), Progress(step=5))
    whole = path.read_bytes()
    with pytest.raises(UserError, match=rf"state.npz' cannot be written: {reason}.*disk at '/"):
        save_state(path, model(units=5000), Progress(step=6))
    assert path.read_bytes() == whole
    assert read_progress(path).step == 5
    assert [file.name for file in place.iterdir()] == ["state.npz"]


def test_a_full_disk_leaves_the_earlier_detector_good_and_is_named(small_disk):
    place, reason = small_disk
    path = place / "best.keras"
    replace(path, model().save)
    whole = path.read_bytes()
    with pytest.raises(UserError, match=rf"best.keras' cannot be written.*{reason}.*disk at '/"):
        replace(path, model(units=9000).save)
    assert path.read_bytes() == whole
    assert [file.name for file in place.iterdir()] == ["best.keras"]


def test_a_quota_is_a_disk_that_is_full(tmp_path):
    def over_quota(temporary):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with pytest.raises(UserError, match=r"Disk quota exceeded.*make room, then the same command"):
        replace(tmp_path / "state.npz", over_quota)
