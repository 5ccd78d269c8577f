"""Files made from a detector give the detector's own answers."""

import contextlib
import dataclasses
import warnings

import numpy as np
import pytest
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.cpu_options import CpuOptions
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.options import Options

from ssd_keras import deploy
from ssd_keras.boxes.tiles import Tiling
from ssd_keras.deploy import flatbuffer, metadata, parity, tflite, tflite_checks
from ssd_keras.deploy.decoding import anchor_centers, decoding_of
from ssd_keras.deploy.runtime import as_detections, as_input
from ssd_keras.deploy.tflite_file import TFLiteFile, packed_files
from ssd_keras.errors import UserError
from ssd_keras.resizing import resize
from tests.comparing import assert_same_detections
from tests.deploy.conftest import CLASSES, assemble_anew, pictures, raw, run
from tests.without_xla import eagerly

PIXELS = np.array([120, 160, 120, 160])
UNSEEN = pictures(4, seed=9)


def assert_same(found, wanted):
    assert_same_detections(found, wanted, box_atol=0.5 / PIXELS.max(), score_atol=1e-4)


def detect(detector, images, **settings):
    """What the detector finds; for a few images it is not worth tracing."""
    with eagerly():
        return detector.detect(images, **settings)


@pytest.fixture(scope="module")
def wanted(detector):
    return detect(detector, UNSEEN)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_float32_file_detects_what_the_detector_detects(float_file, wanted, threads):
    runner = deploy.TFLiteDetector(float_file, threads)
    for image, expected in zip(UNSEEN, wanted, strict=True):
        assert len(expected) > 20
        assert_same(runner.detect(image), expected)


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("name", ["float_file", "int8_file"])
def test_compiled_model_gives_the_same(request, tmp_path, name, threads):
    content = request.getfixturevalue(name)
    runner = deploy.TFLiteDetector(content)
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    compiled = CompiledModel.from_file(
        str(path), options=Options(cpu_options=CpuOptions(num_threads=threads))
    )
    dtype = np.float32 if name == "float_file" else np.uint8
    inputs, outputs = compiled.create_input_buffers(0), compiled.create_output_buffers(0)
    for image in UNSEEN:
        inputs[0].write(np.ascontiguousarray(as_input(resize(image, (96, 96)), dtype)))
        compiled.run_by_index(0, inputs, outputs)
        sizes = (200 * 4, 200, 200, 1)
        found = [o.read(n, np.float32) for o, n in zip(outputs, sizes, strict=True)]
        assert_same(as_detections(found, CLASSES), runner.detect(image))


def test_a_higher_threshold_and_fewer_slots(detector, assembled):
    settings = {"max_detections": 9, "score_threshold": 0.4, "iou_threshold": 0.3}
    runner = deploy.TFLiteDetector(assembled("builtin", **settings))
    for image in UNSEEN:
        assert_same(runner.detect(image), detect(detector, image, **settings))


def test_the_file_suppresses_as_the_detector_does(detector, monkeypatch):
    settings = {"score_threshold": 0.2, "max_detections": 12, "class_agnostic": True}
    monkeypatch.setattr(detector, "suppression", settings)
    converted = raw("none")
    monkeypatch.setattr(tflite, "_network", lambda *given: TFLiteFile(converted))
    file = deploy.to_tflite(detector)
    assert settings.items() <= metadata.settings_of(packed_files(file)).items()
    found = deploy.TFLiteDetector(file).detect(UNSEEN[0])
    assert len(found) > 2
    assert_same(found, detect(detector, UNSEEN[0]))
    told = deploy.TFLiteDetector(deploy.to_tflite(detector, max_detections=2))
    assert len(told.detect(UNSEEN[0])) == 2


def test_op_agrees_on_the_best_detection(assembled, wanted):
    runner = deploy.TFLiteDetector(assembled("op"))
    for image, expected in zip(UNSEEN, wanted, strict=True):
        found = runner.detect(image)
        np.testing.assert_allclose(found.boxes[0], expected.boxes[0], atol=1e-4)
        assert found.labels[0] == expected.labels[0]


