"""Weights of KerasHub's presets for the Core Networks that are made of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras
import numpy as np

from ssd_keras.backbones import kerashub
from ssd_keras.errors import UserError
from ssd_keras.reading import check_regular, reading
from ssd_keras.weights.backbone_weights import load_backbone_weights
from ssd_keras.weights.files import check_finite
from ssd_keras.weights.hdf5 import open_self_contained
from ssd_keras.weights.keras_files import LoadReport, layers_with_weights

OWN, IMAGENET = "preset", "imagenet"
_FILE = "model.weights.h5"


@dataclasses.dataclass(frozen=True)
class PresetWeights:
    """The weights of a preset.

    Attributes:
        place: "kerashub:NAME" or "kerashub:FOLDER".
    """

    place: str

    def arrays(self) -> dict[str, list[np.ndarray]]:
        """The weights, layer of the Core Network -> arrays; KerasHub fetches what is not there."""
        preset = kerashub.read_preset(self.place)
        if preset.prepare is None:
            raise UserError(
                f"'{self.place}' does not say how its images are prepared, without which its "
                "weights are worth little: save that beside it, by keras_hub.layers."
                "ImageConverter(scale=..., offset=...).save_to_preset(FOLDER)."
            )
        file = kerashub.preset_file(self.place, _FILE)
        if file is None:
            raise UserError(f"'{self.place}' has no weights: there is no {_FILE} in it.")
        core = kerashub.core_with_weights(preset, lambda network: _fill(network, file))
        return {name: layer.get_weights() for name, layer in layers_with_weights(core).items()}


def says_imagenet(place: str) -> bool:
    """Whether a preset's name says that its weights are of ImageNet."""
    return IMAGENET in Path(place).name


def load_preset_weights(core: keras.Model, weights: str | Path, place: str) -> LoadReport:
    """Fills a Core Network that was made of a preset of KerasHub.

    Args:
        core: the Core Network.
        weights: "preset" for those of the preset, "imagenet" for the same where the preset's name
            says that they are; or what `load_backbone_weights` takes.
        place: the preset, "kerashub:NAME" or "kerashub:FOLDER".

    Raises:
        UserError: the weights cannot be had or read, or do not fill every layer.
    """
    if weights == IMAGENET and not says_imagenet(place):
        raise UserError(
            f"Whether the weights of '{place}' are of ImageNet its name does not say: "
            f"'{OWN}' stands for them as backbone weights, whatever they are of."
        )
    return load_backbone_weights(
        core, IMAGENET if weights == OWN else weights, published=PresetWeights(place)
    )


def _fill(network: keras.Model, file: Path):
    check_regular(file, "weights file")
    with reading(file, "weights of KerasHub's " + type(network).__name__):
        with open_self_contained(file, file.stat().st_size):
            pass
        network.load_weights(file)
        check_finite({v.path: np.asarray(keras.ops.convert_to_numpy(v)) for v in network.variables})
