"""Compares every exported form of a detector with the detector itself.

ssd-keras export-report --run_dir=runs/pets --data=voc:DIR#val --calibration_data=voc:DIR#train

ssd-keras export-report --run_dir=runs/pets --data=voc:DIR#val --calibration_data=voc:DIR#train
    --targets=all --threads=1,2

Prints a table and writes export_report.json and export_report.html to --out. Ends with exit code
1 if a form loses more AP50 than --max_drop. Data without an object that the detector knows are
refused.
"""

import json
import sys
from pathlib import Path

from absl import flags

import ssd_keras
from ssd_keras import data, deploy
from ssd_keras.commands import _suppression, _tiles
from ssd_keras.commands._calibration import calibration_flags, calibration_images
from ssd_keras.commands._left_out import say_left_out
from ssd_keras.deploy import form_comparison, form_tables
from ssd_keras.deploy.writing import USUAL_IMAGES
from ssd_keras.display import join_names
from ssd_keras.errors import UserError, unknown
from ssd_keras.files import check_writable, write_bytes
from ssd_keras.weights.published import results_folder

FLOAT_ALONE = "--forms='tflite float32'"

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "run_dir", None, "Run folder, .keras file, or name of published weights.", required=True
)
flags.DEFINE_alias("weights", "run_dir")
flags.DEFINE_string("data", None, "Data to compare on, FORMAT:PLACE#SPLIT.", required=True)
flags.DEFINE_string("calibration_data", "", "For int8: data to take value ranges from.")
flags.DEFINE_integer("calibration_images", USUAL_IMAGES, "For int8: how many images of it to use.")
flags.DEFINE_list("forms", list(form_comparison.FORMS), "Which forms to compare.")
flags.DEFINE_list(
    "targets",
    [],
    f"In the place of forms the files for these targets: all, or any of "
    f"{', '.join(deploy.TARGETS)}.",
)
flags.DEFINE_list("threads", ["1", "4"], "Threads to measure the time with.")
flags.DEFINE_integer("images", 0, "Only the first so many images; 0 for all.", lower_bound=0)
flags.DEFINE_float("max_drop", 0.02, "Largest loss of AP50 that is accepted.")
flags.DEFINE_string(
    "out",
    "",
    "Folder for the report; default: the run folder, or NAME_exports of published weights.",
)
flags.adopt_module_key_flags(_suppression)
flags.adopt_module_key_flags(_tiles)


def main(_):
    """Compares with the flags' values, prints the table and writes the files."""
    folder = out_folder()
    forms = _targets() or [form.strip() for form in FLAGS.forms]
    form_comparison.check_forms(forms)
    int8 = form_comparison.needs_calibration(forms)
    if int8 and not FLAGS.calibration_data:
        kind, instead = ("target", "--targets=gpu") if FLAGS.targets else ("form", FLOAT_ALONE)
        raise UserError(
            f"The {kind} '{int8[0]}' needs --calibration_data=FORMAT:PLACE#SPLIT; or leave it out "
            f"with {instead}."
        )
    if (useless := calibration_flags()) and not int8:
        raise UserError(
            f"{useless[0]} is for int8, but none of {join_names(forms)} is: leave it out."
        )
    threads, rule = _threads(), _suppression.suppression()
    _tiles.check_tiles()
    check_writable(folder / "export_report.json")
    detector = ssd_keras.load(FLAGS.run_dir)
    # Every form, Keras itself among them, follows the same rule.
    detector.suppression = detector.suppression.replace(**rule)
    detector.tiling = _tiles.tiling_of(detector)
    source = data.load_source(FLAGS.data, classes=detector.classes)
    say_left_out(source)
    rows = form_comparison.compare_forms(
        detector,
        source,
        forms=forms,
        calibration_images=calibration_images(
            FLAGS.calibration_data,
            FLAGS.calibration_images,
            detector.tiling,
            measured_on=source,
        )
        if int8
        else None,
        threads=threads,
        max_images=FLAGS.images or None,
        say=lambda line: print(f"  {line} ...", flush=True),
    )
    if notice := data.unread_notice(source):
        print(notice, flush=True)
    line = form_tables.data_line(rows, len(source))
    table = form_comparison.targets_as_text if FLAGS.targets else form_tables.as_text
    print(f"\n{line}\n\n{table(rows)}\n")
    about = {
        "data": FLAGS.data,
        "images": rows[0].images,
        "objects": rows[0].objects,
        # As --images; None for all.
        "first_images": FLAGS.images or None,
        "suppression": detector.suppression.as_dict(),
    }
    if int8:
        about["calibration_data"] = FLAGS.calibration_data
    if detector.tiling is not None:
        about["tiling"] = detector.tiling.as_dict()
    text = json.dumps(about | {"rows": form_tables.as_json(rows)}, indent=1)
    page = form_tables.as_page(rows, f"Exports of {FLAGS.run_dir} on {FLAGS.data}", line)
    for name, content in (("export_report.json", text), ("export_report.html", page)):
        print(write_bytes(folder / name, content.encode()))
    form, drop = form_tables.largest_drop(rows)
    if drop > FLAGS.max_drop:
        print(f"error: {form} loses {drop:.4f} AP50, more than {FLAGS.max_drop}.", file=sys.stderr)
        sys.exit(1)


def out_folder() -> Path:
    """Where the report goes."""
    return Path(FLAGS.out) if FLAGS.out else results_folder(FLAGS.run_dir, "exports")


def _targets() -> list[str]:
    """The targets that are asked for; none if it is about forms."""
    if FLAGS.targets and FLAGS["forms"].present:
        raise UserError("Give --targets or --forms, not both.")
    names = [name.strip() for name in FLAGS.targets]
    if names == ["all"]:
        return list(deploy.TARGETS)
    for name in names:
        if name not in deploy.TARGETS:
            raise unknown("target", name, ["all", *deploy.TARGETS])
    return names


def _threads() -> list[int]:
    try:
        threads = [int(count) for count in FLAGS.threads]
    except ValueError:
        threads = []
    if not threads or min(threads) < 1:
        raise UserError(
            f"--threads must be numbers from 1, such as 1,4, got {FLAGS['threads'].value}."
        )
    return threads
