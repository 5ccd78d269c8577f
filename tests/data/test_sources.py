"""The same images through every format give the same boxes and pixels."""

import dataclasses

import numpy as np
import pytest

from ssd_keras import data
from ssd_keras.data import data_yaml, inspection, tfrecord
from tests.data import samples


@pytest.fixture(scope="module")
def voc(shared):
    return data.load_source(f"voc:{shared('data/voc2012_100')}#val")


def test_voc_reads_the_devkit(voc):
    assert len(voc) == 100
    assert len(voc.classes) == 20
    assert not voc.problems
    truth = next(t for t in voc.ground_truth() if t.image_id == "2007_001027")
    assert (truth.height, truth.width) == (375, 500)
    # <xmin>203</xmin><ymin>174</ymin><xmax>254</xmax><ymax>273</ymax>, first pixel 1, inclusive.
    np.testing.assert_allclose(
        truth.boxes[0] * [375, 500, 375, 500], [173, 202, 273, 254], atol=1e-3
    )
    assert voc.classes[truth.labels[0]] == "chair"
    assert truth.difficult.tolist() == [False, True, True, False, True, False, False]


@pytest.mark.parametrize("form", ["coco", "yolo", "csv", "tfrecord"])
def test_formats_agree_on_boxes_and_pixels(voc, form, tmp_path):
    if form == "tfrecord":
        tfrecord.write(voc, str(tmp_path / "voc"), shards=3)
        spec = f"tfrecord:{tmp_path}"
    else:
        spec = {"coco": samples.as_coco, "yolo": samples.as_yolo, "csv": samples.as_csv}[form](
            voc, tmp_path / form
        )
    other = data.load_source(spec, voc.classes)
    assert other.classes == voc.classes
    assert len(other) == len(voc)
    order = {_pixels(other, i): i for i in range(len(other))}
    for index, truth in enumerate(voc.ground_truth()):
        twin = other.ground_truth()[order[_pixels(voc, index)]]
        np.testing.assert_array_equal(twin.boxes, truth.boxes)
        np.testing.assert_array_equal(twin.labels, truth.labels)
        if form in ("csv", "tfrecord"):
            np.testing.assert_array_equal(twin.difficult, truth.difficult)


def _pixels(source, index):
    return source.image(index)[::7, ::7].tobytes()


def test_coco_subset_has_its_published_counts(shared):
    source = data.load_source(f"coco:{shared('data/coco_subset/val')}")
    truth = source.ground_truth()
    assert len(truth) == 303
    assert len(source.classes) == 80
    assert sum(len(t) for t in truth) == 2842
    assert sum(t.crowd.sum() for t in truth) == 8
    first = next(t for t in truth if t.image_id == "547336")
    wanted = np.array([428.4, 171.03, 461.35, 208.05]) / [480, 640, 480, 640]
    assert np.abs(first.boxes - wanted).max(1).min() < 1e-6


def test_bccd_splits_are_apart(shared):
    place = shared("data/bccd")
    train, val = (data.load_source(f"voc:{place}#{split}") for split in ("train", "val"))
    assert (len(train), len(val)) == (205, 87)
    assert train.classes == val.classes == ("Platelets", "RBC", "WBC")
    assert not {t.image_id for t in train.ground_truth()} & {t.image_id for t in val.ground_truth()}


def test_combined_sources_share_their_classes(shared, tmp_path):
    samples.coco(tmp_path)
    source = data.load_source(f"coco:{tmp_path}+voc:{shared('data/bccd')}#val")
    assert source.classes == ("dog", "cat", "Platelets", "RBC", "WBC")
    assert len(source) == 2 + 87
    assert source.ground_truth()[0].labels.tolist() == [1]
    assert min(t.labels.min() for t in source.ground_truth()[2:]) >= 2
    np.testing.assert_array_equal(source.image(2), data.read_image(source.ground_truth()[2].path))


def test_a_combination_of_formats_trains(tmp_path):
    samples.coco(tmp_path / "coco")
    samples.voc_image(tmp_path / "voc", "a", samples.voc_object("cow"))
    tfrecord.write(data.load_source(f"voc:{tmp_path}/voc"), str(tmp_path / "packed/x"))
    spec = f"coco:{tmp_path}/coco+{tmp_path}/voc+tfrecord:{tmp_path}/packed/x-*"
    source = data.load_source(spec)
    assert source.classes == ("dog", "cat", "cow")
    options = {"image_size": (32, 32), "batch_size": 4, "augmentation": "none"}
    for cache_bytes in (0, 1 << 20):
        ((images, truth),) = data.training_batches(
            source, steps=1, cache_bytes=cache_bytes, **options
        )
        labels = truth["labels"].numpy()
        assert sorted(labels[labels >= 0].tolist()) == [1, 1, 2, 2]
        cows = images.numpy()[(labels == 2).any(1)]
        np.testing.assert_array_equal(cows[0], cows[1])


