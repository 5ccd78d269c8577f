"""A detector trains with plain fit, detects, and survives being saved."""

import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import ssd_keras
from ssd_keras.boxes import Suppression
from ssd_keras.errors import UserError
from ssd_keras.resizing import WAYS, resize
from tests import tiny
from tests.comparing import assert_same_detections
from tests.deploy.conftest import enliven, lively_detector, pictures

# What traces its graphs, as users do, is marked `xla`.
pytestmark = pytest.mark.eager
SIZE = 96
CLASSES = ("cat", "dog", "cow")


@pytest.fixture
def mobilenet():
    keras.utils.set_random_seed(0)
    return ssd_keras.create(f"SSD_MobileNet_{SIZE}", CLASSES, width=0.25)


@pytest.fixture
def detector():
    """A detector that is traced in a moment."""
    keras.utils.set_random_seed(0)
    return ssd_keras.create(f"SSD_Tiny_{SIZE}", CLASSES, backbone=tiny.backbone, extras=())


@pytest.fixture
def batch():
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (4, SIZE, SIZE, 3)).astype("float32")
    boxes = np.full((4, 5, 4), -1.0, "float32")
    labels = np.full((4, 5), -1, "int32")
    boxes[:, 0] = [0.1, 0.1, 0.5, 0.6]
    boxes[:2, 1] = [0.4, 0.5, 0.95, 0.9]
    labels[:, 0] = [0, 1, 2, 0]
    labels[:2, 1] = [2, 2]
    return images, {"boxes": boxes, "labels": labels}


def test_loss_at_the_start_is_what_theory_says(detector, batch):
    """Flat predictions cost log(C + 1) for each positive and each of its three negatives."""
    for level in range(len(detector.box_network.level_maps)):
        for kind in ("boxes", "classes"):
            layer = detector.get_layer(f"level{level}_{kind}")
            layer.set_weights([0 * w for w in layer.get_weights()])
    images, truth = batch
    detector.compile("sgd", jit_compile=False)
    logs = detector.evaluate(images, truth, verbose=0, return_dict=True, batch_size=4)
    np.testing.assert_allclose(logs["class_loss"], 4 * np.log(4), rtol=1e-5)
    np.testing.assert_allclose(logs["loss"], logs["class_loss"] + logs["box_loss"], rtol=1e-5)


@pytest.mark.xla
@pytest.mark.slow
def test_training_lowers_the_loss_and_finds_the_objects(mobilenet, batch):
    detector = mobilenet
    images, truth = batch
    schedule = keras.optimizers.schedules.CosineDecay(3e-3, 60)
    detector.compile(keras.optimizers.AdamW(schedule))
    detector.optimizer.build(detector.trainable_variables)
    logs = detector.fit(images, truth, epochs=60, batch_size=4, verbose=0).history
    assert logs["loss"][-1] < 0.1 * logs["loss"][0]
    for i, found in enumerate(detector.detect(images)):
        count = 2 if i < 2 else 1
        best = found.above(0.5)
        order = [list(best.labels).index(label) for label in truth["labels"][i, :count]]
        np.testing.assert_allclose(best.boxes[order], truth["boxes"][i, :count], atol=0.05)


