"""A run folder belongs to one run, and a crash while writing loses nothing."""

import pytest

from ssd_keras.errors import UserError
from ssd_keras.training import RunFolder

SETTINGS = {"model": "SSD_MobileNet_300", "seed": 0, "recipe": {"epochs": 3}}


def test_the_same_settings_go_on_with_a_run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    assert folder.open(SETTINGS, ("cat", "dog")) is False
    assert folder.open(SETTINGS, ("cat", "dog")) is True
    assert folder.settings() == SETTINGS
    assert folder.labels_file.read_text() == "cat\ndog\n"


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"model": "SSD_VGG16_300"}, "model"), ({"recipe": {"epochs": 4}}, "epochs")],
)
def test_another_run_is_refused_by_what_differs(tmp_path, changed, named):
    folder = RunFolder(tmp_path / "run")
    folder.open(SETTINGS, ("cat",))
    with pytest.raises(UserError, match=f"started with {named}="):
        folder.open({**SETTINGS, **changed}, ("cat",))


def test_a_setting_that_is_left_out_is_another_run(tmp_path):
    """Settings of their usual value are not stored, so that either side may lack them."""
    folder = RunFolder(tmp_path / "run")
    folder.open(SETTINGS | {"scale_jitter": 0.5}, ("cat",))
    folder.write_used({"jit": False})
    assert folder.open(SETTINGS | {"scale_jitter": 0.5}, ("cat",)) is True
    with pytest.raises(UserError, match=r"started with scale_jitter=0.5 \(now not given\)"):
        folder.open(SETTINGS, ("cat",))


def test_other_classes_are_refused(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.open(SETTINGS, ("cat", "dog"))
    with pytest.raises(UserError, match="classes"):
        folder.open(SETTINGS, ("dog", "cat"))


def test_a_file_in_its_place_is_named(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match="is a file: give a folder"):
        RunFolder(tmp_path / "run").open(SETTINGS, ("cat",))


def test_history_keeps_rows_and_leaves_empty_values_out(tmp_path):
    folder = RunFolder(tmp_path)
    rows = [{"epoch": 1, "loss": 2.5}, {"epoch": 2, "loss": 1.25, "ap50": 0.5}]
    assert folder.history() == []
    folder.write_history(rows)
    assert folder.history() == rows
