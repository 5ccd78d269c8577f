"""Arrays without XLA, or without graphs, which take seconds to make for what a test runs once.

The same functions, as plain TensorFlow. Tests that compare the two, and those that run everything
as users do, are not run so: they are marked `xla`.
"""

import contextlib
import functools

from ssd_keras.boxes import xla


@functools.cache
def _plain_runner(function, halves, options):
    """What takes the place of `xla._tensorflow_runner`."""
    # Here, as tests under JAX import this file where there is no TensorFlow.
    import tensorflow as tf

    def run(batched, constants):
        return function(*batched, *constants, **dict(options))

    traced = tf.function(run, autograph=False)

    def run_here(batched, constants):
        return (run if tf.executing_eagerly() else traced)(batched, constants)

    return run_here


def leave_out_xla():
    """Lets this process do without; returns what takes that back."""
    compiled = xla._tensorflow_runner
    xla._tensorflow_runner = _plain_runner
    return lambda: setattr(xla, "_tensorflow_runner", compiled)


def run_eagerly():
    """Lets every `tf.function` of this process run untraced; returns what takes that back."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    return lambda: tf.config.run_functions_eagerly(False)


@contextlib.contextmanager
def eagerly():
    """Lets what is within run untraced, where what stands beside it, as a conversion, must not."""
    take_back = run_eagerly()
    try:
        yield
    finally:
        take_back()
