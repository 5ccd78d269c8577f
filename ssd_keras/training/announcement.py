"""What a run says of itself before it begins, and when there is nothing left to do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ssd_keras import data
from ssd_keras.data import verdict
from ssd_keras.data.balance import repeats
from ssd_keras.data.ground_truth import table_of
from ssd_keras.data.tiled import TiledSource, whole_images
from ssd_keras.detector import Detector
from ssd_keras.display import counted, first_names, join_names
from ssd_keras.training.defaults import SMALL_SET
from ssd_keras.training.precision import find_accelerator, precision_notice

if TYPE_CHECKING:
    from ssd_keras.training.run import Run
    from ssd_keras.training.settings import RunSettings

# Parts of an objective that mean something only with some values of another one.
_PARTS_OF = {
    "negative_ratio": ("class_loss", ("mined",)),
    "min_negatives": ("class_loss", ("mined",)),
    "match_threshold": ("matching", ("bipartite", "argmax")),
    "candidates": ("matching", ("atss", "task_aligned")),
    "whole_cells": ("matching", ("atss",)),
    "alignment": ("matching", ("task_aligned",)),
    "forced": ("matching", ("atss", "task_aligned")),
}


def announcement(run: Run, detector: Detector, step: int) -> str:
    """What is going to be trained, on what and how, from a step on; ends with an empty line."""
    lines = [_model(run, detector), _data(run), _training(run)]
    lines += [precision_notice(run.precision, run.name.backbone), _average(run), _judgement(run)]
    objective = getattr(detector.box_network, "objective", None)
    lines += [_without_effect(run.settings, objective), _width(run.settings)]
    lines += [_start(run), _balance(run), _sides(run), _overlap(run)]
    for source in filter(None, (run.train_source, run.eval_source)):
        whole = whole_images(source)
        lines += [f"{whole.spec}: {note}" for note in data.notes(whole)]
        lines.append(verdict.line(verdict.judge(whole)))
    if detector.started_from is not None:
        lines.append(str(detector.started_from))
    if step:
        epoch, within = divmod(step, run.steps_per_epoch)
        lines.append(
            f"going on after epoch {epoch}" + (f" and {counted(within, 'step')}" if within else "")
        )
    return "\n".join([*filter(None, lines), ""])


def _model(run: Run, detector: Detector) -> str:
    parameters = f"{detector.count_params():,} parameters"
    if run.settings.freeze or run.settings.stage:
        trained = sum(math.prod(v.shape) for v in detector.trainable_variables)
        parameters += f", {detector.count_params() - trained:,} of them not trained"
    classes = run.train_source.classes
    return (
        f"{run.settings.model}: {parameters}, {len(detector.box_network.anchors):,} default boxes, "
        f"{counted(len(classes), 'class', 'classes')} ({join_names(classes)})"
    )


def _data(run: Run) -> str:
    learned = _describe_images(run.train_source, run.settings.train_data)
    if run.eval_source is None:
        return learned
    return f"{learned}, judged on {len(run.eval_source)} of {run.settings.eval_data}"


def _describe_images(source: data.Source, spec: str) -> str:
    if not isinstance(source, TiledSource):
        return f"{counted(len(source), 'image')} of {spec}"
    left = f" ({source.dropped:,} without objects are left out)" if source.dropped else ""
    return (
        f"{counted(len(source.source), 'image')} of {spec} as {len(source):,} {source.tiling}{left}"
    )


def _training(run: Run) -> str:
    recipe = run.recipe
    return (
        f"{counted(recipe.epochs, 'epoch')} of {counted(run.steps_per_epoch, 'step')}, "
        f"batch {recipe.batch_size}, "
        f"{recipe.optimizer}, learning rate {recipe.learning_rate:g}; "
        f"{run.devices.describe()} ({find_accelerator()}), {run.precision}; "
        f"run folder '{run.folder.place}'"
    )


def _average(run: Run) -> str:
    """What became of the moving average in a run too short for it; "" where nothing did."""
    if not run.recipe.ema or run.ema_momentum == run.recipe.ema:
        return ""
    return (
        f"ema={run.ema_momentum:g} in the place of {run.recipe.ema:g}: of "
        f"{counted(run.steps, 'step')} the average of the weights reaches back over a tenth at most"
    )


def _start(run: Run) -> str:
    """That few photographs are learned from with random weights; "" where that is not so."""
    settings, source = run.settings, run.train_source
    begun = settings.weights or settings.backbone_weights not in ("", "none")
    if begun or len(source) >= SMALL_SET or source.spec.startswith("shapes"):
        return ""
    return (
        f"all weights begin at random, for which {counted(len(source), 'image')} is little: "
        "with backbone_weights=imagenet, or weights of a trained detector, far more is learned"
    )


def _balance(run: Run) -> str:
    """What balance_classes does to these data; "" where it was not asked for."""
    if not run.settings.balance_classes:
        return ""
    often = repeats(run.train_source)
    rare = int((often > 1.0).sum())
    if not rare:
        return "balance_classes changes nothing here: no class is in fewer images than the others"
    return (
        f"balance_classes shows {rare:,} of {counted(len(often), 'image')} more often, "
        f"up to {often.max():.2g} times"
    )


def _sides(run: Run) -> str:
    """That mirrored images show a class as the other one; "" where no two are called so."""
    if not run.settings.mirror or run.settings.augmentation == "none":
        return ""
    names = {name.casefold(): name for name in run.train_source.classes}
    pairs = [
        f"'{name}' and '{names[other]}'"
        for folded, name in names.items()
        if (other := folded.replace("left", "right")) != folded and other in names
    ]
    if not pairs:
        return ""
    return (
        f"images are mirrored at random, which may make {', '.join(pairs)} alike: --nomirror "
        "(mirror=False) leaves them as they are"
    )


def _overlap(run: Run) -> str:
    """Which images are judged by that are trained on, too; "" if none."""
    if run.eval_source is None:
        return ""
    judged, trained = whole_images(run.eval_source), whole_images(run.train_source)
    both = data.shared_images(judged, trained)
    if not both:
        return ""
    return (
        f"{len(both):,} of {counted(len(judged), 'image')} of {judged.spec} are trained on, too "
        f"({first_names(both, 3)}): what is measured on them flatters, and the best epoch is "
        "chosen by it"
    )


def _judgement(run: Run) -> str:
    """Why mAP cannot tell the best epoch; "" where it can."""
    if run.eval_source is None:
        return ""
    table = table_of(run.eval_source.ground_truth())
    if (table.is_object & ~table.difficult).any():
        return ""
    return (
        f"{run.settings.eval_data} holds no object that the mAP of VOC counts (it leaves difficult "
        "ones out): the best epoch is the one of the least loss"
    )


def _width(settings: RunSettings) -> str:
    """What the width leaves as it is; "" where it is the width of all."""
    if settings.width == 1.0 or settings.backbone is None:
        return ""
    return (
        f"width={settings.width:g} is that of the box network alone: the backbone "
        f"{settings.backbone} stays as it is"
    )


def _idle_parts(settings: RunSettings, objective) -> list[str]:
    """The parts of the objective that are given and that it does not use."""
    given = {**settings.model_options, "min_negatives": settings.min_negatives}
    return [
        f"{part} (of {other}={' or '.join(values)}; here it is {getattr(objective, other)})"
        for part, (other, values) in _PARTS_OF.items()
        if given.get(part) is not None and getattr(objective, other, values[0]) not in values
    ]


def _without_effect(settings: RunSettings, objective) -> str:
    """The settings that are not the usual ones and change nothing beside the others; "" if none."""
    recipe = settings.recipe
    plain = settings.augmentation in ("light", "none") and not settings.scale_jitter
    idle = {
        "milestones": (recipe.schedule != "steps", "of schedule=steps"),
        "step_factor": (recipe.schedule != "steps", "of schedule=steps"),
        "momentum": (recipe.optimizer == "adamw", "of sgd and rmsprop"),
        "weak_end": (plain, "of stronger augmentation or scale_jitter"),
        **dict.fromkeys(
            ("tile_overlap", "tile_whole", "min_visible", "empty_tiles"),
            (not settings.tiles, "of tiles"),
        ),
    }
    told = _idle_parts(settings, objective)
    for name, (is_idle, belongs) in idle.items():
        owner = recipe if hasattr(recipe, name) else settings
        usual = type(owner).__dataclass_fields__[name].default
        if is_idle and getattr(owner, name) != usual:
            told.append(f"{name} ({belongs})")
    return f"without effect here: {', '.join(told)}" if told else ""


def finished_message(run: Run, step: int) -> str:
    """What is said of a finished run."""
    if step >= run.steps:
        epochs = run.recipe.epochs
        how = "its one epoch is done" if epochs == 1 else f"all {epochs} epochs are done"
    else:
        unit = "epoch" if run.eval_source is None else "evaluation"
        how = (
            f"it ended early after {step // run.steps_per_epoch} of {run.recipe.epochs} "
            f"epochs, {counted(run.settings.patience, unit)} without a better result"
        )
    return f"The run in '{run.folder.place}' is finished: {how}."
