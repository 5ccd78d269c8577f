"""Training by one line of Python."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import ssd_keras
import tests.tiny
from ssd_keras import comparison, data
from ssd_keras.errors import UserError
from ssd_keras.training import Recipe, RunSettings, run
from ssd_keras.training.one_line import SETTINGS, model_to_train

pytestmark = pytest.mark.eager
ROOT = Path(__file__).resolve().parents[2]
TINY = {
    "model": "SSD_Tiny_32",
    "backbone": f"{ROOT / 'tests' / 'tiny.py'}:backbone",
    "model_options": {"extras": []},
    "max_boxes": 16,
}
SHAPES = "shapes#train,count=6,size=32"


@pytest.fixture
def seen(monkeypatch):
    """What a run would be started with, instead of training."""
    calls = []
    monkeypatch.setattr(run, "train", lambda *given, **sources: calls.append((given, sources)))
    return calls


def test_a_run_is_trained_and_its_best_detector_comes_back(tmp_path):
    settings = {**TINY, "epochs": np.int64(2), "batch_size": 3, "freeze": "batch_norm"}
    settings["augmentation"] = "none"
    source = data.load_source(SHAPES)
    detector = ssd_keras.train(
        source, eval_data="shapes#val,count=3,size=32", run_dir=tmp_path / "run", **settings
    )
    assert detector.classes == source.classes
    stored = json.loads((tmp_path / "run/settings.json").read_text())
    assert (stored["train_data"], stored["recipe"]["epochs"]) == (SHAPES, 2)
    assert stored["freeze"] == ["batch_norm"]
    best = ssd_keras.load(tmp_path / "run")
    for one, other in zip(best.get_weights(), detector.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_not_given_follows_the_recipe(seen, tmp_path):
    ssd_keras.train(SHAPES, run_dir=tmp_path, epochs=3, patience=None, learning_rate=1)
    ((settings, folder), sources) = seen[0]
    assert settings.model == "SSDLite_MobileNet_300"
    assert (settings.recipe.epochs, settings.recipe.batch_size) == (3, 6)
    assert settings.recipe.learning_rate == 1.0
    assert settings.patience == RunSettings.patience
    assert folder == str(tmp_path)
    assert len(sources["train_source"]) == 6
    assert sources["eval_source"] is None


@pytest.mark.parametrize(
    ("given", "choice", "fitted"),
    [
        ({"default_boxes": "published"}, "published", False),
        ({"finest_stride": 16}, "published", False),
        ({}, "auto", True),
    ],
)
def test_few_images_get_default_boxes_that_fit_them(seen, tmp_path, capsys, given, choice, fitted):
    small = "shapes#train,count=6,size=300"
    ssd_keras.train(small, run_dir=tmp_path, model="SSD_MobileNet_96", width=0.25, **given)
    ((settings, _), _) = seen[0]
    assert settings.default_boxes == choice
    assert (settings.smallest_box is not None) == fitted
    assert ("Default boxes that fit the data" in capsys.readouterr().out) == fitted


def test_a_run_goes_on_with_the_default_boxes_it_began_with(seen, tmp_path):
    """As those do that began before they were chosen."""
    (tmp_path / "settings.json").write_text('{"finest_stride": null, "smallest_box": 0.3}')
    ssd_keras.train(SHAPES, run_dir=tmp_path, model="SSD_MobileNet_96", width=0.25)
    ((settings, _), _) = seen[0]
    assert (settings.default_boxes, settings.smallest_box) == ("published", 0.3)


@pytest.mark.parametrize(
    ("model", "given", "expected"),
    [
        ("DSSD_MobileNet_96", {}, (8, 0.1)),
        ("DSSD_MobileNet_96", {"finest_stride": 16}, (16, None)),
        ("DSSD_MobileNetV2_96", {}, (None, None)),
        # Its very architecture comes with the weights.
        ("SSD_MobileNet_96", {}, (None, None)),
        # Built anew, its heads are those of the run all the same.
        ("SSD_MobileNet_96", {"width": 0.25}, (8, 0.1)),
        ("SSD_MobileNet_96", {"objective": "atss"}, (8, 0.1)),
        ("SSD_MobileNet_96", {"min_negatives": 1}, (8, 0.1)),
        ("SSD_MobileNet_96", {"model_options": {"head_kernels": 3}}, (8, 0.1)),
    ],
)
def test_what_starts_from_a_run_takes_its_default_boxes(seen, tmp_path, model, given, expected):
    start = tmp_path / "ssd"
    start.mkdir()
    (start / "settings.json").write_text(
        '{"model": "SSD_MobileNet_96", "finest_stride": 8, "smallest_box": 0.1}'
    )
    ssd_keras.train(SHAPES, run_dir=tmp_path / "new", model=model, weights=str(start), **given)
    ((settings, _), _) = seen[0]
    assert (settings.finest_stride, settings.smallest_box) == expected
    assert settings.default_boxes == "published"
    # Both programs train the same detector.
    options = " ".join(f"{name}={json.dumps(value)}" for name, value in given.items())
    text = f"{model} weights={start} {options}"
    if "model_options" not in given:
        source = data.load_source(SHAPES)
        compared = comparison.parse_variant(text, {"train_data": SHAPES}, source, 3).settings
        assert (compared.finest_stride, compared.smallest_box) == expected


def test_the_names_are_those_of_the_flags_of_the_program():
    # Read, since flags of two programs cannot be defined in one process.
    files = [ROOT / "ssd_keras" / "commands" / name for name in ("train.py", "_suppression.py")]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    defined = set(re.findall(r"flags\.DEFINE_\w+\(\s*\"(\w+)\"", text))
    assert set(SETTINGS) - defined == set()


WRONG = {
    "misspelt": (
        {"batchsize": 8},
        "no setting of a training 'batchsize'. Did you mean 'batch_size",
    ),
    "of another kind": ({"epochs": 2.5}, "epochs must be a whole number, got 2.5"),
    "true": ({"batch_size": True}, "batch_size must be a whole number, got True"),
    "text": ({"learning_rate": "fast"}, "learning_rate must be a number, got 'fast'"),
    "one of many": ({"milestones": 0.5}, "milestones must be a list of numbers, got 0.5"),
    "not a list": ({"freeze": 3}, "freeze must be a list of names, got 3"),
    "a pair": ({"model_options": "head_kernels=5"}, "model_options must be a dict"),
    "a function": ({"backbone": len}, "backbone must be a text"),
    "a negative": ({"patience": -1}, "patience must not be negative"),
    "an optimizer": ({"optimizer": "adamm"}, "Did you mean 'adamw'?"),
    "a model": ({"model": "SSD_MobilNet_300"}, "Did you mean 'SSD_MobileNet_300'"),
    "no model": ({"backbone": "mine.py:mine"}, "needs a model's name"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_is_named_before_anything_is_built(case, seen, tmp_path):
    settings, reason = WRONG[case]
    with pytest.raises(UserError, match=r"^[^\n]*$") as caught:
        ssd_keras.train(SHAPES, run_dir=tmp_path / "run", **settings)
    assert reason in str(caught.value)
    assert not seen
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"train_data": 3}, "got int"),
        ({"train_data": "voc:nowhere#train"}, "nowhere"),
        ({"eval_data": data.Source("elsewhere", ["ship"], [])}, "opened with the classes ship"),
    ],
)
def test_wrong_data_are_named(seen, tmp_path, given, reason):
    with pytest.raises(UserError, match=reason):
        ssd_keras.train(**{"train_data": SHAPES, "run_dir": tmp_path, **given})
    assert not seen


def test_every_setting_has_a_kind():
    fields = {**RunSettings.__dataclass_fields__, **Recipe.__dataclass_fields__}
    assert {"epochs", "weights", "patience", "freeze"} < set(SETTINGS) < set(fields)


def test_a_start_says_which_model_is_trained(tmp_path):
    assert model_to_train("") == "SSDLite_MobileNet_300"
    tests.tiny.detector().save(tmp_path / "best.keras")
    assert model_to_train(str(tmp_path)) == "SSD_Tiny_32"
