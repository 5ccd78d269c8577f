"""From a name to a detector, new or from its file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from ssd_keras import backbones
from ssd_keras.backbones import kerashub
from ssd_keras.box_networks.protocol import Request, options_of
from ssd_keras.box_networks.published_anchors import BOX_SCALES
from ssd_keras.detector import Detector
from ssd_keras.errors import UserError, did_you_mean, one_line, unknown
from ssd_keras.kinds import KINDS, is_number
from ssd_keras.labels import check_names
from ssd_keras.model_table import MODEL_TABLE as MODEL_TABLE
from ssd_keras.model_table import TABLE_CLASSES as TABLE_CLASSES
from ssd_keras.model_table import list_models as list_models
from ssd_keras.model_table import model_table as model_table
from ssd_keras.model_table import table_row
from ssd_keras.names import ModelName as ModelName
from ssd_keras.names import parse as parse
from ssd_keras.objectives.combinations import without_parts
from ssd_keras.presets import BOX_NETWORKS, CORES, BoxNetworkPreset, Core, find_core
from ssd_keras.presets import MODELS as MODELS
from ssd_keras.reading import AGAIN, exists
from ssd_keras.resizing import way_of
from ssd_keras.run_folder import RunFolder
from ssd_keras.weights import load_backbone_weights
from ssd_keras.weights.catalogue import list_weights as list_weights
from ssd_keras.weights.detector_files import detector_like, load_detector_weights
from ssd_keras.weights.imagenet import PUBLISHED, check_width
from ssd_keras.weights.keras_archive import load_archive
from ssd_keras.weights.kerashub_presets import load_preset_weights
from ssd_keras.weights.published import detector_file, means_published

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
    resize: str | None = None,
    **box_network,
) -> Detector:
    """Builds a detector by its name.

    Args:
        name: `<BoxNetwork>_<Backbone>_<size>`, such as "SSD_MobileNet_300", or with height and
            width, such as "SSD_MobileNet_192x320" for cameras of 16:9.
        classes: class names, in the order of the labels.
        backbone_weights: "imagenet" (Keras' own file, downloaded if it is not in Keras' cache),
            the path of a weights file, a detector (as `weights`) whose Core Network is taken and
            nothing else, "preset" for those of a preset of KerasHub, or None for random weights.
        weights: a trained detector (run folder, `.keras` file or name of `list_weights`) to start
            from. Layers are loaded by name; those that predict classes keep the columns of the
            classes that both have by name, and stay random for the others; a DSSD takes all but
            its decoder and heads from an SSD of the same backbone. Given that detector's
            own name, the size apart, and no other option, the new one has its very architecture,
            such as that of an imported detector. `started_from` of the new one says what it took.
        backbone: your own Core Network, `(image_size) -> keras.Model` from images `[B, H, W, 3]`
            to a dict of feature maps, finest first; or where it is, `FILE.py:FUNCTION`; or a
            backbone of KerasHub, `kerashub:PRESET` by the preset's name or its folder. The middle
            part of the name is then free.
        width: multiplier of the channels of backbone and box network, 0.25 to 1.
        box_scale: sizes of the default boxes, "voc" or "coco" (smaller); None: the model's own.
        smallest_box: side of the smallest default box, as a share of the image's shorter side;
            None: the model's.
        finest_stride: pixels from one cell of the finest map to the next. The MobileNets,
            MobileDets, InceptionV2 and ResNet50 begin at 16; with 8 they get a map of twice as
            many cells each way before the others, with default boxes half as large, for small
            objects; so do those of `keras.applications` and KerasHub. None: the core's own; FPN,
            FPNLite and PANLite begin at the finest.
        resize: how images come to the model's size, "stretch" or "letterbox", which keeps their
            aspect ratio and leaves the rest of the model's input grey-brown; everything that
            detects, measures or exports follows it. None: that of `weights`, or "stretch".
        **box_network: further arguments of the box network, such as `head_kernels`,
            `prediction_module`, `scores` (see `SSD`), `fusion`, `upsampling`, `decoder_channels`
            (see `DSSD`), `channels`, `tower_depth` (see `FPN`), `fully_connected` (see `YOLO`).

    Raises:
        UserError: a name, a class list, an option or a weights file that cannot be used.
    """
    parsed = parse(name, backbone)
    preset, core = BOX_NETWORKS[parsed.box_network], find_core(parsed.backbone, backbone)
    _check_options(classes, width, smallest_box, box_scale)
    way = None if resize is None else way_of(resize)
    wishes = {
        "box_scale": box_scale,
        "smallest_box": smallest_box,
        "finest_stride": finest_stride,
    }
    others = (backbone_weights, backbone, *wishes.values())
    usual = width == 1.0 and not box_network and all(option is None for option in others)
    detector = detector_like(weights, name, classes) if usual and weights is not None else None
    if detector is None:
        _check_stride(core, parsed.backbone, finest_stride)
        _check_names(preset, box_network)
        size, options = parsed.image_size, preset.core_options(core, finest_stride)
        built = core.build(size, **options, **({"width": width} if backbone is None else {}))
        if kerashub.is_kerashub(backbone) and backbone_weights is not None:
            load_preset_weights(built, backbone_weights, backbone)
        elif backbone_weights is not None:
            _load_core(built, core, backbone_weights, parsed.backbone, width)
        request = {"core": core, "image_size": size, "width": width, **wishes}
        detector = _wrap(name, classes, built, preset, request, box_network)
    if weights is not None:
        detector.started_from = load_detector_weights(detector, weights)
    if way is not None:
        detector.resize = way
    return detector


def _check_options(classes, width, smallest_box, box_scale):
    if isinstance(classes, str) or not hasattr(classes, "__len__") or not len(classes):
        raise UserError("Give the classes as a list of names, such as ['cat', 'dog'].")
    check_names(classes)
    if not (is_number(width) and 0.25 <= width <= 1.0):
        raise UserError(f"width must be between 0.25 and 1, got {width}.")
    if smallest_box is not None and not (is_number(smallest_box) and 0.0 < smallest_box < 0.5):
        raise UserError(f"smallest_box must be between 0 and 0.5, got {smallest_box}.")
    if box_scale not in (None, *BOX_SCALES):
        raise unknown("box_scale", box_scale, BOX_SCALES)


def _check_stride(core: Core, name: str, stride: int | None):
    if stride is None or stride in core.finest_strides:
        return
    if core.finest_strides:
        choice = f"finest_stride is one of {', '.join(map(str, core.finest_strides))}."
    else:
        offered = [other for other, row in CORES.items() if row.finest_strides]
        choice = (
            f"its stride is fixed, and a choice for {', '.join(offered)} and for the networks of "
            "keras.applications and KerasHub."
        )
    raise UserError(f"The finest map of {name} cannot have a stride of {stride}: {choice}")


def _check_names(preset: BoxNetworkPreset, given: dict):
    known = options_of(preset.build)
    for option, value in given.items():
        if option == "objective" and option not in known:
            raise UserError(f"{preset.build.__name__} has an objective of its own: give no other.")
        if option not in known:
            near = did_you_mean(option, [*known, *inspect.signature(create).parameters])
            raise UserError(f"{preset.build.__name__} has no option '{option}'.{near}")
        wanted, fits = _KINDS.get(known[option], ("", lambda value: True))
        if not fits(value):
            raise UserError(f"{option} must be {wanted}, got {value!r}.")


# Of options of a box network.
_KINDS = {**KINDS, "str": ("a text", lambda value: isinstance(value, str))}


def _load_core(built: keras.Model, core: Core, weights, name: str, width: float):
    published = PUBLISHED.get(name)
    if weights == "imagenet" and (core.application or published):
        check_width(name, width, core.imagenet_widths)
    load_backbone_weights(
        built,
        weights,
        core.application and (lambda: core.application(width)),
        published=published,
        adapt=core.adapt,
        optional=core.without_weights,
    )


def _wrap(name, classes, built, preset: BoxNetworkPreset, request: dict, given: dict):
    """A Core Network in its Box Network, whose settings are its own, the row's, and the user's."""
    kind = preset.build
    try:
        own = kind.settings_for(Request(maps=backbones.feature_maps(built), **request))
        settings = {**own, **preset.settings}
        if "objective" in given:
            settings = without_parts(settings)
        box_network = kind(len(classes), **{**settings, **given})
        return Detector(built, box_network, classes, name=name)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(_cannot_be_built(name, given, error)) from error
    except (TypeError, AttributeError, KeyError) as error:
        # Of what was given; else it is a fault of the library and shows as one.
        if not given:
            raise
        raise UserError(_cannot_be_built(name, given, error)) from error


def _cannot_be_built(name: str, given: dict, error: Exception) -> str:
    options = "".join(f" {option}={value}" for option, value in given.items())
    # Names of what there is are worth their length.
    reason = " ".join(str(error).split()) if len(str(error)) < 500 else one_line(error)
    return f"'{name}'{f' with{options}' if given else ''} cannot be built: {reason.rstrip('.')}."


def measure(name: str) -> dict[str, str]:
    """The row of a model in the table of models, from building it for 20 classes."""
    return table_row(create(name, [f"class {i}" for i in range(TABLE_CLASSES)]))


# === Loading ===


def load(path: str | Path) -> Detector:
    """Loads a detector from a run folder (its best weights), a `.keras` file, or by its name.

    Args:
        path: the place, or one of `list_weights`: weights that others published are fetched and
            imported the first time, which it says, and kept in the folder that the variable
            SSD_KERAS_CACHE names, or below ~/.cache.

    Raises:
        UserError: there is no detector of that name, or it cannot be had.
    """
    file = detector_file(path)
    detector = load_archive(file, _advice(Path(path), file))
    if not isinstance(detector, Detector):
        raise UserError(f"'{file}' holds a {type(detector).__name__}, not a detector.")
    return detector


def _advice(given: Path, file: Path) -> str:
    """What to do where the file is damaged."""
    folder = RunFolder(given)
    if file == folder.best and exists(folder.last):
        return f"Give '{folder.last}' instead, or put back a good copy."
    if means_published(given):
        return "Remove it: the same command makes it again."
    return AGAIN
