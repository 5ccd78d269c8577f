"""Trained weights for Core Networks: those of ImageNet, of a file, or of a detector."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import keras
import numpy as np

from ssd_keras.errors import UserError, did_you_mean
from ssd_keras.reading import exists
from ssd_keras.weights import imagenet
from ssd_keras.weights.caffe_backbones import read_caffe_backbone
from ssd_keras.weights.catalogue import list_weights
from ssd_keras.weights.keras_archive import read_config
from ssd_keras.weights.keras_files import LoadReport, load_by_name, read_keras_file
from ssd_keras.weights.published import detector_file, means_published
from ssd_keras.weights.torch_backbones import SUFFIXES, read_torch_backbone


def load_backbone_weights(
    backbone: keras.Model,
    weights: str | Path,
    application=None,
    *,
    published: imagenet.PublishedWeights | None = None,
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
        arrays = adapt(imagenet.download(backbone, application))
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
