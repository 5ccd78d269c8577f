"""Trains and measures several models under one budget and writes one table.

ssd-keras compare --model=SSD_MobileNet_300 --model='DSSD_MobileNet_300 fusion=sum'
    --train_data=voc:DIR#train --eval_data=voc:DIR#val --steps=2000 --seeds=0,1
ssd-keras compare --small

All models get the same number of steps on the same batches. A model is a name and its options:
those of ssd-keras train without the dashes, or of the box network. Each run is a folder in
--runs_dir; stopped at any moment, the same command goes on, and finished runs are not repeated.
--out gets table.md, runs.csv, runs.json, curves.png and costs.png. --small shows the way in about a
minute: tiny models on drawn shapes, that learn nothing in so few steps.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import defaultdict
from pathlib import Path

from absl import flags

from ssd_keras import comparison, data, figures, locks
from ssd_keras.commands import _program
from ssd_keras.errors import UserError
from ssd_keras.files import refuse_remote, replace, write_text

SMALL = {
    "model": ["SSD_MobileNet_96", "DSSD_MobileNet_96 fusion=product"],
    "train_data": "shapes#train,count=32,size=96",
    "eval_data": "shapes#val,count=16,size=96",
    "steps": 8,
    "batch_size": 4,
    "options": "default_boxes=published",
    "seeds": ["0"],
    "width": 0.25,
    "runs_dir": "runs/compare_small",
    "jobs": 2,
}
AS_EACH_MODEL_ASKS = " By default as each model and the size of the data ask for."

FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
    "model", [], "A model with options, such as 'DSSD_MobileNet_300 fusion=sum'; once for each."
)
flags.DEFINE_string("options", "", "Options of all models, such as 'freeze=batch_norm ema=0.99'.")
flags.DEFINE_string("train_data", "", "Data to train on, FORMAT:PLACE#SPLIT.")
flags.DEFINE_string("eval_data", "", "Data to measure on, FORMAT:PLACE#SPLIT.")
flags.DEFINE_string("held_out", "", "More data to measure on, told apart: choose nothing by them.")
flags.DEFINE_integer("steps", 1000, "Training steps of each run, rounded to whole epochs.")
flags.DEFINE_list("seeds", ["0", "1", "2"], "Every model is trained once with each of these.")
flags.DEFINE_bool("small", False, "A miniature on drawn shapes; other flags go before it.")

flags.DEFINE_string("backbone_weights", "none", "'imagenet', 'none', a file, or a detector.")
flags.DEFINE_integer("batch_size", 8, "Images per step.")
flags.DEFINE_float("learning_rate", None, "Highest learning rate." + AS_EACH_MODEL_ASKS)
flags.DEFINE_string("optimizer", None, "'sgd', 'adamw' or 'rmsprop'." + AS_EACH_MODEL_ASKS)
flags.DEFINE_string("augmentation", None, "'ssd', 'light', 'mosaic' or 'none'.")
flags.DEFINE_float("width", 1.0, "Channel multiplier, 0.25 to 1.")
flags.DEFINE_float("smallest_box", None, "Smallest default box, as a share of the image.")
flags.DEFINE_integer("finest_stride", None, "Stride of the finest map; 8 for small objects.")

flags.DEFINE_string("runs_dir", "runs/compare", "Folder of the run folders.")
flags.DEFINE_string("out", "", "Folder of the results; the folder of the runs if empty.")
flags.DEFINE_string("title", "Models under one budget", "Title of the table.")
flags.DEFINE_integer("jobs", 1, "Runs that train at a time.", lower_bound=1)

BUDGET = (
    "train_data", "eval_data", "backbone_weights", "batch_size", "learning_rate", "optimizer",
    "augmentation", "width", "smallest_box", "finest_stride",
)  # fmt: skip


def main(_):
    """Completes the runs, then writes and prints the table."""
    if FLAGS.small:
        for name, value in SMALL.items():
            if not FLAGS[name].present:
                FLAGS[name].value = value
    for name in ("model", "train_data", "eval_data"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing (or try --small).")
    # Without it the process would end at once and leave its run without a checkpoint.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    refuse_remote(FLAGS.runs_dir, "a comparison")
    out = Path(FLAGS.out or FLAGS.runs_dir)
    train_source = data.load_source(FLAGS.train_data)
    eval_source = data.load_source(FLAGS.eval_data, classes=train_source.classes)
    given = _program.values_given(BUDGET)
    given |= comparison.parse_options(FLAGS.options.split())
    if FLAGS.held_out:
        data.load_source(FLAGS.held_out, classes=train_source.classes)
    variants = [
        comparison.parse_variant(text, given, train_source, FLAGS.steps) for text in FLAGS.model
    ]
    comparison.check_variants(variants, train_source.classes)
    runs = comparison.runs_of(variants, seeds(), FLAGS.runs_dir, FLAGS.held_out)
    with locks.lock(Path(FLAGS.runs_dir), "wait until it ends, or give another --runs_dir."):
        complete(runs, out, about(variants, train_source, eval_source))
    print(f"\n{(out / 'table.md').read_text(encoding='utf-8').partition('## What')[0]}")
    print(f"Written: {out}/table.md, runs.csv, runs.json, curves.png, costs.png")


def complete(runs, out: Path, notes: dict[str, str]):
    """Trains and measures what is not finished, and writes the results."""
    try:
        comparison.complete(runs, jobs=FLAGS.jobs, say=lambda line: print(line, flush=True))
    finally:
        # What is finished shows even if the rest is not.
        rows = comparison.results(runs)
        if rows:
            write(out, rows, runs, notes)


def seeds() -> list[int]:
    """The seeds as numbers."""
    given = ",".join(FLAGS.seeds)
    try:
        found = [int(seed) for seed in FLAGS.seeds]
    except ValueError:
        raise UserError(f"--seeds must be whole numbers, got {given}.") from None
    if len(set(found)) < len(found):
        raise UserError(f"--seeds={given} has one twice: it would be trained once and count twice.")
    return found


def about(variants, train_source, eval_source) -> dict[str, str]:
    """What was compared on what."""
    recipe = {name: values_of(variants, name) for name in ("epochs", "batch_size", "optimizer")}
    return {
        "Command": f"`{_program.command('compare', *sys.argv[1:])}`",
        "Training": f"{len(train_source)} images of `{FLAGS.train_data}`, {recipe['epochs']} "
        f"epochs, batch {recipe['batch_size']}, {recipe['optimizer']}, learning rate "
        f"{values_of(variants, 'learning_rate', '{:g}')}, augmentation "
        f"{values_of(variants, 'augmentation', repr('{}'))}, start from "
        f"{comparison.starts(variants)}",
        "Evaluation": f"{len(eval_source)} images of `{FLAGS.eval_data}` with "
        f"{sum(int(one.is_object.sum()) for one in eval_source.ground_truth())} objects",
        **({"Held out": f"`{FLAGS.held_out}`"} if FLAGS.held_out else {}),
        "Machine": comparison.machine(),
    }


def values_of(variants, name: str, form: str = "{}") -> str:
    """The value of a setting that all variants share, or the values and which have them."""
    having = defaultdict(list)
    for variant in variants:
        own = variant.settings
        value = getattr(own.recipe if hasattr(own.recipe, name) else own, name)
        having[form.format(value)].append(variant.name)
    if len(having) == 1:
        return next(iter(having))
    return ", ".join(f"{value} ({', '.join(names)})" for value, names in having.items())


def write(out: Path, rows: list[dict], runs, notes: dict[str, str]):
    """Writes the table, the numbers of every run, the curves, and accuracy against cost."""
    write_text(out / "table.md", comparison.markdown(rows, FLAGS.title, notes))
    write_text(out / "runs.csv", comparison.as_csv(rows))
    write_text(out / "runs.json", json.dumps({"about": notes, "runs": rows}, indent=1) + "\n")
    pictures = {
        "curves.png": figures.compared_curves(comparison.histories(runs)),
        "costs.png": figures.accuracy_and_cost(comparison.summarize(rows)),
    }
    for name, figure in pictures.items():
        replace(out / name, lambda path, figure=figure: figures.save(figure, path))
