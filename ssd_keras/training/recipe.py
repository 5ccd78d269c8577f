"""What a training run does with its gradients: optimizer and learning-rate schedule."""

from __future__ import annotations

import dataclasses
import itertools
import math

import keras
from keras import ops

from ssd_keras.errors import UserError, unknown

OPTIMIZERS = ("sgd", "adamw", "rmsprop")
SCHEDULES = ("cosine", "flat_cosine", "steps")


def check_positive(settings, *names: str) -> None:
    """Refuses settings of these names that are not more than 0."""
    for name in names:
        if not getattr(settings, name) > 0:
            raise UserError(f"{name} must be more than 0, got {getattr(settings, name)}.")


def check_not_negative(settings, *names: str) -> None:
    """Refuses settings of these names that are less than 0."""
    for name in names:
        if not getattr(settings, name) >= 0:
            raise UserError(f"{name} must not be negative, got {getattr(settings, name)}.")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How weights are updated.

    Attributes:
        epochs: passes over the training data.
        batch_size: images per step, over all devices and machines.
        optimizer: "sgd" (with momentum and Nesterov), "adamw" or "rmsprop".
        learning_rate: the highest rate, which the warm-up leads to linearly.
        schedule: "cosine" goes along a half cosine to 0; "flat_cosine" stays at the highest rate
            for the first half of the run and then does so (RTMDet, arXiv 2212.07784); "steps"
            multiplies by `step_factor` at each of `milestones`.
        milestones: of "steps", as shares of the whole run, rising.
        step_factor: of "steps".
        warmup_epochs: epochs until the highest rate, fractions allowed.
        momentum: of "sgd" and "rmsprop".
        weight_decay: per step, times the learning rate; not on biases and batch norms. It is not
            part of the gradient, so it does not pass through the momentum: Caffe's 5e-4 with
            momentum 0.9 is 5e-3 here.
        clip_norm: gradients are scaled down to this global norm; 0 for never.
        accumulation: steps whose gradients are averaged for one update.
        ema: share that the moving average of the weights keeps at each step, 0 for no average. The
            average is what is evaluated and saved. In a short run it is lowered so that it
            reaches back over a tenth of the run at most.
    """

    epochs: int = 30
    batch_size: int = 8
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    milestones: tuple[float, ...] = (2 / 3, 5 / 6)
    step_factor: float = 0.1
    warmup_epochs: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip_norm: float = 10.0
    accumulation: int = 1
    ema: float = 0.0

    def __post_init__(self):
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            value = getattr(self, name)
            if value not in known:
                raise unknown(name, value, known)
        check_positive(self, "epochs", "batch_size", "learning_rate", "accumulation", "step_factor")
        check_not_negative(self, "warmup_epochs", "momentum", "weight_decay", "clip_norm", "ema")
        for name in ("learning_rate", "warmup_epochs", "weight_decay", "clip_norm", "step_factor"):
            if not math.isfinite(getattr(self, name)):
                raise UserError(f"{name} must be a finite number, got {getattr(self, name)}.")
        for name in ("ema", "momentum"):
            if not getattr(self, name) < 1:
                raise UserError(f"{name} must be less than 1, got {getattr(self, name)}.")
        marks = (0.0, *self.milestones, 1.0)
        if any(not a < b for a, b in itertools.pairwise(marks)):
            raise UserError(
                f"milestones must rise between 0 and 1, got {', '.join(map(str, self.milestones))}."
            )

    def build_schedule(self, steps_per_epoch: int, rate_factor: float = 1.0):
        """The learning rate as a function of the step."""
        total = self.epochs * steps_per_epoch
        warmup = min(round(self.warmup_epochs * steps_per_epoch), total - 1)
        rate = self.learning_rate * rate_factor
        if self.schedule == "steps":
            boundaries = tuple(round(share * total) for share in self.milestones)
            return Steps(rate, warmup, boundaries, self.step_factor)
        if self.schedule == "flat_cosine":
            return FlatCosine(rate, warmup, total)
        if warmup == 0:
            return keras.optimizers.schedules.CosineDecay(rate, total)
        return keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0,
            decay_steps=total - warmup,
            warmup_target=rate,
            warmup_steps=warmup,
        )

    def ema_momentum(self, steps: int) -> float:
        """What the moving average keeps at each step of a run of so many, 0 in one of ten."""
        return min(self.ema, 1 - 1 / max(1.0, steps / 10))

    def build_optimizer(self, steps_per_epoch: int, rate_factor: float = 1.0) -> keras.Optimizer:
        """The optimizer with its schedule for a run of `epochs` of this many steps.

        `rate_factor` multiplies the learning rate of the whole run.
        """
        common = {
            "learning_rate": self.build_schedule(steps_per_epoch, rate_factor),
            "weight_decay": self.weight_decay or None,
            "global_clipnorm": self.clip_norm or None,
            "gradient_accumulation_steps": self.accumulation if self.accumulation > 1 else None,
        }
        if self.ema:
            momentum = self.ema_momentum(self.epochs * steps_per_epoch)
            common |= {"use_ema": True, "ema_momentum": momentum}
        if self.optimizer == "sgd":
            optimizer = keras.optimizers.SGD(momentum=self.momentum, nesterov=True, **common)
        elif self.optimizer == "rmsprop":
            optimizer = keras.optimizers.RMSprop(momentum=self.momentum, **common)
        else:
            common["weight_decay"] = self.weight_decay
            optimizer = keras.optimizers.AdamW(**common)
        if self.weight_decay:
            optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "scale"])
        return optimizer


@keras.saving.register_keras_serializable("ssd_keras")
class Steps(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up to `rate`, which `factor` multiplies at each of the boundaries (steps)."""

    def __init__(self, rate: float, warmup: int, boundaries: tuple[int, ...], factor: float):
        super().__init__()
        self.rate, self.warmup = rate, warmup
        self.boundaries, self.factor = boundaries, factor

    def __call__(self, step):
        """The learning rate at `step`, a float32 scalar."""
        step = ops.cast(step, "float32")
        warm = ops.minimum(step / self.warmup, 1.0) if self.warmup else 1.0
        passed = sum(ops.cast(step >= boundary, "float32") for boundary in self.boundaries)
        return self.rate * warm * self.factor**passed

    def get_config(self) -> dict:
        """The arguments it was built with."""
        return {
            "rate": self.rate,
            "warmup": self.warmup,
            "boundaries": self.boundaries,
            "factor": self.factor,
        }


@keras.saving.register_keras_serializable("ssd_keras")
class FlatCosine(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up to `rate`, which stays for half of `total` steps and then goes to 0."""

    def __init__(self, rate: float, warmup: int, total: int):
        super().__init__()
        self.rate, self.warmup, self.total = rate, warmup, total

    def __call__(self, step):
        """The learning rate at `step`, a float32 scalar."""
        step = ops.cast(step, "float32")
        flat = max(self.total / 2, self.warmup)
        warm = ops.minimum(step / self.warmup, 1.0) if self.warmup else 1.0
        share = ops.clip((step - flat) / max(self.total - flat, 1.0), 0.0, 1.0)
        return self.rate * warm * 0.5 * (1.0 + ops.cos(math.pi * share))

    def get_config(self) -> dict:
        """The arguments it was built with."""
        return {"rate": self.rate, "warmup": self.warmup, "total": self.total}
