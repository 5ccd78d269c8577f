"""Ground truth as a table: the same as a list, and checked the same as row by row."""

import numpy as np
import pytest

from ssd_keras.data import row_checks
from ssd_keras.data.ground_truth import GroundTruth, TruthTable, concatenate, table_of
from ssd_keras.data.images import Header
from ssd_keras.data.rows import Headers, Row, RowTable


def truth(name: str, count: int) -> GroundTruth:
    box = np.arange(4 * count).reshape(-1, 4) + len(name)
    return GroundTruth(name, 10 + count, 20, box, np.arange(count), path=f"{name}.jpg")


LISTED = [truth("a", 2), truth("bb", 0), truth("c", 3), truth("d", 0)]


def as_values(one: GroundTruth) -> tuple:
    columns = (one.boxes, one.labels, one.difficult, one.crowd, one.area)
    return (one.image_id, one.height, one.width, one.path, *(str(c.tolist()) for c in columns))


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3], [], [2, 2, 0], [3], [1, 3]])
def test_a_table_is_a_list(chosen):
    table = table_of(LISTED)
    assert table_of(table) is table
    assert list(map(as_values, table.take(chosen))) == [as_values(LISTED[i]) for i in chosen]
    assert list(map(as_values, table)) == list(map(as_values, LISTED))
    assert list(map(as_values, table[1:3])) == list(map(as_values, LISTED[1:3]))
    assert as_values(table[-2]) == as_values(LISTED[-2])
    with pytest.raises(IndexError):
        table[4]
    assert table.image_of.tolist() == [0, 0, 2, 2, 2]


def test_tables_are_joined_with_changes():
    both = concatenate([table_of(LISTED), TruthTable.of(LISTED[:1])], labels=np.full(7, 5))
    assert both.image_ids == ["a", "bb", "c", "d", "a"]
    assert both.counts.tolist() == [2, 0, 3, 0, 2]
    assert set(both.labels.tolist()) == {5}


NAMES = ["cat", "dog", "cow"]
# The sizes that an annotation of an image of so many pixels may state.
SIZES = [
    lambda height, width: (height, width),
    lambda height, width: (None, None),
    lambda height, width: (2 * height, 2 * width),
    lambda height, width: (height, width + 9),
    lambda height, width: (0, width),
    lambda height, width: (None, width),
]


def random_row(random: np.random.Generator, number: int) -> tuple[Row, Header]:
    """A row with any of the faults that a box or a size can have."""
    height, width = random.integers(20, 60, 2).tolist()
    normalized = bool(random.random() < 0.3)
    stated = SIZES[random.choice(6, p=[0.7, 0.1, 0.05, 0.05, 0.05, 0.05])](height, width)
    row = Row(f"i{number}", f"{number}.jpg", stated, f"{number}.xml", normalized)
    scale = (1, 1) if normalized else (height, width)
    for count in range(random.integers(0, 6)):
        first, size = random.uniform(0, 0.6, 2), random.uniform(0.1, 0.4, 2)
        box = np.concatenate([first, first + size]) * np.tile(scale, 2)
        fault = random.choice(9, p=[0.76, *[0.03] * 8])
        if fault == 1:
            box[random.integers(4)] = [np.nan, np.inf, -np.inf][random.integers(3)]
        elif fault == 2:
            box = box[[2, 3, 0, 1]]
        elif fault == 3:
            box[2] = box[0]
        elif fault == 4:
            box += 3 * np.tile(scale, 2)
        elif fault == 5:
            box[:2] -= 0.3 * np.array(scale)
        elif fault == 6:
            box = box * 100 if normalized else box / 100
        elif fault == 7 and row.boxes:
            box, row.names[-1] = np.array(row.boxes[-1]) * [1, 1, 1, 1 + 1e-9], "dog"
        name = "bird" if fault == 8 else "dog" if fault == 7 else NAMES[random.integers(3)]
        area = [None, 5.0, np.nan][random.integers(3)]
        flags = {"difficult": random.random() < 0.2, "crowd": random.random() < 0.1}
        row.add(name, box.tolist(), f"{number}.xml, object {count}", area=area, **flags)
    return row, Header(height, width, standard_jpeg=True)


@pytest.mark.parametrize("seed", range(6))
def test_rows_are_checked_together_as_one_by_one(monkeypatch, seed):
    random = np.random.default_rng(seed)
    pairs = [random_row(random, number) for number in range(300)]
    table, headers = RowTable.of(row for row, _ in pairs), Headers.of(head for _, head in pairs)
    monkeypatch.setattr(row_checks, "_BLOCK", 100)
    together, alone = [], []
    names = row_checks.ClassNames(NAMES)
    found, kept = row_checks.check_rows(table, headers, names, together)
    one_by_one = [row_checks.check_row(row, header, names, alone) for row, header in pairs]
    assert list(map(str, together)) == list(map(str, alone))
    assert kept.tolist() == [n for n, one in enumerate(one_by_one) if one is not None]
    good = [one for one in one_by_one if one is not None]
    assert list(map(as_values, found)) == list(map(as_values, good))
    # Most rows have no fault, else this shows nothing.
    assert 0.3 < 1 - len({p.place.partition(".")[0] for p in alone}) / len(pairs) < 0.9
    assert len({problem.kind for problem in alone}) >= 9
