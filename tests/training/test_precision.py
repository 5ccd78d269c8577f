"""What "auto" comes to on the devices of the world."""

import pytest

from ssd_keras.errors import UserError
from ssd_keras.training import precision


@pytest.fixture
def machine(monkeypatch):
    def pretend(device, capability=(0, 0), flags=()):
        monkeypatch.setattr(precision, "find_accelerator", lambda: device)
        monkeypatch.setattr(precision, "gpu_capability", lambda: capability)
        monkeypatch.setattr(precision, "cpu_flags", lambda: frozenset(flags))

    return pretend


@pytest.mark.parametrize(
    ("device", "capability", "flags", "backbone", "expected"),
    [
        ("cpu", (0, 0), (), "VGG16", "float32"),
        ("cpu", (0, 0), ("avx512f",), "VGG16", "float32"),
        ("cpu", (0, 0), ("avx512_bf16",), "VGG16", "mixed_bfloat16"),
        ("cpu", (0, 0), ("avx512_bf16",), "MobileNet", "float32"),
        ("cpu", (0, 0), ("amx_bf16",), "VGG16", "mixed_bfloat16"),
        ("cpu", (0, 0), ("amx_bf16",), "MobileNetV2", "float32"),
        ("gpu", (9, 0), (), "MobileNet", "mixed_bfloat16"),
        ("gpu", (7, 5), (), "MobileNet", "mixed_float16"),
        ("gpu", (6, 1), (), "VGG16", "float32"),
        ("tpu", (0, 0), (), "VGG16", "mixed_bfloat16"),
    ],
)
def test_auto_is_the_best_of_the_device(machine, device, capability, flags, backbone, expected):
    machine(device, capability, flags)
    assert precision.choose_precision("auto", backbone) == expected
    assert precision.choose_precision("mixed_float16", backbone) == "mixed_float16"


@pytest.mark.parametrize(
    ("device", "name", "said"),
    [
        ("cpu", "mixed_float16", True),
        ("cpu", "mixed_bfloat16", False),
        ("cpu", "float32", False),
        ("gpu", "mixed_float16", False),
    ],
)
def test_float16_on_a_processor_is_advised_against(machine, device, name, said):
    machine(device)
    notice = precision.precision_notice(name, "MobileNet")
    assert bool(notice) == said
    assert notice.endswith("--precision=auto is float32 here.") == said


@pytest.mark.parametrize(("name", "expected"), [("auto", "auto"), ("on", True), ("off", False)])
def test_the_flag_jit_is_what_compile_takes(name, expected):
    assert precision.choose_jit(name) == expected


def test_misspelt_names_are_answered():
    with pytest.raises(UserError, match="Did you mean 'mixed_float16'"):
        precision.choose_precision("mixed_flot16", "VGG16")
    with pytest.raises(UserError, match="jit must be one of auto, on, off"):
        precision.choose_jit("yes")
