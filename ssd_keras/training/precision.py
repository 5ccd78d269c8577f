"""The fastest precision and compilation that are right on the device that is found."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import keras

from ssd_keras.errors import not_one_of, unknown
from ssd_keras.presets import find_core

PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")
JIT = ("auto", "on", "off")

BFLOAT16_INSTRUCTIONS = {"amx_bf16", "avx512_bf16"}


def choose_precision(name: str, backbone: str) -> str:
    """The Keras dtype policy that `name` stands for.

    "auto" is mixed_bfloat16 on accelerators that have it, mixed_float16 on GPUs with tensor cores
    but without it, and float32 on CPUs, but mixed_bfloat16 for dense Core Networks on a CPU that
    multiplies bfloat16 (AMX or AVX-512).
    """
    if name not in PRECISIONS:
        raise unknown("precision", name, PRECISIONS)
    if name != "auto":
        return name
    device = find_accelerator()
    if device == "cpu":
        core = find_core(backbone)
        gains = core is not None and core.dense and BFLOAT16_INSTRUCTIONS & cpu_flags()
        return "mixed_bfloat16" if gains else "float32"
    if device == "gpu":
        capability = gpu_capability()
        if capability >= (8, 0):
            return "mixed_bfloat16"
        return "mixed_float16" if capability >= (7, 0) else "float32"
    return "mixed_bfloat16"


def precision_notice(precision: str, backbone: str) -> str:
    """What to say of a precision that is a poor choice on the device that is found; else ""."""
    tensorflow = keras.backend.backend() == "tensorflow"
    if precision != "mixed_float16" or not tensorflow or find_accelerator() != "cpu":
        return ""
    return (
        "mixed_float16 is for GPUs: TensorFlow takes tens of times as long for float16 gradients "
        "on a processor as for float32. --precision=auto is "
        f"{choose_precision('auto', backbone)} here."
    )


def choose_jit(name: str) -> bool | str:
    """What the flag `jit` means to `compile`.

    "auto" is Keras' own choice: on under JAX, which needs it, and on one TensorFlow GPU; off on
    TensorFlow CPUs, whose convolutions XLA makes several times slower, and under tf.distribute.
    """
    if name not in JIT:
        raise not_one_of("jit", name, JIT)
    return {"on": True, "off": False}.get(name, name)


def find_accelerator() -> str:
    """ "cpu", "gpu" or "tpu": what the backend computes on."""
    if keras.backend.backend() == "jax":
        import jax

        return {"cuda": "gpu", "rocm": "gpu"}.get(jax.default_backend(), jax.default_backend())
    import tensorflow as tf

    return "gpu" if tf.config.list_physical_devices("GPU") else "cpu"


def gpu_capability() -> tuple[int, int]:
    """CUDA compute capability of the first GPU, (0, 0) if it is not known."""
    if keras.backend.backend() == "jax":
        import jax

        found = getattr(jax.devices()[0], "compute_capability", "") or "0.0"
        numbers = [*re.findall(r"\d+", str(found)), "0", "0"]
        return int(numbers[0]), int(numbers[1])
    import tensorflow as tf

    gpu = tf.config.list_physical_devices("GPU")[0]
    return tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))


@functools.cache
def cpu_flags() -> frozenset[str]:
    """The processor's features by Linux' names; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.split())
