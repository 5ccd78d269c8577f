"""Backbones of KerasHub as Core Networks: by a preset's name, from its folder, or as an object."""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
from keras import ops

from ssd_keras.backbones.cloning import BATCH_NORM_MOMENTUM, numbered_copy
from ssd_keras.backbones.map_search import map_stride, maps_at
from ssd_keras.backbones.normalization import prepare_like
from ssd_keras.errors import UserError, did_you_mean, one_line
from ssd_keras.keras_compat import run_through
from ssd_keras.reading import read_json, reading

PREFIX = "kerashub:"
STRIDES = (8, 16, 32)
FINEST_STRIDES = (16, 8)
SMALLEST_SIDE = 64
_CONFIG, _CONVERTER = "config.json", "image_converter.json"
_MAX_CONFIG_BYTES = 1 << 20
# Blocks whose `call` is layers, products and sums alone, in training as in detection. Taken apart
# they are layers of Keras, and a file needs no KerasHub to be read.
_BLOCKS = (
    *("CBABlock", "FusedMBConvBlock", "MBConvBlock"),
    *("ConvBnActBlock", "DepthwiseConvBlock", "InvertedResidualBlock", "SqueezeAndExcite2D"),
)
# Not asked for where a backbone is built: the size is the detector's, the others are Keras' state.
_SHAPES = ("image_shape", "input_shape")
_NOT_ITS_OWN = (*_SHAPES, "dtype", "name", "trainable")


def is_kerashub(place: object) -> bool:
    """Whether a text names a backbone of KerasHub."""
    return isinstance(place, str) and place.startswith(PREFIX)


def require_kerashub(what: str) -> ModuleType:
    """KerasHub, which only those need who ask for it.

    Args:
        what: what needs it.

    Raises:
        UserError: it is not installed.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise UserError(
            f"{what} needs KerasHub: pip install 'ssd-keras[kerashub]' ({one_line(error)})."
        ) from error
    return keras_hub


def is_vgg(place: str) -> bool:
    """Whether a preset is a VGG, by its name or what its folder says; nothing is fetched."""
    folder = Path(place.removeprefix(PREFIX))
    file = folder / _CONFIG
    if file.is_file():
        config = read_json(file, _MAX_CONFIG_BYTES)
        return isinstance(config, dict) and config.get("registered_name") == "keras_hub>VGGBackbone"
    return folder.name.startswith("vgg")


# === Presets ===


@dataclasses.dataclass(frozen=True)
class Preset:
    """What a preset says of its backbone.

    Attributes:
        place: how the user names it, "kerashub:NAME" or "kerashub:FOLDER".
        kind: the class of KerasHub.
        arguments: those of the class, without size, name and precision.
        prepare: what the network's images are made by, from RGB 0..255; None: it does not say.
    """

    place: str
    kind: type
    arguments: dict
    prepare: Callable | None

    def build(self, image_size: tuple[int, int]) -> keras.Model:
        """KerasHub's own network for images of (height, width) pixels, with random weights."""
        return _built(self.kind, self.arguments, image_size, f"'{self.place}'")


def read_preset(place: str) -> Preset:
    """Reads what a preset is; nothing that it says is run.

    Args:
        place: "kerashub:NAME" of one of KerasHub's presets, of which a few kilobytes are fetched
            by KerasHub unless they are in its cache; or "kerashub:FOLDER", as `save_to_preset`
            writes it.

    Raises:
        UserError: KerasHub is not installed, there is no such preset, it cannot be fetched or
            read, or is none of a network of images.
    """
    hub = require_kerashub(f"'{place}'")
    config = _read(place, _CONFIG)
    if config is None:
        raise UserError(f"'{place}' is no preset of KerasHub: there is no {_CONFIG} in it.")
    kind, arguments = _serialized(place, _CONFIG, config, hub.models.Backbone)
    if _shape_argument(kind) is None:
        raise UserError(f"'{place}' is a {kind.__name__}, which takes no images.")
    converter = _read(place, _CONVERTER)
    prepare = None
    if converter is not None:
        prepare = _converter(place, converter, hub.layers.ImageConverter)
    return Preset(place, kind, _own(arguments), prepare)


