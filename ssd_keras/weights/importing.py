"""One door for published detectors: recognises a file and gives it to its importer."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ssd_keras.errors import UserError
from ssd_keras.reading import reading
from ssd_keras.weights import (
    api_fpn,
    api_graph_facts,
    caffe,
    caffe_ssd,
    object_detection_api,
    torchvision_ssdlite,
    vgg_ssd,
)
from ssd_keras.weights.api_facts import Facts, config_beside, config_facts
from ssd_keras.weights.archives import is_archive
from ssd_keras.weights.imported import Imported
from ssd_keras.weights.keras_archive import weights_up_to
from ssd_keras.weights.keras_files import read_keras_file
from ssd_keras.weights.label_maps import read_labels
from ssd_keras.weights.statistics import restore_statistics
from ssd_keras.weights.tensorflow_file import TensorFlowFile, is_checkpoint
from ssd_keras.weights.torch_files import read_state_dict
from ssd_keras.weights.zoo_archives import detector_in, unpack_detector

# Raised whenever the same file becomes another detector, so that no earlier import is taken for it.
FORM = 3
KINDS = (
    "a frozen graph (.pb), SavedModel or checkpoint of the TF Object Detection API, the archive or "
    "folder of its zoo with these, a .tflite file of it, a .caffemodel with its .prototxt, a .pth "
    "of torchvision's ssd300_vgg16 or ssdlite320_mobilenet_v3_large, or a .h5 of "
    "pierluigiferrari/ssd_keras"
)


def import_detector(
    source: str | Path,
    *,
    prototxt: str | Path | None = None,
    labels: str | Path | Mapping[int, str] | None = None,
    image_size: tuple[int, int] | None = None,
) -> Imported:
    """Makes a detector from the published weights of another project.

    Nothing in the file is executed. Every weight must find its place, or the import fails.

    Args:
        source: one of `KINDS`.
        prototxt: the network of a .caffemodel.
        labels: class names by their numbers from 1, or a file of them, see `read_labels`.
        image_size: (height, width), for checkpoints, which do not hold it.

    Raises:
        UserError: a file is missing, damaged, or of a network that is not supported.
    """
    source = Path(source)
    names = read_labels(labels) if isinstance(labels, (str, Path)) else labels
    if not source.exists() and not is_checkpoint(source):
        raise UserError(f"'{source}' does not exist: give {KINDS}.")
    if source.name == "saved_model.pb":
        source = source.parent
    if source.suffix == ".index":
        source = source.with_suffix("")
    if is_archive(source):
        with tempfile.TemporaryDirectory() as folder:
            return _import_unpacked(source, Path(folder), labels=names, image_size=image_size)
    if source.is_dir() and _kind(source) is None:
        source = detector_in(source)
    kind = _kind(source)
    if kind is None:
        raise UserError(f"'{source}' is of no known kind: give {KINDS}.")
    try:
        # Behind the readers too: a damaged file can be read and still make no sense.
        with reading(source, "a detector"), weights_up_to(_most_values(source)):
            imported = _import(kind, source, prototxt, names, image_size)
            restore_statistics(imported.detector, imported.folded)
            imported.detector.suppression = imported.suppression
            return imported
    except UserError as error:
        if any(str(path) in str(error) for path in (source, prototxt) if path is not None):
            raise
        raise UserError(f"'{source}': {error}") from error


def _import_unpacked(archive: Path, folder: Path, **options) -> Imported:
    try:
        return import_detector(unpack_detector(archive, folder), **options)
    except UserError as error:
        raise UserError(str(error).replace(str(folder), str(archive))) from error


def _most_values(source: Path) -> int:
    """More values than a detector of this file can have: four for each byte of it.

    Quantised weights are a byte each, and a folded bias becomes the four of a batch norm.
    """
    files = [source] if source.is_file() else source.parent.glob(f"{glob.escape(source.name)}.*")
    if source.is_dir():
        files = (file for file in source.rglob("*") if file.is_file())
    return 4 * sum(file.stat().st_size for file in files)


def _import(kind: str, source: Path, prototxt, labels, image_size) -> Imported:
    if kind == ".caffemodel":
        if prototxt is None:
            raise UserError(f"'{source}' needs the .prototxt of its network: give --prototxt.")
        network = caffe.read_network(prototxt)
        return caffe_ssd.import_caffe(network, caffe.read_caffemodel(source), labels=labels)
    if kind == ".pth":
        arrays = read_state_dict(source)
        if torchvision_ssdlite.is_ssdlite(arrays):
            return torchvision_ssdlite.import_ssdlite(arrays, labels)
        return vgg_ssd.import_torchvision(arrays, labels)
    if kind == ".h5":
        return vgg_ssd.import_ferrari(read_keras_file(source), labels)
    if kind == ".tflite":
        # Its schema takes a while to import.
        from ssd_keras.weights.tflite_files import read_tflite

        file, facts, packed = read_tflite(source)
        labels = labels or packed
    else:
        file, facts = _read_tensorflow(kind, source)
    if api_fpn.has_pyramid(file):
        return api_fpn.import_pyramid(
            file, kind.lstrip("."), facts, labels=labels, image_size=image_size
        )
    return object_detection_api.import_tensors(
        file, kind.lstrip("."), facts, labels=labels, image_size=image_size
    )


def _read_tensorflow(kind: str, source: Path) -> tuple[TensorFlowFile, Facts]:
    """What a file of TensorFlow holds, and what it and a configuration beside it say."""
    # Here, because it takes TensorFlow, which no other kind of file needs.
    from ssd_keras.weights import tensorflow_files

    read = {
        "SavedModel": tensorflow_files.read_saved_model,
        "checkpoint": tensorflow_files.read_checkpoint,
        "frozen graph": tensorflow_files.read_frozen_graph,
    }
    file = read[kind](source)
    facts = api_graph_facts.graph_facts(file)
    config = config_beside(source)
    # A frozen graph says all by itself.
    if config is not None and kind != "frozen graph":
        facts = facts.completed_by(config_facts(config))
    return file, facts


def _kind(source: Path) -> str | None:
    """What the source is, by its name and what lies beside it."""
    if (source / "saved_model.pb").is_file():
        return "SavedModel"
    if is_checkpoint(source):
        return "checkpoint"
    suffix = {".pb": "frozen graph", ".pt": ".pth", ".hdf5": ".h5"}.get(
        source.suffix, source.suffix
    )
    known = ("frozen graph", ".caffemodel", ".pth", ".h5", ".tflite")
    return suffix if suffix in known else None
