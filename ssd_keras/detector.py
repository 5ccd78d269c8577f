"""A detector: a Core Network wrapped by a Box Network, trained with plain `fit`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from keras import ops

from ssd_keras import boxes
from ssd_keras.backbones import feature_maps
from ssd_keras.batch_norm import BATCHES, MeasuredStatistics
from ssd_keras.boxes import Suppression
from ssd_keras.boxes.ignoring import cells, find_covered
from ssd_keras.boxes.tiles import Tiling
from ssd_keras.detections import Detections
from ssd_keras.errors import UserError
from ssd_keras.image_inputs import arrays, check_for_training, is_single
from ssd_keras.jit import jit_call
from ssd_keras.labels import find_repeated
from ssd_keras.resizing import HALF_PIXEL, check_way, resize
from ssd_keras.tiled_detection import detect_tiled, open_pictures, stack, tiling_for
from ssd_keras.training_images import watch


@keras.saving.register_keras_serializable("ssd_keras")
class Detector(keras.Model):
    """A functional model from images to raw predictions, that knows its classes.

    `fit` takes batches of images `[B, H, W, 3]` (RGB 0..255) with ground truth
    `{"boxes": [B, M, 4], "labels": [B, M]}` padded with -1, and perhaps `"ignored": [B, K, 4]`,
    regions that are to teach nothing. The ground truth is encoded to default boxes inside the
    compiled step. Compile it with an optimizer alone: the loss belongs to the
    box network.

    Args:
        backbone: a Core Network: a model from images to a dict of feature maps, finest first.
        box_network: an object with `__call__`, `encode`, `loss`, `decode` and `get_config`.
        classes: class names, in the order of the labels.
        name: name of the model.
        suppression: the rule by which scored boxes become detections, `Suppression` or a dict of
            its values; it is saved with the detector, and everything that detects, measures or
            exports follows it unless told otherwise. The attribute of this name can be replaced.
        resize: the way in which images come to the size of the model, one of `resizing.WAYS`; it
            is saved with the detector and followed as well. Imported detectors have the one they
            were trained with.
        tiling: how large images are cut into tiles, `boxes.tiles.Tiling` or a dict of its values;
            None looks at images as a whole. It is saved with the detector and followed as well.
    """

    def __init__(
        self,
        backbone: keras.Model,
        box_network,
        classes: Sequence[str],
        name=None,
        suppression: Suppression | Mapping | None = None,
        resize: str = HALF_PIXEL,
        tiling: Tiling | Mapping | None = None,
    ):
        classes = tuple(classes)
        _check_classes(classes, box_network.num_classes)
        feature_maps(backbone)

        # === Functional model ===
        images = keras.Input(backbone.input.shape[1:], name="image")
        image_size = tuple(images.shape[1:3])
        predictions = box_network(backbone(images), image_size)
        super().__init__(images, predictions, name=name)

        # === Config ===
        self.backbone = backbone
        self.box_network = box_network
        self.classes = classes
        self.image_size = image_size
        self.suppression = suppression or Suppression()
        check_way(resize)
        self.resize = resize
        self.tiling = tiling
        # What its weights were taken from, if it was created with `weights=`.
        self.started_from = None
        # Among several devices: from the losses of this one's share of a batch to its part in those
        # of the whole; `training.distribution` sets it.
        self.share_losses = None
        self.class_loss = keras.metrics.Mean(name="class_loss")
        self.box_loss = keras.metrics.Mean(name="box_loss")

    @property
    def suppression(self) -> Suppression:
        """The rule by which scored boxes become detections."""
        return self._suppression

    @suppression.setter
    def suppression(self, rule: Suppression | Mapping):
        self._suppression = rule if isinstance(rule, Suppression) else Suppression().replace(**rule)

    @property
    def tiling(self) -> Tiling | None:
        """How large images are cut into tiles; None: they are looked at as a whole."""
        return self._tiling

    @tiling.setter
    def tiling(self, tiling: Tiling | Mapping | None):
        self._tiling = Tiling.of(tiling)

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        *,
        batch_norm_batches: int = BATCHES,
        validation_split=0.0,
        validation_data=None,
        **options,
    ):
        """Trains; see `keras.Model.fit`. What it ends with detects as well as it learned.

        As long as the moving averages of batch normalisations lag behind the weights (in a short
        training, or with averaged weights), their statistics are measured anew on some of the
        training batches: at the end, and before validations and callbacks on the way.

        Args:
            batch_norm_batches: how many batches; 0 leaves the moving averages as they are.
            x, y, batch_size, epochs, verbose, callbacks, validation_split, validation_data,
                **options: as in `keras.Model.fit`.
        """
        check_for_training(x)
        callbacks = keras.tree.flatten(callbacks) if callbacks is not None else []
        if batch_norm_batches:
            x, images = watch(x, batch_norm_batches, batch_size, validation_split)
            callbacks = [MeasuredStatistics(images, on_the_way=bool(callbacks)), *callbacks]
        return super().fit(
            x,
            y,
            batch_size,
            epochs,
            verbose,
            callbacks,
            validation_split=validation_split,
            validation_data=validation_data,
            **options,
        )

    def compile_from_config(self, config: dict):
        """Compiles as the detector was compiled; whether XLA does it is for this device to say."""
        super().compile_from_config({k: v for k, v in config.items() if k != "jit_compile"})

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Encodes the ground truth `y` and returns the box network's loss, a scalar."""
        targets = self.box_network.encode(y["boxes"], y["labels"])
        if "ignored" in y:
            targets = {**targets, "ignored": self._find_ignored(y["ignored"])}
        parts = self.box_network.loss(targets, y_pred)
        if self.share_losses is not None:
            parts = self.share_losses(parts)
        self.class_loss.update_state(parts["class_loss"])
        self.box_loss.update_state(parts["box_loss"])
        return parts["loss"]

    def _find_ignored(self, ignored):
        """Which default boxes, or cells where there are none, lie on ignored regions `[B, A]`."""
        places = self.box_network.anchors
        if not len(places):
            places = cells(self.box_network.level_maps[0])
        return find_covered(ignored, places)

    def detect(
        self,
        images,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        max_detections: int | None = None,
        class_agnostic: bool | None = None,
        batch_size: int = 8,
        tiles: Tiling | int | str | bool | None = None,
    ) -> Detections | list[Detections]:
        """Finds the objects in images of any size.

        Args:
            images: an image `[H, W, 3]` or a batch `[B, H, W, 3]`, RGB 0..255; the path of an
                image file, the bytes of one, or a PIL image; or a list or generator of these.
            score_threshold, iou_threshold, max_detections, class_agnostic: instead of the
                detector's own, see `Suppression`.
            batch_size: how many images, or tiles of them, go through the network at once.
            tiles: the side of tiles in pixels (512, or "384x640" height first), into which larger
                images are cut; "auto" for the detector's own, or else those of its input's size; a
                `Tiling`; False to look at images as a whole. None: as the detector's `tiling` says.

        Returns:
            `Detections` for a single image or path, else a list of them in order.

        Raises:
            UserError: an image of another shape, type or range, or a file that cannot be read.
        """
        single = is_single(images)
        rule = {
            "score_threshold": score_threshold,
            "iou_threshold": iou_threshold,
            "max_detections": max_detections,
            "class_agnostic": class_agnostic,
        }
        tiling = tiling_for(self, tiles)
        if tiling is not None:
            pictures = open_pictures(images)
            found = list(detect_tiled(self, pictures, tiling, batch_size, **rule))
        else:
            seen: list[tuple] = []
            batches = stack(self._resize(images, seen), 1 if single else batch_size)
            found = [
                self.in_image(one, *seen[index])
                for index, one in enumerate(self.detect_batches(batches, **rule))
            ]
        return found[0] if single else found

    def _resize(self, images, seen: list[tuple]) -> Iterator[np.ndarray]:
        """Each image in the model's size; its own size and its path are added to `seen`."""
        for pixels, path in arrays(images):
            seen.append((pixels.shape[:2], path))
            yield resize(pixels, self.image_size, self.resize)

    def in_image(self, found: Detections, size: tuple[int, int], path=None) -> Detections:
        """What `detect_batches` found in the resized image, as found in an image of `size`."""
        return found.from_canvas(size, self.image_size, self.resize).of_image(size, path)

    def detect_batches(self, batches: Iterable, **suppression) -> Iterable[Detections]:
        """Yields the `Detections` of each image of batches `[B, H, W, 3]` of the model's size.

        Boxes are shares of these images; `in_image` makes them shares of the original ones.
        `suppression` holds values that go before the detector's own.
        """
        detect = self._detecting(self.suppression.replace(**suppression))
        size = 0
        for images in batches:
            images = np.asarray(images, "float32")
            count = len(images)
            size = max(size, count)
            # A last batch that is smaller would be compiled anew.
            found = detect(np.pad(images, [(0, size - count), *[(0, 0)] * 3]))
            found = {key: ops.convert_to_numpy(value) for key, value in found.items()}
            for i, used in enumerate(found["count"][:count]):
                rows = (found[key][i, :used] for key in ("boxes", "scores", "labels"))
                yield Detections(*rows, self.classes)

    def _detecting(self, suppression: Suppression) -> Callable:
        """The compiled step from images to suppressed detections; only these leave the device."""
        steps = self.__dict__.setdefault("_detecting_steps", {})
        if suppression not in steps:
            steps[suppression] = jit_call(self, functools.partial(self._finish, suppression))
        return steps[suppression]

    def _finish(self, suppression: Suppression, predictions):
        decoded, scores = self.box_network.decode(predictions)
        return boxes.suppress(decoded, scores, **suppression.as_dict())

    def measure(self, data, *, batch_size: int = 16, worst: int = 12, **suppression):
        """Measures it on annotated images: mAP, the numbers of COCO, each class, its errors.

        Args:
            data: a data SPEC such as "voc:photos#val", or a source of the detector's classes.
            batch_size: images per step.
            worst: how many of the worst images to name.
            **suppression: `score_threshold`, `iou_threshold` ... instead of the detector's own.

        Returns:
            An `evaluation.DetectorEvaluation`: `mAP`, `AP`, `coco`, `per_class` ...; printed, a
            table; `save(folder)` writes the report.

        Raises:
            UserError: data that cannot be used, or that have no object of the detector's classes.
        """
        from ssd_keras.data import open_source
        from ssd_keras.evaluation import measure_detector

        # First, so that a wrong value costs no reading of the data.
        self.suppression.replace(**suppression)
        source = open_source(data, self.classes)
        return measure_detector(self, source, batch_size, worst=worst, **suppression)

    def export_tflite(
        self, path, *, calibration_data=None, calibration_images: int | None = None, **options
    ) -> Path:
        """Writes a .tflite file that detects by itself, with labels and metadata inside.

        Args:
            path: the file.
            calibration_data: for int8: a data SPEC, a source, or the images themselves (a list, or
                a dict by their names), from which the ranges of the values are taken.
            calibration_images: how many images of a SPEC or a source are used; 200 if not given.
            **options: `target` ("cpu", "gpu", "npu", "edgetpu", "mediapipe"), `quantization`
                ("none", "float16", "dynamic", "int8"), `postprocess`, `score_threshold` ...; see
                `deploy.to_tflite`.

        Raises:
            UserError: a value, data or a place that cannot be used.
        """
        from ssd_keras import deploy

        return deploy.write_tflite(
            self,
            path,
            calibration_data=calibration_data,
            calibration_images=calibration_images,
            **options,
        )

    def export_saved_model(
        self,
        path,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        max_detections: int | None = None,
        class_agnostic: bool | None = None,
    ) -> Path:
        """Writes a SavedModel that detects by itself; returns its folder.

        Args:
            path: the folder.
            score_threshold, iou_threshold, max_detections, class_agnostic: instead of the
                detector's own, see `Suppression`.

        Raises:
            UserError: a value or a place that cannot be used.
        """
        from ssd_keras import deploy

        return deploy.to_saved_model(
            self,
            path,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            max_detections=max_detections,
            class_agnostic=class_agnostic,
        )

    def get_config(self) -> dict:
        """All that it takes to build it again."""
        return {
            "name": self.name,
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "box_network": keras.saving.serialize_keras_object(self.box_network),
            "classes": list(self.classes),
            "suppression": self.suppression.as_dict(),
            "resize": self.resize,
            # Files without tiles are as they were before there were any.
            **({} if self.tiling is None else {"tiling": self.tiling.as_dict()}),
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects=None) -> Detector:
        """The reverse of `get_config`."""
        config = dict(config)
        for part in ("backbone", "box_network"):
            config[part] = keras.saving.deserialize_keras_object(
                config[part], custom_objects=custom_objects
            )
        return cls(**config)


def _check_classes(classes: tuple[str, ...], expected: int):
    twice = sorted(find_repeated(classes))
    if twice:
        raise UserError(f"Class names must differ, but '{twice[0]}' is given more than once.")
    if len(classes) != expected:
        raise ValueError(
            f"The box network predicts {expected} classes but {len(classes)} names are given."
        )
