"""Every touch of what Keras does not promise to keep, in one place.

Where a version of Keras has changed one of them, the error says which and for what it was needed,
before anything is trained wrongly. tests/test_keras_compat.py shows that each still does its part.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import keras


def _require(owner, name: str, purpose: str):
    """An attribute of Keras, or an error that says what cannot be done without it."""
    if not hasattr(owner, name):
        raise RuntimeError(
            f"Keras {keras.__version__} has no {type(owner).__name__}.{name}, which is needed "
            f"{purpose}: take a version of Keras that has it, such as 3.12 to 3.15."
        )
    return getattr(owner, name)


# === Models ===


def sync_weights(model: keras.Model):
    """Brings weights, optimizer and metrics up to date in the middle of `fit` under JAX."""
    if keras.backend.backend() == "jax":
        _require(model, "jax_state_sync", "to read the weights of a step under JAX")()


def skip_build_from_batch(model: keras.Model):
    """Leaves out that `fit` builds what is not built from a first batch.

    Keras cannot average such a batch over workers of one device each. For built models only.
    """
    _require(model, "_maybe_symbolic_build", "to train on several machines")
    model._maybe_symbolic_build = lambda **_: None


def change_logs(model: keras.Model, change: Callable):
    """Applies `change` to each value of the logs that a training step returns."""
    step = model.train_step
    model.train_step = lambda batch: {name: change(value) for name, value in step(batch).items()}


def maps_of(layer: keras.layers.Layer, side: str) -> list:
    """The first "input" or "output" tensor of each place where a layer stands in its model."""
    nodes = _require(layer, "_inbound_nodes", "to count what a layer computes")
    return [getattr(node, f"{side}_tensors")[0] for node in nodes]


def layer_name_of(tensor) -> str:
    """The name of the layer that a symbolic tensor comes from."""
    return _require(tensor, "_keras_history", "to name the maps of a network").operation.name


def operations_of(model: keras.Model) -> list[tuple]:
    """Each operation of a functional model with those it gets its inputs from, in their order."""
    found = []
    for operation in model.operations:
        nodes = _require(operation, "_inbound_nodes", "to find the maps of a network")
        parents = [parent.operation for node in nodes for parent in node.parent_nodes]
        found.append((operation, parents))
    return found


def run_through(model: keras.Model, inputs, compute: Callable):
    """What a functional model gives if each of its operations is computed by another function.

    Args:
        model: a functional model.
        inputs: its tensors.
        compute: called with an operation, a layer most often, and its arguments.
    """
    run = _require(model, "_run_through_graph", "to train as an int8 file computes")
    return run(inputs, operation_fn=lambda operation: functools.partial(compute, operation))


def replace_call(model: keras.Model, call: Callable):
    """Lets a model compute its outputs by another function of its inputs.

    Whether it is training each layer learns from the call that is going on.
    """
    _require(model, "_call_has_training_arg", "to train as an int8 file computes")
    model.call = lambda inputs, training=None, mask=None: call(inputs)


# === Optimizers ===


def unscaled_optimizer(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer inside the one that scales the loss for float16, or the optimizer itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def steps_seen(optimizer: keras.optimizers.Optimizer) -> int:
    """Training steps that an optimizer was given, those too whose gradients it only gathered.

    Keras' `iterations` are the updates.
    """
    optimizer = unscaled_optimizer(optimizer)
    steps = _require(optimizer, "_iterations", "to count training steps")
    # On several devices it is a variable of each.
    return int(keras.ops.convert_to_numpy(steps))


def weight_averages(optimizer: keras.optimizers.Optimizer) -> list[tuple]:
    """Each trained variable with its moving average; empty where none is kept."""
    optimizer = unscaled_optimizer(optimizer)
    if not optimizer.use_ema:
        return []
    purpose = "to judge the moving averages of the weights"
    averages = _require(optimizer, "_model_variables_moving_average", purpose)
    variables = _require(optimizer, "_trainable_variables", purpose)
    return list(zip(variables, averages, strict=True))


def keep_weights_at_end(optimizer: keras.optimizers.Optimizer):
    """Leaves out that `fit` ends with the weights replaced by their moving averages."""
    _require(optimizer, "finalize_variable_values", "to go on with a run that averages its weights")
    optimizer.finalize_variable_values = lambda variables: None


def sum_before_clipping(optimizer: keras.optimizers.Optimizer, all_reduce: Callable):
    """Sums gradients over devices by `all_reduce` before they are clipped, not after.

    Args:
        optimizer: changed in place.
        all_reduce: from the gradients of this device, a list, to those of all.
    """
    inner = unscaled_optimizer(optimizer)
    _require(inner, "_all_reduce_sum_gradients", "to train on several devices")
    apply = optimizer.apply
    optimizer.apply = lambda gradients, variables=None: apply(all_reduce(gradients), variables)
    inner._all_reduce_sum_gradients = lambda pairs: pairs
