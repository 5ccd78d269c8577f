"""One training run, from settings to a run folder with a trained detector."""

from __future__ import annotations

import dataclasses

import keras

from ssd_keras import data, plots, zoo
from ssd_keras.detector import Detector
from ssd_keras.errors import UserError
from ssd_keras.training.callbacks import Evaluation, Progress, Recorder
from ssd_keras.training.recipe import Recipe
from ssd_keras.training.run_folder import RunFolder, replace

PICTURED_IMAGES = 8
PICTURED_SCORE = 0.4


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """Every value of a run; what a run folder's settings.json holds.

    Attributes:
        model: a model's name.
        train_data: data SPEC to train on.
        eval_data: data SPEC to judge on, or "" for none.
        backbone_weights: "imagenet", "none" or a file.
        width: channel multiplier.
        smallest_box: side of the smallest default box, as a share of the image.
        augmentation: "ssd", "light" or "none".
        max_boxes: most objects of an image that are used.
        eval_every: epochs between two evaluations.
        seed: of weights, data order and augmentation.
        recipe: how weights are updated.
    """

    model: str
    train_data: str
    eval_data: str = ""
    backbone_weights: str = "none"
    width: float = 1.0
    smallest_box: float = 0.1
    augmentation: str = "light"
    max_boxes: int = 100
    eval_every: int = 5
    seed: int = 0
    recipe: Recipe = dataclasses.field(default_factory=Recipe)


def train(settings: RunSettings, run_dir: str) -> Detector:
    """Trains, or goes on with a run that was stopped, and returns the best detector.

    Raises:
        UserError: a name, a data set, a weights file or a run folder that cannot be used.
    """
    zoo.parse(settings.model)
    train_source = data.load_source(settings.train_data)
    eval_source = None
    if settings.eval_data:
        eval_source = data.load_source(settings.eval_data, classes=train_source.classes)
    recipe = settings.recipe
    steps_per_epoch = data.steps_per_epoch(train_source, recipe.batch_size)
    if len(train_source) < recipe.batch_size:
        raise UserError(
            f"'{settings.train_data}' has {len(train_source)} images, fewer than one batch of "
            f"{recipe.batch_size}: give a smaller --batch_size or more images."
        )
    keras.utils.set_random_seed(settings.seed)
    detector = build(settings, train_source.classes)
    folder = RunFolder(run_dir)
    resumed = folder.open(dataclasses.asdict(settings), train_source.classes)

    detector.compile(recipe.build_optimizer(steps_per_epoch), jit_compile=detector.jit_compile)
    # Variables made while TensorFlow traces the step would make it trace the step twice.
    detector.optimizer.build(detector.trainable_variables)
    finished = _restore(detector, folder, steps_per_epoch) if resumed else 0
    if finished >= recipe.epochs:
        print(f"The run in '{folder.path}' is finished: all {recipe.epochs} epochs are done.")
        return zoo.load(folder.path)
    _announce(settings, folder, detector, train_source, eval_source, finished, steps_per_epoch)
    judged = Detector.from_config(detector.get_config())
    callbacks = [Progress(recipe.epochs, steps_per_epoch, recipe.batch_size)]
    if eval_source is not None:
        callbacks.append(
            Evaluation(judged, eval_source, recipe.epochs, settings.eval_every, recipe.batch_size)
        )
    rows = folder.history()[:finished]
    callbacks.append(Recorder(folder, judged, rows, recipe.epochs, steps_per_epoch))
    detector.fit(
        data.training_batches(
            train_source,
            image_size=detector.image_size,
            batch_size=recipe.batch_size,
            seed=settings.seed,
            augmentation=settings.augmentation,
            max_boxes=settings.max_boxes,
            first_step=finished * steps_per_epoch,
            steps=(recipe.epochs - finished) * steps_per_epoch,
        ),
        initial_epoch=finished,
        epochs=recipe.epochs,
        steps_per_epoch=steps_per_epoch,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )
    best = zoo.load(folder.path)
    if eval_source is not None:
        picture_predictions(best, eval_source, folder)
    return best


def build(settings: RunSettings, classes: tuple[str, ...]) -> Detector:
    """The detector of a run, before training."""
    weights = settings.backbone_weights
    return zoo.create(
        settings.model,
        classes,
        backbone_weights=None if weights in ("none", "") else weights,
        width=settings.width,
        smallest_box=settings.smallest_box,
    )


def picture_predictions(detector: Detector, source, folder: RunFolder):
    """Saves the first images of a source, ground truth beside prediction."""
    count = min(PICTURED_IMAGES, len(source))
    images = [source.image(i) for i in range(count)]
    picture = plots.side_by_side(
        images,
        source.ground_truth()[:count],
        detector.detect(images),
        source.classes,
        score_threshold=PICTURED_SCORE,
    )
    replace(folder.pictures / "predictions.png", lambda path: plots.save(picture, path))


def _restore(detector: Detector, folder: RunFolder, steps_per_epoch: int) -> int:
    """Loads the state after the last finished epoch and returns how many are finished."""
    if not folder.state.is_file():
        return 0
    try:
        detector.load_weights(folder.state)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"'{folder.state}' is damaged ({' '.join(str(error).split())[:150]}): remove it to "
            "start the run anew."
        ) from error
    return int(detector.optimizer.iterations) // steps_per_epoch


def _announce(settings, folder, detector, train_source, eval_source, finished, steps_per_epoch):
    recipe = settings.recipe
    judged_on = f", judged on {len(eval_source)} of {settings.eval_data}" if eval_source else ""
    print(
        f"{settings.model}: {detector.count_params():,} parameters, "
        f"{len(detector.box_network.anchors):,} default boxes, "
        f"{len(train_source.classes)} classes ({', '.join(train_source.classes[:8])}"
        f"{', ...' if len(train_source.classes) > 8 else ''})\n"
        f"{len(train_source)} images of {settings.train_data}{judged_on}\n"
        f"{recipe.epochs} epochs of {steps_per_epoch} steps, batch {recipe.batch_size}, "
        f"{recipe.optimizer}, learning rate {recipe.learning_rate:g}; run folder '{folder.path}'"
    )
    if finished:
        print(f"going on after epoch {finished}")
    print(flush=True)
