"""Whether what is left of a data set is enough to train on or to judge by.

A data set is not fit if

- no object is left, or only regions with many objects (crowd), which training leaves out,
- more than half of its objects are lost,
- more than half of its images are lost,
- more than half of its images have no label file, where these lie beside the images (YOLO),
- more than three quarters of the images in its folders have no annotation (VOC), or
- most of its boxes do not match its images (problems of the kinds `FATAL`).

Objects that repeat another, and those of classes that were not asked for, are not lost. Images
without objects are background, which is worth learning; that most of them are is said, since they
may not be annotated yet.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ssd_keras.data.ground_truth import table_of
from ssd_keras.data.source import LEFT_OUT, NOTED, REFUSED, GroundTruth, Problem, Source
from ssd_keras.errors import UserError
from ssd_keras.labels import match_key

MOST_LOST = 0.5
# Of Oxford's pets, every second image has a box.
MOST_UNANNOTATED = 0.75
REPEATED = "duplicate_box"
OTHER_CLASS = "unknown_class"
# Kinds of problems that concern the whole set, and that make it useless.
FATAL = ("wrong_scale",)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What was read of a data set, what is left of it, and whether that is enough.

    Attributes:
        spec: how the user named the data.
        kept: objects that are used.
        crowd: those of them that are regions with many objects.
        lost: objects that are not used, by the kind of problem, most first.
        repeated: objects left out because they repeat another.
        others: objects left out because their class was not asked for.
        images: images that are used.
        images_lost: images that are not used, by the kind of problem, most first.
        empty: images that are annotated as empty.
        emptied: images that are used and lost all of their objects.
        unlabelled: images that are used as empty because they have no label file.
        classes_lost: classes that objects were read of, and none is used, with their numbers.
        unused_classes: classes that no object was read of.
        reasons: why the set is not fit; empty where it is.
    """

    spec: str
    kept: int
    crowd: int
    lost: Mapping[str, int]
    repeated: int
    others: int
    images: int
    images_lost: Mapping[str, int]
    empty: int
    emptied: int
    unlabelled: int
    classes_lost: Mapping[str, int]
    unused_classes: tuple[str, ...]
    reasons: tuple[str, ...] = ()

    @property
    def read(self) -> int:
        """Objects that were read, and that should be used."""
        return self.kept + sum(self.lost.values())

    @property
    def background(self) -> int:
        """Images that are used and have no object, for whatever reason."""
        return self.empty + self.emptied + self.unlabelled

    @property
    def fit(self) -> bool:
        """Whether enough is left."""
        return not self.reasons

    def why(self) -> str:
        """The reasons as one sentence."""
        return "; ".join(self.reasons) + "."

    def backgrounds(self) -> str:
        """How many images show nothing but background, as part of a line; "" if none does.

        They may be meant so, or not be annotated yet, which only the user knows.
        """
        if not self.background:
            return ""
        return (
            f"{self.background:,} of {self.images:,} images have no object and count as background"
        )

    def losses(self) -> str:
        """All that is lost as one line, and that most images are background; "" if neither is."""
        parts = []
        if self.lost:
            of = f"{sum(self.lost.values()):,} of {self.read:,} objects are lost"
            parts.append(f"{of} ({by_kind(self.lost)})")
        if self.images_lost:
            lost = sum(self.images_lost.values())
            parts.append(
                f"{lost:,} of {self.images + lost:,} images are left out "
                f"({by_kind(self.images_lost)})"
            )
        if self.repeated:
            parts.append(f"{self.repeated:,} objects repeat another and are left out")
        if self.others:
            parts.append(f"{self.others:,} objects are of other classes and are left out")
        if self.emptied:
            parts.append(f"{self.emptied:,} images lost all of their objects")
        if self.unlabelled:
            parts.append(f"{self.unlabelled:,} images without a label file are taken as empty")
        if self.classes_lost:
            parts.append(f"no object is left of {_classes(self.classes_lost)}")
        if self.background > MOST_LOST * self.images:
            parts.append(self.backgrounds())
        return "; ".join(parts)


def by_kind(counts: Mapping[str, int]) -> str:
    """Counts as text, such as "12 zero_area, 3 outside"."""
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items())


def _classes(counts: Mapping[str, int], most: int = 8) -> str:
    listed = ", ".join(f"'{name}' ({count:,} lost)" for name, count in list(counts.items())[:most])
    return listed + (f" and {len(counts) - most} more classes" if len(counts) > most else "")


def judge(source: Source, inspected: Sequence[Problem] = (), *, chosen: bool = False) -> Verdict:
    """Counts what is left of a source, and judges it.

    Args:
        source: from `load_source`.
        inspected: what `inspection.inspect_images` found besides.
        chosen: the classes are those that the user asked for: objects of others are not lost.
    """
    return count(
        source.spec,
        source.classes,
        source.ground_truth(),
        source.problems,
        inspected,
        chosen=chosen,
    )


