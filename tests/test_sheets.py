"""Pictures are scaled, laid out and written."""

import numpy as np
import pytest
from PIL import Image

from ssd_keras import sheets


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 1), (240, 240)), ((100, 50), (500, 250)), ((240, 900), (240, 900)), ((1, 500), (1, 500))],
)
def test_small_images_are_enlarged_by_a_whole_factor(size, expected):
    assert sheets.legible(np.zeros((*size, 3), np.uint8)).shape[:2] == expected


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("b/c.png", "PNG")]
)
def test_arrays_are_saved(tmp_path, name, kind):
    pixels = np.broadcast_to(np.linspace(0, 255, 48)[:, None, None], (48, 32, 3)).astype(np.uint8)
    with Image.open(sheets.save(pixels, tmp_path / name)) as saved:
        assert saved.format == kind
        difference = np.abs(np.int32(saved.convert("RGB")) - pixels)
    assert difference.max() <= (0 if kind == "PNG" else 4)


def test_pictures_of_any_size_are_laid_out_in_columns():
    black, grey = np.zeros((10, 20, 3), np.uint8), np.full((30, 5, 3), 90, np.uint8)
    sheet = sheets.grid([[black, grey], [grey]], gap=2)
    # Rows of 30 and 30, columns of 20 and 5, between and around them 2 of white.
    assert sheet.shape == (2 + 32 + 32, 2 + 22 + 7, 3)
    assert (sheet[2:12, 2:22] == 0).all()
    assert (sheet[34:64, 2:7] == 90).all()
    assert (sheet[2:32, 24:29] == 90).all()
    assert (sheet == 255).all(-1).sum() == sheet[..., 0].size - 10 * 20 - 2 * 30 * 5


@pytest.mark.parametrize(("width", "expected"), [(40, (20, 40)), (10, (5, 10))])
def test_a_picture_is_scaled_to_a_height_and_no_wider_than_asked_for(width, expected):
    picture = np.full((60, 120, 3), 7, np.uint8)
    scaled = sheets.fit(picture, 20, max_width=width)
    assert scaled.shape[:2] == expected
    assert (scaled == 7).all()
