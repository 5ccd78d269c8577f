"""One training run."""

import dataclasses
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ssd_keras import data, figures
from ssd_keras.errors import UserError
from ssd_keras.objectives.multibox import multibox_loss, multibox_targets
from ssd_keras.training import Recipe, RunFolder, RunSettings, callbacks, checkpoint, run, train
from tests.data import lossy, samples
from tests.training.ten_steps import tiny_detector

pytestmark = pytest.mark.eager
SETTINGS = RunSettings(
    model="SSD_MobileNet_96",
    train_data="shapes#train,count=12,size=96",
    eval_data="shapes#val,count=5,size=96",
    width=0.25,
    augmentation="light",
    max_boxes=8,
    eval_every=2,
    recipe=Recipe(epochs=3, batch_size=4, warmup_epochs=0.5, accumulation=2, ema=0.9),
)


def changed(**values):
    """The settings with values of the run or of the recipe changed."""
    recipe = {key: values.pop(key) for key in list(values) if hasattr(Recipe, key)}
    recipe = dataclasses.replace(SETTINGS.recipe, **recipe)
    return dataclasses.replace(SETTINGS, recipe=recipe, **values)


@pytest.fixture
def tiny_model(monkeypatch):
    """Builds a network that is traced in a moment in the place of MobileNet."""

    monkeypatch.setattr(
        run, "build", lambda settings, classes: tiny_detector(settings.model, classes)
    )


@pytest.fixture
def no_pictures(monkeypatch):
    """Drawing takes longer than training here."""
    monkeypatch.setattr(figures, "save", lambda figure, path: Path(path).touch())


class Killed(BaseException):
    """Stands for a process that ends without a chance to tidy up."""


def before(monkeypatch, kind, method, at, act):
    """Calls `act` before `kind.method` when its first argument, or the step, is `at`."""
    original = getattr(kind, method)

    def changed_method(callback, index, logs=None):
        steps = getattr(callback, "steps", None)
        if (steps.step if steps else index) == at:
            monkeypatch.setattr(kind, method, original)
            act()
        original(callback, index, logs)

    monkeypatch.setattr(kind, method, changed_method)


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_with_the_weights_of_one_that_was_not(
    tiny_model, tmp_path, monkeypatch, capsys
):
    straight = train(SETTINGS, tmp_path / "straight")
    folder = RunFolder(tmp_path / "stopped")

    # SIGTERM in the middle of the second epoch, and between two updates of the weights.
    before(
        monkeypatch,
        callbacks.Checkpoints,
        "on_train_batch_end",
        5,
        lambda: os.kill(os.getpid(), signal.SIGTERM),
    )
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        train(SETTINGS, folder.path)
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is handler
    assert "checkpoint holds 1 epoch and 2 steps" in capsys.readouterr().out
    assert checkpoint.read_progress(folder.state).step == 5

    def die():
        raise Killed

    before(monkeypatch, callbacks.Recorder, "on_epoch_end", 2, die)
    with pytest.raises(Killed):
        train(SETTINGS, folder.path)
    assert "going on after epoch 1 and 2 steps" in capsys.readouterr().out
    resumed = train(SETTINGS, folder.path)

    for first, second in zip(straight.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
    rows = [
        [{k: v for k, v in row.items() if "seconds" not in k and "images" not in k} for row in rows]
        for rows in (RunFolder(tmp_path / name).history() for name in ("straight", "stopped"))
    ]
    assert rows[0] == rows[1]
    assert [row["epoch"] for row in rows[0]] == [1, 2, 3]
    # Evaluated in the second epoch, by eval_every, and in the last.
    assert ["ap50" in row for row in rows[0]] == [False, True, True]
    for picture in ("curves.png", "predictions.png"):
        assert len(Image.open(folder.pictures / picture).convert("RGB").getcolors(1 << 24)) > 100
    assert tags_for_tensorboard(folder) >= {"loss", "ap50", "predictions"}


def tags_for_tensorboard(folder: RunFolder) -> set[str]:
    """The names of all numbers and pictures that were written."""
    events = (
        event
        for file in folder.tensorboard.iterdir()
        for event in tf.compat.v1.train.summary_iterator(str(file))
    )
    return {value.tag for event in events for value in event.summary.value}


@pytest.mark.usefixtures("no_pictures", "tiny_model")
def test_a_short_run_that_was_killed_goes_on_with_the_next_step(tmp_path, monkeypatch):
    """The same in miniature: the second of two epochs is begun, checkpointed and killed."""
    settings = changed(
        train_data="shapes#train,count=8,size=96", eval_data="", epochs=2, accumulation=1,
        warmup_epochs=0, batch_norm_batches=0,
    )  # fmt: skip
    train(settings, tmp_path / "straight")
    terminate = lambda: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    before(monkeypatch, callbacks.Checkpoints, "on_train_batch_end", 3, terminate)
    with pytest.raises(SystemExit):
        train(settings, tmp_path / "run")
    assert checkpoint.read_progress(RunFolder(tmp_path / "run").state).step == 3
    train(settings, tmp_path / "run")
    # Not the best detector, which may be that of the first epoch.
    straight, resumed = (np.load(RunFolder(tmp_path / name).state) for name in ("straight", "run"))
    assert set(straight.files) == set(resumed.files)
    for name in straight.files:
        np.testing.assert_array_equal(straight[name], resumed[name], err_msg=name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("train_data", "is not fit to train on: no object in 6 images"),
        ("eval_data", "is not fit to judge by: no object in 6 images"),
    ],
)
def test_data_without_an_object_are_refused_before_anything_is_built(
    tmp_path, monkeypatch, name, reason
):
    monkeypatch.setattr(run, "build", lambda *_: pytest.fail("built"))
    for index in range(6):
        samples.picture(tmp_path / f"pictures/images/{index}.jpg", seed=index)
    settings = changed(**{name: f"yolo:{tmp_path}/pictures"})
    if name == "train_data":
        (tmp_path / "pictures/classes.txt").write_text("cat")
        settings = dataclasses.replace(settings, eval_data="")
    with pytest.raises(UserError, match=reason) as caught:
        train(settings, tmp_path / "run")
    assert "--accept_losses" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_losses_are_said_before_training_and_may_be_accepted(
    tiny_model, tmp_path, monkeypatch, capsys
):
    spec = lossy.voc(tmp_path / "lossy")
    for index in range(3):
        samples.voc_image(tmp_path / "lossy", f"{index}", samples.voc_object("dog"), seed=index)
    settings = changed(train_data=spec, eval_data="", epochs=1, accumulation=1)
    with pytest.raises(UserError, match="9 of 13 objects are lost"):
        train(settings, tmp_path / "run")
    monkeypatch.setattr(run.Run, "fit", lambda *_: pytest.skip("said and begun"))
    with pytest.raises(pytest.skip.Exception):
        train(dataclasses.replace(settings, accept_losses=True), tmp_path / "run")
    assert "9 of 13 objects are lost (9 zero_area). ssd-keras check-data" in capsys.readouterr().out


