"""Records on places of other machines, here in the memory of TensorFlow, and their index."""

import numpy as np
import pytest

from ssd_keras import data, remote
from ssd_keras.data import images, record_index, tfrecord
from ssd_keras.errors import UserError
from ssd_keras.files import write_text
from ssd_keras.run_folder import RunFolder
from tests.data.test_ground_truth import as_values


@pytest.fixture(scope="module")
def drawn():
    return data.load_source("shapes#train,count=7,size=40")


@pytest.fixture(params=["ram", "local"])
def place(request, tmp_path):
    """Where records are written."""
    if request.param == "local":
        return str(tmp_path / "set" / "train")
    return f"ram://{tmp_path.name}/set/train"


@pytest.fixture(params=[True, False], ids=["index", "scan"])
def indexed(request, monkeypatch):
    """Whether the set is large enough for an index."""
    monkeypatch.setattr(record_index, "FROM_BYTES", 0 if request.param else 1 << 40)
    return request.param


def scanned(monkeypatch) -> list[str]:
    """The files that are read from beginning to end from now on."""
    found = []
    real = tfrecord.read_entries
    monkeypatch.setattr(
        tfrecord, "read_entries", lambda path, p: found.append(path) or real(path, p)
    )
    return found


@pytest.mark.parametrize("spec", ["{place}-*", "{folder}#train", "{folder}"])
def test_what_is_written_is_read(drawn, place, indexed, monkeypatch, spec):
    paths = tfrecord.write(drawn, place, shards=3)
    whole = scanned(monkeypatch)
    named = spec.format(place=place, folder=place.rpartition("/")[0])
    source = data.load_source(f"tfrecord:{named}")
    assert len(whole) == (0 if indexed else 3)
    assert source.classes == drawn.classes
    assert not source.problems
    order = [n for shard in range(3) for n in range(shard, len(drawn), 3)]
    expected = [drawn.ground_truth()[n] for n in order]
    for index, (mine, truth) in enumerate(zip(source.ground_truth(), expected, strict=True)):
        assert as_values(mine)[0] == truth.image_id
        np.testing.assert_allclose(mine.boxes, truth.boxes, atol=1e-7)
        assert mine.labels.tolist() == truth.labels.tolist()
        np.testing.assert_array_equal(source.image(index), drawn.image(order[index]))
    files = remote.matching(f"{place.rpartition('/')[0]}/*")
    others = {f"{place}.classes.txt"} | ({f"{place}.index.npz"} if indexed else set())
    assert set(files) == {*paths, *others}


def test_some_of_the_shards_are_read_by_the_index_too(drawn, place, monkeypatch):
    monkeypatch.setattr(record_index, "FROM_BYTES", 0)
    tfrecord.write(drawn, place, shards=3)
    whole = scanned(monkeypatch)
    source = data.load_source(f"tfrecord:{place}-0000[02]-of-*", classes=["star", "circle"])
    assert not whole
    assert len(source) == 5
    assert [p.images_lost for p in source.problems if p.kind == "missing_shard"] == [2]
    of_both = sum((t.labels[:, None] >= 0).sum() for t in source.ground_truth())
    unknown = sum(p.kind == "unknown_class" for p in source.problems)
    written = [drawn.ground_truth()[n] for n in (0, 3, 6, 2, 5)]
    assert of_both + unknown == sum(map(len, written))


def overwrite(place: str, at: int, data: bytes) -> None:
    with remote.open_binary(place) as file:
        content = bytearray(file.read())
    content[at : at + len(data)] = data
    remote.write_bytes(place, bytes(content))


def test_an_index_of_other_files_is_noted_and_not_used(drawn, place, monkeypatch):
    monkeypatch.setattr(record_index, "FROM_BYTES", 0)
    (path,) = tfrecord.write(drawn, place)
    index = f"{place}.index.npz"
    with remote.open_binary(index) as file:
        kept = file.read()
    fewer = data.load_source("shapes#val,count=5,size=40")
    tfrecord.write(fewer, place)
    remote.write_bytes(index, kept)
    whole = scanned(monkeypatch)
    source = data.load_source(f"tfrecord:{place}-*")
    assert (len(source), whole) == (5, [path])
    assert [(p.kind, p.action) for p in source.problems] == [("record_index", "noted")]
    overwrite(index, 40, bytes(200))
    assert len(data.load_source(f"tfrecord:{place}-*")) == 5


def test_damage_behind_an_index_is_found_when_the_image_is_read(drawn, place, monkeypatch):
    monkeypatch.setattr(record_index, "FROM_BYTES", 0)
    (path,) = tfrecord.write(drawn, place)
    source = data.load_source(f"tfrecord:{place}-*")
    overwrite(path, source._locations[0].offset + 40, bytes(8))
    source = data.load_source(f"tfrecord:{place}-*")
    assert len(source) == 7
    with pytest.raises(images.ImageError, match=r"is damaged in .*its checksum differs"):
        source.image(0)
    assert source.image(1).shape == (40, 40, 3)


def test_batches_are_the_same_by_an_index_as_by_a_scan(drawn, place, monkeypatch):
    tfrecord.write(drawn, place)
    found = []
    for size in (0, 1 << 40):
        monkeypatch.setattr(record_index, "FROM_BYTES", size)
        if not size:
            tfrecord.write(drawn, place)
        source = data.load_source(f"tfrecord:{place}-*")
        made = data.training_batches(
            source,
            image_size=(32, 32),
            batch_size=4,
            first_step=3,
            steps=2,
            augmentation="none",
        )
        found.append([(image.numpy(), truth["boxes"].numpy()) for image, truth in made])
    for one, other in zip(*found, strict=True):
        for mine, yours in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, yours)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("voc:gs://bucket/set#train", "data of the format 'voc' cannot lie there"),
        ("coco:s3://bucket/a.json,images=x", "data of the format 'coco' cannot lie there"),
        ("gs://bucket/train-*", "'tfrecord:gs://bucket/train-\\*'"),
        ("https://x.org/a.tfrecord", "'tfrecord:https://x.org/a.tfrecord'"),
        ("tfrecord:foo://bucket/a-*", "TensorFlow knows file://, gs:// here"),
        ("tfrecord:s3://bucket/a-*", "'s3://' takes the package tensorflow-io"),
        ("tfrecord:ram://none/a-*", "No file matches 'ram://none/a-\\*'"),
        ("tfrecord:ram://none/a", "does not exist|There is no"),
    ],
)
def test_other_places_are_refused_by_name(spec, said):
    with pytest.raises(UserError, match=said) as caught:
        data.load_source(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["gs://bucket/run", "s3://b/run", "hdfs://host:1/run", "ram://r"])
def test_nothing_makes_a_folder_that_is_called_as_a_scheme(monkeypatch, tmp_path, place):
    monkeypatch.chdir(tmp_path)
    if place.startswith(("s3", "hdfs")):
        with pytest.raises(UserError, match=r"takes the package tensorflow-io"):
            RunFolder(place)
    else:
        assert RunFolder(place).place == place
    with pytest.raises(UserError, match=r"is not on this machine"):
        write_text(f"{place}/a.txt", "x")
    assert not list(tmp_path.iterdir())
