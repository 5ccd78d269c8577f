"""The images from which an int8 file learns the ranges of its values."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping

import keras
import numpy as np

from ssd_keras.boxes.tiles import Tiling, tiles_of
from ssd_keras.data.tiled import TiledSource
from ssd_keras.errors import UserError
from ssd_keras.resizing import HALF_PIXEL, resize

# From image to image the largest raw output usually varies by a factor of 2.2 at most (ten
# detectors); where a network explodes, it is 15 to 1000 times as large.
LARGEST_RATIO = 10.0
BATCH_SIZE = 8
# Of images that are given and are larger than a tile, so many tiles are taken in all.
TILES = 200


def calibration_images(
    source, count: int, tiling: Tiling | None = None
) -> Mapping[str, np.ndarray]:
    """At most `count` images of a data source by their names, evenly spread over it.

    Of a detector that looks at tiles, tiles: those that it would be trained on, most of them with
    objects. Whole images show it objects of another size, whose values are others.

    Evenly, since neighbours in a data set are often alike. Each is read when it is asked for: as
    photographs of a phone, 200 of them take 7 GB of memory.

    Args:
        source: from `data.load_source`.
        count: how many; 100 to 500.
        tiling: the detector's, or None.
    """
    source = source if tiling is None else TiledSource(source, tiling)
    count = min(count, len(source))
    truth = source.ground_truth()
    indices = {}
    for index in (i * len(source) // count for i in range(count)):
        name = truth[index].path or truth[index].image_id
        # Joined data sets may use a name twice.
        indices[f"{name}, image {index}" if name in indices else name] = index
    return _ImagesOnDemand(source, indices)


class _ImagesOnDemand(Mapping):
    def __init__(self, source, indices: dict[str, int]):
        self._source = source
        self._indices = indices
        self.are_tiles = isinstance(source, TiledSource)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._source.image(self._indices[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._indices)

    def items(self) -> Iterator[tuple[str, np.ndarray]]:
        """Those that can be read; the source says of the others why they are left out."""
        names = {index: name for name, index in self._indices.items()}
        return ((names[index], image) for index, image in self._source.readable(names))

    def __len__(self) -> int:
        return len(self._indices)


def _cut_into_tiles(
    images: Mapping[str, np.ndarray], tiling: Tiling | None
) -> Iterator[tuple[str, np.ndarray]]:
    """The images, or some tiles of those that are larger than one."""
    each = max(1, TILES // max(1, len(images)))
    for number, (name, image) in enumerate(images.items()):
        image = np.asarray(image)
        tiles = [] if tiling is None or image.ndim != 3 else tiles_of(image.shape[:2], tiling)
        if len(tiles) < 2:
            yield name, image
            continue
        for place in range(min(each, len(tiles))):
            chosen = (number + place * len(tiles) // min(each, len(tiles))) % len(tiles)
            top, left, bottom, right = tiles[chosen]
            yield f"{name}, tile {chosen}", image[top:bottom, left:right]


class Calibration:
    """Calibration images, checked, resized and ready to be gone through several times.

    Args:
        images: `[H, W, 3]` of any size, RGB 0..255; a mapping gives them names.
        size: (height, width) of the network's input.
        way: in which they are resized, one of `resizing.WAYS`.
        tiling: how the detector cuts images; of a larger one some tiles are taken instead, each
            time others.

    Raises:
        UserError: there is none, or they are no images in the right range.
    """

    def __init__(
        self,
        images: Iterable[np.ndarray] | Mapping[str, np.ndarray],
        size: tuple[int, int],
        way: str = HALF_PIXEL,
        tiling: Tiling | None = None,
    ):
        if getattr(images, "are_tiles", False):
            # The whole image may be one of them, and stays whole.
            tiling = None
        if not isinstance(images, Mapping):
            images = {f"number {index}": image for index, image in enumerate(images)}
        self._images: dict[str, np.ndarray] = {}
        lowest, highest = np.inf, -np.inf
        for name, image in _cut_into_tiles(images, tiling):
            if image.ndim != 3 or image.shape[-1] != 3:
                raise UserError(
                    f"A calibration image must be an array [H, W, 3], but {name} is {image.shape}."
                )
            lowest, highest = min(lowest, image.min()), max(highest, image.max())
            # As the device will see it: resized and rounded to whole values.
            self._images[name] = np.round(resize(image, size, way)).clip(0, 255).astype(np.uint8)
        if not self._images:
            raise UserError("int8 needs calibration images, but there is none.")
        if not (lowest >= 0 and 1.5 < highest <= 255.5):
            raise UserError(
                f"Calibration images must be RGB 0..255, but these reach from {lowest:.3g} to "
                f"{highest:.3g}: give them as they are in the files, not normalised."
            )

    def __iter__(self) -> Iterator[np.ndarray]:
        """The images as the network takes them, float32 `[1, height, width, 3]`."""
        return (image[None].astype(np.float32) for image in self._images.values())

    def __len__(self) -> int:
        return len(self._images)

    def some(self, count: int) -> list[np.ndarray]:
        """At most `count` of the images, evenly spread."""
        return list(self)[:: -(-len(self) // count)]

    def without(self, names: Iterable[str]) -> Calibration:
        """The same without the images of these names."""
        names = set(names)
        rest = copy.copy(self)
        rest._images = {k: image for k, image in self._images.items() if k not in names}
        return rest

    def with_whole_range(self) -> Calibration:
        """The same, reaching from 0 to 255: where they do not, two corners of the first image do.

        An int8 file takes the range that it was shown for that of a pixel's byte, so calibrated
        with dark photographs alone it would see all images darker than they are.
        """
        whole = copy.copy(self)
        whole._images = dict(self._images)
        images = self._images.values()
        if min(map(np.min, images)) > 0 or max(map(np.max, images)) < 255:
            name, first = next(iter(self._images.items()))
            whole._images[name] = first = first.copy()
            first[0, 0], first[-1, -1] = 0, 255
        return whole

    def explosions(self, model: keras.Model) -> dict[str, float]:
        """The images on which the network's values are far larger than usual, worst first.

        An int8 file keeps the largest and smallest value that each layer took in any calibration
        image. A network that gives 20,000 where it usually gives 20 on one image in a hundred
        has nothing but zeros left for the others.

        Args:
            model: the network, a dict of raw outputs.

        Returns:
            Name -> how many times as large as usual the largest raw output is.
        """
        peaks = self._peaks(model)
        usual = np.nanmedian(peaks, axis=0)
        ratios = (peaks / np.maximum(usual, np.finfo(np.float32).tiny)).max(axis=1)
        # Written so that what is no number is found, too.
        found = np.flatnonzero(~(ratios <= LARGEST_RATIO))
        names = list(self._images)
        return {names[i]: float(ratios[i]) for i in found[np.argsort(-ratios[found])]}

    def _peaks(self, model: keras.Model) -> np.ndarray:
        """Largest magnitude of each raw output in each image, `[images, outputs]`."""
        images = np.stack(list(self._images.values()))
        peaks = []
        for start in range(0, len(images), BATCH_SIZE):
            outputs = model(images[start : start + BATCH_SIZE].astype(np.float32), training=False)
            found = [np.abs(np.asarray(value)) for value in outputs.values()]
            peaks.append(np.stack([f.reshape(len(f), -1).max(axis=1) for f in found], axis=1))
        return np.concatenate(peaks)
