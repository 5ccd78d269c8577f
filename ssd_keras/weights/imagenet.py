"""Trained weights for Core Networks: those of ImageNet, and those of a detector."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection
from pathlib import Path

import keras
import numpy as np

from ssd_keras import locks
from ssd_keras.errors import UserError, did_you_mean, one_line
from ssd_keras.reading import exists
from ssd_keras.weights import fetching
from ssd_keras.weights.caffe_backbones import read_caffe_backbone
from ssd_keras.weights.catalogue import Remote, list_weights
from ssd_keras.weights.keras_archive import read_config
from ssd_keras.weights.keras_files import LoadReport, load_by_name, read_keras_file
from ssd_keras.weights.published import detector_file, means_published
from ssd_keras.weights.torch_backbones import SUFFIXES, read_torch_backbone


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


def load_backbone_weights(
    backbone: keras.Model,
    weights: str | Path,
    application=None,
    *,
    published: PublishedWeights | None = None,
    adapt=lambda arrays: arrays,
    optional: Collection[str] = (),
) -> LoadReport:
    """Fills a backbone with trained weights, by layer name.

    Args:
        backbone: a Core Network whose layers carry Keras' names.
        weights: "imagenet" for Keras' own file, downloaded on this call if it is not in Keras'
            cache; a detector, whose Core Network is taken alone: a run folder, its `.keras` file
            or a name of `list_weights`; or the path of a `.weights.h5`, `.h5` or `.keras` file, of
            a `.caffemodel` of fc-reduced VGG16 or ResNet-101, or of a file of `torch_backbones`.
        application: for "imagenet", a function without arguments that builds the
            `keras.applications` model of this backbone with its ImageNet weights.
        published: for "imagenet" where Keras has none, the file of others.
        adapt: turns Keras' weights, layer -> arrays, into those of the backbone.
        optional: layers that may be missing from the weights and keep what they have.

    Raises:
        UserError: the file cannot be had or read, or does not fill every layer of the backbone.
    """
    if weights == "imagenet" and published:
        arrays = adapt(published.arrays())
    elif weights == "imagenet":
        arrays = adapt(_download(backbone, application))
    else:
        detector = _detector_of(weights)
        # A detector's layers have the backbone's own names.
        arrays = read_keras_file(detector) if detector else adapt(_read(weights))
    before = {layer.name: layer.get_weights() for layer in backbone.layers}
    report = load_by_name(backbone, arrays)
    if set(report.missing) - set(optional) or report.mismatched:
        for layer in backbone.layers:
            layer.set_weights(before[layer.name])
        raise UserError(_explain(backbone, weights, report))
    return report


def _detector_of(weights: str | Path) -> Path | None:
    """The .keras file of the detector that the weights are named by; None if they are others."""
    path = Path(weights)
    if means_published(weights) or path.is_dir():
        return detector_file(weights)
    if path.suffix == ".keras" and "box_network" in read_config(path).get("config", {}):
        return path
    return None


def _read(weights: str | Path) -> dict[str, list[np.ndarray]]:
    path = Path(weights)
    if not path.suffix and not exists(path):
        raise UserError(
            f"There are no backbone weights '{weights}'."
            f"{did_you_mean(path.name, ['imagenet', *list_weights()])} Give 'imagenet', a weights "
            "file, or a detector: a run folder or a name of ssd_keras.list_weights()."
        )
    if path.suffix in SUFFIXES:
        return read_torch_backbone(path)
    if path.suffix == ".caffemodel":
        return read_caffe_backbone(path)
    return read_keras_file(path)


def _download(backbone, application):
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
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def _keras_cache() -> Path:
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"


def _explain(backbone, weights, report: LoadReport) -> str:
    wanted = len(report.loaded) + len(report.missing) + len(report.mismatched)
    problem = f"{len(report.loaded)} of the {wanted} layers of '{backbone.name}' found weights"
    if report.mismatched:
        name, (ours, theirs) = next(iter(report.mismatched.items()))
        problem += f"; '{name}' has shapes {ours} here and {theirs} in the file"
    if report.missing:
        problem += f"; '{report.missing[0]}' is not in the file"
    return (
        f"Weights '{weights}' do not fit: {problem}. Give the weights of this backbone at this "
        "width, or None to start from random weights."
    )
