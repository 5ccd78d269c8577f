"""An optimizer whose steps are the gradients, for tests of what is done with these."""

from ssd_keras.training import Recipe


def plain_optimizer(**given):
    """Gradient descent at rate 1 without anything else, but for what is given of a `Recipe`."""
    plain = {
        "optimizer": "sgd",
        "momentum": 0.0,
        "learning_rate": 1.0,
        "schedule": "steps",
        "weight_decay": 0.0,
        "warmup_epochs": 0,
        "clip_norm": 0.0,
        "epochs": 1,
    }
    return Recipe(**plain | given).build_optimizer(1000)
