"""What a detector saw in one image."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Detections:
    """Boxes, scores and labels of one image, best score first.

    Attributes:
        boxes: float32 `[N, 4]`, `[ymin, xmin, ymax, xmax]` normalised to the image.
        scores: float32 `[N]` in 0..1, descending.
        labels: int32 `[N]`, indices into `classes`.
        classes: names of all classes the detector knows.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def __post_init__(self):
        boxes = np.asarray(self.boxes, np.float32).reshape(-1, 4)
        scores = np.asarray(self.scores, np.float32).reshape(-1)
        labels = np.asarray(self.labels, np.int32).reshape(-1)
        if not len(boxes) == len(scores) == len(labels):
            raise ValueError(
                f"Detections need one score and one label per box, got {len(boxes)} boxes, "
                f"{len(scores)} scores and {len(labels)} labels."
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.classes):
            raise ValueError(
                f"Labels must be 0..{len(self.classes) - 1}, got {labels.min()}..{labels.max()}."
            )
        order = np.argsort(-scores, kind="stable")
        object.__setattr__(self, "boxes", boxes[order])
        object.__setattr__(self, "scores", scores[order])
        object.__setattr__(self, "labels", labels[order])
        object.__setattr__(self, "classes", tuple(self.classes))

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def names(self) -> list[str]:
        """The class name of each detection."""
        return [self.classes[label] for label in self.labels]

    def above(self, threshold: float) -> Detections:
        """Only the detections whose score is at least `threshold`."""
        keep = self.scores >= threshold
        return Detections(self.boxes[keep], self.scores[keep], self.labels[keep], self.classes)

    def __repr__(self) -> str:
        seen = ", ".join(
            f"{name} {score:.2f}" for name, score in zip(self.names[:5], self.scores, strict=False)
        )
        return f"Detections({len(self)}: {seen}{', ...' if len(self) > 5 else ''})"