def test_drawn_shapes_are_combined_with_files(tmp_path):
    samples.coco(tmp_path)
    source = data.load_source(f"coco:{tmp_path}+shapes#train,count=3,size=64", None)
    assert source.classes == ("dog", "cat", "circle", "rectangle", "triangle", "star")
    assert len(source) == 5
    drawn = data.load_source("shapes#train,count=3,size=64")
    np.testing.assert_array_equal(source.image(4), drawn.image(2))
    np.testing.assert_array_equal(
        source.ground_truth()[4].labels, drawn.ground_truth()[2].labels + 2
    )
    packed = tfrecord.write(source, str(tmp_path / "packed"))
    again = data.load_source(f"tfrecord:{packed[0]}")
    np.testing.assert_array_equal(again.image(4), drawn.image(2))
    for cache_bytes in (0, 1 << 20):
        ((images, truth),) = data.training_batches(
            source,
            steps=1,
            batch_size=5,
            image_size=(64, 64),
            augmentation="none",
            cache_bytes=cache_bytes,
        )
        assert drawn.image(0).tobytes() in {image.tobytes() for image in images.numpy()}
        assert (truth["labels"].numpy() >= 2).sum() == sum(map(len, drawn.ground_truth()))


def test_given_classes_set_the_order(tmp_path):
    samples.coco(tmp_path)
    source = data.load_source(f"coco:{tmp_path}", ["bird", "cat"])
    assert source.classes == ("bird", "cat")
    assert [t.labels.tolist() for t in source.ground_truth()] == [[1], [1]]


def test_coco_entries_of_one_file_are_one_image(tmp_path):
    images = [{"id": i, "file_name": "0.jpg", "width": 64, "height": 48} for i in range(3)]
    more = [{"image_id": 2, "category_id": 3, "bbox": [1, 1, 9, 9]}]
    source = data.load_source(f"coco:{samples.coco(tmp_path, images=images, annotations=more)}")
    (truth,) = source.ground_truth()
    # The two of samples.coco have the same box; the third belongs to the last entry.
    assert truth.labels.tolist() == [1, 0]
    assert [p.kind for p in source.problems] == ["duplicate_image"] * 2 + ["duplicate_box"]
    assert not data.left_out(source).get("duplicate_image")


def test_coco_keeps_its_numbers_of_the_classes(tmp_path):
    again = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}, {"id": 90, "name": "cat"}]
    samples.coco(tmp_path, categories=again)
    source = data.load_source(f"coco:{tmp_path}")
    assert source.classes == ("dog", "cat")
    assert source.category_ids == {7: 1, 3: 0, 90: 1}
    other = data.load_source(f"coco:{tmp_path}", ["cat", "bird"])
    assert other.category_ids == {7: 0, 90: 0}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([{"id": 7, "name": "cat"}, {"id": 8, "name": "cow"}], {7: 1, 3: 0, 8: 2}),
        ([{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}], None),
    ],
)
def test_combined_sources_keep_numbers_that_agree(tmp_path, other, expected):
    samples.coco(tmp_path / "a")
    samples.coco(tmp_path / "b", categories=other)
    source = data.load_source(f"coco:{tmp_path}/a+coco:{tmp_path}/b")
    assert source.category_ids == expected


@pytest.fixture
def with_areas(tmp_path):
    """Objects of 20 x 30 pixels: one with an area, two without a sensible one."""
    extra = [
        {"id": 5 + i, "image_id": 1, "category_id": 3, "bbox": [9 + i, 5, 20, 30], **area}
        for i, area in enumerate([{"area": 123.5}, {"area": -1}, {"area": "?"}])
    ]
    samples.coco(tmp_path, annotations=extra)
    return data.load_source(f"coco:{tmp_path}")


AREAS = [[np.nan], [np.nan, 123.5, np.nan, np.nan]]


def test_coco_reads_areas(with_areas):
    for truth, expected in zip(with_areas.ground_truth(), AREAS, strict=True):
        np.testing.assert_array_equal(truth.area, expected)


def test_records_keep_areas(with_areas, tmp_path):
    tfrecord.write(with_areas, str(tmp_path / "x"))
    packed = data.load_source(f"tfrecord:{tmp_path}/x-*")
    for truth, expected in zip(packed.ground_truth(), AREAS, strict=True):
        np.testing.assert_array_equal(truth.area, expected)


