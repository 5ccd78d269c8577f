"""What a Box Network is: all that the rest of the library knows of one."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import keras
import numpy as np

from ssd_keras.backbones.feature_maps import FeatureMap

if TYPE_CHECKING:
    from ssd_keras.presets import Core

MIN_CHANNELS = 16


@dataclasses.dataclass(frozen=True)
class Request:
    """What is known when a box network chooses its settings.

    Attributes:
        core: the row of the Core Network, with what it asks of a box network.
        maps: the feature maps that there are, finest first.
        image_size: (height, width) of the image in pixels.
        width: multiplier of all channel counts.
        box_scale, smallest_box, finest_stride: what the user wants of the default boxes, None for
            no wish; see `ssd_keras.create`.
    """

    core: Core
    maps: tuple[FeatureMap, ...]
    image_size: tuple[int, int]
    width: float = 1.0
    box_scale: str | None = None
    smallest_box: float | None = None
    finest_stride: int | None = None

    def scale_channels(self, channels: int) -> int:
        """A number of channels at this width."""
        return max(MIN_CHANNELS, int(channels * self.width))


@runtime_checkable
class BoxNetwork(Protocol):
    """From feature maps to boxes: the layers, the settings, what is learned and what it means.

    Its keyword arguments are the options that a user may give. A class that is registered by
    `keras.saving.register_keras_serializable` and has this shape needs one row more in
    `ssd_keras.presets.BOX_NETWORKS`, and nothing else of the library.

    Attributes:
        stages: the stages that it can be trained in, name -> whether a layer learns. "joint", in
            which everything does, is one of them.
        num_classes: object classes, background not counted.

    After the call:
        level_maps: (rows, columns) of each map that predicts, finest first.
        level_anchors: default boxes of each level, corners `[A_l, 4]`; empty where there are none.
        anchors: all of them, float32 `[A, 4]`, or `[0, 4]`.
        class_layers: names of the layers whose weights belong to one list of classes.
    """

    stages: ClassVar[Mapping[str, Callable[[keras.layers.Layer], bool]]]
    num_classes: int
    level_maps: tuple[tuple[int, int], ...]
    level_anchors: tuple[np.ndarray, ...]
    class_layers: tuple[str, ...]

    @property
    def anchors(self) -> np.ndarray:
        """All default boxes."""

    @classmethod
    def settings_for(cls, request: Request) -> dict:
        """The arguments it takes on a Core Network, without what the user gave.

        Raises:
            UserError: a wish that it cannot fulfil.
        """

    def __call__(self, features: dict, image_size: tuple[int, int]) -> dict:
        """Symbolic feature maps, finest first -> named predictions, float32."""

    def encode(self, ground_truth_boxes, labels) -> dict:
        """Boxes `[B, M, 4]` and labels `[B, M]`, padded with -1 -> targets."""

    def loss(self, targets: dict, predictions: dict) -> dict:
        """Scalars "loss", "class_loss", "box_loss", "positives"; "normalizer" if it is another."""

    def decode(self, predictions: dict) -> tuple:
        """Predictions -> corners `[B, P, 4]`, not clipped, and scores `[B, P, C]`, float32."""

    def get_config(self) -> dict:
        """All arguments; plain numbers, texts, lists and dicts."""


def options_of(kind: type) -> dict[str, str]:
    """The options of a box network and how their types are written.

    They are the keyword arguments of its class and of those it extends.
    """
    return {
        parameter.name: str(parameter.annotation)
        for cls in kind.__mro__
        for parameter in inspect.signature(cls.__init__).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


# === Stages that any box network has ===


def everything(_layer: keras.layers.Layer) -> bool:
    """Trains every layer."""
    return True


def all_but_batch_norms(layer: keras.layers.Layer) -> bool:
    """Trains every layer whose statistics do not depend on the batch."""
    return not isinstance(layer, keras.layers.BatchNormalization)


COMMON_STAGES = {"joint": everything, "stage2": all_but_batch_norms}
