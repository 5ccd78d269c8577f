"""Trains a detector.

python -m experiments.train --model=SSD_MobileNet_300 --train_data=voc:DIR#train
    --eval_data=voc:DIR#val --run_dir=runs/pets --backbone_weights=imagenet

Stopped at any moment, the same command goes on after the last finished epoch.
"""

from absl import flags

from experiments import _program
from ssd_keras.training import Recipe, RunSettings, train

FLAGS = flags.FLAGS
flags.DEFINE_string("model", "SSD_MobileNet_300", "Model: <BoxNetwork>_<Backbone>_<size>.")
flags.DEFINE_string("train_data", None, "Data to train on, FORMAT:PLACE#SPLIT.", required=True)
flags.DEFINE_string("eval_data", "", "Data to judge on; empty for none.")
flags.DEFINE_string("run_dir", None, "Folder of the run.", required=True)
flags.DEFINE_string(
    "backbone_weights", "none", "'imagenet' (downloaded if needed), 'none', or a weights file."
)
flags.DEFINE_float("width", RunSettings.width, "Channel multiplier, 0.25 to 1.")
flags.DEFINE_float(
    "smallest_box", RunSettings.smallest_box, "Smallest default box, as a share of the image."
)
flags.DEFINE_string("augmentation", RunSettings.augmentation, "'ssd', 'light' or 'none'.")
flags.DEFINE_integer("max_boxes", RunSettings.max_boxes, "Most objects of an image that are used.")
flags.DEFINE_integer("eval_every", RunSettings.eval_every, "Epochs between two evaluations.")
flags.DEFINE_integer("seed", RunSettings.seed, "Seed of weights, data order and augmentation.")
flags.DEFINE_integer("epochs", Recipe.epochs, "Passes over the training data.")
flags.DEFINE_integer("batch_size", Recipe.batch_size, "Images per step.")
flags.DEFINE_string("optimizer", Recipe.optimizer, "'sgd', 'adamw' or 'rmsprop'.")
flags.DEFINE_float("learning_rate", Recipe.learning_rate, "Highest learning rate.")
flags.DEFINE_float("warmup_epochs", Recipe.warmup_epochs, "Epochs until the highest rate.")
flags.DEFINE_float("momentum", Recipe.momentum, "Momentum of sgd and rmsprop.")
flags.DEFINE_float("weight_decay", Recipe.weight_decay, "Weight decay, times the learning rate.")
flags.DEFINE_float("clip_norm", Recipe.clip_norm, "Largest global gradient norm; 0 for any.")


def main(argv):
    """Trains with the flags' values and says where the results lie."""
    del argv
    recipe = Recipe(**{name: FLAGS[name].value for name in Recipe.__dataclass_fields__})
    names = set(RunSettings.__dataclass_fields__) - {"recipe"}
    settings = RunSettings(**{name: FLAGS[name].value for name in names}, recipe=recipe)
    train(settings, FLAGS.run_dir)
    print(f"\nBest detector: {FLAGS.run_dir}/best.keras; pictures: {FLAGS.run_dir}/pictures")
    data = FLAGS.eval_data or FLAGS.train_data
    print(f"Next: python -m experiments.evaluate --run_dir={FLAGS.run_dir} --data={data}")


if __name__ == "__main__":
    _program.run(main)
