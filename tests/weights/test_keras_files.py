"""Weights are read by layer name from every kind of file that Keras writes."""

import h5py
import keras
import numpy as np
import pytest

from ssd_keras.errors import UserError
from ssd_keras.weights import load_by_name, read_keras_file
from ssd_keras.weights.keras_files import layers_with_weights


def small_model(units=3):
    inner = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(4, name="inside"),
            keras.layers.BatchNormalization(name="inner_norm"),
        ],
        name="core",
    )
    images = keras.Input((2,))
    x = keras.layers.BatchNormalization(name="norm")(inner(images))
    return keras.Model(images, keras.layers.Dense(units, name="head")(x))


@pytest.fixture(params=["model.weights.h5", "model.keras", "model.h5", "trained.weights.h5"])
def saved(request, tmp_path):
    model = small_model()
    random = np.random.default_rng(1)
    model.set_weights([random.uniform(size=w.shape) for w in model.weights])
    path = tmp_path / request.param
    if request.param.startswith("trained"):
        model.compile("adam", "mse")
        model.fit(np.ones((4, 2)), np.ones((4, 3)), verbose=0)
    if request.param.endswith("weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)
    return path, model


def test_every_layer_is_found_under_its_name(saved):
    path, model = saved
    arrays = read_keras_file(path)
    layers = layers_with_weights(model)
    assert arrays.keys() == layers.keys() == {"inside", "inner_norm", "norm", "head"}
    for name, layer in layers.items():
        for theirs, ours in zip(arrays[name], layer.get_weights(), strict=True):
            np.testing.assert_array_equal(theirs, ours)


def test_an_old_layer_made_of_layers_keeps_its_weights_together(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["layer_names"] = [b"gated"]
        names = [b"gated/inner/kernel:0", b"gated/gate:0"]
        file.create_group("gated").attrs["weight_names"] = names
        for value, name in enumerate(names):
            file["gated"][name] = np.full(2, value)
    arrays = read_keras_file(tmp_path / "old.h5")
    assert arrays.keys() == {"gated"}
    np.testing.assert_array_equal(arrays["gated"], [[0, 0], [1, 1]])


def test_layers_take_what_fits_and_the_report_says_what_did_not(tmp_path):
    model = small_model(units=3)
    model.save_weights(tmp_path / "three.weights.h5")
    other = small_model(units=5)
    head = other.get_layer("head").get_weights()
    arrays = read_keras_file(tmp_path / "three.weights.h5")
    arrays["elsewhere"] = [np.ones(3)]
    del arrays["norm"]
    report = load_by_name(other, arrays)
    assert report.loaded == ("inside", "inner_norm")
    assert report.missing == ("norm",)
    assert report.unused == ("elsewhere",)
    assert report.mismatched == {"head": ([(4, 5), (5,)], [(4, 3), (3,)])}
    np.testing.assert_array_equal(
        other.get_layer("core").get_weights()[0], model.get_layer("core").get_weights()[0]
    )
    np.testing.assert_array_equal(other.get_layer("head").get_weights()[0], head[0])


def write_text(path):
    path.write_text("hello")


def write_nothing(path):
    path.write_bytes(b"")


def write_other_h5(path):
    with h5py.File(path, "w") as file:
        file["data"] = np.ones(3)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_text, "cannot be read"),
        (write_nothing, "cannot be read"),
        (write_other_h5, "holds no layers with names"),
        (lambda path: None, "There is no weights file"),
    ],
)
def test_what_is_no_weights_file_is_named(tmp_path, write, message):
    path = tmp_path / "weights.h5"
    write(path)
    with pytest.raises(UserError, match=message) as error:
        read_keras_file(path)
    assert str(path) in str(error.value)
