"""The objectives by name: which assignment, which class loss and which box loss go together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ssd_keras.errors import require_one_of
from ssd_keras.objectives.dense import Dense
from ssd_keras.objectives.multibox import MultiBox

PUBLISHED = "multibox"
# All that an objective can be told: the fields of its class.
PARTS = tuple(
    dict.fromkeys(field.name for kind in (MultiBox, Dense) for field in dataclasses.fields(kind))
)

COMBINATIONS: dict[str, MultiBox | Dense] = {
    # SSD and DSSD as published: softmax with background, hard negatives 3:1, smooth L1.
    "multibox": MultiBox(),
    # The same with a box loss on the boxes themselves.
    "multibox_giou": Dense(
        scores="softmax", matching="bipartite", class_loss="mined", box_loss="giou"
    ),
    # RetinaNet's classes on SSD's boxes, as in the TF Object Detection API's FPN models.
    "focal": Dense(matching="argmax", class_loss="focal", box_loss="smooth_l1", box_weight=1.0),
    # Generalized Focal Loss: ATSS, and scores that say how well a box sits.
    "atss": Dense(matching="atss", candidates=9, class_loss="quality_focal", box_loss="giou"),
    # TOOD's assignment with the class loss of VarifocalNet, as in PicoDet.
    "task_aligned": Dense(
        matching="task_aligned", candidates=13, class_loss="varifocal", box_loss="giou"
    ),
}


def build_objective(name: str = PUBLISHED, given: Mapping | None = None) -> MultiBox | Dense:
    """An objective by its name, with other values where they are given.

    Args:
        name: one of `COMBINATIONS`.
        given: fields of it and their values; None is as not given.

    Raises:
        ValueError: there is no such objective, it has no such field, or a value makes no sense.
    """
    require_one_of("objective", name, COMBINATIONS)
    base = COMBINATIONS[name]
    values = {key: value for key, value in (given or {}).items() if value is not None}
    known = [field.name for field in dataclasses.fields(base)]
    for key in values:
        if key not in known:
            others = [other for other, row in COMBINATIONS.items() if hasattr(row, key)]
            raise ValueError(
                f"the objective '{name}' has no {key}; it has {', '.join(known)}"
                + (f", and {key} belongs to {', '.join(others)}." if others else ".")
            )
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return dataclasses.replace(base, **values)


def without_parts(settings: Mapping) -> dict:
    """The settings of a box network less those of its objective, for one that has another.

    The variances stay: they say what codes mean.
    """
    left = {"objective", *PARTS} - {"variances"}
    return {key: value for key, value in settings.items() if key not in left}


def has_background(config: Mapping) -> bool:
    """Whether the classes of a box network of these saved settings have a column for no object."""
    name = config.get("objective", PUBLISHED)
    if not isinstance(COMBINATIONS.get(name), Dense):
        return True
    return config.get("scores", COMBINATIONS[name].scores) == "softmax"
