"""Pictures of a data set: what is in it and what training will see of it."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ssd_keras import plots
from ssd_keras.data.images import ImageError
from ssd_keras.data.inspection import Summary
from ssd_keras.data.pipeline import training_batches
from ssd_keras.data.source import Source

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
) -> np.ndarray:
    """RGB array of training images as the model will see them, with their boxes."""
    batches = training_batches(
        source,
        image_size=image_size,
        batch_size=count,
        seed=seed,
        augmentation=augmentation,
        steps=1,
    )
    images, truth = next(iter(batches))
    tiles = [
        _tile(image, boxes[labels >= 0], labels[labels >= 0], source.classes)
        for image, boxes, labels in zip(
            images.numpy(), truth["boxes"].numpy(), truth["labels"].numpy(), strict=True
        )
    ]
    return _grid(tiles, columns)


def class_counts(summary: Summary, most: int = 40) -> Figure:
    """Bars of the objects of each class."""
    rows = sorted(summary.per_class, key=lambda row: row[1])[-most:]
    figure = Figure(figsize=(7, 1.2 + 0.24 * len(rows)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh([name for name, _, _ in rows], [count for _, count, _ in rows])
    axes.bar_label(bars, padding=3, fontsize=8)
    axes.set_xlabel("objects")
    left = len(summary.per_class) - len(rows)
    axes.set_title("Objects of each class" + (f" ({left} rarer classes left out)" if left else ""))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def box_sizes(
    source: Source, anchors: np.ndarray | None = None, image_size: tuple[int, int] = (300, 300)
) -> Figure:
    """Width against height of all objects, and of the default boxes, in pixels of the input."""
    scale = np.asarray(image_size, np.float32)
    boxes = np.concatenate([np.zeros((0, 4)), *(t.boxes for t in source.ground_truth())])
    sides = (boxes[:, 2:] - boxes[:, :2]) * scale
    figure = Figure(figsize=(6.2, 5.6), layout="constrained")
    axes = figure.subplots()
    axes.scatter(sides[:, 1], sides[:, 0], s=8, alpha=0.35, linewidths=0, label="objects")
    if anchors is not None:
        kinds = np.unique(np.round((anchors[:, 2:] - anchors[:, :2]) * scale, 1), axis=0)
        axes.scatter(kinds[:, 1], kinds[:, 0], marker="+", s=70, c="tab:red", label="default boxes")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="width in pixels", ylabel="height in pixels", aspect="equal")
    axes.set_title(f"Box sizes at {image_size[1]}x{image_size[0]}")
    axes.legend()
    axes.grid(alpha=0.25)
    return figure


def _tile(image, boxes, labels, classes) -> np.ndarray:
    height, width = image.shape[:2]
    scale = TILE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(Image.fromarray(np.asarray(image, np.uint8)).resize(size))
    drawn = plots.draw_boxes(small, boxes, labels, classes)
    tile = np.full((TILE, TILE, 3), 255, np.uint8)
    tile[: drawn.shape[0], : drawn.shape[1]] = drawn
    return tile


def _grid(tiles, columns) -> np.ndarray:
    return plots.grid([tiles[column::columns] for column in range(min(columns, len(tiles)))])
