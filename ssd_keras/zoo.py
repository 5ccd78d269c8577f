"""Every model by its name: `<BoxNetwork>_<Backbone>_<size>`, in tables to read."""

from __future__ import annotations

import csv
import dataclasses
import inspect
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from ssd_keras import backbones
from ssd_keras.backbones.inception_v3 import renumbered_inception_weights
from ssd_keras.backbones.vgg import convolutional_vgg_weights
from ssd_keras.box_networks import DSSD, SSD, YOLO, Extra, PercentAnchors, ScaleAnchors
from ssd_keras.complexity import count_macs
from ssd_keras.detector import Detector
from ssd_keras.errors import UserError, did_you_mean
from ssd_keras.labels import check_names
from ssd_keras.reading import AGAIN, exists
from ssd_keras.run_folder import RunFolder
from ssd_keras.weights import load_backbone_weights
from ssd_keras.weights.detector_files import detector_like, load_detector_weights
from ssd_keras.weights.keras_archive import load_archive

# Names with published or pinned numbers. Any other <BoxNetwork>_<Backbone>_<size> of the tables
# below can be built as well.
MODELS = (
    "SSD_VGG16_300",
    "SSD_VGG16_512",
    "SSD_MobileNet_300",
    "SSD_MobileNetV2_300",
    "SSDLite_MobileNetV2_300",
    "SSD_Inception_500",
    "SSD_ResNet101_321",
    "SSD_ResNet101_513",
    "DSSD_ResNet101_321",
    "DSSD_ResNet101_513",
    "DSSD_MobileNet_300",
    "DSSD_VGG16_300",
    "YOLO_Inception_500",
)

MIN_CHANNELS = 16
MODEL_TABLE = Path(__file__).with_name("models.csv")


# === Extra levels that follow from the backbone's last map ===


def _four_extras(size: int) -> list[Extra]:
    """The extra levels of the MobileNet models of the TF Object Detection API."""
    del size
    return [Extra(256, 512), Extra(128, 256), Extra(128, 256), Extra(64, 128)]


def _extras_to_one_cell(size: int) -> list[Extra]:
    """Halves the map until one cell is left."""
    extras = []
    while size > 1:
        extras.append(Extra(128, 256) if extras else Extra(256, 512))
        size = extras[-1].size(size)
    return extras


def _vgg_extras(size: int) -> list[Extra]:
    """The extra levels of caffe-ssd: 300 ends with two 3x3 "valid", 512 with a 4x4."""
    extras = []
    while size > 1:
        channels = (128, 256) if extras else (256, 512)
        if size in (3, 5):
            extras.append(Extra(*channels, kernel=3, stride=1, padding="valid"))
        elif size == 2:
            extras.append(Extra(*channels, kernel=4, stride=1, padding=1))
        else:
            extras.append(Extra(*channels, kernel=3, stride=2, padding=1))
        size = extras[-1].size(size)
    return extras


def _resnet_extras(size: int) -> list[Extra]:
    """The residual blocks of caffe-dssd: 2x2 with stride 2, and 3x3 for 5 and 3 cells."""
    extras = []
    while size > 1:
        window = {"kernel": 3, "stride": 1} if size in (3, 5) else {"kernel": 2, "stride": 2}
        extras.append(Extra(256, 1024, padding="valid", **window))
        size = extras[-1].size(size)
    return extras


# === Default boxes ===

# (first, min, max) per cent of the image, for detectors of fewer than 7 levels and for others.
# Published are 300 and 512 of VGG16 on both data sets, 321 of ResNet-101 on VOC and 513 on COCO;
# the others follow the nearest of these.
DEEP_LEVELS = 7
VGG_PERCENTS = {"voc": ((10, 20, 90), (7, 15, 90)), "coco": ((7, 15, 90), (4, 10, 90))}
INCEPTION_PERCENTS = {"voc": ((7, 15, 90), (7, 15, 90)), "coco": ((4, 10, 90), (4, 10, 90))}
RESNET_PERCENTS = {"voc": ((10, 20, 95), (7, 15, 90)), "coco": ((7, 15, 95), (4, 10, 95))}
SMALLEST_SCALE = {"voc": 0.2, "coco": 0.1}
BOX_SCALES = ("voc", "coco")


def _scale_anchors(scale: str | None, image_size: int, levels: int, extras) -> ScaleAnchors:
    del image_size, levels, extras
    return ScaleAnchors(smallest=SMALLEST_SCALE[scale or "coco"])


