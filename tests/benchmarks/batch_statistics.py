"""What a trained detector finds, and on how many images it explodes, by what batch norm divides by.

python -m tests.benchmarks.batch_statistics --run_dir=RUN [--run_dir=RUN] [--images=128]

For each run folder three rows: the statistics as they were saved, those that training measures
(over batches of the run's own size), and those of all images as one batch. The latter agree with
what each layer gets in use; the others were measured behind layers that divided by the spread of
their batch. An explosion is an image whose largest raw output is more than ten times the usual.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_multi_string("run_dir", None, "Run folder of experiments.train.", required=True)
flags.DEFINE_integer("images", 128, "Training images that statistics are measured on.")


def main(argv):
    """Prints the table."""
    del argv
    print("| run | statistics of | mAP@0.5 | explosions | worst |")
    print("|---|---|---|---|---|")
    for run_dir in FLAGS.run_dir:
        for row in rows(run_dir):
            print(f"| {' | '.join(row)} |", flush=True)


def rows(run_dir: str):
    """The three rows of a run."""
    import ssd_keras
    from ssd_keras import data
    from ssd_keras.batch_norm import BatchStatistics
    from ssd_keras.training import RunFolder

    folder = RunFolder(run_dir)
    settings = folder.settings()
    detector = ssd_keras.load(folder.last)
    train, judged_on = (
        data.load_source(settings[key], classes=detector.classes)
        for key in ("train_data", "eval_data")
    )
    yield folder.path.name, "training", *measured(detector, judged_on)
    for batch in (settings["recipe"]["batch_size"], FLAGS.images):
        batches = data.training_batches(
            train,
            image_size=detector.image_size,
            batch_size=batch,
            seed=settings["seed"],
            augmentation=settings["augmentation"],
            steps=FLAGS.images // batch,
        )
        BatchStatistics(detector).measure(batches)
        name = f"{FLAGS.images} images, batches of {batch}"
        yield folder.path.name, name, *measured(detector, judged_on)


def measured(detector, source) -> tuple[str, str, str]:
    """mAP, number of explosions and the worst of them."""
    from ssd_keras import deploy, evaluation
    from ssd_keras.deploy.calibration import Calibration
    from ssd_keras.evaluation import detect_source

    found = detect_source(detector, source, 16, progress=False)
    score = evaluation.voc_ap(source.ground_truth(), found, source.classes)["map"]
    images = Calibration(deploy.calibration_images(source, len(source)), detector.image_size)
    explosions = images.explosions(detector)
    worst = f"{max(explosions.values()):.0f} times" if explosions else "-"
    return f"{score:.3f}", f"{len(explosions)} of {len(images)}", worst


if __name__ == "__main__":
    app.run(main)
