"""SavedModel: the detector as a folder that TensorFlow, TF Serving and others run without us."""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf

from ssd_keras import boxes
from ssd_keras.boxes import Suppression
from ssd_keras.deploy.converter import quiet, require_tensorflow
from ssd_keras.float32 import float32_model
from ssd_keras.folders import check_folder, replace_folder
from ssd_keras.labels import check_names, label_text
from ssd_keras.resizing import LETTERBOX
from ssd_keras.tensor_resizing import place_tensor, resize_tensor

# Files in assets.extra travel with the model but are not part of its graph.
LABELS = Path("assets.extra") / "labels.txt"
# What was written here, by which a later export knows that it may replace the folder.
MANIFEST = "assets.extra/ssd_keras_files.json"


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
        folder: where to write; a SavedModel that this function has written there is replaced if
            nothing in its folder was changed or added since.
        score_threshold, iou_threshold, max_detections, class_agnostic: instead of the detector's
            own, see `Suppression`; `max_detections` is D, the slots of the output.

    Raises:
        UserError: a place or a value that cannot be used.
    """
    require_tensorflow()
    suppression = detector.suppression.replace(
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        class_agnostic=class_agnostic,
    )
    check_names(detector.classes)
    check_folder(folder, MANIFEST)
    archive = _archive(float32_model(detector), suppression)

    def write(place: Path):
        with quiet():
            archive.write_out(str(place), verbose=False)
        (place / LABELS).parent.mkdir(exist_ok=True)
        (place / LABELS).write_text(label_text(detector.classes), encoding="utf-8")

    return replace_folder(folder, write, MANIFEST)


def _archive(model: keras.Model, suppression: Suppression) -> keras.export.ExportArchive:
    """The model with its two signatures."""
    detect = _detect_function(model, suppression)

    size, way = model.image_size, model.resize

    def detect_encoded(encoded_images):
        images, sizes = _decode_and_resize(encoded_images, size, way)
        return _in_images(detect(images), sizes, size, way)

    def detect_images(images):
        sizes = tf.repeat(tf.shape(images)[None, 1:3], tf.shape(images)[0], axis=0)
        return _in_images(detect(resize_tensor(images, size, way)), sizes, size, way)

    with quiet():
        archive = keras.export.ExportArchive()
        archive.track(model)
        images = tf.TensorSpec([None, None, None, 3], tf.uint8, "images")
        archive.add_endpoint("serving_default", detect_images, input_signature=[images])
        encoded = tf.TensorSpec([None], tf.string, "encoded_images")
        archive.add_endpoint("encoded_images", detect_encoded, input_signature=[encoded])
    return archive


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


def _in_images(found: dict, sizes, canvas: tuple[int, int], way: str) -> dict:
    """Boxes in shares of the model's input -> in shares of images of `sizes` `[B, 2]`.

    What lies on the edges of a letterbox alone leaves an empty slot, as `Detections.from_canvas`
    leaves it out.
    """
    if way != LETTERBOX:
        return found
    start, inside = place_tensor(sizes, canvas)
    side = tf.constant(canvas, tf.float32)
    start = tf.tile(tf.cast(start, tf.float32) / side, [1, 2])[:, None]
    extent = tf.tile(tf.cast(inside, tf.float32) / side, [1, 2])[:, None]
    inside = tf.clip_by_value((found["boxes"] - start) / extent, 0.0, 1.0)
    return without_edges(found | {"boxes": inside})


def without_edges(found: dict) -> dict:
    """Detections without those of no area; the others move up, and empty slots end the row."""
    corners, slots = found["boxes"], tf.range(tf.shape(found["boxes"])[1])
    kept = tf.reduce_all(corners[..., 2:] > corners[..., :2], axis=-1)
    kept &= slots < found["count"][:, None]
    order = tf.argsort(tf.where(kept, 0, 1), axis=1, stable=True)
    count = tf.reduce_sum(tf.cast(kept, found["count"].dtype), axis=1)
    empty = slots >= count[:, None]

    def moved(name: str, fill):
        values = tf.gather(found[name], order, batch_dims=1)
        mask = empty[..., None] if values.shape.rank == 3 else empty
        return tf.where(mask, tf.cast(fill, values.dtype), values)

    return {
        "boxes": moved("boxes", 0),
        "scores": moved("scores", 0),
        "classes": moved("classes", -1),
        "count": count,
    }


def _decode_and_resize(encoded_images, size: tuple[int, int], way: str):
    """JPEG or PNG files `[B]` -> images `[B, H, W, 3]` of the model's size, and their own sizes."""

    def decode(content):
        image = tf.io.decode_image(content, channels=3, expand_animations=False)
        image.set_shape([None, None, 3])
        return resize_tensor(image, size, way), tf.shape(image)[:2]

    specs = tf.TensorSpec([*size, 3], tf.float32), tf.TensorSpec([2], tf.int32)
    return tf.map_fn(decode, encoded_images, fn_output_signature=specs)