def _percents(table, scale: str, levels: int) -> dict:
    first, low, high = table[scale][levels >= DEEP_LEVELS]
    return {"first_percent": float(first), "min_percent": low, "max_percent": high}


def _vgg_anchors(scale: str | None, image_size: int, levels: int, extras) -> PercentAnchors:
    del extras
    # caffe-ssd counts the cells of SSD300 in pixels of the image, which 300 does not divide into.
    steps = (8.0, 16.0, 32.0, 64.0, 100.0, 300.0) if image_size == 300 else None
    return PercentAnchors(**_percents(VGG_PERCENTS, scale or "voc", levels), steps=steps)


def _inception_anchors(scale: str | None, image_size: int, levels: int, extras) -> PercentAnchors:
    del image_size, extras
    return PercentAnchors(**_percents(INCEPTION_PERCENTS, scale or "voc", levels))


def _resnet_anchors(scale: str | None, image_size: int, levels: int, extras) -> PercentAnchors:
    """Default boxes that stand in the middle of what each cell sees."""
    start, step = 2.5, 8.0
    starts, steps = [start, start], [step, 2 * step]
    step *= 2
    for extra in extras:
        start += step * (extra.kernel - 1) / 2
        step *= extra.stride
        starts.append(start)
        steps.append(step)
    starts[-1], steps[-1] = image_size / 2, float(image_size)
    scale = scale or ("coco" if levels >= DEEP_LEVELS else "voc")
    return PercentAnchors(
        **_percents(RESNET_PERCENTS, scale, levels),
        outer_ratios=(1.6, 2.0, 3.0),
        inner_ratios=(1.6, 2.0, 3.0),
        steps=tuple(steps),
        starts=tuple(starts),
    )


# === Core Networks ===


def _as_they_are(arrays: dict) -> dict:
    return arrays


@dataclasses.dataclass(frozen=True)
class Core:
    """A row of the table of Core Networks, and what box networks make of it.

    Attributes:
        build: `(image_size, width) -> keras.Model`.
        application: `(width) -> keras.Model`, Keras' own model with its ImageNet weights.
        adapt: Keras' weights, layer -> arrays, to those of `build`.
        without_weights: layers that ImageNet weights may leave as they are.
        sizes: smallest and largest image side it is offered for.
        extras: the extra levels, from the side of the backbone's last map.
        extra_block: what extra levels are made of.
        activation: of the layers of the box network.
        anchors: `(box_scale, image_size, levels, extras)` to a rule for default boxes.
        head_kernels: kernel size of the heads.
        prediction_module: "a" to "d".
        decoder_channels: channels of DSSD's fused maps.
        finest_strides: strides that the finest map can have, the usual one first; `build` takes
            them as `finest_stride`. Empty where there is no choice.
    """

    build: Callable[..., keras.Model]
    application: Callable[[float], keras.Model] | None = None
    adapt: Callable[[dict], dict] = _as_they_are
    without_weights: tuple[str, ...] = ()
    sizes: tuple[int, int] = (96, 1024)
    extras: Callable[[int], list[Extra]] = _extras_to_one_cell
    extra_block: str = "conv_bn"
    activation: str = "relu"
    anchors: Callable = _scale_anchors
    head_kernels: int = 3
    prediction_module: str = "a"
    decoder_channels: int = 512
    finest_strides: tuple[int, ...] = ()