def test_areas_are_scaled_with_their_boxes(tmp_path):
    half = [{"id": i, "file_name": f"{i}.jpg", "width": 32, "height": 24} for i in range(2)]
    small = {"id": 5, "image_id": 0, "category_id": 7, "bbox": [1, 1, 9, 9], "area": 50}
    samples.coco(tmp_path, images=half, annotations=[small])
    assert data.load_source(f"coco:{tmp_path}").ground_truth()[0].area[-1] == 200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("names: [cat, 'dog']\nnc: 2", {"names": ["cat", "dog"], "nc": "2"}),
        ("names:\n- cat # a pet\n- dog", {"names": ["cat", "dog"]}),
        ("names:\n  0: cat\n  1: dog", {"names": {"0": "cat", "1": "dog"}}),
        ("names: {0: cat, 1: dog}", {"names": {"0": "cat", "1": "dog"}}),
        ('# head\npath: "a b"\ntrain: images/train', {"path": "a b", "train": "images/train"}),
        ("names: [cat,\n  dog]", {"names": ["cat", "dog"]}),
    ],
)
def test_yaml_as_data_files_use_it(text, expected):
    assert data_yaml.parse(text) == expected


def test_csv_without_header_and_with_sizes(tmp_path):
    samples.picture(tmp_path / "a.jpg")
    (tmp_path / "boxes.csv").write_text("a.jpg;30;20;10;20;cat\n")
    source = data.load_source(str(tmp_path))
    np.testing.assert_allclose(
        source.ground_truth()[0].boxes[0] * [48, 64, 48, 64], [20, 30, 40, 40], atol=1e-4
    )


def test_records_outlive_a_cut_off_file(tmp_path):
    samples.coco(tmp_path / "coco")
    source = data.load_source(f"coco:{tmp_path}/coco")
    (path,) = tfrecord.write(source, str(tmp_path / "cut"))
    with open(path, "r+b") as file:
        file.truncate(file.seek(0, 2) - 100)
    cut = data.load_source(f"tfrecord:{path}")
    assert len(cut) == 1
    assert [p.kind for p in cut.problems] == ["broken_record"]


def test_images_of_one_name_stay_two_in_records(tmp_path):
    for folder, seed in (("a", 1), ("b", 2)):
        samples.voc_image(tmp_path / folder, "same", samples.voc_object(), seed=seed)
    source = data.load_source(f"voc:{tmp_path}/a+voc:{tmp_path}/b")
    tfrecord.write(source, str(tmp_path / "packed"))
    packed = data.load_source(f"tfrecord:{tmp_path}/packed-*")
    assert [truth.image_id for truth in packed.ground_truth()] == ["same", "same'"]
    np.testing.assert_array_equal(packed.image(1), source.image(1))


def test_a_damaged_image_of_several_sources_is_left_out_of_records(tmp_path):
    for folder in ("a", "b"):
        samples.voc_image(tmp_path / folder, folder, samples.voc_object())
    path = tmp_path / "b/JPEGImages/b.jpg"
    path.write_bytes(path.read_bytes()[:-400])
    source = data.load_source(f"voc:{tmp_path}/a+voc:{tmp_path}/b")
    tfrecord.write(source, str(tmp_path / "packed"))
    assert [p.kind for p in source.problems] == ["broken_image"]
    assert len(data.load_source(f"tfrecord:{tmp_path}/packed-*")) == 1


def test_a_box_in_shares_beyond_the_edge_is_counted(tmp_path):
    samples.voc_image(tmp_path, "a", samples.voc_object())
    source = data.load_source(f"voc:{tmp_path}")
    (truth,) = source.ground_truth()
    source._examples = [dataclasses.replace(truth, boxes=[[0.1, 0.1, 1.1, 0.5]])]
    tfrecord.write(source, str(tmp_path / "packed"))
    packed = data.load_source(f"tfrecord:{tmp_path}/packed-*")
    assert [p.kind for p in packed.problems] == ["beyond_edge"]
    np.testing.assert_allclose(packed.ground_truth()[0].boxes, [[0.1, 0.1, 1.0, 0.5]], rtol=1e-6)


@pytest.mark.parametrize("form", ["voc", "coco", "yolo", "csv", "tfrecord"])
def test_reading_leaves_the_users_files_as_they_are(form, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    names = [samples.picture(folder / f"{i}.jpg", seed=i).name for i in range(3)]
    (folder / "boxes.csv").write_text(
        "filename,xmin,ymin,xmax,ymax,class\n" + "".join(f"{n},5,6,30,40,cat\n" for n in names)
    )
    spec = f"csv:{folder}/boxes.csv"
    if form == "tfrecord":
        tfrecord.write(data.load_source(spec), str(folder / "photos"), shards=1)
        spec = f"tfrecord:{folder}"
    elif form == "voc":
        for index in range(3):
            samples.voc_image(folder / "voc", str(index), samples.voc_object())
        spec = f"voc:{folder}/voc"
    elif form != "csv":
        spec = {"coco": samples.as_coco, "yolo": samples.as_yolo}[form](
            data.load_source(spec), folder / form
        )
    before = _state(folder)
    source = data.load_source(spec)
    plain = {"image_size": (32, 32), "batch_size": 2, "augmentation": "none"}
    next(iter(data.training_batches(source, steps=1, **plain)))
    inspection.inspect_images(source)
    assert len(before) >= 4
    assert _state(folder) == before


def _state(folder):
    """Everything in a folder: content and times."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }
