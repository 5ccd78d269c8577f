"""int8 by TensorFlow's converter beside LiteRT's own quantizer, with the same calibration images.

python -m tests.benchmarks.quantizers --run_dir=runs/photos --data=voc:photos#val \
    --calibration_data=voc:photos#train

needs `pip install litert-quantizer`. All quantize the same network, and the same post-processing in
float32 is joined to each. ms: the least median of three, one thread. Run it with nothing beside it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from absl import app, flags

import ssd_keras
from ssd_keras import data, deploy, evaluation
from ssd_keras.deploy import flatbuffer, placement, tflite
from ssd_keras.deploy.calibration import Calibration
from ssd_keras.deploy.converter import convert
from ssd_keras.deploy.decoding import decoding_of
from ssd_keras.deploy.levels import join_model, joined_outputs, split_levels
from ssd_keras.deploy.tflite_file import TFLiteFile
from ssd_keras.float32 import float32_model

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", None, "Run folder.", required=True)
flags.DEFINE_string("data", None, "Data to measure on.", required=True)
flags.DEFINE_string("calibration_data", None, "Data to calibrate with.", required=True)
flags.DEFINE_integer("calibration_images", 60, "How many of them.")

HEAD = "| | MB | AP50 | AP | ms | operators that XNNPACK takes |\n|---|---|---|---|---|---|"


def main(_):
    """Prints a row for each way."""
    detector = ssd_keras.load(FLAGS.run_dir)
    source = data.load_source(FLAGS.data, classes=detector.classes)
    images = deploy.calibration_images(
        data.load_source(FLAGS.calibration_data), FLAGS.calibration_images
    )
    calibration = Calibration(images, detector.image_size, detector.resize).with_whole_range()
    print(HEAD)
    for name, network in networks(detector, calibration).items():
        content = complete(detector, network(), "int8" if name == "converter, int8" else "none")
        print(f"| {name} | {measured(content, source)} |", flush=True)


def networks(detector, calibration: Calibration) -> dict[str, Callable[[], bytes]]:
    """The network with each level as an output by itself, quantized in each way."""
    model = float32_model(detector)
    parts = split_levels(model, joined_outputs(model))

    def converted(quantization: str) -> bytes:
        return convert(
            lambda image: dict(parts(image, training=False)),
            tflite.image_spec(model),
            quantization=quantization,
            calibration=calibration,
        )

    exact = converted("none")
    quantizer = LiteRTQuantizer(exact, calibration)
    return {
        "float32": lambda: exact,
        "converter, int8": lambda: converted("int8"),
        "quantizer, int8": lambda: quantizer.quantize("static_wi8_ai8"),
        "quantizer, int8 weights and int16 maps": lambda: quantizer.quantize("static_wi8_ai16"),
        "converter, dynamic": lambda: converted("dynamic"),
        "quantizer, dynamic": lambda: quantizer.quantize("dynamic_wi8_afp32"),
    }


class LiteRTQuantizer:
    """LiteRT's quantizer of one float file; its images are gone through once."""

    def __init__(self, content: bytes, calibration: Calibration):
        self.content = content
        self.signature = TFLiteFile(content).signature.signatureKey.decode()
        self.images = [{"image": image} for image in calibration]
        self.ranges = None

    def quantize(self, recipe_name: str) -> bytes:
        """The file by one of the recipes of `litert_quantizer.recipe`; pixels and outputs float."""
        from litert_quantizer import algorithm_manager, qtyping, quantizer, recipe

        engine = quantizer.Quantizer(self.content, getattr(recipe, recipe_name)())
        for operation in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            engine.update_quantization_recipe(
                regex=".*",
                operation_name=operation,
                algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE,
            )
        if not engine.need_calibration:
            return inlined(bytes(engine.quantize(None).quantized_model))
        if self.ranges is None:
            self.ranges = engine.calibrate({self.signature: self.images}, num_threads=2)
        return inlined(bytes(engine.quantize(self.ranges).quantized_model))


def inlined(content: bytes) -> bytes:
    """A file whose constants lie inside its tables, where the quantizer puts them behind."""
    model = flatbuffer.read(content)
    for buffer in model.buffers:
        if buffer.offset and buffer.offset > 1:
            outside = content[buffer.offset : buffer.offset + buffer.size]
            buffer.data = np.frombuffer(outside, np.uint8)
            buffer.offset = buffer.size = 0
    return flatbuffer.write(model)


def complete(detector, network: bytes, quantization: str) -> bytes:
    """The file that detects by itself."""
    file = TFLiteFile(network)
    if quantization == "int8":
        file.dequantize_last()
    file.append(TFLiteFile(join_model(joined_outputs(float32_model(detector)))))
    options = tflite.Options(quantization, "builtin", detector.suppression)
    return tflite.completion(detector, decoding_of(detector), options)(file)


def measured(content: bytes, source) -> str:
    """The cells of a file's row."""
    runner = deploy.TFLiteDetector(content, 1, trusted=True)
    readable = dict(source.readable())
    truth = [source.ground_truth()[index] for index in readable]
    found = [runner.detect(image) for image in readable.values()]
    ap50 = evaluation.voc_ap(truth, found, source.classes)["map"]
    ap = evaluation.coco_ap(truth, found, source.classes)["AP"]
    time = min(runner.milliseconds(20) for _ in range(3))
    where = str(placement.asked_of_xnnpack(content)).removeprefix("XNNPACK takes ")
    return f"{len(content) / 1e6:.2f} | {ap50:.4f} | {ap:.4f} | {time:.1f} | {where}"


if __name__ == "__main__":
    app.run(main)