def preset_file(place: str, name: str) -> Path | None:
    """A file of a preset, fetched by KerasHub's means where it is none on this machine.

    Args:
        place: as of `read_preset`.
        name: the file's name in the preset.

    Returns:
        Its path, or None if the preset has no such file.

    Raises:
        UserError: there is no such preset, or it cannot be fetched.
    """
    preset = place.removeprefix(PREFIX)
    known = require_kerashub(f"'{place}'").models.Backbone.presets
    if preset in known:
        return _fetched(place, known[preset]["kaggle_handle"], name)
    if not os.path.isdir(preset):
        raise UserError(
            f"There is no preset of KerasHub and no folder '{preset}'."
            f"{did_you_mean(preset, known)} Give {PREFIX}NAME of a preset such as "
            f"{PREFIX}resnet_50_imagenet, or {PREFIX}FOLDER that save_to_preset wrote."
        )
    file = Path(preset, name)
    return file if os.path.lexists(file) else None


def _fetched(place: str, handle: str, name: str) -> Path | None:
    import kagglehub

    try:
        return Path(kagglehub.model_download(handle.removeprefix("kaggle://"), name))
    # Of a file that is not there Kaggle tells by one of many errors, all of them with this number.
    except Exception as error:
        if name == _CONVERTER and re.search(r"\b404\b|not present in the model", str(error)):
            return None
        preset = place.removeprefix(PREFIX)
        raise UserError(
            f"'{name}' of KerasHub's preset '{preset}' could not be fetched ({one_line(error)}). "
            f"On a machine with a network, save keras_hub.models.Backbone.from_preset('{preset}') "
            f"and keras_hub.layers.ImageConverter.from_preset('{preset}') by "
            f"save_to_preset(FOLDER), copy the folder here and give {PREFIX}FOLDER."
        ) from error


def _read(place: str, name: str) -> dict | None:
    file = preset_file(place, name)
    return None if file is None else read_json(file, _MAX_CONFIG_BYTES)


def _serialized(place: str, file: str, content, kind: type) -> tuple[type, dict]:
    """The class that a file of a preset names, one of KerasHub's own, and its arguments.

    KerasHub itself would take any class that is registered, and whatever stands among the
    arguments.
    """
    content = content if isinstance(content, dict) else {}
    name, arguments = content.get("registered_name"), content.get("config")
    found = None
    if isinstance(name, str) and name.startswith("keras_hub>"):
        found = keras.saving.get_registered_object(name)
    if not isinstance(found, type) or not issubclass(found, kind):
        raise UserError(
            f"'{place}' is no preset of a network that can be taken: its {file} names "
            f"'{str(name)[:80]}', which is no {kind.__name__} of KerasHub."
        )
    if not isinstance(arguments, dict) or not all(
        _is_plain(value) for key, value in arguments.items() if key != "dtype"
    ):
        raise UserError(
            f"'{place}' cannot be taken: its {file} has more than numbers and words as arguments "
            f"of {found.__name__}."
        )
    return found, arguments


def _is_plain(value) -> bool:
    if isinstance(value, list):
        return all(_is_plain(one) for one in value)
    return value is None or isinstance(value, (bool, int, float, str))


def _converter(place: str, content, base: type) -> Callable:
    kind, arguments = _serialized(place, _CONVERTER, content, base)
    # The detector brings images to its own size; older presets call theirs height and width.
    sizes = ("dtype", "height", "image_size", "width")
    arguments = {key: value for key, value in arguments.items() if key not in sizes}
    with reading(place, "a preset of KerasHub"):
        converter = kind(**arguments, image_size=None, dtype="float32")
        converter(np.zeros((1, 1, 1, 3), "float32"))
        return converter


# === Networks ===


