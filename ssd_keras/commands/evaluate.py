"""Measures a detector, or the results of any other detector, and writes a report.

ssd-keras evaluate --run_dir=runs/pets --data=voc:DIR#val
ssd-keras evaluate --detections=results.json --data=coco:DIR

Writes report.html (one page with everything inside), metrics.json and detections.json (COCO
results, with the category_id that the data themselves give a class, else 1, 2, 3 .. in the order of
the classes) to --out. metrics.json holds voc.ap50, voc.ap50_11point, the twelve numbers of COCO
(coco.AP, coco.AP50, coco.APs ...), per_class, errors, recall_by_size and recall_by_level.
"""

from __future__ import annotations

import time
from pathlib import Path

from absl import flags

import ssd_keras
from ssd_keras import data, evaluation
from ssd_keras.commands import _suppression, _tiles
from ssd_keras.commands._left_out import say_left_out
from ssd_keras.display import counted, join_names
from ssd_keras.errors import UserError
from ssd_keras.weights.published import results_folder

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "run_dir", "", "The detector to measure: run folder, .keras file, or name of published weights."
)
flags.DEFINE_alias("weights", "run_dir")
flags.DEFINE_string("detections", "", "COCO results (JSON) of any detector, instead of --run_dir.")
flags.DEFINE_string("data", None, "Data to measure on, FORMAT:PLACE#SPLIT.", required=True)
flags.DEFINE_string(
    "out",
    "",
    "Folder for the files; default: the run folder, or NAME_evaluation of results or published "
    "weights.",
)
flags.DEFINE_integer("batch_size", 16, "Images per step.", lower_bound=1)
flags.adopt_module_key_flags(_suppression)
flags.adopt_module_key_flags(_tiles)
flags.DEFINE_integer("worst", 12, "How many of the worst images the report shows.", lower_bound=0)


def main(_):
    """Detects or reads detections, measures them, writes the files and prints the numbers."""
    if bool(FLAGS.run_dir) == bool(FLAGS.detections):
        raise UserError("Give either --run_dir (a detector) or --detections (a results file).")
    rule = _suppression.suppression()
    _tiles.check_tiles()
    # Before detecting, which takes minutes. A run folder that does not exist must not be made.
    if FLAGS.out:
        evaluation.make_folder(FLAGS.out)
    levels = {}
    if FLAGS.run_dir:
        source, found, levels, about = detect_all(rule)
        title = f"Evaluation of {FLAGS.run_dir}"
    else:
        source, found, about = read(rule)
        title = f"Evaluation of {FLAGS.detections}"
    truth, classes = source.ground_truth(), source.classes
    started = time.monotonic()
    measured = evaluation.measure(truth, found, classes, **levels, worst=FLAGS.worst)
    print(f"Measured in {time.monotonic() - started:.1f} s.\n", flush=True)
    print(measured)
    paths = evaluation.write_evaluation(
        out_folder(),
        measured,
        truth,
        found,
        classes,
        title=title,
        about=about,
        image=source.image,
        category_ids=source.category_ids,
    )
    print("\nWritten: " + ", ".join(str(path) for path in paths.values()))
    numbered = range(len(classes)) if source.category_ids is None else source.category_ids.values()
    if without := [name for label, name in enumerate(classes) if label not in set(numbered)]:
        print(
            f"Not in {paths['detections.json'].name}: {join_names(without, 20)}, "
            f"for which {FLAGS.data} has no category_id."
        )


def detect_all(rule: dict) -> tuple:
    """Runs the detector over the data: source, detections, default boxes, what they are."""
    detector = ssd_keras.load(FLAGS.run_dir)
    source = data.load_source(FLAGS.data, classes=detector.classes)
    left_out = say_left_out(source)
    count = len(source)
    followed = detector.suppression.replace(**rule)
    detector.tiling = _tiles.tiling_of(detector)
    how = f"{followed}" if detector.tiling is None else f"{followed}; {detector.tiling}"
    print(f"Detecting in {counted(count, 'image')} of {FLAGS.data}: {how}.", flush=True)
    started = time.monotonic()
    found = evaluation.detect_source(detector, source, FLAGS.batch_size, **rule)
    seconds = time.monotonic() - started
    each = 1e3 * seconds / max(count, 1)
    print(f"Detected in {seconds:.1f} s ({each:.1f} ms an image, reading and start included).")
    if notice := data.unread_notice(source):
        print(f"{notice}. Their objects do not count as missed.", flush=True)
    about = evaluation.describe(source, detector, rule, left_out)
    return source, found, evaluation.levels_of(detector), about


def read(rule: dict) -> tuple:
    """Reads detections from a results file: source, detections, what they are."""
    threshold = rule.pop("score_threshold")
    given = rule | _tiles.flag_values()
    if useless := [name for name, value in given.items() if value is not None]:
        raise UserError(
            f"--{useless[0]} needs a detector (--run_dir): results are measured as they are."
        )
    source = data.load_source(FLAGS.data)
    # What is found of a class that the data do not have has a name, too.
    others = set(evaluation.results_classes(FLAGS.detections)) - set(source.classes)
    if others and source.category_ids is None:
        source = data.load_source(FLAGS.data, classes=[*source.classes, *sorted(others)])
    left_out = say_left_out(source)
    found = evaluation.read_results(
        FLAGS.detections,
        source.ground_truth(),
        source.classes,
        source.category_ids,
    )
    print(f"Read {sum(map(len, found))} detections for {len(found)} images.", flush=True)
    if threshold is not None:
        found = [detections.above(threshold) for detections in found]
    about = evaluation.describe(source, None, {"score_threshold": threshold}, left_out)
    return source, found, about


def out_folder() -> Path:
    """Where the files go."""
    if FLAGS.out:
        return Path(FLAGS.out)
    if FLAGS.run_dir:
        return results_folder(FLAGS.run_dir, "evaluation")
    results = Path(FLAGS.detections)
    return results.with_name(f"{results.stem}_evaluation")
