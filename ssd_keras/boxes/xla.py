"""Runs array code as a computation of its own, compiled by XLA, inside a step that is not."""

import functools

import keras

# Smallest batch that is worth two computations side by side.
_MIN_SPLIT = 8


def run_with_xla(function, batched, constants=(), *, halves=True, **options):
    """`function(*batched, *constants, **options)`, compiled by XLA under TensorFlow.

    XLA over a whole training step slows convolutions several times on a CPU; matching and encoding
    gain as much from it. This compiles only them: in eager code, in a `tf.function`, and without
    effect where everything is compiled already (JAX, `jit_compile=True`). A larger batch runs as
    two halves, which TensorFlow executes at the same time; XLA by itself shares out simple
    elementwise work only.

    Args:
        function: a module-level function of keras.ops; returns a tensor or a dict of tensors, each
            with the batch as first dimension.
        batched: tensors whose first dimension is the batch.
        constants: tensors that every image shares.
        halves: whether a larger batch is split. Not worth it where the results are large.
        options: hashable keyword arguments.
    """
    if keras.backend.backend() != "tensorflow":
        return function(*batched, *constants, **options)
    runner = _tensorflow_runner(function, halves, tuple(sorted(options.items())))
    return runner(tuple(batched), tuple(constants))


@functools.cache
def _tensorflow_runner(function, halves, options):
    import tensorflow as tf

    @tf.function(jit_compile=True, autograph=False)
    def kernel(batched, constants):
        return function(*batched, *constants, **dict(options))

    if not halves:
        return kernel

    @tf.function(autograph=False)
    def run(batched, constants):
        size = batched[0].shape[0]
        if size is None or size < _MIN_SPLIT:
            return kernel(batched, constants)
        half = size // 2
        first = kernel(tuple(x[:half] for x in batched), constants)
        second = kernel(tuple(x[half:] for x in batched), constants)
        return tf.nest.map_structure(lambda a, b: tf.concat([a, b], axis=0), first, second)

    return run
