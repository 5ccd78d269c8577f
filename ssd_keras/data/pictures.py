"""Pictures of a data set: its images with their boxes, and what training will see of them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ssd_keras import drawing, sheets
from ssd_keras.data.images import ImageError
from ssd_keras.data.pipeline import training_batches
from ssd_keras.data.source import Source
from ssd_keras.resizing import HALF_PIXEL

TILE = 280


def mosaic(source: Source, count: int = 12, columns: int = 4) -> np.ndarray:
    """RGB array of images spread over the source, each with its boxes."""
    truth = source.ground_truth()
    tiles = []
    for index in np.linspace(0, len(truth) - 1, min(count, len(truth))).astype(int):
        try:
            image = source.image(index)
        except ImageError:
            continue
        tiles.append(_tile(image, truth[index].boxes, truth[index].labels, source.classes))
    return _grid(tiles, columns)


def augmented_mosaic(
    source: Source,
    count: int = 12,
    columns: int = 4,
    *,
    augmentation: str = "ssd",
    image_size: tuple[int, int] = (300, 300),
    seed: int = 0,
    resize: str = HALF_PIXEL,
    max_boxes: int = 100,
) -> np.ndarray:
    """RGB array of training images as the model will see them, with their boxes."""
    batches = training_batches(
        source,
        image_size=image_size,
        batch_size=count,
        seed=seed,
        augmentation=augmentation,
        steps=1,
        resize=resize,
        max_boxes=max_boxes,
    )
    images, truth = next(iter(batches))
    tiles = [
        _tile(image, boxes[labels >= 0], labels[labels >= 0], source.classes)
        for image, boxes, labels in zip(
            images.numpy(), truth["boxes"].numpy(), truth["labels"].numpy(), strict=True
        )
    ]
    return _grid(tiles, columns)


def _tile(image, boxes, labels, classes) -> np.ndarray:
    height, width = image.shape[:2]
    scale = TILE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(Image.fromarray(np.asarray(image, np.uint8)).resize(size))
    drawn = drawing.draw_boxes(small, boxes, labels, classes)
    tile = np.full((TILE, TILE, 3), 255, np.uint8)
    tile[: drawn.shape[0], : drawn.shape[1]] = drawn
    return tile


def _grid(tiles, columns) -> np.ndarray:
    return sheets.grid([tiles[column::columns] for column in range(min(columns, len(tiles)))])
