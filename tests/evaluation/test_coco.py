"""COCO average precision against the published output of the reference evaluator."""

import contextlib
import io
import json
import re

import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
import pytest
from PIL import Image

from ssd_keras import data
from ssd_keras.detections import Detections
from ssd_keras.evaluation import coco_ap, read_results
from ssd_keras.evaluation.coco import NUMBERS, image_numbers, images_in_one
from ssd_keras.evaluation.tables import tabulate
from tests.evaluation.cases import CLASSES, found, perfect, truth

BOX = (10, 10, 50, 50)
WHOLE = ("AP", "AP50", "AP75", "AR1", "AR10", "AR100")


def test_reference_vectors(reference):
    truths, founds, classes, file = reference
    ours = coco_ap(truths, founds, classes)
    np.testing.assert_allclose([ours[name] for name in NUMBERS], file["coco_stats"], atol=1e-6)


def test_reference_vectors_per_class(reference):
    truths, founds, classes, file = reference
    ours = coco_ap(truths, founds, classes)
    precision = file["coco_precision_TRKAM"][:, :, :, 0, -1]
    expected = [p.mean() if p.min() >= 0 else np.nan for p in np.moveaxis(precision, 2, 0)]
    np.testing.assert_allclose(list(ours["per_class"].values()), expected, atol=1e-6)


def test_published_result_of_100_images(shared, tmp_path):
    folder = shared("data/evaluator/coco_fakebbox100")
    text = (folder / "expected_coco_eval.txt").read_text().split("type=bbox")[1].split("type=")[0]
    expected = [float(n) for n in re.findall(r"= (\d\.\d+)", text)]
    for image in json.loads((folder / "ground_truth.json").read_text())["images"]:
        size = (image["width"], image["height"])
        Image.new("1", size).save(tmp_path / image["file_name"], "PNG")
    source = data.load_source(f"coco:{folder / 'ground_truth.json'},images={tmp_path}")
    ours = program_numbers(source, folder / "detections.json")
    assert [round(ours[name], 3) for name in NUMBERS] == expected


def test_a_coco_folder_and_results_give_what_pycocotools_gives(shared, tmp_path):
    """Original category numbers, annotated areas, crowds, detections of every kind of error."""
    folder = shared("data/coco_subset/val")
    results = rough_results(json.loads((folder / "instances.json").read_text()))
    (tmp_path / "results.json").write_text(json.dumps(results))
    ours = program_numbers(data.load_source(f"coco:{folder}"), tmp_path / "results.json")
    expected = reference_numbers(folder / "instances.json", tmp_path / "results.json")
    assert expected["AP"] > 0.2
    np.testing.assert_allclose(
        [ours[name] for name in NUMBERS], [expected[name] for name in NUMBERS], atol=1e-6
    )


def test_areas_of_annotations_decide_what_is_small(shared):
    """The test above would be empty if areas and boxes said the same."""
    source = data.load_source(f"coco:{shared('data/coco_subset/val')}")
    table = tabulate(source.ground_truth(), [found(classes=source.classes)] * 303, source.classes)
    of_boxes = (table.object_box[:, 2:] - table.object_box[:, :2]).prod(1)
    assert ((table.object_area < 32**2) != (of_boxes < 32**2)).sum() > 50


