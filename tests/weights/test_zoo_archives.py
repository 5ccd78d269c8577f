"""What is taken of the archives and folders of the API's zoos."""

import tarfile

import pytest

from ssd_keras.errors import UserError
from ssd_keras.weights.importing import import_detector
from ssd_keras.weights.zoo_archives import detector_in, detector_members
from tests.weights import api_graphs

TF2 = (
    "x/pipeline.config",
    "x/checkpoint/checkpoint",
    "x/checkpoint/ckpt-0.data-00000-of-00001",
    "x/checkpoint/ckpt-0.index",
    "x/saved_model/saved_model.pb",
    "x/saved_model/variables/variables.index",
)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (TF2, (TF2[3], TF2[2], TF2[0])),
        (TF2[1:4], (TF2[3], TF2[2])),
        (
            ("x/model.ckpt.index", "x/frozen_inference_graph.pb", "x/pipeline.config"),
            ("x/frozen_inference_graph.pb",),
        ),
        (TF2[4:], ()),
    ],
)
def test_a_checkpoint_comes_with_its_configuration_and_a_graph_alone(names, wanted):
    assert detector_members(names) == wanted


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (TF2, "x/checkpoint"),
        (TF2[4:], "x/saved_model"),
        (("x/frozen_inference_graph.pb",), "x/frozen_inference_graph.pb"),
        (("x/readme.txt",), "x"),
    ],
)
def test_an_unpacked_archive_is_looked_into(tmp_path, files, wanted):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert detector_in(tmp_path / "x") == tmp_path / wanted


def packed(folder, name, content):
    (folder / name).write_bytes(content)
    path = folder / "zoo.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder / name, f"model/{name}")
    return path


def test_an_archive_is_imported_and_leaves_nothing_behind(tmp_path):
    path = packed(tmp_path, "frozen_inference_graph.pb", api_graphs.mobilenet_v1())
    assert import_detector(path).detector.name == "SSD_MobileNet_128"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other.pb", r"zoo.tar.gz' holds no checkpoint/ckpt-0 and no frozen_inference_graph.pb"),
        ("frozen_inference_graph.pb", r"zoo.tar.gz/frozen_inference_graph.pb' cannot be read"),
    ],
)
def test_an_archive_without_a_detector_is_named(tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        import_detector(packed(tmp_path, name, b"no graph"))
