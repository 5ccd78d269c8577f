"""Every value of a training run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from ssd_keras.batch_norm import BATCHES
from ssd_keras.boxes.suppression import SETTINGS, Suppression
from ssd_keras.boxes.tiles import Tiling
from ssd_keras.data.tiled import EMPTY_TILES, MIN_VISIBLE
from ssd_keras.errors import UserError, not_one_of, unknown
from ssd_keras.objectives.combinations import COMBINATIONS
from ssd_keras.training.recipe import Recipe, check_not_negative, check_positive

ON_NAN = ("stop", "rollback")
# Settings that there have not always been: a run folder holds them where they are not as before.
SINCE = ("accept_losses", "resize", "objective", "min_negatives", "scale_jitter", "weak_end")
SINCE += ("mirror", "balance_classes", "default_boxes", "tiles", "tile_overlap", "tile_whole")
SINCE += ("min_visible", "empty_tiles", "quantize_aware")
DEFAULT_BOXES = ("published", "auto")


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """Every value of a run; what a run folder's settings.json holds.

    Attributes:
        model: a model's name.
        train_data: data SPEC to train on.
        eval_data: data SPEC to judge on, or "" for none.
        backbone_weights: "imagenet", "none", a file or a detector, see `load_backbone_weights`;
            "preset" for those of KerasHub's preset.
        backbone: the user's own Core Network, `FILE.py:FUNCTION`, or one of KerasHub,
            `kerashub:PRESET`; None: that of the model's name.
        weights: a trained detector to start from, a run folder or a `.keras` file; "" for none.
        width: channel multiplier.
        box_scale: sizes of the default boxes, "voc" or "coco"; "" for the model's own.
        smallest_box: side of the smallest default box, as a share of the image; None: the model's.
        finest_stride: stride of the finest map; None: the core's own. See `ssd_keras.create`.
        resize: how images come to the model's size, "stretch" or "letterbox"; "" for that of
            `weights`, or "stretch". See `ssd_keras.create`.
        default_boxes: "published", or "auto" to choose `finest_stride` and `smallest_box` by the
            training data where they are not given, see `default_boxes.fit_default_boxes`. Of
            fewer than 5,000 images `suggest` takes "auto" where nothing else is said of them.
        tiles: side of tiles in pixels, "512" or "384x640" height first, into which the training
            images are cut, and those that are judged; "auto" by the size of the objects against the
            default boxes, see `tiles.fit_tiles`; "" for images as a whole.
        tile_overlap: of neighbouring tiles, as a share of their sides.
        tile_whole: whether whole images are trained on and looked at as well.
        min_visible, empty_tiles: see `data.tiled.TiledSource`.
        objective: what the box network learns, a name of `objectives.COMBINATIONS`; "" for its own.
        min_negatives: hard negatives that an image teaches at least, so that one without objects
            teaches, too; None: the objective's own.
        model_options: further arguments of the box network, see `ssd_keras.create`.
        freeze: parts that are not trained, see `freezing.freeze`.
        stage: stage of a DSSD's training, see `stages.freeze_for_stage`; "" for no stage.
        quantize_aware: whether it computes in training as its int8 file will, see
            `quantize_aware`; for a short training of one that loses too much in int8.
        augmentation: "ssd", "light", "mosaic" or "none".
        scale_jitter: images are shown up to this share larger or smaller, on top of the
            augmentation; 0 for not.
        mirror: whether every second image is shown mirrored.
        weak_end: share of the run, at its end, whose images are changed as by "light" only.
        balance_classes: whether images of rare classes are shown more often, see
            `data.balance.repeats`.
        max_boxes: most objects of an image that are used.
        eval_every: epochs between two evaluations.
        patience: evaluations without a better mAP after which the run ends; 0 for never.
        batch_norm_batches: training batches from which batch normalisation statistics are measured
            anew before a detector is judged and saved, as long as their moving averages lag (see
            `batch_norm`); 0 keeps the moving averages.
        precision: "float32", "mixed_float16", "mixed_bfloat16", or "auto" for the device's best.
        jit: whether XLA compiles the step, "on", "off" or "auto".
        devices: accelerators to use, 0 for all.
        on_nan: "stop", or "rollback" to go back to the last checkpoint and lower the rate.
        checkpoint_minutes: between two checkpoints within an epoch.
        seed: of weights, data order and augmentation.
        accept_losses: whether data are used of which nothing or little is left, see
            `data.verdict`.
        score_threshold, iou_threshold, max_detections, class_agnostic: of the detector's
            `Suppression`, by which it is judged and which is saved with it; None: its own.
        recipe: how weights are updated.
    """

    model: str
    train_data: str
    eval_data: str = ""
    backbone_weights: str = "none"
    backbone: str | None = None
    weights: str = ""
    width: float = 1.0
    box_scale: str = ""
    smallest_box: float | None = None
    finest_stride: int | None = None
    resize: str = ""
    default_boxes: str = "published"
    tiles: str = ""
    tile_overlap: float = 0.2
    tile_whole: bool = False
    min_visible: float = MIN_VISIBLE
    empty_tiles: float = EMPTY_TILES
    objective: str = ""
    min_negatives: int | None = None
    model_options: Mapping = dataclasses.field(default_factory=dict)
    freeze: tuple[str, ...] = ()
    stage: str = ""
    quantize_aware: bool = False
    augmentation: str = "light"
    scale_jitter: float = 0.0
    mirror: bool = True
    weak_end: float = 0.0
    balance_classes: bool = False
    max_boxes: int = 100
    eval_every: int = 5
    patience: int = 0
    batch_norm_batches: int = BATCHES
    precision: str = "auto"
    jit: str = "auto"
    devices: int = 0
    on_nan: str = "stop"
    checkpoint_minutes: float = 10.0
    seed: int = 0
    accept_losses: bool = False
    score_threshold: float | None = None
    iou_threshold: float | None = None
    max_detections: int | None = None
    class_agnostic: bool | None = None
    recipe: Recipe = dataclasses.field(default_factory=Recipe)

    def __post_init__(self):
        if self.on_nan not in ON_NAN:
            raise not_one_of("on_nan", self.on_nan, ON_NAN)
        check_positive(self, "max_boxes", "eval_every", "checkpoint_minutes")
        check_not_negative(self, "patience", "batch_norm_batches", "devices", "seed")
        if self.seed >= 2**32:
            raise UserError(f"seed must be below {2**32:,}, got {self.seed}.")
        if self.min_negatives is not None:
            check_not_negative(self, "min_negatives")
        for name in self.model_options:
            if name in type(self).__dataclass_fields__:
                raise UserError(
                    f"'{name}' is no option of the box network but a setting of its own: "
                    f"give {name}, not model_options."
                )
        for name in ("scale_jitter", "weak_end"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UserError(f"{name} must be from 0 to below 1, got {getattr(self, name)}.")
        if self.default_boxes not in DEFAULT_BOXES:
            raise unknown("choice of default boxes", self.default_boxes, DEFAULT_BOXES)
        if self.objective and self.objective not in COMBINATIONS:
            raise unknown("objective", self.objective, COMBINATIONS)
        Suppression().replace(**self.suppression)
        if self.tiles != "auto":
            _ = self.tiling

    @property
    def tiling(self) -> Tiling | None:
        """How images are cut; None for images as a whole."""
        return Tiling.of(self.tiles, overlap=self.tile_overlap, whole=self.tile_whole)

    @property
    def suppression(self) -> dict:
        """What the detector suppresses otherwise than by its own rule; None: as that has it."""
        return {name: getattr(self, name) for name in SETTINGS}

    def as_stored(self) -> dict:
        """The settings as settings.json holds them and gives them back."""
        values = json.loads(json.dumps(dataclasses.asdict(self)))
        # What runs that were started before it was a setting do not have.
        usual = {name: field.default for name, field in type(self).__dataclass_fields__.items()}
        unsaid = [name for name in SINCE if values[name] == usual[name]]
        return {name: value for name, value in values.items() if name not in unsaid}