CORES = {
    "VGG16": Core(
        build=backbones.vgg16,
        # With its fully connected layers, from which fc6 and fc7 are cut.
        application=lambda width: keras.applications.VGG16(weights="imagenet"),
        adapt=convolutional_vgg_weights,
        without_weights=("block4_conv3_norm", "fc6", "fc7"),
        extras=_vgg_extras,
        extra_block="conv",
        anchors=_vgg_anchors,
    ),
    "MobileNet": Core(
        build=backbones.mobilenet,
        application=lambda width: keras.applications.MobileNet(
            input_shape=(224, 224, 3), alpha=width, include_top=False, weights="imagenet"
        ),
        extras=_four_extras,
        activation="relu6",
        head_kernels=1,
        decoder_channels=128,
        finest_strides=(16, 8),
    ),
    "MobileNetV2": Core(
        build=backbones.mobilenet_v2,
        application=lambda width: keras.applications.MobileNetV2(
            input_shape=(224, 224, 3), alpha=width, include_top=False, weights="imagenet"
        ),
        extras=_four_extras,
        activation="relu6",
        head_kernels=1,
        decoder_channels=128,
        finest_strides=(16, 8),
    ),
    "Inception": Core(
        build=backbones.inception_v3,
        application=lambda width: keras.applications.InceptionV3(
            include_top=False, weights="imagenet"
        ),
        adapt=renumbered_inception_weights,
        anchors=_inception_anchors,
    ),
    "InceptionV2": Core(
        build=backbones.inception_v2,
        extras=_four_extras,
        activation="relu6",
        finest_strides=(16, 8),
    ),
    "ResNet101": Core(
        build=backbones.resnet101,
        application=lambda width: keras.applications.ResNet101(
            include_top=False, weights="imagenet"
        ),
        extras=_resnet_extras,
        extra_block="residual",
        anchors=_resnet_anchors,
        prediction_module="c",
    ),
}


# === Box Networks ===


@dataclasses.dataclass(frozen=True)
class BoxNetwork:
    """A row of the table of Box Networks: the class, and what it has instead of the core's."""

    build: type
    settings: dict = dataclasses.field(default_factory=dict)


BOX_NETWORKS = {
    "SSD": BoxNetwork(SSD),
    "SSDLite": BoxNetwork(
        SSD, {"extra_block": "separable", "separable_heads": True, "head_kernels": 3}
    ),
    "DSSD": BoxNetwork(DSSD),
    "YOLO": BoxNetwork(YOLO),
}


# === Names ===


@dataclasses.dataclass(frozen=True)
class ModelName:
    """A model's name, taken apart."""

    box_network: str
    backbone: str
    size: int


def parse(name: str, backbone: Callable | str | None = None) -> ModelName:
    """Takes `<BoxNetwork>_<Backbone>_<size>` apart.

    Args:
        name: the name.
        backbone: the user's own Core Network, with which the middle part and the size are free.

    Raises:
        UserError: there is no such box network, backbone or size; says what there is.
    """
    parsed = _split(name)
    if backbone is not None:
        return parsed
    if parsed.backbone not in CORES:
        raise UserError(
            f"There is no model '{name}': '{parsed.backbone}' is no core network."
            f"{_hint(name)} Core networks: {', '.join(CORES)}; your own needs backbone=."
        )
    smallest, largest = CORES[parsed.backbone].sizes
    if not smallest <= parsed.size <= largest:
        raise UserError(
            f"There is no model '{name}': {parsed.backbone} takes images of {smallest} to "
            f"{largest} px."
        )
    return parsed


def _split(name: str) -> ModelName:
    match = re.fullmatch(r"([A-Za-z]+)_([A-Za-z0-9]+)_(\d+)", name)
    if not match:
        raise UserError(
            f"There is no model '{name}': a name is <BoxNetwork>_<Backbone>_<size>.{_hint(name)}"
            f" Known models: {', '.join(MODELS)}."
        )
    parsed = ModelName(match[1], match[2], int(match[3]))
    if parsed.box_network not in BOX_NETWORKS:
        raise UserError(
            f"There is no model '{name}': '{parsed.box_network}' is no box network."
            f"{_hint(name)} Box networks: {', '.join(BOX_NETWORKS)}."
        )
    return parsed


def _hint(name: str) -> str:
    """The nearest name of the tables, with the size that was asked for."""
    match = re.fullmatch(r"([A-Za-z]+)_([A-Za-z0-9]+)_(\d+)", name)
    if not match:
        return did_you_mean(name, MODELS)
    known = [f"{box}_{core}_{match[3]}" for box in BOX_NETWORKS for core in CORES]
    return did_you_mean(name, known)


# === Building ===