@pytest.mark.parametrize(("images", "objects", "others"), [(40, 6, 8), (90, 3, 5)])
def test_class_by_class_gives_what_pycocotools_gives_for_all_together(images, objects, others):
    """Few scores, so that most are equal; images in no order; classes without objects or boxes."""
    random, classes = np.random.default_rng(0), tuple("abcdef")

    def rows(count, *values):
        corner = random.uniform(0, 60, (count, 2)).round()
        sides = random.uniform(10, 40, (count, 2)).round()
        labels = random.choice([0, 1, 2, 4], count)
        return np.column_stack([labels, *values, corner, corner + sides])

    truths = [truth(*rows(objects), image_id=str(37 * n % 127), crowd=(0,)) for n in range(images)]
    truths = [t for t in truths if random.random() < 0.8 or not len(t)] + [truth(image_id="500")]
    founds = []
    for one in truths:
        boxes = one.boxes * 100 + random.normal(0, 2, (len(one), 4)).round()
        scores = random.integers(1, 5, len(one)) / 5
        near = np.column_stack([one.labels, scores, boxes])
        far = rows(others, random.integers(1, 5, others) / 5)
        founds.append(found(*near, *far, (5, 0.9, *BOX), classes=classes))
    table = tabulate(truths, founds, classes)
    ours, expected = coco_ap(truths, founds, classes), together(table)
    assert 0.1 < expected[0] < 0.9
    np.testing.assert_array_equal(np.nan_to_num([ours[name] for name in NUMBERS], nan=-1), expected)


