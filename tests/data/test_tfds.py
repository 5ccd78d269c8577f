"""TensorFlow Datasets: mocked sets of the catalogue, and a builder's folder on disk."""

import tempfile
import urllib.error

import numpy as np
import pytest

from ssd_keras import data
from ssd_keras.data import pillow
from ssd_keras.data import tfds as reader
from ssd_keras.errors import UserError
from tests.data import samples

tfds = pytest.importorskip("tensorflow_datasets", reason="needs the extra 'tfds'")


@pytest.fixture
def mocked(monkeypatch):
    """Sets of the catalogue that are drawn at random and downloaded from nowhere."""
    monkeypatch.setattr(reader, "_check_network", lambda place, urls: None)
    with tfds.testing.mock_data(num_examples=4):
        yield


@pytest.mark.usefixtures("mocked")
@pytest.mark.parametrize(
    ("name", "split", "classes"), [("voc/2007", "trainval", 20), ("coco/2017", "train", 80)]
)
def test_catalogue_sets_are_read(name, split, classes):
    source = data.load_source(f"tfds:{name}#{split}")
    assert len(source.classes) == classes
    assert len(source) == 4
    for index, truth in enumerate(source.ground_truth()):
        assert source.image(index).shape == (truth.height, truth.width, 3)


@pytest.mark.usefixtures("mocked")
def test_voc_2007_and_2012_are_one_set():
    spec = "tfds:voc/2007#trainval+tfds:voc/2012#trainval"
    source = data.load_source(spec)
    alone = [data.load_source(part) for part in spec.split("+")]
    assert len(source) == 8
    assert source.classes == alone[0].classes == alone[1].classes
    assert source.classes[:2] == ("aeroplane", "bicycle")
    truths = source.ground_truth()
    for offset, part in zip((0, 4), alone, strict=True):
        for index, expected in enumerate(part.ground_truth()):
            np.testing.assert_array_equal(truths[offset + index].boxes, expected.boxes)
            np.testing.assert_array_equal(truths[offset + index].labels, expected.labels)
            np.testing.assert_array_equal(source.image(offset + index), part.image(index))
    plain = {"image_size": (32, 32), "batch_size": 8, "augmentation": "none"}
    ((images, _),) = data.training_batches(source, steps=1, **plain)
    assert images.shape == (8, 32, 32, 3)


@pytest.mark.usefixtures("mocked")
def test_areas_of_coco_are_read():
    source = data.load_source("tfds:coco/2017#train")
    areas = np.concatenate([truth.area for truth in source.ground_truth()])
    assert len(areas)
    assert np.isfinite(areas).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A prepared builder of three images with one object each."""
    root = tmp_path_factory.mktemp("tfds")
    pictures = [samples.picture(root / f"{i}.jpg", seed=i) for i in range(3)]
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "image/filename": tfds.features.Text(),
            "objects": tfds.features.Sequence(
                {
                    "bbox": tfds.features.BBoxFeature(),
                    "label": tfds.features.ClassLabel(names=["cat", "dog"]),
                    "is_difficult": np.bool_,
                }
            ),
        }
    )
    objects = {
        "bbox": [tfds.features.BBox(0.1, 0.2, 0.5, 0.75)],
        "label": ["dog"],
        "is_difficult": [True],
    }
    rows = [
        {"image": str(path), "image/filename": path.name, "objects": objects} for path in pictures
    ]
    tfds.dataset_builders.store_as_tfds_dataset(
        name="tiny",
        version="1.0.0",
        features=features,
        split_datasets={"train": list(enumerate(rows))},
        data_dir=root / "data",
        disable_shuffling=True,
    )
    return root / "data/tiny/1.0.0", pictures


def test_a_builder_on_disk_is_read(folder):
    place, pictures = folder
    source = data.load_source(f"tfds:{place}#train")
    assert source.classes == ("cat", "dog")
    assert [t.image_id for t in source.ground_truth()] == ["0", "1", "2"]
    for index, truth in enumerate(source.ground_truth()):
        np.testing.assert_allclose(truth.boxes, [[0.1, 0.2, 0.5, 0.75]], atol=1e-7)
        assert truth.labels.tolist() == [1]
        assert truth.difficult.tolist() == [True]
        np.testing.assert_array_equal(source.image(index), data.read_image(pictures[index]))


def test_a_builder_on_disk_trains(folder):
    source = data.load_source(f"{folder[0]}#train")
    plain = {"image_size": (32, 32), "batch_size": 2, "augmentation": "none"}
    batches = data.training_batches(source, steps=2, **plain)
    assert [images.shape for images, _ in batches] == [(2, 32, 32, 3)] * 2


def test_an_unknown_split_is_named(folder):
    with pytest.raises(UserError, match="no split 'trian'"):
        data.load_source(f"tfds:{folder[0]}#trian")


def test_a_set_without_boxes_is_refused():
    with tfds.testing.mock_data(num_examples=1), pytest.raises(UserError, match="no detection"):
        data.load_source("tfds:mnist#train")


def test_lists_of_unequal_length_lose_what_has_no_partner():
    example = {
        "image/filename": b"a.jpg",
        "objects": {"bbox": np.full((3, 4), [0.1, 0.1, 0.2, 0.2]), "label": np.zeros(2, int)},
    }
    problems = []
    row = reader._row(example, 0, ["cat"], "somewhere", problems)
    assert (row.names, row.difficult) == (["cat", "cat"], [False, False])
    assert [(p.kind, p.action, p.lost, p.image) for p in problems] == [
        ("broken_record", "left out", ("",), "a")
    ]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("voc2007", "'voc/2007'"), ("voc/2006", "'voc/2007'"), ("cocoo/2017", ""), ("cooc", "'coco'")],
)
def test_a_name_that_tfds_does_not_know_is_named_with_the_nearest(name, hint):
    with pytest.raises(UserError, match=f"TFDS has no data set '{name}'") as caught:
        data.load_source(f"tfds:{name}#train")
    assert hint in str(caught.value)
    assert len(str(caught.value)) < 400


def test_without_a_network_nothing_is_waited_for(monkeypatch, tmp_path):
    asked = []

    def unreachable(request, timeout):
        asked.append(timeout)
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(reader.urllib.request, "urlopen", unreachable)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(tfds.core.DatasetBuilder, "is_prepared", lambda builder: False)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", lambda builder: 1 / 0)
    with pytest.raises(UserError, match=r"'voc/2007' of TFDS is not on this machine.*known"):
        data.load_source("tfds:voc/2007#train")
    assert sum(asked) <= 10


def test_pixels_of_voc_count_from_one_as_in_its_folders():
    """TFDS divides them by the sides; the object of 1..10 of 20 covers the first half."""
    example = {
        "image": pillow.as_png(np.zeros((20, 40, 3), np.uint8)),
        "objects": {"bbox": np.array([[0.05, 0.025, 0.5, 0.5]]), "label": np.zeros(1, int)},
    }
    for shift, start in ((1, (0.0, 0.0)), (0, (0.05, 0.025))):
        with tempfile.TemporaryFile() as spool:
            ((row, _, _),) = reader._entries([example], ["cat"], "voc", "train", spool, [], shift)
        np.testing.assert_allclose(row.boxes, [(*start, 0.5, 0.5)])