def create(
    name: str,
    classes: Sequence[str],
    *,
    backbone_weights: str | Path | None = None,
    weights: str | Path | None = None,
    backbone: Callable[[tuple[int, int]], keras.Model] | str | None = None,
    width: float = 1.0,
    box_scale: str | None = None,
    smallest_box: float | None = None,
    finest_stride: int | None = None,
    **box_network,
) -> Detector:
    """Builds a detector by its name.

    Args:
        name: `<BoxNetwork>_<Backbone>_<size>`, such as "SSD_MobileNet_300".
        classes: class names, in the order of the labels.
        backbone_weights: "imagenet" (Keras' own file, downloaded if it is not in Keras' cache),
            the path of a weights file, or None for random weights.
        weights: a trained detector (run folder or `.keras` file) to start from. Layers are loaded
            by name; those that predict classes stay random where the classes differ; a DSSD takes
            all but its decoder and heads from an SSD of the same backbone. Given that detector's
            own name and no other option, the new one has its very architecture, such as that of
            an imported detector. Prints what it took.
        backbone: your own Core Network, `(image_size) -> keras.Model` from images `[B, H, W, 3]`
            to a dict of feature maps, finest first; or where it is, `FILE.py:FUNCTION`. The middle
            part of the name is then free.
        width: multiplier of the channels of backbone and box network, 0.25 to 1.
        box_scale: sizes of the default boxes, "voc" or "coco" (smaller); None: the model's own.
        smallest_box: side of the smallest default box, as a share of the image; None: the model's.
        finest_stride: pixels from one cell of the finest map to the next. MobileNet, MobileNetV2
            and InceptionV2 begin at 16; with 8 they get a map of twice as many cells each way
            before the others, with default boxes half as large, for small objects. None: the
            core's own.
        **box_network: further arguments of the box network, such as `head_kernels`,
            `prediction_module`, `scores` (see `SSD`), `fusion`, `upsampling` (see `DSSD`),
            `fully_connected` (see `YOLO`).

    Raises:
        UserError: a name, a class list, an option or a weights file that cannot be used.
    """
    parsed = parse(name, backbone)
    if isinstance(backbone, str):
        backbone = backbones.own_backbone(backbone)
    if isinstance(classes, str) or not len(classes):
        raise UserError("Give the classes as a list of names, such as ['cat', 'dog'].")
    check_names(classes)
    if not 0.25 <= width <= 1.0:
        raise UserError(f"width must be between 0.25 and 1, got {width}.")
    if smallest_box is not None and not 0.0 < smallest_box < 0.5:
        raise UserError(f"smallest_box must be between 0 and 0.5, got {smallest_box}.")
    if box_scale not in (None, *BOX_SCALES):
        raise UserError(
            f"There is no box_scale '{box_scale}'.{did_you_mean(box_scale, BOX_SCALES)} Known: "
            f"{', '.join(BOX_SCALES)}."
        )
    own = (backbone_weights, backbone, box_scale, smallest_box, finest_stride)
    if weights is not None and all(x is None for x in own) and width == 1.0 and not box_network:
        detector = detector_like(weights, name, classes)
        if detector is not None:
            print(load_detector_weights(detector, weights))
            return detector
    core = CORES[parsed.backbone] if backbone is None else Core(backbone)
    if finest_stride is not None and finest_stride not in core.finest_strides:
        offered = [name for name, row in CORES.items() if row.finest_strides]
        raise UserError(
            f"The finest map of {parsed.backbone} cannot have a stride of {finest_stride}: "
            + (
                f"finest_stride is one of {', '.join(map(str, core.finest_strides))}."
                if core.finest_strides
                else f"its stride is fixed, and a choice for {', '.join(offered)} only."
            )
        )
    image_size = (parsed.size, parsed.size)
    if backbone is None:
        options = {} if finest_stride is None else {"finest_stride": finest_stride}
        built = core.build(image_size, width=width, **options)
    else:
        built = backbone(image_size)
    if backbone_weights is not None:
        load_backbone_weights(
            built,
            backbone_weights,
            core.application and (lambda: core.application(width)),
            adapt=core.adapt,
            optional=core.without_weights,
        )
    row = BOX_NETWORKS[parsed.box_network]
    default_boxes = {
        "box_scale": box_scale,
        "smallest_box": smallest_box,
        "finest_stride": finest_stride,
    }
    try:
        settings = _box_network_settings(
            row, core, built, parsed.size, width, default_boxes, box_network
        )
        detector = Detector(built, row.build(len(classes), **settings), classes, name=name)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"'{name}' cannot be built: {_one_line(error)}.") from error
    if weights is not None:
        report = load_detector_weights(detector, weights)
        print(report)
    return detector


def _box_network_settings(
    row, core, backbone, image_size, width, default_boxes: dict, given: dict
) -> dict:
    """The arguments of the box network: the core's, the row's, and the user's over both."""
    known = inspect.signature(row.build).parameters.keys() - {"args", "ssd"}
    if issubclass(row.build, SSD):
        known |= inspect.signature(SSD).parameters.keys()
    for option in given:
        if option not in known - {"num_classes"}:
            raise UserError(
                f"{row.build.__name__} has no option '{option}'.{did_you_mean(option, known)}"
            )
    scaled = _scaled(width)
    if row.build is YOLO:
        for option, value in default_boxes.items():
            if value is not None:
                raise UserError(f"YOLO has no default boxes: leave out {option}.")
        return {"channels": scaled(1024), **given}
    maps = backbones.feature_maps(backbone)
    extras = [
        dataclasses.replace(e, reduced=scaled(e.reduced), channels=scaled(e.channels))
        for e in core.extras(min(maps[-1].size))
    ]
    levels = len(maps) + len(extras)
    settings = {
        "anchors": _anchors(core, image_size, levels, extras, **default_boxes),
        "extras": extras,
        "extra_block": core.extra_block,
        "activation": core.activation,
        "prediction_module": core.prediction_module,
        "module_channels": (scaled(256), scaled(1024)),
        "head_kernels": core.head_kernels,
        **row.settings,
    }
    if row.build is DSSD:
        settings["decoder_channels"] = scaled(core.decoder_channels)
    return {**settings, **given}


def _anchors(core, image_size, levels, extras, *, box_scale, smallest_box, finest_stride):
    """The rule of a core's default boxes, with what the user wants of it."""
    finer = 0 if finest_stride is None else int(math.log2(core.finest_strides[0] // finest_stride))
    rule = core.anchors(box_scale, image_size, levels, extras)
    if finer:
        rule = dataclasses.replace(rule, finer_levels=finer)
    if smallest_box is None:
        return rule
    if isinstance(rule, ScaleAnchors):
        return dataclasses.replace(rule, smallest=smallest_box * 2**finer)
    return dataclasses.replace(rule, first_percent=100 * smallest_box)


def _scaled(width: float) -> Callable[[int], int]:
    return lambda channels: max(MIN_CHANNELS, int(channels * width))


# === Loading ===


def load(path: str | Path) -> Detector:
    """Loads a detector from a run folder (its best weights) or a `.keras` file.

    Raises:
        UserError: there is no detector at that place.
    """
    path = Path(path)
    advice = AGAIN
    if path.is_dir() or not exists(path):
        folder = RunFolder(path)
        path = folder.detector_file()
        if path == folder.best and exists(folder.last):
            advice = f"Give '{folder.last}' instead, or put back a good copy."
    detector = load_archive(path, advice)
    if not isinstance(detector, Detector):
        raise UserError(f"'{path}' holds a {type(detector).__name__}, not a detector.")
    return detector


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")


# === The table of models ===

TABLE_CLASSES = 20


def measure(name: str) -> dict[str, str]:
    """One row of the table of models, from building it for 20 classes.

    Returns:
        name, parameters, non_trainable, macs, default_boxes (YOLO: boxes) and maps (side of each
        level, finest first), as text.
    """
    detector = create(name, [f"class {i}" for i in range(TABLE_CLASSES)])
    network = detector.box_network
    if isinstance(network, YOLO):
        maps, count = [network.grid[0]], network.grid[0] * network.grid[1] * network.boxes_per_cell
    else:
        levels = network.level_maps
        maps, count = [height for height, _ in levels], len(network.anchors)
    frozen = sum(weight.shape.num_elements() for weight in detector.non_trainable_weights)
    return {
        "name": name,
        "parameters": str(detector.count_params()),
        "non_trainable": str(frozen),
        "macs": str(count_macs(detector)),
        "default_boxes": str(count),
        "maps": " ".join(map(str, maps)),
    }


def model_table() -> list[dict[str, str]]:
    """`measure` of every named model, as it was measured for this release."""
    with MODEL_TABLE.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def list_models() -> tuple[str, ...]:
    """Prints a table of the named models (for 20 classes), and returns their names."""
    print(f"Models, with the numbers of {TABLE_CLASSES} classes:")
    print(f"{'name':<24} {'parameters':>12} {'GMACs':>8} {'default boxes':>14}  maps")
    for row in model_table():
        print(
            f"{row['name']:<24} {int(row['parameters']):>12,} {int(row['macs']) / 1e9:>8.2f} "
            f"{int(row['default_boxes']):>14,}  {row['maps']}"
        )
    return MODELS
