"""SavedModel: the detector as a folder that TensorFlow, TF Serving and others run without us."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from ssd_keras import boxes
from ssd_keras.boxes import Suppression
from ssd_keras.deploy.converter import quiet, require_tensorflow
from ssd_keras.deploy.precision import float32_model
from ssd_keras.errors import UserError
from ssd_keras.files import check_writable
from ssd_keras.resizing import resize_tensor

# Files in assets.extra travel with the model but are not part of its graph.
LABELS = Path("assets.extra") / "labels.txt"


def to_saved_model(
    detector: keras.Model,
    folder: str | Path,
    *,
    score_threshold: float | None = None,
    iou_threshold: float | None = None,
    max_detections: int | None = None,
    class_agnostic: bool | None = None,
) -> Path:
    """Writes a detector as a SavedModel.

    Signatures, for batches of any size:
        serving_default: `images`, uint8 `[B, H, W, 3]`, RGB, H and W of any size.
        encoded_images: `encoded_images`, string `[B]`, JPEG or PNG files of any sizes.

    Both return `boxes` float32 `[B, D, 4]` (`[ymin, xmin, ymax, xmax]`, normalised), `scores`
    float32 `[B, D]`, `classes` int32 `[B, D]` (-1 in empty slots) and `count` int32 `[B]`. Class
    names lie in assets.extra/labels.txt, a line each.

    Args:
        detector: a detector; trained in mixed precision, it is rebuilt in float32.
        folder: where to write; a SavedModel that is there is replaced.
        score_threshold, iou_threshold, max_detections, class_agnostic: instead of the detector's
            own, see `Suppression`; `max_detections` is D, the slots of the output.

    Raises:
        UserError: a place or a value that cannot be used.
    """
    require_tensorflow()
    suppression = detector.suppression.changed(
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        class_agnostic=class_agnostic,
    )
    folder = Path(folder)
    _check_replaceable(folder)
    model = float32_model(detector)
    detect = _detect_function(model, suppression)

    def detect_encoded(encoded_images):
        return detect(_decoded(encoded_images, model.image_size))

    def detect_images(images):
        return detect(resize_tensor(images, model.image_size))

    temporary = Path(tempfile.mkdtemp(prefix=f".partial-{folder.name}-", dir=folder.parent))
    try:
        with quiet():
            archive = keras.export.ExportArchive()
            archive.track(model)
            images = tf.TensorSpec([None, None, None, 3], tf.uint8, "images")
            archive.add_endpoint("serving_default", detect_images, input_signature=[images])
            encoded = tf.TensorSpec([None], tf.string, "encoded_images")
            archive.add_endpoint("encoded_images", detect_encoded, input_signature=[encoded])
            archive.write_out(str(temporary), verbose=False)
        (temporary / LABELS).parent.mkdir(exist_ok=True)
        labels = "".join(f"{name}\n" for name in detector.classes)
        (temporary / LABELS).write_text(labels, encoding="utf-8")
        # mkdtemp makes a folder that only its owner can read.
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    except OSError as error:
        raise UserError(f"'{folder}' cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _check_replaceable(folder: Path):
    if folder.is_file():
        raise UserError(f"'{folder}' is a file: give a folder for the SavedModel.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "saved_model.pb").is_file():
        raise UserError(
            f"'{folder}' holds other files: give an empty or new folder for the SavedModel."
        )
    check_writable(folder / "saved_model.pb" if folder.is_dir() else folder)


def _detect_function(model: keras.Model, suppression: Suppression):
    def detect(images):
        decoded, scores = model.box_network.decode(model(images, training=False))
        found = boxes.suppress(decoded, scores, **suppression.as_dict(), xla=False)
        return {
            "boxes": found["boxes"],
            "scores": found["scores"],
            "classes": found["labels"],
            "count": found["count"],
        }

    return detect


def _decoded(encoded_images, size: tuple[int, int]):
    """JPEG or PNG files `[B]` -> images `[B, H, W, 3]` of the model's size."""

    def decode(content):
        image = tf.io.decode_image(content, channels=3, expand_animations=False)
        image.set_shape([None, None, 3])
        return resize_tensor(image, size)

    spec = tf.TensorSpec([*size, 3], tf.float32)
    return tf.map_fn(decode, encoded_images, fn_output_signature=spec)
