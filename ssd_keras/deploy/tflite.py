"""From a detector to the bytes of a .tflite file that detects by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import keras
import numpy as np
import tensorflow as tf

from ssd_keras.boxes import Suppression
from ssd_keras.deploy import metadata, parity
from ssd_keras.deploy.calibration import Calibration
from ssd_keras.deploy.converter import check_quantization, convert
from ssd_keras.deploy.decoding import Decoding, decoding_of
from ssd_keras.deploy.levels import JoinedOutput, join, join_model, joined_outputs, split_levels
from ssd_keras.deploy.postprocess import DETECTION_OUTPUTS, RAW_OUTPUTS, check_postprocess
from ssd_keras.deploy.postprocess import postprocess as postprocess_model
from ssd_keras.deploy.targets import PRECISIONS, check_calibration_is_used, choose
from ssd_keras.deploy.tflite_checks import (
    check_pixels,
    check_weights,
    warn_of_changed_scores,
    warn_of_explosions,
    warn_of_mediapipe,
)
from ssd_keras.deploy.tflite_file import TFLiteFile
from ssd_keras.display import counted
from ssd_keras.float32 import float32_model
from ssd_keras.resizing import CORNER, FILL, HALF_PIXEL, LETTERBOX

# What apps have to know of resizing, where it is not the usual way.
RESIZED = {
    HALF_PIXEL: "",
    CORNER: "Images are to be resized bilinearly with source = x * n / S, not half-pixel centres.",
    LETTERBOX: "Boxes are shares of the whole input. Images are to be made as large as they fit, "
    "the aspect ratio kept, in its middle, around them RGB {:.0f}, {:.0f}, {:.0f}.".format(*FILL),
}
# Of sentences, which the texts of users may do without.
ENDS = (".", "!", "?", "\n")
CHECKED_IMAGES = 32


def to_tflite(
    detector: keras.Model,
    *,
    target: str | None = None,
    quantization: str | None = None,
    calibration_images: Iterable[np.ndarray] | Mapping[str, np.ndarray] | None = None,
    postprocess: str | None = None,
    score_threshold: float | None = None,
    iou_threshold: float | None = None,
    max_detections: int | None = None,
    class_agnostic: bool | None = None,
    name: str | None = None,
    description: str | None = None,
    author: str = "",
    license: str = "",
    version: str = "",
) -> bytes:
    """Turns a detector into a .tflite file with suppression, labels and metadata inside.

    The input is one image `[1, H, W, 3]`, RGB 0..255: uint8 in an int8 file, float32 in the
    others. (Float, because GPU delegates take no cast from uint8 and the LiteRT samples and
    MediaPipe hand float files float pixels; uint8, because that is what a camera gives and it
    saves the conversion.) Outputs as in `deploy.postprocess`, in the order boxes, classes,
    scores, count.

    Only the raw network is quantized; softmax, decoding and suppression stay float and are joined
    afterwards. A detector trained in mixed precision is rebuilt in float32 first.

    Args:
        detector: a detector; it is not changed.
        target: what will run it, see `deploy.TARGETS`: "cpu", "gpu", "npu", "edgetpu" or
            "mediapipe"; chooses quantization and postprocess where these are not given.
        quantization: "none" (if nothing is said), "float16", "dynamic" or "int8".
        calibration_images: for int8: images `[H, W, 3]` of any size, RGB 0..255, from which the
            ranges of the activations are taken; 100 to 500 of those it will see. With a dict the
            warnings name them. Of a detector that looks at tiles, larger ones are cut.
        postprocess: "builtin" (if nothing is said), "op" or "none"; see `deploy.postprocess`.
        score_threshold, iou_threshold, max_detections, class_agnostic: instead of the detector's
            own, see `Suppression`; `max_detections` is the number of slots of the output.
        name: name of the model in the metadata; the detector's if not given.
        description: sentences for the metadata; what an app has to know of resizing and tiles,
            where it is not the usual way, is added.
        author: for the metadata.
        license: for the metadata.
        version: for the metadata.

    Raises:
        UserError: a value that cannot be used or does not go with the target, or calibration
            images that are missing, in the wrong range, or given for a file that is not int8.
    """
    choices = choose(target, quantization, postprocess)
    check_calibration_is_used({"calibration_images": calibration_images}, choices)
    suppression = detector.suppression.replace(
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        class_agnostic=class_agnostic,
    )
    options = Options(choices.quantization, choices.postprocess, suppression)
    decoding = decoding_of(detector)
    # First, so that a wrong value costs no conversion of the network.
    complete = completion(
        detector,
        decoding,
        options,
        name=name,
        description=description,
        author=author,
        license=license,
        version=version,
    )
    if target == "mediapipe":
        warn_of_mediapipe(detector)
    return complete(_network(detector, decoding, choices.quantization, calibration_images))


@dataclasses.dataclass(frozen=True)
class Options:
    """What a file does, as its settings say; see `to_tflite`."""

    quantization: str = "none"
    postprocess: str = "builtin"
    suppression: Suppression = dataclasses.field(default_factory=Suppression)

    def __post_init__(self):
        check_quantization(self.quantization)
        check_postprocess(self.postprocess)


def completion(
    detector: keras.Model, decoding: Decoding, options: Options, **texts: str | None
) -> Callable[[TFLiteFile], bytes]:
    """What makes the whole file of the raw network: post-processing, its outputs, metadata.

    Args:
        detector: knows the classes.
        decoding: that of the detector.
        options: see `Options`.
        texts: those of `model_card`.
    """
    card = model_card(detector, decoding, options, **texts)
    ending = TFLiteFile(postprocess_model(options.postprocess, decoding, options.suppression))
    is_raw = options.postprocess == "none"

    def complete(file: TFLiteFile) -> bytes:
        file.append(ending)
        file.order_outputs(RAW_OUTPUTS if is_raw else DETECTION_OUTPUTS)
        file.shorten_names()
        metadata.add_metadata(
            file,
            card,
            float_input=options.quantization != "int8",
            raw=decoding if is_raw else None,
        )
        return file.to_bytes()

    return complete


def raw_network(
    detector: keras.Model,
    *,
    quantization: str = "none",
    calibration_images: Iterable[np.ndarray] | Mapping[str, np.ndarray] | None = None,
) -> bytes:
    """The network alone as a .tflite file: image -> its raw outputs by name, all float32."""
    decoding = decoding_of(detector)
    return _network(detector, decoding, quantization, calibration_images).to_bytes()


def _network(detector: keras.Model, decoding: Decoding, quantization: str, images) -> TFLiteFile:
    calibration = None
    if quantization == "int8" and images is not None:
        calibration = Calibration(
            images, detector.image_size, detector.resize, getattr(detector, "tiling", None)
        )
    model = float32_model(detector)
    if quantization == "int8":
        return _int8_network(model, decoding, calibration)
    content = convert(_predict(model), image_spec(model), quantization=quantization)
    return _read_converted(content, model, quantization)


def _int8_network(
    model: keras.Model, decoding: Decoding, calibration: Calibration | None
) -> TFLiteFile:
    """The raw network in int8, its levels joined in float."""
    outputs = joined_outputs(model)
    return _join_levels(
        _quantize_with_better_images(model, outputs, decoding, calibration), model, outputs
    )


def _quantize_with_better_images(
    model: keras.Model,
    outputs: list[JoinedOutput],
    decoding: Decoding,
    calibration: Calibration | None,
) -> bytes:
    """The network in int8, calibrated with the images or with the usual ones of them.

    Where a network gives far larger values on some images than on the others, these may be
    explosions that leave the others no steps, or what it sees in large objects. So both are tried.
    """
    content = _quantize(model, outputs, calibration)
    images = calibration.some(CHECKED_IMAGES)

    def change_of(content: bytes) -> float:
        network = parity.network(content)
        return parity.score_change(
            lambda image: join(outputs, network(image)), model, decoding, images
        )

    change = change_of(content)
    explosions = calibration.explosions(model)
    if explosions:
        other = _quantize(model, outputs, calibration.without(explosions))
        other_change = change_of(other)
        if other_change < change:
            content, change = other, other_change
            warn_of_explosions(explosions, len(calibration))
    warn_of_changed_scores(change)
    return content


def _join_levels(content: bytes, model: keras.Model, outputs: list[JoinedOutput]) -> TFLiteFile:
    file = _read_converted(content, model, "int8")
    check_pixels(file)
    file.dequantize_last()
    file.append(TFLiteFile(join_model(outputs)))
    return file


def _quantize(
    model: keras.Model, outputs: list[JoinedOutput], calibration: Calibration | None
) -> bytes:
    """The network in int8 with the parts of its outputs as outputs."""
    function = _predict(split_levels(model, outputs))
    shown = None if calibration is None else calibration.with_whole_range()
    return convert(function, image_spec(model), quantization="int8", calibration=shown)


def image_spec(model: keras.Model) -> tf.TensorSpec:
    """The input of the network, one float image."""
    return tf.TensorSpec([1, *model.image_size, 3], tf.float32, "image")


def _predict(model: keras.Model) -> Callable:
    return lambda image: dict(model(image, training=False))


def _read_converted(content: bytes, model: keras.Model, quantization: str) -> TFLiteFile:
    file = TFLiteFile(content)
    check_weights(file, model, quantization)
    return file


def model_card(
    detector: keras.Model,
    decoding: Decoding,
    options: Options,
    *,
    name: str | None = None,
    description: str | None = None,
    **texts: str,
) -> metadata.ModelCard:
    """What the file will say of itself."""
    height, width = detector.image_size
    tiling = getattr(detector, "tiling", None)
    precision = PRECISIONS[options.quantization]
    usual = (
        f"Detects objects of {counted(len(detector.classes), 'class', 'classes')} in images of "
        f"{height} x {width} pixels, {precision}. Made with ssd-keras."
    )
    needed = [RESIZED[detector.resize], "" if tiling is None else f"It learned on {tiling}."]
    described = description or usual
    for sentence in filter(None, needed):
        described += f"{'' if described.endswith(ENDS) else '.'} {sentence}"
    return metadata.ModelCard(
        name=name or detector.name,
        classes=tuple(detector.classes),
        image_size=(height, width),
        description=described,
        letterbox=detector.resize == LETTERBOX,
        score_threshold=options.suppression.score_threshold,
        settings={
            "quantization": options.quantization,
            "postprocess": options.postprocess,
            **options.suppression.as_dict(),
            "image_size": [height, width],
            "resize": detector.resize,
            "variances": [float(v) for v in decoding.variances],
            **({} if tiling is None else {"tiling": tiling.as_dict()}),
        },
        **texts,
    )
