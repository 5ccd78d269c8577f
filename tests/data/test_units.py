"""Pixels in the place of shares, and shares in the place of pixels."""

import numpy as np
import pytest

from ssd_keras.data import checks, images, row_checks

RNG = np.random.default_rng(0)


def boxes(n, scale=1.0, side=0.2):
    """`[n, 4]` boxes spread over 0 to `scale`."""
    low = RNG.random((n, 2)) * (1 - side)
    low[0], low[-1] = 0, 1 - side
    return np.concatenate([low, low + side], 1) * scale


def checked(corners, *, normalized, size=(480, 640), unit=None):
    """Problems of one image of that size."""
    row = checks.Row("a", "a.jpg", declared_at="a.xml", normalized=normalized)
    for index, box in enumerate(np.asarray(corners, float)):
        row.add("cat", box, f"object {index}")
    problems = []
    header = images.Header(*size, standard_jpeg=True)
    table, headers = checks.RowTable.of([row]), checks.Headers.of([header])
    checks.check_units("csv:x", table, headers, problems, unit)
    truth = row_checks.check_row(row, header, row_checks.ClassNames(["cat"]), problems)
    return truth, problems


def mixed(n, wrong, right_scale, wrong_scale):
    return np.concatenate([boxes(n - wrong, right_scale), boxes(wrong, wrong_scale)])


REFUSED = {
    "shares as pixels": (boxes(9), False, "shares of the image, not pixels"),
    "one share as pixels": ([[0.1, 0.2, 0.5, 0.6]], False, "1 of 1 boxes lie within"),
    "the whole image as one pixel": ([[0, 0, 1, 1]], False, "shares of the image"),
    "shares that leave the image a little": ([[-0.01, 0.2, 1.01, 0.6]], False, "shares"),
    "half of them shares": (mixed(10, 5, 300, 1), False, "5 of 10 boxes"),
    "pixels as shares": (boxes(9, 300), True, "pixels or thousandths, not shares"),
    "many pixels as shares": (boxes(9, 3000), True, "pixels, not shares of the image"),
    "one box of pixels as shares": ([[10, 20, 50, 60]], True, "up to 60: pixels or per cent"),
    "half of them pixels": (mixed(10, 5, 1, 300), True, "5 of 10 boxes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_set_in_another_unit_is_refused_with_the_way_out(name):
    corners, normalized, reason = REFUSED[name]
    with pytest.raises(checks.UnusableError) as caught:
        checked(corners, normalized=normalized)
    assert reason in str(caught.value)
    assert f",units={'pixels' if normalized else 'shares'}'" in str(caught.value)


GOOD = {
    "pixels": (boxes(30, 400), False, (480, 640)),
    "small boxes in a tiny image": ([[1, 1, 3, 2], [0, 0, 2, 2]], False, (4, 4)),
    "a box of one pixel in a tiny image": ([[0, 0, 1, 1]], False, (8, 8)),
    "a box of one pixel among others": ([[0, 0, 1, 1], [3, 4, 50, 60]], False, (480, 640)),
    "shares": (boxes(30), True, (480, 640)),
    "shares in a tiny image": (boxes(3), True, (2, 2)),
    "pixels of a small image": (boxes(30, 60), False, (60, 60)),
    "all in one corner": (boxes(10, 95), False, (480, 640)),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_set_in_its_unit_is_taken(name):
    corners, normalized, size = GOOD[name]
    truth, problems = checked(corners, normalized=normalized, size=size)
    assert not problems
    limit = 1 if normalized else np.array([*size, *size])
    np.testing.assert_allclose(truth.boxes, np.asarray(corners) / limit, rtol=1e-6)


@pytest.mark.parametrize(
    ("corners", "normalized", "kind"),
    [
        (mixed(10, 2, 300, 1), False, "not_pixels"),
        (mixed(10, 2, 1, 300), True, "not_normalised"),
    ],
)
def test_a_few_in_another_unit_are_refused_one_by_one(corners, normalized, kind):
    truth, problems = checked(corners, normalized=normalized)
    assert len(truth) == 8
    assert [(p.kind, p.place, p.action, p.lost) for p in problems] == [
        (kind, f"object {i}", "refused", ("cat",)) for i in (8, 9)
    ]


@pytest.mark.parametrize(
    ("corners", "size", "reason"),
    [
        (boxes(40, 100), (480, 640), "exceeds 100, whatever the size of the image: percent"),
        (boxes(40, 1000), (480, 640), "thousandths rather than pixels"),
        (boxes(40, 1000), (3000, 4000), "thousandths rather than pixels"),
        (boxes(8, 2000) + 700, (480, 640), "8 of 8 boxes reach far beyond their images"),
    ],
)
def test_another_scale_is_named(corners, size, reason):
    _, problems = checked(corners, normalized=False, size=size)
    found = [p for p in problems if p.kind == "wrong_scale"]
    assert [p.action for p in found] == ["refused"]
    assert reason in found[0].message


@pytest.mark.parametrize(
    ("unit", "scale", "normalized"),
    [
        ("shares", 1, False),
        ("percent", 100, False),
        ("thousandths", 1000, True),
        ("pixels", None, True),
    ],
)
def test_the_user_says_what_they_are(unit, scale, normalized):
    expected = boxes(40)
    corners = expected * (scale or [480, 640, 480, 640])
    truth, problems = checked(corners, normalized=normalized, unit=unit)
    assert not problems
    np.testing.assert_allclose(truth.boxes, expected, atol=1e-6)
