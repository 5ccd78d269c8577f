"""Trains a detector.

ssd-keras train --model=SSD_MobileNet_300 --train_data=voc:DIR#train
    --eval_data=voc:DIR#val --run_dir=runs/pets --backbone_weights=imagenet
ssd-keras train --weights=ssd_mobilenet_v2_coco --train_data=voc:DIR#train --run_dir=runs/pets

What is not given follows the model's published recipe, scaled to the batch and to the number of
images; small data sets are fine-tuned on. A ready recipe comes with --config=NAME; flags given
beside it go before it. Every value used is in settings.json of the run folder. Stopped
at any moment, the same command goes on.
"""

import json
import os
from pathlib import Path

from absl import flags

from ssd_keras.commands import _program, _suppression
from ssd_keras.data import options
from ssd_keras.errors import UserError, unknown
from ssd_keras.training import Recipe, RunSettings
from ssd_keras.training.one_line import MODEL, SETTINGS, train

CONFIGS = Path(__file__).with_name("configs")
BY_MODEL_AND_DATA = " By default as the model and the size of the data ask for."

FLAGS = flags.FLAGS
flags.DEFINE_string("config", "", "A ready recipe: its name, or a file of flags.")
flags.DEFINE_string(
    "model",
    None,
    f"Model: <BoxNetwork>_<Backbone>_<size>; by default that of --weights, or {MODEL}.",
)
flags.DEFINE_string("train_data", None, "Data to train on, FORMAT:PLACE#SPLIT.", required=True)
flags.DEFINE_string("eval_data", "", "Data to judge on; empty for none.")
flags.DEFINE_string("run_dir", None, "Folder of the run.", required=True)

flags.DEFINE_string(
    "backbone_weights",
    "none",
    "'imagenet' (downloaded if needed), 'none', a weights file, a detector: its Core Network, or "
    "'preset' for those of KerasHub's.",
)
flags.DEFINE_string(
    "backbone",
    None,
    "Your own Core Network, FILE.py:FUNCTION, or one of KerasHub, kerashub:PRESET; the middle of "
    "--model is then free.",
)
flags.DEFINE_string(
    "weights", "", "Detector to start from: run folder, .keras file, published name."
)
flags.DEFINE_float("width", RunSettings.width, "Channel multiplier, 0.25 to 1.")
flags.DEFINE_string("box_scale", "", "Sizes of the default boxes, 'voc' or 'coco' (smaller).")
flags.DEFINE_float("smallest_box", None, "Smallest default box, as a share of the image.")
flags.DEFINE_integer("finest_stride", None, "Stride of the finest map; 8 for small objects.")
flags.DEFINE_string(
    "resize",
    "",
    "How images come to the model's size: 'stretch', or 'letterbox', which keeps their aspect "
    "ratio. By default as --weights, or 'stretch'.",
)
flags.DEFINE_string(
    "default_boxes",
    None,
    "'published', or 'auto': finest_stride and smallest_box that meet most training objects. "
    "Below 5,000 images 'auto' for SSD and DSSD on a backbone that offers several finest maps, "
    "where nothing else is said of default boxes.",
)
flags.DEFINE_string(
    "tiles",
    RunSettings.tiles,
    "Cut images into tiles of so many pixels, 512 or 384x640 (height first), in training and in "
    "all that the detector looks at later; 'auto': by the objects and the default boxes.",
)
flags.DEFINE_float("tile_overlap", RunSettings.tile_overlap, "Share that tiles overlap by.")
flags.DEFINE_bool("tile_whole", RunSettings.tile_whole, "Look at the whole images as well.")
flags.DEFINE_float(
    "min_visible",
    RunSettings.min_visible,
    "Share of an object that a tile must show to teach it; less of it is ignored there.",
)
flags.DEFINE_float(
    "empty_tiles", RunSettings.empty_tiles, "Tiles without objects, as a share of all, at most."
)
flags.DEFINE_string(
    "objective",
    RunSettings.objective,
    "What is learned: 'multibox' (published), 'multibox_giou', 'focal', 'atss' or 'task_aligned'; "
    "by default the box network's own.",
)
flags.DEFINE_integer(
    "min_negatives", None, "Hard negatives of an image at least: one without objects teaches, too."
)
flags.DEFINE_list("model_options", [], "Options of the box network, such as head_kernels=5.")
flags.DEFINE_list(
    "freeze", [], "What is not trained: 'backbone', 'batch_norm', 'backbone_batch_norm', layers."
)
flags.DEFINE_string("stage", "", "Stage of a DSSD's training: 'joint', 'stage1' or 'stage2'.")
flags.DEFINE_bool(
    "quantize_aware",
    RunSettings.quantize_aware,
    "Train as the int8 file computes: a few epochs more of a detector, with --weights, that loses "
    "too much in int8.",
)

