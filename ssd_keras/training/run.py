"""One training run, from settings to a run folder with a trained detector."""

from __future__ import annotations

import contextlib
import dataclasses
import functools

import keras

from ssd_keras import data, zoo
from ssd_keras.batch_norm import BatchStatistics
from ssd_keras.data import verdict
from ssd_keras.data.tiled import whole_images
from ssd_keras.data.verdict import MOST_LOST
from ssd_keras.detector import Detector
from ssd_keras.display import counted
from ssd_keras.errors import UserError
from ssd_keras.float32 import float32_copy
from ssd_keras.keras_compat import keep_weights_at_end
from ssd_keras.run_folder import RunFolder
from ssd_keras.training import callbacks as on
from ssd_keras.training import checkpoint
from ssd_keras.training.announcement import announcement, finished_message
from ssd_keras.training.building import build
from ssd_keras.training.distribution import Devices, find_devices
from ssd_keras.training.freezing import freeze
from ssd_keras.training.precision import (
    choose_jit,
    choose_precision,
    find_accelerator,
)
from ssd_keras.training.quantize_aware import make_quantize_aware
from ssd_keras.training.settings import RunSettings
from ssd_keras.training.stages import freeze_for_stage
from ssd_keras.training.tiles import apply_tiles
from ssd_keras.traversal import leaf_layers

ROLLBACK_FACTOR = 0.1
MAX_ROLLBACKS = 3


def train(settings: RunSettings, run_dir: str, *, train_source=None, eval_source=None) -> Detector:
    """Trains, or goes on with a run that was stopped, and returns the best detector.

    Args:
        settings: every value of the run.
        run_dir: the run folder; several machines must share it, or it lies on a remote place.
        train_source, eval_source: what `settings.train_data` and `settings.eval_data` name, if
            they are open already; the first one seen through tiles if that is how it is trained on.

    Raises:
        UserError: a name, a data set, a weights file or a run folder that cannot be used or is in
            use, data of which too little is left, or a loss that is not a number.
    """
    name = zoo.parse(settings.model, settings.backbone)
    devices = find_devices(settings.devices)
    folder = RunFolder(run_dir)
    if devices.is_chief:
        folder.check_free()
    recipe = settings.recipe
    devices.check_batch(recipe.batch_size)
    if recipe.accumulation > 1 and devices.replicas > 1 and keras.backend.backend() != "jax":
        raise UserError(
            "--accumulation works on one device only: give a larger --batch_size, which the "
            "devices share, or --devices=1."
        )
    if train_source is None:
        train_source = data.load_source(settings.train_data)
        settings, train_source = apply_tiles(settings, train_source)
    if settings.eval_data and eval_source is None:
        eval_source = data.load_source(settings.eval_data, classes=train_source.classes)
    _check_data(settings, train_source, eval_source)
    if len(train_source) < recipe.batch_size:
        raise UserError(
            f"'{settings.train_data}' has {counted(len(train_source), 'image')}, fewer than one "
            f"batch of {recipe.batch_size}: give a smaller --batch_size or more images."
        )
    steps_per_epoch = data.steps_per_epoch(train_source, recipe.batch_size)
    if recipe.accumulation > recipe.epochs * steps_per_epoch:
        raise UserError(
            f"--accumulation={recipe.accumulation} needs as many steps for one update, and the run "
            f"has {counted(recipe.epochs * steps_per_epoch, 'step')}: give a smaller one."
        )
    run = Run(
        settings,
        folder,
        devices,
        train_source,
        eval_source,
        precision=choose_precision(settings.precision, name.backbone),
        jit=choose_jit(settings.jit),
        steps_per_epoch=steps_per_epoch,
    )
    detector = run.build()
    folder.fetch()
    with folder.lock() if devices.is_chief else contextlib.nullcontext():
        run.open_folder(detector)
        return _train(run, detector)


def _train(run: Run, detector: Detector) -> Detector:
    devices = run.devices
    progress = checkpoint.read_progress(run.folder.state)
    if run.is_finished(progress.step):
        print(finished_message(run, progress.step))
        return zoo.load(run.folder.path)
    if devices.is_chief:
        print(announcement(run, detector, progress.step), flush=True)
    while True:
        try:
            with devices.explain_errors():
                judged = run.fit(detector, progress)
            break
        except on.Explosion as explosion:
            progress = run.rolled_back(explosion, progress)
            detector = run.build()
    for source in filter(None, (run.train_source, run.eval_source)):
        if notice := data.unread_notice(source):
            print(f"'{source.spec}': {notice}.", flush=True)
    if devices.is_chief:
        judged = zoo.load(run.folder.path)
    devices.wait_for_all()
    return judged


def _check_data(settings: RunSettings, train_source, eval_source):
    """Raises UserError where nothing or little is left of the data and that is not accepted."""
    if settings.accept_losses:
        return
    verdict.check_fit(verdict.judge(whole_images(train_source)), "to train on")
    if eval_source is not None:
        verdict.check_fit(verdict.judge(eval_source), "to judge by")