def test_outputs_are_boxes_classes_scores_count(float_file):
    file = TFLiteFile(float_file)
    names = [item.name.decode() for item in file.signature.outputs]
    shapes = [
        [int(n) for n in file.graph.tensors[item.tensorIndex].shape]
        for item in file.signature.outputs
    ]
    assert names == ["detection_boxes", "detection_classes", "detection_scores", "num_detections"]
    assert shapes == [[1, 200, 4], [1, 200], [1, 200], [1]]


def test_raw_outputs_and_packed_anchors_are_enough_to_detect(detector, assembled):
    content = assembled("none")
    files = packed_files(content)
    anchors = np.frombuffer(files[metadata.ANCHORS_FILE], "<f4").reshape(-1, 4)
    np.testing.assert_array_equal(anchors, anchor_centers(detector.box_network.anchors))
    variances = metadata.settings_of(files)["variances"]
    image = resize(UNSEEN[0], (96, 96))[None]
    boxes, scores = (np.asarray(x)[0] for x in detector.box_network.decode(detector(image)))
    outputs = run(content, image=image)
    codes, found = outputs["boxes"][0], outputs["scores"][0]
    middle = codes[:, :2] * variances[:2] * anchors[:, 2:] + anchors[:, :2]
    size = np.exp(codes[:, 2:] * variances[2:]) * anchors[:, 2:]
    np.testing.assert_allclose(
        np.concatenate([middle - size / 2, middle + size / 2], 1), boxes, atol=1e-4
    )
    np.testing.assert_allclose(found, scores, atol=1e-4)


def test_int8_network_is_int8_throughout(int8_file):
    """Only what is joined afterwards computes in float."""
    file = TFLiteFile(int8_file)
    graph = file.graph
    float_convolutions = [
        operator
        for operator in graph.operators
        for index in operator.inputs[:1]
        if graph.tensors[index].type == 0
        and len(operator.inputs) == 3
        and graph.tensors[operator.inputs[1]].shape is not None
        and len(graph.tensors[operator.inputs[1]].shape) == 4
    ]
    assert float_convolutions == []
    # Codes and logits of each of the six levels.
    assert file.operators()["DEQUANTIZE"] == 12


def test_int8_operators_come_before_all_others(raw_int8):
    """Where compilers cut at the first operator in float, nothing in int8 may be behind it."""
    graph = TFLiteFile(raw_int8).graph
    is_float = [graph.tensors[operator.outputs[0]].type == 0 for operator in graph.operators]
    assert is_float == sorted(is_float)
    assert sum(is_float) == 14


@pytest.mark.parametrize("name", ["boxes", "classes"])
def test_int8_changes_predictions_less_than_slight_image_noise(detector, raw_int8, name):
    """A yardstick is needed: a network with random weights amplifies every small change."""
    rng = np.random.default_rng(0)
    images = np.stack([np.round(resize(image, (96, 96))) for image in UNSEEN])
    wanted = np.asarray(detector(images)[name])
    noisy = np.asarray(detector(images + rng.normal(0, 2, images.shape))[name])
    found = np.concatenate(
        [run(raw_int8, image=image[None].astype(np.uint8))[name] for image in images]
    )
    assert np.mean((found - wanted) ** 2) < 0.6 * np.mean((noisy - wanted) ** 2)
    # A level of which all is too large or too small is lost in the mean. Noise makes predictions
    # follow less, never more; the coarsest levels follow too little to tell.
    slopes = [
        np.polyfit(wanted[:, level].ravel(), found[:, level].ravel(), 1)[0]
        for level in slices(detector.box_network.level_anchors)[:3]
    ]
    assert 0.7 < min(slopes) <= max(slopes) < 1.02


def slices(levels) -> list[slice]:
    """Where the default boxes of each level stand among all."""
    ends = np.cumsum([len(level) for level in levels]).tolist()
    return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def test_labels_and_settings_are_inside(float_file):
    files = packed_files(float_file)
    assert metadata.labels_of(files) == CLASSES
    assert set(metadata.LABEL_FILES) <= set(files)
    assert metadata.settings_of(files)["postprocess"] == "builtin"


