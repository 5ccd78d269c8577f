"""What a training run does with its gradients: optimizer and learning-rate schedule."""

from __future__ import annotations

import dataclasses

import keras

from ssd_keras.errors import UserError, did_you_mean

OPTIMIZERS = ("sgd", "adamw", "rmsprop")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How weights are updated.

    Attributes:
        epochs: passes over the training data.
        batch_size: images per step.
        optimizer: "sgd" (with momentum and Nesterov), "adamw" or "rmsprop".
        learning_rate: the highest rate; warmed up to linearly, then left along a half cosine to 0.
        warmup_epochs: epochs until the highest rate, fractions allowed.
        momentum: of "sgd" and "rmsprop".
        weight_decay: per step, times the learning rate; not on biases and batch norms.
        clip_norm: gradients are scaled down to this global norm; 0 for never.
    """

    epochs: int = 30
    batch_size: int = 8
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    warmup_epochs: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip_norm: float = 10.0

    def __post_init__(self):
        if self.optimizer not in OPTIMIZERS:
            raise UserError(
                f"There is no optimizer '{self.optimizer}'."
                f"{did_you_mean(self.optimizer, OPTIMIZERS)} Known: {', '.join(OPTIMIZERS)}."
            )
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} must be more than 0, got {getattr(self, name)}.")
        for name in ("warmup_epochs", "momentum", "weight_decay", "clip_norm"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name} must not be negative, got {getattr(self, name)}.")

    def build_schedule(self, steps_per_epoch: int):
        """The learning rate as a function of the step."""
        total = self.epochs * steps_per_epoch
        warmup = min(round(self.warmup_epochs * steps_per_epoch), total - 1)
        if warmup == 0:
            return keras.optimizers.schedules.CosineDecay(self.learning_rate, total)
        return keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0,
            decay_steps=total - warmup,
            warmup_target=self.learning_rate,
            warmup_steps=warmup,
        )

    def build_optimizer(self, steps_per_epoch: int) -> keras.Optimizer:
        """The optimizer with its schedule for a run of `epochs` of this many steps."""
        common = {
            "learning_rate": self.build_schedule(steps_per_epoch),
            "weight_decay": self.weight_decay or None,
            "global_clipnorm": self.clip_norm or None,
        }
        if self.optimizer == "sgd":
            optimizer = keras.optimizers.SGD(momentum=self.momentum, nesterov=True, **common)
        elif self.optimizer == "rmsprop":
            optimizer = keras.optimizers.RMSprop(momentum=self.momentum, **common)
        else:
            common["weight_decay"] = self.weight_decay
            optimizer = keras.optimizers.AdamW(**common)
        if self.weight_decay:
            optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return optimizer
