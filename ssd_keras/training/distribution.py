"""Training on several devices and machines, by tf.distribute or keras.distribution.

Every device gets its share of each batch, and a step does what one device would do with the whole
batch: the loss is divided by the positives of the whole batch, batch normalisation sees the whole
batch, and gradients are summed before they are clipped.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable

import keras

from ssd_keras.errors import UserError


class Devices:
    """One device, or under JAX several: what needs no strategy.

    Attributes:
        replicas: devices that share a batch, over all machines.
        workers: machines; each runs the same command.
        worker: which of them this is; the first writes the run folder.
    """

    replicas = 1
    workers = 1
    worker = 0

    def __init__(self, replicas: int = 1):
        self.replicas = replicas

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run folder."""
        return self.worker == 0

    def scope(self):
        """The context in which the model to train and its optimizer are made."""
        return contextlib.nullcontext()

    def prepare(self, detector):
        """Makes a compiled detector train as one device would."""

    def batches(self, make: Callable):
        """The data set that `fit` takes, from `make(shard=(index, count))`."""
        return make(shard=(0, 1))

    def explain_errors(self):
        """A context in which the loss of a machine becomes a `UserError`."""
        return contextlib.nullcontext()

    def wait_for_all(self):
        """Returns when every machine has come this far."""

    def check_batch(self, batch_size: int):
        """Raises UserError if a batch cannot be shared evenly."""
        if batch_size % self.replicas:
            raise UserError(
                f"A batch of {batch_size} cannot be shared evenly by {self.replicas} devices: "
                f"give a --batch_size that {self.replicas} divides, or another --devices."
            )

    def describe(self) -> str:
        """Such as "2 devices", for people."""
        machines = f" on {self.workers} machines" if self.workers > 1 else ""
        return f"{self.replicas} devices{machines}" if self.replicas > 1 else "1 device"


def find_devices(count: int = 0) -> Devices:
    """The devices to train on.

    Machines are named by TF_CONFIG, as TensorFlow defines it (TensorFlow backend only). It must be
    called before anything is computed.

    Args:
        count: how many of this machine's accelerators to use, 0 for all. On a machine without
            any, that many virtual devices are made of the CPU.

    Raises:
        UserError: there are fewer devices, or TF_CONFIG cannot be used.
    """
    if count < 0:
        raise UserError(f"devices must be 0 (all) or more, got {count}.")
    return _find(keras.backend.backend(), count, os.environ.get("TF_CONFIG", ""))


@functools.cache
def _find(backend: str, count: int, cluster: str) -> Devices:
    if backend not in ("jax", "tensorflow"):
        return Devices()
    if backend == "jax" and cluster:
        raise UserError("TF_CONFIG is set, but the JAX backend trains on one machine only.")
    # Here, because it takes TensorFlow, which not every use of this package needs.
    from ssd_keras.training import tensorflow_devices

    if backend == "jax":
        tensorflow_devices.leave_gpus_alone()
        return _jax_devices(count)
    if cluster:
        return tensorflow_devices.cluster_devices(cluster)
    return tensorflow_devices.local_devices(count)


def _jax_devices(count: int) -> Devices:
    import jax

    if count > 1:
        # Too late once JAX computes; then those that exist must suffice.
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", count)
    found = keras.distribution.list_devices()
    check_count(count, len(found))
    used = found[: count or len(found)]
    if len(used) > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=used))
    return Devices(len(used))


def check_count(count: int, found: int):
    """Raises UserError if there are fewer devices than are asked for."""
    if count > found:
        raise UserError(f"--devices={count}, but this machine has {found}.")
