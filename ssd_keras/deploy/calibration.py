"""The images from which an int8 file learns the ranges of its values."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping

import keras
import numpy as np

from ssd_keras.deploy.images import resize
from ssd_keras.errors import UserError

# From image to image the largest raw output varies by a factor of 2.2 at most (ten detectors);
# where a network explodes, it is 15 to 1000 times as large.
LARGEST_RATIO = 10.0
BATCH_SIZE = 8
NAMED = 5


def calibration_images(source, count: int) -> Mapping[str, np.ndarray]:
    """At most `count` images of a data source by their names, evenly spread over it.

    Evenly, since neighbours in a data set are often alike. Each is read when it is asked for: as
    photographs of a phone, 200 of them take 7 GB of memory.

    Args:
        source: from `data.load_source`.
        count: how many; 100 to 500.
    """
    count = min(count, len(source))
    truth = source.ground_truth()
    places = {}
    for index in (i * len(source) // count for i in range(count)):
        name = truth[index].path or truth[index].image_id
        # Joined data sets may use a name twice.
        places[f"{name}, image {index}" if name in places else name] = index
    return _ImagesOnDemand(source, places)


class _ImagesOnDemand(Mapping):
    def __init__(self, source, places: dict[str, int]):
        self._source = source
        self._places = places

    def __getitem__(self, name: str) -> np.ndarray:
        return self._source.image(self._places[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Calibration:
    """Calibration images, checked, resized and ready to be gone through several times.

    Args:
        images: `[H, W, 3]` of any size, RGB 0..255; a mapping gives them names.
        size: (height, width) of the network's input.

    Raises:
        UserError: there is none, or they are no images in the right range.
    """

    def __init__(
        self, images: Iterable[np.ndarray] | Mapping[str, np.ndarray], size: tuple[int, int]
    ):
        if not isinstance(images, Mapping):
            images = {f"number {index}": image for index, image in enumerate(images)}
        self._images: dict[str, np.ndarray] = {}
        lowest, highest = np.inf, -np.inf
        for name, image in images.items():
            image = np.asarray(image)
            if image.ndim != 3 or image.shape[-1] != 3:
                raise UserError(
                    f"A calibration image must be an array [H, W, 3], but {name} is {image.shape}."
                )
            lowest, highest = min(lowest, image.min()), max(highest, image.max())
            # As the device will see it: resized and rounded to whole values.
            self._images[name] = np.round(resize(image, size)).clip(0, 255).astype(np.uint8)
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

    def leave_out_explosions(self, model: keras.Model):
        """Leaves out images on which the network's values explode, and warns of each.

        An int8 file keeps the largest and smallest value that each layer took in any calibration
        image. A network that gives 20,000 where it usually gives 20 on one image in a hundred
        would have nothing but zeros left for the others.

        Args:
            model: the network, a dict of raw outputs.
        """
        peaks = self._peaks(model)
        usual = np.nanmedian(peaks, axis=0)
        ratios = (peaks / np.maximum(usual, np.finfo(np.float32).tiny)).max(axis=1)
        # Written so that what is no number is wild, too.
        wild = np.flatnonzero(~(ratios <= LARGEST_RATIO))
        if not len(wild):
            return
        names = list(self._images)
        worst = wild[np.argsort(-ratios[wild])]
        listed = ", ".join(f"{names[i]} ({ratios[i]:.3g} times)" for i in worst[:NAMED])
        more = f" and {len(wild) - NAMED} more" if len(wild) > NAMED else ""
        warnings.warn(
            f"{len(wild)} of {len(names)} calibration images are left out, since the network's raw "
            f"outputs are far larger there than usual: {listed}{more}. Look at what the detector "
            "finds in them: it may be wrong there in float32 too. Longer training often mends it.",
            stacklevel=2,
        )
        for index in wild:
            del self._images[names[index]]

    def _peaks(self, model: keras.Model) -> np.ndarray:
        """Largest magnitude of each raw output in each image, `[images, outputs]`."""
        images = np.stack(list(self._images.values()))
        peaks = []
        for start in range(0, len(images), BATCH_SIZE):
            outputs = model(images[start : start + BATCH_SIZE].astype(np.float32), training=False)
            found = [np.abs(np.asarray(value)) for value in outputs.values()]
            peaks.append(np.stack([f.reshape(len(f), -1).max(axis=1) for f in found], axis=1))
        return np.concatenate(peaks)
