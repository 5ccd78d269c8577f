"""Several devices and machines by `tf.distribute`."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable

import keras
import tensorflow as tf
from keras import ops

from ssd_keras import keras_compat
from ssd_keras.errors import UserError, one_line
from ssd_keras.training.distribution import Devices, check_count
from ssd_keras.traversal import leaf_layers


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
        detector.share_losses = functools.partial(_share_of_whole, replicas=self.replicas)
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
        try:
            yield
        except tf.errors.OpError as error:
            if self.workers == 1:
                raise
            raise UserError(
                "The machines have lost each other "
                f"({one_line(error.message)}): start the same command on all "
                "of them again; they go on from the last checkpoint."
            ) from error

    def wait_for_all(self):
        if self.workers > 1:
            arrived = self.strategy.run(lambda: tf.constant(1.0))
            self.strategy.reduce(tf.distribute.ReduceOp.SUM, arrived, axis=None)


def local_devices(count: int) -> Devices:
    """GPUs of this machine, or as many virtual devices of its CPU."""
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)
    if gpus:
        check_count(count, len(gpus))
        names = [f"/gpu:{index}" for index in range(count or len(gpus))]
    else:
        names = [f"/cpu:{index}" for index in range(count or 1)]
        if count > 1:
            cpu = tf.config.list_physical_devices("CPU")[0]
            logical = [tf.config.LogicalDeviceConfiguration()] * count
            # Too late once TensorFlow computes; then those that exist must suffice.
            with contextlib.suppress(RuntimeError):
                tf.config.set_logical_device_configuration(cpu, logical)
            check_count(count, len(tf.config.list_logical_devices("CPU")))
    if len(names) == 1:
        return Devices()
    return TensorFlowDevices(tf.distribute.MirroredStrategy(names))


def cluster_devices(cluster: str) -> Devices:
    """Those of all machines that TF_CONFIG names."""
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
        return local_devices(0)
    return TensorFlowDevices(tf.distribute.MultiWorkerMirroredStrategy())


def _share_of_whole(parts: dict, replicas: int) -> dict:
    """A box network's losses, divided by the normaliser of the whole batch.

    What they were divided by is the "normalizer", else the "positives" or 1 where there are none.

    "loss" is this device's part of the sum over all devices; "class_loss" and "box_loss" are such
    that their mean over the devices is the loss of the whole batch.
    """
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
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients))


def leave_gpus_alone():
    """Keeps TensorFlow, which only reads images under JAX, off the memory of accelerators."""
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
