"""Training on several devices and machines, by tf.distribute or keras.distribution.

Every device gets its share of each batch, and a step does what one device would do with the whole
batch: the loss is divided by the positives of the whole batch, batch normalisation sees the whole
batch, and gradients are summed before they are clipped.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Callable

import keras
from keras import ops

from ssd_keras import keras_compat
from ssd_keras.errors import UserError
from ssd_keras.traversal import leaf_layers


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


class TensorFlowDevices(Devices):
    """Several devices by a `tf.distribute` strategy."""

    def __init__(self, strategy):
        super().__init__(strategy.num_replicas_in_sync)
        self.strategy = strategy
        resolver = strategy.cluster_resolver
        if resolver is not None and resolver.task_type:
            self.workers = len(resolver.cluster_spec().job_tasks(resolver.task_type))
            self.worker = resolver.task_id

    def scope(self):
        return self.strategy.scope()

    def prepare(self, detector):
        for layer in leaf_layers(detector):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        network = detector.box_network
        network.loss = functools.partial(_share_of_global_loss, network.loss, self.replicas)
        keras_compat.sum_before_clipping(detector.optimizer, _sum_over_devices)
        keras_compat.skip_build_from_batch(detector)
        if self.workers > 1:
            # Keras averages logs over workers along an axis that scalars do not have.
            keras_compat.change_logs(detector, lambda value: ops.expand_dims(value, 0))

    def batches(self, make: Callable):
        per_worker = self.replicas // self.workers

        def of_worker(context):
            dataset = make(shard=(context.input_pipeline_id, context.num_input_pipelines))
            if per_worker > 1:
                share = dataset.element_spec[0].shape[0] // per_worker
                dataset = dataset.rebatch(share, drop_remainder=True)
            return dataset

        return self.strategy.distribute_datasets_from_function(of_worker)

    @contextlib.contextmanager
    def explain_errors(self):
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as error:
            if self.workers == 1:
                raise
            raise UserError(
                "The machines have lost each other "
                f"({' '.join(str(error.message).split())[:150]}): start the same command on all "
                "of them again; they go on from the last checkpoint."
            ) from error

    def wait_for_all(self):
        import tensorflow as tf

        if self.workers > 1:
            arrived = self.strategy.run(lambda: tf.constant(1.0))
            self.strategy.reduce(tf.distribute.ReduceOp.SUM, arrived, axis=None)


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
    if backend == "jax":
        if cluster:
            raise UserError("TF_CONFIG is set, but the JAX backend trains on one machine only.")
        return _jax_devices(count)
    if backend != "tensorflow":
        return Devices()
    if cluster:
        return _workers(cluster)
    return _local_devices(count)


def _local_devices(count: int) -> Devices:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)
    if gpus:
        _check_count(count, len(gpus))
        names = [f"/gpu:{index}" for index in range(count or len(gpus))]
    else:
        names = [f"/cpu:{index}" for index in range(count or 1)]
        if count > 1:
            cpu = tf.config.list_physical_devices("CPU")[0]
            logical = [tf.config.LogicalDeviceConfiguration()] * count
            # Too late once TensorFlow computes; then those that exist must suffice.
            with contextlib.suppress(RuntimeError):
                tf.config.set_logical_device_configuration(cpu, logical)
            _check_count(count, len(tf.config.list_logical_devices("CPU")))
    if len(names) == 1:
        return Devices()
    return TensorFlowDevices(tf.distribute.MirroredStrategy(names))


def _workers(cluster: str) -> Devices:
    import tensorflow as tf

    try:
        config = json.loads(cluster)
        workers, task = config["cluster"]["worker"], config["task"]
        if task["type"] != "worker" or not 0 <= int(task["index"]) < len(workers):
            raise KeyError
    except (ValueError, KeyError, TypeError):
        raise UserError(
            'TF_CONFIG must look like {"cluster": {"worker": ["host1:port", "host2:port"]}, '
            f'"task": {{"type": "worker", "index": 0}}}}, got {cluster}.'
        ) from None
    if len(workers) == 1:
        return _local_devices(0)
    return TensorFlowDevices(tf.distribute.MultiWorkerMirroredStrategy())


def _jax_devices(count: int) -> Devices:
    import jax
    import tensorflow as tf

    # TensorFlow only reads images here; it must not take the accelerators' memory.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
    if count > 1:
        # Too late once JAX computes; then those that exist must suffice.
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", count)
    found = keras.distribution.list_devices()
    _check_count(count, len(found))
    used = found[: count or len(found)]
    if len(used) > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=used))
    return Devices(len(used))


def _check_count(count: int, found: int):
    if count > found:
        raise UserError(f"--devices={count}, but this machine has {found}.")


def _share_of_global_loss(loss: Callable, replicas: int, targets: dict, predictions: dict) -> dict:
    """A box network's loss, divided by the normaliser of the whole batch.

    What `loss` divided by is its "normalizer", else its "positives" or 1 where there are none.

    "loss" is this device's part of the sum over all devices; "class_loss" and "box_loss" are such
    that their mean over the devices is the loss of the whole batch.
    """
    import tensorflow as tf

    parts = loss(targets, predictions)
    context = tf.distribute.get_replica_context()
    positives = context.all_reduce(tf.distribute.ReduceOp.SUM, parts["positives"])
    if "normalizer" in parts:
        used = parts["normalizer"]
        wanted = context.all_reduce(tf.distribute.ReduceOp.SUM, used)
    else:
        used, wanted = ops.maximum(parts["positives"], 1.0), ops.maximum(positives, 1.0)
    share = used / wanted
    return {
        "loss": parts["loss"] * share,
        "class_loss": parts["class_loss"] * share * replicas,
        "box_loss": parts["box_loss"] * share * replicas,
        "positives": positives,
    }


def _sum_over_devices(gradients) -> list:
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients))
