"""The demo does the whole way, here in miniature."""

import json

import pytest
from PIL import Image

from tests.experiments.programs import end, start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "run"
    program = start(
        "demo",
        "--model=SSD_MobileNet_96",
        "--train_data=shapes#train,count=16",
        "--eval_data=shapes#val,count=4",
        "--test_data=shapes#test,count=6",
        "--epochs=1",
        "--batch_size=4",
        "--calibration_images=8",
        f"--run_dir={folder}",
    )
    ended = end(program)
    assert ended.code == 0, ended.complaint
    return folder, ended


def test_every_form_is_measured_on_the_same_images(demo):
    rows = json.loads((demo[0] / "table.json").read_text())
    assert [row["form"] for row in rows] == ["Keras", "TFLite float32", "TFLite int8"]
    keras, float32, int8 = rows
    assert float32["ap50"] == pytest.approx(keras["ap50"], abs=0.002)
    assert float32["ap"] == pytest.approx(keras["ap"], abs=0.002)
    assert int8["megabytes"] < 0.5 * float32["megabytes"] < keras["megabytes"]


def test_the_table_shows_what_was_measured(demo):
    folder, ended = demo
    for row in json.loads((folder / "table.json").read_text()):
        (line,) = [
            line for line in ended.printed.splitlines() if line.startswith(row["form"] + "  ")
        ]
        assert f"{row['ap50']:.3f}" in line
        assert f"{row['milliseconds']:.1f}" in line


def test_pictures_are_drawn_and_the_end_says_where_they_lie(demo):
    folder, ended = demo
    for name in ("curves", "predictions", "shapes_keras", "shapes_int8"):
        with Image.open(folder / "pictures" / f"{name}.png") as picture:
            assert min(picture.size) > 200
    assert f"Pictures   {folder / 'pictures'}" in ended.printed
    assert "python -m experiments.train" in ended.printed
