"""Starting a detector from a trained one."""

import keras
import numpy as np
import pytest

import ssd_keras
from ssd_keras.errors import UserError
from ssd_keras.weights.keras_files import layers_with_weights

SIZE = 96


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A saved SSD for cats and dogs, in a run folder, whose weights are all unlike any start."""
    detector = ssd_keras.create(f"SSD_MobileNet_{SIZE}", ["cat", "dog"], width=0.25)
    random = np.random.default_rng(0)
    detector.set_weights([random.uniform(0.5, 1, w.shape) for w in detector.get_weights()])
    folder = tmp_path_factory.mktemp("run")
    detector.save(folder / "best.keras")
    return detector, folder


def start(name, classes, folder, **options):
    return ssd_keras.create(name, classes, weights=folder, width=0.25, **options)


def taken(detector, trained):
    """Names of the layers that now hold the trained weights."""
    theirs, ours = layers_with_weights(trained), layers_with_weights(detector)
    return {
        name
        for name in ours.keys() & theirs.keys()
        if all(
            np.array_equal(a, b)
            for a, b in zip(ours[name].get_weights(), theirs[name].get_weights(), strict=False)
        )
    }


def test_the_same_classes_take_everything(trained):
    detector, folder = trained
    again = start(f"SSD_MobileNet_{SIZE}", ["cat", "dog"], folder)
    assert taken(again, detector) == set(layers_with_weights(detector))


@pytest.mark.parametrize(
    ("classes", "skipped"),
    [(["cat", "dog"], set()), (["dog", "cat"], {"prediction"}), (list("abcdefgh"), {"prediction"})],
)
def test_a_yolo_takes_all_from_one_of_the_same_classes(tmp_path, classes, skipped):
    trained = ssd_keras.create("YOLO_MobileNet_96", ["cat", "dog"], width=0.25)
    trained.save(tmp_path / "best.keras")
    again = start("YOLO_MobileNet_96", classes, tmp_path)
    assert set(again.started_from.skipped) == skipped
    assert taken(again, trained) >= set(layers_with_weights(trained)) - skipped


@pytest.mark.parametrize("classes", [["cow", "horse", "hen"], ["fox", "owl"]])
def test_other_classes_take_all_but_the_layers_that_predict_them(trained, classes):
    detector, folder = trained
    other = start(f"SSD_MobileNet_{SIZE}", classes, folder)
    heads = {f"level{i}_classes" for i in range(6)}
    assert taken(other, detector) == set(layers_with_weights(detector)) - heads
    assert "6 that predict classes are new, since the classes differ" in str(other.started_from)


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (
            ["Dog", "forklift", "cat"],
            "what it knows of Dog (there 'dog'), cat is kept; forklift is",
        ),
        (["dog", "cat"], "what it knows of dog, cat is kept."),
    ],
)
def test_classes_that_both_know_keep_their_columns(trained, classes, said):
    detector, folder = trained
    new = start(detector.name, classes, folder)
    assert said in str(new.started_from)
    images = np.random.default_rng(1).uniform(0, 255, (1, SIZE, SIZE, 3)).astype("f4")
    theirs, ours = (one(images)["classes"].numpy() for one in (detector, new))
    names = [name.lower() for name in classes]
    columns = [0, 1 + names.index("cat"), 1 + names.index("dog")]
    np.testing.assert_allclose(ours[..., columns], theirs, rtol=1e-5)
    assert len(names) == 2 or not np.allclose(ours[..., 2], theirs[..., 1], rtol=0.1)


def test_a_dssd_takes_all_but_its_decoder_and_heads_from_an_ssd(trained):
    detector, folder = trained
    dssd = start(f"DSSD_MobileNet_{SIZE}", ["cat", "dog"], folder)
    shared = {n for n in layers_with_weights(detector) if not n.startswith("level")}
    assert taken(dssd, detector) == shared
    assert "are not in it and are new" in str(dssd.started_from)


def test_another_width_or_backbone_is_refused(trained):
    _, folder = trained
    with pytest.raises(UserError, match=r"has shapes .* same backbone, width and finest_stride"):
        ssd_keras.create(f"SSD_MobileNet_{SIZE}", ["cat"], weights=folder, width=0.5)
    with pytest.raises(UserError, match="does not fit 'SSD_VGG16_96': it has no layer"):
        start(f"SSD_VGG16_{SIZE}", ["cat"], folder)


def test_a_file_that_is_no_detector_is_named(tmp_path):
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    with pytest.raises(UserError, match=r"other\.keras' holds no detector"):
        start(f"SSD_MobileNet_{SIZE}", ["cat"], tmp_path / "other.keras")


@pytest.mark.parametrize("options", [{}, {"width": 0.25}], ids=["its architecture", "its layers"])
def test_a_start_resizes_as_what_it_starts_from(trained, tmp_path, monkeypatch, options):
    detector, _ = trained
    monkeypatch.setattr(detector, "resize", "corner")
    detector.save(tmp_path / "best.keras")
    new = ssd_keras.create(detector.name, ["a", "b"], weights=tmp_path, **options)
    assert new.resize == "corner"
