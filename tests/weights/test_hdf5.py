"""Weight files read nothing but themselves and take no more memory than they are worth."""

import io
import zipfile
import zlib

import h5py
import keras
import numpy as np
import pytest

from ssd_keras.errors import UserError
from ssd_keras.weights.keras_files import read_keras_file

SECRET = np.arange(12, dtype="f4").tobytes()


def layer(file):
    """The group of a layer, as `.weights.h5` has it."""
    group = file.create_group("layers/dense/vars")
    group.attrs["name"] = "dense"
    return group


def external_storage(file, secret):
    layer(file).create_dataset("0", (12,), "f4", external=[(str(secret), 0, len(SECRET))])


def external_link(file, secret):
    layer(file)["0"] = h5py.ExternalLink(str(secret.with_suffix(".h5")), "/secret")


def external_group(file, secret):
    file["layers"] = h5py.ExternalLink(str(secret.with_suffix(".h5")), "/layers")


def soft_link(file, secret):
    file["elsewhere"] = np.zeros(12, "f4")
    layer(file)["0"] = h5py.SoftLink("/elsewhere")


def soft_link_to_nowhere(file, secret):
    layer(file)["0"] = h5py.SoftLink("/nowhere")


def virtual_dataset(file, secret):
    layout = h5py.VirtualLayout((12,), "f4")
    layout[:] = h5py.VirtualSource(str(secret.with_suffix(".h5")), "secret", (12,))
    layer(file).create_virtual_dataset("0", layout)


def never_written(file, secret):
    layer(file).create_dataset("0", (1 << 28,), "f4")


def compressed_zeros(file, secret):
    data = layer(file).create_dataset("0", (1 << 26,), "f4", chunks=(1 << 16,), compression="gzip")
    data[0] = 1


def piece_larger_than_it_says(file, secret):
    data = layer(file).create_dataset("0", (1000,), "f4", chunks=(1000,), compression="gzip")
    packed = zlib.compress(bytes(1 << 26))
    data.id.write_direct_chunk((0,), packed)


def piece_larger_than_the_array(file, secret):
    data = layer(file).create_dataset("0", (1,), "f4", maxshape=(None,), chunks=(1 << 28,))
    assert data.shape == (1,)


def other_compression(file, secret):
    layer(file).create_dataset("0", data=np.zeros(1000), compression="lzf")


def texts(file, secret):
    layer(file).create_dataset("0", data=["a", "b"])


def references(file, secret):
    layer(file).create_dataset("0", data=[file.ref], dtype=h5py.ref_dtype)


def not_finite(file, secret):
    layer(file)["0"] = np.array([1, np.nan, 2], "f4")


def infinite(file, secret):
    layer(file)["0"] = np.array([1, np.inf, 2], "f4")


HARM = {
    external_storage: "lies in another file",
    external_link: "ExternalLink, which could lead anywhere",
    external_group: "ExternalLink, which could lead anywhere",
    soft_link: "SoftLink, which could lead anywhere",
    soft_link_to_nowhere: "SoftLink",
    virtual_dataset: "put together from other files",
    never_written: "more than .* bytes",
    compressed_zeros: "more than .* bytes",
    piece_larger_than_it_says: "unpacks to more than it has",
    piece_larger_than_the_array: "out of proportion",
    other_compression: "another way than gzip",
    texts: "no numbers",
    references: "no numbers",
    not_finite: "'dense' holds values that are not finite",
    infinite: "'dense' holds values that are not finite",
}


@pytest.fixture(params=HARM, ids=lambda make: make.__name__)
def harmful(request, tmp_path):
    """(path of a harmful `.weights.h5`, what is said of it)."""
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    with h5py.File(secret.with_suffix(".h5"), "w") as file:
        file["secret"] = np.frombuffer(SECRET, "f4")
        file.create_group("layers/dense/vars")["0"] = np.frombuffer(SECRET, "f4")
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        request.param(file, secret)
    return tmp_path / "x.weights.h5", HARM[request.param]


def test_harmful_files_are_refused(harmful):
    path, reason = harmful
    with pytest.raises(UserError, match=rf"x\.weights\.h5' cannot be read as .*{reason}"):
        read_keras_file(path)


def test_inside_archives_they_are_refused_too(harmful):
    path, reason = harmful
    archive = path.with_name("x.keras")
    with zipfile.ZipFile(archive, "w") as out:
        out.write(path, "model.weights.h5")
    with pytest.raises(UserError, match=rf"x\.keras' cannot be read as .*{reason}"):
        read_keras_file(archive)


def test_a_group_that_holds_itself_is_read_once(tmp_path):
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        layer(file)["0"] = np.ones(3, "f4")
        file["layers/dense/again"] = file["layers"]
    assert list(read_keras_file(tmp_path / "x.weights.h5")) == ["dense"]


@pytest.mark.parametrize("options", [{}, {"compression": "gzip", "shuffle": True}])
def test_honest_files_are_read_compressed_or_not(tmp_path, options):
    values = np.random.default_rng(0).normal(size=(64, 64)).astype("f4")
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        layer(file).create_dataset("0", data=values, **options)
    (found,) = read_keras_file(tmp_path / "x.weights.h5")["dense"]
    np.testing.assert_array_equal(found, values)


def test_weights_of_which_most_are_zero_are_read_compressed(tmp_path):
    values = np.zeros((256, 256), "f4")
    values[:, ::10] = np.random.default_rng(0).normal(size=(256, 26))
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        layer(file).create_dataset("0", data=values, compression="gzip", chunks=(64, 64))
    (found,) = read_keras_file(tmp_path / "x.weights.h5")["dense"]
    np.testing.assert_array_equal(found, values)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("model.weights.h5", bytes(1 << 26))
    (tmp_path / "x.keras").write_bytes(stream.getvalue())
    with pytest.raises(UserError, match=r"'model\.weights\.h5' unpacks to 67,108,864 bytes"):
        read_keras_file(tmp_path / "x.keras")


def test_what_keras_writes_is_read(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense")])
    model.compile("adam", "mse")
    model.fit(np.ones((2, 4)), np.ones((2, 3)), verbose=0)
    for name in ("x.keras", "x.weights.h5", "x.h5"):
        save = model.save_weights if "weights" in name else model.save
        save(tmp_path / name)
        for ours, theirs in zip(
            read_keras_file(tmp_path / name)["dense"], model.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
