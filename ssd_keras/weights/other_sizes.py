"""The architecture of a trained detector, for images of another size."""

from __future__ import annotations

import json

import keras

from ssd_keras.backbones import feature_maps
from ssd_keras.box_networks.protocol import Request
from ssd_keras.errors import UserError
from ssd_keras.names import ModelName, parse
from ssd_keras.presets import BOX_NETWORKS, BoxNetworkPreset, find_core

# What a layer is rebuilt with at every size.
_OF_SIZE_OR_PRECISION = ("batch_shape", "dtype")


def at_size(config: dict, name: str) -> dict | None:
    """The configuration of a trained detector at the size that a model name says.

    A detector that was imported, or trained with options, is not what its name alone builds. Its
    Core Network is built anew, since how layers pad follows the size; the Box Network stays as it
    is, whose default boxes follow the maps.

    Args:
        config: of a `Detector`.
        name: a model name of the same Box Network and Core Network.

    Returns:
        The configuration; None where the name alone builds the right one, because the trained
        detector is the published one of its size, and where it is built of other parts.
    """
    wanted, theirs = parse(name), _parse_name(config["name"])
    if theirs is None or _parts(theirs) != _parts(wanted):
        return None
    preset, core = BOX_NETWORKS[theirs.box_network], find_core(theirs.backbone)
    for stride in (None, *core.finest_strides):
        options = preset.core_options(core, stride)
        built = core.build(theirs.image_size, **options)
        if _layers(_serialize(built)) == _layers(config["backbone"]):
            break
    else:
        return None
    request = Request(core=core, maps=feature_maps(built), image_size=theirs.image_size)
    if stride is None and _is_published(config["box_network"]["config"], preset, request):
        return None
    backbone = _serialize(core.build(wanted.image_size, **options))
    return {**config, "name": name, "backbone": backbone}


def _parse_name(name: str) -> ModelName | None:
    try:
        return parse(name)
    except UserError:
        # Somebody's own Core Network.
        return None


def _parts(name: ModelName) -> tuple[str, str]:
    return name.box_network, name.backbone


def _serialize(backbone: keras.Model) -> dict:
    return _as_read(keras.saving.serialize_keras_object(backbone))


def _as_read(config: dict) -> dict:
    """As it comes back from a file, with lists for tuples."""
    return json.loads(json.dumps(config))


def _layers(backbone: dict) -> list:
    """Kinds and settings of a Core Network's layers, and which of them are its maps."""
    config = backbone["config"]
    layers = [
        (
            layer["class_name"],
            {k: v for k, v in layer["config"].items() if k not in _OF_SIZE_OR_PRECISION},
        )
        for layer in config.get("layers", [])
    ]
    return [layers, config.get("output_layers")]


def _is_published(network: dict, preset: BoxNetworkPreset, request: Request) -> bool:
    """Whether a Box Network is the one that the trained detector's name builds."""
    settings = {**preset.build.settings_for(request), **preset.settings}
    published = preset.build(network["num_classes"], **settings)
    # Built, since older files leave out what was the only choice then.
    trained = preset.build.from_config(network)
    return published.get_config() == trained.get_config()