def test_exports_are_reproducible(float_file):
    assert assemble_anew("builtin") == float_file


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "there is none"),
        ([np.zeros((9, 9), np.uint8)], r"must be an array \[H, W, 3\], but number 0 is \(9, 9\)"),
        ([np.full((9, 9, 3), 0.7)], "from 0.7 to 0.7: give them as they are in the files"),
        ([np.linspace(-1, 1, 243).reshape(9, 9, 3)], "from -1 to 1"),
        ([np.full((9, 9, 3), 65535.0)], "must be RGB 0..255"),
    ],
)
def test_calibration_images_that_cannot_be_right(detector, images, message):
    with pytest.raises(UserError, match=message):
        deploy.raw_network(detector, quantization="int8", calibration_images=images)


@pytest.mark.slow
def test_a_pixel_is_its_byte_however_dull_the_calibration_images_are(detector):
    """They reach from 60 to 180; of other images nothing may be seen darker or brighter."""
    dull = [(60 + image.astype(float) * 120 / 255).astype(np.uint8) for image in pictures(16)]
    content = deploy.raw_network(detector, quantization="int8", calibration_images=dull)
    interpreter = Interpreter(model_content=content)
    (image,) = interpreter.get_input_details()
    assert image["quantization"] == (pytest.approx(1.0), 0)


def test_a_file_that_does_not_take_bytes_for_pixels_is_noticed(raw_int8):
    file = TFLiteFile(raw_int8)
    tflite_checks.check_pixels(file)
    quantization = file.graph.tensors[file.graph.inputs[0]].quantization
    quantization.scale = quantization.scale * 0.7
    with pytest.raises(RuntimeError, match="do not reach from 0 to 255"):
        tflite_checks.check_pixels(file)


def test_int8_without_images(detector):
    with pytest.raises(UserError, match="int8 needs calibration images"):
        deploy.to_tflite(detector, quantization="int8")


@pytest.mark.parametrize("options", [{}, {"quantization": "dynamic"}, {"target": "gpu"}], ids=str)
def test_calibration_images_are_for_int8(detector, options):
    with pytest.raises(UserError, match="calibration_images is for int8, but the file becomes"):
        deploy.to_tflite(detector, calibration_images=pictures(1), **options)


def test_scores_change_little_in_int8_and_much_with_wrong_steps(detector, raw_int8):
    images = [np.round(resize(image, detector.image_size))[None] for image in pictures(4)]
    decoding = decoding_of(detector)
    right = parity.network(raw_int8)
    assert parity.score_change(right, detector, decoding, images) < 0.1
    model = flatbuffer.read(raw_int8)
    for tensor in model.subgraphs[0].tensors:
        if tensor.quantization is not None and tensor.quantization.scale is not None:
            tensor.quantization.scale = tensor.quantization.scale * 3
    wrong = parity.network(flatbuffer.write(model))
    assert parity.score_change(wrong, detector, decoding, images) > 0.2


def test_changed_scores_are_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tflite_checks.warn_of_changed_scores(0.03)
    with pytest.warns(UserWarning, match="int8 changes the scores of objects by 0.46 on average"):
        tflite_checks.warn_of_changed_scores(0.46)


@dataclasses.dataclass
class Unedited:
    content: bytes

    def to_bytes(self) -> bytes:
        return self.content


@pytest.mark.parametrize(
    ("changes", "left_out"), [([0.4, 0.02], True), ([0.02, 0.4], False)], ids=["worse", "better"]
)
def test_images_are_left_out_where_that_changes_scores_less(
    detector, monkeypatch, changes, left_out
):
    images = dict(zip("abcd", pictures(4), strict=True))
    quantized = []

    def quantize(model, outputs, calibration):
        quantized.append(len(calibration))
        return b"%d images" % len(calibration)

    monkeypatch.setattr(tflite, "_quantize", quantize)
    monkeypatch.setattr(tflite.parity, "network", lambda content: content)
    monkeypatch.setattr(tflite, "_join_levels", lambda content, *given: Unedited(content))
    monkeypatch.setattr(tflite.Calibration, "explosions", lambda *given: {"b": 300.0, "d": 20.0})
    monkeypatch.setattr(tflite.parity, "score_change", lambda *given: changes[len(quantized) - 1])
    message = r"2 of 4 calibration images .* b \(300 times\), d \(20 times\)"
    with pytest.warns(UserWarning, match=message) if left_out else contextlib.nullcontext():
        file = deploy.raw_network(detector, quantization="int8", calibration_images=images)
    assert quantized == [4, 2]
    assert file == (b"2 images" if left_out else b"4 images")


