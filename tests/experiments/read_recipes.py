"""Prints, as JSON, the settings that each file of ssd_keras/commands/configs comes to.

python -m tests.experiments.read_recipes
"""

import dataclasses
import json

from absl import flags

from ssd_keras.commands import train
from ssd_keras.training import suggest


def settings(*given) -> dict:
    """What the program would train with."""
    argv = train.expand_config(["train", *given, "--run_dir=run"])
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    flags.FLAGS(argv)
    return dataclasses.asdict(suggest(flags.FLAGS.model, 16551, train.given_values()))


if __name__ == "__main__":
    found = {
        path.stem: settings("--train_data=mine", f"--config={path.stem}")
        for path in sorted(train.CONFIGS.glob("*.flags"))
    }
    found["overridden"] = settings(
        *("--config", "ssd300-coco", "--train_data=mine", "--epochs=7"),
        *("--freeze=backbone,conv1", "--milestones=0.5"),
        "--model_options=head_kernels=5,prediction_module=c",
    )
    print(json.dumps(found))
