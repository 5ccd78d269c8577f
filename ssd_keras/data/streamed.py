"""Records that are read in sequence, for training: large sets of other tools, which have no index.

`tfrecord:GLOB,sequential=1700000` opens such a set by a few records of its files; all others are
read when training comes to them, through a shuffle buffer. Nothing but training can do with that.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging

from ssd_keras import remote
from ssd_keras.data import images, packed, row_checks, tfrecord_classes
from ssd_keras.data.record_file import bytes_around, first_records
from ssd_keras.data.source import LEFT_OUT, REFUSED, Problem, Source
from ssd_keras.data.tfrecord_examples import Entry, read_entry
from ssd_keras.errors import UserError
from ssd_keras.resizing import FILL

AUTO = "auto"
# Records that are looked at before training, of so many files at most.
SAMPLE, SAMPLED_FILES = 500, 50
MOST_IMAGES = 1 << 40


class StreamedSource(Source):
    """A source that gives its images in the order of its files only.

    Attributes:
        files: the places of the records.
        number_names: what classes that have a number only are called.
        unit: that of the boxes, if the user said so.
        left_out: by the kind of problem, how many objects and images were not used yet.
    """

    def __init__(
        self,
        spec: str,
        files: Sequence[str],
        count: int,
        sample: Source,
        number_names: Mapping[int, str],
        unit: str | None,
    ):
        self._count = count
        super().__init__(spec, sample.classes, [], sample.problems)
        self.files, self.number_names, self.unit = list(files), number_names, unit
        self.left_out: Counter[str] = Counter()
        self._sample, self._names = sample, row_checks.ClassNames(sample.classes)

    def __len__(self) -> int:
        return self._count

    @property
    def sample(self) -> Source:
        return self._sample

    def ground_truth(self):
        raise self.refusal()

    def image(self, index: int) -> np.ndarray:
        raise self.refusal()

    def encoded(self, index: int) -> bytes:
        raise self.refusal()

    def refusal(self) -> UserError:
        """The error of who asks for more than sequences can give."""
        return UserError(
            f"'{self.spec}' is read in sequence, which is for training alone, without tiles, "
            "mosaics and balance: leave out ',sequential=...', or pack it by make-records."
        )

    def read(self, data: bytes, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The image uint8 `[H, W, 3]`, boxes `[n, 4]` and labels `[n]` of a record to learn from.

        Crowds and ignored objects are left out. Of a record that cannot be used an even grey
        without objects; what is wrong is counted and, the first time of its kind, said.
        """
        problems: list[Problem] = []
        found = self._read(data, number, problems)
        for problem in problems:
            self._count_problem(problem)
        if found is None:
            reason = problems[-1].message if problems else "cannot be used"
            # By what it is and not where it comes, which is another place in every epoch.
            self.unread.setdefault(zlib.crc32(data), f"record {number} in sequence: {reason}")
            return _nothing()
        return found

    def _read(self, data: bytes, number: int, problems: list[Problem]):
        entry = read_entry(self.spec, number, 0, data, problems)
        if entry is None:
            return None
        name_all([entry], self.spec, self.number_names, problems)
        if self.unit:
            entry.row.state_unit(self.unit)
        truth = row_checks.check_row(entry.row, entry.header, self._names, problems)
        if truth is None:
            return None
        at = entry.location
        try:
            image = images.decode_image(data[at.offset : at.offset + at.length], truth.image_id)
        except images.ImageError as error:
            problems.append(Problem("undecodable_image", self.spec, str(error), LEFT_OUT))
            return None
        return image, truth.boxes[truth.is_object], truth.labels[truth.is_object]

    def _count_problem(self, problem: Problem) -> None:
        if problem.action in (LEFT_OUT, REFUSED):
            if not self.left_out[problem.kind]:
                logging.warning("%s; more like it are counted, not said.", problem)
            self.left_out[problem.kind] += 1


def _nothing() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    grey = np.full((32, 32, 3), FILL, np.uint8)
    return grey, np.zeros((0, 4), np.float32), np.zeros(0, np.int32)


def load(
    spec: str,
    files: Sequence[str],
    classes: Sequence[str] | None,
    chosen: Mapping[str, str],
    problems: list[Problem],
) -> StreamedSource:
    """Opens records by a few of them.

    Args:
        spec: how the user named the data, for messages.
        files: the places of the records.
        classes: class names; None takes them from the list or the label map beside the files.
        chosen: `sequential`, how many images there are, or "auto": as many as the sizes of the
            files say; and perhaps `units`.
        problems: what is wrong with the sample is added.

    Raises:
        UserError: no list of classes, or a sample that cannot be used.
    """
    found, sizes = _sample(files, problems)
    beside = tfrecord_classes.classes_beside(files, problems)
    label_map = tfrecord_classes.read_label_map(files, needed=not beside)
    listed = [label_map.names[number] for number in sorted(label_map.names)]
    names = list(dict.fromkeys(classes or beside or listed))
    if not names:
        raise UserError(
            f"'{spec}' is read in sequence, so its classes must be known before: put NAME.classes."
            "txt, a name a line, or a label map (.pbtxt) beside files whose names begin with NAME."
        )
    numbers = label_map.names or dict(enumerate(beside or names, start=1))
    name_all(found, spec, numbers, problems)
    unit = chosen.get("units")
    sample = packed.assemble(spec, names, [entry[:3] for entry in found], problems, unit=unit)
    return StreamedSource(
        spec, files, _count(spec, files, chosen["sequential"], sizes), sample, numbers, unit
    )


def _sample(files: Sequence[str], problems: list[Problem]) -> tuple[list[Entry], list[int]]:
    """Some records of some files, and what each takes in its file."""
    chosen = list(files)[:: -(-len(files) // SAMPLED_FILES)]
    found, sizes = [], []
    for path in chosen:
        for index, offset, data in first_records(path, -(-SAMPLE // len(chosen)), problems):
            sizes.append(bytes_around(len(data)))
            if entry := read_entry(path, index, offset, data, problems):
                entry.row.image_id = entry.other_ids[1]
                found.append(entry)
    return found, sizes


def name_all(found: Sequence[Entry], spec: str, numbers: Mapping[int, str], problems) -> None:
    """Gives each object the name of its class: its own, or that of its number."""
    tfrecord_classes.decode_names(found, spec, problems)
    for entry in found:
        entry.row.names = [
            name or ("" if number is None else numbers.get(number, str(number)))
            for name, number in zip(entry.row.names, entry.numbers, strict=True)
        ]


def _count(spec: str, files: Sequence[str], stated: str, sizes: Sequence[int]) -> int:
    if stated == AUTO:
        return max(1, round(sum(map(remote.size_of, files)) * len(sizes) / sum(sizes)))
    if stated.isdecimal() and 0 < int(stated[:20]) < MOST_IMAGES:
        return int(stated)
    raise UserError(f"'sequential' in '{spec}' is the number of images, or 'auto', not '{stated}'.")