def test_an_update_needs_as_many_steps_as_are_gathered(tiny_model, tmp_path):
    settings = changed(eval_data="", epochs=1, accumulation=1000)
    with pytest.raises(UserError, match="--accumulation=1000 needs as many steps"):
        train(settings, tmp_path / "run")


OWN_BACKBONE = """
import keras

def mine(image_size):
    images = keras.Input((*image_size, 3))
    x = keras.layers.Rescaling(1 / 255)(images)
    # Without names, which differ in every copy of the network.
    x = keras.layers.Conv2D(8, 3, strides=16, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    return keras.Model(images, {"stride16": keras.layers.ReLU()(x)})
"""


@pytest.fixture
def own_backbone(no_pictures, tmp_path):
    (tmp_path / "mine.py").write_text(OWN_BACKBONE)
    return changed(
        model="SSD_Mine_64",
        backbone=f"{tmp_path}/mine.py:mine",
        model_options={"extras": []},
        train_data="shapes#train,count=8,size=64",
        eval_data="",
        augmentation="none",
        epochs=1,
        ema=0.0,
    )


def batch_norm_of(detector):
    kind = keras.layers.BatchNormalization
    (norm,) = [layer for layer in detector.backbone.layers if isinstance(layer, kind)]
    return norm


def test_a_backbone_of_the_users_file_is_trained_and_saved(own_backbone, tmp_path):
    detector = train(own_backbone, tmp_path / "run")
    assert [layer.__class__.__name__ for layer in detector.backbone.layers][2] == "Conv2D"
    assert np.all(np.array(batch_norm_of(detector).moving_variance) != 1)
    assert RunFolder(tmp_path / "run").settings()["backbone"] == own_backbone.backbone


def test_frozen_batch_norms_without_names_keep_their_statistics(own_backbone, tmp_path):
    settings = dataclasses.replace(own_backbone, freeze=("batch_norm",))
    norm = batch_norm_of(train(settings, tmp_path / "run"))
    np.testing.assert_array_equal(norm.moving_variance, 1.0)
    np.testing.assert_array_equal(norm.moving_mean, 0.0)


def test_a_batch_larger_than_the_data_is_refused(tmp_path):
    with pytest.raises(UserError, match="12 images, fewer than one batch of 16"):
        train(changed(batch_size=16), tmp_path / "run")