def location_of(card: metadata.ModelCard) -> str:
    """The part of a file's metadata that tells of boxes."""
    file = TFLiteFile(raw("none"))
    metadata.add_metadata(file, card, float_input=True)
    content = TFLiteFile(file.to_bytes()).get_metadata(metadata.METADATA_NAME).decode("latin-1")
    return content[content.index("Boxes as y min") :][:120]


@pytest.mark.parametrize(
    ("way", "tiling", "description", "wanted"),
    [
        ("half_pixel", None, "Pets", "Pets"),
        ("corner", None, "Pets", f"Pets. {tflite.RESIZED['corner']}"),
        ("letterbox", None, "Pets!", f"Pets! {tflite.RESIZED['letterbox']}"),
        (
            *("half_pixel", {"height": 64, "width": 96}, "Pets."),
            "Pets. It learned on tiles of 64x96 (height x width) pixels, overlap 20%.",
        ),
    ],
)
def test_what_an_app_has_to_know_is_added_to_a_description(
    detector, monkeypatch, way, tiling, description, wanted
):
    monkeypatch.setattr(detector, "resize", way)
    monkeypatch.setattr(detector, "_tiling", Tiling.of(tiling))
    options = tflite.Options()
    card = tflite.model_card(detector, decoding_of(detector), options, description=description)
    assert card.description == wanted


@pytest.mark.parametrize("target", ["mediapipe", "cpu"])
@pytest.mark.parametrize(
    ("way", "tiling", "messages"),
    [
        ("half_pixel", None, []),
        ("letterbox", None, ["MediaPipe stretches images"]),
        ("corner", {"height": 64, "width": 96}, ["MediaPipe looks at whole images"]),
        (
            *("letterbox", {"height": 64, "width": 96}),
            ["MediaPipe stretches images", "MediaPipe looks at whole images"],
        ),
    ],
    ids=["usual", "letterbox", "tiles", "both"],
)
def test_what_mediapipe_does_otherwise_is_warned_of(
    detector, monkeypatch, target, way, tiling, messages
):
    monkeypatch.setattr(tflite, "_network", lambda *args: TFLiteFile(raw("none")))
    monkeypatch.setattr(detector, "resize", way)
    monkeypatch.setattr(detector, "_tiling", Tiling.of(tiling))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        deploy.to_tflite(detector, target=target, quantization="none")
    wanted = messages if target == "mediapipe" else []
    assert [str(one.message)[: len(part)] for one, part in zip(told, wanted, strict=True)] == wanted


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("half_pixel", "float32. Made with ssd-keras."),
        ("corner", "source = x * n / S, not half"),
        (
            "letterbox",
            "Boxes are shares of the whole input. Images are to be made as large as they fit, the "
            "aspect ratio kept, in its middle, around them RGB 123, 117, 104.",
        ),
    ],
)
def test_the_file_says_how_its_images_are_resized_and_its_runner_does_so(
    detector, float_file, monkeypatch, way, said
):
    monkeypatch.setattr(detector, "resize", way)
    card = tflite.model_card(detector, decoding_of(detector), tflite.Options())
    assert said in card.description
    relative = "the whole input" if way == "letterbox" else "the image"
    assert f"relative to {relative}" in location_of(card)
    runner = deploy.TFLiteDetector(float_file, trusted=True)
    runner.settings = card.settings
    assert_same(runner.detect(UNSEEN[0]), detect(detector, UNSEEN[0]))