@dataclasses.dataclass(frozen=True)
class Run:
    """A run with all that its settings came to."""

    settings: RunSettings
    folder: RunFolder
    devices: Devices
    train_source: data.Source
    eval_source: data.Source | None
    precision: str
    jit: bool | str
    steps_per_epoch: int

    @property
    def name(self) -> zoo.ModelName:
        return zoo.parse(self.settings.model, self.settings.backbone)

    @property
    def recipe(self):
        return self.settings.recipe

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.recipe.epochs * self.steps_per_epoch

    @property
    def ema_momentum(self) -> float:
        """What the moving average of the weights keeps at each step of this run."""
        return self.recipe.ema_momentum(self.steps)

    def build(self) -> Detector:
        """The detector to train, with its weights of the start."""
        keras.utils.set_random_seed(self.settings.seed)
        with self.devices.scope(), _policy(self.precision):
            detector = build(self.settings, self.train_source.classes)
        if self.settings.stage:
            freeze_for_stage(detector, self.settings.stage)
        freeze(detector, self.settings.freeze)
        if self.settings.quantize_aware:
            make_quantize_aware(detector)
        return detector

    def open_folder(self, detector: Detector):
        """Starts the run folder or checks that it belongs to this run."""
        if not self.devices.is_chief:
            return
        settings = self.settings.as_stored() | {"images": len(self.train_source)}
        self.folder.open(settings, self.train_source.classes)
        self.folder.write_used(
            {
                "precision": self.precision,
                "jit": detector.jit_compile if self.jit == "auto" else self.jit,
                "devices": self.devices.describe(),
                "accelerator": find_accelerator(),
                "steps_per_epoch": self.steps_per_epoch,
                **({"ema": self.ema_momentum} if self.recipe.ema else {}),
                "backend": keras.backend.backend(),
                "keras": keras.__version__,
            }
        )
        # That nothing can be written there shows before the first step.
        self.folder.send()

    def is_finished(self, step: int) -> bool:
        """Whether all epochs are done, or the run has ended early."""
        epochs, within = divmod(step, self.steps_per_epoch)
        rows = self.folder.history(epochs)[:epochs]
        return step >= self.steps or (not within and self.is_stalled(rows))

    def is_stalled(self, rows: list[dict]) -> bool:
        """Whether these epochs end the run by its patience."""
        return on.is_stalled(rows, self.settings.patience, self.eval_source is not None)

    def rolled_back(self, explosion: on.Explosion, progress) -> checkpoint.Progress:
        """Where to go on after an explosion; raises it again if that is not wanted."""
        if self.settings.on_nan != "rollback":
            raise explosion
        if progress.rollbacks >= MAX_ROLLBACKS:
            raise UserError(
                f"{explosion} Going back and lowering the rate {MAX_ROLLBACKS} times did not help."
            ) from explosion
        if not self.devices.is_chief:
            self.folder.fetch(self.folder.state)
        before = checkpoint.read_progress(self.folder.state)
        after = checkpoint.Progress(
            before.step, progress.rate_factor * ROLLBACK_FACTOR, progress.rollbacks + 1
        )
        epoch, within = divmod(after.step, self.steps_per_epoch)
        print(
            f"\n{explosion}\nGoing back to the checkpoint after {counted(epoch, 'epoch')} and "
            f"{counted(within, 'step')}, "
            f"from now on with {after.rate_factor:g} times the learning rate.",
            flush=True,
        )
        return after

    def fit(self, detector: Detector, progress: checkpoint.Progress) -> Detector:
        """Trains from a checkpoint to the end; returns the copy that was judged last."""
        self._compile(detector, progress)
        judged, statistics = self._copy_to_judge(detector)
        steps = on.StepCounter(progress.step, self.steps_per_epoch)
        several = self.devices.workers > 1
        checkpoints = on.Checkpoints(
            self.folder if self.devices.is_chief else None,
            steps,
            progress,
            minutes=float("inf") if several else self.settings.checkpoint_minutes,
            within_epochs=not several,
        )
        epochs = progress.step // self.steps_per_epoch
        rows = self.folder.history(epochs)[:epochs]
        used = [
            steps,
            on.LossWatch(steps, self._ids_of_batch, self.precision),
            on.ReadWatch(self.train_source, 1.0 if self.settings.accept_losses else MOST_LOST),
            checkpoints,
            *self._records(judged, statistics, steps, checkpoints, rows),
        ]
        try:
            epoch, within = divmod(progress.step, self.steps_per_epoch)
            if within:
                self._fit(detector, progress.step, epoch, epoch + 1, [on.RestoredMeans(), *used])
                epoch += 1
            if epoch < self.recipe.epochs and not detector.stop_training:
                self._fit(detector, steps.step, epoch, self.recipe.epochs, used)
        finally:
            checkpoints.restore_handler()
        if steps.step < self.steps:
            print(finished_message(self, steps.step))
        return judged

    def _compile(self, detector, progress):
        with self.devices.scope():
            optimizer = self.recipe.build_optimizer(self.steps_per_epoch, progress.rate_factor)
            detector.compile(optimizer, jit_compile=self.jit)
            # Variables made while TensorFlow traces the step would make it trace the step twice.
            detector.optimizer.build(detector.trainable_variables)
        # Keras would replace the weights by their averages at the end of each fit.
        keep_weights_at_end(detector.optimizer)
        detector.stop_training = False
        if progress.step:
            checkpoint.restore_state(self.folder.state, detector)
        self.devices.prepare(detector)

    def _copy_to_judge(self, detector) -> tuple[Detector, BatchStatistics | None]:
        """A float32 copy to judge and save, and what measures its statistics."""
        judged = float32_copy(detector)
        frozen = {layer.name for layer in leaf_layers(judged) if not layer.trainable}
        # What is saved is free to be trained further.
        judged.trainable = True
        if not self.settings.batch_norm_batches:
            return judged, None
        return judged, BatchStatistics(judged, frozen)

    def _records(self, judged, statistics, steps, checkpoints, rows) -> list:
        recipe, settings, chief = self.recipe, self.settings, self.devices.is_chief
        measured = functools.partial(self._measured_batches, resize=judged.resize)
        records = [on.Judged(judged, steps, statistics, measured)]
        if chief:
            records.insert(0, on.ProgressLine(steps, recipe.epochs, recipe.batch_size))
        if self.eval_source is not None:
            # On every machine, so that all come to the same end without a message.
            records.append(
                on.Evaluation(
                    judged,
                    self.eval_source,
                    recipe.epochs,
                    settings.eval_every,
                    recipe.batch_size,
                    checkpoints.end_if_asked,
                )
            )
        folder = self.folder if chief else None
        records.append(
            on.Recorder(folder, judged, rows, recipe.epochs, checkpoints, self.is_stalled)
        )
        if chief:
            # Here, because it takes TensorFlow, which not every use of this package needs.
            from ssd_keras.training.tensorboard import TensorBoard

            records.append(
                TensorBoard(self.folder, judged, self.eval_source, rows, recipe.batch_size)
            )
        return records

    def _fit(self, detector, step: int, first_epoch: int, last_epoch: int, used: list):
        """Plain `fit` from a step to the end of an epoch."""
        count = last_epoch * self.steps_per_epoch - step
        batches = functools.partial(self._training_batches, step, count, resize=detector.resize)
        detector.fit(
            self.devices.batches(batches),
            initial_epoch=first_epoch,
            epochs=last_epoch,
            steps_per_epoch=count // (last_epoch - first_epoch),
            callbacks=used,
            shuffle=False,
            verbose=0,
            # Those of the copy that is judged are measured instead.
            batch_norm_batches=0,
        )

    def _training_batches(
        self, first_step: int, steps: int, shard: tuple[int, int] = (0, 1), *, resize: str
    ):
        return data.training_batches(
            self.train_source,
            image_size=self.name.image_size,
            batch_size=self.recipe.batch_size,
            seed=self.settings.seed,
            augmentation=self.settings.augmentation,
            max_boxes=self.settings.max_boxes,
            first_step=first_step,
            steps=steps,
            shard=shard,
            resize=resize,
            scale_jitter=self.settings.scale_jitter,
            mirror=self.settings.mirror,
            weak_from=self._weak_from,
            balanced=self.settings.balance_classes,
        )

    def _measured_batches(self, steps_done: int, *, resize: str):
        """What batch norm statistics are measured on: the first batches, of the weak end its own.

        Images as they are trained on at that time: those of a mosaic have other statistics.
        """
        weak = self._weak_from
        first = weak if weak is not None and steps_done > weak else 0
        return self._training_batches(first, self.settings.batch_norm_batches, resize=resize)

    @property
    def _weak_from(self) -> int | None:
        """The step from which images are changed little, if there is one."""
        share = self.settings.weak_end
        return round(self.steps * (1.0 - share)) if share else None

    def _ids_of_batch(self, step: int) -> list[str]:
        if self.train_source.sample is not self.train_source:
            return [f"some of {self.settings.train_data}, read in sequence"]
        indices = data.batch_indices(
            self.train_source,
            step,
            batch_size=self.recipe.batch_size,
            seed=self.settings.seed,
            balanced=self.settings.balance_classes,
            mosaic=self.settings.augmentation == "mosaic"
            and (self._weak_from is None or step < self._weak_from),
        )
        truth = self.train_source.ground_truth()
        return [truth[index].image_id for index in indices]


@contextlib.contextmanager
def _policy(name: str):
    """Builds layers in a precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