def count(
    spec: str,
    classes: Sequence[str],
    truth: Sequence[GroundTruth],
    problems: Iterable[Problem],
    inspected: Iterable[Problem] = (),
    *,
    chosen: bool = False,
) -> Verdict:
    """As `judge`, from the parts of a source; also of one of which nothing is left."""
    inspected = list(inspected)
    problems = [*problems, *inspected]
    table = table_of(truth)
    kept = _objects_of(table.labels, classes)
    kept -= Counter(name for problem in inspected for name in problem.lost)
    gone = [problem for problem in problems if problem.action in (LEFT_OUT, REFUSED)]
    images_lost = _sums((problem.kind, problem.images_lost) for problem in gone)
    unwanted, losses = [], []
    for problem in gone:
        (unwanted if chosen and _is_unwanted(problem, classes) else losses).append(problem)
    lost = _sums((problem.kind, len(problem.lost)) for problem in losses)
    lost_of = Counter(name for problem in losses for name in problem.lost)
    repeated = lost.pop(REPEATED, 0)
    unlabelled = _count_of(problems, "missing_annotation", NOTED)
    emptied = _count_of(problems, "no_objects_left", NOTED)
    verdict = Verdict(
        spec=spec,
        kept=kept.total(),
        crowd=int(table.crowd.sum()),
        lost=dict(lost.most_common()),
        repeated=repeated,
        others=sum(len(problem.lost) for problem in unwanted),
        images=len(truth) - sum(problem.images_lost for problem in inspected),
        images_lost=dict(images_lost.most_common()),
        empty=int((table.counts == 0).sum()) - emptied - unlabelled,
        emptied=emptied,
        unlabelled=unlabelled,
        classes_lost={name: n for name, n in lost_of.most_common() if name and not kept[name]},
        unused_classes=tuple(n for n in classes if not kept[n] and not lost_of[n]),
    )
    return dataclasses.replace(verdict, reasons=_reasons(verdict, problems))


def _objects_of(labels: np.ndarray, classes: Sequence[str]) -> Counter:
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    return Counter({name: count for name, count in zip(classes, counts, strict=True) if count})


def _sums(numbers: Iterable[tuple[str, int]]) -> Counter:
    """The sum of the numbers of each kind, of those that are not 0."""
    sums = Counter()
    for kind, number in numbers:
        if number:
            sums[kind] += number
    return sums


def _is_unwanted(problem: Problem, classes: Sequence[str]) -> bool:
    """Whether objects are left out because the user asked for other classes."""
    return problem.kind == OTHER_CLASS and not _meant(problem.lost, classes)


def _meant(names: Sequence[str], classes: Sequence[str]) -> bool:
    """Whether a class was asked for by another spelling of its name."""
    asked = {match_key(name) for name in classes}
    return any(match_key(name) in asked for name in names)


def _count_of(problems, kind, action) -> int:
    return sum(problem.kind == kind and problem.action == action for problem in problems)


def _reasons(verdict: Verdict, problems) -> tuple[str, ...]:
    images, read = verdict.images, verdict.read
    lost, images_lost = read - verdict.kept, sum(verdict.images_lost.values())
    reasons = [f"{p.message}" for p in problems if p.kind in FATAL]
    if not verdict.kept:
        reasons.append(_nothing(verdict))
    elif verdict.crowd == verdict.kept:
        reasons.append(
            f"all {verdict.kept:,} objects are crowd regions, which training leaves out and which "
            "are neither found nor missed"
        )
    elif lost > MOST_LOST * read:
        reasons.append(
            f"{lost:,} of {read:,} objects are lost, more than half ({by_kind(verdict.lost)})"
        )
    if images_lost > MOST_LOST * (images + images_lost):
        reasons.append(
            f"{images_lost:,} of {images + images_lost:,} images are left out, more than half "
            f"({by_kind(verdict.images_lost)})"
        )
    if verdict.kept and verdict.unlabelled > MOST_LOST * images:
        reasons.append(
            f"{verdict.unlabelled:,} of {images:,} images have no label file, more than half "
            "(give an empty one to an image without objects)"
        )
    unannotated = sum(p.images_lost for p in problems if p.kind == "not_annotated")
    if verdict.kept and unannotated > MOST_UNANNOTATED * (images + unannotated):
        reasons.append(
            f"{unannotated:,} of {images + unannotated:,} images have no annotation and are not "
            "used, more than three quarters (move them elsewhere if that is meant)"
        )
    return tuple(reasons)


def _nothing(verdict: Verdict) -> str:
    images = verdict.images + sum(verdict.images_lost.values())
    parts = [
        (verdict.read, f"all {verdict.read:,} that were read are lost ({by_kind(verdict.lost)})"),
        (verdict.others, f"{verdict.others:,} are of classes that were not asked for"),
        (verdict.unlabelled, f"{verdict.unlabelled:,} images have no label file"),
        (verdict.empty, f"{verdict.empty:,} images are annotated as empty"),
    ]
    why = ", ".join(text for number, text in parts if number)
    return f"no object in {images:,} images" + (f": {why}" if why else "")


def line(verdict: Verdict) -> str:
    """What `Verdict.losses` says, and where to find out more; "" if it says nothing."""
    losses = verdict.losses()
    return f"{verdict.spec}: {losses}. {_where(verdict)}" if losses else ""


def check_fit(verdict: Verdict, purpose: str) -> None:
    """Raises UserError, with the way to find out more and the way to go on, if it is not fit."""
    if not verdict.fit:
        raise UserError(
            f"'{verdict.spec}' is not fit {purpose}: {verdict.why()} {_where(verdict)} "
            "--accept_losses goes on with what is left."
        )


def _where(verdict: Verdict) -> str:
    command = shlex.join(["ssd-keras", "check-data", f"--data={verdict.spec}"])
    return f"{command} says where."
