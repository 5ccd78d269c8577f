"""One training run, from settings to a run folder with a trained detector."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math

import keras

from ssd_keras import data, zoo
from ssd_keras.batch_norm import BatchStatistics
from ssd_keras.data import verdict
from ssd_keras.data.tiled import TiledSource
from ssd_keras.data.verdict import MOST_LOST
from ssd_keras.detector import Detector
from ssd_keras.display import join_names
from ssd_keras.errors import UserError
from ssd_keras.float32 import float32_copy
from ssd_keras.keras_compat import keep_weights_at_end
from ssd_keras.run_folder import RunFolder
from ssd_keras.training import callbacks as on
from ssd_keras.training import checkpoint
from ssd_keras.training.distribution import Devices, find_devices
from ssd_keras.training.freezing import freeze
from ssd_keras.training.precision import (
    choose_jit,
    choose_precision,
    find_accelerator,
    precision_notice,
)
from ssd_keras.training.quantize_aware import make_quantize_aware
from ssd_keras.training.settings import RunSettings
from ssd_keras.training.stages import freeze_for_stage
from ssd_keras.training.tiles import tiled
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
        settings, train_source = tiled(settings, train_source)
    if settings.eval_data and eval_source is None:
        eval_source = data.load_source(settings.eval_data, classes=train_source.classes)
    _check_data(settings, train_source, eval_source)
    if len(train_source) < recipe.batch_size:
        raise UserError(
            f"'{settings.train_data}' has {len(train_source)} images, fewer than one batch of "
            f"{recipe.batch_size}: give a smaller --batch_size or more images."
        )
    run = _Run(
        settings,
        folder,
        devices,
        train_source,
        eval_source,
        precision=choose_precision(settings.precision, name.backbone),
        jit=choose_jit(settings.jit),
        steps_per_epoch=data.steps_per_epoch(train_source, recipe.batch_size),
    )
    detector = run.build()
    folder.fetch()
    with folder.lock() if devices.is_chief else contextlib.nullcontext():
        run.open_folder(detector)
        return _train(run, detector)


def _train(run: _Run, detector: Detector) -> Detector:
    devices = run.devices
    progress = checkpoint.read_progress(run.folder.state)
    if run.is_finished(progress.step):
        print(run.finished_message(progress.step))
        return zoo.load(run.folder.path)
    run.announce(detector, progress)
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
    verdict.check_fit(verdict.judge(_as_read(train_source)), "to train on")
    if eval_source is not None:
        verdict.check_fit(verdict.judge(eval_source), "to judge by")


@dataclasses.dataclass(frozen=True)
class _Run:
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
        return step >= self.steps or (not within and on.is_stalled(rows, self.settings.patience))

    def finished_message(self, step: int) -> str:
        """What is said of a finished run."""
        if step >= self.steps:
            how = f"all {self.recipe.epochs} epochs are done"
        else:
            how = (
                f"it ended early after {step // self.steps_per_epoch} of {self.recipe.epochs} "
                f"epochs, {self.settings.patience} evaluations without a better result"
            )
        return f"The run in '{self.folder.place}' is finished: {how}."

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
            f"\n{explosion}\nGoing back to the checkpoint after {epoch} epochs and {within} steps, "
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
            print(self.finished_message(steps.step))
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
        measured = None
        if statistics:
            measured = self._training_batches(0, settings.batch_norm_batches, resize=judged.resize)
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
            on.Recorder(folder, judged, rows, recipe.epochs, checkpoints, settings.patience)
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
            weak_from=self._weak_from,
            balanced=self.settings.balance_classes,
        )

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
        )
        truth = self.train_source.ground_truth()
        return [truth[index].image_id for index in indices]

    def announce(self, detector: Detector, progress: checkpoint.Progress):
        """Says what is going to be trained, on what and how."""
        if not self.devices.is_chief:
            return
        settings, recipe, classes = self.settings, self.recipe, self.train_source.classes
        judged_on = ""
        if self.eval_source is not None:
            judged_on = f", judged on {len(self.eval_source)} of {settings.eval_data}"
        trained = sum(math.prod(v.shape) for v in detector.trainable_variables)
        frozen = f", {detector.count_params() - trained:,} of them not trained"
        print(
            f"{settings.model}: {detector.count_params():,} parameters"
            f"{frozen if settings.freeze or settings.stage else ''}, "
            f"{len(detector.box_network.anchors):,} default boxes, "
            f"{len(classes)} classes ({join_names(classes)})\n"
            f"{_counted(self.train_source, settings.train_data)}{judged_on}\n"
            f"{recipe.epochs} epochs of {self.steps_per_epoch} steps, batch {recipe.batch_size}, "
            f"{recipe.optimizer}, learning rate {recipe.learning_rate:g}; "
            f"{self.devices.describe()} ({find_accelerator()}), {self.precision}; "
            f"run folder '{self.folder.place}'"
        )
        if notice := precision_notice(self.precision, self.name.backbone):
            print(notice)
        for source in (self.train_source, self.eval_source):
            if source is not None and (line := verdict.line(verdict.judge(_as_read(source)))):
                print(line)
        if detector.started_from:
            print(detector.started_from)
        if progress.step:
            epoch, within = divmod(progress.step, self.steps_per_epoch)
            print(f"going on after epoch {epoch}" + (f" and {within} steps" if within else ""))
        print(flush=True)


def _as_read(source: data.Source) -> data.Source:
    """The images, of which the defects were counted; not their tiles."""
    return (source.source if isinstance(source, TiledSource) else source).sample


def _counted(source: data.Source, spec: str) -> str:
    if not isinstance(source, TiledSource):
        return f"{len(source)} images of {spec}"
    left = f" ({source.dropped:,} without objects are left out)" if source.dropped else ""
    return f"{len(source.source)} images of {spec} as {len(source):,} {source.tiling}{left}"


def build(settings: RunSettings, classes: tuple[str, ...]) -> Detector:
    """The detector of a run, before training."""
    weights = settings.backbone_weights
    detector = zoo.create(
        settings.model,
        classes,
        backbone_weights=None if weights in ("none", "") else weights,
        backbone=settings.backbone,
        weights=settings.weights or None,
        width=settings.width,
        box_scale=settings.box_scale or None,
        smallest_box=settings.smallest_box,
        finest_stride=settings.finest_stride,
        resize=settings.resize or None,
        **_objective(settings),
        **settings.model_options,
    )
    detector.suppression = detector.suppression.replace(**settings.suppression)
    detector.tiling = settings.tiling
    return detector


def _objective(settings: RunSettings) -> dict:
    """What is said of the objective, as options of the box network."""
    given = {"objective": settings.objective or None, "min_negatives": settings.min_negatives}
    return {name: value for name, value in given.items() if value is not None}


@contextlib.contextmanager
def _policy(name: str):
    """Builds layers in a precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