@pytest.mark.xla
def test_training_lowers_the_loss(detector, batch):
    images, truth = batch
    detector.compile(keras.optimizers.AdamW(1e-2))
    losses = detector.fit(images, truth, epochs=30, batch_size=4, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


def spread(images, truth):
    """The batch as a generator, which can be gone through once."""
    while True:
        yield images, truth


FORMS = {
    "arrays": lambda images, truth: {"x": images, "y": truth, "batch_size": 4},
    "tf.data": lambda images, truth: {
        "x": tf.data.Dataset.from_tensors((images, truth)).repeat(), "steps_per_epoch": 1,
    },
    "generator": lambda images, truth: {"x": spread(images, truth), "steps_per_epoch": 1},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_fit_ends_with_statistics_of_its_weights(detector, batch, form):
    detector.compile("sgd")
    detector.fit(**FORMS[form](*batch), epochs=2, verbose=0)
    norm = detector.backbone.get_layer("conv1_bn")
    values = before_norm(detector, batch[0])
    np.testing.assert_allclose(norm.moving_mean, values.mean(axis=(0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, values.var(axis=(0, 1, 2)), rtol=1e-3)


def before_norm(detector, images):
    """What the first batch normalisation sees."""
    backbone = detector.backbone
    return np.asarray(keras.Model(backbone.input, backbone.get_layer("conv1").output)(images))


def test_fit_measures_before_a_validation_and_before_a_callback(detector, batch):
    seen = []
    norm = detector.backbone.get_layer("conv1_bn")

    class Look(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            seen.append(np.array(norm.moving_mean))

        def on_epoch_end(self, epoch, logs=None):
            seen.append(np.array(norm.moving_mean))

    detector.compile("sgd")
    detector.fit(*batch, validation_data=batch, callbacks=[Look()], verbose=0)
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[0], norm.moving_mean)
    mean = before_norm(detector, batch[0]).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(seen[0], mean, rtol=1e-3)


def test_fit_leaves_statistics_alone_where_it_is_told_to(detector, batch):
    norm = detector.backbone.get_layer("conv1_bn")
    norm.trainable = False
    detector.compile("sgd")
    detector.fit(*batch, verbose=0)
    np.testing.assert_array_equal(norm.moving_mean, 0.0)
    norm.trainable = True
    detector.compile(keras.optimizers.SGD(0.0))
    detector.fit(*batch, verbose=0, batch_norm_batches=0)
    mean = before_norm(detector, batch[0]).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(norm.moving_mean, (1 - norm.momentum) * mean, rtol=1e-3)


def test_averaged_weights_get_statistics_of_their_own(detector, batch):
    detector.compile(keras.optimizers.SGD(0.0, use_ema=True, ema_momentum=0.5))
    detector.optimizer.build(detector.trainable_variables)
    detector.optimizer.iterations.assign(10**6)
    kernel = np.array(detector.backbone.get_layer("conv1").kernel)
    detector.fit(*batch, verbose=0, epochs=2)
    assert np.abs(kernel - detector.backbone.get_layer("conv1").kernel).max() > 0.01
    mean = before_norm(detector, batch[0]).mean(axis=(0, 1, 2))
    norm = detector.backbone.get_layer("conv1_bn")
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-3)


@pytest.mark.slow
def test_mixed_precision_ends_with_float32_statistics(batch):
    found = {}
    for policy in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(0)
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            detector = ssd_keras.create(f"SSD_MobileNet_{SIZE}", CLASSES, width=0.25)
        finally:
            keras.config.set_dtype_policy(before)
        detector.compile(keras.optimizers.SGD(0.0))
        detector.fit(*batch, verbose=0)
        norms = [layer for layer in detector.backbone.layers if layer.name.endswith("_bn")]
        found[policy] = [np.array(layer.moving_variance) for layer in norms]
    assert len(found["float32"]) > 4
    for one, other in zip(*found.values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3)


def test_xla_is_chosen_by_the_device(detector, monkeypatch, tmp_path):
    detector.compile("sgd")
    assert detector.jit_compile is False
    detector.compile("sgd", jit_compile=True)
    assert detector.jit_compile is True
    detector.save(tmp_path / "pets.keras")
    assert ssd_keras.load(tmp_path / "pets.keras").jit_compile is False
    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [gpu])
    detector.compile("sgd")
    assert detector.jit_compile is True


def test_an_image_without_objects_and_an_empty_batch_train(detector, batch):
    images, truth = batch
    empty = {key: np.full_like(value, -1) for key, value in truth.items()}
    detector.compile("sgd", jit_compile=False)
    assert detector.train_on_batch(images, empty, return_dict=True)["loss"] == 0.0
    truth["boxes"][3], truth["labels"][3] = -1, -1
    assert np.isfinite(detector.train_on_batch(images, truth, return_dict=True)["loss"])


def test_saved_and_loaded_it_is_the_same_detector(detector, batch, tmp_path):
    images, _ = batch
    detector.save(tmp_path / "pets.keras")
    again = ssd_keras.load(tmp_path / "pets.keras")
    assert again.classes == ("cat", "dog", "cow")
    assert again.name == detector.name
    assert again.image_size == (SIZE, SIZE)
    np.testing.assert_array_equal(again.box_network.anchors, detector.box_network.anchors)
    before, after = detector.predict_on_batch(images), again.predict_on_batch(images)
    for key in ("boxes", "classes"):
        np.testing.assert_array_equal(before[key], after[key])


def test_arrays_batches_lists_and_paths_are_detected_alike(tmp_path):
    # Scores that hardly differ would let rounding decide which of two boxes is suppressed.
    detector = lively_detector()
    image = np.random.default_rng(1).integers(0, 255, (80, 120, 3), dtype="uint8")
    Image.fromarray(image).save(tmp_path / "photo.png")
    single = detector.detect(image)
    assert isinstance(single, ssd_keras.Detections)
    for several in (
        detector.detect(image[None]),
        detector.detect([image]),
        detector.detect([image] * 3, batch_size=2),
        [detector.detect(tmp_path / "photo.png")],
        detector.detect([str(tmp_path / "photo.png"), image]),
    ):
        for found in several:
            assert_same_detections(found, single, box_atol=1e-5, score_atol=1e-5)


def test_images_of_different_sizes_are_detected_together(detector):
    random = np.random.default_rng(5)
    images = [random.uniform(0, 255, (*size, 3)) for size in ((80, 120), (1, 1), (200, 50))]
    together = detector.detect(images)
    for image, found in zip(images, together, strict=True):
        np.testing.assert_allclose(found.scores, detector.detect(image).scores, atol=1e-5)


def test_detections_know_the_image(detector, tmp_path):
    image = np.random.default_rng(4).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "photo.png")
    (of_array, of_file) = detector.detect([image, tmp_path / "photo.png"])
    assert (of_array.image_size, of_array.image_path) == ((50, 70), None)
    assert (of_file.image_size, of_file.image_path) == ((50, 70), str(tmp_path / "photo.png"))
    np.testing.assert_array_equal(of_file.draw(), of_array.draw(image))


@pytest.mark.xla
def test_detection_follows_the_weights():
    detector = lively_detector()
    image = np.random.default_rng(2).uniform(0, 255, (SIZE, SIZE, 3))
    before, weights = detector.detect(image), detector.get_weights()
    detector.set_weights([0 * weight for weight in weights])
    assert detector.detect(image).scores.std() < 1e-6 < before.scores.std()
    detector.set_weights(weights)
    assert_same_detections(detector.detect(image), before, box_atol=0, score_atol=0)


def test_thresholds_are_obeyed():
    detector = lively_detector()
    image = np.random.default_rng(2).uniform(0, 255, (SIZE, SIZE, 3))
    everything = detector.detect(image)
    middle = float(np.median(everything.scores))
    assert len(everything) == 200
    assert detector.detect(image, score_threshold=middle).scores.min() > middle
    assert len(detector.detect(image, max_detections=7)) == 7
    assert len(detector.detect(image, score_threshold=float(everything.scores.max()))) == 0


def test_a_detector_detects_by_its_own_suppression(monkeypatch):
    detector = lively_detector()
    image = np.random.default_rng(2).uniform(0, 255, (SIZE, SIZE, 3))
    assert detector.suppression == Suppression()
    settings = {"score_threshold": 0.2, "iou_threshold": 0.2, "max_detections": 30}
    wanted = detector.detect(image, **settings)
    agnostic = detector.detect(image, class_agnostic=True)
    assert len(agnostic) < len(detector.detect(image))
    monkeypatch.setattr(detector, "suppression", Suppression(**settings))
    assert_same_detections(detector.detect(image), wanted, box_atol=0, score_atol=0)
    assert len(detector.detect(image, max_detections=5)) == 5
    monkeypatch.setattr(detector, "suppression", {"class_agnostic": True})
    assert_same_detections(detector.detect(image), agnostic, box_atol=0, score_atol=0)


def test_suppression_is_saved_with_the_detector(detector, tmp_path):
    detector.suppression = Suppression(score_threshold=0.3, max_per_class=50, class_agnostic=True)
    detector.save(tmp_path / "pets.keras")
    assert ssd_keras.load(tmp_path / "pets.keras").suppression == detector.suppression


def test_a_file_from_before_detectors_had_suppression_loads(detector, batch, tmp_path):
    detector.suppression = Suppression(score_threshold=0.3)
    detector.save(tmp_path / "new.keras")
    with (
        zipfile.ZipFile(tmp_path / "new.keras") as new,
        zipfile.ZipFile(tmp_path / "old.keras", "w") as old,
    ):
        for name in new.namelist():
            content = new.read(name)
            if name == "config.json":
                config = json.loads(content)
                del config["config"]["suppression"]
                content = json.dumps(config)
            old.writestr(name, content)
    again = ssd_keras.load(tmp_path / "old.keras")
    assert again.suppression == Suppression()
    np.testing.assert_array_equal(
        again.predict_on_batch(batch[0])["boxes"], detector.predict_on_batch(batch[0])["boxes"]
    )


def test_scores_are_float32_under_mixed_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        detector = tiny.detector(["cat"])
    finally:
        keras.config.set_dtype_policy(policy)
    images = np.random.default_rng(3).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    predictions = detector.predict_on_batch(images)
    assert {value.dtype.name for value in predictions.values()} == {"float32"}


@pytest.mark.parametrize("shape", [(SIZE, SIZE), (SIZE, SIZE, 1), (SIZE, SIZE, 4)])
def test_what_is_no_image_is_refused(detector, shape):
    with pytest.raises(UserError, match=r"\[H, W, 3\]"):
        detector.detect([np.zeros(shape)])


def test_images_are_taken_in_every_form(tmp_path):
    detector = lively_detector()
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    wanted = detector.detect(pixels)
    several = [picture, content, str(tmp_path / "a.png"), tmp_path / "a.png", pixels]
    for found in [*map(detector.detect, several), *detector.detect(several)]:
        assert_same_detections(found, wanted, box_atol=1e-5, score_atol=1e-5)
    assert len(detector.detect(image for image in several)) == 5
    assert detector.detect([]) == []


def test_normalised_images_are_refused_by_detect_and_fit(detector, batch):
    images, truth = batch
    with pytest.raises(UserError, match=r"Image 0: .*0\.\.1"):
        detector.detect(images / 255)
    detector.compile("sgd", jit_compile=False)
    with pytest.raises(UserError, match=r"fit: .*0\.\.1"):
        detector.fit(images / 255, truth, verbose=0)
    with pytest.raises(UserError, match=r"fit: .*uint16"):
        detector.fit(images.astype("uint16"), truth, verbose=0)


def test_batches_of_a_wrong_type_are_refused_by_fit(detector, batch):
    import tensorflow as tf

    images, truth = batch
    batches = tf.data.Dataset.from_tensors((images > 100, truth))
    detector.compile("sgd", jit_compile=False)
    with pytest.raises(UserError, match="Images of bool"):
        detector.fit(batches, verbose=0)


@pytest.mark.parametrize("way", WAYS)
def test_images_are_resized_in_the_detectors_way_which_is_saved_with_it(detector, tmp_path, way):
    image = pictures(1)[0]
    config = enliven(detector).get_config()
    detector, lively = ssd_keras.Detector.from_config({**config, "resize": way}), detector
    detector.set_weights(lively.get_weights())
    ready = resize(image, (SIZE, SIZE), way)
    (wanted,) = detector.detect_batches([ready[None]], score_threshold=0.3)
    wanted = detector.in_image(wanted, image.shape[:2])
    assert len(wanted) > 5
    detector.save(tmp_path / "a.keras")
    again = ssd_keras.load(tmp_path / "a.keras")
    assert again.resize == way
    for found in (detector, again):
        same = found.detect(image, score_threshold=0.3)
        assert_same_detections(same, wanted, box_atol=1e-5, score_atol=1e-5)


def test_a_file_that_says_nothing_of_resizing_means_the_usual_way():
    config = lively_detector().get_config()
    del config["resize"]
    assert ssd_keras.Detector.from_config(config).resize == "half_pixel"


def test_an_unknown_way_of_resizing_is_refused():
    config = {**lively_detector().get_config(), "resize": "corners"}
    with pytest.raises(UserError, match="no way of resizing 'corners'"):
        ssd_keras.Detector.from_config(config)