def together(table):
    """The twelve numbers, from pycocotools with all classes and images at once."""

    def dataset(image, label, boxes, **columns):
        made = pycocotools.coco.COCO()
        sides = np.concatenate([boxes[:, 1::-1], (boxes[:, 2:] - boxes[:, :2])[:, ::-1]], 1)
        rows = [
            {"id": i + 1, "image_id": int(table.image_ids[image[i]]), "bbox": side.tolist(),
             "category_id": int(label[i]), **{key: column[i] for key, column in columns.items()}}
            for i, side in enumerate(sides)
        ]  # fmt: skip
        made.dataset = {
            "images": [{"id": int(name)} for name in table.image_ids],
            "categories": [{"id": number} for number in range(len(table.classes))],
            "annotations": rows,
        }
        made.createIndex()
        return made

    with contextlib.redirect_stdout(io.StringIO()):
        crowd = table.object_crowd.astype(int).tolist()
        objects = table.object_image, table.object_label, table.object_box
        truths = dataset(*objects, area=table.object_area.tolist(), iscrowd=crowd)
        area = (table.box[:, 2:] - table.box[:, :2]).prod(1).tolist()
        founds = dataset(table.image, table.label, table.box, area=area, score=table.score.tolist())
        evaluation = pycocotools.cocoeval.COCOeval(truths, founds, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def program_numbers(source, path):
    """What `experiments.evaluate --detections` does."""
    truths = source.ground_truth()
    founds = read_results(path, truths, source.classes, source.category_ids)
    return coco_ap(truths, founds, source.classes)


def reference_numbers(instances, results):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = pycocotools.coco.COCO(instances)
        evaluation = pycocotools.cocoeval.COCOeval(truth, truth.loadRes(str(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(NUMBERS, evaluation.stats.tolist(), strict=True))


def rough_results(content):
    """Objects a little moved, some of them under another class's number, some left out."""
    rng = np.random.default_rng(0)
    numbers = [category["id"] for category in content["categories"]]
    results = []
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        if rng.random() < 0.2:
            continue
        right = rng.random() < 0.8
        results.append(
            {
                "image_id": annotation["image_id"],
                "category_id": annotation["category_id"] if right else int(rng.choice(numbers)),
                # Two digits, as COCO's own files have; a thousandth of a pixel is what counts.
                "bbox": (np.array([x, y, w, h]) + rng.normal(0, 0.08, 4) * [w, h, w, h])
                .clip(0.5)
                .round(2)
                .tolist(),
                "score": rng.random(),
            }
        )
    return results


@pytest.mark.parametrize("name", WHOLE)
def test_perfect_is_one(reference, name):
    truths, _, classes, _ = reference
    ours = coco_ap(truths, [perfect(record, classes) for record in truths], classes)
    # With one detection an image, images with several objects of a class cannot be complete.
    assert ours[name] == pytest.approx(1) if name != "AR1" else 0 < ours[name] < 1


@pytest.mark.parametrize("name", WHOLE)
def test_empty_is_zero(reference, name):
    truths, _, classes, _ = reference
    assert coco_ap(truths, [found(classes=classes) for _ in truths], classes)[name] == 0


def test_a_label_offset_by_one_is_caught(reference):
    truths, _, classes, _ = reference
    moved = [
        Detections(t.boxes, np.ones(len(t.labels)), (t.labels + 1) % 5, classes) for t in truths
    ]
    assert coco_ap(truths, moved, classes)["AP"] < 0.1


def test_detections_in_a_crowd_are_ignored():
    record = truth((0, *BOX), (0, 55, 55, 95, 95), crowd=(1,))
    rows = found((0, 0.9, 60, 60, 70, 70), (0, 0.85, 75, 75, 90, 90), (0, 0.8, *BOX))
    assert coco_ap([record], [rows], CLASSES)["AP"] == pytest.approx(1)


def test_difficult_objects_are_normal():
    record = truth((0, *BOX), (0, 60, 60, 90, 90), difficult=(1,))
    assert coco_ap([record], [found((0, 0.8, *BOX))], CLASSES)["AR100"] == pytest.approx(0.5)


def test_classes_without_ground_truth_are_left_out_of_the_mean():
    ours = coco_ap([truth((0, *BOX))], [found((0, 0.9, *BOX), (2, 0.9, *BOX))], CLASSES)
    assert ours["AP"] == pytest.approx(1)
    assert np.isnan([ours["per_class"]["dog"], ours["per_class"]["cow"]]).all()


def test_images_without_detections_and_without_objects():
    truths = [truth((0, *BOX), image_id="a"), truth((0, *BOX), image_id="b"), truth(image_id="c")]
    ours = coco_ap(truths, [found((0, 0.9, *BOX)), found(), found()], CLASSES)
    assert ours["AR100"] == pytest.approx(0.5)
    assert ours["AP50"] == pytest.approx(51 / 101)


@pytest.mark.parametrize(("before", "expected"), [(99, 1), (100, 0)])
def test_only_the_best_100_detections_of_an_image_count(before, expected):
    false = [(0, 0.9 - 0.001 * i, 60, 60, 90, 90) for i in range(before)]
    ours = coco_ap([truth((0, *BOX))], [found(*false, (0, 0.1, *BOX))], CLASSES)
    assert ours["AR100"] == pytest.approx(expected)


def test_no_ground_truth_at_all_is_not_a_number():
    ours = coco_ap([truth()], [found((0, 0.9, *BOX))], CLASSES)
    assert np.isnan([ours[name] for name in NUMBERS]).all()


def test_nothing_is_printed(capsys):
    coco_ap([truth((0, *BOX))], [found()], CLASSES)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["000139", "285"], [139, 285]),
        ([7, 3], [7, 3]),
        (["2007_01", "2007_02"], [1, 2]),
        (["007", "7"], [1, 2]),
        (["a", "b"], [1, 2]),
        ([], []),
    ],
)
def test_images_as_numbers(ids, expected):
    assert image_numbers(ids) == expected


@pytest.mark.parametrize(
    ("image", "with_objects", "expected"),
    [
        ([], [], []),
        ([0, 0, 3, 7], [], [0, 0, 0, 7]),
        ([0, 1, 2, 3], [1], [0, 1, 2, 2]),
        ([0, 2, 2, 3], [1], [0, 0, 0, 3]),
        ([0, 0, 0, 0, 1, 2, 2, 3], [], [0, 0, 0, 0, 1, 1, 1, 3]),
        ([5, 5, 5, 5, 6], [5], [5, 5, 5, 5, 6]),
        ([4, 9], [4, 9], [4, 9]),
    ],
)
def test_images_without_objects_are_put_together(image, with_objects, expected):
    whole = [np.array(part, np.int64) for part in (image, with_objects)]
    assert images_in_one(*whole, most=3).tolist() == expected
