"""ImageNet weights for Core Networks, from Keras' own files or from those of PyTorch's projects."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from ssd_keras import locks
from ssd_keras.display import join_names
from ssd_keras.errors import UserError, one_line
from ssd_keras.reading import exists
from ssd_keras.weights import fetching
from ssd_keras.weights.catalogue import Remote
from ssd_keras.weights.keras_files import layers_with_weights
from ssd_keras.weights.torch_backbones import read_torch_backbone


@dataclasses.dataclass(frozen=True)
class PublishedWeights:
    """ImageNet weights that others than Keras publish.

    Attributes:
        name: what they are called.
        address: where they are.
        licence: what they may be used for.
    """

    name: str
    address: str
    licence: str

    def arrays(self) -> dict[str, list[np.ndarray]]:
        """The weights, layer -> arrays; the file is fetched if it is not there."""
        file = Remote(self.address, f"{self.name}{Path(self.address).suffix}")
        folder = fetching.cache_folder() / "imagenet"
        with fetching.first_use(file, folder):
            return read_torch_backbone(self._fetch(file, folder))

    def _fetch(self, file: Remote, folder: Path) -> Path:
        advice = f"To do without a network, put {self.address} into '{folder / file.name}'."
        with locks.waiting(folder, lambda holder: fetching.tell(f"Waiting for {holder}.")):
            source = fetching.mirror_of(file)
            if not exists(folder / file.name) and not isinstance(source, Path):
                fetching.tell(f"Fetching '{self.name}' ({self.licence}) from {source}.")
            return fetching.fetch(file, folder, advice)


# ImageNet weights of the Core Networks that Keras has none for.
PUBLISHED = {
    "MobileNetTorch": PublishedWeights(
        "mobilenetv1_100.ra4_e3600_r224_in1k",
        "https://huggingface.co/timm/mobilenetv1_100.ra4_e3600_r224_in1k/resolve/main/model.safetensors",
        "Apache-2.0",
    ),
    "MobileNetV4ConvSmall": PublishedWeights(
        "mobilenetv4_conv_small.e2400_r224_in1k",
        "https://huggingface.co/timm/mobilenetv4_conv_small.e2400_r224_in1k/resolve/main/model.safetensors",
        "Apache-2.0",
    ),
    "ResNet50V15": PublishedWeights(
        "resnet50-11ad3fa6",
        "https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
        "BSD-3-Clause",
    ),
}


def check_width(name: str, width: float, widths: Sequence[float]):
    """Refuses, before anything is fetched, what nobody publishes.

    Args:
        name: the Core Network.
        width: the width that it is wanted in.
        widths: those that there are ImageNet weights for.

    Raises:
        UserError: it is none of them.
    """
    if width not in widths:
        raise UserError(
            f"There are no ImageNet weights of '{name}' at width={width:g}, only at "
            f"{join_names(f'{one:g}' for one in widths)}: take such a width, give a weights file, "
            "or None to start from random weights."
        )


def download(backbone: keras.Model, application) -> dict[str, list[np.ndarray]]:
    """Keras' own weights of a backbone, layer -> arrays; see `load_backbone_weights`."""
    if application is None:
        raise UserError(
            f"There are no ImageNet weights of Keras for '{backbone.name}' in this form: give a "
            "weights file, or None to start from random weights."
        )
    try:
        model = application()
    except Exception as error:
        raise UserError(
            f"ImageNet weights of '{backbone.name}' could not be downloaded ({one_line(error)}). "
            "On a machine with a network, let Keras fetch them once, copy the file it leaves in "
            f"'{_keras_cache()}' to the same place here, or pass its path as the weights."
        ) from error
    return {name: layer.get_weights() for name, layer in layers_with_weights(model).items()}


def _keras_cache() -> Path:
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"