def kerashub_backbone(
    image_size: tuple[int, int], *, place: str, finest_stride: int = 16
) -> keras.Model:
    """A backbone of KerasHub as a Core Network, with random weights; see `from_kerashub`.

    Args:
        image_size: (height, width) of the image in pixels.
        place: as of `read_preset`.
        finest_stride: 16, or 8 for one map more before the others.

    Raises:
        UserError: there is no such preset, or no such network can be made of it.
    """
    preset = read_preset(place)
    whole = preset.build(_checked(image_size, f"'{place}'"))
    return _core_network(whole, image_size, preset.prepare or _usual, finest_stride, f"'{place}'")


def from_kerashub(
    backbone: keras.Model,
    image_size: tuple[int, int],
    *,
    image_converter: Callable | None = None,
    finest_stride: int = 16,
) -> keras.Model:
    """A backbone of KerasHub that is there already, with its weights, as a Core Network.

    The maps are those that KerasHub joins in a pyramid, the coarsest one after all layers; where
    it names none, the last ones of their strides that all of what follows is computed from. The
    first layer does to pixels what the image converter does; sizes are the detector's own. Blocks
    that are nothing but layers of Keras are taken apart, so that a detector's file needs no
    KerasHub; other layers of KerasHub stay. Batch norms follow at least as fast as in
    `backbones.mobilenet_v2`.

    Args:
        backbone: a `keras_hub.models.Backbone` for images.
        image_size: (height, width) of the image in pixels, which the backbone is built anew for.
        image_converter: KerasHub's `ImageConverter` that belongs to it, or another function from
            RGB 0..255 to what it is given; None: -1..1, for networks with random weights only.
        finest_stride: 16, or 8 for one map more before the others.

    Returns:
        A model from images `[B, H, W, 3]`, RGB 0..255, to maps "stride16" and "stride32".

    Raises:
        UserError: it cannot be built for this size, has no such maps, prepares images by more
            than scaling, shifting and swapping channels, or has trained weights and no converter.
    """
    whose = f"The {type(backbone).__name__}"
    if _shape_argument(type(backbone)) is None:
        raise UserError(f"{whose} is no backbone of KerasHub that takes images.")
    arguments = _own(backbone.get_config())
    whole = _built(type(backbone), arguments, _checked(image_size, whose), whose)
    try:
        whole.set_weights(backbone.get_weights())
    except ValueError as error:
        raise UserError(
            f"{whose} cannot be built anew for images of {image_size[0]}x{image_size[1]} px: by "
            f"what it says of itself it has other weights ({one_line(error).rstrip('.')})."
        ) from error
    if image_converter is None and _is_trained(backbone):
        raise UserError(
            f"{whose} has trained weights, and how its images are prepared is not said: give "
            "image_converter=keras_hub.layers.ImageConverter.from_preset(NAME) of its preset, or "
            "a function from RGB 0..255, such as lambda images: images / 127.5 - 1."
        )
    prepare = image_converter or _usual
    if isinstance(prepare, keras.layers.Layer):
        config = {**prepare.get_config(), "image_size": None, "dtype": "float32"}
        prepare = type(prepare).from_config(config)
    return _core_network(whole, image_size, prepare, finest_stride, whose)


def core_with_weights(preset: Preset, fill: Callable[[keras.Model], object]) -> keras.Model:
    """The Core Network of a preset, whose weights `fill` gives to KerasHub's own network."""
    image_size = (224, 224)
    whole = preset.build(image_size)
    fill(whole)
    stride, whose = FINEST_STRIDES[0], f"'{preset.place}'"
    return _core_network(whole, image_size, preset.prepare or _usual, stride, whose)


def _is_trained(network: keras.Model) -> bool:
    """Whether a network has learned: biases and what norms have begin as one number each."""
    vectors = (ops.convert_to_numpy(w) for w in network.weights if len(w.shape) == 1)
    return any(np.ptp(vector) > 0 for vector in vectors)


def _own(arguments: dict) -> dict:
    return {name: value for name, value in arguments.items() if name not in _NOT_ITS_OWN}


def _usual(images):
    """RGB 0..255 to -1..1."""
    return images / 127.5 - 1.0