flags.DEFINE_string("augmentation", None, "'ssd', 'light', 'mosaic' or 'none'." + BY_MODEL_AND_DATA)
flags.DEFINE_float(
    "scale_jitter", RunSettings.scale_jitter, "Images are shown up to this share larger or smaller."
)
flags.DEFINE_bool(
    "mirror",
    RunSettings.mirror,
    "Show every second image mirrored; --nomirror where left and right are classes.",
)
flags.DEFINE_float(
    "weak_end", RunSettings.weak_end, "Share of the run, at its end, with augmentation 'light'."
)
flags.DEFINE_bool(
    "balance_classes",
    RunSettings.balance_classes,
    "Show images of rare classes more often.",
)
flags.DEFINE_integer("max_boxes", RunSettings.max_boxes, "Most objects of an image that are used.")
flags.DEFINE_integer("epochs", None, "Passes over the training data." + BY_MODEL_AND_DATA)
flags.DEFINE_integer("batch_size", None, "Images per step, over all devices." + BY_MODEL_AND_DATA)
flags.DEFINE_integer("accumulation", Recipe.accumulation, "Steps per update of the weights.")
flags.DEFINE_string("optimizer", None, "'sgd', 'adamw' or 'rmsprop'." + BY_MODEL_AND_DATA)
flags.DEFINE_float("learning_rate", None, "Highest learning rate." + BY_MODEL_AND_DATA)
flags.DEFINE_string("schedule", None, "'cosine', 'flat_cosine' or 'steps'." + BY_MODEL_AND_DATA)
flags.DEFINE_list("milestones", None, "Of 'steps': shares of the run at which the rate drops.")
flags.DEFINE_float("step_factor", Recipe.step_factor, "Of 'steps': what the rate drops to.")
flags.DEFINE_float("warmup_epochs", None, "Epochs until the highest rate." + BY_MODEL_AND_DATA)
flags.DEFINE_float("momentum", Recipe.momentum, "Momentum of sgd and rmsprop.")
flags.DEFINE_float(
    "weight_decay", None, "Weight decay, times the learning rate." + BY_MODEL_AND_DATA
)
flags.DEFINE_float("clip_norm", Recipe.clip_norm, "Largest global gradient norm; 0 for any.")
flags.DEFINE_float("ema", Recipe.ema, "Decay of the weights' moving average; 0 for none.")
flags.DEFINE_integer(
    "batch_norm_batches",
    RunSettings.batch_norm_batches,
    "Batches that batch norm statistics are measured on where moving averages lag; 0 for never.",
)

flags.DEFINE_string(
    "precision", RunSettings.precision, "'float32', 'mixed_float16', 'mixed_bfloat16' or 'auto'."
)
flags.DEFINE_string("jit", RunSettings.jit, "XLA over the whole step: 'on', 'off' or 'auto'.")
flags.DEFINE_integer("devices", RunSettings.devices, "Accelerators to use; 0 for all.")
flags.DEFINE_integer("eval_every", None, "Epochs between two evaluations; by default a tenth.")
flags.DEFINE_integer(
    "patience", RunSettings.patience, "Evaluations without a better mAP that end the run; 0: none."
)
flags.DEFINE_string(
    "on_nan",
    RunSettings.on_nan,
    "A loss that is not a number: 'stop', or 'rollback' and go slower.",
)
flags.DEFINE_float(
    "checkpoint_minutes", RunSettings.checkpoint_minutes, "Minutes between two checkpoints."
)
flags.DEFINE_bool(
    "accept_losses",
    RunSettings.accept_losses,
    "Train although most objects or images of the data are lost, or have none.",
)
flags.adopt_module_key_flags(_suppression)
flags.DEFINE_integer("seed", RunSettings.seed, "Seed of weights, data order and augmentation.")


def main(_):
    """Trains with the flags' values and says where the results lie."""
    if FLAGS.backbone and not FLAGS["model"].present:
        raise UserError("--backbone needs a --model, such as SSD_Mine_300.")
    train(model=FLAGS.model, run_dir=FLAGS.run_dir, **given_values())
    print(f"\nBest detector: {FLAGS.run_dir}/best.keras; pictures: {FLAGS.run_dir}/pictures")
    judged_on = FLAGS.eval_data or options.in_any_order(FLAGS.train_data)
    words = [f"--run_dir={FLAGS.run_dir}", f"--data={judged_on}"]
    print(f"Next: {_program.command('evaluate', *words)}")


def given_values() -> dict:
    """The flags that have a value, by the names that `ssd_keras.train` has."""
    names = ("train_data", "eval_data", *SETTINGS)
    values = _program.values_given(names)
    values["freeze"] = tuple(values["freeze"])
    values["model_options"] = dict(_option(pair) for pair in values["model_options"])
    if "milestones" in values:
        try:
            values["milestones"] = tuple(float(share) for share in values["milestones"])
        except ValueError:
            raise UserError(
                f"--milestones must be numbers, got {','.join(values['milestones'])}."
            ) from None
    return values


def _option(pair: str) -> tuple[str, object]:
    name, equals, value = pair.partition("=")
    if not equals:
        raise UserError(f"--model_options must be name=value pairs, got '{pair}'.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def expand_config(argv: list[str]) -> list[str]:
    """Puts the flags of the --config file before the others, which so override them.

    Raises:
        UserError: there is no such recipe.
    """
    names = [
        (argv[i + 1 : i + 2] or [""])[0] if arg.lstrip("-") == "config" else arg.partition("=")[2]
        for i, arg in enumerate(argv)
        if arg.startswith("-") and arg.partition("=")[0].lstrip("-") == "config"
    ]
    if not names:
        return argv
    path = find_config(names[-1])
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    ready = [line for line in lines if line and not line.startswith("#")]
    for line in ready:
        if not line.startswith("--"):
            raise UserError(f"'{path}' must hold lines of --flag=value, but has '{line}'.")
    return [argv[0], *ready, *argv[1:]]


def find_config(name: str) -> Path:
    """The file of a ready recipe."""
    ready = CONFIGS / f"{name}.flags"
    if ready.is_file():
        return ready
    if os.path.isfile(name):
        return Path(name)
    known = sorted(path.stem for path in CONFIGS.glob("*.flags"))
    raise UserError(
        f"{str(unknown('recipe', name, known)).rstrip('.')}; or give a file of --flag=value lines."
    )