def test_a_rate_of_a_million_is_rolled_back_and_then_stopped(
    tiny_model, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(run, "MAX_ROLLBACKS", 1)
    settings = changed(
        augmentation="none", learning_rate=1e6, warmup_epochs=0, accumulation=1, ema=0,
        eval_data="", on_nan="rollback",
    )  # fmt: skip
    with pytest.raises(UserError) as error:
        train(settings, tmp_path / "run")
    told = str(error.value)
    truth = data.load_source(settings.train_data).ground_truth()
    named = [one.image_id for one in truth if one.image_id in told]
    assert len(named) >= 4
    assert "epoch 1" in told
    assert "learning rate is the usual cause" in told
    assert "lowering the rate 1 times did not help" in told
    assert "from now on with 0.1 times the learning rate" in capsys.readouterr().out
    assert not RunFolder(tmp_path / "run").best.exists()


@pytest.mark.slow
def test_a_run_ends_early_without_progress_and_stays_ended(
    tiny_model, tmp_path, monkeypatch, capsys
):
    scores = iter([0.5, 0.4, 0.45, 0.6])
    monkeypatch.setattr(
        callbacks.Evaluation,
        "on_epoch_end",
        lambda self, epoch, logs=None: logs.update(ap50=next(scores)),
    )
    settings = changed(patience=2, epochs=4)
    train(settings, tmp_path / "run")
    assert len(RunFolder(tmp_path / "run").history()) == 3
    train(settings, tmp_path / "run")
    assert capsys.readouterr().out.count("ended early after 3 of 4 epochs") == 2


@pytest.mark.xla
@pytest.mark.slow
def test_half_precision_trains_like_float32_and_saves_a_float32_detector(tiny_model, tmp_path):
    found = {}
    for precision in ("float32", "mixed_float16", "mixed_bfloat16"):
        settings = changed(precision=precision, eval_data="", epochs=2, warmup_epochs=0)
        best = train(settings, tmp_path / precision)
        assert {layer.compute_dtype for layer in best.layers} == {"float32"}
        found[precision] = RunFolder(tmp_path / precision).history()[-1]["loss"]
        # Only float16 needs the loss to be scaled, by two more numbers that must be kept.
        with np.load(RunFolder(tmp_path / precision).state) as state:
            found[f"{precision} numbers"] = len(state.files)
    assert found["mixed_float16"] == pytest.approx(found["float32"], rel=0.02)
    assert found["mixed_bfloat16"] == pytest.approx(found["float32"], rel=0.02)
    assert found["mixed_float16"] != found["float32"] != found["mixed_bfloat16"]
    assert found["mixed_float16 numbers"] > found["mixed_bfloat16 numbers"]
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("labels", [[[-1] * 3] * 2, [[-1] * 3, [0, 1, -1]]])
def test_images_without_objects_train_without_harm(labels):
    """A batch of nothing has no loss; beside another image, an empty one adds none."""
    labels = np.array(labels, "int32")
    boxes = np.where(
        labels[..., None] < 0, -1.0, np.array([[0.1, 0.1, 0.5, 0.5], [0.4, 0.3, 0.9, 0.8], [0] * 4])
    ).astype("float32")
    anchors = np.random.default_rng(0).uniform(0, 0.5, (40, 4)).astype("float32")
    anchors[:, 2:] += 0.4
    targets = multibox_targets(boxes, labels, anchors)
    images = keras.Input((40,))
    codes = keras.layers.Reshape((40, 4))(keras.layers.Dense(160)(images))
    logits = keras.layers.Reshape((40, 3))(keras.layers.Dense(120)(images))

    class Model(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return multibox_loss(y, *y_pred)["loss"]

    model = Model(images, [codes, logits])
    model.compile(Recipe(warmup_epochs=0, weight_decay=0.0).build_optimizer(10))
    x = np.random.default_rng(1).normal(size=(2, 40)).astype("float32")
    before_step = model.get_weights()
    targets = {key: np.array(value) for key, value in targets.items()}
    loss = model.fit(x, targets, batch_size=2, verbose=0).history["loss"][0]
    assert (loss > 0) == bool((labels >= 0).any())
    assert np.isfinite(loss)
    moved = [
        not np.array_equal(a, b) for a, b in zip(before_step, model.get_weights(), strict=True)
    ]
    assert any(moved) == bool((labels >= 0).any())
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.parametrize(
    ("weak_end", "steps_done", "first"),
    [(0.0, 100, 0), (0.25, 75, 0), (0.25, 76, 75), (0.25, 100, 75)],
)
def test_statistics_are_measured_on_images_as_they_are_trained_on(weak_end, steps_done, first):
    settings = RunSettings("SSD_MobileNet_96", "x", augmentation="mosaic", weak_end=weak_end)
    asked = []
    training = SimpleNamespace(
        settings=settings,
        _weak_from=round(100 * (1 - weak_end)) if weak_end else None,
        _training_batches=lambda step, count, resize: asked.append((step, count, resize)),
    )
    run.Run._measured_batches(training, steps_done, resize="half_pixel")
    assert asked == [(first, settings.batch_norm_batches, "half_pixel")]
