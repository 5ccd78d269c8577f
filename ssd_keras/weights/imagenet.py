"""ImageNet weights for Core Networks, from Keras' own files."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import keras

from ssd_keras.errors import UserError, one_line
from ssd_keras.weights.caffe_backbones import read_caffe_backbone
from ssd_keras.weights.keras_files import LoadReport, load_by_name, read_keras_file


def load_backbone_weights(
    backbone: keras.Model,
    weights: str | Path,
    application=None,
    *,
    adapt=lambda arrays: arrays,
    optional: Collection[str] = (),
) -> LoadReport:
    """Fills a backbone with trained weights, by layer name.

    Args:
        backbone: a Core Network whose layers carry Keras' names.
        weights: "imagenet" for Keras' own file, downloaded on this call if it is not in Keras'
            cache; or the path of a `.weights.h5`, `.h5` or `.keras` file, or of a `.caffemodel`
            of fc-reduced VGG16 or ResNet-101.
        application: for "imagenet", a function without arguments that builds the
            `keras.applications` model of this backbone with its ImageNet weights.
        adapt: turns Keras' weights, layer -> arrays, into those of the backbone.
        optional: layers that may be missing from the weights and keep what they have.

    Raises:
        UserError: the file cannot be had or read, or does not fill every layer of the backbone.
    """
    if weights == "imagenet":
        arrays = _download(backbone, application)
    elif Path(weights).suffix == ".caffemodel":
        arrays = read_caffe_backbone(weights)
    else:
        arrays = read_keras_file(weights)
    before = {layer.name: layer.get_weights() for layer in backbone.layers}
    report = load_by_name(backbone, adapt(arrays))
    if set(report.missing) - set(optional) or report.mismatched:
        for layer in backbone.layers:
            layer.set_weights(before[layer.name])
        raise UserError(_explain(backbone, weights, report))
    return report


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
