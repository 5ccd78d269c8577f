"""The comparison of models, in miniature: what it writes, and that it goes on where it stopped."""

import csv
import dataclasses
import json

import pytest
from PIL import Image

import ssd_keras
from ssd_keras import comparison, data, evaluation
from ssd_keras.commands import compare
from ssd_keras.data.tiled import TiledSource
from ssd_keras.errors import UserError
from ssd_keras.training import RunSettings
from ssd_keras.training.default_boxes import fit_default_boxes
from tests.experiments.programs import end, start

# Traced in a moment, in the place of the models that --small names.
TINY = "backbone=tests/tiny.py:backbone extras=[]"
SSD, DSSD = "ssd", "dssd"
SMALL = (
    "--small",
    f"--model=SSD_Tiny_32 name={SSD} {TINY}",
    f"--model=DSSD_Tiny_32 name={DSSD} {TINY} fusion=product",
    "--train_data=shapes#train,count=16,size=32",
    "--eval_data=shapes#val,count=8,size=32",
)
BUDGET = {
    "train_data": "shapes#train,count=12",
    "batch_size": 4,
    "width": 0.25,
    "default_boxes": "published",
}


@pytest.fixture(scope="module")
def source():
    return data.load_source(BUDGET["train_data"])


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The miniature of two models."""
    folder = tmp_path_factory.mktemp("compare")
    ended = end(start("compare", *SMALL, f"--runs_dir={folder}"), timeout=1200)
    assert ended.code == 0, ended.complaint
    return folder, ended


def rows_of(folder):
    with open(folder / "runs.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def measured_again(run):
    """What the detector of a run reaches on its evaluation data."""
    settings = json.loads((run / "settings.json").read_text())
    detector = ssd_keras.load(run / "last.keras")
    evaluated = data.load_source(settings["eval_data"], classes=detector.classes)
    found = evaluation.detect_source(detector, evaluated)
    return evaluation.voc_ap(evaluated.ground_truth(), found, evaluated.classes)["map"]


@pytest.mark.slow
def test_every_model_is_trained_and_measured(compared):
    folder, _ = compared
    ssd, dssd = rows_of(folder)
    assert (ssd["variant"], dssd["variant"]) == (SSD, DSSD)
    assert int(dssd["parameters"]) > int(ssd["parameters"])
    assert float(dssd["gmacs"]) > float(ssd["gmacs"])
    for row in (ssd, dssd):
        assert row["steps"] == "8"
        again = measured_again(folder / f"{row['variant']}-seed0")
        assert float(row["ap50"]) == pytest.approx(again, abs=1e-6)
        assert float(row["ms_keras"]) > 0
        assert float(row["ms_int8"]) > 0
        assert float(row["ap50_int8"]) == pytest.approx(float(row["ap50"]), abs=0.1)
        assert float(row["memory_mb"]) > 100


@pytest.mark.slow
def test_the_table_holds_the_measured_numbers_and_the_command(compared):
    folder, ended = compared
    table = (folder / "table.md").read_text()
    assert "`python -m experiments.compare --small '--model=SSD_Tiny_32 name=ssd " in table
    assert f" --runs_dir={folder}`" in table
    for row in rows_of(folder):
        (line, *_) = [line for line in table.splitlines() if line.startswith(f"| {row['variant']}")]
        assert f"| {float(row['ap50']):.3f} |" in line
        assert f"| {int(row['parameters']):,} |" in line
        assert line in ended.printed


@pytest.mark.slow
def test_the_json_holds_the_same_runs(compared):
    content = json.loads((compared[0] / "runs.json").read_text())
    assert [run["variant"] for run in content["runs"]] == [SSD, DSSD]
    assert content["about"]["Training"].startswith("16 images of `shapes#train")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["curves.png", "costs.png"])
def test_curves_and_costs_are_drawn(compared, name):
    with Image.open(compared[0] / name) as picture:
        assert min(picture.size) > 300


@pytest.mark.slow
def test_only_what_is_missing_is_done_again(compared):
    folder, _ = compared
    ssd, dssd = (folder / f"{name}-seed0" for name in (SSD, DSSD))
    measured = (ssd / "measured.json").read_text()
    before = [(run / "training_state.npz").stat().st_mtime_ns for run in (ssd, dssd)]
    (ssd / "measured.json").unlink()
    again = end(start("compare", *SMALL, f"--runs_dir={folder}"), timeout=1200)
    assert again.code == 0, again.complaint
    assert "1 of 2 runs are finished" in again.printed
    assert f"{SSD}, seed 0: done" in again.printed
    assert f"{DSSD}, seed 0: done" not in again.printed
    assert "time and size" not in again.printed
    assert [(run / "training_state.npz").stat().st_mtime_ns for run in (ssd, dssd)] == before
    assert json.loads((ssd / "measured.json").read_text())["ap50"] == json.loads(measured)["ap50"]


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("SSD_MobileNet_96", "SSD_MobileNet_96", {}),
        ("SSD_MobileNet_96 name=wide width=0.5", "wide", {"width": 0.5}),
        ("DSSD_MobileNet_96 fusion=sum", None, {"model_options": {"fusion": "sum"}}),
        ("DSSD_MobileNet_96 stage=stage1 weights=runs/a", None, {"weights": "runs/a"}),
        ("SSD_Mine_96 backbone=mine.py:mine", None, {"backbone": "mine.py:mine"}),
        ("SSD_MobileNet_96 balance_classes=False", None, {"balance_classes": False}),
        ("SSD_MobileNet_96 balance_classes=True", None, {"balance_classes": True}),
        ("SSD_MobileNet_96 class_agnostic=None", None, {"class_agnostic": None}),
        ("SSD_MobileNet_96 freeze=backbone,extra*", None, {"freeze": ("backbone", "extra*")}),
        (
            'SSD_MobileNet_96 anchors={"rule":"ScaleAnchors","smallest":0.05}',
            None,
            {"model_options": {"anchors": {"rule": "ScaleAnchors", "smallest": 0.05}}},
        ),
    ],
)
def test_a_variant_is_a_model_with_options(source, text, name, values):
    variant = comparison.parse_variant(text, BUDGET, source, steps=9)
    assert variant.name == (name or text)
    assert variant.settings.recipe.epochs == 3
    for key, value in ({"width": 0.25, "seed": 0} | values).items():
        assert getattr(variant.settings, key) == value


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["SSD_MobilNet_96"], "Did you mean"),
        (["SSD_MobileNet_96 fusion"], "option=value"),
        (["SSD_MobileNet_96 fusion=sum"], "no option 'fusion'"),
        (["DSSD_MobileNet_96 fusion=summ"], "fusion"),
        (["SSD_MobileNet_96 epochs=5"], "give --steps"),
        (["SSD_MobileNet_96 seed=7"], "give --seeds"),
        (
            ["SSD_MobileNet_96 balance_classes=no"],
            "must be True or False, got 'no'",
        ),
        (["SSD_MobileNet_96 ema=high"], "ema must be a number, got 'high'"),
        (["SSD_MobileNet_96 patience=1.5"], "patience must be a whole number"),
        (["SSD_MobileNet_96", "SSD_MobileNet_96"], "name="),
    ],
)
def test_a_wrong_variant_is_refused_before_anything_is_trained(source, texts, message):
    with pytest.raises(UserError, match=message):
        comparison.check_variants(
            [comparison.parse_variant(text, BUDGET, source, 9) for text in texts], source.classes
        )


def test_a_network_of_one_width_is_built_at_that_width(source):
    text = "SSD_EfficientNetB0_96 width=1.0"
    variant = comparison.parse_variant(text, BUDGET, source, 9)
    comparison.check_variants([variant], source.classes)


def test_default_boxes_are_fitted_to_the_data(source):
    text = "SSD_MobileNet_96 default_boxes=auto"
    fitted = comparison.parse_variant(text, BUDGET, source, 9).settings
    assert (fitted.finest_stride, fitted.smallest_box) != (None, None)


def test_what_is_trained_on_tiles_is_fitted_and_counted_by_them(source):
    """Four tiles an image: a quarter of the epochs, and larger default boxes."""
    side = source.ground_truth()[0].height * 5 // 8
    text = "SSD_MobileNet_96 default_boxes=auto"
    whole, tiles = (
        comparison.parse_variant(f"{text}{more}", BUDGET, source, 120).settings
        for more in ("", f" tiles={side} empty_tiles=1 tile_overlap=0.25")
    )
    assert whole.recipe.epochs == pytest.approx(4 * tiles.recipe.epochs, rel=0.1)
    assert tiles.tiling.size == (side, side)
    seen = TiledSource(source, tiles.tiling, empty_tiles=1.0)
    wanted, _ = fit_default_boxes(
        dataclasses.replace(tiles, smallest_box=None, finest_stride=None), seen
    )
    assert (tiles.finest_stride, tiles.smallest_box) == (wanted.finest_stride, wanted.smallest_box)


def test_the_miniature_compares_models_that_can_be_built():
    source = data.load_source(compare.SMALL["train_data"])
    budget = {name: compare.SMALL[name] for name in compare.BUDGET if name in compare.SMALL}
    budget |= comparison.parse_options(compare.SMALL["options"].split())
    variants = [
        comparison.parse_variant(text, budget, source, compare.SMALL["steps"])
        for text in compare.SMALL["model"]
    ]
    comparison.check_variants(variants, source.classes)
    assert [variant.settings.width for variant in variants] == [0.25, 0.25]


def test_the_budget_is_shared_and_a_models_own_options_go_before_it(source):
    budget = BUDGET | comparison.parse_options(["smallest_box=0.05", "head_kernels=3"])
    ours = comparison.parse_variant("SSD_MobileNet_96", budget, source, 9)
    own = comparison.parse_variant("SSD_MobileNet_96 head_kernels=5", budget, source, 9)
    assert ours.name == "SSD_MobileNet_96"
    assert (ours.settings.smallest_box, own.settings.smallest_box) == (0.05, 0.05)
    assert ours.settings.model_options == {"head_kernels": 3}
    assert own.settings.model_options == {"head_kernels": 5}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([""], "random weights"),
        (["backbone_weights=imagenet", "backbone_weights=imagenet"], "`imagenet`"),
        (["backbone_weights=a/mobilenet.h5"], "`mobilenet.h5`"),
        (["", "weights=runs/a", "weights=runs/a"], "random weights or `runs/a`"),
    ],
)
def test_what_the_models_start_from_is_told(source, options, expected):
    texts = [f"SSD_MobileNet_96 {option}" for option in options]
    variants = [comparison.parse_variant(text, BUDGET, source, 9) for text in texts]
    assert comparison.starts(variants) == expected


def test_runs_take_turns_so_that_a_part_of_them_is_comparable(tmp_path):
    variants = [comparison.Variant(name, RunSettings(name, "x")) for name in ("a", "b c")]
    runs = comparison.runs_of(variants, [0, 5], tmp_path)
    assert [(run.variant, run.seed) for run in runs] == [("a", 0), ("b c", 0), ("a", 5), ("b c", 5)]
    assert runs[3].folder.path == tmp_path / "b-c-seed5"


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        ({"width": 0.5}, {}),
        ({}, {"width": 0.5}),
        ({"objective": "focal"}, {}),
        ({}, {"objective": "focal"}),
        ({"scale_jitter": 0.5}, {"scale_jitter": 0.2}),
    ],
)
def test_a_run_of_other_settings_is_refused(tmp_path, finished, stored, wanted):
    settings = RunSettings("SSD_MobileNet_96", "x")
    before, now = (dataclasses.replace(settings, **given) for given in (stored, wanted))
    (run,) = comparison.runs_of([comparison.Variant("a", now)], [0], tmp_path)
    run.folder.path.mkdir()
    beside = {"images": 7, "used": {"jit": True}}
    run.folder.settings_file.write_text(json.dumps(before.as_stored() | beside))
    if finished:
        (run.folder.path / comparison.MEASURED).write_text("{}")
    with pytest.raises(UserError, match=f"other settings \\({', '.join(stored | wanted)} differ"):
        comparison.complete([run])


COSTS = {
    "parameters": 7,
    "gmacs": 1.5,
    "ms_keras": 2.0,
    "ms_int8": 1.0,
    "ap50_int8": 0.4,
    "ap_int8": 0.2,
    "mb_int8": 0.5,
}
MEASURED = {
    "ap": 0.1,
    "ap75": 0.05,
    "ap_small": None,
    "ap_medium": 0.1,
    "ap_large": 0.2,
    "steps": 8,
}


def row(variant, seed, ap50, memory):
    rest = {"loss": 3.0, "minutes": 1.0, "memory_mb": memory, "covered": None}
    return {"variant": variant, "seed": seed, "ap50": ap50} | MEASURED | COSTS | rest


def test_seeds_are_averaged_with_their_range():
    rows = [row("a", 0, 0.2, 100), row("a", 1, 0.4, 300), row("b", 0, 0.5, 50)]
    a, b = comparison.summarize(rows)
    assert a["ap50"] == (pytest.approx(0.3), 0.2, 0.4)
    assert a["memory_mb"] == 300
    assert a["ap_small"] is None
    assert (b["variant"], b["seeds"]) == ("b", 1)
    page = comparison.markdown(rows, "T", {})
    assert "| a | 2 | 0.300 (0.200-0.400) | 0.100 | 0.050 | - |" in page
    assert "| b | 1 | 0.500 | 0.100 | 0.050 | - |" in page


def reached(car, bus):
    classes = {"car": (571, car), "bus": (3, bus)}
    return {
        name: {"objects": count, "ap50": 2 * ap, "ap": ap} for name, (count, ap) in classes.items()
    }


def test_each_class_is_told_that_of_most_objects_first():
    rows = [
        row("a", seed, 0.2, 100) | {"per_class": reached(car, 0.1)}
        for seed, car in enumerate((0.2, 0.4))
    ]
    page = comparison.markdown(rows, "T", {})
    assert "| model | car (571) | bus (3) |" in page
    assert "| a | 0.300 (0.200-0.400), 0.600 (0.400-0.800) | 0.100, 0.200 |" in page
    assert "Held out:" not in page.partition("## What")[0]


def test_what_was_held_out_is_told_apart():
    apart = {"images": 9, "objects": 574, "ap50": 0.9, "ap": 0.7, "per_class": reached(0.5, 0.25)}
    rows = [row("a", 0, 0.2, 100) | {"held_out": apart, "held_out_data": "x"}]
    page = comparison.markdown(rows, "T", {})
    told = page.partition("## Held out: 9 images with 574 objects")[2]
    assert "| a | 1 | 0.900 | 0.700 |" in told
    assert "| a | 0.500, 1.000 | 0.250, 0.500 |" in told


def test_csv_has_a_column_for_each_class():
    rows = [row("a", 0, 0.2, 100) | {"per_class": reached(0.5, 0.25)}]
    (line,) = csv.DictReader(comparison.as_csv(rows).splitlines())
    assert line["per_class.bus.ap"] == "0.25"


@pytest.mark.parametrize(
    ("measured", "held_out", "done"),
    [(None, "", False), ({}, "", True), ({}, "a", False), ({"held_out_data": "a"}, "a", True)],
)
def test_a_run_is_done_when_all_that_is_asked_for_is_measured(tmp_path, measured, held_out, done):
    variant = comparison.Variant("a", RunSettings("SSD_MobileNet_96", "x"))
    (run,) = comparison.runs_of([variant], [0], tmp_path, held_out)
    run.folder.path.mkdir()
    if measured is not None:
        (run.folder.path / comparison.MEASURED).write_text(json.dumps(measured))
    assert run.is_measured() is done


def test_costs_are_those_of_the_detector_that_there_is(tmp_path):
    (run,) = comparison.runs_of([comparison.Variant("a", RunSettings("SSD_MobileNet_96", "x"))],
                                [0], tmp_path)  # fmt: skip
    run.folder.path.mkdir()
    assert not run.is_priced()
    run.folder.last.write_bytes(b"first")
    # Those of an earlier version do not say whose they are.
    for cost, priced in (({"gmacs": 1}, True), ({"gmacs": 1, "of": run.digest()}, True)):
        (run.folder.path / "cost.json").write_text(json.dumps(cost))
        assert run.is_priced() is priced
    run.folder.last.write_bytes(b"trained again")
    assert not run.is_priced()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--train_data is missing (or try --small)."),
        (["--small", "--seeds=0,1,0"], "--seeds=0,1,0 has one twice: it would be trained once and "
         "count twice."),
    ],
)  # fmt: skip
def test_faults_end_in_one_line(tmp_path, flags, message):
    ended = end(start("compare", "--model=SSD_MobileNet_96", *flags, f"--runs_dir={tmp_path}"))
    assert ended.code == 2
    assert ended.complaint.strip() == f"error: {message}"


def test_the_table_says_which_variant_had_which_recipe(source):
    texts = ("SSD_MobileNet_96", "SSD_VGG16_96", "SSD_MobileNet_96 optimizer=sgd name=slow")
    variants = [comparison.parse_variant(text, BUDGET, source, 9) for text in texts]
    rates = {v.name: f"{v.settings.recipe.learning_rate:g}" for v in variants}
    assert len(set(rates.values())) > 1
    said = compare.values_of(variants, "learning_rate", "{:g}")
    assert all(rate in said for rate in rates.values())
    assert compare.values_of(variants, "optimizer").endswith("sgd (slow)")
    assert compare.values_of(variants[:1], "optimizer") == variants[0].settings.recipe.optimizer