def _checked(image_size: tuple[int, int], whose: str) -> tuple[int, int]:
    if min(image_size) < SMALLEST_SIDE:
        raise UserError(
            f"{whose} takes images of {SMALLEST_SIDE} px and more, got {image_size[0]}x"
            f"{image_size[1]}: the map of stride {STRIDES[-1]} has at least 2 cells each way."
        )
    return image_size


def _shape_argument(kind: type) -> str | None:
    """What a class calls the shape of its images; None if it takes none."""
    known = inspect.signature(kind).parameters
    return next((name for name in _SHAPES if name in known), None)


def _built(kind: type, arguments: dict, image_size: tuple[int, int], whose: str) -> keras.Model:
    try:
        network = kind(**arguments, **{_shape_argument(kind): (*image_size, 3)})
    # What a class makes of arguments that do not suit it can be any error.
    except Exception as error:
        raise UserError(
            f"{whose} cannot be built for images of {image_size[0]}x{image_size[1]} px: "
            f"{one_line(error).rstrip('.')}."
        ) from error
    shapes = [tuple(output.shape) for output in _named_outputs(network).values()]
    if not any(len(shape) == 4 for shape in shapes):
        raise UserError(
            f"{whose} has no maps [B, H, W, C] of several strides for default boxes to lie on: it "
            f"gives {', '.join(map(str, shapes))}. Take a network that halves its maps, such as a "
            "ResNet."
        )
    return network


def _core_network(
    whole: keras.Model,
    image_size: tuple[int, int],
    prepare: Callable,
    finest_stride: int,
    whose: str,
) -> keras.Model:
    """Images through their preparation and KerasHub's network to maps, in layers of its weights."""
    images = keras.Input((*image_size, 3), name="image")
    pixels = prepare_like(prepare, images, whose)
    given = run_through(keras.Model(whole.inputs, _named_outputs(whole)), pixels, _open)
    network = keras.Model(images, given)
    while any(_is_block(operation) for operation in network.operations):
        network = keras.Model(images, run_through(network, images, _open))
    copy = _copied(network, whose)
    wanted = [stride for stride in STRIDES if stride >= finest_stride]
    name = type(whole).__name__.removesuffix("Backbone").lower()
    return keras.Model(copy.inputs[0], _maps(copy, wanted, whose), name=name)


def _copied(network: keras.Model, whose: str) -> keras.Model:
    """A copy of new layers, as a file of a detector makes them."""
    try:
        copy = numbered_copy(network, lambda own: min(own, BATCH_NORM_MOMENTUM))
    # Whatever layers do that do not say of themselves what they were made of.
    except Exception as error:
        raise UserError(
            f"{whose} cannot be taken: it has layers of KerasHub that cannot be made again from "
            f"what they save of themselves, so that no file of a detector could be read "
            f"({one_line(error).rstrip('.')})."
        ) from error
    copy.set_weights(network.get_weights())
    return copy


def _named_outputs(whole: keras.Model) -> dict:
    """What a network of KerasHub gives, by names: the maps of its pyramid, and its output last."""
    pyramid = getattr(whole, "pyramid_outputs", None) or {}
    output = whole.output if isinstance(whole.output, dict) else {"output": whole.output}
    return {**pyramid, **output}


def _maps(model: keras.Model, strides: list[int], whose: str) -> dict:
    """The map of each stride: the last of those that the model gives, else the last there is."""
    outputs = list(model.output.values())
    maps = {}
    for stride in strides:
        found = [output for output in outputs if map_stride(model, output) == stride]
        found = found or list(maps_at(model, [stride], whose).values())
        maps[f"stride{stride}"] = found[-1]
    return maps


def _is_block(operation) -> bool:
    kind = type(operation)
    return kind.__name__ in _BLOCKS and kind.__module__.startswith("keras_hub.")


def _open(operation, *args, **options):
    """What an operation gives; of a block by the layers that it is made of."""
    if _is_block(operation):
        return operation.call(*args)
    if options.get("constant_values") == -math.inf:
        # Before the largest of a window is taken, where it must not count. Nor does the border
        # count that is there twice, which int8 and a file of numbers can hold.
        return ops.pad(*args, operation.pad_width, mode="symmetric")
    return operation(*args, **options)
